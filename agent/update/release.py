"""`packaging/release`: make and sign the repository that updates come from. For the signers' machines, not an agent's.

Roles: `root` 2 of 3 keys, `targets` 2 of 2, `snapshot` and `timestamp` one each. A change is staged, signed by one
person after another on their own machines, and published with the two online keys:

    release add REPO stable ispagent_0.2.0_amd64.deb     stages targets
    release sign REPO targets MY.key                     twice, by two people
    release publish REPO --snapshot S.key --timestamp T.key

* A publication shows in one step: `metadata` is made whole in a folder beside it, and the two change places. So a
  machine that reads, and a power cut, find the old repository or the new one.
* A file in `targets` is written before a published document names it, and never a second time.
* A cut can leave a staged document with a version that is published already. It is dropped: no version has two
  contents.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
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
from agent.update.offers import LOWEST, PRODUCT, VERSION, WORD, Package, encode_offer, offer_path
from durable.folders import swap, sync_folder

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
    """The expected form, and the actual one."""


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
    """Stage packages as the offer of a channel."""
    if not CHANNEL.fullmatch(channel):
        raise ReleaseProblem(f"channel: expected {CHANNEL.pattern}, got {channel}")
    staged = _staged(repo, Targets)
    for file in packages:
        offered, lowest = described(file)
        _keep(repo, staged.signed, offered.target, file.read_bytes(), {LOWEST: lowest})
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
    """Sign the staged document of a role, after you have read it."""
    path = repo / "staged" / f"{role}.json"
    if not path.exists():
        raise ReleaseProblem(f"nothing is staged for {role}")
    staged: Metadata[Root] | Metadata[Targets] = Metadata.from_file(str(path))
    staged.sign(_signer(file), append=True)
    _stage(repo, staged)
    published = _newest(repo / "metadata", Root)
    if isinstance(staged.signed, Root):
        judges = [staged.signed, *([published.signed] if published else [])]
    else:
        first = published or Metadata[Root].from_file(str(repo / "staged" / "root.json"))
        judges = [first.signed]
    typer.echo(f"{role} {staged.signed.version}: {_missing(judges, staged) or 'signed by enough'}")


@app.command()
def publish(repo: Repo, snapshot: KeyFile, timestamp: KeyFile) -> None:
    """Publish staged and signed documents, with a new snapshot and timestamp; with nothing staged, renew the two."""
    new_root, new_targets = _leftover_dropped(repo, Root), _leftover_dropped(repo, Targets)
    old_root = _newest(repo / "metadata", Root)
    root, targets = new_root or old_root, new_targets or _newest(repo / "metadata", Targets)
    if root is None or targets is None:
        raise ReleaseProblem("nothing was published yet: expected a staged root and staged targets, signed")
    roots = [root.signed, *([old_root.signed] if old_root else [])]
    for staged, judges in ((new_root, roots), (new_targets, roots[:1])):
        if staged is not None and (missing := _missing(judges, staged)):
            raise ReleaseProblem(f"{staged.signed.type} {staged.signed.version}: {missing}")
    before = _newest(repo / "metadata", Snapshot)
    shot = Snapshot((before.signed.version if before else 0) + 1, expires=_expires("snapshot"))
    shot.meta["targets.json"].version = targets.signed.version
    spot = repo / "metadata" / "timestamp.json"
    last = Metadata[Timestamp].from_file(str(spot)).signed.version if spot.exists() else 0
    stamp = Timestamp(last + 1, expires=_expires("timestamp"))
    stamp.snapshot_meta.version = shot.version
    files = {
        f"{one.signed.version}.{one.signed.type}.json": _encoded(one)
        for one in (new_root, new_targets)
        if one is not None
    }
    files[f"{shot.version}.snapshot.json"] = _signed(root.signed, Metadata(shot), snapshot)
    files["timestamp.json"] = _signed(root.signed, Metadata(stamp), timestamp)
    _show(repo, files)
    for role in ("root", "targets"):
        (repo / "staged" / f"{role}.json").unlink(missing_ok=True)


def _show(repo: Path, files: Mapping[str, bytes]) -> None:
    """Add documents to `metadata`, all in one step.

    Raises:
        ReleaseProblem: the file system cannot do it.
    """
    metadata, aside = repo / "metadata", repo / "metadata.new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for path in metadata.iterdir():
        if path.name not in files:
            os.link(path, aside / path.name)
    for name, data in files.items():
        _save(aside / name, data)
    try:
        swap(metadata, aside)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        raise ReleaseProblem(
            f"{repo}: its file system cannot exchange two folders in one step: publish on ext4, xfs, btrfs or tmpfs,"
            " and copy it from there"
        ) from err
    sync_folder(repo)
    shutil.rmtree(aside)


def described(file: Path) -> tuple[Package, str]:
    """Return a package's own fields, and the oldest version that it may be installed over.

    Raises:
        ReleaseProblem: it is none of ours.
    """
    names = ("Package", "Version", "Ispagents-Debian", "Architecture", "Ispagents-Lowest")
    said = subprocess.run(["dpkg-deb", "--field", str(file), *names], capture_output=True, text=True, check=False)
    fields = dict(line.partition(": ")[::2] for line in said.stdout.splitlines())
    found = [fields.get(name, "") for name in names]
    for value, pattern in zip(found, (PRODUCT, VERSION, WORD, WORD, VERSION), strict=True):
        if not pattern.fullmatch(value):
            raise ReleaseProblem(f"{file}: expected a package made by packaging/build, got {' '.join(found)}")
    *package, lowest = found
    return Package(*package), lowest


def _keep(repo: Path, targets: Targets, path: str, data: bytes, custom: Mapping[str, str] | None = None) -> None:
    target = TargetFile.from_data(path, data, ["sha256"])
    if custom:
        target.unrecognized_fields["custom"] = dict(custom)
    targets.targets[path] = target
    folder, _, name = path.rpartition("/")
    spot = repo / "targets" / folder / f"{target.hashes['sha256']}.{name}"
    if not spot.exists():  # else somebody may be reading it; its name says what is in it
        spot.parent.mkdir(parents=True, exist_ok=True)
        _save(spot, data)


def _staged(repo: Path, kind: type[T]) -> Metadata[T]:
    """Return the staged document of a role, without signatures, or else a copy of the published one, one version on."""
    staged = _leftover_dropped(repo, kind)
    if staged is not None:
        staged.signatures.clear()
        return staged
    found = _newest(repo / "metadata", kind)
    if found is None:
        raise ReleaseProblem(f"{repo}: holds no {kind.type}: `release init` begins one")
    found.signatures.clear()
    found.signed.version += 1
    found.signed.expires = _expires(kind.type)
    return found


def _leftover_dropped(repo: Path, kind: type[T]) -> Metadata[T] | None:
    """Return the staged document of a role; one that is published already is dropped: a publication was cut."""
    path = repo / "staged" / f"{kind.type}.json"
    if not path.exists():
        return None
    staged, published = Metadata[T].from_file(str(path)), _newest(repo / "metadata", kind)
    if published is not None and staged.signed.version <= published.signed.version:
        path.unlink()
        return None
    return staged


def _stage(repo: Path, made: Metadata[Root] | Metadata[Targets]) -> None:
    (repo / "staged").mkdir(parents=True, exist_ok=True)
    _save(repo / "staged" / f"{made.signed.type}.json", _encoded(made))


def _newest(metadata: Path, kind: type[T]) -> Metadata[T] | None:
    found = sorted(metadata.glob(f"*.{kind.type}.json"), key=lambda path: int(path.name.split(".")[0]))
    return Metadata[T].from_file(str(found[-1])) if found else None


def _missing(judges: Sequence[Root], staged: Metadata[Root] | Metadata[Targets]) -> str:
    """Return the signatures that a staged document still needs, by each of the root documents that count; "": none."""
    role = staged.signed.type
    found = [judge.get_verification_result(role, staged.signed_bytes, staged.signatures) for judge in judges]
    return "; ".join(
        f"expected {one.threshold} signatures of role {role}, got {len(one.signed)}" for one in found if not one
    )


def _signed(root: Root, made: Metadata[Snapshot] | Metadata[Timestamp], file: Path) -> bytes:
    """Return a document signed with the key in a file.

    Raises:
        ReleaseProblem: it is no key of this role.
    """
    made.sign(_signer(file))
    try:
        root.verify_delegate(made.signed.type, made.signed_bytes, made.signatures)
    except RepositoryError as err:
        raise ReleaseProblem(f"{file}: is no key of role {made.signed.type}: {err}") from err
    return _encoded(made)


def _encoded(made: Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]) -> bytes:
    return made.to_bytes(JSONSerializer(compact=False))


def _save(path: Path, data: bytes) -> None:
    """Write a file so that its name leads to the whole of it or to the former file, after a power cut too."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


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
