"""Reason codes of requests about CPE, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import ExplainedReason


class CpeSkipReason(ExplainedReason):
    """Why a request leaves a CPE as it is."""

    AS_BEFORE = "as-before", "Nothing of the change stands on it.", ""
    BAD_BASELINE = (
        "bad-baseline",
        "The baseline names values that are made anew.",
        "Correct the baseline in the configuration.",
    )
    BAD_ROW = "bad-row", "The row is not written as field=value pairs.", "Read the detail."
    BAD_VALUE = "bad-value", "The value is not of the parameter's type.", "Read the detail."
    CREDENTIALS = (
        "credentials",
        "With these credentials the CPE could not call in any more.",
        "Rotate them: ispagent cpe rotate.",
    )
    NEVER_READ = "never-read", "The parameter or table was never read of this CPE.", "ispagent cpe refresh NAME PATH."
    NO_BASELINE = "no-baseline", "The configuration declares no baseline for it.", "Add a [baseline.NAME] section."
    NO_IMAGE = "no-image", "The change names no image for this model.", "Name one: --for MODEL[/HARDWARE]=FILE:VERSION."
    NO_SECRET = "no-secret", "The parameter is no secret.", "Give it as a value."
    NO_SERVICE = "no-service", "The CPE serves no known service.", "ispagent cpe accept NAME --service SERVICE."
    NO_SUCH_TEST = "no-such-test", "The model is not known to have this test.", ""
    NOT_ACCEPTED = "not-accepted", "Nobody has let the CPE in.", "ispagent cpe accept NAME."
    NOT_ASSURED = (
        "not-assured",
        "No approved change accepted the CPE for its service: no secret goes into it.",
        "ispagent cpe accept NAME; somebody else approves it.",
    )
    NOT_WRITABLE = "not-writable", "The parameter cannot be written.", ""
    SECRET = "secret", "The parameter is a secret.", "Give it as a secret."
    SECRET_UNKNOWN = (
        "secret-unknown",
        "The secret from before is not known, so it cannot be set again.",
        "Set a new one.",
    )
    SECRET_UNREADABLE = (
        "secret-unreadable",
        "A secret that the baseline names cannot be read.",
        "Set it: ispagent secret set NAME.",
    )
    PLACE_UNKNOWN = (
        "place-unknown",
        "What was read of the CPE does not tell which of its objects the name stands for.",
        "ispagent cpe refresh NAME; else use the full path, or fix the place in a profile of your own.",
    )
    TOO_LONG = "too-long", "The value is longer than values that are kept.", ""
    TOO_MANY = "too-many", "The request sets more parameters than one change may.", "Split it."
    TWICE = "twice", "One parameter is given by two names.", "Give it once."
    UNKNOWN = "unknown", "The fate of an earlier write is not known.", "Wait until it is read again."
    UNKNOWN_MODEL = "unknown-model", "The CPE's data model has no known root.", "Report the model."
    UNKNOWN_PARAMETER = (
        "unknown-parameter",
        "The CPE's profile has no such parameter.",
        "Use a name of the profile or a full path.",
    )
    UNSAFE = "unsafe", "This model is known to fail on the request.", "Do it by hand, with somebody at the device."
    UNREADABLE_VALUE = (
        "unreadable-value",
        "The present value cannot be decoded, so it could not be put back: nothing is written over it.",
        "Correct it at the device, then ispagent cpe refresh NAME PATH.",
    )


class CpeDriftReason(ExplainedReason):
    """How a CPE differs from the state that is declared for it."""

    CPE_DIFFERS = (
        "cpe-differs",
        "By its last known values the CPE is no longer as its baseline declares, or as a change set it.",
        "Read it anew (ispagent cpe refresh), then set it again.",
    )
