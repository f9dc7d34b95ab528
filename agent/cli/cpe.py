"""`ispagent cpe`: subscribers' CPE (TR-069): their known values, their services, and changes on them."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Final, cast
from urllib.parse import quote, urlencode

import typer

from agent.age import age_text
from agent.cli import change, client
from agent.cli.client import Json, ListOutput, call_list, call_object, fail, print_json, print_list
from agent.cli.plot import plot
from agent.cli.when import said, unix_of, when_text
from agent.runtime import http_client
from agent.runtime.errors import ClientError, NotRunningError
from trust.cpe_settings import BASELINE, FOR_SERVICE, RINGS, ROTATE, read_images, read_settings
from trust.errors import MalformedError
from trust.moments import day_text, local
from trust.terminal import Column, Output, json_text, neutralize

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Ref = Annotated[
    str, typer.Argument(help="A CPE by its name, its serial number, the service it serves or its login", metavar="CPE")
]
Refs = Annotated[list[str] | None, typer.Argument(help="CPE by name, serial number, service or login", metavar="CPE")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="FIELD=TEXT (or != ~ < >): login, mac, model, firmware, tag, state, serial, any, or a parameter that was "
        "read, such as optical.rx<-27000. May be given again: all must hold",
    ),
]
File = Annotated[Path | None, typer.Option("--file", help="References from a file, one a line; - is standard input")]
Hold = Annotated[bool, typer.Option("--hold", help="Do not start by itself once approved; wait for `change apply`")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Leave this one out; may be given again")]
OnFailure = Annotated[str, typer.Option("--on-failure", help="stop, continue or revert when items fail")]

MARGIN_S: Final = 20.0
_SUPPORT: Final = {
    "wan.status": "WAN",
    "wan.ip": "address",
    "wan.uptime": "since",
    "optical.rx": "optical rx",
    "wifi.1.ssid": "Wi-Fi",
    "wifi.1.channel": "channel",
}
_GROUPS: Final = ("wan", "optical", "dsl", "lan", "wifi", "hosts", "dns", "voip", "inform", "acs", "request")


# --- what is known ----------------------------------------------------------------------------------------------------


_COLUMNS: Final = ("NAME", "SERVES", "FIRMWARE", "STATE", "CALLED IN", "TAGS")
PAGE: Final = 200
_VALUES: Final = 5000
"""Parameters of a full page (`agent.cpe.desk.SHOWN`)."""
_ALL: Final = 1000
"""CPE that are asked for at once where all of them are wanted."""


@app.command("list")
def list_(
    quarantined: Annotated[bool, typer.Option("--quarantined", help="Only those that wait to be accepted")] = False,
    where: Where = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_ALL - 1, help="How many to show")] = PAGE,
    after: Annotated[str, typer.Option("--after", help="Start after this name")] = "",
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """List CPE with their last known facts, a page at a time. No CPE is asked."""
    conditions = [*(where or []), *(["state=quarantined"] if quarantined else [])]
    _list_page(conditions, limit, after, output, as_json)


@app.command()
def find(
    text: Annotated[str, typer.Argument(help="A part of a name, serial number, login, service, MAC, model, tag…")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=_ALL - 1, help="How many to show")] = PAGE,
    after: Annotated[str, typer.Option("--after", help="Start after this name")] = "",
    output: ListOutput = None,
    as_json: AsJson = False,
) -> None:
    """Find CPE by a part of anything that tells them apart. `cpe list --where` compares one field, or a parameter."""
    _list_page([f"any~{text}"], limit, after, output, as_json)


def _list_page(where: list[str], limit: int, after: str, output: Output | None, as_json: bool) -> None:
    """Print one page of CPE, and on standard error how to see the next one."""
    asked = _page(where, after, limit + 1)
    found = asked[:limit]
    table = print_list(found, output, as_json, tuple(map(Column, _COLUMNS)), _row)
    if len(asked) > limit:
        print(neutralize(f"there are more: --after {found[-1]['name']}"), file=sys.stderr)
    waiting = sum(1 for c in found if c["trust"] == "quarantined")
    if table and waiting:
        print(f"{waiting} in quarantine: nothing is done with them before `ispagent cpe accept`")


def _page(where: list[str], after: str, limit: int) -> list[Json]:
    query = {"where": "\n".join(where), "after": after, "limit": str(limit)}
    return call_list("GET", f"/v1/cpes?{urlencode(query)}")


def _names(where: list[str]) -> list[str]:
    """Return the names of all CPE of which the conditions hold now."""
    names: list[str] = []
    while page := _page(where, names[-1] if names else "", _ALL):
        names += [str(c["name"]) for c in page]
        if len(page) < _ALL:
            break
    if not names:
        fail(f"--where {' --where '.join(where)}: no CPE fits", client.FAILED)
    return names


def _row(c: Json) -> tuple[str, ...]:
    when = "on the line" if c["online"] else _ago(c["age_s"])
    tags = " ".join(cast("list[str]", c["tags"]))
    return str(c["name"]), str(c["service"] or ""), str(c["software"] or ""), _state(c), when, tags


@app.command(context_settings={"ignore_unknown_options": True})
def tag(
    cpe: Ref,
    tags: Annotated[
        list[str] | None, typer.Argument(help="+TAG gives it a tag, -TAG takes one away", metavar="+TAG|-TAG")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a CPE tags, or take them away; without any, print those that it has. It stands in the log."""
    words = tags or []
    if wrong := [word for word in words if word[:1] not in ("+", "-")]:
        fail(f"expected +TAG or -TAG, got {wrong[0]!r}", client.USAGE)
    if words:
        body: Json = {sign: [w[1:] for w in words if w[0] == mark] for sign, mark in (("add", "+"), ("remove", "-"))}
        found = call_object("POST", f"{_path(cpe)}/tags", body)
    else:
        shown = call_object("GET", _path(cpe))
        found = {"name": shown["name"], "tags": shown["tags"]}
    if as_json:
        print_json(found)
        return
    print(neutralize(f"{found['name']}: {' '.join(cast('list[str]', found['tags'])) or 'no tags'}"))


@app.command()
def show(cpe: Ref, as_json: AsJson = False) -> None:
    """Show the last known facts of a CPE, with their age, and the missing ones. Nothing is asked of it."""
    found = call_object("GET", _path(cpe))
    if as_json:
        print_json(found)
        return
    _print_cpe(found)


@app.command()
def get(
    cpe: Ref,
    name: Annotated[str, typer.Argument(help="A name such as wifi.1.ssid, a path, or the beginning of one")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the last known parameters of a CPE, with the age of each."""
    found = _values(cpe, name)
    if as_json:
        print_json(found)
        return
    if not found:
        fail(f"nothing is known below {name or 'it'}: ispagent cpe refresh {cpe} {name}".rstrip(), client.FAILED)
    for value in found:
        print(neutralize(f"{value['path']} = {value['shown']}  ({_read(value)})"))


def _values(cpe: str, below: str) -> list[Json]:
    """Return the last known parameters below a path or name, all pages of them."""
    found: list[Json] = []
    while True:
        after = str(found[-1]["path"]) if found else ""
        page = call_list("GET", f"{_path(cpe)}/values?{urlencode({'below': below, 'after': after})}")
        found += page
        if len(page) < _VALUES:
            return found


@app.command()
def refresh(
    cpe: Ref,
    names: Annotated[list[str] | None, typer.Argument(help="Names, paths or objects; `all` is everything")] = None,
    timeout_s: Annotated[int, typer.Option("--timeout", min=1, max=170, help="How long to wait for it, seconds")] = 60,
    as_json: AsJson = False,
) -> None:
    """Ask a CPE to call in, and read it. Nothing is written on it, so nobody has to approve."""
    body: Json = {"names": names or [], "timeout_s": timeout_s}
    found = call_object("POST", f"{_path(cpe)}/refresh", body, timeout_s=timeout_s + MARGIN_S)
    if as_json:
        print_json(found)
        raise typer.Exit(client.FAILED if found["problems"] else 0)
    _print_cpe(found)
    for problem in cast("list[str]", found["problems"]):
        print(neutralize(f"! {problem}"))
    print("\nnothing was written on it")
    if found["problems"]:
        raise typer.Exit(client.FAILED)


@app.command()
def trace(
    cpe: Ref,
    sessions: Annotated[int, typer.Option("--sessions", min=1, max=10, help="How many sessions to show")] = 1,
    timeout_s: Annotated[int, typer.Option("--timeout", min=1, max=600, help="How long to wait, seconds")] = 300,
    as_json: AsJson = False,
) -> None:
    """Show the messages of a CPE's next sessions as they come, without secrets. Nothing is kept, nothing is asked."""
    at = f"{_path(cpe)}/trace?{urlencode({'sessions': sessions, 'timeout_s': timeout_s})}"
    last: Json = {"sessions_left": sessions}
    try:
        with http_client.stream(client.socket_path(), "GET", at, timeout_s=30.0) as (status, lines):
            for line in lines:
                if status >= 400:
                    client.refuse(status, line)
                last = cast("Json", line)
                print(json_text(last) if as_json else _traced(last), flush=True)
    except NotRunningError as err:
        client.not_running(err)
    except ClientError as err:
        fail(str(err), client.FAILED)
    if last["sessions_left"] or last.get("cut"):
        raise typer.Exit(client.FAILED)


def _traced(message: Json) -> str:
    """Return a message of a trace for the screen; markup of one line is broken between elements."""
    head = {"cpe": "CPE →", "acs": f"← ACS {message['status']}"}.get(str(message["sender"]), "—")
    text = str(message["text"]).replace("><", ">\n<") or "(empty)"
    return "\n".join([head, *(f"    {neutralize(line)}" for line in text.splitlines() if line.strip())])


@app.command()
def history(
    cpe: Ref,
    of: Annotated[
        str, typer.Argument(help="optical.rx, dsl.down.margin, uptime… or a path; without it all that have a history")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Plot the earlier values of a parameter: optical power, DSL margin, clients, uptime. Nothing is read for it."""
    found = call_list("GET", f"{_path(cpe)}/history?{urlencode({'of': of})}")
    if as_json:
        print_json(found)
        return
    if not found:
        what = of or "its parameters"
        fail(f"nothing of {what} is kept: optical power, DSL margin, clients and uptime are, once read", client.FAILED)
    if not of:
        for value in found:
            at = when_text(value["at"])
            print(
                neutralize(
                    f"{value['name'] or value['path']:<28} {value['shown']}  ({value['count']} values, last {at})"
                )
            )
        return
    last = found[-1]
    print(neutralize(f"{last['name'] or last['path']} of {cpe} · now {last['shown']} · {len(found)} values"))
    for line in plot([(unix_of(v["at"]), _plain_number(v)) for v in found]):
        print(line)


def _plain_number(value: Json) -> float:
    """Return the number that people are shown, without its unit."""
    return float(str(value["shown"]).partition(" ")[0])


@app.command()
def matrix(as_json: AsJson = False) -> None:
    """Show the workflows that each model and firmware was seen to do: proven, failed, or never tried."""
    found = call_list("GET", "/v1/cpe-matrix")
    if as_json:
        print_json(found)
        return
    model: tuple[object, ...] = ()
    for row in found:
        if (here := (row["oui"], row["product_class"], row["software"])) != model:
            model = here
            print(neutralize(f"{row['oui']} {row['product_class']} · firmware {row['software'] or 'unknown'}"))
        detail = f" · {row['detail']}" if row["detail"] else ""
        last = f" · {said(row['last'])}" if row["last"] else ""
        print(neutralize(f"  {row['workflow']:<20} {row['state']}{last}{detail}"))
    if not found:
        print("no CPE has called in yet")


def _path(cpe: str) -> str:
    return f"/v1/cpes/{quote(cpe, safe='')}"


def _state(c: Json) -> str:
    return {"accepted": "accepted", "quarantined": "QUARANTINED", "refused": "refused"}[str(c["trust"])]


def _read(value: Json) -> str:
    """Return when a value was read, and other remarks on it."""
    unreadable = ", unreadable: some of it cannot be decoded" if value["unreadable"] else ""
    return f"{_ago(value['age_s'])}{', before it was reset' if value['before_reset'] else ''}{unreadable}"


def _ago(age_s: object) -> str:
    return "never" if age_s is None else f"{age_text(cast('int', age_s))} ago"


def _print_cpe(c: Json) -> None:
    model = " ".join(str(c[key]) for key in ("manufacturer", "product_class") if c[key])
    print(neutralize(f"{c['name']} · {model} · serial {c['serial']}"))
    serves = f"serves {c['service']}" if c["service"] else "serves nobody: ispagent cpe accept --service"
    print(neutralize(f"{'STATE':<10} {_state(c)}{' · ' + str(c['why']) if c['why'] else ''} · {serves}"))
    where = f" from {c['address']}" if c["address"] else ""
    line = "on the line now" if c["online"] else f"called in {_ago(c['age_s'])}"
    print(
        neutralize(
            f"{'CALLS':<10} {line}{where} · {', '.join(cast('list[str]', c['events'])) or '-'} · by {c['proven']}"
        )
    )
    wake = "can be asked to call in" if c["can_be_called"] else "cannot be asked to: ispagent cpe rotate"
    print(neutralize(f"{'':<10} {wake}{' · last asked: ' + str(c['woken']) if c['woken'] else ''}"))
    print(
        neutralize(
            f"{'FIRMWARE':<10} {c['software'] or '?'} · hardware {c['hardware'] or '?'} · profile {c['profile']}"
        )
    )
    if c["trust"] == "accepted" and not c["takes_secrets"]:
        print(neutralize(f"{'SECRETS':<10} none goes into it: ispagent cpe accept {c['name']}"))
    if c["tags"]:
        print(neutralize(f"{'TAGS':<10} {' '.join(cast('list[str]', c['tags']))}"))
    counted = f"{_counted(c, 'boots')}, {_counted(c, 'resets')} since {_known_since(c)}"
    print(f"{'COUNTED':<10} {counted}")
    if c["trouble"]:
        print(neutralize(f"{'TROUBLE':<10} in its last session: {c['trouble']}"))
    for change_id in cast("list[str]", c["waiting"]):
        print(neutralize(f"{'WAITING':<10} change {change_id} waits for it to call in"))
    if c["not_provisioned"]:
        print(neutralize(f"{'BASELINE':<10} not there yet: {c['not_provisioned']}"))
    for tripped in cast("list[str]", c["tripped"]):
        print(neutralize(f"{'TRIPPED':<10} {tripped}"))
    named = cast("list[Json]", c["named"])
    for group in _GROUPS:
        for value in (v for v in named if str(v["name"]).partition(".")[0] == group):
            print(neutralize(f"{value['name']:<28} {value['shown']}  ({_read(value)})"))
    unreadable = cast("list[str]", c["unreadable"])
    if unreadable:
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        print(neutralize(f"{'UNREADABLE':<10} some of these cannot be decoded: {', '.join(unreadable[:5])}{more}"))
    for unknown in cast("list[Json]", c["not_known"]):
        print(neutralize(f"{'NOT KNOWN':<10} {unknown['what']}: {unknown['why']}"))
    missing = cast("list[str]", c["missing"])
    if missing:
        print(
            neutralize(
                f"{'MISSING':<10} {len(missing)} never read: {', '.join(missing[:12])}{' …' if missing[12:] else ''}"
            )
        )
    print(f"{c['parameters']} parameters are known: ispagent cpe get {neutralize(str(c['name']))}")


def support_lines(c: Json) -> list[str]:
    """Return the text on a CPE for support: its identity, its last call, the line and the Wi-Fi, each with its age."""
    line = "on the line now" if c["online"] else f"called in {_ago(c['age_s'])}"
    runs = f"firmware {c['software']}" if c["software"] else "firmware unknown"
    lines = [f"  CPE {c['name']} · {c['product_class']} · {runs} · {line} · {_state(c)}"]
    named = {str(v["name"]): v for v in cast("list[Json]", c["named"])}
    parts = [
        f"{title} {named[name]['shown']} ({_read(named[name])})"
        for name, title in _SUPPORT.items()
        if name in named and named[name]["shown"] not in ("", None)
    ]
    hosts = {name.split(".")[1] for name in named if name.startswith("hosts.")}
    if hosts:
        parts.append(f"{len(hosts)} hosts in the house")
    lines += [f"    {' · '.join(parts)}"] if parts else []
    lines += [f"    change {change_id} waits for it to call in" for change_id in cast("list[str]", c["waiting"])]
    missing = cast("list[str]", c["missing"])
    if missing:
        lines.append(f"    never read: {', '.join(missing[:8])}{' …' if missing[8:] else ''}")
    return lines


def _counted(c: Json, what: str) -> str:
    return f"{c[what]} {what if c[what] != 1 else what[:-1]}"


def _known_since(c: Json) -> str:
    return day_text(local(unix_of(c["first_at"])))


# --- whose it is, and whether it is acted on --------------------------------------------------------------------------


def _decide(cpe: str, as_json: bool, **fields: object) -> None:
    found = call_object("POST", f"{_path(cpe)}/decide", {"trust": "", "forget": False, **fields})
    if as_json:
        print_json(found)
    elif found:
        for line in _decided(found):
            print(neutralize(line))


def _decided(c: Json) -> list[str]:
    """Return the state of a CPE after a decision in one line, and the next command in another."""
    name, serves = c["name"], f"serves {c['service']}" if c["service"] else "serves nobody"
    why = f" · {c['why']}" if c["why"] and not str(c["why"]).startswith(str(c["trust"])) else ""
    next_ = ""
    if c["trust"] == "quarantined" or (c["trust"] == "accepted" and not c["service"]):
        next_ = f"ispagent cpe accept {name} --service SERVICE"
    elif c["trust"] == "accepted" and not c["takes_secrets"]:
        next_ = f"ispagent cpe accept {name}: no secret goes into it before somebody else approves that"
    elif c["trust"] == "accepted" and c["missing"]:
        next_ = f"ispagent cpe refresh {name}: reads it; changes are planned from what was read"
    return [f"{name} {_state(c)}{why} · {serves}", *([f"     > {next_}"] if next_ else [])]


@app.command()
def accept(
    refs: Refs = None,
    service: Annotated[str, typer.Option("--service", help="The subscriber's service that the one CPE serves")] = "",
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Accept CPE for their services: secrets may go into them from then on. Somebody else approves it.

    Without --service each is accepted for the service that it serves already; one that serves nobody, for none.
    """
    settings = {FOR_SERVICE: service} if service else {}
    _ask("cpe-accept", refs, file, exclude, "continue", hold, as_json, settings, where=where)


@app.command()
def admit(cpe: Ref, as_json: AsJson = False) -> None:
    """Let a CPE in before it is accepted: it is read, and set where no secret is needed. It stands in the log."""
    _decide(cpe, as_json, trust="accepted")


@app.command()
def refuse(cpe: Ref, as_json: AsJson = False) -> None:
    """Refuse a CPE: its sessions are turned away."""
    _decide(cpe, as_json, trust="refused")


@app.command()
def bind(
    cpe: Ref,
    service: Annotated[str, typer.Argument(help="The service that it serves; - is none")],
    as_json: AsJson = False,
) -> None:
    """Accept a CPE for a subscriber's service: as `accept --service`. With - it serves nobody from now on, at once."""
    if not service.strip():
        fail("expected a service, or - for none; got an empty one", client.USAGE)
    if service == "-":
        _decide(cpe, as_json, service="")
    else:
        _ask("cpe-accept", [cpe], None, None, "continue", False, as_json, {FOR_SERVICE: service})


@app.command()
def forget(cpe: Ref) -> None:
    """Forget a CPE and all that is known of it; if it calls in again, it is new."""
    _decide(cpe, as_json=False, forget=True)
    print("forgotten")


@app.command()
def clear(cpe: Ref) -> None:
    """Reset the circuit breaker: allow requests again that were blocked because the CPE rebooted after them."""
    found = call_object("POST", f"{_path(cpe)}/clear", {})
    print(f"{found['cleared']} cleared")


# --- changes: each shows its preview, and is sent once it is approved and the CPE calls in ---------------------------


def _ask(
    action: str,
    refs: list[str] | None,
    file: Path | None,
    exclude: list[str] | None,
    on_failure: str,
    hold: bool,
    as_json: bool,
    settings: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    where: list[str] | None = None,
) -> Json:
    named = change.references(refs, file)
    fields: Json = {
        "action": action,
        "refs": [*named, *(_names(where) if where else [])],
        "exclude": exclude or [],
        "on_failure": on_failure,
        "hold": hold,
        "settings": settings or {},
        "secrets": secrets or {},
    }
    return change.ask(fields, as_json)


def _wait_for(asked: Json, as_json: bool, test: str = "") -> None:
    """Follow a change that a standing authority approved, and print a test's results; the exit code says how it ended.

    A change that waits for a person is not waited for.
    """
    if as_json or asked["gate"] not in ("approved", "consumed"):
        return
    print()
    code = change.follow(str(asked["id"]))
    for name in [str(i["cpe"]) for i in cast("list[Json]", asked["items"]) if i["cpe"] and not code] if test else []:
        for value in _values(name, test):
            print(neutralize(f"{str(value['path']).rpartition('.')[2]:<28} {value['shown']}"))
    raise typer.Exit(code)


@app.command("set")
def set_(
    refs: Refs = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--value", "-v", help="wifi.1.ssid=Home, or a path; may be given again: all or none is set"),
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option("--secret", help="A name; its secret is asked for, or read from standard input")
    ] = None,
    row: Annotated[
        list[str] | None,
        typer.Option("--row", help="Device.NAT.PortMapping.[ExternalPort=8080]:Enable=true,InternalPort=80"),
    ] = None,
    delete_row: Annotated[
        list[str] | None, typer.Option("--delete-row", help="Device.NAT.PortMapping.[ExternalPort=8080]")
    ] = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Set parameters, secrets and rows of tables of CPE."""
    try:
        settings = read_settings(values or (), row or (), delete_row or ())
    except MalformedError as err:
        fail(str(err), client.USAGE)
    secrets = {name: _secret(name) for name in secret or []}
    if not settings and not secrets:
        fail("expected --value, --secret, --row or --delete-row; got none", client.USAGE)
    _ask("cpe-set", refs, file, exclude, on_failure, hold, as_json, settings, secrets, where=where)


def _secret(name: str) -> str:
    if sys.stdin.isatty():
        text = getpass.getpass(f"{name}: ")
    else:  # of the bytes below the text, which reads ahead: a --file - that follows must find its lines
        try:
            text = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            fail(f"--secret {name}: expected UTF-8 text, got other bytes", client.USAGE)
    if not text.strip():
        fail(f"--secret {name}: expected a secret, got nothing", client.USAGE)
    if not text.isprintable():
        fail(f"--secret {name}: expected printable characters, got others among them", client.USAGE)
    return text


@app.command()
def provision(
    refs: Refs = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Apply the matching [baseline.NAME] to CPE. New CPE are provisioned automatically."""
    _ask("cpe-set", refs, file, exclude, on_failure, hold, as_json, {BASELINE: "as configured"}, where=where)


@app.command()
def rotate(
    refs: Refs = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Give CPE new credentials of their own, both ways. The ones before are taken until the CPE used these."""
    _ask("cpe-set", refs, file, exclude, on_failure, hold, as_json, {ROTATE: "new credentials"}, where=where)


@app.command()
def reboot(
    refs: Refs = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Reboot CPE. Cannot be undone; done when the CPE said that it booted. Waits if a standing authority approves."""
    asked = _ask("cpe-reboot", refs, file, exclude, on_failure, hold, as_json, where=where)
    _wait_for(asked, as_json)


@app.command("factory-reset")
def factory_reset(
    refs: Refs = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Reset CPE to their factory's settings. Cannot be undone: their settings are lost."""
    _ask("cpe-factory-reset", refs, file, exclude, on_failure, hold, as_json, where=where)


@app.command()
def firmware(
    refs: Refs = None,
    image: Annotated[str, typer.Option("--image", help="A file in the agent's folder of images")] = "",
    version: Annotated[str, typer.Option("--version", help="The value of SoftwareVersion once it runs")] = "",
    for_: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="MODEL[/HARDWARE]=FILE:VERSION in the place of --image and --version; may be given again. A CPE of no "
            "named model is left out",
        ),
    ] = None,
    rings: Annotated[
        str, typer.Option("--rings", help="Percents such as 1,10,50: so many have had their turn after each ring")
    ] = "",
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "stop",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Have CPE fetch firmware: a few first, then the rest. Done when SoftwareVersion reads the version, not before."""
    if bool(for_) == bool(image or version) or bool(image) != bool(version):
        fail("expected --image FILE and --version VERSION, or --for MODEL=FILE:VERSION for each model", client.USAGE)
    try:
        images = read_images(for_ or ()) or {"file": image, "version": version}
    except MalformedError as err:
        fail(str(err), client.USAGE)
    settings = {**images, **({RINGS: rings} if rings else {})}
    _ask("cpe-firmware", refs, file, exclude, on_failure, hold, as_json, settings, where=where)


@app.command()
def diagnose(
    test: Annotated[str, typer.Argument(help="ping, traceroute, download, upload or wifi-scan")],
    refs: Refs = None,
    values: Annotated[
        list[str] | None, typer.Option("--value", "-v", help="host=192.0.2.1, count=4, url=…; may be given again")
    ] = None,
    where: Where = None,
    file: File = None,
    exclude: Exclude = None,
    on_failure: OnFailure = "continue",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Have CPE run a test; its results are then in `ispagent cpe get CPE TEST`.

    Where a standing authority approves it, this waits for the end and prints the results.
    """
    pairs = [text.partition("=") for text in values or []]
    for name, sign, value in pairs:
        if not sign or not name:
            fail(f"--value: expected NAME=VALUE, got {name + sign + value!r}", client.USAGE)
    settings = {"test": test, **{name: value for name, _, value in pairs}}
    asked = _ask("cpe-diagnose", refs, file, exclude, on_failure, hold, as_json, settings, where=where)
    _wait_for(asked, as_json, test)
