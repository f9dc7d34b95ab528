"""`ispagent init`, `run`, `status`, `freeze`, `unfreeze`, `clock accept`."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from agent.age import age_text
from agent.cli import client
from agent.cli.billing import source_lines
from agent.cli.change import submit
from agent.cli.client import Json, call_object, fail, print_json, say, write_file
from agent.cli.drift import came_since
from agent.cli.when import said, unix_now, unix_of
from trust.terminal import neutralize

if TYPE_CHECKING:
    from durable.service_manager import ServiceManager

DAY_S = 86_400
"""An error that is older is no longer shown, where all is well since."""

app = typer.Typer()
clock = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file (or ISPAGENT_CONFIG)")]
Signed = Annotated[Path, typer.Option("--file", help="The envelope that the person's own tool signed")]


@app.command()
def init(
    config: Config = None,
    enroll: Annotated[Path, typer.Option("--enroll", help="Where to write the enrolment")] = Path("enroll.json"),
    new_log_key: Annotated[
        bool,
        typer.Option(
            "--new-log-key", help="After a restored backup: go on under a new log key, which must be enrolled"
        ),
    ] = False,
    restored: Annotated[
        bool,
        typer.Option(
            "--restored",
            help="After a restored backup, the agent stopped: at its start unused changes are void, and none that was"
            " begun goes on",
        ),
    ] = False,
) -> None:
    """Make this agent's keys, and print the words that an owner types to add it to the trust document."""
    from agent.store.errors import DamagedStateError, StoreError
    from agent.store.identity import create_identity, load_identity, renew_log_key
    from agent.store.state_folder import refuse_half_written
    from agent.store.vault import Vault, create_store_key, load_store_key
    from trust import envelope as envelopes
    from trust.keys import fingerprint

    settings = client.load_own_settings(config)
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_half_written(settings.state_dir)
        made = not (settings.state_dir / "identity").exists()
        if made and not settings.key_file.exists():
            create_store_key(settings.key_file)
        key = load_store_key(settings.key_file)
        change = create_identity if made else renew_log_key if new_log_key else load_identity
        identity = change(settings.state_dir, key)
        if made and settings.mark_file is not None:
            settings.mark_file.unlink(missing_ok=True)  # of an agent that was here before
        if restored:
            with closing(Vault(key, settings.state_dir / "keys.db")) as vault:
                vault.distrust_mark()
    except (StoreError, OSError) as err:
        fail(f"init: {err}", client.USAGE if isinstance(err, DamagedStateError) else client.FAILED)
    enrolled = restored and not made and not new_log_key  # its keys stand in the trust document already
    if not enrolled:
        write_file(enroll, envelopes.encode(identity.enrolment(settings.name, settings.origin)))
    said = "" if made else ": a new log key" if new_log_key else ": it has its keys already"
    print(f"agent     {settings.name} ({identity.agent}){said}")
    if restored:
        print("restored  at its next start unused changes are void, and none that was begun goes on")
    print(f"words     {fingerprint(identity.plan_key.public, identity.log_key.public)}")
    if enrolled:
        return
    print(f"enrolment {enroll}: take it to where the trust document is kept:")
    print("          ispcloud trust add agent --enroll FILE   asks for these words")


@app.command()
def run(config: Config = None) -> None:
    """Run the daemon until it is told to stop."""
    from agent.runtime.unix_socket import turn_away
    from durable.service_manager import ServiceManager

    try:
        manager = ServiceManager.take(os.environ, os.getpid())
    except OSError as err:
        fail(f"what systemd passed: {err}", client.USAGE)
    try:
        _run(config, manager)
    except typer.Exit as ended:
        if ended.exit_code == client.USAGE:  # systemd does not start it again, unless somebody waits
            turn_away(manager.passed)
        raise


def _run(config: Path | None, manager: ServiceManager) -> None:
    from durable.process import keep_memory_private, put_off_collections

    put_off_collections()
    import trio

    from agent import daemon, host_check
    from agent.runtime.errors import BindError
    from agent.runtime.unix_socket import adopt
    from agent.store.errors import LASTING, StoreError

    settings = client.load_settings(config)
    try:
        passed = adopt(manager.passed, settings.socket, settings.socket_group)
    except BindError as err:
        fail(f"what systemd passed: {err}", client.USAGE)
    if found := list(host_check.problems(settings, os.geteuid(), socket_passed=passed is not None)):
        fail("\n".join(found), client.USAGE)
    os.umask(0o077)  # SQLite's journal files are nobody else's business
    problems: dict[str, int] = {}

    def note(group: BaseExceptionGroup[StoreError | BindError]) -> None:
        for err in group.exceptions:
            if isinstance(err, BaseExceptionGroup):
                note(err)
            else:
                problems[str(err)] = client.USAGE if isinstance(err, LASTING) else client.FAILED

    keep_memory_private()
    try:
        trio.run(daemon.main, settings, manager, passed)
    except* (StoreError, BindError) as group:
        note(group)
    if problems:
        fail("\n".join(problems), max(problems.values()))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the agent: its condition, trust and log, pending work. Exit code 5: degraded, 6: frozen, 7: halted."""
    found = call_object("GET", "/v1/status")
    if as_json:
        print_json(found)
    else:
        _print_status(found)
    if code := _CONDITIONS.get(str(found["condition"]), client.MIXED):
        raise typer.Exit(code)


_CONDITIONS = {"fine": client.DONE, "degraded": client.DEGRADED, "frozen": client.FROZEN, "halted": client.HALTED}


def _print_status(found: Json) -> None:
    log = cast("Json", found["log"])
    say(f"agent    {found['agent']} ({found['agent_id']})")
    say(f"state    {str(found['condition']).upper()}")
    say(f"words    {found['words']}")
    if found["trust_version"] is None:
        say("trust    NONE INSTALLED: ispagent trust install FILE")
    else:
        say(f"trust    version {found['trust_version']}, expires {said(found['trust_expires'])}")
    if found["trust_warning"]:
        say(f"RENEW IT {found['trust_warning']}")
    say(f"log      {log['size']} leaves, {log['witnessed_text']}")
    say(f"log key  {log['vkey']}")
    changes = cast("dict[str, int]", found["changes"])
    told = [f"{changes[gate]} {word}" for gate, word in _GATES.items() if changes.get(gate)]
    say(f"changes  {', '.join(told) or 'none yet'}")
    if line := _reviews(cast("Json", found["reviews"])):
        say(line)
    say(f"services {found['services']} · targets {', '.join(cast('list[str]', found['targets'])) or 'none'}")
    for line in _sources(cast("list[Json]", found["sources"])):
        say(line)
    disk = cast("dict[str, int]", found["disk"])
    say(f"disk     {_size(disk['free'])} of {_size(disk['size'])} free, {_size(disk['files'])} are the agent's")
    if line := _backup(cast("Json", found.get("backup") or {})):
        say(line)
    if line := _drift(cast("Json | None", found["drift"]), found["services"]):
        say(line)
    if line := _devices(cast("dict[str, int]", found["devices"])):
        say(line)
    for one in cast("list[Json]", found["series_crowded"]):
        say(f"SERIES   {_crowded(one)}")
    for text in cast("list[str]", found["silent_credentials"]):
        say(f"SILENT   {text}")
    if found["cpes"] is not None:
        say(_cpes(cast("dict[str, int]", found["cpes"])))
    for line in _standing_and_cloud(found):
        say(line)
    for frozen in cast("list[Json]", found["frozen"]):
        say(f"FROZEN   {' '.join(str(frozen[k]) for k in ('scope', 'target') if frozen[k])} by {frozen['person']}")
    if found["billing_problem"]:
        say(f"BILLING  {found['billing_problem']}")
    for source in cast("list[Json]", found.get("billing", [])):
        if source["source"] != "file":
            first, *more = source_lines(source)
            say(f"billing  {first}")
            for line in more:
                say(f"         {line}")
    if found.get("restores_waiting"):
        say(f"billing  {found['restores_waiting']} payers wait for their restore: ispagent billing list")
    if found["trust_doubt"]:
        say(f"HALTED   trust: {found['trust_doubt']}")
    if found["clock_halt"] is not None:
        say(f"HALTED   the clock jumped by {found['clock_halt']:.0f} s: check it, then ispagent clock accept")


_GATES = {
    "open": "waiting for approval",
    "approved": "approved, not started",
    "consumed": "started or over",
    "rejected": "rejected",
    "cancelled": "cancelled",
    "expired": "expired, never started",
    "void": "void: ask anew",
}
_OWN = {"disk": "DISK", "configuration": "CONFIG"}
"""Of the things that the agent depends on, its own: they answer nobody, and have a line where they fail."""


def _sources(every: list[Json]) -> list[str]:
    """Return one line on everything outside that the agent depends on, and one for each that does not answer."""
    own = [source for source in every if source["name"] in _OWN]
    sources = [source for source in every if source not in own]
    counts = Counter(str(source["state"]) for source in sources)
    words = {"up": "up", "down": "DOWN", "not-asked": "not asked yet"}
    lines = [f"sources  {', '.join(f'{counts[state]} {word}' for state, word in words.items() if counts[state])}"]
    if not sources:
        lines = []
    for source in own:
        if source["state"] == "down":
            lines.append(f"{_OWN[str(source['name'])]:<8} {neutralize(str(source['error']))}")
    for source in sources:
        if source["state"] == "down":
            lines.append(f"DOWN     {source['name']} since {said(source['since'])}: {neutralize(str(source['error']))}")
        elif source["error"] and _recent(source["error_at"]):
            text = f"{source['name']} up since {said(source['since'])}, before: {neutralize(str(source['error']))}"
            lines.append(f"was away {text}")
    return lines


def _recent(moment: object) -> bool:
    return unix_now() - unix_of(moment) < DAY_S


def _size(size_bytes: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes / 2**10:.0f} KiB"


def _backup(backup: Json) -> str:
    """Return one line on the newest backup, "" where none was made and none is wanted."""
    if problem := backup.get("problem"):
        return f"BACKUP   {problem}: ispagent doctor"
    if (made_at := backup.get("made_at")) is None:
        return ""
    return f"backup   {said(made_at)}, {backup['log_size']} leaves"


def _drift(counts: Json | None, services: object) -> str:
    """Return one line on the last comparison with the network, "" before the first."""
    if counts is None:
        return ""
    told = f"{counts['differ']} of {counts['checked']} differ, {counts['not_checked']} not checked"
    if new := came_since(counts, services):
        told += f", {new} came since"
    told += f", {age_text(int(unix_now() - unix_of(counts['ended_at'])))} ago: ispagent drift"
    return f"DRIFT    ALARM: {told}" if counts["alarm"] else f"drift    {told}"


def _reviews(found: Json) -> str:
    """Return one line on reviews that wait for a second person, "" where none does."""
    if not found["open"]:
        return ""
    oldest = said(found["oldest_at"])
    return f"REVIEW   {found['open']} done by one person alone, the oldest {oldest}: ispagent review list"


def _cpes(counts: dict[str, int]) -> str:
    waiting = counts["quarantined"]
    wait = f" · {waiting} IN QUARANTINE (ispagent cpe list --quarantined)" if waiting else ""
    away = f" · {counts['turned_away']} told to come again" if counts["turned_away"] else ""
    return f"CPE      {counts['accepted']} accepted, {counts['sessions']} on the line{wait}{away}"


def _crowded(one: Json) -> str:
    """Return the fate of the series of a device that has too many."""
    lost = f"{one['dropped']} ended series were dropped since the start" if one["dropped"] else ""
    refused = "new ones are not kept" if one["refused"] else ""
    return f"{one['device']} has more than are kept of a device: {', '.join(filter(None, (lost, refused)))}"


def _devices(counts: dict[str, int]) -> str:
    """Return one line on routers, switches, radios and OLTs, "" when none is configured."""
    if not counts["configured"]:
        return ""
    away, asked = counts["unreachable"] + counts["refused"], counts["configured"] - counts["not-asked"]
    parts = [
        f"{counts['reachable']} of {asked} reachable" if asked else "none was needed yet",
        f"{counts['not-asked']} not asked yet" if asked and counts["not-asked"] else "",
        f"{counts['findings']} with findings" if counts["findings"] else "",
    ]
    word = "DEVICES " if away else "devices "
    return f"{word} {', '.join(filter(None, parts))}: ispagent device list"


def _standing_and_cloud(found: Json) -> list[str]:
    """Return the standing authorities, and the state of the way to the control plane."""
    lines = []
    for s in cast("list[Json]", found["standings"]):
        until = said(s["not_after"])
        people = ", ".join(cast("list[str]", s["people"]))
        rate = f"at most {s['rate_per_hour']} an hour"
        lines.append(f"standing {s['verb']} after a {s['evidence']}, {rate}, until {until}, by {people}")
    cloud = cast("Json", found["cloud"])
    if cloud["enrolled"]:
        state = "connected" if cloud["connected"] else f"NOT CONNECTED ({cloud.get('problem') or 'dialing'})"
        lines.append(f"cloud    {state}, {cloud['outbox']} to send, {cloud['inbox']} to handle: ispagent cloud show")
    return lines


@app.command()
def freeze(file: Signed, as_json: AsJson = False) -> None:
    """Hand in a freeze that a person signed: nothing that it covers is sent until two people lift it."""
    submit(file, as_json)


@app.command()
def unfreeze(file: Signed, as_json: AsJson = False) -> None:
    """Hand in an unfreeze that two people signed."""
    submit(file, as_json)


@clock.command("accept")
def clock_accept() -> None:
    """Say that the clock is right, after a jump halted applying."""
    call_object("POST", "/v1/clock/accept", {})
    print("the present time is accepted; applying goes on")
