"""Reverts of changes on CPE, as far as they are not played end to end: what takes back what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from agent.cpe.revert import CpeReverts, Fate, last_known
from agent.cpe.verbs import CpePlan
from agent.cpe_model.addresses import TableRow, address, row_address, what_of
from agent.cpe_model.known import Pending
from agent.model import (
    ABSENT,
    Address,
    Effect,
    Item,
    Listed,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    Step,
    Transition,
    Verdict,
)
from agent.services.verbs import Leave
from tests.builders.acs import KEY, PORTS, SSID, Book, called
from tests.builders.cpe import ACS, NAME, TARGET, found, intake, known
from tests.builders.expect import expect


async def test_what_an_address_was_when_it_was_last_read(book: Book) -> None:
    values = {
        SSID: known("home"),
        "Device.On": known("1", "boolean"),
        KEY: known(None),
        f"{ACS}Password": known(None),
        f"{PORTS}1.ExternalPort": known("080", "unsignedInt", 3),
        f"{PORTS}1.Enable": known("1", "boolean", 4),
    }
    subject = (await intake(book, values, {KEY: "ab"})).subject(found(book))
    row = row_address(TARGET, TableRow(PORTS, {"ExternalPort": "80"}, ("Enable",)))

    def now(addr: Address) -> Seen | None:
        return last_known(subject, addr)

    assert now(address(TARGET, SSID)) == Seen({"value": "home"}, 5, live=False)
    assert now(address(TARGET, "Device.On")) == Seen({"value": "true"}, 5, live=False)
    assert now(address(TARGET, KEY)) == Seen({"value": SecretRef("ab")}, 5, live=False)
    assert now(address(TARGET, f"{ACS}Password")) == Seen({"value": ""}, 5, live=False)
    assert now(row) == Seen({"ExternalPort": "80", "Enable": "true"}, 3, live=False)
    assert now(row_address(TARGET, TableRow(PORTS, {"ExternalPort": "81"}, ()))) == Seen(ABSENT, 3, live=False)
    assert now(address(TARGET, "Device.Never")) is None
    assert now(Address("radius/main/user/x")) is None


def item(*steps: Step) -> Item:
    return Item(1, "0" * 32, None, Listed.CHANGE, "", {}, steps=steps)


def step(n: int, *writes: Transition) -> Step:
    return Step(n, f"cwmp/{NAME}", writes)


STOOD = Fate(Verdict.APPLIED, 9)


def inverse(reverts: CpeReverts, book: Book, done: Item, fates: Mapping[int, Fate] | None = None) -> CpePlan | Leave:
    """Return what takes an item back, all of whose steps were applied unless `fates` say otherwise."""
    stood = {s.n: STOOD for s in done.steps} if fates is None else fates
    return reverts.inverse(reverts.intake.subject(found(book)), done, stood)


def write(path: str, before: Any, after: Any) -> Transition:
    return Transition(address(TARGET, path), Seen({"value": before}, 1, live=False), {"value": after})


async def test_what_was_set_is_taken_back_in_reverse(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new"), "Device.A": known("2"), "Device.B": known("2")}))
    done = item(step(1, write(SSID, "home", "new"), write("Device.A", "1", "2")), step(2, write("Device.B", "1", "2")))
    plan = expect(CpePlan, inverse(reverts, book, done))
    assert [[(what_of(t.address), t.after) for t in cast(Any, s.do)] for s in plan.steps] == [
        [("Device.B", {"value": "1"})],
        [("Device.A", {"value": "1"}), (SSID, {"value": "home"})],
    ]
    assert [s.n for s in plan.steps] == [1, 2]


async def test_what_somebody_changed_since_is_not_taken_back(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("by the subscriber")}))
    left = expect(Leave, inverse(reverts, book, item(step(1, write(SSID, "home", "new")))))
    assert left.code == "changed-since"


async def test_a_secret_goes_back_only_to_one_that_is_kept(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {KEY: known(None)}, {KEY: "new"}))

    def back(before: Any) -> CpePlan | Leave:
        return inverse(reverts, book, item(step(1, write(KEY, before, SecretRef("new")))))

    for before in ("", SecretRef("old")):  # never known, and no longer kept
        left = expect(Leave, back(before))
        assert left.code == "secret-unknown"
    await book.cpes.keep_secrets({"old": "correct horse battery"})
    plan = expect(CpePlan, back(SecretRef("old")))
    assert "correct horse" not in repr(plan)


async def test_an_effect_is_not_taken_back(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {}))
    reboot = Effect(address(TARGET, "@boots"), "reboot", {}, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 60)
    left = inverse(reverts, book, item(Step(1, f"cwmp/{NAME}", reboot)))
    assert left == Leave("irreversible", "a reboot cannot be taken back")


async def test_a_cpe_gone_or_no_longer_accepted_is_left_alone(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new")}))
    done = item(step(1, write(SSID, "home", "new")))
    assert reverts.take_back(done, {1: STOOD}).listed is Listed.CHANGE
    await book.cpes.called(called())
    sealed_decisions = len(book.rows("cpe"))
    await book.decide(NAME, None, forget=True)
    gone = reverts.take_back(done, {1: STOOD})
    assert (gone.listed, gone.reason, sealed_decisions) == (Listed.BLOCKED, "unknown-cpe", 1)
    await book.cpes.called(called())
    again = reverts.take_back(done, {1: STOOD})
    assert (again.listed, again.reason) == (Listed.BLOCKED, "not-accepted")


# --- half of it ---


def two_steps() -> Item:
    return item(step(1, write(SSID, "home", "new")), step(2, write("Device.A", "1", "2")))


async def test_of_what_is_half_applied_half_that_stands_is_taken_back(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new"), "Device.A": known("1")}))
    for other in ({2: Fate(Verdict.NOT_APPLIED, 9)}, {}):  # refused, or never sent
        plan = expect(CpePlan, inverse(reverts, book, two_steps(), {1: STOOD, **other}))
        assert [[t.after for t in cast(Any, s.do)] for s in plan.steps] == [[{"value": "home"}]]
    assert inverse(reverts, book, two_steps(), {}) == Leave("as-before", "nothing of the change stands on it")


async def test_of_an_unknown_step_nothing_is_said_before_a_read(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("home", at_s=9)}))
    done, fates = item(step(1, write(SSID, "home", "new"))), {1: Fate(Verdict.UNKNOWN, 9)}
    left = expect(Leave, inverse(reverts, book, done, fates))
    assert (left.code, left.blocked) == ("unknown", True)
    assert f"ispagent cpe refresh {NAME}" in left.why
    await book.cpes.learned(NAME, {SSID: known("home", at_s=10)})
    assert inverse(reverts, book, done, fates) == Leave("as-before", "nothing of the change stands on it")
    await book.cpes.learned(NAME, {SSID: known("new", at_s=11)})
    assert isinstance(inverse(reverts, book, done, fates), CpePlan)
    await book.cpes.learned(NAME, {SSID: known("by the subscriber", at_s=12)})
    left = expect(Leave, inverse(reverts, book, done, fates))
    assert left.code == "changed-since"


NEVER_TOLD = Fate(Verdict.UNKNOWN, 9)


def is_unknown(left: CpePlan | Leave, what: str) -> bool:
    """Tell whether nothing is said, and it is said what to read."""
    return isinstance(left, Leave) and left.code == "unknown" and f"cpe refresh {NAME} {what}, then" in left.why


async def test_of_a_secret_that_may_have_been_taken_no_reading_tells(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {KEY: known(None)}, {KEY: "old"}))
    await book.cpes.keep_secrets({"old": "the old one", "new": "the new one"})
    await book.cpes.setting(NAME, Pending("k", {KEY: "new"}))
    await book.cpes.learned(NAME, {KEY: known(None, at_s=20)})  # it reads empty whatever it is
    done = item(step(1, write(KEY, SecretRef("old"), SecretRef("new"))))
    assert is_unknown(inverse(reverts, book, done, {1: NEVER_TOLD}), KEY)
    await book.cpes.was_set(NAME, {KEY: "new"})  # by its ParameterKey
    assert isinstance(inverse(reverts, book, done, {1: NEVER_TOLD}), CpePlan)


async def test_a_parameter_tells_of_the_secret_that_was_set_with_it(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new", at_s=20), KEY: known(None, at_s=20)}, {KEY: "old"}))
    await book.cpes.keep_secrets({"old": "the old one", "new": "the new one"})
    done = item(step(1, write(SSID, "home", "new"), write(KEY, SecretRef("old"), SecretRef("new"))))
    left = inverse(reverts, book, done, {1: NEVER_TOLD})
    assert is_unknown(left, KEY)  # it has the new one, which is not known to be taken yet: never half of it
    await book.cpes.was_set(NAME, {KEY: "new"})
    plan = expect(CpePlan, inverse(reverts, book, done, {1: NEVER_TOLD}))
    assert [len(cast(Any, s.do)) for s in plan.steps] == [2]
    await book.cpes.learned(NAME, {SSID: known("home", at_s=21)})
    await book.cpes.was_set(NAME, {KEY: "old"})
    assert inverse(reverts, book, done, {1: NEVER_TOLD}) == Leave("as-before", "nothing of the change stands on it")


async def test_that_a_row_is_not_there_only_its_whole_table_tells(book: Book) -> None:
    there = {f"{PORTS}1.ExternalPort": known("80", "unsignedInt", 3)}
    reverts = CpeReverts(await intake(book, there))
    where = row_address(TARGET, TableRow(PORTS, {"ExternalPort": "2222"}, ("Enable",)))
    added = item(step(1, Transition(where, Seen(ABSENT, 1, live=False), {"ExternalPort": "2222", "Enable": "true"})))
    soon = Fate(Verdict.UNKNOWN, int(book.clock.wall_s()))
    later = soon.at_s + 60
    await book.cpes.learned(NAME, {f"{PORTS}1.ExternalPort": known("80", "unsignedInt", later)})  # another row
    assert is_unknown(inverse(reverts, book, added, {1: soon}), PORTS)
    book.clock.forward(60)
    await book.cpes.learned(NAME, {f"{PORTS}1.ExternalPort": known("80", "unsignedInt", later)}, below="Device.NAT.")
    assert inverse(reverts, book, added, {1: soon}) == Leave("as-before", "nothing of the change stands on it")


async def test_that_a_row_is_still_there_only_itself_tells(book: Book) -> None:
    there = {f"{PORTS}1.ExternalPort": known("80", "unsignedInt", 3)}
    mine = {f"{PORTS}2.ExternalPort": known("2222", "unsignedInt", 3), f"{PORTS}2.Enable": known("1", "boolean", 3)}
    reverts = CpeReverts(await intake(book, there | mine))
    where = row_address(TARGET, TableRow(PORTS, {"ExternalPort": "2222"}, ("Enable",)))
    gone = item(step(1, Transition(where, Seen({"ExternalPort": "2222", "Enable": "true"}, 3, live=False), ABSENT)))
    await book.cpes.learned(NAME, {f"{PORTS}1.ExternalPort": known("80", "unsignedInt", 20)})
    assert is_unknown(inverse(reverts, book, gone, {1: NEVER_TOLD}), PORTS)
    await book.cpes.learned(NAME, {path: replace(known_, at_s=20) for path, known_ in mine.items()})
    assert inverse(reverts, book, gone, {1: NEVER_TOLD}) == Leave("as-before", "nothing of the change stands on it")


async def test_what_a_cpe_let_be_keeps_the_rest_from_nothing(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new", at_s=20), "Device.A": known("1", at_s=20)}))
    done = item(step(1, write(SSID, "home", "new"), write("Device.A", "1", "2")))  # it took one and ignored the other
    plan = expect(CpePlan, inverse(reverts, book, done, {1: Fate(Verdict.DIVERGED, 9)}))
    assert [[what_of(t.address) for t in cast(Any, s.do)] for s in plan.steps] == [[SSID]]


async def test_a_deleted_row_with_a_secret_is_not_made_again(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {f"{PORTS}1.ExternalPort": known("80", "unsignedInt")}))
    where = row_address(TARGET, TableRow(PORTS, {"ExternalPort": "2222"}, ("Enable", "Password")))
    was = Seen({"ExternalPort": "2222", "Enable": "true", "Password": ""}, 3, live=False)
    left = expect(Leave, inverse(reverts, book, item(step(1, Transition(where, was, ABSENT)))))
    assert (left.code, "Password" in left.why) == ("secret-unknown", True)


async def test_what_was_not_read_since_is_not_said_to_be_changed(book: Book) -> None:
    reverts = CpeReverts(await intake(book, {SSID: known("new", at_s=20), "Device.A": known("1", at_s=1)}))
    done = item(step(1, write(SSID, "home", "new"), write("Device.A", "1", "6")))
    assert is_unknown(inverse(reverts, book, done, {1: NEVER_TOLD}), "Device.A")
