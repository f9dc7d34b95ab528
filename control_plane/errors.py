"""Errors of `control_plane`, and the exit code of every error that its commands can meet (docs/cli.md).

* ControlPlaneError
  x InputError: an option or a file is malformed (exit code 2)
    + ServerConfigError: the control plane's data directory, or config.toml in it
  x RefusedHereError: well-formed, and this tool does not go on (exit code 3)
    + TamperedExportError: an export does not fit its agent's signatures
    + WrongFingerprintWordsError: the typed words are not those of the keys
    + NotConfirmedError: the person did not type the words of agreement
  x LocalFailureError: this machine could not do it: a file cannot be written (exit code 1)
  x EnrolmentError: the control plane gives no certificate
    + BadTokenError: the token is unknown, used or out of date: which, is not told
    + BadCsrError: the certificate request
    + MalformedIdentityError: an agent's enrolment statement is missing or not signed by its keys
    + AgentTakenError: another agent of this operator has that id or name
    + NotEnrolledError: no such member, or a certificate that is past its date
    + TooManyCertificatesError: the member has more certificates in date than anybody needs
    + RevokedError: an administrator took the member, or this certificate of it, out
  x MalformedCertificateError: TLS let it in, and it names no identity
"""

from __future__ import annotations

from typing import Final

from trust.errors import RefusedError, TrustError, WrongPassphraseError

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
DEGRADED: Final = 5


class ControlPlaneError(Exception):
    """Anything that `control_plane` raises."""


class InputError(ControlPlaneError):
    """An option or a file is malformed."""


class ServerConfigError(InputError):
    """The control plane's data directory, or `config.toml` in it, is malformed."""


class RefusedHereError(ControlPlaneError):
    """Well-formed, and this tool does not go on."""


class TamperedExportError(RefusedHereError):
    """An export does not fit its agent's signatures."""


class WrongFingerprintWordsError(RefusedHereError):
    """The typed words are not those of the keys."""


class NotConfirmedError(RefusedHereError):
    """The person did not type the words of agreement; nothing was signed."""


class LocalFailureError(ControlPlaneError):
    """This machine could not do it."""


class EnrolmentError(ControlPlaneError):
    """The control plane gives no certificate."""


class BadTokenError(EnrolmentError):
    """The token is unknown, used or out of date: which, is not told."""


class BadCsrError(EnrolmentError):
    """Not a certificate request for a P-256 key that its own key signed."""


class MalformedIdentityError(EnrolmentError):
    """An agent's enrolment statement is missing or not signed by both of its keys; or a person brought one."""


class AgentTakenError(EnrolmentError):
    """Another agent of this operator has that id or name."""


class NotEnrolledError(EnrolmentError):
    """No such member, or a certificate that is past its date."""


class TooManyCertificatesError(EnrolmentError):
    """The member has more certificates in date than anybody needs."""


class RevokedError(EnrolmentError):
    """An administrator took the member, or this certificate of it, out."""


class MalformedCertificateError(ControlPlaneError):
    """A client's certificate that names no identity."""


def exit_code(error: ControlPlaneError | TrustError) -> int:
    """Return the exit code of an error: 1 failed, 2 usage or input file, 3 refused."""
    if isinstance(error, LocalFailureError):
        return FAILED
    if isinstance(error, RefusedHereError | RefusedError | WrongPassphraseError):
        return REFUSED
    return USAGE
