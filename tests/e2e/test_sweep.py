"""The search finds what it is for, in every form; else that it found nothing would say nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
import zlib
from urllib.parse import quote

import pytest

from tests.e2e.sweep import Sweep

TOKENS = {
    "name": "Zoë Qwertzux Шевченко",
    "phone": "+35 98123456789",
    "mac": "02:1A:4F:9C:77:E3",
    "address": "10.99.4.77",
}


def planted_forms() -> dict[str, bytes]:
    name, phone, mac, address = TOKENS.values()
    found = {
        "as it is": name.encode(),
        "in capitals": name.upper().encode(),
        "in mixed case": b"qWERTZUX".join(name.encode().split(b"Qwertzux")),
        "without separators": b"35" + b"98123456789",
        "with other separators": mac.replace(":", "-").lower().encode(),
        "packed mac": bytes.fromhex(mac.replace(":", "")).hex().encode(),
        "backwards": phone[::-1].encode(),
        "utf-16-le": name.encode("utf-16-le"),
        "utf-16-be": name.encode("utf-16-be"),
        "decomposed": unicodedata.normalize("NFD", name).encode(),
        "hex": phone.encode().hex().encode(),
        "HEX": phone.encode().hex().upper().encode(),
        "url": quote(name).encode(),
        "json": json.dumps(name).encode(),
        "crc32": f"{zlib.crc32(phone.encode()):08x}".encode(),
        "crc32 as a number": str(zlib.crc32(mac.encode())).encode(),
        "packed address": b"\x0a\x04" + bytes(map(int, address.split("."))),
    }
    for wrap in (b"", b"x", b"xy"):
        found[f"base64 behind {len(wrap)}"] = base64.b64encode(wrap + phone.encode() + b"tail")
        found[f"base64url behind {len(wrap)}"] = base64.urlsafe_b64encode(wrap + name.encode())
    for algorithm in ("md5", "sha1", "sha256"):
        digest = hashlib.new(algorithm, phone.encode()).digest()
        lower = hashlib.new(algorithm, name.casefold().encode()).digest()
        found |= {algorithm: digest, f"{algorithm} in hex": digest.hex().encode()}
        found[f"{algorithm} in base64"] = base64.b64encode(lower)
    envelope = json.dumps({"payload": base64.b64encode(json.dumps({"note": name}).encode()).decode()}).encode()
    found["in an envelope"] = b"\x22" + bytes([len(envelope) & 127 | 128, len(envelope) >> 7]) + envelope
    found["base64 twice"] = base64.b64encode(b"ab" + base64.b64encode(b"c" + phone.encode()))
    return found


@pytest.mark.parametrize("form", planted_forms())
def test_the_sweep_finds_what_is_planted(form: str) -> None:
    planted = planted_forms()[form]
    around = planted if form in ("packed address", "in an envelope") else b"before " + planted + b" after"
    search = Sweep(TOKENS)
    assert search.leaks({"a piece": around})
    broken = bytes(byte ^ 1 if n % 3 == 1 else byte for n, byte in enumerate(around))
    assert not search.leaks({"a piece": broken})


def test_the_sweep_finds_nothing_in_noise() -> None:
    noise = hashlib.shake_256(b"noise").digest(100_000)
    assert Sweep(TOKENS).leaks({"noise": noise, "hex": noise.hex().encode(), "base64": base64.b64encode(noise)}) == []
