"""Reads the tables of a device by which the agent's own way to it is found (`port_ways`).

Standard MIBs alone, and as little of them as possible: a bridge is asked for the few MAC addresses that matter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

import trio

from agent.connectors.snmp import conversions, values
from agent.connectors.snmp.client_session import SnmpClient
from agent.connectors.snmp.errors import AgentFaultError, NoOidError, RequestRefusedError
from agent.connectors.snmp.port_ways import WayFacts
from agent.connectors.snmp.values import MISSING, Oid, Value

_ADDRESS_INDEX: Final = values.oid("1.3.6.1.2.1.4.20.1.2")
_ADDRESSES: Final = values.oid("1.3.6.1.2.1.4.34.1.3")
_ARP: Final = values.oid("1.3.6.1.2.1.4.22.1.2")
_NEIGHBOR_CACHE: Final = values.oid("1.3.6.1.2.1.4.35.1.4")
_NEXT_HOP: Final = values.oid("1.3.6.1.2.1.4.21.1.7.0.0.0.0")
_CIDR_NEXT_HOP: Final = values.oid("1.3.6.1.2.1.4.24.4.1.4.0.0.0.0.0.0.0.0")
_INET_ROUTE: Final = values.oid("1.3.6.1.2.1.4.24.7.1.7.1.4.0.0.0.0.0")
_INET_ROUTE_6: Final = values.oid("1.3.6.1.2.1.4.24.7.1.7.2.16" + 16 * ".0" + ".0")
_BASE_PORT: Final = values.oid("1.3.6.1.2.1.17.1.4.1.2")
_FDB: Final = "1.3.6.1.2.1.17.4.3.1.2"
_Q_FDB: Final = values.oid("1.3.6.1.2.1.17.7.1.2.2.1.2")
_AGGREGATED: Final = values.oid("1.2.840.10006.300.43.1.2.1.1.13")
_STACK: Final = values.oid("1.3.6.1.2.1.31.1.2.1.3")
_LAG_TYPE: Final = 161
_IF_TYPE: Final = values.oid("1.3.6.1.2.1.2.2.1.3")
_SIZES: Final = {1: 4, 2: 16, 3: 4, 4: 16}
"""Octets of an address by its InetAddressType."""
_INTERFACES: Final = trio.Path("/sys/class/net")

Rows = Mapping[bytes, Value]


async def way_facts(client: SnmpClient) -> WayFacts:
    """Return the facts that a device tells about the agent's own way to it.

    Raises:
        SilentError: it does not answer.
        UnsentRequestError: there is no way to it.
    """
    asked, own = await client.ends()
    addresses = await _addresses(client)
    known = await _macs_by_address(client)
    sought: dict[str, str] = {}
    for ip, how in ((own, "of the agent's own address"), *((hop, "of its gateway") for hop in await _gateways(client))):
        if ip in known:
            sought.setdefault(known[ip], f"the MAC address {how} {ip}")
    for mac in await _own_macs():
        sought.setdefault(mac, "a MAC address of the agent's own host")
    learned = await _learned(client, sought)
    if learned:
        sought = {mac: how for mac, how in sought.items() if mac in learned}
    else:
        sought = {mac: how for mac, how in sought.items() if mac in known.values()}
    members, members_read = await _members(client)
    return WayFacts(asked, addresses, learned, sought, members, members_read)


async def _table(client: SnmpClient, column: Oid) -> Rows:
    """Return the rows of a column; none where the device refuses it."""
    try:
        return (await client.table((column,)))[column]
    except (RequestRefusedError, AgentFaultError):
        return {}


async def _addresses(client: SnmpClient) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for tail, (_, index) in (await _table(client, _ADDRESS_INDEX)).items():
        if isinstance(index, int) and (ip := _ip(values.index(tail))):
            found[ip] = index
    for tail, (_, index) in (await _table(client, _ADDRESSES)).items():
        if isinstance(index, int) and (ip := _inet(values.index(tail))):
            found.setdefault(ip, index)
    return found


async def _macs_by_address(client: SnmpClient) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for tail, value in (await _table(client, _ARP)).items():
        mac, ip = conversions.mac(value), _ip(values.index(tail)[1:])
        if mac and ip:
            found[ip] = str(mac)
    for tail, value in (await _table(client, _NEIGHBOR_CACHE)).items():
        mac, ip = conversions.mac(value), _inet(values.index(tail)[1:])
        if mac and ip:
            found.setdefault(ip, str(mac))
    return found


async def _gateways(client: SnmpClient) -> list[str]:
    """Return the next hops of the device's default routes, IPv4 and IPv6."""
    found: dict[str, None] = {}
    try:
        answer = (await client.get((_NEXT_HOP,)))[_NEXT_HOP]
    except (RequestRefusedError, AgentFaultError):
        answer = (values.NULL, b"")
    hops = [answer, *(await _table(client, _CIDR_NEXT_HOP)).values()]
    for hop in hops:
        if hop[0] == values.IP_ADDRESS and (ip := conversions.address(hop)):
            found[str(ip)] = None
    for column in (_INET_ROUTE, _INET_ROUTE_6):
        for tail in await _table(client, column):
            if ip := _next_hop(values.index(tail)):
                found[ip] = None
    return [ip for ip in found if not ipaddress.ip_address(ip).is_unspecified]


def _next_hop(index: tuple[int, ...]) -> str:
    """Return the next hop at the end of a route's index: policy (an OID behind its length), then InetAddress."""
    return _inet(index[1 + index[0] :]) if index and len(index) > index[0] else ""


def _ip(index: tuple[int, ...]) -> str:
    return ".".join(map(str, index)) if len(index) == 4 and max(index) < 256 else ""


def _inet(index: tuple[int, ...]) -> str:
    """Return an InetAddressType and InetAddress of an index as text; "": it is neither IPv4 nor IPv6."""
    if len(index) < 2 or len(index) < index[1] + 2 or any(sub > 255 for sub in index[2 : index[1] + 2]):
        return ""
    size = _SIZES.get(index[0], 0)
    octets = bytes(index[2 : index[1] + 2])[:size]  # behind an address may come its zone
    return str(ipaddress.ip_address(octets)) if size and len(octets) == size else ""


def _first(tail: bytes) -> int:
    return next(iter(values.index(tail)), 0)


async def _own_macs() -> list[str]:
    """Return the MAC addresses of this host's interfaces; none where the system does not show them."""
    found = []
    try:
        interfaces = sorted(await _INTERFACES.iterdir())
    except OSError:
        return []
    for interface in interfaces:
        try:
            text = (await (interface / "address").read_text()).strip().lower()
        except (OSError, UnicodeDecodeError):
            continue  # the file `bonding_masters`, or an interface that just went: the others count
        if len(text) == 17 and text != "00:00:00:00:00:00":
            found.append(text)
    return found


async def _learned(client: SnmpClient, sought: Mapping[str, str]) -> Mapping[str, frozenset[int]]:
    """Return the interfaces where MAC addresses are learned: one may be on several ports, of several VLANs."""
    if not sought:
        return {}
    names: dict[str, Oid] = {}
    for mac in sought:
        try:
            names[mac] = values.oid(f"{_FDB}.{'.'.join(str(int(word, 16)) for word in mac.split(':'))}")
        except (NoOidError, ValueError):
            continue
    try:
        answers = await client.get(tuple(names.values()))
    except (RequestRefusedError, AgentFaultError):
        answers = {}
    ports: dict[str, set[int]] = {}
    for mac, name in names.items():
        tag, port = answers.get(name, (values.NULL, b""))
        if tag not in MISSING and isinstance(port, int) and port:
            ports.setdefault(mac, set()).add(port)
    for tail, (_, port) in (await _table(client, _Q_FDB)).items():
        mac = ":".join(f"{sub:02x}" for sub in values.index(tail)[1:])
        if mac in names and isinstance(port, int) and port:
            ports.setdefault(mac, set()).add(port)
    if not ports:
        return {}
    indexes: dict[int, int] = {}
    for tail, (_, index) in (await _table(client, _BASE_PORT)).items():
        if isinstance(index, int):
            indexes[_first(tail)] = index
    known = {mac: frozenset(indexes[port] for port in found if port in indexes) for mac, found in ports.items()}
    return {mac: found for mac, found in known.items() if found}  # a bridge numbers its ports by itself: no guess


async def _members(client: SnmpClient) -> tuple[Mapping[int, int], bool]:
    """Return the members of link aggregations, and whether the device has a table that tells of them."""
    attached = await _table(client, _AGGREGATED)
    members = {
        index: lag
        for tail, (_, lag) in attached.items()
        if isinstance(lag, int) and lag and (index := _first(tail)) != lag
    }
    # ifStackTable has the layers of VLANs and tunnels too: only below an aggregation does a layer make a member
    stack = await _table(client, _STACK)
    if stack:
        lags = {_first(tail) for tail, (_, of) in (await _table(client, _IF_TYPE)).items() if of == _LAG_TYPE}
        pairs = [values.index(tail) for tail in stack]
        members |= {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and pair[0] in lags and pair[1]}
    return members, bool(attached or stack)
