from __future__ import annotations

import pytest

from agent.connectors.cwmp import simple_types
from agent.connectors.cwmp.errors import MalformedMessageError


@pytest.mark.assumed("cwmp-number-for-boolean")
@pytest.mark.parametrize("text", ["1", "true", " TRUE ", "30", "-1", "+1"])
def test_true(text: str) -> None:
    assert simple_types.read_boolean_untrusted(text) is True


@pytest.mark.parametrize("text", ["0", "false", "False\n", "00"])
def test_false(text: str) -> None:
    assert simple_types.read_boolean_untrusted(text) is False


@pytest.mark.parametrize("text", ["", "yes", "t", "1.0", "0x1", "١"])
def test_no_boolean(text: str) -> None:
    with pytest.raises(MalformedMessageError):
        simple_types.read_boolean_untrusted(text)


def test_numbers_are_read_in_any_range() -> None:
    assert simple_types.read_number_untrusted(" +0009005\n") == 9005
