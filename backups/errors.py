"""Errors of backups; each program gives them its exit code.

* BackupError
  x AgeKeyError: a recipient or an identity is none
  x WrongKeyError: the file is sealed to somebody else, or the keys do not fit the data
  x DamagedBackupError: the file was cut or altered, is no backup, or a newer program made it
  x BackupStorageError: something cannot be read or written, or there is no room
"""

from __future__ import annotations


class BackupError(Exception):
    """Anything of ours that making or opening a backup raises."""


class AgeKeyError(BackupError):
    """A text is no recipient, or no identity, of age. The message repeats nothing of it."""


class WrongKeyError(BackupError):
    """The file is sealed to another recipient, or keys and data do not belong together."""


class DamagedBackupError(BackupError):
    """The file is not, or no more, one that the program wrote and can read."""


class BackupStorageError(BackupError):
    """A file cannot be read or written: the disk is full, it is there already, a database is damaged."""
