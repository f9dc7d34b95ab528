"""The archive inside: `tar` and `sha256sum` alone read it, and nothing else than what we wrote is unpacked."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backups import archive
from backups.archive import MANIFEST, ArchivedFile, pack, small, unpack_untrusted
from backups.errors import BackupStorageError, DamagedBackupError
from backups.sealing import encrypt, opened_untrusted
from tests.builders.age_files import Owner

OWNER = Owner()
FILES = {"one": b"first file", "two": b"x" * 3_000_000, "none": b""}


def mac(sums: bytes) -> str:
    return f"{len(sums):064x}"


def packed(files: dict[str, bytes] = FILES) -> bytes:
    return b"".join(pack({"format": "f1", "made": 7, "name": "noc-1"}, [small(*one) for one in files.items()], mac))


def unpacked(folder: Path, data: bytes, *, form: str = "f1", may: tuple[str, ...] = ()) -> archive.Unpacked:
    folder.mkdir(exist_ok=True)
    path = folder.with_name("sealed")
    with path.open("wb") as out:
        encrypt([data], out, OWNER.recipients)
    with opened_untrusted(path, OWNER.identities) as stream:
        return unpack_untrusted(stream, folder, form, tuple(FILES), may)


def test_there_and_back(tmp_path: Path) -> None:
    found = unpacked(tmp_path / "out", packed())
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "out").iterdir())
    assert (found.text("name"), found.number("made")) == ("noc-1", 7)
    found.check_mac(mac)
    with pytest.raises(DamagedBackupError, match="not made with the keys"):
        found.check_mac(lambda _: "0" * 64)
    for read, name in (
        (found.text, "made"),
        (found.number, "name"),
        (found.text, "nothing"),
        (found.number, "nothing"),
    ):
        with pytest.raises(DamagedBackupError, match=f"as {name} in its manifest"):
            read(name)


def test_tar_and_sha256sum_alone_read_it(tmp_path: Path) -> None:
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=packed(), check=True, timeout=60)
    said = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    assert said.stdout.decode().splitlines() == [f"{name}: OK" for name in (MANIFEST, *FILES)]


def test_a_file_that_is_larger_than_8_gib_has_its_size() -> None:
    size = 9 << 30
    head = next(iter(archive.pack({}, [ArchivedFile("big", size, ())], mac)))
    assert tarfile.TarInfo.frombuf(head, "utf-8", "strict").name == MANIFEST
    members = archive.pack({}, [ArchivedFile("big", size, iter([b"short"]))], mac)
    with pytest.raises(BackupStorageError, match=f"big: expected {size} bytes, got 5"):
        list(members)


def retarred(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    """Return a good archive with other members."""
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        members = {info.name: tar.extractfile(info) for info in tar}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in change({name: file.read() for name, file in members.items() if file}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def manifest(**changes: object) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {**files, MANIFEST: json.dumps({**json.loads(files[MANIFEST]), **changes}).encode()}


def reordered(files: dict[str, bytes]) -> dict[str, bytes]:
    return {MANIFEST: files[MANIFEST], "two": files["two"], **files}


LISTED = [[name, len(data)] for name, data in FILES.items()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: {n: d for n, d in f.items() if n != MANIFEST}, "expected the file manifest.json"),
        (lambda f: {n: d for n, d in f.items() if n != "one"}, "expected the file one"),
        (lambda f: {n: d for n, d in f.items() if n != "SHA256SUMS"}, "expected the file SHA256SUMS"),
        (lambda f: {**f, "one": b"other file"}, "its files are not those that SHA256SUMS lists"),
        (lambda f: {**f, "one": b"longer than the manifest says"}, "expected 10 bytes of one, got 29"),
        (lambda f: {**f, "SHA256SUMS": f["SHA256SUMS"] + b"\n"}, "its files are not those"),
        (lambda f: {**f, "more": b"x"}, "more follows"),
        (reordered, "expected the file one"),
        (lambda f: {**f, MANIFEST: b"[" * 100_000}, "manifest in JSON"),
        (lambda f: {**f, MANIFEST: b"[]"}, "format f1, got another"),
        (lambda f: {**f, MANIFEST: b"x" * 2_000_000}, "at most 1048576 bytes of manifest.json"),
        (manifest(format="f2"), "format f1, got f2"),
        (manifest(files=[["one", 1.5]]), "names and sizes"),
        (manifest(files=[["one", True]]), "names and sizes"),
        (manifest(files=[["one", -1]]), "names and sizes"),
        (manifest(files="all"), "names and sizes"),
        (manifest(files=[*LISTED, ["one", 10]]), "its manifest names others"),
        (manifest(files=[*LISTED, ["../evil", 1]]), "its manifest names others"),
        (manifest(files=LISTED[1:]), "its manifest names others"),
        (manifest(made=8), "its files are not those"),
    ],
)
def test_what_is_not_unpacked(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], says: str
) -> None:
    with pytest.raises(DamagedBackupError, match=says):
        unpacked(tmp_path / "out", retarred(change))
    assert {path.name for path in tmp_path.rglob("*")} <= {"out", "sealed", *FILES}


def test_links_and_what_is_no_tar(tmp_path: Path) -> None:
    link = tarfile.TarInfo(MANIFEST)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    for number, data in enumerate((link.tobuf(tarfile.GNU_FORMAT) + packed(), b"no tar" * 500, b"", bytes(10_240))):
        with pytest.raises(DamagedBackupError):
            unpacked(tmp_path / str(number), data)


def test_cut_after_each_block(tmp_path: Path) -> None:
    whole = packed({"one": FILES["one"], "two": b"x" * 2000, "none": b""})
    for number, size in enumerate(range(0, len(whole), 512)):
        with pytest.raises(DamagedBackupError):
            unpacked(tmp_path / str(number), whole[:size])


def test_no_room(tmp_path: Path) -> None:
    big = retarred(manifest(files=[["one", 10], ["two", 1 << 49], ["none", 0]]))
    with pytest.raises(BackupStorageError, match="it needs 536870912 MiB in"):
        unpacked(tmp_path / "out", big)


def test_an_existing_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupStorageError, match="cannot be written: File exists"):
        unpacked(tmp_path / "out", packed())
    assert not (tmp_path / "elsewhere").exists()


def test_files_are_read_as_they_are_packed() -> None:
    """A database of gigabytes is never in memory."""
    asked: list[int] = []

    def chunks() -> Iterator[bytes]:
        for n in range(10):
            asked.append(n)
            yield bytes(10)

    given = pack({}, [ArchivedFile("big", 100, chunks())], mac)
    for _ in range(6):
        next(given)
    assert 0 < len(asked) < 10
