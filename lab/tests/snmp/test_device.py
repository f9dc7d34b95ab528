"""Links, counters, uptime, reboots and SET, as Net-SNMP's programs and a test's clock see them."""

from __future__ import annotations

import pytest

from lab.snmp import values
from lab.snmp.device import ENGINE_BOOTS, ENGINE_TIME, SYS_UPTIME, Device
from lab.snmp.errors import NoSuchPartError, SnmpValueError
from lab.snmp.messages import Kind, Status
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.usm import User
from lab.tests.snmp import netsnmp
from lab.tests.snmp.devices import IF, IFX, LAST, POE, SYS, TestClock, answer, binds, datagrams, request, switch
from lab.tests.snmp.netsnmp import V3_AUTH, V3_PRIV, V3_WRITE, ask, read


def number(device: Device, oid: str) -> int:
    value = device.get(oid)
    assert value is not None
    return value.number()


# --- motion ----------------------------------------------------------------------------------------------------------


def test_nothing_moves_until_it_is_told_to():
    clock = TestClock()
    device = switch(clock=clock)
    before = [(oid, device.mib.value(oid, clock())) for oid in device.mib.below(b"\x2b")]
    clock.now += 3600
    assert before == [(oid, device.mib.value(oid, clock())) for oid in device.mib.below(b"\x2b")]


def test_counters_grow_by_a_rate_and_stand_on_a_down_link():
    clock = TestClock()
    device = switch(clock=clock)
    device.move(rate_bps=8000)
    clock.now += 10
    assert (number(device, f"{IF}.10.1"), number(device, f"{IFX}.6.1")) == (11_000, 11_000)
    assert number(device, SYS_UPTIME) == 1100
    device.set_link("ge-1", up=False)
    clock.now += 10
    assert number(device, f"{IF}.10.1") == 11_000
    device.set_link(1, up=True)
    clock.now += 1
    assert number(device, f"{IF}.10.1") == 12_000
    device.set_rate("port 1", 80_000)
    clock.now += 1
    assert number(device, f"{IF}.10.1") == 22_000
    assert number(device, f"{IF}.14.1") == 5


def test_a_link_that_goes_down_says_since_when():
    clock = TestClock()
    device = switch(clock=clock)
    device.move()
    clock.now += 60
    device.set_link("ge-2", up=False, down=7)
    clock.now += 60
    assert (number(device, f"{IF}.8.2"), number(device, f"{IF}.9.2")) == (7, 6100)
    assert (number(device, f"{IF}.7.2"), number(device, f"{IF}.8.1")) == (1, 1)
    with pytest.raises(NoSuchPartError, match="ge-9"):
        device.set_link("ge-9", up=False)


def test_narrow_counters_wrap_and_wide_ones_go_on():
    clock = TestClock()
    device = switch(clock=clock)
    device.move(rate_bps=8e6)
    device.wrap_counters("ge-1", within_s=2)
    wide = number(device, f"{IFX}.6.1")
    assert number(device, f"{IF}.10.1") == 2**32 - 1 - 2_000_000
    clock.now += 3
    assert number(device, f"{IF}.10.1") == 999_999
    assert number(device, f"{IFX}.6.1") == wide + 3_000_000
    device.reset_counters("ge-1")
    assert [number(device, oid) for oid in (f"{IF}.10.1", f"{IF}.14.1", f"{IFX}.6.1")] == [0, 0, 0]
    assert number(device, f"{IF}.14.2") == 5


def test_a_value_fades_and_a_counter_of_any_kind_grows():
    clock = TestClock()
    device = switch(clock=clock)
    device.put("1.3.6.1.4.1.1.1.0", values.integer(-50))
    device.put("1.3.6.1.4.1.1.2.0", values.counter32(7))
    device.fade("1.3.6.1.4.1.1.1.0", -80, over_s=60)
    device.set_counter("1.3.6.1.4.1.1.2.0", rate_per_s=0.5)
    seen = []
    for _ in range(4):
        seen.append((number(device, "1.3.6.1.4.1.1.1.0"), number(device, "1.3.6.1.4.1.1.2.0")))
        clock.now += 30
    assert seen == [(-50, 7), (-65, 22), (-80, 37), (-80, 52)]
    for move in (lambda: device.fade("1.3.9", 0, 1), lambda: device.set_counter("1.3.9", 1)):
        with pytest.raises(SnmpValueError, match=r"1\.3\.9"):
            move()


# --- life ------------------------------------------------------------------------------------------------------------


def test_a_reboot_starts_uptime_and_counters_again():
    clock = TestClock()
    device = switch(clock=clock)
    device.move()
    told = []
    device.notify.append(lambda oid, values: told.append(oid))
    clock.now += 1000
    boots = number(device, ENGINE_BOOTS)
    device.reboot(takes_s=30)
    assert not device.reachable()
    clock.now += 31
    device.run_due()
    assert device.reachable()
    assert told == ["1.3.6.1.6.3.1.1.5.1"]
    assert (number(device, SYS_UPTIME), number(device, ENGINE_TIME), number(device, ENGINE_BOOTS)) == (
        100,
        1,
        boots + 1,
    )
    assert number(device, f"{IF}.10.1") == 125_000


def test_what_hangs_on_an_upstream_goes_dark_with_it():
    clock = TestClock()
    core, tower, radio = (switch(name, clock=clock) for name in ("core", "tower", "radio"))
    radio.upstream, tower.upstream = tower, core
    core.reboot(takes_s=60)
    assert [d.reachable() for d in (core, tower, radio)] == [False] * 3
    clock.now += 60
    assert [d.reachable() for d in (core, tower, radio)] == [True] * 3
    tower.stay_dark(10)
    assert [d.reachable() for d in (core, tower, radio)] == [True, False, False]
    tower.stay_dark(0)
    assert radio.reachable()


async def test_v3_finds_a_rebooted_and_a_replaced_device_again():
    device = switch()
    async with open_snmp_lab([device], layout=Layout.PORTS) as lab:
        for change in (lambda: None, device.reboot, device.change_engine_id):
            change()
            got = read(await ask("snmpget", V3_PRIV, lab.where("sw-1"), f"{SYS}.5.0"))
            assert list(got) == [f"{SYS}.5.0"]


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        ([*V3_PRIV[:-1], "wrongprivpass"], b"Decryption error"),
        ([*V3_AUTH[:-1], "wrongauthpass"], b"Authentication failure"),
        (["-v3", "-l", "noAuthNoPriv", "-u", "nobody"], b"Unknown user name"),
        (["-v3", "-l", "noAuthNoPriv", "-u", "labauth"], b"authorizationError"),
        ([*V3_PRIV[:2], "authNoPriv", *V3_PRIV[3:9]], b"authorizationError"),
        ([*V3_PRIV[:4], "labauth", "-a", "SHA-512", *V3_PRIV[7:]], b"Unsupported security level"),
        ([*V3_PRIV, "-n", "elsewhere"], b"Bad context specified"),
    ],
)
async def test_what_v3_refuses(secret, error):
    async with open_snmp_lab([switch()]) as lab:
        context = [] if "elsewhere" in secret else ["-n", "sw-1"]
        done = await netsnmp.run("snmpget", *secret, *context, "-t20", "-r0", f"127.0.0.1:{lab.port}", f"{SYS}.5.0")
    assert error in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("auth", "priv"),
    [
        ("MD5", "AES-128"),
        ("SHA", "AES-256"),
        ("SHA-224", "AES-192"),
        ("SHA-384", "AES-256"),
        ("SHA-512", "AES-192"),
    ],
)
async def test_each_kind_of_user(auth, priv):
    user = User("noc", auth, "authpass12345", priv, "privpass12345")
    secret = ["-v3", "-l", "authPriv", "-u", "noc", "-a", auth, "-A", user.auth_password]
    async with open_snmp_lab([switch()], layout=Layout.PORTS, users=[user]) as lab:
        printed = await ask("snmpget", [*secret, "-x", priv, "-X", user.priv_password], lab.where("sw-1"), f"{SYS}.5.0")
    assert list(read(printed)) == [f"{SYS}.5.0"]


# --- SET -------------------------------------------------------------------------------------------------------------

WRITE = ["-v2c", "-c", "sw-1-write"]


@pytest.mark.parametrize("secret", [WRITE, ["-v1", "-c", "sw-1-write"], [*V3_WRITE, "-n", "sw-1"]])
async def test_a_port_is_switched_named_and_cut_from_power(secret):
    device = switch()
    async with open_snmp_lab([device]) as lab:
        at = (lab.address, lab.port)
        await ask("snmpset", secret, at, f"{IF}.7.2", "i", "2", f"{IFX}.18.2", "s", "customer 7")
        assert (number(device, f"{IF}.8.2"), device.get(f"{IFX}.18.2")) == (2, values.string("customer 7"))
        await ask("snmpset", secret, at, f"{IF}.7.2", "i", "1")
        assert number(device, f"{IF}.8.2") == 1
        await ask("snmpset", secret, at, f"{POE}.3.1.3", "i", "2")
        assert [number(device, oid) for oid in (f"{POE}.6.1.3", f"{IF}.8.3", f"{IF}.7.3")] == [1, 2, 1]
        await ask("snmpset", secret, at, f"{POE}.3.1.3", "i", "1")
        assert number(device, f"{IF}.8.3") == 1


@pytest.mark.parametrize(
    ("secret", "binds_", "error"),
    [
        (["-v2c", "-c", "sw-1"], [f"{IF}.7.1", "i", "2"], b"noAccess"),
        ([*V3_PRIV, "-n", "sw-1"], [f"{IF}.7.1", "i", "2"], b"noAccess"),
        (WRITE, [f"{IF}.7.1", "i", "5"], b"wrongValue"),
        (WRITE, [f"{IF}.7.1", "s", "x"], b"wrongType"),
        (WRITE, [f"{IFX}.18.1", "s", "x" * 65], b"wrongLength"),
        (WRITE, [f"{IF}.8.1", "i", "2"], b"notWritable"),
        (WRITE, [f"{IF}.7.99", "i", "2"], b"noAccess"),
        (["-v1", "-c", "sw-1-write"], [f"{IF}.7.1", "i", "5"], b"badValue"),
        (["-v1", "-c", "sw-1"], [f"{IF}.7.1", "i", "2"], b"noSuchName"),
    ],
)
async def test_a_set_is_refused_as_a_whole(secret, binds_, error):
    device = switch()
    async with open_snmp_lab([device]) as lab:
        done = await netsnmp.run("snmpset", *secret, f"127.0.0.1:{lab.port}", f"{IFX}.18.1", "s", "new", *binds_)
    assert error in done.stderr
    assert device.get(f"{IFX}.18.1") == values.string("")
    assert number(device, f"{IF}.7.1") == 1


async def test_a_set_that_is_ignored_or_not_answered():
    device = switch()
    async with open_snmp_lab([device]) as lab:
        device.faults.set_ignored = True
        assert "INTEGER: 2" in await ask("snmpset", WRITE, (lab.address, lab.port), f"{IF}.7.1", "i", "2")
        assert number(device, f"{IF}.7.1") == 1
        device.faults.clear()
        device.faults.set_lost = True
        done = await netsnmp.run("snmpset", *WRITE, "-t0.2", "-r0", f"127.0.0.1:{lab.port}", f"{IF}.7.1", "i", "2")
        assert b"Timeout" in done.stderr
        assert number(device, f"{IF}.7.1") == 2


async def set_admin(lab, device, fault, value="2"):
    """Set the first port with a fault in force; return what the tool said."""
    device.faults.clear()
    for one in fault.split():
        device.faults.put(one)
    return await netsnmp.run("snmpset", *WRITE, "-t0.3", "-r0", f"127.0.0.1:{lab.port}", f"{IF}.7.1", "i", value)


async def test_a_set_is_lost_late_or_refused():
    clock = TestClock()
    device = switch(clock=clock)
    async with open_snmp_lab([device]) as lab:
        assert b"Timeout" in (await set_admin(lab, device, "set-dropped")).stderr
        assert number(device, f"{IF}.7.1") == 1
        assert b"Timeout" in (await set_admin(lab, device, "set-late:5")).stderr
        assert number(device, f"{IF}.7.1") == 1
        clock.now += 6
        device.run_due()
        assert number(device, f"{IF}.7.1") == 2
        assert b"Timeout" in (await set_admin(lab, device, "set-late:5", "7")).stderr
        clock.now += 6
        device.run_due()
        assert number(device, f"{IF}.7.1") == 2
        assert b"inconsistentValue" in (await set_admin(lab, device, "set-error:12", "1")).stderr
        assert number(device, f"{IF}.7.1") == 2
        assert b"genError" in (await set_admin(lab, device, "set-error:5 set-done", "1")).stderr
        assert number(device, f"{IF}.7.1") == 1


def test_interfaces_are_renumbered_with_their_names_and_power():
    device = switch(ports=2)
    device.put("1.3.6.1.2.1.17.1.4.1.2.1", values.integer(1))
    device.set_link("ge-2", up=False)
    device.renumber(2)
    assert (
        {n: device.links.ports[n].oper for n in (3, 4)}
        == {3: 1, 4: 2}
        == {n: number(device, f"{IF}.8.{n}") for n in (3, 4)}
    )
    assert device.links.find("ge-1").index == 3
    assert (number(device, f"{IF}.1.4"), number(device, f"{POE}.3.1.4")) == (4, 1)
    assert number(device, "1.3.6.1.2.1.17.1.4.1.2.1") == 3
    assert device.get(f"{IF}.7.1") is None


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_what_is_not_there_is_named():
    async with open_snmp_lab([switch()]) as lab:
        at = (lab.address, lab.port)
        got = binds(await answer(at, request(Kind.GET, f"{SYS}.5.0", f"{IF}.8.99", "1.3.6.1.9.9")))
        assert [value.tag for _, value in got] == [4, values.NO_SUCH_INSTANCE, values.NO_SUCH_OBJECT]
        last = binds(await answer(at, request(Kind.GET_NEXT, "1.3.9")))
        assert last == [("1.3.9", values.END)]


async def test_one_getbulk_asks_for_scalars_once_and_columns_in_turns():
    async with open_snmp_lab([switch(ports=3)]) as lab:
        at = (lab.address, lab.port)
        wire = request(Kind.GET_BULK, f"{SYS}.5", f"{IF}.7", f"{IF}.8", first=1, second=3)
        rows = [f"{IF}.{column}.{n}" for n in (1, 2, 3) for column in (7, 8)]
        assert [oid for oid, _ in binds(await answer(at, wire))] == [f"{SYS}.5.0", *rows]


async def test_values_that_come_and_go():
    device = switch(ports=1)
    device.drop(IF)
    device.put("1.3.6.1.2.1.1.6.0", values.string("tower"))
    async with open_snmp_lab([device]) as lab:
        seen = await netsnmp.walk(["-v2c", "-c", "sw-1"], (lab.address, lab.port))
    assert [oid for oid in seen if oid.startswith(f"{SYS}.")] == [f"{SYS}.3.0", f"{SYS}.5.0", f"{SYS}.6.0"]
    assert not [oid for oid in seen if oid.startswith(f"{IF}.")]


async def test_nonsense_gets_no_answer_and_harms_nobody():
    good = request(Kind.GET, f"{SYS}.5.0")
    async with open_snmp_lab([switch(), switch(LAST)]) as lab:
        at = (lab.address, lab.port)
        assert await datagrams(at, [good[:n] for n in range(len(good))], 0) == []
        assert (await answer(at, good)).pdu.first == Status.NO_ERROR
