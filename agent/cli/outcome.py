"""The result of a change, for people: nothing is called done that was not read back, nothing unknown is hidden."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from agent.cli.client import Json
from agent.cli.when import clock_text, said, when_text
from agent.reasons import ItemReason, MethodReason, ProofReason, RefusalReason, TargetReason, explain
from agent.rest import HAVE_A_REST, anew
from trust.terminal import Column, neutralize

_WORDS = {
    "applied": "enforced now",
    "accepted": "accepted, not provable",
    "set-at-next-login": "set: at next login",
    "skipped": "skipped",
    "stale": "stale, nothing sent",
    "superseded": "superseded, nothing sent",
    "cancelled": "cancelled, nothing sent",
    "expired": "expired, nothing sent",
    "not-applied": "NOT APPLIED",
    "set-not-enforced": "SET, NOT ENFORCED",
    "diverged": "DIVERGED: does not read as it was set",
    "unknown": "UNKNOWN, being re-read",
    "needs-a-person": "NEEDS A PERSON",
    "reverted": "reverted",
    "running": "running",
    "planned": "planned",
    "waiting": "waiting for the device",
}
_LEFT_OUT = {"excluded": "left out", "blocked": "CANNOT ENFORCE"}
_WAIT = frozenset({"planned", "waiting", "running"})
_OPEN = frozenset({"set-not-enforced", "diverged", "unknown", "needs-a-person", "not-applied"})
_AGAIN = frozenset({"stale", "cancelled", "expired", "not-applied"})
_HELD = frozenset({"applied", "set-at-next-login"})
"""In these states of an item the result names the ways out as well."""
_ALWAYS_NAMED = _OPEN | {"stale", "skipped", "superseded", "waiting", "expired"}
_RECORDED_WORDS = "recorded, nothing sent"
_APPLIED_WORDS = {ItemReason.RECORDED: _RECORDED_WORDS, ProofReason.STAYS_REJECTED: "done, and still rejected"}
"""Of an applied item, by its reason: nothing is called enforced where the network was not to be changed by it."""
_REASON_WORDS = {"read-back": "read back, equal", "ack": "gone, read back"}
_NOT_KNOWN = "about to be sent, fate not yet known"
_PROOF_IN_DETAIL = frozenset({"proof-seen", "accepted-not-provable"})
_LONG_ID = re.compile(r"[0-9a-f]{16,}", re.IGNORECASE)
NAMES_SHOWN = 8
_LAYERS = (ProofReason, ItemReason, TargetReason, MethodReason)
"""Reasons that an item of a change may have, the more exact ones first."""


def state_text(state: str) -> str:
    """Return an item's state for people."""
    return _WORDS.get(state, state)


def is_open(state: str) -> bool:
    """Return whether an item in that state needs a person."""
    return state in _OPEN


def _items(change: Json) -> list[Json]:
    return cast("list[Json]", change["items"])


def _approved_by(change: Json) -> str:
    people = [str(a["person"]) for a in cast("list[Json]", change["approvals"]) if a["decision"] == "approve"]
    if change["standing"]:
        people.append(f"standing authority {str(change['standing'])[:8]}")
    return f" · approved by {', '.join(people)}" if people else ""


def outcome_text(change: Json, *, only_open: bool = False) -> str:
    """Return the result of a change; empty while it has not started."""
    if change["gate"] == "open":
        if not change["approvals"] and not change["waits_because"]:
            return ""
        why = f"\n{neutralize(str(change['waits_because']))}" if change["waits_because"] else ""
        return f"{change['id']} waits for approval · {change['have']} of {change['need']}{_approved_by(change)}{why}"
    if change["gate"] != "consumed":
        why = f"\nnot started: {change['waits_because']}" if change["waits_because"] else ""
        return f"{change['id']} {str(change['state']).upper()}{_approved_by(change)}{why}"
    items = [i for i in _items(change) if i["state"] not in ("excluded", "blocked")]
    if only_open:
        items = [i for i in items if _is_open_in(change, i)]
        return "\n".join(_one_line(i) for i in items) or "no item needs a person"
    needs = sum(1 for i in items if _is_open_in(change, i))
    head = f"{change['id']} {_headline(change, items, needs)}{_approved_by(change)}"
    if change["waits_because"]:
        head += f"\n{neutralize(str(change['waits_because']))}"
    if len(items) == 1:
        return "\n".join([head, *_single(change, items[0]), _proof(change)])
    return "\n".join([head, *_groups(change, items), *_retry_hint(change, items), _proof(change)])


def _headline(change: Json, items: Sequence[Json], needs: int) -> str:
    words = str(change["state"]).upper()
    if change["state"] == "finished, needs you":
        words = f"FINISHED, {needs} NEED{'S' if needs == 1 else ''} YOU"
    elif len(items) == 1 and change["state"] == "done":
        words = _told(change, items[0]).upper()
    elif change["state"] == "done in part":
        words = f"DONE IN PART, {_unsent(change, items)} NOT SENT"
    elif change["state"] == "reverted" and len(by := set(cast("Json", change["reverted_by"]).values())) == 1:
        words = f"REVERTED by {by.pop()}"
    at = change["finished_at"]
    return words if at is None else f"{words} {said(at, seconds=True)}"


def _recorded(item: Json) -> bool:
    return item["state"] == "applied" and item["reason"] == ItemReason.RECORDED


def _applied_words(item: Json) -> str:
    """Return the words for an applied item that is not to be called enforced; "" for all others.

    Only a subscriber's service is enforced: for a CPE the text tells the act and the proof.
    """
    if item["state"] != "applied":
        return ""
    found = [words for reason, words in _APPLIED_WORDS.items() if item["reason"] == reason]
    return found[0] if found else "done" if _on_cpe(item) or not item["service"] else ""


def _since(change: Json, item: Json) -> str:
    """Return the effect of a later change on an item: it did the part that this one left out, or took it back; "":
    none.
    """
    n = str(item["n"])
    done, reverted = (cast("Json", change[name]).get(n, "") for name in ("done_again", "reverted_by"))
    return f"reverted by {reverted}" if reverted else f"done since by {done}" if done else ""


def _is_open_in(change: Json, item: Json) -> bool:
    """Tell whether an item of a change needs a person still."""
    return is_open(str(item["state"])) and not _since(change, item)


def _unsent(change: Json, items: Sequence[Json]) -> int:
    return sum(1 for i in items if i["state"] in _AGAIN and not _since(change, i))


def _told(change: Json, item: Json) -> str:
    """Return the words for where an item of a change stands."""
    since = _since(change, item)
    return _word(item, _ended_word(change)) + (f", {since}" if since else "")


_ENDED = "session ended"
_SEVERAL = {_ENDED: "sessions ended"}


def _ended_word(change: Json) -> str:
    """Return the words for the applied items of a disconnect, by its steps; "" for every other change."""
    if change["action"] != "disconnect":
        return ""
    steps = cast("list[Json]", change["steps"])
    if not any(step["bound"] or step["verb"] == "set" for step in steps):
        return "nothing was there to end"
    if any(not step["bound"] for step in steps):
        return "closed"
    return "connections cut" if all(step["verb"] == "cut" for step in steps) else _ENDED


def _word(item: Json, applied: str = "") -> str:
    """Return the words for an item's state. `applied`: those of an applied one that set nothing; "": the usual ones."""
    own = applied if item["state"] == "applied" else ""
    return _applied_words(item) or own or _WORDS[str(item["state"])]


def _proof(change: Json) -> str:
    if change["finished_seq"] is None:
        return "it goes on: ispagent change watch " + str(change["id"])
    return f"proof     log {change['finished_seq']}, {change['witnessed']}"


def _single(change: Json, item: Json) -> list[str]:
    why = "" if _recorded(item) and not item["detail"] else _because(item)
    line = _cpe_step if _on_cpe(item) else _step if item["service"] else _device_step
    if line is _device_step and item["state"] == "applied" and not item["detail"]:
        why = "each row was read back"
    lines = [_joined(_told(change, item), why, ": ")]
    beside = [neutralize(text) for text in str(item.get("open", "")).split("; ") if text and item["state"] in _HELD]
    return [*lines, *(line(step) for step in cast("list[Json]", change["steps"])), *beside]


def _step(step: Json) -> str:
    """Return the line of a step at a database, a router or a NAS."""
    what = "cut" if step["verb"] == "cut" else "session" if step["bound"] else "row"
    verdict = step["verdict"] or _NOT_KNOWN
    why = _REASON_WORDS.get(str(step["reason"]), str(step["reason"]))
    ids = " ".join(_bound(str(b)) for b in cast("list[str]", step["bound"]))
    detail = f" · {neutralize(str(step['detail']))}" if step["detail"] else ""
    return f"{what:<9} {ids + ' ' if ids else ''}{verdict}, {why}{detail}{_back(step)}"


def _device_step(step: Json) -> str:
    """Return the line of a step at a device's own configuration: which row it is of."""
    return f"{_step(step)} · {neutralize(str(step['row']))}" if step["row"] else _step(step)


def _cpe_step(step: Json) -> str:
    """Return the line of a CPE step: its action and its proof."""
    reason, detail = str(step["reason"]), neutralize(str(step["detail"]))
    if step["verdict"] is None:
        said = "the CPE accepted it, its proof is awaited" if step["accepted"] else _NOT_KNOWN
    elif step["verdict"] == "applied":
        said = detail if reason in _PROOF_IN_DETAIL else " · ".join(filter(None, (_REASON_WORDS.get(reason), detail)))
    else:
        said = f"{step['verdict']}, {reason}{f' · {detail}' if detail else ''}"
    return f"{step['verb']:<9} {said}{_back(step)}"


def _bound(address: str) -> str:
    """Return the shown part of a bound address: the beginning of an id of many digits, a login or a name whole."""
    key = neutralize(address.split("/", 3)[-1])
    return key[:8] if _LONG_ID.fullmatch(key) else key


def _back(step: Json) -> str:
    return " (taken back)" if step["direction"] == "revert" else ""


def _one_line(item: Json) -> str:
    return f"  {_whose(item)}: {_joined(_word(item), _because(item))}{_remedy(item)}"


def _because(item: Json) -> str:
    """Return why an item is in its state: the detail, or else the meaning of its reason code."""
    code = str(item["reason"])
    known = explain(code, *_LAYERS)
    return neutralize(str(item["detail"] or (known.meaning.rstrip(".") if known else code)))


def _joined(word: str, why: str, between: str = " · ") -> str:
    """Return the words for a state and the reason for it, without saying the same twice."""
    return why if why.startswith(word) else f"{word}{between}{why}" if why else word


def _remedy(item: Json) -> str:
    """Return the advice on an open item, as a line of its own; "" where there is none."""
    if since := str(item.get("overtaken", "")):  # a retry is refused
        return f"\n    > {neutralize(since)}: ask for the wanted state anew"
    known = explain(str(item["reason"]), *_LAYERS)
    return f"\n    > {known.remedy}" if known and known.remedy else ""


def _whose(item: Json) -> str:
    return neutralize(str(item["cpe"] or item["service"] or item["title"] or f"item {item['n']}"))


def _groups(change: Json, items: Sequence[Json]) -> list[str]:
    groups: dict[tuple[str, str, str], list[Json]] = {}
    for item in items:
        state = str(item["state"])
        why_too = state in _ALWAYS_NAMED or state == "accepted" or (_on_cpe(item) and state == "applied")
        reason = _because(item) if why_too else ""
        groups.setdefault((state, _told(change, item), reason), []).append(item)
    order = list(_WORDS)
    lines = []
    for (state, word, reason), found in sorted(groups.items(), key=lambda g: order.index(g[0][0])):
        names = ""
        if state in _ALWAYS_NAMED:
            shown = ", ".join(_whose(i) for i in found[:NAMES_SHOWN])
            names = f" ({shown}{f' and {len(found) - NAMES_SHOWN} more' if len(found) > NAMES_SHOWN else ''})"
        many = _SEVERAL.get(word, word) if len(found) > 1 else word
        lines.append(f"{len(found):>4} {_joined(many, reason)}{names}")
    return lines


def _retry_hint(change: Json, items: Sequence[Json]) -> list[str]:
    """Return the commands that go on with a change: with set items, and with unsent ones."""
    left = [i for i in items if not _since(change, i)]
    states = {str(i["state"]) for i in left}
    over = change["finished_seq"] is not None and change["action"] in HAVE_A_REST
    # Of a cancelled change nothing more is sent, so that a retry of it is refused
    waiting = [i for i in left if i["state"] == "set-not-enforced" and i["reason"] != RefusalReason.CANCELLED]
    overtaken = [str(i["service"]) for i in waiting if i["overtaken"]]
    hints = [f"     > ispagent change retry {change['id']}"] if len(overtaken) < len(waiting) else []
    if overtaken and change["action"] in HAVE_A_REST:
        shown, more = overtaken[:NAMES_SHOWN], len(overtaken) - NAMES_SHOWN
        rest = f", and {more} more" if more > 0 else ""
        hints.append(f"     > another change acted since: {neutralize(anew(str(change['action']), shown))}{rest}")
    return [*hints, f"     > ispagent change again {change['id']}"] if over and states & _AGAIN else hints


def retry_text(change: Json) -> str:
    """Return which items of a change are tried again, and how to follow them."""
    again = [i for i in _items(change) if i["reason"] == ItemReason.RETRY]
    names = ", ".join(_whose(i) for i in again[:NAMES_SHOWN])
    more = f" and {len(again) - NAMES_SHOWN} more" if len(again) > NAMES_SHOWN else ""
    told = f"{len(again)} tried again: {names}{more}" if again else str(change["state"])
    return f"{change['id']} {told}\n     > ispagent change watch {change['id']}"


def pause_text(change: Json) -> str:
    """Return the state of a change after a pause or a resume, and how to go on."""
    counts = cast("dict[str, int]", change["counts"])
    told = ", ".join(f"{n} {state}" for state, n in counts.items())
    why = neutralize(str(change["waits_because"])) if change["paused_by"] else ""
    return "\n".join(filter(None, (f"{change['id']} {list_state(change)} · {told}", why)))


def list_state(change: Json) -> str:
    """Return the state of a change in a list, or the person by whom it is paused while something is left of it."""
    by = neutralize(str(change["paused_by"]))
    return f"PAUSED by {by}" if by and not change["finished"] else str(change["state"])


def event_text(event: Json) -> str:
    """Return one event of a change as a line, or "" for those that only repeat another."""
    at = clock_text(event["at"])
    record = cast("Json", event["record"] or {})
    item = f"item {event['item']} " if event["item"] else ""
    match event["kind"]:
        case "item-state":
            why = neutralize(str(record.get("detail") or record.get("reason") or ""))
            return f"{at}  {item}{event['what']}{f': {why}' if why else ''}"
        case "step-outcome":
            return f"{at}  {item}step {event['step']}: {event['what']} ({neutralize(str(record.get('reason', '')))})"
        case "about-to":
            return f"{at}  {item}step {event['step']}: about to"
        case "approval" | "rejection":
            return f"{at}  {event['kind']} by {neutralize(str(record.get('person', '?')))}"
        case "refused":
            return f"{at}  refused: {neutralize(str(record.get('reason', '')))}"
        case "standing-used":
            return f"{at}  approved by a standing authority"
        case "disclosed":
            return f"{at}  disclosed to {neutralize(str(record.get('to', '?')))}"
        case "exported" if record.get("what") == "backup":
            by, to = neutralize(str(record.get("by", "?"))), ", ".join(cast("list[str]", record["recipients"]))
            return f"{at}  backup by {by}, sealed to {neutralize(to)}"
        case "intent":
            return f"{at}  asked by {neutralize(str(record.get('requester', '?')))}: {record.get('verb', '?')}"
        case kind:
            who = next((record[name] for name in ("person", "by") if record.get(name)), "")
            return f"{at}  {kind}{f' by {neutralize(str(who))}' if who else ''}"


def items_text(change: Json) -> str:
    """Return every item's result, a line each, or that nothing was sent."""
    begun = change["gate"] == "consumed"
    lines = []
    for item in _items(change):
        state = str(item["state"])
        if state in ("excluded", "blocked"):
            word = f"{_LEFT_OUT[state]}: {_because(item)}"
        elif not begun:
            word = f"nothing was sent, the change is {change['state']}"
        elif state in _WAIT or _recorded(item):
            word = _word(item)
        else:
            word = _joined(_told(change, item), _because(item))
        lines.append(f"{_whose(item)}: {word}")
    return "\n".join(lines)


def _on_cpe(item: Json) -> bool:
    """Return whether an item acts on a CPE; a list of changes does not name which."""
    return bool(item.get("cpe") or item.get("on_cpe"))


def list_text(changes: Sequence[Json], *, all_of_them: bool = True) -> str:
    """Return changes as a table, one a line; `all_of_them`: nothing was left out by a filter."""
    if not changes:
        return "no changes yet" if all_of_them else "no change fits"
    rows = []
    for c in changes:
        counts = cast("dict[str, int]", c["counts"])
        told = ", ".join(f"{n} {state}" for state, n in counts.items())
        why = f"{c['action']} {str(c['reason'])[1:]}".rstrip() if c["action"] in ("suspend", "restore") else c["action"]
        rows.append(
            f"{c['id']:<6} {when_text(c['made'])} {why:<15} {c['class']:<8} "
            f"{c['requester']:<12} {list_state(c)} · {told}"
        )
        rows += [f"       {item_line(item)}" for item in cast("list[Json]", c.get("items", []))]
    return "\n".join(rows)


LIST_COLUMNS = (
    Column("id"),
    Column("made"),
    Column("action"),
    Column("class"),
    Column("asked by"),
    Column("state"),
    Column("reason", wide=True),
    Column("items", wide=True),
    Column("plan", wide=True),
)


def list_row(c: Json) -> tuple[str, ...]:
    """Return the cells of a change in a list."""
    counts = cast("dict[str, int]", c["counts"])
    return (
        str(c["id"]),
        when_text(c["made"]).strip(),
        str(c["action"]),
        str(c["class"]),
        str(c["requester"]),
        list_state(c),
        str(c["reason"]),
        ", ".join(f"{n} {state}" for state, n in counts.items()),
        str(c["plan_id"]),
    )


def item_line(item: Json) -> str:
    """Return where one service's item of a change in a list stands."""
    state = str(item["state"])
    word = _LEFT_OUT.get(state) or _word(item)
    why = "" if state in _WAIT or _recorded(item) else _because(item)
    return f"{neutralize(str(item['service']))}: {_joined(word, why)}"
