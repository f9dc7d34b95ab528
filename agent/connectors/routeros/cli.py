"""`ispagent device onboard`, `certificate` and `import`: how routers are brought in. None needs a running agent."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import trio
import typer

from agent.config_schema import HANDLE
from agent.connectors.routeros.carrier_session import fetch_certificate
from agent.connectors.routeros.errors import FleetFileError, UnreachableRouterError
from agent.connectors.routeros.fleet_file import (
    FleetRouter,
    Merged,
    merged,
    pinned,
    read_list_untrusted,
    read_uisp_untrusted,
    written,
)
from agent.connectors.routeros.onboard import USERS, look_lines, policies, service_lines, user_lines
from agent.connectors.routeros.schema import Use
from trust import chance

app = typer.Typer(rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]

FAILED: Final = 1
USAGE: Final = 2
ASKED_AT_ONCE: Final = 16
"""Routers to fetch certificates from at the same time; chosen arbitrarily."""
CERTIFICATE_S: Final = 10.0
_USERS: Final = {
    "read": "for previews, read-back and health.",
    "service": "for service changes.",
    "config": "for configuration changes (device prepare); without it, the one for service changes makes them.",
}


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(code)


@app.command()
def onboard(
    name: Annotated[str, typer.Argument(help="The router's name in the configuration: a-z, 0-9 and -")],
    host: Annotated[str, typer.Option("--host", help="Where the agent reaches it")],
    from_: Annotated[
        str, typer.Option("--from", help="The agent's address or network: nobody else then reaches api-ssl")
    ] = "",
) -> None:
    """Print the text to paste into a router's terminal, with new passwords, and the lines for the configuration."""
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
        for line in user_lines(Use(use), chance.token_urlsafe(24), from_):
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
        return await fetch_certificate(host, port, timeout_s=CERTIFICATE_S)

    try:
        fingerprint = hashlib.sha256(trio.run(fetch)).hexdigest()
    except UnreachableRouterError as err:
        _fail(f"{host}: {err}", FAILED)
    if as_json:
        print(json.dumps({"host": host, "port": port, "fingerprint": fingerprint}, indent=2))
        return
    print(f"{fingerprint}\ncompare with: /certificate print detail (in the router's own terminal)")


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="The list: CSV with name and host (port, fingerprint, serial); -: stdin")],
    fleet: Annotated[Path, typer.Option("--fleet", help="The fleet's file, written anew; [fleet.NAME] names it")],
    uisp: Annotated[bool, typer.Option("--uisp", help="The list is UISP's device list, JSON")] = False,
    match: Annotated[str, typer.Option("--match", help="With --uisp: only devices with this text in their JSON")] = "",
    pin: Annotated[bool, typer.Option("--pin", help="Fetch the certificates and pin those that you accept")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pin without asking: they were compared elsewhere")] = False,
) -> None:
    """Add routers from a list to a fleet's file; a line that stands there is never changed."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        candidates = read_uisp_untrusted(data, match) if uisp else read_list_untrusted(data)
    except OSError as err:
        _fail(f"{file}: cannot be read: {err.strerror}", USAGE)
    except FleetFileError as err:
        _fail(f"{file}: {err}", USAGE)
    try:
        now = read_list_untrusted(fleet.read_bytes()) if fleet.exists() else ()
    except (OSError, FleetFileError) as err:
        _fail(f"{fleet}: {err}", USAGE)
    found = merged(now, candidates)
    for router in found.added:
        print(f"new      {router.name:32} {router.host}:{router.port}")
    for text in found.refused:
        print(f"refused  {text}", file=sys.stderr)
    routers, shared = _pin(found, yes=yes) if pin else (found.routers, ())
    for text in shared:
        print(f"refused  {text}", file=sys.stderr)
    if routers != now:
        _replace(fleet, written(routers))
    bare = sum(not router.fingerprint for router in routers)
    print(f"{fleet}: {len(routers)} routers, {len(found.added)} new, {found.known} known before, {bare} without a pin")
    if bare:
        print("a router without a fingerprint is refused by the configuration: --pin, or write it into the file")
    if found.refused or shared:
        raise typer.Exit(FAILED)


def _pin(found: Merged, *, yes: bool) -> tuple[tuple[FleetRouter, ...], tuple[str, ...]]:
    """Return the routers with the certificates that a person accepted, and those certificates that several showed."""
    wanted = [router for router in found.routers if not router.fingerprint]
    fetched, failed = trio.run(_fetch_all, wanted)
    names: dict[str, list[str]] = {}
    for router in found.routers:
        if fingerprint := router.fingerprint or fetched.get(router.name, ""):
            names.setdefault(fingerprint, []).append(router.name)
    several = {fingerprint: held for fingerprint, held in names.items() if len(held) > 1}
    for router in wanted:
        told = fetched.get(router.name) or f"no certificate: {failed[router.name]}"
        if told in several:
            del fetched[router.name]
            told += "\n    not pinned: several show this certificate"
        print(f"{router.name:32} {router.host}:{router.port}\n    {told}")
    shared = tuple(_shared(fingerprint, held) for fingerprint, held in several.items() if set(held) - fetched.keys())
    if not fetched:
        return found.routers, shared
    print("compare each with its router's own terminal: /certificate print detail")
    if not yes and input(f"pin these {len(fetched)} certificates? Type yes: ").strip() != "yes":
        print("nothing was pinned")
        return found.routers, shared
    return pinned(found.routers, fetched), shared


def _shared(fingerprint: str, names: Sequence[str]) -> str:
    return (
        f"{', '.join(names)}: all show the certificate {fingerprint}. Either one router has several names in the list, "
        "or something between here and them answers for them: none is pinned. Compare in each router's own terminal: "
        "/certificate print detail"
    )


async def _fetch_all(routers: Sequence[FleetRouter]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fingerprints by name, and why there is none of the others."""
    fetched: dict[str, str] = {}
    failed: dict[str, str] = {}
    turn = trio.CapacityLimiter(ASKED_AT_ONCE)

    async def fetch(router: FleetRouter) -> None:
        async with turn:
            try:
                found = await fetch_certificate(router.host, router.port, timeout_s=CERTIFICATE_S)
            except UnreachableRouterError as err:
                failed[router.name] = str(err)
            else:
                fetched[router.name] = hashlib.sha256(found).hexdigest()

    async with trio.open_nursery() as nursery:
        for router in routers:
            nursery.start_soon(fetch, router)
    return fetched, failed


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    half = file.with_name(f".{file.name}.new")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, file)
    except OSError as err:
        _fail(f"{file}: cannot be written: {err.strerror}", FAILED)
