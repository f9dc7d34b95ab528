"""CWMP's additions to the effects on a CPE (`agent.cpe_model.effects`): a firmware's way, a test's state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STATE: Final = "DiagnosticsState"
"""The parameter of a diagnostic's object that starts it, and says how it stands."""


@dataclass(slots=True)
class Flash:
    """A firmware on its way. `before`: the version that ran; `reported`: TransferComplete said that it was taken."""

    key: str
    version: str
    before: str
    reported: bool = False
