"""`ispcloud changes suspend|restore|set-plan|disconnect`: ask an agent for a change. Asking gives no authority.

A person or a service (billing) signs the intent and seals it to the agent's sealing key, which the agent itself signed:
the control plane learns that something was asked, by whom and when, and nothing of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
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
)
from control_plane.desk.feed import SharedFeed
from control_plane.desk.online import Desk, connect
from control_plane.desk.signing import sign
from control_plane.errors import InputError, RefusedHereError
from protos.message_pb2 import Kind
from trust import chain, seal
from trust import envelope as envelopes
from trust.document import TrustedAgent
from trust.policy import Action
from trust.statements import Intent, IntentSubject, OnFailure, OnStale

INTENT_S = 3600
_FILE_BYTES = 1 << 20

Refs = Annotated[list[str] | None, typer.Argument(metavar="REF...", help="Services or subscribers: C-10482/home")]
RefsFile = Annotated[Path | None, typer.Option("--refs-file", help="A file with one REF a line")]
Agent = Annotated[str, typer.Option("--agent", help="The agent's handle")]
Reason = Annotated[str, typer.Option("--reason", help="debt, abuse or request")]
Tariff = Annotated[str, typer.Option("--tariff", help="The tariff to set")]


def suspend(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    reason: Reason = "debt",
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
) -> None:
    """Ask that services are suspended; a preview appears on the shared feed."""
    asked = _Asked(Action.SUSPEND, _refs(refs, refs_file), reason=reason)
    _ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait)


def restore(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    reason: Reason = "debt",
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
) -> None:
    """Ask that a reason for suspension is lifted; a preview appears on the shared feed."""
    asked = _Asked(Action.RESTORE, _refs(refs, refs_file), reason=reason)
    _ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait)


def set_plan(
    agent: Agent,
    key: KeyFile,
    tariff: Tariff,
    refs: Refs = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
) -> None:
    """Ask for another tariff; a preview appears on the shared feed."""
    asked = _Asked(Action.SET_PLAN, _refs(refs, refs_file), params={"tariff": tariff})
    _ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait)


def disconnect(
    agent: Agent,
    key: KeyFile,
    refs: Refs = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
) -> None:
    """Ask that sessions are ended; a preview appears on the shared feed."""
    asked = _Asked(Action.DISCONNECT, _refs(refs, refs_file))
    _ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait)


class _Asked:
    """What is wanted, before it is somebody's intent."""

    def __init__(
        self, verb: Action, refs: Sequence[str], reason: str = "", params: Mapping[str, str] | None = None
    ) -> None:
        self.verb, self.refs, self.reason, self.params = verb, tuple(refs), reason, dict(params or {})


def _refs(refs: Sequence[str] | None, file: Path | None) -> list[str]:
    found = list(refs or ())
    if file is not None:
        text = files.read(file, _FILE_BYTES, "a list of services").decode("utf-8", "replace")
        found += [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError("expected at least one service (REF, or --refs-file FILE), got none")
    return found


def _ask(
    asked: _Asked, agent: str, key: Path, own: Own, cloud: Path | None, passphrase_file: Path | None, wait_s: int
) -> None:
    with connect(cloud) as client:
        desk = Desk(own, client)
        feed = desk.refresh()
        trust = desk.own.trust
        chain.verify_not_expired(trust, now_s())
        signer = open_key(key, passphrase_file)
        requester = decide.requester(trust, signer.public, now_s())
        target = decide.find_agent(trust, agent)
        public = _sealkey(feed, target)
        intent = _intent(asked, trust.trust_id, target.agent, requester)
        envelope = sign(intent, signer)
        body = seal.seal(envelopes.encode(envelope), public)
        sent = desk.send(Kind.KIND_INTENT, envelope, "intent", (target.agent,), body=body)
        typer.echo(f"asked {target.handle} as {requester}: a preview will appear (ispcloud changes list)")
        desk.settle(sent, wait_s)
        for change in desk.feed().changes:
            if change.plan.intent_sha256 == sent.sha256:
                typer.echo(f"PREVIEW {change.name}: ispcloud changes show {change.name}")


def _sealkey(feed: SharedFeed, agent: TrustedAgent) -> bytes:
    found = feed.sealkeys.get(agent.agent)
    if found is None:
        raise RefusedHereError(f"expected a sealing key in force that {agent.handle} signed, the shared feed has none")
    return bytes.fromhex(found.x25519)


def _intent(asked: _Asked, trust_id: str, agent: str, requester: str) -> Intent:
    return Intent(
        trust_id=trust_id,
        intent_id=secrets.token_hex(16),
        salt=secrets.token_hex(16),
        agent=agent,
        requester=requester,
        verb=asked.verb,
        params=asked.params,
        subjects=tuple(IntentSubject("service", ref) for ref in asked.refs),
        exclude=(),
        on_failure=OnFailure.STOP,
        on_stale=OnStale.SKIP,
        canary=0,
        expires=now_s() + INTENT_S,
        reason=asked.reason,
    )
