"""Each field of what comes in, and what goes out."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from agent.store.mail import Incoming, Outgoing
from agent.uplink import limits, wire
from agent.uplink.wire import Unusable
from protos import message_pb2 as pb
from protos.limits import MESSAGE_BYTES

US = b"\xa1" * 16
REF = b"r" * 16


def make(kind: int = pb.KIND_INTENT, **fields: Any) -> pb.Message:
    whole: dict[str, Any] = {"ref": REF, "agent": US, "body": b"b", **fields}
    return pb.Message(kind=kind, **whole)  # type: ignore[arg-type]  # any number is a kind on the wire


@pytest.mark.parametrize(("kind", "word"), sorted(wire.KINDS_IN.items()))
def test_each_kind_that_comes_in(kind: int, word: str) -> None:
    witness = b"wit!" if kind == pb.KIND_COSIGNATURE else b""
    found = wire.incoming_untrusted(make(kind, links=[b"l1", b"l2"], witness=witness), 7, US)
    assert found == Incoming(7, REF, word, b"b", (b"l1", b"l2"), b"", witness)


@pytest.mark.parametrize(
    ("message", "number", "why"),
    [
        (make(0), 1, "kind"),
        (make(pb.KIND_PLAN), 1, "kind"),
        (make(pb.KIND_VIEW_PAGE), 1, "kind"),
        (make(pb.KIND_VIEW), 1, "kind"),  # those are live
        (make(pb.KIND_INTENT), 0, "kind"),  # and those are not
        (make(4711), 1, "kind"),
        (make(ref=b""), 1, "ref"),
        (make(ref=b"r" * 15), 1, "ref"),
        (make(ref=b"r" * 17), 1, "ref"),
        (make(agent=b"\xa2" * 16), 1, "agent"),
        (make(agent=b""), 1, "agent"),
        (make(pb.KIND_FREEZE, agent=b"\xa2" * 16), 1, "agent"),
        (make(body=b""), 1, "body"),
        (make(body=bytes(limits.BODY_BYTES + 1)), 1, "body"),
        (make(links=[b"l"] * (limits.LINKS_MAX + 1)), 1, "links"),
        (make(links=[b"l", b""]), 1, "links"),
        (make(witness=b"wit!"), 1, "witness"),
        (make(pb.KIND_COSIGNATURE), 1, "witness"),
        (make(pb.KIND_COSIGNATURE, witness=b"five!"), 1, "witness"),
        (make(answers=REF), 1, "answers"),
        (make(last=True), 1, "answers"),
    ],
)
def test_what_is_passed_over(message: pb.Message, number: int, why: str) -> None:
    assert wire.incoming_untrusted(message, number, US) == Unusable(number, why)


@pytest.mark.parametrize("kind", [pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_TRUST, pb.KIND_STANDING])
def test_what_is_for_all_agents_names_none(kind: int) -> None:
    assert isinstance(wire.incoming_untrusted(make(kind, agent=b""), 1, US), Incoming)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 2**40]))
def test_any_bytes_give_a_message_or_a_reason(data: bytes, number: int) -> None:
    try:
        message = pb.Message.FromString(data)
    except DecodeError:
        return
    assert isinstance(wire.incoming_untrusted(message, number, US), Incoming | Unusable)


@pytest.mark.parametrize("kind", sorted(wire.KINDS_OUT))
def test_what_goes_out_keeps_its_ref(kind: str) -> None:
    sent = wire.outgoing(Outgoing(1, REF, kind, b"b", b"v" * 16, True, b"wit!"), US)
    want = pb.Message(
        kind=wire.KINDS_OUT[kind], ref=REF, agent=US, body=b"b", answers=b"v" * 16, last=True, witness=b"wit!"
    )
    assert sent == want


@pytest.mark.parametrize("out", [Outgoing(1, REF, "intent", b"b"), Outgoing(1, REF, "plan", bytes(MESSAGE_BYTES))])
def test_what_no_control_plane_takes_is_not_sent(out: Outgoing) -> None:
    assert wire.outgoing(out, US) is None
