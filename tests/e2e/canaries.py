"""An operator whose every word about subscribers and network is a canary: nothing else in the world reads like it."""

from __future__ import annotations

import contextlib
import csv
import io
import secrets
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from lab import population
from lab.isp import Isp
from lab.population import LabService
from tests.e2e.files import COLUMNS, Billing, Files, ref_of
from trust.document import Person, PersonKey, Quorum, ServiceAccount, Trust, Witness, WitnessOperator
from trust.keys import SigningKey
from trust.policy import Role

EXTRA = ("phone", "address", "cpe_mac", "mail", "comment", "ticket")
AGENT_OPTIONS = "\n[cloud]\ncheckpoint_s = 3600\nwitness_wait_s = 20\n"
"""Checkpoints when a test says so, and not in between."""


@dataclass
class WideBilling(Billing):
    """A billing export with columns that mean nothing to the agent: what operators keep there is personal too."""

    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, (*COLUMNS, *EXTRA), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **self.extra[ref]} for ref, row in self.rows.items())
        return out.getvalue()


class Canaries:
    """Names everything anew. `tokens` is what must not be found, by what it is; words have `width` letters.

    `database` is the way by which the agent finds its database. The shape stays that of the lab's population: who is
    online, protected, or has a second service.
    """

    def __init__(self, width: int = 10) -> None:
        self.width = width
        self.tokens: dict[str, str] = {}
        self.database = Path()
        self._populate = population.populate
        self._plain = population.TARIFFS
        self._tariffs = tuple(
            replace(t, name=self._token(f"tariff {n}", "Trf {} 10M"), group=self._token(f"group {n}", "grp-{}"))
            for n, t in enumerate(self._plain)
        )
        self._marker = self._token("marker group", "wall-{}")

    def word(self) -> str:
        """Return a new word of letters that are no hex digits: no digest looks like it."""
        return "".join(secrets.choice(string.ascii_lowercase[6:]) for _ in range(self.width))

    def _token(self, what: str, form: str) -> str:
        self.tokens[what] = form.format(self.word())
        return self.tokens[what]

    def put_into(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let labs that are opened from now on be populated so."""
        monkeypatch.setattr(population, "TARIFFS", self._tariffs)
        monkeypatch.setattr(population, "MARKER_GROUP", self._marker)
        monkeypatch.setattr(population, "populate", self._populated)

    def _populated(self, services: int, nas: int, seed: int, as_of: datetime) -> tuple[LabService, ...]:
        people: dict[str, tuple[str, str]] = {}
        found = []
        for n, s in enumerate(self._populate(services, nas, seed, as_of)):
            if s.subscriber not in people:
                one, who = self._token(f"subscriber {n}", "C-{}"), self._token(f"name {n}", "Zoë {} Шевченко")
                people[s.subscriber] = one, who
                self.tokens[f"name's word {n}"] = who.split()[1]
            subscriber, name = people[s.subscriber]
            service = self._token(f"service {n}", "svc-{}")
            self.tokens[f"reference {n}"] = f"{subscriber}/{service}"
            mac = ":".join(f"{secrets.randbelow(256):02X}" for _ in range(6))
            self.tokens[f"mac {n}"] = mac
            login = self.tokens.setdefault(f"login {n}", mac.lower() if n % 4 == 3 else f"{self.word()}@ppp.example")
            password = self._token(f"password {n}", "pw.{}")
            if s.static4:
                self.tokens[f"static address {n}"] = s.static4
            names = replace(s, subscriber=subscriber, name=name, service=service, login=login)
            protected = self._token(f"protected {n}", "hospital {}") if s.protected else ""
            found.append(replace(names, mac=mac, password=password, protected=protected))
        return tuple(found)

    def _extra(self, n: int) -> dict[str, str]:
        digits = "".join(secrets.choice(string.digits) for _ in range(self.width))
        mac = "-".join(f"{secrets.randbelow(256):02x}" for _ in range(6))
        self.tokens |= {f"phone {n}": f"+35 98{digits}", f"cpe mac {n}": mac}
        return {
            "phone": self.tokens[f"phone {n}"],
            "cpe_mac": mac,
            "address": self._token(f"address {n}", "{} Straße 12"),
            "mail": self._token(f"mail {n}", "{}@mail.example"),
            "comment": self._token(f"comment {n}", "always late; {}"),
            "ticket": self._token(f"ticket {n}", "no light since {}"),
        }

    def prepare(self, isp: Isp, files: Files) -> None:
        """Put canaries into an agent's files: billing, names of NAS and database."""
        extra = {ref_of(s): self._extra(n) for n, s in enumerate(isp.services)}
        files.billing = WideBilling(files.billing.path, files.billing.rows, extra)
        nas, database = self._token("nas name", "pop{}"), self._token("database name", "sql{}")
        text = files.config.read_text(encoding="utf-8")
        text = text.replace("bng-", f"{nas}-").replace("radius.main", f"radius.{database}")
        real = Path(isp.database.dsn.path).resolve()
        self.database = real.with_name(self._token("database file", "{}.link"))
        self.database.symlink_to(real)
        text = text.replace(str(real), str(self.database))
        files.config.write_text(text.replace("radius/main", f"radius/{database}"), encoding="utf-8")
        files.secrets = {
            name.replace("bng-", f"{nas}-").replace("radius/main", f"radius/{database}"): secret
            for name, secret in files.secrets.items()
        }
        self.tokens |= {f"secret of {name}": secret for name, secret in files.secrets.items()}
        self.tokens |= {f"address of {name}": nas.options.accounting for name, nas in isp.nas.items()}

    @contextlib.contextmanager
    def database_away(self) -> Iterator[None]:
        """Let the agent find no database for the block: it must have no connection yet."""
        real = self.database.readlink()
        self.database.unlink()
        self.database.symlink_to(self.database.parent)
        try:
            yield
        finally:
            self.database.unlink()
            self.database.symlink_to(real)

    def note_sessions(self, isp: Isp) -> None:
        """Add the addresses that subscribers have now."""
        for session in isp.sessions():
            lease = session.lease
            for address in (lease.address4, lease.framed6, lease.delegated6):
                self.tokens[f"address {address}"] = str(address)


def staff(trust: Trust, files: Files, vkey: str = "", quorum: int = 0) -> Trust:
    """Return a trust document with a person who may not see subscribers, a service, and the cloud as witness."""
    for name in ("blind", "billing"):
        files.people.keys.setdefault(name, SigningKey.generate())
    blind, billing = (PersonKey("ed25519", files.people.keys[n].public.hex()) for n in ("blind", "billing"))
    return replace(
        trust,
        people=(*trust.people, Person("blind", (Role.APPROVER,), ("all",), False, (blind,))),
        services=(ServiceAccount("billing", (billing,), run_by="maria"),),
        witnesses=(Witness("cloud", (vkey,), WitnessOperator.CLOUD),) if vkey else (),
        quorum=Quorum(quorum, 0),
    )


def plain(services: Sequence[LabService]) -> list[LabService]:
    """Return the services that are online, known to RADIUS and unprotected, each of another subscriber."""
    seen: dict[str, int] = {}
    for s in services:
        seen[s.subscriber] = seen.get(s.subscriber, 0) + 1
    return [
        s
        for s in services
        if s.online and s.mapped and not (s.protected or s.feeds or s.static4) and seen[s.subscriber] == 1
    ]
