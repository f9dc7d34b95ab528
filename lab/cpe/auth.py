"""HTTP authentication, both sides: Basic (RFC 7617) and Digest (RFC 7616, and RFC 2069 where there is no qop)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*)|([A-Za-z0-9_-]+)')
_HASHES: Final[dict[str, Callable[[bytes], str]]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
_NONCES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of WWW-Authenticate, or the content of Authorization. Names of schemes and fields are in lower
    case.
    """

    scheme: str
    fields: Mapping[str, str]


def read_challenges_untrusted(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers, one or several in each."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for name, value, scheme in _TOKEN.findall(header):
            if scheme:
                found.append((scheme.lower(), {}))
            elif found:
                text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
                found[-1][1][name.lower()] = text
    return [Challenge(scheme, fields) for scheme, fields in found]


def basic(username: str, password: str) -> str:
    """The value of Authorization."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def _response(
    fields: Mapping[str, str], username: str, password: str, method: str, uri: str, body: bytes
) -> str | None:
    """The `response` of RFC 7616 section 3.4.1, None for an algorithm that this does not know."""
    name = fields.get("algorithm", "MD5").upper()
    hashed = _HASHES.get(name.removesuffix("-SESS"))
    if hashed is None:
        return None

    def h(*parts: str) -> str:
        return hashed(":".join(parts).encode())

    realm, nonce, qop, cnonce = (fields.get(key, "") for key in ("realm", "nonce", "qop", "cnonce"))
    a1 = h(username, realm, password)
    if name.endswith("-SESS"):
        a1 = h(a1, nonce, cnonce)
    a2 = h(method, uri, hashed(body)) if qop == "auth-int" else h(method, uri)
    return h(a1, nonce, fields.get("nc", ""), cnonce, qop, a2) if qop else h(a1, nonce, a2)


class Client:
    """Answers challenges. Keeps the last one, and counts its uses, so that only the first request is challenged."""

    def __init__(self, username: str, password: str, *, preemptive_basic: bool = False, no_qop: bool = False) -> None:
        self._username = username
        self._password = password
        self._no_qop = no_qop
        self._challenge: Challenge | None = Challenge("basic", {}) if preemptive_basic else None
        self._count = 0

    def take(self, headers: Iterable[str]) -> bool:
        """Choose a challenge of a 401: SHA-256, then MD5, then Basic. Tell whether there is one to answer."""
        known = ("MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS")
        offered = [
            one
            for one in read_challenges_untrusted(headers)
            if one.scheme == "basic" or (one.scheme == "digest" and one.fields.get("algorithm", "MD5").upper() in known)
        ]
        offered.sort(key=lambda one: (one.scheme == "basic", one.fields.get("algorithm", "MD5").upper()[:3] != "SHA"))
        self._challenge = offered[0] if offered and self._username else None
        self._count = 0
        return self._challenge is not None

    def header(self, method: str, uri: str, body: bytes) -> str | None:
        """The value of Authorization, None before any challenge."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return basic(self._username, self._password)
        given = self._challenge.fields
        fields = {"realm": given.get("realm", ""), "nonce": given.get("nonce", "")}
        if "algorithm" in given:
            fields["algorithm"] = given["algorithm"]
        offered = [] if self._no_qop else [one.strip() for one in given.get("qop", "").split(",") if one.strip()]
        self._count += 1
        if offered:
            fields["qop"] = "auth" if "auth" in offered else offered[0]
            fields["nc"] = f"{self._count:08x}"
            fields["cnonce"] = secrets.token_hex(8)
        elif fields.get("algorithm", "").upper().endswith("-SESS"):
            fields["cnonce"] = secrets.token_hex(8)
        fields["response"] = _response(fields, self._username, self._password, method, uri, body) or ""
        if "opaque" in given:
            fields["opaque"] = given["opaque"]
        bare = ("algorithm", "qop", "nc")
        fields = {"username": self._username, "uri": uri, **fields}
        return "Digest " + ", ".join(f"{k}={v}" if k in bare else f'{k}="{_quoted(v)}"' for k, v in fields.items())


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class Server:
    """Challenges with Digest (MD5, qop auth), as TR-069 3.2.2 asks of a CPE for connection requests."""

    def __init__(self, realm: str) -> None:
        self._realm = realm
        self._counts: dict[str, int] = {}
        self._nonces: deque[str] = deque()

    def challenge(self) -> str:
        """The value of WWW-Authenticate."""
        nonce = secrets.token_hex(16)
        if len(self._nonces) >= _NONCES_MAX:
            del self._counts[self._nonces.popleft()]
        self._nonces.append(nonce)
        self._counts[nonce] = 0
        return f'Digest realm="{self._realm}", qop="auth", nonce="{nonce}", algorithm=MD5, opaque="cpe"'

    def accepts_untrusted(self, header: str, method: str, uri: str, username: str, password: str) -> bool:
        """Tell whether an Authorization is right; a nonce's count must grow."""
        given = read_challenges_untrusted([header])
        fields = given[0].fields if given and given[0].scheme == "digest" else {}
        used = self._counts.get(fields.get("nonce", ""))
        count = fields.get("nc", "0")
        if used is None or fields.get("username") != username or fields.get("uri") != uri:
            return False
        if fields.get("qop", "auth") != "auth" or re.fullmatch("[0-9a-fA-F]{1,8}", count) is None:
            return False
        if ("qop" in fields or used) and int(count, 16) <= used:
            return False
        wanted = _response({**fields, "realm": self._realm}, username, password, method, uri, b"") or ""
        if not wanted or not hmac.compare_digest(wanted, fields.get("response", "").lower()):
            return False
        self._counts[fields["nonce"]] = max(int(count, 16), 1)
        return True
