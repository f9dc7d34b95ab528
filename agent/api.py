"""The local API: HTTP/1.1 and JSON on a unix socket; one table of routes.

Who calls is who the kernel says (the peer's uid). `Role.ANYONE` is whoever may open the socket; `OPERATOR` a uid that
the configuration maps to a person; `ADMIN` root or the daemon's own user. Approving, cancelling and freezing need a
person's signature, which comes as an envelope: no role replaces it, and no key is ever here.
"""

from __future__ import annotations

import base64
import binascii
import enum
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import trio

from agent.changes.auditlog.evidence import Event, Evidence, all_plans
from agent.changes.auditlog.witnesses import NOT_WITNESSED
from agent.changes.authority.approval import Answer, Approvals
from agent.changes.authority.standings import InForce
from agent.changes.clock_watch import ClockWatch
from agent.changes.engine.devices import Devices
from agent.changes.journal import plans, request
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow, Release
from agent.changes.journal.machine import EXIT_CODES, ChangeState, Gate
from agent.changes.journal.request import Ask, RequestError
from agent.changes.journal.trust_state import TrustState, freezes
from agent.changes.planning.intake import Intake
from agent.changes.planning.preview import NothingToDoError
from agent.changes.remote.mailroom import is_stop
from agent.changes.retry import Retry
from agent.changes.worker import Worker
from agent.connectors.base import DeviceReport, UnreadableError
from agent.cpe.desk import CpeDesk
from agent.cpe_model.known import Trust
from agent.inventory import book
from agent.inventory.importing import Importer, ImportRefusedError
from agent.model import ItemState
from agent.runtime.bell import Bell
from agent.runtime.clock import Clock
from agent.runtime.errors import HttpError
from agent.runtime.http import Request, Response, StreamResponse
from agent.store.db import Store
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.mail import Post, PostAll
from agent.store.secrets import SecretStore
from agent.store.vault import Vault
from trust import chain
from trust import envelope as envelopes
from trust import keys as trust_keys
from trust.errors import MalformedError
from trust.leaf import LeafKind
from trust.policy import Action
from trust.statements import OnFailure
from trust.strict_json import Reader, read_object_untrusted

BODY_BYTES = 4 * 1024 * 1024
WATCH_S = 2.0
STRANGERS_PER_MIN = 6
_VOIDED: Mapping[int, str] = {
    LeafKind.UNWITNESSED_START.value: "the agent started, and its witnesses did not confirm its log: ask for it anew",
    LeafKind.RESTORED_DATABASE.value: "the agent's database was restored from a backup: ask for it anew",
    LeafKind.WITNESS_ANOMALY.value: "a witness has seen another log of this agent: ispagent status says which",
}
"""Which events end all plans that were not started, and what is said of it."""


class Role(enum.Enum):
    """Who may call a route."""

    ANYONE = "anyone"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API works with."""

    store: Store
    vault: Vault
    recorder: Recorder
    trust: TrustState
    approvals: Approvals
    intake: Intake
    worker: Worker
    evidence: Evidence
    importer: Importer
    secrets: SecretStore
    clock_watch: ClockWatch
    retry: Retry
    clock: Clock
    bell: Bell
    people: Mapping[int, str]
    agent: str
    handle: str
    words: str
    targets: tuple[str, ...]
    devices: Devices
    cpes: CpeDesk | None
    cloud: Callable[[], Mapping[str, object]]
    witnessed: Callable[[int], str]


Handler = Callable[["Api", Request, tuple[str, ...]], Awaitable[Response | StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. `path` has `{name}` where a segment varies; `body` names the JSON body's fields."""

    method: str
    path: str
    role: Role
    body: str
    answer: str
    handler: Handler


class Api:
    """Dispatches requests by the table."""

    def __init__(self, parts: ApiParts) -> None:
        self.parts = parts
        self._strangers: list[float] = []

    async def __call__(self, request_: Request) -> Response | StreamResponse:
        """Answer one request; every refusal is an HttpError with a code for programs."""
        segments = request_.segments
        allowed = False
        for route in ROUTES:
            values = _match(route.path, segments)
            if values is None:
                continue
            allowed = True
            if route.method == request_.method:
                self._check_role(route.role, request_.peer_uid)
                return await self._call(route, request_, values)
        if allowed:
            raise HttpError(405, "method", f"{request_.method} is not offered on {request_.path}")
        raise HttpError(404, "no-route", f"there is no {request_.path}")

    def _check_role(self, role: Role, uid: int) -> None:
        if role is Role.ADMIN and not _is_admin(uid):
            raise HttpError(403, "role", "only root or the agent's own user may do this")
        if role is Role.OPERATOR and not self._is_operator(uid):
            raise HttpError(403, "role", f"uid {uid} is mapped to no person in the configuration ([people])")

    def _is_operator(self, uid: int) -> bool:
        return _is_admin(uid) or uid in self.parts.people

    async def _call(self, route: Route, request_: Request, values: tuple[str, ...]) -> Response | StreamResponse:
        try:
            return await route.handler(self, request_, values)
        except NothingToDoError as err:
            lines = list(err.lines)
            raise HttpError(409, "nothing-to-do", "\n".join([str(err), *lines])) from err
        except RequestError as err:
            raise HttpError(403 if err.refused else 400, "refused" if err.refused else "bad-request", str(err)) from err
        except (MalformedError, ImportRefusedError) as err:
            raise HttpError(400, "bad-request", str(err)) from err
        except RefusedCommandError as err:
            status = 404 if err.reason.startswith("unknown-") else 403
            raise HttpError(status, err.reason, str(err)) from err
        except UnreadableError as err:
            status = 409 if err.reason == "missing-secret" else 503
            raise HttpError(status, err.reason, str(err)) from err
        except LogCorruptError as err:
            raise HttpError(500, "log-corrupt", str(err)) from err

    # --- agent ---

    async def status(self, _: Request, __: tuple[str, ...]) -> Response:
        p = self.parts
        size, root = p.evidence.head()
        pinned = p.trust.pinned
        counts = dict(p.store.reader.execute("SELECT gate, count(*) FROM plan GROUP BY gate").fetchall())
        frozen = freezes(p.store.query, p.clock.wall_s()).rows
        return Response(
            200,
            {
                "agent": p.handle,
                "agent_id": p.agent,
                "words": p.words,
                "trust_version": pinned.trust.version if pinned else None,
                "trust_expires": pinned.trust.expires if pinned else None,
                "trust_warning": p.trust.warning(p.clock.wall_s()),
                "log": {
                    "size": size,
                    "root": root.hex(),
                    "vkey": p.evidence.vkey,
                    "witnessed": p.witnessed(1) != NOT_WITNESSED,
                    "witnessed_text": p.witnessed(1),
                },
                "changes": counts,
                "frozen": [dict(zip(("scope", "target", "person"), row, strict=True)) for row in frozen],
                "standings": [_standing(found) for found in p.approvals.standings.in_force(p.clock.wall_s())],
                "cloud": p.cloud(),
                "clock_halt": p.clock_watch.halted(),
                "billing_problem": p.importer.billing_problem(),
                "targets": list(p.targets),
                "devices": p.devices.counts(),
                "cpes": None if p.cpes is None else p.cpes.counts(),
                "services": p.store.reader.execute("SELECT count(*) FROM service").fetchone()[0],
            },
        )

    async def cloud_show(self, _: Request, __: tuple[str, ...]) -> Response:
        return Response(200, self.parts.cloud())

    async def clock_accept(self, request_: Request, _: tuple[str, ...]) -> Response:
        _body(request_).done()
        await self.parts.clock_watch.accept(self._who(request_))
        self.parts.worker.poke()
        return Response(200, {"accepted": True})

    def _who(self, request_: Request) -> str:
        return self.parts.people.get(request_.peer_uid, f"uid {request_.peer_uid}")

    # --- trust ---

    async def trust_show(self, _: Request, __: tuple[str, ...]) -> Response:
        pinned = self.parts.trust.pinned
        if pinned is None:
            return Response(200, {"version": None})
        row = self.parts.store.reader.execute(
            "SELECT envelope FROM trust WHERE version = ?", (pinned.trust.version,)
        ).fetchone()
        envelope = bytes(row["envelope"])
        return Response(
            200,
            {
                "version": pinned.trust.version,
                "sha256": pinned.sha256.hex(),
                "words": chain.head_words(envelopes.decode_untrusted(envelope)),
                "expires": pinned.trust.expires,
                "people": [
                    {"handle": p.handle, "roles": [r.value for r in p.roles], "sees_subscribers": p.sees_subscribers}
                    for p in pinned.trust.people
                ],
                "policy": [
                    {"class": c.risk_class.value, "approvals": c.approvals, "max_items": c.max_items}
                    for c in pinned.trust.policy
                ],
                "envelope": _b64(envelope),
            },
        )

    async def trust_install(self, request_: Request, _: tuple[str, ...]) -> Response:
        r = _body(request_)
        document, words = _unb64(r.text("document", BODY_BYTES), "document"), r.text("words")
        r.done()
        pinned = await self.parts.trust.install(document, words, self.parts.clock.wall_s())
        self.parts.worker.poke()
        return Response(200, {"version": pinned.trust.version, "sha256": pinned.sha256.hex()})

    # --- secrets ---

    async def secret_list(self, _: Request, __: tuple[str, ...]) -> Response:
        return Response(200, {"secrets": self.parts.secrets.names(), "wanted": sorted(self.parts.secrets.wanted)})

    async def secret_set(self, request_: Request, values: tuple[str, ...]) -> Response:
        r = _body(request_)
        secret = _unb64(r.text("secret"), "secret")
        r.done()
        await self.parts.secrets.put(values[0], secret, self._who(request_))
        return Response(200, {"name": values[0]})

    # --- subscribers ---

    async def subscriber_import(self, request_: Request, _: tuple[str, ...]) -> Response:
        r = _body(request_)
        data, dry_run = _unb64(r.text("csv", 2 * BODY_BYTES), "csv"), r.boolean("dry_run")
        r.done()
        return Response(200, await self.parts.importer.run(data, self._who(request_), dry_run=dry_run))

    async def subscriber_list(self, request_: Request, _: tuple[str, ...]) -> Response:
        wanted = request_.query.get("tariff")
        services = book.services(self.parts.store.reader).values()
        return Response(200, [book.service_json(s) for s in services if wanted is None or s.tariff == wanted])

    async def subscriber_show(self, _: Request, values: tuple[str, ...]) -> Response:
        services = book.services(self.parts.store.reader)
        found = [s for s in services.values() if s.ref == values[0] or s.subscriber == values[0]]
        if not found:
            raise HttpError(404, "unknown-service", f"there is no subscriber or service {values[0]}")
        fact = book.facts(self.parts.store.reader).get(found[0].subscriber)
        return Response(
            200,
            {
                "services": [book.service_json(s) for s in found],
                "billing": book.fact_json(fact, self.parts.clock.wall_s()),
                "cpes": [cpe for s in found for cpe in self._cpes_of(s.ref)],
            },
        )

    # --- devices ---

    async def device_list(self, _: Request, __: tuple[str, ...]) -> Response:
        now_s = self.parts.clock.wall_s()
        return Response(200, [_device(report, now_s) for report in self.parts.devices.reports()])

    async def device_show(self, _: Request, values: tuple[str, ...]) -> Response:
        return Response(200, _device(self._device_named(values[0]), self.parts.clock.wall_s()))

    async def device_probe(self, request_: Request, values: tuple[str, ...]) -> Response:
        _body(request_).done()
        found = await self.parts.devices.probe(self._device_named(values[0]).target)
        return Response(200, _device(found, self.parts.clock.wall_s()))

    def _device_named(self, name: str) -> DeviceReport:
        found = self.parts.devices.find(name)
        if found is None:
            known = ", ".join(report.name for report in self.parts.devices.reports()) or "none"
            raise HttpError(404, "unknown-device", f"there is no device {name[:40]!r}; configured: {known}")
        return found

    # --- CPE ---

    @property
    def _cpes(self) -> CpeDesk:
        if self.parts.cpes is None:
            raise HttpError(404, "no-acs", "this agent has no ACS: section [cwmp] of its configuration")
        return self.parts.cpes

    def _cpes_of(self, ref: str) -> list[dict[str, object]]:
        return [] if self.parts.cpes is None else self.parts.cpes.of_service(ref)

    async def cpe_list(self, _: Request, __: tuple[str, ...]) -> Response:
        return Response(200, self._cpes.listed())

    async def cpe_show(self, _: Request, values: tuple[str, ...]) -> Response:
        return Response(200, self._cpes.shown(self._cpes.find(values[0])))

    async def cpe_values(self, request_: Request, values: tuple[str, ...]) -> Response:
        return Response(200, self._cpes.values(self._cpes.find(values[0]), request_.query.get("below", "")))

    async def cpe_refresh(self, request_: Request, values: tuple[str, ...]) -> Response:
        r = _body(request_)
        wanted, timeout_s = r.texts("names"), r.integer("timeout_s", 1, 3600)
        r.done()
        cpe = self._cpes.find(values[0])
        problems = await self._cpes.refresh(cpe, wanted, timeout_s)
        return Response(200, {"problems": list(problems), **self._cpes.shown(self._cpes.find(cpe.name))})

    async def cpe_decide(self, request_: Request, values: tuple[str, ...]) -> Response:
        r = _body(request_)
        trust, service = r.text("trust"), r.text("service") if r.has("service") else None
        forget = r.boolean("forget")
        r.done()
        if trust not in ("", Trust.ACCEPTED.value, Trust.REFUSED.value, Trust.QUARANTINED.value):
            raise HttpError(400, "bad-request", f"trust: expected accepted, refused or quarantined, got {trust[:40]}")
        cpe, who = self._cpes.find(values[0]), self._who(request_)
        decided = Trust(trust) if trust else None
        found = await self._cpes.decide(cpe, who, trust=decided, service=service, forget=forget)
        return Response(200, {} if found is None else self._cpes.shown(found))

    async def cpe_clear(self, request_: Request, values: tuple[str, ...]) -> Response:
        _body(request_).done()
        cleared = await self._cpes.clear(self._cpes.find(values[0]), self._who(request_))
        return Response(200, {"cleared": cleared})

    async def cpe_matrix(self, _: Request, __: tuple[str, ...]) -> Response:
        return Response(200, self._cpes.matrix())

    # --- changes ---

    async def change_ask(self, request_: Request, _: tuple[str, ...]) -> Response:
        p = self.parts
        now_s = p.clock.wall_s()
        pinned = p.trust.current(now_s)
        r = _body(request_)
        if r.has("intent"):
            envelope = envelopes.decode_untrusted(_unb64(r.text("intent", BODY_BYTES), "intent"))
            r.done()
            asked = request.signed(envelope, pinned.trust, p.agent, now_s)
        else:
            asked = request.local(_ask(r), request_.peer_uid, p.people, pinned.trust, p.agent, now_s)
        await p.importer.refresh()
        known = self._is_operator(request_.peer_uid)
        if not known:
            self._limit_strangers(now_s)
            self._strangers.append(now_s)
        try:
            plan_id = await p.intake.plan(asked, pinned)
        except RequestError as err:
            if known:
                raise
            raise RequestError("this was not taken; ask somebody whom the configuration knows", refused=True) from err
        p.bell.ring()
        p.worker.poke()  # a standing authority may have approved it
        row = plans.find(p.store.reader, plan_id.hex())
        if not known:  # asking is free to whoever may open the socket; what the agent knows of people is not
            return Response(201, _summary(row, plans.counts(p.store.reader, row)))
        return Response(201, self._change(row.short))

    def _limit_strangers(self, now_s: float) -> None:
        """Bound what local users whom nobody mapped to a person may write."""
        self._strangers = [at for at in self._strangers if at > now_s - 60]
        if len(self._strangers) >= STRANGERS_PER_MIN:
            raise HttpError(429, "too-many", f"at most {STRANGERS_PER_MIN} requests a minute by unknown local users")

    def _witnessed(self, seq: int | None) -> str:
        """Return who has witnessed the log up to an event; a cosignature comes a while after it."""
        if seq is None:
            return ""
        text = self.parts.witnessed(seq)
        expected = text == NOT_WITNESSED and self.parts.witnessed(1) != NOT_WITNESSED
        return f"{NOT_WITNESSED} yet" if expected else text

    def _void_because(self, row: PlanRow) -> str:
        """Return why a plan is void: the event of the agent's own that came before its end; "": it is not."""
        marks = ",".join("?" * len(_VOIDED))
        found = self.parts.store.reader.execute(
            f"SELECT kind FROM event WHERE seq < (SELECT gate_seq FROM plan WHERE plan_id = ?) AND kind IN ({marks})"  # noqa: S608  # only question marks
            " ORDER BY seq DESC LIMIT 1",
            (row.plan_id, *_VOIDED),
        ).fetchone()
        return _VOIDED[found["kind"]] if row.gate is Gate.VOID and found else ""

    def _change(self, ref: str) -> Mapping[str, object]:
        p = self.parts
        row = plans.find(p.store.reader, ref)
        loaded = plans.load(p.store.reader, p.vault, row)
        kept = p.store.reader.execute(
            "SELECT person, decision FROM approval WHERE plan_id = ? ORDER BY seq", (row.plan_id,)
        ).fetchall()
        have, need = p.approvals.count(row)
        ended = p.store.reader.execute("SELECT at_s FROM event WHERE seq = ?", (row.finished_seq,)).fetchone()
        return {
            **_summary(row, plans.counts(p.store.reader, row)),
            "finished_at": None if ended is None else ended["at_s"],
            "finished_seq": row.finished_seq,
            "witnessed": self._witnessed(row.finished_seq),
            "waits_because": p.worker.waiting.get(row.plan_id) or self._void_because(row),
            "approvals": [dict(r) for r in kept],
            "standing": _used_standing(p.store.reader, row.plan_id),
            "have": have,
            "need": need,
            "plan": _b64(row.envelope),
            "documents": [d.decode() for d in loaded.items.documents],
            "items": [
                {
                    "n": i.n,
                    "service": i.service,
                    "cpe": plans.item_by_number(loaded.items, i.n).display.get("cpe"),
                    "state": i.state.value,
                    "reason": i.reason,
                    "detail": i.detail,
                }
                for i in loaded.rows.values()
            ],
            "steps": [
                {
                    "item": s.item,
                    "step": s.n,
                    "direction": s.direction.value,
                    "attempt": s.attempt,
                    "verdict": None if s.verdict is None else s.verdict.value,
                    "reason": s.reason,
                    "detail": s.detail,
                    "bound": sorted(s.bound),
                }
                for s in plans.steps(p.store.reader, row.plan_id)
            ],
        }

    async def change_show(self, _: Request, values: tuple[str, ...]) -> Response:
        return Response(200, self._change(values[0]))

    async def change_list(self, _: Request, __: tuple[str, ...]) -> Response:
        p = self.parts
        return Response(200, [_summary(row, plans.counts(p.store.reader, row)) for row in all_plans(p.store)])

    async def change_export(self, request_: Request, values: tuple[str, ...]) -> Response:
        """What an approver needs, to be carried to their workstation by file."""
        p = self.parts
        row = plans.find(p.store.reader, values[0])
        await p.evidence.note_export(row, self._who(request_))
        pinned = p.trust.current(p.clock.wall_s())
        trust = p.store.reader.execute(
            "SELECT envelope FROM trust WHERE version = ?", (pinned.trust.version,)
        ).fetchone()
        return Response(
            200,
            {
                "short": row.short,
                "plan": _b64(row.envelope),
                "documents": [d.decode() for d in p.evidence.documents(row)],
                "trust": _b64(bytes(trust["envelope"])),
                "checkpoint": (await p.evidence.checkpoint()).decode(),
            },
        )

    async def change_watch(self, request_: Request, values: tuple[str, ...]) -> StreamResponse:
        row = plans.find(self.parts.store.reader, values[0])
        after = _number(request_.query.get("after", "0"), "after")
        return StreamResponse(self._watch(row, after))

    async def _watch(self, row: PlanRow, after: int) -> AsyncGenerator[object, None]:
        """Yield the change's events after a sequence number, then its end."""
        p = self.parts
        while True:
            for event in p.evidence.events(row, after):
                after = event.seq
                yield _event(event)
            now = plans.find(p.store.reader, row.short)
            state = plans.state_of(now, plans.counts(p.store.reader, now))
            if now.finished_seq is not None or now.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
                yield {"end": True, "state": state.value, "exit": EXIT_CODES[state]}
                return
            with trio.move_on_after(WATCH_S):  # deadlines pass without a bell
                await p.bell.wait()

    async def change_apply(self, request_: Request, values: tuple[str, ...]) -> Response:
        _body(request_).done()
        row = plans.find(self.parts.store.reader, values[0])
        await self.parts.store.run(Release(row.plan_id))
        self.parts.worker.poke()
        return Response(200, self._change(row.short))

    async def change_retry(self, request_: Request, values: tuple[str, ...]) -> Response:
        _body(request_).done()
        row = plans.find(self.parts.store.reader, values[0])
        await self.parts.retry.retry(row)
        return Response(200, self._change(row.short))

    async def statement(self, request_: Request, _: tuple[str, ...]) -> Response:
        r = _body(request_)
        data = _unb64(r.text("envelope", BODY_BYTES), "envelope")
        change = r.text("change")
        links = [_unb64(text, "links") for text in r.texts("links", BODY_BYTES)] if r.has("links") else []
        r.done()
        only = plans.find(self.parts.store.reader, change) if change else None
        answers = await self._submitted(data, only, links, known=self._is_operator(request_.peer_uid))
        # On the board as well: who sent it in vain through the control plane waits for it there
        await self.parts.store.run(PostAll(tuple(Post("receipt", a.receipt) for a in answers if a.receipt)))
        self.parts.worker.poke()
        self.parts.bell.ring()
        return Response(200, [{**asdict(a), "receipt": _b64(a.receipt)} for a in answers])

    async def _submitted(
        self, data: bytes, only: PlanRow | None, links: Sequence[bytes], *, known: bool
    ) -> list[Answer]:
        """Hand a statement in; what unknown users had refused counts: each leaves a leaf. A stop is always taken."""
        p, now_s = self.parts, self.parts.clock.wall_s()
        if not known and not (p.trust.pinned and is_stop(data, p.trust.pinned.trust, int(now_s))):
            self._limit_strangers(now_s)
        refused = True
        try:
            answers = await p.approvals.submit(data, only, links=links)
            refused = any(not a.accepted for a in answers)
        finally:
            if refused and not known:
                self._strangers.append(now_s)
        return answers

    # --- audit ---

    async def audit_list(self, request_: Request, _: tuple[str, ...]) -> Response:
        q = request_.query
        plan = plans.find(self.parts.store.reader, q["change"]) if "change" in q else None
        after = _number(q.get("after", "0"), "after")
        return Response(200, [_event(e) for e in self.parts.evidence.events(plan, after)])

    async def audit_verify(self, _: Request, __: tuple[str, ...]) -> Response:
        leaves = self.parts.evidence.verify()
        note = await self.parts.evidence.checkpoint()
        return Response(
            200,
            {
                "leaves": leaves,
                "checkpoint": note.decode(),
                "vkey": self.parts.evidence.vkey,
                "witnessed_text": self.parts.witnessed(1),
            },
        )

    async def audit_proof(self, request_: Request, values: tuple[str, ...]) -> Response:
        seq = _number(values[0], "event")
        if not 1 <= seq <= self.parts.evidence.head()[0]:
            raise HttpError(
                404, "unknown-event", f"there is no event {seq}: the log has {self.parts.evidence.head()[0]}"
            )
        data = await self.parts.evidence.prove(seq, opened=request_.query.get("open") == "1")
        return Response(200, {"file": data.decode()})

    async def audit_export(self, request_: Request, values: tuple[str, ...]) -> Response:
        row = plans.find(self.parts.store.reader, values[0])
        await self.parts.evidence.note_export(row, self._who(request_))
        data = await self.parts.evidence.export(row, opened=request_.query.get("open") == "1")
        return Response(200, {"file": data.decode()})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/status", Role.ANYONE, "", "agent, trust, log, changes", Api.status),
    Route("GET", "/v1/cloud", Role.ANYONE, "", "enrolled, connected, outbox…", Api.cloud_show),
    Route("POST", "/v1/clock/accept", Role.OPERATOR, "", "accepted", Api.clock_accept),
    Route("GET", "/v1/trust", Role.ANYONE, "", "version, words, people, policy, envelope", Api.trust_show),
    Route("POST", "/v1/trust", Role.ADMIN, "document, words", "version, sha256", Api.trust_install),
    Route("GET", "/v1/secrets", Role.OPERATOR, "", "secrets, wanted", Api.secret_list),
    Route("POST", "/v1/secrets/{name}", Role.ADMIN, "secret", "name", Api.secret_set),
    Route("POST", "/v1/subscribers/import", Role.OPERATOR, "csv, dry_run", "counts, problems", Api.subscriber_import),
    Route("GET", "/v1/subscribers", Role.OPERATOR, "", "services", Api.subscriber_list),
    Route("GET", "/v1/subscribers/{ref}", Role.OPERATOR, "", "services, billing, cpes", Api.subscriber_show),
    Route("GET", "/v1/devices", Role.OPERATOR, "", "devices", Api.device_list),
    Route("GET", "/v1/devices/{name}", Role.OPERATOR, "", "the device, as last read", Api.device_show),
    Route("POST", "/v1/devices/{name}/probe", Role.OPERATOR, "", "the device, as read now", Api.device_probe),
    Route("GET", "/v1/cpes", Role.OPERATOR, "", "CPE", Api.cpe_list),
    Route("GET", "/v1/cpes/{name}", Role.OPERATOR, "", "the CPE, as last known", Api.cpe_show),
    Route("GET", "/v1/cpes/{name}/values", Role.OPERATOR, "", "parameters, as last known", Api.cpe_values),
    Route("POST", "/v1/cpes/{name}/refresh", Role.OPERATOR, "names, timeout_s", "problems, the CPE", Api.cpe_refresh),
    Route("POST", "/v1/cpes/{name}/decide", Role.OPERATOR, "trust, service, forget", "the CPE", Api.cpe_decide),
    Route("POST", "/v1/cpes/{name}/clear", Role.OPERATOR, "", "cleared", Api.cpe_clear),
    Route("GET", "/v1/cpe-matrix", Role.OPERATOR, "", "a row for each model and workflow", Api.cpe_matrix),
    Route("POST", "/v1/changes", Role.ANYONE, "the ask, or intent", "the change", Api.change_ask),
    Route("GET", "/v1/changes", Role.OPERATOR, "", "changes", Api.change_list),
    Route("GET", "/v1/changes/{id}", Role.OPERATOR, "", "the change", Api.change_show),
    Route("POST", "/v1/changes/{id}/export", Role.OPERATOR, "", "what an approver needs", Api.change_export),
    Route("GET", "/v1/changes/{id}/watch", Role.OPERATOR, "", "events, one a line", Api.change_watch),
    Route("POST", "/v1/changes/{id}/apply", Role.OPERATOR, "", "the change", Api.change_apply),
    Route("POST", "/v1/changes/{id}/retry", Role.OPERATOR, "", "the change", Api.change_retry),
    Route("POST", "/v1/statements", Role.ANYONE, "envelope, change, links", "answers with receipts", Api.statement),
    Route("GET", "/v1/audit", Role.OPERATOR, "", "events", Api.audit_list),
    Route("GET", "/v1/audit/verify", Role.OPERATOR, "", "leaves, checkpoint, vkey, witnessed_text", Api.audit_verify),
    Route("GET", "/v1/audit/proof/{seq}", Role.OPERATOR, "", "file", Api.audit_proof),
    Route("POST", "/v1/audit/export/{id}", Role.OPERATOR, "", "file", Api.audit_export),
)
"""Every route there is."""


def _is_admin(uid: int) -> bool:
    return uid in (0, os.getuid())


def _match(path: str, segments: tuple[str, ...]) -> tuple[str, ...] | None:
    parts = path.split("/")[1:]
    if len(parts) != len(segments):
        return None
    values = []
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            values.append(segment)
        elif part != segment:
            return None
    return tuple(values)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise HttpError(400, "bad-request", f"{what}: expected a number, got {text[:40]!r}")
    return int(text)


def _body(request_: Request) -> Reader:
    return read_object_untrusted(request_.body or b"{}", BODY_BYTES, "request")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise HttpError(400, "bad-request", f"{what}: expected base64") from err


def _ask(r: Reader) -> Ask:
    action = r.enum("action", Action)
    ask = Ask(
        action=action,
        refs=tuple(r.texts("refs")),
        on_tariff=r.text("on_tariff"),
        exclude=tuple(r.texts("exclude")),
        reason=request.reason_of(action, r.text("reason")),
        tariff=r.text("tariff"),
        on_failure=r.enum("on_failure", OnFailure),
        change=r.text("change"),
        alone=r.boolean("alone"),
        hold=r.boolean("hold"),
        settings=r.text_map("settings") if r.has("settings") else {},
        secrets=r.text_map("secrets") if r.has("secrets") else {},
    )
    r.done()
    return ask


def _summary(row: PlanRow, counts: Counter[ItemState]) -> dict[str, object]:
    state = plans.state_of(row, counts)
    return {
        "id": row.short,
        "plan_id": row.plan_id.hex(),
        "sha256": row.digest.hex(),
        "action": row.action,
        "class": plans.signed(row).risk_class.value,
        "requester": row.requester,
        "state": state.value,
        "gate": row.gate.value,
        "hold": row.hold,
        "exit": EXIT_CODES[state],
        "finished": state not in (ChangeState.RUNNING, ChangeState.WAITING_FOR_DEVICE),
        "counts": {state.value: n for state, n in counts.items()},
        "made": row.made_s,
        "start_by": int(row.start_by.wall_s),
        "run_until": int(row.run_until.wall_s),
    }


def _used_standing(reader: sqlite3.Connection, plan_id: bytes) -> str:
    """Return the id of the standing authority that approved a plan, hex; empty: people did, or nobody."""
    row = reader.execute("SELECT standing_id FROM standing_use WHERE plan_id = ?", (plan_id,)).fetchone()
    return "" if row is None else bytes(row["standing_id"]).hex()


def _standing(found: InForce) -> dict[str, object]:
    standing = found.standing
    return {
        "id": standing.standing_id,
        "verb": standing.verb.value,
        "evidence": standing.evidence.value,
        "rate_per_hour": standing.rate_per_hour,
        "not_after": standing.not_after * 60,
        "people": list(found.people),
    }


def _device(report: DeviceReport, now_s: float) -> dict[str, object]:
    return {
        "name": report.name,
        **asdict(report),
        "state": report.state.value,
        "age_s": None if report.read_s is None else max(int(now_s) - report.read_s, 0),
    }


def _event(event: Event) -> dict[str, object]:
    return asdict(event)


def agent_words(plan_key: bytes, log_key: bytes) -> str:
    """Return the words by which people compare an agent's keys."""
    return trust_keys.fingerprint(plan_key, log_key)
