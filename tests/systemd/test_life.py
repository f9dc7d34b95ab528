"""The life of an agent on an operator's machine, by dpkg, a real systemd and a real FreeRADIUS: one booted system.

The tutorial's pages (docs/tutorial) are typed as they stand, by separate users, and their answers compared. The rest is
typed as docs/install.md and docs/operations.md say. The BNG are the lab's; their own view of who is online, and of what
was sent to them, is what the tests judge by. Each test goes on from a site that is set up; where one worker runs them
all, in their order, it is one site.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.debian_packages import repacked
from tests.debian_root import DebianRoot, kept_root, skipped_without_root
from tests.systemd.booted import WAIT_S, Booted
from tests.systemd.conftest import boot, install
from tests.systemd.people import Staff, change_id, find, home_of
from tests.systemd.provider import ORDINARY, Provider, provider
from tests.systemd.tutorial import Tutorial, tutorial

pytestmark = pytest.mark.slow

AGENT, SOCKET = "ispagent.service", "ispagent.socket"
SERVICES, BATCH = 290, 200
BEGUN = 10
"""So many of the batch are done when the agent is restarted; at 10 a second the rest takes 19 s on a quiet machine."""
NEWER = "0.1.1-0ispagents1"
WITNESS = "joseph-desk"
HURRY = """\
[policy]
soak_s = 1
pace = 5

[cloud]
checkpoint_s = 1
witness_wait_s = 90

"""
"""Sections that the tutorial's agent does not have: a batch and a restart then take seconds."""
FIRST, FROM_ELSEWHERE = "C-10224/home", "C-10237/home"
"""The services that pages 3 and 4 suspend."""
PAGES = ("1-install.md", "2-trust.md", "3-first-suspension.md", "4-from-elsewhere.md", "5-cpe.md")


# --- a version that never is ready ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Update:
    """An update of a system of its own that runs since the fixture, because it waits a minute."""

    system: Booted
    version: str
    done: Future[CompletedProcess[str]]


@pytest.fixture(scope="module")
def updating(
    installed: DebianRoot, debs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Update]:
    """An update to a version whose daemon starts and never says READY."""
    hanging = '#!/bin/sh\n[ "$1" != run ] || exec sleep infinity\nexit 1\n'
    folder = tmp_path_factory.mktemp("hanging") / "packages"
    new = repacked(debs["ispagent"], folder, {"Version": NEWER}, {"/usr/bin/ispagent": hanging})
    with ThreadPoolExecutor(1) as runner, boot(installed) as system:  # whose end is that of the update, too
        yield Update(system, installed_version(system), runner.submit(apply_update, system, new, debs["ispagent"]))


def installed_version(system: Booted) -> str:
    return system.run(["dpkg-query", "--show", "--showformat=${Version}", "ispagent"]).stdout


# --- a site -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """The booted system, its people, and the ISP beside it."""

    system: Booted
    staff: Staff
    isp: Provider
    clean: frozenset[str]
    """The paths that were there before the packages came."""
    tutorial: Tutorial
    typed: list[str] = field(default_factory=list)

    def type_up_to(self, page: str, after: Callable[[str], None] = lambda command: None) -> None:
        """Type the pages of the tutorial as far as this one, without those that were typed before."""
        for name in PAGES[: PAGES.index(page) + 1]:
            if name not in self.typed:
                self.typed.append(name)
                self.tutorial.type_page(name, after)

    def services(self) -> dict[str, str]:
        """Return the services that a suspension would change now: their logins by reference."""
        online = self.sessions()
        found = json.loads(self.isp.read(ORDINARY))
        return {ref: login for ref, login in found.items() if not online[login]}

    def sessions(self) -> dict[str, bool]:
        """Return who is online, as the BNG see it, and whether in the walled garden. Nobody is online twice."""
        sessions = self.isp.ask(do="sessions")["sessions"]
        found = {s["login"]: s["address_list"] == "suspended" for s in sessions}
        assert len(found) == len(sessions)
        return found

    def ended(self) -> Counter[str]:
        """Return how many datagrams to a BNG named each login."""
        received = self.isp.ask(do="received")["received"]
        found = Counter(r["login"] for r in received if r["login"] != "ispagent-check-nobody")
        assert {r["outcome"] for r in received if r["login"] in found} <= {"ack"}
        return found

    def status(self) -> str:
        return self.staff.type("maria", "ispagent status")


def verified_log(site: Site, change: str) -> None:
    """Have the agent recompute its log, and the packaged `trust` judge a change's evidence, offline."""
    key = find(r"log key (\S+)", site.staff.type("maria", "ispagent audit verify"))
    site.staff.type("maria", f"rm -f evidence.jsonl; ispagent audit export {change} --out evidence.jsonl")
    site.staff.carry(f"{home_of('maria')}/evidence.jsonl", "joseph")
    verify = f"PYTHONPATH=/usr/lib/ispagents/ispcloud python3 -m trust verify evidence.jsonl --vkey '{key}'"
    assert site.staff.type("joseph", verify).endswith("VERIFIED\n")


# --- a witness --------------------------------------------------------------------------------------------------------


def witnessed(site: Site) -> str:
    """Let a witness run by its unit, beside the tutorial's control plane, and return it. It must confirm each start."""
    system, staff = site.system, site.staff
    site.type_up_to("4-from-elsewhere.md")
    cloud, home = "runuser -u ispcloud -- ispcloud", f"/var/lib/ispcloud-witness/{WITNESS}"
    invitation = "/var/lib/ispcloud/joseph-again.invite"
    enroll = f"{cloud} people enroll joseph --operator hill-isp --out {invitation} --dir /var/lib/ispcloud"
    staff.type("root", enroll)

    there = f"env HOME={home} ISPCLOUD_PASSPHRASE_FILE={home}/passphrase"
    user = f"runuser -u ispcloud-witness -- {there} ispcloud"
    staff.type("root", f"install -d -o ispcloud-witness -g ispcloud-witness -m 0700 {home} {home}/.config/ispcloud")
    system.write(f"{home}/passphrase", "a witness's own passphrase", 0o600)
    staff.type("root", f"install -o ispcloud-witness -m 0600 {invitation} {home}/invite")
    staff.type("root", f"chown ispcloud-witness:ispcloud-witness {home}/.config {home}/passphrase")
    staff.type("root", f"{user} keys new --out {home}/witness.key")
    vkey = find(r"vkey +(\S+)", staff.type("root", f"{user} keys show {home}/witness.key --witness-name {WITNESS}"))

    staff.type("lena", "ispcloud trust next trust.json --out next.draft.json")
    witness = f"ispcloud trust add witness {WITNESS} --vkey '{vkey}' --operated-by own --draft next.draft.json"
    staff.type("lena", witness)
    staff.type("lena", "ispcloud trust policy --quorum 1 --draft next.draft.json")
    staff.type("lena", "ispcloud trust sign next.draft.json --previous trust.json --yes")
    staff.carry(f"{home_of('lena')}/next.json", "joseph")
    staff.type("joseph", "ispcloud trust sign next.json --previous trust.json --yes")
    staff.carry(f"{home_of('joseph')}/next.json", "lena")
    for who in ("joseph", "lena"):
        staff.type(who, "cp next.json .config/ispcloud/trust.json")
    signed = f"{home_of('joseph')}/next.json"
    staff.type("root", f"install -o ispcloud-witness -m 0600 {signed} {home}/.config/ispcloud/trust.json")
    staff.type("root", f"ispagent trust install {signed}")

    staff.type("root", f"{user} desk enroll --invite {home}/invite")
    sealed = f"ispcloud-witness.{WITNESS}.passphrase"
    staff.type("root", "mkdir -p -m 0700 /etc/credstore.encrypted")
    seal = f"systemd-creds encrypt --with-key=host --name={sealed} {home}/passphrase /etc/credstore.encrypted/{sealed}"
    staff.type("root", f"{seal} && shred -u {home}/passphrase")
    unit = f"ispcloud-witness@{WITNESS}.service"
    staff.type("root", f"systemctl enable --now {unit}")
    system.wait("a witnessed log", site.status, lambda text: f"witnessed by {WITNESS}" in text, unit)
    return unit


# --- upgrades ---------------------------------------------------------------------------------------------------------


@contextmanager
def callers(site: Site, *commands: str) -> Iterator[list[float]]:
    """Have maria type commands without a pause for the block; none fails. The list has how long each waited."""
    over, waited = threading.Event(), list[float]()

    def ask(command: str) -> None:
        while not over.is_set():
            began = time.monotonic()
            site.staff.type("maria", command)
            waited.append(time.monotonic() - began)

    with ThreadPoolExecutor(len(commands)) as people:
        asking = [people.submit(ask, command) for command in commands]
        try:
            yield waited
        finally:
            over.set()
    for one in asking:
        one.result()


@contextmanager
def open_socket(system: Booted) -> Iterator[None]:
    """The same socket listens after the block as before, and another process serves it."""

    def seen() -> tuple[str, str]:
        return system.run("stat -c %i /run/ispagent/agent.sock").stdout, system.show(
            SOCKET, "ActiveEnterTimestampMonotonic"
        )

    before, process = seen(), system.show(AGENT, "MainPID")
    yield
    assert seen() == before
    assert system.show(AGENT, "MainPID") != process


def upgrade_during_a_batch(site: Site, new: Path, refs: dict[str, str]) -> str:
    """Upgrade while a batch runs; return its id. Nothing is sent twice, nobody is lost, no caller fails."""
    system, staff = site.system, site.staff
    online, done = site.sessions(), site.ended()
    system.put(new, "/srv/new.deb")
    system.write(f"{home_of('maria')}/overdue.txt", "".join(f"{ref}\n" for ref in refs))
    change = change_id(staff.type("maria", "ispagent change suspend --file overdue.txt"))
    staff.approve(change, "joseph", count=len(refs))
    system.run("dpkg --unpack /srv/new.deb")  # files alone: the agent that runs goes on until the new one is configured
    staff.approve(change, "lena", count=len(refs))

    def sent() -> int:
        return (site.ended() - done).total()

    with callers(site, "ispagent status", f"ispagent change show {change}") as waited, open_socket(system):
        system.wait("a batch that has begun", sent, lambda n: n >= BEGUN, AGENT)
        system.run("dpkg --configure ispagent")
        assert sent() < len(refs), "the batch was over before the upgrade"
    print(f"{len(waited)} callers during the upgrade, the longest wait {max(waited):.1f} s")
    staff.type("maria", f"ispagent change watch {change}")
    assert f"{len(refs)} enforced now" in staff.type("maria", f"ispagent change show {change}")
    assert site.ended() - done == Counter(dict.fromkeys(refs.values(), 1)), "each session is ended once, and no other"
    assert site.sessions() == {**online, **dict.fromkeys(refs.values(), True)}
    return change


def another_version(site: Site, change_over: Callable[[], None], waiting: str) -> None:
    """Change over to another version: the log only grows, and what waits for an approval goes on waiting."""

    def leaves() -> int:
        return int(find(r"^(\d+) leaves", site.staff.type("maria", "ispagent audit verify")))

    before = leaves()
    with callers(site, "ispagent status", "ispagent change list") as waited, open_socket(site.system):
        change_over()
    print(f"{len(waited)} callers, the longest wait {max(waited):.1f} s")
    assert "state    FINE" in site.status()
    assert leaves() > before
    assert waits_for_approval(site, waiting)


def apply_update(system: Booted, new: Path, old: Path) -> CompletedProcess[str]:
    """Have the installed `apply-update` install a package; the other one is what it may put back."""
    system.run("mkdir -p -m 0700 /srv/pool")
    for name, package in (("new", new), ("old", old)):
        system.put(package, f"/srv/pool/{name}.deb")
    update = "/usr/lib/ispagents/apply-update /srv/pool/new.deb /srv/pool/old.deb"
    return system.run(update, check=False, timeout_s=4 * WAIT_S)


def waits_for_approval(site: Site, change: str) -> bool:
    """Return whether a change may still be approved: a start did not make it void."""
    return "waiting for approval" in find(rf"^({change} .*)$", site.staff.type("maria", "ispagent change list"))


# --- the life ---------------------------------------------------------------------------------------------------------

STATE = ("/var/lib/ispagent", "/var/lib/ispcloud")
OPERATORS_OWN = ("/home", "/srv", "/etc/credstore.encrypted")
THEIR_OWN = (
    "/var/lib/systemd",
    "/var/log",
    "/var/lib/apt",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/etc/subgid-",
    "/etc/subuid-",
)
"""What systemd, dpkg, apt, debconf and useradd keep for themselves."""


def files_of(system: Booted) -> frozenset[str]:
    """Return the paths of the root's file system that a package may not leave behind."""
    paths = system.run("find / -xdev").stdout.splitlines()
    return frozenset(path for path in paths if not path.startswith((*STATE, *OPERATORS_OWN, *THEIR_OWN)))


@pytest.fixture(scope="module")
def site(
    bootable: None, debs: dict[str, Path], updating: Update, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site after the first two pages of the tutorial, on a bare Debian."""
    with skipped_without_root():
        root = kept_root()
        with Booted(root) as system, provider(system, tmp_path_factory.mktemp("isp"), SERVICES) as isp:
            clean = files_of(system)
            for package in debs.values():
                system.put(package, f"/srv/{package.name}")
            system.write("/srv/isp/subscribers.csv", isp.read("subscribers.csv"))
            system.write("/srv/isp/mapping.toml", HURRY + isp.read("mapping.toml"))
            secrets = json.loads(isp.read("lab.json"))["secrets"]
            hidden = {f"THE SECRET OF {name}": secret for name, secret in secrets.items()}
            with tutorial(Staff(system), hidden) as typed:
                made = Site(system, typed.staff, isp, clean, typed)
                made.type_up_to("1-install.md")
                made.staff.choose_passphrases()
                made.type_up_to("2-trust.md")
                yield made


def test_the_first_suspension(site: Site) -> None:
    """The tutorial's own: FreeRADIUS gives the subscriber's router the walled garden, and service again at the end."""
    login, seen = site.services()[FIRST], []

    def look(command: str) -> None:
        if verb := re.match(r"ispagent change (suspend|watch|revert)", command):
            seen.append((verb[1], site.ended()[login], site.sessions()[login]))

    site.type_up_to("3-first-suspension.md", look)
    assert seen == [("suspend", 0, False), ("watch", 1, True), ("revert", 1, True), ("watch", 2, False)]


def test_an_approval_from_a_desk(site: Site) -> None:
    """The control plane carries plan and approval; the router has the subscriber in the walled garden."""
    login = site.services()[FROM_ELSEWHERE]
    site.type_up_to("4-from-elsewhere.md")
    assert (site.ended()[login], site.sessions()[login]) == (1, True)


def test_a_cpe_is_accepted_and_set(site: Site) -> None:
    site.type_up_to("5-cpe.md")
    shown = site.staff.type("maria", "ispagent cpe show EF4D4654")
    assert "accepted" in shown


def test_the_witness_unit_confirms_a_start(site: Site) -> None:
    unit = witnessed(site)
    waiting = change_id(site.staff.type("maria", f"ispagent change suspend {next(iter(site.services()))}"))
    restarted = site.system.run(f"systemctl restart {AGENT} {unit}")
    assert restarted.returncode == 0
    site.system.wait("a confirmed start", site.status, lambda text: f"witnessed by {WITNESS}" in text, unit)
    assert waits_for_approval(site, waiting)
    assert site.system.show(unit, "ActiveState") == "active"


def test_an_upgrade_during_a_batch_then_downgrade_and_upgrade(
    site: Site, debs: dict[str, Path], tmp_path: Path
) -> None:
    old = installed_version(site.system)
    new = repacked(debs["ispagent"], tmp_path / "new", {"Version": NEWER})
    (first, _), *rest = site.services().items()
    waiting = change_id(site.staff.type("maria", f"ispagent change suspend {first}"))
    batch = upgrade_during_a_batch(site, new, dict(rest[:BATCH]))
    another_version(site, lambda: install(site.system, debs["ispagent"]), waiting)
    assert installed_version(site.system) == old

    def update() -> None:
        done = apply_update(site.system, new, debs["ispagent"])
        assert (done.returncode, done.stdout) == (0, f"installed ispagent {NEWER}\n"), done.stderr

    another_version(site, update, waiting)
    assert installed_version(site.system) == NEWER
    verified_log(site, batch)


def test_a_purge_leaves_the_state_and_nothing_else(site: Site) -> None:
    said = site.system.run("dpkg --purge ispagent ispcloud")
    assert "ispagent: /var/lib/ispagent is kept" in said.stdout + said.stderr
    left = files_of(site.system)
    assert not left - site.clean
    assert not site.clean - left
    site.system.run("test -s /var/lib/ispagent/agent.db")
    assert site.system.run("systemctl list-units --all --plain --no-legend 'isp*'").stdout == ""


def test_a_version_that_never_is_ready_is_put_back(updating: Update) -> None:
    done, system = updating.done.result(), updating.system
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "the new version did not start in 60 s: see journalctl -u ispagent.service" in said
    assert f"put back: installed ispagent {updating.version}; it runs" in said
    assert installed_version(system) == updating.version
    assert system.show(AGENT, "ActiveState") == "active"
    assert "state    FINE" in system.run("ispagent status", user="maria").stdout
    assert "Unpacking ispagent (0.1.1-0ispagents1)" in system.run("cat /srv/pool/apply.log").stdout
