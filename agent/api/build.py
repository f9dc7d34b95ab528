"""Puts the local API together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.api.call import ApiParts
from agent.api.routes import Api
from agent.billing.sources import BillingSources
from agent.changes.auditlog.build import AuditLog
from agent.changes.authority.approval import Approvals
from agent.changes.checkup import Checkup
from agent.changes.clock_watch import ClockWatch
from agent.changes.drifting import DriftWatch
from agent.changes.engine.devices import Devices
from agent.changes.journal.build import Ground
from agent.changes.paid import PaidRestores
from agent.changes.planning.intake import Intake
from agent.changes.planning.preparation import Preparer
from agent.changes.retry import Retry
from agent.changes.worker import Worker
from agent.cpe.desk import CpeDesk
from agent.inventory.importing import Importer
from agent.lines.desk import LineDesk
from agent.polling.exploring import Explorer
from agent.polling.poller import Poller
from agent.polling.series import SeriesStore
from agent.runtime.host_state import HostState
from agent.runtime.outages import Outages
from agent.services.holders import HolderReader
from agent.store.last_backup import BackupAge
from agent.store.secrets import SecretStore
from trust.keys import fingerprint


@dataclass(frozen=True, slots=True)
class MainJob:
    """The parts of the main job that answer people: requests, statements, runs, facts and the clock.

    `open_sealed` opens bytes that were sealed to one of the agent's keys, or raises MalformedSealError.
    """

    approvals: Approvals
    intake: Intake
    worker: Worker
    importer: Importer
    clock_watch: ClockWatch
    open_sealed: Callable[[bytes], bytes]
    sources: BillingSources
    restores: PaidRestores


@dataclass(frozen=True, slots=True)
class ShownNetwork:
    """The network and the machine as people ask for them. `cpes` None: this agent manages no CPE."""

    targets: tuple[str, ...]
    devices: Devices
    poller: Poller
    series: SeriesStore
    explorer: Explorer
    lines: LineDesk
    cpes: CpeDesk | None
    holders: HolderReader
    checkup: Checkup
    outages: Outages
    host: HostState
    backups: BackupAge
    drift: DriftWatch
    preparer: Preparer


def build(
    ground: Ground,
    log: AuditLog,
    job: MainJob,
    network: ShownNetwork,
    secrets: SecretStore,
    *,
    handle: str,
    people: Mapping[int, str],
    cloud: Callable[[], Mapping[str, object]],
) -> Api:
    """Return the API.

    Args:
        ground: of the main job.
        log: the audit log.
        job: the main job.
        network: devices, CPE, and the differences from the record.
        secrets: the secrets that the configuration names.
        handle: the agent's name.
        people: local users by uid.
        cloud: how the connection to the control plane stands.
    """
    g, identity = ground, ground.identity
    parts = ApiParts(
        store=g.store,
        vault=g.vault,
        recorder=g.recorder,
        trust=g.trust,
        approvals=job.approvals,
        intake=job.intake,
        worker=job.worker,
        evidence=log.evidence,
        importer=job.importer,
        billing=job.sources,
        paid=job.restores,
        secrets=secrets,
        clock_watch=job.clock_watch,
        retry=Retry(g.store, g.vault, g.recorder, job.worker, g.clock, job.approvals.send_window),
        clock=g.clock,
        bell=g.changed,
        people=people,
        agent=identity.agent,
        handle=handle,
        words=fingerprint(identity.plan_key.public, identity.log_key.public),
        targets=network.targets,
        devices=network.devices,
        poller=network.poller,
        series=network.series,
        explorer=network.explorer,
        lines=network.lines,
        cpes=network.cpes,
        holders=network.holders,
        checkup=network.checkup,
        outages=network.outages,
        host=network.host,
        backups=network.backups,
        drift=network.drift,
        preparer=network.preparer,
        cloud=cloud,
        witnessed=log.witnesses.witnessed_text,
        open_sealed=job.open_sealed,
    )
    return Api(parts)
