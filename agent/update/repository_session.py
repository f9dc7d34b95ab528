"""Reading a TUF repository: the channel's offer, fetched by one user and verified once more by another.

A fetch leaves a repository of its own in `folder/mirror`, made of verified documents and packages only. Root verifies
that one again, with root's own memory of the last one, and copies the packages to where nobody else can write. So
the user that fetches, and whatever talks to it, can withhold an update and do nothing else.

* In a folder that is read, no symbolic link is followed and only regular files are opened: no FIFO holds root up.
* Root writes nothing into the folder of the user that fetches; there a link would lead root anywhere.
* `apply` refuses a configuration, a root document or a folder of its own that another user could change.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pwd
import shutil
import stat
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, Final

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
    SlowRetrievalError,
)
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from agent.update import host_session
from agent.update.channel import UpdateChannel
from agent.update.errors import ChannelAwayError, ChannelRefusedError, HostError
from agent.update.offers import (
    OFFER_BYTES,
    PACKAGE_BYTES,
    Package,
    offer_path,
    read_lowest_untrusted,
    read_offer_untrusted,
)
from agent.update.room import DOCUMENTS_BYTES, room
from durable.folders import swap, sync_folder

FETCH_S: Final = 1800.0
"""How long one command may read: 80 MB at 0.4 Mbit/s. A server that sends a byte a minute ends here."""
CHUNK: Final = 256 << 10
LIMITS: Final = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=1,
    root_max_length=64 << 10,
    timestamp_max_length=16 << 10,
    snapshot_max_length=64 << 10,
    targets_max_length=1 << 20,
)


@dataclass(frozen=True, slots=True)
class Verified:
    """Packages on disk, each verified. `old`: the installed one; None: the repository lists it no more."""

    offered: Package
    new: Path
    old: Path | None


class Repository:
    """A repository with verified documents. `trusted`: the folder with the documents that this user saw last."""

    def __init__(self, channel: UpdateChannel, source: str, trusted: Path, within_s: float = FETCH_S) -> None:
        """Refresh the documents.

        Raises:
            ChannelAwayError: the repository cannot be read, or not in time.
            ChannelRefusedError: a document is expired, older than before, malformed, or signed by too few keys.
            HostError: the first root document or a folder cannot be used.
        """
        try:
            root = channel.root.read_bytes()
        except OSError as err:
            raise HostError(f"{channel.root}: cannot be read: {err.strerror}; it holds the keys to trust") from err
        local = None if "://" in source else Path(source).absolute()
        base = local.as_uri() if local else source.rstrip("/")
        self._channel, self._trusted = channel, trusted
        with _told(source), room(trusted, DOCUMENTS_BYTES, "reading the repository's documents"):
            trusted.mkdir(parents=True, exist_ok=True)
            fetcher = _BoundedFetcher(within_s, local, trusted)
            try:
                self._updater = _refreshed(trusted, base, fetcher, root)
            except RepositoryError:
                # Between two of our reads a key may have been replaced. The root document that says so is there by now
                self._updater = _refreshed(trusted, base, fetcher, root)
        self._source = source

    def offer(self, here: Package) -> Package:
        """Return the channel's offer to the machine on which `here` is installed.

        Raises:
            ChannelAwayError, ChannelRefusedError: as above, or the channel has nothing for this machine.
        """
        path = offer_path(self._channel.name, here.product, here.release, here.arch)
        target = self._target(path)
        if target is None or target.length > OFFER_BYTES:
            raise ChannelRefusedError(
                f"channel {self._channel.name} has no {here.product} for Debian {here.release} on {here.arch}"
            )
        spot = self._trusted / "offer.json"
        with room(self._trusted, DOCUMENTS_BYTES, "reading the repository's documents"):
            self._download(target, spot)
        return read_offer_untrusted(spot.read_bytes(), here)

    def refuse_if_too_new(self, wanted: Package, here: Package) -> None:
        """Refuse a package that may not be installed over `here`, and name the version that comes between.

        Raises:
            ChannelRefusedError: as above, or nobody signed over which versions it may be installed.
        """
        target = self._target(wanted.target)
        if target is None:
            raise ChannelRefusedError(f"the repository {self._source} has no {wanted.target}")
        lowest = read_lowest_untrusted(target.custom, wanted.target)
        if not host_session.newer(lowest, here.version):
            return
        raise ChannelRefusedError(
            f"{wanted.product} {wanted.version} may be installed over {lowest} and newer, and this machine has"
            f" {here.version}: {self._way(here, wanted)}"
        )

    def _way(self, here: Package, wanted: Package) -> str:
        between = self._between(here, wanted)
        if not between:
            return f"the repository has no version between that may be installed over {here.version}: ask its signers"
        to = f"--to {between}"
        return f"install {between} first: `ispagent update fetch {to}`, `ispagent update apply {to}`"

    def _between(self, here: Package, wanted: Package) -> str:
        """Return the newest version between the two that may be installed over `here`; "": there is none."""
        best = here.version
        for path, target in self._listed().items():
            version = here.version_of(path)
            if not version or not host_session.newer(version, best) or not host_session.newer(wanted.version, version):
                continue
            if not host_session.newer(read_lowest_untrusted(target.custom, path), here.version):
                best = version
        return best if best != here.version else ""

    def _listed(self) -> Mapping[str, TargetFile]:
        with _told(self._source):
            return Metadata[Targets].from_file(str(self._trusted / "targets.json")).signed.targets

    def package(self, wanted: Package, folder: Path) -> Path | None:
        """Return the verified file of a package under `folder`; None: the repository does not list it.

        Raises:
            ChannelAwayError, ChannelRefusedError: as above.
        """
        target = self._target(wanted.target)
        if target is None:
            return None
        if target.length > PACKAGE_BYTES:
            raise ChannelRefusedError(f"{wanted.target}: expected at most {PACKAGE_BYTES} bytes, got {target.length}")
        spot = folder / wanted.target
        if self._updater.find_cached_target(target, str(spot)) is None:
            with room(folder, 2 * target.length, f"a copy of {wanted.target}"):
                self._download(target, spot)
        return spot

    def mirror(self, here: Package, wanted: Package, folder: Path) -> None:
        """Make a repository in `folder` with the files that are needed to install `wanted`, and to put `here` back.

        Raises:
            ChannelAwayError, ChannelRefusedError: as above.
            HostError: it cannot be written.
        """
        making = folder.with_name(f"{folder.name}.new")
        offer = offer_path(self._channel.name, here.product, here.release, here.arch)
        paths = dict.fromkeys((offer, wanted.target, here.target))  # two of them may be the same package
        targets = {path: found for path in paths if (found := self._target(path)) is not None}
        missing = [
            target.length
            for path, target in targets.items()
            if self._updater.find_cached_target(target, str(folder / _place(path, target))) is None
        ]
        # One at a time is there twice for a moment: as it comes, and once it is verified
        needed = DOCUMENTS_BYTES + sum(missing) + max(missing, default=0)
        with _removed_if_it_fails(making), room(folder, needed, f"fetching {wanted.product} {wanted.version}"):
            self._make_mirror(making, folder, targets)
            with _told(self._source):
                _replace(folder, making)

    def _make_mirror(self, making: Path, before: Path, targets: Mapping[str, TargetFile]) -> None:
        with _told(self._source):
            shutil.rmtree(making, ignore_errors=True)
            (making / "metadata").mkdir(parents=True)
            for path in (self._trusted / "root_history").iterdir():
                shutil.copyfile(path, making / "metadata" / path.name)
            for role, version in self._versions():
                name = f"{version}.{role}.json" if version else f"{role}.json"
                shutil.copyfile(self._trusted / f"{role}.json", making / "metadata" / name)
        for wanted, target in targets.items():
            spot, kept = making / _place(wanted, target), before / _place(wanted, target)
            if self._updater.find_cached_target(target, str(kept)) is not None:
                with _told(self._source):
                    spot.parent.mkdir(parents=True, exist_ok=True)
                    os.link(kept, spot)
            else:
                self._download(target, spot)

    def _versions(self) -> list[tuple[str, int]]:
        timestamp = Metadata[Timestamp].from_file(str(self._trusted / "timestamp.json")).signed
        snapshot = Metadata[Snapshot].from_file(str(self._trusted / "snapshot.json")).signed
        return [
            ("timestamp", 0),
            ("snapshot", timestamp.snapshot_meta.version),
            ("targets", snapshot.meta["targets.json"].version),
        ]

    def _target(self, path: str) -> TargetFile | None:
        with _told(self._source):
            return self._updater.get_targetinfo(path)

    def _download(self, target: TargetFile, spot: Path) -> None:
        part = spot.with_name(f"{spot.name}.part")
        with _told(self._source):
            part.parent.mkdir(parents=True, exist_ok=True)
            with _removed_if_it_fails(part):
                self._updater.download_target(target, str(part))
                with part.open("rb") as file:
                    os.fsync(file.fileno())
                part.replace(spot)
            sync_folder(spot.parent)


def _place(path: str, target: TargetFile) -> Path:
    """Return where a target lies in a repository: its name begins with its hash."""
    folder, _, name = path.rpartition("/")
    return Path("targets", folder, f"{next(iter(target.hashes.values()))}.{name}")


@contextmanager
def _removed_if_it_fails(path: Path) -> Iterator[None]:
    """Leave nothing half-written."""
    try:
        yield
    except BaseException:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        raise


def _refreshed(trusted: Path, base: str, fetcher: _BoundedFetcher, root: bytes) -> Updater:
    made = Updater(
        str(trusted),
        f"{base}/metadata/",
        target_base_url=f"{base}/targets/",
        fetcher=fetcher,
        config=LIMITS,
        bootstrap=root,
    )
    made.refresh()
    return made


def _replace(folder: Path, made: Path) -> None:
    """Put a folder that was made beside another one in its place."""
    before = folder.with_name(f"{folder.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        try:
            swap(folder, made)
        except OSError as err:
            if err.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            folder.rename(before)  # a file system that swaps nothing: a cut now leaves none, and it is fetched again
        else:
            made.rename(before)
    if not folder.exists():
        made.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(before, ignore_errors=True)


def check(channel: UpdateChannel, here: Package) -> Package:
    """Return the channel's offer, from its source. Nothing is fetched but documents.

    Raises:
        UpdateError: see `Repository`.
    """
    with _alone(channel.folder):
        return Repository(channel, _resolved(channel.source), channel.folder / "trusted").offer(here)


def fetch(channel: UpdateChannel, here: Package, version: str = "") -> Package:
    """Fetch the offered package, or the one of a version, and the installed one; return the first.

    Raises:
        UpdateError: see `Repository`; also, the repository has no such version, or it may not replace `here`.
    """
    with _alone(channel.folder):
        repository = Repository(channel, _resolved(channel.source), channel.folder / "trusted")
        wanted = _wanted(repository.offer(here), version)
        repository.refuse_if_too_new(wanted, here)
        repository.mirror(here, wanted, channel.folder / "mirror")
        return wanted


def prepare(channel: UpdateChannel, here: Package, version: str = "") -> Verified:
    """Verify the fetched files once more, as the user that installs them, and copy them to where only that user can
    write.

    To be called inside `applying`. Packages of other versions that were kept there are deleted.

    Raises:
        UpdateError: see `Repository`; also, nothing was fetched, or not that version, or it may not replace `here`.
    """
    mirror = channel.folder / "mirror"
    with _told(str(mirror)):
        if not mirror.is_dir():
            raise HostError(f"{mirror}: nothing was fetched yet: `ispagent update fetch`")
    repository = Repository(channel, str(mirror), channel.applied / "trusted")
    wanted = _wanted(repository.offer(here), version)
    repository.refuse_if_too_new(wanted, here)
    try:
        new = repository.package(wanted, channel.applied)
        old = repository.package(here, channel.applied)
    except ChannelAwayError as err:
        raise HostError(f"{mirror}: not all of it was fetched: `ispagent update fetch`: {err}") from err
    if new is None:
        raise ChannelRefusedError(f"the repository {channel.source} has no {wanted.target}")
    with _told(str(channel.applied)):
        for path in (channel.applied / "pool").rglob("*"):
            if path not in (new, old) and not path.is_dir():
                path.unlink()
    return Verified(wanted, new, old)


@contextmanager
def applying(channel: UpdateChannel) -> Iterator[None]:
    """Keep other installations out, also while the script that takes this process's place runs: it inherits the lock.

    Raises:
        HostError: one runs, or another user than this one and root could change the trusted documents here.
    """
    for path in (channel.file, channel.root, channel.applied):
        _refuse_if_others_may_change(path)
    with _alone(channel.applied) as lock:
        os.set_inheritable(lock, True)
        yield


def _resolved(source: str) -> str:
    """Return a source without links in its own path: the operator named it, wherever that leads."""
    return source if "://" in source else os.path.realpath(source)


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Keep other commands out of a folder of this user; gives the descriptor that holds the lock.

    Raises:
        HostError: another command works there, or it belongs to another user, and its links could lead anywhere.
    """
    with _told(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            name = _user(owner)
            raise HostError(f"{folder} belongs to {name}: run this as that user, such as by: runuser -u {name} -- …")
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(lock)
            raise HostError(f"{folder}: another `ispagent update` works there: wait for its end") from err
    try:
        yield lock
    finally:
        os.close(lock)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _refuse_if_others_may_change(path: Path) -> None:
    """Refuse a path where another user than root and this one may change it, or put something else in its place.

    Raises:
        HostError: as above, or it cannot be looked at.
    """
    real = Path(os.path.realpath(path))
    with _told(str(path)):
        for at in dict.fromkeys((*real.parents, *path.absolute().parents, real, path.absolute())):
            try:
                info = at.lstat()
            except FileNotFoundError:
                continue
            if info.st_uid not in (0, os.geteuid()):
                raise HostError(f"{at} belongs to {_user(info.st_uid)}, who could change what is installed: {path}")
            ours = stat.S_IWOTH if info.st_gid in (0, os.getegid()) else stat.S_IWOTH | stat.S_IWGRP
            kept = stat.S_ISLNK(info.st_mode) or (at not in (real, path) and info.st_mode & stat.S_ISVTX)
            if info.st_mode & ours and not kept:
                mode = stat.S_IMODE(info.st_mode)
                raise HostError(f"{at}: mode {mode:04o} lets others change what is installed: chmod go-w {at}")


def _wanted(offered: Package, version: str) -> Package:
    return replace(offered, version=version) if version else offered


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Turn the errors of python-tuf and the file system into ours."""
    try:
        yield
    except SlowRetrievalError as err:
        raise ChannelAwayError(f"{source}: no answer in time, or none at all; nothing was changed") from err
    except DownloadHTTPError as err:
        raise ChannelAwayError(f"{source}: a file of the repository is missing: {err}") from err
    except DownloadLengthMismatchError as err:
        raise ChannelRefusedError(f"{source}: a file goes on beyond its signed length: {err}") from err
    except DownloadError as err:
        raise ChannelAwayError(f"{source}: cannot be read: {err.__cause__ or err}") from err
    except RepositoryError as err:
        raise ChannelRefusedError(f"{source}: refused, nothing was changed: {err}") from err
    except OSError as err:
        raise HostError(f"{err.filename or 'this machine'}: {err.strerror or err}") from err


class _BoundedFetcher(FetcherInterface):
    """Reads `https:`, `http:` and files of one folder, all of them within one time; `own`: where it may write."""

    def __init__(self, within_s: float, folder: Path | None, own: Path) -> None:
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each try; one message at the end is enough
        self._until = time.monotonic() + within_s
        self._folder, self._own = folder, own
        self._web = Urllib3Fetcher(chunk_size=CHUNK, app_user_agent="ispagent")

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Give a file as it was read, in the folder of this user and not in /tmp: there its room is asked for.

        Raises:
            DownloadError: it cannot be read, or goes on beyond `max_length` bytes.
        """
        with tempfile.TemporaryFile(dir=self._own) as file:
            for chunk in self.fetch(url):
                if file.tell() + len(chunk) > max_length:
                    raise DownloadLengthMismatchError(f"{url}: expected at most {max_length} bytes, got more")
                file.write(chunk)
            file.seek(0)
            yield file

    def _fetch(self, url: str) -> Iterator[bytes]:
        found = self._web.fetch(url) if self._folder is None else _file(url, self._folder)
        return self._in_time(found)

    def _in_time(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if time.monotonic() > self._until:
                raise SlowRetrievalError
            yield chunk


def _file(url: str, folder: Path) -> Iterator[bytes]:
    """Give the content of a file of a folder that another user may change meanwhile."""
    path = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    try:
        file = _open_beneath(folder, path.relative_to(folder))
    except FileNotFoundError as err:
        raise DownloadHTTPError(f"{path.name}: no such file", 404) from err
    return _chunks(file)


def _open_beneath(folder: Path, path: Path) -> BinaryIO:
    """Open a regular file below a folder, by its parts, so that no link leads elsewhere, not at the last moment either.

    Raises:
        OSError: it is missing; a part of its path or the folder itself is a symbolic link; it is no regular file.
    """
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    for part in path.parts:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            found = os.open(part, flags, dir_fd=at)
        finally:
            os.close(at)
        at = found
    if not stat.S_ISREG(os.fstat(at).st_mode):
        os.close(at)
        raise OSError(errno.EINVAL, "expected a regular file", str(folder / path))
    return os.fdopen(at, "rb")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
