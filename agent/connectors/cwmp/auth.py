"""HTTP's authentication headers (RFC 7235 section 2.1, RFC 7617): challenges and credentials, read and written. Pure.

    challenge   = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
    auth-param  = token BWS "=" BWS ( token / quoted-string )

Read liberally: CPE quote values that must not be quoted (`nc="00000001"`, `algorithm="MD5"`) and leave out quotes that
must be there (`qop=auth`, `realm=acs`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedAuthError
from agent.cpe_model.presentable import presentable

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,)|$)")
_PARAMETER: Final = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))[ \t]*(?=,|$)', re.DOTALL)
_TOKEN68: Final = re.compile(r"([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_COMMAS: Final = re.compile(r"[ \t]*(?:,[ \t]*)*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNQUOTED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Authentication:
    """One challenge, or credentials. `scheme`: in small letters. `token`: of Basic. `parameters`: by small name."""

    scheme: str
    token: str
    parameters: Mapping[str, str]

    def __repr__(self) -> str:
        """Say the scheme alone: the rest may be a password."""
        return f"Authentication({self.scheme!r}, …)"


def read_untrusted(header: str) -> tuple[Authentication, ...]:
    """Return the challenges of a WWW-Authenticate field, or the credentials of an Authorization field.

    Raises:
        MalformedAuthError: not of that form, or a limit is passed.
    """
    if len(header) > limits.HEADER_CHARS:
        raise MalformedAuthError(
            f"authentication: expected at most {limits.HEADER_CHARS} characters, got {len(header)}"
        )
    if _CONTROL.search(header):
        raise MalformedAuthError("authentication: expected no control characters")
    found: list[Authentication] = []
    at = _skip(header, 0)
    while at < len(header):
        if len(found) >= limits.CHALLENGES:
            raise MalformedAuthError(f"authentication: expected at most {limits.CHALLENGES} challenges")
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            raise MalformedAuthError(f"authentication: expected a scheme at character {at}")
        at = scheme.end()
        token, parameters = "", dict[str, str]()
        # Before parameters, since base64's padding would pass for an empty one; Digest has no token
        if scheme[1].lower() != "digest" and (bare := _TOKEN68.match(header, at)):
            token, at = bare[1], _skip(header, bare.end())
        while not token and (parameter := _PARAMETER.match(header, at)):
            name = parameter[1].lower()
            if name in parameters or len(parameters) >= limits.PARAMETERS:
                raise MalformedAuthError(f"authentication: expected {presentable(name)} once, among a few")
            quoted = parameter[2]
            parameters[name] = parameter[3] if quoted is None else _UNQUOTED.sub(r"\1", quoted)
            at = _skip(header, parameter.end())
        at = _skip(header, at)
        found.append(Authentication(scheme[1].lower(), token, parameters))
    if not found:
        raise MalformedAuthError("authentication: expected a scheme, got nothing")
    return tuple(found)


def _skip(header: str, at: int) -> int:
    found = _COMMAS.match(header, at)
    return found.end() if found else at


def quoted(text: str) -> str:
    """Return a quoted-string (RFC 7230 section 3.2.6).

    Raises:
        LocalCwmpError: a character that no header has.
    """
    if _CONTROL.search(text):
        raise LocalCwmpError("authentication: expected no control characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- Basic ------------------------------------------------------------------------------------------------------------


def basic_credentials(user: str, password: str) -> str:
    """Return an Authorization field: RFC 7617 section 2, in UTF-8.

    Raises:
        LocalCwmpError: the user has a colon.
    """
    if ":" in user:
        raise LocalCwmpError("authentication: expected a user without a colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def basic_of_untrusted(credentials: Authentication) -> tuple[str, str]:
    """Return user and password of Basic credentials; bytes that are no UTF-8 are taken for ISO-8859-1, as of old.

    Raises:
        MalformedAuthError: not Basic, not base64, or no colon in it.
    """
    if credentials.scheme != "basic":
        raise MalformedAuthError(f"authentication: expected Basic, got {presentable(credentials.scheme)}")
    try:
        data = base64.b64decode(credentials.token, validate=True)
    except binascii.Error as err:
        raise MalformedAuthError("authentication: expected base64 after Basic") from err
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    user, colon, password = text.partition(":")
    if not colon:
        raise MalformedAuthError("authentication: expected user, colon and password in Basic")
    return user, password
