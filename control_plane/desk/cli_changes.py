"""`ispcloud changes`: look at a change and decide, through the control plane or on an agent's export (`--file`).

Only verified documents are shown. An ID is the short id that the site shows too, or its beginning; the beginning of the
plan's whole id or digest will do.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from control_plane.desk import cli_cpes, cli_freeze, cli_intents, cli_watch, decide
from control_plane.desk.cli_shared import (
    AsJson,
    CloudFile,
    Json,
    KeyFile,
    ListOutput,
    Own,
    PassphraseFile,
    StateFile,
    TrustFile,
    Wait,
    Yes,
    agree,
    load_own,
    note,
    now_s,
    print_json,
    write_envelope,
)
from control_plane.desk.errors import NO_RECEIPT
from control_plane.desk.exported import Exported
from control_plane.desk.feed import Change, SharedFeed
from control_plane.desk.key_files import read_public
from control_plane.desk.online import Desk, connect, red
from control_plane.desk.showing import SignerOf, change_json, confirm, open_signing, print_change, read_export
from control_plane.desk.signing import sign
from control_plane.errors import InputError
from protos.message_pb2 import Kind
from trust import chain, chance, statements
from trust.document import Person, Trust
from trust.envelope import Envelope
from trust.statements import Cancel, Decision, Pause, ReasonCode, Resume
from trust.terminal import Column, Output, neutralize, table

app = typer.Typer()

Id = Annotated[str, typer.Argument(metavar="ID", help="A change on the shared feed; not with --file")]
Export = Annotated[
    Path | None, typer.Option("--file", help="The folder that `ispagent change show ID --export` wrote: no cloud")
]
Out = Annotated[Path | None, typer.Option("--out", help="Where your signed statement goes; needed with --file")]
ReadIt = Annotated[
    int | None, typer.Option("--yes-i-read-it", min=0, help="How many services would change: for scripts")
]


# --- where a change comes from --------------------------------------------------------------------------------------


def _is_offline(change_id: str, file: Path | None, out: Path | None, *, signs: bool) -> bool:
    if bool(change_id) == (file is not None):
        raise InputError("expected the ID of a change on the shared feed, or --file FOLDER of an export: one of them")
    if signs and file is not None and out is None:
        raise InputError("expected --out FILE with --file: where your signed statement goes")
    return file is not None


@contextmanager
def _connected(own: Own, cloud: Path | None) -> Iterator[tuple[Desk, SharedFeed]]:
    with connect(cloud) as client:
        desk = Desk(own, client)
        feed = desk.refresh()
        for alarm in feed.alarms:
            red(alarm)
        yield desk, feed


@app.command("list")
def list_(
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Also changes that ended more than a day ago")] = False,
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List the changes on the shared feed, as far as agents that you trust signed them."""
    own = load_own(trust, state)
    with _connected(own, cloud) as (desk, feed):
        seen = {a.agent: a for a in desk.client.agents()}
        if as_json or output is Output.JSON:
            print_json(_feed_json(feed))
        else:
            for freeze in feed.freezes if output is not Output.NAME else ():
                typer.echo(f"FROZEN: {freeze.scope.value} {neutralize(freeze.target)} by {freeze.person}")
            yesterday = now_s() // 60 - 1440
            shown = [c for c in feed.changes if everything or c.is_open or c.plan.start_by >= yesterday]
            if shown:
                typer.echo(table(_COLUMNS, [_row(change) for change in shown], output))
            away = [a.handle for a in desk.own.trust.agents if a.agent in seen and not seen[a.agent].connected]
            if away:
                note(f"not connected now, says the control plane: {', '.join(away)}")
    if feed.not_verified:
        note(f"{len(feed.not_verified)} messages NOT VERIFIED, and not shown as changes:")
        for found in feed.not_verified[:10]:
            note(f"  message {found.number}, {found.kind}: {neutralize(found.why)}")
    for missing in feed.missing:
        red(f"NO RECEIPT from {', '.join(missing.agents)} to the {feed.about(missing.sent)}")
    if feed.missing or feed.alarms:
        raise typer.Exit(NO_RECEIPT)


_COLUMNS: Final = (
    *map(Column, ("ID", "STATE", "HAVE", "AGENT", "CLASS", "ACTION", "SIZE", "BY", "START BY")),
    *(Column(title, wide=True) for title in ("RUN UNTIL", "SHA256")),
)


def _row(change: Change) -> tuple[str, ...]:
    plan = change.plan
    return (
        change.short,
        change.state,
        f"{change.have}/{change.need}",
        change.agent,
        plan.risk_class.value,
        plan.action.value,
        plan.size_bucket.value,
        plan.requester,
        cli_watch.minute(plan.start_by) if change.state in ("waiting", "approved") else "",
        cli_watch.minute(plan.run_until),
        change.sha256,
    )


def _feed_json(feed: SharedFeed) -> dict[str, Json]:
    return {
        "changes": [
            {
                "id": c.short,
                "plan_id": c.plan.plan_id,
                "sha256": c.sha256,
                "agent": c.agent,
                "state": c.state,
                "have": c.have,
                "need": c.need,
                "plan": json.loads(statements.encode(c.plan)),
            }
            for c in feed.changes
        ],
        "freezes": [{"scope": f.scope.value, "target": f.target, "person": f.person} for f in feed.freezes],
        "not_verified": [{"number": n.number, "kind": n.kind, "why": n.why} for n in feed.not_verified],
        "no_receipt": [{"what": m.sent.what, "sha256": m.sent.sha256, "agents": list(m.agents)} for m in feed.missing],
        "alarms": list(feed.alarms),
    }


@app.command("show")
def show(
    change_id: Id = "",
    file: Export = None,
    key: Annotated[
        Path | None, typer.Option("--key", envvar="ISPCLOUD_KEY", help="Your key file: it signs that you look")
    ] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    listing: Annotated[bool, typer.Option("--list", help="List every item")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a change, once it proves to be the agent's. Looking through the control plane is disclosed in its log."""
    own = load_own(trust, state)
    if _is_offline(change_id, file, None, signs=False) and file is not None:
        change = read_export(file, own)
    elif key is None:
        raise InputError("expected --key FILE: the agent shows items to a person who signs that they look")
    else:
        with _connected(own, cloud) as (desk, feed):
            person = decide.signer(desk.own.trust, read_public(key), now_s())
            signer_of = functools.cache(lambda: open_signing(key, passphrase_file, person, desk.own))
            change, own = _look(desk, feed.find(change_id), person, signer_of), desk.own
    if as_json:
        print_json(change_json(change, own))
    else:
        print_change(change, own, listing=listing)


def _look(desk: Desk, change: Change, person: Person, signer_of: SignerOf) -> Exported:
    if not person.sees_subscribers:
        note(f"the trust document does not let {person.handle} see subscribers: the items are not shown")
        return desk.summary(change)
    return desk.look(change, person, signer_of())


# --- deciding -------------------------------------------------------------------------------------------------------

Decide = Callable[[Exported, Own, Person, SignerOf], tuple[Envelope, str]]
"""Shows a change to a person, has them agree, and returns the signed statement, also in words."""


def _offline(file: Path, key: Path, out: Path, own: Own, passphrase_file: Path | None, decided: Decide) -> None:
    person = decide.signer(own.trust, read_public(key), now_s())
    change = read_export(file, own, opened=person.sees_subscribers)
    envelope, said = decided(change, own, person, lambda: open_signing(key, passphrase_file, person, own))
    write_envelope(out, envelope)
    typer.echo(f"{out}: {change.short} {said}")


def _online(
    change_id: str,
    key: Path,
    own: Own,
    *,
    cloud: Path | None,
    out: Path | None,
    passphrase_file: Path | None,
    kind: Kind,
    what: str,
    wait_s: int,
    refuse: Callable[[Exported, Person, Own], None],
    decided: Decide,
) -> None:
    with _connected(own, cloud) as (desk, feed):
        found = feed.find(change_id)
        person = decide.signer(desk.own.trust, read_public(key), now_s())
        signer_of = functools.cache(lambda: open_signing(key, passphrase_file, person, desk.own))
        if not found.is_open:
            note(f"this change is {found.state}")
        # Before anything is disclosed
        refuse(desk.summary(found), person, desk.own)
        change = _look(desk, found, person, signer_of)
        envelope, said = decided(change, desk.own, person, signer_of)
        if out is not None:
            write_envelope(out, envelope)
        links = _links(desk, feed, found)
        sent = desk.send(kind, envelope, what, (found.plan.agent,), plan=found.sha256, links=links)
        # How many approve is the agent's to say: its receipt does
        typer.echo(f"{change.short}: {said.partition(' · ')[0]}, sent to {found.agent}")
        desk.settle(sent, wait_s)


def _links(desk: Desk, feed: SharedFeed, change: Change) -> tuple[bytes, ...]:
    agent = change.plan.agent
    return desk.links_for(agent, max(change.plan.trust_version, feed.versions.get(agent, 0)))


def _approve(
    change: Exported, own: Own, person: Person, signer_of: SignerOf, read_it: int | None
) -> tuple[Envelope, str]:
    decide.verify_may_approve(change, person, own.trust, now_s())
    print_change(change, own, listing=change.changing is not None and change.changing > 1)
    if change.items is None:
        note("you see the summary only: the policy may not count your approval")
    confirm(change, person, read_it)
    statement = decide.approval(change, own.trust, own.sha256, person, Decision.APPROVE)
    envelope = sign(statement, signer_of())
    result = decide.judge(change, [envelope], own.trust, own.sha256, now_s())
    for text in decide.verify_counts(result):
        note(text)
    return envelope, f"approved by {person.handle} · {result.have} of {result.need} people in this file"


@app.command("approve")
def approve(
    key: KeyFile,
    change_id: Id = "",
    file: Export = None,
    out: Out = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    yes_i_read_it: ReadIt = None,
    wait: Wait = 60,
) -> None:
    """Show a change, and sign that it may run. With --file, hand --out's file over: ispagent change approve ID."""
    own = load_own(trust, state)

    def decided(change: Exported, own: Own, person: Person, signer_of: SignerOf) -> tuple[Envelope, str]:
        return _approve(change, own, person, signer_of, yes_i_read_it)

    def refuse(change: Exported, person: Person, own: Own) -> None:
        chain.verify_not_expired(own.trust, now_s())
        decide.verify_may_approve(change, person, own.trust, now_s())

    if _is_offline(change_id, file, out, signs=True) and file is not None and out is not None:
        chain.verify_not_expired(own.trust, now_s())
        person = decide.signer(own.trust, read_public(key), now_s())
        if not person.sees_subscribers:
            note(f"the trust document does not let {person.handle} see subscribers: the items are not shown")
        _offline(file, key, out, own, passphrase_file, decided)
        return
    _online(
        change_id,
        key,
        own,
        cloud=cloud,
        out=out,
        passphrase_file=passphrase_file,
        kind=Kind.KIND_APPROVAL,
        what="approve",
        wait_s=wait,
        refuse=refuse,
        decided=decided,
    )


@app.command("reject")
def reject(
    key: KeyFile,
    change_id: Id = "",
    file: Export = None,
    out: Out = None,
    reason: Annotated[ReasonCode, typer.Option("--reason", help="Why")] = ReasonCode.OTHER,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    wait: Wait = 60,
) -> None:
    """Show a change, and sign that it must not run."""
    own = load_own(trust, state)

    def decided(change: Exported, own: Own, person: Person, signer_of: SignerOf) -> tuple[Envelope, str]:
        decide.verify_may_reject(change, person, own.trust)
        print_change(change, own, listing=False)
        if not yes:
            agree(f"reject as {person.handle}? type yes", "yes")
        statement = decide.approval(change, own.trust, own.sha256, person, Decision.REJECT, reason)
        return sign(statement, signer_of()), f"rejected by {person.handle}"

    if _is_offline(change_id, file, out, signs=True) and file is not None and out is not None:
        _offline(file, key, out, own, passphrase_file, decided)
        return
    _online(
        change_id,
        key,
        own,
        cloud=cloud,
        out=out,
        passphrase_file=passphrase_file,
        kind=Kind.KIND_APPROVAL,
        what="reject",
        wait_s=wait,
        refuse=lambda change, person, own: decide.verify_may_reject(change, person, own.trust),
        decided=decided,
    )


@app.command("review")
def review(
    key: KeyFile,
    change_id: Id = "",
    file: Export = None,
    out: Out = None,
    objection: Annotated[bool, typer.Option("--objection", help="It was not in order")] = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    wait: Wait = 60,
) -> None:
    """Show a change that one person made alone, and sign your review. With --file: ispagent review close ID --file."""
    own = load_own(trust, state)
    verdict = Decision.REJECT if objection else Decision.APPROVE

    def refuse(change: Exported, person: Person, own: Own) -> None:
        chain.verify_not_expired(own.trust, now_s())
        decide.verify_may_review(change, person)

    def decided(change: Exported, own: Own, person: Person, signer_of: SignerOf) -> tuple[Envelope, str]:
        refuse(change, person, own)
        print_change(change, own, listing=change.changing is not None and change.changing > 1)
        if not yes:
            word = "was NOT in order" if objection else "was in order"
            agree(f"close the review as {person.handle}: it {word}? type yes", "yes")
        statement = decide.review(change, own.trust, own.sha256, person, verdict, now_s())
        return sign(statement, signer_of()), f"reviewed by {person.handle}"

    if _is_offline(change_id, file, out, signs=True) and file is not None and out is not None:
        _offline(file, key, out, own, passphrase_file, decided)
        return
    _online(
        change_id,
        key,
        own,
        cloud=cloud,
        out=out,
        passphrase_file=passphrase_file,
        kind=Kind.KIND_APPROVAL,
        what="review",
        wait_s=wait,
        refuse=refuse,
        decided=decided,
    )


@dataclass(frozen=True, slots=True)
class _Word:
    """A command about a whole change: its verb, its past form, its kind, its maker, and its help."""

    verb: str
    done: str
    kind: Kind
    make: Callable[[Exported, Trust, Person, str, int], Cancel | Pause | Resume]
    help: str


_WORDS: Final = (
    _Word(
        "cancel",
        "cancelled",
        Kind.KIND_CANCEL,
        decide.cancel,
        "Take a change back, started or not: nothing more is sent. An expired trust document does not hinder that.",
    ),
    _Word(
        "pause",
        "paused",
        Kind.KIND_PAUSE,
        decide.pause,
        "Have nothing more of a change begun until it is resumed. With --file: ispagent change pause ID --file.",
    ),
    _Word(
        "resume",
        "resumed",
        Kind.KIND_RESUME,
        decide.resume,
        "Let a change go on that you paused, or as approver or owner. With --file: ispagent change resume ID --file.",
    ),
)


def _add_word(word: _Word) -> None:
    """Add the command that says a word."""

    @app.command(word.verb, help=word.help)
    def say(
        key: KeyFile,
        change_id: Id = "",
        file: Export = None,
        out: Out = None,
        trust: TrustFile = None,
        state: StateFile = None,
        cloud: CloudFile = None,
        passphrase_file: PassphraseFile = None,
        yes: Yes = False,
        wait: Wait = 60,
    ) -> None:
        own = load_own(trust, state)
        _send_word(word, change_id, key, own, cloud, file, out, passphrase_file, wait, yes=yes)


for _word in _WORDS:
    _add_word(_word)


def _send_word(
    word: _Word,
    change_id: str,
    key: Path,
    own: Own,
    cloud: Path | None,
    file: Path | None,
    out: Path | None,
    passphrase_file: Path | None,
    wait_s: int,
    *,
    yes: bool,
) -> None:
    def decided(change: Exported, own: Own, person: Person, signer_of: SignerOf) -> tuple[Envelope, str]:
        print_change(change, own, listing=False)
        if not yes:
            agree(f"{word.verb} as {person.handle}? type yes", "yes")
        statement = word.make(change, own.trust, person, chance.token_hex(16), now_s())
        return sign(statement, signer_of()), f"{word.done} by {person.handle}"

    if _is_offline(change_id, file, out, signs=True) and file is not None and out is not None:
        _offline(file, key, out, own, passphrase_file, decided)
        return
    _word_online(word, change_id, key, own, cloud, out, passphrase_file, wait_s, decided)


def _word_online(
    word: _Word,
    change_id: str,
    key: Path,
    own: Own,
    cloud: Path | None,
    out: Path | None,
    passphrase_file: Path | None,
    wait_s: int,
    decided: Decide,
) -> None:
    """Decide on the plan alone: stopping must not depend on the agent answering a view."""
    with _connected(own, cloud) as (desk, feed):
        found = feed.find(change_id)
        person = decide.signer(desk.own.trust, read_public(key), now_s())
        envelope, said = decided(
            desk.summary(found), desk.own, person, lambda: open_signing(key, passphrase_file, person, desk.own)
        )
        if out is not None:
            write_envelope(out, envelope)
        # An agent with an older document may not know who signed
        links = _links(desk, feed, found)
        sent = desk.send(word.kind, envelope, word.verb, (found.plan.agent,), plan=found.sha256, links=links)
        typer.echo(f"{found.short}: {said}, sent to {found.agent}")
        desk.settle(sent, wait_s)


app.command("freeze")(cli_freeze.freeze)
app.command("freezes")(cli_freeze.freezes)
app.command("unfreeze")(cli_freeze.unfreeze)
app.command("suspend")(cli_intents.suspend)
app.command("restore")(cli_intents.restore)
app.command("set-plan")(cli_intents.set_plan)
app.command("disconnect")(cli_intents.disconnect)
app.command("remove")(cli_intents.remove)
app.command("rename-login")(cli_intents.rename_login)
app.command("prepare-device")(cli_intents.prepare_device)
app.command("port-down")(cli_intents.port_down)
app.command("port-up")(cli_intents.port_up)
app.command("port-alias")(cli_intents.port_alias)
app.command("port-power-cycle")(cli_intents.port_power_cycle)
app.command("again")(cli_intents.again)
app.command("revert")(cli_intents.revert)
app.command("cpe-accept")(cli_cpes.accept)
app.command("cpe-set")(cli_cpes.set_)
app.command("cpe-rotate")(cli_cpes.rotate)
app.command("cpe-provision")(cli_cpes.provision)
app.command("cpe-reboot")(cli_cpes.reboot)
app.command("cpe-factory-reset")(cli_cpes.factory_reset)
app.command("cpe-firmware")(cli_cpes.firmware)
app.command("cpe-diagnose")(cli_cpes.diagnose)
app.command("watch")(cli_watch.watch)
