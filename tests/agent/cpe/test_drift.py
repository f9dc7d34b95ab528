"""CPE against their declared baseline, by last known values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.changes.drifting import SourceFindings
from agent.cpe.drift import CpeDrift
from agent.cpe.reasons import CpeDriftReason
from agent.cpe_model.baseline import PASSWORD, Baseline
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.manager import CpeTerms
from agent.model import Service
from tests.builders.acs import KEY, SSID, Book
from tests.builders.cpe import NAME, found, intake, known
from tests.builders.store import AddService

BASELINE = Baseline("home", (), "", False, {SSID: "isp-{login}", KEY: PASSWORD})
SERVICE = Service("C-1/home", "C-1", "Amina", "home", "amina", "ppp", "20M")


async def compared(book: Book, values: Mapping[str, CachedParameter], *, provisioned: bool = True) -> SourceFindings:
    made = await intake(book, values)
    await book.store.run(AddService("C-1/home"))
    await book.assure(NAME, "C-1/home")
    if provisioned:
        await book.cpes.provisioned(NAME, found(book).resets)
    made = replace(made, terms=CpeTerms(wait_s=60, baselines=(BASELINE,)))
    return await CpeDrift(made, lambda: {"C-1/home": SERVICE}, book.store, book.vault)()


async def test_a_cpe_with_its_baseline_is_no_difference(book: Book) -> None:
    assert await compared(book, {SSID: known("isp-amina")}) == SourceFindings(checked=1)


async def test_name_that_customer_changed_is_one_with_its_age_and_ask(book: Book) -> None:
    done = await compared(book, {SSID: known("Amina's", at_s=5), KEY: known(None)})
    (one,) = done.found
    assert (one.subject, one.code) == (f"CPE {NAME}", CpeDriftReason.CPE_DIFFERS)
    assert one.wanted == f"{SSID} = isp-amina (baseline home)"
    assert one.reads == f"{SSID} = Amina's"
    assert one.read_s == 5
    assert one.where.startswith("last known values, the oldest of ")
    assert one.asks[-1][0] == f"ispagent cpe set {NAME} --value {SSID}=isp-amina"
    assert (done.checked, done.unread) == (1, ())


async def test_what_was_never_read_is_not_checked(book: Book) -> None:
    done = await compared(book, {KEY: known(None)})
    assert (done.found, done.checked) == ((), 0)
    (one,) = done.unread
    assert one.subject == f"CPE {NAME}"
    assert "was never read" in one.why


async def test_a_cpe_that_has_no_baseline_yet_is_left_to_provisioning(book: Book) -> None:
    assert await compared(book, {SSID: known("factory")}, provisioned=False) == SourceFindings()
