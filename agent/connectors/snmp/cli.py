"""`ispagent snmp`: ask devices by hand through the running agent, find new ones, and try profiles.

The agent asks: it has the secrets, and nobody else needs them. Only a profile against a recording needs no agent.
"""

from __future__ import annotations

import csv
import ipaddress
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from agent.config_fleet import MalformedFleetError, parse_fleet_untrusted
from agent.config_schema import HANDLE
from agent.connectors.base import AnswerRow, Question
from agent.connectors.snmp import profile_choice, profile_files, profile_reading
from agent.connectors.snmp.answer_text import rows_of
from agent.connectors.snmp.configuration import NAME
from agent.connectors.snmp.errors import MalformedRecordingError
from agent.connectors.snmp.profile import SnmpProfile
from agent.connectors.snmp.recording import read_recording_untrusted, scalars_and_columns
from agent.connectors.spec import AsksAgent
from protos.command_line import PlainGroup
from trust.terminal import Column, neutralize, table

app = typer.Typer(rich_markup_mode=None)
profile_app = typer.Typer(
    cls=PlainGroup, rich_markup_mode=None, no_args_is_help=True, help="Profiles: how families of devices are read."
)
app.add_typer(profile_app, name="profile")

FAILED: Final = 1
USAGE: Final = 2
DEFAULT_PORT: Final = 161
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line")]
Device = Annotated[str, typer.Argument(help="The NAME of a [snmp.NAME]")]
_LISTED: Final = ("name", "address", "credential", "version", "profile", "sys_name")
_FOUND: Final = ("address", "credential", "sys_name", "profile", "description")
_READ: Final = ("what", "key", "name", "state", "values")


def _fail(message: str, code: int) -> NoReturn:
    print(neutralize(message), file=sys.stderr)
    raise typer.Exit(code)


def _ask(ctx: typer.Context, verb: str, target: str, words: Sequence[str] = (), **options: str) -> Iterator[AnswerRow]:
    agent: AsksAgent = ctx.obj
    return agent.ask(NAME, Question(verb, target, tuple(words), options))


@app.command()
def get(
    ctx: typer.Context,
    device: Device,
    oids: Annotated[list[str], typer.Argument(help="OIDs, such as 1.3.6.1.2.1.1.5.0")],
    as_json: AsJson = False,
) -> None:
    """Get values of a device by their OIDs."""
    _print_values(_ask(ctx, "get", device, oids), as_json=as_json)


@app.command()
def walk(
    ctx: typer.Context,
    device: Device,
    oid: Annotated[str, typer.Argument(help="Below which OID; without it, 1.3.6.1.2.1")] = "",
    as_json: AsJson = False,
) -> None:
    """Walk the values of a device below an OID. They are printed as they come."""
    _print_values(_ask(ctx, "walk", device, [oid] if oid else []), as_json=as_json)


@app.command()
def poll(ctx: typer.Context, device: Device, as_json: AsJson = False) -> None:
    """Read a device whole by its profile, now, and print the reading."""
    _print_reading(_ask(ctx, "poll", device), as_json=as_json)


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the configured devices, with the profile by which each is read."""
    rows = list(_ask(ctx, "list", ""))
    _print_table(rows, _LISTED, as_json=as_json)


@app.command()
def heard(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Count the traps and informs that came since the start, and tell why some did not count."""
    rows = list(_ask(ctx, "heard", ""))
    _print_table(rows, ("what", "number", "address", "why"), as_json=as_json)


@app.command()
def discover(
    ctx: typer.Context,
    prefixes: Annotated[list[str] | None, typer.Argument(help="Prefixes or addresses, such as 10.0.0.0/24")] = None,
    credential: Annotated[
        list[str] | None, typer.Option("--credential", help="A NAME of [snmp-credential.NAME]; without it, all")
    ] = None,
    neighbors: Annotated[bool, typer.Option("--neighbors", help="Ask the neighbors of configured devices too")] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Their port")] = DEFAULT_PORT,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print lines of a fleet's file: name,address,credential")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search prefixes, and the neighbors of known devices, for devices that are not configured yet.

    A community is sent to every address of the prefix, in clear: search your own management networks only.
    """
    options = {"credentials": ",".join(credential or ()), "port": str(port)}
    if neighbors:
        options["neighbors"] = "yes"
    if not prefixes and not neighbors:
        _fail("expected a prefix, or --neighbors", USAGE)
    found: list[AnswerRow] = []
    asked: object = 0
    for row in _ask(ctx, "discover", "", prefixes or (), **options):
        if "progress" in row:
            asked = row["progress"]
            if sys.stderr.isatty():
                said = f"{row['progress']} of {row['of']} addresses asked, {row['found']} answered"
                print(f"\r{said}", end="", file=sys.stderr, flush=True)
        else:
            found.append(row)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if as_csv:
        _write_csv(found)
        return
    if found or as_json:
        _print_table(found, _FOUND, as_json=as_json)
    if not as_json:
        answered = f"{len(found)} answered" if found else "none answered"
        print(f"{asked} addresses asked on port {port}, {answered}; configured ones are not asked", file=sys.stderr)
    for row in found if not as_json else ():
        if row.get("problem"):
            print(neutralize(f"{row['address']}: {row['problem']}"))
        if row.get("same_name"):
            print(
                neutralize(
                    f"{row['address']}: {row['same_name']} is called {row['sys_name']} too: perhaps the same device"
                )
            )


def _write_csv(found: Sequence[AnswerRow]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("name", "address", "credential"))
    taken: set[str] = set()
    for row in found:
        if row.get("credential"):
            name = _handle(str(row["sys_name"]) or str(row["address"]), taken)
            writer.writerow((name, row["address"], row["credential"]))


def _handle(text: str, taken: set[str]) -> str:
    """Return a name for a section that nobody has yet."""
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())[:28].strip("-") or "device"
    name, number = letters, 1
    while name in taken:
        number += 1
        name = f"{letters}-{number}"
    taken.add(name)
    return name


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The device's name in the configuration: a-z, 0-9 and -")],
    address: Annotated[str, typer.Argument(help="Where it answers")],
    credential: Annotated[str, typer.Option("--credential", help="The NAME of a [snmp-credential.NAME]")],
    sys_name: Annotated[str, typer.Option("--sys-name", help="The name that it must give itself")] = "",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Its port")] = DEFAULT_PORT,
    fleet: Annotated[Path | None, typer.Option("--fleet", help="Append a line to this fleet's file instead")] = None,
) -> None:
    """Print what goes into the configuration for a device, or append it to a fleet's file."""
    if not HANDLE.fullmatch(name) or not HANDLE.fullmatch(credential):
        wrong = credential if HANDLE.fullmatch(name) else name
        _fail(f"expected names of 1 to 32 of a-z, 0-9 and -, got {wrong[:40]!r}", USAGE)
    values = {"name": name, "address": address, "credential": credential, "sys_name": sys_name, "port": str(port)}
    if fleet is not None:
        _append(fleet, values)
        return
    print(f'[snmp.{name}]\naddress = {json.dumps(address)}\ncredential = "{credential}"')
    if port != DEFAULT_PORT:
        print(f"port = {port}")
    if sys_name:
        print(f"sys_name = {json.dumps(sys_name, ensure_ascii=False)}")


def _append(fleet: Path, values: Mapping[str, str]) -> None:
    """Append a line to a fleet's file, in the order of its columns."""
    try:
        data = fleet.read_bytes()
        known = parse_fleet_untrusted(data, fleet)
        if "address" not in known.columns:
            _fail(f"{fleet} line 1: expected a column address, got {','.join(known.columns)[:80]}", USAGE)
        for row in known.rows:
            if row["name"] == values["name"] or _same(row["address"]) == _same(values["address"]):
                _fail(f"{fleet}: {row['name']} at {row['address']} stands there already", FAILED)
        with fleet.open("a", encoding="utf-8", newline="") as file:
            if not data.endswith((b"\n", b"\r")):
                file.write("\n")  # editors and spreadsheets leave the last line open: ours would go on with it
            csv.writer(file, lineterminator="\n").writerow([values.get(column, "") for column in known.columns])
    except MalformedFleetError as err:
        _fail(str(err), USAGE)
    except (OSError, csv.Error) as err:
        _fail(f"{fleet}: {err}", FAILED)
    for column in sorted(values.keys() - set(known.columns)):
        if values[column] not in ("", str(DEFAULT_PORT)):
            print(f"{fleet} has no column {column}: the configuration says it for the whole fleet", file=sys.stderr)
    print(f"{fleet}: {values['name']} at {values['address']} was added; start the agent anew to poll it")


def _same(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower()


@profile_app.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles that are shipped."""
    rows = [{"profile": one.name, "for": one.title} for one in profile_files.shipped()]
    _print_table(rows, ("profile", "for"), as_json=as_json)


@profile_app.command("test")
def try_profile(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The profile, NAME.toml; those it extends may stand beside it")],
    against: Annotated[
        str, typer.Option("--against", help="A recording (.snmprec), or the NAME of a configured device")
    ],
    as_json: AsJson = False,
) -> None:
    """Read a device, or a recording of one, by a profile that is being written, and print what comes of it."""
    try:
        beside = {path.stem: path.read_text(encoding="utf-8") for path in sorted(file.parent.glob("*.toml"))}
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        _fail(f"{file}: cannot be read: {err}", USAGE)
    profile = _profile(file.stem, {**beside, file.stem: text})
    recording = Path(against)
    if recording.exists():
        _print_reading(iter(_recorded(profile, recording)), as_json=as_json)
    else:
        _print_reading(_ask(ctx, "test", against, (file.stem, text)), as_json=as_json)


def _profile(name: str, texts: Mapping[str, str]) -> SnmpProfile:
    found, problems = profile_files.load(texts)
    own = [one for one in found if one.name == name and one.own]
    if not own:
        _fail("\n".join(one for one in problems if f"{name}.toml" in one) or "\n".join(problems), FAILED)
    return own[0]


def _recorded(profile: SnmpProfile, recording: Path) -> list[AnswerRow]:
    try:
        found = read_recording_untrusted(recording.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, MalformedRecordingError) as err:
        _fail(f"{recording}: {err}", USAGE)
    wanted = profile_choice.wanted(profile)
    scalars, columns = scalars_and_columns(found, wanted.scalars, wanted.columns)
    return rows_of(profile_reading.read(profile, recording.stem, int(time.time()), scalars, columns))


def _print_values(rows: Iterator[AnswerRow], *, as_json: bool) -> None:
    for row in rows:
        if as_json:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        elif "count" in row:
            print(f"{row['count']} values", file=sys.stderr)
        else:
            print(neutralize(f".{row['oid']} = {row['type']}: {row['value']}"), flush=True)


def _print_reading(rows: Iterator[AnswerRow], *, as_json: bool) -> None:
    found: list[AnswerRow] = []
    for row in rows:
        if "progress" in row:
            print(f"{row['progress']:g} s: {row['text']}", file=sys.stderr, flush=True)
        elif "count" not in row:
            found.append(row)
    _print_table(found, _READ, as_json=as_json)
    for row in found if not as_json else ():
        if row["what"] == "not read":
            print(neutralize(f"not read: {row['text']}"))


def _print_table(rows: Sequence[AnswerRow], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    heads = [Column(name.upper().replace("_", " ")) for name in columns]
    print(table(heads, [[neutralize(_cell(row.get(name))) for name in columns] for row in rows], None))


def _cell(value: object) -> str:
    return "" if value is None else str(value)
