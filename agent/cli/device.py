"""`ispagent device`: routers, switches and radios as the agent knows them, a look at one, and how one is brought in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, cast
from urllib.parse import quote

import typer

from agent.age import age_text
from agent.cli import client
from agent.cli.change import ask
from agent.cli.client import Json, ListOutput, call, call_list, call_object, print_json, print_list
from agent.cli.lines import device_rows
from agent.cli.plot import plot, short
from agent.cli.when import Since, Until, period, query, said, unix_of
from agent.spelling import handle_of
from trust.terminal import Column, neutralize

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Name = Annotated[str, typer.Argument(help="The device's name in the configuration, such as edge-1")]

PROBE_S: Final = 180.0
"""Three users log in one after the other, and each may have to be waited for."""
READY_S: Final = 600.0
"""Every method on every router is read anew."""
_PLOT_KINDS: Final = (".png", ".svg")
_READY: Final = {"kept": "READY", "refused": "REFUSED", "unread": "NOT READ", "not-checked": "not checked"}
_STATES: Final = {
    "not-asked": "not asked yet",
    "reachable": "reachable",
    "unreachable": "UNREACHABLE",
    "refused": "REFUSED",
}


_COLUMNS: Final = (
    *map(Column, ("NAME", "ADDRESS", "VERSION", "IDENTITY", "STATE", "FINDINGS", "READ")),
    Column("WHICH", wide=True),
)


_NEIGHBOR_COLUMNS: Final = tuple(map(Column, ("IDENTITY", "ADDRESS", "INTERFACE", "PLATFORM", "VERSION", "MAC")))
_READY_COLUMNS: Final = (*map(Column, ("ROUTER", "METHOD", "READY", "TRIED")), Column("WHY", wide=True))


@app.command("list")
def list_(output: ListOutput = None, as_json: AsJson = False) -> None:
    """List the devices: the facts on each, with their age. Nothing is asked of them."""
    found = call_list("GET", "/v1/devices")
    if not print_list(found, output, as_json, _COLUMNS, _row):
        return
    for d in found:
        if d["problem"]:
            print(neutralize(f"{d['name']}: {d['problem']}"))


def _row(d: Json) -> tuple[str, ...]:
    findings = cast("list[Json]", d["findings"])
    return (
        str(d["name"]),
        str(d["address"]),
        str(d["version"] or ""),
        str(d["identity"] or ""),
        _STATES[str(d["state"])],
        "" if d["age_s"] is None else str(len(findings)),
        _age(d),
        ", ".join(str(f["code"]) for f in findings),
    )


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything that is known of a device, and how old it is. Nothing is asked of it."""
    found = call_object("GET", f"/v1/devices/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    _print_device(found)


@app.command()
def probe(name: Name, as_json: AsJson = False) -> None:
    """Connect to a device now and show its state. Nothing is written on it, so nobody has to approve."""
    found = call_object("POST", f"/v1/devices/{quote(name, safe='')}/probe", {}, timeout_s=PROBE_S)
    if as_json:
        print_json(found)
    else:
        _print_device(found)
        print("\nnothing was written on it")
    if found["state"] != "reachable":
        raise typer.Exit(client.FAILED)


@app.command()
def neighbors(
    name: Name,
    output: ListOutput = None,
    as_json: AsJson = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the list in the form that `device import` reads: name,host")
    ] = False,
) -> None:
    """List the devices that a device hears now (LLDP, MNDP, CDP). Their own words prove nothing."""
    found = cast("list[Json]", call("GET", f"/v1/devices/{quote(name, safe='')}/neighbors", timeout_s=PROBE_S))
    if as_csv:
        print("name,host")
        for one in found:
            if one["address"]:
                print(f"{handle_of(str(one['identity']))},{one['address']}")
        return
    print_list(found, output, as_json, _NEIGHBOR_COLUMNS, _neighbor_row)


@app.command()
def series(
    name: Name,
    of: Annotated[str, typer.Argument(help="A part or a sensor, such as port/ether1; without it, the series")] = "",
    value: Annotated[str, typer.Argument(help="The name of the value, such as in_bps")] = "value",
    since: Since = "1d",
    until: Until = "",
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Write the plot into a file", metavar="FILE.png|FILE.svg")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the series of a device, or plot one. The numbers are those of its polls; nothing is asked of it."""
    if plot_file is not None and plot_file.suffix.lower() not in _PLOT_KINDS:
        client.fail(f"--plot: expected a file that ends in {' or '.join(_PLOT_KINDS)}, got {plot_file}", client.USAGE)
    if plot_file is not None and not of:
        client.fail("--plot: name the series that is plotted: ispagent device series NAME OF VALUE", client.USAGE)
    path = f"/v1/devices/{quote(name, safe='')}/series"
    fields = {"of": of, "name": value, **period(since, until)} if of else {}
    found = call_object("GET", f"{path}{query(fields)}")
    if as_json:
        print_json(found)
    elif not of:
        _print_series(name, found)
    else:
        _plot(f"{name} · {of} · {value}" if value != "value" else f"{name} · {of}", found, fields, plot_file)


def _print_series(name: str, found: Json) -> None:
    series = cast("list[Json]", found["series"])
    for one in series:
        last = "" if one["value"] is None else short(cast("float", one["value"]))
        print(neutralize(f"{one['of']:<40} {one['name']:<24} {last}"))
    if not series:
        print(f"nothing was polled of {name} yet")


def _plot(title: str, found: Json, fields: Mapping[str, str], file: Path | None) -> None:
    points = [
        (unix_of(p["at"]), cast("float", p["low"]), cast("float", p["mean"]), cast("float", p["high"]))
        for p in cast("list[Json]", found["points"])
    ]
    if not points:
        print("nothing was read in this time")
        return
    if file is not None:
        from agent.cli.plot_file import plot_bytes, unit_of
        from agent.cli.plot_layout import Plotted

        since_s, until_s = (int(fields[key]) if key in fields else None for key in ("since", "until"))
        unit = unit_of(fields["name"]) or str(found["unit"]).replace("C", "°C")
        plotted = Plotted(neutralize(title), points, cast("int", found["step_s"]), unit, since_s, until_s)
        client.write_file(file, plot_bytes(plotted, file))
        print(f"wrote {file}")
        return
    for line in plot([(point[0], point[2]) for point in points]):
        print(line)
    newest = points[-1]
    print(f"means of {age_text(cast('int', found['step_s']))}; the last one {short(newest[2])}")


def _neighbor_row(one: Json) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in ("identity", "address", "interface", "platform", "version", "mac"))


@app.command()
def ready(
    name: Annotated[str, typer.Argument(help="One router; without it, all of them")] = "",
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether a suspension would be enforced, by each access method on each router. Nothing is written.

    A few subscribers are planned as a preview would, and one that does not exist. Exit code: 0 ready, 3 one would be
    refused, 1 something could not be read.
    """
    path = f"/v1/readiness?device={quote(name, safe='')}" if name else "/v1/readiness"
    found = cast("list[Json]", call("GET", path, timeout_s=READY_S))
    if print_list(found, output, as_json, _READY_COLUMNS, _ready_row):
        for one in found:
            _print_trials(one)
        print("nothing was written")
    states = {str(one["state"]) for one in found}
    if states & {"refused", "unread"}:
        raise typer.Exit(client.REFUSED if "refused" in states else client.FAILED)


@app.command()
def prepare(
    name: Name,
    list_name: Annotated[str, typer.Option("--list", help="The address list of a profile that has none yet")] = "",
    garden: Annotated[
        list[str] | None, typer.Option("--garden", help="An address or network that the suspended may reach")
    ] = None,
    resolver: Annotated[
        list[str] | None, typer.Option("--resolver", help="The address of a DNS server that they may ask")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Do not start by itself when approved")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for the rules, lists and the profile that a router lacks to keep suspended subscribers in; show the preview.

    A change as any other, of class config: nothing is written before it is approved. Only rows are added, in chain
    forward and for members of the lists alone; `change revert` removes them.
    """
    settings = {"list": list_name, "garden": ",".join(garden or []), "resolvers": ",".join(resolver or [])}
    given = {key: text for key, text in settings.items() if text}
    ask({"action": "prepare-device", "refs": [name], "settings": given, "hold": hold}, as_json)


def _ready_row(one: Json) -> tuple[str, ...]:
    trials = cast("list[Json]", one["trials"])
    tried = [trial for trial in trials if trial["ref"]]
    worst = next((trial for trial in trials if trial["state"] == one["state"]), None)
    return (
        str(one["device"]) or "-",
        str(one["method"]),
        _READY[str(one["state"])],
        f"{len(tried)} of {one['services']}",
        "" if worst is None else str(worst["text"]),
    )


def _print_trials(one: Json) -> None:
    """Print each refusal once with its mend, and every way out."""
    where = f"{one['device'] or '-'} {one['method']}"
    refused: dict[str, list[str]] = {}
    ways: dict[str, None] = {}
    for trial in cast("list[Json]", one["trials"]):
        if trial["state"] in ("refused", "unread"):
            mend = f" · {trial['mend']}" if trial["mend"] and not one["prepare"] else ""
            who = str(trial["ref"]) or "anybody else"
            refused.setdefault(f"{trial['text']} [{trial['code']}]{mend}", []).append(who)
        ways |= dict.fromkeys(cast("list[str]", trial["ways_out"]))
    for line in (*(f"{', '.join(who)}: {text}" for text, who in refused.items()), *ways):
        print(neutralize(f"{where}: {line}"))
    if one["prepare"]:
        print(neutralize(f"{where}: > {one['prepare']}"))


def _print_device(d: Json) -> None:
    print(neutralize(f"{d['name']} · {d['address']} · {_STATES[str(d['state'])]} · read {_age(d)}"))
    if d["problem"]:
        at = f"{said(d['tried_at'], seconds=True)} " if d["tried_at"] else ""
        print(neutralize(f"{at}{d['problem']}"))
    if d["age_s"] is None:
        print(f"nothing was read of it since the agent started: ispagent device probe {d['name']}")
    elif d["problem"]:
        print(f"what follows is {_age(d)}")
    for label, text in cast("dict[str, str]", d["facts"]).items():
        print(neutralize(f"{label:<13} {text}"))
    for one in cast("list[Json]", d["sensors"]):
        print(neutralize(f"{one['label']:<24} {_value(one)} ({age_text(cast('int', one['age_s']))} ago)"))
    if (lines := cast("Json | None", d["lines"])) is not None:
        for row in device_rows(lines):
            print(neutralize(row))
    findings = cast("list[Json]", d["findings"])
    if findings:
        print(f"{len(findings)} FINDING{'S' if len(findings) > 1 else ''}")
    elif d["age_s"] is not None:
        print("no findings")
    for finding in findings:
        print(neutralize(f"! {finding['text']} [{finding['code']}]"))


def _value(sensor: Json) -> str:
    value = sensor["value"]
    return str(sensor["text"]) if value is None else f"{value:.6g} {sensor['unit']}".rstrip()


def _age(d: Json) -> str:
    return "never" if d["age_s"] is None else f"{age_text(cast('int', d['age_s']))} ago"
