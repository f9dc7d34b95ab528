"""`ispagent` against an agent in this process: the program's own words, without a socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
import trio
from typer.testing import CliRunner

from agent.cli import app
from agent.runtime import http_client
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response
from tests.builders.agent import MARIA, Agent
from tests.builders.answers import checked


@dataclass(frozen=True, slots=True)
class Said:
    """What the program printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Terminal:
    """A person at a terminal of an agent."""

    def __init__(self, agent: Agent, monkeypatch: pytest.MonkeyPatch, uid: int = MARIA) -> None:
        self.agent, self.uid = agent, uid
        monkeypatch.setenv("ISPAGENT_SOCKET", "/nowhere/agent.sock")
        monkeypatch.setattr(http_client, "request", self._request)

    async def type(self, *args: str) -> Said:
        """Run one command."""
        result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, args))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def _request(self, _: object, method: str, path: str, body: object = None, **__: Any) -> http_client.HttpAnswer:
        return trio.from_thread.run(self._answer, method, path, body)

    async def _answer(self, method: str, path: str, body: object) -> http_client.HttpAnswer:
        where, _, query = path.partition("?")
        pairs = dict(parse_qsl(query, keep_blank_values=True))
        data = b"" if body is None else json.dumps(body).encode()
        try:
            answer = await self.agent.daemon.api(HttpRequest(method, where, pairs, {}, data, self.uid, 1))
        except HttpError as err:
            return http_client.HttpAnswer(err.status, {"error": {"code": err.code, "message": str(err)}})
        assert isinstance(answer, Response)
        return http_client.HttpAnswer(answer.status, checked(answer.json))
