"""What the tests of changes on CPE share: an intake whose CPE is known by given values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.schema import CwmpConfig
from agent.cpe.intake import CpeIntake
from agent.cpe_model.known import CachedParameter, Cpe
from agent.cpe_model.manager import CpeTerms
from tests.builders.acs import Book, called
from tests.builders.expect import present

NAME = "02AC5F-LabGate-LAB0001"
TARGET = f"cwmp/{NAME}"
ACS = "Device.ManagementServer."


def known(value: str | None, kind: str = "string", at_s: int = 5) -> CachedParameter:
    return CachedParameter(value, kind, at_s)


async def intake(
    book: Book, values: Mapping[str, CachedParameter], taken: Mapping[str, str] | None = None
) -> CpeIntake:
    """Return an intake whose CPE is known by these values; it proposes nothing."""
    await book.cpes.called(called())
    await book.assure(NAME)
    await book.cpes.learned(NAME, values)
    await book.cpes.was_set(NAME, taken or {})
    manager = CwmpConnector(CwmpConfig(), lambda _name: b"", book.vault.commit, book.cpes, book.clock)
    return CpeIntake(book.cpes, book.vault, cast(Any, None), book.clock, manager, CpeTerms(wait_s=60))


def found(book: Book) -> Cpe:
    return present(book.cpes.find(NAME))
