"""Keys, requests, statements and open stores for the tests of enrolment."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from control_plane import config, members
from control_plane.auth import Auth, IdentityKind
from control_plane.config import DataDir
from control_plane.store import CloudStore, Command
from trust import envelope, statements
from trust.checkpoint import encode_vkey
from trust.keys import SigningKey
from trust.statements import Enroll

T = TypeVar("T")
NOW = 1_800_000_000
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def config_text(**changes: str) -> str:
    given = {
        "listen": "127.0.0.1:0",
        "enrolment_listen": "127.0.0.1:0",
        "metrics_listen": "",
        "public_host": "127.0.0.1",
        "witness_name": "ispcloud-witness",
        "quotas": "",
    }
    return config.DEFAULT.format(**{**given, **changes})


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr(key: Key | None = None) -> bytes:
    key = key or new_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def key_pem(key: Key) -> bytes:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class AgentKeys:
    """An agent's id and keys, as `ispagent init` makes them."""

    agent: bytes
    plan: SigningKey
    log: SigningKey

    @classmethod
    def new(cls, agent: bytes | None = None) -> AgentKeys:
        return cls(agent or secrets.token_bytes(16), SigningKey.generate(), SigningKey.generate())

    def statement(self, *signers: SigningKey) -> bytes:
        vkey = encode_vkey(f"ispagents/{self.agent.hex()}", self.log.public)
        enroll = Enroll(self.agent.hex(), "pop-1", self.plan.public.hex(), vkey, secrets.token_hex(16))
        return envelope.encode(statements.sign(enroll, signers or (self.plan, self.log)))


@dataclass(slots=True)
class Clock:
    """Tests move it."""

    wall_s: float = NOW
    monotonic_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cloud:
    """A data directory with its store open, and one operator in it."""

    data: DataDir
    store: CloudStore
    auth: Auth
    operator: bytes
    clock: Clock

    async def invite(self, name: str, kind: IdentityKind = IdentityKind.PERSON, operator: bytes | None = None) -> bytes:
        token = secrets.token_bytes(members.TOKEN_BYTES)
        digest = members.token_digest(token)
        await self.store.run(members.Invite(operator or self.operator, kind, name, digest, int(self.clock.wall_s)))
        return token

    async def enroll(self, name: str, kind: IdentityKind = IdentityKind.PERSON, statement: bytes = b"") -> bytes:
        """Return a new member's certificate, PEM."""
        der, _ = await self.auth.enroll_untrusted(await self.invite(name, kind), csr(), statement)
        return pem(der)

    async def elsewhere(self, command: Command[T]) -> T:
        """Run a command, and let the second go by after which the list of members is read again."""
        result = await self.store.run(command)
        self.clock.monotonic_s += 1.0
        return result


async def with_cloud(folder: Path, test: Callable[[Cloud], Coroutine[object, object, None]]) -> None:
    """Run a test with an open control plane."""
    data = config.create(folder / "cloud", config_text(), NOW)
    store = CloudStore(data.database)
    operator = secrets.token_bytes(16)
    clock = Clock()
    auth = Auth(store, data.authority, lambda: clock.wall_s, lambda: clock.monotonic_s)
    try:
        await store.run(members.AddOperator(operator, "acme"))
        await test(Cloud(data, store, auth, operator, clock))
    finally:
        auth.close()
        store.close()


def in_cloud(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Make a test that runs on asyncio with an open control plane, `cloud`; pytest gives it the other arguments."""

    wanted = inspect.signature(test).parameters

    def run(tmp_path: Path, **given: object) -> None:
        more = {**given, "tmp_path": tmp_path} if "tmp_path" in wanted else given
        asyncio.run(with_cloud(tmp_path, partial(test, **more)))

    folder = inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY)
    others = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for n, p in wanted.items() if n not in ("cloud", "tmp_path")
    ]
    run.__signature__ = inspect.Signature([folder, *others])  # type: ignore[attr-defined]  # pytest reads it
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run
