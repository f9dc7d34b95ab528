"""The configuration in force, and its reload while the agent runs (SIGHUP).

A file is taken whole or not at all: a plan names the digest of the file that it was made under. Settings that the
running parts were built from (targets, access methods, paths) need a restart, and a file that changes one is refused by
name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from agent.config import KEYS, AgentConfig, ConfigError, load

_log = logging.getLogger("agent.config")
LIVE: Final = frozenset({"people", "policy"})
"""Sections that take effect at once: for requests and plans from then on."""
_OF_THE_FILE: Final = frozenset({"path", "config_sha256"})
_OF_AGENT: Final = frozenset(key.name for key in KEYS if key.section == "agent")


class LiveConfig:
    """The configuration in force."""

    def __init__(self, config: AgentConfig, note: Callable[[str], None]) -> None:
        """Take the configuration of the start, and a callback for each reload's problem, "" where there is none."""
        self.current, self._note = config, note
        self._running = config.connectors
        self._people = dict(config.people)

    @property
    def people(self) -> Mapping[int, str]:
        """The people by uid: a view that follows each reload."""
        return self._people

    def reload(self) -> None:
        """Take the file as it is now; one that cannot be taken leaves the configuration as it is."""
        try:
            fresh = load(self.current.path)
        except ConfigError as err:
            self._refuse("; ".join(err.problems))
            return
        if fixed := list(_changed(self.current, fresh)):
            self._refuse(f"{', '.join(fixed)} changed, which needs a restart: nothing of the new file was taken")
            return
        self.current = fresh
        for running, anew in zip(self._running, fresh.connectors, strict=True):
            running.reload(anew)
        self._people.clear()
        self._people.update(fresh.people)
        self._note("")
        _log.info("the configuration was read again")

    def _refuse(self, why: str) -> None:
        _log.error("the configuration stays as it was", extra={"cause": why})
        self._note(why)


def _changed(old: AgentConfig, new: AgentConfig) -> Iterator[str]:
    """Give the sections and keys that changed and cannot be taken while the agent runs."""
    for one in fields(AgentConfig):
        if one.name in LIVE | _OF_THE_FILE or getattr(old, one.name) == getattr(new, one.name):
            continue
        if one.name == "connectors":
            for before, after in zip(old.connectors, new.connectors, strict=True):
                if before.config != after.config:
                    yield f"a section of {before.spec.name}"
        else:
            yield f"agent.{one.name}" if one.name in _OF_AGENT else one.name
