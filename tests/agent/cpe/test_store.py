"""CPE in the database: what is believed of what they say, what is kept of it, and what people decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.cpe import requirements
from agent.cpe import store as cpes
from agent.cpe.store import EVIDENCE_MEMO, EVIDENCE_S, SECRET_KEEP_S, DecideCpe, KeepBreaker
from agent.cpe_model import addresses, limits
from agent.cpe_model.breaker import Breaker, TaskSignature
from agent.cpe_model.known import Acceptance, CachedParameter, Called, Cpe, Credentials, Pending
from agent.inventory.book import Broken, unmet
from agent.model import Address, Item, Listed, Requirement, SecretRef, Seen, Step, Transition
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from tests.builders.acs import Book, called, opened
from tests.builders.expect import present
from tests.builders.store import AddService

NAME = "02AC5F-LabGate-LAB0001"
PASSWORD = "Device.ManagementServer.Password"
USERNAME = "Device.ManagementServer.Username"
SSID, KEY, PORT = "Device.WiFi.SSID.1.SSID", "Device.WiFi.AccessPoint.1.Security.KeyPassphrase", "Device.T.1.Port"


def row(book: Book, name: str = NAME) -> dict[str, object]:
    return next(r for r in book.rows("cpe") if r["name"] == name)


@dataclass(frozen=True)
class Changed:
    """Why a CPE is not what a plan rests on."""

    rests: Requirement

    def run(self, tx: Tx) -> str | None:
        return requirements.changed_since(tx, self.rests)


class NotAssured:
    def run(self, tx: Tx) -> None:
        tx.run("UPDATE cpe SET assured = 0")


@dataclass(frozen=True)
class UnmetOf:
    """Which requirement of an item does not hold."""

    item: Item

    def run(self, tx: Tx) -> Broken | None:
        return unmet(tx, self.item, False, requirements.REQUIREMENT_TESTS)


def found_in(book: Book) -> Cpe:
    return present(book.cpes.find(NAME))


async def accepted(book: Book, **more: object) -> None:
    await book.cpes.called(called(**more))
    await book.decide(NAME)


# --- who calls in -----------------------------------------------------------------------------------------------------


async def test_a_new_cpe_is_quarantined_and_what_it_says_is_kept(book: Book) -> None:
    values = {"Device.DeviceInfo.SoftwareVersion": CachedParameter("1.0.0", "string", 5)}
    found = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT"), values=values))
    assert (found.trust, found.why) == (Acceptance.QUARANTINED, "never seen before")
    assert (found.boots, found.resets, found.events) == (1, 1, ("0 BOOTSTRAP", "1 BOOT"))
    assert found.booted
    assert book.cpes.find(NAME) == replace(found, booted=False) == book.cpes.all()[0]
    assert book.cpes.values(NAME) == values
    assert book.cpes.find("nobody") is None


async def test_addresses_of_accepted_cpe_are_known_the_latest_last(book: Book) -> None:
    for number, address in enumerate(("192.0.2.1", "192.0.2.2", "", "192.0.2.4")):
        name = f"02AC5F-LabGate-LAB000{number}"
        await book.cpes.called(called(name=name, serial=f"LAB000{number}", address=address, at_s=1000 - number))
        await book.decide(name)
    await book.cpes.called(called(name="02AC5F-LabGate-NEW", serial="NEW", address="192.0.2.9", at_s=2000))
    assert list(book.cpes.accepted_addresses(10)) == ["192.0.2.4", "192.0.2.2", "192.0.2.1"]
    assert list(book.cpes.accepted_addresses(2)) == ["192.0.2.2", "192.0.2.1"]


async def test_what_an_inform_leaves_out_stays(book: Book) -> None:
    await accepted(book)
    found = await book.cpes.called(called(root="", software="", hardware="", request_url="", at_s=1_767_225_700))
    assert (found.root, found.software, found.hardware) == ("Device.", "1.0.0", "A1")
    assert found.request_url == "http://127.0.0.1:1/"
    assert found.last_s - found.first_s == 100
    assert (found.trust, found.why) == (Acceptance.ACCEPTED, "")


async def test_boots_and_resets_are_counted(book: Book) -> None:
    for events in (("0 BOOTSTRAP", "1 BOOT"), ("1 BOOT",), ("2 PERIODIC",), ("1 BOOT", "4 VALUE CHANGE")):
        found = await book.cpes.called(called(events=events))
    assert (found.boots, found.resets) == (3, 1)


async def test_what_was_read_before_a_reset_is_known_as_that(book: Book) -> None:
    async def stale() -> set[str]:
        return {path for path, known in book.cpes.values(NAME).items() if known.before_reset}

    def told(*events: str, retry: bool = False) -> Called:
        return called(events=events, values={SSID: CachedParameter("home", "string", 5)}, retry=retry)

    await accepted(book)
    await book.cpes.learned(NAME, {KEY: CachedParameter(None, "string", 5), PORT: CachedParameter("80", "string", 5)})
    await book.cpes.called(told("1 BOOT"))
    assert await stale() == set()
    await book.cpes.called(told("0 BOOTSTRAP", "1 BOOT"))
    assert await stale() == {KEY, PORT}  # not what it says itself
    await book.cpes.learned(NAME, {KEY: CachedParameter(None, "string", 4)})  # by a clock that is behind by now
    await book.cpes.called(told("0 BOOTSTRAP", "1 BOOT", retry=True))  # the same reset, told again
    assert await stale() == {PORT}
    assert book.cpes.values(NAME, [PORT])[PORT].before_reset
    assert book.cpes.below(NAME, PORT)[PORT].before_reset


def serials(book: Book) -> list[str]:
    return [cpe.serial for cpe in book.cpes.all()]


async def test_invented_names_fill_quarantine_for_nobody_else(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of attack x20 a4: 5,005 serial numbers of one customer, then a new CPE of another one."""
    monkeypatch.setattr(limits, "NEW_CPE", 4)
    await book.cpes.called(called("NEW1", address="192.0.2.9", at_s=1))
    for number in range(20):
        await book.cpes.called(called(f"X{number:02}", address=f"2001:db8::{number}", at_s=10 + number))
    assert serials(book) == ["NEW1", "X17", "X18", "X19"]
    await book.cpes.called(called("NEW2", address="192.0.2.8", at_s=50))
    assert serials(book) == ["NEW1", "NEW2", "X18", "X19"]
    assert {r["name"] for r in book.rows("cpe_value")} <= {r["name"] for r in book.rows("cpe")}


async def test_accepted_refused_bound_or_own_ones_are_not_forgotten(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NEW_CPE", 1)
    await book.cpes.called(called("A"))
    await book.decide("02AC5F-LabGate-A")
    await book.cpes.called(called("B"))
    await book.decide("02AC5F-LabGate-B", Acceptance.REFUSED)
    await book.cpes.called(called("C"))
    await book.cpes.called(called("D"))
    assert serials(book) == ["A", "B", "D"]
    await book.cpes.setting("02AC5F-LabGate-D", Pending("k", {PASSWORD: "c"}), user="02AC5F-LabGate-D.1")
    full = await book.cpes.called(called("E"))
    assert (full.trust, "more CPE wait to be accepted" in full.why) == (Acceptance.QUARANTINED, True)
    assert serials(book) == ["A", "B", "D"]
    await book.cpes.evidence(full.name, "inform", True, "")
    assert book.cpes.evidence_rows() == []
    assert (await book.cpes.called(called("D"))).serial == "D", "whoever is known is heard"


async def test_quarantine_ages(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cpe.store._LOOK_EVERY", 2)
    month = limits.QUARANTINE_S
    await book.cpes.called(called("OLD", at_s=10))
    await book.cpes.called(called("LATER", at_s=20))
    await book.cpes.called(called("NEW", at_s=15 + month))
    assert serials(book) == ["LATER", "NEW"]


# --- claims: credentials that many share, of who had its own ----------------------------------------------------------


async def own(book: Book, **more: object) -> None:
    """The CPE is accepted and has proven itself by a password of its own."""
    await accepted(book)
    await book.cpes.called(called(user=f"{NAME}.1", own=True, **more))


async def test_a_claim_changes_nothing_but_a_note(book: Book) -> None:
    values = {"Device.WiFi.SSID.1.SSID": CachedParameter("home", "string", 5)}
    await own(book, values=values)
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    before = row(book)
    lies = {
        "software": "6.6.6",
        "address": "203.0.113.9",
        "request_url": "http://203.0.113.9/",
        "events": ("0 BOOTSTRAP", "1 BOOT"),
        "at_s": 1_767_229_999,
        "values": {"Device.WiFi.SSID.1.SSID": CachedParameter("evil", "string", 9)},
    }
    found = await book.cpes.called(called(**lies))
    assert found.trust is Acceptance.QUARANTINED  # this one is not acted on
    assert "credentials that many share" in found.why
    assert "203.0.113.9" in found.why
    assert {**row(book), "why": ""} == {**before, "why": "", "claimed": 1}
    assert row(book)["trust"] == "accepted"  # and the one who has the name still is
    assert book.cpes.values(NAME) == values
    assert book.cpes.secrets_set(NAME) == {PASSWORD: "aa"}
    again = await book.cpes.called(called(user=f"{NAME}.1", own=True))
    assert (again.trust, again.why) == (Acceptance.ACCEPTED, "")


async def test_a_claim_is_believed_where_the_operator_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as book:
        await own(book)
        assert (await book.cpes.called(called(trust_shared=True))).trust is Acceptance.ACCEPTED


async def test_who_was_reset_by_us_may_share_credentials_a_while(book: Book) -> None:
    await own(book)
    await book.cpes.expect_reset(NAME, 1_767_226_000)
    assert (await book.cpes.called(called())).trust is Acceptance.QUARANTINED  # it does not say that it was reset
    late = await book.cpes.called(called(events=("0 BOOTSTRAP",), at_s=1_767_226_001))
    assert late.trust is Acceptance.QUARANTINED
    back = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT"), at_s=1_767_226_000))
    assert (back.trust, back.own, back.resets) == (Acceptance.ACCEPTED, False, 1)


async def test_a_reset_by_us_admits_shared_credentials_once(book: Book) -> None:
    await own(book)
    reset = called(events=("0 BOOTSTRAP", "1 BOOT"), at_s=1_767_226_000)
    await book.cpes.expect_reset(NAME, 1_767_229_600)
    assert (await book.cpes.called(replace(reset, events=("2 PERIODIC",), user="u", own=True))).own  # before it does
    assert (await book.cpes.called(reset)).trust is Acceptance.ACCEPTED
    assert (await book.cpes.called(replace(reset, user="u", own=True))).own  # by the password that it was given since
    other = await book.cpes.called(reset)
    assert (other.trust, other.claimed) == (Acceptance.QUARANTINED, True)


async def test_an_unbelieved_reset_counts_after_a_new_acceptance(book: Book) -> None:
    await own(book)
    await book.cpes.learned(NAME, {PORT: CachedParameter("80", "string", 5)})
    before = row(book)["resets"]
    await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT")))
    assert not book.cpes.values(NAME)[PORT].before_reset  # somebody who knows what all share may have said that
    await book.decide(NAME)
    assert book.cpes.values(NAME)[PORT].before_reset
    assert row(book)["resets"] == before + 1  # so that its baseline is due


async def test_old_logins_end_once_a_cpe_took_a_new_certificate(book: Book) -> None:
    await own(book)
    await book.cpes.keep_secrets({"c1": "one", "c2": "two"})
    for n, commit in enumerate(("c1", "c2"), start=1):
        await book.cpes.setting(NAME, Pending(f"k{n}", {PASSWORD: commit}), f"{NAME}.{n}")
        book.clock.forward(100)
    await book.cpes.called(called(user="", own=True))
    assert [book.cpes.own_password(f"{NAME}.{n}") for n in (1, 2)] == ["one", "two"]  # it may have taken either
    await book.cpes.was_set(NAME, {PASSWORD: "c2"})
    await book.cpes.called(called(user="", own=True))
    assert [book.cpes.own_password(f"{NAME}.{n}") for n in (1, 2)] == [None, "two"]


async def test_a_second_acceptance_takes_nothing_from_a_free_cpe(book: Book) -> None:
    await own(book)
    before = row(book)
    await book.decide(NAME)  # to bind it, say
    assert row(book) == before
    claim = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT")))
    assert claim.trust is Acceptance.QUARANTINED


@pytest.mark.parametrize("between", [Acceptance.REFUSED, None])
async def test_claim_is_remembered_whatever_person_says_in_between(book: Book, between: Acceptance | None) -> None:
    await own(book)
    await book.cpes.learned(NAME, {PORT: CachedParameter("80", "string", 5)})
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT")))
    before = found_in(book).resets
    if between is not None:
        await book.decide(NAME, between)
    await book.decide(NAME)
    assert book.cpes.values(NAME)[PORT].before_reset
    assert book.cpes.secrets_set(NAME) == {}
    now = found_in(book)
    assert (now.resets, now.own, now.claimed) == (before + 1, False, False)


@pytest.mark.parametrize("trust", [Acceptance.REFUSED, Acceptance.QUARANTINED])
async def test_who_is_not_accepted_cannot_be_claimed_either(book: Book, trust: Acceptance) -> None:
    await own(book)
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    await book.decide(NAME, trust)
    before = row(book)
    claim = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT"), address="203.0.113.9"))
    assert claim.trust is trust
    assert {**row(book), "why": ""} == {**before, "why": "", "claimed": 1}
    await book.decide(NAME)  # a person looked, and takes it as it comes: nothing of before holds
    assert book.cpes.secrets_set(NAME) == {}


async def test_who_comes_with_its_own_again_ends_a_claim(book: Book) -> None:
    await own(book)
    await book.cpes.called(called())
    assert row(book)["claimed"] == 1
    await book.cpes.called(called(user=f"{NAME}.1", own=True))
    before = row(book)
    assert before["claimed"] == 0
    await book.decide(NAME)
    assert row(book) == before


async def test_a_cpe_forgotten_or_refused_is_another_to_a_plan(book: Book) -> None:
    await accepted(book)
    rests = requirements.same_cpe(found_in(book))
    due = requirements.baseline_reason(found_in(book))
    for trust, forget in ((Acceptance.REFUSED, False), (None, True)):
        await book.decide(NAME, trust, forget=forget)
        await accepted(book)
        present(await book.store.run(Changed(rests)))
        assert requirements.baseline_reason(found_in(book)) != due


async def test_the_same_reset_told_again_forgets_nothing_set_since(book: Book) -> None:
    await accepted(book)
    await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT")))
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT"), retry=1))
    assert book.cpes.secrets_set(NAME) == {PASSWORD: "aa"}


@pytest.mark.parametrize(
    ("events", "retry", "later_s", "counts"),
    [
        (("1 BOOT",), 1, 60, False),
        (("1 BOOT",), 1, 600, True),  # a first retry comes within seconds: this is another boot, whose first try failed
        (("1 BOOT",), 6, 600, False),
        (("1 BOOT",), 30, 90_000, False),
        (("1 BOOT", "M Reboot"), 1, 5, True),  # it did what it was told to in the session that failed
        (("1 BOOT",), 0, 5, True),
    ],
)
async def test_a_boot_that_was_told_before_is_told_from_another(
    book: Book, events: tuple[str, ...], retry: int, later_s: int, counts: bool
) -> None:
    await accepted(book)
    first = await book.cpes.called(called(events=("1 BOOT",), at_s=1000))
    again = await book.cpes.called(called(events=events, retry=retry, at_s=1000 + later_s))
    assert (again.boots - first.boots, again.booted) == (counts, counts)


async def test_a_reset_told_again_with_our_boot_is_one_reset(book: Book) -> None:
    await accepted(book)
    first = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT"), at_s=1000))
    again = await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT", "M Reboot"), at_s=1060, retry=1))
    assert (again.resets, again.boots) == (first.resets, first.boots + 1)


async def test_what_a_plan_of_an_earlier_version_rests_on_still_holds(book: Book) -> None:
    await accepted(book)
    before = replace(found_in(book), accepted_seq=0)
    assert requirements.previewed_text(before) == f"{NAME} · accepted · serves nobody · was reset 0 times"
    assert requirements.baseline_reason(before) == f"baseline:{NAME}:0"


async def test_of_a_stranger_little_is_kept(book: Book) -> None:
    told = {f"Device.X.{n}": CachedParameter("x", "string", 5) for n in range(1000)}
    await book.cpes.called(called(values=told))
    assert len(book.cpes.values(NAME)) == limits.STRANGER_VALUES
    await book.decide(NAME)
    await book.cpes.called(called(values=told))
    assert len(book.cpes.values(NAME)) == 1000


async def test_a_person_who_accepts_it_again_takes_it_as_it_comes(book: Book) -> None:
    await own(book)
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    await book.cpes.called(called(events=("0 BOOTSTRAP",)))
    await book.decide(NAME)
    assert (await book.cpes.called(called())).trust is Acceptance.ACCEPTED
    assert book.cpes.secrets_set(NAME) == {}  # it was reset, or is another: it has none of those


async def test_accepting_who_is_accepted_keeps_what_is_known(book: Book) -> None:
    await own(book)
    await book.cpes.was_set(NAME, {PASSWORD: "aa"})
    await book.decide(NAME)
    assert book.cpes.secrets_set(NAME) == {PASSWORD: "aa"}


async def test_a_quarantined_or_refused_one_stays_so(book: Book) -> None:
    await book.cpes.called(called())
    assert (await book.cpes.called(called(own=True, user="x"))).trust is Acceptance.QUARANTINED
    await book.decide(NAME, Acceptance.REFUSED)
    found = await book.cpes.called(called(own=True, user="x"))
    assert (found.trust, found.why) == (Acceptance.REFUSED, "by amina")


# --- values -----------------------------------------------------------------------------------------------------------


def known(value: str | None, at_s: int = 1) -> CachedParameter:
    return CachedParameter(value, "string", at_s)


async def test_what_is_below_a_path_is_replaced(book: Book) -> None:
    await book.cpes.learned(NAME, {p: known("1") for p in ("Device.A.B", "Device.A.C", "Device.AB.C", "Device.A", "Z")})
    await book.cpes.learned("other", {"Device.A.B": known("1")})
    await book.cpes.learned(NAME, {"Device.A.C": known("2")}, below="Device.A.")
    assert {p: k.value for p, k in book.cpes.values(NAME).items()} == {
        "Device.A.C": "2",
        "Device.AB.C": "1",
        "Device.A": "1",
        "Z": "1",
    }
    assert set(book.cpes.values("other")) == {"Device.A.B"}
    assert book.cpes.values(NAME, ["Z", "nothing"]) == {"Z": known("1")}


async def test_what_is_forgotten_is_a_parameter_or_all_below(book: Book) -> None:
    await book.cpes.learned(NAME, {p: known("1") for p in ("Device.A.B", "Device.A.BC", "Device.A.B.D", "Device.AB")})
    await book.cpes.forget(NAME, "Device.A.B")
    assert set(book.cpes.values(NAME)) == {"Device.A.BC", "Device.A.B.D", "Device.AB"}
    await book.cpes.forget(NAME, "Device.A.")
    assert set(book.cpes.values(NAME)) == {"Device.AB"}


# --- secrets and credentials ------------------------------------------------------------------------------------------


async def give(book: Book, user: str, password: str, key: str = "k1") -> str:
    """Have a password be about to be set."""
    commit = book.vault.commit("c", password)
    await book.cpes.keep_secrets({commit: password})
    await book.cpes.setting(NAME, Pending(key, {PASSWORD: commit}), user)
    return commit


async def test_both_passwords_are_taken_until_the_new_one_was_used(book: Book) -> None:
    await accepted(book)
    await give(book, "first", "old password")
    assert book.cpes.owner("first") == NAME
    book.clock.forward(60)
    commit = await give(book, "second", "new password", "k2")
    assert (book.cpes.own_password("first"), book.cpes.own_password("second")) == ("old password", "new password")
    await book.cpes.called(called(user="first", own=True))  # it has not taken it yet, or the answer was lost
    assert book.cpes.own_password("second") == "new password"
    await book.cpes.was_set(NAME, {PASSWORD: commit})
    await book.cpes.called(called(user="first", own=True))  # it applies it later
    assert book.cpes.own_password("second") == "new password"
    await book.cpes.called(called(user="second", own=True))
    assert book.cpes.own_password("first") is None
    assert book.cpes.owner("first") is None
    assert book.cpes.own_password("second") == "new password"


async def test_who_comes_by_a_certificate_keeps_its_password(book: Book) -> None:
    await accepted(book)
    await give(book, "first", "a password")
    await book.cpes.called(called(user="cpe", own=True))
    assert book.cpes.own_password("first") == "a password"


async def test_a_secret_that_is_no_password_of_its_own_lets_nobody_in(book: Book) -> None:
    await accepted(book)
    await book.cpes.setting(NAME, Pending("k", {"Device.WiFi.AccessPoint.1.Security.KeyPassphrase": "aa"}), "first")
    await book.cpes.setting(NAME, Pending("l", {PASSWORD: "aa"}), "")
    assert book.rows("cpe_login") == []


async def test_what_is_pending_is_over_when_it_was_set(book: Book) -> None:
    pending = [Pending("k1", {"A": "1"}), Pending("k2", {"A": "2", "B": "3"})]
    for each in pending:
        await book.cpes.setting(NAME, each)
    assert book.cpes.pending(NAME) == pending
    await book.cpes.was_set(NAME, {"A": "2", "B": "3"})
    assert book.cpes.pending(NAME) == []
    assert book.cpes.secrets_set(NAME) == {"A": "2", "B": "3"}


async def test_a_cpe_that_was_reset_has_no_secret_of_ours(book: Book) -> None:
    """Else "it reads so already" would be said of a key that is the factory's again."""
    await accepted(book)
    await book.cpes.was_set(NAME, {"A": "1"})
    await book.cpes.setting(NAME, Pending("k", {"B": "1"}))
    await book.cpes.learned(NAME, {USERNAME: known(f"{NAME}.1"), "Device.X": known("1")})
    await book.cpes.called(called(events=("1 BOOT",)))
    assert book.cpes.secrets_set(NAME) == {"A": "1"}
    await book.cpes.called(called(events=("0 BOOTSTRAP", "1 BOOT")))
    assert book.cpes.secrets_set(NAME) == {}
    assert book.cpes.pending(NAME) == []
    assert set(book.cpes.values(NAME)) == {"Device.X"}  # nor is it known as whom it calls in


async def test_a_cpe_can_be_called_once_a_change_has_set_both(book: Book) -> None:
    await accepted(book)
    prefix = "Device.ManagementServer.ConnectionRequest"
    assert book.cpes.request_credentials("nobody") is None
    assert book.cpes.request_credentials(NAME) is None
    assert (book.cpes.request_owner(NAME), book.cpes.request_owner("x")) == (NAME, None)
    await book.cpes.keep_secrets({"ab": "ring ring"})
    await book.cpes.was_set(NAME, {f"{prefix}Password": "ab"})
    assert book.cpes.request_credentials(NAME) is None
    await book.cpes.learned(NAME, {f"{prefix}Username": known("")})
    assert book.cpes.request_credentials(NAME) is None
    await book.cpes.learned(NAME, {f"{prefix}Username": known(NAME)})
    assert book.cpes.request_credentials(NAME) == Credentials(NAME, "ring ring")
    # It may tell another user in any Inform; a STUN request in its name asks for the password outside of any session
    await book.cpes.called(called(values={f"{prefix}Username": known("a\nb")}))
    assert book.cpes.request_credentials(NAME) is None


async def test_secrets_are_sealed_and_go_when_nobody_took_them(book: Book) -> None:
    await accepted(book)
    for name in ("taken", "login", "idle"):
        await book.cpes.keep_secrets({name: f"{name} in clear"})
    await book.cpes.was_set(NAME, {"A": "taken"})
    await book.cpes.setting(NAME, Pending("k", {PASSWORD: "login"}), "user")
    assert b"in clear" not in book.bytes_on_disk()
    book.clock.forward(SECRET_KEEP_S)
    await book.cpes.keep_secrets({"young": "young in clear"})
    assert book.cpes.secret("idle") == "idle in clear"
    book.clock.forward(1)
    await book.cpes.keep_secrets({})
    assert book.cpes.secret("idle") is None
    for name in ("taken", "login", "young"):
        assert book.cpes.secret(name) == f"{name} in clear"
    assert book.cpes.own_password("user") == "login in clear"


# --- evidence ---------------------------------------------------------------------------------------------------------


def evidence(book: Book) -> list[tuple[str, int, int, str]]:
    return [(r["workflow"], r["worked"], r["times"], r["detail"]) for r in book.cpes.evidence_rows()]


async def test_evidence_is_counted_by_the_hour(book: Book) -> None:
    start = 1_767_225_600
    await accepted(book)
    for at_s in (start, start + 1, start + EVIDENCE_S - 1, start + EVIDENCE_S, start + 2 * EVIDENCE_S):
        await book.cpes.called(called(at_s=at_s))
        await book.cpes.evidence(NAME, "reboot", True, "")
    assert evidence(book) == [("reboot", 1, 3, "")]
    await book.cpes.evidence(NAME, "reboot", False, "9" * 300)
    assert evidence(book) == [("reboot", 0, 1, "9" * 200), ("reboot", 1, 3, "")]


async def test_evidence_is_of_a_model_and_a_firmware(book: Book) -> None:
    for serial, software in (("A", "1.0"), ("B", "1.0"), ("B", "2.0")):
        await book.cpes.called(called(serial, software=software))
        await book.cpes.evidence(f"02AC5F-LabGate-{serial}", "inform", True, "")
    assert [(r["software"], r["times"]) for r in book.cpes.evidence_rows()] == [("1.0", 1), ("2.0", 1)]
    await book.cpes.evidence("nobody", "inform", True, "")


async def test_the_memory_of_evidence_is_bounded(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpes, "EVIDENCE_MEMO", 2)
    await accepted(book)
    for n in range(5):
        await book.cpes.evidence(NAME, f"w{n}", True, "")
    assert len(book.cpes._told) == 2 < EVIDENCE_MEMO
    assert len(evidence(book)) == 5


# --- what people decide -----------------------------------------------------------------------------------------------


async def test_a_cpe_that_is_forgotten_leaves_nothing(book: Book) -> None:
    await accepted(book, values={"Device.A": known("1")})
    await give(book, "user", "a password")
    await book.cpes.was_set(NAME, {"A": "1"})
    await book.cpes.setting(NAME, Pending("k", {"B": "1"}))
    breaker = Breaker()
    breaker.task(TaskSignature("Reboot", ""), 1.0)
    await book.cpes.keep_breaker(NAME, breaker.rows())
    await book.cpes.called(called("B"))
    await book.decide(NAME, None, forget=True)
    assert [c.serial for c in book.cpes.all()] == ["B"]
    for table in ("cpe_value", "cpe_secret_set", "cpe_pending", "cpe_login", "cpe_breaker"):
        assert [r for r in book.rows(table) if r["name"] == NAME] == []
    assert (await book.cpes.called(called())).trust is Acceptance.QUARANTINED


async def test_decisions_about_nobody_or_for_nobody_are_refused(book: Book) -> None:
    sealed = book.recorder.record(None, {})
    with pytest.raises(RefusedCommandError, match="there is no CPE"):
        await book.store.run(DecideCpe(NAME, Acceptance.ACCEPTED, "", sealed))
    with pytest.raises(RefusedCommandError, match="there is no CPE"):
        await book.assure(NAME)
    await book.cpes.called(called())
    with pytest.raises(RefusedCommandError, match="there is no service"):
        await book.assure(NAME, "C-1/home")
    assert row(book)["trust"] == "quarantined"
    assert row(book)["assured"] == 0


async def test_assurance_of_approved_plan_ends_with_what_it_was_of(book: Book) -> None:
    """Refused, unbound, claimed and accepted anew, or come back with less than it had: each ends it."""
    await book.cpes.called(called())
    await book.decide(NAME)
    assert not found_in(book).takes_secrets, "one person let it in"
    sealed = book.recorder.record(None, {})

    async def assured(service: str | None = None) -> None:
        await book.assure(NAME, service)
        assert found_in(book).takes_secrets

    await book.store.run(AddService("C-1/home"))
    await assured("C-1/home")
    await book.decide(NAME)  # once more, of one that is accepted: nothing changes
    assert found_in(book).takes_secrets
    await book.store.run(DecideCpe(NAME, None, "", sealed, unbind=True))
    assert not found_in(book).takes_secrets
    await assured()
    await book.store.run(DecideCpe(NAME, None, "", sealed, unbind=True))  # it served nobody already
    assert found_in(book).takes_secrets
    for trust in (Acceptance.REFUSED, Acceptance.QUARANTINED):
        await book.decide(NAME, trust)
        assert not found_in(book).takes_secrets
        await book.decide(NAME)
        assert not found_in(book).takes_secrets
        await assured()
    await give(book, "user", "a password")
    await book.cpes.called(called(user="user", own=True))
    await book.cpes.called(called(events=("0 BOOTSTRAP",)))  # claimed with what all share: the record stays
    assert (found_in(book).claimed, found_in(book).takes_secrets) == (True, True)
    await book.decide(NAME)  # by what it came with, and by one person
    assert (found_in(book).claimed, found_in(book).takes_secrets) == (False, False)


@pytest.mark.parametrize(("by_us", "takes"), [(True, True), (False, False)])
async def test_with_trust_shared_a_cpe_without_its_own_gets_no_secret(book: Book, by_us: bool, takes: bool) -> None:
    """It is acted on, as the operator decided, but anybody can be it; not so after our own reset."""
    await book.cpes.called(called(trust_shared=True))
    await book.assure(NAME)
    await give(book, "user", "a password")
    now = await book.cpes.called(called(user="user", own=True, trust_shared=True))
    if by_us:
        await book.cpes.expect_reset(NAME, now.last_s + 60)
    now = await book.cpes.called(called(events=("0 BOOTSTRAP",), trust_shared=True))
    assert (now.trust, now.takes_secrets) == (Acceptance.ACCEPTED, takes)


async def test_a_certificate_proves_a_cpe_and_not_whom_it_serves(book: Book) -> None:
    await book.cpes.called(called(user="", own=True, certified=True))
    await book.decide(NAME)
    assert found_in(book).takes_secrets
    await book.store.run(AddService("C-1/home"))
    await book.assure(NAME, "C-1/home")
    assert found_in(book).takes_secrets
    # As a binding by one person in an older version left it
    await book.store.run(NotAssured())
    assert (found_in(book).service, found_in(book).takes_secrets) == ("C-1/home", False)
    await book.cpes.called(called(user="", own=True, certified=False))
    await book.store.run(DecideCpe(NAME, None, "", book.recorder.record(None, {}), unbind=True))
    assert not found_in(book).takes_secrets, "it came without the certificate"


async def test_handing_out_a_secret_rests_on_the_assurance_of_then(book: Book) -> None:
    """Whatever version planned it: the test of the requirement that every item on CPE has reads it."""
    await accepted(book)
    path = addresses.address(f"cwmp/{NAME}", KEY)
    secret = Transition(path, Seen({"value": ""}, 1), {"value": SecretRef("ab" * 32)})
    plain = Transition(path, Seen({"value": ""}, 1), {"value": "plain"})

    async def broken(write: Transition) -> str:
        rests = requirements.same_cpe(found_in(book))
        step = Step(1, f"cwmp/{NAME}", (write,))
        item = Item(1, "00" * 16, None, Listed.CHANGE, "", {}, requires=(rests,), steps=(step,))
        found = await book.store.run(UnmetOf(item))
        return "" if found is None else found.why

    assert "no secret goes into it" in await broken(secret)
    assert await broken(plain) == ""
    await book.assure(NAME)
    assert await broken(secret) == ""


async def test_an_acceptance_rests_on_what_proved_the_name(book: Book) -> None:
    """Else whoever claims a name between preview and approval is accepted in the place of the one that was shown."""
    await book.cpes.called(called())
    await book.decide(NAME)
    await give(book, "user", "a password")
    await book.cpes.called(called(user="user", own=True))
    rests = (requirements.same_proof(found_in(book)),)
    item = Item(1, "00" * 16, None, Listed.CHANGE, "", {}, requires=rests)
    assert await book.store.run(UnmetOf(item)) is None
    await book.cpes.called(called(events=("0 BOOTSTRAP",)))
    broken = present(await book.store.run(UnmetOf(item)))
    assert broken.stale
    assert "claimed by somebody" in broken.why


async def test_whose_a_cpe_is(book: Book) -> None:
    await accepted(book)
    sealed = book.recorder.record(None, {})
    await book.store.run(AddService("C-1/home"))
    await book.assure(NAME, "C-1/home")
    found = found_in(book)
    assert (found.service, found.trust) == ("C-1/home", Acceptance.ACCEPTED)
    assert [c.name for c in book.cpes.of_service("C-1/home")] == [NAME]
    assert (await book.cpes.called(called())).service == "C-1/home"
    await book.store.run(DecideCpe(NAME, None, "", sealed, unbind=True))
    assert book.cpes.of_service("C-1/home") == []


async def test_the_breaker_is_kept_and_cleared_by_a_person(book: Book) -> None:
    breaker = Breaker()
    for at_s in (0.0, 100.0):
        breaker.task(TaskSignature("GetParameterValues", "Device."), at_s)
        breaker.boot(at_s + 10)
    assert book.cpes.breaker(NAME) == []
    await book.cpes.keep_breaker(NAME, breaker.rows())
    again = Breaker.of(book.cpes.breaker(NAME))
    assert again.rows() == breaker.rows()
    assert len(again.tripped()) == 1
    again.clear(TaskSignature("GetParameterValues", "Device."))
    await book.store.run(KeepBreaker(NAME, again.rows(), book.recorder.record(None, {})))
    assert Breaker.of(book.cpes.breaker(NAME)).tripped() == ()


# --- what a change rests on -------------------------------------------------------------------------------------------


async def test_a_cpe_that_is_not_what_the_preview_rested_on(book: Book) -> None:
    await accepted(book)
    found = present(book.cpes.find(NAME))
    rests = requirements.same_cpe(found)
    assert rests == Requirement(Address(f"inventory/cpe/{NAME}"), "same-cpe", requirements.previewed_text(found))

    async def changed() -> str | None:
        return await book.store.run(Changed(rests))

    await book.cpes.called(called(events=("1 BOOT",), software="2.0", address="127.0.0.9"))
    assert await changed() is None  # it booted, or moved: it is still the one
    await book.cpes.called(called(events=("0 BOOTSTRAP",)))
    assert "was reset 0 times; now" in str(await changed())
    await book.decide(NAME, None, forget=True)
    assert await changed() == "the CPE is no longer in the inventory"


@pytest.mark.parametrize(
    ("before", "now", "counts"),
    [
        ("of-the-first", "of-the-second", True),
        ("of-the-first", "of-the-first", False),
        ("", "of-the-second", False),  # an older version of ispagent kept none
        ("of-the-first", "", False),  # a CPE that gives none
    ],
)
async def test_a_retry_with_another_key_tells_of_another_boot(book: Book, before: str, now: str, counts: bool) -> None:
    """Seed 29931375: a second reboot while the agent was down passed for the first, and the CPE was rebooted again."""
    events = ("1 BOOT", "M Reboot")
    first = await book.cpes.called(called(events=events, reboot_key=before, at_s=1000))
    again = await book.cpes.called(called(events=events, reboot_key=now, retry=2, at_s=1020))
    assert again.boots - first.boots == counts
    assert again.booted == counts
