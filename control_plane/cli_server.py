"""`ispcloud init|serve|health|operators|agents|people|services|backup|restore`: for administrators of a control plane.

They work on the data directory; the server may run, and sees each change within a second.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from pyrage import x25519

from backups.errors import BackupError
from backups.sealing import IDENTITY_BYTES, parse_identities_untrusted, parse_recipients
from control_plane import backup as backups
from control_plane import config, members
from control_plane.backup import ProvenCopy
from control_plane.clock import SYSTEM
from control_plane.config import Address, DataDir, parse_address
from control_plane.desk import files
from control_plane.desk.cli_shared import AsJson, ListOutput, now_s, print_json
from control_plane.errors import DEGRADED, InputError, LocalFailureError, ServerConfigError
from control_plane.limits import Quota
from control_plane.members import IdentityKind, Member, MemberStanding, RegisteredOperator
from control_plane.queues import seen_minutes
from control_plane.store import MIGRATIONS, WRITERS_FROM, CloudTx, Command, prepare
from durable import installation
from durable.installation import InstallationCheck
from durable.service_manager import ServiceManager
from protos import member_files
from protos.command_line import PlainGroup
from protos.member_files import Invitation
from trust import chance
from trust.moments import moment_json, moment_text
from trust.terminal import Column, Output, check_counts, check_lines, table

T = TypeVar("T")

Dir = Annotated[Path, typer.Option("--dir", envvar="ISPCLOUD_DIR", help="The control plane's data directory")]
OfOperator = Annotated[str, typer.Option("--operator", help="The operator's handle")]
Name = Annotated[str, typer.Argument(help="A handle: a-z, 0-9 and -")]
AUTHORITY_DAYS: Final = 365
"""Every agent, person and service has to be invited again when the authority ends: a year is time for that."""

Identity = Annotated[
    Path, typer.Option("--identity", help="The recipient's secret key, a file of age-keygen; -: standard input")
]

app = typer.Typer()
backup = typer.Typer(cls=PlainGroup, invoke_without_command=True)
app.add_typer(backup, name="backup")
operators = typer.Typer()
agents = typer.Typer()
people = typer.Typer()
services = typer.Typer()


@app.command()
def init(
    folder: Dir,
    public_host: Annotated[str, typer.Option("--public-host", help="The name under which agents reach this host")],
    listen: Annotated[str, typer.Option("--listen", help="Where the server listens")] = "0.0.0.0:7443",
    enrolment_listen: Annotated[
        str, typer.Option("--enrolment-listen", help="Where new ones bring their token")
    ] = "0.0.0.0:7444",
    metrics_listen: Annotated[
        str, typer.Option("--metrics-listen", help="Prometheus metrics, on loopback; empty: none")
    ] = "",
    witness_name: Annotated[
        str, typer.Option("--witness-name", help="The name of this server's witness key, in trust documents")
    ] = "ispcloud-witness",
) -> None:
    """Make a data directory: configuration, certificate authority, witness key, database."""
    text = config.DEFAULT.format(
        listen=listen,
        enrolment_listen=enrolment_listen,
        metrics_listen=metrics_listen,
        public_host=public_host,
        witness_name=witness_name,
        quotas=", ".join(f.name for f in fields(Quota)),
    )
    os.umask(0o077)
    data = config.create(folder, text, now_s())
    prepare(data.database).close()
    typer.echo(f"{folder}: made; ispcloud serve --dir {folder}")
    typer.echo(f"witness {data.witness_vkey()}")
    typer.echo("an owner may add it to the trust document; it belongs to the cloud, so it never counts alone")


@app.command()
def serve(folder: Dir) -> None:
    """Run the server until it is told to stop."""
    try:
        from control_plane.server import run  # slow, and only this command needs it
    except ModuleNotFoundError as err:
        raise InputError(
            f"expected the packages of the extra control-plane, got none named {err.name}: "
            "pip install --require-hashes -r requirements/control-plane.txt (or 'ispagents[control-plane]')"
        ) from err

    os.umask(0o077)  # SQLite's journal files are nobody else's business
    run(config.open_dir(folder), manager=ServiceManager.take(os.environ, os.getpid()))


@app.command()
def health(folder: Dir, as_json: AsJson = False) -> None:
    """Ask the server that runs on this data directory whether it serves: over the network, as a container's check does.

    Exit code 1: nobody answers at `enrolment_listen`, another server does, or its database cannot be written.
    """
    from control_plane.health import check_serving, local_address  # slow, and only this command needs it

    data = config.open_dir(folder)
    address = local_address(data.config.enrolment_listen)
    check_serving(address, data.authority.pem)
    if as_json:
        print_json({"serving": True, "address": str(address)})
    else:
        typer.echo(f"serving on {address}")


@app.command()
def doctor(folder: Dir, as_json: AsJson = False) -> None:
    """Check this installation: unit, keys, disk, clock, database, files; change nothing. Exit code 5: a check fails.

    It works when the server does not run; each check that fails names the command that mends it.
    """
    found = [
        *installation.unit_checks("ispcloud.service", "ispcloud"),
        *(installation.key_check(name, folder / name, f"ispcloud.{name}") for name in config.KEYS),
        *installation.disk_checks(folder),
        installation.database_check(folder / config.DATABASE, len(MIGRATIONS), WRITERS_FROM),
        installation.clock_check(),
        _folder_check(folder),
    ]
    checks = [asdict(check) for check in found]
    if as_json:
        print_json({"checks": checks})
    else:
        for line in (*check_lines(checks), check_counts(checks)):
            typer.echo(line)
    if any(check.result == installation.FAIL for check in found):
        raise typer.Exit(DEGRADED)


def _folder_check(folder: Path) -> InstallationCheck:
    try:
        data = config.open_dir(folder)
    except ServerConfigError as err:
        return InstallationCheck("data", "folder", installation.FAIL, str(err), "run this as the user of the server")
    days = (data.authority.certificate.not_valid_after_utc - datetime.fromtimestamp(SYSTEM.wall_s(), UTC)).days
    if days < AUTHORITY_DAYS:
        text = f"the certificate authority ends in {days} days: agents and people must be invited again by then"
        return InstallationCheck("data", "folder", installation.WARN, text, "ispcloud init in a new folder")
    return InstallationCheck(
        "data", "folder", installation.OK, f"whole; the certificate authority holds for {days} days"
    )


@operators.command("add")
def operators_add(name: Name, folder: Dir) -> None:
    """Add an operator."""
    members.check_handle(name, "operator")
    operator = chance.token_bytes(members.OPERATOR_BYTES)
    _change(config.open_dir(folder), members.AddOperator(operator, name))
    typer.echo(f"operator {name} ({operator.hex()})")


@operators.command("list")
def operators_list(folder: Dir, output: ListOutput = None, as_json: AsJson = False) -> None:
    """List the operators."""
    with _database(config.open_dir(folder)) as con:
        found = members.operators(con)
    if as_json or output is Output.JSON:
        print_json([{"operator": o.handle, "id": o.operator.hex()} for o in found])
    elif found:
        columns = (Column("OPERATOR"), Column("ID"))
        typer.echo(table(columns, [(o.handle, o.operator.hex()) for o in found], output))


def _commands_of_kind(of_kind: typer.Typer, kind: IdentityKind) -> None:
    """Add the commands for one kind of members; they are the same for all three."""

    @of_kind.command("enroll", help=f"Write an invitation for one {kind.value}: a day long, it can be used once.")
    def enroll(
        name: Name,
        operator: OfOperator,
        out: Annotated[Path, typer.Option("--out", help="Where the invitation is written; it must not be there")],
        folder: Dir,
        server: Annotated[str, typer.Option("--server", help="Another HOST:PORT than configured")] = "",
        enrolment: Annotated[str, typer.Option("--enrolment", help="Another HOST:PORT than configured")] = "",
    ) -> None:
        _invite(config.open_dir(folder), kind, name, operator, out, (server, enrolment))

    @of_kind.command("list", help="List them, those with an open invitation and revoked ones included.")
    def show(
        folder: Dir,
        operator: Annotated[str, typer.Option("--operator", help="Of this operator only")] = "",
        output: ListOutput = None,
        as_json: AsJson = False,
    ) -> None:
        _list(config.open_dir(folder), kind, operator, Output.JSON if as_json else output)

    @of_kind.command("revoke", help="Take one out: its streams end within seconds, its certificates are void.")
    def revoke(name: Name, operator: OfOperator, folder: Dir) -> None:
        _revoke(config.open_dir(folder), kind, name, operator)


_commands_of_kind(agents, IdentityKind.AGENT)
_commands_of_kind(people, IdentityKind.PERSON)
_commands_of_kind(services, IdentityKind.SERVICE)


def _invite(data: DataDir, kind: IdentityKind, name: str, operator: str, out: Path, at: tuple[str, str]) -> None:
    members.check_handle(name, kind.value)
    server = _public(data, data.config.listen, "--server", at[0])
    enrolment = _public(data, data.config.enrolment_listen, "--enrolment", at[1])
    token, now = chance.token_bytes(members.TOKEN_BYTES), now_s()
    with _database(data) as con:
        of = members.find_operator(con, operator)
        made = Invitation(
            operator=of.operator.hex(),
            kind=kind.value,
            name=name,
            server=str(server),
            enrolment=str(enrolment),
            ca=data.authority.pem.decode("ascii"),
            token=token,
        )
        command = members.Invite(of.operator, kind, name, members.token_digest(token), now)
        # Before the commit: when the file cannot be written, an invitation given out before stays good
        _run(con, command, lambda: files.write_new(out, member_files.encode_invitation(made)))
    until = moment_text(now + members.TOKEN_LIFE_S)
    typer.echo(f"{out}: an invitation for {kind.value} {name} of {operator}, once, until {until}")
    typer.echo("whoever has the file first becomes that member: carry it to nobody else")


def _public(data: DataDir, listen: Address, option: str, typed: str) -> Address:
    if typed:
        return parse_address(typed, option)
    if listen.port == 0:
        raise InputError(f"expected {option} HOST:PORT, since config.toml lets the system choose the port")
    return Address(data.config.public_host, listen.port)


def _list(data: DataDir, kind: IdentityKind, operator: str, output: Output | None) -> None:
    with _database(data) as con:
        one = members.find_operator(con, operator) if operator else None
        found = members.members(con, kind, now_s(), one.operator if one else None)
        seen = _seen(con, members.operators(con)) if kind is IdentityKind.AGENT else {}
    if output is Output.JSON:
        print_json([_as_json(m, seen) for m in found])
    elif found:
        typer.echo(table(_COLUMNS, [_row(m, seen) for m in found], output))


_COLUMNS: Final = (
    *map(Column, ("NAME", "OPERATOR", "STANDING", "UNTIL", "SEEN")),
    Column("AGENT", wide=True),
)


def _row(m: Member, seen: dict[tuple[str, bytes], int]) -> tuple[str, ...]:
    until = moment_text(m.until_s) if m.until_s and m.standing is not MemberStanding.REVOKED else ""
    last = moment_text(seen[m.operator, m.agent] * 60) if (m.operator, m.agent) in seen else ""
    return m.name, m.operator, m.standing.value, until, last, m.agent.hex()


def _seen(con: sqlite3.Connection, found: list[RegisteredOperator]) -> dict[tuple[str, bytes], int]:
    return {(o.handle, agent): minute for o in found for agent, minute in seen_minutes(con, o.operator).items()}


def _as_json(m: Member, seen: dict[tuple[str, bytes], int]) -> dict[str, object]:
    shown: dict[str, object] = {"operator": m.operator, "name": m.name, "standing": m.standing.value}
    shown["until"] = moment_json(m.until_s)
    if m.kind is IdentityKind.AGENT:
        minute = seen.get((m.operator, m.agent))
        shown |= {"agent": m.agent.hex() or None, "seen": None if minute is None else moment_json(minute * 60)}
    return shown


def _revoke(data: DataDir, kind: IdentityKind, name: str, operator: str) -> None:
    with _database(data) as con:
        of = members.find_operator(con, operator)
        if not _run(con, members.Revoke(of.operator, kind, name, now_s())):
            raise InputError(f"expected one of {operator}: no {kind.value} {name!r} is enrolled or invited")
    typer.echo(f"{kind.value} {name} of {operator}: revoked; what it has open ends within seconds")
    if kind is not IdentityKind.AGENT:
        typer.echo("its signing keys are trusted as before: an owner takes them out (ispcloud trust remove)")


@backup.callback()
def backup_make(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--dir", envvar="ISPCLOUD_DIR", help="The control plane's data directory")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where it is written; it must not be there")] = None,
    recipients: Annotated[
        list[str] | None, typer.Option("--recipient", help="A recipient that it is sealed to, age1…; may be repeated")
    ] = None,
) -> None:
    """Write a backup, keys included, while the server runs, sealed to recipients (age)."""
    if ctx.invoked_subcommand is not None:
        return
    if folder is None or to is None or not recipients:
        raise InputError("expected --dir DIR, --to FILE and --recipient age1…: age-keygen makes a pair of keys")
    os.umask(0o077)
    try:
        sealed_to = parse_recipients(recipients)
    except BackupError as err:
        raise InputError(str(err)) from err
    backups.write(config.open_dir(folder), to, sealed_to, now_s())
    typer.echo(f"{to}: a backup, sealed to {', '.join(sealed_to.texts)}; whoever opens it can let anybody in")


@backup.command("verify")
def backup_verify(
    file: Annotated[Path, typer.Argument(help="A backup")], identity: Identity, as_json: AsJson = False
) -> None:
    """Open a backup and prove it: whole, and its database in order. Nothing clear is left on the disk."""
    os.umask(0o077)
    proven = backups.verify(file, _identities(identity))
    if as_json:
        print_json(
            {"made_at": moment_json(proven.made_s), "version": proven.version, "authority_sha256": proven.authority}
        )
        return
    _echo_proven(file, proven)


@app.command()
def restore(file: Annotated[Path, typer.Option("--from", help="A backup")], folder: Dir, identity: Identity) -> None:
    """Make a data directory from a backup, with a new witness key."""
    os.umask(0o077)
    done = backups.restore(file, _identities(identity), folder)
    made = moment_text(done.proven.made_s)
    _echo_proven(file, done.proven)
    typer.echo(f"{folder}: as it was at {made}; open invitations are void")
    typer.echo(f"who was revoked after {made} is let in again: revoke them again")
    typer.echo(f"witness {done.data.witness_vkey()}")
    typer.echo(f"it is a new one, since the old one may have cosigned more than the backup knows: {done.old_vkey}")
    typer.echo("owners take the old witness out of the trust document and may add the new one")


def _identities(file: Path) -> list[x25519.Identity]:
    data = sys.stdin.buffer.read() if str(file) == "-" else files.read(file, IDENTITY_BYTES, "the identity")
    try:
        return parse_identities_untrusted(data)
    except BackupError as err:
        raise InputError(f"{file}: {err}") from err


def _echo_proven(file: Path, proven: ProvenCopy) -> None:
    typer.echo(f"{file}: whole, and in order; made {moment_text(proven.made_s)} by ispcloud {proven.version}")
    typer.echo(f"authority {proven.authority}: the one of your agents and desks?")


# --- the database ---------------------------------------------------------------------------------------------------


@contextmanager
def _database(data: DataDir) -> Iterator[sqlite3.Connection]:
    """The database, with the server's own settings.

    Raises:
        ServerConfigError: it is missing, or damaged.
        LocalFailureError: it cannot be used.
    """
    try:
        with closing(prepare(data.need_database())) as con:
            yield con
    except sqlite3.Error as err:
        raise LocalFailureError(f"{data.database}: cannot be used: {err}") from err


def _run(con: sqlite3.Connection, command: Command[T], also: Callable[[], None] = lambda: None) -> T:
    """Run a command as a transaction of its own; nothing of it stays when it, or `also`, refuses."""
    con.execute("BEGIN IMMEDIATE")
    try:
        result = command.run(CloudTx(con))
        also()
        con.execute("COMMIT")
    finally:
        if con.in_transaction:
            con.execute("ROLLBACK")
    return result


def _change(data: DataDir, command: Command[T]) -> T:
    with _database(data) as con:
        return _run(con, command)
