"""Settings of CPE, as people type them."""

from __future__ import annotations

import pytest

from trust.cpe_settings import read_rings_untrusted, read_settings
from trust.errors import MalformedError


def test_values_rows_and_deleted_rows() -> None:
    ports = "Device.NAT.PortMapping."
    found = read_settings(
        ["wifi.1.ssid=Home=sweet", "Device.A="],
        [f"{ports}[ExternalPort=80]:Enable=true,InternalPort=8080"],
        [f"{ports}[ExternalPort=81]"],
    )
    assert found == {
        "wifi.1.ssid": "Home=sweet",
        "Device.A": "",
        f"+{ports}[ExternalPort=80]": "Enable=true,InternalPort=8080",
        f"-{ports}[ExternalPort=81]": "",
    }
    assert read_settings([], [], []) == {}


@pytest.mark.parametrize(
    ("values", "rows", "wanted"),
    [
        (["wifi.1.ssid"], [], "expected NAME=VALUE, got 'wifi.1.ssid'"),
        (["=Home"], [], "expected NAME=VALUE, got '=Home'"),
        (["a=1", "a=2"], [], "expected a once, got it twice"),
        ([], ["Device.T.[A=1]"], r"expected TABLE.\[FIELD=VALUE\]:FIELD=VALUE,…, got 'Device.T"),
    ],
)
def test_other_texts_are_refused(values: list[str], rows: list[str], wanted: str) -> None:
    with pytest.raises(MalformedError, match=wanted):
        read_settings(values, rows, [])


def test_rings_are_percents_that_rise() -> None:
    assert read_rings_untrusted("1, 10,50") == (1, 10, 50)
    assert read_rings_untrusted("5,100") == (5,)
    for wrong in ("", "0", "101", "10,10", "50,1", "a", "1,,2", "²", "1.5", "1,2,3,4,5,6,7,8,9,10,11"):
        with pytest.raises(MalformedError, match="rings: expected"):
            read_rings_untrusted(wrong)
