"""The running agent as the commands of connectors ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from agent.cli import client
from agent.cli.client import fail
from agent.runtime import http_client
from agent.runtime.errors import ClientError, NotRunningError

if TYPE_CHECKING:
    from agent.connectors.base import AnswerRow, Question


class RunningAgent:
    """Implements `agent.connectors.spec.AsksAgent`."""

    def ask(self, connector: str, question: Question) -> Iterator[AnswerRow]:
        """Yield the rows of an answer as they come. A refusal, and an agent that does not run, end the program."""
        body = {
            "verb": question.verb,
            "target": question.target,
            "words": list(question.words),
            "options": dict(question.options),
        }
        at = f"/v1/explore/{quote(connector, safe='')}"
        try:
            with http_client.stream(client.socket_path(), "POST", at, body) as (status, lines):
                for line in lines:
                    if status >= 400:
                        client.refuse(status, line)
                    found = cast("Mapping[str, Mapping[str, str]]", line)
                    if "row" in found:
                        yield cast("AnswerRow", found["row"])
                    elif "error" in found:
                        fail(found["error"]["message"], client.FAILED, found["error"]["code"])
        except NotRunningError as err:
            client.not_running(err)
        except ClientError as err:
            fail(str(err), client.FAILED)
