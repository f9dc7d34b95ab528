"""Which profile a CPE has: the most specific that matches its OUI, product class and software version. Pure.

The content of a profile is in `vocabulary`, the reading of its file in `profile_files`; this module gives the words of
both that the rest of the connector needs. An operator's own profile goes before any that is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.cpe_model import places, profile_files
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.presentable import presentable
from agent.cpe_model.profile_files import ProfileEntry, ProfileError
from agent.cpe_model.vocabulary import (
    BooleanStyle,
    CpeProfile,
    Diagnostic,
    Mapped,
    Reports,
    UnknownNameError,
    UnplacedNameError,
    Unsafe,
    normalize,
)

__all__ = [
    "SHIPPED",
    "BooleanStyle",
    "CpeProfile",
    "Diagnostic",
    "Mapped",
    "ProfileBook",
    "ProfileError",
    "Reports",
    "UnknownNameError",
    "UnplacedNameError",
    "Unsafe",
    "bound",
    "normalize",
]

_REMEMBERED: Final = 4096
"""Kinds of CPE to remember the profile of; chosen arbitrarily."""


class ProfileBook:
    """The profiles in force: those that are shipped, and an operator's own, which may be read again."""

    def __init__(self, own: tuple[ProfileEntry, ...] = ()) -> None:
        """Know the shipped profiles and some of an operator's own."""
        self._own = own
        self._known: dict[tuple[str, str, str, str], CpeProfile] = {}

    @property
    def own(self) -> tuple[ProfileEntry, ...]:
        """The operator's own profiles."""
        return self._own

    def take(self, own: tuple[ProfileEntry, ...]) -> None:
        """Have other profiles of the operator's own from now on."""
        self._own = own
        self._known.clear()

    def of(self, oui: str, product_class: str, software: str, root: str) -> CpeProfile:
        """Return the profile of a CPE: the most specific one that matches, the root's generic one where none does.

        Args:
            oui: as in DeviceId, in whatever capitals.
            product_class: as in DeviceId; may be empty.
            software: the SoftwareVersion; empty where it is not known.
            root: `InternetGatewayDevice.` or `Device.`, with or without its dot: the first word of the parameters that
                the CPE informs of.

        Raises:
            ProfileError: there is no profile for this root.
        """
        key = oui, product_class, software, root.rstrip(".") + "."
        if (found := self._known.get(key)) is None:
            found = _most_specific((*self._own, *profile_files.load()), *key)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found


def _most_specific(
    entries: tuple[ProfileEntry, ...], oui: str, product_class: str, software: str, root: str
) -> CpeProfile:
    found: list[tuple[tuple[bool, tuple[bool, int, int, bool]], CpeProfile]] = []
    for entry in entries:
        score = entry.match.score(oui, product_class, software)
        if entry.profile.root == root and score is not None:
            found.append(((entry.own, score), entry.profile))
    if not found:
        roots = sorted({entry.profile.root for entry in entries})
        raise ProfileError(f"profile: expected a root of {', '.join(roots)}, got {presentable(root)}")
    # The first by name where two say the same: sorted() and max() keep the order
    return max(found, key=lambda pair: pair[0])[1]


SHIPPED: Final = ProfileBook()
"""The shipped profiles alone."""


def bound(profile: CpeProfile, values: Mapping[str, CachedParameter]) -> CpeProfile:
    """Return the profile of one CPE: its names stand where the values read of it say."""
    return profile.bound(places.find(profile.root, values, profile.fixed))
