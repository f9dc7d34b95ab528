"""`cloud.json`: which control plane this agent belongs to, and the certificate by which it is known there.

The private key is sealed under the store key; the file is replaced whole, so that a crash leaves the old or the new.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.store.errors import MissingKeyError
from agent.store.vault import Vault
from agent.uplink.errors import CredentialsError
from durable.folders import sync_folder
from protos import member_files
from protos.member_files import MemberCredentials
from trust.errors import MalformedStatementError

FILE_NAME: Final = "cloud.json"


@dataclass(frozen=True, slots=True)
class CloudIdentity:
    """The agent's identity to a control plane.

    `operator` (16 bytes) and `enrolment` (32 random bytes, new with each enrolment) are hex; `name` is the agent's
    handle; `server` is `host:port`. `ca` and `certificate` are PEM, as is `key`, in clear.
    """

    operator: str
    name: str
    server: str
    enrolment: str
    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def stamp(state_dir: Path) -> tuple[int, int] | None:
    """Return a stamp that changes whenever the file is replaced; None: there is none."""
    try:
        info = (state_dir / FILE_NAME).stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns


def load(state_dir: Path, vault: Vault) -> CloudIdentity | None:
    """Return the saved identity; None: this agent is not enrolled.

    Raises:
        CredentialsError: the file cannot be read, is not one of ours, or another store key sealed it.
    """
    try:
        with (state_dir / FILE_NAME).open("rb") as file:
            data = file.read(member_files.FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise CredentialsError(f"{FILE_NAME}: cannot be read: {err.strerror}") from err
    try:
        saved = member_files.read_credentials_untrusted(data, member_files.AGENTS, FILE_NAME)
        key = vault.open(base64.b64decode(saved.key, validate=True))
    except (MalformedStatementError, MissingKeyError, binascii.Error, ValueError) as err:
        raise CredentialsError(f"{FILE_NAME}: {err}: enrol again (ispagent cloud enroll --again)") from err
    return CloudIdentity(
        operator=saved.operator,
        name=saved.name,
        server=saved.server,
        enrolment=saved.enrolment,
        ca=saved.ca.encode(),
        certificate=saved.certificate.encode(),
        key=key,
    )


def save(state_dir: Path, vault: Vault, identity: CloudIdentity) -> None:
    """Write the file, mode 0600, owned by whoever owns the folder; durable when it returns.

    Raises:
        CredentialsError: it cannot be written.
    """
    saved = MemberCredentials(
        operator=identity.operator,
        kind="agent",
        name=identity.name,
        server=identity.server,
        ca=identity.ca.decode(),
        certificate=identity.certificate.decode(),
        key=base64.b64encode(vault.seal(identity.key)).decode(),
        enrolment=identity.enrolment,
    )
    temporary = state_dir / f"{FILE_NAME}.new"
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(member_files.encode_credentials(saved))
            if os.geteuid() == 0:  # the daemon is another user, and has to read and renew it
                owner = state_dir.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(state_dir / FILE_NAME)
        sync_folder(state_dir)
    except OSError as err:
        raise CredentialsError(f"{FILE_NAME}: cannot be written: {err.strerror}") from err


def remove(state_dir: Path) -> bool:
    """Delete the file; return whether there was one.

    Raises:
        CredentialsError: it cannot be deleted.
    """
    try:
        (state_dir / FILE_NAME).unlink()
    except FileNotFoundError:
        return False
    except OSError as err:
        raise CredentialsError(f"{FILE_NAME}: cannot be deleted: {err.strerror}") from err
    sync_folder(state_dir)
    return True
