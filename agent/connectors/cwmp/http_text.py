"""The parts of HTTP that an ACS reads besides the body: cookies, coding of the body, the name in a client's
certificate. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.errors import MalformedXmlError

COOKIE: Final = "ispagent-session"
_COOKIES: Final = 32


def cookie_untrusted(header: str) -> str | None:
    """Return our session's cookie of a Cookie field, None where there is none. Total."""
    for part in header[: limits.HEADER_CHARS].split(";", _COOKIES)[:_COOKIES]:
        name, _, text = part.partition("=")
        if name.strip() == COOKIE:
            return text.strip().strip('"') or None
    return None


def path_untrusted(target: str) -> str:
    """Return the path and query of a request's target: some CPE send the whole URL (RFC 9112 section 3.2.2). Total."""
    scheme, separator, rest = target.partition("://")
    return target if not separator or "/" in scheme else "/" + rest.partition("/")[2]


def size_untrusted(headers: Mapping[str, str], most: int) -> int:
    """Return how many bytes of body a request may bring, `most` at most: it says so, or sends chunks. Total."""
    text = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 10 else most


def set_cookie(token: str, *, secure: bool) -> str:
    """Return the Set-Cookie field of a session (RFC 6265; no path, since some CPE keep none)."""
    return f"{COOKIE}={token}; HttpOnly{'; Secure' if secure else ''}"


def body_untrusted(data: bytes, coding: str, most: int) -> bytes:
    """Return a body as it was before its coding.

    Args:
        data: as it came.
        coding: Content-Encoding: `gzip`, `deflate`, `identity` or nothing.
        most: bytes that it may have then; nor more than `limits.INFLATED_RATIO` times as many as came.

    Raises:
        MalformedXmlError: another coding, bytes that are not of it, or too many of them.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity") or not data:  # an empty POST is coded by nobody, whatever its head says
        return data
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise MalformedXmlError("expected a body in clear, or in gzip")
    most = min(most, len(data) * limits.INFLATED_RATIO)
    try:
        clear, is_whole = _inflated(data, zlib.MAX_WBITS | 32, most + 1)  # gzip or zlib, by its own head
    except zlib.error as err:
        if coding != "deflate":
            raise MalformedXmlError(f"expected a body in {coding}") from err
        try:  # some clients leave out zlib's head (RFC 9110 section 8.4.1.2)
            clear, is_whole = _inflated(data, -zlib.MAX_WBITS, most + 1)
        except zlib.error:
            raise MalformedXmlError(f"expected a body in {coding}") from err
    if len(clear) > most:
        raise MalformedXmlError(f"expected at most {most} bytes of body")
    if not is_whole:
        raise MalformedXmlError(f"expected a whole body in {coding}")
    return clear


def _inflated(data: bytes, wbits: int, most: int) -> tuple[bytes, bool]:
    """Decompress at most `most` bytes; return them, and whether the data end there, with nothing after them.

    Raises:
        zlib.error: the data are not in this form (`wbits` of zlib).
    """
    unpack = zlib.decompressobj(wbits)
    clear = unpack.decompress(data, most)
    return clear, unpack.eof and not unpack.unused_data


def common_name(certificate: Mapping[str, object] | None) -> str | None:
    """Return the common name in a client's certificate, as Python's ssl gives it; None without one."""
    subject = certificate.get("subject") if certificate else None
    if not isinstance(subject, tuple):
        return None
    names = [value for part in subject for key, value in part if key == "commonName"]
    return str(names[-1]) if names else None


def names_cpe(common_name: str, oui: str, product_class: str, serial: str) -> bool:
    """Return whether a certificate's common name is a CPE's: `OUI-Class-Serial` or `OUI-Serial` (TR-069 3.3, 3.4.4).

    A hyphen in a part must be percent-encoded there, as all but letters, digits and `_` should be: else one CPE's
    certificate could be that of another with a class that ends elsewhere.
    """
    parts = [unquote(part).casefold() for part in common_name.strip().split("-")]
    oui, product_class, serial = oui.casefold(), product_class.casefold(), serial.casefold()
    return parts in ([oui, product_class, serial], [oui, serial])
