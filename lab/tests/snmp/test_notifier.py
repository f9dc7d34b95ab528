"""Traps and informs reach Net-SNMP's snmptrapd; informs come again until they are acknowledged; storms are bounded."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from lab.snmp import values
from lab.snmp.errors import SnmpValueError
from lab.snmp.messages import Kind, Version, decode_untrusted, encode_message, encode_pdu
from lab.snmp.notifications import Sink
from lab.snmp.notifier import storm
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.usm import USERS
from lab.tests.snmp.devices import switch
from tests import servers

USER = USERS[0]


@asynccontextmanager
async def snmptrapd(folder: Path, engine_id: bytes) -> AsyncIterator[tuple[int, Path]]:
    """Run snmptrapd on a free port; yield the port and its log, one line a notification."""
    try:
        program = servers.program("snmptrapd", "snmptrapd")
    except servers.ServerMissingError as err:
        servers.missing(str(err))
    port = servers.free_port(socket.SOCK_DGRAM)
    log, config = folder / "trapd.log", folder / "trapd.conf"
    priv = f"{USER.auth} {USER.auth_password} AES {USER.priv_password}"
    config.write_text(
        f"snmpTrapdAddr udp:127.0.0.1:{port}\ndisableAuthorization yes\nformat1 V1 %N %w %q %v\\n\n"
        f"format2 V2 %v\\n\ncreateUser {USER.name} {priv}\n"
        f"createUser -e 0x{engine_id.hex()} {USER.name} {priv}\nauthUser log {USER.name}\n"
    )
    home = {"MIBS": "", "SNMP_PERSISTENT_DIR": str(folder), "SNMPCONFPATH": str(folder), "PATH": os.environ["PATH"]}
    command = [program, "-f", "-n", "-On", "-C", "-c", str(config), "-Lf", str(log)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, env=home, check=False))
        with trio.fail_after(60):
            while not (log.exists() and "version" in log.read_text()):  # noqa: ASYNC110 (it tells nobody)
                await trio.sleep(0.01)
        yield port, log
        process.terminate()
        await process.wait()
        nursery.cancel_scope.cancel()


async def lines(log: Path, start: str, count: int = 1) -> list[str]:
    """Wait for so many lines of the log that begin so."""
    with trio.fail_after(60):
        while True:
            found = [line for line in log.read_text().splitlines() if line.startswith(start)]
            if len(found) >= count:
                return found
            await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"version": Version.V1}, "V1"),
        ({"version": Version.V2C}, "V2"),
        ({"version": Version.V2C, "inform": True}, "V2"),
        ({"version": Version.V3, "user": USER}, "V2"),
        ({"version": Version.V3, "user": USER, "inform": True}, "V2"),
    ],
    ids=["v1 trap", "v2c trap", "v2c inform", "v3 trap", "v3 inform"],
)
async def test_snmptrapd_hears_of_a_link(tmp_path, options, start):
    device = switch()
    async with (
        snmptrapd(tmp_path, device.engine.engine_id) as (port, log),
        open_snmp_lab([device]) as lab,
        lab.notifying(Sink("127.0.0.1", port, **options)) as notifiers,
    ):
        device.set_link("ge-3", up=False)
        heard = (await lines(log, start))[-1]
        with trio.fail_after(60):
            await notifiers["sw-1"].settle()
        assert len(notifiers["sw-1"].acknowledged) == int("inform" in options)
    if start == "V1":
        assert heard.startswith("V1 .1.3.6.1.6.3.1.1.5 2 0 ")
    else:
        assert ".1.3.6.1.6.3.1.1.4.1.0 = OID: .1.3.6.1.6.3.1.1.5.3" in heard
    assert ".1.3.6.1.2.1.2.2.1.1.3 = INTEGER: 3" in heard
    assert ".1.3.6.1.2.1.2.2.1.8.3 = INTEGER: 2" in heard


async def test_an_own_notification_of_v1_names_its_enterprise(tmp_path):
    device = switch()
    async with (
        snmptrapd(tmp_path, device.engine.engine_id) as (port, log),
        open_snmp_lab([device]) as lab,
        lab.notifying(Sink("127.0.0.1", port, Version.V1)),
    ):
        device.tell("1.3.6.1.4.1.41112.7.0.9", ("1.3.6.1.4.1.41112.7.1.0", values.string("x")))
        heard = (await lines(log, "V1"))[-1]
    assert heard.startswith("V1 .1.3.6.1.4.1.41112.7 6 .9 ")


async def test_an_inform_comes_again_until_it_is_acknowledged():
    device = switch()
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        sink = Sink("127.0.0.1", udp.getsockname()[1], inform=True, resend_s=0.05)
        async with open_snmp_lab([device], layout=Layout.ADDRESSES) as lab, lab.notifying(sink) as notifiers:
            device.set_link(1, up=False)
            with trio.fail_after(60):
                copies = [await udp.recvfrom(4096) for _ in range(3)]
                assert {c[0] for c in copies} == {copies[0][0]}
                assert copies[0][1][0] == lab.where("sw-1")[0]
                asked = decode_untrusted(copies[0][0])
                assert asked.pdu.kind == Kind.INFORM
                response = encode_pdu(Kind.RESPONSE, asked.pdu.request_id, 0, 0, [])
                await udp.sendto(encode_message(Version.V2C, asked.community, response), copies[0][1])
                await notifiers["sw-1"].settle()
            assert notifiers["sw-1"].acknowledged == [asked.pdu.request_id]


async def test_a_trap_is_sent_before_it_is_settled():
    device = switch()
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        sink = Sink("127.0.0.1", udp.getsockname()[1])
        async with open_snmp_lab([device]) as lab, lab.notifying(sink) as notifiers:
            await trio.testing.wait_all_tasks_blocked()  # it waits for something to send
            for sent in (1, 2, 3):
                device.set_link(1, up=sent % 2 == 0)
                with trio.fail_after(60):
                    await notifiers["sw-1"].settle()
                assert notifiers["sw-1"].sent == sent


async def test_an_inform_is_given_up_at_last():
    device = switch()
    sink = Sink("127.0.0.1", servers.free_port(socket.SOCK_DGRAM), inform=True, resend_s=0.01, attempts_max=3)
    async with open_snmp_lab([device]) as lab, lab.notifying(sink, "sw-1") as notifiers:
        device.set_link(1, up=False)
        with trio.fail_after(60):
            await notifiers["sw-1"].settle()
        assert len(notifiers["sw-1"].given_up) == 1


async def test_a_storm_is_as_fast_as_told_and_no_longer():
    devices = [switch(f"sw-{n}") for n in range(3)]
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        sink = Sink("127.0.0.1", udp.getsockname()[1])
        async with open_snmp_lab(devices, layout=Layout.ADDRESSES) as lab, lab.notifying(sink) as notifiers:
            begun = trio.current_time()
            assert await storm(list(notifiers.values()), 2000, 0.5) == 1000
            assert 0.4 < trio.current_time() - begun < 30
            assert sum(n.sent for n in notifiers.values()) == 1000
            for rate, seconds in ((5001, 1), (0, 1), (1, 61)):
                with pytest.raises(SnmpValueError):
                    await storm(list(notifiers.values()), rate, seconds)
        async with open_snmp_lab([switch()]) as lab, lab.notifying(Sink("127.0.0.1", 9, inform=True)) as notifiers:
            with pytest.raises(SnmpValueError, match="informs"):
                await storm(list(notifiers.values()), 1, 1)


def test_a_sink_that_cannot_be():
    for options in ({"version": Version.V1, "inform": True}, {"version": Version.V3}, {"user": USER}):
        with pytest.raises(SnmpValueError):
            Sink("127.0.0.1", 162, **options)
