"""The mark file: how far the log and the trust document had come, in a place that no copy of the state directory has.

A backup of the whole state directory has the mark in `keys.db` that fits it: put back, it looks as if nothing had been
done since. This file is not part of it, and says how far the agent had come.

* It is written in place: two slots in turn, one `fdatasync` and no new block for each mark. A write that is torn leaves
  the other slot, which is the mark before.
* Each slot is authenticated under the store key, so that the file of another agent is no mark of this one.
* An empty file is one that was never written.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.store.errors import StoreFailedError
from durable.folders import sync_folder

DOUBT: Final = "trust_doubt"
"""Key in `meta`: the trust version that this agent had by its marks, while an older one is pinned; 0: not known."""
BOARD_JUDGED: Final = "board-judged"
"""Key in `meta`: the unix minute until which statements of a log that is gone were judged already."""
BOARD_DOUBT: Final = "board-doubt"
"""Key in `meta` while the control plane's board is why the trust is in doubt: witnesses do not end that."""
TRUST_ACCEPTED: Final = "trust-accepted"
"""Key in `meta`: the unix minute in which a person last typed the words of the pinned trust version."""
MARKED: Final = "mark_file"
"""Key in `meta`, once this agent has a mark file: from then on, one without a mark was lost."""
SLOT_BYTES: Final = 512
"""More than any slot needs, and a size that every disk writes whole."""


@dataclass(frozen=True, slots=True)
class LogMark:
    """How far an agent has come. `size` and `root`: its log; `trust_version`: the pinned one, 0 for none.

    `doubt`: the trust version that it should have, 0 where nobody knows; None: there is no doubt.
    """

    size: int
    root: bytes
    trust_version: int = 0
    doubt: int | None = None


class MarkFile:
    """The open file. `mark` is the newest in it; None: it has none."""

    def __init__(self, path: Path, authenticate: Callable[[bytes], str]) -> None:
        """Open or create the file, and its directory where that is missing.

        Args:
            path: the file.
            authenticate: returns a MAC, hex, of bytes under this agent's store key.

        Raises:
            StoreFailedError: it cannot be made or written.
        """
        self.path = path
        self._authenticate = authenticate
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.close(self._fd)
                raise StoreFailedError(f"mark file {path}: expected a file, got something else: agent.mark_file")
            sync_folder(path.parent)
            data = os.pread(self._fd, 2 * SLOT_BYTES, 0)
        except OSError as err:
            raise StoreFailedError(
                f"mark file {path}: cannot be written: {err.strerror}: make its directory the daemon's user's"
                f" (StateDirectory={path.parent.name} in the unit), or name another in agent.mark_file"
            ) from err
        self.written = bool(data)
        """Whether there was something in it, a mark or not."""
        slots = [data[:SLOT_BYTES], data[SLOT_BYTES:]]
        self._number, self.mark = max(map(self._read_untrusted, slots), key=lambda one: one[0])

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def write(self, mark: LogMark) -> None:
        """Remember a mark, durably, in the place of the one before the last.

        Raises:
            StoreFailedError: it could not be written.
        """
        number = self._number + 1
        doubt = "-" if mark.doubt is None else mark.doubt
        fields = f"{number} {mark.size} {mark.root.hex()} {mark.trust_version} {doubt}"
        slot = f"{fields} {self._authenticate(fields.encode())}".ljust(SLOT_BYTES - 1) + "\n"
        try:
            written = os.pwrite(self._fd, slot.encode(), number % 2 * SLOT_BYTES)
            os.fdatasync(self._fd)
        except OSError as err:
            raise StoreFailedError(f"mark file {self.path}: cannot be written: {err.strerror}") from err
        if written != SLOT_BYTES:
            raise StoreFailedError(
                f"mark file {self.path}: {written} of {SLOT_BYTES} bytes were written: is the disk full?"
            )
        self._number, self.mark = number, mark

    def _read_untrusted(self, slot: bytes) -> tuple[int, LogMark | None]:
        """Return the number and the mark of a slot; (0, None): there is none of ours."""
        fields, _, mac = slot.strip().rpartition(b" ")
        if not hmac.compare_digest(mac, self._authenticate(fields).encode()):
            return 0, None
        number, size, root, trust_version, doubt = fields.decode().split()
        doubted = None if doubt == "-" else int(doubt)
        return int(number), LogMark(int(size), bytes.fromhex(root), int(trust_version), doubted)
