"""Sessions as playbooks: what a CPE posts, what it means, and what it is answered."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.connectors.cwmp import envelope, limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import (
    AcsReply,
    AcsSession,
    Answered,
    CpeAsks,
    Ended,
    EndReason,
    Informed,
    Misread,
    SessionEvent,
)
from agent.connectors.cwmp.errors import HeaderNotUnderstoodError, LocalCwmpError, MalformedXmlError, UnknownMethodError
from agent.connectors.cwmp.faults import AcsFault, CpeFault, refusal
from agent.connectors.cwmp.methods import AcsRequest, Message
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import DeviceId, InformEvent, TransferFault
from agent.connectors.cwmp.versions import CwmpVersion
from lab.tests.cpe import data as recordings
from tests.builders import reads
from tests.builders.expect import expect

INFORM = m.Inform(
    DeviceId("Maker", "00256D", "Box", "S1"), (InformEvent("1 BOOT", ""),), 1, "2026-11-24T22:49:33Z", 0, ()
)
DONE = m.TransferComplete("k", TransferFault(0, ""), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")
REBOOT = m.Reboot("k1")
GET = m.GetParameterNames("Device.", True)
NAMES = m.GetParameterNamesResponse(())


class Talk:
    """A session and the CPE's side of it: each post is answered at once, and what we say is of the schema."""

    def __init__(self, version: CwmpVersion = CwmpVersion.V1_0) -> None:
        self.session = AcsSession("s1", 0.0)
        self.version = version
        self.now = 0.0
        self.reply = AcsReply(0)

    def hear(self, body: bytes) -> tuple[SessionEvent, ...]:
        """Post bytes; the reply is not asked for yet."""
        self.now += 1
        return self.session.receive_untrusted(body)

    def answered(self) -> AcsReply:
        self.reply = self.session.respond(self.now)
        if self.reply.status == 200 and recordings.TR069.is_dir():
            version = reads.read(self.reply.body).version
            assert recordings.complaints(self.reply.body, version.namespace) == []
        return self.reply

    def say(self, message: Message, header: Header | None = None) -> bytes:
        return envelope.write(message, header or Header("c1"), self.version)

    def post(self, message: Message, identity: str | None = "c1") -> tuple[SessionEvent, ...]:
        events = self.hear(self.say(message, Header(identity)))
        self.answered()
        return events

    def raw(self, body: bytes) -> tuple[SessionEvent, ...]:
        events = self.hear(body)
        self.answered()
        return events

    def said(self) -> reads.EnvelopeRead:
        """What the last reply holds."""
        assert self.reply.status == 200
        return reads.read(self.reply.body)

    def informed(self, *requests: AcsRequest) -> Talk:
        """Inform, queue requests, and hand over the floor."""
        self.post(INFORM)
        for request in requests:
            self.session.send(request)
        if requests:
            self.raw(b"")
        return self


# --- the way it goes --------------------------------------------------------------------------------------------------


def test_a_whole_session() -> None:
    t = Talk()
    assert t.post(INFORM, "i1") == (Informed(INFORM, Header("i1"), CwmpVersion.V1_0),)
    assert (t.said().message, t.said().id) == (m.InformResponse(1), "i1")

    assert t.post(DONE, "i2") == (CpeAsks(DONE),)
    assert (t.said().message, t.said().id) == (m.TransferCompleteResponse(), "i2")

    t.session.send(REBOOT)
    t.session.send(GET)
    assert t.raw(b"") == ()
    assert (t.said().message, t.said().id) == (REBOOT, "s1-1")
    assert t.session.pending == REBOOT

    assert t.post(m.RebootResponse(), "s1-1") == (Answered(REBOOT, m.RebootResponse(), True),)
    assert (t.said().message, t.said().id) == (GET, "s1-2")

    fault = m.Fault(9001, "no", (), "Client")
    assert t.post(fault, "s1-2") == (Answered(GET, fault, True),)
    assert t.reply == AcsReply(204, b"", Ended(EndReason.DONE))
    assert t.session.ended
    assert t.session.deadline() is None


def test_a_session_without_requests() -> None:
    t = Talk().informed()
    assert t.raw(b"\r\n") == ()
    assert t.reply == AcsReply(204, b"", Ended(EndReason.DONE))


def test_requests_may_be_queued_while_an_answer_is_read() -> None:
    t = Talk().informed(GET)
    t.hear(t.say(NAMES, Header("s1-1")))
    t.session.send(REBOOT)
    t.answered()
    assert t.said().message == REBOOT


def test_a_session_in_utf_16() -> None:
    body = Talk().say(INFORM).split(b"?>")[1].decode()
    for encoding in ("utf-16", "utf-16-be", "utf-16-le"):
        assert Talk().raw(f"{body}\n".encode(encoding)) == (Informed(INFORM, Header("c1"), CwmpVersion.V1_0),)


def test_what_is_told_is_acknowledged_by_respond_alone() -> None:
    """What must be durable first is known before a byte goes out."""
    t = Talk().informed()
    assert t.hear(t.say(DONE, Header("i2"))) == (CpeAsks(DONE),)
    with pytest.raises(LocalCwmpError):
        t.hear(b"")
    assert t.answered().status == 200
    with pytest.raises(LocalCwmpError):
        t.session.respond(t.now)


@pytest.mark.parametrize("version", CwmpVersion)
def test_the_version_is_the_cpes(version: CwmpVersion) -> None:
    t = Talk(version).informed(REBOOT)
    assert t.said().version is version


def test_what_its_version_does_not_have_is_not_sent() -> None:
    t = Talk(CwmpVersion.V1_1).informed()
    with pytest.raises(LocalCwmpError):
        t.session.send(m.CancelTransfer("k"))
    assert t.raw(b"") == ()
    assert t.reply.status == 204


def test_a_newer_request_of_an_old_cpe_is_answered() -> None:
    """Seen in other people's tests: a method of 1.1 in the namespace of 1.0."""
    t = Talk().informed()
    auto = m.AutonomousTransferComplete("", "", True, "2 Web Content", 0, "", TransferFault(0, ""), "x", "x")
    body = t.say(m.Reboot("AUTO")).replace(b"<CommandKey>AUTO</CommandKey>", (
        b"<IsDownload>1</IsDownload><FileType>2 Web Content</FileType><FileSize>0</FileSize><FaultStruct><FaultCode>0"
        b"</FaultCode></FaultStruct><StartTime>x</StartTime><CompleteTime>x</CompleteTime>"
    )).replace(b"Reboot", b"AutonomousTransferComplete")  # fmt: skip
    assert t.raw(body) == (CpeAsks(auto),)
    assert (t.said().message, t.said().version) == (m.AutonomousTransferCompleteResponse(), CwmpVersion.V1_1)


def test_a_cpe_of_1_4_is_told_which_version() -> None:
    t = Talk(CwmpVersion.V1_2)
    t.hear(t.say(INFORM, Header("i1", supported_versions=("1.0", "1.2", "1.3", "9.9"), session_timeout_s=90)))
    t.answered()
    assert t.said().header == Header("i1", use_version="1.3")
    assert t.session.deadline() == t.now + limits.TIMEOUT_S, "a stranger is granted no longer silence"
    t.session.accept()
    assert t.session.deadline() == t.now + 90
    t.post(DONE)
    assert t.said().header == Header("c1")
    none = Talk(CwmpVersion.V1_2)
    none.hear(none.say(INFORM, Header("i1", supported_versions=("9.9",), session_timeout_s=10**9)))
    none.answered()
    assert none.said().header == Header("i1")
    none.session.accept()
    assert none.session.deadline() == none.now + limits.TIMEOUT_MOST_S


def test_its_own_methods_are_told() -> None:
    t = Talk().informed()
    assert t.post(m.GetRPCMethods()) == (CpeAsks(m.GetRPCMethods()),)
    assert isinstance(t.said().message, m.GetRPCMethodsResponse)
    t.session.send(m.GetRPCMethods())
    t.raw(b"")
    methods = m.GetRPCMethodsResponse(("Reboot",))
    assert t.post(methods, "s1-1") == (Answered(m.GetRPCMethods(), methods, True),)


def test_a_cpe_may_ask_before_it_answers() -> None:
    t = Talk().informed(GET)
    assert t.post(DONE) == (CpeAsks(DONE),)
    assert t.said().message == m.TransferCompleteResponse()
    assert t.post(NAMES, "s1-1") == (Answered(GET, NAMES, True),)


@pytest.mark.parametrize("dirty", [b"Zugriff verweigert: Ger\xe4t", b"cut \xe6\x88", b"a\x01b", b"A & B"])
def test_a_transfer_with_a_dirty_fault_text_has_failed(dirty: bytes) -> None:
    """The code counts; a text that cannot be decoded must not leave the ACS to wait for hours."""
    t = Talk().informed()
    failed = m.TransferComplete("k", TransferFault(9010, "DIRT"), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")
    (asked,) = t.raw(t.say(failed).replace(b"DIRT", dirty))
    assert isinstance(asked, CpeAsks)
    assert isinstance(asked.request, m.TransferComplete)
    assert (asked.request.command_key, asked.request.fault_struct.fault_code) == ("k", 9010)
    assert "\ufffd" in asked.request.fault_struct.fault_string
    assert isinstance(asked.misread, MalformedXmlError), "it is said why"
    assert t.said().message == m.TransferCompleteResponse()


def test_a_transfer_whose_code_cannot_be_decoded_proves_nothing() -> None:
    """A fault is not guessed."""
    t = Talk().informed()
    failed = m.TransferComplete("k", TransferFault(9010, ""), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")
    (misread,) = t.raw(t.say(failed).replace(b"9010", b"90\xe910"))
    assert isinstance(misread, Misread)


# --- answers of ours --------------------------------------------------------------------------------------------------


def test_an_inform_that_is_refused() -> None:
    t = Talk()
    t.hear(t.say(INFORM))
    t.session.answer(refusal(AcsFault.REQUEST_DENIED, "not one of ours"))
    reply = t.answered()
    assert t.said().message == m.Fault(8001, "not one of ours")
    assert reply.ended == Ended(EndReason.REFUSED)
    assert t.raw(b"") == ()
    assert t.reply == AcsReply(400)


def test_an_inform_that_is_to_come_again() -> None:
    """The same bytes, and not a repetition: 8005 asked for them."""
    t = Talk()
    body = t.say(INFORM)
    t.hear(body)
    t.session.answer(refusal(AcsFault.RETRY_REQUEST, "busy"))
    assert t.answered().ended is None
    with pytest.raises(LocalCwmpError):
        t.session.send(GET)
    assert t.raw(body) == (Informed(INFORM, Header("c1"), CwmpVersion.V1_0),)
    assert t.said().message == m.InformResponse()


def test_another_answer_than_the_standard_one() -> None:
    t = Talk().informed()
    t.hear(t.say(m.Kicked("c", "r", "a", "http://next/")))
    t.session.answer(m.KickedResponse("http://portal/"))
    t.answered()
    assert t.said().message == m.KickedResponse("http://portal/")
    t.hear(t.say(DONE))
    t.session.answer(refusal(AcsFault.INTERNAL_ERROR, "not written down"))
    assert t.answered().ended is None
    assert t.said().message == m.Fault(8002, "not written down")


def test_what_is_no_answer_is_not_given() -> None:
    t = Talk()
    with pytest.raises(LocalCwmpError):
        t.session.answer(m.InformResponse())
    t.hear(t.say(INFORM))
    for wrong in (m.TransferCompleteResponse(), m.Fault(9001, ""), m.Fault(None), m.InformResponse(-1)):
        with pytest.raises(LocalCwmpError):
            t.session.answer(wrong)
    t.session.send(GET)
    with pytest.raises(LocalCwmpError):
        t.session.answer(refusal(AcsFault.RETRY_REQUEST, "with a request that would be lost"))
    t.answered()
    assert t.said().message == m.InformResponse()


def test_what_cannot_be_sent_is_not_queued() -> None:
    session = AcsSession("s", 0.0)
    with pytest.raises(LocalCwmpError):
        session.send(REBOOT)
    t = Talk().informed()
    for wrong in (m.Reboot("k" * 33), INFORM, m.RebootResponse()):
        with pytest.raises(LocalCwmpError):
            t.session.send(wrong)
    t.raw(b"")
    assert t.reply.status == 204
    with pytest.raises(LocalCwmpError):
        t.session.send(REBOOT)


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUE", 2)
    t = Talk().informed()
    t.session.send(GET)
    t.session.send(GET)
    with pytest.raises(LocalCwmpError):
        t.session.send(GET)


@pytest.mark.parametrize("name", ["", "a-b", "é", "x" * 25])
def test_names_of_sessions(name: str) -> None:
    with pytest.raises(LocalCwmpError):
        AcsSession(name, 0.0)


# --- ids --------------------------------------------------------------------------------------------------------------


def test_an_id_is_repeated_as_it_came() -> None:
    t = Talk()
    t.post(INFORM, " i1\n")
    assert t.said().id == " i1\n"
    other = Talk()
    other.post(INFORM, None)
    assert other.said().id is None


@pytest.mark.parametrize(("identity", "echoed"), [(" s1-1 ", True), (None, False), ("", False), ("own", False)])
def test_an_answer_without_our_id_counts_by_its_place(identity: str | None, echoed: bool) -> None:
    t = Talk().informed(GET)
    assert t.post(NAMES, identity) == (Answered(GET, NAMES, echoed),)


def test_answer_with_id_of_another_request_does_not_count() -> None:
    t = Talk().informed(GET, GET)
    t.post(NAMES, "s1-1")
    late = m.GetParameterNamesResponse(())
    assert t.hear(t.say(late, Header(" s1-1"))) == (Ended(EndReason.UNEXPECTED, GET),)
    assert t.answered() == AcsReply(400)


def test_two_answers_alike_without_ids_are_two_answers() -> None:
    t = Talk().informed(GET, GET)
    assert t.post(NAMES, None) == (Answered(GET, NAMES, False),)
    assert t.post(NAMES, None) == (Answered(GET, NAMES, False),)
    assert t.reply.status == 204


# --- the same post twice ----------------------------------------------------------------------------------------------


def twice(t: Talk, body: bytes) -> None:
    events, first = t.raw(body), t.reply
    assert first.status in (200, 204)
    assert t.raw(body) == ()
    assert t.reply == dataclasses.replace(first, ended=None)
    assert not any(isinstance(event, Ended) for event in events)


def test_the_same_post_twice_is_handled_once() -> None:
    t = Talk()
    twice(t, t.say(INFORM))
    twice(t, t.say(DONE, Header("i2")))
    t.session.send(GET)
    t.session.send(REBOOT)
    twice(t, b"")
    assert t.said().message == GET
    twice(t, t.say(NAMES, Header("s1-1")))
    assert t.said().message == REBOOT
    assert t.session.pending == REBOOT
    twice(t, t.say(m.RebootResponse(), Header("s1-2")))
    assert t.reply == AcsReply(204)


def test_a_request_that_is_told_again_without_an_id_is_the_same() -> None:
    t = Talk().informed()
    twice(t, t.say(DONE, Header()))


def test_the_last_empty_post_again() -> None:
    t = Talk().informed()
    t.raw(b"")
    assert t.raw(b"") == ()
    assert t.reply == AcsReply(204)


def test_it_ends_when_one_post_comes_again_and_again() -> None:
    t = Talk().informed(GET)
    for _ in range(limits.REPEATS):
        assert t.raw(b"") == ()
        assert t.said().message == GET
    assert t.raw(b"") == (Ended(EndReason.REPEATED, GET),)
    assert t.reply == AcsReply(400)


def test_after_a_timeout_no_request_is_given_again() -> None:
    t = Talk().informed(GET)
    assert t.session.handle_timer(t.now + limits.TIMEOUT_S) == (Ended(EndReason.TIMEOUT, GET),)
    assert t.raw(b"") == ()
    assert t.reply == AcsReply(400)


# --- what has no place ------------------------------------------------------------------------------------------------


def test_floor_in_place_of_answer_leaves_request_unknown() -> None:
    t = Talk().informed(GET, REBOOT, GET)
    t.post(NAMES, "s1-1")
    assert t.raw(b"") == (Ended(EndReason.UNEXPECTED, REBOOT, (GET,)),)
    assert t.reply == AcsReply(400)


def test_an_inform_in_a_session_begins_anew() -> None:
    t = Talk().informed(REBOOT, GET)
    again = dataclasses.replace(INFORM, retry_count=1)
    assert t.post(again) == (
        Ended(EndReason.INFORMED_AGAIN, REBOOT, (GET,)),
        Informed(again, Header("c1"), CwmpVersion.V1_0),
    )
    assert t.said().message == m.InformResponse()
    assert not t.session.ended
    t.session.send(GET)
    t.raw(b"")
    assert t.said().id == "s1-2"


def test_nothing_before_an_inform() -> None:
    t = Talk()
    assert t.raw(b"") == (Ended(EndReason.UNEXPECTED),)
    assert t.reply == AcsReply(204)
    t = Talk()
    assert t.post(DONE) == (Misread(None, AcsFault.REQUEST_DENIED),)
    assert t.said().message == m.Fault(8001, "expected an Inform first")
    assert t.post(INFORM)[0] == Informed(INFORM, Header("c1"), CwmpVersion.V1_0)
    t = Talk()
    assert t.post(NAMES) == (Ended(EndReason.UNEXPECTED),)
    assert t.reply == AcsReply(400)


@pytest.mark.parametrize("message", [m.RebootResponse(), m.InformResponse(), m.TransferCompleteResponse()])
def test_an_answer_to_something_else(message: Message) -> None:
    t = Talk().informed(GET)
    assert t.post(message, "s1-1") == (Ended(EndReason.UNEXPECTED, GET),)
    assert t.reply == AcsReply(400)


def test_an_answer_to_nothing() -> None:
    t = Talk().informed()
    assert t.post(NAMES, "s1-1") == (Ended(EndReason.UNEXPECTED),)
    assert t.reply == AcsReply(400)


def test_a_request_that_only_an_acs_makes() -> None:
    t = Talk().informed()
    assert t.post(REBOOT) == (Misread(None, AcsFault.METHOD_NOT_SUPPORTED),)
    assert (t.said().id, t.said().message) == ("c1", m.Fault(8000, "expected a method of an ACS"))


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_unreadable_requests_are_refused_and_then_it_ends() -> None:
    t = Talk()
    (misread,) = t.raw(b"<html>")
    assert isinstance(misread, Misread)
    assert isinstance(misread.error, MalformedXmlError)
    assert t.said().message == m.Fault(8003, str(misread.error), soap_code="Client")
    assert t.said().id is None
    (misread,) = t.raw(b"<html>")
    assert isinstance(misread, Misread)
    (ended,) = t.raw(b"<html>")
    assert isinstance(ended, Ended)
    assert (ended.reason, t.reply) == (EndReason.UNREADABLE, AcsReply(400))


def test_a_sound_request_makes_up_for_the_unsound() -> None:
    t = Talk()
    for _ in range(5):
        t.raw(b"<html>")
        assert t.post(INFORM)[-1] == Informed(INFORM, Header("c1"), CwmpVersion.V1_0)


def test_an_unknown_method_is_not_supported() -> None:
    t = Talk().informed()
    (misread,) = t.raw(t.say(REBOOT, Header("c9")).replace(b"Reboot", b"X_Own"))
    assert isinstance(misread, Misread)
    assert isinstance(misread.error, UnknownMethodError)
    assert (t.said().id, t.said().message) == ("c9", m.Fault(8000, "no method of an ACS"))


def test_wrong_arguments_are_told_by_place_not_by_value() -> None:
    t = Talk().informed()
    body = t.say(DONE, Header("c9")).replace(b"<FaultCode>0", b"<FaultCode>s3cret-canary")
    (misread,) = t.raw(body)
    assert isinstance(misread, Misread)
    assert misread.fault is AcsFault.INVALID_ARGUMENTS
    fault = expect(m.Fault, t.said().message)
    assert fault.fault_code == 8003
    assert "FaultStruct: FaultCode" in (fault.fault_string or "")
    assert b"canary" not in t.reply.body


def test_a_header_not_understood_is_refused_in_soaps_words() -> None:
    t = Talk().informed()
    body = t.say(DONE).replace(b"<soapenv:Header>", b'<soapenv:Header><Own soapenv:mustUnderstand="1"/>')
    (misread,) = t.raw(body)
    assert isinstance(misread, Misread)
    assert isinstance(misread.error, HeaderNotUnderstoodError)
    assert b"<faultcode>soapenv:MustUnderstand</faultcode>" in t.reply.body


@pytest.mark.parametrize("old", [b"<ParameterList", b"soapenv:Envelope", b"</soapenv:Body>"])
def test_answer_that_cannot_be_read_leaves_request_unknown(old: bytes) -> None:
    t = Talk().informed(GET, REBOOT)
    (ended,) = t.raw(t.say(NAMES, Header("s1-1")).replace(old, b"<x"))
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.unanswered, ended.unsent) == (EndReason.UNREADABLE, GET, (REBOOT,))
    assert ended.error is not None
    assert t.reply == AcsReply(400)


def test_an_unreadable_answer_to_nothing() -> None:
    t = Talk().informed()
    (ended,) = t.raw(t.say(m.SetParameterValuesResponse(0)).replace(b">0<", b">x<"))
    assert isinstance(ended, Ended)
    assert ended.reason is EndReason.UNREADABLE


# --- time and length --------------------------------------------------------------------------------------------------


def test_silence_ends_it() -> None:
    t = Talk().informed(REBOOT, GET)
    deadline = t.session.deadline()
    assert deadline == t.now + limits.TIMEOUT_S
    assert t.session.handle_timer(deadline - 0.1) == ()
    assert t.session.handle_timer(deadline) == (Ended(EndReason.TIMEOUT, REBOOT, (GET,)),)
    assert t.session.handle_timer(deadline + 1) == ()
    assert t.session.pending is None


def test_our_own_slowness_is_no_silence() -> None:
    t = Talk().informed(GET)
    t.hear(t.say(NAMES, Header("s1-1")))
    assert t.session.deadline() is None
    t.now += 1000
    assert t.session.handle_timer(t.now) == ()
    assert t.answered().ended == Ended(EndReason.DONE)


def test_it_ends_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POSTS", 3)
    t = Talk().informed()
    t.post(DONE, "1")
    t.post(DONE, "2")
    assert t.post(DONE, "3") == (Ended(EndReason.TOO_LONG),)
    assert t.reply == AcsReply(400)


def test_codes_are_the_schemas() -> None:
    assert {int(code) for code in AcsFault} == set(range(8000, 8007))
    assert {int(code) for code in CpeFault} == set(range(9000, 9033))


# --- any order of things ----------------------------------------------------------------------------------------------


class Sessions(RuleBasedStateMachine):
    """A CPE that loses replies, repeats itself, leaves IDs out and sends nonsense; every request has one fate.

    The model is the list of what was queued. At each moment a queued request is waiting, in flight, answered, unknown
    (`unanswered`) or unsent, once; and what is in flight was handed out in one envelope alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.queued: list[str] = []
        self.fates: dict[str, str] = {}
        self.envelopes: dict[str, set[bytes]] = {}
        self.told: list[str] = []
        self.asked = 0
        self.body = b""

    def note(self, events: tuple[SessionEvent, ...]) -> None:
        for event in events:
            if isinstance(event, Answered):
                self.fate(event.request, "answered")
            elif isinstance(event, CpeAsks):
                assert isinstance(event.request, m.TransferComplete)
                self.told.append(event.request.command_key)
            elif isinstance(event, Ended):
                self.note_end(event)

    def note_end(self, ended: Ended) -> None:
        if ended.unanswered is not None:
            self.fate(ended.unanswered, "unknown")
        for request in ended.unsent:
            self.fate(request, "unsent")

    def fate(self, request: AcsRequest, fate: str) -> None:
        assert isinstance(request, m.Reboot)
        assert request.command_key not in self.fates
        self.fates[request.command_key] = fate

    def post(self, body: bytes) -> None:
        self.body = body
        self.note(self.talk.hear(body))
        reply = self.talk.answered()
        if reply.ended is not None:
            self.note_end(reply.ended)
        if reply.status == 200:
            said = reads.read(reply.body).message
            if isinstance(said, m.Reboot):
                self.envelopes.setdefault(said.command_key, set()).add(reply.body)

    @initialize()
    def inform(self) -> None:
        self.post(self.talk.say(INFORM, Header("i")))

    def queue(self) -> None:
        key = str(len(self.queued))
        self.queued.append(key)
        self.talk.session.send(m.Reboot(key))

    @precondition(lambda self: not self.talk.session.ended)
    @rule()
    def send(self) -> None:
        self.queue()

    @precondition(lambda self: not self.talk.session.ended and self.talk.session.pending is None)
    @rule(requests=st.integers(0, 3))
    def hand_over(self, requests: int) -> None:
        for _ in range(requests):
            self.queue()
        self.post(b"")

    @precondition(lambda self: self.talk.session.pending is not None)
    @rule(identity=st.sampled_from(["ours", "ours", "ours", "none", "own"]), fault=st.booleans())
    def answer(self, identity: str, fault: bool) -> None:
        header = {"ours": Header(f"s1-{self.talk.session._number}"), "none": Header(), "own": Header("x")}[identity]
        message: Message = m.Fault(9001, "no", (), "Server") if fault else m.RebootResponse()
        self.post(self.talk.say(message, header))

    @precondition(lambda self: not self.talk.session.ended)
    @rule(with_id=st.booleans())
    def ask(self, with_id: bool) -> None:
        self.asked += 1
        done = dataclasses.replace(DONE, command_key=str(self.asked))
        self.post(self.talk.say(done, Header(str(self.asked) if with_id else None)))

    @rule()
    def repeat(self) -> None:
        self.post(self.body)

    @precondition(lambda self: self.talk.session.ended)
    @rule()
    def inform_in_a_new_session(self) -> None:
        self.talk, now = Talk(), self.talk.now  # as a listener does
        self.talk.now = now
        self.inform()

    @rule(what=st.sampled_from(["inform", "answer before", "empty", "noise", "half an answer", "silence"]))
    @precondition(lambda self: not self.talk.session.ended)
    def disturb(self, what: str) -> None:
        """What breaks or restarts a session; one rule, so that it stays the exception."""
        match what:
            case "inform":
                self.post(self.talk.say(INFORM, Header(f"i{self.talk.now}")))
            case "answer before":
                self.post(self.talk.say(m.RebootResponse(), Header(f"s1-{self.talk.session._number - 1}")))
            case "empty":
                self.post(b"")
            case "noise":
                self.post(b"<a/>")
            case "half an answer":
                self.post(b"<Envelope><Body><RebootResponse><")
            case _:
                self.talk.now += limits.TIMEOUT_S
                self.note(self.talk.session.handle_timer(self.talk.now))

    @invariant()
    def every_request_has_one_fate(self) -> None:
        pending = self.talk.session.pending
        open_ = [pending.command_key] if isinstance(pending, m.Reboot) else []
        waiting = [r.command_key for r in self.talk.session._queue if isinstance(r, m.Reboot)]
        assert sorted([*open_, *waiting, *self.fates]) == sorted(self.queued)

    @invariant()
    def what_went_out_went_out_as_one_envelope(self) -> None:
        assert all(len(bodies) == 1 for bodies in self.envelopes.values())
        assert {key for key, fate in self.fates.items() if fate != "unsent"} <= set(self.envelopes)
        assert not {key for key, fate in self.fates.items() if fate == "unsent"} & set(self.envelopes)

    @invariant()
    def what_the_cpe_tells_is_heard_once(self) -> None:
        assert len(set(self.told)) == len(self.told)


Sessions.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None
)
TestSessions = Sessions.TestCase
