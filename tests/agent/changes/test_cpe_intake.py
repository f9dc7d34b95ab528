"""Intake of changes on CPE, as far as it is not played end to end: which CPE, new credentials, what takes back what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.changes.cpe_intake import CpeIntake, last_known, select
from agent.changes.request import Ask, RequestError
from agent.connectors.cwmp.addresses import Row, address, row_address, what_of
from agent.connectors.cwmp.known import Cpe, Known
from agent.model import ABSENT, Address, Effect, Item, Listed, ProofKind, Replay, SecretRef, Seen, Step, Transition
from agent.services.cpe_verbs import CpePlan
from agent.services.verbs import Leave
from agent.store.db import Tx
from tests.agent.connectors.cwmp.acs_rig import KEY, PORTS, SSID, Book, called, opened
from trust.policy import Action

NAME = "02AC5F-LabGate-LAB0001"
ACS = "Device.ManagementServer."


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with opened(tmp_path) as made:
        yield made


def known(value: str | None, kind: str = "string", at_s: int = 5) -> Known:
    return Known(value, kind, at_s)


async def intake(book: Book, values: Mapping[str, Known], taken: Mapping[str, str] | None = None) -> CpeIntake:
    """Return an intake whose CPE is known by these values; it proposes nothing."""
    await book.cpes.called(called())
    await book.decide(NAME)
    await book.cpes.learned(NAME, values)
    await book.cpes.was_set(NAME, taken or {})
    fields: dict[str, Any] = {"cpes": book.cpes, "vault": book.vault, "clock": book.clock, "wait_s": 60}
    return CpeIntake(**fields, previewer=cast(Any, None), images=cast(Any, None))


# --- which ------------------------------------------------------------------------------------------------------------


def cpe(name: str, serial: str, service: str = "") -> Cpe:
    return Cpe(name, "02AC5F", "LabGate", serial, service=service)


def test_a_cpe_is_named_by_its_name_its_service_or_its_serial_in_that_order() -> None:
    every = [
        cpe("A", "S1", "C-1/home"),
        cpe("B", "S2", "C-1/office"),
        cpe("C", "S3", "S1"),
        cpe("S3", "S4"),
        cpe("D", "S2"),
        cpe("E", ""),
    ]

    def found(ref: str) -> list[str]:
        return [each.name for each in select(every, ref)]

    assert found("A") == ["A"]
    assert found("C-1/home") == ["A"]
    assert found("C-1") == ["A", "B"]
    assert found("S1") == ["C"]  # a service by that name, before a serial number
    assert found("S3") == ["S3"]  # a name, before a serial number
    assert found("S2") == ["B", "D"]
    assert found("C") == ["C"]
    assert found("C-") == found("nobody") == []


# --- what is known ----------------------------------------------------------------------------------------------------


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
    row = row_address(NAME, Row(PORTS, {"ExternalPort": "80"}, ("Enable",)))

    def now(addr: Address) -> Seen | None:
        return last_known(subject, addr)

    assert now(address(NAME, SSID)) == Seen({"value": "home"}, 5, live=False)
    assert now(address(NAME, "Device.On")) == Seen({"value": "true"}, 5, live=False)
    assert now(address(NAME, KEY)) == Seen({"value": SecretRef("ab")}, 5, live=False)
    assert now(address(NAME, f"{ACS}Password")) == Seen({"value": ""}, 5, live=False)
    assert now(row) == Seen({"ExternalPort": "80", "Enable": "true"}, 4, live=False)
    assert now(row_address(NAME, Row(PORTS, {"ExternalPort": "81"}, ()))) == Seen(ABSENT, 4, live=False)
    assert now(address(NAME, "Device.Never")) is None
    assert now(Address("radius/main/user/x")) is None


def found(book: Book) -> Cpe:
    cpe_ = book.cpes.find(NAME)
    assert cpe_ is not None
    return cpe_


# --- new credentials --------------------------------------------------------------------------------------------------


async def test_new_credentials_are_its_own_both_ways_and_nobody_sees_them(book: Book) -> None:
    names = ("Username", "ConnectionRequestUsername")
    secrets = ("Password", "ConnectionRequestPassword")
    values = {f"{ACS}{n}": known("cpe") for n in names} | {f"{ACS}{n}": known(None) for n in secrets}
    made = await intake(book, values)
    keep: dict[str, str] = {}
    plan = made._rotate(made.subject(found(book)), {}, keep, 9)
    assert isinstance(plan, CpePlan)
    assert not plan.management  # it is safe: those before are taken until these were used
    [step] = plan.steps
    assert isinstance(step.do, tuple)
    after = {str(what_of(t.address)).removeprefix(ACS): t.after for t in step.do}
    assert set(after) == {*names, *secrets}
    user = after["Username"]
    assert user is not ABSENT
    assert str(user["value"]).startswith(f"{NAME}.")
    assert after["ConnectionRequestUsername"] == {"value": NAME}
    refs = {after[n]["value"].commit for n in secrets}  # type: ignore[index,union-attr]  # secrets, as is asserted next
    assert refs == set(keep)
    assert len(set(keep.values())) == 2
    assert min(map(len, keep.values())) >= 24
    assert not any(text in repr(plan) for text in keep.values())


async def test_what_a_baseline_declares_beside_new_credentials_is_judged_as_any(book: Book) -> None:
    names = ("Username", "ConnectionRequestUsername", "URL")
    secrets = ("Password", "ConnectionRequestPassword")
    values = {f"{ACS}{n}": known("cpe") for n in names} | {f"{ACS}{n}": known(None) for n in secrets}
    made = await intake(book, {**values, SSID: known("home")})

    def rotated(more: dict[str, str]) -> CpePlan | Leave:
        return made._rotate(made.subject(found(book)), more, {}, 9)

    plain, elsewhere = rotated({"wifi.1.ssid": "new"}), rotated({"acs.url": "http://elsewhere/"})
    assert isinstance(plain, CpePlan)
    assert isinstance(elsewhere, CpePlan)
    assert (plain.management, elsewhere.management) == (False, True)
    twice = rotated({f"{ACS}Username": "mine"})
    assert isinstance(twice, Leave)
    assert twice.code == "bad-baseline"


@pytest.mark.parametrize(
    "settings",
    [
        {"@baseline": "x", "@rotate": "both"},
        {"@baseline": "x", "wifi.1.ssid": "y"},
        {"@rotate": "both", f"{ACS}URL": "http://elsewhere/"},
    ],
)
async def test_nothing_goes_with_a_baseline_or_new_credentials(book: Book, settings: dict[str, str]) -> None:
    made = await intake(book, {})
    ask = Ask(Action.CPE_SET, refs=(NAME,), settings=settings)
    with pytest.raises(RequestError, match="a change of their own"):
        await made.plan(cast(Any, SimpleNamespace(ask=ask)), cast(Any, None))


async def test_a_replaced_secret_is_kept_from_when_it_is_replaced(book: Book) -> None:
    await intake(book, {})
    await book.cpes.keep_secrets({"old": "A"})
    await book.cpes.was_set(NAME, {KEY: "old"})
    await book.store.run(Ages())
    await book.cpes.keep_secrets({"new": "B"})
    await book.cpes.was_set(NAME, {KEY: "new"})
    await book.cpes.keep_secrets({"another": "C"})
    assert book.cpes.secret("old") == "A"
    await book.store.run(Ages())
    await book.cpes.keep_secrets({"yet another": "D"})
    assert (book.cpes.secret("old"), book.cpes.secret("new")) == (None, "B")


class Ages:
    """All secrets that are kept become 41 days older."""

    def run(self, tx: Tx) -> None:
        tx.run("UPDATE cpe_secret SET at_s = at_s - 41 * 86400")


# --- taking back ------------------------------------------------------------------------------------------------------


def item(*steps: Step) -> Item:
    return Item(1, "0" * 32, None, Listed.CHANGE, "", {}, steps=steps)


def step(n: int, *writes: Transition) -> Step:
    return Step(n, f"cwmp/{NAME}", writes)


def write(path: str, before: Any, after: Any) -> Transition:
    return Transition(address(NAME, path), Seen({"value": before}, 1, live=False), {"value": after})


async def test_what_was_set_is_taken_back_in_reverse(book: Book) -> None:
    made = await intake(book, {SSID: known("new"), "Device.A": known("2"), "Device.B": known("2")})
    done = item(step(1, write(SSID, "home", "new"), write("Device.A", "1", "2")), step(2, write("Device.B", "1", "2")))
    plan = made._inverse(made.subject(found(book)), done)
    assert isinstance(plan, CpePlan)
    assert [[(what_of(t.address), t.after) for t in cast(Any, s.do)] for s in plan.steps] == [
        [("Device.B", {"value": "1"})],
        [("Device.A", {"value": "1"}), (SSID, {"value": "home"})],
    ]
    assert [s.n for s in plan.steps] == [1, 2]


async def test_what_somebody_changed_since_is_not_taken_back(book: Book) -> None:
    made = await intake(book, {SSID: known("by the subscriber")})
    left = made._inverse(made.subject(found(book)), item(step(1, write(SSID, "home", "new"))))
    assert isinstance(left, Leave)
    assert left.code == "changed-since"


async def test_a_secret_goes_back_only_to_one_that_is_kept(book: Book) -> None:
    made = await intake(book, {KEY: known(None)}, {KEY: "new"})

    def back(before: Any) -> CpePlan | Leave:
        return made._inverse(made.subject(found(book)), item(step(1, write(KEY, before, SecretRef("new")))))

    for before in ("", SecretRef("old")):  # never known, and no longer kept
        left = back(before)
        assert isinstance(left, Leave)
        assert left.code == "secret-unknown"
    await book.cpes.keep_secrets({"old": "correct horse battery"})
    plan = back(SecretRef("old"))
    assert isinstance(plan, CpePlan)
    assert "correct horse" not in repr(plan)


async def test_an_effect_is_not_taken_back(book: Book) -> None:
    made = await intake(book, {})
    reboot = Effect(address(NAME, "@boots"), "reboot", {}, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 60)
    left = made._inverse(made.subject(found(book)), item(Step(1, f"cwmp/{NAME}", reboot)))
    assert left == Leave("irreversible", "a reboot cannot be taken back")


async def test_a_cpe_that_is_gone_or_not_accepted_any_more_is_left_alone(book: Book) -> None:
    made = await intake(book, {SSID: known("new")})
    done = item(step(1, write(SSID, "home", "new")))
    assert made._take_back(done).listed is Listed.CHANGE
    await book.cpes.called(called())
    sealed_decisions = len(book.rows("cpe"))
    await book.decide(NAME, None, forget=True)
    gone = made._take_back(done)
    assert (gone.listed, gone.reason, sealed_decisions) == (Listed.BLOCKED, "unknown-cpe", 1)
    await book.cpes.called(called())
    again = made._take_back(done)
    assert (again.listed, again.reason) == (Listed.BLOCKED, "not-accepted")
