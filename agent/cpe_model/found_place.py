"""A place that was found: an object of a CPE, and the evidence for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.cpe_model.structure import Structure


@dataclass(frozen=True, slots=True)
class Place:
    """An object. `path`: in full, with its dot. `rests_on`: full names of the parameters that decided for it.

    `why`: for people, empty where its profile fixes it.
    """

    path: str
    rests_on: tuple[str, ...] = ()
    why: str = ""


def one_of(every: Sequence[str], what: str) -> str | None:
    """Return why an object cannot be chosen among several, or among none; None where there is just one."""
    if len(every) == 1:
        return None
    if not every:
        return f"no {what} was read"
    return (
        f"there are {len(every)}, and nothing that was read tells which: {', '.join(e.rstrip('.') for e in every[:6])}"
    )


def voice_lines(s: Structure, services: str) -> dict[str, Place | str]:
    """Return the lines of all voice services (TR-104), counted in their order."""
    lines = [
        line
        for service in s.rows(services)
        for profile in s.rows(f"{service}VoiceProfile.")
        for line in s.rows(f"{profile}Line.")
    ]
    if not lines:
        return {"voip": "no voice line was read"}
    return {f"voip.{n}": Place(line, (), "voice lines in their order") for n, line in enumerate(lines, start=1)}
