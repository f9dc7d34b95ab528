"""RouterOS versions: read from a router's own text, and which recorded table of menus serves which version.

The tables were recorded on a few releases (`RECORDED`). A release between two of them is served by the one below it,
since RouterOS adds more arguments than it takes away, and refuses a command whole for one that it does not know. What
lies outside of the recorded lines is served by the nearest table, and `known` says no: the caller decides what it then
dares. Source of the version texts: the `version` property of /system/resource.

Errors:

* MalformedVersionError: no version
"""

from __future__ import annotations

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
"""The releases whose menus were recorded, oldest first; each has a file in tables/."""


def known(version: Version) -> bool:
    """Tell whether the tables cover a version's line: 6.49, and 7.15 to 7.24."""
    line = (version.major, version.minor)
    if version.major == RECORDED[0].major:
        return line == _line(RECORDED[0])
    return _line(RECORDED[1]) <= line <= _line(RECORDED[-1])


def table_of(version: Version) -> Version:
    """Return the recorded release whose table serves a version: of its line, else the nearest below in its major.

    Below the lowest of its major it is that one, and for a major that was not recorded the nearest at all.
    """
    line = (version.major, version.minor)
    of_major = [r for r in RECORDED if r.major == version.major]
    below = [r for r in of_major or RECORDED if _line(r) <= line]
    return below[-1] if below else (of_major or RECORDED)[0]


def _line(version: Version) -> tuple[int, int]:
    return (version.major, version.minor)
