"""`ispagent cloud`: the control plane through which people elsewhere ask and approve. The agent works without it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import client
from agent.cli.client import call_object, fail, print_json, read_file
from agent.cli.when import said, unix_now

if TYPE_CHECKING:
    from agent.uplink.identity import CloudIdentity
    from protos.member_files import Invitation

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file (or ISPAGENT_CONFIG)")]


@app.command()
def enroll(
    invite: Annotated[Path, typer.Option("--invite", help="The invitation that `ispcloud agents enroll` wrote")],
    again: Annotated[bool, typer.Option("--again", help="Replace the enrolment that there is")] = False,
    config: Config = None,
) -> None:
    """Enrol this agent with a control plane. The invitation is good for one use; a running agent connects by itself."""
    from agent.store.errors import StoreError
    from agent.store.identity import load_identity
    from agent.store.vault import Vault, load_store_key
    from agent.uplink import identity as identities
    from agent.uplink.enrolment import read_invitation_untrusted
    from agent.uplink.errors import LocalUplinkError, MalformedInvitationError, RemoteRefusedError, RemoteUplinkError
    from trust import envelope as envelopes

    settings = client.load_own_settings(config)
    try:
        invitation = read_invitation_untrusted(read_file(invite))
    except MalformedInvitationError as err:
        fail(f"{invite}: {err}", client.USAGE)
    if invitation.name != settings.name:
        fail(f"{invite}: expected an invitation for {settings.name}, got one for {invitation.name}", client.USAGE)
    if identities.stamp(settings.state_dir) is not None and not again:
        fail("this agent is enrolled already; with --again another enrolment takes its place", client.USAGE)
    try:
        key = load_store_key(settings.key_file)
        identity = load_identity(settings.state_dir, key)
        statement = envelopes.encode(identity.enrolment(settings.name, settings.origin))
        with closing(Vault(key, settings.state_dir / "keys.db")) as vault:
            found = _use(invitation, identity.agent, statement)
            identities.save(settings.state_dir, vault, found)
    except RemoteRefusedError as err:
        fail(f"enroll: {err}", client.REFUSED)
    except (StoreError, LocalUplinkError, RemoteUplinkError) as err:
        fail(f"enroll: {err}", client.FAILED)
    print(f"agent     {found.name} is enrolled at {found.server}")
    print("          a running agent connects within seconds: ispagent cloud show")


def _use(invitation: Invitation, agent: str, statement: bytes) -> CloudIdentity:
    import trio

    from agent.uplink import enrolment

    async def run() -> CloudIdentity:
        return await enrolment.enroll(invitation, agent, statement, unix_now())

    return trio.run(run)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the connection to the control plane: since when, and the waiting messages on either side."""
    found = call_object("GET", "/v1/cloud")
    if as_json:
        print_json(found)
        return
    if found.get("problem") == "credentials":
        fail("cloud.json is there and cannot be used: ispagent cloud enroll --again --invite FILE", client.FAILED)
    if not found["enrolled"]:
        print("this agent has no control plane: ispagent cloud enroll --invite FILE")
        return
    state = "connected" if found["connected"] else f"NOT CONNECTED ({found['problem'] or 'dialing'})"
    print(f"server       {found['server']}, as {found['name']} of operator {found['operator']}")
    print(f"connection   {state} since {said(found['since'])}")
    print(f"certificate  until {said(found['certificate_until'])}, renewed before that")
    print(f"to send      {found['outbox']}, last sent {said(found['sent_at'])}, refused for good {found['dropped']}")
    print(f"to handle    {found['inbox']}, last came {said(found['received_at'])}, passed over {found['passed_over']}")


@app.command()
def leave(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    config: Config = None,
) -> None:
    """Leave the control plane: the certificate is deleted here, waiting messages are dropped. Changes go on."""
    from agent.uplink import identity as identities
    from agent.uplink.errors import LocalUplinkError

    settings = client.load_own_settings(config)
    if not yes and not typer.confirm("leave the control plane? coming back needs a new invitation"):
        raise typer.Exit(client.USAGE)
    try:
        was = identities.remove(settings.state_dir)
    except LocalUplinkError as err:
        fail(f"leave: {err}", client.FAILED)
    if not was:
        fail("this agent has no control plane: there is nothing to leave", client.USAGE)
    print("this agent has left its control plane; a running agent hangs up within seconds")
    print("have its certificate revoked there too: ispcloud agents list")
