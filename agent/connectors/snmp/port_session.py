"""A session with one device: its ports are read, written and read back.

* Reads go by the reading credential, whatever they are for; only a SET goes by the other one.
* A SET is sent once. After silence the device is read; until `SETTLE_S` have passed a SET may still arrive.
* A power cycle leaves its send with the power on, or in doubt: then `finish` switches it on, for as long as it takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from agent.connectors.base import (
    NOTHING_EARLIER,
    Busy,
    DriftedError,
    Earlier,
    LostError,
    NotSentError,
    Reply,
    UnreadableError,
)
from agent.connectors.snmp import conversions, port_plans, values
from agent.connectors.snmp.client_session import SnmpClient, open_client
from agent.connectors.snmp.configuration import SnmpDevice
from agent.connectors.snmp.device_session import SnmpDeviceLine, credential_of
from agent.connectors.snmp.errors import (
    AgentFaultError,
    RequestRefusedError,
    SilentError,
    SnmpError,
    UnsentRequestError,
)
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.port_addresses import CYCLE, IDENTITY, NOW, WAY, PortAddress, parse
from agent.connectors.snmp.port_cuts import PortCuts
from agent.connectors.snmp.port_rows import PortCell, PortReader, WritablePort, field_values, reader_of, wire_value
from agent.connectors.snmp.port_ways import WayFacts, judge_way
from agent.connectors.snmp.profile import ADMIN, POWER
from agent.connectors.snmp.reasons import SnmpReason
from agent.connectors.snmp.values import MISSING, Oid, Value
from agent.connectors.snmp.way_reading_session import way_facts
from agent.model import ABSENT, Address, Effect, Seen, Target, Ticket, Transition
from agent.model import Value as FieldValues
from agent.reasons import TargetReason
from agent.runtime.clock import Clock

SETTLE_S: Final = 3.0
"""How long after its client gave up a SET may still arrive. Chosen arbitrarily: UDP is queued for milliseconds."""
LOOKS_S: Final = 4.0
"""How long the effect of a SET that was answered is looked for: some agents apply it after their answer."""
LOOK_S: Final = 0.2
UNREAD_S: Final = 30.0
"""How long a port whose power was switched off is looked at where the device does not answer: nothing tells then that
it was cut, and switching it on may not arrive either. Chosen arbitrarily."""
POWER_TRIES: Final = 4
"""How often power is switched on again before the send leaves that to `finish`."""
DELIVERS_S: Final = 10.0
"""How long it is looked whether a port delivers power again as before: detection takes a second or two."""
_BRIDGE: Final = values.oid("1.3.6.1.2.1.17.1.1.0")
_ENGINE: Final = values.oid("1.3.6.1.6.3.10.2.1.1.0")
_UP: Final = "up"
_V1_DENIED: Final = frozenset({"noSuchName", "readOnly"})
_RIGHTS: Final = frozenset({"noAccess", "authorizationError", "readOnly"})
_VALUES: Final = frozenset({"wrongValue", "wrongType", "wrongLength", "wrongEncoding", "badValue", "inconsistentValue"})
_LATER: Final = frozenset({"resourceUnavailable", "commitFailed", "undoFailed", "genErr"})


@dataclass(frozen=True, slots=True)
class _Ports:
    """The ports of a device as they are read now. `identity`: marks that tell it from another one."""

    rows: Mapping[str, WritablePort]
    identity: Mapping[str, str]
    read_s: int


class PortSession:
    """Implements `agent.connectors.base.Session` and `FinishesEffects`. Used by several tasks at once."""

    def __init__(
        self,
        target: Target,
        line: SnmpDeviceLine,
        secrets: Callable[[str], bytes],
        cuts: PortCuts,
        clock: Clock,
    ) -> None:
        """Put the parts together; nothing is sent yet.

        Args:
            target: which target this is.
            line: the way by which the device is read.
            secrets: the vault: name -> secret, or UnreadableError.
            cuts: when ports were seen without power.
            clock: of pauses and times.
        """
        self.target = target
        self._line, self._secrets, self._cuts, self._clock = line, secrets, cuts, clock
        self._reader: tuple[object, PortReader] | None = None
        # An earlier life of the agent may have been killed with a SET on its way
        self._settled_boot_s = clock.boot_s() + SETTLE_S

    @property
    def _device(self) -> SnmpDevice:
        return self._line.device

    # --- reading ---

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address.

        Raises:
            UnreadableError: the device cannot be asked, an address is not one of its, or it is that of the power cycle
                of a port that is without power now.
        """
        wanted = {text: self._parse(text) for text in addresses}
        if not wanted:
            return {}
        ports, client = await self._ports()
        facts: WayFacts | None = None
        if any(one.what == WAY for one in wanted.values()):
            try:
                facts = await way_facts(client)
            except SnmpError as err:
                raise self._line.lost(err) from err
            finally:
                client.close()
        return {text: Seen(self._value(text, one, ports, facts), ports.read_s) for text, one in wanted.items()}

    def _parse(self, text: Address) -> PortAddress:
        found = parse(self.target.id, text)
        if found is None:
            raise UnreadableError(
                f"{self.target.id}: {text[:200]} is none of its addresses", reason=TargetReason.UNSUPPORTED
            )
        return found

    async def _ports(self) -> tuple[_Ports, SnmpClient]:
        """Return the ports, found by their names now, and the client that read them.

        Raises:
            UnreadableError: the device cannot be asked.
        """
        client, profile, hello = await self._line.recognized()
        if self._reader is None or self._reader[0] is not profile:
            self._reader = (profile, reader_of(profile))
        reader = self._reader[1]
        wanted, columns = reader.wanted, dict[Oid, Mapping[bytes, Value]]()
        try:
            scalars = dict(await client.get((*wanted.scalars, _BRIDGE, _ENGINE)))
            for group in wanted.columns:
                columns |= await client.table(group)
        except SnmpError as err:
            raise self._line.lost(err) from err
        finally:
            client.close()
        read_s = int(self._clock.wall_s())
        rows, serial = reader.rows(read_s, scalars, columns)
        bridge, engine = (_hex(scalars.get(name)) for name in (_BRIDGE, _ENGINE))
        kind = conversions.plain((values.OBJECT_IDENTIFIER, hello.object_id))
        identity = {"object-id": "" if kind is None else str(kind), "serial": serial}
        identity |= {"bridge": bridge}
        if not serial and not bridge:  # some agents make a new one at each start
            identity |= {"engine": engine}
        return _Ports(rows, {name: text for name, text in identity.items() if text}, read_s), client

    def _value(self, text: Address, of: PortAddress, ports: _Ports, facts: WayFacts | None) -> FieldValues:
        if of.of == IDENTITY:
            return dict(ports.identity)
        if not of.port:
            return {key: port_plans.names_of(row.names, ambiguous=row.ambiguous) for key, row in ports.rows.items()}
        row = ports.rows.get(of.port)
        if row is None or row.ambiguous:
            return ABSENT
        if of.what == NOW:
            return _shown(row)
        if of.what == WAY and facts is not None:
            found = judge_way(row, ports.rows.values(), facts)
            return {port_plans.CARRIES: found.carries, port_plans.NOT_CHECKED: found.not_checked}
        if of.what != CYCLE:
            return field_values(of.what, row.cells.get(of.what))
        power = field_values(POWER, row.cells.get(POWER))
        if power is ABSENT:
            return ABSENT
        if power.get(POWER) != "on":
            raise UnreadableError(
                f"{self.target.id}: {row.part.name} is without power now", reason=TargetReason.UNREADABLE
            )
        return {"last-off": self._cuts.last(text)}

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:  # noqa: ARG002  of the protocol
        """Return when the port's power was last seen off.

        Raises:
            UnreadableError: the device cannot be asked, or the port is not there, or without power now.
        """
        if self._parse(effect.address).what != CYCLE or effect.verb != port_plans.POWER_VERB:
            raise UnreadableError(
                f"{self.target.id}: no effect {effect.verb!r} on that address", reason=TargetReason.REFUSED
            )
        seen = await self.read([effect.address])
        if seen[effect.address].value is ABSENT:
            raise UnreadableError(
                f"{self.target.id}: {effect.address} is no longer there", reason=TargetReason.UNREADABLE
            )
        return seen

    def notes(self) -> Sequence[str]:
        """Return nothing: notes stand at each port."""
        return ()

    async def busy(self) -> Busy | None:
        """Return None: a device is not asked for its load."""
        await trio.lowlevel.checkpoint()
        return None

    async def settle(self) -> None:
        """Return when no SET can arrive any more that was not answered, nor take effect that was."""
        await self._clock.sleep_until_boot(self._settled_boot_s)

    # --- writing ---

    async def send(self, ticket: Ticket) -> Reply:
        """Write the ticket's transitions, all or none, if they still read *before*; or cycle the power of a port.

        Raises:
            NotSentError: nothing was sent. DriftedError: nor will it be, a port reads otherwise.
            LostError: the fate is unknown.
        """
        try:
            async with self._writer() as client:
                if isinstance(ticket.do, tuple):
                    return await self._write(client, ticket.do)
                return await self._cycle(client, ticket.do)
        except UnreadableError as err:  # of the looks before anything is sent
            raise NotSentError(str(err), reason=err.reason) from err

    @asynccontextmanager
    async def _writer(self) -> AsyncIterator[SnmpClient]:
        """Lend a client of the writing credential.

        Raises:
            UnreadableError: there is none, its secret is missing or is that of the reading one, or no such host.
        """
        device = self._device
        if (why := write_problem(device, self._secrets)) is not None:
            raise UnreadableError(f"{device.id}: {why[1]}", reason=why[0])
        if device.write is None:
            raise UnreadableError(device.id, reason=SnmpReason.NO_WRITE_CREDENTIAL)
        credential = credential_of(device.write, self._secrets)
        limits = SnmpLimits(timeout_s=device.timeout_s, retries=device.retries)
        try:
            async with open_client(device.address, device.port, credential, limits) as client:
                yield client
        except UnsentRequestError as err:
            raise UnreadableError(str(err), reason=TargetReason.UNREACHABLE) from err

    async def _write(self, client: SnmpClient, writes: tuple[Transition, ...]) -> Reply:
        ports, _ = await self._ports()
        todo: dict[Oid, Value] = {}
        observed = {one.address: Seen(self._value_of(one.address, ports), ports.read_s) for one in writes}
        for write in writes:
            # SNMP has no conditional SET: this look, right before it, is all the condition that there is
            if observed[write.address].value != write.before.value:
                raise DriftedError(f"{write.address} no longer reads as in the preview", observed=observed)
            oid, value = self._wire(write, ports)
            todo[oid] = value
        if (refused := await self._set(client, todo)) is not None:
            return refused
        self._settled_boot_s = max(self._settled_boot_s, self._clock.boot_s() + LOOKS_S)
        return Reply(True, TargetReason.DONE, await self._told(writes))

    def _value_of(self, text: Address, ports: _Ports) -> FieldValues:
        return self._value(text, self._parse(text), ports, None)

    def _wire(self, write: Transition, ports: _Ports) -> tuple[Oid, Value]:
        of = self._parse(write.address)
        row = ports.rows.get(of.port)
        cell = None if row is None else row.cells.get(of.what)
        value = None if cell is None else wire_value(of.what, cell, write.after)
        if cell is None or value is None:
            raise NotSentError(f"{write.address}: cannot be written so", reason=TargetReason.UNWRITABLE)
        return cell.oid, value

    async def _told(self, writes: tuple[Transition, ...]) -> str:
        """Return the device's word on the link of a port that was switched off, once it is down."""
        down = [self._parse(one.address) for one in writes if one.after == {ADMIN: "down"}]
        if not down:
            return ""
        until = self._clock.boot_s() + LOOKS_S
        while True:
            try:
                ports, _ = await self._ports()
            except UnreadableError:
                return ""  # the read-back says so
            cell = ports.rows[down[0].port].cells.get(ADMIN) if down[0].port in ports.rows else None
            told = "" if cell is None else cell.told
            if told != _UP or self._clock.boot_s() >= until:
                break
            await self._clock.sleep(LOOK_S)
        if not told:
            return "ifOperStatus is not shown: that the link is down is accepted, not provable"
        return f"ifOperStatus reads {told}"

    async def _set(self, client: SnmpClient, todo: Mapping[Oid, Value]) -> Reply | None:
        """Send a SET; return the device's refusal, None: it took it.

        Raises:
            LostError: no answer came.
            UnreadableError: nothing could be sent.
        """
        try:
            await client.set(todo)
        except SilentError as err:
            self._settled_boot_s = self._clock.boot_s() + SETTLE_S
            why = f"{err}; where it answers reads, its write community is wrong, or may not write"
            raise LostError(why, reason=TargetReason.TIMEOUT) from err
        except RequestRefusedError as err:
            return refusal(err)
        except AgentFaultError as err:
            self._settled_boot_s = self._clock.boot_s() + SETTLE_S
            raise LostError(str(err), reason=TargetReason.MALFORMED) from err
        except UnsentRequestError as err:
            raise UnreadableError(str(err), reason=TargetReason.UNREACHABLE) from err
        return None

    # --- power ---

    async def _cycle(self, client: SnmpClient, effect: Effect) -> Reply:
        of = self._parse(effect.address)
        if of.what != CYCLE or effect.verb != port_plans.POWER_VERB:
            raise NotSentError(f"{self.target.id}: no effect {effect.verb!r} there", reason=TargetReason.UNSUPPORTED)
        ports, _ = await self._ports()
        self._refuse_another(effect, ports)
        row = ports.rows.get(of.port)
        cell = None if row is None or row.ambiguous else row.cells.get(POWER)
        if cell is None or field_values(POWER, cell) != {POWER: "on"}:
            raise NotSentError(f"{effect.address}: its power is not on, nothing was sent", reason=TargetReason.DRIFTED)
        outlet = _outlet(cell)
        if (was := effect.args.get(port_plans.OUTLET_ARG, outlet)) != outlet:
            why = f"{effect.address}: its outlet is {outlet} now, and was {was} in the preview"
            raise NotSentError(why, reason=TargetReason.DRIFTED)
        off, on = ((values.INTEGER, cell.how.number(word)) for word in ("off", "on"))
        lost: LostError | None = None
        refused: Reply | None = None
        seen_off: bool | None = None
        before = self._cuts.last(effect.address)
        try:
            try:
                refused = await self._set(client, {cell.oid: off})
            except LostError as err:
                lost = err
            # Also after an error: an agent that answers one, and does it all the same, is no fiction
            seen_off = await self._look(of.port, "off", None if refused is None else 0, UNREAD_S)
            if seen_off:
                await self._cuts.read_off(effect.address, self.target.id)
                await self._clock.sleep(float(effect.args.get(port_plans.OFF_ARG, str(port_plans.OFF_S))))
        finally:  # whatever came in between: an error of the store, the end of the time for one send
            with trio.CancelScope(shield=True):
                never = refused is not None and seen_off is False
                is_on = never or await self._switch_on(client, effect, on, unseen=seen_off is None)
        if not is_on:
            text = f"{effect.address}: power was switched off, and it is not seen that it is on again"
            raise LostError(text, reason=TargetReason.TIMEOUT)
        if self._cuts.last(effect.address) != before:
            seen_off = True
        if seen_off is None:
            text = f"{effect.address}: the device was silent after it was told to: power may have been off"
            raise LostError(text, reason=TargetReason.TIMEOUT) from lost
        if not seen_off and lost is not None:
            raise lost
        if not seen_off:
            return refused or Reply(
                False,
                TargetReason.ACCEPTED_WITHOUT_EFFECT,
                "the device answered noError, and its power still read on: no cut was seen",
            )
        return Reply(True, TargetReason.DONE, await self._delivers(of.port, cell.told))

    async def _look(self, port: str, word: str, within_s: float | None = None, unread_s: float = 0.0) -> bool | None:
        """Return whether a port's power is seen to read so within so many seconds; None: it was not read all the while.

        Args:
            port: which.
            word: the reading.
            within_s: None: `LOOKS_S`.
            unread_s: seconds more where it cannot be read then.
        """
        until = self._clock.boot_s() + (LOOKS_S if within_s is None else within_s)
        blind = False
        while True:
            try:
                found = _power((await self._ports())[0], port)
            except UnreadableError:
                found = ""
            if found == word:
                return True
            blind = blind or not found
            if self._clock.boot_s() >= until + (0.0 if found else unread_s):
                return None if blind else False
            await self._clock.sleep(LOOK_S)

    async def _switch_on(self, client: SnmpClient, effect: Effect, on: Value, *, unseen: bool) -> bool:
        """Switch a port's power on, wherever it stands in the tables by now; return whether it is seen to be on.

        A SET is sent even where it reads on: one that switches it off may be on its way still.

        Args:
            client: of the writing credential.
            effect: the cycle of that port.
            on: the value for on.
            unseen: whether the port could not be read since it was to be cut: if it reads off now, that is the proof.
        """
        port = self._parse(effect.address).port
        for _ in range(POWER_TRIES):
            try:
                ports, _ = await self._ports()
                row = ports.rows.get(port)
                if row is not None and POWER in row.cells:
                    try:
                        if unseen and _power(ports, port) == "off":
                            await self._cuts.read_off(effect.address, self.target.id)
                    finally:  # no error of the store leaves anybody without power
                        await self._set(client, {row.cells[POWER].oid: on})
                if self._settled_boot_s <= self._clock.boot_s() and await self._look(port, "on"):
                    return True
            except (LostError, UnreadableError):
                pass
            await self.settle()
            if await self._look(port, "on"):
                return True
        return False

    async def _delivers(self, port: str, before: str) -> str:
        """Return the device's word on a port's power after a cycle, waiting until it is as before."""
        until, told = self._clock.boot_s() + DELIVERS_S, ""
        while told != before or not told:
            try:
                ports, _ = await self._ports()
                told = ports.rows[port].cells[POWER].told if port in ports.rows else ""
            except UnreadableError:
                told = ""
            if self._clock.boot_s() >= until or (told == before and told):
                break
            await self._clock.sleep(LOOK_S)
        seen = "seen off, then on again"
        if not told:
            return f"{seen}; the device does not tell whether power is delivered: accepted, not provable"
        return f"{seen}: {told}" if told == before else f"{seen}; LOOK: it read {before or 'nothing'}, and now {told}"

    async def finish(self, ticket: Ticket) -> None:
        """Switch on the power of a port that a cycle may have left without.

        Raises:
            UnreadableError: the device cannot be asked now, another one is at its address, or the power is not seen to
                be on: ask again.
        """
        if not isinstance(ticket.do, Effect) or self._parse(ticket.do.address).what != CYCLE:
            return
        await self.settle()
        port = self._parse(ticket.do.address).port
        ports, _ = await self._ports()
        self._refuse_another(ticket.do, ports)
        row = ports.rows.get(port)
        if row is None or POWER not in row.cells:
            raise UnreadableError(f"{ticket.do.address}: the port is not seen", reason=TargetReason.UNREADABLE)
        if _power(ports, port) == "on":
            return
        await self._cuts.read_off(ticket.do.address, self.target.id)
        cell = row.cells[POWER]
        async with self._writer() as client:
            if not await self._switch_on(client, ticket.do, (values.INTEGER, cell.how.number("on")), unseen=False):
                raise UnreadableError(f"{ticket.do.address}: power is not seen on", reason=TargetReason.UNREADABLE)

    def _refuse_another(self, effect: Effect, ports: _Ports) -> None:
        """Raise UnreadableError where another device has ports of the same names: its power may be off on purpose."""
        if port_plans.is_another(effect, dict(ports.identity)):
            raise UnreadableError(f"{effect.address}: another device is at its address", reason=TargetReason.UNREADABLE)


def _power(ports: _Ports, port: str) -> str:
    row = ports.rows.get(port)
    found = ABSENT if row is None else field_values(POWER, row.cells.get(POWER))
    return "" if found is ABSENT else str(found.get(POWER, ""))


def _shown(row: WritablePort) -> Mapping[str, str]:
    admin, power = row.cells.get(ADMIN), row.cells.get(POWER)
    told = {
        "name": row.part.name,
        "alias": row.part.alias,
        "oper": "" if admin is None else admin.told,
        "power": "" if power is None else power.told,
        "power-row": "" if power is None else _outlet(power),
    }
    return {name: text for name, text in told.items() if text}


def _outlet(power: PortCell) -> str:
    """Return the number of the outlet that a port is taken to have, as in POWER-ETHERNET-MIB."""
    return values.dotted(power.oid).removeprefix(f"{values.dotted(power.how.of.column)}.")


def _hex(value: Value | None) -> str:
    return "" if value is None or value[0] in MISSING or not isinstance(value[1], bytes) else value[1].hex()


def write_problem(device: SnmpDevice, secrets: Callable[[str], bytes]) -> tuple[SnmpReason, str] | None:
    """Return why a device cannot be changed, with its reason; None: it has a credential of its own for that.

    Raises:
        UnreadableError: a secret is missing.
    """
    if device.write is None:
        return SnmpReason.NO_WRITE_CREDENTIAL, "no write_credential is configured for it: it is only read"
    read, write = credential_of(device.access, secrets), credential_of(device.write, secrets)
    if read.community and read.community == write.community:
        return SnmpReason.SAME_SECRET, "the communities for reading and for writing are the same text"
    return None


def refusal(err: RequestRefusedError) -> Reply:
    """Return a device's refusal of a SET, with its meaning."""
    status = err.status
    if status in _V1_DENIED:
        why = "the write credential may not write it, or the device does not let it be written"
    elif status == "notWritable":
        why = "the device does not let it be written"
    elif status in _RIGHTS:
        why = "the write credential has no right to write it"
    elif status in _VALUES:
        why = "the device does not take this value now"
    elif status in _LATER:
        why = "the device could not do it: ask again later"
    elif status.startswith("usm"):
        why = "the write credential is wrong: user, protocols or secrets"
    else:
        why = "nothing was set"
    return Reply(False, SnmpReason.SET_REFUSED.numbered(status), f"{err}: {why}")
