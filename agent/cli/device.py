"""`ispagent device`: bringing a router in. Of the router, only the certificate that it shows is looked at."""

from __future__ import annotations

import ipaddress
import secrets
from typing import Annotated

import typer

from agent.cli import client
from agent.cli.client import fail, print_json

app = typer.Typer(help="Routers: how one is brought in.", no_args_is_help=True)


@app.command()
def onboard(
    name: Annotated[str, typer.Argument(help="What the router is called in the configuration: a-z, 0-9 and -")],
    host: Annotated[str, typer.Option("--host", help="Where the agent reaches it")],
    from_: Annotated[
        str, typer.Option("--from", help="The agent's address or network: its user may come from nowhere else")
    ] = "",
) -> None:
    """Print what to paste into a router's terminal, with a new password, and what to write into the configuration."""
    from agent.config_schema import HANDLE
    from agent.connectors.routeros.onboard import NAME, POLICIES, lines

    if not HANDLE.fullmatch(name):
        fail("expected a name of 1 to 32 of a-z, 0-9 and -", client.USAGE)
    if from_:
        try:
            from_ = str(ipaddress.ip_network(from_))
        except ValueError:
            fail("--from: expected an IP address, or a network without host bits", client.USAGE)
    print(f"# 1. In the terminal of {name}. Its user may {', '.join(POLICIES)}: all settings, no passwords.")
    for line in lines(name, secrets.token_urlsafe(24), from_):
        print(line)
    print(f"\n# 2. Here: give the password above; it is kept nowhere else.\nispagent secret set routeros/{name}")
    print("\n# 3. In agent.toml; the fingerprint is the one that the router printed last.")
    print(f'[routeros.{name}]\nhost = "{host}"\nuser = "{NAME}"\nsecret = "routeros/{name}"\nfingerprint = "…"')


@app.command()
def certificate(
    host: Annotated[str, typer.Argument(help="Where the router's api-ssl listens")],
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Its port")] = 8729,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Print the fingerprint of the certificate that answers; it proves nothing before it is compared."""
    import hashlib

    import trio

    from agent.connectors.routeros.carrier_session import fetch_certificate
    from agent.connectors.routeros.errors import UnreachableRouterError

    async def fetch() -> bytes:
        return await fetch_certificate(host, port, timeout_s=10.0)

    try:
        fingerprint = hashlib.sha256(trio.run(fetch)).hexdigest()
    except UnreachableRouterError as err:
        fail(f"{host}: {err}", client.FAILED)
    if as_json:
        print_json({"host": host, "port": port, "fingerprint": fingerprint})
        return
    print(f"{fingerprint}\ncompare with: /certificate print detail (in the router's own terminal)")
