"""How the lab's BNG are set up where they are MikroTik routers: RADIUS first, one firewall, a user for the API."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from lab.nas import NasOptions
from lab.radius_client import Endpoint
from lab.router.device import Router

API_USER: Final = "ispagents"
SUSPENDED: Final = "suspended"
PAY_PAGES: Final = "pay-page"
# of a documentation range (RFC 5737), as the lab's internet is
PAY_PAGE: Final = "198.51.100.10"
_FILTER: Final = "/ip/firewall/filter"


def _ranges(network: IPv4Network) -> str:
    """The addresses that a pool gives out: the first one is the router's own."""
    return f"{network[2]}-{network[-2]}"


def make_router(options: NasOptions, radius: Endpoint, password: str, version: str) -> Router:
    """Make the router of a BNG: members of the list `suspended` reach the pay page and nothing else.

    Its serial number is `LAB-` and its name. `admin`, without a password, is disabled.

    Raises:
        UnknownVersionError: there is no such version.
    """
    router = Router(version, identity=options.name, serial=f"LAB-{options.name}")
    _set_up_access(router, options, radius)
    _set_up_firewall(router, options)
    router.add("/user/group", name=API_USER, policy="read,write,api")  # no `sensitive`: it sees no password
    router.add("/user", name=API_USER, password=password, group=API_USER)
    router.set("/user", "admin", disabled="yes")
    return router


def _set_up_access(router: Router, options: NasOptions, radius: Endpoint) -> None:
    gateway = str(options.normal.network4[1])
    for plan in (options.normal, options.garden):
        router.add("/ip/pool", name=plan.name, ranges=_ranges(plan.network4))
    router.add("/ppp/profile", name="subscribers", local_address=gateway, remote_address=options.normal.name)
    (server,) = router.rows("/interface/pppoe-server/server")
    router.set("/interface/pppoe-server/server", server[".id"], default_profile="subscribers")
    router.set("/ppp/aaa", use_radius="yes", accounting="yes")
    router.add(
        "/radius",
        service="ppp",
        address=radius.host,
        authentication_port=str(radius.auth_port),
        accounting_port=str(radius.acct_port),
        secret=radius.secret.decode(),
        # not RouterOS' 300 ms: a lab shares its machine with whatever else runs there
        timeout="2s",
        comment="RADIUS",
    )
    router.add("/radius", address=options.host, secret=options.secret.decode(), comment="CoA and Disconnect")
    router.set("/radius/incoming", accept="yes")


def _set_up_firewall(router: Router, options: NasOptions) -> None:
    router.add("/interface/list", name="WAN")
    router.add("/interface/list/member", list="WAN", interface="ether1")
    router.add("/ip/firewall/address-list", list=PAY_PAGES, address=PAY_PAGE)
    to_pay = {"src_address_list": SUSPENDED, "dst_address_list": PAY_PAGES}
    router.add(_FILTER, chain="forward", action="accept", comment="suspended: may pay", **to_pay)
    router.add(_FILTER, chain="forward", action="drop", src_address_list=SUSPENDED, comment="suspended: nothing else")
    router.add(_FILTER, chain="forward", action="fasttrack-connection", connection_state="established,related")
    router.add(_FILTER, chain="forward", action="accept", connection_state="established,related,untracked")
    for network in (options.garden.framed6, options.garden.delegated6):  # whose /32 is every BNG's garden
        held = str(network.supernet(new_prefix=32))
        router.add("/ipv6/firewall/filter", chain="forward", action="drop", src_address=held, comment="garden, IPv6")
    router.add("/ip/firewall/nat", chain="srcnat", action="masquerade", out_interface_list="WAN")
