"""`ispcloud changes`: look at what an agent exported, and decide. What is shown is what was verified."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import decide, exported, files
from control_plane.desk.cli_shared import (
    AsJson,
    KeyFile,
    Own,
    PassphraseFile,
    StateFile,
    TrustFile,
    Yes,
    agree,
    load_own,
    note,
    now_s,
    open_key,
    print_json,
    read_envelope,
    write_envelope,
)
from control_plane.desk.exported import Exported, ExportFiles
from control_plane.desk.key_files import read_public
from control_plane.desk.trust_text import warning
from control_plane.errors import InputError, NotConfirmedError
from trust import chain, limits, statements
from trust import envelope as envelopes
from trust.document import Person
from trust.keys import SigningKey
from trust.render import neutralise, render_list, render_preview, render_summary
from trust.statements import Decision, FreezeScope, ReasonCode

app = typer.Typer(help="Look at a change and decide.", no_args_is_help=True, rich_markup_mode=None)

BATCH_FROM = 11
"""From so many changing services on, agreeing means typing their number (DESIGN section 4: batch is 11 or more)."""

_ITEMS_FILE_BYTES = 256 << 20
_SHORT_FILE_BYTES = 64

Export = Annotated[Path, typer.Option("--file", help="The folder that `ispagent change show ID --export` wrote")]
Out = Annotated[Path, typer.Option("--out", help="Where your signed statement goes")]
ReadIt = Annotated[
    int | None, typer.Option("--yes-i-read-it", min=0, help="How many services would change: for scripts")
]


# --- reading --------------------------------------------------------------------------------------------------------


def _read_export(folder: Path, own: Own, *, opened: bool = True) -> Exported:
    found = ExportFiles(
        plan=files.read(folder / "plan.json", limits.ENVELOPE_BYTES, "a plan"),
        items=files.read_if_there(folder / "items.jsonl", _ITEMS_FILE_BYTES, "the items"),
        trust=files.read_if_there(folder / "trust.json", limits.ENVELOPE_BYTES, "the agent's trust document"),
        checkpoint=files.read_if_there(folder / "checkpoint.txt", limits.NOTE_BYTES, "a checkpoint"),
        short=files.read_if_there(folder / "short", _SHORT_FILE_BYTES, "a short id"),
    )
    result = exported.open_export_untrusted(found, own.trust, own.sha256, own.seen, opened=opened)
    own.remember(result.seen)
    return result


def _width() -> int:
    return max(60, min(120, shutil.get_terminal_size((100, 24)).columns))


def _print_change(change: Exported, own: Own, *, listing: bool) -> None:
    if change.items is None:
        typer.echo(render_summary(change.plan, change.short, _width()), nl=False)
    else:
        if listing:
            typer.echo(render_list(change.items), nl=False)
        typer.echo(render_preview(change.plan, change.items, change.short, _width()), nl=False)
    typer.echo(_checked(change, own))
    for text in _warnings(change, own):
        note(text)


def _checked(change: Exported, own: Own) -> str:
    policy = own.trust.policy_class(change.plan.risk_class)
    needs = "the policy has no such class" if policy is None else f"needs {policy.approvals}"
    signed = "the plan" if change.items is None else "the plan and every item"
    return (
        f"CHECKED {signed}: signed by agent {change.agent.handle} · log of {change.log.size} entries · "
        f"your trust version {own.trust.version}: class {change.plan.risk_class.value} {needs}"
    )


def _warnings(change: Exported, own: Own) -> list[str]:
    expiry = warning(own.trust, now_s())
    late = "the plan is past its start: preview it again" if now_s() > change.plan.start_by * 60 else None
    return [*change.warnings, *(text for text in (expiry, late) if text is not None)]


@app.command("show")
def show(
    file: Export,
    trust: TrustFile = None,
    state: StateFile = None,
    listing: Annotated[bool, typer.Option("--list", help="List every item")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what was exported, once it proves to be the agent's."""
    own = load_own(trust, state)
    change = _read_export(file, own)
    if not as_json:
        _print_change(change, own, listing=listing)
        return
    items = None if change.items is None else [json.loads(d) for d in change.items.documents[1:]]
    print_json(
        {
            "short": change.short,
            "sha256": change.digest.hex(),
            "agent": change.agent.handle,
            "plan": json.loads(statements.encode(change.plan)),
            "head": None if change.items is None else json.loads(change.items.documents[0]),
            "items": items,
            "changing": change.changing,
            "log": {"size": change.log.size, "root": change.log.root},
            "trust_version": own.trust.version,
            "warnings": _warnings(change, own),
        }
    )


# --- deciding -------------------------------------------------------------------------------------------------------


def _confirm(change: Exported, person: Person, read_it: int | None) -> None:
    """Have the person say that they read it.

    Raises:
        NotConfirmedError: another answer, or another number.
    """
    changing = change.changing
    if read_it is not None:
        if changing is not None and read_it != changing:
            raise NotConfirmedError(
                f"expected {changing}, the number of services that would change, got {read_it}: nothing was signed"
            )
    elif changing is not None and changing >= BATCH_FROM:
        agree(f"approve as {person.handle}? type the number of services that would change", str(changing))
    else:
        agree(f"approve as {person.handle}? type yes", "yes")


@app.command("approve")
def approve(
    file: Export,
    key: KeyFile,
    out: Out,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes_i_read_it: ReadIt = None,
) -> None:
    """Show a change, and sign that it may run. Hand the file to the agent: ispagent change approve ID --file FILE."""
    own, now = load_own(trust, state), now_s()
    chain.verify_not_expired(own.trust, now)
    person = decide.signer(own.trust, read_public(key), now)
    change = _read_export(file, own, opened=person.sees_subscribers)
    decide.verify_may_approve(change, person, own.trust, now)
    if not person.sees_subscribers:
        note(f"the trust document does not let {person.handle} see subscribers: the items are not shown")
    _print_change(change, own, listing=change.changing is not None and change.changing > 1)
    if change.items is None:
        note("you see the summary only: the policy may not count your approval")
    _confirm(change, person, yes_i_read_it)
    signing = _open_signing(key, passphrase_file, person, own)
    statement = decide.approval(change, own.trust, own.sha256, person, Decision.APPROVE)
    envelope = statements.sign(statement, [signing])
    result = decide.judge(change, [envelope], own.trust, own.sha256, now_s())
    for text in decide.verify_counts(result):
        note(text)
    write_envelope(out, envelope)
    typer.echo(
        f"{out}: {change.short} approved by {person.handle} · {result.have} of {result.need} people in this file"
    )


@app.command("reject")
def reject(
    file: Export,
    key: KeyFile,
    out: Out,
    reason: Annotated[ReasonCode, typer.Option("--reason", help="Why")] = ReasonCode.OTHER,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Show a change, and sign that it must not run."""
    own, now = load_own(trust, state), now_s()
    person = decide.signer(own.trust, read_public(key), now)
    change = _read_export(file, own, opened=person.sees_subscribers)
    decide.verify_may_reject(change, person, own.trust)
    _print_change(change, own, listing=False)
    if not yes:
        agree(f"reject as {person.handle}? type yes", "yes")
    signing = _open_signing(key, passphrase_file, person, own)
    statement = decide.approval(change, own.trust, own.sha256, person, Decision.REJECT, reason)
    write_envelope(out, statements.sign(statement, [signing]))
    typer.echo(f"{out}: {change.short} rejected by {person.handle}")


@app.command("cancel")
def cancel(
    file: Export,
    key: KeyFile,
    out: Out,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Take a change back, started or not: nothing more is sent. An expired trust document does not hinder that."""
    own, now = load_own(trust, state), now_s()
    person = decide.signer(own.trust, read_public(key), now)
    change = _read_export(file, own, opened=person.sees_subscribers)
    _print_change(change, own, listing=False)
    if not yes:
        agree(f"cancel as {person.handle}? type yes", "yes")
    signing = _open_signing(key, passphrase_file, person, own)
    statement = decide.cancel(change, own.trust, person, secrets.token_hex(16), now_s())
    write_envelope(out, statements.sign(statement, [signing]))
    typer.echo(f"{out}: {change.short} cancelled by {person.handle}")


def _open_signing(key: Path, passphrase_file: Path | None, person: Person, own: Own) -> SigningKey:
    signing = open_key(key, passphrase_file)
    # Between the two readings of the file it may have been replaced
    if decide.signer(own.trust, signing.public, now_s()) != person:
        raise InputError(f"{key}: expected the key of {person.handle}, the file was changed meanwhile")
    return signing


# --- freezing -------------------------------------------------------------------------------------------------------


@app.command("freeze")
def freeze(
    key: KeyFile,
    out: Out,
    scope: Annotated[FreezeScope, typer.Option("--scope", help="What is stopped")],
    target: Annotated[str, typer.Option("--target", help="An agent or person by handle, or a public key")] = "",
    agent: Annotated[str, typer.Option("--agent", help="The agent's handle, with --scope agent")] = "",
    hours: Annotated[int, typer.Option("--hours", min=0, max=24 * 365, help="How long; 0: until it is lifted")] = 0,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Stop everything, an agent, a person or a key. Anybody may; it is not asked twice."""
    if target and agent:
        raise InputError("expected --target or --agent, got both")
    if agent and scope is not FreezeScope.AGENT:
        raise InputError(f"expected --scope agent with --agent, got --scope {scope.value}")
    own, now = load_own(trust, state), now_s()
    signing = open_key(key, passphrase_file)
    person = decide.signer(own.trust, signing.public, now)
    statement = decide.freeze(own.trust, person, scope, target or agent, secrets.token_hex(16), now, hours)
    own.remember(own.seen)
    write_envelope(out, statements.sign(statement, [signing]))
    stopped = " ".join(part for part in (scope.value, target or agent) if part)
    typer.echo(f"{out}: freeze of {stopped} by {person.handle}; hand it to each agent: ispagent freeze --file {out}")


@app.command("unfreeze")
def unfreeze(
    key: KeyFile,
    freeze_file: Annotated[Path, typer.Option("--freeze", help="The freeze to lift")],
    out: Annotated[Path | None, typer.Option("--out", help="Where it goes [--add-to's file]")] = None,
    add_to: Annotated[Path | None, typer.Option("--add-to", help="The file that a first person signed")] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Lift a freeze. Two people sign: the second one with --add-to."""
    into = out or add_to
    if into is None:
        raise InputError("expected --out FILE (the first person) or --add-to FILE (the second), got neither")
    own, now = load_own(trust, state), now_s()
    chain.verify_not_expired(own.trust, now)
    person = decide.signer(own.trust, read_public(key), now)
    frozen = read_envelope(freeze_file, "a freeze")
    stopped = decide.verify_freeze_to_lift(frozen, own.trust, now)
    begun = None if add_to is None else read_envelope(add_to, "an unfreeze")
    if begun is None:
        statement = decide.unfreeze(own.trust, frozen, person, now)
    else:
        statement = decide.verify_unfreeze_to_join(begun, frozen, own.trust, person)
    typer.echo(f"FREEZE of {stopped.scope.value} {neutralise(stopped.target)} by {stopped.person}, to be lifted")
    if not yes:
        agree(f"lift it as {person.handle}? type yes", "yes")
    signing = _open_signing(key, passphrase_file, person, own)
    signed = statements.sign(statement, [signing]) if begun is None else envelopes.add_signature(begun, signing)
    own.remember(own.seen)
    write_envelope(into, signed)
    still = (
        "one more person must sign: --add-to this file" if begun is None else "two people signed: it can be handed in"
    )
    typer.echo(f"{into}: signed by {person.handle} · {still}")
