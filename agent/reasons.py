"""Reason codes: short texts for programs that stay the same, each with its meaning and advice for a person.

A reason code stands in journals, events, API answers and `--json` output. `docs/reasons.md` is generated from these
enums; the command line takes its texts from them. Codes of one connector stand in that connector's folder.
"""

from __future__ import annotations

import enum
from typing import Final, Self

LETS_OUT: Final = True
"""Of a reason to refuse a suspension: its subscriber would not be kept in."""


class ExplainedReason(enum.StrEnum):
    """A code, equal to its text. `meaning`: one sentence; `remedy`: the advice, "" where nothing helps.

    `lets_out`: a suspension that is refused for this reason would keep nobody in. Other refusals say nothing of that.
    """

    meaning: str
    remedy: str
    lets_out: bool

    def __new__(cls, code: str, meaning: str = "", remedy: str = "", lets_out: bool = False) -> Self:
        """Return the member of a code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.remedy = remedy
        member.lets_out = lets_out
        return member

    def numbered(self, number: object) -> NumberedReason:
        """Return this code with the peer's own number or word behind it: `nak-503`, `fault-9005`, `lost-timeout`."""
        return NumberedReason(f"{self.value}-{number}")


class NumberedReason(str):
    """A reason code that ends with a peer's own number or word."""

    __slots__ = ()


AnyReason = ExplainedReason | NumberedReason


def explain(code: str, *layers: type[ExplainedReason]) -> ExplainedReason | None:
    """Return the reason that a code stands for in the first of some layers that has it, also one with a number."""
    known: dict[str, ExplainedReason] = {reason.value: reason for layer in reversed(layers) for reason in layer}
    begins = code
    while begins and begins not in known:
        begins = begins.rpartition("-")[0]
    return known.get(begins)


class TargetReason(ExplainedReason):
    """Why a target was not read, not written, or left in doubt; and how it answered."""

    UNREACHABLE = (
        "unreachable",
        "The target did not accept a connection.",
        "Check that it is up and that the agent can reach it.",
    )
    TIMEOUT = (
        "timeout",
        "The target did not answer in time.",
        "Check its load and the network in between, then ask again.",
    )
    HUNG_UP = "hung-up", "The target closed the connection.", "Check its log and its limit of sessions, then ask again."
    CUT = "cut", "The connection broke before the answer came.", "Nothing: the resource is read again."
    REFUSED = (
        "refused",
        "The target refused the request.",
        "Read the detail: permissions, a password, or a rule of the target.",
    )
    BUSY = "busy", "Other writers changed the same resource each time the agent tried.", "Ask again later."
    BUSY_CPU = (
        "busy-cpu",
        "The target's CPU load is above its configured limit.",
        "Wait: the change goes on when the load falls.",
    )
    NOT_UTF8 = (
        "not-utf8",
        "A text of the resource on the target is not UTF-8, and no plan can hold it.",
        "Write it anew on the target; mostly it is a comment in another code page.",
    )
    DRIFTED = (
        "drifted",
        "The resource no longer reads as in the preview. Nothing was written.",
        "Find who changed it, then ask for the change again.",
    )
    EXPIRED = "expired", "The deadline passed before the first byte was sent.", "Ask for the change again."
    UNKNOWN_TARGET = (
        "unknown-target",
        "The configuration has no such target.",
        "Add the target to the configuration, or correct the name.",
    )
    UNREADABLE = "unreadable", "The resource could not be read.", "Check the target, then ask again."
    UNWRITABLE = "unwritable", "The target does not take this value.", "Read the detail and ask for another value."
    UNSUPPORTED = "unsupported", "The target cannot do this.", "Read the detail."
    PARTLY_SENT = (
        "partly-sent",
        "Only some of the requests of one step were sent.",
        "Check the sessions that the detail names.",
    )
    TOO_MANY = "too-many", "The request covers more than is read or written at once.", "Ask for less at a time."
    MALFORMED = "malformed", "The target's answer could not be understood.", "Report it with the target's version."
    AMBIGUOUS = "ambiguous", "Several resources have the same key.", "Remove the duplicates on the target."
    MISSING_SECRET = (
        "missing-secret",
        "A secret that the configuration names is not set.",
        "Set it: ispagent secret set NAME.",
    )
    MISSING_POLICY = (
        "missing-policy",
        "The target's user lacks a permission that writing needs.",
        "Grant the permission that the detail names.",
    )
    CERTIFICATE = (
        "certificate",
        "The target's certificate is not the pinned one.",
        "Find out why it changed before you pin the new one.",
    )
    NO_PASSWORD = (
        "no-password",
        "The login's password is not kept where the agent can read it.",
        "Set the password by hand.",
    )
    NOT_ON_THE_LINE = (
        "not-on-the-line",
        "The device has not called in.",
        "Wait for its next call, or check its power and line.",
    )
    SESSION_ENDED = (
        "session-ended",
        "The device ended its session before it was asked or before it answered.",
        "Nothing: it is asked again at its next call.",
    )
    TRIPPED = (
        "tripped",
        "The circuit breaker holds the request back: the CPE rebooted after it.",
        "Look at the CPE, then ispagent cpe clear NAME, and ask for what is wanted.",
    )
    UNSAFE = "unsafe", "This model is known to fail on the request.", "Do it by hand, with somebody at the device."
    STOPPED = "stopped", "The agent is stopping.", "Start the agent: the change goes on."
    ENDLESS = (
        "endless",
        "An access method asked for more reads than are allowed.",
        "Report it: this is a fault of the agent.",
    )
    ACK = "ack", "The NAS acknowledged the request.", ""
    NAK = "nak", "The NAS refused the request, with its Error-Cause.", "Look the number up in RFC 5176 section 3.5."
    ACK_WITHOUT_EFFECT = (
        "ack-without-effect",
        "The target took the request, and the session carries on.",
        "Disconnect the session there by hand: on the NAS or the router.",
    )
    COMMITTED = "committed", "The database committed the rows.", ""
    DONE = "done", "The target took the request.", ""
    NO_SESSION = "no-session", "No session is open.", ""
    NOT_THERE = (
        "not-there",
        "The device denied every session that was to be ended: accounting keeps rows of sessions that are over.",
        "Nothing for this change. Close the rows: ispagent session close-stale.",
    )
    ACCEPTED = "accepted", "The device accepted the request.", ""
    OK = "ok", "The device took the values.", ""
    OK_LATER = "ok-later", "The device applies the values later, as it said.", ""
    TRANSFERRED = "transferred", "The device reported that the transfer is complete.", ""
    NO_INSTANCE = "no-instance", "The device gave a new row no number.", "Read the table again, then ask again."
    FAULT = "fault", "The device answered with a fault of this number.", "Look the number up in the device's protocol."
    NOT_PROVABLE = (
        "accepted-not-provable",
        "The device took it, and it cannot be read back: a secret.",
        "Try it out: log in with the new secret.",
    )
    PROOF_SEEN = "proof-seen", "The device shows that it did what it was told.", ""
    ACCEPTED_WITHOUT_EFFECT = (
        "accepted-without-effect",
        "The target accepted the request, and the resource reads as before.",
        "Look at the target's log.",
    )
    UNDECIDED = (
        "undecided",
        "The answer was lost, and nothing that can be read tells whether the secret was taken.",
        "Set the secret again, or look at the device.",
    )
    THIRD_VALUE = (
        "third-value",
        "The resource reads neither as before nor as wanted.",
        "Find who else changes it, and set it right by hand.",
    )
    READ_BACK = "read-back", "It was read back, and reads as wanted.", ""
    NOTHING_TO_DO = "nothing-to-do", "Nothing was there to act on.", ""
    LOST = "lost", "No answer came: the request was sent, and its fate is read from the device.", ""


class MethodReason(ExplainedReason):
    """Why an access method cannot make a state real for a service."""

    NO_SUCH_LOGIN = (
        "no-such-login",
        "The target does not know the login.",
        "Correct the login in the subscriber list, or create it on the target.",
    )
    AMBIGUOUS_LOGIN = (
        "ambiguous-login",
        "The target knows the login several times.",
        "Remove the duplicates on the target.",
    )
    NO_SUCH_PROFILE = (
        "no-such-profile",
        "The target has no profile of the configured name.",
        "Create it on the target, or correct the method's configuration.",
    )
    UNMAPPED_TARIFF = (
        "unmapped-tariff",
        "The method maps nothing to the service's tariff.",
        "Add the tariff to the method's configuration.",
    )
    UNMAPPED_METHOD = (
        "unmapped-method",
        "No configured access method has this name.",
        "Add the method to the configuration, or correct the subscriber list.",
    )
    DISABLED = "disabled", "The entry of the login is disabled on the target.", "Enable it, or leave the service out."
    WAY_OUT = (
        "way-out",
        "Something beside the rules lets the subscriber out.",
        "Close it, as the detail says.",
        LETS_OUT,
    )
    LIST_WITHOUT_RULE = (
        "list-without-rule",
        "Nothing on the router blocks members of the address list.",
        "Add a rule for the list above FastTrack and accept rules.",
        LETS_OUT,
    )
    NO_LIST = "no-list", "The profile puts nobody into an address list.", "Set the profile's address-list.", LETS_OUT
    IPV6_NOT_HELD = (
        "ipv6-not-held",
        "The suspended state does not hold for IPv6.",
        "Block IPv6 too, or hand out none.",
        LETS_OUT,
    )
    ROUTES_NOT_HELD = (
        "routes-not-held",
        "Routes of the entry would carry on unblocked.",
        "Remove the routes, or block them.",
        LETS_OUT,
    )
    NOT_IN_EFFECT = "not-in-effect", "The state would not be in effect.", "Read the detail."
    REJECTED = "rejected", "The login would be rejected anyway.", "Find out why before you change anything."
    CANNOT_TELL = (
        "cannot-tell",
        "The reply that the login would get cannot be computed.",
        "Simplify the user's rows as the detail says.",
    )
    SEVERAL = (
        "several",
        "Several targets hold an entry of the login and disagree.",
        "Remove the entries that are not used.",
    )
    LOCAL_SECRET = (
        "local-secret",
        "A local entry on the router answers before the login server does.",
        "Remove the local entry.",
        LETS_OUT,
    )


class ProofReason(ExplainedReason):
    """How it is known that a state is enforced, or why it is not."""

    SEEN = "seen", "The device shows it.", ""
    GARDEN = "garden", "The session has an address of the walled garden, or is still in it where it should not be.", ""
    INFERRED = "inferred", "A new session began after the change, and its login gets the wanted reply.", ""
    OFFLINE = "offline", "No session is open: it holds from the next login.", ""
    NONE_KNOWN = (
        "none-known",
        "The old session is gone, and accounting has no other. Another may be on a NAS that the detail names.",
        "Nothing: it is judged again as soon as accounting hears of a session.",
    )
    NOT_PROVEN = (
        "not-proven",
        "Accounting has no session, or one whose end was asked for, and not every NAS said that it holds no other.",
        "Wait: it is judged again. Or bring back the NAS that the detail names, then retry the change.",
    )
    STILL_ONLINE = (
        "still-online",
        "Sessions or connections carry on as before.",
        "Disconnect them on the device, or retry the change.",
    )
    OLD_SESSION = (
        "old-session",
        "Sessions from before the change carry on.",
        "Disconnect them on the device, or retry the change.",
    )
    AGE_NOT_CERTAIN = (
        "age-not-certain",
        "Accounting dates a session before the change, by a clock that may differ from ours: it is old or new.",
        "Let agent and NAS keep time by NTP. Look at the session on its NAS, or retry the change.",
    )
    OUTSIDE_GARDEN = (
        "outside-garden",
        "A session has an address outside of the walled garden.",
        "Check the address pool of the suspended group.",
    )
    NOT_IN_EFFECT = "not-in-effect", "The device shows another state.", "Read the detail."
    NOT_TOLD = "not-told", "Nothing that was read says which state the session has.", ""
    STAYS_REJECTED = (
        "stays-rejected",
        "Something that is not the agent's rejects the login, as the preview said.",
        "If it is to be online: enable it where it was disabled.",
    )
    UNREADABLE = "unreadable", "The device could not be read.", "Check the device; the state is judged again."
    UNMAPPED_METHOD = (
        "unmapped-method",
        "The access method is no longer configured.",
        "Configure it, then retry the change.",
    )


class SkipReason(ExplainedReason):
    """Why a request leaves a service or a device as it is."""

    ALREADY = "already", "It already is as wanted.", ""
    PROTECTED = (
        "protected",
        "The service is protected, or feeds others.",
        "Name it alone, after a look at who depends on it.",
    )
    PAID = "paid", "Billing says that it owes nothing.", ""
    NOT_OVERDUE = "not-overdue", "Billing says that nothing is overdue yet.", ""
    IN_GRACE = "in-grace", "What is overdue is within the days of grace.", ""
    BELOW_MINIMUM = "below-minimum", "Less is overdue than the least sum for which anybody is suspended.", ""
    EXEMPT = "exempt", "The billing system exempts the account from suspension.", ""
    LEFT_OUT = "left-out", "The configured rules for `--overdue` leave it out.", "Name it alone, or change the rules."
    DAILY_LIMIT = "daily-limit", "As many as the configuration allows a day are suspended.", "Ask again another day."
    PROMISED = "promised", "A promise to pay, or a postponement, has not run out.", ""
    NO_BILLING_DATA = (
        "no-billing-data",
        "No billing data says that it owes.",
        "Import billing data, or ask for another reason.",
    )
    BILLING_IN_DOUBT = (
        "billing-in-doubt",
        "The billing data is too old, not whole, or lies in the future.",
        "Have the billing source read again, or export it again.",
    )
    OTHER_REASON = (
        "other-reason",
        "It is suspended for another reason than the one to be lifted.",
        "Lift the reason that the detail names.",
    )
    CHANGED_SINCE = (
        "changed-since",
        "It was changed since the change that is to be reverted.",
        "Look at today's state and ask for what is wanted.",
    )
    IRREVERSIBLE = "irreversible", "It cannot be taken back.", ""
    OWN_EDIT = (
        "own-edit",
        "Whoever asks changed its entry by an import, and nobody else has looked since.",
        "Have somebody else ask. Once such a change has started, it is over.",
    )
    SHARED_LOGIN = "shared-login", "Several services have the same login.", "Correct the subscriber list."
    SUSPENDED = (
        "suspended",
        "It is suspended, and the network has that under its present login.",
        "Restore it first.",
    )
    OPEN_CHANGE = "open-change", "Another change of it is not over.", "Cancel that change, or let it end."
    BAD_LOGIN = "bad-login", "The new login is none that a subscriber list may have.", "Correct its spelling."
    UNREACHABLE = "unreachable", "The target could not be read for the preview.", "Check the target, then ask again."
    UNMAPPED_METHOD = (
        "unmapped-method",
        "No configured access method has this name.",
        "Add the method to the configuration, or correct the subscriber list.",
    )
    NOT_ADOPTABLE = (
        "not-adoptable",
        "The network's state of the login is none that a service can have.",
        "Correct the login's rows; then it can be adopted, or is as recorded.",
    )


class RefusalReason(ExplainedReason):
    """Why the agent refused a command or a statement."""

    UNKNOWN_CHANGE = "unknown-change", "There is no change with this id.", "ispagent change list shows them."
    UNKNOWN_PLAN = "unknown-plan", "There is no such plan.", "ispagent change list shows them."
    UNKNOWN_ITEM = "unknown-item", "The plan has no such item.", ""
    UNKNOWN_CPE = "unknown-cpe", "There is no such CPE.", "ispagent cpe list shows them."
    AMBIGUOUS_CPE = "ambiguous-cpe", "The service has several CPE.", "Name one of them."
    UNKNOWN_SERVICE = "unknown-service", "There is no such service.", "ispagent subscriber list shows them."
    TOO_MANY_FREEZES = "too-many-freezes", "The person holds as many freezes as one may.", "Lift some, or let them end."
    UNKNOWN_FREEZE = "unknown-freeze", "There is no such freeze.", "ispagent status shows those in force."
    BUSY = "busy", "Another change holds the address.", "Wait for that change to finish."
    CANCELLED = "cancelled", "The change was cancelled.", "Ask for it again if it is still wanted."
    CLOCK_HALT = (
        "clock-halt",
        "The clock jumped: nothing is applied until a person has looked.",
        "ispagent clock accept.",
    )
    CLOSED = "closed", "The change takes no more decisions.", ""
    CONSUMED = "consumed", "The plan has been used: a plan is used once.", ""
    DONE = "done", "The message was handled before.", ""
    ERASED = "erased", "The subscriber's key is gone: nothing about them can be recorded.", ""
    EXPIRED = "expired", "The time in which the plan could start or run is over.", "Ask for the change again."
    FROZEN = "frozen", "A freeze is in force.", "Two people lift it."
    LIFTED = "lifted", "The freeze was lifted before.", ""
    INBOX_FULL = "inbox-full", "Too many messages wait to be handled.", "Wait, or look at who sends them."
    NO_TICKET = "no-ticket", "The step has no such attempt.", "Report it: this is a fault of the agent."
    NOT_APPROVED = (
        "not-approved",
        "The policy's approvals are not there.",
        "ispagent change show ID says what is missing.",
    )
    NOT_CONSUMED = "not-consumed", "The plan was not started.", ""
    NOT_REQUIRED = "not-required", "A fact that the item requires no longer holds.", ""
    NOT_WITNESSED = (
        "not-witnessed",
        "A witness knows another log of this agent.",
        "ispagent status says which; find out why.",
    )
    NOTHING_TO_RETRY = "nothing-to-retry", "No item can be retried.", "Ask for the change again."
    OVER = "over", "The item has ended.", ""
    OVER_BUDGET = (
        "over-budget",
        "The policy's hourly limit of its risk class is used up.",
        "Wait, or let a person approve it.",
    )
    REPLAYED_INTENT = "replayed-intent", "This intent was answered before with a plan.", "Sign a new one."
    REPLAYED_VIEW = "replayed-view", "This view was answered before.", "Sign a new one."
    RATE_LIMITED = "rate-limited", "This person was shown many plans within the hour.", "Wait."
    RUNNING = "running", "The run is not over yet.", "Wait for its end."
    STALE = "stale", "The device or CPE is not the one of the preview any more.", "Ask for the change again."
    TRUST_IN_DOUBT = (
        "trust-in-doubt",
        "The state directory was put back, and a newer trust document may have been in force.",
        "ispagent status says which; install it, or ispagent trust accept.",
    )
    TRUST_MOVED = "trust-moved", "A newer trust document was installed meanwhile.", "Try again."
    TOO_MANY_TAGS = (
        "too-many-tags",
        "The CPE would have more tags than one may have.",
        "Take some away: cpe tag CPE -TAG.",
    )
    PAUSED = "paused", "The change is paused: nothing more of it is sent.", "ispagent change resume ID."
    NOT_PAUSED = "not-paused", "The change is not paused.", ""
    WINDOW_CLOSED = (
        "window-closed",
        "The policy's window of its risk class is closed now.",
        "Wait for the next opening: ispagent change show ID says when.",
    )
    BAD_SECRET = "bad-secret", "The secret is empty or too long.", "Give one of the length that the detail names."
    UNWANTED_SECRET = (
        "unwanted-secret",
        "The configuration names no secret like this.",
        "Correct the name, or the configuration.",
    )


class ItemReason(ExplainedReason):
    """Why an item moved to its state, where no target and no proof says so."""

    RECORDED = "recorded", "Only the reason for a suspension was recorded: the network is as it was.", ""
    SUPERSEDED = "superseded", "A restore took the place of this suspension before it was sent.", ""
    RETRY = "retry", "A person asked to end the sessions once more.", ""
    REVERT = (
        "revert",
        "The declared revert was not finished; the code behind it says why.",
        "Look at the device, then ask for the wanted state.",
    )
    REVERTED = "reverted", "The change took it back as declared.", ""
    GIVEN_UP = (
        "given-up",
        "The run was ended by a fault of the agent; the detail says which.",
        "Look at the device, then ask for what is wanted.",
    )
    RESTORED = (
        "restored",
        "The database was restored from a backup, and nobody knows whether the item was sent since.",
        "Look at the device. ispagent change revert ID takes back the part that stands.",
    )
    STOPPED = "stopped", "The run was stopped before this item began.", "Read the detail: what failed before it."
    TARGET_AWAY = (
        "target-away",
        "The target, or the device behind it, does not answer.",
        "Check the device: the item is tried again until the change's deadline.",
    )
    NOT_ON_THE_LINE = (
        "not-on-the-line",
        "The device has not called in yet.",
        "Wait for its next call, or check its power and line.",
    )
    UNREADABLE = (
        "unreadable",
        "The device could not be read in the end.",
        "Check the device. Then revert the change: it reads what stands, and takes it back.",
    )
    OVERTAKEN = (
        "overtaken",
        "Another change acted on the service since: this one is no longer judged.",
        "",
    )
    NOT_PROVEN_IN_TIME = (
        "not-proven-in-time",
        "It was judged again for as long as the configuration says, and is neither proven nor disproven.",
        "Look at the subscriber's session; ispagent drift goes on comparing the service.",
    )
    READS_OTHERWISE = (
        "reads-otherwise",
        "It was read back as set, and read otherwise later, in its run or a retry: edited, or lost by the database.",
        "Look at the device, then ask for the wanted state.",
    )
    GUARD_UNSUPPORTED = (
        "guard-unsupported",
        "A step asks for a guard that no connector of this agent has. Nothing was sent.",
        "Ask for the change without the guard, or update the agent.",
    )


class DriftReason(ExplainedReason):
    """How a service differs between the record and the network."""

    SUSPENSION_GONE = (
        "suspension-gone",
        "A suspension is recorded, and the next login gets full service: somebody took the suspension away by hand.",
        "Suspend again, or adopt the network's state.",
    )
    SUSPENSION_NOT_HELD = (
        "suspension-not-held",
        "A suspension is recorded and stands in the network, and a rule or a way out lets the subscriber out.",
        "Mend it as the detail says; nobody needs to be suspended again.",
    )
    SUSPENDED_UNRECORDED = (
        "suspended-unrecorded",
        "The next login gets the suspended service, and no reason for a suspension is recorded.",
        "Adopt it with its reason, or restore the service.",
    )
    LOGIN_REJECTED = (
        "login-rejected",
        "The login is rejected by something that this agent did not set, such as a disabled user or an expiry.",
        "Look at it in the tool that set it: no change of this agent lifts it.",
    )
    LOGIN_MISSING = (
        "login-missing",
        "The network has no entry of the login.",
        "Make it again where logins are made, or correct the service's login.",
    )
    TARIFF_DIFFERS = (
        "tariff-differs",
        "The network has another tariff than the record.",
        "Adopt the network's tariff, or adopt it and set the wanted one.",
    )
    SESSION_AT_LARGE = (
        "session-at-large",
        "The service is suspended, and a session of it has full service.",
        "Disconnect it: the next login is suspended.",
    )
    SESSION_SUSPENDED = (
        "session-suspended",
        "The service is active, and a session of it still is a suspended one.",
        "Disconnect it: the next login has full service.",
    )
    UNKNOWN_LOGIN = (
        "unknown-login",
        "A login is online that no service in the inventory has.",
        "Import its service, or find out whose it is.",
    )


class HttpReason(ExplainedReason):
    """Why the local API refused a request."""

    BAD_REQUEST = "bad-request", "The request is not well-formed, or a value in it is not taken.", "Read the message."
    BAD_JSON = "bad-json", "The request's body is not strict JSON.", "Correct the body."
    MALFORMED = "malformed", "The request is not well-formed HTTP.", "Correct the request."
    TOO_LARGE = "too-large", "The request's body is too large.", "Send less at once."
    BUSY = "busy", "Too many connections are open.", "Close a watch, or try again."
    ERASED = (
        "erased",
        "A subscriber of the change was erased: its preview cannot be opened as a whole any more.",
        "Ask for the others anew.",
    )
    INTERNAL = "internal", "The agent failed to answer.", "Look at the agent's log and report it."
    LOG_CORRUPT = (
        "log-corrupt",
        "The audit log or a stored plan does not verify.",
        "Stop the agent and keep the files: docs/operations.md.",
    )
    METHOD = "method", "The path does not take this HTTP method.", ""
    NO_ACS = "no-acs", "This agent manages no CPE.", "Configure a connector for CPE."
    NO_ROUTE = "no-route", "There is no such path.", "docs/api.md lists them."
    NOT_STARTED = (
        "not-started",
        "The agent does not start: its configuration has a mistake.",
        "ispagent config check names it, and so does its log.",
    )
    NOTHING_TO_DO = "nothing-to-do", "Nothing would change.", ""
    REFUSED = "refused", "Trust or policy refuses it.", "Read the message."
    ROLE = "role", "The caller may not do this.", "Run it as another user, or map the uid in [people]."
    TOO_MANY = "too-many", "Unknown local users asked too often.", "Wait a minute."
    AMBIGUOUS_SERVICE = "ambiguous-service", "Several services are called that.", "Name one of them by its ref."
    UNKNOWN_SOURCE = "unknown-source", "No billing source is called that.", "ispagent billing list shows them."
    UNKNOWN_PAYMENT = "unknown-payment", "The source told of no such payment.", "ispagent billing payments shows them."
    UNKNOWN_SUBSCRIBER = "unknown-subscriber", "Nobody is called that.", "ispagent subscriber find looks for a name."
    UNKNOWN_DEVICE = "unknown-device", "There is no such device.", "ispagent device list shows them."
    UNKNOWN_EVENT = "unknown-event", "The log has no such event.", ""
    UNKNOWN_SERVICE = (
        "unknown-service",
        "There is no such subscriber or service.",
        "ispagent subscriber list shows them.",
    )


class HookReason(ExplainedReason):
    """Why a call of a billing or payment system was refused. They are counted; none is told to the caller."""

    ADDRESS = (
        "address",
        "The caller's address is on no list of senders.",
        "If it is the system's own, add it to `hook_from` of its source.",
    )
    RATE = "rate", "The caller made too many calls that were refused.", "If it is the system's own, check its secret."
    FULL = "full", "Other callers had all the connections.", "Name the senders with `hook_from`."
    NO_HTTP = "no-http", "No whole request came in time, or it was not HTTP.", ""
    NO_TLS = "no-tls", "The caller and the agent agreed on no TLS.", "Check the certificate and its chain."
    NO_PROXY = (
        "no-proxy",
        "The proxy did not say for whom it calls.",
        "Have it set X-Forwarded-For to the address of its client.",
    )
    UNKNOWN_PATH = (
        "unknown-path",
        "No source has this path and token.",
        "Enter the URL again that `ispagent billing hook SOURCE` prints.",
    )
    FORGED = (
        "forged",
        "The call is not signed with the source's secret, or its time is wrong.",
        "Compare the secret, and the clock of this machine.",
    )
    NO_SECRET = "no-secret", "The secret by which calls are verified is not set.", "Set it: ispagent secret set NAME."
    TOO_LARGE = "too-large", "The call is larger than its sender makes them.", ""
    MALFORMED_CALL = (
        "malformed-call",
        "The call is signed by its sender, and is not of the published form.",
        "Report it with the version of the system.",
    )
    CROWDED = "crowded", "More calls came than are taken at once.", "Nothing: the sender calls again."
    NOT_KEPT = "not-kept", "The call could not be stored.", "Check the agent's disk: the sender calls again."
