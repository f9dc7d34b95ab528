"""A program whose `main` runs in the tests' own process."""

from __future__ import annotations

import os

import pytest


def spare_this_process(patch: pytest.MonkeyPatch) -> None:
    """Keep a program from changing this process: its memory's locks, limits and collector, its priority and umask.

    A lowered limit cannot be raised again, so tests that follow in the same process would fail by it.
    """
    for where in ("durable.process", "control_plane.cli", "control_plane.desk.unlock"):
        patch.setattr(f"{where}.keep_memory_private", lambda: None)
    patch.setattr("durable.process.put_off_collections", lambda: None)
    patch.setattr(os, "nice", lambda _: 0)
    patch.setattr(os, "umask", lambda _: 0o022)
