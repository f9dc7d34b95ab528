"""The errors of a conversation with a router; only those of `agent.connectors.base` cross to the main job.

* RouterError
  x LocalRouterError: we misused it; nothing was sent
  x RemoteRouterError: the router, or the way to it
    + UnreachableRouterError: no session came about, no command was sent; `reason` says why
    + LoginRefusedError: wrong user or password, or a user without the right to use the API
    + TrapError: the router refused a command in its own words; the conversation goes on
    + AnswerTooLongError: more came than we take; the command was cancelled
    + CarrierLostError: the connection is gone; `sent` says whether the command may have reached the router
    + RouterTimeoutError: no end of the answer in time; `sent` as before
    + MalformedRouterReplyError: what came is not the protocol; the connection is closed, the command's fate is unknown
* FleetFileError: an operator's list of routers cannot be read; the text says the line

No message quotes a sent command, and a router's own words are in one only clipped and neutralized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Unreachable = Literal["unreachable", "timeout", "certificate", "refused", "busy", "hung-up"]
"""Why there is no session.

unreachable: no route, no such host, or the connection broke · timeout: nothing within the time given ·
certificate: no TLS, or not with the pinned certificate · refused: the port is closed, or the router ends the login in
words of its own · busy: it has no session left (`max-sessions`) · hung-up: it closed without a word before the login
was answered, as it may for that same reason.
"""


NO_MENU: Final = "no such command"
"""RouterOS' text for a menu that the release has not, or without its package: then nothing is in it."""


class RouterError(Exception):
    """Anything that a conversation with a router raises."""


class LocalRouterError(RouterError):
    """We misused it."""


class RemoteRouterError(RouterError):
    """The router, or the way to it."""


class UnreachableRouterError(RemoteRouterError):
    """No session came about, and no command was sent."""

    def __init__(self, message: str, *, reason: Unreachable) -> None:
        super().__init__(message)
        self.reason: Unreachable = reason


class LoginRefusedError(RemoteRouterError):
    """The router takes this user or password not."""


class TrapError(RemoteRouterError):
    """The router refused, or broke off, a command: `!trap`.

    Not a proof that nothing happened: of a command on several items, those before the refused one are done.

    `message`: the router's own text, clipped, control characters neutralized, values of ours that are secret blotted
    out. `category`: 0 to 7 as in the manual ("!trap message category"), None where it gave none. `rows`: those that it
    had answered before. `more`: the messages of further traps of the same command.
    """

    def __init__(
        self,
        message: str,
        category: int | None = None,
        rows: tuple[Mapping[str, str], ...] = (),
        more: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message, self.category, self.rows, self.more = message, category, rows, more


class AnswerTooLongError(RemoteRouterError):
    """The answer has more rows or bytes than `limits` allows. The part that had come is dropped."""


class CarrierLostError(RemoteRouterError):
    """The connection is gone.

    `sent` False: nothing of this command was handed to the network. True: its fate is unknown.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class RouterTimeoutError(RemoteRouterError):
    """The answer did not end in time; `sent` as for CarrierLostError.

    The command was cancelled on the router too; where that could not be confirmed, the connection is closed.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class MalformedRouterReplyError(RemoteRouterError):
    """Bytes or sentences that the protocol does not have: nothing after them can be trusted to belong to anything."""


class FleetFileError(Exception):
    """The input does not list routers. The text names the line, the expected value and the given one."""
