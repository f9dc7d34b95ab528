"""Firmware images that CPE fetch from the agent itself: by a name of their own that nobody guesses, for a while. Pure.

An image is offered when a change is about to have a CPE fetch it, and only if the file still has the SHA-256 that was
previewed. TR-069 has no way to tell a CPE a file's digest: the vendor's firmware alone checks the file that arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

PATH = "/files/"


@dataclass(frozen=True, slots=True)
class Image:
    """A file as a CPE is to fetch it. `size_bytes`: of the file."""

    url: str
    size_bytes: int
