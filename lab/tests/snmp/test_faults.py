"""Each fault as a client sees it on the wire."""

from __future__ import annotations

import pytest

from lab.errors import UnknownFaultError
from lab.snmp.errors import MalformedSnmpError, NoSuchPartError, SnmpLabError
from lab.snmp.faults import Faults, parse_fault
from lab.snmp.messages import Kind, Status, decode_untrusted
from lab.snmp.server import Layout, open_snmp_lab
from lab.tests.snmp import netsnmp
from lab.tests.snmp.devices import IF, LAST, SYS, answer, binds, datagrams, names, request, switch
from lab.tests.snmp.netsnmp import V3_PRIV

NAME = f"{SYS}.5.0"


async def replies(fault: str, wire: bytes, count: int = 1) -> tuple[list[bytes], bool]:
    """Return what a device with a fault answers, and whether all of it is from the port that was asked."""
    async with open_snmp_lab([switch(), switch(LAST)]) as lab:
        lab["sw-1"].faults.put(fault)
        found = await datagrams((lab.address, lab.port), [wire], count)
        return [d for d, _ in found], all(sender == (lab.address, lab.port) for _, sender in found)


GET = request(Kind.GET, NAME)


@pytest.mark.parametrize(("fault", "count"), [("silence", 0), ("loss:100", 0), ("duplicate", 2), ("delay:0.05", 1)])
async def test_answers_are_lost_late_or_doubled(fault, count):
    found, _ = await replies(fault, GET, count)
    assert len(found) == count


async def test_loss_takes_a_part_of_the_answers():
    async with open_snmp_lab([switch(), switch(LAST)]) as lab:
        lab["sw-1"].faults.loss_percent = 50
        found = await datagrams((lab.address, lab.port), [GET] * 100, 0)
    assert 30 <= len(found) <= 70


@pytest.mark.parametrize("fault", ["other-port", "other-address"])
async def test_an_answer_from_elsewhere(fault):
    found, same = await replies(fault, GET)
    assert len(found) == 1
    assert not same


@pytest.mark.parametrize("fault", ["truncate:5", "lie:5"])
async def test_sizes_that_are_lies(fault):
    found, _ = await replies(fault, GET)
    with pytest.raises(MalformedSnmpError):
        decode_untrusted(found[0])


async def test_another_request_id_and_another_oid():
    found, _ = await replies("wrong-request-id", GET)
    assert decode_untrusted(found[0]).pdu.request_id == 8
    found, _ = await replies("wrong-oid", GET)
    assert binds(decode_untrusted(found[0]))[0][0] != NAME


async def test_too_big_above_a_number_of_varbinds():
    async with open_snmp_lab([switch()]) as lab:
        lab["sw-1"].faults.too_big = 5
        at = (lab.address, lab.port)
        big = await answer(at, request(Kind.GET_BULK, IF, second=6))
        assert (big.pdu.first, big.pdu.second, big.pdu.binds) == (Status.TOO_BIG, 0, ())
        assert (await answer(at, request(Kind.GET_BULK, IF, second=5))).pdu.first == 0
        assert (await answer(at, request(Kind.GET, *[NAME] * 6))).pdu.first == Status.TOO_BIG


async def test_an_answer_ends_where_the_datagram_is_full():
    async with open_snmp_lab([switch(ports=48), switch(LAST)]) as lab:
        lab["sw-1"].bytes_max = 484
        ((datagram, _),) = await datagrams((lab.address, lab.port), [request(Kind.GET_BULK, IF, second=500)], 1)
        assert 5 < len(decode_untrusted(datagram).pdu.binds) < 40
        assert len(datagram) <= 484
        lab["sw-1"].bytes_max = 60
        assert (await answer((lab.address, lab.port), request(Kind.GET_NEXT, SYS))).pdu.first == Status.TOO_BIG


async def test_a_walk_goes_in_circles():
    async with open_snmp_lab([switch()]) as lab:
        lab["sw-1"].faults.loop = 10
        at = (lab.address, lab.port)
        seen = await names(at, Kind.GET_BULK, ["1.3"], second=25)
        assert len(seen) == 25
        assert seen[10:20] == seen[:10]
        done = await netsnmp.run("snmpbulkwalk", "-v2c", "-c", "sw-1", "-Cr3", f"{at[0]}:{at[1]}", ".1")
        assert b"OID not increasing" in done.stderr


async def test_values_come_unsorted():
    async with open_snmp_lab([switch()]) as lab:
        at = (lab.address, lab.port)
        straight = await names(at, Kind.GET_BULK, ["1.3"], second=6)
        lab["sw-1"].faults.unsorted = True
        crooked = await names(at, Kind.GET_BULK, ["1.3"], second=6)
    assert crooked != straight
    assert sorted(crooked) == sorted(straight)


async def test_a_part_of_the_tree_is_broken():
    async with open_snmp_lab([switch()]) as lab:
        lab["sw-1"].faults.put(f"broken-below:{IF}")
        at = (lab.address, lab.port)
        got = await answer(at, request(Kind.GET, NAME, f"{IF}.8.1"))
        assert (got.pdu.first, got.pdu.second) == (Status.GEN_ERR, 2)
        lab["sw-1"].faults.put("none")
        assert (await answer(at, request(Kind.GET, NAME, f"{IF}.8.1"))).pdu.first == 0
        assert lab["sw-1"].faults == Faults()


async def test_no_report_leaves_v3_in_the_dark():
    async with open_snmp_lab([switch()]) as lab:
        at = f"{lab.address}:{lab.port}"
        done = await netsnmp.run("snmpget", *V3_PRIV[:-1], "wrongprivpass", "-t0.2", "-r0", "-n", "sw-1", at, NAME)
        assert b"Decryption error" in done.stderr
    device = switch()
    device.faults.no_report = True
    async with open_snmp_lab([device], layout=Layout.PORTS) as lab:
        done = await netsnmp.run("snmpget", *V3_PRIV, "-t0.2", "-r0", "-n", "sw-1", f"{lab.address}:{lab.port}", NAME)
    assert b"Timeout" in done.stderr


@pytest.mark.parametrize(
    "text", ["fire", "loss", "loss:101", "delay:soon", "silence:1", "too-big:1.5", "broken-below:"]
)
def test_a_fault_that_is_none(text):
    with pytest.raises(UnknownFaultError, match="expected"):
        parse_fault(text)


async def test_a_device_that_is_not_there():
    async with open_snmp_lab([switch()]) as lab:
        with pytest.raises(NoSuchPartError):
            lab["sw-2"]
    with pytest.raises(SnmpLabError, match="each name once"):
        async with open_snmp_lab([switch(), switch()]):
            pass
