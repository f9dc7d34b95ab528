"""`ispcloud changes suspend|restore|set-plan|disconnect|remove|rename-login|revert|again…`: ask for a change.

Asking gives no authority. A person or a service (billing) signs the intent and seals it to the agent's sealing key,
which the agent itself signed: the control plane learns the asker and the time, and nothing of the content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    load_own,
    now_s,
    open_key,
    write_envelope,
)
from control_plane.desk.feed import Change, SharedFeed
from control_plane.desk.online import Desk, connect
from control_plane.desk.signing import DeskSigner, sign
from control_plane.errors import InputError, RefusedHereError
from protos.message_pb2 import Kind
from trust import chain, chance, seal
from trust import envelope as envelopes
from trust.document import Trust, TrustedAgent
from trust.policy import Action
from trust.sealed_secret import seal_secret
from trust.statements import LOGIN, SERVICE, SUBSCRIBER, Intent, IntentSubject, OnFailure, OnStale

INTENT_S = 3600
_FILE_BYTES = 1 << 20

Refs = Annotated[list[str] | None, typer.Argument(metavar="REF", help="Services or subscribers: C-10482/home")]
RefsFile = Annotated[Path | None, typer.Option("--refs-file", help="A file with one REF a line")]
Agent = Annotated[str, typer.Option("--agent", help="The agent's handle")]
OutFile = Annotated[
    Path | None, typer.Option("--out", help="Write the signed ask here, for `ispagent change ask`; send nothing")
]
AllServices = Annotated[bool, typer.Option("--all-services", help="A subscriber's number means all of its services")]
Reason = Annotated[str, typer.Option("--reason", help="debt, abuse or request")]
Overdue = Annotated[bool, typer.Option("--overdue", help="All services with an overdue debt, by the agent's own rules")]
ChangeId = Annotated[str, typer.Argument(metavar="ID", help="The change, as `ispcloud changes list` names it")]
Tariff = Annotated[str, typer.Option("--tariff", help="The tariff to set")]


def suspend(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    reason: Reason = "debt",
    all_services: AllServices = False,
    overdue: Overdue = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that services are suspended; a preview appears on the shared feed."""
    if overdue and (refs or refs_file or reason != "debt"):
        raise InputError("--overdue: expected no services and no reason but debt; the agent chooses by its own rules")
    named = [] if overdue else references(refs, refs_file)
    params = {"overdue": "yes"} if overdue else {}
    asked = DeskAsk(Action.SUSPEND, named, params=params, reason=reason, all_services=all_services)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def restore(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    reason: Reason = "debt",
    all_services: AllServices = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that a reason for suspension is lifted; a preview appears on the shared feed."""
    asked = DeskAsk(Action.RESTORE, references(refs, refs_file), reason=reason, all_services=all_services)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def set_plan(
    agent: Agent,
    key: KeyFile,
    tariff: Tariff,
    refs: Refs = None,
    refs_file: RefsFile = None,
    all_services: AllServices = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask for another tariff; a preview appears on the shared feed."""
    asked = DeskAsk(Action.SET_PLAN, references(refs, refs_file), params={"tariff": tariff}, all_services=all_services)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def disconnect(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    all_services: AllServices = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that sessions are ended; a preview appears on the shared feed."""
    asked = DeskAsk(Action.DISCONNECT, references(refs, refs_file), all_services=all_services)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def remove(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    all_services: AllServices = False,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that entries are taken out of the agent's inventory; nothing is written to the network."""
    asked = DeskAsk(Action.REMOVE, references(refs, refs_file), all_services=all_services)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def rename_login(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The service: C-10482/home")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new login")],
    agent: Agent,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that a service's login in the inventory is another one; nothing is written to the network."""
    asked = DeskAsk(Action.RENAME_LOGIN, [ref], params={LOGIN: new})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def prepare_device(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The router's name in the agent's configuration")],
    agent: Agent,
    key: KeyFile,
    list_name: Annotated[str, typer.Option("--list", help="The address list of a profile that has none yet")] = "",
    garden: Annotated[
        list[str] | None, typer.Option("--garden", help="An address or network that the suspended may reach")
    ] = None,
    resolver: Annotated[
        list[str] | None, typer.Option("--resolver", help="The address of a DNS server that they may ask")
    ] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask for the rules, lists and the profile that a router lacks to keep suspended subscribers in (class config)."""
    settings = {"list": list_name, "garden": ",".join(garden or ()), "resolvers": ",".join(resolver or ())}
    params = {setting: text for setting, text in settings.items() if text}
    asked = DeskAsk(Action.PREPARE, [name], params=params)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


Device = Annotated[str, typer.Argument(metavar="DEVICE", help="The NAME of the device in the agent's configuration")]
Ports = Annotated[list[str], typer.Argument(metavar="PORT", help="Ports, as the device calls them: ge-0/0/7")]


def port_down(
    device: Device,
    ports: Ports,
    agent: Agent,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that ports of a device are switched off; an uplink, or the agent's own way to the device, is refused."""
    asked = DeskAsk(Action.PORT_SET, [f"{device}/{port}" for port in ports], params={"admin": "down"})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def port_up(
    device: Device,
    ports: Ports,
    agent: Agent,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that ports of a device are switched on."""
    asked = DeskAsk(Action.PORT_SET, [f"{device}/{port}" for port in ports], params={"admin": "up"})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def port_alias(
    device: Device,
    port: Annotated[str, typer.Argument(metavar="PORT", help="The port, as the device calls it: ge-0/0/7")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Its description, at most 64 octets")],
    agent: Agent,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask for another description of a port."""
    asked = DeskAsk(Action.PORT_SET, [f"{device}/{port}"], params={"alias": text})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def port_power_cycle(
    device: Device,
    ports: Ports,
    agent: Agent,
    key: KeyFile,
    off_s: Annotated[int, typer.Option("--off", min=1, max=60, help="Seconds without power")] = 5,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask for a power cycle of ports (PoE): off, some seconds, on; it cannot be undone, and ends with power on."""
    refs = [f"{device}/{port}" for port in ports]
    ask(
        DeskAsk(Action.PORT_CYCLE, refs, params={"off-s": str(off_s)}),
        agent,
        key,
        load_own(trust, state),
        cloud,
        passphrase_file,
        wait,
        out,
    )


def again(
    change_id: ChangeId,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
) -> None:
    """Ask anew for the rest of a change: items that are stale, cancelled, expired or not applied; a preview appears."""
    own = load_own(trust, state)
    found = _find(change_id, own, cloud)
    asked = DeskAsk(found.plan.action, (), change=found.plan.plan_id, on_failure=found.plan.on_failure)
    ask(asked, found.plan.agent, key, own, cloud, passphrase_file, wait, None)


def revert(
    change_id: ChangeId,
    key: KeyFile,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that a change is taken back, item by item, without those that were changed since; a preview appears."""
    own = load_own(trust, state)
    found = _find(change_id, own, cloud)
    # As at the site: an item that cannot be taken back keeps none of the others from it
    asked = DeskAsk(Action.REVERT, (), change=found.plan.plan_id, on_failure=OnFailure.CONTINUE)
    ask(asked, found.plan.agent, key, own, cloud, passphrase_file, wait, out)


def _find(change_id: str, own: Own, cloud: Path | None) -> Change:
    with connect(cloud) as client:
        return Desk(own, client).refresh().find(change_id)


@dataclass(frozen=True, slots=True)
class DeskAsk:
    """A wanted change, before it is somebody's intent. `secrets`: name -> text that only the agent may read.

    `change`: the plan (hex) to ask anew for, as to its rest, in place of `refs`. `all_services`: a subscriber in `refs`
    means all of its services.
    """

    verb: Action
    refs: Sequence[str]
    reason: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    exclude: Sequence[str] = ()
    on_failure: OnFailure = OnFailure.STOP
    change: str = ""
    all_services: bool = False


def references(refs: Sequence[str] | None, file: Path | None) -> list[str]:
    """Return the references that were typed, and those of a file, one a line.

    Raises:
        InputError: the file cannot be read, or there are none.
    """
    found = list(refs or ())
    if file is not None:
        text = files.read(file, _FILE_BYTES, "a list of services").decode("utf-8", "replace")
        found += [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError("expected at least one service or CPE (REF, or --refs-file FILE), got none")
    return found


def ask(
    asked: DeskAsk,
    agent: str,
    key: Path,
    own: Own,
    cloud: Path | None,
    passphrase_file: Path | None,
    wait_s: int,
    out: Path | None,
) -> None:
    """Sign an intent; send it sealed to the agent and print the result, or write it to a file.

    Raises:
        RefusedHereError: the agent is not known, or its sealing key is not.
        InputError: a secret, which only the control plane's shared feed has a key for, is to go by file.
    """
    if out is not None:
        _write(asked, agent, key, own, passphrase_file, out)
        return
    with connect(cloud) as client:
        desk = Desk(own, client)
        feed = desk.refresh()
        target, requester, signer = _who(desk.own.trust, agent, key, passphrase_file)
        public = _sealkey(feed, target)
        envelope = sign(_intent(asked, desk.own.trust.trust_id, target.agent, requester, public), signer)
        body = seal.seal(envelopes.encode(envelope), public)
        sent = desk.send(Kind.KIND_INTENT, envelope, "intent", (target.agent,), body=body)
        typer.echo(f"asked {target.handle} as {requester}: a preview will appear (ispcloud changes list)")
        desk.settle(sent, wait_s)
        for change in desk.feed().changes:
            if change.plan.intent_sha256 == sent.sha256:
                typer.echo(f"PREVIEW {change.short}: ispcloud changes show {change.short}")


def _write(asked: DeskAsk, agent: str, key: Path, own: Own, passphrase_file: Path | None, out: Path) -> None:
    if asked.secrets:
        raise InputError("--secret: expected no --out; the key that seals a secret to the agent is on the shared feed")
    target, requester, signer = _who(own.trust, agent, key, passphrase_file)
    intent = _intent(asked, own.trust.trust_id, target.agent, requester, b"")
    write_envelope(out, sign(intent, signer))
    typer.echo(f"{out}: signed as {requester} for {target.handle} (ispagent change ask --file {out})")


def _who(trust: Trust, agent: str, key: Path, passphrase_file: Path | None) -> tuple[TrustedAgent, str, DeskSigner]:
    """Return the agent that is asked, the requester's handle, and the key that signs for them."""
    chain.verify_not_expired(trust, now_s())
    signer = open_key(key, passphrase_file)
    return decide.find_agent(trust, agent), decide.requester(trust, signer.public, now_s()), signer


def _sealkey(feed: SharedFeed, agent: TrustedAgent) -> bytes:
    found = feed.sealkeys.get(agent.agent)
    if found is None:
        raise RefusedHereError(f"expected a sealing key in force that {agent.handle} signed, the shared feed has none")
    return bytes.fromhex(found.x25519)


def _intent(asked: DeskAsk, trust_id: str, agent: str, requester: str, public: bytes) -> Intent:
    intent_id = chance.token_hex(16)
    return Intent(
        trust_id=trust_id,
        intent_id=intent_id,
        salt=chance.token_hex(16),
        agent=agent,
        requester=requester,
        verb=asked.verb,
        params=asked.params,
        subjects=(
            (IntentSubject("change", asked.change),)
            if asked.change
            else tuple(IntentSubject(SUBSCRIBER if asked.all_services else SERVICE, ref) for ref in asked.refs)
        ),
        exclude=tuple(asked.exclude),
        on_failure=asked.on_failure,
        on_stale=OnStale.SKIP,
        canary=0,
        expires=now_s() + INTENT_S,
        reason=asked.reason,
        secrets={name: seal_secret(intent_id, name, text, public) for name, text in asked.secrets.items()},
    )
