"""Changes of DHCP leases on two routers: what is written holds at once on one, and at the next renewal on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.reasons import DriftReason
from tests.e2e.files import HURRIED
from tests.e2e.router_site import ELSEWHERE, LEASES, LOGIN, BlockedLeases, Leases, mac, ref, running
from tests.e2e.site import ApiRefusedError, by_subject, items_of, one_round, state_of


@pytest.mark.assumed("routeros-lease-applies")
async def test_what_holds_only_at_renewal_is_not_said_to_hold_before(tmp_path: Path) -> None:
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        done = await net.site.do("suspend", ref(ELSEWHERE))
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert "is not in list suspended yet: its lease runs out in 9m" in done["items"][0]["detail"]
        assert net.gets_out(ELSEWHERE)

        net.renews(ELSEWHERE)
        again = await net.site.ask("restore", ref(ELSEWHERE))
        assert not net.router(ELSEWHERE).gets_out(mac(ELSEWHERE)).out
        done = await net.site.apply(again)
        # It has paid, and is in the garden until it renews: that is said
        assert state_of(done) == ("set-not-enforced", "garden")
        net.renews(ELSEWHERE)
        assert net.gets_out(ELSEWHERE)


@pytest.mark.assumed("routeros-lease-applies")
async def test_a_renewal_in_time_is_waited_for(tmp_path: Path) -> None:
    """Also where no connection was open, so that nothing was there to be cut."""
    async with running(tmp_path, Leases) as net:
        router = net.router(ELSEWHERE)
        router.flows.close(net.client(ELSEWHERE).flows[0])
        asked = await net.site.ask("suspend", ref(ELSEWHERE))
        router.faults.inject("drift", match="/ip/firewall/address-list/print", drift=lambda _: net.renews(ELSEWHERE))
        done = await net.site.apply(asked)
        assert (state_of(done), net.kept_in(ELSEWHERE)) == (("applied", "seen"), True)


@pytest.mark.assumed("routeros-connections-outlive-sessions", "routeros-lease-applies")
async def test_a_retry_cuts_what_came_between_the_cut_and_the_renewal(tmp_path: Path) -> None:
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        router, client = net.router(ELSEWHERE), net.client(ELSEWHERE)
        done = await net.site.do("suspend", ref(ELSEWHERE))
        line = router.dhcp.line(client.mac)
        assert line is not None
        router.flows.go_on(client.flows, line, client.address)  # FastTrack carries it, past the list
        net.renews(ELSEWHERE)
        verdict = router.gets_out(client.mac)
        assert (verdict.out, verdict.lingers) == (False, True)
        assert state_of(await net.site.show(done))[0] == "set-not-enforced"

        await net.site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        assert state_of(await net.site.wait_end(done)) == ("applied", "seen")
        assert net.kept_in(ELSEWHERE)


async def test_a_change_of_tariff_is_what_the_client_gets(tmp_path: Path) -> None:
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        for who in (LOGIN, ELSEWHERE):
            net.router(who).flows.close(net.client(who).flows[0])  # FastTrack would take it by the queue
        done = await net.site.do("set-plan", ref(LOGIN), tariff="Home 50M")
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.router(LOGIN).speed_of(mac(LOGIN)) == (50_000_000, 50_000_000)
        done = await net.site.do("set-plan", ref(ELSEWHERE), tariff="Home 50M")
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert net.router(ELSEWHERE).speed_of(mac(ELSEWHERE)) == (20_000_000, 20_000_000)


async def test_blocking_holds_when_the_lease_runs_out(tmp_path: Path) -> None:
    async with running(tmp_path, BlockedLeases, waits=HURRIED) as net:
        before = net.row(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done)[0] == "set-not-enforced"
        assert "keeps 10.1.0.50 meanwhile" in done["items"][0]["detail"]
        assert net.gets_out(LOGIN)
        assert net.row(LOGIN)["block-access"] == "true"

        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), net.row(LOGIN)) == (("applied", "seen"), before)

        client, plug_in = net.client(LOGIN), net.unplug(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done) == ("applied", "inferred")
        plug_in()
        assert (client.refused, net.kept_in(LOGIN)) == ("the lease is blocked", True)


@pytest.mark.slow
async def test_a_lease_that_is_not_bound_has_nothing_to_end(tmp_path: Path) -> None:
    async with running(tmp_path, Leases) as net:
        net.unplug(LOGIN)
        with pytest.raises(ApiRefusedError, match="there is nothing to end: it is not online"):
            await net.site.ask("disconnect", ref(LOGIN))


@pytest.mark.assumed("routeros-lease-applies")
@pytest.mark.slow
async def test_drift_advises_no_disconnect_where_a_client_must_renew(tmp_path: Path) -> None:
    """Its connections may be cut again and again, and its lease gives what it gave."""
    async with running(tmp_path, Leases) as net:
        await net.site.do("suspend", ref(ELSEWHERE))
        (one,) = (await one_round(net.site))["differences"]
        assert (one["subject"], one["code"], one["asks"]) == (ref(ELSEWHERE), DriftReason.SESSION_AT_LARGE, [])
        assert "nobody can end it: its lease runs out in 9m" in one["known"]
        net.renews(ELSEWHERE)
        assert by_subject(await one_round(net.site)) == {}


@pytest.mark.assumed("routeros-lease-last-seen")
async def test_a_client_of_a_lease_made_again_is_not_offline(tmp_path: Path) -> None:
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        router = net.router(LOGIN)
        table = router.store.table(LEASES)
        row = next(row for row in table if row.props["mac-address"] == net.client(LOGIN).mac)
        again = {name.replace("-", "_"): text for name, text in row.props.items()}
        router.store.remove(LEASES, row)
        router.add(LEASES, **again)
        assert net.gets_out(LOGIN)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done) == ("set-not-enforced", "not-proven")
        assert "edge-1 has not seen its client since the lease was made" in done["items"][0]["detail"]
        router.dhcp.ask(net.client(LOGIN))  # it renews
        assert net.kept_in(LOGIN)
        done = await net.site.wait_for(done, lambda change: change["items"][0]["state"] == "applied")
        assert state_of(done) == ("applied", "seen")


async def test_a_client_with_another_lease_is_not_offline(tmp_path: Path) -> None:
    """Staff made a second lease by its client identifier: that one tells no MAC but its client's."""
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        router, client = net.router(LOGIN), net.client(LOGIN)
        (lease,) = [row for row in router.rows(LEASES) if row["mac-address"] == client.mac]
        router.set(LEASES, lease[".id"], server="all")
        router.add(LEASES, client_id=client.client_id, address="10.1.0.60", server="d1", rate_limit="20M/20M")
        net.renews(LOGIN)
        assert (client.address, net.gets_out(LOGIN)) == ("10.1.0.60", True)
        done = await net.site.do("suspend", ref(LOGIN))
        assert net.gets_out(LOGIN)
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert f"there are 2 leases of {client.mac} now" in done["items"][0]["detail"]


@pytest.mark.parametrize("pool", ["lan", "static-only"])
@pytest.mark.assumed("routeros-lease-disabled")
async def test_a_disabled_lease_rejects_by_its_server(tmp_path: Path, pool: str) -> None:
    async with running(tmp_path, Leases, waits=HURRIED) as net:
        router = net.router(LOGIN)
        router.set("/ip/dhcp-server", "d1", address_pool=pool)
        await net.site.do("suspend", ref(LOGIN))
        (lease,) = [row for row in router.rows(LEASES) if row["mac-address"] == mac(LOGIN)]
        router.set(LEASES, lease[".id"], disabled="yes")
        done = await net.site.do("restore", ref(LOGIN))
        (item,) = items_of(done)
        net.renews(LOGIN)
        if pool == "static-only":
            assert "login is rejected today: its lease is disabled" in item.display["now"]
            assert state_of(done) == ("applied", "stays-rejected")
            assert not net.online(LOGIN)
        else:
            assert "rejected" not in f"{item.display}"
            assert state_of(done) == ("set-not-enforced", "not-in-effect")
            assert "DHCP server d1 gives its client another address, of pool lan" in done["items"][0]["detail"]
            assert net.gets_out(LOGIN)
