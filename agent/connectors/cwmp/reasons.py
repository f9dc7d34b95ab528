"""Reason codes of CWMP, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import ExplainedReason


class CwmpReason(ExplainedReason):
    """Reasons that only CWMP has."""

    BAD_FILE = "bad-file", "The image file is too large or not readable.", "Give another file."
    MANY_TRACES = "many-traces", "As many traces as may run at once are running.", "End one, or try again later."
    NO_FILE = "no-file", "There is no such image file.", "Put it into the configured folder."
    NO_FILES = "no-files", "This agent serves no image files.", "Configure a folder for them."
    NOT_ASSURED = (
        "not-assured",
        "Since the change began, nothing approved accepts the CPE for its service: no secret goes into it.",
        "ispagent cpe accept NAME; somebody else approves it.",
    )
    LOGIN_TAKEN = "login-taken", "Another CPE has this user.", "Ask again: another one is made."
    SECRET_GONE = "secret-gone", "The secret that was to be set is no longer kept.", "Ask for the change again."
    SECRET_UNKNOWN = (
        "secret-unknown",
        "The secret from before is not known, so it cannot be set again.",
        "Set a new one.",
    )
    UNEXPECTED = (
        "unexpected-answer",
        "The CPE sent something else than was due, and this agent ended the session.",
        "Look at what it sends: ispagent cpe trace NAME.",
    )
    UNKNOWN_MODEL = "unknown-model", "The CPE's data model has no known root.", "Report the model."
    UNKNOWN_PARAMETER = (
        "unknown-parameter",
        "The CPE's profile has no such parameter.",
        "Use a name of the profile or a full path.",
    )
    UNREADABLE = (
        "unreadable-answer",
        "The CPE sent what cannot be read, and this agent ended the session.",
        "Look at what it sends: ispagent cpe trace NAME.",
    )
    UNREADABLE_VALUE = (
        "unreadable-value",
        "The present value cannot be decoded, so nothing is written over it.",
        "Correct it at the device, then ispagent cpe refresh NAME PATH.",
    )
