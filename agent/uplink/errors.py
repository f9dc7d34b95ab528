"""Errors of the uplink. None of them carries a text that the control plane chose: only codes from closed lists.

* UplinkError
  x LocalUplinkError: something on this machine
    + CredentialsError: `cloud.json` cannot be read, written, or does not open; or there is none
    + MalformedInvitationError: not an invitation, or for another agent's kind
  x RemoteUplinkError: the control plane, or the way to it; `code` is a gRPC status name or a word of ours
    + UnreachableError: no connection, or no answer in time: what became of a message is unknown, it is sent again
    + RemoteRefusedError: it answered, and refused (`refusal`)
    + RemoteMisbehavedError: it said what the protocol does not allow
"""

from __future__ import annotations


class UplinkError(Exception):
    """Anything that the uplink raises."""


class LocalUplinkError(UplinkError):
    """Something on this machine."""


class CredentialsError(LocalUplinkError):
    """The agent's credentials for the control plane cannot be read, written or opened."""


class MalformedInvitationError(LocalUplinkError):
    """The file is not an invitation for an agent."""


class RemoteUplinkError(UplinkError):
    """The control plane, or the way to it. `code` is safe to print."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(RemoteUplinkError):
    """No connection, or no answer in time."""

    def __init__(self, code: str) -> None:
        super().__init__(code, f"expected an answer of the control plane, got none ({code})")


class RemoteRefusedError(RemoteUplinkError):
    """The control plane refused. `refusal` is a word of the protocol's list; `retry_after_s` 0: it did not say."""

    def __init__(self, refusal: str, retry_after_s: int = 0) -> None:
        super().__init__(refusal, f"the control plane refused: {refusal}")
        self.refusal = refusal
        self.retry_after_s = retry_after_s


class RemoteMisbehavedError(RemoteUplinkError):
    """The control plane broke the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, f"the control plane broke the protocol: {message}")
