"""DHCP: clients that ask for an address, the leases they get, and the rows of a lease while it is bound. Pure.

A static lease of the client's MAC or client identifier comes before the server's pool. A bound lease brings dynamic
entries of its address lists and the server's, and, when it is static, a dynamic queue of its rate limit; they go when
it ends. A client renews at half the lease time. The server cannot call a client back: a blocked client is no longer
answered and keeps its address until the lease runs out; a client that has lost its lease, or is to have another
address, is told so at its next renewal and begins anew at once (MikroTik's manual, "DHCP Server"; RFC 2131 section
4.4.5).

When a change of a bound lease's lists or rate limit takes hold is `applies`: the manual shows a queue right after the
rate limit was set, and says nothing of changes and of lists.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from lab.router import values as v
from lab.router.firewall import LISTS
from lab.router.flows import Flows, Line
from lab.router.queues import QUEUES, place_of, queue_of
from lab.router.state import RouterState
from lab.router.store import Event
from lab.router.table import Row

SERVERS: Final = "/ip/dhcp-server"
LEASES: Final = "/ip/dhcp-server/lease"
# RFC 2131 section 4.4.5: a renewal that is not answered is tried again after half the time that is left, not sooner
_AGAIN_S_MIN: Final = 60.0
_NO_ADDRESS: Final = ("", "0.0.0.0")  # noqa: S104 # RouterOS' word for "of the server's pool", nothing listens

Applies: TypeAlias = Literal["at-once", "at-renewal"]


class _NoAnswerError(Exception):
    """The server is silent; the text says why."""


class _RefusedError(Exception):
    """The server answers DHCPNAK, or has nothing to offer; the text says why."""


@dataclass(slots=True)
class DhcpClient:
    """A subscriber's router that asks for its address.

    `refused`: why it was not served last; `asks`: how often it asked; `expires`: when its address is lost, by the
    router's clock (None: never, or it has none); `flows`: the connections that it opened, from any of its addresses.
    """

    mac: str
    server: str
    host_name: str
    retry_s: float
    address: str = ""
    interface: str = ""
    refused: str = ""
    asks: int = 0
    expires: float | None = None
    next_ask: float | None = None
    flows: list[Row] = field(default_factory=list)

    @property
    def online(self) -> bool:
        return bool(self.address)

    @property
    def client_id(self) -> str:
        """Option 61 as RouterOS shows it: hardware type and MAC without leading zeros."""
        return "1:" + ":".join(f"{int(octet, 16):x}" for octet in self.mac.split(":"))


@dataclass(frozen=True, slots=True)
class _Offer:
    row: Row
    server: Row
    address: str
    lease_s: float | None


@dataclass(slots=True)
class _Binding:
    """A lease in use. `wants`: its rows, to tell whether anything changed."""

    client: DhcpClient
    row: Row
    server: str
    address: str
    seen: float
    expires: float | None
    wants: tuple[tuple[str, ...], tuple[tuple[str, str], ...]] = ((), ())
    rows: list[tuple[str, Row]] = field(default_factory=list)


@dataclass(slots=True)
class _Index:
    """Leases by MAC, client identifier and address. To be told of every change."""

    keys: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    found: dict[tuple[str, str], dict[str, Row]] = field(default_factory=dict)

    def put(self, row: Row) -> None:
        self.drop(row)
        keys = tuple((k, row.props[k]) for k in ("mac-address", "client-id", "address") if row.props.get(k))
        self.keys[row.id] = keys
        for key in keys:
            self.found.setdefault(key, {})[row.id] = row

    def drop(self, row: Row) -> None:
        for key in self.keys.pop(row.id, ()):
            self.found[key].pop(row.id, None)
            if not self.found[key]:
                del self.found[key]

    def of(self, name: str, value: str) -> list[Row]:
        return list(self.found.get((name, value), {}).values())


class Dhcp:
    """The DHCP servers of one router and their clients. `applies` may be set at any time."""

    def __init__(self, state: RouterState, flows: Flows) -> None:
        self._state, self._flows = state, flows
        self._store = state.store
        self.applies: Applies = "at-renewal"
        self.clients: dict[str, DhcpClient] = {}
        self._index = _Index()
        self._bound: dict[str, _Binding] = {}
        self._of_client: dict[str, _Binding] = {}
        self._leased: dict[str, _Binding] = {}
        self._left: dict[str, float] = {}
        """When the client of a lease that ended was last seen."""
        self._holders: dict[str, DhcpClient] = {}
        self._store.watchers.append(self._on_row)
        self._store.computed[LEASES] = self._times

    def _times(self, row: Row) -> dict[str, str]:
        binding, now = self._bound.get(row.id), self._state.now()
        if binding is None:
            left = self._left.get(row.id)
            return {} if left is None else {"last-seen": v.format_duration(int(now - left) * 1000)}
        shown = {"last-seen": v.format_duration(int(now - binding.seen) * 1000)}
        if binding.expires is not None:
            shown["expires-after"] = v.format_duration(int(max(0.0, binding.expires - now)) * 1000)
        return shown

    # --- clients ------------------------------------------------------------------------------------------------------

    def plug_in(self, client: DhcpClient) -> None:
        """Connect a client; it asks at once. One of the same MAC is taken away before."""
        if other := self.clients.get(client.mac):
            self.unplug(other)
        self.clients[client.mac] = client
        self.ask(client)

    def unplug(self, client: DhcpClient) -> None:
        """Disconnect a client. It says nothing: its lease stays bound until it runs out."""
        self.clients.pop(client.mac, None)
        client.next_ask = None
        self._lose(client)

    def release(self, client: DhcpClient) -> None:
        """Disconnect a client that gives its address back before (RFC 2131 section 4.4.6): its lease ends at once."""
        if binding := self._of_client.get(client.mac):
            self._end(binding)
        self.unplug(client)

    def restart(self, client: DhcpClient) -> None:
        """Switch a client off and on: it forgets its address and asks for one."""
        self._lose(client)
        self.ask(client)

    def line(self, which: str) -> Line | None:
        """The line of a client's MAC or address."""
        client = self._holders.get(which) or self.clients.get(which.upper())
        if client is None:
            return None
        addresses = (client.address,) if client.address else ()
        return Line(client.mac, addresses, client.interface, client.mac, tuple(client.flows), client.refused)

    def address_of(self, mac: str) -> str:
        """The address that a MAC has by DHCP, or empty."""
        client = self.clients.get(mac)
        return client.address if client else ""

    def ask(self, client: DhcpClient) -> None:
        """Let a client ask: for an address, or to keep the one it has."""
        if self.clients.get(client.mac) is not client:
            return
        client.asks += 1
        client.next_ask = None
        try:
            offer = self._answer(client)
        except _NoAnswerError as err:
            client.refused = str(err)
            self._ask_again(client)
            return
        except _RefusedError as err:
            client.refused = str(err)
            self._lose(client)
            if binding := self._of_client.get(client.mac):
                self._end(binding)
            self._ask_again(client)
            return
        client.refused = ""
        if client.address and client.address != offer.address:
            self._lose(client)  # DHCPNAK, and it begins anew
        self._bind(client, offer)

    def _lose(self, client: DhcpClient) -> None:
        """A client no longer uses its address."""
        if self._holders.get(client.address) is client:
            del self._holders[client.address]
        client.address, client.expires = "", None
        self._state.tell_change()

    def _ask_again(self, client: DhcpClient) -> None:
        now = self._state.now()
        if client.expires is None:
            self._later(client, now + client.retry_s)
        else:
            left = client.expires - now
            self._later(client, client.expires if left <= _AGAIN_S_MIN else now + max(left / 2, _AGAIN_S_MIN))

    def _later(self, client: DhcpClient, due: float) -> None:
        client.next_ask = due

        def again() -> None:
            if client.next_ask != due:
                return
            if client.expires is not None and client.expires <= due:
                self._lose(client)
            self.ask(client)

        self._state.schedule(due, again)

    # --- the server's answer ------------------------------------------------------------------------------------------

    def _shown(self, path: str, row: Row, name: str) -> str:
        return row.props.get(name, self._store.model(path).shown.get(name, ""))

    def _server(self, client: DhcpClient) -> Row:
        servers = self._store.table(SERVERS)
        if client.server:
            named = self._store.named(SERVERS, client.server)
            servers_asked = [named] if named else []
        else:
            servers_asked = list(servers)
        for row in servers_asked:
            if self._shown(SERVERS, row, "disabled") != "true":
                return row
        raise _NoAnswerError("no DHCP server is enabled")

    def _static(self, client: DhcpClient, server: str) -> Row | None:
        """The static lease of a client: one for its server before one for all."""
        rows = [*self._index.of("mac-address", client.mac), *self._index.of("client-id", client.client_id)]
        fits = [
            row
            for row in rows
            if not row.dynamic
            and row.props.get("disabled") != "true"
            and row.props.get("mac-address", client.mac) == client.mac
            and row.props.get("client-id", client.client_id) == client.client_id
            and self._shown(LEASES, row, "server") in ("all", server)
        ]
        return min(fits, key=lambda row: row.props.get("server", "all") == "all", default=None)

    def _answer(self, client: DhcpClient) -> _Offer:
        server = self._server(client)
        name = server.props.get("name", "")
        row = self._static(client, name)
        if row is not None and row.props.get("block-access") == "true":
            raise _NoAnswerError("the lease is blocked")
        if row is not None:
            address = self._static_address(client, server, row)
        else:
            row, address = self._dynamic(client, server)
        seconds = v.milliseconds(row.props.get("lease-time", "")) or v.milliseconds(
            self._shown(SERVERS, server, "lease-time")
        )
        return _Offer(row, server, address, seconds / 1000 if seconds else None)

    def _static_address(self, client: DhcpClient, server: Row, row: Row) -> str:
        wanted = row.props.get("address", "")
        try:
            address = str(ipaddress.IPv4Address(wanted))
        except ValueError:
            address = ""
        if address and wanted not in _NO_ADDRESS:
            holder = self._holders.get(address)
            if holder is not None and holder is not client:
                raise _RefusedError(f"{address} is still used by {holder.mac}")
            return address
        binding = self._bound.get(row.id)
        if binding is not None and binding.client is client:
            return binding.address
        pool = self._shown(SERVERS, server, "address-pool") if wanted in _NO_ADDRESS else wanted
        return self._of_pool(client, pool)

    def _of_pool(self, client: DhcpClient, pool: str) -> str:
        if pool == "static-only":
            raise _RefusedError("the server has static leases only")
        if client.address and self._state.pools.holds(pool, client.address) and not self._taken(client.address, client):
            return client.address
        address = self._state.pools.take(pool, lambda a: self._taken(a, client), f"dhcp {client.mac}")
        if not address:
            raise _RefusedError(f"no address is free in pool {pool}")
        return address

    def _taken(self, address: str, by_other_than: DhcpClient) -> bool:
        """Whether an address is leased, reserved or in use: the server looks for conflicts before it offers one."""
        holder = self._holders.get(address)
        lease = self._leased.get(address)
        return (
            (holder is not None and holder is not by_other_than)
            or (lease is not None and lease.client is not by_other_than)
            or bool(self._index.of("address", address))
        )

    def _dynamic(self, client: DhcpClient, server: Row) -> tuple[Row, str]:
        name = server.props.get("name", "")
        for row in self._index.of("mac-address", client.mac):
            if row.dynamic and row.props.get("server") == name:
                return row, row.props["address"]
        address = self._of_pool(client, self._shown(SERVERS, server, "address-pool"))
        props = {"address": address, "mac-address": client.mac, "client-id": client.client_id, "server": name}
        return self._store.insert(LEASES, props, dynamic=True), address

    # --- a lease in use -----------------------------------------------------------------------------------------------

    def _bind(self, client: DhcpClient, offer: _Offer) -> None:
        now = self._state.now()
        old = self._of_client.get(client.mac)
        if old is not None and old.row is not offer.row:
            self._end(old)
        expires = None if offer.lease_s is None else now + offer.lease_s
        binding = self._bound.get(offer.row.id)
        if binding is None or binding.client is not client or binding.address != offer.address:
            if binding is not None:
                self._take_back(binding)
            binding = _Binding(client, offer.row, "", offer.address, now, expires)
            self._bound[offer.row.id] = self._of_client[client.mac] = self._leased[offer.address] = binding
        binding.server, binding.seen, binding.expires = offer.server.props.get("name", ""), now, expires
        offer.row.state.update(
            {
                "status": "bound",
                "active-address": offer.address,
                "active-mac-address": client.mac,
                "active-client-id": client.client_id,
                "active-server": binding.server,
            }
            | ({"host-name": client.host_name} if client.host_name else {})
        )
        self._store.change(LEASES, offer.row, {})  # for those who listen
        self._bring(binding)
        client.address, client.expires = offer.address, expires
        client.interface = offer.server.props.get("interface", "")
        self._holders[offer.address] = client
        if line := self.line(client.mac):
            self._flows.go_on(client.flows, line, offer.address)
        if expires is not None and offer.lease_s is not None:
            self._state.schedule(expires, self._run_out(binding, expires))
            self._later(client, now + offer.lease_s / 2)
        self._state.tell_change()

    def _run_out(self, binding: _Binding, expires: float) -> Callable[[], None]:
        def act() -> None:
            if self._bound.get(binding.row.id) is binding and binding.expires == expires:
                self._end(binding)

        return act

    def _end(self, binding: _Binding) -> None:
        """End a lease: a dynamic one goes, a static one waits."""
        if binding.row.dynamic:
            self._store.remove(LEASES, binding.row)  # which is seen below, as any removal is
            return
        self._take_back(binding)
        self._left[binding.row.id] = binding.seen
        for name in ("active-address", "active-mac-address", "active-client-id", "active-server", "host-name"):
            binding.row.state.pop(name, None)
        binding.row.state["status"] = "waiting"
        self._store.change(LEASES, binding.row, {})

    def _on_row(self, path: str, row: Row, event: Event) -> None:
        if path != LEASES:
            return
        binding = self._bound.get(row.id)
        if event == "removed":
            self._index.drop(row)
            self._left.pop(row.id, None)
            if binding is not None:
                self._take_back(binding)
            return
        self._index.put(row)
        if binding is not None and self.applies == "at-once":
            self._bring(binding)

    # --- what a lease brings ------------------------------------------------------------------------------------------

    def _lists(self, binding: _Binding) -> tuple[str, ...]:
        server = self._store.named(SERVERS, binding.server)
        listed = (server.props.get("address-lists", "") if server else "", binding.row.props.get("address-lists", ""))
        return tuple(dict.fromkeys(name for names in listed for name in names.split(",") if name))

    def _queue(self, binding: _Binding) -> dict[str, str]:
        """The properties of a lease's queue, empty where it has none: only a static lease has a rate limit."""
        row, client = binding.row, binding.client
        limits = {} if row.dynamic else queue_of(row.props.get("rate-limit", ""))
        if not limits:
            return {}
        if "max-limit" in limits:
            limits.setdefault("limit-at", limits["max-limit"])
        whose = f"{client.host_name}/{client.mac}" if client.host_name else client.mac
        parent = row.props.get("parent-queue") or self._of_server(binding, "parent-queue")
        under = {"parent": parent} if parent not in ("", "none") else {}
        return {"name": f"dhcp-ds<{whose}>", "target": f"{binding.address}/32", **limits, **under}

    def _of_server(self, binding: _Binding, name: str) -> str:
        server = self._store.named(SERVERS, binding.server)
        return server.props.get(name, "") if server else ""

    def _bring(self, binding: _Binding) -> None:
        """Make the rows of a lease; where they are as before, nothing is touched."""
        lists, queue = self._lists(binding), self._queue(binding)
        wants = (lists, tuple(sorted(queue.items())))
        if wants == binding.wants:
            return
        self._clear(binding)
        binding.wants = wants
        for name in lists:
            props = {"list": name, "address": binding.address}
            binding.rows.append((LISTS, self._store.add(LISTS, props, dynamic=True)))
        if queue:
            before = binding.row.props.get("insert-queue-before") or self._of_server(binding, "insert-queue-before")
            place = place_of(self._store, before or "first")
            binding.rows.append((QUEUES, self._store.add(QUEUES, queue, dynamic=True, before=place)))

    def _clear(self, binding: _Binding) -> None:
        for path, row in reversed(binding.rows):
            if self._store.table(path).get(row.id) is row:
                self._store.remove(path, row)
        binding.rows.clear()
        binding.wants = ((), ())

    def _take_back(self, binding: _Binding) -> None:
        for known, key in (
            (self._bound, binding.row.id),
            (self._of_client, binding.client.mac),
            (self._leased, binding.address),
        ):
            if known.get(key) is binding:
                del known[key]
        self._clear(binding)

    def after_restart(self) -> None:
        """Make the rows again that the restart lost: leases are kept on disk, their rows are not."""
        for binding in self._bound.values():
            binding.rows.clear()
            binding.wants = ((), ())
            self._bring(binding)
        for client in self.clients.values():
            if client.address and (line := self.line(client.mac)):
                self._flows.go_on(client.flows, line, client.address)
