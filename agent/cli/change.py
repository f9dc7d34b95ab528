"""`ispagent change`: ask, look, hand in approvals, watch, revert. Every change shows its preview first."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import quote

import typer

from agent.cli import client
from agent.cli.client import (
    Json,
    ListOutput,
    call,
    call_list,
    call_object,
    fail,
    print_json,
    print_lines,
    read_file,
    say,
    unb64,
    write_file,
)
from agent.cli.outcome import (
    LIST_COLUMNS,
    event_text,
    list_row,
    list_text,
    outcome_text,
    pause_text,
    retry_text,
)
from agent.cli.progress import Progress
from agent.cli.when import For, Since, Until, period, query, unix_now
from agent.runtime import http_client
from agent.runtime.errors import ClientError, NotRunningError
from trust.plural import counted
from trust.terminal import json_text, neutralize

app = typer.Typer()

Refs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Services, subscribers, logins or MAC addresses: C-10482/home, C-10482, amina.h", metavar="REF"
    ),
]
File = Annotated[Path | None, typer.Option("--file", help="References from a file, one a line; - is standard input")]
OnTariff = Annotated[str, typer.Option("--on-tariff", help="All services on this tariff")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Leave this one out; may be given again")]
OnFailure = Annotated[str, typer.Option("--on-failure", help="stop, continue or revert when items fail")]
Hold = Annotated[bool, typer.Option("--hold", help="Do not start by itself once approved; wait for `change apply`")]
Alone = Annotated[bool, typer.Option("--alone", help="Without a second person, where policy lets you; a review opens")]
AllServices = Annotated[bool, typer.Option("--all-services", help="A subscriber's number means all of its services")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Id = Annotated[str, typer.Argument(help="The change's id: K7QF2, or its first four letters", metavar="ID")]
Signed = Annotated[Path, typer.Option("--file", help="The envelope that the person's own tool signed")]
MaybeSigned = Annotated[
    Path | None, typer.Option("--file", help="The envelope that the person's own tool signed; else you do it yourself")
]
AdoptedReason = Annotated[str, typer.Option("--reason", help="Of a suspension to record: debt, abuse or request")]
Reason = Annotated[str, typer.Option("--reason", help="debt, abuse or request")]


Overdue = Annotated[
    bool,
    typer.Option("--overdue", help="All services with an overdue debt, by the rules of [billing]; says why"),
]

_CLEAR = "\r\x1b[K"
"""To the beginning of a terminal's line, which is emptied."""
LEFT_OUT_SHOWN = 50
_COMMENT = re.compile(r"(?:^|\s)#")


def references(refs: list[str] | None, file: Path | None) -> list[str]:
    """Return the references of the command line and of the file, in order.

    A `#` at the beginning of a line or behind a blank begins a comment there; elsewhere it may be of a serial number.
    """
    found = list(refs or [])
    if file is not None:
        try:
            text = read_file(file).decode()
        except UnicodeDecodeError as err:
            fail(f"{file}: expected UTF-8 text, got byte 0x{err.object[err.start]:02x} at {err.start}", client.USAGE)
        lines = text.removeprefix("\ufeff").splitlines()
        found += [line for raw in lines if (line := _COMMENT.split(raw, maxsplit=1)[0].strip())]
        if not found:
            fail(f"{file}: expected one reference a line, got none", client.USAGE)
    return found


def ask(fields: Json, as_json: bool) -> Json:
    """Ask for a change, show its preview, and return it."""
    body: Json = {
        "refs": [],
        "on_tariff": "",
        "exclude": [],
        "reason": "debt",
        "tariff": "",
        "on_failure": "stop",
        "change": "",
        "alone": False,
        "hold": False,
        **fields,
    }
    change = call_object("POST", "/v1/changes", body, timeout_s=client.PREVIEW_S)
    show(change, as_json, listing=False)
    return change


def show(change: Json, as_json: bool, *, listing: bool) -> None:
    """Print a change: its preview and its result."""
    if as_json:
        print_json(change)
        return
    if "plan" not in change:  # asking is free to whoever may open the socket
        say(f"{change['id']}: {change['action']}, {change['state']}; you see no preview: {change['not_shown']}")
        return
    from agent.cli.preview import print_preview  # with all that signs and reads plans: a third of a command's start

    print_preview(change, listing=listing)


def _asked(
    action: str,
    refs: list[str] | None,
    file: Path | None,
    on_tariff: str,
    exclude: list[str] | None,
    on_failure: str,
    **more: object,
) -> Json:
    return {
        "action": action,
        "refs": references(refs, file),
        "on_tariff": on_tariff,
        "exclude": exclude or [],
        "on_failure": on_failure,
        **more,
    }


@app.command()
def suspend(
    refs: Refs = None,
    file: File = None,
    on_tariff: OnTariff = "",
    exclude: Exclude = None,
    reason: Reason = "debt",
    on_failure: OnFailure = "stop",
    all_services: AllServices = False,
    hold: Hold = False,
    overdue: Overdue = False,
    as_json: AsJson = False,
) -> None:
    """Suspend services for a reason; preview first, nothing is sent before it is approved."""
    fields = _asked(
        "suspend", refs, file, on_tariff, exclude, on_failure, reason=reason, hold=hold, all_services=all_services
    )
    ask({**fields, "settings": {"overdue": "yes"}} if overdue else fields, as_json)


@app.command()
def restore(
    refs: Refs = None,
    file: File = None,
    on_tariff: OnTariff = "",
    exclude: Exclude = None,
    reason: Reason = "debt",
    on_failure: OnFailure = "continue",
    all_services: AllServices = False,
    hold: Hold = False,
    alone: Alone = False,
    as_json: AsJson = False,
) -> None:
    """Lift one reason of a suspension; service returns when no other is left."""
    fields = _asked(
        "restore",
        refs,
        file,
        on_tariff,
        exclude,
        on_failure,
        reason=reason,
        hold=hold,
        alone=alone,
        all_services=all_services,
    )
    ask(fields, as_json)


@app.command("set-plan")
def set_plan(
    refs: Refs = None,
    tariff: Annotated[str, typer.Option("--tariff", help="The tariff to set")] = "",
    file: File = None,
    on_tariff: OnTariff = "",
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    all_services: AllServices = False,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Set the tariff of services."""
    ask(
        _asked(
            "set-plan", refs, file, on_tariff, exclude, on_failure, tariff=tariff, hold=hold, all_services=all_services
        ),
        as_json,
    )


@app.command()
def disconnect(
    refs: Refs = None,
    file: File = None,
    on_tariff: OnTariff = "",
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    all_services: AllServices = False,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """End the sessions of services, so that they log in again. Cannot be undone."""
    ask(_asked("disconnect", refs, file, on_tariff, exclude, on_failure, hold=hold, all_services=all_services), as_json)


@app.command()
def adopt(
    refs: Refs = None,
    file: File = None,
    exclude: Exclude = None,
    reason: AdoptedReason = "request",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Record the network's state of services as the wanted one, as a change with its author; nothing is sent."""
    ask(_asked("adopt", refs, file, "", exclude, "stop", reason=reason, hold=hold), as_json)


@app.command()
def revert(id_: Id, hold: Hold = False, alone: Alone = False, as_json: AsJson = False) -> None:
    """Take back a change: a new plan from today's state, item by item, skipping items that were changed since."""
    ask({"action": "revert", "change": id_, "on_failure": "continue", "hold": hold, "alone": alone}, as_json)


@app.command("list")
def list_(
    state: Annotated[str, typer.Option("--state", help="open, running, needs-you, done…; several with commas")] = "",
    since: Since = "",
    until: Until = "",
    by: Annotated[str, typer.Option("--by", help="Asked for by this person")] = "",
    mine: Annotated[bool, typer.Option("--mine", help="Asked for by you")] = False,
    for_: For = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Changes to show")] = 200,
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List changes, newest first."""
    flags = {"state": state, "by": by, "for": for_, "mine": "1" if mine else "", "limit": str(limit)}
    changes = call_list("GET", f"/v1/changes{query(flags | period(since, until))}")
    whole = not any((state, since, until, by, mine, for_))
    print_lines(changes, output, as_json, LIST_COLUMNS, list_row, lambda: list_text(changes, all_of_them=whole))


@app.command("show")
def show_(
    id_: Id,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the files for an approver into this folder")
    ] = None,
    list_items: Annotated[bool, typer.Option("--list", help="List every item")] = False,
    open_items: Annotated[bool, typer.Option("--open", help="List the items that need a person")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a change: its preview, its approvals, its result."""
    if export is not None:
        _export(id_, export)
        return
    change = call_object("GET", f"/v1/changes/{quote(id_, safe='')}")
    show(change, as_json, listing=list_items)
    if open_items and not as_json:
        say(outcome_text(change, only_open=True))


def _export(id_: str, folder: Path) -> None:
    exported = call_object("POST", f"/v1/changes/{quote(id_, safe='')}/export", {})
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        fail(f"{folder}: cannot be made: {err.strerror}", client.USAGE)
    documents = cast("list[str]", exported["documents"])
    for name, data in {
        "plan.json": unb64(exported["plan"]),
        "items.jsonl": "".join(f"{d}\n" for d in documents).encode(),
        "trust.json": unb64(exported["trust"]),
        "checkpoint.txt": str(exported["checkpoint"]).encode(),
        "short": f"{exported['short']}\n".encode(),
    }.items():
        write_file(folder / name, data)
    print(
        f"{folder}: the plan and its {counted(len(documents) - 1, 'item')}, for the approver's own tool"
        " (it names subscribers)"
    )


def submit(file: Path, as_json: bool, id_: str = "") -> None:
    """Hand in a signed statement and print the answers."""
    body = {"envelope": client.b64(read_file(file)), "change": id_}
    answers = cast("list[Json]", call("POST", "/v1/statements", body))
    if as_json:
        print_json(answers)
    refused = False
    for answer in answers:
        name = f"{answer['short']}: " if answer["short"] else ""
        if not answer["accepted"]:
            refused = True
            if not as_json:
                print(f"{name}REFUSED ({answer['reason']}): {neutralize(str(answer['message']))}")
        elif not as_json:
            have = f" · {answer['have']} of {answer['need']} approve" if answer["need"] else ""
            print(f"{name}{answer['gate'] or 'taken'}{have} · {neutralize(str(answer['message']))}")
    if refused:
        raise typer.Exit(client.REFUSED)


@app.command("ask")
def ask_signed(file: Signed, as_json: AsJson = False) -> None:
    """Hand in an ask that was signed at a desk (ispcloud changes suspend, cpe-reboot… --out FILE)."""
    body: Json = {"intent": client.b64(read_file(file))}
    show(call_object("POST", "/v1/changes", body, timeout_s=client.PREVIEW_S), as_json, listing=False)


@app.command()
def approve(id_: Id, file: Signed, as_json: AsJson = False) -> None:
    """Hand in an approval that its person signed with their own tool (ispcloud changes approve)."""
    submit(file, as_json, id_)


@app.command()
def reject(id_: Id, file: Signed, as_json: AsJson = False) -> None:
    """Hand in a rejection that its person signed with their own tool."""
    submit(file, as_json, id_)


@app.command()
def cancel(id_: Id, file: Signed, as_json: AsJson = False) -> None:
    """Hand in a cancel that its person signed: steps that are not sent yet never are."""
    submit(file, as_json, id_)


@app.command()
def apply(id_: Id, as_json: AsJson = False) -> None:
    """Let a change that was asked for with --hold start."""
    show(call_object("POST", f"/v1/changes/{quote(id_, safe='')}/apply", {}), as_json, listing=False)


@app.command()
def pause(id_: Id, file: MaybeSigned = None, as_json: AsJson = False) -> None:
    """Send nothing more of a change until it is resumed; begun items are finished. The pause stands in the log."""
    if file is not None:
        submit(file, as_json, id_)
        return
    _print_pause(call_object("POST", f"/v1/changes/{quote(id_, safe='')}/pause", {}), as_json)


@app.command()
def resume(id_: Id, file: MaybeSigned = None, as_json: AsJson = False) -> None:
    """Let a change go on that you paused, or as approver or owner; under its approval and deadline."""
    if file is not None:
        submit(file, as_json, id_)
        return
    _print_pause(call_object("POST", f"/v1/changes/{quote(id_, safe='')}/resume", {}), as_json)


def _print_pause(change: Json, as_json: bool) -> None:
    if as_json:
        print_json(change)
    else:
        say(pause_text(change))


@app.command()
def retry(id_: Id, as_json: AsJson = False) -> None:
    """Try the items again that are set and not enforced; no new approval, within the plan's time."""
    change = call_object("POST", f"/v1/changes/{quote(id_, safe='')}/retry", {})
    if as_json:
        print_json(change)
    else:
        say(retry_text(change))


@app.command()
def again(
    id_: Id,
    on_failure: Annotated[str, typer.Option("--on-failure", help="stop, continue or revert when items fail")] = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Ask anew for the stale, cancelled, expired and not applied items of a change. Shows a new preview."""
    rest = call_object("GET", f"/v1/changes/{quote(id_, safe='')}/rest")
    if not as_json:
        left_out = cast("list[Json]", rest["left_out"])
        for one in left_out[:LEFT_OUT_SHOWN]:
            command = f": {neutralize(str(one['command']))}" if one["command"] else ""
            print(f"left out  {neutralize(str(one['service']))}: {one['why']}{command}")
        if len(left_out) > LEFT_OUT_SHOWN:
            print(f"left out  … and {len(left_out) - LEFT_OUT_SHOWN} more")
    ask({"action": rest["action"], "change": id_, "on_failure": on_failure, "hold": hold}, as_json)


@app.command()
def watch(
    id_: Id,
    events: Annotated[bool, typer.Option("--events", help="Print every event on a terminal too")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a change until it is over; the exit code says how it ended. A terminal shows the progress in one line."""
    raise typer.Exit(follow(id_, events=events, as_json=as_json))


def follow(id_: str, *, events: bool = False, as_json: bool = False) -> int:
    """Follow a change until it is over, print how it ended, and return its exit code."""
    at = f"/v1/changes/{quote(id_, safe='')}"
    on_screen = client.here(sys.stdout).is_screen and not events and not as_json
    change = call_object("GET", at)
    progress = Progress(change) if on_screen else None
    if change["gate"] in ("open", "approved") and change["waits_because"] and not as_json:
        say(f"{change['id']} not started: {neutralize(str(change['waits_because']))}")
    end: Json | None = None
    try:
        with http_client.stream(client.socket_path(), "GET", f"{at}/watch") as (status, lines):
            for line in lines:
                if status >= 400:
                    client.refuse(status, line)
                event = cast("Json", line)
                end = event if "end" in event else end
                if as_json:
                    print(json_text(event), flush=True)  # one event a line
                elif "end" not in event:
                    _tell(event, progress)
    except NotRunningError as err:
        client.not_running(err)
    except ClientError as err:
        fail(f"{err}: the change goes on; ispagent change show {id_}", client.MIXED)
    if end is None:
        fail("the agent went away; the change goes on when it is back", client.MIXED)
    if not as_json:
        say(f"{_CLEAR if progress else ''}{outcome_text(call_object('GET', at))}")
    return cast("int", end["exit"])


def _tell(event: Json, progress: Progress | None) -> None:
    """Print an event as a line; with `progress` only one that a person should see, above the line of progress."""
    shown = progress is None or progress.event(event)
    if shown and (text := event_text(event)):
        say(f"{_CLEAR if progress else ''}{text}")
    if progress is not None:
        line = progress.line(unix_now())
        print(f"{_CLEAR}{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
