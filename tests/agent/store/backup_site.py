"""An agent's files with a log, of which backups are made while it works."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from agent.store import backup
from agent.store.backup import BackupPaths, BackupSource, keys_beside
from agent.store.identity import create_identity
from agent.store.last_backup import LastBackup
from backups.archive import pack, small
from backups.sealing import encrypt, opened_untrusted, recipient_of
from tests.builders.age_files import Owner
from tests.builders.expect import present
from tests.builders.store import STORE_KEY, Agent, Put
from trust.checkpoint import Checkpoint, sign_checkpoint

NOW = 1_795_860_000
CANARY = "Kanarienvogel-7d1f"
ORIGIN = "test.local/agent/a"


class Site:
    """A state directory with a store that is open, and an owner of backups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        (self.state / "store.key").write_bytes(STORE_KEY)
        (self.state / "store.key").chmod(0o600)
        (folder / "agent.toml").write_text('[agent]\nname = "noc-1"\n')
        self.identity = create_identity(self.state, STORE_KEY)
        self.agent = Agent(self.state)
        for con in (self.agent.store._con, self.agent.vault._con):
            con.execute("PRAGMA synchronous = OFF")  # only the process dies, and only in play
        self.owner = Owner()

    def close(self) -> None:
        self.agent.store.close()
        self.agent.vault.close()

    @property
    def source(self) -> BackupSource:
        return BackupSource(self.state, self.state / "store.key", self.folder / "agent.toml", "noc-1", ORIGIN)

    def paths(self, name: str) -> BackupPaths:
        data = self.folder / f"{name}.age"
        return BackupPaths(data, keys_beside(data))

    async def work(self, count: int = 1, subscriber: str | None = None) -> None:
        """Append events; with a subscriber their records are theirs, and hold the canary."""
        for _ in range(count):
            number = self.agent.store.size
            if subscriber is not None:
                self.agent.recorder.ensure([f"{subscriber}/home"])
            about = None if subscriber is None else f"{subscriber}/home"
            record = self.agent.recorder.record(about, {"n": number, "name": CANARY if subscriber else ""})
            await self.agent.store.run(Put(f"k{number}", sealed=record, high=True))

    async def name_in_clear(self, subscriber: str) -> None:
        """Write a row that names a subscriber in clear, as the inventory has them."""
        sql = (
            "INSERT INTO service (ref, subscriber, name, service, login, method, tariff, protected, feeds, extra)"
            f" VALUES ('{subscriber}/home', '{subscriber}', '{CANARY}', 'home', '', '', '', '', 0, '')"
        )
        await self.agent.store.run(Put(f"clear-{subscriber}", also=lambda tx: tx.run(sql)))

    async def sign(self) -> None:
        """Sign a checkpoint of the log as it is."""
        size, root = self.agent.evidence.head()
        note = sign_checkpoint(Checkpoint(ORIGIN, size, root), self.identity.log_key, ORIGIN)
        insert = "INSERT INTO checkpoint (size, note, at_s) VALUES (?, ?, 0)"
        await self.agent.store.run(Put(f"signed-{size}", also=lambda tx: tx.run(insert, (size, note))))

    def erase(self, subscriber: str) -> None:
        """Delete a subscriber's key, as an erasure does, and forget it in this process too."""
        gone = present(self.agent.vault.subject_id(subscriber))
        with closing(sqlite3.connect(self.state / "keys.db")) as con:
            con.execute("PRAGMA secure_delete = ON")
            con.execute("DELETE FROM subject WHERE id = ?", (gone,))
            con.commit()

    def back_up(self, name: str, now_s: int = NOW) -> LastBackup:
        return backup.make(self.source, self.paths(name), self.owner.recipients, now_s)

    def pair(self, data: str, keys: str) -> BackupPaths:
        return BackupPaths(self.paths(data).data, self.paths(keys).keys)

    # --- what is inside ---

    def clear_keys(self, name: str) -> dict[str, bytes]:
        return members(self.paths(name).keys, self.owner)

    def clear_data(self, name: str, keys: str | None = None) -> dict[str, bytes]:
        inner = Owner()
        inner.secret = self.clear_keys(keys or name)["data.identity"].decode()
        return members(self.paths(name).data, inner)

    def forge(
        self,
        name: str,
        *,
        keys: Callable[[dict[str, bytes]], Mapping[str, bytes]] | None = None,
        data: Callable[[dict[str, bytes]], Mapping[str, bytes]] | None = None,
        manifest: Mapping[str, object] | None = None,
        bound: bool = True,
    ) -> BackupPaths:
        """Write a backup anew with other files or another manifest, as its own program could; unbound: as anybody."""
        found_keys, found_data = self.clear_keys(name), self.clear_data(name)
        to = self.paths(f"{name}-forged")

        def mac(sums: bytes) -> str:
            return self.agent.vault.authenticate(backup.MAC + sums) if bound else "0" * 64

        for path, found, change, recipients in (
            (to.keys, found_keys, keys, self.owner.recipients),
            (to.data, found_data, data, recipient_of(found_keys["data.identity"].decode().strip())),
        ):
            files = {n: d for n, d in found.items() if n not in ("manifest.json", "SHA256SUMS", "SHA256SUMS.mac")}
            said = {**json.loads(found["manifest.json"]), **(manifest or {})}
            packed = [small(*one) for one in (change(files) if change else files).items()]
            with path.open("wb") as out:
                encrypt(pack(said, packed, mac), out, recipients)
        return to


def members(path: Path, owner: Owner) -> dict[str, bytes]:
    """Return the files in a sealed archive by the standard library's tar."""
    with opened_untrusted(path, owner.identities) as stream:
        data = b""
        while chunk := stream.read(1 << 20):
            data += chunk
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: file.read() for info in tar if (file := tar.extractfile(info)) is not None}
