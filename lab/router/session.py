"""One connection to the router's API, from bytes to bytes. Pure; timers go by the router's clock.

Logging in is by name and password, or (as before RouterOS 6.43) by a challenge; this router takes both, and one older
than 6.43 the challenge alone. Commands with tags answer in any order; a command that follows a menu goes on until it is
cancelled.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lab.router.device import Router
from lab.router.errors import MalformedWordsError, Trap
from lab.router.faults import Fault, FaultKind
from lab.router.limits import OUTPUT_BYTES_MAX
from lab.router.store import Event
from lab.router.table import Row
from lab.router.verbs import Answer, Follow, parse_command, run
from lab.router.words import SentenceReader, encode_sentence

_NOT_LOGGED_IN: Final = ("!fatal", "not logged in")
_CHALLENGE_BYTES: Final = 16


@dataclass(slots=True)
class _Following:
    """A command that goes on. `said`: it has shown a row; `due`: when it shows all again."""

    follow: Follow
    said: bool = False
    due: float | None = None


def _attributes(row: Mapping[str, str]) -> list[str]:
    return [f"={name}={value}" for name, value in row.items()]


class ApiSession:
    """A connection. `closed`: send the rest of `take_output`, then close; `on_output` is called when there is more.

    The router must have taken the connection (`Router.connect`); `close` gives it back, and may be called twice.
    """

    def __init__(self, router: Router, address: str = "127.0.0.1") -> None:
        self.closed = False
        self.on_output: Callable[[], None] = lambda: None
        self.user = ""
        self._router = router
        self._address = address
        self._reader = SentenceReader()
        self._output = bytearray()
        self._challenge = b""
        self._active: Row | None = None
        self._following: dict[str, _Following] = {}
        self._late: list[tuple[float, bytes]] = []
        self._given_back = False
        router.on_restart.append(self.close)
        router.store.watchers.append(self._on_row)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def receive_untrusted(self, data: bytes) -> None:
        """Take bytes from the client. Bytes that are no sentence close the connection, as RouterOS does."""
        if self.closed:
            return
        try:
            sentences = self._reader.feed_untrusted(data)
        except MalformedWordsError:
            self.close()
            return
        for words in sentences:
            self._on_sentence(words)

    def take_output(self) -> bytes:
        """The bytes to send, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def close(self) -> None:
        """End the connection from the router's side, or note that the client is gone."""
        self.closed = True
        self._following.clear()
        self._late.clear()
        if not self._given_back:
            self._given_back = True
            self._router.on_restart.remove(self.close)
            self._router.store.watchers.remove(self._on_row)
            self._router.disconnect(self._active)
        self.on_output()

    def _say(self, words: Sequence[str], tag: str) -> None:
        self._send(encode_sentence([*words, f".tag={tag}"] if tag else words))

    def _send(self, data: bytes) -> None:
        if self.closed:
            return
        self._output += data
        if len(self._output) > OUTPUT_BYTES_MAX:
            self._output.clear()
            self.close()
        self.on_output()

    # --- timers -------------------------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called next, by the router's clock."""
        times = [due for due, _ in self._late] + [f.due for f in self._following.values() if f.due is not None]
        return min(times, default=None)

    def handle_timer(self) -> None:
        """Send answers that were held back; repeat those that repeat."""
        now = self._router.now()
        for due, data in self._late[:]:
            if due <= now:
                self._late.remove((due, data))
                self._send(data)
        for tag, following in list(self._following.items()):
            if following.due is not None and following.due <= now:
                following.due = now + following.follow.every_ms / 1000
                self._repeat(tag, following)

    def _repeat(self, tag: str, following: _Following) -> None:
        follow, store = following.follow, self._router.store
        single = store.model(follow.path).menu.single
        for row in [store.single(follow.path)] if single else store.table(follow.path):
            if follow.test(store.view(follow.path, row)):
                following.said = True
                self._say(["!re", *_attributes(follow.show(row))], tag)

    # --- sentences ----------------------------------------------------------------------------------------------------

    def _on_sentence(self, words: tuple[str, ...]) -> None:
        if self.closed:  # by the sentence before
            return
        tag = next((w[5:] for w in words if w.startswith(".tag=")), "")
        words = tuple(w for w in words if not w.startswith(".tag="))
        if not words:
            return
        match words[0]:
            case "/login":
                self._login(words, tag)
            case _ if not self.user:
                self._say(_NOT_LOGGED_IN, "")
                self.close()
            case "/quit":
                self._say(("!fatal", "session terminated on request"), "")
                self.close()
            case "/cancel":
                self._cancel(dict(w[1:].partition("=")[::2] for w in words[1:]).get("tag"), tag)
            case _:
                self._command(words, tag)

    def _login(self, words: tuple[str, ...], tag: str) -> None:
        args = {name: value for name, _, value in (w[1:].partition("=") for w in words[1:] if w.startswith("="))}
        modern = self._router.store.facts.version >= (6, 43, 0)
        name = args.get("name", "")
        if "response" in args and self._challenge:
            password = self._router.password(name).encode("utf-8", "surrogateescape")
            # the manual: 00 and the MD5 of a zero byte, the password, the challenge
            wanted = "00" + hashlib.md5(b"\0" + password + self._challenge).hexdigest()
            good = hmac.compare_digest(wanted.encode(), args["response"].encode("utf-8", "surrogateescape"))
            self._challenge = b""
        elif "password" in args and modern:
            offered, wanted = args["password"], self._router.password(name)
            good = hmac.compare_digest(*(p.encode("utf-8", "surrogateescape") for p in (offered, wanted)))
        else:
            self._challenge = secrets.token_bytes(_CHALLENGE_BYTES)
            self._say(("!done", f"=ret={self._challenge.hex()}"), tag)
            return
        user = self._router.user(name)
        if not good or user is None or "api" not in user.policies:
            seven = self._router.store.facts.version[0] >= 7
            refused = "invalid user name or password (6)" if seven else "cannot log in"
            self._say(("!trap", f"=message={refused}"), tag)
            self._say(("!done",), tag)
            return
        if self._active is None:
            self._active = self._router.logged_in(name, self._address)
        self.user = name
        self._say(("!done",), tag)

    def _cancel(self, which: str | None, tag: str) -> None:
        """Interrupt a command by its tag, or without one all of them.

        The order was seen on real routers: the trap on the command's tag, the cancel's own `!done`, the command's.
        """
        ended = [running for running in list(self._following) if which is None or running == which]
        followed = [(running, self._following.pop(running)) for running in ended]
        for running, _ in followed:
            self._say(("!trap", "=category=2", "=message=interrupted"), running)
        self._say(("!done",), tag)
        for running, following in followed:
            if self._router.says_empty and not following.said:
                self._say(("!empty",), running)
            self._say(("!done",), running)

    def _command(self, words: tuple[str, ...], tag: str) -> None:
        met = {fault.kind: fault for fault in self._router.faults.take(words[0])}
        if (drift := met.get(FaultKind.DRIFT)) and drift.drift:
            drift.drift(self._router)
        if FaultKind.COMMAND_LOST in met:
            return
        if FaultKind.REBOOT in met:
            self._router.reboot()
            return
        if FaultKind.CUT_BEFORE in met:
            self.close()
            return
        if FaultKind.NO_EFFECT in met:
            self._say(("!done",), tag)
            return
        said = self._perform(words, tag, met.get(FaultKind.TRAP))
        self._router.told_bytes[words[0]] += len(said)
        if self.closed:
            return
        if FaultKind.CUT_AFTER in met:
            self.close()
        elif slow := met.get(FaultKind.SLOW):
            self._late.append((self._router.now() + slow.seconds, said))
            self.on_output()
        elif FaultKind.REPLY_LOST not in met:
            self._send(said)

    def _perform(self, words: tuple[str, ...], tag: str, refuse: Fault[Router] | None) -> bytes:
        """Do a command and return the bytes of its answer."""
        self._router.store.reuse_ids = self._router.faults.holds(FaultKind.REUSE_IDS)
        try:
            answer = self._answer(words, tag, refuse)
        except Trap as err:
            category = [] if err.category is None else [f"=category={err.category}"]
            return self._encoded([["!trap", *category, f"=message={err.message}"], ["!done"]], tag)
        if answer.follow is not None:
            return self._start(answer, answer.follow, tag)
        sentences = [["!re", *_attributes(row)] for row in answer.rows]
        if answer.empty and self._router.says_empty:
            sentences.append(["!empty"])
        sentences.append(["!done"] if answer.ret is None else ["!done", f"=ret={answer.ret}"])
        return self._encoded(sentences, tag)

    def _answer(self, words: tuple[str, ...], tag: str, refuse: Fault[Router] | None) -> Answer:
        if refuse:
            raise Trap(refuse.text)
        user = self._router.user(self.user)
        if user is None:
            raise Trap("not enough permissions (9)")
        if tag in self._following:
            raise Trap("failure: already executing command with this tag", 5)
        own = replace(user, session=self._active.id if self._active else "")
        return run(self._router, parse_command(words), own)

    def _start(self, answer: Answer, follow: Follow, tag: str) -> bytes:
        due = self._router.now() + follow.every_ms / 1000 if follow.every_ms else None
        self._following[tag] = _Following(follow, said=bool(answer.rows), due=due)
        return self._encoded([["!re", *_attributes(row)] for row in answer.rows], tag)

    @staticmethod
    def _encoded(sentences: Sequence[Sequence[str]], tag: str) -> bytes:
        return b"".join(encode_sentence([*s, f".tag={tag}"] if tag else s) for s in sentences)

    def _on_row(self, path: str, row: Row, event: Event) -> None:
        for tag, following in list(self._following.items()):
            follow = following.follow
            if follow.path != path or follow.every_ms:
                continue
            if not follow.test(self._router.store.view(path, row)):
                continue
            following.said = True
            if event == "removed":
                dead = "true" if self._router.store.facts.version[0] >= 7 else "yes"
                self._say(["!re", f"=.id={row.id}", f"=.dead={dead}"], tag)
            else:
                self._say(["!re", *_attributes(follow.show(row))], tag)
