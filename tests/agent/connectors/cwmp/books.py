"""A `CpeBook` in memory: whole, and everything can be seen and set by a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from agent.connectors.cwmp.connection_request import Credentials
from agent.cpe_model.breaker import BreakerRow
from agent.cpe_model.known import Acceptance, CachedParameter, Called, Cpe, Pending, says


@dataclass
class Login:
    """A user that is one CPE's own."""

    name: str
    password: str


@dataclass
class Book:
    """Implements `CpeBook`.

    `trust`: what people decided, by name; without, a CPE is quarantined. `logins`: user -> whose it is. `secrets`:
    commitment -> text. `calls`, `proven`: what the book was told, in order. `crash`: raised by `called` instead.
    `slow`: `called` waits for it.
    """

    trust: dict[str, Acceptance] = field(default_factory=dict)
    logins: dict[str, Login] = field(default_factory=dict)
    requests: dict[str, Credentials] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    crash: Exception | None = None
    slow: trio.Event | None = None
    cpes: dict[str, Cpe] = field(default_factory=dict)
    known: dict[str, dict[str, CachedParameter]] = field(default_factory=dict)
    taken: dict[str, dict[str, str]] = field(default_factory=dict)
    wanted: dict[str, list[Pending]] = field(default_factory=dict)
    breakers: dict[str, tuple[BreakerRow, ...]] = field(default_factory=dict)
    resets_until_s: dict[str, int] = field(default_factory=dict)
    calls: list[Called] = field(default_factory=list)
    proven: list[tuple[str, str, bool, str]] = field(default_factory=list)

    def find(self, name: str) -> Cpe | None:
        return self.cpes.get(name)

    def accepted_addresses(self, most: int) -> Sequence[str]:
        accepted = [c for c in self.cpes.values() if self.trust.get(c.name) is Acceptance.ACCEPTED]
        return [c.address for c in sorted(accepted, key=lambda c: c.last_s)][-most:]

    def values(self, name: str, paths: Sequence[str] | None = None) -> Mapping[str, CachedParameter]:
        found = self.known.get(name, {})
        return {path: found[path] for path in (sorted(found) if paths is None else paths) if path in found}

    def own_password(self, user: str) -> str | None:
        login = self.logins.get(user)
        return None if login is None else login.password

    def owner(self, user: str) -> str | None:
        login = self.logins.get(user)
        return None if login is None else login.name

    def request_owner(self, user: str) -> str | None:
        return next((name for name, given in self.requests.items() if given.user == user), None)

    def request_credentials(self, name: str) -> Credentials | None:
        return self.requests.get(name)

    async def called(self, called: Called) -> Cpe:
        await trio.lowlevel.checkpoint()
        if self.slow is not None:
            await self.slow.wait()
        if self.crash is not None:
            raise self.crash
        self.calls.append(called)
        before = self.cpes.get(called.name)
        trust = self.trust.get(called.name, Acceptance.QUARANTINED)
        if before is not None and trust is Acceptance.ACCEPTED and self._only_claims(before, called):
            return replace(before, trust=Acceptance.QUARANTINED, why="only claimed")
        blank = Cpe(called.name, called.oui, called.product_class, called.serial, first_s=called.at_s)
        self.cpes[called.name] = cpe = replace(
            before or blank,
            manufacturer=called.manufacturer,
            trust=trust,
            why="" if trust is Acceptance.ACCEPTED else "never seen before",
            root=called.root or (before or blank).root,
            software=called.software or (before or blank).software,
            hardware=called.hardware or (before or blank).hardware,
            user=called.user,
            own=called.own,
            address=called.address,
            request_url=called.request_url or (before or blank).request_url,
            udp_address=called.udp_address,
            events=called.events,
            last_s=called.at_s,
            boots=(before or blank).boots + self._news(before, called, "1"),
            resets=(before or blank).resets + self._news(before, called, "0"),
            booted=self._news(before, called, "1"),
        )
        self.known.setdefault(called.name, {}).update(called.values)
        return cpe

    def _news(self, before: Cpe | None, called: Called, code: str) -> bool:
        again = called.retry and before is not None and says(before.events, code)
        return says(called.events, code) and not again

    def _only_claims(self, before: Cpe, called: Called) -> bool:
        reset = called.resets and self.resets_until_s.get(called.name, 0) >= called.at_s
        return before.own and not called.own and not called.trust_shared and not reset

    async def learned(self, name: str, values: Mapping[str, CachedParameter], *, below: str = "") -> None:
        await trio.lowlevel.checkpoint()
        known = self.known.setdefault(name, {})
        for path in [path for path in known if below and path.startswith(below)]:
            del known[path]
        known.update(values)

    async def forget(self, name: str, path: str) -> None:
        await trio.lowlevel.checkpoint()
        known = self.known.get(name, {})
        for each in [each for each in known if each == path or (path.endswith(".") and each.startswith(path))]:
            del known[each]

    def secret(self, commit: str) -> str | None:
        return self.secrets.get(commit)

    async def setting(self, name: str, pending: Pending, user: str = "") -> None:
        await trio.lowlevel.checkpoint()
        self.wanted.setdefault(name, []).append(pending)
        for path, commit in pending.secrets.items():
            if user and path.endswith("ManagementServer.Password"):
                self.logins[user] = Login(name, self.secrets[commit])

    async def expect_reset(self, name: str, until_s: int) -> None:
        await trio.lowlevel.checkpoint()
        self.resets_until_s[name] = until_s

    async def was_set(self, name: str, secrets: Mapping[str, str]) -> None:
        await trio.lowlevel.checkpoint()
        self.taken.setdefault(name, {}).update(secrets)
        self.wanted.pop(name, None)

    def secrets_set(self, name: str) -> Mapping[str, str]:
        return dict(self.taken.get(name, {}))

    def pending(self, name: str) -> Sequence[Pending]:
        return tuple(self.wanted.get(name, ()))

    def breaker(self, name: str) -> Sequence[BreakerRow]:
        return self.breakers.get(name, ())

    async def keep_breaker(self, name: str, rows: Sequence[BreakerRow]) -> None:
        await trio.lowlevel.checkpoint()
        self.breakers[name] = tuple(rows)

    async def evidence(self, name: str, workflow: str, worked: bool, detail: str, software: str | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self.proven.append((name, workflow, worked, detail))
