"""`ispcloud changes freeze`, `freezes` and `unfreeze`: stop everything, an agent, a person or a key; and lift that.

A freeze is lifted by its file. Whoever made it may be away, or a thief: everybody else has it from the shared feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import decide, files
from control_plane.desk.cli_shared import (
    CloudFile,
    KeyFile,
    Own,
    PassphraseFile,
    StateFile,
    TrustFile,
    Wait,
    Yes,
    agree,
    load_own,
    now_s,
    open_key,
    read_envelope,
    write_envelope,
)
from control_plane.desk.key_files import read_public
from control_plane.desk.online import Desk, connect
from control_plane.desk.showing import open_signing
from control_plane.desk.signing import add_signature, sign
from control_plane.errors import InputError
from protos.message_pb2 import Kind
from trust import chain, chance
from trust.envelope import Envelope
from trust.moments import moment_text
from trust.statements import Freeze, FreezeScope
from trust.terminal import neutralize

Send = Annotated[bool, typer.Option("--send", help="Send it to the agents through the control plane")]


def _send(
    own: Own, cloud: Path | None, kind: Kind, envelope: Envelope, what: str, stopped: Sequence[Freeze], wait_s: int
) -> None:
    of_agents = all(freeze.scope is FreezeScope.AGENT for freeze in stopped)
    agents = tuple(dict.fromkeys(f.target for f in stopped)) if of_agents else tuple(a.agent for a in own.trust.agents)
    with connect(cloud) as client:
        desk = Desk(own, client)
        # Trust documents alone: stopping does not wait until a long shared feed was read
        desk.refresh((Kind.KIND_TRUST,))
        # An agent that is a version behind may not know who freezes
        links = desk.links_for("", desk.own.trust.version - 1)
        # To all, and so to the shared feed: every desk sees that something is frozen
        sent = desk.send(kind, envelope, what, agents, everybody=True, links=links)
        typer.echo(f"{what} sent; receipts are expected of {len(agents)} agents")
        desk.settle(sent, wait_s)


def freeze(
    key: KeyFile,
    scope: Annotated[FreezeScope, typer.Option("--scope", help="The scope: everything, or an agent, person or key")],
    out: Annotated[Path | None, typer.Option("--out", help="Where your signed statement goes")] = None,
    target: Annotated[str, typer.Option("--target", help="An agent or person by handle, or a public key")] = "",
    agent: Annotated[str, typer.Option("--agent", help="The agent's handle, with --scope agent")] = "",
    hours: Annotated[int, typer.Option("--hours", min=0, max=24 * 365, help="How long; 0: until it is lifted")] = 0,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    send: Send = False,
    cloud: CloudFile = None,
    wait: Wait = 60,
) -> None:
    """Freeze everything, an agent, a person or a key: nothing that it covers is sent. Anybody may; nothing is asked."""
    if target and agent:
        raise InputError("expected --target or --agent, got both")
    if agent and scope is not FreezeScope.AGENT:
        raise InputError(f"expected --scope agent with --agent, got --scope {scope.value}")
    if out is None and not send:
        raise InputError("expected --out FILE, --send or both, got neither")
    own, now = load_own(trust, state), now_s()
    signing = open_key(key, passphrase_file)
    person = decide.signer(own.trust, signing.public, now)
    statement = decide.freeze(own.trust, person, scope, target or agent, chance.token_hex(16), now, hours)
    own.remember(own.seen)
    envelope = sign(statement, signing)
    stopped = " ".join(part for part in (scope.value, target or agent) if part)
    if out is not None:
        write_envelope(out, envelope)
        by_hand = "" if send else f"; hand it to each agent: ispagent freeze --file {out}"
        typer.echo(f"{out}: freeze of {stopped} by {person.handle}{by_hand}")
    if send:
        _send(own, cloud, Kind.KIND_FREEZE, envelope, "freeze", [statement], wait)


def freezes(
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder: each freeze becomes a file to lift it by")
    ] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
) -> None:
    """List the freezes on the shared feed that nobody lifted; with --out write their files."""
    own = load_own(trust, state)
    with connect(cloud) as client:
        desk = Desk(own, client)
        desk.refresh((Kind.KIND_TRUST, Kind.KIND_FREEZE, Kind.KIND_UNFREEZE))
        held = desk.held_freezes()
    if not held:
        typer.echo("no freeze on the shared feed holds: one that came to an agent by file, or long ago, is not there")
    for number, (one, envelope) in enumerate(held, start=1):
        stopped = f"{one.scope.value} {neutralize(one.target)}".rstrip()
        typer.echo(f"FROZEN: {stopped} by {one.person} since {moment_text(one.at * 60, None, now_s())}")
        if out is not None:
            files.make_private_folder(out)
            path = out / f"freeze-{number}.json"
            write_envelope(path, envelope)
            typer.echo(f"  {path}: ispcloud changes unfreeze --freeze {path}")


def unfreeze(
    key: KeyFile,
    freeze_files: Annotated[list[Path], typer.Option("--freeze", help="The freeze to lift; may be given again")],
    out: Annotated[Path | None, typer.Option("--out", help="Where it goes [--add-to's file]")] = None,
    add_to: Annotated[Path | None, typer.Option("--add-to", help="The file that a first person signed")] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    send: Send = False,
    cloud: CloudFile = None,
    wait: Wait = 60,
) -> None:
    """Lift freezes. Two people sign: the second one with --add-to, and may --send it."""
    into = out or add_to
    if into is None:
        raise InputError("expected --out FILE (the first person) or --add-to FILE (the second), got neither")
    if send and add_to is None:
        raise InputError("expected --add-to FILE with --send: one person's signature lifts no freeze")
    own, now = load_own(trust, state), now_s()
    chain.verify_not_expired(own.trust, now)
    person = decide.signer(own.trust, read_public(key), now)
    frozen = [read_envelope(file, "a freeze") for file in freeze_files]
    stopped = [decide.verify_freeze_to_lift(envelope, own.trust, now) for envelope in frozen]
    begun = None if add_to is None else read_envelope(add_to, "an unfreeze")
    if begun is None:
        statement = decide.unfreeze(own.trust, frozen, person, now)
    else:
        statement = decide.verify_unfreeze_to_join(begun, frozen, own.trust, person)
    for one in stopped:
        typer.echo(f"FREEZE of {one.scope.value} {neutralize(one.target)} by {one.person}, to be lifted")
    if not yes:
        agree(f"lift {'it' if len(stopped) == 1 else 'them'} as {person.handle}? type yes", "yes")
    signing = open_signing(key, passphrase_file, person, own)
    signed = sign(statement, signing) if begun is None else add_signature(begun, signing)
    own.remember(own.seen)
    write_envelope(into, signed)
    still = (
        "one more person must sign: --add-to this file" if begun is None else "two people signed: it can be handed in"
    )
    typer.echo(f"{into}: signed by {person.handle} · {still}")
    if send:
        _send(own, cloud, Kind.KIND_UNFREEZE, signed, "unfreeze", stopped, wait)
