"""Shared parts of the desk's commands: options, passphrases, typed agreement, a person's trust file and memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import typer

from control_plane.clock import SYSTEM
from control_plane.desk import files, key_files, memory, remembered_checkpoints, unlock
from control_plane.desk.memory import Memory
from control_plane.desk.remembered_checkpoints import RememberedCheckpoints
from control_plane.desk.signing import DeskSigner
from control_plane.errors import InputError, NotConfirmedError
from trust import chain, limits
from trust import envelope as envelopes
from trust.document import Trust
from trust.envelope import Envelope
from trust.keys import SigningKey
from trust.terminal import Output, Terminal, json_text, terminal

Json = Mapping[str, object] | Sequence[object] | str | int | None

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: for scripts")]
KeyFile = Annotated[Path, typer.Option("--key", envvar="ISPCLOUD_KEY", help="Your key file")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", envvar="ISPCLOUD_PASSPHRASE_FILE", help="Read the passphrase here: for scripts"),
]
TrustFile = Annotated[
    Path | None,
    typer.Option("--trust", envvar="ISPCLOUD_TRUST", help="Your own trust file [~/.config/ispcloud/trust.json]"),
]
StateFile = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="ISPCLOUD_STATE",
        help="The file of the checkpoints and trust documents that you have seen [~/.config/ispcloud/heads.json]",
    ),
]
CloudFile = Annotated[
    Path | None,
    typer.Option(
        "--cloud", envvar="ISPCLOUD_CLOUD", help="The file of your identity there [~/.config/ispcloud/cloud.json]"
    ),
]

Wait = Annotated[int, typer.Option("--wait", min=0, help="Seconds to wait for the agents' signed receipts")]


def now_s() -> int:
    """Return the wall clock, unix seconds: the one place where the desk reads it."""
    return int(SYSTEM.wall_s())


def home(name: str) -> Path:
    """Return a file of the person's own: `~/.config/ispcloud/NAME`, or under XDG_CONFIG_HOME."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ispcloud" / name


def here(stream: TextIO) -> Terminal:
    """Return how to write to a stream."""
    columns = shutil.get_terminal_size((100, 24)).columns
    return terminal(is_screen=stream.isatty(), environment=os.environ, columns=columns)


ListOutput = Annotated[
    Output | None, typer.Option("--output", "-o", help="The names alone, all columns, or JSON", show_choices=True)
]


def print_json(value: Json) -> None:
    """Print JSON for programs."""
    typer.echo(json_text(value, indent=1))


def note(text: str) -> None:
    """Say something on standard error that does not end the command."""
    typer.echo(f"note: {text}", err=True)


def open_key(path: Path, passphrase_file: Path | None) -> DeskSigner:
    """Return the signer for the key of a file: the unlocked key, or the file's after its passphrase.

    Raises:
        InputError: a file cannot be read.
        MalformedKeyError: it is no key file.
        WrongPassphraseError: the passphrase does not open it.
    """
    public = key_files.read_public(path)  # a file that holds no key is said so before anybody types
    return unlock.find(public) or open_key_here(path, passphrase_file)


def open_key_here(path: Path, passphrase_file: Path | None) -> SigningKey:
    """Return the key of a file itself; its passphrase comes from a file, or is asked for.

    Raises:
        InputError: a file cannot be read.
        MalformedKeyError: it is no key file.
        WrongPassphraseError: the passphrase does not open it.
    """
    key_files.read_public(path)
    if passphrase_file is not None:
        return key_files.open_key(path, key_files.read_passphrase(passphrase_file))
    typed: str = typer.prompt(f"passphrase of {path.name}", hide_input=True, err=True)
    return key_files.open_key(path, typed.encode())


def agree(question: str, expected: str) -> None:
    """Ask once for confirmation; the answer must equal `expected`.

    Raises:
        NotConfirmedError: another answer.
    """
    typed: str = typer.prompt(question, default="", show_default=False)
    if typed.strip() != expected:
        raise NotConfirmedError(f"expected {expected!r} to be typed, got another answer: nothing was signed")


def read_envelope(path: Path, what: str) -> Envelope:
    """Return the envelope in a file; nothing of it is verified.

    Raises:
        InputError: the file cannot be read.
        MalformedEnvelopeError: it is no envelope.
    """
    return envelopes.decode_untrusted(files.read(path, limits.ENVELOPE_BYTES, what))


def write_envelope(path: Path, envelope: Envelope) -> None:
    """Write an envelope's file.

    Raises:
        LocalFailureError: it cannot be written.
    """
    files.write(path, envelopes.encode(envelope) + b"\n")


@dataclass(frozen=True, slots=True)
class Own:
    """A person's own state: their trust document, the heads that they have seen, and the files of both."""

    envelope: Envelope
    trust: Trust
    seen: RememberedCheckpoints
    path: Path
    state: Path

    @property
    def sha256(self) -> str:
        """The digest of the trust document, hex."""
        return chain.head_sha256(self.envelope)

    def remember(self, seen: RememberedCheckpoints) -> None:
        """Keep the heads that were seen, beside those that other commands of this person saw meanwhile.

        Raises:
            LocalFailureError: it cannot be written.
        """
        self.change_seen(lambda stored: remembered_checkpoints.merge(stored, seen))

    def keep_trust(self) -> None:
        """Make this document one's own file, unless another command of this person took over a newer one meanwhile.

        A crash leaves the file at most one version ahead of the heads seen, which `load_own` follows.

        Raises:
            LocalFailureError: it cannot be written.
        """

        def change(stored: RememberedCheckpoints) -> RememberedCheckpoints:
            after = remembered_checkpoints.merge(stored, self.seen)
            newest = after.trust(self.trust.trust_id)
            if newest is not None and newest.sha256 == self.sha256:
                files.write(self.path, envelopes.encode(self.envelope) + b"\n")
            return after

        self.change_seen(change)

    def change_seen(self, change: Callable[[RememberedCheckpoints], RememberedCheckpoints]) -> RememberedCheckpoints:
        """Change the seen heads, as they are in the file now; they are durable when this returns.

        Raises:
            LocalFailureError: it cannot be written.
            MalformedError: the file is malformed.
        """
        with files.locked(self.state):
            stored = _read_remembered(self.state)
            after = change(stored or RememberedCheckpoints())
            if after != stored:
                files.write(self.state, remembered_checkpoints.encode(after))
        return after


def _read_remembered(state: Path) -> RememberedCheckpoints | None:
    data = files.read_if_there(state, remembered_checkpoints.FILE_BYTES, "what you have seen")
    return None if data is None else remembered_checkpoints.decode_untrusted(data)


def change_memory(state: Path, change: Callable[[Memory], Memory]) -> Memory:
    """Return this desk's memory after a change; other commands of this person wait meanwhile.

    Raises:
        InputError: the file cannot be read.
        MalformedError: it is malformed.
        LocalFailureError: it cannot be written.
    """
    path = state.with_name("desk.json")
    files.make_private_folder(path.parent)
    with files.locked(path):
        data = files.read_if_there(path, memory.FILE_BYTES, "what this desk sent")
        before = Memory() if data is None else memory.decode_untrusted(data)
        after = change(before)
        if after != before:
            files.write(path, memory.encode(after))
    return after


def load_own(trust_file: Path | None, state_file: Path | None) -> Own:
    """Return the person's own trust document, once it follows from the one that this tool saw before.

    Raises:
        InputError: a file cannot be read.
        MalformedError: a file is malformed.
        RefusedError: too few people signed it, it is older than the one seen, or it does not follow.
    """
    path, state = trust_file or home("trust.json"), state_file or home("heads.json")
    if not os.path.lexists(path):
        raise InputError(f"{path}: expected your own trust file (--trust FILE or ISPCLOUD_TRUST), there is none")
    envelope = read_envelope(path, "a trust file")
    before = _read_remembered(state) or RememberedCheckpoints()
    trust, seen = remembered_checkpoints.accept_trust(before, envelope)
    if before.trust(trust.trust_id) is None:
        note(f"first use of trust version {trust.version} here; its words: {chain.head_words(envelope)}")
    return Own(envelope, trust, seen, path, state)
