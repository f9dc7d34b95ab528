"""Adds up what all processes of a run of this folder judged: `python -m tests.fuzz` says it in its last line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fuzz import counting

_KEY = "judged by the fuzzers"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add what a worker of pytest-xdist judged."""
    counting.judged.update(getattr(node, "workeroutput", {}).get(_KEY, {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's counts to the process that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = dict(counting.judged)
