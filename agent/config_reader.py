"""Reads sections of the configuration file by their keys, and collects everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config_schema import HANDLE, Key, Required


@dataclass(slots=True)
class ConfigReader:
    """A TOML document that came from `path` (absolute), and the keys that may stand in it.

    Readers never raise for an operator's mistake: they add to `problems`, so that all are told at once.
    """

    path: Path
    document: Mapping[str, Any]
    keys: Iterable[Key]
    problems: list[str] = field(default_factory=list)

    def problem(self, where: str, text: str) -> None:
        """Add a problem. `where`: section and key; `text`: the expected value and the given one."""
        self.problems.append(f"{self.path} {where}: {text}")

    def path_of(self, text: str) -> Path:
        """Return a path of the file; relative ones are relative to the file."""
        return self.path.parent / text

    def keys_of(self, section: str) -> dict[str, Key]:
        """Return the keys of a section as they were declared, by name."""
        return {key.name: key for key in self.keys if key.section == section}

    def declared(self, section: str) -> list[str]:
        """Return the names of `[section.NAME]`, whether or not there is anything wrong with them."""
        found = self.document.get(section)
        return list(found) if isinstance(found, dict) else []

    def top(self, section: str) -> Mapping[str, Any]:
        """Return the table of `[section]`, empty if it is missing or no table (then a problem)."""
        return self.table(self.document, section, section)

    def table(self, parent: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
        """Return a sub-table, empty if it is missing or no table (then a problem)."""
        value = parent.get(name, {})
        if isinstance(value, dict):
            return value
        self.problem(where, f"expected a section [{where}], got {shown(value)}")
        return {}

    def unknown(self, where: str, names: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
        """Add a problem for each name that is not allowed."""
        for name in names:
            if name in allowed:
                continue
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(allowed)}"
            if name in {"password", "passwd", "shared_secret"}:
                hint = "secrets do not stand here: `ispagent secret set NAME`, and secret = NAME"
            self.problem(f"{where}.{safe_name(name)}" if where else safe_name(name), f"unknown; {hint}")

    def section(
        self, schema: str, where: str, table: Mapping[str, Any], tables: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the section's values by the table's keys. Each wrong value is left out and added as a problem."""
        keys = self.keys_of(schema)
        self.unknown(where, table, (*keys, *tables))
        values: dict[str, Any] = {}
        for name, key in keys.items():
            if name in table:
                self.value(f"{where}.{name}", key, table[name], values)
            elif isinstance(key.default, Required):
                self.problem(f"{where}.{name}", f"missing; expected {key.kind.expected}")
            else:
                values[name] = key.kind.read(key.default) if key.default != "" else ""
        return values

    def free(self, schema: str, where: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return a section with keys of the operator's own (attributes, tariffs), checked by the schema's one key."""
        (key,) = self.keys_of(schema).values()
        values: dict[str, Any] = {}
        for name, value in table.items():
            self.value(f"{where}.{safe_name(name)}", key, value, values, name)
        return values

    def value(self, where: str, key: Key, value: Any, into: dict[str, Any], name: str = "") -> None:
        """Put a value, read by its key, into `into`; one that is wrong becomes a problem."""
        try:
            into[name or key.name] = key.kind.read(value)
        except (ValueError, TypeError):
            got = shown(value) if key.kind.shown else "something else (not shown: it may be a secret)"
            self.problem(where, f"expected {key.kind.expected}, got {got}")

    def named(self, section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give name and table of each `[section.NAME]`."""
        for name, value in self.top(section).items():
            if not HANDLE.fullmatch(name):
                self.problem(f"{section}.{safe_name(name)}", "expected a name of 1 to 32 of a-z, 0-9 and -")
            elif not isinstance(value, dict):
                self.problem(f"{section}.{name}", f"expected a section [{section}.NAME], got {shown(value)}")
            else:
                yield name, value


def safe_name(name: str) -> str:
    """Return a key as an error message may show it."""
    # Whatever an operator typed as a key must not act on the terminal that shows the message.
    return name if name.isprintable() and len(name) <= 64 else ascii(name[:64])


def shown(value: object) -> str:
    """Return a wrong value as an error message may show it."""
    if isinstance(value, dict):
        return "a section"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
