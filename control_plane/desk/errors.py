"""Errors of the desk's online half; they are `control_plane.errors` with a reason of their own.

* LocalFailureError
  + CloudAwayError: the control plane does not answer, or stopped in the middle (exit code 1)
* RefusedHereError
  + CloudRefusedError: the control plane did not take a call; `refusal` says why, out of an enum (exit code 3)
  + UnexpectedAnswerError: the control plane gave an impossible answer (exit code 3)
  + NotProvenError: an answer does not prove its claim (exit code 3)
"""

from __future__ import annotations

from typing import Final

from control_plane.errors import LocalFailureError, RefusedHereError

NO_RECEIPT: Final = 4
"""Exit code where a sent statement has no receipt in time: its fate is unknown."""


class CloudAwayError(LocalFailureError):
    """The control plane does not answer, or stopped in the middle."""


class CloudRefusedError(RefusedHereError):
    """The control plane did not take a call."""

    def __init__(self, refusal: str, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class UnexpectedAnswerError(RefusedHereError):
    """The control plane gave an impossible answer."""


class NotProvenError(RefusedHereError):
    """An answer does not prove its claim."""
