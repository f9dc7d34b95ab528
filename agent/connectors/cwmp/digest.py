"""HTTP Digest (RFC 7616, RFC 2617, RFC 2069), both sides: the CPE proves itself to us, and we ourselves to a CPE. Pure.

    HA1      = H(user:realm:password)                     "-sess": H(HA1:nonce:cnonce)
    HA2      = H(method:uri)                              auth-int: H(method:uri:H(body))
    response = H(HA1:nonce:nc:cnonce:qop:HA2)             without qop: H(HA1:nonce:HA2)

`DigestGate` is the server. Its nonces carry their time and a MAC, so that none has to be remembered: any process with
the key can judge one. One attack stays open: within a nonce's life, anybody on the wire can replay the same
credentials. `DigestAccepted.nonce` and `.count` let a caller find replays: a count that is not above the last one of
that nonce is one. TLS is the remedy; TR-069 section 3.3 recommends it.

SHA-256 and MD5, with and without "-sess"; no SHA-512-256 and no `userhash`, which no CPE is known to ask for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.cwmp import auth, limits
from agent.connectors.cwmp.auth import Authentication, quoted
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedAuthError

_HASHES: Final = {"MD5": "md5", "SHA-256": "sha256"}
_SESS: Final = "-sess"
_HEX: Final = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_COUNT: Final = re.compile(r"[0-9a-fA-F]{1,8}", re.ASCII)
_MAC_BYTES: Final = 16
_RANDOM_BYTES: Final = 8
_TIME_BYTES: Final = 8
KEY_BYTES: Final = 32


# --- the arithmetic ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DigestInput:
    """The input of a response, besides the password.

    `algorithm`: `MD5`, `SHA-256`, or one of them with `-sess`. `qop`: `auth`, `auth-int`, None as in RFC 2069.
    `count`: nc, eight hexadecimal digits, as sent. `body`: for auth-int.
    """

    realm: str
    nonce: str
    method: str
    uri: str
    algorithm: str = "MD5"
    qop: str | None = None
    cnonce: str = ""
    count: str = ""
    body: bytes = b""


def response_of(user: str, password: str, asked: DigestInput) -> str:
    """Return the response to a challenge, in hexadecimal (RFC 7616 section 3.4.1; RFC 2069 section 2.1.1).

    Raises:
        LocalCwmpError: an algorithm or qop that is not known.
    """
    name, _, sess = asked.algorithm.partition(_SESS)
    if name not in _HASHES or sess or asked.qop not in (None, "auth", "auth-int"):
        raise LocalCwmpError("digest: expected MD5 or SHA-256, and auth, auth-int or no qop")

    def h(data: bytes) -> str:
        return hashlib.new(_HASHES[name], data, usedforsecurity=False).hexdigest()

    def joined(*parts: str) -> bytes:
        return ":".join(parts).encode("utf-8", "surrogatepass")

    ha1 = h(joined(user, asked.realm, password))
    if asked.algorithm.endswith(_SESS):
        ha1 = h(joined(ha1, asked.nonce, asked.cnonce))
    integrity = (h(asked.body),) if asked.qop == "auth-int" else ()
    ha2 = h(joined(asked.method, asked.uri, *integrity))
    if asked.qop is None:
        return h(joined(ha1, asked.nonce, ha2))
    return h(joined(ha1, asked.nonce, asked.count, asked.cnonce, asked.qop, ha2))


# --- server: the CPE proves itself ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DigestAccepted:
    """The proven identity. `nonce`, `count`: for a caller that looks for replays; count is 0 without qop, and for
    Basic.
    """

    user: str
    nonce: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class DigestRejected:
    """Nobody is proven. `stale`: by a nonce that is too old, with a right password: a new challenge says so."""

    stale: bool = False


class DigestGate:
    """The check that a CPE must pass at our HTTP server."""

    def __init__(
        self,
        realm: str,
        key: bytes,
        *,
        algorithms: Sequence[str],
        basic: bool = False,
        without_qop: bool = True,
        life_s: float = limits.NONCE_LIFE_S,
    ) -> None:
        """Take the settings for every CPE.

        Args:
            realm: shown to the CPE.
            key: secret, `KEY_BYTES` random bytes; nonces of another key are stale.
            algorithms: that are offered, the preferred first. Many CPE have MD5 alone, some look at the first alone.
            basic: whether Basic is offered and taken; for TLS.
            without_qop: whether a response as of RFC 2069 is taken, which old CPE give though qop is offered.
            life_s: of a nonce.

        Raises:
            LocalCwmpError: a key of another length, or no algorithm that is known.
        """
        if len(key) != KEY_BYTES or not algorithms or any(a not in _HASHES for a in algorithms):
            raise LocalCwmpError(f"digest: expected a key of {KEY_BYTES} bytes and algorithms of {', '.join(_HASHES)}")
        self._realm, self._key, self._algorithms = realm, key, tuple(algorithms)
        self._basic, self._without_qop, self._life_s = basic, without_qop, life_s

    def challenges(self, now: float, random: bytes, *, stale: bool = False) -> tuple[str, ...]:
        """Return the WWW-Authenticate fields of a 401, the preferred first.

        Args:
            now: seconds since the epoch, so that a nonce outlives a restart.
            random: 8 bytes, new for each call.
            stale: the password was right, the nonce too old.

        Raises:
            LocalCwmpError: another number of random bytes.
        """
        if len(random) != _RANDOM_BYTES:
            raise LocalCwmpError(f"digest: expected {_RANDOM_BYTES} random bytes, got {len(random)}")
        nonce = self._nonce(max(int(now), 0).to_bytes(_TIME_BYTES, "big") + random)
        also = ", stale=true" if stale else ""
        fields = [
            f'Digest realm={quoted(self._realm)}, qop="auth", algorithm={algorithm}, nonce="{nonce}"{also}'
            for algorithm in self._algorithms
        ]
        return (*fields, f"Basic realm={quoted(self._realm)}") if self._basic else tuple(fields)

    def judge_untrusted(
        self,
        header: str,
        method: str,
        target: str,
        password_of: Callable[[str], str | None],
        now: float,
        body: bytes = b"",
    ) -> DigestAccepted | DigestRejected:
        """Return the sender of a request. Total: a field that is no credentials is rejected.

        Args:
            header: its Authorization field.
            method: of the request.
            target: of its request line.
            password_of: user -> password, None where there is no such user; its time should not depend on the user.
            now: as for `challenges`.
            body: of the request, for auth-int.
        """
        try:
            credentials = auth.read_untrusted(header)
            if len(credentials) != 1:
                return DigestRejected()
            if credentials[0].scheme == "basic":
                return self._judge_basic(credentials[0], password_of)
            if credentials[0].scheme == "digest":
                return self._judge_digest(credentials[0].parameters, method, target, password_of, now, body)
        except MalformedAuthError:
            pass
        return DigestRejected()

    def _judge_basic(
        self, credentials: Authentication, password_of: Callable[[str], str | None]
    ) -> DigestAccepted | DigestRejected:
        user, given = auth.basic_of_untrusted(credentials)
        password = password_of(user)
        right = hmac.compare_digest(_bytes(password or ""), _bytes(given))
        return DigestAccepted(user) if self._basic and right and password is not None else DigestRejected()

    def _judge_digest(
        self,
        given: Mapping[str, str],
        method: str,
        target: str,
        password_of: Callable[[str], str | None],
        now: float,
        body: bytes,
    ) -> DigestAccepted | DigestRejected:
        asked = self._asked(given, method, target, body)
        if asked is None:
            return DigestRejected()
        user = given["username"]
        password = password_of(user)
        # Computed for an unknown user as well, so that the time tells nothing
        want = response_of(user, password or "", asked)
        right = hmac.compare_digest(want.encode(), _bytes(given["response"].strip().lower()))
        if not right or password is None:
            return DigestRejected()
        age = self._age_s(asked.nonce, now)
        if age is None or not 0 <= age <= self._life_s:
            return DigestRejected(stale=True)
        return DigestAccepted(user, asked.nonce, int(asked.count, 16) if asked.qop else 0)

    def _asked(self, given: Mapping[str, str], method: str, target: str, body: bytes) -> DigestInput | None:
        """Return the input that the response must be over, None where the credentials cannot be right."""
        if not {"username", "realm", "nonce", "uri", "response"} <= given.keys() or given["realm"] != self._realm:
            return None
        algorithm = _algorithm(given.get("algorithm", "MD5"))
        if algorithm is None or algorithm.removesuffix(_SESS) not in self._algorithms:
            return None
        if not _same_target(given["uri"], target):
            return None
        qop = given.get("qop", "").strip().lower() or None
        cnonce, count = given.get("cnonce", ""), given.get("nc", "")
        if qop is None:
            if not self._without_qop or (algorithm.endswith(_SESS) and not cnonce):
                return None
        elif qop not in ("auth", "auth-int") or not cnonce or not _COUNT.fullmatch(count):
            return None
        return DigestInput(self._realm, given["nonce"], method, given["uri"], algorithm, qop, cnonce, count, body)

    def _nonce(self, stamp: bytes) -> str:
        mac = hmac.digest(self._key, b"cwmp nonce\x00" + _bytes(self._realm) + b"\x00" + stamp, "sha256")[:_MAC_BYTES]
        return (stamp + mac).hex()

    def _age_s(self, nonce: str, now: float) -> float | None:
        """Return the age of a nonce of ours in seconds, None where it is not ours."""
        try:
            data = bytes.fromhex(nonce)
        except ValueError:
            return None
        stamp = data[: _TIME_BYTES + _RANDOM_BYTES]
        if len(data) != _TIME_BYTES + _RANDOM_BYTES + _MAC_BYTES:
            return None
        if not hmac.compare_digest(self._nonce(stamp).encode(), _bytes(nonce)):
            return None
        return now - int.from_bytes(stamp[:_TIME_BYTES], "big")


def _algorithm(text: str) -> str | None:
    """Return an algorithm in its own spelling, None where it is not known."""
    name, sess, rest = text.strip().upper().partition("-SESS")
    return None if name not in _HASHES or rest else name + (_SESS if sess else "")


def _same_target(uri: str, target: str) -> bool:
    """Return whether credentials are for this request; CPE give the whole URL or the path (RFC 7616 3.4.6)."""
    return _path(uri) == _path(target)


def _path(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    if not separator or "/" in scheme:
        return uri
    return "/" + rest.partition("/")[2]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# --- client: we prove ourselves, for a connection request -------------------------------------------------------------


def credentials_untrusted(
    challenges: Sequence[str],
    method: str,
    uri: str,
    user: str,
    password: str,
    cnonce: str,
    *,
    count: int = 1,
    basic: bool = False,
) -> str:
    """Return the Authorization field that answers a CPE's challenge: SHA-256 before MD5, Basic only where allowed.

    Args:
        challenges: the WWW-Authenticate fields of its 401.
        method: of our request, `GET` for a connection request (TR-069 section 3.2.2).
        uri: the target of our request line.
        user: that the CPE knows us by.
        password: shared with this CPE.
        cnonce: random, new for each call.
        count: how often this nonce was used, this time included.
        basic: whether the password may go out as it is.

    Raises:
        MalformedAuthError: no challenge that can be answered.
        LocalCwmpError: a value that no header can hold.
    """
    offered = [each for field in challenges for each in auth.read_untrusted(field)]
    digests = [(algorithm, each) for each in offered if (algorithm := _answerable(each)) is not None]
    for name in ("SHA-256", "MD5"):
        for algorithm, each in digests:
            if algorithm.removesuffix(_SESS) == name:
                return _digest_credentials(each, algorithm, method, uri, user, password, cnonce, count)
    if basic and any(each.scheme == "basic" for each in offered):
        return auth.basic_credentials(user, password)
    raise MalformedAuthError("authentication: expected a Digest challenge of MD5 or SHA-256")


def is_stale_untrusted(challenges: Sequence[str]) -> bool:
    """Return whether a Digest challenge says that an answer had a nonce which is too old (RFC 7616 3.3). Total.

    Args:
        challenges: the WWW-Authenticate fields of a 401.
    """
    try:
        offered = [each for field in challenges for each in auth.read_untrusted(field)]
    except MalformedAuthError:
        return False
    return any(e.scheme == "digest" and e.parameters.get("stale", "").strip().lower() == "true" for e in offered)


def _answerable(challenge: Authentication) -> str | None:
    """Return the algorithm of a challenge that we can answer, None where we cannot."""
    given = challenge.parameters
    if challenge.scheme != "digest" or "nonce" not in given or "realm" not in given:
        return None
    offered = _qops(challenge)
    return _algorithm(given.get("algorithm", "MD5")) if not offered or {"auth", "auth-int"} & offered else None


def _qops(challenge: Authentication) -> set[str]:
    return {word for each in challenge.parameters.get("qop", "").split(",") if (word := each.strip().lower())}


def _digest_credentials(
    challenge: Authentication,
    algorithm: str,
    method: str,
    uri: str,
    user: str,
    password: str,
    cnonce: str,
    count: int,
) -> str:
    given, offered = challenge.parameters, _qops(challenge)
    qop = None if not offered else "auth" if "auth" in offered else "auth-int"
    if not 1 <= count <= 0xFFFFFFFF or not _HEX.fullmatch(cnonce):
        raise LocalCwmpError("digest: expected a count of 1 or more and a hexadecimal cnonce")
    asked = DigestInput(given["realm"], given["nonce"], method, uri, algorithm, qop, cnonce, f"{count:08x}")
    parts = [
        f"username={quoted(user)}",
        f"realm={quoted(given['realm'])}",
        f"nonce={quoted(given['nonce'])}",
        f"uri={quoted(uri)}",
        f'response="{response_of(user, password, asked)}"',
    ]
    if "algorithm" in given:
        parts.append(f"algorithm={algorithm}")
    if "opaque" in given:
        parts.append(f"opaque={quoted(given['opaque'])}")
    if qop is not None:
        parts.append(f"qop={qop}, nc={count:08x}")
    if qop is not None or algorithm.endswith(_SESS):
        parts.append(f'cnonce="{cnonce}"')
    return "Digest " + ", ".join(parts)
