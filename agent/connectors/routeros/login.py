"""Logging in to the RouterOS API. Pure: replies in, the next command out.

From 6.43 on, name and password go in one command. A router before that answers the same command with a challenge, and
takes MD5(0x00, password, challenge) in a second one. So one way in serves both; it puts the password on the wire,
which is why `api_session` lets nobody log in over a connection that is neither pinned nor declared insecure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import (
    LocalRouterError,
    LoginRefusedError,
    MalformedRouterReplyError,
    UnreachableRouterError,
)
from agent.connectors.routeros.wire import ReplyWord, WireReply
from agent.connectors.routeros.words import presentable

_CHALLENGE: Final = re.compile(r"[0-9a-fA-F]*", re.ASCII)
# No text of a router that is out of sessions is on record: these are words that such a refusal would have
_BUSY: Final = re.compile(
    r"too many|session.*(limit|reached|exceeded)|(limit|max)\S*( \S+){0,3} session", re.IGNORECASE
)


def challenge_response(password: bytes, challenge: bytes) -> str:
    """Return the answer to a challenge: `00`, then MD5(0x00, password, challenge) in hexadecimal."""
    return "00" + hashlib.md5(b"\x00" + password + challenge, usedforsecurity=False).hexdigest()


class Login:
    """One login on a new connection. Its commands have no tag: the oldest routers are asked as every client does."""

    def __init__(self, user: str, password: bytes) -> None:
        """Take the name to log in with; `password` may be empty, as it is on a router out of its box.

        Raises:
            LocalRouterError: there is no user.
        """
        if not user:
            raise LocalRouterError("login: expected a user, got an empty name")
        self._user, self._password = user, password
        self._challenged = False
        self._replies = self._size_bytes = 0
        self.done = False
        """Whether we are logged in."""

    def first(self) -> tuple[str, ...]:
        """Return the first command."""
        return "/login", f"=name={self._user}", f"=password={self._text()}"

    def receive(self, reply: WireReply) -> tuple[str, ...] | None:
        """Take a reply and return the next command, None when there is nothing to say.

        Raises:
            LoginRefusedError: wrong user or password.
            UnreachableRouterError: the router has no session left, or ends the connection.
            MalformedRouterReplyError: no answer to a login.
        """
        self._replies += 1
        self._size_bytes += reply.size_bytes
        if self._replies > limits.LOGIN_REPLIES or self._size_bytes > limits.LOGIN_BYTES:
            raise MalformedRouterReplyError(
                f"login: expected at most {limits.LOGIN_REPLIES} replies of {limits.LOGIN_BYTES} bytes, "
                f"got {self._replies} of {self._size_bytes}"
            )
        if self.done or reply.tag is not None:
            raise MalformedRouterReplyError("login: a reply to no command of ours")
        match reply.word:
            case ReplyWord.EMPTY:
                return None
            case ReplyWord.RE:
                raise MalformedRouterReplyError("login: expected !done or !trap, got !re")
            case ReplyWord.TRAP | ReplyWord.FATAL:
                raise self._refusal(reply)
            case ReplyWord.DONE if "ret" in reply.values:
                return self._answer_untrusted(reply.values["ret"])
            case ReplyWord.DONE:
                self.done = True
                return None

    def _refusal(self, reply: WireReply) -> LoginRefusedError | UnreachableRouterError:
        text = presentable(reply.text, (self._text(),))
        if _BUSY.search(text):
            return UnreachableRouterError(f"login: the router has no session left: {text}", reason="busy")
        if reply.word is ReplyWord.FATAL:
            return UnreachableRouterError(f"login: the router ends the connection: {text}", reason="refused")
        return LoginRefusedError(f"login: {text}" if text else "login: refused without a word")

    def _answer_untrusted(self, challenge: str) -> tuple[str, ...]:
        if self._challenged:
            raise MalformedRouterReplyError(
                "login: expected an end after the challenge was answered, got another challenge"
            )
        if len(challenge) != limits.CHALLENGE_CHARS or not _CHALLENGE.fullmatch(challenge):
            raise MalformedRouterReplyError(
                f"login: expected a challenge of {limits.CHALLENGE_CHARS} hexadecimal digits, "
                f"got {len(challenge)} characters"
            )
        self._challenged = True
        response = challenge_response(self._password, bytes.fromhex(challenge))
        return "/login", f"=name={self._user}", f"=response={response}"

    def _text(self) -> str:
        return self._password.decode("utf-8", "surrogateescape")
