"""A repository of updates made by the release tool, with the keys of six signers, and channels that read it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from agent.update import release
from agent.update.channel import UpdateChannel
from agent.update.offers import Package

HERE = Package("ispagent", "0.1.0", "13", "amd64")
NEXT = Package("ispagent", "0.2.0", "13", "amd64")
THIRD = Package("ispagent", "0.3.0", "13", "amd64")
ROOT_KEYS, TARGET_KEYS = ("root-a", "root-b", "root-c"), ("targets-a", "targets-b")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def deb(folder: Path, package: Package, *, inside: Package | None = None, lowest: str = "0") -> Path:
    """Return a real package file.

    `inside`: what it says of itself, if that is something else; `lowest`: which version it may be installed over.
    """
    said = inside or package
    tree = folder / f"tree-{package.product}-{package.version}"
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "usr" / "share" / "doc").mkdir(parents=True, exist_ok=True)
    (tree / "usr" / "share" / "doc" / "word").write_bytes(said.version.encode())
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {said.product}\nVersion: {said.version}\nArchitecture: {said.arch}\n"
        f"Ispagents-Debian: {package.release}\nIspagents-Lowest: {lowest}\n"
        "Maintainer: A <a@example.net>\nDescription: for a test\n"
    )
    out = folder / f"{package.product}_{package.version}_{package.arch}.deb"
    done = subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(out)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


class Shop:
    """A repository in a folder, and everybody's keys. `channel`: what a machine that reads it is told.

    `first`: the packages that it offers at first, in place of `HERE`.
    """

    def __init__(self, folder: Path, *first: Path) -> None:
        self.folder = folder
        self.repo = folder / "repo"
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True)
        for name in (*ROOT_KEYS, *TARGET_KEYS, "snapshot", "timestamp"):
            self.new_key(name)
        release.init(
            self.repo,
            [self.public(name) for name in ROOT_KEYS],
            [self.public(name) for name in TARGET_KEYS],
            [self.public("snapshot")],
            [self.public("timestamp")],
        )
        self.sign("root", *ROOT_KEYS[:2])
        self.offer_files(*(first or (deb(self.folder, HERE),)))

    def new_key(self, name: str) -> Path:
        release.key(self.keys / name, clear=True)
        return self.keys / name

    def public(self, name: str) -> Path:
        return self.keys / f"{name}.pub"

    def signer(self, name: str) -> CryptoSigner:
        return CryptoSigner(load_pem_private_key((self.keys / name).read_bytes(), None))

    def sign(self, role: str, *names: str) -> None:
        for name in names:
            release.sign(self.repo, role, self.keys / name)

    def publish(self) -> None:
        release.publish(self.repo, self.keys / "snapshot", self.keys / "timestamp")

    def offer(self, *packages: Package, channel: str = "stable", lowest: str = "0") -> None:
        """Offer packages, signed by both, and publish."""
        self.offer_files(*(deb(self.folder, one, lowest=lowest) for one in packages), channel=channel)

    def offer_files(self, *made: Path, channel: str = "stable") -> None:
        """Offer files of packages, signed by both, and publish."""
        release.add(self.repo, channel, list(made))
        self.sign("targets", *TARGET_KEYS)
        self.publish()

    def channel(self, name: str = "stable", machine: str = "host") -> UpdateChannel:
        """Return what one machine is told: its root document is the repository's first."""
        at = self.folder / machine
        at.mkdir(exist_ok=True)
        root = at / "update-root.json"
        if not root.exists():
            root.write_bytes((self.repo / "metadata" / "1.root.json").read_bytes())
        return UpdateChannel(str(self.repo), name, root, at / "fetched", at / "applied", root)

    def path(self, role: str) -> Path:
        """Return the newest document of a role."""
        if role == "timestamp":
            return self.repo / "metadata" / "timestamp.json"
        found = (self.repo / "metadata").glob(f"*.{role}.json")
        return max(found, key=lambda path: int(path.name.split(".")[0]))

    def edit(
        self,
        role: str,
        change: Callable[[Metadata[Root | Targets | Snapshot | Timestamp]], object],
        *names: str,
        also_above: bool = True,
    ) -> None:
        """Change the newest document of a role as somebody who holds the keys `names` could, in place.

        `also_above`: the documents that name its version are made anew by their own keys.
        """
        path = self.path(role)
        document: Metadata[Root | Targets | Snapshot | Timestamp] = Metadata.from_file(str(path))
        change(document)
        document.signatures.clear()
        for name in names:
            document.sign(self.signer(name), append=True)
        spot = path if role == "timestamp" else path.with_name(f"{document.signed.version}.{role}.json")
        document.to_file(str(spot), JSONSerializer(compact=False))
        if also_above and role == "targets":
            self.edit("snapshot", lambda d: _point(d, document.signed.version), "snapshot")
        if also_above and role == "snapshot":
            self.edit("timestamp", lambda d: _point(d, document.signed.version), "timestamp")


def _point(document: Metadata[Root | Targets | Snapshot | Timestamp], version: int) -> None:
    signed = document.signed
    signed.version += 1
    if isinstance(signed, Snapshot):
        signed.meta["targets.json"].version = version
    elif isinstance(signed, Timestamp):
        signed.snapshot_meta.version = version


@contextmanager
def web(folder: Path, before: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """Serve a folder on a free port of the loopback; gives its address. `before` is called before each answer."""

    class Quiet(SimpleHTTPRequestHandler):
        """Serves files and logs nothing."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            before(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
