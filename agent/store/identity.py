"""Who this agent is: its random id and its two signing keys (plans; log), in one file sealed under the store key."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from agent.store.errors import MissingKeyError
from trust.errors import TrustError
from trust.keys import SigningKey

FILE_NAME = "identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """`agent`: 32 hex digits. `plan_key` signs plans, receipts and outcomes; `log_key` signs checkpoints."""

    agent: str
    plan_key: SigningKey
    log_key: SigningKey


def create_identity(state_dir: Path, store_key: bytes) -> Identity:
    """Make an agent's identity; refuses to overwrite one.

    Raises:
        MissingKeyError: there is one already, or the file cannot be written.
    """
    identity = Identity(secrets.token_hex(16), SigningKey.generate(), SigningKey.generate())
    clear = json.dumps(
        {"agent": identity.agent, "plan": identity.plan_key.seed.hex(), "log": identity.log_key.seed.hex()}
    ).encode()
    path = state_dir / FILE_NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(SecretBox(store_key).encrypt(clear))
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        raise MissingKeyError(f"identity: cannot be created in the state directory: {err.strerror}") from err
    return identity


def load_identity(state_dir: Path, store_key: bytes) -> Identity:
    """Return the agent's identity.

    Raises:
        MissingKeyError: there is none (`ispagent init` makes it), or the store key does not open it.
    """
    try:
        data = (state_dir / FILE_NAME).read_bytes()
    except OSError as err:
        raise MissingKeyError("this agent has no identity yet: ispagent init makes it") from err
    try:
        fields = json.loads(SecretBox(store_key).decrypt(data))
        return Identity(
            fields["agent"], SigningKey(bytes.fromhex(fields["plan"])), SigningKey(bytes.fromhex(fields["log"]))
        )
    except (CryptoError, TrustError, ValueError, KeyError, TypeError) as err:
        raise MissingKeyError("the store key does not open this agent's identity") from err
