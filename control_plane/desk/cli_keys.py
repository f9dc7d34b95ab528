"""`ispcloud keys`: a person's own keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import key_files
from control_plane.desk.cli_shared import AsJson, PassphraseFile, print_json
from trust import keys

app = typer.Typer(help="Your own signing keys.", no_args_is_help=True, rich_markup_mode=None)


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
def show(file: Annotated[Path, typer.Argument(help="A key file")], as_json: AsJson = False) -> None:
    """Print the public half of a key file; no passphrase is needed."""
    public = key_files.read_public(file)
    if as_json:
        print_json({"public": public.hex(), "words": keys.fingerprint(public)})
    else:
        _show(public)


def _show(public: bytes) -> None:
    typer.echo(f"public {public.hex()}")
    typer.echo(f"words  {keys.fingerprint(public)}")
