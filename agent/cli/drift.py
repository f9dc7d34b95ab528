"""`ispagent drift`: where the network is not as recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final, cast

import typer

from agent.age import age_text
from agent.cli.client import FAILED, MIXED, Json, call_object, fail, print_json
from agent.cli.when import unix_now, unix_of
from trust.terminal import neutralize

app = typer.Typer()

ROUND_S: Final = 3600.0
"""How long a round is waited for, seconds."""
LOOK_S: Final = 0.5
NAMES_SHOWN: Final = 20


@app.command()
def drift(
    now: Annotated[bool, typer.Option("--now", help="Compare all services now, and wait for the result")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List every difference, also under an alarm")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """List where the network differs from the record, with the commands that settle each. Nothing mends itself.

    Exit code 0: all services were checked and are as recorded; 4: some differ, or could not be checked.
    """
    found = call_object("GET", "/v1/drift")
    if now or found["round"] is None:
        found = _round(found)
    if as_json:
        print_json(found)
    else:
        print(drift_text(found, unix_now(), everything=everything))
    counts = cast("Json", found["round"])
    if counts["differ"] or counts["not_checked"] or counts["busy"] or came_since(counts, found["services"]):
        raise typer.Exit(MIXED)


def came_since(counts: Json, services: object) -> int:
    """Return how many more services there are now than the round had before it: none of these was checked."""
    return max(cast("int", services) - cast("int", counts["services"]), 0)


def _round(before: Json) -> Json:
    """Have the agent run a round, and return its findings."""
    call_object("POST", "/v1/drift", {})
    until = time.monotonic() + ROUND_S
    while (found := call_object("GET", "/v1/drift"))["running"]:
        if time.monotonic() > until:
            fail(f"the round is not over after {ROUND_S:.0f} s: ispagent drift shows it later", MIXED)
        time.sleep(LOOK_S)
    if found["round"] is None or _id(found) == _id(before):
        fail("the round did not come to its end: the agent's log says why", FAILED)
    return found


def _id(found: Json) -> object:
    return None if found["round"] is None else cast("Json", found["round"])["id"]


def drift_text(found: Json, now_s: float, *, everything: bool = False) -> str:
    """Return the last round for people.

    Args:
        found: the agent's answer.
        now_s: unix seconds.
        everything: list every difference, however many.
    """
    counts = cast("Json", found["round"])
    differences = cast("list[Json]", found["differences"])
    unread = cast("list[Json]", found["not_checked"])
    age = age_text(int(now_s - unix_of(counts["ended_at"])))
    head = f"{counts['checked']} checked {age} ago: {counts['differ']} differ, {counts['not_checked']} not checked"
    busy = f", {counts['busy']} with a change running" if counts["busy"] else ""
    lines = [head + busy]
    if new := came_since(counts, found["services"]):
        lines.append(f"not checked: {new} of {found['services']} services, which came since: ispagent drift --now")
    if counts["alarm"]:
        kinds = ", ".join(f"{n} {code}" for code, n in Counter(str(d["code"]) for d in differences).most_common())
        lines.append(f"ALARM    more services differ than drift.alarm_percent allows: {kinds}")
    if counts["alarm"] and not everything:
        lines.append("         look at the target first, then: ispagent drift --all")
    else:
        for one in differences:
            lines += _lines(one, now_s)
    lines += _unread_lines(unread, everything=everything)
    lines += [neutralize(f"of any    not checked: {note}") for note in cast("list[str]", counts["notes"])]
    lines += [neutralize(f"suspended, and open: {way}") for way in cast("list[str]", counts["ways_out"])]
    return "\n".join(lines)


def _lines(one: Json, now_s: float) -> list[str]:
    since = age_text(int(now_s - unix_of(one["first_seen"])))
    read = age_text(int(now_s - unix_of(one["read_at"])))
    return [
        neutralize(f"{one['subject']}: {one['code']}, seen first {since} ago"),
        neutralize(f"  wanted  {one['wanted']}"),
        neutralize(f"  reads   {one['reads']} ({one['where']}, {read} ago)"),
        neutralize(f"  known   {one['known']}"),
        *(
            neutralize(f"  > {ask['command']:<56} {ask['meaning']}")
            for ask in cast("list[dict[str, str]]", one["asks"])
        ),
    ]


def _unread_lines(unread: Sequence[Json], *, everything: bool) -> list[str]:
    groups: dict[str, list[str]] = {}
    for one in unread:
        groups.setdefault(str(one["why"]), []).append(str(one["subject"]))
    lines = []
    for why, subjects in groups.items():
        shown = subjects if everything else subjects[:NAMES_SHOWN]
        more = f" and {len(subjects) - len(shown)} more" if len(shown) < len(subjects) else ""
        lines.append(neutralize(f"not checked: {', '.join(shown)}{more}: {why}"))
    return lines
