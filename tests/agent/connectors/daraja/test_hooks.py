"""M-Pesa's confirmations: read, answered as Safaricom wants it, and never a payment."""

from __future__ import annotations

import json

import pytest

from agent.billing_model.errors import MalformedHookError
from agent.billing_model.hooks import Heard, HookCall
from agent.connectors.daraja.hooks import DarajaScheme

CONFIRMATION = {
    "TransactionType": "Pay Bill",
    "TransID": "RKTQDM7W6S",
    "TransTime": "20191122063845",
    "TransAmount": "10",
    "BusinessShortCode": "600638",
    "BillRefNumber": "C-1",
    "MSISDN": "25470****149",
    "FirstName": "John",
}


def hear(body: bytes) -> Heard:
    return DarajaScheme().hear_untrusted(HookCall({}, body, "196.201.214.200"), 0.0)


def test_it_rings_for_a_transaction_and_tells_no_payment() -> None:
    heard = hear(json.dumps(CONFIRMATION).encode())
    assert (heard.event_id, heard.payment_ids, heard.payment) == ("RKTQDM7W6S", ("RKTQDM7W6S",), None)
    assert json.loads(heard.answer) == {"ResultCode": 0, "ResultDesc": "Accepted"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"TransID": 7}', b'{"TransID": "a b"}', b'{"TransID": ""}'])
def test_other_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedHookError):
        hear(body)
