"""Reason codes of RADIUS and its database, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import LETS_OUT, ExplainedReason


class RadiusReason(ExplainedReason):
    """Reasons that only RADIUS and its database have."""

    NAS_UNREACHABLE = (
        "nas-unreachable",
        "No request could be sent to the NAS.",
        "Check the route to the NAS and its configured address.",
    )
    UNKNOWN_NAS = "unknown-nas", "A session is on a NAS that is not configured.", "Add the NAS to the configuration."
    NOT_DENIED = (
        "not-denied",
        "No NAS denied the session, so its row stays open: it may go on.",
        "Ask again: the NAS is asked about the session first.",
    )
    COMMIT_LOST = "commit-lost", "The answer to COMMIT was lost.", "Nothing: the rows are read again."
    ROW_COUNT = (
        "row-count",
        "The database changed another number of rows than expected.",
        "Look at the rows of the login; constraints or triggers may interfere.",
    )
    ACTIVE_WOULD_NOT_HOLD = (
        "active-would-not-hold",
        "With the suspension removed, the login would still not get its tariff's reply.",
        "Remove the rows that the detail names.",
    )
    MARKER_WOULD_NOT_WIN = (
        "marker-would-not-win",
        "The suspended group's reply would not win over the user's other rows.",
        "Change the rows or priorities that the detail names.",
        LETS_OUT,
    )
    NO_SUCH_GROUP = (
        "no-such-group",
        "The database has no rows for the configured group.",
        "Create the group, or correct the method's configuration.",
    )
    NO_PRIVILEGE = (
        "no-privilege",
        "The agent's user may not write the rows that the change needs.",
        "Run the GRANT that the detail names in the database.",
    )
    CONFLICT = "conflict", "Another writer's transaction was in the way.", "Ask again."
