"""Texts of the access method for DHCP leases: the present state, the state after the change, and its proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.model import Access

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import DhcpMethod

_ONLY: str = "IPv4 only: a prefix by DHCPv6 is not held"


def now_text(client: Mapping[str, str], lease: Mapping[str, str], router: str, left: str) -> str:
    """Return `lease 192.0.2.7 on edge-1, runs out in 9m`, or that the client has no address now.

    `left`: how long ago the router last saw a client without an address; "": not since its lease was made.
    """
    place = lease.get("address") or "a pool"
    if not client and not left:
        return f"not seen since its lease of {place} was made: an address from before may be in use on {router}"
    if not client:
        return f"no address now, last seen {left} ago (lease of {place} on {router})"
    until = client.get("expires-after")
    return f"lease {client['active-address']} on {router}{f', runs out in {until}' if until else ''}"


def unseen_text(router: str) -> str:
    """Return why nobody knows whether the client of a lease is online."""
    return (
        f"not proven: {router} has not seen its client since the lease was made, and it may go on with an address from "
        "before until it renews"
    )


def left_text(client: Mapping[str, str]) -> str:
    """Return when a client's lease ends at the latest: a client renews when half of it is over (RFC 2131, 4.4.5)."""
    left = client.get("expires-after")
    return f"its lease runs out in {left} unless it renews" if left else "its lease does not say when it runs out"


def after_text(access: Access, method: DhcpMethod, rate: str, how: str) -> str:
    """Return the subscriber's service as text, and that it may take until the client renews."""
    renews = "may take hold only when the client renews its lease"
    if access is Access.ACTIVE:
        return f"{f'rate-limit {rate}' if rate else 'no rate-limit'} · {renews}"
    if not method.suspended_list:
        return f"no address once its lease runs out: it is blocked, and keeps what it has until then · {_ONLY}"
    return f"pay page only: {how} · {renews} · {_ONLY}"


def proof_text(access: Access, method: DhcpMethod) -> str:
    """Return how enforcement will be judged."""
    written = "written if it reads as planned just before (RouterOS cannot do both at once)"
    wait = f"{written} · looked at for {method.renew_within_s} s"
    if access is Access.ACTIVE:
        where = f"not in list {method.suspended_list}, " if method.suspended_list else ""
        return f"the client's address {where}and a new speed in its queue; or no address now · {wait}"
    if not method.suspended_list:
        return f"no lease and no connection left · {wait}"
    return (
        f"the client's address in list {method.suspended_list}, no connection from before; or no address now · {wait}"
    )
