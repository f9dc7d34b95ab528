"""Baselines: the settings that the configuration declares for new and reset CPE (`[baseline.NAME]`). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PASSWORD: Final = "{password}"
"""Stands in a baseline for the password of the login of the service that a CPE serves."""
_SECRET: Final = re.compile(r"\{secret:([a-z0-9][a-z0-9._/-]{0,63})\}", re.ASCII)


def secret_named(text: str) -> str | None:
    """Return the name of the agent's secret for which a text stands in a baseline, `{secret:NAME}`; None: for none."""
    found = _SECRET.fullmatch(text)
    return None if found is None else found[1]


def is_misplaced(name: str, text: str) -> bool:
    """Tell whether a secret is named in a text that is more than that (it would be seen in a preview), or for a row."""
    if PASSWORD not in text and "{secret" not in text:
        return False
    return name[:1] in ("+", "-") or (text != PASSWORD and secret_named(text) is None)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The settings of CPE of a kind when they are new, or were reset. `values`: name or path -> text.

    `oui`: of them, empty: any; `product_class`: the beginning of theirs. `rotate`: each gets credentials of its own.
    """

    name: str
    oui: tuple[str, ...]
    product_class: str
    rotate: bool
    values: Mapping[str, str]

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the agent's secrets that it uses."""
        return frozenset(named for text in self.values.values() if (named := secret_named(text)) is not None)

    @property
    def has_secrets(self) -> bool:
        """Whether any of its values is a secret: of the agent, or a subscriber's password."""
        return bool(self.secrets) or PASSWORD in self.values.values()

    def is_for(self, oui: str, product_class: str) -> bool:
        """Return whether it is for a CPE."""
        return (not self.oui or oui in self.oui) and product_class.startswith(self.product_class)
