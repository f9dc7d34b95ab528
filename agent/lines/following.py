"""How the state of a part follows from its reading and its former state. Pure.

* A device that restarted had its ports down meanwhile: a port that is up is up since then, and that is no flapping.
  A port that was down before and is down after it has been down all the time.
* The device's own "since" decides, where it has one: a port that went down and up between two readings is seen by it.
* A reading that ends just after a notification may have asked before it: the notification stands until the next one.
* A notification that anybody could have sent changes no state: it is told, not read. Forged ones kept a port down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState, Part
from agent.lines.known import LEVELS, Growth, KnownDevice, KnownPart, SinceHow, StateHow
from agent.lines.limits import (
    CHANGES_KEPT,
    EVENT_HOLDS_S,
    FACTS_MAX,
    FADE_DB,
    JITTER_S,
    KEY_CHARS,
    NOT_READ_MAX,
    NUMBER_MOST,
    PLACES_MAX,
    RESTART_S,
    TEXT_CHARS,
    USUAL_SHARE,
    WORD_CHARS,
)

ERRORS: Final = frozenset({"in_errors", "out_errors", "fec_uncorrected", "in_discards", "out_discards"})
"""Counters that tell of a bad line."""
_NO_FACTS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Moment:
    """The times of one reading, by which its parts are judged.

    Args:
        read_s: when it ended, unix seconds.
        before_s: when the one before ended; 0: there was none.
        booted_s: when the device started; 0: not known.
        restarted: whether the device did so since the previous reading.
        replaced: whether another device answers at the address, so that no earlier value is of this one.
    """

    read_s: int
    before_s: int = 0
    booted_s: int = 0
    restarted: bool = False
    replaced: bool = False


def device_after(before: KnownDevice | None, reading: DeviceReading) -> tuple[KnownDevice, Moment]:
    """Return a device as a reading leaves it, and the reading as its parts are judged by it."""
    old = before if before is not None else KnownDevice(reading.target)
    uptime_s = reading.uptime_s if reading.uptime_s is not None and reading.uptime_s >= 0 else None
    booted_s = 0 if uptime_s is None else max(int(reading.read_s - uptime_s), 0)
    replaced = _replaced(old, reading) if old.read_s else ""
    restarted = bool(old.read_s) and not replaced and _restarted(old, reading, booted_s)
    if not restarted and not replaced and old.booted_s and booted_s:
        booted_s = min(old.booted_s, booted_s)  # answers come late, never early
    if restarted and not booted_s:
        booted_s = reading.read_s
    device = KnownDevice(
        reading.target,
        profile=reading.profile[:WORD_CHARS],
        identity=reading.identity[:TEXT_CHARS],
        hardware=reading.hardware[:TEXT_CHARS],
        version=reading.version[:TEXT_CHARS],
        serial=reading.serial[:WORD_CHARS],
        object_id=reading.object_id[:TEXT_CHARS],
        read_s=reading.read_s,
        every_s=reading.every_s,
        booted_s=booted_s,
        boots=_number(reading.boots),
        macs_s=reading.read_s if reading.macs else 0 if replaced else old.macs_s,
        restarts=(*old.restarts, booted_s)[-CHANGES_KEPT:] if restarted else old.restarts,
        replaced_s=reading.read_s if replaced else old.replaced_s,
        replaced=replaced or old.replaced,
        not_read=tuple(text[:TEXT_CHARS] for text in reading.not_read[:NOT_READ_MAX]),
        source=reading.source[:WORD_CHARS],
        places=tuple(place[:TEXT_CHARS] for place in reading.places[:PLACES_MAX]),
        hidden_by=old.hidden_by,
    )
    return device, Moment(reading.read_s, old.read_s, booted_s, restarted, bool(replaced))


def _number(of: int | None) -> int | None:
    """Return a number that a device tells, unless it is none that can be kept."""
    return of if of is not None and 0 <= of <= NUMBER_MOST else None


def _replaced(old: KnownDevice, reading: DeviceReading) -> str:
    """Return the evidence of another device behind the address; "": there is none. A new name alone is a new name."""
    for what, before, now in (
        ("serial number", old.serial, reading.serial[:WORD_CHARS]),
        ("kind of device", old.object_id, reading.object_id[:TEXT_CHARS]),
    ):
        if before and now and before != now:
            return f"{what} was {before}, is {now}"
    return ""


def _restarted(old: KnownDevice, reading: DeviceReading, booted_s: int) -> bool:
    boots = _number(reading.boots)
    if old.boots is not None and boots is not None and old.boots != boots:
        return True
    return bool(old.booted_s and booted_s) and booted_s > old.booted_s + RESTART_S


def part_after(before: KnownPart | None, part: Part, target: str, moment: Moment) -> KnownPart:
    """Return a part as a reading leaves it. `before`: as it was known, None: it was not."""
    old = None if moment.replaced else before
    state, told, how = part.state, part.told[:TEXT_CHARS], StateHow.READ
    if old is not None and _event_stands(old, part, moment):
        state, told, how = old.state, old.told, old.how
    since_s, since_how, changed = _since(old, state, part.since_s, moment)
    changes = () if old is None else old.changes
    if changed and not moment.restarted:
        changes = (*changes, since_s)[-CHANGES_KEPT:]
    kept = old is not None and old.state is not state and bool(old.measures)
    measures = dict(part.measures)
    after = KnownPart(
        target,
        part.key[:KEY_CHARS],
        part.kind,
        part.name[:TEXT_CHARS],
        part.alias[:TEXT_CHARS],
        state,
        told,
        since_s,
        since_how,
        how,
        0 if old is None else old.event_s,
        mac=part.mac[:WORD_CHARS],
        serial=part.serial[:WORD_CHARS],
        parent=part.parent[:KEY_CHARS],
        index=_number(part.index),
        measures=measures,
        usual=_usual({} if old is None else old.usual, measures),
        before={} if old is None else old.measures if kept else old.before,
        before_s=0 if old is None else (old.seen_s or moment.before_s) if kept else old.before_s,
        errors=_errors({} if old is None else old.errors, part.counters, moment),
        facts=_facts(part.facts),
        changes=changes,
    )
    if not after.fading():
        return after
    return replace(after, fades_s=(0 if old is None else old.fades_s) or moment.read_s)


def part_missing(old: KnownPart, moment: Moment, *, unread: bool) -> KnownPart:
    """Return a part that a reading does not have. `unread`: its kind was not read, so it may be there all the same.

    A part that is gone is down: a client that left its radio, an ONU that its OLT forgot. A disabled one stays that.
    """
    seen_s = old.seen_s or moment.before_s
    if unread:
        return old if old.seen_s else replace(old, seen_s=seen_s)
    if old.gone:
        return old
    if old.state is not LinkState.UP:
        return replace(old, seen_s=seen_s, gone=True)
    return replace(
        old,
        state=LinkState.DOWN,
        told="no longer there",
        since_s=moment.read_s,
        since_how=SinceHow.SEEN,
        how=StateHow.READ,
        seen_s=seen_s,
        gone=True,
        before=old.measures,
        before_s=seen_s,
        changes=old.changes if moment.restarted else (*old.changes, moment.read_s)[-CHANGES_KEPT:],
    )


def part_notified(old: KnownPart, event: LineEvent, read_s: int) -> KnownPart:
    """Return a part as a notification leaves it. `read_s`: when its device was read last."""
    state = {EventKind.PART_UP: LinkState.UP, EventKind.PART_DOWN: LinkState.DOWN}.get(event.kind, old.state)
    noted = replace(old, event_s=event.heard_s)
    if state is old.state:
        return noted
    if not event.authenticated:
        return noted if old.how is StateHow.NOTIFIED else replace(noted, how=StateHow.UNPROVEN)
    return replace(
        noted,
        state=state,
        told=event.told[:TEXT_CHARS],
        since_s=event.heard_s,
        since_how=SinceHow.SEEN,
        how=StateHow.NOTIFIED,
        before=old.measures or old.before,
        before_s=(old.seen_s or read_s) if old.measures else old.before_s,
        changes=(*old.changes, event.heard_s)[-CHANGES_KEPT:],
    )


def _event_stands(old: KnownPart, part: Part, moment: Moment) -> bool:
    """Return whether a reading contradicts a notification that is newer than its question may have been."""
    if old.how is not StateHow.NOTIFIED or old.state is part.state:
        return False
    if not 0 <= moment.read_s - old.event_s <= EVENT_HOLDS_S:
        return False
    return part.since_s is None or part.since_s < old.event_s - JITTER_S


def _since(old: KnownPart | None, state: LinkState, told_s: int | None, moment: Moment) -> tuple[int, SinceHow, bool]:
    """Return since when a part is in a state, how that is known, and whether it changed since the reading before."""
    own_s = told_s if told_s is not None and 0 < told_s <= moment.read_s + JITTER_S else None
    if old is None:
        return (moment.read_s, SinceHow.FIRST, False) if own_s is None else (own_s, SinceHow.TOLD, False)
    if state is not old.state:
        changed = LinkState.UNKNOWN not in (state, old.state)
        if own_s is not None and own_s >= old.since_s - JITTER_S and not moment.restarted:
            return own_s, SinceHow.TOLD, changed
        return moment.read_s, SinceHow.SEEN, changed
    if moment.restarted and state is LinkState.UP:
        return max(own_s or 0, moment.booted_s), SinceHow.SEEN, False
    if own_s is None or moment.restarted or own_s <= old.since_s + JITTER_S:
        return old.since_s, old.since_how, False
    if own_s <= moment.booted_s + JITTER_S and state is not LinkState.UP:
        return old.since_s, old.since_how, False  # a restart that was noticed before: it was down ahead of it
    if old.since_how is SinceHow.SEEN and own_s <= old.since_s + JITTER_S + max(moment.read_s - moment.before_s, 0):
        return old.since_s, old.since_how, False  # the same change, by the device's own clock
    return own_s, SinceHow.TOLD, True  # it went and came back between two readings


def _usual(before: Mapping[str, float], measures: Mapping[str, float]) -> Mapping[str, float]:
    """Return the usual levels after a reading; a level far below them does not count, or it would soon be usual."""
    usual = dict(before)
    for name in LEVELS:
        now = measures.get(name)
        if now is None:
            continue
        was = usual.get(name)
        if was is None:
            usual[name] = round(now, 1)
        elif now > was - FADE_DB:
            usual[name] = round(was + (now - was) * USUAL_SHARE, 3)
    return usual


def _errors(before: Mapping[str, Growth], counters: Mapping[str, int], moment: Moment) -> Mapping[str, Growth]:
    errors = dict(before)
    for name in sorted(ERRORS & counters.keys()):
        total, was = counters[name], before.get(name)
        if was is None or moment.restarted or total < was.total:
            errors[name] = Growth(total) if was is None else replace(was, total=total)
        elif total > was.total:
            grown = Growth(total, total - was.total, moment.read_s, max(moment.read_s - moment.before_s, 1))
            lasts = was.since_s if was.at_s == moment.before_s else 0
            errors[name] = replace(grown, since_s=(lasts or moment.before_s) if grown.bad() else 0)
    return errors


def _facts(facts: Mapping[str, str]) -> Mapping[str, str]:
    if not facts:
        return _NO_FACTS
    return {label[:WORD_CHARS]: text[:TEXT_CHARS] for label, text in list(facts.items())[:FACTS_MAX]}
