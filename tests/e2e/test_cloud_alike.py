"""What a control plane sees of an operator is the same whatever its subscribers are called, and however many they are.

Kinds, lengths, statements and the growth of the log are compared: of two operators of one shape, of plans in one
bucket, of refusals that differ in their reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio

from protos import message_pb2 as pb
from tests.e2e.canaries import AGENT_OPTIONS, Canaries, plain, staff
from tests.e2e.cloud_site import company
from tests.e2e.days import Day, following, messages_of, refusals
from tests.e2e.files import ref_of
from tests.e2e.recording_cloud import Call, RecordingCloud, recording_cloud
from trust import envelope as envelopes
from trust import statements
from trust.policy import Action
from trust.statements import (
    OutcomeState,
    Receipt,
    ReceiptResult,
)

SERVICES = 30
BUCKET = 128
"""The log grows by so many leaves at a checkpoint."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingCloud]:
    with recording_cloud(tmp_path_factory.mktemp("recorded")) as program:
        yield program


@dataclass
class ShortDay:
    """What one operator's short day looked like from the cloud. `grown`: leaves of the log for each of the plans."""

    calls: list[Call]
    grown: list[int]
    not_taken: list[Receipt]


async def short_day(folder: Path, cloud: RecordingCloud, canaries: Canaries) -> ShortDay:
    """Two services are suspended, then ten; four intents are not taken; one plan is cancelled."""
    options = {"agent": AGENT_OPTIONS, "within_s": (3, 6)}
    async with company(
        folder,
        cloud,
        isp={"services": SERVICES},
        change_trust=lambda trust, files: staff(trust, files, cloud.vkey, 1),
        prepare_files=canaries.prepare,
        desks=("lena", "joseph"),
        **options,
    ) as here:
        here.desk("billing", "services")
        async with here.at_work() as site, following(here.lena) as feed:
            day = Day(here, site, feed)
            size, asked = await same_start(day, cloud)
            grown = []
            ordinary = plain(here.isp.services)
            for few in (ordinary[:2], ordinary[2:12]):
                plan = await day.planned("billing", Action.SUSPEND, *map(ref_of, few))
                await day.view(plan, "lena")
                assert (await day.ended(plan)).state is OutcomeState.DONE
                before, size = size, await day.checkpoint()
                grown.append(size - before)
            not_taken = await refusals(day, ordinary[0])
            plan = await day.planned("billing", Action.DISCONNECT, ref_of(ordinary[12]))
            cancel = here.files.people.cancel(envelopes.decode_untrusted(plan), "lena")
            await day.accepted("lena", pb.KIND_CANCEL, cancel, here.agent)
            await day.quiet()
            calls = [
                call
                for at, call in enumerate(cloud.calls())
                if here.operator_id.hex() in call.peer and (at >= asked or not call.method.endswith("/AddCheckpoint"))
            ]
    return ShortDay(calls, grown, not_taken)


async def same_start(day: Day, cloud: RecordingCloud) -> tuple[int, int]:
    """Bring the log to its second bucket, whose size is returned, and the count of calls until then.

    Whether the start asks witnesses depends on the machine alone: it does if the trust document is installed by then.
    """
    size = await day.checkpoint()
    if size == BUCKET:
        await day.site.daemon.log.evidence.checkpoint(grow=True)
        size = await day.checkpoint()
    assert size == 2 * BUCKET
    return size, len(cloud.calls())


@dataclass(frozen=True, slots=True)
class TwoDays:
    """The same day of two operators, whose subscribers have short and long names."""

    short: ShortDay
    long: ShortDay


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory, cloud: RecordingCloud) -> TwoDays:
    async def both() -> TwoDays:
        found = []
        for width in (10, 27):
            canaries = Canaries(width)
            with pytest.MonkeyPatch.context() as patch:
                canaries.put_into(patch)
                found.append(await short_day(tmp_path_factory.mktemp("day"), cloud, canaries))
        return TwoDays(*found)

    return trio.run(both)


STREAMS = {"Watch"}
LOOKS = {"List", "Agents"}
"""A desk reads what agents wrote: that is compared where they write it."""


def traffic(calls: Sequence[Call]) -> dict[str, list[object]]:
    """Return what went on, for each member (by kind of member) and each direction, in kinds and lengths."""
    found: dict[str, list[object]] = {}
    for call in calls:
        method = call.method.rpartition("/")[2]
        if method in LOOKS or (method == "Watch" and "/agent/" not in call.peer):
            continue
        who = re.sub(r".*//[0-9a-f]{32}/(agent|person/[a-z]+|service/[a-z]+).*", r"\1", call.peer)
        sizes = [(pb.Kind.Name(message.kind), size) for message, size in messages_of(call)]
        lengths = [] if method in STREAMS else [[len(d) for d in call.requests], [len(d) for d in call.replies]]
        fields = [(key, len(value)) for key, value in call.metadata]
        found.setdefault(f"{who} {method}", []).append((call.code, sizes, lengths, fields))
    return found


def masked(value: object) -> object:
    """Return JSON without what is random or a time: digests, ids, keys, minutes and seconds."""
    if isinstance(value, dict):
        return {key: masked(v) for key, v in value.items()}
    if isinstance(value, list):
        return [masked(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{16,}", value):
        return f"hex {len(value)}"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9+/=_-]{40,}", value):
        return f"base64 {len(value)}"
    return "time" if isinstance(value, int) and value > 1_000_000 else value


def said(calls: Sequence[Call]) -> dict[str, list[object]]:
    """Return the statements that went through, for each kind, in order, masked."""
    found: dict[str, list[object]] = {}
    for call in calls:
        if call.method.endswith("/Watch"):
            continue
        for message, _ in messages_of(call):
            if message.body.startswith(b"{"):
                payload = json.loads(envelopes.decode_untrusted(message.body).payload)
                found.setdefault(pb.Kind.Name(message.kind), []).append(masked(payload))
    return found


@pytest.mark.slow
def test_R2_two_operators_of_one_shape_look_alike(two_days: TwoDays) -> None:
    short, long = traffic(two_days.short.calls), traffic(two_days.long.calls)
    assert {"agent Submit", "agent Watch", "agent AddCheckpoint", "service/billing Submit"} < set(short)
    assert short == long
    assert said(two_days.short.calls) == said(two_days.long.calls)
    assert two_days.short.grown == two_days.long.grown


@pytest.mark.slow
def test_R2_C18_plans_of_two_and_of_ten_look_alike(two_days: TwoDays) -> None:
    day = two_days.short
    plans = said(day.calls)["KIND_PLAN"]
    without_heads = [{k: v for k, v in p.items() if k != "log_size"} for p in plans[:2] if isinstance(p, dict)]
    assert without_heads[0]["size_bucket"] == "2-10"
    assert without_heads[0] == without_heads[1]
    assert day.grown[0] == day.grown[1] > 0
    sent = [
        (pb.Kind.Name(message.kind), size)
        for call in day.calls
        if call.method.endswith("AgentCloud/Submit")
        for message, size in messages_of(call)
    ]
    two, ten = (sent[n : n + 5] for n, (kind, _) in enumerate(sent) if kind == "KIND_PLAN" and n < 10)
    assert [kind for kind, _ in two] == [f"KIND_{k}" for k in ("PLAN", "RECEIPT", "VIEW_PAGE", "RECEIPT", "OUTCOME")]
    assert two == ten
    outcomes = [{**o, "log_size": 0, "seq": 0} for o in said(day.calls)["KIND_OUTCOME"] if isinstance(o, dict)]
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_C15_a_refusal_is_no_oracle(two_days: TwoDays) -> None:
    known, protected, ambiguous, stranger = two_days.short.not_taken
    for one in (known, protected, ambiguous, stranger):
        assert (one.result, one.reason and one.reason.value) == (ReceiptResult.REFUSED, "not-taken")
    encoded = [len(statements.encode(r)) for r in two_days.short.not_taken]
    assert len(set(encoded)) == 1
    different = [replace(r, of_sha256="", log_root="", log_size=0, at=0) for r in two_days.short.not_taken]
    assert different == [different[0]] * 4
    assert len({r.log_size for r in two_days.short.not_taken}) == 1
