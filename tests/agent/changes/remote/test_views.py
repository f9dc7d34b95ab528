"""Views: who may see now sees now; the leaf is durable before a page can leave; each request is answered once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.changes.remote import views
from agent.changes.remote.views import Disclose
from agent.store import mail
from tests.builders.expect import present
from tests.builders.office import Desk, Office, office_in
from trust import answer as answers
from trust import checkpoint, items, limits, merkle, seal, statements
from trust import envelope as envelopes
from trust.answer import ViewAnswer
from trust.errors import MalformedSealError
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.seal import SealingKey
from trust.statements import FreezeScope, Plan, SeenHeads, SeenLog

VIEW_ID = "7" * 32


def opened(office: Office, key: SealingKey, view_id: str = VIEW_ID) -> ViewAnswer:
    """What the desk makes of the pages."""
    pages = office.out("view-page")
    assert [p.last for p in pages] == [False] * (len(pages) - 1) + [True]
    return answers.decode_untrusted(seal.open_pages_untrusted(bytes.fromhex(view_id), key, [p.body for p in pages]))


async def ask(office: Office, who: str = "joseph", key: SealingKey | None = None, **more: object) -> None:
    key = key or SealingKey.generate()
    view = office.people.view(office.plan_envelope(), who, key, **{"view_id": VIEW_ID, **more})  # type: ignore[arg-type]  # its keywords
    await office.receive("view", view)


async def test_a_person_sees_the_items_that_the_plan_stands_for(office: Office) -> None:
    row = await office.plan("C-1", "C-2/home")
    await office.all_sent()
    key = SealingKey.generate()
    view = office.people.view(office.plan_envelope(), "joseph", key, view_id=VIEW_ID)
    message = await office.deliver("view", view)
    await office.handle()
    assert {p.answers for p in office.out("view-page")} == {message.ref}
    assert office.out("receipt") == []
    answer = opened(office, key)
    plan = statements.decode_as_untrusted(Plan, office.plan_envelope())
    found = items.open_items_untrusted(list(answer.documents), bytes.fromhex(plan.items_root), plan.plan_id)
    assert [i.subject for i in found.items] == ["C-1/home", "C-2/home"]
    assert (answer.short, answer.approvals, answer.links, answer.old_size) == (row.short, (), (), 0)
    (event,) = [e for e in office.daemon.log.evidence.events() if e.kind == "disclosed"]
    assert (event.short, event.record) == (row.short, {"what": "disclosed", "to": "joseph", "view": VIEW_ID})
    with pytest.raises(MalformedSealError):
        opened(office, SealingKey.generate())


async def test_no_page_can_leave_before_its_leaf(tmp_path: Path) -> None:
    """Whenever the outbox holds a page, the log holds that it was disclosed."""
    seen: list[tuple[int, int]] = []
    async with office_in(tmp_path, Desk()) as office:
        await office.plan()
        office.store.between = lambda n: seen.append((len(office.out("view-page")), office.leaves(LeafKind.DISCLOSED)))
        await ask(office)
        seen.append((len(office.out("view-page")), office.leaves(LeafKind.DISCLOSED)))
    assert all(leaves == 1 for pages, leaves in seen if pages)
    assert seen[-1] == (1, 1)


async def test_a_long_answer_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES", 16 << 10)
    async with office_in(tmp_path, Desk()) as office:
        row = await office.plan()
        await office.all_sent()
        key = SealingKey.generate()
        await ask(office, key=key)
        assert len(office.out("view-page")) == 4
        assert opened(office, key).short == row.short


async def test_the_answer_leads_on_from_what_the_viewer_has_seen(office: Office) -> None:
    await office.plan()
    agent, evidence = office.parts.agent, office.daemon.log.evidence
    await evidence.checkpoint()
    old_size, old_root = evidence.published()
    await office.receive(
        "approval", office.people.approve(office.plan_envelope(), "lena", seen=SeenHeads(1, head(office)))
    )
    await evidence.checkpoint()
    pinned = office.pinned
    second = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), issued=pinned.trust.issued + 1)
    document = office.people.sign_trust(second)[0]
    seen = SeenHeads(1, pinned.sha256.hex(), (SeenLog("9" * 32, 3, "0" * 64), SeenLog(agent, old_size, old_root.hex())))
    await office.receive("trust", document)
    await office.all_sent()
    key = SealingKey.generate()
    await ask(office, key=key, seen=seen)
    answer = opened(office, key)
    text = checkpoint.split_note_untrusted(answer.checkpoint)[0]
    new = checkpoint.read_checkpoint_untrusted(text)
    assert (answer.old_size, new.size > old_size) == (old_size, True)
    merkle.verify_consistency(old_size, new.size, old_root, new.root, answer.consistency)
    assert answer.links == (document,)
    assert answer.approvals == (("lena", "approve"),)


def head(office: Office) -> str:
    pinned = office.pinned
    return pinned.sha256.hex()


async def test_a_viewer_ahead_of_us_gets_no_proof_and_can_tell(office: Office) -> None:
    await office.plan()
    key = SealingKey.generate()
    await ask(office, key=key, seen=SeenHeads(1, "0" * 64, (SeenLog(office.parts.agent, 10**9, "0" * 64),)))
    assert (opened(office, key).old_size, opened(office, key).consistency) == (0, ())


# --- who may not ---


async def without_sight(office: Office) -> None:
    """The next trust document takes joseph's right to see subscribers away."""
    pinned = office.pinned
    people = tuple(replace(p, sees_subscribers=p.handle != "joseph") for p in pinned.trust.people)
    trust = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), issued=pinned.trust.issued + 1, people=people)
    await office.receive("trust", office.people.sign_trust(trust)[0])


async def frozen_person(office: Office) -> None:
    await office.receive("freeze", office.people.freeze("maria", FreezeScope.PERSON, "joseph"))


async def frozen_key(office: Office) -> None:
    public = office.people.keys["joseph"].public.hex()
    await office.receive("freeze", office.people.freeze("maria", FreezeScope.KEY, public))


async def nothing(office: Office) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "more", "reason"),
    [
        (without_sight, {}, "may-not-see"),
        (frozen_person, {}, "frozen"),
        (frozen_key, {}, "frozen"),
        (nothing, {"minutes": -10}, "expired"),
        (nothing, {"minutes": 30}, "from-the-future"),
        (nothing, {"signer": SigningKey(bytes(32))}, "unknown-signer"),
    ],
)
async def test_who_may_not_see_now_gets_a_receipt_and_nothing_else(
    office: Office, before: Callable[[Office], Awaitable[None]], more: dict[str, object], reason: str
) -> None:
    await office.plan()
    await before(office)
    await office.all_sent()
    await ask(office, **more)  # type: ignore[arg-type]  # keywords of `view`
    assert office.results() == [("view", "refused", reason)]
    assert office.out("view-page") == []
    assert (office.leaves(LeafKind.DISCLOSED), office.leaves(LeafKind.REFUSED)) == (0, 1)


async def test_another_agents_plan_or_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    desk = Desk()
    async with office_in(tmp_path / "a", desk) as other:
        await other.plan()
        foreign = desk.people.view(other.plan_envelope(), "joseph", SealingKey.generate())
    async with office_in(tmp_path / "b", desk) as office:
        pinned = office.pinned
        (theirs,) = desk.trust(other.daemon.files).agents
        agents = (*pinned.trust.agents, replace(theirs, handle="noc-2"))
        both = replace(pinned.trust, version=2, prev=head(office), issued=pinned.trust.issued + 1, agents=agents)
        await office.receive("trust", desk.people.sign_trust(both)[0])
        await office.all_sent()
        await office.receive("view", foreign)
        body = statements.View(
            desk.people.trust_id, VIEW_ID, office.parts.agent, "8" * 64, "joseph", SealingKey.generate().public.hex(),
            SeenHeads(1, "0" * 64), desk.people.now_s // 60 + 5,
        )  # fmt: skip
        await office.receive("view", envelopes.encode(statements.sign(body, [desk.people.keys["joseph"]])))
        assert [r[2] for r in office.results()] == ["wrong-agent", "other-plan"]


# --- again, too often, too large, too late ---


async def test_C16_a_replayed_view_is_refused(office: Office) -> None:
    """C16: the same request under another ref, within its minutes."""
    await office.plan()
    await office.all_sent()
    view = office.people.view(office.plan_envelope(), "joseph", SealingKey.generate(), view_id=VIEW_ID)
    await office.receive("view", view)
    await office.receive("view", view)
    assert [o.kind for o in office.out()] == ["view-page", "receipt"]
    assert office.results() == [("view", "refused", "consumed")]
    assert office.leaves(LeafKind.DISCLOSED) == 1


async def test_two_of_the_same_at_once_are_answered_once(office: Office) -> None:
    """The transaction decides, not what was read before it."""
    await office.plan()
    view = office.people.view(office.plan_envelope(), "joseph", SealingKey.generate(), view_id=VIEW_ID)
    await office.deliver("view", view)
    await office.deliver("view", view)
    first = present(mail.next_in(office.store.reader))
    again = replace(first, id=first.id + 1)

    raced = False

    def between(_: int) -> None:
        nonlocal raced
        if not raced:
            raced = True
            office.store.now(other)

    record = office.parts.recorder.record(None, {"what": "disclosed"})
    other = Disclose(b"p" * 16, bytes(32), bytes.fromhex(VIEW_ID), "joseph", 2**31, again.id, (), record)
    await office.all_sent()
    await office.daemon.log.evidence.checkpoint()
    office.store.between = between
    await office.handle_one(first)
    assert office.results() == [("view", "refused", "consumed")]
    assert office.out("view-page") == []


async def test_a_person_sees_so_many_plans_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "VIEWS_PER_HOUR", 3)
    async with office_in(tmp_path, Desk()) as office:
        await office.plan()
        for n in range(4):
            await ask(office, view_id=f"{n:032x}")
        await ask(office, "lena", view_id="f" * 32)
        assert office.results() == [("view", "refused", "rate-limited")]
        assert office.leaves(LeafKind.DISCLOSED) == 4


async def test_a_plan_too_large_for_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "CONTENT_BYTES", 1000)
    async with office_in(tmp_path, Desk()) as office:
        await office.plan()
        await ask(office)
        assert office.results() == [("view", "refused", "too-many-items")]


async def test_pages_are_not_kept_beyond_the_view(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    await ask(office)
    expires_s = (office.people.now_s // 60 + 5) * 60
    assert office.number("SELECT expires_s FROM outbox WHERE kind = 'view-page'") == expires_s
    assert office.number("SELECT expires_s FROM view") == expires_s, "so long it counts as answered already"
    assert mail.next_out(office.store.reader, expires_s, 10) == []


async def test_an_erased_subscriber_is_not_told_apart(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    vault = office.daemon.files.vault
    del vault._keys[vault._ids["C-1"]]
    await ask(office)
    assert office.results() == [("view", "refused", "not-taken")]


async def test_a_view_id_is_forgotten_once_it_cannot_be_replayed(office: Office) -> None:
    await office.plan()
    await ask(office)
    office.store._con.execute("UPDATE view SET at_s = at_s - 7200, expires_s = expires_s - 7200")
    await ask(office, "lena", view_id="f" * 32)
    assert office.number("SELECT count(*) FROM view") == 1
