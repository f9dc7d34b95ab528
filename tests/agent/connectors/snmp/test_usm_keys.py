"""Keys of USM: the vectors of RFC 3414, section A.3, and pysnmp's own derivation for everything newer."""

from __future__ import annotations

import pysnmp.hlapi.v3arch.asyncio  # noqa: F401  the modules below import each other, and this order works
import pytest
from pysnmp.proto.rfc1902 import OctetString
from pysnmp.proto.secmod.eso.priv import aes192, aes256
from pysnmp.proto.secmod.rfc3414.auth import hmacmd5, hmacsha
from pysnmp.proto.secmod.rfc3414.priv import des
from pysnmp.proto.secmod.rfc3826.priv import aes
from pysnmp.proto.secmod.rfc7860.auth import hmacsha2

from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol
from agent.connectors.snmp.usm_keys import localized, password_to_key, privacy_key
from tests.agent.connectors.snmp.net_snmp import credential

ENGINE_ID = bytes(11) + b"\x02"
SERVICES = {auth: (1, 3, 6, 1, 6, 3, 10, 1, 1, n) for n, auth in enumerate(AuthProtocol, 2)}
"""usmHMACMD5AuthProtocol(2) to usmHMAC384SHA512AuthProtocol(7)."""
AUTHS = {
    AuthProtocol.MD5: hmacmd5.HmacMd5(),
    AuthProtocol.SHA: hmacsha.HmacSha(),
    **{auth: hmacsha2.HmacSha2(SERVICES[auth]) for auth in list(AuthProtocol)[2:]},
}
PRIVS = {
    PrivProtocol.DES: des.Des(),
    PrivProtocol.AES_128: aes.Aes(),
    PrivProtocol.AES_192: aes192.AesBlumenthal192(),
    PrivProtocol.AES_256: aes256.AesBlumenthal256(),
    PrivProtocol.AES_192_CISCO: aes192.Aes192(),
    PrivProtocol.AES_256_CISCO: aes256.Aes256(),
}


@pytest.mark.parametrize(
    ("auth", "key", "local"),
    [
        (AuthProtocol.MD5, "9faf3283884e92834ebc9847d8edd963", "526f5eed9fcce26f8964c2930787d82b"),
        (
            AuthProtocol.SHA,
            "9fb5cc0381497b3793528939ff788d5d79145211",
            "6695febc9288e36282235fc7151f128497b38f3f",
        ),
    ],
)
def test_the_vectors_of_rfc_3414(auth: AuthProtocol, key: str, local: str) -> None:
    assert password_to_key(auth, b"maplesyrup").hex() == key
    assert localized(auth, b"maplesyrup", ENGINE_ID).hex() == local


@pytest.mark.parametrize("auth", AuthProtocol)
def test_pysnmp_derives_the_same_keys(auth: AuthProtocol) -> None:
    name, engine = SERVICES[auth], OctetString(ENGINE_ID)
    theirs = AUTHS[auth]
    key = theirs.localize_key(theirs.hash_passphrase(b"maplesyrup"), engine)
    assert localized(auth, b"maplesyrup", ENGINE_ID) == bytes(key)
    for priv, cipher in PRIVS.items():
        ours = privacy_key(auth, priv, b"maplesyrup", ENGINE_ID)
        key = cipher.localize_key(name, OctetString(cipher.hash_passphrase(name, b"maplesyrup")), engine)
        assert ours == bytes(key)[: len(ours)], priv


def test_secrets_are_not_shown() -> None:
    asked = credential(AuthProtocol.SHA, PrivProtocol.AES_128)
    assert "pass12345" not in repr(asked)
