"""`ispagent device onboard` and `certificate`: how a router is brought in. Neither needs a running agent."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import secrets
import sys
from typing import Annotated, Final, NoReturn

import trio
import typer

from agent.config_schema import HANDLE
from agent.connectors.routeros.carrier_session import fetch_certificate
from agent.connectors.routeros.errors import UnreachableRouterError
from agent.connectors.routeros.onboard import USERS, look_lines, policies, service_lines, user_lines
from agent.connectors.routeros.schema import Use

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]

FAILED: Final = 1
USAGE: Final = 2
_USERS: Final = {
    "read": "for previews, read-back and health.",
    "service": "for service changes.",
    "config": "for configuration changes: there are none yet, so leave it out until you want them.",
}


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(code)


@app.command()
def onboard(
    name: Annotated[str, typer.Argument(help="What the router is called in the configuration: a-z, 0-9 and -")],
    host: Annotated[str, typer.Option("--host", help="Where the agent reaches it")],
    from_: Annotated[
        str, typer.Option("--from", help="The agent's address or network: nobody else then reaches api-ssl")
    ] = "",
) -> None:
    """Print what to paste into a router's terminal, with new passwords, and what to write into the configuration."""
    if not HANDLE.fullmatch(name):
        _fail("expected a name of 1 to 32 of a-z, 0-9 and -", USAGE)
    if from_:
        try:
            from_ = str(ipaddress.ip_network(from_))
        except ValueError:
            _fail("--from: expected an IP address, or a network without host bits", USAGE)
    only = f"It then answers {from_} and nobody else: not another program that uses it now."
    print(f"# 1. In the terminal of {name}: a certificate, and the API over TLS.")
    print(f"# {only if from_ else 'Any address may reach it: better give --from, the address of this agent.'}")
    for line in service_lines(name, from_):
        print(line)
    for use, what in _USERS.items():
        print(f"\n# The user {USERS[Use(use)]}, {what}")
        print(f"# Its policies are {', '.join(policies(Use(use)))}: it sees no password.")
        for line in user_lines(Use(use), secrets.token_urlsafe(24), from_):
            print(line)
    print("\n# What goes into the configuration: fingerprint, and software-id (of a CHR: system-id).")
    for line in look_lines():
        print(line)
    print("\n# 2. Here: give each password above; it is kept nowhere else.")
    secret_of = {"service": f"routeros/{name}", "read": f"routeros/{name}/read", "config": f"routeros/{name}/config"}
    for use in _USERS:
        print(f"ispagent secret set {secret_of[use]}")
    print("\n# 3. In agent.toml; without the user for configuration changes, leave its two lines out.")
    print(f'[routeros.{name}]\nhost = "{host}"\nuser = "{USERS[Use.SERVICE]}"\nsecret = "{secret_of["service"]}"')
    for use in ("read", "config"):
        print(f'{use}_user = "{USERS[Use(use)]}"\n{use}_secret = "{secret_of[use]}"')
    print('fingerprint = "…"\nserial = "…"')
    print(f"\n# 4. Start the agent anew, and see: ispagent device probe {name}")


@app.command()
def certificate(
    host: Annotated[str, typer.Argument(help="Where the router's api-ssl listens")],
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Its port")] = 8729,
    as_json: AsJson = False,
) -> None:
    """Print the fingerprint of the certificate that answers; it proves nothing before it is compared."""

    async def fetch() -> bytes:
        return await fetch_certificate(host, port, timeout_s=10.0)

    try:
        fingerprint = hashlib.sha256(trio.run(fetch)).hexdigest()
    except UnreachableRouterError as err:
        _fail(f"{host}: {err}", FAILED)
    if as_json:
        print(json.dumps({"host": host, "port": port, "fingerprint": fingerprint}, indent=2))
        return
    print(f"{fingerprint}\ncompare with: /certificate print detail (in the router's own terminal)")
