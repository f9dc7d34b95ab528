"""Which profile a CPE has: the most specific that matches its OUI, product class and software version. Pure.

What a profile can say is in `vocabulary`, how its file is read in `profile_files`; this module gives the words of both
that the rest of the connector needs.
"""

from __future__ import annotations

from functools import lru_cache

from agent.cpe_model import profile_files
from agent.cpe_model.presentable import presentable
from agent.cpe_model.profile_files import ProfileError
from agent.cpe_model.vocabulary import (
    BooleanStyle,
    CpeProfile,
    Diagnostic,
    Mapped,
    Reports,
    UnknownNameError,
    Unsafe,
    normalise,
)

__all__ = [
    "BooleanStyle",
    "CpeProfile",
    "Diagnostic",
    "Mapped",
    "ProfileError",
    "Reports",
    "UnknownNameError",
    "Unsafe",
    "normalise",
    "profile_of",
    "profiles",
    "roots",
]


def profiles() -> tuple[CpeProfile, ...]:
    """Return the profiles that are shipped, sorted by name.

    Raises:
        ProfileError: a file is wrong.
    """
    return tuple(entry.profile for entry in profile_files.load())


def roots() -> tuple[str, ...]:
    """Return the roots that there are profiles for: `Device.`, `InternetGatewayDevice.`.

    Raises:
        ProfileError: a file is wrong.
    """
    return tuple(sorted({profile.root for profile in profiles()}))


@lru_cache(maxsize=4096)
def profile_of(oui: str, product_class: str, software: str, root: str) -> CpeProfile:
    """Return the profile of a CPE: the most specific one that matches, the root's generic one where none does.

    Args:
        oui: as in DeviceId, in whatever capitals.
        product_class: as in DeviceId; may be empty.
        software: the SoftwareVersion; empty where it is not known.
        root: `InternetGatewayDevice.` or `Device.`, with or without its dot: the first word of the parameters that the
            CPE informs of.

    Raises:
        ProfileError: there is no profile for this root; or a file is wrong.
    """
    root = root.rstrip(".") + "."
    found: list[tuple[tuple[bool, int, int, bool], CpeProfile]] = []
    for entry in profile_files.load():
        score = entry.match.score(oui, product_class, software)
        if entry.profile.root == root and score is not None:
            found.append((score, entry.profile))
    if not found:
        raise ProfileError(f"profile: expected a root of {', '.join(roots())}, got {presentable(root)}")
    # The first by name where two say the same: sorted() and max() keep the order
    return max(found, key=lambda pair: pair[0])[1]
