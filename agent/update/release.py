"""`packaging/release`: make and sign the repository that updates come from. For the signers' machines, not an agent's.

Roles: `root` 2 of 3 keys, `targets` 2 of 2, `snapshot` and `timestamp` one each. A change is staged, signed by one
person after another on their own machines, and published with the two online keys:

    release add REPO stable ispagent_0.2.0_amd64.deb     stages targets
    release sign REPO targets MY.key                     twice, by two people
    release publish REPO --snapshot S.key --timestamp T.key
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from agent.update.channel import CHANNEL
from agent.update.offers import PRODUCT, VERSION, WORD, Package, encode_offer, offer_path

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)

THRESHOLDS: Final = {"root": (2, 3), "targets": (2, 2), "snapshot": (1, 1), "timestamp": (1, 1)}
"""Of each role: how many signatures it needs, and how many keys it has."""
DAYS: Final = {"root": 365, "targets": 180, "snapshot": 30, "timestamp": 7}
"""Of each role: for how many days a version of it is good."""

app = typer.Typer(
    help="Make and sign the repository that updates come from.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Repo = Annotated[Path, typer.Argument(help="The repository's folder")]
PublicKeys = Annotated[list[Path], typer.Option(help="A public key's file; once for each key")]
KeyFile = Annotated[Path, typer.Option(help="The role's key")]


class ReleaseProblem(typer.BadParameter):
    """What was expected, and what came."""


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; the public one beside it, as FILE.pub")],
    clear: Annotated[bool, typer.Option("--clear", help="Without a passphrase: for keys of machines")] = False,
) -> None:
    """Make a key pair."""
    made = Ed25519PrivateKey.generate()
    words = b"" if clear else typer.prompt("passphrase", hide_input=True, confirmation_prompt=True).encode()
    sealed = BestAvailableEncryption(words) if words else NoEncryption()
    _new(file, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed), 0o600)
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _new(file.with_name(f"{file.name}.pub"), public, 0o644)


@app.command()
def init(repo: Repo, root: PublicKeys, targets: PublicKeys, snapshot: PublicKeys, timestamp: PublicKeys) -> None:
    """Begin a repository: stages its first root and targets, to be signed."""
    made = Root(version=1, expires=_expires("root"), consistent_snapshot=True)
    for role, files in {"root": root, "targets": targets, "snapshot": snapshot, "timestamp": timestamp}.items():
        threshold, count = THRESHOLDS[role]
        if len(set(files)) != count:
            raise ReleaseProblem(f"--{role}: expected {count} keys, got {len(set(files))}")
        for file in files:
            made.add_key(_public(file), role)
        made.roles[role].threshold = threshold
        if len(made.roles[role].keyids) != count:
            raise ReleaseProblem(f"--{role}: two files hold the same key")
    (repo / "metadata").mkdir(parents=True)
    _stage(repo, Metadata(made))
    _stage(repo, Metadata(Targets(version=1, expires=_expires("targets"))))


@app.command()
def add(
    repo: Repo,
    channel: Annotated[str, typer.Argument(help="The channel that offers them from now on")],
    packages: Annotated[list[Path], typer.Argument(help="Packages")],
) -> None:
    """Stage packages as what a channel offers."""
    if not CHANNEL.fullmatch(channel):
        raise ReleaseProblem(f"channel: expected {CHANNEL.pattern}, got {channel}")
    staged = _staged(repo, Targets)
    for file in packages:
        offered = described(file)
        _keep(repo, staged.signed, offered.target, file.read_bytes())
        path = offer_path(channel, offered.product, offered.release, offered.arch)
        _keep(repo, staged.signed, path, encode_offer(offered))
    _stage(repo, staged)


@app.command()
def rotate(
    repo: Repo,
    role: Annotated[str, typer.Argument(help="root, targets, snapshot or timestamp")],
    old: Annotated[Path, typer.Option(help="The public key to leave out")],
    new: Annotated[Path, typer.Option(help="The public key to take in its place")],
) -> None:
    """Stage a root document with another key. The old and the new root keys sign it: two of each."""
    if role not in THRESHOLDS:
        raise ReleaseProblem(f"role: expected {', '.join(THRESHOLDS)}, got {role}")
    staged = _staged(repo, Root)
    left, taken = _public(old).keyid, _public(new)
    if left not in staged.signed.roles[role].keyids:
        raise ReleaseProblem(f"{old}: is no key of role {role}")
    staged.signed.revoke_key(left, role)
    staged.signed.add_key(taken, role)
    _stage(repo, staged)


@app.command()
def sign(
    repo: Repo,
    role: Annotated[str, typer.Argument(help="root or targets")],
    file: Annotated[Path, typer.Argument(help="Your private key")],
) -> None:
    """Sign what is staged for a role, after you have read it."""
    path = repo / "staged" / f"{role}.json"
    if not path.exists():
        raise ReleaseProblem(f"nothing is staged for {role}")
    staged: Metadata[Root] | Metadata[Targets] = Metadata.from_file(str(path))
    staged.sign(_signer(file), append=True)
    staged.to_file(str(path), JSONSerializer(compact=False))
    typer.echo(f"{role} {staged.signed.version}: {_missing(repo, role, staged) or 'signed by enough'}")


@app.command()
def publish(repo: Repo, snapshot: KeyFile, timestamp: KeyFile) -> None:
    """Publish what is staged and signed, with a new snapshot and timestamp; with nothing staged, renew the two."""
    for role in ("root", "targets"):
        path = repo / "staged" / f"{role}.json"
        if path.exists():
            staged: Metadata[Root] | Metadata[Targets] = Metadata.from_file(str(path))
            if missing := _missing(repo, role, staged):
                raise ReleaseProblem(f"{role} {staged.signed.version}: {missing}")
            shutil.move(path, repo / "metadata" / f"{staged.signed.version}.{role}.json")
    targets = _newest(repo, Targets)
    if targets is None or _newest(repo, Root) is None:
        raise ReleaseProblem("nothing was published yet: expected a staged root and staged targets, signed")
    before = _newest(repo, Snapshot)
    shot = Snapshot((before.signed.version if before else 0) + 1, expires=_expires("snapshot"))
    shot.meta["targets.json"].version = targets.signed.version
    _write(repo, Metadata(shot), snapshot, f"{shot.version}.snapshot.json")
    spot = repo / "metadata" / "timestamp.json"
    last = Metadata[Timestamp].from_file(str(spot)).signed.version if spot.exists() else 0
    stamp = Timestamp(last + 1, expires=_expires("timestamp"))
    stamp.snapshot_meta.version = shot.version
    _write(repo, Metadata(stamp), timestamp, "timestamp.json")


def described(file: Path) -> Package:
    """Return what a package says of itself.

    Raises:
        ReleaseProblem: it is none of ours.
    """
    said = subprocess.run(
        ["dpkg-deb", "--field", str(file), "Package", "Version", "Architecture", "Ispagents-Debian"],
        capture_output=True,
        text=True,
        check=False,
    )
    fields = dict(line.partition(": ")[::2] for line in said.stdout.splitlines())
    found = [fields.get(name, "") for name in ("Package", "Version", "Ispagents-Debian", "Architecture")]
    for value, pattern in zip(found, (PRODUCT, VERSION, WORD, WORD), strict=True):
        if not pattern.fullmatch(value):
            raise ReleaseProblem(f"{file}: expected a package made by packaging/build, got {' '.join(found)}")
    return Package(*found)


def _keep(repo: Path, targets: Targets, path: str, data: bytes) -> None:
    target = TargetFile.from_data(path, data, ["sha256"])
    targets.targets[path] = target
    folder, _, name = path.rpartition("/")
    spot = repo / "targets" / folder / f"{target.hashes['sha256']}.{name}"
    spot.parent.mkdir(parents=True, exist_ok=True)
    spot.write_bytes(data)


def _staged(repo: Path, kind: type[T]) -> Metadata[T]:
    """Return what is staged for a role, without signatures, or else a copy of what is published, one version on."""
    path = repo / "staged" / f"{kind.type}.json"
    if path.exists():
        staged = Metadata[T].from_file(str(path))
        staged.signatures.clear()
        return staged
    found = _newest(repo, kind)
    if found is None:
        raise ReleaseProblem(f"{repo}: holds no {kind.type}: `release init` begins one")
    found.signatures.clear()
    found.signed.version += 1
    found.signed.expires = _expires(kind.type)
    return found


def _stage(repo: Path, made: Metadata[Root] | Metadata[Targets]) -> None:
    (repo / "staged").mkdir(parents=True, exist_ok=True)
    made.to_file(str(repo / "staged" / f"{made.signed.type}.json"), JSONSerializer(compact=False))


def _newest(repo: Path, kind: type[T]) -> Metadata[T] | None:
    found = sorted((repo / "metadata").glob(f"*.{kind.type}.json"), key=lambda path: int(path.name.split(".")[0]))
    return Metadata[T].from_file(str(found[-1])) if found else None


def _missing(repo: Path, role: str, staged: Metadata[Root] | Metadata[Targets]) -> str:
    """Return what a staged document still needs; "": nothing."""
    published = _newest(repo, Root)
    if isinstance(staged.signed, Root):
        judges = [staged.signed, *([published.signed] if published else [])]
    else:
        path = repo / "staged" / "root.json"
        judges = [Metadata[Root].from_file(str(path)).signed if published is None else published.signed]
    found = [judge.get_verification_result(role, staged.signed_bytes, staged.signatures) for judge in judges]
    return "; ".join(
        f"expected {one.threshold} signatures of role {role}, got {len(one.signed)}" for one in found if not one
    )


def _write(repo: Path, made: Metadata[Snapshot] | Metadata[Timestamp], file: Path, name: str) -> None:
    root = _newest(repo, Root)
    made.sign(_signer(file))
    if root is None:
        raise ReleaseProblem("no root is published")
    try:
        root.signed.verify_delegate(made.signed.type, made.signed_bytes, made.signatures)
    except RepositoryError as err:
        raise ReleaseProblem(f"{file}: is no key of role {made.signed.type}: {err}") from err
    made.to_file(str(repo / "metadata" / name), JSONSerializer(compact=False))


def _expires(role: str) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=DAYS[role])


def _public(file: Path) -> SSlibKey:
    return SSlibKey.from_crypto(load_pem_public_key(file.read_bytes()))


def _signer(file: Path) -> CryptoSigner:
    data = file.read_bytes()
    words = typer.prompt(f"passphrase of {file.name}", hide_input=True).encode() if b"ENCRYPTED" in data else None
    try:
        return CryptoSigner(load_pem_private_key(data, words))
    except ValueError as err:
        raise ReleaseProblem(f"{file}: is no private key, or the passphrase is wrong") from err


def _new(file: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as err:
        raise ReleaseProblem(f"{file}: is there already, and is not overwritten") from err
    with os.fdopen(handle, "wb") as out:
        out.write(data)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    app(args)


if __name__ == "__main__":
    main()
