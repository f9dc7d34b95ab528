"""Who is whose neighbor: by address, MAC address or an unambiguous name; cycles, double names, lost neighbors."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from agent.lines.known import KnownDevice, KnownNeighbor
from agent.lines.topology import ConfiguredUpstream, DeviceLink, Topology, topology_of


def device(name: str, identity: str = "", *, silent: bool = False) -> KnownDevice:
    return KnownDevice(
        f"snmp/{name}", identity=identity or name, read_s=1, unread_s=int(silent), answers=not silent, fails=9 * silent
    )


def hears(
    at: str, port: str, identity: str = "", address: str = "", mac: str = "", remote_port: str = ""
) -> KnownNeighbor:
    return KnownNeighbor(f"snmp/{at}", f"port/{port}", identity, address, mac, remote_port=remote_port)


def both(a: str, a_port: str, b: str, b_port: str) -> tuple[KnownNeighbor, KnownNeighbor]:
    """A link that both of its ends tell of."""
    return hears(a, a_port, b, remote_port=b_port), hears(b, b_port, a, remote_port=a_port)


def made(
    *devices: KnownDevice,
    heard: tuple[KnownNeighbor, ...] = (),
    roots: tuple[str, ...] = (),
    addresses: Mapping[str, str] | None = None,
    macs: Mapping[str, str] | None = None,
    ports: Mapping[tuple[str, str], frozenset[str]] | None = None,
    upstreams: tuple[ConfiguredUpstream, ...] = (),
) -> Topology:
    return topology_of(
        {d.target: d for d in devices}, heard, roots, addresses or {}, macs or {}, ports or {}, upstreams,
        lambda target, name: f"port/{name}" if target == "snmp/core" and name == "1" else "",
    )  # fmt: skip


def test_a_neighbor_is_known_by_its_address_its_mac_or_its_name() -> None:
    found = made(
        device("core"),
        device("a", "A.isp.example"),
        device("b"),
        device("c"),
        heard=(
            hears("core", "1", "a.isp.example", remote_port="9"),
            hears("core", "2", "whoever", address="10.0.0.2", remote_port="9"),
            hears("core", "3", "other", mac="020000000003", remote_port="9"),
            *(hears(name, "9", "core", remote_port=port) for name, port in (("a", "1"), ("b", "2"), ("c", "3"))),
            hears("core", "4", "stranger"),
            hears("core", "5", "core"),
        ),
        addresses={"10.0.0.2": "snmp/b"},
        macs={"020000000003": "snmp/c"},
    )
    assert [link.b for link in found.links["snmp/core"]] == ["snmp/a", "snmp/b", "snmp/c"]
    assert found.behind("snmp/core", "port/2") == "snmp/b"
    assert found.behind("snmp/core", "port/4") == ""


def test_two_devices_of_one_name_are_not_known_by_it() -> None:
    found = made(device("a", "MikroTik"), device("b", "MikroTik"), device("c"), heard=(hears("c", "1", "MikroTik"),))
    assert not found.links
    assert sorted(found.named("mikrotik")) == ["snmp/a", "snmp/b"]


def test_a_device_cannot_take_a_configured_name_for_itself() -> None:
    assert made(device("core"), device("x", "core")).named("CORE") == ["snmp/core"]


def test_both_ends_of_a_link_are_one_link() -> None:
    found = made(device("core"), device("a"), heard=both("core", "1", "a", "24"), roots=("core",))
    assert found.links["snmp/a"] == [DeviceLink("snmp/core", "port/1", "snmp/a", "port/24")]
    assert found.behind("snmp/a", "port/24") == "snmp/core"
    assert found.upstream("snmp/a") == DeviceLink("snmp/core", "port/1", "snmp/a", "port/24")
    assert found.upstream("snmp/core") is None
    twice = (*both("core", "1", "a", "23"), *both("core", "2", "a", "24"))
    assert len(made(device("core"), device("a"), heard=twice).links["snmp/a"]) == 2


def test_cpe_that_calls_itself_core_router_is_nobodys_upstream() -> None:
    real = both("core", "1", "dist", "9") + both("dist", "2", "sw", "24")
    forged = (
        hears("sw", "7", "core", remote_port="1"),
        hears("sw", "8", "core", address="10.0.0.1", remote_port="24"),
        hears("core", "5", "sw", remote_port="24"),  # a second CPE, at the core router
    )
    found = made(
        *(device(name) for name in ("core", "dist", "sw")),
        heard=(*real, *forged),
        roots=("core",),
        addresses={"10.0.0.1": "snmp/core"},
    )
    assert found.depth("snmp/sw") == 2
    assert found.upstream("snmp/sw") == DeviceLink("snmp/dist", "port/2", "snmp/sw", "port/24")
    assert found.behind("snmp/sw", "port/7") == ""
    assert found.claimed_behind("snmp/sw", "port/7") == "snmp/core"
    assert len(found.claims["snmp/sw"]) == 3


def test_what_one_end_tells_leads_nowhere() -> None:
    found = made(device("core"), device("ap"), heard=(hears("core", "3", "ap", remote_port="eth0"),), roots=("core",))
    assert (found.links, found.upstream("snmp/ap"), found.depth("snmp/ap")) == ({}, None, 2)
    assert found.claims["snmp/ap"] == [DeviceLink("snmp/core", "port/3", "snmp/ap", "")]
    unnamed = (hears("core", "3", "ap"), hears("ap", "1", "core"))
    assert made(device("core"), device("ap"), heard=unnamed, roots=("core",)).links == {}, "no port is named"


def test_a_configured_upstream_counts_before_all_that_is_told() -> None:
    every = [device(name) for name in ("core", "a", "ap")]
    told = (*both("core", "2", "ap", "1"), *both("core", "1", "a", "1"))
    upstreams = (ConfiguredUpstream("ap", "a", "7"), ConfiguredUpstream("a", "core", "1"), ConfiguredUpstream("x", "a"))
    found = made(*every, heard=told, roots=("core",), upstreams=upstreams)
    assert found.upstream("snmp/ap") == DeviceLink("snmp/a", "", "snmp/ap", "")
    assert found.upstream("snmp/a") == DeviceLink("snmp/core", "port/1", "snmp/a", "port/1"), "with what both tell"
    assert (found.depth("snmp/ap"), list(found.beside("snmp/ap"))) == (2, ["snmp/a"])
    assert found.problems == ["[lines] upstreams: no device called x was read, or several are called so"]
    dark = made(device("core"), device("a", silent=True), device("ap"), roots=("core",), upstreams=upstreams[:2])
    assert dark.reached() == {"snmp/core"}


def test_a_port_may_be_named_in_another_spelling() -> None:
    names = {
        ("snmp/core", "port/1"): frozenset({"Gi0/1", "to a", ""}),
        ("snmp/a", "port/2"): frozenset({"ether1", "02:00:00:00:00:0a"}),
    }
    for core_called, a_called in (
        ("GigabitEthernet0/1", "ether1"),
        ("gi0/1", "bridge1/ether1"),
        ("TO A", "02-00-00-00-00-0A"),
    ):
        heard = (hears("core", "1", "a", remote_port=a_called), hears("a", "2", "core", remote_port=core_called))
        found = made(device("core"), device("a"), heard=heard, ports=names)
        assert len(found.links.get("snmp/a", ())) == 1, (core_called, a_called)
    heard = (hears("core", "1", "a", remote_port="ether2"), hears("a", "2", "core", remote_port="Gi0/1"))
    assert made(device("core"), device("a"), heard=heard, ports=names).links == {}


def test_a_ring_has_a_depth_and_an_island_a_root_of_its_own() -> None:
    ring = (*both("core", "1", "a", "1"), *both("a", "2", "b", "1"), *both("b", "2", "core", "2"))
    ring += both("x", "1", "y", "1")
    every = [device(name) for name in ("core", "a", "b", "x", "y", "alone")]
    found = made(*every, heard=ring, roots=("core",))
    assert {d.name: found.depth(d.target) for d in every} == {"core": 0, "a": 1, "b": 1, "x": 0, "y": 1, "alone": 6}
    assert found.reached() == {"snmp/core", "snmp/a", "snmp/b", "snmp/x", "snmp/y"}
    assert made(*every, heard=ring, roots=("nobody",)).roots == []


def test_what_answers_behind_silent_device_is_not_reached_by_it() -> None:
    heard = (*both("core", "1", "a", "1"), *both("a", "2", "b", "1"))
    found = made(device("core"), device("a", silent=True), device("b"), heard=heard, roots=("core",))
    assert found.reached() == {"snmp/core"}
    dark = made(device("core", silent=True), device("a"), device("b"), heard=heard, roots=("core",))
    assert dark.reached() == {"snmp/a", "snmp/b"}


NODE, PORT = st.integers(0, 7), st.integers(0, 3)


@given(
    st.lists(st.tuples(NODE, PORT, NODE, PORT), max_size=40),
    st.lists(st.tuples(NODE, PORT, NODE, PORT), max_size=8),
    st.dictionaries(NODE, NODE, max_size=3),
    NODE,
)
def test_any_tangle_has_a_shortest_way(
    edges: list[tuple[int, int, int, int]],
    claims: list[tuple[int, int, int, int]],
    upstreams: dict[int, int],
    root: int,
) -> None:
    every = [device(f"d{n}") for n in range(8)]
    heard = [one for a, p, b, q in edges for one in both(f"d{a}", str(p), f"d{b}", str(q))]
    heard += [hears(f"d{a}", str(p), f"d{b}", remote_port=str(q)) for a, p, b, q in claims]
    known = tuple(ConfiguredUpstream(f"d{a}", f"d{b}") for a, b in upstreams.items() if a != root)
    found = made(*every, heard=tuple(heard), roots=(f"d{root}",), upstreams=known)
    assert found.depth(f"snmp/d{root}") == 0
    for one in every:
        link = found.upstream(one.target)
        if one.target in found.configured:
            assert link == found.configured[one.target]
        elif link is not None:
            assert found.depth(link.other(one.target)[0]) == found.depth(one.target) - 1
        else:
            assert found.depth(one.target) in (0, len(every))


def test_a_device_of_another_system_is_known_by_all_its_names() -> None:
    told = KnownDevice("nms/main/sw-3.isp", identity="sw-3", read_s=1)
    other = KnownDevice("nms/main/core", identity="core-1", read_s=1)
    heard = (
        KnownNeighbor("nms/main/core", "port/1", "whoever", "10.0.0.3", "", remote_port="2", interface="1"),
        KnownNeighbor("nms/main/sw-3.isp", "port/2", "core-1", "", "", remote_port="1", interface="2"),
    )
    hidden = {"snmp/switch-three": told.target}
    devices = {one.target: one for one in (told, other)}
    found = topology_of(devices, heard, ("core",), {"10.0.0.3": "snmp/switch-three"}, {}, {}, hidden=hidden)
    for name in ("nms/main/sw-3.isp", "main/sw-3.isp", "SW-3.isp", "sw-3", "switch-three", "snmp/switch-three"):
        assert found.named(name) == [told.target], name
    assert found.behind(other.target, "port/1") == told.target
    assert found.depth(told.target) == 1
    # what the configuration calls so is that device alone
    named = topology_of({**devices, "snmp/core": device("core")}, (), (), {}, {}, {})
    assert named.named("core") == ["snmp/core"]
