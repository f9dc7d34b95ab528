"""Changes from request to digest, against a whole lab ISP: what each item ends as, and what the network then does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from lab.faults import FaultKind
from lab.isp import Isp
from lab.population import LabService
from tests.builders.answers import unix_of
from tests.e2e.files import Billing, ordinary, ref_of
from tests.e2e.site import ApiRefusedError, Json, Site, at_work, b64, item_states, items_of, state_of

ROWS = (
    "SELECT attribute, op, value FROM radcheck WHERE username = ? ORDER BY id",
    "SELECT attribute, op, value FROM radreply WHERE username = ? ORDER BY id",
    "SELECT groupname, priority FROM radusergroup WHERE username = ? ORDER BY id",
)


async def rows(isp: Isp, login: str) -> list[list[tuple[object, ...]]]:
    """Return the user's rows of each table."""
    return [[tuple(r) for r in await isp.database.fetch(sql, (login,))] for sql in ROWS]


def session_of(isp: Isp, service: LabService) -> object:
    (session,) = isp.sessions(service.login)
    return session


def walled(isp: Isp, service: LabService) -> bool:
    (session,) = isp.sessions(service.login)
    return session.walled


async def reasons(site: Site, service: LabService) -> list[str]:
    found = await site.call("GET", f"/v1/subscribers/{ref_of(service).replace('/', '%2F')}")
    suspended: list[str] = found["services"][0]["suspended_for"]
    return suspended


def requests(isp: Isp, login: str) -> list[str]:
    """Return what came of the datagrams that the BNG was sent about a login."""
    return [r.outcome for r in isp.nas_of(login).received if r.login == login]


# --- one service ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routers", [False, True], ids=["plain BNG", "routers"])
async def test_suspend_then_revert(tmp_path: Path, routers: bool) -> None:
    async with at_work(tmp_path, isp={"routers": routers}) as (isp, site):
        (service,) = ordinary(isp, 1)
        before, old = await rows(isp, service.login), session_of(isp, service)
        asked = await site.ask("suspend", ref_of(service))
        assert (asked["state"], asked["class"], asked["requester"]) == ("waiting for approval", "low", "maria")
        assert session_of(isp, service) is old
        assert await rows(isp, service.login) == before

        done = await site.apply(asked)
        how = "seen" if routers else "garden"  # in the router's own list, or by the session's address
        assert (state_of(done), done["state"], done["exit"]) == (("applied", how), "done", 0)
        assert walled(isp, service)
        assert session_of(isp, service) is not old
        assert await reasons(site, service) == ["debt"]
        assert [(s["step"], s["verdict"], s["reason"]) for s in done["steps"]] == [
            (1, "applied", "read-back"),
            (2, "applied", "ack"),
        ]
        assert (await rows(isp, service.login))[2] == [*before[2], ("suspended", -1)]

        back = await site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen" if routers else "inferred"), "done")
        assert not walled(isp, service)
        assert await rows(isp, service.login) == before
        assert await reasons(site, service) == []
        with pytest.raises(ApiRefusedError, match="would change"):
            await site.ask("revert", change=done["id"])


async def test_a_restore_supersedes_an_unsent_suspension(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        before = await rows(isp, service.login)
        suspend = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(suspend, "joseph")
        restore = await site.ask("restore", ref_of(service))
        assert f"supersedes {suspend['id']}" in items_of(restore)[0].display["why"]
        restored = await site.apply(restore)
        assert (state_of(restored)[0], restored["exit"]) == ("applied", 0)
        assert state_of(await site.show(suspend)) == ("superseded", "superseded")
        await site.call("POST", f"/v1/changes/{suspend['id']}/apply", {})
        ended = await site.wait_end(suspend)
        assert state_of(ended) == ("superseded", "superseded")
        assert requests(isp, service.login) == []
        assert await rows(isp, service.login) == before


async def test_a_restore_follows_a_running_suspension(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        before = await rows(isp, service.login)
        isp.set_fault("slow:1", service.login)
        suspend = await site.ask("suspend", ref_of(service))
        await site.approve(suspend, "joseph")
        await site.wait_for(suspend, lambda c: state_of(c)[0] == "running")
        restore = await site.ask("restore", ref_of(service))
        suspended = await site.show(suspend)
        assert state_of(suspended)[0] == "applied"
        assert unix_of(restore["made"]) >= unix_of(suspended["made"])
        restored = await site.apply(restore)
        assert state_of(restored)[0] == "applied"
        assert await rows(isp, service.login) == before
        assert not walled(isp, service)
        assert await reasons(site, service) == []


async def test_a_payment_lifts_debt_and_not_abuse(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        ref, before = ref_of(service), await rows(isp, service.login)
        assert state_of(await site.do("suspend", ref))[0] == "applied"
        sent = len(requests(isp, service.login))
        abuse = await site.do("suspend", ref, reason="abuse")
        assert (state_of(abuse), items_of(abuse)[0].steps) == (("applied", "recorded"), ())
        assert await reasons(site, service) == ["abuse", "debt"]

        site.files.billing.pay(service.subscriber)
        lifted = await site.do("restore", ref)
        assert "stays suspended for abuse" in items_of(lifted)[0].display["why"]
        assert await reasons(site, service) == ["abuse"]
        assert walled(isp, service)
        with pytest.raises(ApiRefusedError, match="suspended for abuse, not for debt"):
            await site.ask("restore", ref)
        assert len(requests(isp, service.login)) == sent

        returned = await site.do("restore", ref, reason="abuse")
        assert state_of(returned)[0] == "applied"
        assert not walled(isp, service)
        assert await rows(isp, service.login) == before


async def test_set_plan_while_suspended(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        service = next(s for s in ordinary(isp, 6) if s.tariff.name != "Home 50M")
        ref = ref_of(service)
        await site.do("suspend", ref)
        changed = await site.do("set-plan", ref, tariff="Home 50M")
        assert state_of(changed) == ("applied", "garden")
        assert walled(isp, service)
        assert (await rows(isp, service.login))[2] == [("suspended", -1), ("home-50m", 1)]
        assert state_of(await site.do("revert", change=changed["id"])) == ("applied", "garden")
        assert (await rows(isp, service.login))[2] == [("suspended", -1), (service.tariff.group, 1)]

        again = await site.do("set-plan", ref, tariff="Home 50M")
        restored = await site.do("restore", ref)
        assert state_of(restored)[0] == "applied"
        (session,) = isp.sessions(service.login)
        assert (session.walled, session.policy.rate_limit) == (False, "25M/50M")
        with pytest.raises(ApiRefusedError, match="changed since"):
            await site.ask("revert", change=again["id"])


async def test_disconnect_ends_the_session_and_cannot_be_taken_back(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        old, before = session_of(isp, service), await rows(isp, service.login)
        done = await site.do("disconnect", ref_of(service))
        assert (state_of(done)[0], done["exit"]) == ("applied", 0)
        await isp.nas_of(service.login).wait_for(lambda: bool(isp.sessions(service.login)))
        assert session_of(isp, service) is not old
        assert await rows(isp, service.login) == before
        with pytest.raises(ApiRefusedError, match="cannot be taken back"):
            await site.ask("revert", change=done["id"])


async def test_a_drifted_row_is_stale_and_nothing_is_sent(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service))
        await isp.database.execute(
            "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Session-Timeout', ':=', '3600')",
            (service.login,),
        )
        drifted = await rows(isp, service.login)
        done = await site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("stale", "drifted"), "stale: nothing sent", 3)
        assert await rows(isp, service.login) == drifted
        assert requests(isp, service.login) == []
        assert await reasons(site, service) == []


async def test_on_failure_revert_takes_back_what_was_applied(tmp_path: Path) -> None:
    async with at_work(tmp_path, within_s=(1, 1)) as (isp, site):
        good, bad = ordinary(isp, 2)
        before = [await rows(isp, s.login) for s in (good, bad)]
        isp.set_fault("nak:504", bad.login)
        asked = await site.ask("suspend", ref_of(good), ref_of(bad), on_failure="revert")
        done = await site.apply(asked)
        assert {s for s, _ in item_states(done).values()} == {"reverted"}
        assert (done["state"], done["exit"]) == ("reverted", 1)
        assert [await rows(isp, s.login) for s in (good, bad)] == before
        await isp.nas_of(good.login).wait_for(lambda: bool(isp.sessions(good.login)))
        assert not walled(isp, good)
        assert not walled(isp, bad)
        assert await reasons(site, good) == await reasons(site, bad) == []


async def test_hold_waits_for_apply(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(asked, "joseph")
        await trio.sleep(1.2)  # the worker looks once a second
        held = await site.show(asked)
        assert (held["state"], state_of(held)[0], held["exit"]) == ("approved", "planned", 0)
        assert not walled(isp, service)
        await site.call("POST", f"/v1/changes/{asked['id']}/apply", {})
        assert state_of(await site.wait_end(asked)) == ("applied", "garden")


async def test_watch_tells_everything_in_order_and_ends(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service))
        events: list[Json] = []

        async def follow() -> None:
            events.extend(await site.watch(asked))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await site.approve(asked, "joseph")
        *told, end = events
        assert end == {"end": True, "state": "done", "exit": 0}
        numbers = [e["seq"] for e in told]
        assert numbers == sorted(set(numbers))
        assert [(e["kind"], e["step"], e["what"]) for e in told] == [
            ("plan", 0, ""),
            ("approval", 0, ""),
            ("consumed", 0, ""),
            ("about-to", 1, "running"),
            ("step-outcome", 1, "applied"),
            ("about-to", 2, ""),
            ("step-outcome", 2, "applied"),
            ("item-state", 0, "applied"),
            ("change-finished", 0, ""),
        ]
        listed = await site.call("GET", f"/v1/audit?change={asked['id']}")
        assert listed == told


# --- a batch ----------------------------------------------------------------------------------------------------------

BATCH: Sequence[tuple[str, str, str, str]] = (
    # what happens,       state then,           its reason,            after the faults are cleared and a retry
    ("duplicate-replies", "applied", "garden", "applied"),
    ("slow:0.5", "applied", "garden", "applied"),
    ("reply-lost", "applied", "garden", "applied"),
    (
        "wrong-secret",
        "applied",
        "garden",
        "applied",
    ),  # the NAS' answer does not verify; the session is gone all the same
    ("no-redial", "set-at-next-login", "none-known", "set-at-next-login"),
    ("ack-without-effect", "set-not-enforced", "ack-without-effect", "applied"),
    ("nak:504", "set-not-enforced", "nak-504", "applied"),
    ("nak:501", "set-not-enforced", "nak-501", "applied"),
    ("silence", "set-not-enforced", "lost-timeout", "applied"),
    ("stale-session", "set-at-next-login", "none-known", "set-at-next-login"),  # its NAS denies it: a ghost
    ("paid meanwhile", "skipped", "not-required", "skipped"),
    ("paid before", "excluded", "paid", "excluded"),
    ("protected", "excluded", "protected", "excluded"),
    ("feeds others", "excluded", "protected", "excluded"),
    ("unmapped", "blocked", "no-such-login", "blocked"),
    ("offline", "set-at-next-login", "none-known", "set-at-next-login"),
    ("no billing data", "blocked", "no-billing-data", "blocked"),
    ("drifted", "stale", "drifted", "stale"),
)


def cast_roles(isp: Isp) -> tuple[list[LabService], dict[str, LabService]]:
    """Return the batch's forty in order, and who plays which part."""
    unmapped = next(s for s in isp.services if not s.mapped)
    offline = next(s for s in isp.services if not s.online)
    protected = next(s for s in isp.services if s.protected)
    special = {"unmapped": unmapped, "offline": offline, "protected": protected}
    crowd = [s for s in ordinary(isp, 38) if s not in special.values()]
    parts = [what for what, *_ in BATCH if what not in special]
    # The canary (the first five) is sound; those with a part come last.
    special |= dict(zip(parts, crowd[-len(parts) :], strict=True))
    healthy = crowd[: 40 - len(special)]
    return [*healthy, *special.values()], special


def bill_roles(isp: Isp, billing: Billing) -> None:
    _, parts = cast_roles(isp)
    billing.update(parts["feeds others"].subscriber, feeds="3")
    billing.pay(parts["paid before"].subscriber)
    billing.update(parts["no billing data"].subscriber, balance="", due="", paid_at="", as_of="")


@pytest.mark.slow
async def test_a_batch_of_forty(tmp_path: Path) -> None:
    options = {"within_s": (3, 5), "policy": {"canary": 5}}
    async with at_work(tmp_path, isp={"services": 48}, bill=bill_roles, **options) as (isp, site):
        forty, parts = cast_roles(isp)
        asked = await site.ask("suspend", *map(ref_of, forty), on_failure="continue")
        assert (len(asked["items"]), asked["class"]) == (40, "batch")
        (first,) = await site.approve(asked, "joseph")
        assert (first["gate"], first["have"], first["need"]) == ("open", 1, 2)
        await spoil(isp, site, parts)

        done = await site.apply(asked, "lena")
        expected = {s: ("applied", "garden") for s in forty if s not in parts.values()}
        expected |= {parts[what]: (state, reason) for what, state, reason, _ in BATCH}
        assert item_states(done) == {ref_of(s): outcome for s, outcome in expected.items()}
        assert (done["state"], done["exit"]) == ("finished, needs you", 4)
        assert all(walled(isp, s) for s, (state, _) in expected.items() if state == "applied")
        assert not isp.sessions(parts["no-redial"].login)
        assert not walled(isp, parts["paid meanwhile"])
        assert requests(isp, parts["paid meanwhile"].login) == []
        assert requests(isp, parts["drifted"].login) == []

        isp.clear_faults()
        await site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        again = item_states(await site.wait_end(done))
        assert {what: again[ref_of(parts[what])][0] for what, *_ in BATCH} == {what: then for what, _, _, then in BATCH}
        assert all(walled(isp, parts[w]) for w in ("ack-without-effect", "nak:504", "nak:501", "silence"))
        assert not isp.sessions(parts["stale-session"].login)


async def spoil(isp: Isp, site: Site, parts: dict[str, LabService]) -> None:
    """Let happen, between approval and start, what the table says."""
    for what, service in parts.items():
        if what.split(":")[0] in FAULTS:
            isp.set_fault(what, service.login)
    site.files.billing.pay(parts["paid meanwhile"].subscriber)
    await isp.database.execute(
        "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Class', ':=', 'x')",
        (parts["drifted"].login,),
    )


FAULTS = frozenset(kind.value for kind in FaultKind)


async def test_a_login_that_another_took_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        before, old = await rows(isp, service.login), session_of(isp, service)
        suspend = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(suspend, "joseph")
        header = site.files.billing.text().splitlines()[0]
        taker = {"subscriber": "C-99999", "name": "Zawadi", "service": "home", "login": service.login}
        taker |= {"method": "pppoe", "tariff": service.tariff.name, "feeds": "0"}
        line = ",".join(taker.get(name, "") for name in header.split(","))
        body = {"csv": b64(f"{header}\n{line}\n".encode()), "dry_run": False}
        imported = await site.call("POST", "/v1/subscribers/import", body)
        edit = await site.show(imported["change"])
        assert (await site.apply(edit))["state"] == "done"
        await site.call("POST", f"/v1/changes/{suspend['id']}/apply", {})
        ended = await site.wait_end(suspend)
        assert state_of(ended) == ("skipped", "not-required")
        assert ended["items"][0]["detail"] == "its login is also that of C-99999/home now: whose it is, nobody can say"
        assert await rows(isp, service.login) == before
        assert session_of(isp, service) is old
