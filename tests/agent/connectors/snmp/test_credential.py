"""Credentials: combinations that SNMP allows, and sentences about the others."""

from __future__ import annotations

import pytest

from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import UnusableCredentialError

V3, SHA, AES, KEY = SnmpVersion.V3, AuthProtocol.SHA, PrivProtocol.AES_128, b"long-enough"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"version": SnmpVersion.V2C, "user": "a"}, "version 2c has a community only"),
        ({"version": SnmpVersion.V1, "auth": SHA, "auth_key": KEY}, "version 1 has a community only"),
        ({"version": V3, "user": "a", "community": b"c"}, "version 3 has users, no community"),
        ({"version": V3}, "user: expected 1 to 32 octets, got 0"),
        ({"version": V3, "user": "ë" * 17}, "user: expected 1 to 32 octets, got 34"),
        ({"version": V3, "user": "a", "priv": AES, "priv_key": KEY}, "priv needs auth"),
        (
            {"version": V3, "user": "a", "auth": SHA, "auth_key": b"short"},
            "auth_key: expected .* 8 octets, got 5",
        ),
        ({"version": V3, "user": "a", "auth": SHA, "auth_key": KEY, "priv": AES}, "priv_key: expected .* got 0"),
        ({"version": V3, "user": "a", "auth_key": KEY}, "auth_key without auth: name the protocol"),
        ({"version": V3, "user": "a", "auth": SHA, "auth_key": KEY, "priv_key": KEY}, "priv_key without priv"),
    ],
)
def test_what_is_not_allowed(made: dict[str, object], why: str) -> None:
    with pytest.raises(UnusableCredentialError, match=why) as caught:
        SnmpCredential(**made)  # type: ignore[arg-type]  # by name, from a table
    assert "long-enough" not in str(caught.value)


def test_secrets_have_no_repr() -> None:
    shown = repr(SnmpCredential(V3, user="a", auth=SHA, auth_key=KEY, priv=AES, priv_key=KEY))
    assert "long-enough" not in shown
    assert "user='a'" in shown
