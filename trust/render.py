"""The preview of a plan, from its verified bytes: the one renderer, for the approver's desk and the agent's CLI.

Writes, irreversible steps, class and counts come from the signed plan and items themselves. Texts for people (why, now,
after) come from their `display`; a missing one is left out, nothing is invented. Every text passes `neutralize`, since
names come from subscribers' own hands, and every paragraph has a label and is indented, so that no text can pass for a
line of ours.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from trust.document import UNKNOWN
from trust.effect_texts import argument_texts
from trust.items import (
    Absent,
    CpeChange,
    Effect,
    EntryChange,
    EntryFieldChange,
    Field,
    GuardKind,
    Item,
    Items,
    Listed,
    SecretRef,
    Step,
    Transition,
    Value,
)
from trust.leaf_text import minute_text
from trust.policy import RiskClass
from trust.statements import OnFailure, Plan, SizeBucket
from trust.terminal import NO_WRAP, neutralize

_LABEL: Final = 7
_NAMES_SHOWN: Final = 12
_WHYS_SHOWN: Final = 3
_ENTRY: Final = "as-previewed"
"""The test of a requirement that a subject's inventory entry is the one that the preview rested on."""
_READ: Final = "as-read"
"""Likewise: that a resource, which is not written, reads as the preview did."""
_RESTS_ON_SHOWN: Final = 3
_OPEN_SHOWN: Final = 4
_TAKEN_BACK: Final = "on failure: takes back what was applied"
_FALLBACK: Final = "only if that fails: "


# --- lines ----------------------------------------------------------------------------------------------------------


def _line(label: str, text: str, width: int) -> list[str]:
    if width == NO_WRAP:
        return [f"{label:<{_LABEL}}{text}"]
    wrapped = textwrap.wrap(text, max(20, width - _LABEL), break_long_words=False, break_on_hyphens=False)
    return [f"{label if i == 0 else '':<{_LABEL}}{part}" for i, part in enumerate(wrapped)]


def _lines(label: str, texts: Iterable[str], width: int) -> list[str]:
    """Return a paragraph: the label before its first line, all others indented; of no text, nothing."""
    result: list[str] = []
    for text in filter(None, texts):
        result += _line("" if result else label, text, width)
    return result


def _shown(display: Mapping[str, str], *keys: str) -> list[str]:
    """Return the texts that are there, made safe."""
    return [neutralize(display[k]) for k in keys if display.get(k)]


def _join(*parts: str) -> str:
    return " · ".join(p for p in parts if p)


def _asked(plan: Plan, display: Mapping[str, str]) -> str:
    return " ".join(["asked by", plan.requester, *_shown(display, "asked_at")])


# --- what is written ------------------------------------------------------------------------------------------------


def _field(field: Field) -> str:
    match field:
        case SecretRef():
            return "a secret"
        case str():
            return neutralize(field) if field else '""'
        case _:
            return neutralize(" ".join(field))


def _fields(value: Value) -> Mapping[str, Field]:
    return {} if isinstance(value, Absent) else value


def _changes(t: Transition) -> Iterator[tuple[str, str, str]]:
    """Yield (sign, field, text) for each field that changes, as far as fields tell it."""
    before, after = _fields(t.before.value), _fields(t.after)
    for name, value in after.items():
        note = " [cannot be read back]" if name in t.unprovable else ""
        if name not in before:
            yield "+", name, f"{_field(value)} (was: none){note}"
        elif before[name] != value:
            unread = isinstance(value, SecretRef) and before[name] == ""  # a secret reads empty, whatever it is
            yield "~", name, f"{_field(value)} (was: {'not known' if unread else _field(before[name])}){note}"
    for name, value in before.items():
        if name not in after:
            yield "-", name, f"removed (was: {_field(value)})"
    if before == after and list(before) != list(after):
        yield "~", "order", "of the rows"


def _write(t: Transition) -> list[str]:
    """Return the lines of a write: one for a resource that is new or removed, else one for each changed field."""
    address = neutralize(t.address)
    age = "" if t.before.live else " (last known value, not read live)"
    if isinstance(t.after, Absent) and not isinstance(t.before.value, Absent):
        return [f"- {address} as a whole: {_whole(t.before.value, ())}{age}"]
    if isinstance(t.before.value, Absent) and not isinstance(t.after, Absent):
        return [f"+ {address} is new: {_whole(t.after, t.unprovable)}{age}"]
    return [f"{sign} {address} {neutralize(name)} {text}{age}" for sign, name, text in _changes(t)]


def _whole(value: Mapping[str, Field], unprovable: Collection[str]) -> str:
    """Return all fields of a resource in a line, `name=value`; in quotes where a value would not be one word."""
    told = " ".join(f"{neutralize(name)}={_word_of(field)}" for name, field in value.items())
    notes = ", ".join(neutralize(name) for name in value if name in unprovable)
    return f"{told} [cannot be read back: {notes}]" if notes else told


def _word_of(field: Field) -> str:
    text = _field(field)
    if isinstance(field, SecretRef):
        return f"[{text}]"
    if field == "" or not any(c in text for c in ' "=\\[]'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _transitions(item: Item) -> Iterator[Transition]:
    for step in item.steps:
        if not isinstance(step.do, Effect):
            yield from step.do


def _effect_lines(item: Item) -> Iterator[str]:
    for step in item.steps:
        if isinstance(step.do, Effect):
            yield f"{_fallback_mark(step)}{_effect(step.do)}"


def _record_lines(found: Sequence[Item]) -> list[str]:
    """Return the changes of the agent's own inventory: whole entries, and single fields."""
    lines = []
    for item in found:
        name = neutralize(item.subject or "")
        for change in item.desired:
            if isinstance(change, EntryChange):
                lines.append(f"{'+' if change.added else '-'} inventory {name} as a whole")
            elif isinstance(change, EntryFieldChange):
                after, before = (neutralize(text) or "none" for text in (change.after, change.before))
                lines.append(f"~ inventory {name} {change.name} {after} (was: {before})")
            elif isinstance(change, CpeChange):
                serves = f"{neutralize(change.cpe)} serves {name or 'nobody yet'}"
                secrets = "secrets may go into it" if change.added else "no more secrets go into it"
                lines.append(f"{'+' if change.added else '-'} {serves}: {secrets}")
    rest = len(lines) - _NAMES_SHOWN
    return [*lines[:_NAMES_SHOWN], f"and {rest} more"] if rest > 0 else lines


def _guard_lines(found: Sequence[Item]) -> Iterator[str]:
    """Yield one line for each guard, with the number of writes under it."""
    writes = [step for item in found for step in item.steps if not isinstance(step.do, Effect)]
    for guard, n in Counter(step.guard for step in writes if step.guard is not GuardKind.NONE).items():
        which = "all writes" if n == len(writes) else f"{n} of {len(writes)} writes"
        yield f"{guard.value}: the device takes {which} back by itself unless they are confirmed"


def _fallback_mark(step: Step) -> str:
    return _FALLBACK if step.fallback_for else ""


def _undone(item: Item) -> Iterator[tuple[Step, bool]]:
    """Yield the steps that an undo has effects for, each with whether it is for when an earlier one's failed."""
    undone: set[int] = set()
    for step in item.steps:
        if step.on_revert:
            yield step, not undone.isdisjoint(step.fallback_for)
            undone.add(step.n)


def _undo_lines(item: Item) -> Iterator[str]:
    for step, fallback in _undone(item):
        yield from (f"on undo: {_FALLBACK if fallback else ''}{_effect(e)}" for e in step.on_revert)


def _effect(effect: Effect) -> str:
    args = map(neutralize, argument_texts(effect.verb, effect.args))
    proof = f"proven if {effect.proof.value} within {effect.within_s} s" if effect.proof else "cannot be proven"
    return _join(f"! {neutralize(effect.verb)} {neutralize(effect.address)}", *args, proof, "irreversible")


# --- previews -------------------------------------------------------------------------------------------------------


def render_preview(plan: Plan, items: Items, short_id: str, width: int = 100) -> str:
    """Return the preview of a plan, one item in full or a batch in groups, for a terminal.

    Args:
        plan: the verified plan.
        items: opened against the plan's `items_root`.
        short_id: the local alias that people type, such as K7QF.
        width: columns; words longer than that stay whole, since people copy them. `NO_WRAP`: a line stays one.
    """
    short_id = neutralize(short_id)
    lines = _one(plan, items, short_id, width) if len(items.items) == 1 else _many(plan, items, short_id, width)
    return "\n".join(lines) + "\n"


def _one(plan: Plan, items: Items, short_id: str, width: int) -> list[str]:
    item, head = items.items[0], items.head.display
    what = "1 CPE" if plan.action.on_cpe else "1 service" if item.subject is not None else "1 device"
    title = _shown(item.display, "title") or ([neutralize(item.subject)] if item.subject else [])
    other = [f"({text})" for text in _shown(item.display, "other_services")]
    undo = _shown(item.display, "undo") or _shown(head, "undo")
    return [
        _join(f"{plan.action.value.upper()} {what}", short_id, _asked(plan, head)),
        *_lines("WHO", [" ".join(title + other)], width),
        *_lines("NOT", _not_one(item), width),
        *_lines("WHY", [_join(*_shown(item.display, "why"), *_shown(head, "source"))], width),
        *_lines("LOOK", [*_shown(item.display, "entry"), *_shown(head, "notes")], width),
        *_lines("NOW", _shown(item.display, "now"), width),
        *_lines("WRITE", [line for t in _transitions(item) for line in _write(t)], width),
        *_lines("RECORD", _record_lines([item]), width),
        *_lines("GUARD", [*_guard_lines([item]), *_shown(item.display, "guard")], width),
        *_lines("EFFECT", _effect_lines(item), width),
        *_lines("AFTER", _shown(item.display, "after"), width),
        *_lines("OPEN", _shown(item.display, "open"), width),
        *_lines("PROOF", _shown(item.display, "proof") or _enforce(item), width),
        *_lines("STOP", [_TAKEN_BACK] if plan.on_failure is OnFailure.REVERT else [], width),
        *_lines("UNDO", [*undo, *_undo_lines(item)], width),
        *_lines("RISK", [_risk(plan, head, _required([item]))], width),
    ]


def _not_one(item: Item) -> list[str]:
    if item.listed is Listed.CHANGE:
        return []
    word = "CANNOT ENFORCE" if item.listed is Listed.BLOCKED else "excluded"
    return [_join(f"{word}: {neutralize(item.reason)}", *_shown(item.display, "why_not", "not_why"))]


def _enforce(item: Item) -> list[str]:
    if item.enforce is None:
        return []
    expect = " ".join(f"{neutralize(k)}={neutralize(v)}" for k, v in item.enforce.expect.items())
    return [f"{neutralize(item.enforce.address)} must show {expect} within {item.enforce.within_s} s"]


def _required(items: Iterable[Item]) -> str:
    """Return the facts that are read again before the first byte: one in its own words, many together."""
    required = [r for item in items for r in item.requires]
    facts = sorted({neutralize(r.shown) for r in required if r.test not in (_ENTRY, _READ)})
    named = facts if len(facts) == 1 else [f"{len(facts)} facts"] if facts else []
    entry = ["its inventory entry"] if any(r.test == _ENTRY for r in required) else []
    read = sorted({neutralize(r.address) for r in required if r.test == _READ})
    more = [", ".join(read) if len(read) <= _RESTS_ON_SHOWN else f"{len(read)} resources"]
    return f"re-checked first: {', '.join(named + entry + (more if read else []))}" if required else ""


def _risk(plan: Plan, head: Mapping[str, str], facts: str) -> str:
    until = [f"until {text}" for text in _shown(head, "until")] or [f"start by {minute_text(plan.start_by)}"]
    ends = [f"ends by {text}" for text in _shown(head, "ends")] or [f"run until {minute_text(plan.run_until)}"]
    window = [f"starts only {text}" for text in _shown(head, "window")]
    not_alone = "" if plan.requester == UNKNOWN else f"not {plan.requester}"
    if plan.risk_class is RiskClass.ALONE:
        not_alone = "alone: a review opens"
    guard = "" if plan.guard_kind is GuardKind.NONE else f"guard {plan.guard_kind.value}"
    cannot = "SOME CANNOT BE ENFORCED" if plan.cannot_enforce else ""
    turn = [f"waits its turn: starts from {text} on" for text in _shown(head, "turn")]
    times = [*turn, *until, *window, *ends]
    return _join(plan.risk_class.value.upper(), *_shown(head, "needs"), not_alone, *times, guard, facts, cannot)


def _many(plan: Plan, items: Items, short_id: str, width: int) -> list[str]:
    head = items.head.display
    change = [i for i in items.items if i.listed is Listed.CHANGE]
    asked = f"{plan.action.value.upper()} {len(items.items)} asked"
    counts = f"{len(change)} WOULD CHANGE, {len(items.items) - len(change)} WOULD NOT"
    return [
        _join(f"{asked}: {counts}", short_id, _asked(plan, head), *_shown(head, "source")),
        *_lines("ABOUT", _shown(head, "title"), width),
        *_lines("WHERE", [_join(*_counted(change, "nas"), *_shown(head, "share"))], width),
        *_lines("STATE", [_join(*_counted(change, "online"))], width),
        *_lines("NOT", _groups(items.items), width),
        *_lines("LOOK", _shown(head, "look", "notes"), width),
        *_lines("WRITE", _write_many(change), width),
        *_lines("RECORD", _record_lines(change), width),
        *_lines("GUARD", _guard_lines(change), width),
        *_lines("EFFECT", _effect_many(change), width),
        *_lines("OPEN", _open_many(change), width),
        *_lines("PACE", [_join(_pace(items), *_shown(head, "pace"))], width),
        *_lines("STOP", [_join(*_stop(plan, items), *_shown(head, "stop"))], width),
        *_lines("UNDO", _shown(head, "undo"), width),
        *_lines("RISK", [_risk(plan, head, _required(change)), "the list may shrink, never grow"], width),
    ]


def _counted(items: Iterable[Item], key: str) -> list[str]:
    counts = Counter(neutralize(i.display[key]) for i in items if i.display.get(key))
    return [f"{name} {n}" if key == "nas" else f"{n} {name}" for name, n in counts.most_common()]


def _open_many(items: Iterable[Item]) -> list[str]:
    """Return the open ways out, each with the number of items that have it: most of a batch have the same."""
    counts = Counter(neutralize(i.display["open"]) for i in items if i.display.get("open")).most_common()
    rest = sum(n for _, n in counts[_OPEN_SHOWN:])
    return [*(f"{n}: {text}" for text, n in counts[:_OPEN_SHOWN]), *([f"{rest} others: see each"] if rest else [])]


def item_name(item: Item) -> str:
    """Return how an item is named to people: by its CPE, by its service, or by its title (a router)."""
    return neutralize(item.display.get("cpe") or item.subject or item.display.get("title") or f"item {item.n}")


def _groups(items: Iterable[Item]) -> list[str]:
    groups: dict[tuple[Listed, str], list[Item]] = {}
    for item in items:
        if item.listed is not Listed.CHANGE:
            groups.setdefault((item.listed, item.reason), []).append(item)
    lines = []
    for (listed, reason), found in groups.items():
        word = "CANNOT ENFORCE, " if listed is Listed.BLOCKED else ""
        lines.append(f"{len(found)} {word}{neutralize(reason)}: {_named(found)}")
    return lines


def _named(found: Sequence[Item]) -> str:
    """Return the names of items that would not change; why, where they are few enough or it is the same for all.

    Of many that differ (each has paid another sum) only `--list` says it.
    """
    whys = [_join(*_shown(item.display, "why_not", "not_why")) for item in found]
    names = [item_name(item) for item in found[:_NAMES_SHOWN]]
    more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
    if len(set(whys)) == 1:
        return ", ".join(names) + more + (f" ({whys[0]})" if whys[0] else "")
    if len(found) > _WHYS_SHOWN:
        return f"{', '.join(names)}{more}; each one's reason: --list"
    return ", ".join(f"{name} ({why})" if why else name for name, why in zip(names, whys, strict=True))


def _write_many(items: Iterable[Item]) -> list[str]:
    """Return the changed fields, those that change alike counted together."""
    counts: Counter[str] = Counter()
    for item in items:
        for t in _transitions(item):
            where = neutralize("/".join(t.address.split("/")[:3]))
            counts.update(f"{sign} {where} {neutralize(name)} {text}" for sign, name, text in _changes(t))
    lines = [f"{text} · {n} times" if n > 1 else text for text, n in counts.most_common(_NAMES_SHOWN)]
    rest = sum(counts.values()) - sum(n for _, n in counts.most_common(_NAMES_SHOWN))
    return [*lines, f"and {rest} other changed fields"] if rest else lines


def _effect_many(items: list[Item]) -> list[str]:
    effects = [(i, bool(step.fallback_for), step.do) for i in items for step in i.steps if isinstance(step.do, Effect)]
    now = Counter(_verb(item, e) for item, fallback, e in effects if not fallback)
    fallbacks = Counter(neutralize(e.verb) for _, fallback, e in effects if fallback)
    first = [step for item in items for step, fallback in _undone(item) if not fallback]
    undo = Counter(neutralize(e.verb) for step in first for e in step.on_revert)
    return [
        *(f"! {n} × {verb} (irreversible)" for verb, n in now.most_common()),
        *(f"{_FALLBACK}! up to {n} × {verb} (irreversible)" for verb, n in fallbacks.most_common()),
        *(f"on undo: ! {n} × {verb} (irreversible)" for verb, n in undo.most_common()),
    ]


def _verb(item: Item, effect: Effect) -> str:
    """Return the verb of an effect; of one that brings an image, also which image, and the model that gets it."""
    if not {"file", "version"} <= effect.args.keys():
        return neutralize(effect.verb)
    model = f" on {item.display['model']}" if item.display.get("model") else ""
    return neutralize(f"{effect.verb} {effect.args['file']} ({effect.args['version']}){model}")


def _pace(items: Items) -> str:
    parts = []
    for wave in items.head.waves[:-1]:
        parts.append(f"{wave.last - wave.first + 1} first, wait {wave.soak_s} s")
    if items.head.pace.per_target_per_s:
        parts.append(f"{'then ' if parts else ''}{items.head.pace.per_target_per_s}/s per target")
    return ", ".join(parts)


def _stop(plan: Plan, items: Items) -> list[str]:
    """Return when a run stops by itself, and whether its writes are then taken back."""
    pace = items.head.pace
    canary = ["canary fails"] if len(items.head.waves) > 1 else []
    least = f" (at least {pace.stop_failed_least})" if pace.stop_failed_least > 1 else ""
    failed = [f"{pace.stop_failed_percent} % fail{least}"] if pace.stop_failed_percent else []
    lost = [f"{pace.stop_lost_sessions} sessions not on the list lost"] if pace.stop_lost_sessions else []
    match plan.on_failure:
        case OnFailure.STOP:
            return canary + failed + lost
        case OnFailure.CONTINUE:
            return [*lost, "does not stop by itself when items fail"]
        case _:  # revert
            return [*canary, *failed, *lost, _TAKEN_BACK]


def render_list(items: Items) -> str:
    """Return one line for each item: a batch's approver reads them before saying that they saw the detail."""
    lines = []
    for item in items.items:
        name = neutralize(item.subject) if item.subject is not None else f"item {item.n}"
        where = _shown(item.display, "title", "nas", "online")
        lines.append(_join(name, *(_not_one(item) or ["would change"]), *where))
    return "".join(line + "\n" for line in lines)


def render_summary(plan: Plan, short_id: str = "", width: int = 100) -> str:
    """Return the text of a plan by itself, for people that may not see subscribers.

    Args:
        plan: the verified plan.
        short_id: the local alias, where there is one.
        width: columns.
    """
    size = plan.size_bucket.value
    services = "service" if plan.size_bucket is SizeBucket.ONE else "services"
    effects = [f"! {kind.value} (irreversible)" for kind in plan.effect_kinds]
    failure = f"on failure: {plan.on_failure.value} · on drift: {plan.on_stale.value}"
    lines = [
        _join(f"{plan.action.value.upper()} {size} {services}", neutralize(short_id), _asked(plan, {})),
        "SUMMARY ONLY: the items were not opened",
        *_lines("EFFECT", effects, width),
        *_lines("STOP", [failure], width),
        *_lines("RISK", [_risk(plan, {}, "")], width),
    ]
    return "\n".join(lines) + "\n"
