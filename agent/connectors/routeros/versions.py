"""RouterOS versions: read from a router's own text, and which recorded table of menus serves which version.

The tables were recorded on a few releases (`RECORDED`). Any other is served by the table below it, since RouterOS adds
more arguments than it takes away, and refuses a command whole for one that it does not know; `known` then says no, and
only service changes are made, of properties that the router's rows show or that the tables on both sides have
(`menus.unshown`). 6.43 to 6.48 are served so by the table of 6.49; nothing older is. Source of the version texts: the
`version` property of /system/resource.

Errors:

* MalformedVersionError: no version
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final


class MalformedVersionError(Exception):
    """The text is not a RouterOS version."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A release, `7.20.8`. The channel and a beta's or release candidate's number are left out: 7.21beta3 is 7.21."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + (f".{self.patch}" if self.patch else "")

    @classmethod
    def parse_untrusted(cls, text: str) -> Version:
        """Return the version that a router says: `7.20.8 (stable)`, `6.49.18 (long-term)`, `7.21beta3 (testing)`.

        Raises:
            MalformedVersionError: the text is something else.
        """
        found = _VERSION.fullmatch(text)
        if found is None:
            # Not quoted whole: a hostile router's text may be a mebibyte, and may end in a log.
            raise MalformedVersionError(f"expected a version such as 7.20.8 (stable), got {text[:_SHOWN]!r}")
        major, minor, patch = found.groups()
        return cls(int(major), int(minor), int(patch or 0))


_SHOWN: Final = 40
"""Characters of a malformed version that an error shows; chosen arbitrarily."""

# version = 1*4DIGIT "." 1*4DIGIT [ "." 1*4DIGIT ] [ stage 1*6DIGIT ] [ " (" channel ")" ]
# Development builds are `7.19_ab386 (development)`. ASCII digits only: \d takes those of every script.
_VERSION: Final = re.compile(
    r"([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:(?:alpha|beta|rc|_ab)[0-9]{1,6})?(?: \([a-z-]{1,32}\))?"
)

RECORDED: Final = (Version(6, 49, 18), Version(7, 15, 3), Version(7, 20, 8), Version(7, 24))
"""The releases with recorded menus, oldest first; each has a file in tables/."""

_ASKED: Final = 64
"""Versions to remember answers for, since each write asks; chosen arbitrarily, above those of a fleet."""

SERVED_FROM: Final = Version(6, 43)
"""Older releases take no password at login, only a challenge's answer (RouterOS manual, "API", "Login")."""


@functools.lru_cache(maxsize=_ASKED)
def known(version: Version) -> bool:
    """Tell whether menus of a version's line were recorded: 6.49, 7.15, 7.20 or 7.24."""
    return any(_line(version) == _line(recorded) for recorded in RECORDED)


def served(version: Version) -> bool:
    """Tell whether service changes are made on a version: 6.43 and everything newer, recorded or not."""
    return _line(version) >= _line(SERVED_FROM)


def not_known_text(version: Version) -> str:
    """Return the sentence about a version that is served by a guess."""
    return f"RouterOS {version} is not known here (its menus are read as those of {table_of(version)})"


def table_above(version: Version) -> Version | None:
    """Return the recorded release that follows a version which lies between two of its major; None for any other."""
    of_major = [r for r in RECORDED if r.major == version.major]
    above = [r for r in of_major if _line(r) > _line(version)]
    return above[0] if 0 < len(above) < len(of_major) and not known(version) else None


@functools.lru_cache(maxsize=_ASKED)
def table_of(version: Version) -> Version:
    """Return the recorded release with the table for a version: of its line, else the nearest below in its major.

    Below the lowest of its major it is that one, and for a major that was not recorded the nearest at all.
    """
    line = (version.major, version.minor)
    of_major = [r for r in RECORDED if r.major == version.major]
    below = [r for r in of_major or RECORDED if _line(r) <= line]
    return below[-1] if below else (of_major or RECORDED)[0]


def _line(version: Version) -> tuple[int, int]:
    return (version.major, version.minor)
