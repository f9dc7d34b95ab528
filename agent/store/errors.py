"""The errors of the store.

* StoreError
  x StoreFailedError: a commit failed (disk full, I/O error); the writer has stopped and so must the daemon
  x StoreVersionError: the database was written by newer code
  x StoreInUseError: another daemon holds the files
  x MissingKeyError: the store key is absent, has the wrong mode, or does not open what it should
  x ErasedSubjectError: the key of a subscriber is gone: nothing about them can be recorded or read
  x LogCorruptError: events and tree disagree
  x DamagedValueError: a stored value is none that this ispagent writes: the daemon ends
  x DamagedStateError: a file of the state directory is missing, cut, or belongs to somebody else
  x RefusedCommandError: a typed command was refused by what is stored (`reason` is a short code)
"""

from __future__ import annotations

from typing import Final

from agent.reasons import AnyReason
from agent.runtime.errors import UncontainedError
from trust.errors import Reason


class StoreError(Exception):
    """Anything that the store raises."""


class StoreFailedError(StoreError, UncontainedError):
    """A commit failed; nothing of the batch is durable and nothing more will be written."""


class StoreVersionError(StoreError):
    """The database was written by newer code."""


class StoreInUseError(StoreError):
    """Another daemon holds the files."""


class MissingKeyError(StoreError):
    """The store key is absent, readable by others, or not the one of these files."""


class ErasedSubjectError(StoreError):
    """The key of a subscriber is gone: nothing about them can be recorded or read."""


class LogCorruptError(StoreError):
    """The events and the tree over them disagree."""


class DamagedValueError(StoreError, UncontainedError):
    """A stored value is none that this ispagent writes: its page is damaged. The message names the table."""


class DamagedStateError(StoreError):
    """A file of the state directory is missing, cut, or belongs to somebody else; a person has to put it right."""


class RefusedCommandError(StoreError):
    """A typed command was refused; nothing of it was written. `reason` is a short code, the message is for people."""

    def __init__(self, reason: AnyReason | Reason, message: str) -> None:
        super().__init__(message)
        self.reason: str = reason.value if isinstance(reason, Reason) else reason


LASTING: Final = (DamagedStateError, DamagedValueError, LogCorruptError, MissingKeyError, StoreVersionError)
"""Those that no further start mends: a person has to do something first."""
