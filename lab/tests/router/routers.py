"""What the router's tests share: a clock that is set by hand, a small access router, a client without sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.router.device import Router
from lab.router.session import ApiSession
from lab.router.words import SentenceReader, encode_sentence

START = 1_795_600_000.0


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A router with its clock; `after` lets time pass and does what falls due in it, in order."""

    clock: Clock
    router: Router

    def after(self, seconds: float) -> None:
        until = self.clock.now + seconds
        while (due := self.router.get_timer()) is not None and due <= until:
            self.clock.now = max(self.clock.now, due)
            self.router.handle_timer()
        self.clock.now = until


def bench(version: str = "7.20.8", **options: object) -> Bench:
    clock = Clock()
    return Bench(clock, Router(version, clock=clock, **options))


def access_bench(version: str = "7.20.8", subscribers: int = 3) -> Bench:
    """Two plans, a suspended one with its address list and the rule that enforces it."""
    b = bench(version)
    r = b.router
    r.add("/ip/pool", name="homes", ranges="100.64.0.10-100.64.0.60")
    r.add("/ip/pool", name="walled", ranges="10.255.0.10-10.255.0.60")
    r.add("/ppp/profile", name="home20", local_address="100.64.0.1", remote_address="homes", rate_limit="5M/20M")
    r.add("/ppp/profile", name="home50", local_address="100.64.0.1", remote_address="homes", rate_limit="10M/50M")
    r.add(
        "/ppp/profile",
        name="suspended",
        local_address="10.255.0.1",
        remote_address="walled",
        rate_limit="64k/64k",
        address_list="suspended",
    )
    r.add("/ip/firewall/filter", chain="forward", action="drop", src_address_list="suspended", comment="SUSPENDED")
    for n in range(1, subscribers + 1):
        r.add("/ppp/secret", name=f"home{n}", password=f"pw{n}", profile="home20", service="pppoe")
    return b


@dataclass
class Client:
    """A client without sockets. Sentences are lists of words; `ask` sends one and returns what came at once."""

    session: ApiSession
    reader: SentenceReader = field(default_factory=SentenceReader)

    def ask(self, *words: str) -> list[list[str]]:
        self.session.receive_untrusted(encode_sentence(words))
        return self.heard()

    def heard(self) -> list[list[str]]:
        self.session.handle_timer()
        return [list(s) for s in self.reader.feed_untrusted(self.session.take_output())]

    def rows(self, *words: str) -> list[dict[str, str]]:
        return [row_of(s) for s in self.ask(*words) if s[0] == "!re"]

    def trap(self, *words: str) -> str:
        said = self.ask(*words)
        assert [s[0] for s in said] == ["!trap", "!done"], said
        return row_of(said[0])["message"]

    def ret(self, *words: str) -> str:
        said = self.ask(*words)
        assert [s[0] for s in said] == ["!done"], said
        return row_of(said[0]).get("ret", "")


def row_of(sentence: Sequence[str]) -> dict[str, str]:
    return dict(w[1:].split("=", 1) for w in sentence if w.startswith("="))


def connected(router: Router) -> Client:
    assert router.connect()
    return Client(ApiSession(router))


def logged_in(router: Router, name: str = "admin", password: str = "") -> Client:
    client = connected(router)
    assert client.ask("/login", f"=name={name}", f"=password={password}") == [["!done"]]
    return client
