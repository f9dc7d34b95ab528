"""Batches on a lab ISP with real datagrams: a NAS that is down holds up its own items; an evening's payers are back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from agent.store.db import Tx
from lab.isp import Isp
from lab.population import LabService
from tests.builders.answers import unix_of
from tests.e2e.files import dsn_of, ref_of, stamp
from tests.e2e.site import ApiRefusedError, Json, Site, at_work, item_states
from tests.servers import MariaDB, PostgreSQL
from trust import chain
from trust import envelope as envelopes
from trust.policy import RiskClass, Window, preset

pytestmark = pytest.mark.slow
EVENING_S = 100.0
"""From 20:59 to 21:05."""


def online(isp: Isp) -> list[LabService]:
    """Return the services that a batch may suspend, one a subscriber."""
    found = {
        s.subscriber: s for s in isp.services if s.online and s.mapped and not (s.protected or s.feeds or s.static4)
    }
    return list(found.values())


async def until(site: Site, change: Json, holds: Callable[[list[str]], bool], within_s: float) -> Json:
    """Return the change once its items' states are so."""
    with trio.fail_after(within_s):
        while True:  # as a person does: there is no bell for "38 of them"
            now = await site.show(change)
            if holds([state for state, _ in item_states(now).values()]):
                return now
            await trio.sleep(0.5)


async def test_with_one_of_three_nas_down_38_are_done_and_3_named(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={"services": 90, "nas": 3}, policy={"stop_failed_percent": 2}) as (isp, site):
        by_nas: dict[int, list[LabService]] = {}
        for service in online(isp):
            by_nas.setdefault(service.nas, []).append(service)
        *up, down = sorted(by_nas)
        isp.nas_of(by_nas[down][0].login).set_fault("silence")
        waiting = by_nas[down][:3]
        listed = [*by_nas[up[0]][:19], *waiting, *by_nas[up[1]][:19]]
        change = await site.ask("suspend", *map(ref_of, listed))
        assert change["class"] == "batch"
        await site.approve(change, "joseph", "lena")
        now = await until(site, change, lambda states: states.count("applied") == 38, 90)

        names = {ref_of(s) for s in waiting}
        found = {i["service"]: i for i in now["items"]}
        assert {ref for ref, i in found.items() if i["state"] == "waiting"} == names
        assert now["state"] == "waiting for a device"
        for ref in names:
            assert found[ref]["reason"] == "target-away"
            assert f"NAS bng-{down + 1} at 127.0.0.1" in found[ref]["detail"]
        said = (await site.files.type("change", "show", change["id"])).out
        assert "3 waiting for the device" in said
        assert all(ref in said for ref in names)
        assert not [s for s in now["steps"] if found[_ref(now, s["item"])]["state"] == "waiting"], (
            "nothing of them was sent"
        )

        isp.clear_faults()
        over = await until(site, change, lambda states: states.count("applied") == 41, 60)
        assert {s for s, _ in item_states(over).values()} == {"applied"}


def _ref(change: Json, n: int) -> str:
    return str(next(i["service"] for i in change["items"] if i["n"] == n))


async def test_300_who_paid_in_the_evening_are_back_within_minutes(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={"services": 420, "nas": 3, "dial": False}) as (isp, site):
        listed = online(isp)[:300]
        refs = [ref_of(s) for s in listed]
        assert len(refs) == 300
        await suspended_for_debt(isp, site, listed)
        assert all(session.walled for session in isp.sessions())

        await office_is_closed(site)
        with pytest.raises(ApiRefusedError, match=r"starts only .*: ask from .* on"):  # nobody paid: refused at once
            await site.ask("restore", *refs)
        with pytest.raises(ApiRefusedError, match="ask without it"):
            await site.ask("restore", *refs, alone=True)

        await trio.sleep(1.1)  # billing's times have seconds
        for service in listed:
            site.files.billing.update(service.subscriber, balance="0.00", paid_at=stamp(datetime.now(UTC)))
        site.files.billing.write()
        began = time.monotonic()
        restored = await site.ask("restore", *refs, on_failure="continue")
        assert (restored["class"], restored["need"]) == ("restore", 1)
        await site.approve(restored, "joseph")
        # Whose Start accounting has not when its item ends is judged again while the CPE come back
        with trio.fail_after(EVENING_S):
            while (await summary(site, restored))["counts"] != {"applied": 300}:  # noqa: ASYNC110  as a person does
                await trio.sleep(1)
        assert time.monotonic() - began < EVENING_S
        assert not [s.login for s in listed if any(session.walled for session in isp.sessions(s.login))]


async def test_a_payment_taken_back_before_the_start_restores_nobody(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={"services": 40, "nas": 2, "dial": False}) as (isp, site):
        listed = online(isp)[:12]
        refs = [ref_of(s) for s in listed]
        await suspended_for_debt(isp, site, listed)
        await trio.sleep(1.1)  # billing's times have seconds
        for service in listed:
            site.files.billing.update(service.subscriber, balance="0.00", paid_at=stamp(datetime.now(UTC)))
        site.files.billing.write()
        restored = await site.ask("restore", *refs, on_failure="continue")
        assert restored["class"] == "restore"
        bounced = listed[3]
        site.files.billing.update(bounced.subscriber, balance="40.00", paid_at="")
        site.files.billing.write()
        over = await site.apply(restored)
        states = item_states(over)
        assert states[ref_of(bounced)][0] == "skipped"
        assert {s for ref, (s, _) in states.items() if ref != ref_of(bounced)} == {"applied"}
        assert all(session.walled for session in isp.sessions(bounced.login))


async def summary(site: Site, change: Json) -> Json:
    """Return a change without its 300 items."""
    found: list[Json] = await site.call("GET", "/v1/changes")
    return next(c for c in found if c["id"] == change["id"])


async def suspended_for_debt(isp: Isp, site: Site, services: list[LabService]) -> None:
    """Have services suspended as a change of last week left them: marker, reason, and a session in the garden."""
    await isp.database.write(lambda cursor: cursor.execute_many(MARK, [(s.login,) for s in services]))
    await site.daemon.files.store.run(Suspended(tuple(map(ref_of, services))))
    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(isp.dial, service.login)


MARK = "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, 'suspended', -1)"


@dataclass(frozen=True)
class Suspended:
    """Record that services are suspended for debt."""

    refs: tuple[str, ...]

    def run(self, tx: Tx) -> None:
        tx.many(
            "INSERT INTO reason (service, reason, plan_id, seq) VALUES (?, 'debt', NULL, 1)", [(r,) for r in self.refs]
        )


async def office_is_closed(site: Site) -> None:
    """Have owners sign the policy as it is in the evening: batches start only in hours that are half a day away."""
    now = datetime.now(UTC)
    start = (now.weekday() * 1440 + now.hour * 60 + now.minute + 720) % 10_000
    closed = tuple(replace(c, windows=(Window(start, start + 60),) if c.windows else ()) for c in preset())
    first = envelopes.decode_untrusted(site.files.signed_trust()[0])
    before = site.files.trust
    trust = replace(before, version=2, prev=chain.head_sha256(first), issued=before.issued + 1, policy=closed)
    document, _ = site.people.sign_trust(trust)
    (answer,) = await site.hand_in(document)
    assert answer["accepted"], answer
    site.files.trust = trust


async def test_what_is_over_hourly_limit_starts_by_itself_in_its_turn(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        await low_limit(site, 2)
        one, two, three, four = map(ref_of, online(isp)[:4])
        assert (await site.do("suspend", one, two))["state"] == "done"
        next_, last = await site.ask("suspend", three), await site.ask("suspend", four)
        for change in (next_, last):
            assert unix_of(change["start_by"]) >= unix_of(change["made"]) + 3500, "signed so that its turn comes before"
            await site.approve(change, "joseph")
        held = await site.wait_for(next_, lambda c: "it waits its turn" in c["waits_because"])
        assert "class low may change 2 services an hour: 2 were, this adds 1; it starts from" in held["waits_because"]
        behind = await site.wait_for(last, lambda c: "waits its turn" in c["waits_because"])
        assert f"behind {next_['id']}" in behind["waits_because"]
        said = (await site.files.type("change", "show", next_["id"])).out
        assert "waits its turn" in said

        site.clock.pass_s(3600)
        for change in (next_, last):
            assert (await site.wait_end(change))["state"] == "done"


async def low_limit(site: Site, most: int) -> None:
    """Have owners sign a limit of class *low*."""
    first, before = envelopes.decode_untrusted(site.files.signed_trust()[0]), site.files.trust
    low = tuple(replace(c, budget_per_hour=most) if c.risk_class is RiskClass.LOW else c for c in before.policy)
    trust = replace(before, version=2, prev=chain.head_sha256(first), issued=before.issued + 1, policy=low)
    (answer,) = await site.hand_in(site.people.sign_trust(trust)[0])
    assert answer["accepted"], answer
    site.files.trust = trust


async def test_the_rest_of_a_batch_is_asked_for_again_by_its_id(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        done, stale = online(isp)[:2]
        asked = await site.ask("suspend", ref_of(done), ref_of(stale), reason="abuse")
        await isp.database.execute("DELETE FROM radreply WHERE username = ?", (stale.login,))
        await isp.database.execute(
            "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Session-Timeout', ':=', '60')",
            (stale.login,),
        )
        over = await site.apply(asked)
        assert {ref: s for ref, (s, _) in item_states(over).items()} == {
            ref_of(done): "applied",
            ref_of(stale): "stale",
        }
        assert (over["state"], over["exit"]) == ("done in part", 4)
        assert "DONE IN PART, 1 NOT SENT" in (await site.files.type("change", "show", over["id"])).out
        assert f"ispagent change again {over['id']}" in (await site.files.type("change", "show", over["id"])).out

        again = await site.files.type("change", "again", over["id"])
        assert again.code == 0, again.err
        assert f"left out  {ref_of(done)}: done" in again.out
        (new,) = [c for c in await site.call("GET", "/v1/changes") if c["id"] != over["id"]]
        ended = await site.apply(await site.show(new["id"]))
        assert {ref: s for ref, (s, _) in item_states(ended).items()} == {ref_of(stale): "applied"}
        assert "abuse" in str(ended["documents"][1])
        now = await site.show(over["id"])
        assert (now["state"], now["exit"], now["finished"]) == ("done", 0, True)
        told = (await site.files.type("change", "show", over["id"])).out
        assert f"stale, nothing sent, done since by {ended['id']}" in told
        assert "change again" not in told
        assert "NEED" not in told


@pytest.mark.servers
@pytest.mark.parametrize("made", [PostgreSQL, MariaDB])
async def test_a_database_that_restarts_in_the_middle_ends_nothing(
    tmp_path: Path, made: type[PostgreSQL | MariaDB]
) -> None:
    """Stopped among 60 suspensions, and back some seconds later: nothing fails, is cancelled, or is written twice."""
    server = made(durable=True)
    with server:
        database = server.fresh()
        isp_options = {"services": 90, "nas": 3, "dial": False, "dsn": dsn_of(database)}
        policy = {"pace": 10, "canary": 2, "stop_failed_percent": 1}
        async with at_work(tmp_path, isp=isp_options, policy=policy) as (isp, site):
            listed = online(isp)[:60]
            change = await site.ask("suspend", *map(ref_of, listed), reason="abuse")
            await site.approve(change, "joseph", "lena")
            await until(site, change, lambda states: states.count("set-at-next-login") >= 5, 60)
            await trio.to_thread.run_sync(server.stop)  # fast: every connection is cut
            with trio.move_on_after(4):  # away, while items are begun one after the other
                await until(site, change, lambda states: states.count("waiting") >= 20, 60)
            await trio.to_thread.run_sync(server.start_again)
            over = await until(site, change, lambda states: not {"planned", "running", "waiting"} & set(states), 90)
            others = [item for item in over["items"] if item["state"] != "set-at-next-login"]
            assert others == []
            marked = database.run(
                "SELECT username, count(*) FROM radusergroup WHERE groupname = 'suspended' GROUP BY 1"
            )
            assert sorted(marked) == sorted((s.login, 1) for s in listed)
