"""`ispagent backup`, `backup verify`, `restore`: they read and write files, and need no running agent."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from agent.cli import client
from agent.cli.client import fail, print_json, read_file, say
from agent.cli.when import unix_now
from agent.runtime import http_client
from agent.runtime.errors import ClientError
from protos.command_line import PlainGroup
from trust.moments import moment_json, moment_text, moments_json

if TYPE_CHECKING:
    from pyrage import x25519

    from agent.config import AgentConfig
    from agent.store.backup import BackupPaths
    from agent.store.last_backup import LastBackup
    from agent.store.restoring import ProvenBackup
    from backups.errors import BackupError

app = typer.Typer()
group = typer.Typer(cls=PlainGroup, invoke_without_command=True)
app.add_typer(group, name="backup")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file (or ISPAGENT_CONFIG)")]
Identity = Annotated[
    Path, typer.Option("--identity", help="The recipient's secret key, a file of age-keygen; -: standard input")
]
Keys = Annotated[
    Path | None, typer.Option("--keys", help="The keys of the backup; where not given: FILE.keys.age beside FILE.age")
]
OlderKeys = Annotated[
    bool,
    typer.Option("--older-keys", help="Take keys that are older than the data: later subscribers can never be read"),
]
NICE: Final = 10
"""Subscribers come first."""


@group.callback()
def backup(
    ctx: typer.Context,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file of the data; it must not be there. Else [backup] to")
    ] = None,
    keys_to: Annotated[
        Path | None, typer.Option("--keys-to", help="The file of the keys; where not given: beside the data")
    ] = None,
    recipients: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient", help="A recipient that it is sealed to, age1…; may be repeated. Else [backup] recipients"
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Back up the agent while it runs: its data in one file, its keys in another, sealed to recipients (age).

    Without --to both get a dated name in the folders of [backup], and the oldest there go.
    """
    if ctx.invoked_subcommand is not None:
        return
    from agent.store import backup_folder
    from agent.store.backup import BackupPaths, BackupSource, keys_beside, make
    from agent.store.errors import StoreError
    from backups.errors import BackupError
    from backups.sealing import parse_recipients
    from durable.process import keep_memory_private

    settings = client.load_own_settings(config)
    os.umask(0o077)
    with suppress(OSError):  # a unit sets it, and its system calls are filtered
        os.nice(NICE)
    keep_memory_private()
    now_s, terms = int(unix_now()), settings.backup
    if to is None and keys_to is not None:
        fail("expected --to FILE with --keys-to", client.USAGE)
    if to is not None:
        paths = BackupPaths(to, keys_to or keys_beside(to))
    elif terms.to is not None and terms.keys_to is not None:
        paths = backup_folder.dated(settings.name, terms.to, terms.keys_to, now_s)
    else:
        fail("expected --to FILE, or a folder in [backup] to; got neither", client.USAGE)
    if not (recipients or terms.recipients):
        told = "expected --recipient age1…, or [backup] recipients; got neither: age-keygen makes a pair of keys"
        fail(told, client.USAGE)
    source = BackupSource(
        settings.state_dir, settings.key_file, settings.path, settings.name, settings.origin, terms.series
    )
    problem, gone = "", []
    try:
        last = make(source, paths, parse_recipients(recipients or terms.recipients), now_s)
    except BackupError as err:
        fail_backup("backup", err)
    except StoreError as err:
        fail(f"backup: {err}", client.FAILED)
    finally:  # keys go in time, also where no backup could be made
        if to is None:
            try:
                gone = backup_folder.prune(settings.name, paths, terms.keep, terms.keys_days, now_s)
            except BackupError as err:
                problem = str(err)
    noted = _note(settings, last)
    _say_made(last, [str(path) for path in gone], noted, as_json=as_json)
    if problem:
        fail(f"the backup is made, and the folder was not tidied up: {problem}", client.MIXED)


def _note(settings: AgentConfig, last: LastBackup) -> str:
    """Have the running agent record the backup in its log; return "" or why it did not."""
    body = {"pair": last.pair, "leaves": last.log_size, "recipients": list(last.recipients)}
    try:
        answer = http_client.request(settings.socket, "POST", "/v1/backups", body, timeout_s=30.0)
    except ClientError as err:
        return str(err)
    return "" if answer.status < 400 else f"the agent refused it ({answer.status})"


def _say_made(last: LastBackup, gone: list[str], noted: str, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json({**moments_json(asdict(last), made_s="made_at"), "deleted": gone, "recorded": not noted})
        return
    print(f"data      {last.data}: {last.data_bytes // 2**20} MiB, {last.log_size} leaves of the log")
    print(f"keys      {last.keys}: at another place, for 30 days at most; nothing opens without them")
    print(f"to        {', '.join(last.recipients)}")
    for path in gone:
        print(f"deleted   {path}")
    say("log       recorded" if not noted else f"log       NOT RECORDED: {noted}")


@group.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="The data of a backup")],
    identity: Identity,
    keys: Keys = None,
    older_keys: OlderKeys = False,
    as_json: AsJson = False,
) -> None:
    """Open a backup and prove it: whole, in order, and its log as it was signed. Nothing clear is left on the disk.

    Works on any machine. It is unpacked into a private folder of TMPDIR, which needs room for all of it.
    """
    from agent.store.restoring import unpack_proven
    from backups.errors import BackupError
    from backups.private_folder import private_folder
    from durable.process import keep_memory_private

    os.umask(0o077)
    keep_memory_private()
    paths, identities = _given(file, keys, identity)
    try:
        with private_folder("ispagent-verify-") as folder:
            proven = unpack_proven(paths, identities, folder, older_keys=older_keys)
    except BackupError as err:
        fail_backup("backup verify", err)
    except OSError as err:
        fail(f"backup verify: it cannot be unpacked: {err.strerror}", client.FAILED)
    _say_proven(proven, as_json=as_json)


@app.command()
def restore(
    from_: Annotated[Path, typer.Option("--from", help="The data of a backup")],
    identity: Identity,
    into: Annotated[Path, typer.Option("--into", help="The new state directory: missing or empty")],
    keys: Keys = None,
    older_keys: OlderKeys = False,
    as_json: AsJson = False,
) -> None:
    """Make a state directory from a backup. It counts as put back: unused changes are void at the next start."""
    from agent.host_check import owner_problem
    from agent.store.restoring import refuse_filled
    from agent.store.restoring import restore as put_back
    from backups.errors import BackupError
    from durable.process import keep_memory_private

    if problem := owner_problem(into, os.geteuid()):
        fail(problem, client.USAGE)
    os.umask(0o077)
    keep_memory_private()
    try:
        refuse_filled(into)
        paths, identities = _given(from_, keys, identity)
        proven = put_back(paths, identities, into, older_keys=older_keys)
    except BackupError as err:
        fail_backup("restore", err)
    _say_proven(proven, as_json=as_json)
    if as_json:
        return
    print(f"restored  {into}: at its start unused changes are void, and none that was begun goes on")
    print(f"config    {into}/agent.toml is the one of that time: it is not used from there")
    print("next      compare the words; start the agent; ispagent status; ispagent drift")


def _given(file: Path, keys: Path | None, identity: Path) -> tuple[BackupPaths, list[x25519.Identity]]:
    from agent.store.backup import BackupPaths, keys_beside
    from backups.errors import BackupError
    from backups.sealing import parse_identities_untrusted

    if file.name.endswith(".keys.age"):
        fail(f"{file}: these are the keys of a backup: expected its data, and these as --keys", client.USAGE)
    try:
        return BackupPaths(file, keys or keys_beside(file)), parse_identities_untrusted(read_file(identity))
    except BackupError as err:
        fail_backup(str(identity), err)


def fail_backup(what: str, err: BackupError) -> NoReturn:
    """End the program as an error of a backup says: 2 where a key is none, 3 where it does not fit, else 1."""
    from backups.errors import AgeKeyError, WrongKeyError

    code = client.USAGE if isinstance(err, AgeKeyError) else client.FAILED
    fail(f"{what}: {err}", client.REFUSED if isinstance(err, WrongKeyError) else code)


def _say_proven(proven: ProvenBackup, *, as_json: bool) -> None:

    proof = proven.proof
    if as_json:
        print_json(
            {
                "name": proven.name,
                "agent": proven.agent,
                "words": proven.words,
                "version": proven.version,
                "made_at": moment_json(proven.made_s),
                "keys_made_at": moment_json(proven.keys_made_s),
                "since": moment_json(proven.since_s),
                "subjects": proven.subjects,
                "log": {"size": proof.size, "root": proof.root.hex(), "signed": proof.signed},
                "files": list(proven.names),
            }
        )
        return
    print(f"agent     {proven.name} ({proven.agent}), by ispagent {proven.version}")
    print(f"words     {proven.words}: those of the trust document? ispcloud trust show")
    print(f"data      made {moment_text(proven.made_s)}: whole, and in order")
    print(
        f"keys      made {moment_text(proven.keys_made_s)}: of {proven.subjects} subjects; they open data since"
        f" {moment_text(proven.since_s)}"
    )
    signed = f"the first {proof.signed} as in the signed checkpoint" if proof.signed else "no checkpoint was signed yet"
    print(f"log       {proof.size} leaves hash to {proof.root.hex()}; {signed}")
