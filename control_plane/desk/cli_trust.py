"""`ispcloud trust`: people, roles and policy. A draft is edited by command, then k of n people sign it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import files, trust_edit, trust_sign
from control_plane.desk.cli_shared import (
    AsJson,
    CloudFile,
    KeyFile,
    PassphraseFile,
    StateFile,
    TrustFile,
    Wait,
    Yes,
    agree,
    change_memory,
    home,
    load_own,
    note,
    now_s,
    open_key_here,
    print_json,
    read_envelope,
    write_envelope,
)
from control_plane.desk.memory import SignedTrust
from control_plane.desk.online import Desk, connect
from control_plane.desk.trust_sign import Previous
from control_plane.desk.trust_text import render_trust, signatures_text, warning
from control_plane.errors import InputError
from protos.command_line import PlainGroup
from protos.message_pb2 import Kind
from trust import chain, chance, limits, statements, verify
from trust import envelope as envelopes
from trust.document import EVERYWHERE, Trust, WitnessOperator
from trust.envelope import Envelope
from trust.errors import MalformedEnvelopeError, MalformedError, MalformedStatementError
from trust.policy import Role

app = typer.Typer()
add = typer.Typer(cls=PlainGroup, help="Add to a draft.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(add, name="add")

_DRAFT = Path("trust.draft.json")
Draft = Annotated[Path, typer.Option("--draft", help="The draft that is edited")]
Days = Annotated[int, typer.Option("--days", min=1, max=limits.TRUST_DAYS_MAX, help="How long it will hold")]
Handle = Annotated[str, typer.Argument(help="A handle, [a-z0-9-]{1,32}")]
PublicKey = Annotated[str, typer.Option("--key", help="Their public key, hex (ispcloud keys show)")]
PreviousFile = Annotated[Path | None, typer.Option("--previous", help="The signed version before this one")]
PolicyPreset = Annotated[str, typer.Option("--policy-preset", help="default, or demo (the same at any hour)")]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help='JSON {"policy": [CLASS…]}: replaces those classes')]


def _load(draft: Path) -> Trust:
    return trust_edit.decode_draft_untrusted(files.read(draft, limits.STATEMENT_BYTES, "a draft"))


def _save(draft: Path, trust: Trust, said: str) -> None:
    files.write(draft, trust_edit.encode_draft(trust))
    typer.echo(f"{draft}: {said}")


def _with_policy_file(trust: Trust, policy: Path | None) -> Trust:
    if policy is None:
        return trust
    return trust_edit.replace_policy_untrusted(trust, files.read(policy, limits.STATEMENT_BYTES, "a policy file"))


@app.command("init")
def init(
    root_threshold: Annotated[int, typer.Option("--root-threshold", min=1, help="How many people must sign")],
    owner: Annotated[
        list[str] | None,
        typer.Option("--owner", help="HANDLE=PUBHEX: an owner and approver with this key, also as root key"),
    ] = None,
    witness: Annotated[
        str, typer.Option("--witness", help="NAME=VKEY: an approver's desk that must confirm each start of an agent")
    ] = "",
    out: Annotated[Path, typer.Option("--out", help="The draft; it must not be there")] = _DRAFT,
    days: Days = limits.TRUST_DAYS_MAX,
    policy_preset: PolicyPreset = "default",
    policy: PolicyFile = None,
) -> None:
    """Begin version 1 of a new chain; without a witness it says how an approver's desk becomes one."""
    classes = trust_edit.preset(policy_preset)
    trust = trust_edit.new(chance.token_hex(16), root_threshold, classes, now_s(), days)
    for named in owner or ():
        handle, equals, pub = named.partition("=")
        if not equals:
            raise InputError(f"expected --owner HANDLE=PUBHEX, got {named!r}")
        trust = trust_edit.add_person(
            trust, handle, (Role.OWNER, Role.APPROVER), pub, sees_subscribers=True, root_pub=pub
        )
    if witness:
        name, equals, vkey = witness.partition("=")
        if not equals:
            raise InputError(f"expected --witness NAME=VKEY, got {witness!r}")
        trust = trust_edit.with_quorum(trust_edit.add_witness(trust, name, vkey, WitnessOperator.OWN), 1, 1)
    files.write_new(out, trust_edit.encode_draft(_with_policy_file(trust, policy)))
    typer.echo(
        f"{out}: a draft of version 1 with {len(trust.people)} people; add to it, then: ispcloud trust sign {out}"
    )
    if not witness:
        typer.echo(_proposed_witness(trust, out))


def _proposed_witness(trust: Trust, draft: Path) -> str:
    """Return how the desk of an approver, the last one that is there, becomes a witness of the agents' logs."""
    who = trust.people[-1].handle if trust.people else "approver"
    return (
        f"no witness yet: only an agent's own marks tell that it was restored. Proposed: the desk of {who}. There:\n"
        f"  ispcloud keys new --out witness.key\n"
        f"  ispcloud keys show witness.key --witness-name {who}-desk\n"
        f"and here, with the key that this prints:\n"
        f"  ispcloud trust add witness {who}-desk --vkey VKEY --operated-by own --draft {draft}\n"
        f"  ispcloud trust policy --quorum 1 --draft {draft}\n"
        "It needs a control plane, and cosigns while this runs: ispcloud changes watch --witness-key witness.key.\n"
        "An agent that starts while it is away previews its open plans again."
    )


@app.command("next")
def next_(
    file: Annotated[Path, typer.Argument(help="The signed version in force")],
    out: Annotated[Path, typer.Option("--out", help="The draft; it must not be there")] = _DRAFT,
    days: Days = limits.TRUST_DAYS_MAX,
) -> None:
    """Begin the version that follows a signed one."""
    previous = trust_sign.open_previous(read_envelope(file, "a signed trust document"))
    trust = trust_edit.following(previous.trust, previous.sha256, now_s(), days)
    files.write_new(out, trust_edit.encode_draft(trust))
    typer.echo(f"{out}: a draft of version {trust.version}; sign it with --previous {file}")


@add.command("person")
def add_person(
    handle: Handle,
    key: PublicKey,
    role: Annotated[list[Role], typer.Option("--role", help="May be given several times")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="all, or an agent's handle [all]")] = None,
    sees_subscribers: Annotated[bool, typer.Option("--sees-subscribers", help="May open the items of plans")] = False,
    root: Annotated[bool, typer.Option("--root", help="The key also signs trust documents")] = False,
    root_key: Annotated[str, typer.Option("--root-key", help="Another key of theirs that signs trust documents")] = "",
    draft: Draft = _DRAFT,
) -> None:
    """Add a person."""
    trust = trust_edit.add_person(
        _load(draft),
        handle,
        role,
        key,
        scope=scope or (EVERYWHERE,),
        sees_subscribers=sees_subscribers,
        root_pub=root_key or (key if root else None),
    )
    _save(draft, trust, f"{handle} added: {', '.join(r.value for r in role)}")


@add.command("key")
def add_key(
    handle: Handle,
    key: PublicKey,
    root: Annotated[bool, typer.Option("--root", help="A root key, not one for approvals")] = False,
    draft: Draft = _DRAFT,
) -> None:
    """Add one more key of a person."""
    change = trust_edit.add_root_key if root else trust_edit.add_key
    _save(draft, change(_load(draft), handle, key), f"{handle} has one more key")


@add.command("service")
def add_service(
    handle: Handle,
    key: PublicKey,
    run_by: Annotated[
        str,
        typer.Option(
            "--run-by", help="The person that runs it, and so approves nothing that it asks for [one more approves]"
        ),
    ] = "",
    draft: Draft = _DRAFT,
) -> None:
    """Add a program, such as billing: it may request, never approve."""
    who = f"{run_by} runs it and approves nothing of it" if run_by else "its requests need one more person"
    trust = trust_edit.add_service(_load(draft), handle, key, run_by)
    _save(draft, trust, f"{handle} added: it may request; {who}")


@add.command("agent")
def add_agent(
    enroll: Annotated[Path, typer.Option("--enroll", help="The file that `ispagent init` wrote")],
    fingerprint_words: Annotated[str, typer.Option("--words", help="The words that it printed [asked for]")] = "",
    draft: Draft = _DRAFT,
) -> None:
    """Add an agent, once you typed the words that its own console showed."""
    trust = _load(draft)
    named = verify.verify_enroll(read_envelope(enroll, "an agent's enrolment"))
    typer.echo(f"agent {named.handle} · {named.agent}")
    typed: str = fingerprint_words or typer.prompt("type the eight words that `ispagent init` printed there")
    trust_edit.verify_fingerprint_words(named, typed)
    _save(draft, trust_edit.add_agent(trust, named), f"agent {named.handle} added: its words match")


@add.command("witness")
def add_witness(
    name: Annotated[str, typer.Argument(help="A name, [a-z0-9-]{1,32}")],
    vkey: Annotated[str, typer.Option("--vkey", help="Its verifier key (ispcloud keys show --witness-name)")],
    operated_by: Annotated[WitnessOperator, typer.Option("--operated-by", help="Who runs it")],
    draft: Draft = _DRAFT,
) -> None:
    """Add a witness of agents' logs: a second site, a desk, the control plane; or one more key of it."""
    trust = trust_edit.add_witness(_load(draft), name, vkey, operated_by)
    _save(draft, trust, f"witness {name} added, run by {operated_by.value}")


@app.command("remove")
def remove(handle: Handle, draft: Draft = _DRAFT) -> None:
    """Remove a person (with their root keys), a service, an agent or a witness from a draft."""
    trust = _load(draft)
    gone = ", ".join(trust_edit.named(trust, handle))
    _save(draft, trust_edit.remove(trust, handle), f"{handle} removed: {gone}")


@app.command("policy")
def policy_(
    policy_preset: Annotated[str, typer.Option("--policy-preset", help="Start again from default or demo")] = "",
    policy: PolicyFile = None,
    root_threshold: Annotated[
        int, typer.Option("--root-threshold", min=0, help="How many people must sign; 0: as before")
    ] = 0,
    quorum: Annotated[
        int | None, typer.Option("--quorum", min=0, max=limits.KEYS_MAX, help="How many witnesses must confirm")
    ] = None,
    non_cloud: Annotated[
        int | None, typer.Option("--non-cloud", min=0, max=limits.KEYS_MAX, help="Of them, not run by the cloud [1]")
    ] = None,
    draft: Draft = _DRAFT,
) -> None:
    """Change the needs of each class, the number of confirming witnesses, or of people that sign the document."""
    if not policy_preset and policy is None and not root_threshold and quorum is None:
        raise InputError("expected --policy-preset, --policy FILE, --quorum or --root-threshold, got none")
    if quorum is None and non_cloud is not None:
        raise InputError("expected --quorum with --non-cloud, got none")
    trust = _load(draft)
    if policy_preset:
        trust = trust_edit.with_policy(trust, trust_edit.preset(policy_preset))
    if root_threshold:
        trust = trust_edit.with_threshold(trust, root_threshold)
    if quorum is not None:
        trust = trust_edit.with_quorum(trust, quorum, min(quorum, 1) if non_cloud is None else non_cloud)
    trust = _with_policy_file(trust, policy)
    _save(draft, trust, f"{len(trust.policy)} classes, {trust.root.threshold} must sign")


# --- signing --------------------------------------------------------------------------------------------------------


def _read_begun(file: Path) -> tuple[Trust, Envelope, bool]:
    """Return the document in a file, its envelope, and whether the file is a draft."""
    data = files.read(file, limits.ENVELOPE_BYTES, "a draft or a trust document")
    try:
        envelope = envelopes.decode_untrusted(data)
    except MalformedEnvelopeError as not_envelope:
        try:
            trust = trust_edit.decode_draft_untrusted(data)
        except MalformedError as err:
            # Told apart by the field that only envelopes have
            shown = not_envelope if b'"payloadType"' in data else err
            raise MalformedStatementError(f"{file}: neither a draft nor a signed trust document: {shown}") from err
        return trust, trust_sign.begin(trust), True
    return trust_sign.open_begun(envelope), envelope, False


def _read_previous(trust: Trust, previous: Path | None) -> Previous | None:
    if trust.version == 1:
        if previous is not None:
            raise InputError("version 1 follows none: expected no --previous, got one")
        return None
    if previous is None:
        raise InputError(f"version {trust.version} follows another: expected that one as --previous FILE")
    return trust_sign.open_previous(read_envelope(previous, "the previous trust document"))


def _signed_name(file: Path) -> Path:
    name = file.name.replace(".draft", "")
    return file.with_name(name if name != file.name else f"{file.stem}.signed{file.suffix}")


@app.command("sign")
def sign(
    file: Annotated[Path, typer.Argument(help="The draft, or the file that others signed already")],
    key: KeyFile,
    out: Annotated[Path | None, typer.Option("--out", help="Where it goes [FILE without .draft; else FILE]")] = None,
    previous: PreviousFile = None,
    passphrase_file: PassphraseFile = None,
    state: StateFile = None,
    yes: Yes = False,
) -> None:
    """Show the document and add your signature; k of n people do so, one after another."""
    trust, envelope, is_draft = _read_begun(file)
    before = _read_previous(trust, previous)
    target = out or (_signed_name(file) if is_draft else file)
    signing = open_key_here(key, passphrase_file)
    person = trust_sign.verify_signable(trust, before, signing, envelope)
    signatures = trust_sign.count(envelope, trust, before.trust if before else None)
    typer.echo(render_trust(trust, chain.head_words(envelope), signatures, now_s()), nl=False)
    document = SignedTrust(trust.trust_id, trust.version, chain.head_sha256(envelope))
    if change_memory(state or home("heads.json"), lambda m: m).signed_another(document):
        note(
            f"ANOTHER version {trust.version} was signed here before: if that one goes anywhere, whoever has it refuses"
            " this one (forked). Sign only when you know that it is thrown away"
        )
    if not yes:
        agree(f"sign this as {person}? type yes", "yes")
    envelope = envelopes.add_signature(envelope, signing)
    signatures = trust_sign.count(envelope, trust, before.trust if before else None)
    if not signatures.missing:
        trust_sign.verify_complete(envelope, before)
    if is_draft:
        files.write_new(target, envelopes.encode(envelope) + b"\n")
    else:
        write_envelope(target, envelope)
    change_memory(state or home("heads.json"), lambda m: m.with_signed(document))
    typer.echo(f"{target}: signed by {person}\n{signatures_text(signatures)}")
    if signatures.missing:
        rest = "" if previous is None else f" --previous {previous}"
        typer.echo(f"{signatures.missing} more must sign: ispcloud trust sign {target}{rest} --key THEIR-KEY")
    elif before is not None:
        typer.echo(f"complete. Send it: ispcloud trust publish {target}")
        typer.echo(f"  or carry it to each agent: ispagent trust install {target.name}")
    else:
        typer.echo(f"complete. On each agent: ispagent trust install {target.name}, and type at its console:")
        typer.echo(f"  {chain.head_words(envelope)}")


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A draft or a signed trust document")],
    previous: PreviousFile = None,
    remember: Annotated[bool, typer.Option("--remember", help="Accept it as the newest you have seen")] = False,
    state: StateFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a trust document: people, agents, policy, expiry, signatures."""
    trust, envelope, is_draft = _read_begun(file)
    before = None if previous is None else _read_previous(trust, previous)
    signatures = trust_sign.count(envelope, trust, before.trust if before else None)
    fingerprint_words = None if is_draft else chain.head_words(envelope)
    if as_json:
        print_json(
            {
                "draft": is_draft,
                "words": fingerprint_words,
                "sha256": None if is_draft else chain.head_sha256(envelope),
                "signed_by": list(signatures.own.have),
                "need": signatures.own.need,
                "missing": signatures.missing,
                **json.loads(statements.encode(trust)),
            }
        )
    else:
        typer.echo(render_trust(trust, fingerprint_words, signatures, now_s()), nl=False)
    warned = warning(trust, now_s())
    if warned is not None:
        note(warned)
    if remember:
        own = load_own(file, state)
        own.remember(own.seen)


@app.command("publish")
def publish(
    file: Annotated[Path, typer.Argument(help="The signed document that follows yours, or yours itself")],
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    wait: Wait = 60,
) -> None:
    """Send a complete trust document to all agents, and to the shared feed, where desks take it over."""
    own = load_own(trust, state)
    envelope = read_envelope(file, "a signed trust document")
    with connect(cloud) as client:
        desk = Desk(own, client)
        desk.refresh()
        if chain.head_sha256(envelope) != desk.own.sha256:
            chain.verify_next(desk.own.trust, desk.own.sha256, envelope)
            desk.follow([envelope])
        agents = tuple(a.agent for a in desk.own.trust.agents)
        sent = desk.send(Kind.KIND_TRUST, envelope, "trust", agents, everybody=True)
        typer.echo(f"trust version {desk.own.trust.version} sent to the shared feed and {len(agents)} agents")
        desk.settle(sent, wait)
