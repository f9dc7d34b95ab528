"""Connection requests: they have a CPE call in at once, and not at its next periodic Inform. Pure.

Over HTTP (TR-069 section 3.2.2): a GET of the CPE's ConnectionRequestURL, which the CPE challenges by Digest; 200 or
204 says that it will call in. Over UDP (TR-069 Annex G, before that TR-111 part 2), for a CPE behind NAT that keeps a
binding open to our STUN server (`stun`): one signed datagram, and nothing comes back.

    GET http://HOST:PORT?ts=TIME&id=NUMBER&un=USER&cn=CNONCE&sig=SIGNATURE HTTP/1.1
    sig = HMAC-SHA1(password, ts id un cn), 40 hexadecimal digits; the values one after another, as before any escape

A CPE stands in the customer's house and tells its URL itself: it could have us ask any host that we can reach. So a
GET goes only to the address that the CPE called in from, or into networks that the operator allows (`RequestReach`),
and only a `HttpTarget`, made by `http_target_untrusted`, can be asked. A datagram goes where our STUN server saw
the CPE, else where the CPE says that it is seen (UDPConnectionRequestAddress), and in both cases only within the same
reach: the source of a binding request can be forged.

XMPP (Annex K) is left out on purpose: it needs an XMPP server that both sides log in to, with an account for every CPE,
which an ISP would have to run for this alone.
"""

from __future__ import annotations

import enum
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from agent.connectors.cwmp import digest, limits
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedAuthError
from agent.cpe_model.known import Credentials

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_CGNAT: Final = ipaddress.IPv4Network("100.64.0.0/10")
_HTTP_PORTS: Final = {"http": 80, "https": 443}
_UDP_PORT: Final = 80
"""Where the CPE names none (TR-069 Annex G)."""
_PORT_MOST: Final = 65_535
_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@]+))(?::([0-9]{0,5}))?", re.ASCII)
_URL: Final = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.ASCII | re.IGNORECASE)
_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The last label is no number: 2130706433 and 127.0x1 are addresses to some resolvers
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?!0x|[0-9]+\.?$){_LABEL}\.?", re.ASCII | re.IGNORECASE)
_NAME_CHARS: Final = 253


# --- how it went ------------------------------------------------------------------------------------------------------


class RequestOutcome(enum.Enum):
    """How an connection request went. No value says that it called in: only its Inform does."""

    ACCEPTED = "accepted"
    """It said so: 200 or 204."""
    SENT = "sent"
    """Over UDP: nothing comes back, whatever became of it."""
    REFUSED = "refused"
    """It answered otherwise: not to these credentials (401, 403), not at this path (404)."""
    BUSY = "busy"
    """503: it is in a session, or was asked too often (TR-069 section 3.2.2)."""
    UNREACHABLE = "unreachable"
    """Nothing that speaks HTTP answered."""
    BEHIND_NAT = "behind-nat"
    """Its URL has an address inside a house, and there is no UDP binding. Nothing was sent."""
    ELSEWHERE = "elsewhere"
    """Its URL leads to neither where it called from nor an allowed network. Nothing was sent."""
    NO_WAY = "no-way"
    """No URL, or none that can be used. Nothing was sent."""


HOPELESS: Final = frozenset({RequestOutcome.BEHIND_NAT, RequestOutcome.ELSEWHERE, RequestOutcome.NO_WAY})
"""Results that another attempt cannot change: something must be learned of the CPE, or configured, first."""


@dataclass(frozen=True, slots=True)
class RequestResult:
    """How it went. `detail`: a sentence for people. `status`: of HTTP, where there was an answer."""

    outcome: RequestOutcome
    detail: str
    status: int | None = None


# --- where it may go --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestReach:
    """Where a CPE may send us: the address that it called in from, and networks that the operator allows.

    The networks should hold CPE alone: whatever is in them can be asked for a URL that a CPE makes up.
    """

    called_from: IpAddress | None
    allowed: tuple[IpNetwork, ...] = ()

    def refusal(self, address: IpAddress) -> RequestResult | None:
        """Return why nothing is sent to an address, None when it may be."""
        address, called_from = unmapped(address), None if self.called_from is None else unmapped(self.called_from)
        if address.is_unspecified or address.is_multicast:
            return RequestResult(
                RequestOutcome.NO_WAY, f"its address is {address}, where nothing can be reached: it had none itself"
            )
        if address == called_from or any(address in network for network in self.allowed):
            return None
        where = "where it called from is not known" if called_from is None else f"it called from {called_from}"
        if _inside(address) and called_from is not None:
            return RequestResult(RequestOutcome.BEHIND_NAT, f"behind NAT: its URL says {address}, {where}")
        return RequestResult(
            RequestOutcome.ELSEWHERE, f"its URL leads to {address}, {where}; no allowed network has that address"
        )


def unmapped(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 one stands for (`::ffff:192.0.2.1`, as of a socket of both), else itself."""
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if inner is None else inner


def _inside(address: IpAddress) -> bool:
    """Tell whether an address is none of the public internet: of a house, a carrier's NAT, a link."""
    return address.is_private or address.is_link_local or address in _CGNAT


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A ConnectionRequestURL that may be asked. Made by `http_target_untrusted`.

    `address`: None where `host` is a name; then `reach` judges the address that it leads to, and that one is connected
    to. `resource`: of the request line, which starts with a slash.
    """

    scheme: str
    host: str
    address: IpAddress | None
    port: int
    resource: str
    reach: RequestReach

    @property
    def authority(self) -> str:
        """The value of Host: without the port that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _HTTP_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return _place(self.host, self.port)


@dataclass(frozen=True, slots=True)
class UdpTarget:
    """Where a CPE listens for UDP connection requests, as our STUN server saw it, or as the CPE told."""

    address: IpAddress
    port: int

    @property
    def place(self) -> str:
        """Address and port, for people and for the message."""
        return _place(str(self.address), self.port)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def http_target_untrusted(url: str, reach: RequestReach) -> HttpTarget | RequestResult:
    """Return the place that a ConnectionRequestURL leads to, or why it is not asked. Total.

    Args:
        url: the parameter's value, as the CPE gave it.
        reach: of this CPE. A name can be judged only when it is resolved, which the session does.
    """
    if not url.strip():
        return RequestResult(RequestOutcome.NO_WAY, "it has told no ConnectionRequestURL")
    if len(url) > limits.CONNECTION_URL_CHARS:
        return _unusable(f"{len(url)} characters, expected at most {limits.CONNECTION_URL_CHARS}")
    # Blanks round it are an XML writer's; one inside could end the request line
    if not _VISIBLE.fullmatch(text := url.strip()) or not (parts := _URL.fullmatch(text)):
        return _unusable("expected http:// or https:// and visible ASCII characters")
    scheme = parts[1].lower()
    place = _authority_untrusted(parts[2], _HTTP_PORTS[scheme])
    if isinstance(place, RequestResult):
        return place
    address, host, port = place
    if address is not None and (refusal := reach.refusal(address)):
        return refusal
    resource = parts[3] if parts[3].startswith("/") else "/" + parts[3]
    return HttpTarget(scheme, host, address, port, resource, reach)


def udp_target_untrusted(place: str, reach: RequestReach) -> UdpTarget | None:
    """Return where a CPE says that it listens for UDP connection requests, None where nothing may be sent to. Total.

    Args:
        place: the value of UDPConnectionRequestAddress, host and port (TR-069 Annex G); a name is not looked up.
        reach: of this CPE.
    """
    found = _authority_untrusted(place.strip(), _UDP_PORT)
    if isinstance(found, RequestResult) or found[0] is None or reach.refusal(found[0]) is not None:
        return None
    return UdpTarget(found[0], found[2])


def _authority_untrusted(text: str, port: int) -> tuple[IpAddress | None, str, int] | RequestResult:
    """Return address (None for a name), host and port."""
    if "@" in text:
        return _unusable("expected no user in it")
    if len(text) > limits.CONNECTION_URL_CHARS or not (parts := _AUTHORITY.fullmatch(text)):
        return _unusable("expected a host and a port")
    if parts[3]:
        port = int(parts[3])
    if not 1 <= port <= _PORT_MOST:
        return _unusable(f"port {port}, expected 1 to {_PORT_MOST}")
    host = parts[1] or parts[2]
    try:
        address = unmapped(ipaddress.ip_address(host))
    except ValueError:
        if parts[1] or len(host) > _NAME_CHARS or not _NAME.fullmatch(host):
            return _unusable("expected an IP address or a name as host")
        return None, host.rstrip(".").lower(), port
    return address, str(address), port


def _unusable(why: str) -> RequestResult:
    return RequestResult(RequestOutcome.NO_WAY, f"its address for connection requests cannot be used: {why}")


# --- HTTP -------------------------------------------------------------------------------------------------------------


def judge_untrusted(
    target: HttpTarget,
    credentials: Credentials,
    status: int,
    challenges: Sequence[str],
    cnonce: str,
    *,
    answered: int,
    basic: bool = False,
) -> RequestResult | str:
    """Return the result that an answer means, or the Authorization field to ask once more with. Total.

    Args:
        target: that was asked.
        credentials: for this CPE.
        status: of the answer, 200 to 999.
        challenges: its WWW-Authenticate fields.
        cnonce: random, hexadecimal, new for each call.
        answered: how often credentials were sent: not again, but once for a nonce that it says is too old.
        basic: whether the password may go out as it is.
    """
    if status in (200, 204):
        open_to_all = "" if answered else ", and asked for no password"
        return RequestResult(RequestOutcome.ACCEPTED, f"{target.place} accepted it{open_to_all}", status)
    # Of a nonce that is too old the password may be right (RFC 7616 section 3.3). Once: it could have us ask for ever
    is_stale = status == 401 and bool(answered) and digest.is_stale_untrusted(challenges)
    if status == 401 and (not answered or (is_stale and answered == 1)):
        basic = basic and not answered and ":" not in credentials.user  # which Basic cannot say
        try:
            return digest.credentials_untrusted(
                challenges, "GET", target.resource, credentials.user, credentials.password, cnonce, basic=basic
            )
        except MalformedAuthError as err:
            return RequestResult(
                RequestOutcome.REFUSED, f"{target.place} has a challenge that is not answered: {err}", status
            )
    if status == 503:
        return RequestResult(
            RequestOutcome.BUSY, f"{target.place} is busy (503): in a session, or asked too often", status
        )
    why = "401, it says of its newest nonce that it is too old" if is_stale else _meaning(status)
    return RequestResult(RequestOutcome.REFUSED, f"{target.place} refused it: {why}", status)


def _meaning(status: int) -> str:
    if status == 401:
        return "401, its ConnectionRequestUsername or ConnectionRequestPassword is another"
    if status == 403:
        return "403, it does not take requests from here"
    if status == 404:
        return "404, its ConnectionRequestURL has changed since"
    if 300 <= status < 400:
        return f"{status}, a redirect, which is not followed"
    return str(status)


def unreachable(target: HttpTarget, why: str) -> RequestResult:
    """Return that nothing answered; `why` after the address."""
    return RequestResult(RequestOutcome.UNREACHABLE, f"{target.place} {why}")


# --- UDP --------------------------------------------------------------------------------------------------------------


def udp_message(target: UdpTarget, credentials: Credentials, *, at_s: int, number: int, cnonce: str) -> bytes:
    """Return a UDP connection request; copies of one are the same bytes (TR-069 Annex G).

    Args:
        target: where the CPE listens.
        credentials: for this CPE, the same as for HTTP.
        at_s: seconds since the epoch; the CPE refuses one older than the last that it took.
        number: 0 <= number < 2**32, another for each request: by it the CPE knows copies.
        cnonce: random, ASCII letters and digits.

    Raises:
        LocalCwmpError: a number or a cnonce that is none.
    """
    if not 0 <= number < 1 << 32 or at_s < 0 or not cnonce.isascii() or not cnonce.isalnum():
        raise LocalCwmpError("connection request: expected a time, 32 bits and a cnonce of letters and digits")
    text = f"{at_s}{number}{credentials.user}{cnonce}"
    signature = hmac.digest(credentials.password.encode(), text.encode(), "sha1").hex().upper()
    query = f"ts={at_s}&id={number}&un={quote(credentials.user, safe='')}&cn={cnonce}&sig={signature}"
    # HTTP/1.1 demands Host, and Annex G demands valid HTTP/1.1; a path would have CPE refuse it
    return f"GET http://{target.place}?{query} HTTP/1.1\r\nHost: {target.place}\r\n\r\n".encode("ascii")


# --- which way, and when ----------------------------------------------------------------------------------------------


def way(
    http: HttpTarget | RequestResult, udp: UdpTarget | None, reach: RequestReach
) -> HttpTarget | UdpTarget | RequestResult:
    """Return how a CPE is asked: by HTTP where that may reach it, else by UDP, else why not at all.

    Args:
        http: of `http_target_untrusted`, or the result of asking it, where that did not reach the CPE.
        udp: its binding, where one is known: as our STUN server saw it, or as the CPE told.
        reach: of the CPE. Whoever knows a CPE's password can forge the source of a binding request, and would have
            datagrams sent to it.
    """
    if isinstance(http, HttpTarget):
        return http
    if udp is not None:
        refusal = reach.refusal(udp.address)
        if refusal is None:
            return udp
        return RequestResult(
            RequestOutcome.ELSEWHERE,
            f"its UDP binding is at {udp.address}, which is neither where it called from nor in an allowed network",
        )
    if http.outcome is RequestOutcome.BEHIND_NAT:
        return RequestResult(
            http.outcome, f"{http.detail}; no UDP binding of it is known, so it is heard at its next Inform"
        )
    return http


@dataclass(frozen=True, slots=True)
class RequestSchedule:
    """When a CPE is asked next: at once, then after longer and longer pauses, and never where that is no use.

    Starts anew, as `RequestSchedule()`, when the CPE calls in by itself, when there is something new for it, when its
    URL, binding or credentials change, or when a person wants to know now.
    """

    attempts: int = 0
    due_at: float = float("-inf")
    last: RequestResult | None = None

    @property
    def hopeless(self) -> bool:
        """Whether no further attempt is made; `last.detail` says why."""
        return self.last is not None and self.last.outcome in HOPELESS

    def wait_s(self, now: float) -> float | None:
        """Return how long the next attempt has to wait, 0 for not at all, None when there will be none."""
        return None if self.hopeless else max(self.due_at - now, 0.0)

    def noted(self, result: RequestResult, now: float, jitter: float) -> RequestSchedule:
        """Return the schedule after an attempt.

        Args:
            result: of that attempt.
            now: seconds of the clock that all calls here go by.
            jitter: of dice, 0 <= jitter < 1.
        """
        pause_s = limits.REQUEST_PAUSES_S[min(self.attempts, len(limits.REQUEST_PAUSES_S) - 1)]
        pause_s *= 1 - limits.REQUEST_JITTER * jitter
        if result.outcome in (RequestOutcome.ACCEPTED, RequestOutcome.SENT):
            pause_s = max(pause_s, limits.CALL_IN_S)
        return RequestSchedule(self.attempts + 1, now + pause_s, result)
