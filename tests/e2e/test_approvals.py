"""Who may let a change happen, and who may stop it: signed statements by file, right ones and wrong ones."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from lab.isp import Isp
from tests.builders.people import plan_of
from tests.e2e.files import lab_files, ordinary, ref_of, small_isp
from tests.e2e.site import (
    ApiRefusedError,
    Json,
    MovableClock,
    Site,
    at_work,
    b64,
    check_log,
    item_states,
    open_site,
    sent,
    state_of,
)
from trust import chain, statements
from trust import envelope as envelopes
from trust.document import Person, PersonKey
from trust.keys import SigningKey
from trust.policy import Role
from trust.statements import Approval, Decision, ReasonCode, Saw, SeenHeads

HOUR_S = 3600


async def marked(isp: Isp) -> list[str]:
    """Return the logins that RADIUS has in the marker group."""
    found = await isp.database.fetch("SELECT username FROM radusergroup WHERE groupname = 'suspended'")
    return sorted(str(row[0]) for row in found)


# --- approvals that do not count --------------------------------------------------------------------------------------


def own_words(site: Site, change: Json, **fields: object) -> bytes:
    """Return joseph's approval with these fields otherwise than they should be."""
    now = site.people.now_s // 60
    plain = Approval(
        trust_id=site.people.trust_id,
        plans=(envelopes.digest(plan_of(change)).hex(),),
        decision=Decision.APPROVE,
        person="joseph",
        saw=Saw.DETAIL,
        not_before=now - 1,
        not_after=now + 60,
        reason_code=next(iter(ReasonCode)),
        seen=site.files.seen(),
    )
    return envelopes.encode(statements.sign(replace(plain, **fields), [site.people.keys["joseph"]]))  # type: ignore[arg-type]  # each test names its fields


def tampered(site: Site, change: Json) -> bytes:
    envelope = envelopes.decode_untrusted(site.approval(change, "joseph"))
    (signature,) = envelope.signatures
    broken = bytes([signature.sig[0] ^ 1]) + signature.sig[1:]
    return envelopes.encode(replace(envelope, signatures=(replace(signature, sig=broken),)))


Make = Callable[[Site, Json], bytes]
MINUTES_AGO = 20
WRONG: dict[str, tuple[Make, str]] = {
    "the requester's own": (lambda s, c: s.approval(c, "maria"), "requester-approves"),
    "a key that nobody knows": (lambda s, c: s.approval(c, "joseph", key=SigningKey.generate()), "unknown-signer"),
    "another person's key": (lambda s, c: s.approval(c, "joseph", key=s.people.keys["lena"]), "signer-is-another"),
    "one bit of the signature": (tampered, "bad-signature"),
    "by summary only": (lambda s, c: s.approval(c, "joseph", saw=Saw.SUMMARY), "summary-only"),
    "past its time": (
        lambda s, c: own_words(
            s, c, not_before=s.people.now_s // 60 - MINUTES_AGO, not_after=s.people.now_s // 60 - MINUTES_AGO // 2
        ),
        "expired",
    ),
    "before its time": (
        lambda s, c: own_words(
            s, c, not_before=s.people.now_s // 60 + MINUTES_AGO, not_after=s.people.now_s // 60 + 2 * MINUTES_AGO
        ),
        "not-yet-valid",
    ),
    "of another trust chain": (lambda s, c: own_words(s, c, trust_id=secrets.token_hex(16)), "wrong-trust"),
    "who saw another trust head": (lambda s, c: own_words(s, c, seen=SeenHeads(1, "7" * 64)), "forked"),
    "by somebody who is nobody": (lambda s, c: own_words(s, c, person="oscar"), "signer-is-another"),
}


async def test_what_does_not_count_is_refused_and_logged(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        service, other = ordinary(isp, 2)
        asked, second = await site.ask("suspend", ref_of(service)), await site.ask("suspend", ref_of(other))
        for what, (make, reason) in WRONG.items():
            (answer,) = await site.hand_in(make(site, asked), asked["id"])
            assert (what, answer["accepted"], answer["reason"], answer["have"]) == (what, False, reason, 0)
            assert answer["message"]
        (answer,) = await site.hand_in(site.approval(second, "joseph"), asked["id"])
        assert (answer["accepted"], answer["reason"]) == (False, "other-plan")
        for garbage in (b"garbage", b"{}", b"\x00\xff" * 40, b'{"payload": "", "payloadType": "", "signatures": []}'):
            with pytest.raises(ApiRefusedError) as refused:
                await site.hand_in(garbage, asked["id"])
            assert refused.value.status == 400
        with pytest.raises(ApiRefusedError) as refused:
            await site.hand_in(envelopes.encode(plan_of(asked)), asked["id"])
        assert refused.value.status == 403

        assert (await site.show(asked))["approvals"] == (await site.show(second))["approvals"] == []
        assert (sent(isp), await marked(isp)) == (0, [])
        events = await site.call("GET", "/v1/audit")
        assert Counter(e["kind"] for e in events)["refused"] == len(WRONG) + 1

        assert state_of(await site.apply(asked)) == ("applied", "garden")
        (late,) = await site.hand_in(site.approval(asked, "lena"), asked["id"])
        assert (late["accepted"], late["reason"]) == (False, "consumed")


async def test_who_was_removed_does_not_count_any_more(tmp_path: Path) -> None:
    async with small_isp(tmp_path) as isp:
        files = lab_files(tmp_path, isp)
        key = files.people.keys["oscar"] = SigningKey.generate()
        oscar = Person("oscar", (Role.APPROVER,), ("all",), True, (PersonKey("ed25519", key.public.hex()),))
        files.trust = replace(files.trust, people=(*files.trust.people, oscar))
        async with open_site(files) as site:
            service, other = ordinary(isp, 2)
            held = await site.ask("suspend", ref_of(service), hold=True)
            await site.approve(held, "oscar")
            asked = await site.ask("suspend", ref_of(other))
            early = site.approval(asked, "oscar")

            first = chain.head_sha256(envelopes.decode_untrusted(files.signed_trust()[0]))
            people = tuple(p for p in files.trust.people if p.handle != "oscar")
            files.trust = replace(files.trust, version=2, prev=first, people=people)
            installed = await site.call("POST", "/v1/trust", {"document": b64(files.signed_trust()[0]), "words": ""})
            assert installed["version"] == 2

            (answer,) = await site.hand_in(early, asked["id"])
            assert (answer["accepted"], answer["reason"]) == (False, "unknown-signer")
            await site.call("POST", f"/v1/changes/{held['id']}/apply", {})
            await trio.sleep(1.2)  # the worker looks once a second
            assert (state_of(await site.show(held))[0], sent(isp)) == ("planned", 0)
            await site.approve(held, "lena")
            assert state_of(await site.wait_end(held)) == ("applied", "garden")
            await check_log(site)


async def test_two_approve_a_batch_and_one_rejects_another(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={"services": 16}) as (isp, site):
        refs = [ref_of(s) for s in ordinary(isp, 11)]
        asked = await site.ask("suspend", *refs)
        assert asked["class"] == "batch"
        for _ in range(2):  # one person counts once, however often
            (answer,) = await site.approve(asked, "joseph")
            assert (answer["gate"], answer["have"], answer["need"]) == ("open", 1, 2)
        await trio.sleep(1.2)
        assert (await site.show(asked))["gate"] == "open"
        (rejection,) = await site.hand_in(site.approval(asked, "lena", decision=Decision.REJECT), asked["id"])
        assert (rejection["accepted"], rejection["gate"]) == (True, "rejected")
        (late,) = await site.hand_in(site.approval(asked, "lena"), asked["id"])
        shown = await site.show(asked)
        assert (late["accepted"], shown["state"], shown["exit"]) == (False, "rejected", 3)
        assert (sent(isp), await marked(isp)) == (0, [])


# --- stops ------------------------------------------------------------------------------------------------------------


async def test_a_cancel_before_the_start(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(asked, "joseph")
        (answer,) = await site.hand_in(site.people.cancel(plan_of(asked), "lena"))
        assert answer["accepted"]
        assert asked["id"] in answer["message"]
        with pytest.raises(ApiRefusedError) as refused:
            await site.call("POST", f"/v1/changes/{asked['id']}/apply", {})
        assert refused.value.status == 403
        shown = await site.wait_end(asked)
        assert (shown["state"], shown["exit"], sent(isp), await marked(isp)) == ("cancelled", 3, 0, [])


def counts(change: Json) -> Counter[str]:
    return Counter(state for state, _ in item_states(change).values())


async def half_done(site: Site, isp: Isp) -> Json:
    """Return a change of eight items of which some are applied and some are not begun."""
    asked = await site.ask("suspend", *(ref_of(s) for s in ordinary(isp, 8)))
    await site.approve(asked, "joseph")
    return await site.wait_for(asked, lambda c: counts(c)["applied"] >= 2)


SLOW: dict[str, Any] = {"policy": {"pace": 2, "canary": 10}}


async def test_a_cancel_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    async with at_work(tmp_path, **SLOW) as (isp, site):
        change = await half_done(site, isp)
        (answer,) = await site.hand_in(site.people.cancel(plan_of(change), "lena"))
        assert answer["accepted"]
        before = await site.show(change)
        done = await site.wait_end(change)
        ended = counts(done)
        # What had begun when it came goes on to an honest end; nothing begins after it
        assert ended["cancelled"] >= 1
        assert counts(before)["applied"] <= ended["applied"] <= counts(before)["applied"] + counts(before)["running"]
        assert sum(ended.values()) == 8
        # Some of it was written, and did not come to be enforced before the cancel
        state = "finished, needs you" if ended["set-not-enforced"] else "done in part"
        assert (done["state"], done["exit"]) == (state, 4)
        applied = {r for r, (s, _) in item_states(done).items() if s in ("applied", "set-not-enforced")}
        logins = {ref_of(s): s.login for s in isp.services}
        assert await marked(isp) == sorted(logins[r] for r in applied)


async def test_a_freeze_in_the_middle_is_lifted_by_two(tmp_path: Path) -> None:
    async with at_work(tmp_path, **SLOW) as (isp, site):
        change = await half_done(site, isp)
        freeze = site.people.freeze("joseph")
        (answer,) = await site.hand_in(freeze)
        assert answer["accepted"]
        frozen = await site.wait_for(change, lambda c: not any(s["verdict"] is None for s in c["steps"]))
        datagrams, rows = sent(isp), await marked(isp)
        await trio.sleep(1.5)
        still = await site.show(change)
        assert (sent(isp), await marked(isp)) == (datagrams, rows)
        assert counts(still)["planned"] >= 1
        assert len(still["steps"]) == len(frozen["steps"])
        assert [f["person"] for f in (await site.call("GET", "/v1/status"))["frozen"]] == ["joseph"]

        (alone,) = await site.hand_in(site.people.unfreeze(freeze, ["lena"]))
        assert (alone["accepted"], alone["reason"]) == (False, "threshold-not-met")
        (both,) = await site.hand_in(site.people.unfreeze(freeze, ["lena", "joseph"]))
        assert both["accepted"]
        done = await site.wait_end(change)
        assert (counts(done), done["exit"]) == (Counter(applied=8), 0)
        (again,) = await site.hand_in(freeze)  # replayed: it does not freeze a second time
        assert again["accepted"]
        assert (await site.call("GET", "/v1/status"))["frozen"] == []


async def test_what_is_frozen_does_not_start(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        freeze = site.people.freeze("lena")
        await site.hand_in(freeze)
        asked = await site.ask("suspend", ref_of(service))
        await site.approve(asked, "joseph")
        await trio.sleep(1.2)
        assert (state_of(await site.show(asked))[0], sent(isp), await marked(isp)) == ("planned", 0, [])
        await site.hand_in(site.people.unfreeze(freeze, ["lena", "joseph"]))
        assert state_of(await site.wait_end(asked)) == ("applied", "garden")


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_plan_that_was_not_started_in_time_expires(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        (service,) = ordinary(isp, 1)
        asked = await site.ask("suspend", ref_of(service), hold=True)
        await site.approve(asked, "joseph")
        site.clock.pass_s(HOUR_S)
        shown = await site.wait_end(asked)
        assert (shown["state"], shown["gate"], shown["exit"]) == ("expired", "expired", 3)
        (late,) = await site.hand_in(site.approval(asked, "lena"), asked["id"])
        assert not late["accepted"]
        assert (sent(isp), await marked(isp)) == (0, [])


async def test_J12_what_is_left_when_the_time_is_up_expires(tmp_path: Path) -> None:
    async with at_work(tmp_path, **SLOW) as (isp, site):
        change = await half_done(site, isp)
        site.clock.pass_s(2 * HOUR_S)
        done = await site.wait_end(change)
        ended = counts(done)
        assert ended["expired"] >= 1
        assert ended["applied"] >= 2
        assert set(ended) <= {"expired", "applied", "set-not-enforced"}
        assert done["exit"] == 4


async def test_trust_that_expired_lets_nothing_happen(tmp_path: Path) -> None:
    clock = MovableClock()
    async with small_isp(tmp_path, clock=clock.others_s) as isp:
        files = lab_files(tmp_path, isp)
        files.trust = replace(files.trust, expires=files.people.now_s + 600)
        async with open_site(files, clock=clock) as site:
            service, other = ordinary(isp, 2)
            held = await site.ask("suspend", ref_of(service), hold=True)
            await site.approve(held, "joseph")
            asked = await site.ask("suspend", ref_of(other))
            site.clock.pass_s(900)
            await site.call("POST", f"/v1/changes/{held['id']}/apply", {})
            (answer,) = await site.hand_in(site.approval(asked, "joseph"), asked["id"])
            assert (answer["accepted"], answer["reason"]) == (False, "trust-expired")
            with pytest.raises(ApiRefusedError, match="expired: its owners sign a new one"):
                await site.ask("suspend", ref_of(other))
            await trio.sleep(1.2)
            assert (state_of(await site.show(held))[0], sent(isp), await marked(isp)) == ("planned", 0, [])

            before = chain.head_sha256(envelopes.decode_untrusted(files.signed_trust()[0]))
            now = files.people.now_s + 900
            files.trust = replace(files.trust, version=2, prev=before, issued=now, expires=now + 86_400)
            await site.call("POST", "/v1/trust", {"document": b64(files.signed_trust()[0]), "words": ""})
            assert state_of(await site.wait_end(held)) == ("applied", "garden")
            await check_log(site)


async def test_a_clock_that_jumped_halts_until_somebody_looked(tmp_path: Path) -> None:
    async with at_work(tmp_path, **SLOW) as (isp, site):
        change = await half_done(site, isp)
        site.clock.set_wall(-HOUR_S)
        await site.wait_for(change, lambda c: not any(s["verdict"] is None for s in c["steps"]))
        await trio.sleep(0.6)
        rows, datagrams = await marked(isp), sent(isp)
        await trio.sleep(1.2)
        assert (await marked(isp), sent(isp)) == (rows, datagrams)
        assert len(rows) < 8
        assert round((await site.call("GET", "/v1/status"))["clock_halt"]) == -HOUR_S
        site.clock.set_wall(HOUR_S)
        await site.call("POST", "/v1/clock/accept", {})
        done = await site.wait_end(change)
        assert (counts(done), done["exit"]) == (Counter(applied=8), 0)
