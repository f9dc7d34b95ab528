"""An agent in front of a FreeRADIUS server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from lab import radius_codec
from lab.isp import Isp
from lab.radius_client import RadiusClient
from lab.radius_codec import Attribute, Code, Packet, attribute
from tests.e2e.files import dsn_of, lab_files, real_radius, small_isp
from tests.e2e.site import Site, check_log, open_site
from tests.servers import FreeRadius, RadiusDatabase

Start = Callable[..., FreeRadius]
Pairs = list[tuple[str, str]]
UNSIGNED = ("Message-Authenticator",)
TABLES = ("radcheck", "radreply", "radusergroup", "radgroupcheck", "radgroupreply")


@dataclass
class Login:
    """A subscriber's router, as FreeRADIUS sees it, and radclient beside it."""

    server: FreeRadius
    client: RadiusClient

    async def by(self, method: str, login: str, password: str) -> tuple[int, tuple[Attribute, ...]]:
        """Return the reply's code and attributes (verified; without Message-Authenticator)."""
        base = [attribute("User-Name", login), attribute("NAS-IP-Address", "10.255.0.1"), attribute("NAS-Port", 7)]
        if method == "pap":
            reply = await self.client.ask(Code.ACCESS_REQUEST, base, password.encode())
        else:
            challenge = radius_codec.random_octets()
            chap = radius_codec.chap_password(7, password.encode(), challenge)
            base += [attribute("CHAP-Password", chap), attribute("CHAP-Challenge", challenge)]
            reply = await self.client.ask(Code.ACCESS_REQUEST, base)
        return reply.code, unsigned(reply)

    async def both(self, login: str, password: str) -> tuple[Attribute, ...]:
        """Return what PAP and CHAP are both given: the same."""
        pap, chap = await self.by("pap", login, password), await self.by("chap", login, password)
        assert pap == chap
        assert pap[0] == Code.ACCESS_ACCEPT
        assert (await self.by("pap", login, password + "x"))[0] == Code.ACCESS_REJECT
        return pap[1]

    async def radclient(self, login: str, password: str) -> Pairs:
        """Return what FreeRADIUS' own client is given."""
        asked = [("User-Name", login), ("User-Password", password), ("NAS-IP-Address", "10.255.0.1")]
        reply = await trio.to_thread.run_sync(lambda: self.server.radclient("auth", *asked))
        assert reply is not None
        assert reply.code == "Access-Accept"
        return list(reply.attributes)


def unsigned(packet: Packet) -> tuple[Attribute, ...]:
    return tuple(a for a in packet.attributes if a.name not in UNSIGNED)


def dump(database: RadiusDatabase) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows that decide a login, without their ids, in their order."""
    found = {}
    for table in TABLES:
        names = "groupname, priority" if table == "radusergroup" else "attribute, op, value"
        who = "groupname" if "group" in table[3:] and table != "radusergroup" else "username"
        found[table] = database.run(f"SELECT {who}, {names} FROM {table} ORDER BY {who}, id")
    return found


@asynccontextmanager
async def real_site(
    folder: Path, database: RadiusDatabase, start: Start, **options: object
) -> AsyncIterator[tuple[Isp, Site, Login]]:
    """Run the lab's BNG and the agent on a real database with a real FreeRADIUS."""
    server = start(database)
    async with small_isp(folder, dsn=dsn_of(database), radius=real_radius(server), **options) as isp:
        client = RadiusClient(
            server.host, (server.host, server.auth_port), server.secret.encode(), timeout_s=10.0, tries=3
        )
        files = lab_files(folder, isp, tables=database.tables.value)
        async with trio.open_nursery() as nursery, open_site(files) as site:
            await nursery.start(client.run)
            yield isp, site, Login(server, client)
            await check_log(site)
            nursery.cancel_scope.cancel()
