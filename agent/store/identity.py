"""The agent's identity: its random id and its two signing keys (plans; log), in one file sealed under the store key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from agent.store.errors import MissingKeyError
from agent.store.state_folder import PUT_BACK
from trust import chance, statements
from trust.checkpoint import encode_vkey
from trust.envelope import Envelope
from trust.errors import TrustError
from trust.keys import SigningKey
from trust.statements import Enroll

FILE_NAME = "identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """`agent`: 32 hex digits. `plan_key` signs plans, receipts and outcomes; `log_key` signs checkpoints.

    `log_n` counts the log keys. A log that lost its end (a restored database) is another log to every witness: it goes
    on under a new key and a new origin.
    """

    agent: str
    plan_key: SigningKey
    log_key: SigningKey
    log_n: int = 1

    def origin(self, configured: str) -> str:
        """Return the log's own name, given the configuration's name for it."""
        return configured if self.log_n == 1 else f"{configured}/{self.log_n}"

    def enrolment(self, handle: str, configured_origin: str) -> Envelope:
        """Return the statement by which people and the control plane learn the keys, signed by both of them."""
        log_key = encode_vkey(self.origin(configured_origin), self.log_key.public)
        statement = Enroll(self.agent, handle, self.plan_key.public.hex(), log_key, chance.token_hex(16))
        return statements.sign(statement, [self.plan_key, self.log_key])


def create_identity(state_dir: Path, store_key: bytes) -> Identity:
    """Make an agent's identity; refuses to overwrite one.

    Raises:
        MissingKeyError: there is one already, or the file cannot be written.
    """
    identity = Identity(chance.token_hex(16), SigningKey.generate(), SigningKey.generate())
    path = state_dir / FILE_NAME
    try:
        _write_new(path, identity, store_key)
    except OSError as err:
        raise MissingKeyError(f"identity: cannot be created in the state directory: {err.strerror}") from err
    return identity


def renew_log_key(state_dir: Path, store_key: bytes) -> Identity:
    """Give the agent's log a new key and a new origin; the agent's id and plan key stay.

    Raises:
        MissingKeyError: there is no identity, another store key sealed it, or the file cannot be written.
    """
    before = load_identity(state_dir, store_key)
    identity = replace(before, log_key=SigningKey.generate(), log_n=before.log_n + 1)
    temporary = state_dir / f"{FILE_NAME}.new"
    try:
        temporary.unlink(missing_ok=True)
        _write_new(temporary, identity, store_key)
        temporary.replace(state_dir / FILE_NAME)
    except OSError as err:
        raise MissingKeyError(f"identity: cannot be written in the state directory: {err.strerror}") from err
    return identity


def _write_new(path: Path, identity: Identity, store_key: bytes) -> None:
    clear = json.dumps(
        {
            "agent": identity.agent,
            "plan": identity.plan_key.seed.hex(),
            "log": identity.log_key.seed.hex(),
            "log_n": identity.log_n,
        }
    ).encode()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(SecretBox(store_key).encrypt(clear, chance.token_bytes(SecretBox.NONCE_SIZE)))
        file.flush()
        os.fsync(file.fileno())


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
            fields["agent"],
            SigningKey(bytes.fromhex(fields["plan"])),
            SigningKey(bytes.fromhex(fields["log"])),
            int(fields.get("log_n", 1)),
        )
    except (CryptoError, TrustError, ValueError, KeyError, TypeError) as err:
        raise MissingKeyError(
            f"the store key does not open this agent's identity: the one is another agent's, or was cut: {PUT_BACK}"
        ) from err
