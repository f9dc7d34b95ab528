"""What goes wrong in an operator's day: each with its exit code and one clear sentence, through `ispagent` itself."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from agent.runtime.errors import ClientError
from lab.errors import LabDatabaseError
from lab.isp import Isp
from lab.population import populate
from tests.e2e.files import ISPAGENT, PATIENT, Files, Typed, bare_files, dsn_of, lab_files, ordinary, ref_of, small_isp
from tests.e2e.site import (
    AgentProgram,
    ApiRefusedError,
    Json,
    Office,
    Site,
    at_work,
    check_log,
    open_site,
    program,
    state_of,
)
from tests.servers import PostgreSQL, missing

HOUR_S = 3600


def one_sentence(typed: Typed, code: int, *wanted: str) -> None:
    """The command failed with this code and one line that says all of `wanted`."""
    assert typed.code == code, typed
    assert len(typed.sentence.splitlines()) == 1, typed.sentence
    assert typed.sentence[:1].strip()
    for part in wanted:
        assert part in typed.sentence, typed.sentence


# --- what people type -------------------------------------------------------------------------------------------------


async def markers(isp: Isp) -> list[str]:
    """Return the logins that RADIUS has in the marker group."""
    found = await isp.database.fetch("SELECT username FROM radusergroup WHERE groupname = 'suspended'")
    return [str(row[0]) for row in found]


async def waiting_for_its_target(site: Site, asked: Json, target: str) -> str:
    """Return why the change's only item waits, once it waits for a target of that name."""
    with trio.fail_after(60):
        while state_of(await site.show(asked)) != ("waiting", "target-away"):  # noqa: ASYNC110  it is the API's answer
            await trio.sleep(0.1)
    detail = str((await site.show(asked))["items"][0]["detail"])
    assert target in detail
    return detail


@pytest.mark.slow
async def test_unknown_and_misspelt_services(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        near = f"{service.subscriber[:-1]}X"
        one_sentence(await site.files.type("change", "suspend", "C-1/home"), 2, "C-1/home: no such service")
        one_sentence(await site.files.type("change", "suspend", near), 2, near, f"did you mean {ref_of(service)}")
        several = await site.files.type("change", "suspend", "C-1", ref_of(service), "C-2")
        told = [f"{ref}: no such service: ispagent subscriber find {ref}" for ref in ("C-1", "C-2")]
        assert (several.code, several.sentence.splitlines()) == (2, told)
        one_sentence(await site.files.type("change", "suspend"), 2, "expected at least one service")
        one_sentence(await site.files.type("change", "suspend", ref_of(service), "--reason", "spite"), 2, "debt, abuse")
        one_sentence(await site.files.type("change", "show", "ZZZZZ"), 2, "there is no change ZZZZZ")
        one_sentence(
            await site.files.type("subscriber", "show", "C-1"),
            2,
            "there is no subscriber, service, login or MAC address C-1",
        )
        one_sentence(
            await site.files.type("change", "suspend", "--file", "nowhere.txt"), 2, "nowhere.txt", "No such file"
        )
        one_sentence(await site.files.type("change", "suspend", "--on-tariff", "Home 1G"), 2, "Home 1G", "Home 10M")
        assert (await site.files.type("change", "list")).out.strip() == "no changes yet"


async def test_broken_and_duplicate_lines_of_a_csv(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (_, site):
        head, first, second, third, *rest = site.files.billing.text().splitlines()
        known = await site.call("GET", "/v1/subscribers")
        broken = [head, first, second.replace("34.00", "34,00 EUR"), third, first, f"{third},x,y", '"C-9,half', *rest]
        (site.files.folder / "broken.csv").write_text("\n".join(broken) + "\n")
        typed = await site.files.type("subscriber", "import", "broken.csv")
        assert typed.code == 2
        title, *lines = typed.sentence.splitlines()
        assert title == f"nothing was imported: {len(lines)} broken lines"
        assert {3, 5, 6, 7} <= {int(re.findall(r"^line (\d+): ", line)[0]) for line in lines}
        assert "stands on line 2 already" in next(line for line in lines if line.startswith("line 5:"))
        assert await site.call("GET", "/v1/subscribers") == known
        for text, what in ((b"", "header"), (b"\xff\xfe\x00", "UTF-8"), (b"subscriber,name\nC-1,x\n", "login")):
            (site.files.folder / "broken.csv").write_bytes(text)
            typed = await site.files.type("subscriber", "import", "broken.csv")
            assert (typed.code, what in typed.sentence) == (2, True), typed


async def test_a_broken_billing_file_keeps_what_was_known(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        good = site.files.billing.text()
        site.files.billing.path.write_text(good[: len(good) // 2])
        shown = await site.files.type("subscriber", "show", ref_of(service))
        assert (shown.code, re.findall(r"billing +(34.00 due)", shown.out)) == (0, ["34.00 due"]), shown.out


@pytest.mark.slow
async def test_envelopes_that_are_none(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service))
        for n, garbage in enumerate((b"", b"garbage", b"{}", os.urandom(300), b"[" * 2000)):
            (site.files.folder / f"garbage-{n}").write_bytes(garbage)
            typed = await site.files.type("change", "approve", asked["id"], "--file", f"garbage-{n}")
            one_sentence(typed, 2, "expected a signed envelope")
        (site.files.folder / "own").write_bytes(site.approval(asked, "maria"))
        typed = await site.files.type("change", "approve", asked["id"], "--file", "own")
        assert (typed.code, "REFUSED (requester-approves)" in typed.out) == (3, True), typed
        one_sentence(
            await site.files.type("change", "approve", asked["id"], "--file", "none"), 2, "none: cannot be read"
        )
        assert (await site.show(asked))["approvals"] == []


# --- policy, time -----------------------------------------------------------------------------------------------------


async def test_too_few_approvers(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={"services": 16}) as (isp, site):
        refs = [ref_of(s) for s in ordinary(isp, 11)]
        (site.files.folder / "overdue.txt").write_text("# today\n" + "\n".join(refs) + "\n")
        asked = await site.files.type("change", "suspend", "--file", "overdue.txt", "--json")
        assert asked.code == 0
        change: Json = (await site.call("GET", "/v1/changes"))[0]
        whole = await site.show(change)
        (site.files.folder / "joseph").write_bytes(site.approval(whole, "joseph"))
        typed = await site.files.type("change", "approve", change["id"], "--file", "joseph")
        assert (typed.code, "1 of 2 approve" in typed.out) == (0, True), typed
        shown = await site.files.type("change", "show", change["id"])
        assert shown.code == 0
        assert "2 approvers" in shown.out
        assert f"{change['id']} waits for approval · 1 of 2 · approved by joseph" in shown.out


async def test_a_plan_and_a_trust_document_past_their_time(tmp_path: Path) -> None:
    async with small_isp(tmp_path) as isp:
        files = lab_files(tmp_path, isp)
        files.trust = replace(files.trust, expires=files.people.now_s + 2 * HOUR_S)
        async with open_site(files) as site:
            service, other = ordinary(isp, 2)
            asked = await site.ask("suspend", ref_of(service))
            (files.folder / "joseph").write_bytes(site.approval(asked, "joseph"))
            site.clock.pass_s(HOUR_S)
            watched = await files.type("change", "watch", asked["id"])
            assert (watched.code, f"{asked['id']} EXPIRED" in watched.out) == (3, True), watched
            late = await files.type("change", "approve", asked["id"], "--file", "joseph")
            assert (late.code, "REFUSED" in late.out) == (3, True), late
            site.clock.pass_s(2 * HOUR_S)
            typed = await files.type("change", "suspend", ref_of(other))
            one_sentence(typed, 3, "trust version 1 expired: its owners sign a new one")
            await check_log(site)


async def test_a_clock_set_back_an_hour(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(asked, "joseph")
        site.clock.set_wall(-HOUR_S)
        applied = await site.files.type("change", "apply", asked["id"])
        assert applied.code == 0
        await trio.sleep(1.2)  # the worker looks once a second
        status = await site.files.type("status")
        assert status.code == 7
        assert re.search(r"HALTED +the clock jumped by -3600 s: check it, then ispagent clock accept", status.out)
        assert state_of(await site.show(asked))[0] == "planned"
        assert not isp.nas_of(service.login).received
        site.clock.set_wall(HOUR_S)  # right again: still halted, until a person says so
        await trio.sleep(1.2)
        assert state_of(await site.show(asked))[0] == "planned"
        assert (await site.files.type("clock", "accept")).code == 0
        watched = await site.files.type("change", "watch", asked["id"])
        assert (watched.code, "enforced now" in watched.out) == (0, True), watched


@pytest.mark.slow
def test_the_machines_own_clock_set_back(tmp_path: Path) -> None:
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        missing("libfaketime is not installed (package faketime)")
        return
    files, offset = bare_files(tmp_path), tmp_path / "offset"
    offset.write_text("+0\n")
    env = files.env(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    with program(files, env=env):
        trio.run(Office(files).install)
        assert "HALTED" not in files.cli("status").out
        offset.write_text("-3600\n")
        halted = wait_for_text(files, "HALTED")
        assert "-3600 s" in halted or "-3599 s" in halted
        assert files.cli("clock", "accept").code == 0
        assert "HALTED" not in files.cli("status").out
        assert files.cli("audit", "verify").code == 0


def wait_for_text(files: Files, wanted: str) -> str:
    until = time.monotonic() + 60
    while wanted not in (out := files.cli("status").out):
        assert time.monotonic() < until
        time.sleep(0.2)
    return out


# --- what is not there ------------------------------------------------------------------------------------------------


async def test_the_database_is_down(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    async with open_site(files) as site:
        ref = next(iter(files.billing.rows))
        one_sentence(await files.type("change", "suspend", ref, "--reason", "request"), 1, "radius/main")
        assert (await files.type("change", "list")).out.strip() == "no changes yet"
        await check_log(site)


@pytest.mark.servers
async def test_the_database_goes_down_between_preview_and_start(tmp_path: Path, postgresql: PostgreSQL) -> None:
    database = postgresql.fresh()
    async with small_isp(tmp_path, dsn=dsn_of(database)) as isp, open_site(lab_files(tmp_path, isp)) as site:
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service))
        before = database.run("SELECT * FROM radusergroup ORDER BY id")
        with postgresql._superuser("postgres") as db:
            db.execute(f"ALTER DATABASE {database.dbname} WITH ALLOW_CONNECTIONS false")
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.dbname,))
        await site.approve(asked, "joseph")
        await waiting_for_its_target(site, asked, "radius/main")
        with postgresql._superuser("postgres") as db:
            db.execute(f"ALTER DATABASE {database.dbname} WITH ALLOW_CONNECTIONS true")
        assert database.run("SELECT * FROM radusergroup ORDER BY id") == before
        for _ in range(8):  # the lab's own connections broke as well
            with contextlib.suppress(LabDatabaseError):
                await isp.database.fetch("SELECT 1")
        assert (await site.files.type("change", "watch", asked["id"])).code == 0
        assert state_of(await site.show(asked))[0] == "applied"
        await check_log(site)


@pytest.mark.slow
async def test_the_wrong_secret_of_a_nas(tmp_path: Path) -> None:
    async with at_work(tmp_path, within_s=(1, 1)) as (isp, site):
        (service,) = ordinary(isp, 1)
        for name in isp.nas:
            await site.set_secret(f"nas/{name}", "not-the-secret")
        asked = await site.ask("suspend", ref_of(service))
        await site.approve(asked, "joseph")
        detail = await waiting_for_its_target(site, asked, isp.nas_of(service.login).options.name)
        assert "its secret is another one" in detail
        assert not await markers(isp)  # nothing is written that nobody could enforce
        shown = await site.files.type("change", "show", asked["id"], "--open")
        assert detail in " ".join(shown.out.split())
        for name, nas in isp.nas.items():
            await site.set_secret(f"nas/{name}", nas.options.secret.decode())
        assert (await site.files.type("change", "watch", asked["id"])).code == 0
        assert isp.sessions(service.login)[0].walled


async def test_secrets_that_nobody_set(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    secrets, files.secrets = files.secrets, {}
    async with open_site(files) as site:
        ref = next(iter(files.billing.rows))
        typed = await files.type("change", "suspend", ref, "--reason", "request")
        one_sentence(typed, 1, "secret radius/main is not set", "ispagent secret set radius/main")
        listed = await files.type("secret", "list")
        assert [line.split()[1:] for line in listed.out.splitlines()] == [["NOT", "SET"]] * 2
        one_sentence(await files.type("secret", "set", "radius/other", "--stdin", text="x"), 3, "radius/other")
        one_sentence(await files.type("secret", "set", "radius/main", "--stdin", text=""), 2, "got nothing")
        tried = await files.type("secret", "set", "radius/main", "--stdin", text=secrets["radius/main"])
        assert tried.code == 4, tried  # it is set, and nobody runs the database
        assert tried.out.startswith("secret radius/main is set\n")
        assert "nothing listens on 127.0.0.1:" in tried.out
        await check_log(site)


@pytest.mark.slow
async def test_the_secret_of_a_nas_that_nobody_set(tmp_path: Path) -> None:
    async with small_isp(tmp_path) as isp:
        files = lab_files(tmp_path, isp, within_s=(1, 1))
        secrets, files.secrets = files.secrets, {}
        async with open_site(files) as site:
            (service,) = ordinary(isp, 1)
            asked = await site.ask("suspend", ref_of(service))
            await site.approve(asked, "joseph")
            name = isp.nas_of(service.login).options.name
            assert f"secret nas/{name} is not set" in await waiting_for_its_target(site, asked, name)
            assert not await markers(isp)
            for one, secret in secrets.items():
                await site.set_secret(one, secret)
            assert (await files.type("change", "watch", asked["id"])).code == 0
            assert isp.sessions(service.login)[0].walled
            await check_log(site)


async def test_trust_that_is_not_there_or_not_the_one_meant(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    document, words = files.signed_trust()
    (files.folder / "trust.json").write_bytes(document)
    async with open_site(files, install=False):
        ref = next(iter(files.billing.rows))
        one_sentence(await files.type("change", "suspend", ref), 3, "no trust is installed yet: ispagent trust install")
        other = "-".join(reversed(words.split("-")))
        wrong = await files.type("trust", "install", "trust.json", "--words", other)
        one_sentence(wrong, 3, "not the one whose head was given")
        assert "no trust is installed" in (await files.type("trust", "show")).out
        assert (await files.type("trust", "install", "trust.json", "--words", words)).code == 0
        again = await files.type("trust", "install", "trust.json", "--words", words)
        one_sentence(again, 3, "trust: version 1 is in force already")


def test_the_agent_is_not_running(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    for args in (("status",), ("change", "list"), ("change", "watch", "ABCDE"), ("audit", "verify")):
        one_sentence(files.cli(*args), 1, "the agent is not running", "agent.sock")


def test_a_configuration_with_three_mistakes(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    text = files.config.read_text()
    wrong = text.replace(f"timeout_s = {PATIENT.answer_s:g}", 'timeout_s = "soon"')
    wrong = wrong.replace('secret = "nas/bng-1"', 'password = "hunter2"')
    files.config.write_text(wrong.replace("[policy]", "[polcy]", 1))
    for command in ("run", "init"):  # what only asks an agent needs its socket, and no more of the file
        typed = files.cli(command)
        assert typed.code == 2
        lines = typed.sentence.splitlines()
        assert len(lines) >= 3
        for part in ("polcy", "radius.main.timeout_s", "nas.bng-1.password", "nas.bng-1.secret: missing"):
            assert sum(part in line for line in lines) == 1, (part, lines)
        assert "hunter2" not in typed.err + typed.out
    missing_file = files.cli("run", env=files.env(ISPAGENT_CONFIG=str(tmp_path / "none.toml")))
    one_sentence(missing_file, 2, "none.toml: cannot be read")


def test_no_permission_on_the_socket(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    with program(files):
        assert files.cli("status").code == 0
        files.socket.chmod(0)
        # Root goes past permissions by a capability: without it, it is like anybody else.
        drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        if drop and shutil.which("setpriv") is None:
            missing("setpriv is not installed (package util-linux)")
        done = subprocess.run(
            [*drop, *ISPAGENT, "status"],
            env=files.env(),
            cwd=files.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        one_sentence(Typed(done.returncode, done.stdout, done.stderr), 3, "is for members of the group")


# --- the daemon's own trouble -----------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_files(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    with program(files):
        second = files.cli("run")
        one_sentence(second, 1, "another ispagent is running")
        assert files.cli("status").code == 0
    again = files.cli("status")
    one_sentence(again, 1, "the agent is not running")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Make a folder on a disk of 3 MB; False where that cannot be mounted (it takes root)."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on the disk; return the file that takes it."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    return filler


async def work(files: Files) -> None:
    """Do what writes a lot: import more and more subscribers, until the agent says no."""
    office = Office(files)
    for round_ in range(200):
        for service in populate(60, 1, round_, datetime.now(UTC)):
            row = {**next(iter(files.billing.rows.values())), "login": f"r{round_}-{service.login}"}
            ref = f"R{round_}-{service.subscriber}"
            files.billing.rows[f"{ref}/{service.service}"] = {**row, "subscriber": ref, "service": service.service}
        await office.import_csv()


def work_until_it_stops(files: Files, agent: AgentProgram) -> str:
    """Work until the daemon ends by itself; return what it says at its end."""
    with contextlib.suppress(ApiRefusedError, ClientError):
        trio.run(work, files)
    assert agent.wait_exit() == 1
    said = agent.log.read_text()
    assert "Traceback" not in said, said
    return said.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    disk, files = tmp_path / "disk", bare_files(tmp_path)
    with small_disk(disk) as mounted:
        if not mounted and shutil.which("prlimit") is None:
            missing("prlimit is not installed (package util-linux)")
        if mounted:
            shutil.move(files.state, disk / "state")
            (files.folder / "state").symlink_to(disk / "state")
        # Without a disk of its own, the files may not grow: to the agent that is the same
        agent = AgentProgram(files, prefix=() if mounted else ("prlimit", f"--fsize={600 * 1024}"))
        try:
            agent.wait_ready()
            trio.run(Office(files).install)
            filler = fill(disk) if mounted else None
            last = work_until_it_stops(files, agent)
        finally:
            agent.stop()
        assert "the store cannot be written" in last
        if filler is not None:
            filler.unlink()
        with program(files):
            verified = files.cli("audit", "verify")
            assert verified.code == 0, verified
            assert int(verified.out.split()[0]) > 3
            set_ = files.cli("secret", "set", "nas/bng-1", "--stdin", text="another-secret")
            assert set_.code == 4, set_  # it is set, and nobody answers there
            assert set_.out.startswith("secret nas/bng-1 is set\n")


def test_files_that_only_the_agent_may_read(tmp_path: Path) -> None:
    files = bare_files(tmp_path)
    with program(files):
        trio.run(Office(files).install)
        keys = [p for p in files.state.iterdir() if p.name in ("identity", "store.key") or p.name == "keys.db"]
        assert len(keys) == 3
        for path in (files.state, *keys):
            mode = path.lstat().st_mode
            assert not stat.S_IMODE(mode) & 0o077, f"{path.name}: {stat.filemode(mode)}"
