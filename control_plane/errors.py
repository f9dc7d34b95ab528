"""Errors of `control_plane`, and the exit code of every error that its commands can meet (DESIGN section 9).

* ControlPlaneError
  x InputError: an option or a file is not what was expected (exit code 2)
  x RefusedHereError: well-formed, and this tool does not go on (exit code 3)
    + TamperedExportError: what was exported does not fit what its agent signed
    + WrongWordsError: the typed words are not those of the keys
    + NotConfirmedError: the person did not type what agreeing needs
  x LocalFailureError: this machine could not do it: a file cannot be written (exit code 1)
"""

from __future__ import annotations

from typing import Final

from trust.errors import RefusedError, TrustError, WrongPassphraseError

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3


class ControlPlaneError(Exception):
    """Anything that `control_plane` raises."""


class InputError(ControlPlaneError):
    """An option or a file is not what was expected."""


class RefusedHereError(ControlPlaneError):
    """Well-formed, and this tool does not go on."""


class TamperedExportError(RefusedHereError):
    """What was exported does not fit what its agent signed."""


class WrongWordsError(RefusedHereError):
    """The typed words are not those of the keys."""


class NotConfirmedError(RefusedHereError):
    """The person did not type what agreeing needs; nothing was signed."""


class LocalFailureError(ControlPlaneError):
    """This machine could not do it."""


def exit_code(error: ControlPlaneError | TrustError) -> int:
    """Return the exit code of an error: 1 failed, 2 usage or input file, 3 refused."""
    if isinstance(error, LocalFailureError):
        return FAILED
    if isinstance(error, RefusedHereError | RefusedError | WrongPassphraseError):
        return REFUSED
    return USAGE
