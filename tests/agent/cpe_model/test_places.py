"""Where a CPE has its WAN, its LAN and its networks: by references alone, never by instance number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model import places, profiles
from agent.cpe_model.profiles import UnplacedNameError
from agent.cpe_model.values import UNREADABLE
from lab.tests.cpe import data
from tests.agent.cpe_model import models
from tests.agent.cpe_model.models import IGD, read

IP = "Device.IP.Interface."
ROUTE = "Routing.Router.1.IPv4Forwarding."
CONNECTION = f"{IGD}WANDevice.1.WANConnectionDevice."
TB362 = {
    "IP.Interface.1.LowerLayers": "Device.Ethernet.Link.1",
    "IP.Interface.1.IPv4Address.1.IPAddress": "192.168.1.1",
    "Ethernet.Link.1.LowerLayers": "",
    "PPP.Interface.1.Username": "",
    f"{ROUTE}1.DestIPAddress": "192.168.1.0",
    f"{ROUTE}1.DestSubnetMask": "255.255.255.0",
    f"{ROUTE}1.Interface": "Device.IP.Interface.1",
    f"{ROUTE}2.DestIPAddress": "192.168.2.0",
    f"{ROUTE}2.DestSubnetMask": "255.255.255.0",
    f"{ROUTE}2.Interface": "Device.IP.Interface.1",
    "DHCPv4.Server.Pool.1.Enable": "1",
    "DHCPv4.Server.Pool.1.IPRouters": "192.168.1.1",
    "WiFi.SSIDNumberOfEntries": "3",
    "WiFi.SSID.1.LowerLayers": "Device.WiFi.Radio.1",
    "WiFi.SSID.2.LowerLayers": "Device.WiFi.Radio.2",
    "WiFi.SSID.3.LowerLayers": "",
    "WiFi.AccessPoint.1.SSIDReference": "Device.WiFi.SSID.1",
}
"""Gemtek TB-362: what its published data model (gemtek-web-sim/TR069_Client_Simulator) refers to by what."""


def found(values: Mapping[str, str], root: str = "Device.") -> places.Places:
    return places.find(root, read(values, root), {})


def where(values: Mapping[str, str], place: str, root: str = "Device.") -> str:
    """Return the path of a place below its root, or why it is not known."""
    made = found(values, root)
    return made.found[place].path.removeprefix(root) if place in made.found else made.unknown[place]


# --- the WAN of TR-181 ------------------------------------------------------------------------------------------------

LAN_AND_WAN = {
    "IP.Interface.1.LowerLayers": "Device.Ethernet.Link.1.",
    "IP.Interface.2.LowerLayers": "Device.Ethernet.Link.2.",
    "Ethernet.Link.1.LowerLayers": "Device.Ethernet.Interface.1.",
    "Ethernet.Link.2.LowerLayers": "Device.Ethernet.Interface.2.",
}


def route(number: int, interface: int, **more: str) -> dict[str, str]:
    fields = {"DestIPAddress": "", "DestSubnetMask": "", "Interface": f"Device.IP.Interface.{interface}", **more}
    return {f"{ROUTE}{number}.{name}": text for name, text in fields.items()}


def test_d4_the_lan_of_a_tb_362_is_never_its_wan() -> None:
    """IP.Interface.1 is br-lan there; nothing tells the WAN, so it is not known and cannot be written."""
    made = profiles.bound(profiles.SHIPPED.of("000000", "TB-362", "", "Device."), read(TB362, "Device."))
    assert not [mapped for mapped in made.parameters if mapped.name.startswith("wan.")]
    for name in ("wan.ip", "wan.ipoe.enabled", "wan.ppp.username"):
        with pytest.raises(UnplacedNameError, match="the WAN is not known: no default route was read"):
            made.resolve(name)
    assert made.path("lan.ip") == f"{IP}1.IPv4Address.1.IPAddress"
    assert [made.path(f"wifi.{n}.channel") for n in (1, 2, 3)] == [
        "Device.WiFi.Radio.1.Channel",
        "Device.WiFi.Radio.2.Channel",
        None,
    ]
    assert made.path("wifi.2.key") is None  # no access point refers to it: AccessPoint.2 would be a guess


@pytest.mark.parametrize(
    ("values", "wan"),
    [
        pytest.param({**LAN_AND_WAN, **route(1, 2)}, "IP.Interface.2.", id="default route"),
        pytest.param(
            {**LAN_AND_WAN, **route(1, 2, DestIPAddress="0.0.0.0", DestSubnetMask="0.0.0.0")},
            "IP.Interface.2.",
            id="default route in zeros",
        ),
        pytest.param(
            {**LAN_AND_WAN, **route(1, 1, Enable="0"), **route(2, 2)}, "IP.Interface.2.", id="route switched off"
        ),
        pytest.param(
            {**LAN_AND_WAN, **route(1, 1, DestIPAddress="10.0.0.0", DestSubnetMask="255.0.0.0")},
            "no default route was read, and no IP interface is known to stand on an upstream or PPP interface",
            id="another route",
        ),
        pytest.param({**LAN_AND_WAN, "Ethernet.Interface.2.Upstream": "true"}, "IP.Interface.2.", id="upstream"),
        pytest.param(
            {**LAN_AND_WAN, "Ethernet.Interface.1.Upstream": "0", **route(1, 1)},
            "the default route names Device.IP.Interface.1, which stands on the LAN",
            id="default route into the LAN",
        ),
        pytest.param(
            {**LAN_AND_WAN, "Ethernet.Interface.1.Upstream": "1", "Ethernet.Interface.2.Upstream": "1"},
            "no default route was read, and there are 2, and nothing that was read tells which: "
            "Device.IP.Interface.1, Device.IP.Interface.2",
            id="two upstream",
        ),
        pytest.param(
            {
                **LAN_AND_WAN,
                "Ethernet.Interface.1.Upstream": "1",
                "Ethernet.Interface.2.Upstream": "1",
                **route(1, 2),
            },
            "IP.Interface.2.",
            id="two upstream, one with the default route",
        ),
        pytest.param(
            {**LAN_AND_WAN, **route(1, 1, Status="Error"), **route(2, 2, Status="Enabled")},
            "IP.Interface.2.",
            id="a route that is not in use",
        ),
        pytest.param({**LAN_AND_WAN, **route(1, 1), **route(2, 2)}, "of several default routes", id="two routes"),
        pytest.param(
            {**LAN_AND_WAN, **route(1, 1), **route(2, 2), "Ethernet.Interface.2.Upstream": "1"},
            "IP.Interface.2.",
            id="two routes, one outward",
        ),
        pytest.param(
            {**LAN_AND_WAN, "IP.Interface.3.LowerLayers": "Device.PPP.Interface.7", "PPP.Interface.7.LowerLayers": ""},
            "IP.Interface.3.",
            id="PPP",
        ),
        pytest.param(
            {"IP.Interface.4.LowerLayers": "Device.PTM.Link.1", "PTM.Link.1.LowerLayers": "Device.DSL.Channel.1",
             "DSL.Channel.1.LowerLayers": "Device.DSL.Line.1"},
            "IP.Interface.4.",
            id="DSL that says nothing of upstream",
        ),
        pytest.param(
            {"IP.Interface.1.LowerLayers": "Device.Optical.Interface.1", "Optical.Interface.1.Upstream": "false"},
            "no default route was read, and no IP interface",
            id="fiber into the house",
        ),
        pytest.param(
            {"IP.Interface.1.LowerLayers": "Device.Bridging.Bridge.1.Port.1", **route(1, 1)},
            "the default route names Device.IP.Interface.1, which stands on the LAN",
            id="an access point's bridge",
        ),
        pytest.param({}, "no IP interface was read", id="nothing read"),
    ],
)  # fmt: skip
def test_the_wan_is_where_references_lead(values: dict[str, str], wan: str) -> None:
    assert where(values, "wan").startswith(wan)


def test_interfaces_that_stand_on_each_other_end() -> None:
    ring = {
        "IP.Interface.1.LowerLayers": "Device.Ethernet.Link.1",
        "Ethernet.Link.1.LowerLayers": "Device.Ethernet.Link.2",
        "Ethernet.Link.2.LowerLayers": "Device.Ethernet.Link.1",
    }
    assert "wan" in found(ring).unknown


def test_all_that_is_below_the_wan_is_found_through_it() -> None:
    made = places.find("Device.", models.whole("Device.", ppp=True), {}).found
    below = {name: made[name].path.removeprefix("Device.") for name in ("wan", "wan.ppp", "wan.vlan", "wan.link")}
    assert below == {
        "wan": "IP.Interface.2.",
        "wan.ppp": "PPP.Interface.1.",
        "wan.vlan": "Ethernet.VLANTermination.1.",
        "wan.link": "Ethernet.Link.1.",
    }
    assert "wan.ipoe" not in made
    assert made["lan"].path == f"{IP}1."
    assert set(made["wan.ppp"].rests_on) >= {
        "Device.Routing.Router.1.IPv4Forwarding.1.Interface",
        f"{IP}2.LowerLayers",
    }


# --- the WAN of TR-098 ------------------------------------------------------------------------------------------------


def connection(device: int, kind: str = "IP", number: int = 1, **fields: str) -> dict[str, str]:
    where_ = f"WANDevice.1.WANConnectionDevice.{device}.WAN{kind}Connection.{number}."
    return {where_ + name: text for name, text in {"Enable": "1", "ConnectionType": "IP_Routed", **fields}.items()}


DEFAULT = "Layer3Forwarding.DefaultConnectionService"
FIRST, SECOND = (f"WANDevice.1.WANConnectionDevice.{n}.WANIPConnection.1." for n in (1, 2))


@pytest.mark.parametrize(
    ("values", "wan"),
    [
        pytest.param(connection(1), FIRST, id="the only one"),
        pytest.param(
            {**connection(1), **connection(2), DEFAULT: IGD + SECOND.rstrip(".")}, SECOND, id="DefaultConnectionService"
        ),
        pytest.param({**connection(1, ConnectionType="IP_Bridged"), **connection(2)}, SECOND, id="a bridge beside it"),
        pytest.param({**connection(1, Enable="0"), **connection(2)}, SECOND, id="one is switched off"),
        pytest.param({**connection(1, Enable="0")}, FIRST, id="the only one is switched off, and stays the WAN"),
        pytest.param(
            {**connection(1, ConnectionStatus="Disconnected"), **connection(2, ConnectionStatus="Connected")},
            SECOND,
            id="one is connected",
        ),
        pytest.param({**connection(1), **connection(2)}, "there are 2, and nothing that was read", id="two"),
        pytest.param(
            {**connection(1), **connection(2), "Layer3Forwarding.Forwarding.1.DestIPAddress": "0.0.0.0",
             "Layer3Forwarding.Forwarding.1.Interface": IGD + FIRST},
            FIRST,
            id="the default route",
        ),
        pytest.param(
            {**connection(1, ConnectionType="IP_Bridged"), DEFAULT: IGD + FIRST},
            "DefaultConnectionService names",
            id="a bridge by default",
        ),
        pytest.param(
            {**connection(1), "WANDevice.1.WANConnectionDevice.1.WANIPConnectionNumberOfEntries": "2"},
            "1 of 2 WANIPConnection of",
            id="one was not read",
        ),
        pytest.param(connection(3, "PPP"), "WANDevice.1.WANConnectionDevice.3.WANPPPConnection.1.", id="PPP"),
    ],
)  # fmt: skip
def test_the_wan_of_tr098(values: dict[str, str], wan: str) -> None:
    assert where(values, "wan", IGD).startswith(wan)


def test_a_gateways_informed_address_shows_whatever_its_number() -> None:
    inform = read({"WANDevice.5.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress": "192.0.2.7"}, IGD)
    made = profiles.bound(profiles.SHIPPED.of("", "", "", IGD), inform)
    assert made.path("wan.ip") in inform


# --- networks, lines --------------------------------------------------------------------------------------------------


def networks(**radios: str) -> dict[str, str]:
    return {f"WiFi.SSID.{n[1:]}.LowerLayers": f"Device.WiFi.Radio.{radio}" for n, radio in radios.items()}


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (networks(s1="1", s2="2"), [1, 2]),
        (networks(s1="1", s2="1", s5="2", s6="2"), [1, 5, 2, 6]),
        (networks(s1="2", s2="1"), [2, 1]),
        ({**networks(s1="1", s3="2"), "WiFi.SSID.2.LowerLayers": ""}, [1, 3, 2]),
        ({**networks(s1="1", s2="1"), "WiFi.EndPoint.1.SSIDReference": "Device.WiFi.SSID.1."}, [2]),
    ],
)
def test_networks_are_counted_in_turn_of_the_radios(values: dict[str, str], order: list[int]) -> None:
    made = found(values)
    assert [made.found[f"wifi.{n}"].path for n in range(1, len(order) + 1)] == [f"Device.WiFi.SSID.{n}." for n in order]
    assert made.counts["wifi"] == len(order)


def test_networks_that_were_read_in_part_are_not_counted() -> None:
    """Of three networks the second one that was read need not be the second."""
    assert (
        where({**networks(s1="1", s3="2"), "WiFi.SSIDNumberOfEntries": "3"}, "wifi")
        == "2 of 3 Wi-Fi networks were read"
    )


def test_four_networks_have_all_names_through_their_references() -> None:
    """The vocabulary is not two networks long; the access points are numbered in another order here."""
    points = {f"WiFi.AccessPoint.{n}.SSIDReference": f"Device.WiFi.SSID.{5 - n}." for n in range(1, 5)}
    values = read({**networks(s1="1", s2="2", s3="1", s4="2"), **points}, "Device.")
    made = profiles.bound(profiles.SHIPPED.of("", "", "", "Device."), values)
    assert [made.path(f"wifi.{n}.key") for n in range(1, 5)] == [
        f"Device.WiFi.AccessPoint.{n}.Security.KeyPassphrase" for n in (4, 3, 2, 1)
    ]
    assert made.path("wifi.4.channel") == "Device.WiFi.Radio.2.Channel"
    with pytest.raises(UnplacedNameError, match=r"there is no wifi\.5"):
        made.resolve("wifi.5.ssid")


def test_voice_lines_are_counted_through_all_profiles() -> None:
    lines = {
        f"Services.VoiceService.1.VoiceProfile.{p}.Line.{n}.Enable": "Enabled" for p, n in ((1, 1), (1, 2), (2, 1))
    }
    made = profiles.bound(profiles.SHIPPED.of("", "", "", IGD), read(lines, IGD))
    assert made.path("voip.3.number") == f"{IGD}Services.VoiceService.1.VoiceProfile.2.Line.1.DirectoryNumber"


def test_an_undecodable_reference_says_nothing_its_row_stays() -> None:
    """An unreadable destination is no default route."""
    cut = {**LAN_AND_WAN, **route(1, 1, DestIPAddress=UNREADABLE)}
    assert where(cut, "wan").startswith("no default route was read")
    dirty = {"WiFi.SSID.1.SSID": f"Caf{UNREADABLE}", "WiFi.SSID.2.SSID": "home"}
    assert where(dirty, "wifi.2") == "WiFi.SSID.2."


# --- models that were recorded ----------------------------------------------------------------------------------------


def test_the_wan_of_a_recorded_bm632w() -> None:
    """Its line without PPP is the WAN; names of PPP are not shown."""
    values = models.of_csv(data.recorded("cpe-models/huawei-BM632w.genieacs-sim.csv"))
    made = profiles.bound(profiles.SHIPPED.of("202BC1", "BM632w", "", IGD), values)
    assert made.path("wan.ip") == f"{CONNECTION}1.WANIPConnection.1.ExternalIPAddress"
    assert values[made.resolve("wan.ip")].value == "172.3.89.139"
    assert values[made.resolve("wan.status")].value == "Connected"
    assert made.path("wan.ipoe.enabled") == f"{CONNECTION}1.WANIPConnection.1.Enable"
    with pytest.raises(UnplacedNameError, match="is no PPP connection"):
        made.resolve("wan.ppp.username")
    assert values[made.resolve("lan.ip")].value == "192.168.1.1"
    assert values[made.resolve("lan.dhcp.first")].value == "192.168.1.2"
    assert made.path("wifi.2.ssid") is None


def recordings() -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield each recorded message with parameters and values: file, values, root."""
    for folder in ("traces", "captured", "messages"):
        for path in sorted(data.recorded(folder).glob("*.xml")):
            texts = data.parameters(path)
            for root in ("Device.", IGD):
                if any(name.startswith(root) for name in texts):
                    yield path.name, texts, root


def test_no_recording_shows_a_lan_as_the_wan() -> None:
    """Whatever is shown as the address of the WAN stands at a WAN connection, or on a stack that leads outward."""
    seen = 0
    for name, texts, root in recordings():
        made = profiles.bound(profiles.SHIPPED.of("", "", "", root), read(texts))
        shown = made.path("wan.ip")
        assert shown is None or ".WANConnectionDevice." in shown or ".PPP." in shown, name
        assert shown is None or shown not in (made.path("lan.ip"), made.path("lan.dhcp.router")), name
        seen += 1
    assert seen >= 8


# --- in general -------------------------------------------------------------------------------------------------------

PATHS = [*models.whole("Device.", ppp=True), *models.whole(IGD, ppp=False)]
REFERENCES = st.sampled_from(
    ["", "0", "1", "true", "x", "0.0.0.0", "Device.", "Device.WiFi.SSID.1", "Device.IP.Interface.2.,,", *PATHS]
)


@given(values=st.dictionaries(st.sampled_from(PATHS), REFERENCES), root=st.sampled_from(["Device.", IGD, "X."]))
def test_any_values_give_places_that_say_what_they_rest_on(values: dict[str, str], root: str) -> None:
    """A place is found or has a reason; what it rests on was read."""
    made = places.find(root, read(values), {})
    assert not made.found.keys() & made.unknown.keys()
    assert all(place.path.startswith(root) and place.path.endswith(".") for place in made.found.values())
    assert all(path in values for place in made.found.values() for path in place.rests_on)
    assert all(made.unknown.values())


@given(at=st.sampled_from(sorted(models.whole("Device.", ppp=True))), text=REFERENCES)
def test_a_place_changes_only_with_what_it_rests_on(at: str, text: str) -> None:
    """What a plan binds is enough: a name of the Wi-Fi or WAN that moves has a reference that reads otherwise."""
    before = models.whole("Device.", ppp=True)
    after = {**before, at: replace(before[at], value=text)}
    was, now = places.find("Device.", before, {}), places.find("Device.", after, {})
    for name in ("wan", "wan.ppp", "wifi.1", "wifi.2", "wifi.1.ap", "wifi.1.radio"):
        place = now.found.get(name)
        if place is not None and place.path != was.found[name].path:
            assert at in was.found[name].rests_on, (name, at)


def test_a_profile_fixes_a_place_and_what_is_below_it_follows() -> None:
    """One line of an operator's own profile tells the WAN of a CPE that does not."""
    values = read({**TB362, "IP.Interface.3.LowerLayers": "Device.Ethernet.Link.3"}, "Device.")
    made = places.find("Device.", values, {"wan": f"{IP}3.", "wifi.1": "Device.WiFi.SSID.2."})
    assert made.found["wan.ipoe"].path == f"{IP}3."
    assert made.found["wan.link"].path == "Device.Ethernet.Link.3."
    assert [made.found[f"wifi.{n}"].path[-2] for n in (1, 2, 3)] == ["2", "1", "3"]
    assert made.found["wifi.1.radio"].path == "Device.WiFi.Radio.2."
