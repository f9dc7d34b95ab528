"""`ispagent billing` and its routes: states, payments with their cases, and decisions that need a known person."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent.billing_model.account import PaymentState
from agent.billing_model.errors import BillingState
from agent.cli.billing import account_lines, check_lines, doubled_lines, payment_lines, source_lines, stranger_lines
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response
from tests.builders.answers import checked
from tests.builders.billing import refused
from tests.builders.expect import expect
from tests.builders.office import MARIA_UID
from tests.builders.paid_office import PaidRig, paid_rig

pytestmark = pytest.mark.virtual_time


class Asked:
    """Calls the API of a rig without a socket."""

    def __init__(self, rig: PaidRig) -> None:
        self.rig = rig

    async def __call__(self, method: str, path: str, body: object = None, uid: int = MARIA_UID) -> Any:
        path, _, query = path.partition("?")
        pairs = dict(p.split("=", 1) for p in query.split("&") if p)
        data = b"" if body is None else json.dumps(body).encode()
        answer = expect(Response, await self.rig.office.daemon.api(HttpRequest(method, path, pairs, {}, data, uid, 1)))
        return checked(answer.json)

    async def refusal(self, path: str, body: object, uid: int = MARIA_UID) -> tuple[int, str, str]:
        with pytest.raises(HttpError) as refused_:
            await self("POST", path, body, uid)
        return refused_.value.status, refused_.value.code, str(refused_.value)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PaidRig:
    return paid_rig(tmp_path, monkeypatch)


async def test_sources_and_those_who_wait(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", "C-2", rate=1):
        rig.billing.pay("C-1")
        rig.billing.pay("C-2")
        rig.billing.owe("C-2", "1")
        await trio.sleep(75)
        found = await ask("GET", "/v1/billing")
        (source,) = found["sources"]
        assert (source["source"], source["state"], source["accounts"], source["authority"]) == (
            "main",
            "fresh",
            2,
            True,
        )
        assert source_lines(source)[0].startswith("main           fresh, read 1m ago · 2 accounts, 2 overdue")
        assert found["doubtful"] == [{"service": "C-2/home", "why": "it paid a part: 1 is overdue still"}]
        assert found["restores"] == [{"service": "C-2/home", "since": found["restores"][0]["since"], **WAITS}]
        status = await ask("GET", "/v1/status")
        assert status["billing"] == found["sources"]
        rig.billing.fails = [refused(state=BillingState.REFUSED) for _ in range(9)]
        await trio.sleep(900)
        checks = (await ask("GET", "/v1/doctor"))["checks"]
        told = next(c for c in checks if c["about"] == "billing" and c["what"] == "main")
        assert (told["result"], told["mend"]) == ("fails", "ispagent billing check main")
        (source,) = (await ask("GET", "/v1/billing"))["sources"]
        state, why, *_ = source_lines(source)
        assert "REFUSED" in state
        assert "expected an answer, got none" in why


WAITS = {"change": "", "why": "it is in doubt: a person looks"}


async def test_a_preview_says_source_state_and_age(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", "C-2", suspended=False):
        await trio.sleep(130)
        plan = await rig.office.plan("C-1")
        change = await ask("GET", f"/v1/changes/{plan.short}")
        assert "billing data of main (fresh), 2 min old" in json.dumps(change)


async def test_payments_with_their_cases(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", "C-2"):
        rig.billing.pay("C-1", reference="thanks")
        rig.billing.pay("C-2", state=PaymentState.PENDING)
        await trio.sleep(75)
        cases = {p["id"]: p["case"] for p in await ask("GET", "/v1/billing/payments")}
        assert cases == {"p-1": "unmatched", "p-2": "pending"}
        (unmatched,) = await ask("GET", "/v1/billing/payments?unmatched=1")
        assert unmatched["why"] == "its reference fits no subscriber"
        assert payment_lines(unmatched)[1:] == ["    reference: thanks", "    its reference fits no subscriber"]
        shown = await ask("GET", "/v1/billing/accounts/C-2")
        assert shown["accounts"][0]["invoices"] == [{"number": "F-C-2", "due": "2025-12-04", "unpaid": "34"}]
        assert not any("credit" in line for line in account_lines({**shown["accounts"][0], "credit": "0.0"}))
        assert account_lines(shown["accounts"][0])[0] == "main: C-2 · account k-C-2 · balance 34 USD"
        with pytest.raises(HttpError, match="no source has an account or payment of 'C-9'"):
            await ask("GET", "/v1/billing/accounts/C-9")


async def test_a_person_matches_a_payment_and_its_payer_is_back(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1"):
        rig.billing.pay("C-1", reference="thanks")
        await trio.sleep(75)
        assert rig.reasons("C-1") == {"debt"}
        body = {"source": "main", "payment": "p-1", "subscriber": "C-1"}
        status, code, text = await ask.refusal("/v1/billing/match", body, uid=0)
        assert (status, code) == (403, "role")
        assert "only a person of the trust document" in text
        wrong = ("subscriber", "C-9"), ("payment", "p-9"), ("source", "mian")
        for name, value in wrong:
            status, code, text = await ask.refusal("/v1/billing/match", {**body, name: value})
            assert (status, code) == (404, f"unknown-{name}")
            assert text.startswith(f"{name}: ")
            assert value in text
        matched = await ask("POST", "/v1/billing/match", body)
        assert (matched["subscriber"], matched["matched_by"]) == ("C-1", "maria")
        await trio.sleep(10)
        assert rig.reasons("C-1") == frozenset()


async def test_a_person_accepts_a_size(rig: PaidRig) -> None:
    ask = Asked(rig)
    names = [f"C-{n}" for n in range(30)]
    async with rig.life(*names, suspended=False):
        status, code, text = await ask.refusal("/v1/billing/accept", {"source": "main"})
        assert (status, code) == (409, "refused")
        assert text == "main is fresh: only shrunk or swollen is accepted"
        for name in names[5:]:
            del rig.billing.debts[name]
        await trio.sleep(960)
        (source,) = (await ask("GET", "/v1/billing"))["sources"]
        assert source["state"] == "shrunk"
        accepted = await ask("POST", "/v1/billing/accept", {"source": "main"})
        assert accepted == {"source": "main", "accounts": 5, "overdue": 5, "by": "maria"}
        await trio.sleep(5)
        (source,) = (await ask("GET", "/v1/billing"))["sources"]
        assert (source["state"], source["accounts"]) == ("fresh", 5)


async def test_a_check_shows_three_accounts_or_the_problem(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", "C-2", "C-3", "C-4", suspended=False):
        found = await ask("POST", "/v1/billing/check", {"source": "main"})
        assert (found["ok"], len(found["accounts"]), found["payments_of_a_day"]) == (True, 3, 0)
        assert check_lines(found)[0] == "fake-billing/main answers"
        rig.billing.fails = [refused(state=BillingState.REFUSED)]
        found = await ask("POST", "/v1/billing/check", {"source": "main"})
        assert found["problems"] == ["refused: main: expected an answer, got none"]
        assert check_lines(found)[0] == "fake-billing/main CANNOT BE READ"
        rig.billing.debts.clear()
        found = await ask("POST", "/v1/billing/check", {"source": "main"})
        assert found["problems"] == ["empty: the source has no account"]


async def test_a_source_is_read_once_its_secret_is_set(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", suspended=False):
        parts = rig.office.daemon.api.parts
        reader, parts.secrets.wanted = parts.billing.readers["main"], frozenset({"billing/main"})
        reader.terms = replace(reader.terms, secret="billing/main")
        rig.billing.fails = [refused(state=BillingState.REFUSED) for _ in range(12)]
        await trio.sleep(4000)
        rig.billing.fails = []
        before = len(rig.billing.fulls)
        await ask("POST", "/v1/secrets/billing%2Fmain", {"secret": base64.b64encode(b"key").decode()}, os.getuid())
        await trio.sleep(5)
        assert len(rig.billing.fulls) > before


async def test_a_secret_is_tried_at_its_source(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", suspended=False):
        reader = rig.office.daemon.api.parts.billing.readers["main"]
        reader.terms = replace(reader.terms, secret="billing/main")

        async def tried(name: str) -> list[tuple[str, str]]:
            found = await ask("POST", f"/v1/secrets/{name}/try", {}, os.getuid())
            return [
                (check["result"], check["detail"]) for check in found["checks"] if check["about"] == reader.terms.target
            ]

        assert await tried("billing%2Fmain") == [("ok", "it takes the secret")]
        assert await tried("billing%2Fother") == []
        rig.billing.payment_fails = [refused(state=BillingState.REFUSED)]
        assert await tried("billing%2Fmain") == [("fails", "refused: main: expected an answer, got none")]


async def test_accounts_that_the_inventory_lacks_are_counted(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", suspended=False):
        assert (await ask("GET", "/v1/billing"))["strangers"] == {"count": 0, "near": []}
        rig.billing.owe("c-1")
        rig.billing.owe("X-9")
        await trio.sleep(1000)
        strangers = (await ask("GET", "/v1/billing"))["strangers"]
        assert strangers == {"count": 2, "near": [{"account": "c-1", "subscriber": "C-1"}]}
        assert stranger_lines(strangers) == ["2 accounts are no subscriber's of the inventory: c-1 (is it C-1?)"]


async def test_accounts_that_share_a_name_are_named(rig: PaidRig) -> None:
    ask = Asked(rig)
    async with rig.life("C-1", "C-2", suspended=False):
        assert (await ask("GET", "/v1/billing"))["doubled"] == {"count": 0, "some": []}
        rig.billing.named["C-2"] = "C-1"
        await trio.sleep(1000)
        doubled = (await ask("GET", "/v1/billing"))["doubled"]
        assert doubled == {"count": 1, "some": ["C-1"]}
        assert doubled_lines(doubled) == ["several accounts name the same subscriber, and none of them counts: C-1"]
