"""The `Session` of the connector contract for one CPE, over one CWMP session after another.

A read waits for the CPE to call in again; a step is not begun while it is away (`busy`). Only tickets are sent, and a
parameter is set only if it still reads *before*: checked, then written, in one session. All parameters of one step go
out in one SetParameterValues, which a CPE takes as a whole or not at all (TR-069 annex A.3.2.1), under a ParameterKey
of that step.

A secret cannot be read back. The CPE's answer is evidence that it took it; where the answer was lost, its ParameterKey
is: it is that of the step only if all of the step was set. Another key of ours proves that it was not; an empty one
proves nothing, since some CPE keep none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import trio

from agent.connectors.base import (
    NOTHING_EARLIER,
    Busy,
    DriftedError,
    Earlier,
    NotSentError,
    Reply,
    UnreadableError,
)
from agent.connectors.cwmp import effects_session, limits, rows_session
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.line_session import CpeLine, Offer, told_value
from agent.connectors.cwmp.reasons import CwmpReason
from agent.connectors.cwmp.structs import ParameterValue
from agent.cpe_model import addresses, rows
from agent.cpe_model.addresses import TableRow, what_of
from agent.cpe_model.effects import DIAGNOSE, proof_text
from agent.cpe_model.errors import BadAddressError
from agent.cpe_model.known import CachedParameter, Cpe, CpeBook, Pending
from agent.cpe_model.profiles import SHIPPED, ProfileBook
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.cpe_model.values import UNREADABLE
from agent.model import ABSENT, Absent, Address, Effect, SecretRef, Seen, Ticket, Transition, Value, target_of
from agent.reasons import TargetReason
from agent.runtime.clock import Clock

_USERNAME = "ManagementServer.Username"


class CpeSession(CpeLine):
    """The session of a CPE, as the connector contract has it."""

    def __init__(self, name: str, book: CpeBook, clock: Clock, offer: Offer, profiles: ProfileBook = SHIPPED) -> None:
        """Know a CPE that may not be on the line."""
        super().__init__(name, book, clock, offer, profiles)
        self._told: dict[str, Reply] = {}
        self._later: CwmpSession | None = None
        """The session after which a setting takes effect: the CPE said that it applies it later."""
        self._written: dict[Address, Value] = {}
        self._settled = False
        self._heard = 0
        """Of its `news`, how many were read."""

    def begin_anew(self) -> None:
        """Drop all notes: the CPE is in the book no more, and another may come with its name."""
        super().begin_anew()
        self._told.clear()
        self._written, self._settled = {}, False

    # --- reading

    async def read(self, addresses_: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address, once the CPE calls in.

        Its count of boots and its firmware version, which it reports by itself, count as read once for each Inform and
        each TransferComplete: the CPE need not be held on the line for them, and a silent one may have booted since.

        Raises:
            UnreadableError: the CPE did not call in, or hung up, or refused to be asked.
        """
        whats = {a: self._what(a) for a in addresses_}
        runs = {a: w for a, w in whats.items() if isinstance(w, str) and w.startswith(addresses.RUN)}
        if runs:
            rest = await self.read([a for a in addresses_ if a not in runs])
            return {**rest, **{a: await effects_session.run_seen(self, w) for a, w in runs.items()}}
        asked = [w for w in whats.values() if w not in addresses.TOLD]
        found: dict[str, CachedParameter] = {}
        tables: dict[str, dict[str, CachedParameter]] = {}
        if whats and not asked:
            await self.wait_for_news(self._heard)
            self._heard = self.news
        else:
            call = await self.wait()
        if asked:
            found = await self._values_and_key(call, [w for w in asked if isinstance(w, str)])
            for table in dict.fromkeys(w.table for w in asked if isinstance(w, TableRow)):
                tables[table] = await self.below(call, table)
        now_s, cpe = int(self._clock.wall_s()), self.cpe()
        seen = {a: self._seen(w, found, tables, cpe, now_s) for a, w in whats.items()}
        await self._judge_written(seen)
        return seen

    def _what(self, addr: Address) -> str | TableRow:
        """Return the parameter or row that an address names at this CPE."""
        if target_of(addr) != self.target.id:
            raise UnreadableError(
                f"{addr}: expected an address of {self.target.id}", reason=TargetReason.UNKNOWN_TARGET
            )
        try:
            return what_of(addr)
        except BadAddressError as err:
            raise UnreadableError(f"{addr}: {err}", reason=TargetReason.UNKNOWN_TARGET) from err

    async def _judge_written(self, seen: Mapping[Address, Seen]) -> None:
        """Take note of whether setting works with this model, once the last setting is read back."""
        if not self._written or not self._written.keys() <= seen.keys():
            return
        works = all(seen[a].value == value for a, value in self._written.items())
        if works or self._settled:
            self._written = {}
            detail = "" if works else "it said OK, and reads otherwise"
            await self.evidence("set-parameters", works, detail)

    def _seen(
        self,
        what: str | TableRow,
        found: Mapping[str, CachedParameter],
        tables: Mapping[str, Mapping[str, CachedParameter]],
        cpe: Cpe,
        now_s: int,
    ) -> Seen:
        if isinstance(what, TableRow):
            return Seen(rows.value(what, tables[what.table]), now_s)
        if what in addresses.TOLD:
            return Seen(told_value(what, cpe), now_s)
        known = found.get(what)
        if known is None:
            return Seen(ABSENT, now_s)
        # A secret is not read: it is what the CPE took last
        return Seen(self.value_of(what, known), now_s, live=known.value is not None)

    # --- sending

    async def bind(
        self,
        effect: Effect,
        earlier: Earlier = NOTHING_EARLIER,  # noqa: ARG002  a CPE has no sessions that come and go
    ) -> Mapping[Address, Seen]:
        """Return the addresses that an effect acts on, or by which it is proven.

        Raises:
            UnreadableError: it cannot be read now.
        """
        return await effects_session.bind(self, effect, int(self._clock.wall_s()))

    async def send(self, ticket: Ticket) -> Reply:
        """Send a ticket's transitions or its effect to the CPE, which is on the line.

        Raises:
            NotSentError, DriftedError: nothing was changed.
            LostError: the CPE hung up, and the fate of the call is unknown.
        """
        call = self.live
        if call is None:
            raise NotSentError(f"{self.name} is not on the line", reason=TargetReason.SESSION_ENDED)
        if isinstance(ticket.do, Effect):
            self._told.pop(ticket.do.key, None)
            if ticket.do.verb == DIAGNOSE:
                await self._look_at_pending(call)
            return await effects_session.send(self, call, ticket.do)
        await self._unchanged(ticket.do)
        await self._look_at_pending(call)
        self._doubt = call  # it stays where this raises, or is cancelled: `settle` hangs up then
        if any(isinstance(self._what(t.address), TableRow) for t in ticket.do):
            reply = await rows_session.send(self, call, ticket.do, step_key(ticket), earlier_keys(ticket))
        else:
            reply = await self._set(call, ticket.do, step_key(ticket))
        self._doubt = None
        if reply.accepted:
            self._written, self._settled = _provable(ticket.do), False
            self._later = call if reply.reason is TargetReason.OK_LATER else None
        return reply

    async def _look_at_pending(self, call: CwmpSession) -> None:
        """Find out whether a secret in doubt was taken: its ParameterKey tells, and will not after the next setting."""
        try:
            await self.settle_secrets(call)
        except UnreadableError as err:
            raise NotSentError(f"it could not be read: {err}", reason=err.reason) from err

    async def _unchanged(self, writes: Sequence[Transition]) -> None:
        try:
            seen = await self.read([w.address for w in writes])
        except UnreadableError as err:
            raise NotSentError(f"it could not be read before it was to be written: {err}", reason=err.reason) from err
        if unreadable := [_path(w.address) for w in writes if _is_unreadable(seen[w.address].value)]:
            raise NotSentError(
                f"{', '.join(unreadable)} reads what cannot be decoded, and could not be put back",
                reason=CwmpReason.UNREADABLE_VALUE,
            )
        drifted = {w.address: seen[w.address] for w in writes if seen[w.address].value != w.before.value}
        if drifted:
            raise DriftedError(f"{', '.join(_path(a) for a in drifted)} reads otherwise by now", observed=drifted)

    async def _set(self, call: CwmpSession, writes: Sequence[Transition], key: str) -> Reply:
        """Set parameters, all or none. Secrets that are set are noted before, by the key that proves it."""
        values: list[ParameterValue] = []
        secrets: dict[str, str] = {}
        for write in writes:
            path = _path(write.address)
            after = {} if write.after is ABSENT else write.after
            field = after.get(addresses.VALUE)
            text = field if isinstance(field, str) else None
            if text is not None and classify(path) is Sensitivity.SECRET:  # the inverse of a secret that we never knew
                raise NotSentError(
                    f"{path}: what it was before is not known: set a new one", reason=CwmpReason.SECRET_UNKNOWN
                )
            if isinstance(field, SecretRef):
                secrets[path] = field.commit
                text = self._book.secret(field.commit)
            if text is None:
                raise NotSentError(
                    f"{path}: the secret to be set is no longer kept: ask anew", reason=CwmpReason.SECRET_GONE
                )
            values.append(self.typed(path, text))
        if secrets:
            if not self.cpe().takes_secrets:  # refused or unbound since the "about to"
                raise NotSentError(
                    f"no secret goes into {self.name} any more: no approved change accepts it",
                    reason=CwmpReason.NOT_ASSURED,
                )
            user = self._user_after(values)
            if (owner := self._book.owner(user)) is not None and owner != self.name:
                raise NotSentError(f"{user} is the user of {owner}", reason=CwmpReason.LOGIN_TAKEN)
            # Before it is sent: where the answer is lost, the CPE comes with its new password, which must be known then
            await self._book.setting(self.name, Pending(key, secrets), user)
        try:
            reply = await self.set_values(call, values, key)
        except NotSentError:
            if secrets:
                await self._book.was_not_set(self.name, key)
            raise
        if reply.accepted and secrets:
            await self._book.was_set(self.name, secrets)
        elif secrets:
            await self._book.was_not_set(self.name, key)
        return reply

    def _user_after(self, values: Sequence[ParameterValue]) -> str:
        """Return the name by which the CPE calls in once values are set: a new one, or the one that it has."""
        path = f"{self.cpe().root}{_USERNAME}"
        if (set_ := next((v.value.text for v in values if v.name == path), None)) is not None:
            return set_
        has = self._book.values(self.name, [path]).get(path)
        return "" if has is None or has.value is None else has.value

    async def settle(self) -> None:
        """Hang up if a request is in doubt: nothing of a session that is over takes effect later.

        A CPE that calls in again has applied the settings that it put off: its session is let go.
        """
        if self._doubt is not None:
            self._doubt.hang_up()
        if self._later is not None:
            self._later.release()
            with trio.move_on_after(limits.READ_WAIT_S):
                await self._later.over.wait()
        self._doubt = self._later = None
        self._settled = True
        await trio.lowlevel.checkpoint()

    def undecided(self, ticket: Ticket) -> bool:
        """Return whether secrets of the ticket were sent, and neither an answer nor a ParameterKey told their fate."""
        if isinstance(ticket.do, Effect):
            return False
        sets = {
            (_path(write.address), field.commit)
            for write in ticket.do
            if not isinstance(write.after, Absent)
            for field in write.after.values()
            if isinstance(field, SecretRef)
        }
        pending = self._book.pending(self.name) if sets else ()
        return any(not sets.isdisjoint(each.secrets.items()) for each in pending)

    async def busy(self) -> Busy | None:
        """Return that the CPE is not on the line, or not to be touched, or None."""
        await trio.lowlevel.checkpoint()
        if self.live is None:
            return Busy(TargetReason.NOT_ON_THE_LINE, f"{self.name} has not called in")
        return None

    def notes(self) -> Sequence[str]:
        """Return nothing: a preview's words on a CPE are in its item."""
        return ()

    # --- proofs, and late results

    def tells(self, effect: Effect) -> bool:
        """Return whether the proof of an effect stands in an Inform: nothing can be learned by holding the CPE."""
        return effect.verb != DIAGNOSE

    def proof_of(self, effect: Effect) -> str:
        """Return the proof of an effect, such as `boot seen`."""
        return proof_text(effect)

    def tell(self, key: str, reply: Reply) -> None:
        """Take note of a CPE's report on something that it was asked to do, by its CommandKey."""
        self._told[key] = reply
        self.told()
        if len(self._told) > limits.TOLD:
            del self._told[next(iter(self._told))]

    def late_result(self, ticket: Ticket) -> Reply | None:
        """Return the CPE's later report on an effect that it had accepted; None: none yet."""
        return self._told.get(ticket.do.key) if isinstance(ticket.do, Effect) else None


def _provable(writes: Sequence[Transition]) -> dict[Address, Value]:
    """Return the addresses to read back after writes; that a secret reads as it was set proves nothing."""
    return {
        w.address: w.after
        for w in writes
        if w.after is ABSENT or not any(isinstance(field, SecretRef) for field in w.after.values())
    }


def _is_unreadable(value: Value) -> bool:
    """Return whether some value that was read cannot be decoded."""
    return value is not ABSENT and any(isinstance(field, str) and UNREADABLE in field for field in value.values())


def step_key(ticket: Ticket) -> str:
    """Return the ParameterKey of a step, at most 32 characters."""
    return f"{_keys(ticket)}{ticket.attempt}"[:32]


def earlier_keys(ticket: Ticket) -> str:
    """Return the beginning of the ParameterKeys of a step's earlier tries; "": this is the first."""
    return _keys(ticket) if ticket.attempt > 1 else ""


def _keys(ticket: Ticket) -> str:
    return f"{ticket.plan_id[:12]}-{ticket.item}-{ticket.step}{ticket.direction.value[0]}"


def _path(addr: Address) -> str:
    return addr.split("/", 2)[2]
