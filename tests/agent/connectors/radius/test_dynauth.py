"""The Dynamic Authorization Client, played: `>>` is what we tell it, `<<` what it asks for. No clock, no socket."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.connectors.radius.codec import PacketKind
from agent.connectors.radius.dictionary import load, profile
from agent.connectors.radius.dynauth import (
    QUARANTINE_S,
    SOCKETS_MAX,
    DynAuthAnswer,
    DynAuthClient,
    Ignored,
    Output,
    Send,
    Silence,
)
from agent.connectors.radius.errors import NoIdentifierError, UnencodableRequestError
from tests.agent.connectors.radius.fakes import SECRET, attributes_of, error_cause, reply
from tests.builders.expect import expect

ALICE = {"User-Name": "alice", "Acct-Session-Id": "81c0004f", "Framed-IP-Address": "100.64.12.9"}
PROFILE = replace(profile("mikrotik"), timeout_s=1.0, retries=3)


def client(**changes: object) -> DynAuthClient:
    return DynAuthClient(replace(PROFILE, **changes), SECRET, load(), choose=lambda n: 0)  # type: ignore[arg-type]  # keywords are for the test to choose


def ask(
    c: DynAuthClient, now: float = 0.0, deadline: float = 1000.0, kind: PacketKind = PacketKind.DISCONNECT
) -> tuple[int, Send]:
    return c.request(kind, ALICE, now=now, at_s=1_700_000_000, deadline=deadline)


def only(outputs: tuple[Output, ...]) -> Output:
    assert len(outputs) == 1
    return outputs[0]


def test_ack() -> None:
    c = client()
    key, sent = ask(c)  # >> request << Send
    got = c.receive_untrusted(sent.socket, reply(sent.data, ack=True), 0.02)  # >> ACK << Answer
    assert only(got) == DynAuthAnswer(key, True, None, 1, 0.02)
    assert c.get_timer() is None
    expect(
        Ignored, only(c.receive_untrusted(sent.socket, reply(sent.data, ack=True), 0.03))
    )  # >> the same ACK again << nothing


def test_retransmissions_are_the_same_bytes_then_silence() -> None:
    c = client()
    key, sent = ask(c, now=100.0)
    due = []
    while (at := c.get_timer()) is not None:
        due.append(at)
        output = only(c.handle_timer(at))
        if len(due) <= 3:
            assert output == sent
        else:
            assert output == Silence(key, 4, 15.0)
    assert due == [101.0, 103.0, 107.0, 115.0]
    assert c.handle_timer(1000.0) == ()


def test_a_timer_that_is_not_due_does_nothing() -> None:
    c = client()
    ask(c)
    assert c.handle_timer(0.99) == ()


def test_an_answer_to_a_retransmission_counts_attempts() -> None:
    c = client()
    key, sent = ask(c)
    c.handle_timer(1.0)
    got = only(c.receive_untrusted(0, reply(sent.data, ack=False, attributes=error_cause(503)), 1.5))
    assert got == DynAuthAnswer(key, False, 503, 2, 1.5)


def test_nothing_is_sent_at_or_after_the_deadline() -> None:
    c = client()
    key, _ = ask(c, deadline=2.5)
    assert isinstance(only(c.handle_timer(1.0)), Send)
    assert c.get_timer() == 2.5
    assert only(c.handle_timer(2.5)) == Silence(key, 2, 2.5)


def test_forged_reply_leaves_request_waiting_and_is_told_at_end() -> None:
    c = client(retries=0)
    key, sent = ask(c)
    expect(Ignored, only(c.receive_untrusted(0, reply(sent.data, ack=True, secret=b"other"), 0.1)))
    silence = expect(Silence, only(c.handle_timer(1.0)))
    assert "our secret" in silence.refused
    assert silence.key == key


def test_a_true_answer_after_a_forged_one_is_taken() -> None:
    c = client()
    key, sent = ask(c)
    c.receive_untrusted(0, reply(sent.data, ack=True, secret=b"other"), 0.1)
    assert only(c.receive_untrusted(0, reply(sent.data, ack=False), 0.2)) == DynAuthAnswer(key, False, None, 1, 0.2)


def test_B2_reply_to_earlier_request_is_not_taken_for_later_one() -> None:
    c = client()
    _, first = ask(c)
    c.receive_untrusted(0, reply(first.data, ack=True), 0.1)
    _, second = c.request(
        PacketKind.DISCONNECT, {**ALICE, "User-Name": "bob"}, now=400.0, at_s=1_700_000_400, deadline=900.0
    )
    assert second.data[1] != first.data[1]
    assert isinstance(only(c.receive_untrusted(0, reply(first.data, ack=True), 400.1)), Ignored)
    replayed = reply(first.data, ack=True, identifier=second.data[1])
    assert isinstance(only(c.receive_untrusted(0, replayed, 400.1)), Ignored)
    assert c.get_timer() is not None


def test_a_reply_on_another_socket_is_ignored() -> None:
    c = client()
    _, sent = ask(c)
    assert isinstance(only(c.receive_untrusted(1, reply(sent.data, ack=True), 0.1)), Ignored)


def test_B3_a_nak_that_says_removed_is_ignored() -> None:
    c = client()
    _, sent = ask(c)
    assert isinstance(
        only(c.receive_untrusted(0, reply(sent.data, ack=False, attributes=error_cause(201)), 0.1)), Ignored
    )
    assert c.get_timer() is not None


# --- fallback -------------------------------------------------------------------------------------------------------


def codes(send: Send) -> set[int]:
    return {code for code, _ in attributes_of(send.data)}


def refuse_unless(c: DynAuthClient, forbidden: set[int], now: float = 0.0) -> tuple[list[Send], DynAuthAnswer]:
    """A NAS that answers 401 to any of `forbidden`, ACK otherwise; returns what was sent and the answer."""
    _, sent = ask(c, now)
    sends = [sent]
    while True:
        ok = not codes(sends[-1]) & forbidden
        data = reply(sends[-1].data, ack=ok, attributes=b"" if ok else error_cause(401))
        output = only(c.receive_untrusted(sends[-1].socket, data, now))
        if isinstance(output, DynAuthAnswer):
            return sends, output
        assert isinstance(output, Send)
        assert output.data[1] not in {s.data[1] for s in sends}, "other bytes need another identifier"
        sends.append(output)


@pytest.mark.parametrize(
    ("forbidden", "sent", "learned"),
    [
        (set[int](), 1, frozenset[str]()),
        ({55}, 2, frozenset({"Event-Timestamp"})),
        ({80}, 3, frozenset({"Message-Authenticator"})),
        ({55, 80}, 4, frozenset({"Event-Timestamp", "Message-Authenticator"})),
    ],
)
def test_a_nas_that_knows_less_is_asked_for_less_and_remembered(
    forbidden: set[int], sent: int, learned: frozenset[str]
) -> None:
    c = client()
    sends, answer = refuse_unless(c, forbidden)
    assert len(sends) == sent
    assert answer.ack
    assert answer.attempts == sent
    assert c.learned == learned
    again, _ = refuse_unless(c, forbidden, now=1.0)
    assert len(again) == 1, "the second request starts with what was learned"
    later = DynAuthClient(PROFILE, SECRET, load(), learned=c.learned)
    assert len(refuse_unless(later, forbidden)[0]) == 1


def test_401_to_everything_is_reported_and_nothing_is_learned() -> None:
    c = client()
    sends, answer = refuse_unless(c, {1})
    assert len(sends) == 4
    assert answer == DynAuthAnswer(1, False, 401, 4, 0.0)
    assert c.learned == frozenset()


def test_no_fallback_after_the_deadline() -> None:
    c = client()
    key, sent = ask(c, deadline=1.0)
    got = only(c.receive_untrusted(0, reply(sent.data, ack=False, attributes=error_cause(401)), 1.0))
    assert got == DynAuthAnswer(key, False, 401, 1, 1.0)


def test_a_profile_without_extras_has_no_ladder() -> None:
    c = client(message_authenticator=False, event_timestamp=False)
    sends, answer = refuse_unless(c, {1})
    assert codes(sends[0]).isdisjoint({55, 80})
    assert answer.cause == 401


# --- identifiers ----------------------------------------------------------------------------------------------------


def test_an_identifier_is_not_used_again_within_300_s() -> None:
    c = client()
    seen = set()
    for n in range(256):
        _, sent = ask(c, now=n / 10)
        c.receive_untrusted(sent.socket, reply(sent.data, ack=True), n / 10)
        seen.add((sent.socket, sent.data[1]))
    assert len(seen) == 256
    assert {s for s, _ in seen} == {0}
    _, sent = ask(c, now=30.0)
    assert sent.socket == 1, "the 257th goes out from another port"
    c.receive_untrusted(1, reply(sent.data, ack=True), 30.0)
    _, sent = ask(c, now=QUARANTINE_S + 0.0)
    assert (sent.socket, sent.data[1]) == (0, 0), "the first identifier has rested"


def test_B7_all_identifiers_used_up_is_an_error_of_its_own() -> None:
    c = client(message_authenticator=False)
    for _ in range(256 * SOCKETS_MAX):
        ask(c)
    with pytest.raises(NoIdentifierError):
        ask(c)
    with pytest.raises(NoIdentifierError):
        ask(c, now=10 * QUARANTINE_S), "those in flight keep theirs, however long"
    assert len(c.handle_timer(10 * QUARANTINE_S)) == 256 * SOCKETS_MAX


def test_an_unencodable_request_uses_up_only_its_identifier() -> None:
    c = client()
    with pytest.raises(UnencodableRequestError):
        c.request(PacketKind.DISCONNECT, {"Mikrotik-Rate-Limit": "1M"}, now=0.0, at_s=0, deadline=9.0)
    assert c.get_timer() is None
    assert ask(c)[1].data[1] == 1


def test_an_abandoned_request_is_forgotten_its_identifier_rests() -> None:
    c = client()
    key, sent = ask(c)
    c.abandon(key, 0.5)
    assert c.get_timer() is None
    assert isinstance(only(c.receive_untrusted(0, reply(sent.data, ack=True), 0.6)), Ignored)
    assert ask(c, now=1.0)[1].data[1] != sent.data[1]


@given(st.integers(0, 3), st.binary(max_size=64))
def test_any_datagram_is_total(socket: int, data: bytes) -> None:
    c = client()
    ask(c)
    assert isinstance(only(c.receive_untrusted(socket, data, 0.0)), Ignored)


class Playing(RuleBasedStateMachine):
    """Against a model: a request ends exactly once, and no (socket, identifier) goes out for two within 300 s."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.client = client(retries=1)
        self.open: dict[int, Send] = {}
        self.last: dict[tuple[int, int], tuple[bytes, float]] = {}
        self.ended: set[int] = set()

    def took(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            match output:
                case Send():
                    self.sent(output)
                case DynAuthAnswer(key=key) | Silence(key=key):
                    assert key in self.open
                    assert key not in self.ended
                    self.ended.add(key)
                    del self.open[key]

    def sent(self, send: Send) -> None:
        where = (send.socket, send.data[1])
        data, at = self.last.get(where, (send.data, self.now))
        assert data == send.data or self.now - at >= QUARANTINE_S
        self.last[where] = (send.data, self.now)

    @rule(kind=st.sampled_from(list(PacketKind)))
    def ask(self, kind: PacketKind) -> None:
        key, send = ask(self.client, self.now, self.now + 50.0, kind)
        self.sent(send)
        self.open[key] = send

    @rule(data=st.data(), cause=st.sampled_from([None, 401, 503]))
    def answer(self, data: st.DataObject, cause: int | None) -> None:
        if self.open:
            key = data.draw(st.sampled_from(sorted(self.open)))
            send = self.open[key]
            attributes = error_cause(cause) if cause else b""
            outputs = self.client.receive_untrusted(
                send.socket, reply(send.data, ack=cause is None, attributes=attributes), self.now
            )
            for output in outputs:
                if isinstance(output, Send):
                    self.open[key] = output
            self.took(outputs)

    @rule(seconds=st.floats(0.0, 400.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.took(self.client.handle_timer(self.now))

    @invariant()
    def timer_runs_while_something_is_open(self) -> None:
        assert (self.client.get_timer() is None) == (not self.open)


TestPlaying = Playing.TestCase
