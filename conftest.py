"""What every test has: Hypothesis' profiles and the fixtures of `tests.servers`."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from datetime import timedelta
from inspect import iscoroutinefunction

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings

from tests import once
from tests.assumed import pytest_collection_modifyitems, pytest_terminal_summary  # noqa: F401  hooks, as those below
from tests.builders.clock import virtual_clock
from tests.debian_packages import packages  # noqa: F401  fixtures are found by name in a conftest
from tests.debian_root import debian_root  # noqa: F401  as those below
from tests.servers import (  # noqa: F401  fixtures are found by name in a conftest
    cluster,
    freeradius,
    mariadb,
    postgresql,
    radius_database,
    sqlite_radius,
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Give each test the same umask: commands that keep their files private set it for their process, which is ours."""
    os.umask(0o022)
    return (yield)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Return a clock whose hours pass at once, where no thread is at work."""
    return virtual_clock()


def _in_virtual_time(work: Callable[..., object], **options: object) -> object:
    return trio.run(work, **{**options, "clock": options.get("clock") or virtual_clock()})


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run the tests of files that are marked `virtual_time` on such a clock: the first mark `trio` tells how."""
    if item.get_closest_marker("virtual_time") and iscoroutinefunction(getattr(item, "obj", None)):
        item.add_marker(pytest.mark.trio(run=_in_virtual_time), append=False)


# Fixtures that live through all examples (databases, servers) are chosen by the test's author.
_SUPPRESSED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
# The gate must not depend on luck: the same examples each time; `make fuzz` looks for new ones.
settings.register_profile(
    "default", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_SUPPRESSED
)
settings.register_profile(
    "fuzz", max_examples=5000, deadline=timedelta(seconds=10), suppress_health_check=_SUPPRESSED, print_blob=True
)
settings.load_profile("default")

once.share()
