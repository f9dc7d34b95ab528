"""A desk that is connected: the shared feed as this person may believe it, views, and messages with their receipts."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import typer

from control_plane.clock import SYSTEM
from control_plane.desk import cloud_identity, exported, files, remembered_checkpoints, signing
from control_plane.desk import feed as feeds
from control_plane.desk.cli_shared import Own, change_memory, here, home, note, now_s
from control_plane.desk.cloud_client import VIEW_S, DeskClient, Position
from control_plane.desk.errors import NO_RECEIPT, CloudAwayError, CloudRefusedError, NotProvenError
from control_plane.desk.exported import Exported, ExportFiles
from control_plane.desk.feed import Change, Fold, Received, SharedFeed
from control_plane.desk.memory import Memory, Sent
from control_plane.desk.signing import DeskSigner
from control_plane.errors import InputError, RefusedHereError
from protos import member_files
from protos.member_files import MemberCredentials
from protos.message_pb2 import Kind
from trust import answer as answers
from trust import chance, seal, verify
from trust import envelope as envelopes
from trust.answer import ViewAnswer
from trust.document import Person, Trust
from trust.envelope import Envelope
from trust.errors import MalformedError, RefusedError
from trust.moments import moment_text
from trust.seal import SealingKey
from trust.statements import Freeze, Receipt, ReceiptResult, SeenHeads, View

VIEW_MINUTES = 5
LINKS_MAX = 8
LINK_BYTES_MAX = 1 << 20
LINKS_BYTES_MAX = 2 << 20
_RETRY_S = 0.5


@contextmanager
def connect(cloud_file: Path | None) -> Iterator[DeskClient]:
    """Connect as the desk that was enrolled; its certificate is renewed when two thirds of its life are over.

    Raises:
        InputError: this desk is not enrolled.
        MalformedError: the file is malformed.
    """
    path = cloud_file or home("cloud.json")
    if not os.path.lexists(path):
        raise InputError(f"{path}: this desk is not enrolled (ispcloud desk enroll --invite FILE); or use --file")
    identity = cloud_identity.load(path)
    if cloud_identity.life(identity).renewal_due(now_s()):
        identity = _renew(path, identity)
    with DeskClient(identity) as client:
        yield client


def _renew(path: Path, identity: MemberCredentials) -> MemberCredentials:
    request = cloud_identity.new_request(identity.name)
    try:
        with DeskClient(identity) as client:
            chain = client.renew(request)
    except (CloudAwayError, CloudRefusedError) as err:
        ends = moment_text(cloud_identity.life(identity).ends_s)
        note(f"the certificate of this desk ends {ends} and was not renewed: {err}")
        return identity
    after = cloud_identity.renewed(identity, request, chain)
    files.write(path, member_files.encode_credentials(after))
    return after


@dataclass(slots=True)
class Desk:
    """A person's own files and a connection. `refresh` first; then `feed` holds the verified content."""

    own: Own
    client: DeskClient
    messages: list[Received] = field(default_factory=list)
    position: Position = field(default_factory=Position)
    memory: Memory = field(default_factory=Memory)
    fold: Fold | None = None

    def refresh(self, kinds: Sequence[Kind] = feeds.KINDS) -> SharedFeed:
        """Read the shared feed; a newer trust document is taken over only where it follows from one's own.

        Raises:
            CloudAwayError: no answer.
            CloudRefusedError: a refusal.
        """
        self.messages, self.position = self.client.feed(kinds)
        self.memory = self._change_memory(lambda m: m)
        self.fold = None
        self.follow(self._trusts())
        return self.feed()

    def take(self, message: Received) -> None:
        """Add a message that came after `refresh`."""
        self.messages.append(message)
        if self.fold is not None:
            self.fold.take(message, now_s())
        if message.kind == Kind.KIND_TRUST:
            self.follow(self._trusts())

    def recall(self) -> None:
        """Read again the notes of this person's other commands: sent messages, expected receipts.

        Raises:
            LocalFailureError: the file cannot be read.
        """
        self.memory = self._change_memory(lambda m: m)

    def feed(self) -> SharedFeed:
        """Return the content of the messages read so far."""
        if self.fold is None:
            self.fold = Fold(self.own.trust, self.own.seen)
            for message in self.messages:
                self.fold.take(message, now_s())
        return self.fold.feed(self.memory, now_s())

    def held_freezes(self) -> list[tuple[Freeze, Envelope]]:
        """Return the freezes that nobody lifted, each with the envelope by which it is; after `refresh`."""
        held = {} if self.fold is None else self.fold.held()
        frozen = {envelopes.digest(one).hex(): one for one in feeds.envelopes_of(Freeze, self.messages)}
        return [(freeze, frozen[sha256]) for sha256, freeze in held.items()]

    def _trusts(self) -> list[Envelope]:
        return feeds.envelopes_of(Trust, self.messages)

    def follow(self, candidates: Sequence[Envelope]) -> None:
        """Take over newer trust documents, as far as each follows from the one before.

        Raises:
            LocalFailureError: one's own file cannot be written.
        """
        for trust, envelope in feeds.followed(self.own.trust, self.own.envelope, candidates):
            _, seen = remembered_checkpoints.accept_trust(self.own.seen, envelope)
            self.own = replace(self.own, trust=trust, envelope=envelope, seen=seen)
            self.own.keep_trust()
            self.fold = None  # who may be believed is another question now
            note(f"trust version {trust.version} follows from yours and is yours now: {self.own.path}")
        self.own.remember(self.own.seen)

    def _change_memory(self, change: Callable[[Memory], Memory]) -> Memory:
        return change_memory(self.own.state, change)

    # --- looking ---

    def look(self, change: Change, person: Person, signer: DeskSigner) -> Exported:
        """Return a change as this person may see it: its items by a view, or the summary on the shared feed.

        Raises:
            CloudAwayError: no answer, or the agent's answer stopped.
            CloudRefusedError: the agent is away, for example.
            NotProvenError: the pages are not an answer to this view.
            RefusedError: the plan or log is malformed, or not the agent's.
            TamperedExportError: items or checkpoint do not fit the plan.
        """
        if not person.sees_subscribers:
            return self.summary(change)
        answer = self._ask(change, person, signer)
        self.follow(_links(answer))
        shown = exported.open_view_untrusted(change.body, answer, self.own.trust, self.own.seen)
        self.own.remember(shown.seen)
        self.own = replace(self.own, seen=shown.seen)
        shown = replace(shown, short=change.short)
        said = tuple(f"{who} {decision}" for who, decision in answer.approvals)
        if not said:
            return shown
        return replace(shown, warnings=(*shown.warnings, f"the answer says, unproven: {', '.join(said)}"))

    def summary(self, change: Change) -> Exported:
        """Return the plan of a change, which the shared feed itself has.

        Raises:
            RefusedError: the plan is malformed, or not the agent's.
        """
        shown = exported.open_export_untrusted(
            ExportFiles(plan=change.body), self.own.trust, self.own.sha256, self.own.seen
        )
        return replace(shown, short=change.short, warnings=("the summary holds no checkpoint of the agent's log",))

    def _ask(self, change: Change, person: Person, signer: DeskSigner) -> ViewAnswer:
        own, key, view_id = self.own, SealingKey.generate(), chance.token_bytes(16)
        log = own.seen.log(change.plan.agent)
        view = View(
            trust_id=own.trust.trust_id,
            view_id=view_id.hex(),
            agent=change.plan.agent,
            plan_sha256=change.sha256,
            person=person.handle,
            eph_pub=key.public.hex(),
            seen=SeenHeads(own.trust.version, own.sha256, () if log is None else (log,)),
            expires=now_s() // 60 + VIEW_MINUTES,
        )
        version = max(change.plan.trust_version, self.feed().versions.get(change.plan.agent, 0))
        links = self.links_for(change.plan.agent, version)  # an older document may not know who asks
        pages = self._pages(change, signing.sign(view, signer), links)
        try:
            return answers.decode_untrusted(seal.open_pages_untrusted(view_id, key, pages))
        except MalformedError as err:
            raise NotProvenError(f"expected the agent's answer to this view, got other pages: {err}") from err

    def _pages(self, change: Change, view: Envelope, links: Sequence[bytes]) -> list[bytes]:
        """Return the sealed pages; an agent that refuses says so in a receipt on the shared feed, and sends none."""
        agent = change.plan.agent
        sent = Sent(envelopes.digest(view).hex(), "view", change.sha256, (agent,), now_s())
        stream = self.client.view(agent, envelopes.encode(view), links=links)
        feed, refusals = self.client.watch(self.position, VIEW_S), list[Receipt]()

        def listen() -> None:
            with suppress(CloudAwayError, CloudRefusedError):
                for message, _ in feed:
                    receipt = _receipt(message, sent, self.own.trust)
                    if receipt is not None and receipt.result is ReceiptResult.REFUSED:
                        refusals.append(receipt)
                        stream.cancel()
                        return

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            return stream.pages()
        except (CloudAwayError, CloudRefusedError) as err:
            if refusals:
                raise RefusedHereError(f"{change.agent} does not show it: {_reason(refusals[0], sent)}") from err
            raise
        finally:
            feed.cancel()
            listener.join()

    # --- sending ---

    def links_for(self, agent: str, version: int) -> tuple[bytes, ...]:
        """Return the trust documents that an agent lacks, which was last known to have `version`."""
        links = feeds.links_since(version, self.own.trust, self.own.envelope, self._trusts())
        data = tuple(map(envelopes.encode, links.envelopes))
        fits = all(len(d) <= LINK_BYTES_MAX for d in data) and sum(map(len, data)) <= LINKS_BYTES_MAX
        if not links.complete or len(data) > LINKS_MAX or not fits:
            handle = next((a.handle for a in self.own.trust.agents if a.agent == agent), agent or "an agent")
            note(f"{handle} has trust version {version}, and not all versions since are here: ispcloud trust publish")
            return ()
        return data

    def send(
        self,
        kind: Kind,
        envelope: Envelope,
        what: str,
        agents: Sequence[str],
        *,
        plan: str = "",
        everybody: bool = False,
        body: bytes = b"",
        links: Sequence[bytes] = (),
    ) -> Sent:
        """Send a statement and remember that its receipts are expected.

        Args:
            kind: of the message.
            envelope: the signed statement.
            what: the word of its kind, `[a-z-]`.
            agents: ids of the receivers, which answer.
            plan: the digest of the plan that it is about, hex.
            everybody: one message for all of the operator's agents.
            body: sealed; it travels in place of the envelope.
            links: trust documents for receivers that lack them.

        Raises:
            CloudAwayError: no answer.
            CloudRefusedError: a refusal.
        """
        sealed = hashlib.sha256(body).hexdigest() if body else ""
        sent = Sent(envelopes.digest(envelope).hex(), what, plan, tuple(agents), now_s(), sealed)
        data = body or envelopes.encode(envelope)
        self.memory = self._change_memory(lambda m: m.with_sent(sent))
        try:
            for agent in ("",) if everybody else agents:
                self.client.submit(kind, data, agent, links=links)
        except CloudRefusedError:
            self.memory = self._change_memory(lambda m: m.without(sent))
            raise
        return sent

    def receipts(self, sent: Sent, wait_s: float) -> dict[str, Receipt]:
        """Wait for the receipts of a sent statement, by agent id; those that did not come in time are missing."""
        got: dict[str, Receipt] = {}
        ends, position = SYSTEM.monotonic_s() + wait_s, self.position
        while len(got) < len(sent.agents) and (left_s := ends - SYSTEM.monotonic_s()) > 0:
            try:
                for message, at in self.client.watch(position, left_s):
                    position = at
                    self.take(message)
                    receipt = _receipt(message, sent, self.own.trust)
                    if receipt is not None:
                        got[receipt.agent] = receipt
                    if len(got) == len(sent.agents):
                        return got
            except (CloudAwayError, CloudRefusedError):
                # Away, or the time is over: what is durable there comes with the next stream
                time.sleep(min(_RETRY_S, max(0.0, ends - SYSTEM.monotonic_s())))
        return got

    def settle(self, sent: Sent, wait_s: float) -> dict[str, Receipt]:
        """Wait for receipts and print the result; ends the command where it was refused or nobody answered.

        Raises:
            RefusedHereError: an agent refused it.
            typer.Exit: a receipt did not come: exit code 4.
        """
        got = self.receipts(sent, wait_s)
        handles = {a.agent: a.handle for a in self.own.trust.agents}
        refused = []
        for agent, receipt in got.items():
            people = f" · {receipt.have} of {receipt.need} people" if receipt.need else ""
            if receipt.result is ReceiptResult.ACCEPTED:
                typer.echo(f"RECEIPT {handles.get(agent, agent)}: {sent.what} accepted{people}")
            else:
                refused.append(f"{handles.get(agent, agent)} refused it: {_reason(receipt, sent)}")
        silent = [handles.get(a, a) for a in sent.agents if a not in got]
        if silent:
            red(f"NO RECEIPT from {', '.join(silent)} within {wait_s:g} s: nobody knows whether the {sent.what} came")
        if refused:
            raise RefusedHereError("; ".join(refused))
        if silent:
            raise typer.Exit(NO_RECEIPT)
        return got


def red(text: str) -> None:
    """Print warnings that somebody should look into now on standard error."""
    color = here(sys.stderr).color
    typer.echo(typer.style(text, fg=typer.colors.RED, bold=True) if color else text, err=True)


def _links(answer: ViewAnswer) -> list[Envelope]:
    found = []
    for data in answer.links:
        try:
            found.append(envelopes.decode_untrusted(data))
        except MalformedError as err:
            raise NotProvenError(f"expected trust documents in the answer, got something else: {err}") from err
    return found


def _reason(receipt: Receipt, sent: Sent) -> str:
    if receipt.reason is None:
        return "no reason"
    if receipt.of_sha256 == sent.sealed:
        return f"it cannot open the {sent.what}: it has lost the key that it was sealed to. Send it again in a minute"
    return f"{receipt.reason.value}. {receipt.reason.meaning} {receipt.reason.remedy}".rstrip()


def _receipt(message: Received, sent: Sent, trust: Trust) -> Receipt | None:
    if message.kind != Kind.KIND_RECEIPT:
        return None
    try:
        receipt = verify.verify_receipt(envelopes.decode_untrusted(message.body), trust)
    except (MalformedError, RefusedError):
        return None
    return receipt if receipt.of_sha256 in sent.digests and receipt.agent in sent.agents else None
