"""Event codes are known by their number, whatever a CPE makes of the words."""

from __future__ import annotations

import pytest

from agent.connectors.cwmp.events import EventCode, event_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("6 CONNECTION REQUEST", EventCode.CONNECTION_REQUEST),
        ("6 CONNECTION_REQUEST", EventCode.CONNECTION_REQUEST),
        ("0  bootstrap", EventCode.BOOTSTRAP),
        ("m reboot", EventCode.REBOOT),
        ("99 OTHER", "99 OTHER"),
        ("M X_00256D_Own", "M X_00256D_Own"),
        ("X 00256D OWN", "X 00256D OWN"),
        ("", ""),
    ],
)
def test_a_code_by_its_number_or_its_words(text: str, code: EventCode | str) -> None:
    assert event_code(text) == code
