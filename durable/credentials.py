"""Files that hold a key: credentials that systemd unsealed, and the modes that keep others out.

systemd lets the service's user read a credential by an ACL (acl(5)) on a file of root, in a directory that exists for
this service alone. The ACL's mask shows as the mode's group bits: 0440.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""The directory of this service's credentials, set by systemd alone: systemd.exec(5)."""
_OTHERS: Final = 0o077
_OTHERS_OF_A_CREDENTIAL: Final = 0o037


def credential(name: str, environ: Mapping[str, str]) -> Path | None:
    """Return the file of the credential `name` that systemd passed to this service, or None."""
    folder = environ.get(DIRECTORY)
    path = Path(folder) / name if folder else None
    return path if path is not None and path.exists() else None


def mode_problem(path: Path, mode: int, environ: Mapping[str, str]) -> str:
    """Return why a file of this mode (`st_mode`) may hold no key: others can read it. "": they cannot."""
    folder = environ.get(DIRECTORY)
    of_systemd = bool(folder) and path.parent == Path(str(folder))
    bits = stat.S_IMODE(mode)
    if not bits & (_OTHERS_OF_A_CREDENTIAL if of_systemd else _OTHERS):
        return ""
    wanted = "0400 or 0440 (a credential of systemd)" if of_systemd else "0600 or 0400"
    return f"expected mode {wanted}, got {bits:04o}: others can read it"
