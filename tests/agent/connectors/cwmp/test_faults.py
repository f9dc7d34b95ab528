"""What is said of a CPE's refusal: never a value, and nothing that acts on a terminal."""

from __future__ import annotations

from agent.connectors.cwmp.faults import fault_text, refused
from agent.connectors.cwmp.messages import Fault
from agent.connectors.cwmp.structs import ParameterFault

SSID, KEY = "Device.WiFi.SSID.1.SSID", "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
EVIL = "\u202e\x9b"


def test_a_code_of_the_standard_has_its_name() -> None:
    assert fault_text(Fault(9002, "whatever")) == "9002 Internal error"
    fault = Fault(9003, "x", (ParameterFault(SSID, 9007, "no"),))
    assert fault_text(fault) == f"9003 Invalid arguments: {SSID} 9007"


def test_the_cpes_own_text_is_clipped_and_made_safe() -> None:
    text = fault_text(Fault(9801, f"{EVIL}{'x' * 5000}"))
    assert text.startswith("9801 ")
    assert len(text) < 400
    assert not set(EVIL) & set(text)
    assert fault_text(Fault(None, "why not")) == "a SOAP fault why not"


def test_a_refused_setting_tells_only_codes_and_what_was_asked() -> None:
    secret = "correct horse battery"
    fault = Fault(
        9801, f"bad value {secret}", (ParameterFault(KEY, 9801, secret), ParameterFault(secret, 9005, secret))
    )
    reply = refused(fault, [KEY, SSID])
    assert reply.detail == f"9801: {KEY} 9801, another 9005"
    assert (reply.accepted, reply.reason) == (False, "fault-9801")


def test_names_of_parameters_are_made_safe() -> None:
    fault = Fault(9003, "", tuple(ParameterFault(f"{EVIL}{n}", 9005, "") for n in range(12)))
    text = fault_text(fault)
    assert not set(EVIL) & set(text)
    assert text.endswith("and 2 more")
