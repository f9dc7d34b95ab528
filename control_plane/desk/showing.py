"""A change on a person's terminal: read from an export or a view, verified, and shown from those bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from control_plane.desk import decide, exported, files
from control_plane.desk.cli_shared import Json, Own, agree, here, note, now_s, open_key
from control_plane.desk.exported import Exported, ExportFiles
from control_plane.desk.signing import DeskSigner
from control_plane.desk.trust_text import warning
from control_plane.errors import InputError, NotConfirmedError
from trust import limits, statements
from trust.document import Person
from trust.render import render_list, render_preview, render_summary

BATCH_FROM = 11
"""From so many changing services on, agreeing means typing their number: risk class batch begins there."""

_ITEMS_FILE_BYTES = 256 << 20
_SHORT_FILE_BYTES = 64


def read_export(folder: Path, own: Own, *, opened: bool = True) -> Exported:
    """Return an agent's export from a folder, verified; its proof of the log is remembered.

    Raises:
        InputError: a file cannot be read.
        MalformedError: the plan is no envelope.
        RefusedHereError: the files do not fit the agent's signatures.
        RefusedError: nobody known signed it, or a head contradicts a seen one.
    """
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


def print_change(change: Exported, own: Own, *, listing: bool) -> None:
    """Print a change and its warnings for an approver."""
    screen = here(sys.stdout)
    if change.items is None:
        typer.echo(screen.emphasize(render_summary(change.plan, change.short, screen.width)), nl=False)
    else:
        if listing:
            typer.echo(screen.emphasize(render_list(change.items)), nl=False)
        typer.echo(screen.emphasize(render_preview(change.plan, change.items, change.short, screen.width)), nl=False)
    typer.echo(_checked(change, own))
    for text in warnings(change, own):
        note(text)


def _checked(change: Exported, own: Own) -> str:
    policy = own.trust.policy_class(change.plan.risk_class)
    needs = "the policy has no such class" if policy is None else f"needs {policy.approvals}"
    signed = "the plan" if change.items is None else "the plan and every item"
    return (
        f"CHECKED {signed}: signed by agent {change.agent.handle} · log of {change.log.size} entries · "
        f"your trust version {own.trust.version}: class {change.plan.risk_class.value} {needs}"
    )


def warnings(change: Exported, own: Own) -> list[str]:
    """Return warnings for the person, beside the preview."""
    expiry = warning(own.trust, now_s())
    late = "the plan is past its start: preview it again" if now_s() > change.plan.start_by * 60 else None
    return [*change.warnings, *(text for text in (expiry, late) if text is not None)]


def change_json(change: Exported, own: Own) -> dict[str, Json]:
    """Return a change for programs."""
    items = None if change.items is None else [json.loads(d) for d in change.items.documents[1:]]
    return {
        "id": change.short,
        "plan_id": change.plan.plan_id,
        "sha256": change.digest.hex(),
        "agent": change.agent.handle,
        "plan": json.loads(statements.encode(change.plan)),
        "head": None if change.items is None else json.loads(change.items.documents[0]),
        "items": items,
        "changing": change.changing,
        "log": {"size": change.log.size, "root": change.log.root},
        "trust_version": own.trust.version,
        "warnings": warnings(change, own),
    }


def confirm(change: Exported, person: Person, read_it: int | None) -> None:
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


def open_signing(key: Path, passphrase_file: Path | None, person: Person, own: Own) -> DeskSigner:
    """Return the signer for this person.

    Raises:
        InputError: the key file became another person's meanwhile.
        WrongPassphraseError: the passphrase does not open it.
    """
    signing = open_key(key, passphrase_file)
    # Between the two readings of the file it may have been replaced
    if decide.signer(own.trust, signing.public, now_s()) != person:
        raise InputError(f"{key}: expected the key of {person.handle}, the file was changed meanwhile")
    return signing


SignerOf = Callable[[], DeskSigner]
"""Gives the signer when it is needed: a passphrase is asked for once, and not before somebody agreed, where it can."""
