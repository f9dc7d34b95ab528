"""Questions that people ask devices by hand: which of them nobody can answer."""

from __future__ import annotations

import pytest

from agent.connectors.base import Question, UnreadableError
from agent.polling.exploring import Explorer
from agent.reasons import TargetReason


async def test_a_kind_of_device_that_the_configuration_lacks_is_named() -> None:
    with pytest.raises(UnreadableError, match="configuration has nothing of snmp: add a device") as raised:
        Explorer({}).start("snmp", Question("get", "", (), {}))
    assert raised.value.reason == TargetReason.UNSUPPORTED
