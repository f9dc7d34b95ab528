"""The contract of connectors: the roles that one may play, and the types that cross between it and the agent.

A connector is one folder. It plays any of these roles, each a protocol here, and says which in its `SPEC`:

* `Changes`: it knows how a service state becomes resources (its access methods, pure), how to read and write resources
  (its sessions, I/O), and how enforcement is judged (pure).
* `Prepares`: it knows the configuration by which its devices keep suspended subscribers in.
* `ManagesPorts`: ports of its devices can be switched, described, and cut from power for a moment.
* `Reads`: its sessions read and do nothing else.
* `Polls`: it reads its targets whole, again and again.
* `TellsDevices`: its targets are systems that poll devices, and tell their readings.
* `TellsEvents`: its devices send notifications.
* `Explores`: people ask its devices by hand.
* `SharesCredentials`: several of its targets are asked by the same secrets.
* `DeviceFacts`: it reports the state of its devices.
* `SeesNeighbors`: its devices tell which devices are next to them.
* `ConnectionRequests`: its devices call in, and it can ask them to.
* `KnowsPasswords`: it keeps its logins' passwords.
* `KnowsHolders`: its targets know the holders of IP addresses now.

None of them knows plans, trust or the journal. Systems that are dialed (`Reach.DIAL`: databases, routers) and devices
that call in (`Reach.ARRIVE`: CPE) have the same session; only how it comes about differs.

Errors (the knowledge about the device decides the class):

* ConnectorError
  x NotSentError: nothing was sent; the device is as before
    + DriftedError: it no longer reads *before*; `observed` says what it reads
  x LostError: it may or may not have happened (a lost reply): unknown, to be re-read
  x UnreadableError: could not be read now (unreachable, refused); nothing was changed by trying
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from agent.line_model.reading import DeviceReading, LineEvent, Neighbor, SourceReading
from agent.model import (
    Access,
    Address,
    Effect,
    EffectKind,
    Enforcement,
    Seen,
    Service,
    ServiceState,
    Step,
    Target,
    Ticket,
    Value,
)
from agent.reasons import AnyReason, ExplainedReason, TargetReason


class ConnectorError(Exception):
    """Anything that a connector raises."""


class NotSentError(ConnectorError):
    """Nothing was sent: the device is as it was. `reason` is a short code for the journal."""

    def __init__(self, message: str, *, reason: AnyReason) -> None:
        super().__init__(message)
        self.reason = reason


class DriftedError(NotSentError):
    """The resource no longer reads *before*; nothing was written."""

    def __init__(self, message: str, *, observed: Mapping[Address, Seen]) -> None:
        super().__init__(message, reason=TargetReason.DRIFTED)
        self.observed = observed


class LostError(ConnectorError):
    """The sent command may or may not have taken effect. `reason` is a short code for the journal."""

    def __init__(self, message: str, *, reason: AnyReason) -> None:
        super().__init__(message)
        self.reason = reason


class UnreadableError(ConnectorError):
    """The resource could not be read now. `reason`: `unreachable`, `refused`, `timeout`."""

    def __init__(self, message: str, *, reason: AnyReason) -> None:
        super().__init__(message)
        self.reason = reason


Earlier = Mapping[Address, Seen]
"""The sessions that earlier attempts at a step were bound to, as read before the first of them."""
NOTHING_EARLIER: Earlier = MappingProxyType({})
ReadAddresses = Callable[[Collection[Address]], Awaitable[Mapping[Address, Seen]]]
"""`ReadSession.read`, by whoever shares it."""


class Reach(enum.Enum):
    """The side that opens the connection: we (DIAL), or the device when it likes (ARRIVE)."""

    DIAL = "dial"
    ARRIVE = "arrive"


@dataclass(frozen=True, slots=True)
class Traits:
    """Promises of a connector.

    `conditional`: a write happens only if the resource still reads *before*, atomically; otherwise it is checked, then
    written, and the preview says so. `settle_s`: how long after its carrier was closed a command may still take effect.
    `window`: steps in flight per target. `send_s`: how long one command may take, `reread_s`: for how long its fate is
    asked for, before it is left unknown; None: as for every target (`changes.perform.Patience`). `census`: the resource
    of each target that lists all online subscribers, below the target's id; empty: none does. `marks`: likewise, the
    resource that reads the marks by which a device is told from another one behind its address. `effects`: every verb
    of an effect that its sessions accept, with the kinds under which a plan lists it.
    """

    conditional: bool
    settle_s: float
    window: int
    reach: Reach
    send_s: float | None = None
    reread_s: float | None = None
    census: str = ""
    marks: str = ""
    effects: Mapping[str, frozenset[EffectKind]] = field(default_factory=dict)
    watched: bool = True
    """Whether it is looked every now and then whether a target answers; False: it is polled, and polls tell."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Why a target should be spared for now. `reason` is a short code for the journal, `detail` one sentence.

    `undoes`: writes on the target meanwhile may be undone afterwards.
    """

    reason: AnyReason
    detail: str
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a device that a person should know. `code` is for programs and stays, `text` is for people."""

    code: ExplainedReason
    text: str


class DeviceState(enum.Enum):
    """How the last attempt to ask a device went."""

    NOT_ASKED = "not-asked"
    """Nobody needed it since the agent started."""
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It answers, and is not used: another device, a wrong password, an unknown release, too few policies."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """The facts on one device.

    `problem`: why the state is not REACHABLE. `tried_s`: when it was last connected to, or that was tried; `read_s`:
    when facts and findings were read, which may be longer ago (unix seconds, None: never). `facts`: label -> text.
    """

    target: str
    address: str
    state: DeviceState = DeviceState.NOT_ASKED
    problem: str = ""
    tried_s: int | None = None
    read_s: int | None = None
    version: str = ""
    identity: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.target.partition("/")[2]


class Connector(Protocol):
    """Any connector, whichever roles it plays."""

    targets: Sequence[Target]
    """Its configured targets; those that come and go are not among them."""


@runtime_checkable
class DeviceFacts(Connector, Protocol):
    """Role: it reports the state of its devices."""

    def reports(self) -> Sequence[DeviceReport]:
        """Return the facts on each device, as last read; nothing is sent."""
        ...

    async def probe(self, target: str) -> DeviceReport:
        """Ask a device that is dialed now, and return the facts on it. It writes nothing.

        A device that cannot be asked is no error here: the report says so.
        """
        ...


@runtime_checkable
class SeesNeighbors(Connector, Protocol):
    """Role: its devices tell which devices are next to them."""

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        """Return the neighbors that a device hears now; its target is dialed.

        Raises:
            UnreadableError: it cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """The device's word; evidence, never the verdict. `reason` is a code (`ack`, `nak-503`), `detail` for people."""

    accepted: bool
    reason: AnyReason
    detail: str = ""


class ReadSession(Protocol):
    """One conversation with a target in which it is only read. Used by several readers at once."""

    target: Target

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address: the same reader for preview, apply and read-back.

        Raises:
            UnreadableError: the target could not be asked.
        """
        ...

    def notes(self) -> Sequence[str]:
        """Return notes on the target for a preview, from values that were read before; nothing is sent."""
        ...


class Session(ReadSession, Protocol):
    """One conversation with a target, dialed or arrived. Used by several steps at once, up to `Traits.window`."""

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        """Return the resources that `effect` would act on now (each open session), to be journalled before it is sent.

        `earlier`: the sessions that earlier attempts at this very step were bound to. A session that began after the
        first of them is the change's own result: a later attempt leaves it alone, unless it is seen to be wrong.

        Raises:
            UnreadableError: the target could not be asked.
        """
        ...

    async def send(self, ticket: Ticket) -> Reply:
        """Send the ticket's transitions (if they still read *before*) or its effect to exactly the bound resources.

        Raises:
            NotSentError: nothing was sent. DriftedError: nor will it be, the resource reads otherwise.
            LostError: the fate is unknown.
        """
        ...

    async def settle(self) -> None:
        """Close the carriers of commands in doubt and return when none of them can take effect any more."""
        ...

    async def busy(self) -> Busy | None:
        """Return why the target should be spared changes for now, or None; asked before each one. Reads are not held.

        A device that cannot be asked is not busy: the change itself will find out.
        """
        ...


@runtime_checkable
class LateResult(Protocol):
    """A session with a device that reports later on an effect that it had accepted."""

    def late_result(self, ticket: Ticket) -> Reply | None:
        """Return that later reply: a refusal ends the waiting for proof. None: nothing was said yet."""
        ...


@runtime_checkable
class FinishesEffects(Protocol):
    """Role of a session: some of its effects are several commands, and a half done one may not be left as it is."""

    async def finish(self, ticket: Ticket) -> None:
        """Send the rest of an effect that was begun, as far as leaving it out does harm: power that is off.

        It begins nothing, and sends nothing where nothing is missing. It is asked where a reply was lost, after a
        crash, and whatever was cancelled, frozen or has expired meanwhile: the approved effect ends so.

        Raises:
            UnreadableError: the target cannot be asked now, or does not show yet that it took it: ask again.
        """
        ...


@runtime_checkable
class ReadsToBind(Protocol):
    """Role of a session: it reads its own addresses to bind an effect."""

    def read_through(self, read: ReadAddresses) -> None:
        """Read by `read` from now on, which shares reads with others: many effects bind at once."""
        ...


@runtime_checkable
class TellsByItself(Protocol):
    """Role of a session: its device tells by itself, each time it calls in, whether some effects are proven."""

    def tells(self, effect: Effect) -> bool:
        """Return whether nothing has to be asked of the device for the proof of an effect."""
        ...


@runtime_checkable
class NamesProof(Protocol):
    """Role of a session: it names the proof of an effect in the words of its devices."""

    def proof_of(self, effect: Effect) -> str:
        """Return the proof of an effect in the words of its device, such as `boot seen`."""
        ...


@runtime_checkable
class Answers(Protocol):
    """Role of a session: it can find out whether its target answers, at little cost and leaving no trace."""

    async def answering(self) -> Mapping[str, str]:
        """Return why the target, and each thing behind it, does not answer; "" for those that do.

        Returns:
            By name: the target's id, or that of a device behind it (`nas/bng-1`). A device that was not asked is left
            out. Causes are logged, so none says anything about a subscriber.
        """
        ...


@runtime_checkable
class KnowsAbsence(Protocol):
    """A session with effects that go to devices behind its target; each may be away while the target answers."""

    async def missing(self, effect: Effect) -> Busy | None:
        """Return which device does not answer that `effect` would need now, or None; nothing about anybody is sent.

        Raises:
            UnreadableError: the target could not be asked.
        """
        ...


@runtime_checkable
class LeavesUndecided(Protocol):
    """A session with writes that cannot be read back: after a lost answer their fate may stay unknown."""

    def undecided(self, ticket: Ticket) -> bool:
        """Return whether the ticket's writes, of this attempt or an earlier one, may have been taken unseen."""
        ...


class CheckResult(enum.Enum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, and a person should look at it."""
    FAILS = "fails"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked.

    `about`: the target or the device behind it; `what`: the thing, in a word or two; `detail`: the finding, one
    sentence; `mend`: the command, the statement or the setting that mends it, "" where there is nothing to mend.
    """

    about: str
    what: str
    result: CheckResult
    detail: str
    mend: str = ""


@runtime_checkable
class Checks(Protocol):
    """Role of a session: it can check whether its target can do all that changes need. It writes nothing."""

    async def check(self, secret: str = "") -> Sequence[Check]:
        """Return the checks. A target that cannot be asked is a check that fails.

        Args:
            secret: only the checks that prove this secret, by a login or a request that needs it; "": all.
        """
        ...


@runtime_checkable
class ConnectionRequests(Connector, Protocol):
    """Role: its devices call in, and it can ask them to."""

    def requested(self, target: str) -> AbstractContextManager[None]:
        """Ask the device to call in, again and again, inside the block."""
        ...


@dataclass(frozen=True, slots=True)
class CannotEnforce:
    """An access method's refusal: `reason` is a short code, `detail` one sentence for the operator.

    `absent`: where it was read that a device has nothing of the subscriber.
    """

    reason: AnyReason
    detail: str
    absent: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer of a device that outlives a restart. `by`: the device; `at_s`: unix seconds."""

    kind: str
    key: str
    told: str
    by: str
    at_s: int


class AnswerBook(Protocol):
    """Keeps answers of a connector's devices, named by the connector."""

    def kept(self, of: str) -> Sequence[KeptAnswer]:
        """Return its answers, oldest first."""
        ...

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        """Keep answers; a newer one takes the place of an older one of its kind and key."""
        ...


class NoAnswers:
    """An `AnswerBook` that keeps nothing."""

    def kept(self, of: str) -> Sequence[KeptAnswer]:  # noqa: ARG002  of the protocol
        """Return nothing."""
        return ()

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        """Do nothing."""


WARNING: Final = "warning"
"""Key of an access plan's display: a warning, for a line of its own in the preview."""


@dataclass(frozen=True, slots=True)
class WayOut:
    """Something beside the rules that were judged by which a suspended subscriber may get out.

    `text` names it, in a few words. `refuses`: it surely defeats the suspension. `mend`: the advice, one sentence; "":
    nothing is known. `known`: it was read and is open; False: nobody looked.
    """

    text: str
    refuses: bool
    mend: str
    known: bool = True

    @property
    def told(self) -> str:
        """The text for a preview: `open: …` or `not checked: …`."""
        return f"{'open' if self.known else 'not checked'}: {self.text}"


GARDEN_MOST: Final = 1 << 24
"""How many public addresses a suspended subscriber's garden may hold where the configuration does not say."""
OPEN: Final = "open"
"""In an access plan's `display`: the ways out of a suspended subscriber, each told way after a `; `."""


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """An access method's answer: steps that make the state real, how enforcement is judged, and texts for the preview.

    No steps and no `CannotEnforce`: the network already is as wanted. An `enforce` beside them is judged before that is
    recorded: of a login that is rejected all the same, or of a suspension that only rules outside its row make one.
    `display` keys: see `trust.render`. `rests_on`: resources that are not written and must still read as they were when
    the first step is sent.
    """

    steps: tuple[Step, ...]
    enforce: Enforcement | None
    display: Mapping[str, str]
    rests_on: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session of a service, as its source shows it.

    `place`: the configured name of its NAS or router, else its address. `source`: where that was read (`accounting`,
    `router edge-1`). `since_s`: unix seconds, None where the source has no time. `address`: "" where it has none.
    `facts`: the source's own strings (`mac`, `sid`, `list`, ...). `carries`: the policy that the session has, None
    where that cannot be told; `how` says how it is known. `until`: of one that nobody can end, when it has the policy
    of the next login; "": a disconnect ends it. `may_be_over`: its source may have missed its end. `unsure`: why nobody
    knows whether it goes on, as its end was asked for; "": it counts.
    """

    place: str
    source: str
    since_s: int | None
    address: str
    facts: Mapping[str, str]
    carries: Access | None
    how: AnyReason
    until: str = ""
    may_be_over: bool = False
    unsure: str = ""


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The state of a service that the network reads now. It never comes from the agent's memory.

    `access`: of the next login: ACTIVE, or SUSPENDED by our marker; None: neither, or it cannot be told. `refused`: why
    something that is not ours (staff, an expiry) rejects today's login; "": nothing does. `unknown`: why `access`
    cannot be told. `tariff`: the one that the rows map to; "": none, or ambiguous. `reply`: a login's reply now, for
    people. `groups`: groups, lists or profiles in their order. `not_checked`: neither read nor judged. `ways_out`: of a
    suspended one, settings that were read and may let it out, though they do not defeat the suspension. `absent`: the
    target has no entry of the login. `sessions_by`: the evidence that there are no others than `sessions`; `unasked`:
    names of the devices that may hold another one all the same. `sessionless`: the state of a subscriber that never has
    a session, as nobody logs in; "": they log in. `not_held`: why a suspension that is in the network keeps nobody in;
    `mend`: the advice; `unjudged`: why that is not known, at all or of some devices. Their reader fills them in
    (`agent.services.network`): by the access method's own plan, so no access method judges a suspension twice.
    """

    access: Access | None
    refused: str = ""
    unknown: str = ""
    tariff: str = ""
    sessions: tuple[LiveSession, ...] = ()
    reply: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    ways_out: tuple[str, ...] = ()
    absent: bool = False
    sessions_by: str = "the router's own list"
    sessionless: str = ""
    unasked: tuple[str, ...] = ()
    not_held: str = ""
    mend: str = ""
    unjudged: str = ""


class Enforced(enum.Enum):
    """Judgment of an enforcement check at one moment."""

    YES = "yes"
    PENDING = "pending"
    """No session now: true at the next login, unless one comes in time."""
    UNPROVEN = "unproven"
    """No session is known, and not everything that could hold one was asked: true or false, nobody knows."""
    NO = "no"
    """A session carries on as before, or nothing shows that it ended."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """`how` says how it is known: `seen`, `garden`, `inferred`, `offline`, `none-known`; or why not: `still-online`,
    `outside-garden`, `old-session`, `not-in-effect`, `not-proven`, `unreadable`, `unmapped-method`. `detail` is for
    people. `again`: addresses of effects of the item that find more to end now than when they ran: the sessions to end
    began since, or their end was forgotten.
    """

    enforced: Enforced
    how: AnyReason
    detail: str = ""
    again: tuple[Address, ...] = ()


CLOCK_SET: Final = "clock-set"
"""In an enforcement's `expect` while it is judged, and in an effect's `args` while it is bound: by how many seconds our
clock was set since the preview. A moment of the preview is that much later on our clock of now, and so is a beginning
that is told as an age. Absent: by none that is known.
"""


IN_FORCE: Final = "in-force"
"""In an effect's `args` while it is bound: since when the item's writes are known to be done, unix seconds by our clock
of now, rounded up. A session that began clearly later logged in under them, and stays. Absent: not all are known.

In an enforcement's `expect` while it is judged: the same, where nothing has looked for sessions to end since then.
"""


CLIENTS: Final = "clients"
"""In an enforcement's `expect`: clients that no read names once they are offline, comma separated. Where a suspension
was not seen enforced, the check of the next one looks for these clients too.
"""


STATE: Final = "state"
"""In an enforcement's `expect`: the access that it looks for, as `Access` names it."""


def access_of(enforce: Enforcement) -> Access | None:
    """Return the access that an enforcement looks for, None for none; one of several devices has a `STATE` for each."""
    states = {value for key, value in enforce.expect.items() if key.rpartition(" ")[2] == STATE}
    if not states:
        return None
    return Access.SUSPENDED if Access.SUSPENDED.value in states else Access.ACTIVE


def clock_set_s(told: Mapping[str, str]) -> int:
    """Return by how many seconds our clock was set since the preview, from an `expect` or from `args`."""
    return int(told.get(CLOCK_SET, "0"))


NONE_ENDED: Final[Mapping[Address, Seen]] = MappingProxyType({})


class AccessMethod(Protocol):
    """How one access method makes a service state real. Pure: it takes values that were read."""

    target: str

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that `plan` needs for this service and that `seen` lacks; empty when it has all."""
        ...

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the steps from the seen state to the wanted one; steps are numbered from 1."""
        ...

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the state of the service that the network reads now, from the answers to `reads`.

        It never raises. Answers of other targets than `target` may be missing in `seen`: the state then says so.
        """
        ...

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the steps that end the service's sessions and change nothing else."""
        ...

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge enforcement from present values. `ended`: the sessions that the item set out to end, as read then."""
        ...

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the addresses that `judge` needs and that `seen` lacks; with fewer `ended`, maybe more of them."""
        ...


def still_holding(method: AccessMethod, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Enforcement | None:
    """Return the check that a state which needs no step holds still when it is recorded; None: it could not pass now.

    Some states are as wanted and cannot be seen to be: their record has never waited for that.

    Args:
        method: the access method of the plan.
        enforce: the check as after a change.
        seen: the reads of the plan.
    """
    if any(where not in seen for where in method.enforcement_reads(enforce, seen)):
        return None
    return None if method.judge(enforce, seen, NONE_ENDED).enforced is Enforced.NO else enforce


@dataclass(frozen=True, slots=True)
class Example:
    """A subscriber that does not exist, by which a suspension is tried on a device before anybody has to be suspended.

    `service`: its ref is empty. `assumed`: the values of its own entries; everything else is read from the network.
    `made_up`: invented values that may decide the outcome, such as an address; "": there are none.
    """

    service: Service
    assumed: Mapping[Address, Value]
    made_up: str = ""


@dataclass(frozen=True, slots=True)
class DeviceNeeds:
    """Configuration of a device that a suspension by an access method rests on.

    `lists`: address lists of suspended subscribers, which rules must keep in. `profile`: a profile of suspended
    subscribers, which then has these lists; `like`: one of active subscribers. `six`: some have IPv6 in those lists.
    """

    lists: tuple[str, ...] = ()
    profile: Address | None = None
    like: Address | None = None
    six: bool = False


@dataclass(frozen=True, slots=True)
class PrepareTerms:
    """A person's choices for a preparation.

    `list_name`: the address list of a profile that has none. `garden`: addresses and networks that suspended
    subscribers may reach; `resolvers`: the addresses of their DNS servers.
    """

    list_name: str
    garden: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preparation:
    """The steps that make a device ready; none: it is. `look`: people that it cuts off at once.

    `display` and `rests_on`: see `AccessPlan`.
    """

    steps: tuple[Step, ...]
    display: Mapping[str, str]
    look: str = ""
    rests_on: tuple[Address, ...] = ()


class DeviceMethod(AccessMethod, Protocol):
    """An access method as it acts on one device alone."""

    def example(self) -> Example | None:
        """Return an ordinary subscriber of the method, active and offline; None: only a real one can tell."""
        ...

    def needs(self, services: Collection[Service]) -> DeviceNeeds:
        """Return the configuration that a suspension rests on there. `services`: all that the method has."""
        ...


@runtime_checkable
class OnDevices(Protocol):
    """Role of an access method: a suspension by it rests on devices, each of which may let its subscribers out."""

    def on_devices(self) -> Mapping[str, DeviceMethod]:
        """Return the method as it acts on each of its devices alone, by target. It plans as the method itself does."""
        ...

    def without(self, targets: Collection[str]) -> AccessMethod:
        """Return the method as it acts on its other devices only: those cannot be read. One device at least is left."""
        ...


class Ways(Protocol):
    """The ways out of the devices of an access method, beside the rules that it judges itself. Pure."""

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that `out` needs for a service and that `seen` lacks."""
        ...

    def out(self, service: Service | None, seen: Mapping[Address, Seen]) -> Sequence[WayOut]:
        """Return the ways out of a suspended service; a way that was not read is among them as not checked."""
        ...

    def undoing(self, seen: Mapping[Address, Seen]) -> Sequence[WayOut]:
        """Return the state that would undo any change made now, as far as it is known."""
        ...

    def defeat_reads(self, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that `seen` lacks of ways that may defeat a suspension after it was enforced."""
        ...


@runtime_checkable
class KnowsClients(Protocol):
    """Role of an access method: a session has a client with connections that outlive it (`CLIENTS`)."""

    def ends_of_clients(self, service: Service, ended: Mapping[Address, Seen]) -> Sequence[tuple[str, Effect]]:
        """Return the clients of sessions that a suspension of the service ended; each with what ends its connections.

        The sessions are as they were read before their end, on any of the method's devices.
        """
        ...


@runtime_checkable
class ClosesGhosts(Protocol):
    """Role of an access method: its accounting keeps rows of sessions, also of those that are over."""

    def close_ghosts(self, service: Service, seen: Mapping[Address, Seen], silent_h: int) -> AccessPlan | CannotEnforce:
        """Return the steps that close the rows of a service's sessions on which accounting is silent for `silent_h`.

        Only those of sessions that their NAS denies when it is asked, or without a configured NAS.
        """
        ...


@runtime_checkable
class Changes(Connector, Protocol):
    """Role: the agent can act on its targets."""

    traits: Traits
    access_methods: Mapping[str, AccessMethod]
    """By name, as in the inventory's `method` column."""

    def dial(self, target: Target) -> AbstractAsyncContextManager[Session]:
        """Open a session to a `Reach.DIAL` target. Raises UnreadableError inside when it cannot be reached."""
        ...

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Listen for devices of `Reach.ARRIVE` and call `arrived` for each session; returns at once for DIAL."""
        ...


@runtime_checkable
class Prepares(Connector, Protocol):
    """Role: it knows the configuration by which its devices keep suspended subscribers in. Pure."""

    def preparation_reads(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Collection[Address]:
        """Return the addresses that `preparation` needs and that `seen` lacks."""
        ...

    def preparation(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Preparation | CannotEnforce:
        """Return the steps that make a device ready, or why it cannot be prepared."""
        ...

    def undo_reads(self, target: str, steps: Sequence[Step]) -> Collection[Address]:
        """Return the addresses that `undo_refusal` needs."""
        ...

    def undo_refusal(self, target: str, steps: Sequence[Step], seen: Mapping[Address, Seen]) -> str:
        """Return why the steps of a preparation cannot be taken back now; "": they can."""
        ...


class PortChange(enum.Enum):
    """The kinds of changes of a port."""

    ADMIN = "admin"
    """It is switched `up` or `down`."""
    ALIAS = "alias"
    """Its description."""
    POWER_CYCLE = "power-cycle"
    """Its power (PoE) is off for so many seconds."""


@dataclass(frozen=True, slots=True)
class PortWish:
    """A change of a port that a person wants. `value`: `up` or `down`, a description, or seconds."""

    what: PortChange
    value: str

    @property
    def cuts(self) -> bool:
        """Whether everything behind the port is cut off, if only for a moment."""
        return self.what is PortChange.POWER_CYCLE or (self.what is PortChange.ADMIN and self.value == "down")

    @property
    def restores(self) -> bool:
        """Whether it lets traffic through again."""
        return self.what is PortChange.ADMIN and self.value == "up"


@dataclass(frozen=True, slots=True)
class PortPlan:
    """The steps for a port; none: it is as wanted.

    `part`: key of the port in readings of its device. `not_checked`: gaps in the knowledge of the agent's own
    way to the device. `display` and `rests_on`: see `AccessPlan`.
    """

    part: str
    steps: tuple[Step, ...]
    display: Mapping[str, str]
    rests_on: tuple[Address, ...] = ()
    not_checked: tuple[str, ...] = ()


@runtime_checkable
class ManagesPorts(Connector, Protocol):
    """Role: ports of its devices can be switched, described and cut from power. Pure; sessions read and write."""

    def port_reads(self, target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that `port_plan` needs and that `seen` lacks."""
        ...

    def port_plan(
        self, target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]
    ) -> PortPlan | CannotEnforce:
        """Return the steps for a port, found by the name that people use; or why nothing is done with it.

        A port that carries the agent's own way to the device is refused where the wish cuts it.
        """
        ...


@runtime_checkable
class Reads(Connector, Protocol):
    """Role: the agent can read its targets. A connector that plays `Changes` need not play this one too."""

    window: int
    """Readers in flight per target."""

    def dial(self, target: Target) -> AbstractAsyncContextManager[ReadSession]:
        """Open a session to a target. Raises UnreadableError inside when it cannot be reached."""
        ...


@runtime_checkable
class Polls(Connector, Protocol):
    """Role: its targets are read whole again and again: their parts, sensors, neighbors and MAC addresses."""

    def poll_every_s(self, target: str) -> float:
        """Return the seconds from one reading of a target to its next."""
        ...

    async def poll(self, target: Target) -> DeviceReading:
        """Read a target whole.

        Raises:
            UnreadableError: it cannot be read.
        """
        ...


@runtime_checkable
class TellsDevices(Connector, Protocol):
    """Role: its targets are systems that poll devices; their readings are taken over, with the times of those polls.

    The id of a device is its system's target, a slash, and the name that it has there. Devices come and go.
    """

    def poll_every_s(self, target: str) -> float:
        """Return the seconds from one reading of a system to its next."""
        ...

    async def gather(self, target: Target) -> SourceReading:
        """Read the devices of a system.

        Raises:
            UnreadableError: it cannot be read. That says nothing about its devices.
        """
        ...


@runtime_checkable
class TellsEvents(Connector, Protocol):
    """Role: its devices send notifications."""

    async def listen(self, heard: Callable[[LineEvent], Awaitable[None]]) -> None:
        """Listen until cancelled, and call `heard` for each notification; returns at once where nothing is to be heard.

        `heard` returns when the notification is durable. Only then is it acknowledged to a device that waits for that.
        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A question that a person asks by hand.

    `verb`: one of the connector's `verbs`. `target`: id of the target, "" where none is meant. `words`: the
    arguments, in the connector's own words. `options`: others by name.
    """

    verb: str
    target: str
    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


AnswerRow = Mapping[str, str | int | float | None]
"""One row of an answer, for people and for JSON."""


@runtime_checkable
class Explores(Connector, Protocol):
    """Role: people ask its devices by hand. Nothing is written on a device."""

    verbs: frozenset[str]
    """The kinds of questions."""

    async def explore(self, question: Question, tell: Callable[[AnswerRow], Awaitable[None]]) -> None:
        """Answer a question: call `tell` for each row as it comes.

        Raises:
            UnreadableError: the device cannot be asked, or the question makes no sense; rows may have been told.
        """
        ...


@dataclass(frozen=True, slots=True)
class SharedCredential:
    """A credential by which several targets are asked.

    `secrets`: the names of its secrets; `targets`: ids of those that are asked by it.
    """

    name: str
    secrets: frozenset[str]
    targets: Sequence[str]


@runtime_checkable
class SharesCredentials(Connector, Protocol):
    """Role: its targets are asked by credentials that they share."""

    @property
    def credentials(self) -> Sequence[SharedCredential]:
        """Return them, also those that no target has."""
        ...

    async def greet(self, target: str) -> None:
        """Ask a target one question by its credential.

        Raises:
            UnreadableError: it does not answer, or refuses.
        """
        ...


@runtime_checkable
class KnowsPasswords(Connector, Protocol):
    """Role: it keeps its logins' passwords, and can tell one to a device that must have it."""

    async def password_of(self, target: str, login: str) -> str:
        """Return the password by which a target checks a login.

        Raises:
            UnreadableError: the target cannot be asked, or has not exactly one.
        """
        ...


@dataclass(frozen=True, slots=True)
class AddressHolder:
    """A holder of an IP address now: the login as the target spells it, and for people the place and source."""

    login: str
    told: str


@runtime_checkable
class KnowsHolders(Connector, Protocol):
    """Role: its targets know the holders of IP addresses now. Both methods are pure; sessions read."""

    def holders_at(self, target: str, address: str) -> Address:
        """Return where the holders of an address are read."""
        ...

    def holders_of(self, target: str, address: str, value: Value) -> Sequence[AddressHolder]:
        """Return the holders of the address, by the value that was read there."""
        ...


Rows = Mapping[str, Mapping[str, str]]
"""Rows of a table by key, each with its properties."""


class SessionHost(Protocol):
    """A kind of device on which sessions run that another connector decides about. Pure: it takes read values.

    A connector that hands out policies (a RADIUS server) cannot see whether they take effect; the device on which the
    session runs can. `target` is the id of such a device; `kind` is `ppp` or `hotspot`.
    """

    def rules(self, target: str, version: int) -> Address:
        """Return where its rules of an IP version, 4 or 6, are read."""
        ...

    def let_out(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return why its rules let a suspended session out, and the advice; empty when they keep it in.

        Args:
            rules: as they were read.
            kind: of session.
            lists: the address lists that it is a member of.
            addresses: its own, or the prefixes that it has one of; empty: not known.
        """
        ...

    def own_entry(self, target: str, kind: str, login: str) -> Address:
        """Return where an entry of its own for a login is read, which hides the other connector's."""
        ...

    def entry_noun(self, kind: str) -> str:
        """Return the name of such an entry."""
        ...

    def sessions(self, target: str, kind: str, login: str) -> Address:
        """Return where a login's sessions are read; ending that address ends them."""
        ...

    def sessions_of(self, sessions: Value) -> Rows:
        """Return the sessions that were read there; `address` is a session's own."""
        ...

    def members(self, target: str, list_name: str) -> Address:
        """Return where the members of an address list are read."""
        ...

    def is_member(self, members: Value, address: str) -> bool:
        """Return whether an address is a member."""
        ...

    def speeds(self, target: str) -> Address:
        """Return where the speeds of sessions are read."""
        ...

    def speed_of(self, speeds: Value, login: str, rate: str) -> tuple[Enforced, str]:
        """Judge whether a login's session has a rate, PENDING where that cannot be told; and the rate that it has."""
        ...

    def connections(self, target: str, address: str) -> Address | None:
        """Return where the open connections of an address are read; None: that text is no address."""
        ...

    def session_connections(self, target: str, kind: str, login: str) -> Address:
        """Return where the open connections are read of the addresses that a login's sessions have at that time."""
        ...

    def open_flows(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return the rule by which connections pass that were open before a suspension; "" where none does."""
        ...

    def cut_text(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return the note for a preview which open connections are cut, and why; "" where none can pass."""
        ...

    def connections_left(
        self, connections: Value, rules: Value, lists: Collection[str], open_flows: str, addresses: Collection[str]
    ) -> int:
        """Return how many connections the rules do not hold that hold a suspended subscriber.

        Those to places where members of the address lists may go do not count. `open_flows`: as that method says.
        `addresses`: those that the session has.
        """
        ...

    def end_of(self, where: Address, key: str, within_s: int) -> Effect:
        """Return the effect that ends everything at an address of `sessions`, `connections`, `session_connections`."""
        ...

    def ways(self, target: str, kind: str, lists: Collection[str], garden_most: int) -> Ways:
        """Return the ways out of subscribers that these address lists suspend.

        Args:
            target: the device.
            kind: of its sessions.
            lists: the address lists.
            garden_most: how many public addresses a garden may hold.
        """
        ...
