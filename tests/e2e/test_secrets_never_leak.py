"""No secret leaves: not in what the agent prints, answers, plans or exports, and on disk only sealed.

Everything that comes out of a whole working day is kept and searched for every secret of the site, as it is, in hex and
in base64 at each of its three alignments.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from lab.isp import Isp
from tests.e2e.files import Files, Typed, dsn_of, lab_files, ordinary, ref_of, small_isp
from tests.e2e.site import AgentProgram, ApiRefusedError, Json, Office, state_of
from tests.servers import PostgreSQL, RadiusDatabase

WRONG_PASSWORD = "not-the-password-31"


def forms(secret: bytes) -> dict[str, bytes]:
    """Return what a secret may look like in a file or an answer."""
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    for shift in range(3):
        # Of base64 text that holds the secret somewhere, the middle depends on it alone
        whole = base64.b64encode(bytes(shift) + secret)
        first, last = -(-shift * 8 // 6), (shift + len(secret)) * 8 // 6
        found[f"base64 shifted by {shift}"] = whole[first:last]
        found[f"base64url shifted by {shift}"] = base64.urlsafe_b64encode(bytes(shift) + secret)[first:last]
    return found


def leaks(name: str, data: bytes, secrets: Mapping[str, bytes]) -> list[str]:
    return [f"{what} in {form} in {name}" for what, s in secrets.items() for form, f in forms(s).items() if f in data]


@pytest.mark.parametrize("wrap", [b"", b"x", b"xy"])
def test_the_search_finds_what_is_planted(wrap: bytes) -> None:
    secret = b"radpass-2f"
    for planted in (
        b"password=" + secret,
        secret.hex().encode(),
        base64.b64encode(wrap + secret + b"tail"),
        base64.urlsafe_b64encode(wrap + secret),
    ):
        assert leaks("a file", b"before " + planted + b" after", {"the password": secret})
    assert not leaks("a file", b"radpass-2e and more", {"the password": secret})


@dataclass
class Captured:
    """All that came out, by where it came from."""

    pieces: dict[str, bytes] = field(default_factory=dict)

    def keep(self, name: str, data: str | bytes) -> None:
        self.pieces[f"{len(self.pieces)} {name}"] = data.encode() if isinstance(data, str) else data

    def leaks(self, secrets: Mapping[str, bytes]) -> list[str]:
        return [leak for name, data in self.pieces.items() for leak in leaks(name, data, secrets)]


class WatchedOffice(Office):
    """An office whose every exchange is kept, byte for byte as JSON."""

    def __init__(self, files: Files, captured: Captured) -> None:
        super().__init__(files)
        self.captured = captured

    async def call(self, method: str, path: str, body: object = None) -> object:
        try:
            answer = await super().call(method, path, body)
        except ApiRefusedError as err:
            self.captured.keep(f"refusal of {method} {path}", str(err))
            raise
        self.captured.keep(f"answer of {method} {path}", json.dumps(answer, ensure_ascii=False))
        return answer

    async def watch(self, change: Json) -> list[Json]:
        events = await super().watch(change)
        self.captured.keep("watch", json.dumps(events, ensure_ascii=False))
        return events

    async def type(self, *args: str, text: str = "") -> Typed:
        typed = await self.files.type(*args, text=text)
        self.captured.keep(f"ispagent {' '.join(args)}", typed.out + typed.err)
        return typed


async def a_day(isp: Isp, office: WatchedOffice) -> None:
    """Work: a suspension, a revert, a batch with a fault, an approver's export, evidence, refusals."""
    one, *many = ordinary(isp, 12)
    done = await office.do("suspend", ref_of(one))
    assert state_of(done) == ("applied", "garden")
    await office.do("revert", change=done["id"])
    isp.set_fault("nak:503", many[-1].login)
    asked = await office.ask("suspend", *map(ref_of, many), on_failure="continue")
    await office.apply(asked, "joseph", "lena")
    await office.set_secret("nas/bng-1", isp.nas["bng-1"].options.secret.decode())
    for route in (
        "status",
        "trust",
        "secrets",
        "subscribers",
        "changes",
        "audit",
        "audit/verify",
        "audit/proof/1?open=1",
    ):
        await office.call("GET", f"/v1/{route}")
    for change in (done, asked):
        for query in ("", "?open=1"):
            await office.call("POST", f"/v1/audit/export/{change['id']}{query}", {})
        await office.call("POST", f"/v1/changes/{change['id']}/export", {})
    for args in (("status",), ("secret", "list"), ("change", "show", asked["id"], "--list"), ("subscriber", "list")):
        assert (await office.type(*args)).code == 0
    assert (await office.type("change", "show", asked["id"], "--export", "out")).code == 0
    for path in (office.files.folder / "out").iterdir():
        office.captured.keep(f"export {path.name}", path.read_bytes())


async def trouble(isp: Isp, office: WatchedOffice, secret: str) -> None:
    """Have things go wrong in ways whose messages might quote a secret."""
    (service,) = ordinary(isp, 1)
    for body in ({"secret": "%%%"}, {"secret": secret}, {"sekret": secret}):
        with pytest.raises(ApiRefusedError):
            await office.call("POST", "/v1/secrets/nas%2Fnobody", body)
    await office.set_secret("radius/main", WRONG_PASSWORD)
    typed = await office.type("change", "suspend", ref_of(service), "--reason", "request")
    assert typed.code in (0, 1)


def secrets_of(isp: Isp, database: RadiusDatabase, files: Files) -> dict[str, bytes]:
    found = {f"secret of {name}": nas.options.secret for name, nas in isp.nas.items()}
    found |= {f"password of {s.login}": s.password.encode() for s in isp.services}
    found |= {f"key of {who}": key.seed for who, key in files.people.keys.items()}
    return {**found, "database password": database.password.encode(), "wrong password": WRONG_PASSWORD.encode()}


def files_below(folder: Path) -> Iterable[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())


@pytest.mark.servers
async def test_no_secret_comes_out_of_a_working_day(tmp_path: Path, postgresql: PostgreSQL) -> None:
    database, captured = postgresql.fresh(), Captured()
    async with small_isp(tmp_path, dsn=dsn_of(database), services=16) as isp:
        files = lab_files(tmp_path, isp, within_s=(1, 1))
        secrets = secrets_of(isp, database, files)
        agent = AgentProgram(files)
        try:
            await trio.to_thread.run_sync(agent.wait_ready)
            office = WatchedOffice(files, captured)
            await office.install()
            await a_day(isp, office)
            for path in files_below(files.state):  # as it runs: with its WAL
                captured.keep(f"state {path.name} of the running agent", path.read_bytes())
            await trouble(isp, office, database.password)
        finally:
            assert await trio.to_thread.run_sync(agent.stop) == 0
        for path in files_below(files.folder):
            captured.keep(f"file {path.relative_to(files.folder)}", path.read_bytes())
        logins = [s.login.encode() for s in ordinary(isp, 12)]
    everything = b"".join(captured.pieces.values())
    assert all(login in everything for login in logins), "what is no secret is there: the capture is not empty"
    names = " ".join(captured.pieces)
    for expected in ("agent.db-wal", "keys.db", "daemon.log", "watch", "export plan.json", "/v1/audit/export"):
        assert expected in names, expected
    rows = database.run("SELECT value FROM radcheck WHERE attribute = 'Cleartext-Password'")
    assert {v.encode() for (v,) in rows} <= set(secrets.values()), "the passwords that are searched are those in use"
    assert captured.leaks(secrets) == []
