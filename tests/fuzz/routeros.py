"""Sentences of a router, and commands in flight that hear any."""

from __future__ import annotations

from contextlib import suppress

from agent.connectors.routeros.errors import CarrierLostError, MalformedRouterReplyError, RouterError, TrapError
from agent.connectors.routeros.exchanges import Exchange, Exchanges
from agent.connectors.routeros.login import Login
from agent.connectors.routeros.wire import ReplyReader
from tests.agent.connectors.routeros.fakes import sentence

SENTENCES = [
    sentence("!re", ".tag=1", "=.id=*1A", "=name=alice", "=comment=Zoë", "=disabled=false"),
    sentence("!re", ".tag=2", "=name=" + "x" * 130),
    sentence("!empty", ".tag=2"),
    sentence("!trap", ".tag=3", "=category=2", "=message=interrupted\x1b[0m"),
    sentence("!done", ".tag=1", "=ret=*1B"),
    sentence("!done", ".tag=2"),
    sentence("!done", ".tag=3"),
    sentence("!fatal", "session terminated on request"),
    sentence("!done", "=ret=856780b7411eefd3abadee2058c149a3"),
    sentence(),
]


def hear(data: list[bytes]) -> str:
    """Play a talk to three commands in flight; return how it ended."""
    reader, exchanges = ReplyReader(), Exchanges()
    commands = [Exchange(exchanges.new_tag(), ("pa55-canary",), lambda: None) for _ in range(3)]
    for command in commands:
        exchanges.open(command)
    end = "open"
    try:
        for piece in data:
            for reply in reader.receive_untrusted(piece):
                exchanges.take(reply)
    except MalformedRouterReplyError:
        end = "malformed"
    except CarrierLostError:
        end = "fatal"
    assert len(reader._rest) <= sum(map(len, data))
    for command in commands:
        if command.finished:
            with suppress(TrapError):
                command.answer()
    return end


def log_in(data: list[bytes]) -> None:
    reader, login = ReplyReader(), Login("admin", b"pa55-canary")
    with suppress(RouterError):
        for piece in data:
            for reply in reader.receive_untrusted(piece):
                login.receive(reply)
