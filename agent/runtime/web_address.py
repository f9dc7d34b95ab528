"""Addresses of web APIs, as an operator writes them: `https://billing.example/crm/api/v1.0`.

* Nothing is left to a default that could surprise: no user or password in it, no query, no fragment.
* Plain HTTP goes to an address of this very machine only, such as `http://127.0.0.1:8080`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}", re.ASCII)
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?", re.ASCII)
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class WebAddress:
    """Where a web API is. `path` has no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a URL begins."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def web_address(text: object) -> WebAddress:
    """Return the address that a text means.

    Raises:
        ValueError: it is none, or plain HTTP to another machine.
    """
    if not isinstance(text, str) or len(text) > 500 or not text.isascii() or not text.isprintable():
        raise ValueError
    parts = urlsplit(text)
    host, port = parts.hostname or "", parts.port
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path):
        raise ValueError
    if "@" in parts.netloc or "?" in text or "#" in text or port == 0:
        raise ValueError
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError
    return WebAddress(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
