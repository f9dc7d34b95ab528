"""A customer's page, for the person on the phone: the network's state now, before the record.

Nothing that the agent remembers is shown as the network's state; a target that was not read is named *not checked*.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, cast

from agent.age import age_text
from agent.cli.client import Json
from agent.cli.cpe import support_lines
from agent.cli.lines import line_rows
from agent.cli.outcome import item_line
from agent.cli.when import local_now, said, unix_of, when_text

_WIDTH: Final = 100
_LABEL: Final = 12
_TOLD: Final = frozenset({"login", "nas", "ip", "address6", "ip6", "pd", "address", "since", "heard"})
"""Facts of a session that its line has already, in other words."""
_DECIDED: Final = {"approve": "approved", "reject": "rejected"}
_ACCESS: Final = {"active": "active", "suspended": "SUSPENDED"}


def page(found: Json, *, whole: bool, now: datetime | None = None) -> list[str]:
    """Return the lines of a customer's page; `whole`: with every change, not only the last few."""
    now = now or local_now()
    lines: list[str] = []
    for service in cast("list[Json]", found["services"]):
        reasons = [r for r in cast("list[Json]", found["reasons"]) if r["service"] == service["ref"]]
        lines += [*_service(service, reasons, now), ""]
    for gone in cast("list[str]", found["gone"]):
        lines += [f"{gone} is not in the inventory any more", ""]
    for cpe in cast("list[Json]", found["cpes"]):
        lines += [*support_lines(cpe), ""]
    changes = cast("list[Json]", found["changes"])
    title = "all changes" if whole else "last changes"
    lines += [title, *(line for c in changes for line in _change(c, now))] if changes else ["no changes yet"]
    return lines


def _row(label: str, text: str) -> Iterator[str]:
    """Yield a labeled paragraph, wrapped; a text without words has no line."""
    wrapped = textwrap.wrap(text, _WIDTH - _LABEL - 2, break_long_words=False, break_on_hyphens=False)
    for n, part in enumerate(wrapped):
        yield f"  {label if n == 0 else '':<{_LABEL}}{part}"


def _service(s: Json, reasons: list[Json], now: datetime) -> Iterator[str]:
    yield f"{s['ref']}  {s['name']} · {s['tariff']} · login {s['login']} · {s['method']}"
    extra = cast("dict[str, str]", s["extra"])
    yield from _row("", " · ".join(f"{name} {value}" for name, value in extra.items() if value))
    network = cast("Json | None", s["network"])
    if network is None:
        yield from _row("network", "not asked")
    elif not network["checked"]:
        yield from _row("network", f"NOT CHECKED: {network['why']}")
    else:
        yield from _network(network, now)
    if (line := cast("Json | None", s["line"])) is not None:
        for label, text in line_rows(line, now):
            yield from _row(label, text)
    yield from _recorded(reasons, now)
    if network is not None and network["checked"] and (text := _difference(network, reasons)):
        yield from _row("DIFFERS", text)
    if s["protected"] or s["feeds"]:
        yield from _row("protected", f"{s['protected'] or '-'} · feeds {s['feeds']}")
    billing = cast("Json | None", s["billing"])
    yield from _row("billing", str(billing["text"]) if billing else "no data")


def _network(network: Json, now: datetime) -> Iterator[str]:
    sessions = cast("list[Json]", network["sessions"])
    if not sessions:
        yield from _row("now", str(network["sessionless"]) or f"offline: no session by {network['sessions_by']}")
    for session in sessions:
        yield from _row("now", _session(session, now))
    yield from _row("next login", _login(network))
    yield from _row("gets", ", ".join(f"{k} {v}" for k, v in cast("Mapping[str, str]", network["reply"]).items()))
    yield from _row("groups", " > ".join(cast("list[str]", network["groups"])))
    if network["unjudged"]:
        yield from _row("not checked", f"whether it is kept in: {network['unjudged']}")
    for text in cast("list[str]", network["not_checked"]):
        yield from _row("not checked", text)
    for text in cast("list[str]", network["ways_out"]):
        yield from _row("open", text)


def _session(session: Json, now: datetime) -> str:
    began = session["since"]
    since = "" if began is None else f" since {said(began, now)} ({age_text(int(now.timestamp()) - unix_of(began))})"
    every = cast("Mapping[str, str]", session["facts"])
    facts = [f"{name} {value}" for name, value in every.items() if value and name not in _TOLD]
    carries = (
        f"carries {_ACCESS[str(session['carries'])]} ({session['how']})" if session["carries"] else "policy not told"
    )
    parts = [
        f"online on {session['place']}{since}",
        str(session["address"]),
        *facts,
        carries,
        f"by {session['source']}",
        f"may be over: {session['unsure']}" if session["unsure"] else "",
    ]
    return " · ".join(part for part in parts if part)


def _login(network: Json) -> str:
    if network["refused"]:
        return f"REJECTED: {network['refused']}"
    if network["not_held"]:
        return f"suspended, and LET OUT: {network['not_held']} · {network['mend']}"
    if network["access"] is None:
        word = "no such login" if network["absent"] else "cannot be told"
        return " · ".join(part for part in (word, str(network["unknown"])) if part)
    tariff = f" · tariff {network['tariff']}" if network["tariff"] else ""
    return f"{_ACCESS[str(network['access'])]}{tariff}"


def _recorded(reasons: list[Json], now: datetime) -> Iterator[str]:
    if not reasons:
        yield from _row("recorded", "active: no reason is recorded")
    for reason in reasons:
        by = f" by change {reason['change']}, asked by {reason['asked_by']}" if reason["change"] else ""
        people = ", ".join(cast("list[str]", reason["approved_by"]))
        approved = f", approved by {people}" if people else ""
        since = said(reason["since"], now)
        yield from _row("recorded", f"suspended for {reason['reason']} since {since}{by}{approved}")


def _difference(network: Json, reasons: list[Json]) -> str:
    """Return how the network differs from the record; "" where it does not, or cannot be told."""
    wanted = "suspended" if reasons else "active"
    carried = {str(s["carries"]) for s in cast("list[Json]", network["sessions"]) if s["carries"]} - {wanted}
    texts = []
    if network["access"] not in (None, wanted):
        texts.append(f"the next login would be {network['access']}")
    if carried:
        texts.append(f"a session carries {', '.join(sorted(carried))}")
    return f"{' and '.join(texts)}, and {wanted} is recorded: ispagent drift" if texts else ""


def _change(c: Json, now: datetime) -> Iterator[str]:
    why = f"{c['action']} {str(c['reason'])[1:]}".rstrip() if c["action"] in ("suspend", "restore") else c["action"]
    decisions = cast("list[Json]", c["decisions"])
    people = "".join(f", {_DECIDED[str(d['decision'])]} by {d['person']}" for d in decisions)
    at = when_text(c["made"], now)
    yield f"  {c['id']:<6} {at} {why} · asked by {c['requester']}{people} · {c['state']}"
    for item in cast("list[Json]", c["items"]):
        yield from (f"         {line}" for line in textwrap.wrap(item_line(item), _WIDTH - 9, break_long_words=False))
