"""The CPE domain put together: over an ACS, and where there is none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agent.changes.journal.build import Ground
from agent.changes.journal.request import Ask, RequestError
from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.schema import CwmpConfig
from agent.cpe.build import CpeContext, build
from agent.cpe_model.known import Credentials
from agent.cpe_model.manager import CpeManager
from tests.builders.acs import Book, called
from tests.builders.cpe import NAME, TARGET
from tests.builders.expect import expect
from trust.policy import Action


def context(book: Book) -> CpeContext:
    nobody = cast(Any, None)  # nothing is planned here
    return CpeContext(
        ground=Ground(book.store, book.vault, nobody, book.clock, book.recorder, nobody, nobody, nobody),
        cpes=book.cpes,
        sessions=nobody,
        standings=nobody,
        previewer=nobody,
        sources=nobody,
        handle="agent",
        waiting_for=lambda target: ["ABCDE"] if target == TARGET else [],
        poke=lambda: None,
    )


def acs(book: Book, **config: Any) -> CwmpConnector:
    return CwmpConnector(CwmpConfig(**config), lambda _name: b"ring ring", book.vault.commit, book.cpes, book.clock)


@pytest.mark.parametrize("configured", [False, True])
async def test_without_an_acs_every_verb_on_cpe_is_refused(book: Book, configured: bool) -> None:
    parts = build(context(book), [object(), acs(book)] if configured else [object()])
    assert parts.desk is parts.provisioner is None
    assert set(parts.planners) == {action for action in Action if action.on_cpe}
    request = cast(Any, Ask(Action.CPE_REBOOT, (NAME,)))
    for planner in parts.planners.values():
        with pytest.raises(RequestError, match="no ACS"):
            await planner.plan(request, cast(Any, None))
        with pytest.raises(RequestError, match="no ACS"):
            await planner.revert(request, cast(Any, None), cast(Any, None))


async def test_with_an_acs_cpe_are_known_by_their_target(book: Book) -> None:
    await book.cpes.called(called())
    parts = build(context(book), [acs(book, listen="127.0.0.1", wait_s=60)])
    assert parts.desk is not None
    assert parts.provisioner is not None
    shown = parts.desk.shown(parts.desk.find(NAME))
    assert (shown["waiting"], shown["online"], shown["can_be_called"]) == (["ABCDE"], False, False)
    assert parts.desk.intake.terms.wait_s == 60


async def test_a_cpe_without_credentials_is_called_with_shared_ones(book: Book) -> None:
    await book.cpes.called(called())
    assert not acs(book).can_be_called(NAME)
    shared = expect(CpeManager, acs(book, request_user="acs", request_secret="request"))
    assert shared.can_be_called(NAME)
    assert shared.fleet.request_credentials(NAME) == Credentials("acs", "ring ring")
