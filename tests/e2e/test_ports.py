"""Ports of a switch through the whole agent: asked for, previewed, approved, done, taken back; and kills in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from lab.snmp.answers import Asked
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.links import IF_ADMIN, IF_ALIAS
from lab.snmp.messages import Kind, Pdu
from lab.snmp.network import CORE, TOWERS, build_network
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.values import Value
from tests.builders.people import plan_of
from tests.e2e.files import make_files
from tests.e2e.ports_site import CUSTOMERS, WITHIN_S, Ground, all_read, configuration, result, row_of, step_text
from tests.e2e.site import AgentProgram, ApiRefusedError, Office, open_site
from tests.marks import slow_unless


@asynccontextmanager
async def ground(
    folder: Path, *, roots: str = f'roots = ["{CORE}"]\n', write: str = 'write_credential = "write"\n'
) -> AsyncIterator[Ground]:
    network = build_network(CUSTOMERS)
    for device in network.devices:
        device.community, device.write_community = "look", "touch"
    async with open_snmp_lab(network.devices, layout=Layout.ADDRESSES) as lab:
        secrets = {"snmp/read": "look", "snmp/write": "touch"}
        files = make_files(folder, configuration(lab, roots, write), [], secrets)
        files.billing.rows.update({f"C-{c.login}/home": row_of(c.login, c.mac.upper()) for c in CUSTOMERS})
        files.billing.write()
        yield Ground(network, files)


async def test_devices_are_read_as_soon_as_their_secret_is_set(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files, install=False) as site:
        with trio.fail_after(WITHIN_S):
            while {one["state"] for one in await site.call("GET", "/v1/devices")} != {"refused"}:  # noqa: ASYNC110  as above
                await trio.sleep(0.05)
        await site.install()
        await all_read(site)


@pytest.mark.assumed("snmp-off-port-has-cable")
async def test_a_port_is_switched_off_described_and_put_back(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        said = await net.files.type("port", "down", CORE, f"0/{net.house}", "--hold")
        told = " ".join(said.out.split())
        assert said.code == 0, said.err
        assert f"~ snmp/{CORE}/if/0-{net.house}/admin admin down (was: up)" in told
        assert "1 subscriber hangs on it and is cut off: C-customer4/home" in told
        assert "not checked" not in told
        assert "a restart of the device may undo it" in told
        assert " LOW · " in told
        assert net.admin == 1
        (listed,) = await site.call("GET", "/v1/changes")
        asked = await site.show(listed["id"])
        await site.approve(asked, "joseph")
        assert net.admin == 1
        await site.call("POST", f"/v1/changes/{asked['id']}/apply", {})
        done = await site.wait_end(asked)
        assert result(done)[0] == "applied", done
        assert step_text(done) == "applied read-back ifOperStatus reads down"
        assert net.admin == 2

        back = await site.ask("revert", change=done["plan_id"])
        assert back["class"] == "low"
        assert result(await site.apply(back))[0] == "applied"
        assert net.admin == 1

        described = await site.do("port-set", net.port, settings={"alias": "Amina, 7 Hill Road"})
        assert (described["class"], result(described)[0]) == ("low", "applied")
        assert net.alias == "Amina, 7 Hill Road"
        again = await site.do("revert", change=described["plan_id"])
        assert (result(again)[0], net.alias) == ("applied", "customer4")
        with pytest.raises(ApiRefusedError, match="nothing of the change stands on it"):
            await site.ask("revert", change=described["plan_id"])


@pytest.mark.slow
async def test_uplinks_are_refused_and_the_unknown_is_stricter(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        down = {"settings": {"admin": "down"}}
        with pytest.raises(ApiRefusedError, match=r"the agent's own way leads over it: 02:4c:ff:ff:00:01"):
            await site.ask("port-set", f"{CORE}/0/48", **down)
        with pytest.raises(ApiRefusedError, match="core-1 is at its other end"):
            await site.ask("port-set", f"{TOWERS[0]}/eth0", **down)
        with pytest.raises(ApiRefusedError, match="there is no port 0/99"):
            await site.ask("port-set", f"{CORE}/0/99", **down)
        with pytest.raises(ApiRefusedError, match="no device called core-9 with ports to change"):
            await site.ask("port-set", "core-9/0/1", **down)
        with pytest.raises(ApiRefusedError, match="it already reads so"):
            await site.ask("port-set", net.port, settings={"admin": "up"})
        behind = await site.ask("port-power-cycle", f"{CORE}/0/1")
        assert behind["class"] == "config"
        assert "behind it: tower-1" in behind["documents"][1]
        unknown = await site.ask("port-set", f"{TOWERS[1]}/wlan1", **down)
        assert unknown["class"] == "unguarded"
        assert "not checked: the agent's own way" in unknown["documents"][1]
        named = await site.ask("port-set", f"{CORE}/0/1", settings={"alias": "to the tower"})
        assert named["class"] == "low"
        up = await site.ask("port-set", f"{TOWERS[0]}/eth0", settings={"alias": "to the switch"})
        assert up["class"] == "config"
        assert net.admin == 1

        # a port that becomes an uplink after the preview is left alone
        late = await site.ask("port-set", net.port, **down)
        net.core.put(f"{IF_ALIAS}.{net.house}", Value(4, b"x"))
        net.core.put("1.3.6.1.2.1.17.7.1.2.2.1.2.1.2.76.255.255.0.1", Value(2, bytes([net.house])))
        done = await site.apply(late)
        assert result(done)[:2] == ("stale", "stale"), done["items"]
        assert net.admin == 1


async def test_a_device_without_a_write_credential_is_only_read(tmp_path: Path) -> None:
    async with ground(tmp_path, write="") as net, open_site(net.files) as site:
        with pytest.raises(ApiRefusedError, match="no write_credential is configured for it: it is only read"):
            await site.ask("port-set", net.port, settings={"admin": "down"})


async def test_a_power_cycle_cuts_and_comes_back(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        said = await net.files.type("port", "power-cycle", CORE, f"0/{net.house}", "--off", "1")
        told = " ".join(said.out.split())
        assert "! power-cycle snmp/core-1/if/0-5/power-cycle" in told
        assert "irreversible" in told
        assert "UNDO cannot be undone" in told
        seen: list[int] = []
        watch_power(net.core, lambda value: seen.append(value))
        (listed,) = await site.call("GET", "/v1/changes")
        done = await site.apply(await site.show(listed["id"]))
        assert result(done)[0] == "applied", done
        assert "seen off, then on again: deliveringPower" in step_text(done)
        assert seen == [2, 1]
        assert net.power == 1
        with pytest.raises(ApiRefusedError, match="cannot be taken back"):
            await site.ask("revert", change=done["plan_id"])


def watch_power(device: Device, told: Callable[[int], None]) -> None:
    """Call `told` with each number that is written to the power of a port, once it is."""
    column = device.writable[POE_ADMIN]

    def wrote(index: str, value: Value, now: float) -> None:
        column.wrote(index, value, now)
        told(value.number())

    device.writable = {**device.writable, POE_ADMIN: replace(column, wrote=wrote)}


@pytest.mark.parametrize("stop", slow_unless(lambda word: word == "cancel", ["cancel", "freeze"]))
async def test_a_stop_in_between_ends_a_cycle_with_power_on(tmp_path: Path, stop: str) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        asked = await site.ask("port-power-cycle", net.port, settings={"off-s": "1"})
        off = trio.Event()
        watch_power(net.core, lambda value: off.set() if value == 2 else None)
        await site.approve(asked, "joseph")
        with trio.move_on_after(WITHIN_S):
            await off.wait()
        assert off.is_set(), await site.show(asked)
        people = site.people
        await site.hand_in(people.cancel(plan_of(asked), "lena") if stop == "cancel" else people.freeze("lena"))
        done = await site.wait_end(asked)
        assert (result(done)[0], net.power) == ("applied", 1), done


def kill_at(net: Ground, instant: str, kill: Callable[[], None]) -> list[int]:
    """Call `kill` once, at an instant of a cycle; return the list to which each number that is written is added."""
    seen: list[int] = []
    answer, done = net.core.answer, False

    def told(value: int) -> None:
        nonlocal done
        seen.append(value)
        if not done and value == {"off": 2, "on": 1}.get(instant):
            done = True
            kill()

    def lost(pdu: Pdu, asked: Asked) -> bytes | None:
        nonlocal done
        if pdu.kind == Kind.SET and instant == "command lost" and not done:
            done = True
            kill()
            return None
        return answer(pdu, asked)

    watch_power(net.core, told)
    net.core.answer = lost  # type: ignore[method-assign]  # of this device alone
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(("instant", "power"), [("command lost", 1), ("off", 2), ("on", 1)])
async def test_an_agent_killed_in_a_power_cycle_leaves_the_power_on(tmp_path: Path, instant: str, power: int) -> None:
    """It is killed at the instant that a SET is lost on the way, that the power goes off, or on again."""
    async with ground(tmp_path) as net:
        office, programs = Office(net.files), [AgentProgram(net.files)]
        try:
            await trio.to_thread.run_sync(programs[0].wait_ready)
            await office.install()
            await all_read(office)
            asked = await office.ask("port-power-cycle", net.port, settings={"off-s": "2"})
            assert asked["class"] == "low", asked
            seen = kill_at(net, instant, programs[0].kill)
            await office.approve(asked, "joseph")
            with trio.fail_after(WITHIN_S):
                while not programs[0].ended:  # noqa: ASYNC110  a process ends by itself
                    await trio.sleep(0.02)
            assert net.power == power
            programs.append(AgentProgram(net.files))
            await trio.to_thread.run_sync(programs[1].wait_ready)
            done = await office.wait_end(asked)
            assert net.power == 1
            assert result(done)[0] == "applied", done
            assert seen.count(2) == 1, "nobody is without power twice"
        finally:
            for one in programs:
                one.stop()


@pytest.mark.slow
async def test_a_port_switched_off_before_a_kill_is_only_read(tmp_path: Path) -> None:
    async with ground(tmp_path) as net:
        office, programs = Office(net.files), [AgentProgram(net.files)]
        try:
            await trio.to_thread.run_sync(programs[0].wait_ready)
            await office.install()
            await all_read(office)
            asked = await office.ask("port-set", net.port, settings={"admin": "down"})
            written: list[int] = []
            column = net.core.writable[IF_ADMIN]

            def wrote(index: str, value: Value, now: float) -> None:
                column.wrote(index, value, now)
                written.append(value.number())
                programs[0].kill()

            net.core.writable = {**net.core.writable, IF_ADMIN: replace(column, wrote=wrote)}
            await office.approve(asked, "joseph")
            with trio.fail_after(WITHIN_S):
                while not programs[0].ended:  # noqa: ASYNC110  a process ends by itself
                    await trio.sleep(0.02)
            programs.append(AgentProgram(net.files))
            await trio.to_thread.run_sync(programs[1].wait_ready)
            done = await office.wait_end(asked)
            assert (result(done)[0], written, net.admin) == ("applied", [2], 2), done
        finally:
            for one in programs:
                one.stop()


@pytest.mark.slow
async def test_what_silence_kept_is_asked_for_again_not_retried(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        asked = await site.ask("port-set", net.port, f"{CORE}/0/1", settings={"alias": "Amina"})
        net.core.faults.set_dropped = True
        lost = await site.apply(asked)
        assert {item["state"] for item in lost["items"]} == {"not-applied"}, lost
        assert (net.alias, lost["state"]) == ("customer4", "nothing changed")

        again = f"ispagent change again {lost['id']}"
        said = await net.files.type("change", "retry", lost["id"])
        assert (said.code, again in " ".join(said.err.split())) == (3, True), said
        assert again in (await net.files.type("change", "show", lost["id"])).out

        net.core.faults.set_dropped = False
        said = await net.files.type("change", "again", lost["id"], "--hold")
        told = " ".join(said.out.split())
        assert said.code == 0, said
        assert "PORT-SET 2 asked: 2 WOULD CHANGE" in told
        assert f"again 2 of 2 of {lost['id']}" in told
        plan = next(one for one in await site.call("GET", "/v1/changes") if one["id"] != lost["id"])
        await site.approve(await site.show(plan), "joseph")
        await site.call("POST", f"/v1/changes/{plan['id']}/apply", {})
        done = await site.wait_end(plan)
        assert ({item["state"] for item in done["items"]}, net.alias) == ({"applied"}, "Amina"), done
        old = await site.show(lost)
        assert (old["state"], set(old["done_again"].values())) == ("done", {done["id"]})
        with pytest.raises(ApiRefusedError, match="has no rest: nothing of it is stale"):
            await site.ask("port-set", change=done["id"])
        back = await site.do("revert", change=done["plan_id"])
        assert {item["state"] for item in back["items"]} == {"applied"}
        assert set((await site.show(done))["reverted_by"].values()) == {back["id"]}


async def test_the_rest_of_a_power_cycle_is_as_long(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        asked = await site.ask("port-power-cycle", net.port, settings={"off-s": "2"})
        await site.hand_in(site.people.cancel(plan_of(asked), "lena"))
        with pytest.raises(ApiRefusedError, match="is asked as it was, without off-s"):
            await site.ask("port-power-cycle", change=asked["id"], settings={"off-s": "9"})
        with pytest.raises(ApiRefusedError, match="expected the rest of a port-set, it is a port-power-cycle"):
            await site.ask("port-set", change=asked["id"])
        again = await site.ask("port-power-cycle", change=asked["id"])
        assert "off-s" in again["documents"][1]
        done = await site.apply(again)
        assert (result(done)[0], net.power) == ("applied", 1), done


@pytest.mark.slow
async def test_secrets_for_writing_are_in_no_log_and_no_table(tmp_path: Path) -> None:
    async with ground(tmp_path) as net:
        secret = "an-unusual-community"
        net.core.write_community = secret
        net.files.secrets["snmp/write"] = secret
        async with open_site(net.files) as site:
            await all_read(site)
            net.core.faults.set_dropped = True
            done = await site.do("port-set", net.port, settings={"alias": "x"})
            assert result(done)[0] in ("not-applied", "applied"), done
            assert secret not in str(done)
            assert secret not in str(await site.call("GET", f"/v1/changes/{done['id']}"))
        held = [path.read_bytes() for path in net.files.folder.rglob("*") if path.is_file()]
        assert not [data for data in held if secret.encode() in data]


_WAY_HERE = "1.3.6.1.2.1.17.7.1.2.2.1.2.1.2.76.255.255.0.1"
"""Where the core switch has learned the agent's way."""


async def test_a_lost_set_is_not_repeated_on_the_agents_own_way(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        asked = await site.ask("port-set", net.port, settings={"admin": "down"})
        lose_first_set(net, lambda: net.core.put(_WAY_HERE, Value(2, bytes([net.house]))))
        done = await site.apply(asked)
        assert net.admin == 1, done
        assert result(done)[:2] == ("not-applied", "stale"), done


def lose_first_set(net: Ground, then: Callable[[], None]) -> None:
    """Lose the next SET on its way, and call `then`."""
    answer = net.core.answer

    def lost(pdu: Pdu, asked: Asked) -> bytes | None:
        if pdu.kind != Kind.SET:
            return answer(pdu, asked)
        net.core.answer = answer  # type: ignore[method-assign]  # of this device alone
        then()
        return None

    net.core.answer = lost  # type: ignore[method-assign]  # as above


async def test_a_revert_does_not_undo_what_another_change_did_again(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        first, on, again = [
            await site.do("port-set", net.port, settings={"admin": word}) for word in ("down", "up", "down")
        ]
        assert [result(one)[0] for one in (first, on, again)] == ["applied"] * 3
        with pytest.raises(ApiRefusedError, match=f"change {again['id']} set it since"):
            await site.ask("revert", change=first["plan_id"])
        back = await site.do("revert", change=again["plan_id"])
        assert (result(back)[0], net.admin) == ("applied", 1)


async def test_a_revert_that_waited_leaves_what_was_done_again(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        first = await site.do("port-set", net.port, settings={"admin": "down"})
        back = await site.ask("revert", change=first["plan_id"])
        for word in ("up", "down"):
            again = await site.do("port-set", net.port, settings={"admin": word})
        done = await site.apply(back)
        assert (*result(done)[:2], net.admin) == ("stale", "stale", 2), done
        assert f"change {again['id']} set it since" in result(done)[2]


async def test_a_change_that_was_taken_back_does_not_count_as_since(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        first = await site.do("port-set", net.port, settings={"alias": "Amina"})
        second = await site.do("port-set", net.port, settings={"alias": "Brian"})
        await site.do("revert", change=second["plan_id"])
        assert net.alias == "Amina"
        back = await site.do("revert", change=first["plan_id"])
        assert (result(back)[0], net.alias) == ("applied", "customer4")


async def test_a_port_of_another_device_is_not_switched_on_again(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        done = await site.do("port-set", net.port, settings={"admin": "down"})
        net.core.put("1.3.6.1.2.1.17.1.1.0", Value(4, bytes.fromhex("024cee000099")))  # it was replaced
        with pytest.raises(ApiRefusedError, match="another device is there since"):
            await site.ask("revert", change=done["plan_id"])
        assert net.admin == 2


async def test_switching_on_declares_no_revert_that_would_cut(tmp_path: Path) -> None:
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        await site.do("port-set", net.port, settings={"admin": "down"})
        with pytest.raises(ApiRefusedError, match="to take it back would cut"):
            await site.ask("port-set", net.port, settings={"admin": "up"}, on_failure="revert")


@pytest.mark.parametrize("what", slow_unless(lambda what: what == "replaced", ["replaced", "silent"]))
async def test_a_declared_revert_is_for_the_device_of_the_change(tmp_path: Path, what: str) -> None:
    """One port is described; the SET of the next is refused, and then the switch is another, or silent for a while."""
    async with ground(tmp_path) as net, open_site(net.files) as site:
        await all_read(site)
        other = f"{CORE}/0/{net.house - 1}"
        asked = await site.ask("port-set", net.port, other, settings={"alias": "batch"}, on_failure="revert")
        written: list[int] = []
        silent_until = 0.0
        column, answer, query = net.core.writable[IF_ALIAS], net.core.answer, site.daemon.api.parts.store.query

        def wrote(index: str, value: Value, now: float) -> None:
            column.wrote(index, value, now)
            written.append(int(index))

        def then(pdu: Pdu, asked: Asked) -> bytes | None:
            nonlocal silent_until
            failed = bool(query("SELECT 1 FROM item WHERE state = 'not-applied'", ()))
            if failed and what == "replaced":
                net.core.put("1.3.6.1.2.1.17.1.1.0", Value(4, bytes.fromhex("024cee000099")))
            elif failed:
                silent_until = silent_until or trio.current_time() + 15.0  # longer than one read of it is tried
            net.core.faults.set_error = 17 if pdu.kind == Kind.SET and written and not failed else 0
            return None if trio.current_time() < silent_until else answer(pdu, asked)

        net.core.writable = {**net.core.writable, IF_ALIAS: replace(column, wrote=wrote)}
        net.core.answer = then  # type: ignore[method-assign]  # of this device alone
        done = await site.apply(asked)
        assert len(written) == (1 if what == "replaced" else 2), done
        states = {item["state"]: item["reason"] for item in done["items"]}
        ended = {"needs-a-person": "revert-stale"} if what == "replaced" else {"reverted": "reverted"}
        assert states == {**ended, "not-applied": "set-refused-notWritable"}, done
