"""The composition root: opens the store, builds the parts, binds the socket, runs until told to stop."""

from __future__ import annotations

import hashlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import agent
import durable
import protos
import trust
from agent.api.call import ApiParts
from agent.api.routes import Api
from agent.changes.auditlog import recovery
from agent.changes.auditlog.evidence import Evidence
from agent.changes.auditlog.witnesses import Witnesses
from agent.changes.authority.approval import Approvals
from agent.changes.authority.standings import Standings
from agent.changes.clock_watch import ClockWatch
from agent.changes.engine.devices import Devices
from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import RunParts
from agent.changes.journal import machine
from agent.changes.journal.audit import Recorder
from agent.changes.journal.digest import Signer
from agent.changes.journal.trust_state import TrustState
from agent.changes.planning.intake import Intake
from agent.changes.planning.preview import Pacing, Previewer
from agent.changes.remote.mailroom import Mailroom, MailroomParts
from agent.changes.remote.sealing import Sealing
from agent.changes.remote.views import Views
from agent.changes.retry import Retry
from agent.changes.worker import Worker
from agent.config import AgentConfig
from agent.connectors import roles
from agent.connectors.base import Connector, UnreadableError
from agent.connectors.roles import Connectors
from agent.connectors.spec import ConnectorContext
from agent.cpe import build as cpe
from agent.cpe.baseline import SecretSources
from agent.cpe.build import CpeContext
from agent.cpe.provision import Provisioner
from agent.cpe.requirements import EVIDENCE_TESTS, REQUIREMENT_TESTS
from agent.cpe.store import CpeStore
from agent.inventory import book
from agent.inventory.importing import Importer
from agent.polling.poller import Poller
from agent.reasons import TargetReason
from agent.runtime import redacting_log
from agent.runtime.bell import Bell
from agent.runtime.clock import Clock, SystemClock
from agent.runtime.http import serve_http
from agent.runtime.supervise import supervise
from agent.runtime.unix_socket import bind_unix
from agent.store import mail
from agent.store.db import Store
from agent.store.errors import MissingKeyError, StoreFailedError
from agent.store.identity import Identity, load_identity
from agent.store.mail import LeaveCloud, MailBells
from agent.store.secrets import SecretStore
from agent.store.vault import Vault, load_store_key
from trust.checkpoint import parse_witness_vkey_untrusted
from trust.document import WitnessOperator
from trust.keys import fingerprint

if TYPE_CHECKING:
    from agent.uplink.link import Uplink

STORE_S = 0.5
"""How often it is looked whether the store has failed."""
BILLING_S = 2.0
"""How often the billing file is looked at."""
ENROLLED_S = 2.0
"""How often it is looked whether this agent was enrolled with a control plane."""

_log = logging.getLogger("agent")

TRANSITIONS = [(old.value, new.value) for (old, _), new in machine.TRANSITIONS.items()]


def build_sha256() -> str:
    """Return a digest of this code, 64 hex digits: every .py file of the agent, durable, protos and trust, by path."""
    digest = hashlib.sha256()
    for package in (agent, durable, protos, trust):
        root = Path(package.__file__ or "").parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root.parent)}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Files:
    """What is open on disk, and who this agent is."""

    store: Store
    vault: Vault
    identity: Identity


@asynccontextmanager
async def open_files(config: AgentConfig, clock: Clock) -> AsyncIterator[Files]:
    """Open the state directory; closes it at the end.

    Raises:
        StoreError: keys are missing, another daemon runs, the database is newer, corrupt or cannot be written.
    """
    key = load_store_key(config.key_file)
    identity = load_identity(config.state_dir, key)
    vault = Vault(key, config.state_dir / "keys.db")
    try:
        store = Store(config.state_dir, TRANSITIONS, clock.wall_s, high_water=vault.raise_mark)
        try:
            yield Files(store, vault, identity)
        finally:
            store.close()
    finally:
        vault.close()


class Link:
    """The way to the control plane, if this agent is enrolled with one; whatever becomes of it, the agent works.

    gRPC is imported only then: it costs an agent without a control plane nothing.
    """

    def __init__(self, config: AgentConfig, files: Files, clock: Clock, bells: MailBells, trust: TrustState) -> None:
        self._config, self._files, self._clock, self._bells, self._trust = config, files, clock, bells, trust
        self._uplink: Uplink | None = None

    async def join(self) -> None:
        """Find out whether this agent is enrolled, before anything is posted."""
        if not self._wanted():
            await self._files.store.run(LeaveCloud())
            return
        from agent.uplink.errors import CredentialsError

        try:
            await self._made().join()
        except CredentialsError as err:
            _log.warning("cloud-credentials", extra={"error": str(err)})  # `run` tries again, and `status` says so

    def _wanted(self) -> bool:
        return self._config.cloud.uplink and (self._config.state_dir / "cloud.json").exists()

    def _made(self) -> Uplink:
        from agent.uplink.link import Uplink

        if self._uplink is None:
            files = self._files
            self._uplink = Uplink(
                files.store,
                self._bells,
                self._config.state_dir,
                files.vault,
                self._clock,
                files.identity.agent,
                cloud_witnesses=self._cloud_witnesses,
            )
        return self._uplink

    def _cloud_witnesses(self) -> frozenset[bytes]:
        """Return the key ids of the witnesses that the control plane runs, by the trust in force."""
        pinned = self._trust.pinned
        witnesses = pinned.trust.witnesses if pinned else ()
        texts = [key for w in witnesses if w.operated_by is WitnessOperator.CLOUD for key in w.vkeys]
        return frozenset(parse_witness_vkey_untrusted(text).key_id for text in texts)

    async def run(self) -> None:
        """Keep the connection, once there is an enrolment, until cancelled."""
        while not self._wanted():  # noqa: ASYNC110  another process enrols this agent
            await trio.sleep(ENROLLED_S)
        await supervise("uplink", self._made().run, log=_log, fatal=(StoreFailedError,))

    def state(self) -> Mapping[str, object]:
        """Return how mail and connection stand."""
        link = asdict(self._uplink.status()) if self._uplink else {"connected": False}
        return {**asdict(mail.state(self._files.store.reader)), **link}


@dataclass(slots=True)
class Daemon:
    """The parts of a running agent."""

    config: AgentConfig
    files: Files
    clock: Clock
    sessions: Sessions
    worker: Worker
    importer: Importer
    evidence: Evidence
    clock_watch: ClockWatch
    api: Api
    sealing: Sealing
    mailroom: Mailroom
    witnesses: Witnesses
    link: Link
    poller: Poller
    provisioner: Provisioner | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve and work until cancelled.

        Raises:
            StoreFailedError: the store cannot be written: nothing more may be done.
            BindError: the socket cannot be made, or another daemon listens on it.
        """
        await self.clock_watch.check()
        await self.importer.refresh()  # before anything goes on that rests on what it says
        await self.link.join()
        listener = bind_unix(self.config.socket, group=self.config.socket_group)
        async with trio.open_nursery() as nursery:
            await self.sessions.host(nursery)
            await nursery.start(serve_http, listener, self.api)
            nursery.start_soon(self.clock_watch.run)
            nursery.start_soon(self._work)
            nursery.start_soon(self._supervised, "witnesses", self.witnesses.run)
            nursery.start_soon(self._supervised, "mailroom", self.mailroom.run)
            nursery.start_soon(self._supervised, "sealing", self.sealing.run)
            nursery.start_soon(self._supervised, "link", self.link.run)
            nursery.start_soon(self._supervised, "polling", self.poller.run)
            if self.provisioner is not None:
                nursery.start_soon(self._supervised, "provisioning", self.provisioner.run)
            nursery.start_soon(self._billing)
            nursery.start_soon(self._end_with_the_store)
            task_status.started()

    async def _end_with_the_store(self) -> None:
        """A failed commit stops the daemon: what cannot be recorded must not be done."""
        while self.files.store.failed is None:  # noqa: ASYNC110  it is set by the writer's thread
            await trio.sleep(STORE_S)
        raise StoreFailedError(self.files.store.failed)

    async def _work(self) -> None:
        """Start what is approved, once the witnesses confirmed that this log is the one that they know."""
        await self.witnesses.start_rule(self.config.cloud.witness_wait_s)
        await self.worker.run()

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        await supervise(name, run, log=_log, fatal=(StoreFailedError,))

    async def _billing(self) -> None:
        async def read_again() -> None:
            while True:
                await self.importer.refresh()
                await self.clock.sleep(BILLING_S)

        await self._supervised("billing", read_again)


def build(
    config: AgentConfig,
    files: Files,
    clock: Clock,
    *,
    patience: Patience | None = None,
    connectors: Mapping[str, Connector] | None = None,
    paced: bool = True,
) -> Daemon:
    """Return an agent, put together; nothing runs yet."""
    store, vault, identity = files.store, files.vault, files.identity
    recorder = Recorder(vault)
    evidence = Evidence(store, vault, recorder, identity.origin(config.origin), identity.log_key)
    trust_state = TrustState(store, recorder, identity.agent, identity.plan_key.public)
    secrets = SecretStore(
        store,
        vault,
        lambda name, who: recorder.record(None, {"what": "secret", "name": name, "by": who}),
        config.secrets,
        redacting_log.register_secret,
    )

    def secret(name: str) -> bytes:
        try:
            return secrets.get(name)
        except MissingKeyError as err:  # to a connector it is one more reason why a target cannot be reached
            raise UnreadableError(str(err), reason=TargetReason.MISSING_SECRET) from err

    cpe_store = CpeStore(store, vault)
    if connectors is None:
        hosts = {one.spec.name: one.spec.host() for one in config.connectors if one.spec.host is not None}
        context = ConnectorContext(secret, vault.commit, config.timezone, clock, cpe_store, hosts)
        found = roles.make(config.connectors, context)
    else:
        found = Connectors(connectors)
    poller = Poller(found.by_name, store, clock)
    access_methods = found.access_methods
    sessions = Sessions(found.in_sessions)
    clock_watch = ClockWatch(store, recorder, clock)
    importer = Importer(
        store,
        lambda fields: recorder.record(None, dict(fields)),
        recorder.ensure,
        config.billing.file,
        config.access,
        clock.wall_s,
    )

    def signer() -> Signer:
        pinned = trust_state.pinned
        trust_id = pinned.trust.trust_id if pinned else "0" * 32
        return Signer(trust_id, identity.agent, identity.plan_key, evidence.published)

    standings = Standings(store, recorder, trust_state, clock, importer.doubt, EVIDENCE_TESTS)
    approvals = Approvals(store, recorder, trust_state, clock, signer, standings)
    bell, bells = Bell(), MailBells()
    store.on_post = bells.outbox.ring
    witnesses = Witnesses(store, recorder, evidence, trust_state, clock, bell, cadence_s=config.cloud.checkpoint_s)
    link = Link(config, files, clock, bells, trust_state)
    tests = {**book.requirement_tests(importer.doubt), **REQUIREMENT_TESTS}
    run_parts = RunParts(
        store=store,
        recorder=recorder,
        sessions=sessions,
        access_methods=access_methods,
        clock=clock,
        unmet=lambda tx, item, begun: book.unmet(tx, item, begun, tests),
        patience=patience or Patience(),
        census=found.census,
        paced=paced,
        check_clock=clock_watch.check,
        refresh_facts=importer.refresh,
    )
    worker = Worker(run_parts, vault, approvals, signer, recorder, config.timezone, bell)
    previewer = Previewer(
        store=store,
        vault=vault,
        recorder=recorder,
        sessions=sessions,
        access_methods=access_methods,
        clock=clock,
        agent=identity.agent,
        plan_key=identity.plan_key,
        pacing=_pacing(config),
        timezone=config.timezone,
        config_sha256=config.config_sha256,
        build_sha256=build_sha256(),
        log_head=evidence.published,
    )
    cpes = cpe.build(
        CpeContext(
            store=store,
            vault=vault,
            cpes=cpe_store,
            recorder=recorder,
            clock=clock,
            sessions=sessions,
            trust=trust_state,
            standings=standings,
            previewer=previewer,
            sources=SecretSources(found.password_of, secret),
            handle=config.name,
            waiting_for=worker.waiting_for,
            poke=worker.poke,
        ),
        found.by_name.values(),
    )
    intake = Intake(store, vault, sessions, previewer, config.access, clock, importer.doubt, standings, cpes.planners)
    sealing = Sealing(store, vault, recorder, trust_state, clock, signer)
    mailroom = Mailroom(
        MailroomParts(
            store=store,
            recorder=recorder,
            clock=clock,
            trust=trust_state,
            approvals=approvals,
            intake=intake,
            views=Views(store, recorder, evidence, clock, identity.agent),
            sealing=sealing,
            witnesses=witnesses,
            signer=signer,
            bells=bells,
            changed=bell,
            wake=worker.poke,
            refresh_facts=importer.refresh,
            agent=identity.agent,
        )
    )
    api = Api(
        ApiParts(
            store=store,
            vault=vault,
            recorder=recorder,
            trust=trust_state,
            approvals=approvals,
            intake=intake,
            worker=worker,
            evidence=evidence,
            importer=importer,
            secrets=secrets,
            clock_watch=clock_watch,
            retry=Retry(store, vault, recorder, worker, clock),
            clock=clock,
            bell=bell,
            people=config.people,
            agent=identity.agent,
            handle=config.name,
            words=fingerprint(identity.plan_key.public, identity.log_key.public),
            targets=found.targets,
            devices=Devices({**found.by_name, "polled": poller}, sessions),
            cpes=cpes.desk,
            cloud=link.state,
            witnessed=witnesses.witnessed_text,
        )
    )
    return Daemon(
        config=config,
        files=files,
        clock=clock,
        sessions=sessions,
        worker=worker,
        importer=importer,
        evidence=evidence,
        clock_watch=clock_watch,
        api=api,
        sealing=sealing,
        mailroom=mailroom,
        witnesses=witnesses,
        link=link,
        poller=poller,
        provisioner=cpes.provisioner,
    )


def _pacing(config: AgentConfig) -> Pacing:
    policy = config.policy
    return Pacing(
        ttl_s=policy.ttl_s,
        run_for_s=policy.run_for_s,
        canary=policy.canary,
        soak_s=policy.soak_s,
        per_target_per_s=policy.pace,
        stop_failed_percent=policy.stop_failed_percent,
        stop_lost_sessions=policy.stop_lost_sessions,
        usual=policy.usual,
    )


async def main(config: AgentConfig) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises:
        StoreError: the state cannot be opened, or stopped being writable.
        BindError: the socket cannot be made.
    """
    redacting_log.install()
    clock = SystemClock()
    async with open_files(config, clock) as files:
        daemon = build(config, files, clock)
        voided = await recovery.void_if_restored(files.store, files.vault, daemon.api.parts.recorder)
        if voided is not None:
            _log.warning("database-restored", extra={"voided": voided})
        await recovery.note_start(files.store, daemon.api.parts.recorder)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(daemon.run)
                print(f"ispagent {config.name}: listening on {config.socket}", flush=True)  # noqa: T201  readiness
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()
        await recovery.note_stop(files.store, daemon.api.parts.recorder)
