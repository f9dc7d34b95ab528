"""Effects on a CPE that cannot be taken back: their verbs, and how long each may take. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.model import Effect, EffectKind

REBOOT: Final = "reboot"
FACTORY_RESET: Final = "factory-reset"
FIRMWARE: Final = "firmware"
DIAGNOSE: Final = "diagnose"
UNKNOWN_VERSION: Final = "an unknown version"
"""The former version in a firmware upgrade of a CPE that reports none."""

METHODS: Final[Mapping[str, str]] = {
    REBOOT: "Reboot",
    FACTORY_RESET: "FactoryReset",
    FIRMWARE: "Download",
    DIAGNOSE: "Diagnose",
}
"""Verb -> the name by which a profile calls it unsafe: TR-069's, which profiles are written in."""
EFFECTS: Final[Mapping[str, frozenset[EffectKind]]] = {
    REBOOT: frozenset({EffectKind.REBOOT}),
    FACTORY_RESET: frozenset({EffectKind.FACTORY_RESET, EffectKind.REBOOT}),
    FIRMWARE: frozenset({EffectKind.FIRMWARE, EffectKind.REBOOT}),
    DIAGNOSE: frozenset({EffectKind.DIAGNOSTIC}),
}
"""Kinds by verb. A CPE boots after a reset, and to run a new image."""
WITHIN_S: Final[Mapping[str, int]] = {REBOOT: 600, FACTORY_RESET: 900, FIRMWARE: 1800, DIAGNOSE: 300}
"""Verb -> seconds until its proof must be there. A firmware is fetched, written and booted; chosen arbitrarily."""
_PROOFS: Final[Mapping[str, str]] = {
    REBOOT: "boot seen",
    FACTORY_RESET: "factory reset seen",
    FIRMWARE: "version {version} read back",
    DIAGNOSE: "{workflow} ran to its end",
}


def proof_text(effect: Effect) -> str:
    """Return the proof of an effect, once there is one: `version 2.0.0 read back`."""
    return _PROOFS[effect.verb].format_map(effect.args)
