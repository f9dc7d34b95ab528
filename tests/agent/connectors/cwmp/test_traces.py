"""Traces of sessions: both directions are shown as they come, bounded, and no secret is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.base import LostError, UnreadableError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.structs import ParameterFault, ParameterValue
from agent.connectors.cwmp.traces import masked_untrusted
from agent.cpe_model.known import TracedMessage
from lab.cpe.quirks import Quirks
from tests.agent.connectors.cwmp.http_rig import said
from tests.builders.acs import KEY, SSID, acs_rig, changes, reads, text, ticket, until

CANARY = "s3cret-canary"


def masked(body: bytes) -> str:
    return masked_untrusted(body, fault_texts=True)


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_values_are_shown_and_secrets_are_counted() -> None:
    values = (
        ParameterValue(SSID, Value("home", "string")),
        ParameterValue(KEY, Value(CANARY, "string")),
        ParameterValue("Device.ManagementServer.Password", Value(CANARY, "string")),
    )
    for body in (said(m.SetParameterValues(values, "k1")), said(m.GetParameterValuesResponse(values))):
        shown = masked(body)
        assert CANARY not in shown
        assert f'<Name>{SSID}</Name><Value xsi:type="xsd:string">home</Value>' in shown
        assert f'<Name>{KEY}</Name><Value xsi:type="xsd:string">({len(CANARY)} characters)</Value>' in shown


def test_a_download_shows_no_credentials_and_no_token() -> None:
    request = m.Download("k", "1 Firmware Upgrade Image", f"http://acs/{CANARY}", CANARY, CANARY, 5, "x", 0, "", "")
    shown = masked(said(request))
    assert CANARY not in shown
    assert "<FileType>1 Firmware Upgrade Image</FileType>" in shown


def test_text_of_fault_is_hidden_where_it_may_repeat_value() -> None:
    body = said(m.Fault(9007, f"bad {CANARY}", (ParameterFault(KEY, 9007, f"bad {CANARY}"),)))
    assert CANARY in masked(body)
    hidden = masked_untrusted(body, fault_texts=False)
    assert CANARY not in hidden
    assert "<FaultCode>9007</FaultCode>" in hidden


@pytest.mark.parametrize(
    "body",
    [
        f"<Name>{KEY}</Name><Value>{CANARY}",
        f"<Name>{KEY}<\x01/Name><Value>{CANARY}</Value>",
        f"<Name>{KEY}</Name><Val\x01ue>{CANARY}</Value>",
        f"<Name>{SSID}</Name><Value>home</Value><Value>{CANARY}</Value>",
        f"<Value>{CANARY}</Value>",
        f"<Name> {KEY} </Name>\n<Value>{CANARY}</Value>",
        f"<Name>{KEY}</Name><Value><![CDATA[{CANARY}]]></Value>",
        f"<a:Name>{KEY}</a:Name><a:Value a='b'>{CANARY}</a:Value>",
        f"<Password>{CANARY}</Password>",
        f"<Vendor>{CANARY}</Vendor>",
        CANARY,
        f"<Name>{SSID}</Name>{CANARY}<Value/>{CANARY}",
        f"<Name/>{CANARY}<Value>{CANARY}</Value>",
    ],
)
def test_what_is_not_known_to_be_no_secret_is_hidden(body: str) -> None:
    assert CANARY not in masked(body.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_shown_somehow(data: bytes) -> None:
    assert isinstance(masked(data), str)


def test_a_long_message_is_clipped() -> None:
    shown = masked(b"<ID>" + b"x" * (2 * limits.TRACE_MESSAGE_BYTES))
    assert len(shown) < limits.TRACE_MESSAGE_BYTES
    assert shown.endswith(f"and {limits.TRACE_MESSAGE_BYTES + 4} bytes more")


# --- of a CPE on the line ---------------------------------------------------------------------------------------------


async def test_the_next_session_is_shown_from_its_inform_to_its_end(tmp_path: Path) -> None:
    told: list[TracedMessage] = []
    async with acs_rig(tmp_path) as rig:
        with rig.connector.traced(rig.name(), 1, told.append):
            assert await reads(rig, SSID) == text("home")
            await rig.hang_up()
            assert told == [], "a session that is under way is not shown from its middle"
            await rig.on_the_line()
            assert await reads(rig, SSID) == text("home")
            await rig.line.send(ticket(await changes(rig, {SSID: text("x")})))
            await rig.hang_up()
            shown = list(told)
            await rig.on_the_line()
            await reads(rig, SSID)
            assert told == shown, "one session was asked for"
    senders = [message.sender for message in told]
    assert senders == ["cpe", "acs"] * (len(senders) // 2) + [""]
    words = ("<cwmp:Inform>", "<cwmp:GetParameterValues>", f"<Name>{SSID}</Name>", "<cwmp:SetParameterValues>")
    assert all(any(word in message.text for message in told) for word in words)
    assert [message.status for message in told if message.sender == "acs"][-1] == 204
    assert told[-1] == TracedMessage("", 0, "the session is over", 0)
    assert all(message.sessions_left == 1 for message in told[:-1])


async def test_what_was_refused_is_shown_with_the_reason(tmp_path: Path) -> None:
    told: list[TracedMessage] = []
    async with acs_rig(tmp_path, quirks=Quirks(garbles=((SSID, b"a</Value></b>"),))) as rig:
        await rig.hang_up()
        with rig.connector.traced(rig.name(), 1, told.append):
            await rig.on_the_line()
            with pytest.raises((UnreadableError, LostError)):
                await reads(rig, SSID)
            await until(lambda: bool(told) and not told[-1].sender)
    *_, cpe, acs, end = told
    assert f"<Name>{SSID}</Name>" in cpe.text
    assert (acs.sender, acs.status) == ("acs", 400)
    assert "mismatched tag" in end.text


async def test_traces_are_few_and_bounded(tmp_path: Path) -> None:
    told: list[TracedMessage] = []
    async with acs_rig(tmp_path) as rig:
        fleet = rig.connector.fleet
        with ExitStack() as stack:
            for _ in range(limits.TRACES):
                stack.enter_context(rig.connector.traced(rig.name(), 1, told.append))
            with pytest.raises(UnreadableError) as caught, rig.connector.traced(rig.name(), 1, told.append):
                pass
            assert caught.value.reason == "many-traces"
        assert fleet._traces == []
        with rig.connector.traced(rig.name(), 1, told.append):
            await rig.hang_up()
            fleet._traces[0].left_bytes = 100
            await rig.on_the_line()
            assert told[-1].sessions_left == 0
            assert told[-1].text.endswith("the trace is full")
            before = len(told)
            await reads(rig, SSID)
            assert len(told) == before
