import dataclasses
import json
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor
from google.protobuf.descriptor import FieldDescriptor

from control_plane import broker, limits
from control_plane.broker import RULES, Quotas, Refused, RoutedMessage, agent_queue, feed, route
from control_plane.limits import Quota
from control_plane.members import IdentityKind, MemberIdentity
from protos import agent_pb2, desk_pb2, enrolment_pb2
from protos import message_pb2 as pb
from tests.builders.expect import expect
from tests.control_plane.cloud import checkpoint_note, message, ref, signed, statement
from trust import envelope, statements
from trust.envelope import Envelope, Signature

OPERATOR, OTHER = b"o" * 16, b"p" * 16
ONE, TWO, FOREIGN = b"1" * 16, b"2" * 16, b"3" * 16
AGENTS = (ONE, TWO)

AGENT = MemberIdentity(OPERATOR, IdentityKind.AGENT, "north", ONE)
PERSON = MemberIdentity(OPERATOR, IdentityKind.PERSON, "lena")
SERVICE = MemberIdentity(OPERATOR, IdentityKind.SERVICE, "billing")
MEMBERS = {"agent": AGENT, "person": PERSON, "service": SERVICE}

FROM_AGENTS = {
    pb.KIND_PLAN, pb.KIND_RECEIPT, pb.KIND_OUTCOME, pb.KIND_SEALKEY, pb.KIND_CHECKPOINT, pb.KIND_VIEW_PAGE,
}  # fmt: skip
EVERYWHERE = {pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_TRUST, pb.KIND_STANDING}
KINDS = sorted(set(pb.Kind.values()) - {pb.KIND_UNSPECIFIED})
STATEMENTS = [kind for kind in KINDS if RULES[kind].statement is not None]
kinds = pytest.mark.parametrize("kind", KINDS, ids=pb.Kind.Name)
signed_kinds = pytest.mark.parametrize("kind", STATEMENTS, ids=pb.Kind.Name)


def sender(kind: int) -> MemberIdentity:
    return AGENT if kind in FROM_AGENTS else PERSON


def refusal(made: pb.Message, who: MemberIdentity | None = None) -> int:
    routed = route(who or sender(made.kind), made, AGENTS)
    assert isinstance(routed, Refused), "it was taken"
    return routed.refusal


# --- who sends what to whom -----------------------------------------------------------------------------------------


def test_every_kind_has_a_rule() -> None:
    assert sorted(RULES) == KINDS


@kinds
@pytest.mark.parametrize("who", MEMBERS)
def test_a_kind_has_its_senders(kind: int, who: str) -> None:
    may = {"agent": kind in FROM_AGENTS, "person": kind not in FROM_AGENTS, "service": kind == pb.KIND_INTENT}[who]
    routed = route(MEMBERS[who], message(kind, ONE), AGENTS)
    assert isinstance(routed, RoutedMessage) if may else routed == Refused(pb.REFUSAL_WRONG_KIND)


@kinds
def test_a_message_goes_to_its_queue(kind: int) -> None:
    made = message(kind, ONE)
    routed = expect(RoutedMessage, route(sender(kind), made, AGENTS))
    if kind in (pb.KIND_VIEW, pb.KIND_VIEW_PAGE):
        assert (routed.queues, routed.keep_s) == ((), 0)
    else:
        assert routed.queues == ((feed(OPERATOR) if kind in FROM_AGENTS else agent_queue(OPERATOR, ONE)),)
        assert routed.keep_s >= limits.HOUR_S
    assert routed.message == made


@kinds
def test_a_message_for_all_goes_to_all_and_the_feed(kind: int) -> None:
    made = message(kind, ONE, agent=b"")
    routed = route(sender(kind), made, AGENTS)
    if kind in EVERYWHERE:
        assert isinstance(routed, RoutedMessage)
        assert routed.queues == (agent_queue(OPERATOR, ONE), agent_queue(OPERATOR, TWO), feed(OPERATOR))
    elif kind in FROM_AGENTS:  # its certificate says who it is
        assert isinstance(routed, RoutedMessage)
        assert routed.message.agent == ONE
    else:
        assert routed == Refused(pb.REFUSAL_MALFORMED)


def test_a_kind_that_is_not_known_is_refused() -> None:
    for kind in (0, 6, 99):
        assert refusal(message(pb.KIND_CANCEL, ONE, kind=kind), PERSON) == pb.REFUSAL_WRONG_KIND


@kinds
def test_an_agent_of_another_operator_is_not_there(kind: int) -> None:
    assert refusal(message(kind, FOREIGN)) == pb.REFUSAL_UNKNOWN_AGENT


@pytest.mark.parametrize("kind", sorted(FROM_AGENTS), ids=pb.Kind.Name)
def test_an_agent_speaks_for_itself_only(kind: int) -> None:
    assert refusal(message(kind, TWO), AGENT) == pb.REFUSAL_UNKNOWN_AGENT


@pytest.mark.parametrize("kind", [pb.KIND_PLAN, pb.KIND_RECEIPT, pb.KIND_OUTCOME, pb.KIND_SEALKEY, pb.KIND_VIEW])
def test_the_statement_names_the_same_agent(kind: int) -> None:
    assert refusal(message(kind, ONE, body=signed(statement(kind, TWO)))) == pb.REFUSAL_MALFORMED


# --- form -----------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    "change",
    [
        {"ref": b""},
        {"ref": b"r" * 15},
        {"ref": b"r" * 17},
        {"agent": b"1" * 15},
        {"agent": b"1" * 17},
        {"witness": b"12345"},
        {"answers": b"a" * 15},
        {"body": b""},
    ],
    ids=str,
)
def test_fields_have_their_lengths(kind: int, change: dict[str, bytes]) -> None:
    assert refusal(message(kind, ONE, **change)) == pb.REFUSAL_MALFORMED


@kinds
def test_fields_of_other_kinds_stay_empty(kind: int) -> None:
    page = kind == pb.KIND_VIEW_PAGE
    witness = kind in (pb.KIND_CHECKPOINT, pb.KIND_COSIGNATURE)
    for change, its_own in (({"answers": ref()}, page), ({"last": True}, page), ({"witness": b"1234"}, witness)):
        routed = route(sender(kind), message(kind, ONE, **change), AGENTS)
        assert isinstance(routed, RoutedMessage) if its_own else routed == Refused(pb.REFUSAL_MALFORMED)


@kinds
def test_bodies_have_a_largest_size(kind: int) -> None:
    assert refusal(message(kind, ONE, body=b"x" * (RULES[kind].body_max + 1))) == pb.REFUSAL_TOO_LARGE


def test_links_are_trust_documents_and_few() -> None:
    link = signed(statement(pb.KIND_TRUST, ONE))
    assert isinstance(route(PERSON, message(pb.KIND_APPROVAL, ONE, links=[link] * 8), AGENTS), RoutedMessage)
    assert refusal(message(pb.KIND_APPROVAL, ONE, links=[link] * 9)) == pb.REFUSAL_TOO_LARGE
    assert refusal(message(pb.KIND_APPROVAL, ONE, links=[b"x" * (limits.TRUST_BYTES + 1)])) == pb.REFUSAL_TOO_LARGE
    assert refusal(message(pb.KIND_APPROVAL, ONE, links=[b"x" * limits.TRUST_BYTES] * 4)) == pb.REFUSAL_TOO_LARGE
    assert refusal(message(pb.KIND_APPROVAL, ONE, links=[link, b"{}"])) == pb.REFUSAL_MALFORMED
    cancel = signed(statement(pb.KIND_CANCEL, ONE))
    assert refusal(message(pb.KIND_APPROVAL, ONE, links=[cancel])) == pb.REFUSAL_MALFORMED
    assert refusal(message(pb.KIND_PLAN, ONE, links=[link])) == pb.REFUSAL_MALFORMED


def test_unknown_fields_of_the_protocol_do_not_travel() -> None:
    made = message(pb.KIND_INTENT, ONE)
    smuggled = pb.Message.FromString(made.SerializeToString() + b"\xba\x06\x0aAmina Hass")  # field 103, bytes
    assert b"Amina" in smuggled.SerializeToString()
    routed = expect(RoutedMessage, route(PERSON, smuggled, AGENTS))
    assert routed.message.SerializeToString() == made.SerializeToString()


# --- nothing free-form inside a signed body -------------------------------------------------------------------------


@signed_kinds
def test_a_body_is_its_kinds_statement(kind: int) -> None:
    for other in STATEMENTS:
        routed = route(sender(kind), message(kind, ONE, body=signed(statement(other, ONE))), AGENTS)
        if other != kind:
            # A larger kind's statement may be over this kind's size already
            assert routed in (Refused(pb.REFUSAL_MALFORMED), Refused(pb.REFUSAL_TOO_LARGE))
    for junk in (b"\xff" * 40, b"{}", b"[]", b'{"payload":"","payloadType":"","signatures":[]}'):
        assert refusal(message(kind, ONE, body=junk)) == pb.REFUSAL_MALFORMED


def _with_payload(kind: int, change: dict[str, object]) -> bytes:
    made = statements.sign(statement(kind, ONE), [])
    payload = json.dumps(json.loads(made.payload) | change, separators=(",", ":")).encode()
    return envelope.encode(Envelope(made.payload_type, payload, (Signature("0" * 32, b"s" * 64),)))


@signed_kinds
@pytest.mark.parametrize(
    "change", [{"note": "Amina"}, {"ext": {"note": "Amina"}}, {"ext": {}}, {"crit": []}, {"crit": ["Amina"]}], ids=str
)
def test_a_statement_has_no_more_fields_than_its_own(kind: int, change: dict[str, object]) -> None:
    assert isinstance(route(sender(kind), message(kind, ONE, body=_with_payload(kind, {})), AGENTS), RoutedMessage)
    assert refusal(message(kind, ONE, body=_with_payload(kind, change))) == pb.REFUSAL_MALFORMED


@signed_kinds
def test_an_envelope_has_no_more_than_its_own(kind: int) -> None:
    body = signed(statement(kind, ONE))
    document = json.loads(body)
    first = document["signatures"][0]
    changed = [
        document | {"note": "Amina"},
        document | {"signatures": [first | {"note": "Amina"}]},
        document | {"signatures": [first | {"keyid": "Amina"}]},
        document | {"signatures": [first | {"sig": "QW1pbmE="}]},
        document | {"signatures": [first | {"sig": first["sig"][:-4] + "AAAAAA=="}]},
        document | {"payload": document["payload"].replace("=", "")} if "=" in document["payload"] else {},
    ]
    for one in changed:
        text = json.dumps(one, separators=(",", ":")).encode()
        assert refusal(message(kind, ONE, body=text)) == pb.REFUSAL_MALFORMED
    assert refusal(message(kind, ONE, body=body + b" ")) == pb.REFUSAL_MALFORMED
    assert refusal(message(kind, ONE, body=body.replace(b":", b" :", 1))) == pb.REFUSAL_MALFORMED


@signed_kinds
def test_a_payload_has_no_white_space(kind: int) -> None:
    made = statements.sign(statement(kind, ONE), [])
    spaced = Envelope(made.payload_type, made.payload + b"   ", (Signature("0" * 32, b"s" * 64),))
    assert refusal(message(kind, ONE, body=envelope.encode(spaced))) == pb.REFUSAL_MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"old 0\n\nnot a note",
        b"old zero\n\n" + checkpoint_note(ONE, 1, b"r" * 32),
        b"Amina\n" + checkpoint_note(ONE, 1, b"r" * 32),
        b"old 0\n\n" + checkpoint_note(ONE, 1, b"r" * 32).replace(b"\n1\n", b"\n1\nAmina\n"),
    ],
)
def test_a_checkpoint_is_one(body: bytes) -> None:
    assert refusal(message(pb.KIND_CHECKPOINT, ONE, body=body)) == pb.REFUSAL_MALFORMED


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (b"conflict 0\n", True),
        (b"conflict 9223372036854775807\n", True),
        (b"conflict 01\n", False),
        (b"conflict\n", False),
        (b"conflict 1\nAmina\n", False),
        ("— desk-lena AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".encode(), True),
        ("— desk-lena AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".encode() * 17, False),
        ("— desk lena AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".encode(), False),
        ("— Desk-Lena AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".encode(), False),
        (b"Amina Hassan\n", False),
    ],
)
def test_a_cosignature_is_lines_or_a_conflict(body: bytes, taken: bool) -> None:
    assert isinstance(route(PERSON, message(pb.KIND_COSIGNATURE, ONE, body=body), AGENTS), RoutedMessage) is taken


# --- quotas ---------------------------------------------------------------------------------------------------------


def test_a_member_has_its_rate() -> None:
    quotas = Quotas(Quota(operator_messages_per_minute=1000, member_messages_per_minute=60))
    assert [quotas.take(PERSON, 100.0) for _ in range(120)] == [0] * 120
    assert quotas.take(PERSON, 100.0) == 1
    assert quotas.take(SERVICE, 100.0) == 0, "another member has its own"
    assert quotas.take(PERSON, 101.0) == 0
    assert quotas.take(PERSON, 101.0) == 1
    assert [quotas.take(PERSON, 10_000.0) for _ in range(121)] == [0] * 120 + [1]


def test_large_statements_count_as_many_calls() -> None:
    """A member who sends the largest again and again would keep the control plane from everybody else."""
    links = [b"x" * (1 << 20)] * 2
    assert broker.reading_calls(message(pb.KIND_APPROVAL, ONE, links=links)) == 128
    assert broker.reading_calls(message(pb.KIND_CANCEL, ONE)) == 0
    sealed = pb.Message(kind=pb.KIND_VIEW_PAGE, body=bytes(1 << 20))
    assert broker.reading_calls(sealed) == 0, "nobody opens it"
    assert broker.reading_calls(pb.Message(kind=99, body=bytes(1 << 20))) == 0
    quotas = Quotas(Quota(operator_messages_per_minute=1000, member_messages_per_minute=100))
    assert [quotas.take(PERSON, 5.0, 128) for _ in range(3)] == [0, 0, 60]
    assert quotas.take(PERSON, 64.0, 128) > 0
    assert quotas.take(PERSON, 65.0, 128) == 0


def test_all_members_share_their_operators_rate() -> None:
    quotas = Quotas(Quota(operator_messages_per_minute=2, member_messages_per_minute=60))
    assert [quotas.take(who, 5.0) for who in (AGENT, PERSON, SERVICE, PERSON)] == [0, 0, 0, 0]
    assert quotas.take(AGENT, 5.0) == 30
    assert quotas.take(dataclasses.replace(PERSON, operator=OTHER), 5.0) == 0, "another operator has its own"
    assert quotas.take(AGENT, 35.0) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    quotas = Quotas(Quota(operator_messages_per_minute=1, member_messages_per_minute=1))
    assert [quotas.take(PERSON, now_s) for now_s in (50.0, 40.0, 30.0)][:2] == [0, 0]
    assert quotas.take(PERSON, 20.0) > 0


# --- the surface ----------------------------------------------------------------------------------------------------

FILES = (pb.DESCRIPTOR, agent_pb2.DESCRIPTOR, desk_pb2.DESCRIPTOR, enrolment_pb2.DESCRIPTOR)

SURFACE = """
AgentCloud: Submit(SubmitRequest)->SubmitReply Watch(WatchRequest)->stream WatchEvent
AgentCloud: AddCheckpoint(AddCheckpointRequest)->AddCheckpointReply Renew(RenewRequest)->RenewReply
AgentCloud: Board(BoardRequest)->BoardReply
DeskCloud: Agents(AgentsRequest)->AgentsReply List(ListRequest)->ListReply Watch(WatchRequest)->stream WatchEvent
DeskCloud: Submit(SubmitRequest)->SubmitReply View(ViewRequest)->stream ViewReply Renew(RenewRequest)->RenewReply
Enrolment: Enroll(EnrollRequest)->EnrollReply
AddCheckpointReply: cosignatures bytes 1, conflict uint64 2
AddCheckpointRequest: body bytes 1
Agent: agent bytes 1, connected bool 2, seen_minute uint32 3
AgentsReply: agents Agent 1
AgentsRequest:
BoardReply: statements bytes 1
BoardRequest:
Cursor: epoch bytes 1, after uint64 2
Delivery: number uint64 1, message Message 2, minute uint32 3
EnrollReply: certificate bytes 1, issuer bytes 2
EnrollRequest: token bytes 1, csr bytes 2, identity bytes 3
Hello: epoch bytes 1, newest uint64 2, minute uint32 3
ListReply: epoch bytes 1, deliveries Delivery 2, after uint64 3
ListRequest: cursor Cursor 1, limit uint32 2, kinds Kind 3
Message: kind Kind 1, ref bytes 2, agent bytes 3, body bytes 4, links bytes 5, answers bytes 6, last bool 7
Message: witness bytes 8
Problem: refusal Refusal 1, retry_after_s uint32 2
RenewReply: certificate bytes 1, issuer bytes 2
RenewRequest: csr bytes 1
SubmitReply: again bool 1
SubmitRequest: message Message 1
ViewReply: page bytes 1, last bool 2
ViewRequest: message Message 1
WatchEvent: hello Hello 1, delivery Delivery 2, live Message 3
WatchRequest: cursor Cursor 1
"""
"""All that can be asked of the control plane. What is not here cannot be asked (C10): a new line is a decision."""

_TYPES = {
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def _type(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    return named.name if named else _TYPES[field.type]  # a string would be a KeyError: there is none


def _method(method: descriptor.MethodDescriptor) -> str:
    assert not method.client_streaming
    return f"{method.name}({method.input_type.name})->{'stream ' * method.server_streaming}{method.output_type.name}"


def test_C10_the_surface_is_what_was_decided() -> None:
    expected: dict[str, str] = {}
    for line in SURFACE.strip().splitlines():
        name, _, rest = line.partition(":")
        services = name in ("AgentCloud", "DeskCloud", "Enrolment")
        expected[name] = (f"{expected[name]}{' ' if services else ', '}" if name in expected else "") + rest.strip()
    found = {}
    for file in FILES:
        for name, message_type in file.message_types_by_name.items():
            assert not message_type.nested_types
            found[name] = ", ".join(f"{f.name} {_type(f)} {f.number}" for f in message_type.fields)
        for name, service in file.services_by_name.items():
            found[name] = " ".join(map(_method, service.methods))
    assert found == expected


def test_no_proto_has_a_string() -> None:
    folder = Path(str(pb.__file__)).parent
    protos = sorted(folder.glob("*.proto"))
    assert [p.stem for p in protos] == ["agent", "desk", "enrolment", "message"]
    for proto in protos:
        code = re.sub(r"//.*", "", proto.read_text())
        assert not re.search(r"\b(string|map|Any|Struct|float|double)\b", code), proto.name


def test_a_service_reads_four_kinds() -> None:
    assert sorted(broker.SERVICE_READS) == [pb.KIND_RECEIPT, pb.KIND_OUTCOME, pb.KIND_SEALKEY, pb.KIND_TRUST]
