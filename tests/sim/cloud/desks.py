"""People at their desks: each has a home, in which they type the real commands of `ispcloud`.

A command is a program (`program`): its calls take virtual time. It prints to nobody; what it says is returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import trio
import typer
from nacl.pwhash import argon2id

from control_plane.desk import cloud_client, files, memory, online, unlock
from control_plane.desk.cli_shared import load_own
from control_plane.desk.feed import SharedFeed
from control_plane.desk.memory import Sent
from control_plane.desk.online import Desk
from control_plane.errors import ControlPlaneError
from protos import member_files
from protos.member_files import Invitation
from tests.sim.cloud import program
from trust import keys
from trust.errors import TrustError
from trust.keys import SigningKey

PASSPHRASE: Final = b"correct horse battery staple"
_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


@dataclass(frozen=True, slots=True)
class Typed:
    """What became of a command. `error`: its class and words, "" where it ended in order. `sent`: what it sent."""

    said: tuple[str, ...]
    error: str = ""
    value: Any = None
    sent: tuple[Sent, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ended in order."""
        return not self.error


@dataclass(eq=False)
class PersonsDesk:
    """A person's home. One command at a time is typed."""

    who: str
    home: Path
    _at_work: trio.Lock = field(default_factory=trio.Lock)

    @property
    def trust(self) -> Path:
        return self.home / "trust.json"

    @property
    def state(self) -> Path:
        return self.home / "heads.json"

    @property
    def cloud(self) -> Path:
        return self.home / "cloud.json"

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of commands that read and sign."""
        return {
            "key": self.home / "key",
            "trust": self.trust,
            "state": self.state,
            "cloud": self.cloud,
            "passphrase_file": self.home / "passphrase",
        }

    def furnish(self, key: SigningKey, trust: bytes) -> None:
        """Write what a person brings: key, passphrase and trust document."""
        self.home.mkdir(mode=0o700)
        sealed = keys.seal_key(key.seed, PASSPHRASE, argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
        files.write(self.home / "key", sealed)
        files.write(self.home / "passphrase", PASSPHRASE)
        files.write(self.trust, trust)

    async def enroll(self, invitation: Invitation) -> None:
        """Become a member of the control plane."""
        credentials = await program.run_program(cloud_client.enroll, invitation)
        files.write(self.cloud, member_files.encode_credentials(credentials))

    async def type(self, command: Callable[..., Any], **options: Any) -> Typed:
        """Type a command; return what became of it."""
        async with self._at_work:
            before = self._remembered()
            typed = await self._type(partial(command, **options))
            return replace(typed, sent=tuple(sent for sent in self._remembered() if sent not in before))

    def _remembered(self) -> tuple[Sent, ...]:
        data = files.read_if_there(self.home / "desk.json", memory.FILE_BYTES, "what this desk sent")
        return () if data is None else memory.decode_untrusted(data).sent

    async def feed(self) -> SharedFeed | None:
        """Return what the shared feed shows this person; None: the control plane does not answer."""
        found = await self.type(self._read)
        return found.value if found.ok else None

    def _read(self) -> SharedFeed:
        with online.connect(self.cloud) as client:
            return Desk(load_own(self.trust, self.state), client).refresh()

    async def _type(self, command: Callable[[], Any]) -> Typed:
        said: list[str] = []
        token = _said.set(said)
        try:
            value = await program.run_program(command)
        except typer.Exit as err:
            return Typed(tuple(said), f"exit {err.exit_code}")
        except (ControlPlaneError, TrustError) as err:
            return Typed(tuple(said), f"{type(err).__name__}: {err}")
        finally:
            _said.reset(token)
        return Typed(tuple(said), "", value)


def _echo(message: object = None, **_: object) -> None:
    said = _said.get()
    assert said is not None, "only at a desk is something said"
    said.append(str(message))


@contextmanager
def desks() -> Iterator[None]:
    """Let commands of desks wait in virtual time, and print to nobody, for the block."""
    threads = SimpleNamespace(Thread=program.ProgramThread, local=threading.local)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(online, "threading", threads))
        stack.enter_context(mock.patch.object(online, "time", SimpleNamespace(sleep=program.sleep)))
        stack.enter_context(mock.patch.object(unlock, "find", return_value=None))
        stack.enter_context(mock.patch.object(typer, "echo", _echo))
        yield
