"""Lines above the connectors that name one."""

from __future__ import annotations

import re

from tests.repo import tree
from tests.repo.ratchet import Figure, Figures, Ratchet

NAME = re.compile(
    r"cwmp|tr069|routeros|mikrotik|radius|snmp|librenms|uisp|splynx|accounts.sql|drop.folder|stripe|paystack|daraja",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"agent/(connectors|cpe[^/]*)/")
EXCEPTIONS = {
    "agent/runtime/redacting_log.py": "the logger of librouteros prints passwords, and it is found by its name",
}
"""Files that may name one, and why."""


def lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that name a connector, with their numbers."""
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if NAME.search(line)]


def found() -> dict[str, list[tuple[int, str]]]:
    """Return the lines of each file that should name none: file -> lines."""
    files = {tree.name(path): tree.text(path) or "" for path in tree.files() if tree.name(path).startswith("agent/")}
    hits = {name: lines(text) for name, text in files.items() if not _INSIDE.match(name)}
    return {name: hit for name, hit in hits.items() if hit}


def measured() -> Figures:
    """Return how many lines of each file name a connector, without the exceptions."""
    return {name: Figure(len(hit)) for name, hit in found().items() if name not in EXCEPTIONS}


NAMED = Ratchet(
    "connector_names",
    "Lines that name a connector above the connectors. Let the connector say it in its own folder.",
    measured,
)
