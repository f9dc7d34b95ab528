"""Any order of checkpoints, requests, answers, losses and restarts: an honest agent is never contradicted for long.

And a clone that goes on beside it always is, once its requests are answered.
"""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.changes.auditlog.witnesses import Witnesses
from agent.runtime.notifier import Notifier
from tests.builders.witnesses import Site, Witness, life, site_in, snapshot
from trust.document import WitnessOperator

OPS = st.lists(
    st.sampled_from(["grow", "publish", "send", "handle", "hear", "lose answer", "lose request"]), max_size=40
)


class Wire:
    """What is on its way to a witness and back, in order, and may be lost on either way."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.requests: deque[bytes] = deque()
        self.answers: deque[bytes] = deque()

    async def do(self, op: str) -> None:
        site, witness = self.site, self.site.witnesses[0]
        match op:
            case "grow":
                await site.note_start()
            case "publish":
                await site.asking.publish()
            case "send":
                self.requests.extend(out.body for out in await site.sent())
            case "handle" if self.requests:
                now_s = int(site.clock.wall_s())
                self.answers.append(witness.answer(self.requests.popleft(), site.rig.evidence.vkey, now_s))
            case "hear" if self.answers:
                await site.asking.take(witness.key_id, self.answers.popleft())
            case "lose answer" if self.answers:
                self.answers.popleft()
            case "lose request" if self.requests:
                self.requests.popleft()

    async def settle(self) -> None:
        """Let everything arrive, and a few more rounds of the cadence."""
        for _ in range(6):
            await self.do("publish")
            while self.site.waiting() or self.requests or self.answers:
                for op in ("send", "handle", "hear"):
                    await self.do(op)


async def honest(ops: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with site_in(Path(folder) / "a", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
            site.rig.without_fsync()
            wire = Wire(site)
            for op in ops:
                await wire.do(op)
                assert site.asking.contradicted_by() == []
            await wire.settle()
            assert site.asking.contradicted_by() == []
            assert site.asking.witnessed_text(site.rig.evidence.published()[0]) == "witnessed by desk-lena"


@settings(max_examples=30, deadline=None)
@given(OPS)
@example(["publish", "send", "publish", "send", "handle", "lose answer", "handle", "hear", "send", "handle", "hear"])
def test_an_honest_agent_is_never_contradicted(ops: list[str]) -> None:
    trio.run(honest, ops)


async def cloned(ops: list[str], grown: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with site_in(Path(folder) / "a", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
            site.rig.without_fsync()
            await site.cosigned()
            copy = snapshot(site, Path(folder) / "b")
            for _ in range(grown):
                await site.note_start()
            await site.cosigned()
            async with life(site, copy) as clone:
                await clone.note_start()
                wire = Wire(clone)
                for op in ops:
                    await wire.do(op)
                await wire.settle()
                assert clone.asking.contradicted_by() == ["desk-lena"]
            await site.cosigned()
            assert site.asking.contradicted_by() == []


@settings(max_examples=15, deadline=None)
@given(OPS, st.sampled_from([1, 70, 200]))
def test_a_clone_is_always_contradicted(ops: list[str], grown: int) -> None:
    trio.run(cloned, ops, grown)


async def restarted(ops: list[str], more: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with site_in(Path(folder) / "a", [Witness("desk-lena", WitnessOperator.OWN)]) as site:
            site.rig.without_fsync()
            wire = Wire(site)
            for op in ops:
                await wire.do(op)
            rig = site.rig
            site.asking = Witnesses(rig.store, rig.recorder, rig.evidence, site.trust, site.clock, Notifier())
            await site.note_start()
            for op in more:
                await wire.do(op)
            await wire.settle()
            assert site.asking.contradicted_by() == []


@settings(max_examples=20, deadline=None)
@given(OPS, OPS)
def test_what_was_on_its_way_at_a_restart_contradicts_nothing(ops: list[str], more: list[str]) -> None:
    trio.run(restarted, ops, more)
