"""A profile tried on the values read of a CPE: the place of each name, missing ones, writable ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.cpe_model import places
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.places import Places
from agent.cpe_model.values import shown_text
from agent.cpe_model.vocabulary import INSTANCE, TABLE, CpeProfile, Mapped


@dataclass(frozen=True, slots=True)
class TriedName:
    """A name. `path` "": its place is not known, and `why` says why. `shown` None: nothing was read there.

    `written`: whether a change may write it, by the profile and by the CPE's own word.
    """

    name: str
    path: str
    why: str = ""
    shown: str | None = None
    written: bool = False


@dataclass(frozen=True, slots=True)
class ProfileTrial:
    """The result of a profile on a CPE. `foreign`: parameters below another root."""

    places: Places
    names: tuple[TriedName, ...]
    foreign: int

    @property
    def read(self) -> tuple[TriedName, ...]:
        """The names for which a value was read."""
        return tuple(name for name in self.names if name.shown is not None)

    @property
    def missing(self) -> tuple[TriedName, ...]:
        """The names that stand at a path that was not read."""
        return tuple(name for name in self.names if name.shown is None and not name.why)

    @property
    def unplaced(self) -> tuple[TriedName, ...]:
        """The names without a known place."""
        return tuple(name for name in self.names if name.why)


def trial(profile: CpeProfile, values: Mapping[str, CachedParameter]) -> ProfileTrial:
    """Return the result of a profile on values read of a CPE. Columns of tables are left out, tables are counted."""
    found = places.find(profile.root, values, profile.fixed)
    made = profile.bound(found)
    names = [_tried(mapped, values) for mapped in made.parameters if INSTANCE not in mapped.path]
    names += [TriedName(name, "", why) for name, why in made.unplaced.items() if INSTANCE not in name]
    foreign = sum(not path.startswith(profile.root) for path in values)
    return ProfileTrial(found, tuple(sorted(names, key=lambda name: name.name)), foreign)


def _tried(mapped: Mapped, values: Mapping[str, CachedParameter]) -> TriedName:
    known = values.get(mapped.path)
    if mapped.kind == TABLE:
        rows = {path[len(mapped.path) :].partition(".")[0] for path in values if path.startswith(mapped.path)}
        shown = f"{len(rows)} rows" if rows else None
    elif known is None:
        shown = None
    else:
        shown = "(a secret)" if known.value is None else mapped.shown(shown_text(known.value))
    written = mapped.writable and not (known is not None and known.writable is False)
    return TriedName(mapped.name, mapped.path, "", shown, written)
