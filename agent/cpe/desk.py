"""CPE as people ask for them: the known values of each with their age, a look at one now, its service.

Reading a CPE changes nothing and needs no approval, as a probe of a router; letting one in gives the agent authority to
read it and to set open values, so it is in the log with the person that did it. Accepting it for a service is a change.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import trio

from agent.changes.engine.sessions import Sessions
from agent.changes.journal.audit import Recorder
from agent.connectors.base import UnreadableError
from agent.cpe import verbs as cpe_verbs
from agent.cpe.intake import CpeIntake
from agent.cpe.query import ANY, MAC, Condition, KnownCpe, fits
from agent.cpe.reasons import CpeSkipReason
from agent.cpe.store import CpeStore, DecideCpe, KeepBreaker, TagCpe
from agent.cpe_model.breaker import TaskSignature
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe, TracedMessage
from agent.cpe_model.manager import CpeManager
from agent.cpe_model.matrix import Matrix, Model, Workflow, WorkflowEvidence, WorkflowResult, render
from agent.cpe_model.profiles import CpeProfile
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.cpe_model.values import shown_text
from agent.cpe_model.vocabulary import INSTANCE, TABLE
from agent.reasons import RefusalReason, TargetReason
from agent.runtime.clock import Clock
from agent.store.db import Store
from agent.store.errors import RefusedCommandError
from trust.moments import moment_json

REFRESH_S: Final = 170.0
"""How long a look waits for a CPE: it is asked to call in, and may be training its line."""
SHOWN: Final = 5000
"""Parameters of one page."""
TRACE_WAITING: Final = 256
"""Messages of a trace that wait to be taken."""
SLICE: Final = 100
"""CPE that are looked at in one go, so that other work gets its turn."""


@dataclass(frozen=True, slots=True)
class CpeDesk:
    """The records of CPE, for the local API."""

    manager: CpeManager
    store: Store
    cpes: CpeStore
    intake: CpeIntake
    sessions: Sessions
    recorder: Recorder
    clock: Clock
    not_provisioned: Callable[[str], str] = lambda _: ""
    """Why a CPE has not got its baseline; "": it has, or there is none."""
    waiting_for: Callable[[str], list[str]] = lambda _: []
    """Which changes wait for a target, by their short ids."""

    def of_service(self, ref: str) -> list[dict[str, object]]:
        """Return the facts for support about the CPE of a service."""
        return [self.shown(cpe) for cpe in self.cpes.of_service(ref)]

    def find(self, ref: str) -> Cpe:
        """Return a CPE by its name, its serial number, or the service that it serves or its login.

        Raises:
            RefusedCommandError: there is none, or there are several.
        """
        found = self.cpes.named(ref)
        if not found:
            raise RefusedCommandError(RefusalReason.UNKNOWN_CPE, f"there is no CPE {ref[:80]}: ispagent cpe list")
        if len(found) > 1:
            names = ", ".join(cpe.name for cpe in found[:10])
            raise RefusedCommandError(RefusalReason.AMBIGUOUS_CPE, f"{ref[:80]} has several CPE: {names}")
        return found[0]

    # --- what is known

    async def page(self, conditions: Sequence[Condition], after: str, limit: int) -> list[dict[str, object]]:
        """Return the next CPE by name of which all conditions hold, a line's worth each.

        Args:
            conditions: of the query; none: every CPE.
            after: the name that the page begins behind; "": the first page.
            limit: how many at most.
        """
        asked = [c.field for c in conditions if c.of_parameter]

        def of_fields(cpe: Cpe, values: Mapping[str, CachedParameter]) -> dict[str, CachedParameter]:
            return self._of_fields(cpe, values, asked)

        macs = any(c.field in (MAC, ANY) for c in conditions)
        found: list[KnownCpe] = []
        while len(found) < limit:
            slice_ = await self.cpes.known_after(after, SLICE, of_fields if asked else None, macs=macs)
            found += [known for known in slice_ if fits(known, conditions)]
            if len(slice_) < SLICE:
                break
            after = slice_[-1].cpe.name
        return [{**self._short(known.cpe), "tags": list(known.tags)} for known in found[:limit]]

    def _of_fields(
        self, cpe: Cpe, values: Mapping[str, CachedParameter], fields: Sequence[str]
    ) -> dict[str, CachedParameter]:
        """Return the known value of each field: a name of the CPE's profile, or a path."""
        profile = self.intake.profile(cpe, values) if values else None
        paths = {field: (profile.path(field) if profile is not None else None) or field for field in fields}
        return {field: values[path] for field, path in paths.items() if path in values}

    def counts(self) -> Mapping[str, int]:
        """Return how many there are of each trust, and how many sessions are open now."""
        by = self.cpes.counts()
        sessions, turned_away = self.manager.counts()
        return {
            **{trust.value: by.get(trust, 0) for trust in Acceptance},
            "sessions": sessions,
            "turned_away": turned_away,
        }

    def _short(self, cpe: Cpe) -> dict[str, object]:
        now_s = int(self.clock.wall_s())
        return {
            "name": cpe.name,
            "manufacturer": cpe.manufacturer,
            "product_class": cpe.product_class,
            "serial": cpe.serial,
            "software": cpe.software,
            "trust": cpe.trust.value,
            "why": cpe.why,
            "service": cpe.service,
            "age_s": now_s - cpe.last_s if cpe.last_s else None,
            "online": self.manager.is_online(cpe.name),
        }

    def shown(self, cpe: Cpe) -> dict[str, object]:
        """Return all known values of a CPE but its parameters without a name, and the missing ones."""
        subject = self.intake.subject(cpe)
        profile, now_s = subject.profile, int(self.clock.wall_s())
        every = self.cpes.values(cpe.name)
        as_it_was = self.intake.profile(cpe, every)  # what was read before a reset has its names, too
        named = [] if as_it_was is None else _named(as_it_was, every, now_s)
        return {
            **self._short(cpe),
            "tags": list(self.cpes.tags(cpe.name)),
            "oui": cpe.oui,
            "root": cpe.root,
            "hardware": cpe.hardware,
            "user": cpe.user,
            "own_credentials": cpe.own,
            "proven": cpe_verbs.proven_text(cpe),
            "takes_secrets": cpe.takes_secrets,
            "address": cpe.address,
            "request_url": cpe.request_url,
            "can_be_called": subject.callable,
            "woken": self.manager.last_request(cpe.name),
            "trouble": self.manager.last_trouble(cpe.name),
            "events": list(cpe.events),
            "first_at": moment_json(cpe.first_s),
            "boots": cpe.boots,
            "resets": cpe.resets,
            "profile": None if profile is None else profile.name,
            "tripped": [str(tripped) for tripped in self.manager.breaker(cpe.name).tripped()],
            "secrets_set": sorted(subject.taken),
            "parameters": len(every),
            "unreadable": sorted(path for path, known in every.items() if known.unreadable),
            "named": named,
            "missing": [] if as_it_was is None else _missing(as_it_was, subject.values),
            "not_known": [] if as_it_was is None else _not_known(as_it_was),
            "waiting": self.waiting_for(subject.target),
            "not_provisioned": self.not_provisioned(cpe.name),
        }

    def values(self, cpe: Cpe, prefix: str, after: str = "") -> list[dict[str, object]]:
        """Return a page of the last known parameters below a path, of a name or its beginning, or of a test.

        Args:
            cpe: its name.
            prefix: the path, name or test; "": all of them.
            after: the path that the page begins behind; "": the first page. A page of fewer than `SHOWN` is the last.
        """
        every, now_s = self.cpes.values(cpe.name), int(self.clock.wall_s())
        profile = self.intake.profile(cpe, every)
        test = profile.diagnostic(prefix) if profile is not None else None
        path = (profile.path(prefix) if profile is not None else None) or (prefix if test is None else test.path)
        found = list(self.cpes.below(cpe.name, path).items())
        if not found and profile is not None:
            found = [(p, k) for p, k in every.items() if (profile.name_of(p) or "").startswith(prefix)]
        rest = sorted(each for each in found if each[0] > after)
        return [_value(profile, p, k, now_s) for p, k in rest[:SHOWN]]

    def history(self, cpe: Cpe, name: str) -> list[dict[str, object]]:
        """Return the earlier values of a parameter; without a name the last one of each that has a history."""
        profile = self.intake.profile(cpe, self.cpes.values(cpe.name))
        path = (profile.path(name) if profile is not None else None) or name
        paths = [path] if name else self.cpes.sampled(cpe.name)
        found: list[dict[str, object]] = []
        for path in paths:
            mapped = None if profile is None else profile.mapped_at(path)
            every = self.cpes.samples(cpe.name, path)
            found += [
                {
                    "path": path,
                    "name": None if mapped is None else mapped.name,
                    "at": moment_json(at_s),
                    "value": value,
                    "shown": value if mapped is None else mapped.shown(value),
                    "count": len(every),
                }
                for at_s, value in (every if name else every[-1:])
            ]
        return found

    def matrix(self) -> list[dict[str, object]]:
        """Return the workflows that each model was seen to do, a row for each."""
        evidence = [
            WorkflowEvidence(
                Model(row["oui"], row["product_class"], row["software"]),
                Workflow(row["workflow"]),
                WorkflowResult.PROVEN if row["worked"] else WorkflowResult.FAILED,
                row["last_s"],
                row["detail"],
            )
            for row in self.cpes.evidence_rows()
        ]
        fields = ("oui", "product_class", "software", "workflow", "state", "last", "detail")
        return [{name: getattr(row, name) for name in fields} for row in render(Matrix.of(evidence))]

    # --- a look now

    async def refresh(self, cpe: Cpe, wanted: Sequence[str], timeout_s: float = REFRESH_S) -> tuple[str, ...]:
        """Read a CPE, having asked it to call in; return the failures.

        Raises:
            UnreadableError: it is not accepted, does not call in, or hung up.
        """
        if cpe.trust is not Acceptance.ACCEPTED:
            raise UnreadableError(f"{cpe.name} is {cpe.trust.value}: {cpe.why}", reason=CpeSkipReason.NOT_ACCEPTED)
        target = self.manager.target_id(cpe.name)
        with self.manager.requested(target):  # what became of the requests is known as long as somebody waits
            with trio.move_on_after(min(timeout_s, REFRESH_S)):
                async with self.sessions.use(target):
                    return await self.manager.refresh(cpe.name, wanted)
            asked = self.manager.last_request(cpe.name)
        if not self.manager.can_be_called(cpe.name):
            how = (
                "; nobody can ask it to before it has credentials of its own: restart it or wait for its periodic "
                f"Inform, then ispagent cpe rotate {cpe.name}"
            )
        else:
            how = f"; asked to: {asked}" if asked is not None else ""
        raise UnreadableError(
            f"{cpe.name} did not call in within {timeout_s:.0f} s{how}", reason=TargetReason.NOT_ON_THE_LINE
        )

    async def trace(self, cpe: Cpe, sessions: int, timeout_s: float) -> AsyncGenerator[object, None]:
        """Yield each message of a CPE's next sessions, without secrets; the last one has `sessions_left` 0."""
        send, receive = trio.open_memory_channel[TracedMessage](TRACE_WAITING)

        def told(message: TracedMessage) -> None:
            try:
                send.send_nowait(message)
            except trio.ClosedResourceError:
                pass
            except trio.WouldBlock:
                send.close()  # it ends, rather than having a gap

        deadline = trio.current_time() + timeout_s
        try:
            with self.manager.traced(cpe.name, sessions, told):
                while True:
                    message = None
                    with trio.move_on_at(deadline):
                        message = await receive.receive()
                    if message is None:
                        yield _trace_end(f"{cpe.name} had no more to say within {timeout_s:.0f} s")
                        return
                    yield asdict(message)
                    if not message.sessions_left:
                        return
        except trio.EndOfChannel:
            yield _trace_end("the messages came faster than they were taken")
        except UnreadableError as err:
            yield _trace_end(str(err))

    # --- what people decide

    async def decide(self, cpe: Cpe, who: str, *, trust: Acceptance | None, unbind: bool, forget: bool) -> Cpe | None:
        """Let a CPE in, refuse or forget it, or say that it serves nobody; return it then.

        None of it gives it a secret: that takes a change, `cpe-accept`.

        Raises:
            RefusedCommandError: it is to be forgotten, and a change acts on it.
        """
        record = self.recorder.record(
            cpe.service or None,
            {
                "what": "cpe",
                "cpe": cpe.name,
                "trust": None if trust is None else trust.value,
                "service": "" if unbind else None,
                "forget": forget,
                "by": who,
            },
        )
        why = "" if trust is Acceptance.ACCEPTED else f"{trust.value} by {who}" if trust else cpe.why
        target = self.manager.target_id(cpe.name)
        decided = DecideCpe(cpe.name, trust, why, record, unbind=unbind, forget=forget, target=target)
        found = await self.store.run(decided)
        self.cpes.reset_bell.ring()
        if forget:
            self.manager.forget(cpe.name)
        elif trust is not Acceptance.ACCEPTED and trust is not None:
            self.manager.hang_up(cpe.name)
        return found

    async def tag(self, cpe: Cpe, who: str, add: Sequence[str], remove: Sequence[str]) -> tuple[str, ...]:
        """Give a CPE tags, or take them away; return those that it has then.

        Raises:
            RefusedCommandError: it would have too many.
        """
        record = self.recorder.record(
            None, {"what": "cpe", "cpe": cpe.name, "add": [*add], "remove": [*remove], "by": who}
        )
        return await self.store.run(TagCpe(cpe.name, tuple(add), tuple(remove), record))

    async def clear(self, cpe: Cpe, who: str) -> int:
        """Let requests that tripped be sent to a CPE again; return how many there were."""
        breaker = self.manager.breaker(cpe.name)
        tripped: list[TaskSignature] = [each.signature for each in breaker.tripped()]
        for signature in tripped:
            breaker.clear(signature)
        record = self.recorder.record(None, {"what": "cpe", "cpe": cpe.name, "cleared": len(tripped), "by": who})
        await self.store.run(KeepBreaker(cpe.name, breaker.rows(), record))
        return len(tripped)


def _trace_end(why: str) -> object:
    return {**asdict(TracedMessage("", 0, why, 0)), "cut": True}


def _value(profile: CpeProfile | None, path: str, known: CachedParameter, now_s: int) -> dict[str, object]:
    mapped = None if profile is None else profile.mapped_at(path)
    value = None if known.value is None else shown_text(known.value)
    shown = value if value is None or mapped is None else mapped.shown(value)
    return {
        "path": path,
        "name": None if mapped is None else mapped.name,
        "value": value,
        "shown": "(a secret)" if shown is None else shown,
        "unreadable": known.unreadable,
        "type": known.type,
        "class": classify(path).value,
        "age_s": now_s - known.at_s,
        "before_reset": known.before_reset,
    }


def _named(profile: CpeProfile, values: Mapping[str, CachedParameter], now_s: int) -> list[dict[str, object]]:
    """Return the known values of the vocabulary, tables' rows included."""
    named = [(path, known) for path, known in values.items() if profile.mapped_at(path) is not None]
    return sorted((_value(profile, p, known, now_s) for p, known in named), key=lambda value: str(value["name"]))


def _not_known(profile: CpeProfile) -> list[dict[str, object]]:
    """Return which of WAN, LAN and Wi-Fi is not known to stand anywhere on a CPE, and why."""
    found: dict[str, str] = {}
    for group in ("wan", "lan", "wifi"):
        here = {name: why for name, why in profile.unplaced.items() if name.partition(".")[0] == group}
        if here and not any(mapped.name.partition(".")[0] == group for mapped in profile.parameters):
            found[group] = next(iter(here.values()))
    return [{"what": group, "why": why} for group, why in found.items()]


def _missing(profile: CpeProfile, values: Mapping[str, CachedParameter]) -> list[str]:
    """Return the names that nothing is known of; a table that this firmware never shows is not missing."""
    return [
        mapped.name
        for mapped in profile.parameters
        if INSTANCE not in mapped.path
        and mapped.path not in values
        and mapped.kind != TABLE
        and classify(mapped.path) is not Sensitivity.SECRET
    ]
