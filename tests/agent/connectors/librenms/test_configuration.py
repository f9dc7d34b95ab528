"""`[librenms.NAME]`."""

from __future__ import annotations

from typing import Any

import pytest

from agent.connectors.librenms import SPEC
from tests.builders.web import made, problems

GOOD = {"url": "https://librenms.example.net/api/v0", "secret": "librenms/main"}


def test_one_section_is_one_librenms() -> None:
    connector = made(SPEC, GOOD, {})
    assert [target.id for target in connector.targets] == ["librenms/main"]
    assert connector.poll_every_s("librenms/main") == 120
    (report,) = connector.reports()
    assert (report.target, report.address) == ("librenms/main", "https://librenms.example.net:443")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"url": "http://librenms.example.net/api/v0"}, "librenms.main.url: expected https://HOST/PATH"),
        ({"every_s": 5}, "librenms.main.every_s: expected a number from 30 to 3600, got 5"),
        ({"timezone": "Mars/Olympus"}, "librenms.main.timezone: expected an IANA time zone"),
        ({"wireless": "yes"}, "librenms.main.wireless: expected true or false"),
        ({"secret": "A B"}, "librenms.main.secret: expected the name of a secret"),
        ({"page": 5}, "librenms.main.page: unknown"),
    ],
)
def test_a_mistake_is_named(more: dict[str, Any], says: str) -> None:
    (problem,) = problems(SPEC, {**GOOD, **more})
    assert problem.startswith(says)


def test_a_name_is_a_handle() -> None:
    (problem,) = problems(SPEC, GOOD, name="Main NMS")
    assert problem == "librenms.Main NMS: expected a name of 1 to 32 of a-z, 0-9 and -"
