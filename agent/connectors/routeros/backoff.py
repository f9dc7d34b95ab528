"""When a router that turned us away may be asked again. Pure: the time comes from outside, and so does the dice.

A router that is out of sessions, hangs up at login, or is not the one that is meant, is tried after one second, then
twice as long each time up to a minute, with jitter: several agents must not come back together. A refused login is
tried once a minute, since each one is a line in the router's log. Another password, or a person's probe, is tried at
once. A router that merely cannot be reached is tried whenever it is needed: that burdens nobody.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
LOGIN_S: Final = 60.0
"""Between two logins that are refused."""
_JITTER: Final = 0.25
"""How much of a pause is left to chance, at most."""


class Turned(enum.Enum):
    """How a router turned us away."""

    BACK = "back"
    """It has no session left, or hung up at login, which it does then; or we went, since it is not to be used."""
    LOGIN = "login"
    """Wrong user or password, or a user without the right to log in."""
    AWAY = "away"
    """Anything else: it was not there."""


class Attempts:
    """The attempts to open one connection."""

    def __init__(self, dice: Callable[[], float]) -> None:
        """Take the dice: 0 <= value < 1."""
        self._dice = dice
        self._pause_s = FIRST_S
        self._next = float("-inf")
        self._password: bytes | None = None

    def wait_s(self, now: float, password: bytes) -> float:
        """Return how long the next attempt has to wait, 0 for not at all.

        Args:
            now: seconds of the clock that all calls here go by.
            password: a digest of the password that would be used: another one than was refused waits for nothing.
        """
        if self._password is not None and self._password != password:
            self.reset()
        return max(self._next - now, 0.0)

    def failed(self, how: Turned, now: float, password: bytes) -> None:
        """Note that an attempt was turned away."""
        if how is Turned.AWAY:
            self.reset()
        elif how is Turned.LOGIN:
            self.reset()
            self._next, self._password = now + LOGIN_S, password
        else:
            self._next = now + self._pause_s * (1 - _JITTER * self._dice())
            self._pause_s = min(self._pause_s * 2, LONGEST_S)

    def reset(self) -> None:
        """Forget all failures: it went well, or a person wants to know now."""
        self._pause_s, self._next, self._password = FIRST_S, float("-inf"), None
