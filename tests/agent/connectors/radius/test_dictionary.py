"""The dictionary that we ship, the NAS profiles, and the names of Error-Cause."""

from __future__ import annotations

import pytest

from agent.connectors.radius.dictionary import IDENTIFICATION, cause_name, load, profile, profile_names
from agent.connectors.radius.errors import UnknownProfileError


def test_profiles_name_only_attributes_of_the_dictionary() -> None:
    assert {"mikrotik", "generic", "cisco"} <= set(profile_names())
    for name in profile_names():
        p = profile(name)
        assert set(p.identify) <= IDENTIFICATION
        assert {"User-Name", "Acct-Session-Id"} <= set(p.identify), "User-Name alone may hit another session"
        assert p.timeout_s > 0
        assert p.retries >= 1
    assert set(load().attributes) >= IDENTIFICATION


def test_an_unknown_profile_is_refused_and_never_a_path() -> None:
    for name in ("nokia", "../profiles/mikrotik", "", "mikrotik.toml"):
        with pytest.raises(UnknownProfileError, match="expected one of cisco"):
            profile(name)


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        (201, "Residual-Session-Context-Removed"),
        (401, "Unsupported-Attribute"),
        (403, "NAS-Identification-Mismatch"),
        (503, "Session-Context-Not-Found"),
        (508, "Multiple-Session-Selection-Unsupported"),
        (599, "Error-Cause 599"),
        (None, ""),
    ],
)
def test_error_causes_have_their_names(cause: int | None, name: str) -> None:
    assert cause_name(cause) == name


@pytest.mark.parametrize(
    ("name", "vendor", "number"),
    [("Mikrotik-Rate-Limit", "Mikrotik", 8), ("Mikrotik-Address-List", "Mikrotik", 19), ("Cisco-AVPair", "Cisco", 1)],
)
def test_vendor_attributes_have_the_vendors_numbers(name: str, vendor: str, number: int) -> None:
    found = load().attributes[name]
    assert (found.vendor, found.code) == (vendor, number)
    assert load().vendors.GetForward("Mikrotik") == 14988
