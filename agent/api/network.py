"""The network's state of services now, as an answer. Each is read by itself: a slow target hides no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

import trio

from agent.api.call import ApiCall
from agent.connectors.base import LiveSession, NetworkState, UnreadableError
from agent.model import Service
from agent.spelling import mac_digits
from trust.moments import moment_json

READ_S: Final = 15.0
"""How long somebody on the phone waits for the network before the rest is shown without it."""


async def read_network(call: ApiCall, services: Iterable[Service]) -> dict[str, dict[str, object]]:
    """Return the network's state of each service, by ref; or that it was not checked, and why."""
    found: dict[str, dict[str, object]] = {}

    async def read(service: Service) -> None:
        found[service.ref] = _not_checked(f"no answer within {READ_S:.0f} s")
        with trio.move_on_after(READ_S):
            try:
                state = (await call.parts.intake.previewer.network.read_states([service]))[service.ref]
            except UnreadableError as err:
                state = err
            found[service.ref] = _not_checked(str(state)) if isinstance(state, UnreadableError) else _state(state)

    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(read, service)
    return found


def session_macs(network: Mapping[str, dict[str, object]]) -> Iterator[tuple[str, str, str]]:
    """Yield the MAC addresses of CPE that sessions show: service, twelve hex digits, the source."""
    for ref, state in network.items():
        for session in cast("list[dict[str, object]]", state.get("sessions", [])):
            for text in cast("dict[str, str]", session["facts"]).values():
                if mac := mac_digits(text):
                    yield ref, mac, f"session on {session['place']}"


def _not_checked(why: str) -> dict[str, object]:
    return {"checked": False, "why": why}


def _state(state: NetworkState) -> dict[str, object]:
    return {
        "checked": True,
        "access": None if state.access is None else state.access.value,
        "absent": state.absent,
        "refused": state.refused,
        "unknown": state.unknown,
        "not_held": state.not_held,
        "mend": state.mend,
        "unjudged": state.unjudged,
        "tariff": state.tariff,
        "sessions": [_session(session) for session in state.sessions],
        "reply": dict(state.reply),
        "groups": list(state.groups),
        "sessions_by": state.sessions_by,
        "sessionless": state.sessionless,
        "not_checked": list(state.not_checked),
        "ways_out": list(state.ways_out),
    }


def _session(session: LiveSession) -> dict[str, object]:
    return {
        "place": session.place,
        "source": session.source,
        "since": moment_json(session.since_s),
        "address": session.address,
        "facts": dict(session.facts),
        "carries": None if session.carries is None else session.carries.value,
        "how": str(session.how),
        "unsure": session.unsure,
    }
