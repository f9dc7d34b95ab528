"""`ispagent cpe profile`: profiles of CPE that an operator writes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import call_list, call_object, fail, print_json
from agent.cpe_model.dumps import BadDumpError, read_dump
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.profile_files import Match, ProfileEntry
from agent.cpe_model.profile_trial import ProfileTrial, trial
from agent.profile_folder import read_folder
from trust.terminal import neutralize

app = typer.Typer()

_DUMPS = (".json", ".csv")


@app.command("test")
def try_(
    file: Annotated[Path, typer.Argument(help="A profile: FILE.toml", metavar="FILE")],
    against: Annotated[
        str,
        typer.Option("--against", help="A CPE by its name, or a dump of one: DUMP.json of `cpe get --json`, DUMP.csv"),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Try a profile on a CPE or a dump: show the path of each name, and the names without one. Nothing is written."""
    entry = _entry(file)
    model, values = _dump(Path(against)) if Path(against).suffix in _DUMPS else _known(against)
    made = trial(entry.profile, values)
    matches = entry.match.score(*model) is not None
    if as_json:
        print_json({"profile": entry.profile.name, "matches": matches, "names": [asdict(name) for name in made.names]})
        return
    print(neutralize(f"profile {entry.profile.name} · root {entry.profile.root} · for {_match(entry.match)}"))
    is_it = "it matches" if matches else "IT DOES NOT MATCH: this CPE would not have the profile"
    said = " ".join(filter(None, model)) or "a model that it does not say"
    print(neutralize(f"against {against} · {said} · {len(values)} parameters · {is_it}"))
    _print(made)
    print("\nnothing was asked of a CPE, and nothing was written")


def _entry(file: Path) -> ProfileEntry:
    """Return the profile of a file, which may extend others of its folder."""
    if file.suffix != ".toml":
        fail(f"{file}: expected a file FILE.toml", client.USAGE)
    if not file.is_file():
        fail(f"{file}: there is no such file", client.USAGE)
    entries, problems = read_folder(file.absolute().parent)
    found = next((entry for entry in entries if entry.profile.name == file.stem), None)
    if found is None:
        its_own = [problem for problem in problems if problem.startswith(f"profile {file.name}")]
        fail("\n".join(its_own or problems), client.USAGE)
    return found


def _dump(path: Path) -> tuple[tuple[str, str, str], dict[str, CachedParameter]]:
    """Return the model of a dump, OUI, class and software, and its parameters."""
    try:
        values = read_dump(client.read_file(path).decode("utf-8", "replace"))
    except BadDumpError as err:
        fail(f"{path}: {err}", client.USAGE)

    def said(last: str) -> str:
        return next((known.value or "" for at, known in values.items() if at.endswith(f".DeviceInfo.{last}")), "")

    return (said("ManufacturerOUI"), said("ProductClass"), said("SoftwareVersion")), values


def _known(name: str) -> tuple[tuple[str, str, str], dict[str, CachedParameter]]:
    """Return the model of a CPE and its last known parameters; nothing is asked of it."""
    where = f"/v1/cpes/{quote(name, safe='')}"
    cpe = call_object("GET", where)
    rows = [row for row in call_list("GET", f"{where}/values?below=") if not row["before_reset"]]
    values = {str(row["path"]): CachedParameter(cast("str | None", row["value"]), str(row["type"]), 0) for row in rows}
    return (str(cpe["oui"]), str(cpe["product_class"]), str(cpe["software"])), values


def _match(match: Match) -> str:
    parts = (
        ("OUI", match.ouis),
        ("class", match.classes),
        ("class that begins with", match.prefixes),
        ("software that begins with", match.software),
    )
    return ", ".join(f"{word} {' or '.join(every)}" for word, every in parts if every)


def _print(made: ProfileTrial) -> None:
    if made.foreign:
        print(f"! {made.foreign} parameters lie below another root: the profile has no names for them")
    print("\nPLACES")
    for name, place in sorted(made.places.found.items()):
        print(neutralize(f"  {name:<16} {place.path.rstrip('.')}  ({place.why or 'fixed by the profile'})"))
    print("\nNAMES")
    for one in made.read:
        written = " · can be written" if one.written else ""
        print(neutralize(f"  {one.name:<24} {one.shown or '(empty)'}  ({one.path}{written})"))
    if made.missing:
        print("\nMISSING: it has no such parameter, or it was not read")
        for one in made.missing:
            print(neutralize(f"  {one.name:<24} {one.path}"))
    reasons: dict[str, list[str]] = {}
    for one in made.unplaced:
        reasons.setdefault(one.why, []).append(one.name)
    if reasons:
        print("\nNOT KNOWN: shown nowhere, and a change by such a name is refused")
        for why, names in reasons.items():
            print(neutralize(f"  {', '.join(names[:6])}{' …' if names[6:] else ''}: {why}"))
