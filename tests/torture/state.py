"""The agent's state directory is put back, cloned, or full, while a batch runs on real servers."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import trio

from tests.e2e.files import Files, ref_of
from tests.e2e.site import ApiRefusedError, Json
from tests.servers import PostgreSQL
from tests.torture.audit import AGENT, TWIN, TWIN_MARK
from tests.torture.radius_judge import judge_all, judge_rest
from tests.torture.radius_site import RadiusSite, radius_site
from tests.torture.rounds import FAULT_WORDS, Lives, Round, Servers

SERVICES = 16
QUIET_S = 12.0
"""How long nothing of a copy that was put back may be sent: an agent applies 10 s after its start at the latest."""
DISK_BYTES = 8 << 20
END_S = 25.0
"""How long an agent may live on a full disk."""


# --- put back ---------------------------------------------------------------------------------------------------------


async def _held(site: RadiusSite, refs: list[str]) -> Json:
    """Return a change that is approved and waits for a person to start it."""
    return await site.lives.approved("suspend", *refs, hold=True)


async def _begin(lives: Lives, change: Json) -> str:
    """Start a change that waits; return why it was refused."""
    try:
        await lives.patiently(lambda: lives.office.call("POST", f"/v1/changes/{change['id']}/apply", {}))
    except ApiRefusedError as err:
        return str(err)
    return ""


async def _accept_trust(lives: Lives) -> None:
    """Accept the trust document that is pinned, as its people say that it is the newest one."""
    _, words = lives.files.signed_trust()
    with contextlib.suppress(ApiRefusedError):  # it is in no doubt
        await lives.patiently(lambda: lives.office.call("POST", "/v1/trust/accept", {"words": words}))


async def restored(about: Round, servers: Servers) -> None:
    """Put the whole directory back as it was in the middle of a batch; what was done is not done again."""
    dice = about.dice("restored")
    mark_lost = dice.random() < 0.4
    about.faults = ["new machine"] if mark_lost else ["same machine"]
    async with radius_site(about, servers.of(PostgreSQL), services=SERVICES) as site:
        lives, refs = site.lives, [ref_of(s) for s in site.services]
        unused = await _held(site, refs[:4])
        running = await lives.approved("suspend", *refs[4:])
        await trio.sleep(2.5 * dice.random())
        await lives.kill()
        backup = about.folder / "backup"
        lives.copy(lives.files.state, backup)
        await lives.begin()
        await _begin(lives, unused)
        for change in (running, unused):
            await lives.end_of(change)
            await lives.end_of(await lives.approved("revert", change=change["id"]))
        await judge_all(site)

        await lives.kill()
        lives.file.forget()
        shutil.rmtree(lives.files.state)
        lives.copy(backup, lives.files.state)
        if mark_lost:
            shutil.rmtree(lives.files.state.with_name("state-mark"))
        await lives.begin()
        at = trio.current_time()
        await _nothing_again(site, at, "by itself", unused)
        await _accept_trust(lives)
        refused = await _begin(lives, unused)
        about.say(f"the change that was used is applied again: {refused or 'taken'}")
        await _nothing_again(site, at, "after its trust was accepted", unused)
        await lives.check_rest()
        await _drift_tells(site)

        again = await lives.approved("suspend", *refs)
        await lives.end_of(again)
        await judge_rest(site)
        await judge_all(site, since=at)
        about.count["suspended again"] += sum(
            i.state == "applied" for i in lives.file.items() if i.change == again["id"]
        )
        if about.count["suspended again"] < SERVICES:
            about.wrong(
                "away", f"of {SERVICES} suspensions after the restore {about.count['suspended again']} are applied"
            )


async def _nothing_again(site: RadiusSite, since: float, when: str, change: Json) -> None:
    """Wait; judge that neither a row was written nor a session ended since a moment."""
    await trio.sleep(QUIET_S)
    await trio.to_thread.run_sync(site.audit.read)
    for write in site.audit.changes:
        if write.by_agent and write.at > since:
            site.round.wrong("again", f"{when}: {write.text()} of {write.login} after the copy was put back")
    for nas in site.isp.nas.values():
        for one in nas.received:
            if one.at > since and one.outcome == "ack" and one.login:
                site.round.wrong("again", f"{when}: session {one.session_id} of {one.login} was ended")
    shown = await site.lives.patiently(lambda: site.lives.office.show(change["id"]))
    site.round.say(f"{when}: the unused change is {shown['gate']}")


async def _drift_tells(site: RadiusSite) -> None:
    """Judge that a round of drift lists each service that is not as the copy has it on record."""
    office, recorded = site.lives.office, site.lives.file.suspended()
    await office.call("POST", "/v1/drift", {})
    with trio.fail_after(60):
        while (told := await office.call("GET", "/v1/drift"))["running"]:  # noqa: ASYNC110  as a person asks
            await trio.sleep(0.1)
    listed = {one["subject"] for one in told["differences"]}
    answers = await site.logins_now()
    for service, login in site.logins.items():
        answer = answers[login]
        differs = answer is not None and answer.walled is not (service in recorded)
        site.round.count["differs from the copy"] += differs
        if differs is not (service in listed):
            said = f"{'listed' if service in listed else 'not listed'} by drift after the copy was put back"
            site.round.wrong("drift", said, service, f"on record as {service in recorded}, RADIUS: {answer}")


# --- cloned -----------------------------------------------------------------------------------------------------------


async def cloned(about: Round, servers: Servers) -> None:
    """Run a copy of the agent beside it, both with one approved change; every row is written once all the same."""
    async with radius_site(about, servers.of(PostgreSQL), services=SERVICES) as site, trio.open_nursery() as nursery:
        lives, refs = site.lives, [ref_of(s) for s in site.services]
        change = await _held(site, refs)
        await lives.kill()
        twin = Lives(about, _twin(lives), mark=TWIN_MARK)
        try:
            await lives.begin()
            await twin.begin()
            await nursery.start(twin.watched)
            for one in (lives, twin):
                about.say(f"applied: {await _begin(one, change)}")
            with trio.move_on_after(about.chaos_s):
                async with trio.open_nursery() as busy:
                    if about.dice("kills").random() < 0.7:
                        about.faults.append("kills")
                        for one, name in ((lives, "kills"), (twin, "kills of the twin")):
                            busy.start_soon(one.die_again_and_again, about.dice(name))
                    await trio.sleep(3)
                    for one in (lives, twin):
                        await one.settled(about.chaos_s)
                    busy.cancel_scope.cancel()
            for one in (lives, twin):
                if not await one.settled(about.settle_s):
                    about.wrong("restless", f"{one.file.unfinished()}")
            await trio.sleep(3)
            for one in (lives, twin):
                await one.check_rest()
                for item in one.file.items():
                    about.count[f"= {item.state}"] += 1
            await judge_rest(site, twin)
            await judge_all(site, twin)
            await _everybody_once(site)
        finally:
            twin.end()
            nursery.cancel_scope.cancel()


def _twin(lives: Lives) -> Files:
    """Copy an agent's whole folder; return the copy's files. It has a login of its own, for the triggers to tell."""
    files = lives.files
    folder = files.folder.with_name("twin")
    lives.copy(files.folder, folder, "daemon.log")
    config = folder / files.config.name
    config.write_text(config.read_text().replace(f'user = "{AGENT}"', f'user = "{TWIN}"'))
    return replace(files, folder=folder, config=config)


async def _everybody_once(site: RadiusSite) -> None:
    """Judge that two agents have written what one would: a marker for each login."""
    for service in site.services:
        writes = [c for c in site.audit.changes if c.by_agent and c.login == service.login]
        if len(writes) != 1:
            said = ", ".join(w.text() for w in writes) or "nothing"
            site.round.wrong("twice", f"two agents wrote {said}", ref_of(service))


# --- full -------------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small disk for the block."""
    folder.mkdir(mode=0o700)
    options = f"size={DISK_BYTES},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Fill a disk to the last page."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    return filler


async def full_disk(about: Round, servers: Servers) -> None:
    """Fill the disk of the state directory while a batch runs: the agent stops with a sentence, and goes on later."""
    with small_disk(about.folder / "disk") as disk:
        server = servers.of(PostgreSQL)
        async with radius_site(about, server, services=SERVICES, state_dir=str(disk / "state")) as site:
            change: Json = {}
            for action in ("suspend", "revert"):
                refs = [] if change else [ref_of(s) for s in site.services]
                change = await site.lives.approved(action, *refs, **({"change": change["id"]} if change else {}))
                await _run_full(site, disk, about.dice(f"full {action}"))
                if await site.lives.end_of(change) is not None:
                    await judge_rest(site)
            await judge_all(site)
            for item in site.lives.file.items():
                about.count[f"= {item.state}"] += 1


async def _run_full(site: RadiusSite, disk: Path, dice: random.Random) -> None:
    about, lives = site.round, site.lives
    await trio.sleep(0.2 + 1.5 * dice.random())
    filler = await trio.to_thread.run_sync(_fill, disk)
    about.count["full"] += 1
    for _ in range(2):  # once in the midst of its work, and once at its start
        with trio.move_on_after(END_S):
            while not lives.program.ended:  # noqa: ASYNC110  a process
                await trio.sleep(0.05)
        words = lives.program.log.read_text().strip().splitlines()[-1:]
        if not lives.program.ended:
            about.say("it lives on")
            break
        about.say(f"it ended: {lives.program.wait_exit()}, {words}")
        if lives.program.wait_exit() != 1 or (words and FAULT_WORDS.search(words[0])):
            about.wrong("died", f"on a full disk it ended with {lives.program.wait_exit()}: {words}")
        about.count["stopped"] += 1
        lives.spawn()
    lives.program.kill()
    await trio.to_thread.run_sync(lives.program.wait_exit)
    await trio.to_thread.run_sync(os.unlink, filler)
    await lives.begin()
