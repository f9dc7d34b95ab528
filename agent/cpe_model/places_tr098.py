"""The places of a TR-098 CPE: WAN connections, the default connection, LAN devices. Pure.

The WAN is, by known values in this order:

1. the connection that `Layer3Forwarding.DefaultConnectionService` names, unless it is a bridge;
2. the only connection that routes (`ConnectionType` is no bridge); of several the only one that is enabled, then the
   only one that is connected;
3. the connection that the default route names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.cpe_model.found_place import Place, one_of, voice_lines
from agent.cpe_model.structure import Structure

_ROOT: Final = "InternetGatewayDevice."
_WAN: Final = f"{_ROOT}WANDevice."
_LAN: Final = f"{_ROOT}LANDevice."
_L3: Final = f"{_ROOT}Layer3Forwarding."
_DEFAULT: Final = f"{_L3}DefaultConnectionService"
_KINDS: Final = ("WANPPPConnection", "WANIPConnection")
_ANY: Final = frozenset({"", "0.0.0.0"})  # noqa: S104  a destination of a route, not an address to listen on
_BRIDGES: Final = ("Bridged", "Relay")
"""Words in the types of connections that do not route: `IP_Bridged`, `PPPoE_Relay`."""

STRUCTURE: Final = frozenset(
    {
        "Layer3Forwarding.DefaultConnectionService", "Layer3Forwarding.Forwarding.{i}.Enable",
        "Layer3Forwarding.Forwarding.{i}.DestIPAddress", "Layer3Forwarding.Forwarding.{i}.DestSubnetMask",
        "Layer3Forwarding.Forwarding.{i}.Interface", "WANDevice.{i}.WANDSLInterfaceConfig.Status",
        *(
            f"WANDevice.{{i}}.WANConnectionDevice.{{i}}.{kind}{rest}"
            for kind in _KINDS
            for rest in (
                "NumberOfEntries", ".{i}.Enable", ".{i}.ConnectionType", ".{i}.ConnectionStatus",
                ".{i}.ExternalIPAddress",
            )
        ),
        "LANDeviceNumberOfEntries", "LANDevice.{i}.LANWLANConfigurationNumberOfEntries",
        "LANDevice.{i}.WLANConfiguration.{i}.SSID", "LANDevice.{i}.LANHostConfigManagement.DHCPServerEnable",
        "LANDevice.{i}.LANHostConfigManagement.IPInterface.{i}.Enable",
        "LANDevice.{i}.LANHostConfigManagement.IPInterface.{i}.IPInterfaceIPAddress",
        "LANDevice.{i}.Hosts.HostNumberOfEntries", "Services.VoiceService.{i}.VoiceProfile.{i}.Line.{i}.Enable",
    }
)  # fmt: skip
"""Which parameters are read to find places: below the root, with `{i}` for instances."""


def places(s: Structure, fixed: Mapping[str, str]) -> dict[str, Place | str]:
    """Return each place, or why it is not known. `fixed`: place -> full path of its object."""
    found: dict[str, Place | str] = {name: Place(path) for name, path in fixed.items()}
    wan = found.setdefault("wan", _wan(s))
    for name, kind, other in (("wan.ppp", _KINDS[0], "PPP"), ("wan.ipoe", _KINDS[1], "IP")):
        if isinstance(wan, str):
            found.setdefault(name, f"the WAN is not known: {wan}")
        else:
            no = f"the WAN ({wan.path.rstrip('.')}) is no {other} connection"
            found.setdefault(name, wan if f".{kind}." in wan.path else no)
    lan = found.setdefault("lan", _lan(s))
    if isinstance(lan, str):
        found |= {name: f"the LAN is not known: {lan}" for name in ("lan.dhcp", "lan.ipv4") if name not in found}
    else:
        host = f"{lan.path}LANHostConfigManagement."
        found.setdefault("lan.dhcp", Place(host, lan.rests_on, lan.why))
        found.setdefault("lan.ipv4", _address(s, host, lan))
    for name, place in {**_wifi(s, fixed), **_dsl(s), **voice_lines(s, f"{_ROOT}Services.VoiceService.")}.items():
        found.setdefault(name, place)
    return found


def _connections(s: Structure) -> tuple[list[str], str]:
    """Return all WAN connections, and why they may not be all."""
    rows: list[str] = []
    for wan in s.rows(_WAN):
        for device in s.rows(f"{wan}WANConnectionDevice."):
            for kind in _KINDS:
                here = s.rows(f"{device}{kind}.")
                told = s.count(f"{device}{kind}NumberOfEntries")
                if told is not None and told > len(here):
                    return [], f"{len(here)} of {told} {kind} of {device.rstrip('.')} were read"
                rows += here
    return rows, ""


def _wan(s: Structure) -> Place | str:
    rows, partly = _connections(s)
    default = s.references(_DEFAULT)
    if len(default) == 1 and default[0] in rows:
        kind = f"{default[0]}ConnectionType"
        if not _is_bridge(s, default[0]):
            return Place(default[0], _there(s, (_DEFAULT, kind)), "DefaultConnectionService")
        return f"DefaultConnectionService names {default[0].rstrip('.')}, which is a bridge"
    if partly:
        return partly
    routing = [row for row in rows if not _is_bridge(s, row)]
    decided = [_DEFAULT, *(f"{row}ConnectionType" for row in rows)]
    why = "the only connection that routes"
    for last, words, said in (
        ("Enable", ("0", "false"), "the only connection that is enabled"),
        ("ConnectionStatus", ("Disconnected", "Unconfigured", "Connecting"), "the only connection that is connected"),
    ):
        if len(routing) > 1:
            decided += [f"{row}{last}" for row in routing]
            routing = [row for row in routing if s.text(f"{row}{last}").lower() not in map(str.lower, words)] or routing
            why = said
    if len(routing) > 1:
        by_route = [row for row in _by_route(s) if row in routing]
        if len(by_route) == 1:
            return Place(by_route[0], _there(s, decided), "the default route")
    not_known = one_of(routing, "WAN connection that routes")
    return not_known if not_known is not None else Place(routing[0], _there(s, decided), why)


def _is_bridge(s: Structure, row: str) -> bool:
    return any(word in s.text(f"{row}ConnectionType") for word in _BRIDGES)


def _there(s: Structure, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if path in s.texts)


def _by_route(s: Structure) -> list[str]:
    found: list[str] = []
    for row in s.rows(f"{_L3}Forwarding."):
        where, mask = f"{row}DestIPAddress", f"{row}DestSubnetMask"
        if where in s.texts and s.text(where) in _ANY and s.text(mask) in _ANY and s.flag(f"{row}Enable") is not False:
            found += [ref for ref in s.references(f"{row}Interface") if ref not in found]
    return found


def _lan(s: Structure) -> Place | str:
    rows = s.rows(_LAN)
    told = s.count(f"{_ROOT}LANDeviceNumberOfEntries")
    if told is not None and told > len(rows):
        return f"{len(rows)} of {told} LAN devices were read"
    why = one_of(rows, "LAN device")
    return why if why is not None else Place(rows[0], (), "the only LAN device")


def _address(s: Structure, host: str, lan: Place) -> Place | str:
    rows = s.rows(f"{host}IPInterface.")
    if len(rows) > 1:
        rows = tuple(row for row in rows if s.flag(f"{row}Enable") is not False) or rows
    why = one_of(rows, "IP interface of the LAN")
    return why if why is not None else Place(rows[0], lan.rests_on, lan.why)


def _wifi(s: Structure, fixed: Mapping[str, str]) -> dict[str, Place | str]:
    """Return the networks by their instance numbers."""
    rows: list[str] = []
    rests_on: list[str] = []
    for lan in s.rows(_LAN):
        here = s.rows(f"{lan}WLANConfiguration.")
        counter = f"{lan}LANWLANConfigurationNumberOfEntries"
        told = s.count(counter)
        if told is not None and told > len(here):
            return {"wifi": f"{len(here)} of {told} Wi-Fi networks were read"}
        rows += here
        rests_on += [counter] if told is not None else []
    left = [row for row in rows if row not in fixed.values()]
    numbers = [n for n in range(1, len(left) + len(fixed) + 1) if f"wifi.{n}" not in fixed]
    found: dict[str, Place | str] = {
        f"wifi.{n}": Place(row, tuple(rests_on), "networks by their instance numbers")
        for n, row in zip(numbers, left, strict=False)
    }
    return found if rows else {"wifi": "no Wi-Fi network was read"}


def _dsl(s: Structure) -> dict[str, Place | str]:
    rows = [wan for wan in s.rows(_WAN) if f"{wan}WANDSLInterfaceConfig.Status" in s.texts]
    why = one_of(rows, "DSL interface")
    return {"dsl": why if why is not None else Place(f"{rows[0]}WANDSLInterfaceConfig.", (), "the only DSL interface")}
