"""Sessions of one CPE with its ACS over HTTP, and when the next one is due. Used by a single CPE and by a fleet."""

from __future__ import annotations

import email.utils
import math
from datetime import UTC, datetime
from typing import Final

import trio

from lab.cpe.device import Device
from lab.cpe.errors import HangUp, HttpError, NotLoopbackError
from lab.cpe.http import HttpSession, Network
from lab.cpe.transfers import Transfer

# TR-069 3.2.1.1: from the tenth retry on the wait grows no more
_RETRIES_GROWING: Final = 10


class Caller:
    """Calls the ACS for a device.

    Args:
        device: the CPE.
        network: how it reaches the ACS.
        backoff_scale: waits between retries are multiplied by it.
    """

    __slots__ = ("_backoff_scale", "_network", "_retry_at", "device")

    def __init__(self, device: Device, network: Network, backoff_scale: float = 1.0) -> None:
        self.device = device
        self._network = network
        self._backoff_scale = backoff_scale
        self._retry_at = 0.0

    def hurry(self) -> None:
        """Forget the wait before the next retry: somebody called for a session."""
        self._retry_at = 0.0

    def due(self) -> float:
        """When there is something to do, by the device's clock; infinity for never."""
        timer = self.device.get_timer()
        at = math.inf if timer is None else timer
        return min(at, self._retry_at) if self.device.wants_session else at

    @property
    def session_due(self) -> bool:
        """Whether a session is to begin now."""
        return self.device.wants_session and self._retry_at <= self.device.now()

    async def session(self) -> bool:
        """Have a session with the ACS; tell whether it ended as it should."""
        device = self.device
        http = HttpSession(
            device.server("URL"), device.server("Username"), device.server("Password"), self._network, device.quirks
        )
        ok, reason, wait_s = False, "cancelled", 0.0
        try:
            wait_s = await self._talk(http)
            ok, reason = wait_s == 0.0, "" if wait_s == 0.0 else "503"
        except (HangUp, HttpError, NotLoopbackError) as err:
            reason = str(err)
        finally:
            device.finish(ok=ok, reason=reason)
            self._retry_at = 0.0 if ok else device.now() + max(wait_s, self._backoff_s())
            with trio.CancelScope(shield=True):
                await http.aclose()
        return ok

    async def _talk(self, http: HttpSession) -> float:
        """Play a session through. The wait that the ACS asked for instead, 0 when there was a session."""
        body: bytes | None = self.device.begin_session()
        while body is not None:
            headers = [("Content-Type", 'text/xml; charset="utf-8"'), ("SOAPAction", "")] if body else []
            answer = await http.request("POST", headers, body)
            if answer.status == 503:
                return max(0.001, self._seconds(answer.get("retry-after")))
            # TR-069 3.4.1: a SOAP fault comes with 500 from some; 200 or 204 otherwise
            if answer.status not in (200, 202, 204) and not (answer.status == 500 and b"Envelope" in answer.body):
                raise HttpError(f"expected status 200 or 204, got {answer.status}")
            body = self.device.receive(answer.body.strip())
        return 0.0

    def _seconds(self, text: str) -> float:
        """A Retry-After: seconds, or a date."""
        if text.strip().isdecimal():
            return float(text)
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        aware = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.fromtimestamp(self.device.now(), UTC)).total_seconds())

    def _backoff_s(self) -> float:
        """The wait before a retry (TR-069 3.2.1.1): between m(k/1000)^(n-1) and m(k/1000)^n seconds."""
        n = min(max(1, self.device.retry_count), _RETRIES_GROWING)
        m = float(self.device.server("CWMPRetryMinimumWaitInterval"))
        k = float(self.device.server("CWMPRetryIntervalMultiplier")) / 1000
        return self.device.dice.uniform(m * k ** (n - 1), m * k**n) * self._backoff_scale

    async def transfer(self, transfer: Transfer) -> None:
        """Fetch or send a file, and tell the device how it went."""
        http = HttpSession(transfer.url, transfer.username, transfer.password, self._network)
        content, code = b"", 0
        try:
            if transfer.is_download:
                answer = await http.request("GET", [], b"")
                content = answer.body
            else:
                sent = self.device.upload_content(transfer)
                answer = await http.request("PUT", [("Content-Type", "application/octet-stream")], sent)
            code = _fault_of(answer.status, is_download=transfer.is_download)
        except HttpError as err:
            code = 9017 if err.connected else 9015
        except NotLoopbackError:
            code = 9015
        finally:
            with trio.CancelScope(shield=True):
                await http.aclose()
        self.device.transfers.done(transfer, content, code)


def _fault_of(status: int, *, is_download: bool) -> int:
    if 200 <= status < 300:
        return 0
    if status in (401, 403):
        return 9012
    if status in (404, 410):
        return 9016
    return 9010 if is_download else 9011
