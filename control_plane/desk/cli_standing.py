"""`ispcloud standing`: permissions that two people give by day for the night: restores, baselines, tests of CPE; so
many/h.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import decide
from control_plane.desk.cli_shared import (
    AsJson,
    CloudFile,
    Json,
    KeyFile,
    ListOutput,
    PassphraseFile,
    StateFile,
    TrustFile,
    Wait,
    Yes,
    agree,
    load_own,
    now_s,
    print_json,
    read_envelope,
    write_envelope,
)
from control_plane.desk.cli_watch import minute
from control_plane.desk.key_files import read_public
from control_plane.desk.online import Desk, connect
from control_plane.desk.showing import open_signing
from control_plane.desk.signing import add_signature, sign
from protos.message_pb2 import Kind
from trust import chain, chance, statements, verify
from trust import envelope as envelopes
from trust.document import EVERYWHERE, Trust
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError
from trust.policy import Action, RiskClass
from trust.statements import Standing, StandingEvidence
from trust.terminal import Column, Output, neutralize, table

app = typer.Typer()

DAYS_MAX = 30
RATE_MAX = 1000
_CLASSES = {
    Action.RESTORE: RiskClass.RESTORE,
    Action.CPE_SET: RiskClass.PROVISION,
    Action.CPE_DIAGNOSE: RiskClass.SUPPORT,
    Action.CPE_REBOOT: RiskClass.SUPPORT,
}
"""The class of the plans that a standing authority for a verb approves."""


class Support(enum.StrEnum):
    """Actions of support on one CPE."""

    DIAGNOSE = "diagnose"
    REBOOT = "reboot"


_SUPPORT = {Support.DIAGNOSE: Action.CPE_DIAGNOSE, Support.REBOOT: Action.CPE_REBOOT}
File = Annotated[Path, typer.Argument(help="The file that the first person signed")]


def _text(standing: Standing, trust: Trust) -> str:
    handles = {a.agent: a.handle for a in trust.agents}
    scope = ", ".join(handles.get(s, s) for s in standing.scope)
    return (
        f"STANDING {standing.standing_id[:8]}: {standing.verb.value}, one service at a time, agents: {scope} · "
        f"evidence: {standing.evidence.value} · at most {standing.rate_per_hour}/h · "
        f"from {minute(standing.not_before)} until {minute(standing.not_after)} · begun by {standing.person}"
    )


def _show(standing: Standing, trust: Trust) -> None:
    """Print a standing authority, and that the policy's own limit is the lower one, where it is."""
    typer.echo(_text(standing, trust))
    risk = _CLASSES[standing.verb]
    entry = trust.policy_class(risk)
    if entry is None:
        typer.echo(f"NOTE: the policy of trust version {trust.version} has no class {risk.value}: it allows nothing")
    elif standing.rate_per_hour > entry.budget_per_hour:
        typer.echo(
            f"NOTE: the policy caps class {risk.value} at {entry.budget_per_hour} services an hour, of all authorities"
            " and people together: what is above waits its turn. Owners raise budget_per_hour in the trust document"
        )


@app.command("new")
def new(
    key: KeyFile,
    out: Annotated[Path, typer.Option("--out", help="Where it goes; the second person signs it")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="all, or an agent's handle [all]")] = None,
    rate: Annotated[int, typer.Option("--rate", min=1, max=RATE_MAX, help="Uses in any hour")] = 60,
    days: Annotated[int, typer.Option("--days", min=1, max=DAYS_MAX, help="How long it will hold")] = DAYS_MAX,
    provision: Annotated[
        bool, typer.Option("--provision", help="Not restores, but the declared baseline of CPE that are new or reset")
    ] = False,
    support: Annotated[
        Support | None, typer.Option("--support", help="Not restores, but tests of one CPE, or its reboot")
    ] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Begin a standing authority: restores after a payment, baselines, or support. A second person signs it too."""
    if provision and support is not None:
        raise typer.BadParameter("expected --provision or --support, got both")
    verb, evidence = Action.RESTORE, StandingEvidence.PAYMENT_MATCHED
    if provision:
        verb, evidence = Action.CPE_SET, StandingEvidence.BASELINE_DUE
    elif support is not None:
        verb, evidence = _SUPPORT[support], StandingEvidence.SUPPORT_ASKED
    own, now = load_own(trust, state), now_s()
    chain.verify_not_expired(own.trust, now)
    person = decide.signer(own.trust, read_public(key), now)
    decide.check_may_unfreeze(person)
    agents = tuple(s if s == EVERYWHERE else decide.find_agent(own.trust, s).agent for s in scope or (EVERYWHERE,))
    standing = Standing(
        trust_id=own.trust.trust_id,
        standing_id=chance.token_hex(16),
        verb=verb,
        person=person.handle,
        scope=agents,
        evidence=evidence,
        rate_per_hour=rate,
        not_before=now // 60,
        not_after=now // 60 + days * 1440,
    )
    _show(standing, own.trust)
    if not yes:
        agree(f"allow this as {person.handle}? type yes", "yes")
    signing = open_signing(key, passphrase_file, person, own)
    own.remember(own.seen)
    write_envelope(out, sign(standing, signing))
    typer.echo(f"{out}: signed by {person.handle} · one more person must sign: ispcloud standing sign {out}")


def _signers(envelope: Envelope, trust: Trust) -> frozenset[str]:
    people = trust.people_by_key()
    return frozenset(people[public].handle for public in envelopes.signed_by(envelope, people))


@app.command("sign")
def sign_(
    file: File,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Show a standing authority that somebody began, and sign it too."""
    own, now = load_own(trust, state), now_s()
    chain.verify_not_expired(own.trust, now)
    person = decide.signer(own.trust, read_public(key), now)
    decide.check_may_unfreeze(person)
    envelope = read_envelope(file, "a standing authority")
    signers = _signers(envelope, own.trust)
    standing = statements.decode_as_untrusted(Standing, envelope)
    if standing.trust_id != own.trust.trust_id:
        raise RefusedError(Reason.WRONG_TRUST, "this standing authority belongs to another trust chain")
    if standing.person not in signers:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, f"expected {standing.person}, who began it, to have signed it")
    if person.handle in signers:
        raise RefusedError(Reason.DUPLICATE_PERSON, f"{person.handle} signed this already: a second person must")
    _show(standing, own.trust)
    if not yes:
        agree(f"allow this as {person.handle}? type yes", "yes")
    signed = add_signature(envelope, open_signing(key, passphrase_file, person, own))
    verify.verify_standing(signed, own.trust, now_s())
    own.remember(own.seen)
    write_envelope(file, signed)
    typer.echo(f"{file}: signed by {person.handle} · complete: ispcloud standing send {file}")


@app.command("send")
def send(
    file: File, trust: TrustFile = None, state: StateFile = None, cloud: CloudFile = None, wait: Wait = 60
) -> None:
    """Send a standing authority that two people signed to the agents that it names."""
    own = load_own(trust, state)
    envelope = read_envelope(file, "a standing authority")
    with connect(cloud) as client:
        desk = Desk(own, client)
        desk.refresh()
        standing, people = verify.verify_standing(envelope, desk.own.trust, now_s())
        everywhere = EVERYWHERE in standing.scope
        agents = tuple(a.agent for a in desk.own.trust.agents) if everywhere else standing.scope
        # To all, and so to the shared feed: other desks see what is allowed; agents outside its scope do not use it
        sent = desk.send(Kind.KIND_STANDING, envelope, "standing", agents, everybody=True)
        typer.echo(f"standing authority of {', '.join(p.handle for p in people)} sent to {len(agents)} agents")
        desk.settle(sent, wait)


@app.command("list")
def list_(
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List the standing authorities on the shared feed that hold, their signers, and the agents that took them."""
    own = load_own(trust, state)
    with connect(cloud) as client:
        desk = Desk(own, client)
        feed = desk.refresh()
    shown: list[Json] = []
    rows: list[tuple[str, ...]] = []
    for allowed in feed.standings:
        standing = allowed.standing
        answers = {
            a.handle: receipt.result.value
            for a in desk.own.trust.agents
            if (receipt := feed.receipts.get((a.agent, allowed.sha256))) is not None
        }
        shown.append({"standing_id": standing.standing_id, "signed_by": list(allowed.people), "receipts": answers})
        took = ", ".join(f"{agent} {result}" for agent, result in answers.items()) or "no agent answered yet"
        people = ", ".join(allowed.people)
        rows.append((standing.standing_id, standing.verb.value, minute(standing.not_after), people, took))
        if output is None and not as_json:
            typer.echo(_text(standing, desk.own.trust))
            typer.echo(f"  signed by {people} · {took}")
    if as_json or output is Output.JSON:
        print_json(shown)
    elif output is not None and rows:
        typer.echo(table(_COLUMNS, [[neutralize(cell) for cell in row] for row in rows], output))


_COLUMNS = (
    Column("standing authority"),
    Column("verb"),
    Column("until"),
    Column("signed by"),
    Column("receipts", wide=True),
)
