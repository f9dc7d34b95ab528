"""Firmware images that CPE fetch from the agent itself: by a name of their own that nobody guesses, for a while. Pure.

An image is offered when a change is about to have a CPE fetch it, and only if the file is still the one whose SHA-256
was previewed. TR-069 has no way to tell a CPE what a file's digest must be: what arrives is the vendor's business.
"""

from __future__ import annotations

from dataclasses import dataclass

PATH = "/files/"


@dataclass(frozen=True, slots=True)
class Image:
    """A file as a CPE is to fetch it. `size_bytes`: of the file."""

    url: str
    size_bytes: int
