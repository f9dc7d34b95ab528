"""The use of a port: uplinks, rings, devices and subscribers behind it, and the gaps that are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.lines.known import KnownDevice, KnownNeighbor
from agent.lines.port_use import PortGround, uplink_of, use_of
from agent.lines.topology import ConfiguredUpstream, Topology, topology_of

NOW_S = 10_000.0


def topology(
    *links: tuple[str, str, str, str],
    roots: tuple[str, ...] = ("core",),
    upstreams: Sequence[ConfiguredUpstream] = (),
    **over: KnownDevice,
) -> Topology:
    """Return devices and links `(device, port, device, port)`; a port "" is not known."""
    names = dict.fromkeys(name for a, _, b, _ in links for name in (a, b))
    devices = {f"x/{n}": KnownDevice(f"x/{n}", identity=n, read_s=int(NOW_S) - 10) for n in names}
    devices |= {device.target: device for device in over.values()}
    heard = []
    for a, a_port, b, b_port in links:
        heard.append(KnownNeighbor(f"x/{a}", f"port/{a_port}", b, "", "", remote_port=b_port))
        if b_port:
            heard.append(KnownNeighbor(f"x/{b}", f"port/{b_port}", a, "", "", remote_port=a_port))
    return topology_of(devices, heard, roots, {}, {}, {}, upstreams)


def ground(
    of: Topology, served: Mapping[tuple[str, str], set[str]] | None = None, heard: Sequence[KnownNeighbor] = ()
) -> PortGround:
    def query(sql: str, args: Sequence[object]) -> list[Any]:
        if "line_neighbor" in sql:
            return [
                (n.target, n.port, n.identity, n.address, n.mac, n.platform, n.remote_port, n.interface, n.seen_s)
                for n in heard
            ]
        return [(3,)] if "line_mac" in sql else []

    return PortGround(query, of, served or {}, NOW_S)


CHAIN = (("core", "1", "sw", "9"), ("sw", "2", "tower", "1"), ("tower", "5", "far", "1"))


def test_way_to_root_is_uplink_and_way_from_it_is_not() -> None:
    found = topology(*CHAIN)
    assert "core is at its other end" in uplink_of(found, "x/sw", "port/9")
    assert uplink_of(found, "x/sw", "port/2") == ""
    assert uplink_of(found, "x/core", "port/1") == ""
    assert uplink_of(found, "x/sw", "port/7") == ""


def test_both_ends_of_a_ring_are_uplinks() -> None:
    ring = topology(("core", "1", "a", "1"), ("core", "2", "b", "1"), ("a", "2", "b", "2"))
    assert "b is at its other end" in uplink_of(ring, "x/a", "port/2")
    assert "a is at its other end" in uplink_of(ring, "x/b", "port/2")


def test_what_one_end_alone_tells_makes_a_port_no_freer() -> None:
    claimed = topology(*CHAIN, ("sw", "7", "core", ""), ("sw", "8", "far", ""))
    assert "core is at its other end" in uplink_of(claimed, "x/sw", "port/7")
    assert use_of(ground(claimed), "x/sw", "port/8").devices == ("far",)


def test_devices_and_subscribers_behind_a_port() -> None:
    served = {("x/far", "port/3"): {"C-1"}, ("x/tower", "radio/1"): {"C-2"}, ("x/sw", "port/2"): {"C-3"}}
    found = use_of(ground(topology(*CHAIN), served | {("x/core", "port/4"): {"C-4"}}), "x/sw", "port/2")
    assert (found.devices, found.services) == (("far", "tower"), ("C-1", "C-2", "C-3"))
    assert (found.uplink, found.not_checked, found.shared, found.macs) == ("", (), True, 3)


def test_a_stranger_at_a_port_is_named() -> None:
    stranger = KnownNeighbor("x/sw", "port/7", "cpe", "", "")
    found = use_of(ground(topology(*CHAIN), heard=[stranger, replace(stranger, seen_s=5)]), "x/sw", "port/7")
    assert (found.heard, found.devices, found.not_checked) == (("cpe",), (), ())


def test_what_is_not_known_of_the_uplink_is_told() -> None:
    def gaps(of: Topology, target: str = "x/sw") -> str:
        return "; ".join(use_of(ground(of), target, "port/7").not_checked)

    assert gaps(topology(*CHAIN)) == ""
    assert gaps(topology(*CHAIN), "x/core") == ""  # a root: its own way is what the device is asked for
    assert "was never read" in gaps(topology(*CHAIN), "x/none")
    assert "no way from this device to one of [lines] roots" in gaps(topology(*CHAIN, roots=()))
    assert "no way from this device" in gaps(topology(*CHAIN, alone=KnownDevice("x/alone", read_s=9_990)), "x/alone")
    configured = topology(
        *CHAIN[1:], roots=("core",), upstreams=[ConfiguredUpstream("sw", "core")], core=KnownDevice("x/core")
    )
    assert "core hears it, at which of its ports is not known" in gaps(configured)
    old = KnownDevice("x/sw", identity="sw", read_s=100)
    assert "as of 2h ago, its last reading" in gaps(topology(*CHAIN, sw=old))
