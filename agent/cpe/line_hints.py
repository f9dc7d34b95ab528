"""Hints by which the devices of the network may know a service's CPE: its serial number, and its own MAC addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.cpe.query import is_own_mac
from agent.lines.finding import Hint, HintKind
from agent.lines.states import Query
from agent.spelling import mac_digits


def cpe_hints(query: Query, service: str | None) -> Mapping[str, Sequence[Hint]]:
    """Return the hints that accepted CPE give, by the service that they serve; `service` None: of all.

    A CPE that nobody accepted may claim any serial number: it says nothing.
    """
    found: dict[str, list[Hint]] = {}
    serials = query(
        "SELECT service, serial, name FROM cpe WHERE service <> '' AND trust = 'accepted'"
        " AND (service = ?1 OR ?1 IS NULL)",
        (service,),
    )
    for r in serials:
        found.setdefault(r["service"], []).append(Hint(HintKind.SERIAL, r["serial"], f"CPE {r['name']}"))
    rows = query(
        "SELECT c.service, c.name, v.path, v.value FROM cpe c JOIN cpe_value v USING (name) WHERE c.service <> ''"
        " AND c.trust = 'accepted' AND (c.service = ?1 OR ?1 IS NULL) AND v.value IS NOT NULL"
        " AND v.path LIKE '%MACAddress'",
        (service,),
    )
    for r in rows:
        if is_own_mac(r["path"]) and _is_of_one_device(mac := mac_digits(r["value"])):
            found.setdefault(r["service"], []).append(Hint(HintKind.MAC, mac, f"CPE {r['name']}"))
    return found


def _is_of_one_device(mac: str) -> bool:
    """Tell whether a MAC address can be one device's. Firmware says zeros, or ones, of a port that has none.

    Such an address is in the tables of broken devices anywhere, and would lead to a line of somebody else.
    """
    return mac.strip("0") != "" and not int(mac[:2], 16) & 1  # a group address has the lowest bit of its first byte set
