"""Webhooks: a call from a billing or payment system that something changed there.

A webhook is a bell. Its scheme verifies it over the raw bytes and says which accounts or payments to read again; only
the facts then read count. `payment` is set only where the source cannot be asked and the configuration lets a signed
body count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agent.billing_model.account import Payment


@dataclass(frozen=True, slots=True)
class HookCall:
    """A call as it came. `headers`: names in small letters. `peer`: IP address of the sender, or of a named proxy's."""

    headers: Mapping[str, str]
    body: bytes
    peer: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A verified webhook call.

    `event_id`: by which one that comes again is known; made from the body's digest where the sender gives none.
    `kind`: the sender's word for it, for people. `accounts`: the source's ids of accounts to read again; empty: all new
    payments are to be read. `payment_ids`: payments to read again. `test`: a call that only tries the way. `answer`:
    the body that the sender expects in the answer, JSON; empty: any will do.
    """

    event_id: str
    kind: str
    accounts: tuple[str, ...] = ()
    payment_ids: tuple[str, ...] = ()
    payment: Payment | None = None
    test: bool = False
    answer: bytes = b""


class HookScheme(Protocol):
    """How one source's calls are verified. Pure."""

    @property
    def body_most(self) -> int:
        """The largest body that the sender makes, bytes."""
        ...

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:
        """Return the content of a call, once its sender is proven.

        Args:
            call: as it came.
            now_s: unix seconds, for schemes that sign a time.

        Raises:
            ForgedHookError: not signed by the sender, or too late or too early.
            MalformedHookError: signed, and not of the published form.
        """
        ...
