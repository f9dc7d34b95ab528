"""Files: those that an ACS asked to be fetched or sent, their content, and their effects on the CPE."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from lab.cpe.errors import CwmpFault
from lab.cpe.events import AUTONOMOUS_TRANSFER_COMPLETE, TRANSFER_COMPLETE
from lab.cpe.quirks import Quirks
from lab.cpe.records import Record, Transferred
from lab.cpe.soap import AutonomousTransfer, Finished
from lab.cpe.tree import Tree

FIRMWARE: Final = "1 Firmware Upgrade Image"
WEB_CONTENT: Final = "2 Web Content"
CONFIGURATION: Final = "3 Vendor Configuration File"
DOWNLOADS: Final = (FIRMWARE, WEB_CONTENT, CONFIGURATION)
NOT_BEGUN, IN_PROGRESS, COMPLETED = 1, 2, 3
# the schemas: at most 16 in a list of queued transfers
_QUEUE_MAX: Final = 16
_VERSION: Final = re.compile(rb"version=([\x21-\x7e]{1,64})\r?\n")


@dataclass(slots=True, eq=False)
class Transfer:
    """A queued transfer. `due`: not before then; `until`: not after (ScheduleDownload); `state`: as TR-069 has it."""

    command_key: str
    file_type: str
    url: str
    username: str = ""
    password: str = ""
    is_download: bool = True
    size_bytes: int = 0
    target: str = ""
    due: float = 0.0
    until: float | None = None
    method: str = "Download"
    state: int = NOT_BEGUN
    started: float | None = None


def firmware(version: str, size_bytes: int = 64) -> bytes:
    """A firmware image that the lab's CPE takes."""
    return f"version={version}\n".encode().ljust(size_bytes, b"\xa5")


def version_of(image: bytes) -> str | None:
    """The version that an image says, None when it is no image."""
    found = _VERSION.match(image)
    return found[1].decode("ascii") if found else None


def configuration_of(tree: Tree) -> bytes:
    """The content of an upload of the configuration: writable parameters, secrets left empty."""
    writable = {name for name, may in tree.names() if may}
    return "".join(f"{name}={value}\n" for name, _, value in tree.show("") if name in writable).encode()


def read_configuration(content: bytes, tree: Tree) -> list[tuple[str, str]] | None:
    """The parameters that a configuration file sets, None when it is none or one of them cannot be set so."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        return None
    found = [(name, value) for line in lines for name, sep, value in [line.partition("=")] if sep]
    if len(found) != len(lines) or any(tree.check(name, "", value) for name, value in found):
        return None
    return found


class Transferring(Protocol):
    """A CPE, as far as its transfers act on it. `version`: of CWMP."""

    version: str
    tree: Tree

    @property
    def quirks(self) -> Quirks:
        """Its faults."""

    def now(self) -> float:
        """The time by its clock."""

    def note(self, record: Record) -> None:
        """Write something into its log."""

    def put(self, name: str, value: str) -> None:
        """Change a parameter."""

    def add_event(self, code: str, command_key: str = "") -> None:
        """Have its next Inform say something."""

    def run_firmware(self, version: str) -> None:
        """Run another image."""

    def reboot_when_idle(self) -> None:
        """Reboot as soon as no session is under way."""


class Transfers:
    """A CPE's transfers. `queued`: those that the ACS asked for; `finished`: those that it is not told of yet;
    `autonomous`: those that it did not ask for; `files`: fetched ones, by target or type.
    """

    __slots__ = ("_cpe", "_staged", "autonomous", "files", "finished", "queued")

    def __init__(self, cpe: Transferring) -> None:
        self._cpe = cpe
        self.queued: list[Transfer] = []
        self.finished: list[Finished] = []
        self.autonomous: list[AutonomousTransfer] = []
        self.files: dict[str, bytes] = {}
        self._staged: tuple[Transfer, Finished, str] | None = None

    def queue(self, transfer: Transfer) -> None:
        """Queue a transfer.

        Raises:
            CwmpFault: 9004 there are too many; 9013 no http; 9003 no URL, or one with a password in it (A.3.2.8).
        """
        if len(self.queued) >= _QUEUE_MAX:
            raise CwmpFault(9004)
        if not transfer.url or "@" in transfer.url.partition("//")[2].partition("/")[0]:
            raise CwmpFault(9003)
        if transfer.url.partition(":")[0].lower() not in ("http", "https"):
            raise CwmpFault(9013)
        self.queued.append(transfer)

    def cancel(self, command_key: str) -> None:
        """CancelTransfer.

        Raises:
            CwmpFault: 9021 it has begun.
        """
        found = [one for one in self.queued if one.command_key == command_key]
        if any(one.state != NOT_BEGUN for one in found):
            raise CwmpFault(9021)
        self.queued = [one for one in self.queued if one not in found]

    def due(self) -> float | None:
        """When the next one is to begin."""
        return min((one.due for one in self.queued if one.state == NOT_BEGUN), default=None)

    def take(self, now: float) -> list[Transfer]:
        """Those that are to begin now. Each ends with `done`."""
        taken = [one for one in self.queued if one.state == NOT_BEGUN and one.due <= now]
        for one in taken:
            one.state, one.started = IN_PROGRESS, now
        return taken

    def done(self, transfer: Transfer, content: bytes, code: int) -> None:
        """A transfer ended: with the fetched bytes, or with a fault code."""
        cpe = self._cpe
        if transfer not in self.queued:
            return  # a factory reset came between
        if cpe.quirks.firmware == "stall" and transfer.is_download:
            cpe.note(Transferred(cpe.now(), transfer.command_key, code))
            return
        if not code and transfer.until is not None and cpe.now() > transfer.until:
            code = 9020
        if not code and transfer.is_download:
            code = self._apply(transfer, content)
        if cpe.version == "1.0" and code > 9012:
            code = 9010  # the later codes are CWMP 1.1's
        finished = Finished(transfer.command_key, code, "", transfer.started, cpe.now())
        transfer.state = COMPLETED
        if transfer.file_type == FIRMWARE and transfer.is_download and not code:
            self._staged = (transfer, finished, version_of(content) or "")
            cpe.note(Transferred(cpe.now(), transfer.command_key, code))
            cpe.reboot_when_idle()
        else:
            self._complete(transfer, finished)
            cpe.note(Transferred(cpe.now(), transfer.command_key, code))

    def _apply(self, transfer: Transfer, content: bytes) -> int:
        cpe = self._cpe
        if transfer.size_bytes and transfer.size_bytes != len(content):
            return 9018
        if transfer.file_type == FIRMWARE:
            return 9018 if version_of(content) is None or cpe.quirks.firmware == "faults" else 0
        if transfer.file_type == CONFIGURATION:
            values = read_configuration(content, cpe.tree)
            for name, value in values or ():
                cpe.put(name, value)
            return 9018 if values is None else 0
        self.files[transfer.target or transfer.file_type] = content
        return 0

    def _complete(self, transfer: Transfer, finished: Finished) -> None:
        self.queued.remove(transfer)
        self.finished.append(finished)
        self._cpe.add_event(TRANSFER_COMPLETE)
        self._cpe.add_event(f"M {transfer.method}", finished.command_key)

    def after_boot(self) -> None:
        """The effect of a boot: a staged image runs, an interrupted fetch begins again."""
        cpe = self._cpe
        if self._staged is not None:
            transfer, finished, version = self._staged
            self._staged = None
            if cpe.quirks.firmware != "silent":
                cpe.run_firmware(version)
            self._complete(transfer, finished)
        for transfer in self.queued:
            if cpe.quirks.firmware != "stall":
                transfer.state = NOT_BEGUN

    def forget(self) -> None:
        """A factory reset."""
        self.queued.clear()
        self.finished.clear()
        self.autonomous.clear()
        self._staged = None

    def by_itself(self, transfer: AutonomousTransfer) -> None:
        """Have the ACS told of a transfer that it did not ask for (CWMP 1.1 and later)."""
        self.autonomous.append(transfer)
        self._cpe.add_event(AUTONOMOUS_TRANSFER_COMPLETE)
