"""The composition root: opens the store, builds the parts, binds the socket, runs until told to stop."""

from __future__ import annotations

import functools
import hashlib
import logging
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import agent
import durable
import protos
import trust
from agent.api import build as api
from agent.api.build import MainJob, ShownNetwork
from agent.api.metrics import Monitor
from agent.api.overview import overview, status_line
from agent.api.routes import Api
from agent.billing import build as billing_sources
from agent.billing.source_reader import SourceGround
from agent.billing.sources import BillingSources, SourceRules
from agent.changes.auditlog import build as auditlog
from agent.changes.auditlog import recovery
from agent.changes.auditlog.build import AuditLog
from agent.changes.auditlog.own_board import WAIT_S, OwnBoard
from agent.changes.auditlog.recovery import Build
from agent.changes.authority import build as authority
from agent.changes.authority import standings
from agent.changes.checkup import Checkup
from agent.changes.clock_watch import ClockWatch
from agent.changes.drifting import DriftTempo, DriftWatch
from agent.changes.engine import build as engine
from agent.changes.engine.build import RunTempo
from agent.changes.engine.devices import Devices
from agent.changes.engine.kept_answers import KeptAnswers
from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.changes.journal import build as journal
from agent.changes.journal import machine
from agent.changes.journal.build import Ground
from agent.changes.journal.trust_state import TrustState
from agent.changes.judging import DAY_S, JudgeAgain, JudgeTempo
from agent.changes.paid import PaidRestores
from agent.changes.planning import build as planning
from agent.changes.planning import preparation
from agent.changes.planning.inventory import planners as inventory_planners
from agent.changes.planning.preview import Pacing, PlanTerms
from agent.changes.remote import build as remote
from agent.changes.remote.inbox_handler import InboxHandler
from agent.changes.remote.sealing import Sealing
from agent.changes.target_watch import TargetWatch
from agent.changes.worker import Worker
from agent.config import AgentConfig
from agent.connectors import roles
from agent.connectors.base import Connector, SharedCredential, UnreadableError
from agent.connectors.roles import Connectors
from agent.connectors.spec import ConnectorContext
from agent.cpe import build as cpe
from agent.cpe.acceptance import AcceptanceRecorder
from agent.cpe.baseline import SecretSources
from agent.cpe.build import CpeContext
from agent.cpe.line_hints import cpe_hints
from agent.cpe.provision import Provisioner
from agent.cpe.requirements import EVIDENCE_TESTS, REQUIREMENT_TESTS
from agent.cpe.store import CpeStore
from agent.inventory import book, ledger, overdue
from agent.inventory.billing import BillingReader
from agent.inventory.facts import BillingTerms
from agent.inventory.importing import Importer
from agent.lines.desk import LineDesk, LineTerms
from agent.lines.keeping import LineKeeper, ShownKeeper
from agent.lines.listening import Listening
from agent.lines.mapping import MappingFile
from agent.lines.states import ForgetOthers
from agent.lines.topology import ConfiguredUpstream
from agent.live_config import LiveConfig
from agent.model import CpeChange
from agent.polling import series as polled_series
from agent.polling.exploring import Explorer
from agent.polling.poller import Poller
from agent.polling.series import SeriesStore
from agent.polling.triggered import TriggeredPolls
from agent.ports import planner as ports
from agent.reasons import TargetReason
from agent.runtime import redacting_log
from agent.runtime.clock import Clock, SystemClock
from agent.runtime.errors import BindError
from agent.runtime.host_state import HostState
from agent.runtime.http import serve_http
from agent.runtime.outages import Outages
from agent.runtime.supervise import supervise
from agent.runtime.unix_socket import bind_unix
from agent.services.holders import HolderReader
from agent.store import mail
from agent.store.db import Store, check_storage, damage_named
from agent.store.errors import MissingKeyError, StoreFailedError
from agent.store.identity import Identity, load_identity
from agent.store.last_backup import BackupAge
from agent.store.mail import LeaveCloud, MailBells
from agent.store.mark_file import LogMark, MarkFile
from agent.store.schema import MIGRATIONS
from agent.store.secrets import SecretStore
from agent.store.state_folder import refuse_half_written, refuse_without_database
from agent.store.vault import Vault, load_store_key
from durable.process import exempt_loaded_objects
from durable.service_manager import ServiceManager
from durable.writer import AnswerCall
from trust.checkpoint import parse_witness_vkey_untrusted
from trust.document import WitnessOperator

if TYPE_CHECKING:
    from agent.uplink.link import Uplink

BILLING_S = 2.0
"""How often the billing file is looked at."""
STATUS_S = 10.0
"""How often systemd is told how the agent is, where that changed."""
MIGRATION_S = 600.0
"""How long a database that is rewritten for a new version may show no progress: its last commit copies all at once."""
MIGRATING = "rewriting the database for this version"
"""How the status of such a start begins; `packaging/apply-update` waits for its end."""
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
    """The open files, and the agent's identity. `mark_file` None: the configuration wants none."""

    store: Store
    vault: Vault
    identity: Identity
    series: SeriesStore
    mark_file: MarkFile | None = None


@asynccontextmanager
async def open_files(
    config: AgentConfig, clock: Clock, make_store: Callable[..., Store] = Store
) -> AsyncIterator[Files]:
    """Open the state directory and the mark file; closes them at the end. `make_store` takes the arguments of `Store`.

    Raises:
        StoreError: the directory is not whole, keys are missing, keys.db is not that of the log, another daemon runs,
            the database is newer, corrupt or cannot be written, or the mark file cannot.
    """
    refuse_half_written(config.state_dir)
    key = load_store_key(config.key_file)
    identity = load_identity(config.state_dir, key)
    with damage_named(config.state_dir), ExitStack() as opened:
        vault = opened.enter_context(closing(Vault(key, config.state_dir / "keys.db")))
        mark_file = None
        if config.mark_file is not None:
            mark_file = opened.enter_context(closing(MarkFile(config.mark_file, vault.authenticate)))

        def raise_marks(mark: LogMark) -> None:
            vault.raise_mark(mark)
            if mark_file is not None:
                mark_file.write(mark)

        refuse_without_database(config.state_dir, has_keys=vault.has_keys())
        store = make_store(config.state_dir, TRANSITIONS, clock.wall_s, high_water=raise_marks)
        opened.enter_context(closing(store))
        recovery.refuse_without_keys(store, vault)
        series = opened.enter_context(closing(open_series(config, clock)))
        yield Files(store, vault, identity, series, mark_file)


def open_series(config: AgentConfig, clock: Clock) -> SeriesStore:
    """Open the series beside the database.

    Raises:
        StoreFailedError: the file cannot be made.
    """
    try:
        return SeriesStore(config.state_dir / "series.db", config.series_bytes, clock)
    except sqlite3.Error as err:
        raise StoreFailedError(f"series.db: cannot be made: {err}: look at the disk and at the folder's mode") from err


class Link:
    """The way to the control plane, if this agent is enrolled with one; whatever becomes of it, the agent works.

    gRPC is imported only then: it costs an agent without a control plane nothing.
    """

    def __init__(
        self,
        config: AgentConfig,
        files: Files,
        clock: Clock,
        bells: MailBells,
        trust: TrustState,
        board: OwnBoard,
    ) -> None:
        self._config, self._files, self._clock, self._bells, self._trust = config, files, clock, bells, trust
        self._board = board
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
            _log.warning("cloud-credentials", extra={"cause": str(err)})  # `run` tries again, and `status` says so

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
                self._board,
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
        await supervise("uplink", self._made().run, log=_log)

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
    job: MainJob
    log: AuditLog
    sessions: Sessions
    api: Api
    sealing: Sealing
    inbox_handler: InboxHandler
    link: Link
    poller: Poller
    explorer: Explorer
    triggered: TriggeredPolls
    listening: Listening
    judging: JudgeAgain
    target_watch: TargetWatch
    live: LiveConfig
    drift: DriftWatch
    code: Build
    provisioner: Provisioner | None = None
    metrics_port: int = 0
    """Where metrics are served; 0: they are not."""
    _draining: trio.Event = field(default_factory=trio.Event)
    _drained: trio.Event = field(default_factory=trio.Event)

    async def begin(self) -> None:
        """Judge the log by its marks, and record the start; before anything runs."""
        files, recorder = self.files, self.api.parts.recorder
        voided = await recovery.void_if_restored(
            files.store, files.vault, recorder, files.mark_file, witnessed=self.log.witnesses.wanted
        )
        if voided is not None:
            _log.warning("database-restored", extra={"voided": voided})
        await recovery.keep_leaves(files.store, files.vault)
        before = await recovery.note_start(files.store, recorder, self.code, files.mark_file)
        if before is not None:
            _log.warning("program-changed", extra={"was": before.version, "version": self.code.version})

    async def run(
        self, passed: socket.socket | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve and work until cancelled.

        Args:
            passed: the listening socket that systemd opened; None: the daemon binds its own.
            task_status: told when it serves.

        Raises:
            StoreFailedError: the store cannot be written: nothing more may be done.
            BindError: the socket cannot be made, or another daemon listens on it.
        """
        await self.job.clock_watch.check()
        await self.job.importer.refresh()  # before anything goes on that rests on what it says
        await self.link.join()
        if passed is None:
            listener = bind_unix(self.config.socket, group=self.config.socket_group)
        else:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(passed))
        async with trio.open_nursery() as nursery:
            await self.sessions.host(nursery)
            await nursery.start(self._serve, listener)
            nursery.start_soon(self.job.clock_watch.run)
            nursery.start_soon(self._work)
            nursery.start_soon(self._supervised, "witnesses", self.log.witnesses.run)
            nursery.start_soon(self._supervised, "inbox", self.inbox_handler.run)
            nursery.start_soon(self._supervised, "sealing", self.sealing.run)
            nursery.start_soon(self._supervised, "link", self.link.run)
            nursery.start_soon(self._supervised, "polling", self.poller.run)
            nursery.start_soon(self._supervised, "triggered polls", self.triggered.run)
            nursery.start_soon(self._supervised, "series", self.files.series.run)
            nursery.start_soon(self._supervised, "explorer", self.explorer.run)
            nursery.start_soon(self._supervised, "notifications", self.listening.run)
            nursery.start_soon(self._supervised, "lines", self._lines)
            nursery.start_soon(self._supervised, "judging", self.judging.run)
            nursery.start_soon(self._supervised, "target watch", self.target_watch.run)
            nursery.start_soon(self._supervised, "host", self.api.parts.host.run)
            if (hooks := self.job.sources.hooks) is not None:
                await nursery.start(hooks.serve)
            if self.config.metrics_listen is not None:
                await nursery.start(self._serve_metrics, *self.config.metrics_listen)
            nursery.start_soon(self._supervised, "drift", self.drift.run)
            if self.provisioner is not None:
                nursery.start_soon(self._supervised, "provisioning", self.provisioner.run)
            nursery.start_soon(self._billing)
            nursery.start_soon(self._supervised, "billing sources", self.job.sources.run)
            nursery.start_soon(self._supervised, "paid restores", self.job.restores.run)
            nursery.start_soon(self._end_with_the_store)
            task_status.started()

    async def _serve(
        self, listener: trio.SocketListener, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await serve_http(listener, self.api, draining=self._draining, task_status=task_status)
        self._drained.set()

    async def drain(self) -> None:
        """Let the requests of people that are under way be answered, and take no further one."""
        self._draining.set()
        await self._drained.wait()

    async def _serve_metrics(
        self, host: str, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve monitoring on loopback.

        Raises:
            BindError: the address is taken.
        """
        try:
            (listener,) = await trio.open_tcp_listeners(port, host=host)
        except OSError as err:
            raise BindError(f"agent.metrics_listen: {host}:{port} cannot be used: {err.strerror}") from err
        self.metrics_port = int(listener.socket.getsockname()[1])
        await serve_http(listener, Monitor(lambda: self.api.parts), task_status=task_status)

    async def report_to(self, manager: ServiceManager) -> None:
        """Tell systemd how the agent is, and that it works, as far as systemd asks; until cancelled.

        Raises:
            StoreFailedError: the store cannot be written.
        """
        async with trio.open_nursery() as nursery:
            if manager.address:
                nursery.start_soon(self._supervised, "status", partial(self._tell_status, manager))
            if manager.watchdog_s:
                nursery.start_soon(self._answer_watchdog, manager)

    async def _answer_watchdog(self, manager: ServiceManager) -> None:
        """Tell systemd that the agent works, as often as it wants to hear it, until cancelled.

        It is told after each answer of the store's writer, by a task of trio's loop: where either is frozen, systemd
        hears nothing, and starts the agent anew.

        Raises:
            StoreFailedError: the store cannot be written.
        """
        while True:
            await self.files.store.run(AnswerCall())
            manager.alive()
            await trio.sleep(manager.feed_s)

    async def _tell_status(self, manager: ServiceManager) -> None:
        """Tell systemd in one line how the agent is, whenever that changed, until cancelled."""
        told = ""
        while True:
            if (line := self.status_line()) != told:
                manager.status(line)
                told = line
            await trio.sleep(STATUS_S)

    def status_line(self) -> str:
        """Return the agent's condition in one line: `ispagent status` begins with it. It names no subscriber."""
        return status_line(overview(self.api.parts))

    async def _end_with_the_store(self) -> None:
        """A failed commit stops the daemon: an act that cannot be recorded must not be done."""
        raise StoreFailedError(await self.files.store.failure())

    async def _work(self) -> None:
        """Start approved plans, once the storage was checked and the witnesses of a newer log were asked.

        Raises:
            LogCorruptError: the storage is damaged: the daemon ends before it sends anything.
        """
        await check_storage(self.config.state_dir)
        await self.log.witnesses.start_rule(self.config.cloud.witness_wait_s)
        await self.log.board.start_rule(WAIT_S)
        await self.job.worker.run()

    async def _lines(self) -> None:
        """Forget the devices that left the configuration; then work outages out again and again."""
        await self.files.store.run(ForgetOthers(frozenset(self.api.parts.targets)))
        await self.api.parts.lines.run()

    async def _supervised(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        await supervise(name, run, log=_log)

    async def _billing(self) -> None:
        async def read_again() -> None:
            while True:
                await self.job.sources.refresh(())
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
    code_sha256: str = "",
) -> Daemon:
    """Return an agent, put together room by room, each on those below it; nothing runs yet.

    `code_sha256`: the digest of this code, where it was computed already.
    """
    ground = journal.build(files.store, files.vault, files.identity, clock)
    log = auditlog.build(ground, config.origin, cadence_s=config.cloud.checkpoint_s)
    secrets, cpe_store = _secrets(config, ground), CpeStore(files.store, files.vault)
    if connectors is None:
        commit, answers = files.vault.commit, KeptAnswers(files.store)
        context = ConnectorContext(_lent(secrets), commit, config.timezone, clock, cpe_store, answers)
        made = roles.build(config.connectors, context)
    else:
        made = Connectors(connectors)
    outages = Outages(clock.wall_s)
    live = LiveConfig(config, lambda problem: outages.note(CONFIGURATION, problem))
    clock_watch, importer = ClockWatch(files.store, ground.recorder, clock), _importer(live, ground, outages)
    sources = _sources(config, made, ground, importer, outages)
    if config.hooks is not None:
        commit = files.vault.commit
        sources.hooks = billing_sources.build_hooks(config.hooks, config.sources, made, commit, sources)
    billing = BillingReader(_billing_terms(config), sources.doubt)
    approvals = authority.build(ground, log.signer, billing, EVIDENCE_TESTS, config.timezone)
    paid = standings.requirement_tests(billing)
    rules = config.billing.overdue
    run_day = {book.RUN_DAY: overdue.run_day_test(rules, config.timezone)}
    by_address: list[Devices] = []
    lines = _lines(config, files.store, clock, by_address)
    of_ports = ports.requirement_tests(lines.uplink_now)
    tests = {**book.requirement_tests(billing, config.access), **paid, **run_day, **REQUIREMENT_TESTS, **of_ports}
    run = engine.build(
        ground,
        made,
        RunTempo(patience or Patience(), paced),
        lambda tx, plan, item, begun: book.unmet(tx, item, begun, tests) or standings.unmet(tx, plan, item, billing),
        check_clock=clock_watch.check,
        refresh_facts=sources.refresh,
        send_window=approvals.send_window,
        recorders={CpeChange: AcceptanceRecorder(cpe_store)},
    )
    worker = Worker(run, files.vault, approvals, log.signer, ground.recorder, config.timezone, ground.changed)
    code = Build(version("ispagents"), code_sha256 or build_sha256())
    previewer = planning.build(
        ground, log, run, approvals.standings, lambda: _terms(live.current, code.sha256), lines.cut_off
    )
    cpes = cpe.build(
        CpeContext(
            ground,
            cpe_store,
            run.sessions,
            approvals.standings,
            previewer,
            SecretSources(made.password_of, _lent(secrets)),
            config.name,
            waiting_for=worker.waiting_for,
            poke=worker.poke,
        ),
        made.by_name.values(),
    )
    own = inventory_planners(previewer, config.access, lambda ref: [cpe.name for cpe in cpe_store.of_service(ref)])
    preparer = preparation.preparer_of(previewer, made.by_name.values())
    of_ports_planners = ports.planners(previewer, lines, made.by_name.values())
    every = {**cpes.planners, **own, **preparation.planners(preparer), **of_ports_planners}
    intake = planning.build_intake(ground, previewer, config.access, billing, rules, approvals.standings, every)
    sealing, inbox_handler = remote.build(
        ground, log, approvals, intake, wake=worker.poke, refresh_facts=sources.refresh
    )
    link = Link(config, files, clock, ground.mail, ground.trust, log.board)
    poller = Poller(made.by_name, clock, [LineKeeper(files.store), ShownKeeper(files.store, files.series)])
    triggered = TriggeredPolls(poller.poll_now, clock)
    files.series.note = outages.note
    explorer = Explorer(made.by_name)
    if poller.polls:
        outages.expect(polled_series.OUTAGE)
    restores = PaidRestores(
        files.store,
        intake,
        approvals.standings,
        billing,
        ground.trust,
        clock,
        config.name,
        config.timezone,
        sources.ground.changed,
        worker.poke,
        worker.waiting,
        config.billing.restore_paid,
    )
    job = MainJob(approvals, intake, worker, importer, clock_watch, sealing.open_untrusted, sources, restores)
    tempo = JudgeTempo(config.drift.judge_every_s, config.drift.judge_days * DAY_S)
    judging = JudgeAgain(run, files.vault, log.signer, ground.changed, tempo)
    drift = DriftWatch(
        run,
        previewer.network,
        config.access,
        config.timezone,
        DriftTempo(config.drift.every_s, config.drift.alarm_percent),
        [] if cpes.drift is None else [cpes.drift],
        lines.note_sessions,
    )
    devices = Devices({**made.by_name, "polled": poller}, run.sessions)
    by_address.append(devices)
    host = HostState(config.state_dir, lambda problem: outages.note(DISK, problem))
    holders = HolderReader(run.sessions, made.by_name.values())
    watch = TargetWatch(run.sessions, outages, clock)
    checkup = Checkup(run.sessions, devices, run.access_methods, watch.look, triggered.ask)
    network = ShownNetwork(
        made.targets,
        devices,
        poller,
        files.series,
        explorer,
        lines,
        cpes.desk,
        holders,
        checkup,
        outages,
        host,
        BackupAge(config.state_dir, config.backup.max_age_h, clock.wall_s, wanted=bool(config.backup.recipients)),
        drift,
        preparer,
    )
    served = api.build(ground, log, job, network, secrets, handle=config.name, people=live.people, cloud=link.state)
    return Daemon(
        config,
        files,
        clock,
        job,
        log,
        run.sessions,
        served,
        sealing,
        inbox_handler,
        link,
        poller,
        explorer,
        triggered,
        Listening(made.by_name.values(), files.store, triggered.ask),
        judging,
        watch,
        live,
        drift,
        code,
        cpes.provisioner,
    )


def _secrets(config: AgentConfig, ground: Ground) -> SecretStore:
    return SecretStore(
        ground.store,
        ground.vault,
        lambda name, who: ground.recorder.record(None, {"what": "secret", "name": name, "by": who}),
        config.secrets,
        redacting_log.register_secret,
    )


def _lent(secrets: SecretStore) -> Callable[[str], bytes]:
    """Return the secrets as connectors ask for them: one that is missing is a target that cannot be reached."""

    def secret(name: str) -> bytes:
        try:
            return secrets.get(name)
        except MissingKeyError as err:
            raise UnreadableError(str(err), reason=TargetReason.MISSING_SECRET) from err

    return secret


BILLING, DISK, CONFIGURATION = "billing", "disk", "configuration"
"""Their name among the things that the agent depends on."""


def _importer(live: LiveConfig, ground: Ground, outages: Outages) -> Importer:
    config, recorder = live.current, ground.recorder
    if config.billing.file is not None:
        outages.expect(BILLING)
    return Importer(
        ground.store,
        lambda fields: recorder.record(None, dict(fields)),
        recorder.ensure,
        config.billing.file,
        config.access,
        ground.clock.wall_s,
        lambda problem: outages.note(BILLING, problem),
        live.people,
        config.billing.timezone,
        lambda: live.current.policy.approve_first_import,
    )


def _sources(
    config: AgentConfig, made: Connectors, ground: Ground, importer: Importer, outages: Outages
) -> BillingSources:
    billing, recorder = config.billing, ground.recorder
    for terms in config.sources:
        outages.expect(terms.target)
    shared = SourceGround(
        ground.store,
        ground.clock,
        lambda fields: recorder.record(None, dict(fields)),
        outages.note,
        config.timezone,
        billing.grace_days,
    )
    rules = SourceRules(
        billing.authority or ledger.FILE, billing.recheck_s, billing.max_age_s if billing.file is not None else 0
    )
    return billing_sources.build(made, config.sources, shared, rules, importer)


def _billing_terms(config: AgentConfig) -> BillingTerms:
    billing = config.billing
    return BillingTerms(
        authority=billing.authority or ledger.FILE,
        configured=bool(billing.authority),
        zone=config.timezone,
        max_age_s=billing.max_age_s,
        grace_days=billing.grace_days,
        minimum=billing.minimum,
        own_rules=billing.own_rules,
    )


def _lines(config: AgentConfig, store: Store, clock: Clock, devices: Sequence[Devices]) -> LineDesk:
    """Return the desk of lines. `devices`: those that the agent knows, once they are put together."""

    def addresses() -> Mapping[str, str]:
        reports = [report for one in devices for report in one.reports() if report.address]
        return {_host(report.address): report.target for report in reports}

    def credentials() -> Sequence[SharedCredential]:
        return [credential for one in devices for credential in one.credentials()]

    upstreams = tuple(ConfiguredUpstream(*one) for one in config.lines.upstreams)
    terms = LineTerms(config.lines.roots, config.lines.alias, upstreams)
    return LineDesk(store, clock, terms, MappingFile(config.lines.file), addresses, cpe_hints, credentials)


def _host(place: str) -> str:
    """Return the address of a place, ADDRESS or ADDRESS:PORT, as neighbors announce it."""
    host, colon, port = place.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() and (":" not in host or host.endswith("]")) else place


def _terms(config: AgentConfig, digest: str) -> PlanTerms:
    billing = config.billing
    return PlanTerms(
        _pacing(config),
        config.timezone,
        config.config_sha256,
        digest,
        billing.max_age_s,
        billing.authority or ledger.FILE,
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
        stop_failed_least=policy.stop_failed_least,
        stop_lost_sessions=policy.stop_lost_sessions,
        usual=policy.usual,
    )


async def main(config: AgentConfig, manager: ServiceManager | None = None, passed: socket.socket | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP has it read its configuration again.

    Args:
        config: its configuration.
        manager: the service manager that started it; None: none did.
        passed: the listening socket that it opened; None: the daemon binds its own.

    Raises:
        StoreError: the state cannot be opened, or stopped being writable.
        BindError: the socket cannot be made.
    """
    redacting_log.install()
    manager = manager or ServiceManager()
    clock = SystemClock()

    def migrating(version: int) -> None:
        manager.starting(f"{MIGRATING}: number {version} of {len(MIGRATIONS)}", MIGRATION_S)

    async with open_files(config, clock, functools.partial(Store, migrating=migrating)) as files:
        daemon = build(config, files, clock)
        await daemon.begin()
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(daemon.run, passed)
                exempt_loaded_objects()
                print(f"ispagent {config.name}: listening on {config.socket}", flush=True)  # noqa: T201  readiness
                manager.ready(daemon.status_line())
                nursery.start_soon(daemon.report_to, manager)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    manager.reloading()
                    daemon.live.reload()
                    daemon.sessions.trouble.ring()  # what was mended meanwhile is seen at once
                    manager.ready(daemon.status_line())
                manager.stopping()
                await daemon.drain()
                nursery.cancel_scope.cancel()
        await recovery.note_stop(files.store, daemon.api.parts.recorder)
