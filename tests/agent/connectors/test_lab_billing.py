"""`python -m lab billing` prints a secret and a section that are enough for an agent."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest

from agent.connectors.splynx import SPEC as SPLYNX
from agent.connectors.uisp_crm import SPEC as UISP
from lab.billing.command import filled_splynx, filled_uisp, told
from lab.billing.server import serve_billing
from tests.builders.web import made

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)


@pytest.mark.parametrize("system", ["uisp", "splynx"])
@pytest.mark.parametrize("tls", [False, True])
async def test_an_agent_reads_it_by_what_is_printed(system: str, tls: bool) -> None:
    books = filled_uisp(30, 1, NOW) if system == "uisp" else filled_splynx(30, 1, NOW)
    async with serve_billing(books, tls=tls) as server:
        command, _, section = told(books, server).partition("\n\n")
        (name, sources), *rest = tomllib.loads(section).items()
        assert rest == []
        secret = command.rpartition("# ")[2].encode()
        connector = made(UISP if system == "uisp" else SPLYNX, sources["lab"], {"lab/billing": secret}, name="lab")
        reading = await connector.accounts(f"{name}/lab")
    assert {a.subscriber for a in reading.accounts} == {f"C-{n}" for n in range(1, 31)}
    overdue = [a for a in reading.accounts if a.overdue(NOW.date()) > 0]
    assert 1 <= len(overdue) <= 15
