"""The interface between the CPE domain and a protocol that manages CPE: `CpeManager`, which a connector implements.

The domain plans in paths, rows and effects (`addresses`, `effects`); how they go to the CPE is the connector's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.cpe_model.baseline import Baseline
from agent.cpe_model.breaker import Breaker
from agent.cpe_model.known import TracedMessage
from agent.cpe_model.profiles import SHIPPED, ProfileBook


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A firmware image in the operator's folder. `sha256`: 64 hex digits."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CpeTerms:
    """The configuration of changes on CPE.

    `wait_s`: how long a change waits for its CPE. `baselines`: the settings of new CPE, the first that is for one.
    `stun`: where the STUN server is, as CPE see it; None: there is none. `profiles`: those in force.
    """

    wait_s: int
    baselines: tuple[Baseline, ...] = ()
    stun: tuple[str, int] | None = None
    profiles: ProfileBook = SHIPPED


@runtime_checkable
class CpeManager(Protocol):
    """A connector that manages CPE, which call in. A CPE goes by its name, as the inventory has it."""

    def terms(self) -> CpeTerms | None:
        """Return the settings for changes on CPE; None: the configuration manages no CPE."""
        ...

    def target_id(self, name: str) -> str:
        """Return the id of a CPE's target: `KIND/NAME`."""
        ...

    def counts(self) -> tuple[int, int]:
        """Return how many sessions are open now, and how many were turned away since the start."""
        ...

    def is_online(self, name: str) -> bool:
        """Return whether a session of the CPE is open now."""
        ...

    def can_be_called(self, name: str) -> bool:
        """Return whether the CPE can be asked to call in."""
        ...

    def requested(self, target: str) -> AbstractContextManager[None]:
        """Ask a CPE to call in inside the block."""
        ...

    def last_request(self, name: str) -> str | None:
        """Return how the last connection request to a CPE that somebody waits for went; None: there was none."""
        ...

    def last_trouble(self, name: str) -> str | None:
        """Return a sentence on the trouble in a CPE's last session; None: there was none since the start."""
        ...

    def traced(self, name: str, sessions: int, told: Callable[[TracedMessage], None]) -> AbstractContextManager[None]:
        """Tell of each message of a CPE's next sessions inside the block.

        Raises:
            UnreadableError: too many traces run.
        """
        ...

    def breaker(self, name: str) -> Breaker:
        """Return the circuit breaker of a CPE."""
        ...

    def hang_up(self, name: str) -> None:
        """End the CPE's session, if one is open."""
        ...

    def forget(self, name: str) -> None:
        """Drop all notes of a CPE that is in the book no more, and end its session: another may come with its name."""
        ...

    async def refresh(self, name: str, wanted: Sequence[str]) -> tuple[str, ...]:
        """Read a CPE once it calls in; return the failures, a sentence each.

        Args:
            name: of the CPE.
            wanted: names, paths, objects' paths, or `all`; empty: those that its profile names.

        Raises:
            UnreadableError: the CPE hung up, or a name is unknown.
        """
        ...

    async def image(self, name: str) -> ImageFile:
        """Return the firmware image that has this file name now.

        Raises:
            NotSentError: there is no such file, or none is served.
        """
        ...
