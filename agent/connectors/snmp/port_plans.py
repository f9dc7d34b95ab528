"""A wish for a port becomes steps, from live reads of its device. Pure.

* A port is meant by its ifName, its ifDescr or the end of its key; a name that several ports have means none of them.
* A step rests on the device being the same one, and on the agent's own way not leading over a port that is cut: both
  are read again just before the first byte.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from agent.connectors.base import CannotEnforce, PortChange, PortPlan, PortWish
from agent.connectors.snmp.port_addresses import CYCLE, IDENTITY, NOW, PORTS, WAY, address
from agent.connectors.snmp.profile import ADMIN, ALIAS, ALIAS_OCTETS, POWER
from agent.connectors.snmp.reasons import SnmpReason
from agent.model import ABSENT, Address, Effect, ProofKind, Replay, Seen, Step, Transition, Value
from agent.reasons import TargetReason
from trust import chance

OFF_S: Final = 5
"""Seconds without power: capacitors of small devices are empty by then."""
OFF_MOST_S: Final = 60
"""Nobody is left without power for longer by a cycle; the whole of it fits into one send."""
OFF_ARG, ENDS_ARG, OUTLET_ARG = "off-s", "ends", "outlet"
MARKS: Final = ("serial", "bridge")
"""Marks of a device that a cycle names: it ends at that one, also after a restart of the agent."""
POWER_VERB: Final = "power-cycle"
_WITHIN_S: Final = 30
_NAMED: Final = 8
CARRIES, NOT_CHECKED = "carries", "not-checked"
_WRITTEN: Final = {PortChange.ADMIN: ADMIN, PortChange.ALIAS: ALIAS, PortChange.POWER_CYCLE: POWER}


def reads(target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]) -> Collection[Address]:
    """Return the addresses that a plan needs and that `seen` lacks."""
    names = address(target, PORTS)
    if names not in seen:
        return [names]
    key = find(port, seen[names].value)
    if isinstance(key, CannotEnforce):
        return []
    whats = [_WRITTEN[wish.what], NOW, *([WAY] if wish.cuts else [])]
    wanted = [address(target, IDENTITY), *(address(target, PORTS, key, what) for what in whats)]
    return [one for one in wanted if one not in seen]


def find(port: str, names: Value) -> str | CannotEnforce:
    """Return the key in addresses of the port that a person means."""
    known: dict[str, tuple[str, ...]] = {}
    for key, called in {} if names is ABSENT else names.items():
        known[key] = called if isinstance(called, tuple) else (str(called),)
    exact = [key for key, called in known.items() if port in called]
    found = exact or [key for key, called in known.items() if port.lower() in (one.lower() for one in called)]
    if not found:
        shown = ", ".join(called[-1] for called in list(known.values())[:_NAMED])
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        return CannotEnforce(SnmpReason.NO_SUCH_PORT, f"there is no port {port[:64]}; it has {shown or 'none'}{more}")
    if len(found) > 1 or names is ABSENT or not isinstance(names[found[0]], tuple):
        text = f"several ports are called {port[:64]}: {', '.join(found[:_NAMED])}"
        return CannotEnforce(SnmpReason.AMBIGUOUS_PORT, text)
    return found[0]


def names_of(names: tuple[str, ...], *, ambiguous: bool) -> str | tuple[str, ...]:
    """Return the names of a port as `find` knows them: one text where others have its name too."""
    return names[1] if ambiguous and len(names) > 1 else tuple(filter(None, names))


def plan(target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]) -> PortPlan | CannotEnforce:
    """Return the steps for a port, or why nothing is done with it."""
    key = find(port, seen[address(target, PORTS)].value)
    if isinstance(key, CannotEnforce):
        return key
    now = seen[address(target, PORTS, key, NOW)].value
    told = {} if now is ABSENT else {name: str(text) for name, text in now.items()}
    where = address(target, PORTS, key, _WRITTEN[wish.what])
    before = seen[where]
    if before.value is ABSENT:
        return CannotEnforce(SnmpReason.NOT_SHOWN, f"{told.get('name', key)}: {_LACKS[wish.what]}")
    not_checked: tuple[str, ...] = ()
    rests_on = [address(target, IDENTITY)]
    if wish.cuts:
        way_at = address(target, PORTS, key, WAY)
        way = seen[way_at].value
        carries, unknown = ("it is no longer there", "") if way is ABSENT else (way[CARRIES], way[NOT_CHECKED])
        if carries:
            return CannotEnforce(SnmpReason.OWN_WAY, f"{told.get('name', key)}: {carries}")
        not_checked = unknown if isinstance(unknown, tuple) else ()
        rests_on.append(way_at)
    display = {"title": f"port {told.get('name', key)} of {target.partition('/')[2]}", "now": _now_text(told)}
    step = _step(target, key, wish, before, told, marks_of(seen[address(target, IDENTITY)].value))
    if isinstance(step, CannotEnforce):
        return step
    if step is None:
        return PortPlan(f"port/{key}", (), display)
    if not told_apart(seen[address(target, IDENTITY)].value):
        display["now"] = " · ".join(filter(None, (display["now"], _ONE_OF_MANY)))
    if isinstance(step.do, Effect):
        rests_on.append(where)
        display |= {"after": _CYCLED, "proof": _CYCLE_PROOF, "undo": "cannot be undone: what it feeds starts again"}
    else:
        display |= {"after": f"checked, then written: SNMP has no conditional write; then read back; {_NOT_SAVED}"}
        if wish.cuts:
            display["proof"] = "ifAdminStatus reads down, and ifOperStatus no longer up where the device tells it"
    return PortPlan(f"port/{key}", (step,), display, tuple(rests_on), not_checked)


_NOT_SAVED: Final = "a restart of the device may undo it (SNMP has no standard way to save)"
_ONE_OF_MANY: Final = "it tells no serial number: another of its kind at its address would not be noticed"
_CYCLED: Final = (
    "power off, a wait, power on again, as one step: a cancel, a freeze or a crash of the agent in between ends it "
    "with power on; if the agent's host does not come back, power stays off"
)
_CYCLE_PROOF: Final = "the port is read off, then read on again; whether it delivers power again is told"
_LACKS: Final[Mapping[PortChange, str]] = {
    PortChange.ADMIN: "the device shows no ifAdminStatus of it",
    PortChange.ALIAS: "the device shows no ifAlias of it",
    PortChange.POWER_CYCLE: "the device shows no power over Ethernet of it (pethPsePortAdminEnable)",
}


def _now_text(told: Mapping[str, str]) -> str:
    parts = [f"link {told['oper']}"] if told.get("oper") else []
    parts += [f"PoE {told['power']} (outlet {told['power-row']})"] if told.get("power") else []
    parts += [f"description {told['alias']!r}"] if told.get("alias") else []
    return " · ".join(parts)


def marks_of(identity: Value) -> Mapping[str, str]:
    """Return the marks of a device that stay when it restarts."""
    return {} if identity is ABSENT else {name: str(identity[name]) for name in MARKS if name in identity}


def told_apart(identity: Value) -> bool:
    """Return whether a device tells a mark that others of its kind do not have."""
    return identity is not ABSENT and not identity.keys() <= {"object-id"}


def is_another(effect: Effect, identity: Value) -> bool:
    """Return whether a device is not the one that an effect names: none of its marks reads as it did.

    One may change by itself: a stack of switches takes them from the member that leads it.
    """
    now = marks_of(identity)
    then = {name: text for name, text in effect.args.items() if name in now and name in MARKS}
    return bool(then) and all(now[name] != text for name, text in then.items())


def _step(
    target: str, key: str, wish: PortWish, before: Seen, told: Mapping[str, str], marks: Mapping[str, str]
) -> Step | CannotEnforce | None:
    """Return the step, None where the port is as wanted."""
    if wish.what is PortChange.POWER_CYCLE:
        return _cycle(target, key, wish.value, before, told, marks)
    where, name = address(target, PORTS, key, _WRITTEN[wish.what]), _WRITTEN[wish.what]
    if (wrong := _wrong_value(wish)) is not None:
        return wrong
    after = {name: wish.value}
    if before.value == after:
        return None
    return Step(1, target, (Transition(where, before, after),))


def _wrong_value(wish: PortWish) -> CannotEnforce | None:
    if wish.what is PortChange.ADMIN and wish.value not in ("up", "down"):
        return CannotEnforce(TargetReason.UNWRITABLE, f"expected up or down, got {wish.value[:40]!r}")
    octets = len(wish.value.encode("utf-8", "replace"))
    if wish.what is PortChange.ALIAS and (octets > ALIAS_OCTETS or not (wish.value.isprintable() or not wish.value)):
        text = (
            f"expected a description of at most {ALIAS_OCTETS} octets, without control characters; got {octets} octets"
        )
        return CannotEnforce(TargetReason.UNWRITABLE, text)
    return None


def _cycle(
    target: str, key: str, off_s: str, before: Seen, told: Mapping[str, str], marks: Mapping[str, str]
) -> Step | CannotEnforce:
    text = off_s or str(OFF_S)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= OFF_MOST_S):
        return CannotEnforce(
            TargetReason.UNWRITABLE, f"{OFF_ARG}: expected seconds, 1 to {OFF_MOST_S}, got {off_s[:20]!r}"
        )
    if before.value != {POWER: "on"}:
        return CannotEnforce(SnmpReason.POWER_OFF, f"{told.get('name', key)}: its power over Ethernet is not on")
    # One effect, not two steps: a cancel or a deadline between off and on would leave the port without power (ADR 36)
    effect = Effect(
        address(target, PORTS, key, CYCLE),
        POWER_VERB,
        {OFF_ARG: str(int(text)), ENDS_ARG: "on", OUTLET_ARG: told["power-row"], **marks},
        chance.token_hex(16),
        Replay.IF_UNPROVEN,
        ProofKind.CHANGED,
        _WITHIN_S,
    )
    return Step(1, target, effect)
