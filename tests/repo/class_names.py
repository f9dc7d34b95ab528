"""Which modules of the product define a public class of one name."""

from __future__ import annotations

from collections import defaultdict

from tests.repo import tree
from tests.repo.ratchet import Figure, Figures, Ratchet

FOLDERS = ("agent", "backups", "control_plane", "durable", "protos", "trust")


def definitions() -> dict[str, list[str]]:
    """Return the public classes at the top of modules: name -> modules."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, node in tree.classes(*FOLDERS):
        if not node.name.startswith("_"):
            found[node.name].append(tree.name(path))
    return found


def measured() -> Figures:
    """Return the names that more than one module defines, and how many do."""
    return {name: Figure(len(modules)) for name, modules in definitions().items() if len(modules) > 1}


SHARED = Ratchet(
    "class_names",
    "Public class names that several modules define. Give each meaning its own name.",
    measured,
)
