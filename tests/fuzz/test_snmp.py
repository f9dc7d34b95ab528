"""A device that says anything, in every version: messages give values or our own errors, nothing else.

Ten thousand mutated messages with the tests, 150,000 with the slow ones, and a million with `make fuzz`; version 3 too,
whose devices hold the keys.
"""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import settings

from agent.connectors.snmp.errors import SnmpError
from tests.fuzz import counting, snmp_messages
from tests.fuzz.counting import changed

MANY = 200_000 if settings.get_current_profile_name() == "fuzz" else 30_000
CALLS = {
    "answer": (snmp_messages.answer, snmp_messages.ANSWERS),
    "notice": (snmp_messages.notice, snmp_messages.NOTICES),
    "v3_answer": (snmp_messages.v3_answer, snmp_messages.V3_ANSWERS),
    "v3_scoped": (snmp_messages.v3_scoped, snmp_messages.SCOPED),
    "notice_scoped": (snmp_messages.notice_scoped, (snmp_messages.INFORM,)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("count", [2_000, pytest.param(MANY, marks=pytest.mark.slow)])
def test_mutated_messages_raise_no_foreign_exception(name: str, count: int) -> None:
    call, seeds = CALLS[name]
    dice = random.Random(count)
    slowest_s = 0.0
    for n in range(count):
        data = changed(dice, seeds)
        began = time.thread_time()
        try:
            call(data)
        except SnmpError:
            pass
        except Exception as err:  # noqa: BLE001  any at all is what this looks for
            pytest.fail(f"{name}, message {n}: {type(err).__name__}: {err} from {data.hex()}")
        slowest_s = max(slowest_s, time.thread_time() - began)
    counting.add(counting.INPUTS, count)
    assert slowest_s < 1.0
