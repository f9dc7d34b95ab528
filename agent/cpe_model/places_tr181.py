"""The places of a TR-181 CPE: interface stacks (`LowerLayers`), the default route, references of Wi-Fi. Pure.

The WAN is, by known values in this order:

1. the IP interface that the default route names, unless it stands on the LAN;
2. the only IP interface that stands on an upstream interface: `Upstream` is true, or a DSL line, an optical or a
   cellular interface that does not deny it;
3. the only IP interface that stands on a PPP interface, which is a client of the network.

An interface is of the LAN when a Wi-Fi network or an interface with a false `Upstream` is below it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.cpe_model.found_place import Place, one_of, voice_lines
from agent.cpe_model.structure import Structure

_ROOT: Final = "Device."
_IP: Final = f"{_ROOT}IP.Interface."
_PPP: Final = f"{_ROOT}PPP.Interface."
_LINK: Final = f"{_ROOT}Ethernet.Link."
_VLAN: Final = f"{_ROOT}Ethernet.VLANTermination."
_BRIDGE: Final = f"{_ROOT}Bridging."
_SSID: Final = f"{_ROOT}WiFi.SSID."
_RADIO: Final = f"{_ROOT}WiFi.Radio."
_AP: Final = f"{_ROOT}WiFi.AccessPoint."
_ENDPOINT: Final = f"{_ROOT}WiFi.EndPoint."
_ROUTER: Final = f"{_ROOT}Routing.Router."
_POOL: Final = f"{_ROOT}DHCPv4.Server.Pool."
_DSL: Final = f"{_ROOT}DSL.Line."
_CHANNEL: Final = f"{_ROOT}DSL.Channel."
_OPTICAL: Final = f"{_ROOT}Optical.Interface."
_CELLULAR: Final = f"{_ROOT}Cellular.Interface."
_VOICE: Final = f"{_ROOT}Services.VoiceService."
_OUTWARD: Final = (_DSL, _OPTICAL, _CELLULAR)
_ANY: Final = frozenset({"", "0.0.0.0"})  # noqa: S104  a destination of a route, not an address to listen on
_DEEP: Final = 64
"""Objects below one IP interface that are looked at; chosen arbitrarily, far above the stacks of CPE."""

STRUCTURE: Final = frozenset(
    {
        "IP.Interface.{i}.LowerLayers", "IP.Interface.{i}.IPv4Address.{i}.IPAddress",
        "IP.Interface.{i}.IPv4Address.{i}.Enable", "PPP.Interface.{i}.LowerLayers", "Ethernet.Link.{i}.LowerLayers",
        "Ethernet.VLANTermination.{i}.LowerLayers", "Ethernet.Interface.{i}.Upstream", "DSL.Line.{i}.Upstream",
        "DSL.Line.{i}.Status", "DSL.Channel.{i}.LowerLayers", "PTM.Link.{i}.LowerLayers", "ATM.Link.{i}.LowerLayers",
        "Optical.Interface.{i}.Upstream", "Optical.Interface.{i}.Status", "Cellular.Interface.{i}.Upstream",
        "USB.Interface.{i}.Upstream", "Bridging.Bridge.{i}.Port.{i}.LowerLayers", "WiFi.SSIDNumberOfEntries",
        "WiFi.SSID.{i}.LowerLayers", "WiFi.SSID.{i}.SSID", "WiFi.AccessPoint.{i}.SSIDReference",
        "WiFi.EndPoint.{i}.SSIDReference", "Routing.Router.{i}.IPv4Forwarding.{i}.Enable",
        "Routing.Router.{i}.IPv4Forwarding.{i}.DestIPAddress", "Routing.Router.{i}.IPv4Forwarding.{i}.DestSubnetMask",
        "Routing.Router.{i}.IPv4Forwarding.{i}.Interface",
        "Routing.Router.{i}.IPv4Forwarding.{i}.Status", "DHCPv4.Server.Pool.{i}.Enable",
        "DHCPv4.Server.Pool.{i}.Interface", "DHCPv4.Server.Pool.{i}.IPRouters",
        "Services.VoiceService.{i}.VoiceProfile.{i}.Line.{i}.Enable",
    }
)  # fmt: skip
"""Which parameters are read to find places: below the root, with `{i}` for instances."""


class _Side(enum.Enum):
    UPSTREAM = enum.auto()
    PPP = enum.auto()
    LAN = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class _Stack:
    """The interfaces that one stands on, itself first. `rests_on`: the parameters that say so."""

    objects: tuple[str, ...]
    rests_on: tuple[str, ...]
    side: _Side

    def first(self, table: str) -> str | None:
        return next((each for each in self.objects if each.startswith(table)), None)


def places(s: Structure, fixed: Mapping[str, str]) -> dict[str, Place | str]:
    """Return each place, or why it is not known. `fixed`: place -> full path of its object."""
    found: dict[str, Place | str] = {name: Place(path) for name, path in fixed.items()}
    stacks = {row: _stack(s, row) for row in s.rows(_IP)}
    wan = found.setdefault("wan", _wan(s, stacks))
    for name, place in _below_wan(s, wan).items():
        found.setdefault(name, place)
    pool = found.setdefault("lan.dhcp", _pool(s, wan))
    lan = found.setdefault("lan", _lan(s, pool, wan))
    found.setdefault("lan.ipv4", _address(s, lan, "LAN"))
    for name, place in _wifi(s, fixed).items():
        found.setdefault(name, place)
    for name, place in _lines(s).items():
        found.setdefault(name, place)
    return found


# --- stacks and the WAN -----------------------------------------------------------------------------------------------


def _stack(s: Structure, start: str) -> _Stack:
    objects: list[str] = [start]
    rests_on: list[str] = []
    ups: list[bool] = []
    at = 0
    while at < len(objects) and at < _DEEP:
        each, at = objects[at], at + 1
        if (path := f"{each}LowerLayers") in s.texts:
            rests_on.append(path)
            objects += [lower for lower in s.references(path) if lower not in objects]
        up = s.flag(f"{each}Upstream")
        if up is not None:
            rests_on.append(f"{each}Upstream")
            ups.append(up)
        elif each.startswith(_OUTWARD):
            ups.append(True)
    if False in ups or any(each.startswith(_SSID) for each in objects):
        side = _Side.LAN
    elif ups:
        side = _Side.UPSTREAM
    elif any(each.startswith(_BRIDGE) for each in objects):
        side = _Side.LAN
    else:
        side = _Side.PPP if any(each.startswith(_PPP) for each in objects) else _Side.UNKNOWN
    return _Stack(tuple(objects), tuple(rests_on), side)


def _wan(s: Structure, stacks: Mapping[str, _Stack]) -> Place | str:
    routes = _default_routes(s)
    by_route = [row for row in routes if row not in stacks or stacks[row].side is not _Side.LAN]
    if len(by_route) > 1:  # of several ways, those that are known to lead outward
        by_route = [r for r in by_route if r in stacks and stacks[r].side in (_Side.UPSTREAM, _Side.PPP)] or by_route
    if len(by_route) == 1:
        row = by_route[0]
        lower = stacks[row].rests_on if row in stacks else ()
        return Place(row, (*routes[row], *lower), "the default route")
    if routes:
        return _not_by_route(routes, by_route)
    for side, why in ((_Side.UPSTREAM, "an upstream interface below it"), (_Side.PPP, "PPP below it")):
        rows = [row for row, stack in stacks.items() if stack.side is side]
        if len(rows) == 1:
            return Place(rows[0], stacks[rows[0]].rests_on, why)
        if rows:
            return f"no default route was read, and {one_of(rows, 'IP interface')}"
    if not stacks:
        return "no IP interface was read"
    return "no default route was read, and no IP interface is known to stand on an upstream or PPP interface"


def _not_by_route(routes: Mapping[str, Sequence[str]], outward: Sequence[str]) -> str:
    if outward:
        return f"of several default routes {one_of(outward, 'default route')}"
    return f"the default route names {', '.join(r.rstrip('.') for r in routes)}, which stands on the LAN"


def _default_routes(s: Structure) -> dict[str, tuple[str, ...]]:
    """Return the IP interfaces that default routes name, each with the parameters that say so."""
    found: dict[str, tuple[str, ...]] = {}
    for router in s.rows(_ROUTER):
        for row in s.rows(f"{router}IPv4Forwarding."):
            where, mask = f"{row}DestIPAddress", f"{row}DestSubnetMask"
            if where not in s.texts or s.text(where) not in _ANY or s.text(mask) not in _ANY:
                continue
            status = f"{row}Status"
            if s.flag(f"{row}Enable") is False or s.text(status).startswith(("Disabled", "Error")):
                continue  # some keep one for each line that they could have
            decided = (where, f"{row}Interface", *([status] if status in s.texts else []))
            for interface in s.references(f"{row}Interface"):
                if interface.startswith(_IP):
                    found.setdefault(interface, decided)
    return found


def _below_wan(s: Structure, wan: Place | str) -> dict[str, Place | str]:
    if isinstance(wan, str):
        return dict.fromkeys(
            ("wan.ppp", "wan.ipoe", "wan.ipv4", "wan.link", "wan.vlan"), f"the WAN is not known: {wan}"
        )
    stack = _stack(s, wan.path)
    rests_on = tuple(dict.fromkeys((*wan.rests_on, *stack.rests_on)))

    def below(table: str, what: str) -> Place | str:
        row = stack.first(table)
        if row is None:
            return f"the WAN ({wan.path.rstrip('.')}) stands on no {what} that was read"
        return Place(row, rests_on, wan.why)

    ppp = below(_PPP, "PPP interface")
    ipoe = f"the WAN ({wan.path.rstrip('.')}) stands on PPP" if isinstance(ppp, Place) else wan
    return {
        "wan.ppp": ppp,
        "wan.ipoe": ipoe,
        "wan.ipv4": _address(s, wan, "WAN"),
        "wan.link": below(_LINK, "Ethernet link"),
        "wan.vlan": below(_VLAN, "VLAN termination"),
    }


def _address(s: Structure, interface: Place | str, what: str) -> Place | str:
    """Return the row of an interface's only IPv4 address that is in use."""
    if isinstance(interface, str):
        return f"the {what} is not known: {interface}"
    rows = s.rows(f"{interface.path}IPv4Address.")
    used = [r for r in rows if s.text(f"{r}IPAddress") not in _ANY and s.flag(f"{r}Enable") is not False]
    chosen = used or rows
    why = one_of(chosen, f"IPv4 address of the {what}")
    return why if why is not None else Place(chosen[0], interface.rests_on, interface.why)


# --- LAN --------------------------------------------------------------------------------------------------------------


def _pool(s: Structure, wan: Place | str) -> Place | str:
    """Return the only DHCP pool in use: pools serve the LAN."""
    outside = wan.path if isinstance(wan, Place) else ""
    rows = [row for row in s.rows(_POOL) if outside not in s.references(f"{row}Interface")]
    if len(rows) > 1:
        rows = [row for row in rows if s.flag(f"{row}Enable") is not False] or rows
    why = one_of(rows, "DHCP pool")
    if why is not None:
        return why
    decided = (f"{rows[0]}Interface",) if f"{rows[0]}Interface" in s.texts else ()
    return Place(rows[0], decided, "the only DHCP pool in use")


def _lan(s: Structure, pool: Place | str, wan: Place | str) -> Place | str:
    """Return the IP interface that the DHCP pool serves: the one it names, or the one with the address that it gives
    out as router.
    """
    if isinstance(pool, str):
        return f"the DHCP pool is not known: {pool}"
    path, outside = f"{pool.path}Interface", wan.path if isinstance(wan, Place) else ""
    served = [each for each in s.references(path) if each.startswith(_IP)]
    if len(served) == 1:
        return Place(served[0], (path,), "its DHCP pool")
    router = f"{pool.path}IPRouters"
    rows = [
        row
        for row in s.rows(_IP)
        if row != outside
        and s.text(router)
        and any(s.text(f"{address}IPAddress") == s.text(router) for address in s.rows(f"{row}IPv4Address."))
    ]
    why = one_of(rows, "IP interface with the address that DHCP gives out as router")
    return why if why is not None else Place(rows[0], (router,), "the router that its DHCP pool gives out")


# --- Wi-Fi, lines -----------------------------------------------------------------------------------------------------


def _wifi(s: Structure, fixed: Mapping[str, str]) -> dict[str, Place | str]:
    """Return the networks in turn of the radios, with each one's radio and access point."""
    stations = {ref for row in s.rows(_ENDPOINT) for ref in s.references(f"{row}SSIDReference")}
    taken = {path for name, path in fixed.items() if name.startswith("wifi.")}
    rows = s.rows(_SSID)
    told = s.count(f"{_ROOT}WiFi.SSIDNumberOfEntries")
    if not rows:
        return {"wifi": "no Wi-Fi network was read"}
    if told is not None and told > len(rows):
        return {"wifi": f"{len(rows)} of {told} Wi-Fi networks were read"}
    rests_on = tuple(path for row in rows if (path := f"{row}LowerLayers") in s.texts)
    left = [row for row in _in_turn(s, rows) if row not in stations and row not in taken]
    found: dict[str, Place | str] = {}
    number = 0
    for row in left:
        number = next(n for n in range(number + 1, number + len(fixed) + 2) if f"wifi.{n}" not in fixed)
        found[f"wifi.{number}"] = Place(row, rests_on, "networks in turn of the radios")
    for name, path in {**fixed, **{n: p.path for n, p in found.items() if isinstance(p, Place)}}.items():
        if name.startswith("wifi.") and name.count(".") == 1:
            found |= _network(s, name, path, () if name in fixed else rests_on)
    return found


def _network(s: Structure, name: str, ssid: str, rests_on: tuple[str, ...]) -> dict[str, Place | str]:
    radios = [ref for ref in s.references(f"{ssid}LowerLayers") if ref.startswith(_RADIO)]
    points = [row for row in s.rows(_AP) if ssid in s.references(f"{row}SSIDReference")]
    radio: Place | str = f"{ssid}LowerLayers names no radio that was read"
    if len(radios) == 1:
        radio = Place(radios[0], tuple(dict.fromkeys((*rests_on, f"{ssid}LowerLayers"))), "LowerLayers")
    why = one_of(points, f"access point that refers to {ssid.rstrip('.')}")
    point = why if why is not None else Place(points[0], (*rests_on, f"{points[0]}SSIDReference"), "SSIDReference")
    return {f"{name}.radio": radio, f"{name}.ap": point}


def _in_turn(s: Structure, rows: Sequence[str]) -> list[str]:
    """Return networks: the first of each radio, then the second of each; those without a radio at the end."""
    by_radio: dict[str, list[str]] = {}
    for row in rows:
        radio = next((ref for ref in s.references(f"{row}LowerLayers") if ref.startswith(_RADIO)), "")
        by_radio.setdefault(radio, []).append(row)
    order = sorted(by_radio, key=lambda radio: (radio == "", _number(radio)))
    place = {
        row: (radio == "", by_radio[radio].index(row), order.index(radio)) for radio in order for row in by_radio[radio]
    }
    return sorted(rows, key=place.__getitem__)


def _number(row: str) -> int:
    word = row.rstrip(".").rpartition(".")[2]
    return int(word) if word.isdecimal() else 0


def _lines(s: Structure) -> dict[str, Place | str]:
    found: dict[str, Place | str] = {}
    for name, table, what in (("dsl", _DSL, "DSL line"), ("optical", _OPTICAL, "optical interface")):
        rows = [row for row in s.rows(table) if s.flag(f"{row}Upstream") is not False]
        why = one_of(rows, what)
        found[name] = why if why is not None else Place(rows[0], (), f"the only {what}")
    line = found["dsl"]
    channels = [r for r in s.rows(_CHANNEL) if isinstance(line, Place) and line.path in s.references(f"{r}LowerLayers")]
    why = one_of(channels, "DSL channel on the line")
    found["dsl.channel"] = why if why is not None else Place(channels[0], (f"{channels[0]}LowerLayers",), "LowerLayers")
    return {**found, **voice_lines(s, _VOICE)}
