"""Padded checkpoints: the sizes that leave the agent tell nothing of how much goes on, and the log still adds up."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.changes.auditlog.evidence import PAD_LEAVES, PAD_SMALLEST, padded
from agent.store.log_store import Entry
from tests.builders.agent import agent_in
from tests.builders.people import plan_of
from tests.builders.store import Agent, Put
from tests.builders.witnesses import Witness, desk_and_cloud, site_in
from tests.builders.world import World
from trust import envelope as envelopes
from trust import merkle, proof, statements, verify
from trust.checkpoint import open_checkpoint_untrusted, parse_vkey_untrusted
from trust.leaf import LeafKind
from trust.statements import Plan


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.close()


async def grow(agent: Agent, key: str, leaves: int) -> None:
    """Let the log grow by so many leaves in one commit."""
    await agent.store.run(Put(key, also=lambda tx: [tx.append(Entry(LeafKind.START)) for _ in range(leaves - 1)]))


@given(st.integers(0, 1 << 40))
def test_growth_is_nothing_or_a_power_of_two(grown: int) -> None:
    size = padded(grown)
    assert size >= grown
    if grown == 0:
        assert size == 0
    else:
        assert size >= PAD_SMALLEST
        assert size & (size - 1) == 0
        assert size < 2 * max(grown, PAD_SMALLEST // 2 + 1)


@pytest.mark.parametrize(("leaves", "size"), [(1, 128), (128, 128), (129, 256), (600, 1024), (1025, 2048)])
async def test_C18_a_checkpoint_says_a_padded_size(agent: Agent, leaves: int, size: int) -> None:
    await grow(agent, "a", leaves)
    note = await agent.evidence.checkpoint()
    checkpoint = open_checkpoint_untrusted(note, parse_vkey_untrusted(agent.evidence.vkey))
    assert (checkpoint.size, checkpoint.root) == agent.evidence.head() == agent.evidence.published()
    assert checkpoint.size == size == agent.evidence.verify()


async def test_nothing_happened_nothing_grows(agent: Agent) -> None:
    assert agent.evidence.published() == (0, merkle.EMPTY_ROOT)
    await grow(agent, "a", 3)
    assert agent.evidence.published() == (0, merkle.EMPTY_ROOT)
    first = await agent.evidence.checkpoint()
    commits = agent.store.commits
    assert await agent.evidence.checkpoint() == first
    assert agent.store.commits == commits  # nor is anything written, minute by minute
    assert agent.evidence.head()[0] == PAD_SMALLEST
    await agent.evidence.checkpoint(grow=True)
    assert agent.evidence.head()[0] == 2 * PAD_SMALLEST


async def test_an_empty_log_has_a_checkpoint(agent: Agent) -> None:
    note = await agent.evidence.checkpoint()
    checkpoint = open_checkpoint_untrusted(note, parse_vkey_untrusted(agent.evidence.vkey))
    assert (checkpoint.size, checkpoint.root) == (0, merkle.EMPTY_ROOT)


async def test_each_size_follows_from_the_one_before(agent: Agent) -> None:
    heads = [agent.evidence.published()]
    for n, leaves in enumerate((5, 140, 1, 300, 128)):
        await grow(agent, str(n), leaves)
        await agent.evidence.checkpoint()
        heads.append(agent.evidence.published())
    assert [size for size, _ in heads] == [0, 128, 384, 512, 1024, 1152]
    for old, new in itertools.pairwise(heads[1:]):
        path = agent.evidence.consistency(old[0], new[0])
        merkle.verify_consistency(old[0], new[0], old[1], new[1], path)


async def test_padding_takes_several_commands_and_cannot_be_guessed(agent: Agent) -> None:
    await grow(agent, "a", 4096 - 1000)
    commits = agent.store.commits
    await agent.evidence.checkpoint()
    assert agent.store.commits - commits == -(-1000 // PAD_LEAVES)
    rows = agent.store.reader.execute("SELECT leaf FROM event WHERE kind = ?", (LeafKind.PADDING.value,)).fetchall()
    assert len(rows) == len({bytes(r["leaf"]) for r in rows}) == 1000


async def test_padding_is_nobodys_news(agent: Agent) -> None:
    await grow(agent, "a", 3)
    await agent.evidence.checkpoint()
    await grow(agent, "b", 2)
    assert [e.seq for e in agent.evidence.events()] == [1, 2, 3, 129, 130]


async def test_what_leaves_names_a_padded_head(tmp_path: Path, world: World) -> None:
    async with agent_in(tmp_path, world) as agent:
        await agent.daemon.log.evidence.checkpoint()
        change = await agent.ask("suspend", "C-1")
        published = agent.daemon.log.evidence.published()
        assert agent.daemon.log.evidence.head()[0] > published[0]
        plan = statements.decode_as_untrusted(Plan, plan_of(change))
        answer = await agent.approve(change, "joseph")
        pinned = agent.pinned
        receipt = verify.verify_receipt(envelopes.decode_untrusted(base64.b64decode(answer["receipt"])), pinned.trust)
        for said in (plan, receipt):
            assert (said.log_size, bytes.fromhex(said.log_root)) == published
        assert published[0] % PAD_SMALLEST == 0 < published[0]


async def test_proofs_stand_under_checkpoint_that_witnesses_cosigned(tmp_path: Path) -> None:
    witnesses: list[Witness] = desk_and_cloud()
    async with site_in(tmp_path, witnesses) as site:
        await site.cosigned()
        size = site.rig.evidence.published()[0]
        await site.plan()
        await site.rig.evidence.checkpoint()
        old = proof.decode_untrusted(await site.rig.evidence.prove(1, opened=False))
        new = proof.decode_untrusted(await site.rig.evidence.prove(size + 1, opened=False))
        assert [w.name for w in witnesses if f"— {w.name} " in old.note.decode()] == ["desk-lena", "cloud"]
        assert [w.name for w in witnesses if f"— {w.name} " in new.note.decode()] == []
        for file in (old, new):
            checkpoint = open_checkpoint_untrusted(file.note, parse_vkey_untrusted(file.vkey))
            proof.verify_entry(file.entry, checkpoint)
