"""What stands before an agent runs: an ISP, what billing says of it, and the agent's own files and keys."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import trio

from agent.cli import local
from agent.config import load
from lab.database import Dsn, Engine
from lab.files import lab_json, mapping_toml
from lab.isp import Isp, LabOptions, open_lab
from lab.population import LabService, populate
from lab.radius_client import Endpoint
from tests.builders.people import People
from tests.servers import FreeRadius, RadiusDatabase, free_port
from trust import chain, statements
from trust import envelope as envelopes
from trust.document import Trust, TrustedAgent
from trust.statements import Enroll, SeenHeads

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Waits:
    """How long an agent waits, seconds: for an answer, until what it ends is gone, and for who comes back."""

    answer_s: float
    gone_s: int
    back_s: int


PATIENT = Waits(20.0, 20, 30)
"""For what happens, on a machine that may be busy."""
HURRIED = Waits(3.0, 2, 3)
"""For what does not happen: an answer that is lost, a session that nothing ends. This is waited for."""


def waits_of(fault: str) -> Waits:
    """Return how long to wait for a router with this fault; after `cut-after`, what was sent is found done."""
    return PATIENT if fault == "cut-after" else HURRIED


# --- billing ----------------------------------------------------------------------------------------------------------

COLUMNS = (
    "subscriber",
    "name",
    "service",
    "login",
    "method",
    "tariff",
    "protected",
    "feeds",
    "balance",
    "due",
    "paid_at",
    "as_of",
)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def row_of(service: LabService, now: datetime) -> dict[str, str]:
    """Return a line of the subscriber file as of `now`, the same for all services of one account; everybody owes."""
    values = (
        service.subscriber,
        service.name,
        service.service,
        service.login,
        "pppoe",
        service.tariff.name,
        service.protected,
        str(service.feeds),
        "34.00",
        (now - timedelta(days=10)).date().isoformat(),
        stamp(now - timedelta(days=60)),
        stamp(now),
    )
    return dict(zip(COLUMNS, values, strict=True))


@dataclass
class Billing:
    """The billing system's export, as it stands in its file.

    `rows` by service reference; what beside `COLUMNS` stands in one is a column of the operator's own.
    """

    path: Path
    rows: dict[str, dict[str, str]]

    def text(self) -> str:
        out = io.StringIO()
        own = dict.fromkeys(name for row in self.rows.values() for name in row if name not in COLUMNS)
        writer = csv.DictWriter(out, (*COLUMNS, *own), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        return out.getvalue()

    def write(self) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text(self.text(), encoding="utf-8")
        draft.replace(self.path)

    def update(self, subscriber: str, **columns: str) -> None:
        """Let every line of a subscriber say so."""
        for row in self.rows.values():
            if row["subscriber"] == subscriber:
                row.update(columns)

    def pay(self, subscriber: str) -> None:
        """Somebody pays; the export says so at once."""
        self.update(subscriber, balance="0.00", paid_at=stamp(datetime.now(UTC)))
        self.write()


def ref_of(service: LabService) -> str:
    return f"{service.subscriber}/{service.service}"


# --- the ISP ----------------------------------------------------------------------------------------------------------


def dsn_of(database: RadiusDatabase) -> Dsn:
    """Return the lab's way to a test database."""
    return Dsn(
        Engine(database.kind.value),
        path=database.path,
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        dbname=database.dbname,
    )


@asynccontextmanager
async def small_isp(folder: Path, **options: Any) -> AsyncIterator[Isp]:
    """Two BNG, CPE that come back at once."""
    base: dict[str, Any] = {"services": 12, "nas": 2, "redial_delay_s": 0.05, "retry_s": 0.3}
    async with open_lab(LabOptions(folder, **(base | options))) as isp:
        yield isp


def real_radius(server: FreeRadius) -> Endpoint:
    """Return a real FreeRADIUS as the lab's NAS ask it."""
    return Endpoint(server.host, server.auth_port, server.acct_port, server.secret.encode())


def lab_mapping(
    isp: Isp, *, tables: str = "stock", within_s: tuple[int, int] = (PATIENT.gone_s, PATIENT.back_s)
) -> str:
    """Return the lab's access mapping. `within_s`: for the disconnect, for the redial."""
    text = mapping_toml(isp).replace('tables = "stock"', f'tables = "{tables}"')
    text, waits = re.subn(r"disconnect_within_s = \d+", f"disconnect_within_s = {within_s[0]}", text)
    text, redials = re.subn(r"redial_within_s = \d+", f"redial_within_s = {within_s[1]}", text)
    assert (waits, redials) == (1, 1)
    return text


def lab_secrets(isp: Isp) -> dict[str, str]:
    """Return the secrets that the lab's mapping names."""
    found: dict[str, str] = json.loads(lab_json(isp))["secrets"]
    return found


def ordinary(isp: Isp, n: int) -> list[LabService]:
    """Return `n` services that are online, known to RADIUS and unprotected, each of another subscriber."""
    found = {
        s.subscriber: s for s in isp.services if s.online and s.mapped and not (s.protected or s.feeds or s.static4)
    }
    assert len(found) >= n
    return list(found.values())[:n]


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass
class Files:
    """An agent's folder before anything runs: configuration, keys, and the trust document that names it."""

    folder: Path
    config: Path
    people: People
    billing: Billing
    secrets: dict[str, str]
    enrolled: Enroll
    trust: Trust

    @property
    def socket(self) -> Path:
        return load(self.config).socket

    @property
    def state(self) -> Path:
        return load(self.config).state_dir

    def signed_trust(self) -> tuple[bytes, str]:
        """Return the trust document and the words of its head."""
        return self.people.sign_trust(self.trust)

    def seen(self) -> SeenHeads:
        """Return the trust head that approvers have seen."""
        head = chain.head_sha256(envelopes.decode_untrusted(self.signed_trust()[0]))
        return SeenHeads(self.trust.version, head)

    def env(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ISPAGENT_", "CREDENTIALS_"))}
        return {**kept, "ISPAGENT_CONFIG": str(self.config), "PYTHONUNBUFFERED": "1", **more}

    def cli(self, *args: str, text: str | bytes = b"", env: Mapping[str, str] | None = None) -> Typed:
        """Type an `ispagent` command in a process of its own."""
        data = text.encode() if isinstance(text, str) else text
        done = subprocess.run(
            [*ISPAGENT, *args],
            cwd=self.folder,
            env=dict(env or self.env()),
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Typed(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def type(self, *args: str, text: str | bytes = b"", env: Mapping[str, str] | None = None) -> Typed:
        """As `cli`, beside an agent in this process."""
        return await trio.to_thread.run_sync(lambda: self.cli(*args, text=text, env=env), abandon_on_cancel=True)


ISPAGENT = [sys.executable, "-P", "-c", "from agent.cli import main; main()"]


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The complaint; a Python traceback is none."""
        assert "Traceback" not in self.err, self.err
        return self.err.strip()


DEFAULT_POLICY: Mapping[str, int] = {
    "soak_s": 0,
    "pace": 1000,
    "stop_failed_percent": 100,
    "stop_failed_least": 1,
    "stop_lost_sessions": 0,
}


FILE_DECIDES: Final = "restore_paid = false"
"""What `[billing]` says beside its file, where that alone tells who owes."""


def config_text(
    mapping: str, policy: Mapping[str, int] | None = None, agent: str = "", billing: str = FILE_DECIDES
) -> str:
    """Return an agent's configuration around an access mapping. `billing`: more lines of that section."""
    rules = "".join(f"{k} = {v}\n" for k, v in {**DEFAULT_POLICY, **(policy or {})}.items())
    people = f'[people]\n{os.getuid()} = "maria"\n\n'
    head = f'[agent]\nname = "noc-1"\nstate_dir = "state"\n{agent}\n'
    return f'{head}{people}[policy]\n{rules}\n[billing]\nfile = "billing.csv"\n{billing}\n\n{mapping}'


def dead_database_mapping(port: int) -> str:
    """Return an access mapping to a database that nobody runs: it refuses at once."""
    return f"""
[radius.main]
database = "postgresql"
port = {port}
secret = "radius/main"
timeout_s = {PATIENT.answer_s:g}

[nas.bng-1]
accounting = "10.255.0.1"
secret = "nas/bng-1"

[method.pppoe]
target = "radius/main"

[method.pppoe.suspended_reply]
Mikrotik-Address-List = "suspended"

[method.pppoe.tariffs]
"Home 10M" = "home-10m"
"""


def make_files(
    folder: Path,
    mapping: str,
    services: Iterable[LabService],
    secrets: dict[str, str],
    *,
    policy: Mapping[str, int] | None = None,
    agent: str = "",
    billing: str = FILE_DECIDES,
    trust_days: int = 30,
) -> Files:
    """Write a site's files and make the agent's keys as `ispagent init` does."""
    home = folder / "site"
    home.mkdir(mode=0o700)
    (home / "state").mkdir(mode=0o700)  # as root makes it for the daemon's user
    config = home / "agent.toml"
    config.write_text(config_text(mapping, policy, agent, billing), encoding="utf-8")
    now = datetime.now(UTC)
    billing = Billing(home / "billing.csv", {ref_of(s): row_of(s, now) for s in services})
    billing.write()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        local.init(config=config, enroll=home / "enroll.json")
    assert "words" in said.getvalue()
    enrolment = envelopes.decode_untrusted((home / "enroll.json").read_bytes())
    enrolled = statements.decode_as_untrusted(Enroll, enrolment)
    people = People()
    entry = TrustedAgent(enrolled.agent, enrolled.handle, enrolled.plan_key, enrolled.log_key)
    return Files(home, config, people, billing, secrets, enrolled, people.trust(entry, days=trust_days))


def lab_files(
    folder: Path,
    isp: Isp,
    *,
    tables: str = "stock",
    within_s: tuple[int, int] = (PATIENT.gone_s, PATIENT.back_s),
    **more: Any,
) -> Files:
    """Write the files of a site on a lab. `within_s`: as in `lab_mapping`."""
    mapping = lab_mapping(isp, tables=tables, within_s=within_s)
    return make_files(folder, mapping, isp.services, lab_secrets(isp), **more)


def some_services(n: int = 4) -> tuple[LabService, ...]:
    return populate(n, 1, 7, datetime.now(UTC))


def bare_files(folder: Path) -> Files:
    """Return the files of a site whose database nobody runs: enough for all that never reads it."""
    secrets = {"radius/main": "radpass-2f", "nas/bng-1": "a-shared-secret"}
    return make_files(folder, dead_database_mapping(free_port()), some_services(), secrets)
