"""Answers with values that cannot be decoded: what is read of them all the same, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.base import LostError, NotSentError, UnreadableError
from agent.connectors.cwmp import envelope, limits, salvage, soap
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import AcsReply, AcsSession, Answered, Ended, EndReason, Informed
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedMessageError, MalformedXmlError, RemoteCwmpError
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.methods import AcsRequest, Message
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import DeviceId, InformEvent, ParameterInfo, ParameterValue
from agent.connectors.cwmp.versions import CwmpVersion
from agent.connectors.cwmp.xml_tree import in_one_go
from agent.cpe_model import rows
from agent.cpe_model.addresses import TableRow
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.values import UNREADABLE as U
from lab.cpe.quirks import Quirks
from tests.builders.acs import SSID, AcsRig, acs_rig, changes, reads, text, ticket
from tests.builders.expect import expect
from tests.builders.reads import read

HOST, HOME = "Device.Hosts.Host.1.HostName", "Device.WiFi.SSID.1.SSID"
GET = m.GetParameterValues((HOST, HOME))
SET = m.SetParameterValues((ParameterValue(HOME, Value("x", "string")),), "k")
INFORM = m.Inform(
    DeviceId("Maker", "00256D", "Box", "S1"), (InformEvent("1 BOOT", ""),), 1, "2026-11-24T22:49:33Z", 0, ()
)
DIRTY = {
    "Latin-1": (b"Jos\xe9-PC", f"Jos{U}-PC"),
    "GBK": ("我的手机".encode("gbk"), None),
    "clipped UTF-8": ("我的手机".encode()[:-1], f"我的手{U}"),
    "a control character": (b"a\x01b", f"a{U}b"),
    "a reference to one": (b"a&#1;b", f"a{U}b"),
    "a reference to NUL": (b"a&#0;", f"a{U}"),
    "a bare &": (b"Tom & Jerry", f"Tom &{U} Jerry"),
    "HTML's entity": (b"a&nbsp;b", f"a&{U}nbsp;b"),
    "surrogates": (b"&#55357;&#56832;", U + U),
    "NUL": (b"a\x00b", f"a{U}b"),
    "a bare <": (b"a<b", f"a<{U}b"),
    "a bare ]]>": (b"a]]>b", f"a]]>{U}b"),
    "CDATA with a control character": (b"<![CDATA[a\x01<&]]>", f"a{U}<&"),
    "beyond Unicode": (b"&#1114112;&#x110000;", U + U),
}


def salvaged(data: bytes) -> tuple[soap.Opened, Message]:
    return in_one_go(salvage.read_in_slices_untrusted(data))


def dirty(value: bytes, message: Message | None = None, identity: str = "s1-1") -> bytes:
    """Return an answer in which a value is these bytes."""
    message = message or m.GetParameterValuesResponse(
        (ParameterValue(HOST, Value("DIRT", "string")), ParameterValue(HOME, Value("home", "string")))
    )
    return envelope.write(message, Header(identity), CwmpVersion.V1_0).replace(b"DIRT", value)


def asked(*requests: AcsRequest) -> AcsSession:
    """Return a session in which the first of these was sent."""
    session = AcsSession("s1", 0.0)
    session.receive_untrusted(envelope.write(INFORM, Header("c1"), CwmpVersion.V1_0))
    session.respond(1.0)
    for request in requests:
        session.send(request)
    session.receive_untrusted(b"")
    session.respond(2.0)
    return session


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIRTY)
def test_d2_one_undecodable_value_is_marked_the_rest_is_read(name: str) -> None:
    """The eleven dirty values that made a CPE unreadable, and more."""
    raw, expected = DIRTY[name]
    with pytest.raises(MalformedXmlError):
        read(dirty(raw))
    (answered,) = asked(GET).receive_untrusted(dirty(raw))
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, m.GetParameterValuesResponse)
    host, home = answered.answer.parameter_list
    assert home == ParameterValue(HOME, Value("home", "string"))
    assert U in host.value.text
    assert expected is None or host.value.text == expected
    assert isinstance(answered.misread, MalformedXmlError), "it is said why"
    assert answered.id_echoed


def test_an_inform_is_read_and_says_who_it_is() -> None:
    parameters = (ParameterValue(HOST, Value("DIRT", "string")), ParameterValue(HOME, Value("home", "string")))
    inform = m.Inform(DeviceId("MAKER", *INFORM.device_id.key), INFORM.event, 1, INFORM.current_time, 0, parameters)
    body = dirty(b"Jos\xe9", inform, "c1").replace(b"MAKER", b"T\xe9l\xe9")
    (informed,) = AcsSession("s1", 0.0).receive_untrusted(body)
    assert isinstance(informed, Informed)
    assert informed.misread is not None
    assert informed.inform.device_id == DeviceId("T�l�", "00256D", "Box", "S1")
    assert [p.value.text for p in informed.inform.parameter_list] == [f"Jos{U}", "home"]


def test_the_fault_that_answers_a_read_is_read() -> None:
    fault = m.Fault(9005, "DIRT")
    (answered,) = asked(GET).receive_untrusted(dirty(b"param\xe8tre inconnu", fault))
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, m.Fault)
    assert (answered.answer.fault_code, answered.answer.fault_string) == (9005, "param�tre inconnu")


def test_an_encoding_not_taken_hides_what_is_not_ascii_alone() -> None:
    for raw, expected in ((b"x", "x"), ("我".encode("gbk"), None)):
        body = dirty(raw).replace(b'encoding="UTF-8"', b'encoding="GB2312"')
        (answered,) = asked(GET).receive_untrusted(body)
        assert isinstance(answered, Answered)
        assert isinstance(answered.answer, m.GetParameterValuesResponse)
        found = answered.answer.parameter_list[0].value.text
        assert found == expected if expected else U in found


def test_declared_latin_1_is_decoded_beside_a_bad_character() -> None:
    body = dirty(b"Jos\xe9 & Ana").replace(b'encoding="UTF-8"', b'encoding="ISO-8859-1"')
    found = expect(m.GetParameterValuesResponse, salvaged(body)[1])
    assert found.parameter_list[0].value.text == f"José &{U} Ana"


def test_comments_and_layout_are_passed_over() -> None:
    body = dirty(b"a\x01").replace(b"<ParameterList", b"<!-- <Value>\x01</Value> --><ParameterList")
    with pytest.raises(MalformedXmlError, match="in values"):
        salvaged(body.replace(b"<ParameterValueStruct>", b"\x02<ParameterValueStruct>"))
    assert isinstance(salvaged(body)[1], m.GetParameterValuesResponse)


def test_d11_blanks_round_names_are_no_part_of_them() -> None:
    values = m.GetParameterValuesResponse((ParameterValue(f" {HOME}\n", Value(" home ", "string")),))
    names = m.GetParameterNamesResponse((ParameterInfo(f"\t{HOME} ", True),))
    body = envelope.write(values, Header("1"), CwmpVersion.V1_0)
    assert read(body).message == m.GetParameterValuesResponse((ParameterValue(HOME, Value(" home ", "string")),))
    body = envelope.write(names, Header("1"), CwmpVersion.V1_0)
    assert read(body).message == m.GetParameterNamesResponse((ParameterInfo(HOME, True),))
    event = InformEvent(" 1 BOOT ", "")
    inform = envelope.write(INFORM, Header("1"), CwmpVersion.V1_0).replace(b">1 BOOT<", b"> 1 BOOT <")
    found = expect(m.Inform, read(inform).message)
    assert found.event[0].event_code == event.event_code.strip()


# --- what never is ----------------------------------------------------------------------------------------------------

ANSWERS = {
    SET: m.SetParameterValuesResponse(0),
    m.AddObject("Device.NAT.PortMapping.", "k"): m.AddObjectResponse(1, 0),
    m.DeleteObject("Device.NAT.PortMapping.1.", "k"): m.DeleteObjectResponse(0),
    m.Reboot("k"): m.RebootResponse(),
    m.FactoryReset(): m.FactoryResetResponse(),
}


@pytest.mark.parametrize("request_", ANSWERS, ids=lambda r: type(r).__name__)
def test_what_cpe_says_of_write_is_read_strictly_or_not_at_all(request_: AcsRequest) -> None:
    for answer in (ANSWERS[request_], m.Fault(9002, "no")):
        body = dirty(b"", answer).replace(b"<soapenv:Body>", b"<soapenv:Body><!--\x01-->")
        assert salvaged(body)[1] == answer, "it could be read"
        session = asked(request_)
        (ended,) = session.receive_untrusted(body)
        assert isinstance(ended, Ended)
        assert (ended.reason, ended.unanswered) == (EndReason.UNREADABLE, request_)
        assert session.respond(3.0) == AcsReply(400)


def test_an_answer_to_a_write_is_no_answer_to_a_read() -> None:
    (ended,) = asked(GET).receive_untrusted(
        dirty(b"", m.SetParameterValuesResponse(0)).replace(b"<soapenv:Body>", b"<soapenv:Body><!--\x01-->")
    )
    assert isinstance(ended, Ended)
    assert ended.reason is EndReason.UNREADABLE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"<Name>Device.Hosts", b"<Name>D\xe9vice.Hosts", "Name"),
        (b"s1-1", b"s1-\x01", "header ID"),
        (b'xsi:type="xsd:string">DIRT', b'xsi:type="xsd:str\x01ing">DIRT', "markup"),
        (b"</Value>", b"</Val\x01ue>", "mismatched"),
        (b"<soapenv:Body>", b"<soapenv:Body>\x01", "in values"),
        (b"DIRT", b"</Value>", "mismatched"),
        (b"DIRT", b"<!-- a", "-->"),
        (b"<soapenv:Envelope", b"<!DOCTYPE a><soapenv:Envelope", "document type"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(old: bytes, new: bytes, said: str) -> None:
    body = dirty(b"DIRT\xe9").replace(old, new, 1)
    with pytest.raises(RemoteCwmpError, match=said):
        salvaged(body)
    (ended,) = asked(GET).receive_untrusted(body)
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.unanswered) == (EndReason.UNREADABLE, GET)


@pytest.mark.parametrize("old", [b"00256D", b"S1", b"1 BOOT", b"Box"])
def test_who_it_is_and_why_it_calls_is_never_guessed(old: bytes) -> None:
    body = envelope.write(INFORM, Header("c1"), CwmpVersion.V1_0).replace(b">" + old, b">\xe9" + old[1:])
    with pytest.raises(MalformedMessageError):
        salvaged(body)


@pytest.mark.parametrize("junk", [b"<", b"&", b"&amp;", b"<a ", b'<a b="', b"<a>", b"\xff", b"]]>", b"\x00"])
def test_junk_without_end_is_bounded(junk: bytes) -> None:
    with pytest.raises(MalformedXmlError):
        salvaged(junk * (limits.SALVAGE_BYTES // len(junk)))


def test_a_large_answer_is_not_read_twice() -> None:
    with pytest.raises(MalformedXmlError, match="at most"):
        in_one_go(salvage.mended_in_slices_untrusted(b"x" * (limits.SALVAGE_BYTES + 1)))


@given(st.binary(max_size=200))
@example(b"<?xml")
@example(b"&#x;")
@example(b"\xef\xbb\xbf<a>\xff</a>")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for body in (data, dirty(data)):
        try:
            found = salvaged(body)[1]
        except RemoteCwmpError:
            continue
        assert found is not None


@given(st.binary(max_size=40).filter(lambda raw: b"<" not in raw and b"\x00" not in raw))
def test_what_is_read_strictly_is_read_so_too(data: bytes) -> None:
    try:
        strict = read(dirty(data)).message
    except RemoteCwmpError:
        return
    if "�".encode() not in data:
        assert salvaged(dirty(data))[1] == strict


@pytest.mark.parametrize("kind", ["string", "base64"])
def test_what_could_not_be_decoded_is_never_sent(kind: str) -> None:
    marked = m.SetParameterValues((ParameterValue(HOME, Value(f"Jos{U}", kind)),), "k")
    for message in (marked, m.Reboot(U)):
        with pytest.raises(LocalCwmpError):
            envelope.write(message, Header("1"), CwmpVersion.V1_2)


# --- nothing is written from it ---------------------------------------------------------------------------------------


def test_a_row_that_may_be_the_one_is_not_written_over() -> None:
    table = "Device.NAT.PortMapping."
    found = {
        f"{table}1.Description": CachedParameter(f"caf{U}", "string", 1),
        f"{table}1.ExternalPort": CachedParameter("80", "unsignedInt", 1),
        f"{table}2.ExternalPort": CachedParameter("81", "unsignedInt", 1),
        f"{table}2.Description": CachedParameter("x", "string", 1),
        f"{table}2.InternalClient": CachedParameter(U, "string", 1),
    }
    by_text = TableRow(table, {"Description": "café"}, ("ExternalPort",))
    assert rows.number_of(by_text, found) is None
    assert rows.unreadable(by_text, found, whole=False) == (f"{table}1.Description",)
    by_port = TableRow(table, {"ExternalPort": "81"}, ("Description",))
    assert rows.unreadable(by_port, found, whole=False) == ()
    assert rows.unreadable(by_port, found, whole=True) == (f"{table}2.InternalClient",)


async def test_a_dirty_cpe_is_read_and_its_dirty_value_is_not_written(tmp_path: Path) -> None:
    quirks = Quirks(garbles=((SSID, b"Caf\xe9"),), blank_names=True)
    async with acs_rig(tmp_path, quirks=quirks) as rig:
        found = await rig.connector.refresh(rig.name(), ())
        assert found == (), "nothing is refused"
        known = rig.known_values()
        assert (known[SSID].value, known[SSID].unreadable) == (f"Caf{U}", True)
        assert sum(k.unreadable for k in known.values()) == 1
        assert not any(path != path.strip() for path in known)
        assert await reads(rig, SSID) == text(f"Caf{U}")
        writes = await changes(rig, {SSID: text("x")})
        with pytest.raises(NotSentError) as caught:
            await rig.line.send(ticket(writes))
        assert caught.value.reason == "unreadable-value"
        assert rig.cpe.device.tree.get(SSID) == "home"


async def test_d2_what_cannot_be_read_at_all_has_a_named_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quirks = Quirks(garbles=((SSID, b"a</Value></b>"),))
    async with acs_rig(tmp_path, quirks=quirks) as rig:
        with pytest.raises(UnreadableError, match="mismatched tag") as caught:
            await reads(rig, SSID)
        assert caught.value.reason == "unreadable-answer"
        trouble = rig.connector.last_trouble(rig.name()) or ""
        assert "cannot be read" in trouble
        assert "mismatched tag" in trouble
        (logged,) = [record for record in caplog.records if record.message == "cwmp-trouble"]
        assert (logged.__dict__["target"], logged.__dict__["reason"]) == (rig.line.target.id, trouble)
        rig.cpe.device.quirks = Quirks()
        await rig.on_the_line()
        assert await reads(rig, SSID) == text("home")
        await rig.hang_up()
        assert rig.connector.last_trouble(rig.name()) is None, "its last session was sound"


async def test_a_write_whose_answer_is_dirty_is_unknown_and_says_why(tmp_path: Path) -> None:
    async with acs_rig(tmp_path) as rig:
        writes = await changes(rig, {SSID: text("x")})
        _garble_answers(rig)
        with pytest.raises(LostError, match="cannot be read") as caught:
            await rig.line.send(ticket(writes))
        assert caught.value.reason == "unreadable-answer"


def _garble_answers(rig: AcsRig) -> None:
    """From now on the CPE's answers to SetParameterValues hold a control character."""
    device = rig.cpe.device
    receive = device.receive

    def garbled(data: bytes) -> bytes | None:
        answer = receive(data)
        return None if answer is None else answer.replace(b"<Status>", b"\x01<Status>")

    device.receive = garbled  # type: ignore[method-assign]  # a CPE worse than any quirk
