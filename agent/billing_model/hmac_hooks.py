"""Webhooks that are signed with HMAC over the raw body (RFC 2104): the parts that all such schemes share. Pure.

`HmacScheme` is enough for a system whose calls say no more than that something changed. Two secrets hold while one
replaces the other. Nothing is parsed before its signature was verified.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hooks import Heard, HookCall
from agent.config_schema import Key, Kind, choice, text

_SIGNATURE_MOST: Final = 512
"""Characters of a header with a signature; SHA-512 in hexadecimal has 128."""
_DEPTH: Final = 32
"""Nesting of arrays and objects. Chosen arbitrarily; senders go to some 8."""


class HookHash(enum.Enum):
    """The hash of an HMAC. SHA-1 is still sound in it, and one billing system uses it."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"


class HookEncoding(enum.Enum):
    """How a header writes an HMAC."""

    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class HmacStyle:
    """Where a system writes the HMAC of a body, and how.

    `header`: its name in small letters. `prefix`: stands before the HMAC, as `sha256=`; "": nothing does.
    """

    header: str
    hash: HookHash
    encoding: HookEncoding = HookEncoding.HEX
    prefix: str = ""


def signature(style: HmacStyle, secret: bytes, data: bytes) -> str:
    """Return the HMAC of some bytes as a header writes it, without its prefix."""
    found = hmac.digest(secret, data, style.hash.value)
    return found.hex() if style.encoding is HookEncoding.HEX else base64.b64encode(found).decode()


def same(given: str, style: HmacStyle, secrets: Sequence[bytes], data: bytes) -> bool:
    """Return whether a text is the HMAC of some bytes under one of the secrets. Its time tells nothing of either."""
    written = given.lower() if style.encoding is HookEncoding.HEX else given
    offered = written[:_SIGNATURE_MOST].encode("utf-8", "replace")
    hits = [hmac.compare_digest(offered, signature(style, secret, data).encode()) for secret in secrets if secret]
    return any(hits)


def verify_hmac(style: HmacStyle, secrets: Sequence[bytes], call: HookCall) -> None:
    """Return if a call's body is signed in a style under one of the secrets.

    Raises:
        ForgedHookError: it is not.
    """
    given = call.headers.get(style.header, "")
    if not given.startswith(style.prefix):
        raise ForgedHookError(f"expected a header {style.header} that begins with {style.prefix}")
    if not same(given.removeprefix(style.prefix), style, secrets, call.body):
        raise ForgedHookError(f"expected the HMAC of the body in {style.header}, got none or another")


def event_of(body: bytes) -> str:
    """Return an event id for a call without one: the same bytes are the same event."""
    return "sha256/" + hashlib.sha256(body).hexdigest()[:40]


def object_untrusted(body: bytes) -> Mapping[str, object]:
    """Return the JSON object that a body holds; its numbers with a point are decimals.

    Raises:
        MalformedHookError: it is none, nested deeper than 32, or has a number or a text that JSON in UTF-8 cannot say.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant)
        _refuse_odd(found, _DEPTH)
    except (ValueError, ArithmeticError, RecursionError) as err:
        raise MalformedHookError("expected a JSON object in UTF-8, got another body") from err
    if not isinstance(found, dict):
        raise MalformedHookError(f"expected a JSON object, got {type(found).__name__}")
    return found


def _refuse_odd(value: object, depth: int) -> None:
    if depth == 0:
        raise ValueError
    match value:
        case str():
            value.encode("utf-8")
        case dict():
            for name, inner in value.items():
                _refuse_odd(name, depth)
                _refuse_odd(inner, depth - 1)
        case list():
            for inner in value:
                _refuse_odd(inner, depth - 1)
        case _:
            pass


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def text_at(found: Mapping[str, object], *names: str) -> str:
    """Return a text inside objects by the names that lead to it; "": it is not there, or no text."""
    value: object = found
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class HmacScheme:
    """Calls of a system of any kind that signs their body; the body is not read: they only ring.

    Implements `agent.billing_model.hooks.HookScheme`. Such a call has no time: one that comes again costs a reading.
    """

    style: HmacStyle
    secrets: Sequence[bytes]
    body_most: int = 65_536

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:  # noqa: ARG002  it signs no time
        """Return that something changed, once the sender is proven.

        Raises:
            ForgedHookError: the body is not signed under a secret of the sender.
        """
        verify_hmac(self.style, self.secrets, call)
        return Heard(event_of(call.body), "call")


_HEADER: Final = Kind("the name of an HTTP header", text(re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)))
_PREFIX: Final = Kind("text of at most 32 characters", text(longest=32))


def style_keys(section: str) -> tuple[Key, ...]:
    """Return the keys that say how the calls of a system of any kind are signed."""
    return (
        Key(section, "hook_header", _HEADER, "X-Signature", "The header in which calls have their HMAC."),
        Key(section, "hook_hash", choice(HookHash), "sha256", "The hash of that HMAC."),
        Key(section, "hook_encoding", choice(HookEncoding), "hex", "How it is written."),
        Key(section, "hook_prefix", _PREFIX, "", "What stands before it, such as `sha256=`."),
    )


def style_of(values: dict[str, Any]) -> HmacStyle:
    """Take the values of `style_keys` out of a section that was read without a problem, and return the style."""
    header, prefix = values.pop("hook_header").lower(), values.pop("hook_prefix")
    return HmacStyle(header, values.pop("hook_hash"), values.pop("hook_encoding"), prefix)
