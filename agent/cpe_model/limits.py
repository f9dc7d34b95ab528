"""Limits on the stored and shown values of a CPE, each with its reason or "chosen arbitrarily"."""

from __future__ import annotations

from typing import Final

NUMBER_CHARS: Final = 20
"""Digits of a number, sign included: an unsignedLong has 20."""

SHOWN_CHARS: Final = 60
"""A name that came, in an error."""

VALUES: Final = 20_000
"""Parameters that are remembered of one CPE: more than twice the largest recorded tree (9,000)."""

STRANGER_VALUES: Final = 64
"""Of one that nobody accepted: the parameters that an Inform must have (TR-106 appendix, a dozen), and a few more."""

NEW_CPE: Final = 5000
"""CPE in quarantine that are remembered; with more, the oldest of the network with most are forgotten for new ones."""

QUARANTINE_S: Final = 30 * 86_400
"""After so long without a call a CPE in quarantine is forgotten. Chosen arbitrarily."""

VALUE_CHARS: Final = 32_768
"""A value that is remembered; of a longer one its length is. Vendor configurations have megabytes."""
