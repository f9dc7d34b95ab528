"""`ispcloud keys`: a person's own keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from control_plane.desk import key_files, unlock
from control_plane.desk.cli_shared import AsJson, KeyFile, PassphraseFile, open_key_here, print_json
from control_plane.errors import InputError
from trust import checkpoint, keys
from trust.plural import counted

_WITNESS: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
"""The form of a witness's name in a trust document, and of a cosignature's at a control plane."""

app = typer.Typer()


@app.command("new")
def new(
    out: Annotated[Path, typer.Option("--out", help="Where the key file is written; it must not be there")],
    person: Annotated[str, typer.Option("--person", help="Your handle: prints how an owner adds you")] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a key under a passphrase, and print its public half."""
    if passphrase_file is not None:
        passphrase = key_files.read_passphrase(passphrase_file)
    else:
        typed: str = typer.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True)
        passphrase = typed.encode()
    key_files.check_new_passphrase(passphrase)
    key = key_files.create(out, passphrase)
    typer.echo(f"{out}: a new key, under your passphrase; nobody can recover either")
    _show(key.public)
    if person:
        typer.echo(f"an owner adds you: ispcloud trust add person {person} --key {key.public.hex()} --role ROLE")


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A key file")],
    witness_name: Annotated[
        str, typer.Option("--witness-name", help="Print it as the verifier key of a witness with this name")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Print the public half of a key file; no passphrase is needed."""
    public = key_files.read_public(file)
    if witness_name and not _WITNESS.fullmatch(witness_name):
        raise InputError(f"expected a witness name of 1 to 32 of a-z, 0-9 and -, got {witness_name[:64]!r}")
    vkey = checkpoint.encode_witness_vkey(witness_name, public) if witness_name else None
    if as_json:
        witness = {} if vkey is None else {"witness_vkey": vkey}
        print_json({"public": public.hex(), "words": keys.fingerprint(public), **witness})
        return
    _show(public)
    if vkey is not None:
        typer.echo(f"vkey   {vkey}")
        typer.echo(f"an owner adds it: ispcloud trust add witness {witness_name} --vkey '{vkey}' --operated-by own")


def _show(public: bytes) -> None:
    typer.echo(f"public {public.hex()}")
    typer.echo(f"words  {keys.fingerprint(public)}")


@app.command("unlock")
def unlock_(
    key: KeyFile,
    hours: Annotated[int, typer.Option("--hours", min=1, max=unlock.HOURS_MAX, help="How long, asleep or awake")] = 8,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Unlock a key for a shift: a process of yours signs day-to-day statements with it, and ends by itself."""
    if unlock.find(key_files.read_public(key)) is not None:
        raise InputError(f"{key}: this key is unlocked already (ispcloud keys lock ends that)")
    signing = open_key_here(key, passphrase_file)
    unlock.start(signing, hours)
    typer.echo(f"{key}: unlocked for {hours} hours; ispcloud keys lock ends it. Trust documents still ask each time.")


@app.command("lock")
def lock(
    key: Annotated[Path | None, typer.Option("--key", help="Your key file [every unlocked key]")] = None,
) -> None:
    """Lock the unlocked keys."""
    if key is None:
        found = unlock.find_all()
    else:
        one = unlock.find(key_files.read_public(key))
        found = [] if one is None else [one]
    for unlocked in found:
        unlocked.lock()
    typer.echo(f"{counted(len(found), 'key')} locked")
