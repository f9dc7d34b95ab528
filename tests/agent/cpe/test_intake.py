"""Intake of changes on CPE, as far as it is not played end to end: which CPE, and new credentials."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.changes.journal.request import Ask, RequestError
from agent.cpe.baseline import Declared
from agent.cpe.verbs import CpePlan
from agent.cpe_model.addresses import address, what_of
from agent.cpe_model.known import Acceptance
from agent.inventory.book import write_services
from agent.model import ABSENT, Listed, SecretRef, Seen, Service, Step, Transition
from agent.services.verbs import Leave
from agent.store.db import Tx
from tests.builders.acs import KEY, SSID, Book, called
from tests.builders.cpe import ACS, NAME, found, intake, known
from tests.builders.expect import expect
from trust.policy import Action

# --- which ------------------------------------------------------------------------------------------------------------


class Put:
    """CPE and services as a test wants them: (name, serial, service), (ref, login)."""

    def __init__(self, cpes: Sequence[tuple[str, str, str]], services: Sequence[tuple[str, str]]) -> None:
        self.cpes, self.services = cpes, services

    def run(self, tx: Tx) -> None:
        write_services(
            tx, [Service(ref, ref.split("/")[0], "", "home", login, "ppp", "10M") for ref, login in self.services]
        )
        for name, serial, service in self.cpes:
            tx.run(
                "UPDATE cpe SET name = ?, serial = ?, service = ? WHERE serial = ?", (name, serial, service, f"x{name}")
            )


async def test_a_cpe_is_named_by_name_service_login_or_serial(book: Book) -> None:
    """A login names the CPE of its service."""
    every = [
        ("A", "S1", "C-1/home"),
        ("B", "S2", "C-1/office"),
        ("C", "S3", "S1"),
        ("S3", "S4", ""),
        ("D", "S2", ""),
        ("E", "", ""),
    ]
    for name, _, _ in every:
        await book.cpes.called(called(f"x{name}"))
    await book.store.run(Put(every, [("C-1/home", "amina@ppp"), ("C-1/office", "S2")]))

    def found(ref: str) -> list[str]:
        return [each.name for each in book.cpes.named(ref)]

    assert found("A") == ["A"]
    assert found("C-1/home") == ["A"]
    assert found("C-1") == ["A", "B"]
    assert found("S1") == ["C"]  # a service by that name, before a serial number
    assert found("S3") == ["S3"]  # a name, before a serial number
    assert found("amina@ppp") == found("AMINA@ppp") == ["A"]
    assert found("S2") == ["B"]  # a login, before a serial number
    assert found("S4") == ["S3"]
    assert found("C") == ["C"]
    assert found("C-") == found("nobody") == found("") == []


# --- new credentials --------------------------------------------------------------------------------------------------


async def test_new_credentials_are_its_own_and_nobody_sees_them(book: Book) -> None:
    names = ("Username", "ConnectionRequestUsername")
    secrets = ("Password", "ConnectionRequestPassword")
    values = {f"{ACS}{n}": known("cpe") for n in names} | {f"{ACS}{n}": known(None) for n in secrets}
    made = await intake(book, values)
    keep: dict[str, str] = {}
    plan = expect(CpePlan, made._rotate(made.subject(found(book)), Declared({}, {}), keep, 9))
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


async def test_no_credentials_are_made_for_an_unapproved_cpe(book: Book) -> None:
    values = {f"{ACS}{n}": known("cpe") for n in ("Username", "ConnectionRequestUsername")}
    made = await intake(book, values)
    await book.decide(NAME, Acceptance.QUARANTINED)
    await book.decide(NAME)
    keep: dict[str, str] = {}
    leave = expect(Leave, made._rotate(made.subject(found(book)), Declared({}, {}), keep, 9))
    assert (leave.code, leave.blocked, keep) == ("not-assured", True, {})


async def test_a_revert_hands_no_secret_out_either(book: Book) -> None:
    """It would set the one from before."""
    made = await intake(book, {})
    write = Transition(
        address(f"cwmp/{NAME}", KEY), Seen({"value": SecretRef("cd" * 32)}, 1), {"value": SecretRef("ab" * 32)}
    )
    planned = CpePlan((Step(1, f"cwmp/{NAME}", (write,)),), {})
    assert made.made(made.subject(found(book)), planned, 9).listed is Listed.CHANGE
    await book.decide(NAME, Acceptance.REFUSED)
    await book.decide(NAME)
    item = made.made(made.subject(found(book)), planned, 9)
    assert (item.listed, item.reason, item.steps) == (Listed.BLOCKED, "not-assured", ())


async def test_a_baseline_beside_new_credentials_is_judged_as_any(book: Book) -> None:
    names = ("Username", "ConnectionRequestUsername", "URL")
    secrets = ("Password", "ConnectionRequestPassword")
    values = {f"{ACS}{n}": known("cpe") for n in names} | {f"{ACS}{n}": known(None) for n in secrets}
    made = await intake(book, {**values, SSID: known("home")})

    def rotated(more: dict[str, str]) -> CpePlan | Leave:
        return made._rotate(made.subject(found(book)), Declared(more, {}), {}, 9)

    plain, elsewhere = rotated({"wifi.1.ssid": "new"}), rotated({"acs.url": "http://elsewhere/"})
    assert isinstance(plain, CpePlan)
    assert isinstance(elsewhere, CpePlan)
    assert (plain.management, elsewhere.management) == (False, True)
    twice = expect(Leave, rotated({f"{ACS}Username": "mine"}))
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


async def test_who_is_not_there_cannot_be_left_out(book: Book) -> None:
    made = await intake(book, {})
    assert [cpe.name for cpe in await made.select(Ask(Action.CPE_RESET, refs=(NAME,)))] == [NAME]
    with pytest.raises(RequestError, match="exclude LAB00O1: there is no such CPE"):
        await made.select(Ask(Action.CPE_RESET, refs=(NAME,), exclude=("LAB00O1",)))
    with pytest.raises(RequestError, match="no CPE is left"):
        await made.select(Ask(Action.CPE_RESET, refs=(NAME,), exclude=("LAB0001",)))
    with pytest.raises(RequestError, match="and 30 more"):
        await made.select(Ask(Action.CPE_RESET, refs=tuple(f"X{n}" for n in range(530))))
