"""`ispagent device`: routers, as the agent knows them, a look at one now, and how one is brought in."""

from __future__ import annotations

import ipaddress
import secrets
from datetime import UTC, datetime
from typing import Annotated, Final, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import Json, call_list, call_object, fail, print_json
from agent.connectors.shared import age_text
from trust.render import neutralise

app = typer.Typer(help="Routers: what is known of them, and how one is brought in.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Name = Annotated[str, typer.Argument(help="What the router is called in the configuration, such as edge-1")]

PROBE_S: Final = 180.0
"""Three users log in one after the other, and each may have to be waited for."""
_STATES: Final = {
    "not-asked": "not asked yet",
    "reachable": "reachable",
    "unreachable": "UNREACHABLE",
    "refused": "REFUSED",
}
_USERS: Final = {
    "read": "for previews, read-back and health.",
    "service": "for service changes.",
    "config": "for configuration changes: there are none yet, so leave it out until you want them.",
}


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the routers: what is known of each, and how old that is. Nothing is asked of them."""
    found = call_list("GET", "/v1/devices")
    if as_json:
        print_json(found)
        return
    print(f"{'NAME':<16} {'ADDRESS':<22} {'VERSION':<9} {'IDENTITY':<20} {'STATE':<13} {'FINDINGS':<8} READ")
    for d in found:
        known = d["age_s"] is not None
        findings = len(cast("list[Json]", d["findings"]))
        version, identity = (str(d[key] or "-") for key in ("version", "identity"))
        cells = f"{d['name']:<16} {d['address']:<22} {version:<9} {identity:<20} {_STATES[str(d['state'])]:<13}"
        print(neutralise(f"{cells} {findings if known else '-':<8} {_age(d)}"))
    for d in found:
        if d["problem"]:
            print(neutralise(f"{d['name']}: {d['problem']}"))


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything that is known of a router, and how old it is. Nothing is asked of it."""
    found = call_object("GET", f"/v1/devices/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    _print_device(found)


@app.command()
def probe(name: Name, as_json: AsJson = False) -> None:
    """Connect to a router now and show what is found. Nothing is written on it, so nobody has to approve."""
    found = call_object("POST", f"/v1/devices/{quote(name, safe='')}/probe", {}, timeout_s=PROBE_S)
    if as_json:
        print_json(found)
    else:
        _print_device(found)
        print("\nnothing was written on it")
    if found["state"] != "reachable":
        raise typer.Exit(client.FAILED)


def _print_device(d: Json) -> None:
    print(neutralise(f"{d['name']} · {d['address']} · {_STATES[str(d['state'])]} · read {_age(d)}"))
    if d["problem"]:
        at = datetime.fromtimestamp(cast("int", d["tried_s"]), UTC) if d["tried_s"] else None
        print(neutralise(f"{at:%Y-%m-%d %H:%M:%S}Z {d['problem']}" if at else str(d["problem"])))
    if d["age_s"] is None:
        print(f"nothing was read of it since the agent started: ispagent device probe {d['name']}")
    elif d["problem"]:
        print(f"what follows is {_age(d)}")
    for label, text in cast("dict[str, str]", d["facts"]).items():
        print(neutralise(f"{label:<13} {text}"))
    findings = cast("list[Json]", d["findings"])
    if findings:
        print(f"{len(findings)} FINDING{'S' if len(findings) > 1 else ''}")
    elif d["age_s"] is not None:
        print("no findings")
    for finding in findings:
        print(neutralise(f"! {finding['text']} [{finding['code']}]"))


def _age(d: Json) -> str:
    return "never" if d["age_s"] is None else f"{age_text(cast('int', d['age_s']))} ago"


@app.command()
def onboard(
    name: Annotated[str, typer.Argument(help="What the router is called in the configuration: a-z, 0-9 and -")],
    host: Annotated[str, typer.Option("--host", help="Where the agent reaches it")],
    from_: Annotated[
        str, typer.Option("--from", help="The agent's address or network: nobody else then reaches api-ssl")
    ] = "",
) -> None:
    """Print what to paste into a router's terminal, with new passwords, and what to write into the configuration."""
    from agent.config_schema import HANDLE
    from agent.connectors.routeros.onboard import USERS, look_lines, policies, service_lines, user_lines
    from agent.connectors.routeros.schema import Use

    if not HANDLE.fullmatch(name):
        fail("expected a name of 1 to 32 of a-z, 0-9 and -", client.USAGE)
    if from_:
        try:
            from_ = str(ipaddress.ip_network(from_))
        except ValueError:
            fail("--from: expected an IP address, or a network without host bits", client.USAGE)
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
