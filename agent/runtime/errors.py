"""Errors of the runtime.

* AgentRuntimeError
  x BindError: the unix socket cannot be made (path, permission, group)
    + AlreadyRunningError: another daemon listens on it
  x HttpError: an application's refusal, sent to the client as status, code and message
    + MalformedRequestError: the client sent what is not the HTTP, JSON or query that was expected (400)
  x ClientError: a request of ours came to nothing
    + NotRunningError: nobody listens; nothing was sent
    + MayNotConnectError: the socket is there and not for this user; nothing was sent
    + NoAnswerError: sent, and no whole answer came in time: what became of it is unknown
    + MalformedAnswerError: the answer is not the HTTP or JSON that was expected
  x MalformedJsonError: bytes that are not strict JSON
  x WebError: a call of a web API brought nothing (`web_session`)
    + LocalWebError: it was not sent: a file of certificates or a header of ours cannot be used
    + WebRefusedError: the other end refuses the credentials (401), or their right to this (403)
    + WebUnreachableError: no whole answer in time, or one that says "not now" (5xx, 429)
    + WebCertificateError: the other end has no certificate that is trusted, or another one than the pinned
    + MalformedWebError: an answer, and not of the form or size that was expected
      - WebStatusError: its status is none of those that were expected, such as 404
  x SlowError: the client of a server let a deadline pass
  x UncontainedError: no task goes on after it: the program ends, and says it
"""

from __future__ import annotations

from agent.reasons import HttpReason


class AgentRuntimeError(Exception):
    """Anything that the runtime raises."""


class SlowError(AgentRuntimeError):
    """The client let a deadline pass."""


class UncontainedError(AgentRuntimeError):
    """No task goes on after it: `supervise` starts none again, and the program ends and says it."""


class BindError(AgentRuntimeError):
    """The unix socket cannot be made."""


class AlreadyRunningError(BindError):
    """Another daemon listens on the socket."""


class HttpError(AgentRuntimeError):
    """An application's refusal. `code` is a short word for programs, the message is for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class MalformedRequestError(HttpError):
    """The client sent other HTTP, JSON or query than expected."""

    def __init__(self, message: str, *, status: int = 400, code: str = HttpReason.MALFORMED) -> None:
        super().__init__(status, code, message)


class ClientError(AgentRuntimeError):
    """A request of ours came to nothing."""


class NotRunningError(ClientError):
    """Nobody listens on the socket; nothing was sent."""


class MayNotConnectError(ClientError):
    """The socket is not for this user; nothing was sent."""


class NoAnswerError(ClientError):
    """The request was sent and no whole answer came: its fate is unknown."""


class MalformedAnswerError(ClientError):
    """The answer is not the HTTP or JSON that was expected."""


class MalformedJsonError(AgentRuntimeError):
    """Bytes that are not strict JSON."""


class WebError(AgentRuntimeError):
    """A call of a web API brought nothing. Its message holds nothing of a request or of an answer."""


class LocalWebError(WebError):
    """Nothing was sent: something of ours cannot be used."""


class WebRefusedError(WebError):
    """The other end refuses the credentials (`status` 401), or their right to this (403)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WebUnreachableError(WebError):
    """No whole answer came. `retry_after_s`: how long the other end asked to be left alone; 0: it did not."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class WebCertificateError(WebError):
    """The other end's certificate is not trusted. Its message has both fingerprints where one is pinned."""


class MalformedWebError(WebError):
    """An answer came that is not of the form or size that was expected."""


class WebStatusError(MalformedWebError):
    """An answer's status is none of those that were expected: perhaps another service answers at that address."""
