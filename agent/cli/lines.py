"""Lines and outages for people: `ispagent outage`, and the line on the pages of a subscriber and of a device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Final, cast

import typer

from agent.age import age_text
from agent.cli.client import MIXED, Json, call_object, print_json
from agent.cli.when import local_now, said, unix_of
from trust.plural import counted
from trust.terminal import neutralize

app = typer.Typer()

UNITS: Final = {
    "dbm": "dBm", "db": "dB", "bps": "bit/s", "m": "m", "percent": "%", "mhz": "MHz", "w": "W", "ms": "ms", "c": "C",
    "v": "V", "ma": "mA",
}  # fmt: skip
_LEVELS: Final = ("rx_power_dbm", "olt_rx_power_dbm", "signal_dbm", "remote_signal_dbm", "snr_db", "remote_snr_db")
_SHOWN: Final = (*_LEVELS, "ccq_percent", "tx_rate_bps", "rx_rate_bps", "speed_bps", "distance_m", "error_percent")
_STATES: Final = {"up": "up", "down": "DOWN", "disabled": "disabled", "unknown": "state unknown"}
_PARTS_SHOWN: Final = 60
_IDLE_S: Final = 12 * 3600
"""A port without a description that is down for longer counts as unused. Chosen arbitrarily."""
_IDLE_FEW: Final = 8
_IDLE_SHOWN: Final = 40
_OLD: Final = "OLD: not read for longer than twice its time"
_NUMBER: Final = re.compile(r"\([0-9]+\)$")
SILENT: Final = "unreachable, or wrong secret"
"""Silence never proves that a device is down."""


@app.command()
def outage(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """List outages, one line for each cause: since when, behind which device, and how many subscribers it affects.

    Answers come from the last readings; no device is asked. Exit code 0: no outage; 4: there are outages.
    """
    found = call_object("GET", "/v1/outage")
    if as_json:
        print_json(found)
    else:
        for line in outage_lines(found):
            print(neutralize(line))
    if found["causes"]:
        raise typer.Exit(MIXED)


def outage_lines(found: Json, now: datetime | None = None) -> list[str]:
    """Return outages for people."""
    causes = cast("list[Json]", found["causes"])
    lines = [cause_text(cause, now) for cause in causes]
    known = f"of {found['services']} services {found['found']} have a known line"
    if found["behind"]:
        known += f", of {found['behind']} more only a shared part is known"
    head = counted(len(causes), "cause") if causes else "nothing is down or bad"
    silent = f", {found['silent']} silent" if found["silent"] else ""
    lines.append(f"{head} · {found['devices']} devices{silent} · {known}")
    for one in cast("list[Json]", found["silent_credentials"]):
        since = said(one["since"], now)
        lines.append(
            f"all {one['devices']} devices with credential {one['name']} are silent since {since}: was it changed?"
        )
    old = cast("list[str]", found["old"])
    if old:
        more = f" and {len(old) - 8} more" if len(old) > 8 else ""
        lines.append(f"not read for longer than twice their time: {', '.join(old[:8])}{more}")
    if not found["rooted"] and found["devices"]:
        lines.append("no root is configured ([lines] roots), so which way is up is guessed from the neighbors")
    if claims := cast("int", found["claims"]):
        links, count, them = (
            ("1 link between devices is", "counts", "it")
            if claims == 1
            else (f"{claims} links between devices are", "count", "them")
        )
        lines.append(
            f"{links} told by one end only and {count} for nothing: ispagent device show lists {them}, "
            f"[lines] upstreams makes {them} count"
        )
    return [*lines, *cast("list[str]", found["problems"])]


def cause_text(cause: Json, now: datetime | None = None) -> str:
    """Return a cause in one line."""
    since = said(cause["since"], now)
    kind, told = str(cause["kind"]), _plain(str(cause["detail"]))
    detail = f" ({told})" if told else ""
    thing = f"{cause['device']}"
    if cause["part"]:
        thing += f" {cause['part_kind']} {cause['name']}"
        thing += f" [{cause['alias']}]" if cause.get("alias") else ""
    texts = {
        "silent": _silent_text(cause, since),
        "unread": f"NOT READ since {since}{detail}",
        "down": f"DOWN since {since}{detail}",
        "together": f"{cause['parts']} of {cause['of']} went down together at {since}{detail}",
        "restarted": f"restarted at {since}{detail}",
        "flapping": f"FLAPPING since {since}{detail}",
        "fading": f"fading since {since}{detail}{_read_ago(cause)}",
        "errors": f"errors since {since}{detail}{_read_ago(cause)}",
    }
    parts = [f"{thing}: {texts[kind]}"]
    behind = cast("list[str]", cause["behind"])
    if behind:
        parts.append(f"{counted(len(behind), 'device')} behind it")
    if cause["upstream"]:
        parts.append(f"behind {cause['upstream']} {cause['upstream_port']}".rstrip())
    for claim in cast("list[Json]", cause["claims"]):
        parts.append(f"perhaps behind {claim['device']} {claim['port']}".rstrip() + ", not confirmed by both ends")
    count = counted(cause["subscribers"], "subscriber")
    parts.append(f"{count}, not known whether they are cut off" if kind == "unread" else count)
    return " · ".join(parts)


def _read_ago(cause: Json) -> str:
    return "" if cause["age_s"] is None else f", read {age_text(cast('int', cause['age_s']))} ago"


def _silent_text(cause: Json, since: str) -> str:
    """Return that a device is silent; where another system says so, the name of that system and the age of its last
    poll.
    """
    if not cause["source"]:
        return f"{SILENT} since {since}{_own_why(cause)}"
    read = "" if cause["age_s"] is None else f"; it polled it last {age_text(cast('int', cause['age_s']))} ago"
    return f"DOWN according to {cause['source']} since {since} ({cause['detail']}{read})"


def _own_why(cause: Json) -> str:
    """Return the text behind a silent device's silence, such as the state of the port towards it; "": none."""
    why = str(cause["detail"]).partition("; ")[2]
    return f" ({why})" if why else ""


# --- a subscriber's line ----------------------------------------------------------------------------------------------


def line_rows(found: Json, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the rows of a subscriber's page about the line: label and text."""
    line = cast("Json | None", found["line"])
    candidates, behind = cast("list[Json]", found["candidates"]), cast("list[Json]", found["behind"])
    if line is not None:
        yield "line", part_text(line, now)
        yield "", f"found by {'; '.join(cast('list[str]', line['how']))}"
        if cause := cast("Json | None", line["cause"]):
            yield "cause", cause_text(cause, now)
    elif candidates:
        yield "line", f"NOT CERTAIN: {len(candidates)} candidates, none is chosen"
    elif behind:
        yield "line", "not known, only what it shares with others: docs/operations.md, Is it us, or the line?"
    else:
        yield "line", "no port, radio or ONU is known of it: docs/operations.md, Is it us, or the line?"
    for one in candidates:
        yield "candidate", f"{part_text(one, now)} · by {'; '.join(cast('list[str]', one['how']))}"
    for one in behind:
        yield "behind", f"{part_text(one, now)} · {'; '.join(cast('list[str]', one['how']))}"
        if cause := cast("Json | None", one["cause"]):
            yield "cause", cause_text(cause, now)
    for note in cast("list[str]", found["notes"]):
        yield "not found", note


def part_text(part: Json, now: datetime) -> str:
    """Return one line about a part: its name, state, since when, levels, errors and the age of the reading."""
    device = cast("Json", part["device"])
    return f"{_thing(part)} on {device['name']}{_place(part)}: {state_text(part, device, now)}"


def _thing(part: Json) -> str:
    return f"{part['kind']} {part['serial'] or part['name']}"


def _place(part: Json) -> str:
    return f" {part['name']}" if part["serial"] and part["name"] not in ("", part["serial"]) else ""


def state_text(part: Json, device: Json, now: datetime) -> str:
    """Return the state of a part; of a silent device its last known one, as such."""
    known = _known(part, now)
    read = _read(device, cast("int", part["age_s"]))
    if device["unread_since"]:
        return f"{_unread(device)} since {said(device['unread_since'], now)}; last known: {known}, {read}"
    old = f" · {_OLD}" if device["old"] else ""
    return f"{known}, {read}{old}"


def _read(device: Json, age_s: int) -> str:
    """Return how old a reading is; it has the age of its poll, whoever polled."""
    age = age_text(age_s)
    return f"{device['source']} polled it {age} ago" if device["source"] else f"read {age} ago"


def _unread(device: Json) -> str:
    """Return that a device could not be read: by the agent, or as another system says."""
    if device["answers"]:
        return f"NOT READ ({device['why']})"
    return f"DOWN according to {device['source']} ({device['why']})" if device["source"] else SILENT


def _known(part: Json, now: datetime) -> str:
    least = "at least " if part["since_how"] == "first" else ""
    told = [_plain(str(part["told"]))] if part["state"] != "up" and _plain(str(part["told"])) else []
    if part["state"] == "down" and part["lost"]:
        told.insert(0, f"{part['lost']} at {said(part['before_at'], now)}")
    if part["state_by"] == "unproven":
        other = {"up": "down", "down": "up"}.get(str(part["state"]), "another state")
        told.append(f"a notification that proves nothing tells {other}: told, not read")
    why = f" ({'; '.join(told)})" if told else ""
    texts = [f"{_STATES[str(part['state'])]} {least}since {said(part['since'], now)}{why}"]
    if part["changes"]:
        texts.append(f"FLAPPING: {part['changes']} changes in 30 min")
    measures, usual = cast("Mapping[str, float]", part["measures"]), cast("Mapping[str, float]", part["usual"])
    if part["state"] == "up":
        texts += [_measure(name, measures[name]) for name in _SHOWN if name in measures]
    if fading := str(part["fading"]):
        texts.append(f"FADING: usually {usual[fading]:.1f} {UNITS[fading.rpartition('_')[2]]}")
    for name, growth in cast("Mapping[str, Json]", part["errors"]).items():
        if growth["grew"]:
            texts.append(
                f"{growth['grew']} {name.replace('_', ' ')} in {age_text(cast('int', growth['within_s']))} at"
                f" {said(growth['at'], now)}"
            )
    return " · ".join(texts)


def _plain(told: str) -> str:
    """Return a device's own words of a state without numbers of its MIB, and without "down", which stands there."""
    words = (_NUMBER.sub("", word) for word in told.split(", "))
    return ", ".join(word for word in words if word and word != "down")


def _measure(name: str, value: float) -> str:
    label, _, unit = name.rpartition("_")
    if unit == "bps":
        for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{label.replace('_', ' ')} {value / size:.4g} {prefix}bit/s"
    shown = f"{value:.1f}" if unit in ("dbm", "db") else f"{value:.6g}"
    return f"{label.replace('_', ' ')} {shown} {UNITS[unit]}"


# --- a device's parts -------------------------------------------------------------------------------------------------


def device_rows(found: Json, now: datetime | None = None) -> Iterator[str]:
    """Yield the lines of a device's page about its parts: those first that are not simply up."""
    now = now or local_now()
    if found["unread_since"]:
        yield f"{_unread(found)} since {said(found['unread_since'], now)}; what follows is the last known"
    elif found["old"]:
        yield _OLD
    if found["source"] and found["age_s"] is not None:
        yield f"what follows is what {found['source']} tells: {_read(found, cast('int', found['age_s']))}"
    yield from (_same_text(found, one, now) for one in cast("list[Json]", found["same"]))
    if found["replaced_at"]:
        yield f"another device is behind its address since {said(found['replaced_at'], now)}: {found['replaced']}"
    parts = cast("list[Json]", found["parts"])
    idle = sorted(str(part["name"]) for part in parts if _is_idle(part, now)) if len(parts) > _IDLE_FEW else []
    parts = [part for part in parts if not idle or not _is_idle(part, now)]
    parts = sorted(
        parts,
        key=lambda p: (not (p["changes"] or p["fading"]), p["state"] != "down", p["state"] == "up", _in_order(p)),
    )
    for part in parts[:_PARTS_SHOWN]:
        alias = f" [{part['alias']}]" if part["alias"] else ""
        yield f"{_thing(part)}{_place(part)}{alias}: {_known(part, now)}{' · no longer there' if part['gone'] else ''}"
    if len(parts) > _PARTS_SHOWN:
        yield f"… and {len(parts) - _PARTS_SHOWN} more parts: --json has all"
    if idle:
        idle = sorted(idle, key=_digits_apart)
        yield (
            f"{counted(len(idle), 'port')} without a description, down for 12 hours and more: "
            f"{', '.join(idle[:_IDLE_SHOWN])}{' …' if len(idle) > _IDLE_SHOWN else ''}"
        )
    for link in cast("list[Json]", found["links"]):
        told = "not confirmed, told by one end only" if link["told"] == "one end" else f"known by {link['told']}"
        yield f"link{_spaced(link['port'])} to {link['device']}{_spaced(link['other_port'])} ({told})"
    for event in cast("list[Json]", found["events"]):
        proven = "" if event["authenticated"] else " (anybody could have sent it)"
        yield f"{said(event['heard_at'], now)} heard {event['told'] or event['kind']}{proven}"
    for text in cast("list[str]", found["not_read"]):
        yield f"not read: {text}"


def _spaced(text: object) -> str:
    return f" {text}" if text else ""


def _same_text(found: Json, one: Json, now: datetime) -> str:
    """Return one line about another target that is the same device."""
    if one["unread_since"]:
        state = f"{_unread(one)} since {said(one['unread_since'], now)}"
    else:
        state = "never read" if one["age_s"] is None else _read(one, cast("int", one["age_s"]))
    counts = "; it counts in outages and for lines, what follows does not" if found["hidden_by"] == one["name"] else ""
    return f"the same device is {one['name']}: {state}{counts}"


def _is_idle(part: Json, now: datetime) -> bool:
    """Tell whether a part is a port that nobody seems to use."""
    quiet = part["kind"] == "port" and part["state"] == "down" and not (part["alias"] or part["changes"])
    return quiet and now.timestamp() - unix_of(part["since"]) > _IDLE_S


def _in_order(part: Json) -> tuple[str, list[tuple[int, str]]]:
    return str(part["kind"]), _digits_apart(str(part["name"]))


def _digits_apart(text: str) -> list[tuple[int, str]]:
    """Return a sort key by which names stand as people count: 0/2 before 0/10."""
    return [(int(run), "") if run.isdecimal() else (-1, run) for run in re.split(r"([0-9]+)", text)]
