"""The agent agrees with the oracle on the books of a real accounting system: Debian's Tryton on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history.replay import OPERATORS
from tests.history.tryton_books import replay
from tests.servers import PostgreSQL, ServerMissingError, missing


@pytest.mark.slow
@pytest.mark.servers
async def test_tryton_agrees_with_the_oracle(postgresql: PostgreSQL, tmp_path: Path) -> None:
    try:
        seen = await replay(postgresql, tmp_path, OPERATORS["-5, billed in +2"], 12)
    except ServerMissingError as err:
        missing(str(err))
        return
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "cut: nothing overdue"} <= set(seen.seen)
    assert any(found.startswith("back: ") for found in seen.seen)
