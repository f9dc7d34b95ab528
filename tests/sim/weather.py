"""What a simulated network does to what is sent over it, by one seed. Pure.

* A rule says for which paths it holds: those that touch one of its places, by address, by port, or by both.
* The rule that was added last and holds for a path decides; a path without one is calm.
* Dice are drawn per path, so that what one path carries changes nothing on another.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Final

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How a path is.

    `delay_s`: least and most; packets are reordered where they differ. `loss`, `duplicate`: share of the packets, 0 to
    1. `cut`: nothing passes. `bytes_per_s`: what the path carries; 0: as much as is sent.
    """

    delay_s: tuple[float, float] = (0.0, 0.0)
    loss: float = 0.0
    duplicate: float = 0.0
    cut: bool = False
    bytes_per_s: float = 0.0


CALM: Final = Weather()


@dataclass(frozen=True, slots=True)
class Rule:
    """A weather, and where it is: `host` "" and `port` 0 mean any; `towards` False: also on the way back.

    `kind`: "udp", "tcp" or "" for both.
    """

    weather: Weather
    host: str = ""
    port: int = 0
    towards: bool = False
    kind: str = ""

    def holds(self, kind: str, source: Place, target: Place) -> bool:
        """Tell whether a packet on its way from `source` to `target` meets it."""
        if self.kind not in ("", kind):
            return False
        return self._touches(target) or (not self.towards and self._touches(source))

    def _touches(self, place: Place) -> bool:
        return self.host in ("", place[0]) and self.port in (0, place[1])


@dataclass(slots=True)
class _Path:
    dice: random.Random
    busy_until: float = 0.0


@dataclass(slots=True)
class Air:
    """The weather everywhere. `fates` says of each packet when it arrives."""

    seed: int = 0
    base: Weather = CALM
    rules: list[Rule] = field(default_factory=list)
    _paths: dict[tuple[str, Place, Place], _Path] = field(default_factory=dict)

    def add(self, rule: Rule) -> Rule:
        """Let a rule hold from now on; return it, to be taken back by `rules.remove`."""
        self.rules.append(rule)
        return rule

    def weather(self, kind: str, source: Place, target: Place) -> Weather:
        """Return what holds on a path now."""
        return next((r.weather for r in reversed(self.rules) if r.holds(kind, source, target)), self.base)

    def fates(self, kind: str, source: Place, target: Place, size: int, now: float) -> tuple[float, ...]:
        """Return after how many seconds a packet arrives: once, twice where it is duplicated, or never."""
        weather = self.weather(kind, source, target)
        path = self._paths.get((kind, source, target))
        if path is None:
            named = hashlib.sha256(repr((self.seed, kind, source, target)).encode()).digest()
            path = self._paths[kind, source, target] = _Path(random.Random(named))
        if weather.cut or (weather.loss and path.dice.random() < weather.loss):
            return ()
        queued = 0.0
        if weather.bytes_per_s:
            path.busy_until = max(path.busy_until, now) + size / weather.bytes_per_s
            queued = path.busy_until - now
        copies = 2 if weather.duplicate and path.dice.random() < weather.duplicate else 1
        least, most = weather.delay_s
        return tuple(queued + (path.dice.uniform(least, most) if most > 0 else 0.0) for _ in range(copies))
