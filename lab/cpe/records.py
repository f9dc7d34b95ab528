"""Events of a CPE, for tests: small frozen records in `Cpe.log`. `at` is seconds since 1970 on its own clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Booted:
    """It came up. `version`: its software."""

    at: float
    boots: int
    version: str


@dataclass(frozen=True, slots=True)
class SessionBegun:
    """An Inform was written. `events`: code and command key, as sent."""

    at: float
    events: tuple[tuple[str, str], ...]
    retry_count: int

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(code for code, _ in self.events)


@dataclass(frozen=True, slots=True)
class SessionOver:
    """A session ended. `reason`: empty when it ended as it should; `informed`: whether the Inform was answered."""

    at: float
    ok: bool
    reason: str
    informed: bool
    executed: int


@dataclass(frozen=True, slots=True)
class Executed:
    """A request of the ACS. `names`: the first of them; `fault`: 0 when done; `answered`: the answer was sent."""

    at: float
    method: str
    names: tuple[str, ...]
    fault: int = 0
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Transferred:
    """A file was fetched or sent, or could not be (`fault`)."""

    at: float
    command_key: str
    fault: int


@dataclass(frozen=True, slots=True)
class Woken:
    """A connection request. `how`: `http` or `udp`; `status`: of the answer, 0 for UDP that was ignored."""

    at: float
    how: str
    status: int


Record: TypeAlias = Booted | SessionBegun | SessionOver | Executed | Transferred | Woken
