"""Errors as people read them: a table of mistakes, each made for real, and the whole text that it gets.

A text says what is wrong, where (file, line, key, target, field), what was expected and what came, and what to do.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import trio

from agent.cli import main as agent_main
from agent.config import ConfigError, load
from agent.connectors.base import UnreadableError
from agent.connectors.radius.schema import Database, SqlTarget
from agent.connectors.radius.sql import SqlAuthority
from agent.inventory import subscribers_csv
from control_plane.cli import main as cloud_main
from tests.builders.agent import MARIA, NOBODY, OTHER, Agent, agent_in, refused
from tests.builders.own_process import spare_this_process
from tests.builders.people import plan_of
from tests.builders.terminal import Terminal
from tests.builders.world import World
from tests.servers import free_port
from trust.moments import rfc3339
from trust.statements import SeenHeads

MAINS: Final = {"ispagent": agent_main, "ispcloud": cloud_main}
NOW_S: Final = 1_792_100_000
"""2026-10-15: when the lists of subscribers are read."""


class Place:
    """Where mistakes are made: a folder, a terminal, devices, and an agent once one is asked for."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, shown: pytest.CaptureFixture[str], world: World
    ) -> None:
        self.folder, self.patch, self.shown, self.world = folder, patch, shown, world
        self.made = AsyncExitStack()

    async def agent(self) -> Agent:
        """Return an agent with people, trust and subscribers."""
        return await self.made.enter_async_context(agent_in(self.folder / "agent", self.world))


Mistake = Callable[[Place], Awaitable[str]]


def configured(text: str) -> Mistake:
    """Read a configuration."""

    async def make(at: Place) -> str:
        path = at.folder / "agent.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        return str(caught.value)

    return make


def listed(text: str, encoding: str = "utf-8") -> Mistake:
    """Read a list of subscribers."""

    async def make(at: Place) -> str:
        found = subscribers_csv.parse_untrusted(text.encode(encoding), now_s=NOW_S)
        return "\n".join(map(str, found.problems))

    return make


def typed(words: str) -> Mistake:
    """Type a command where no agent runs; the answer begins with its exit code."""

    async def make(at: Place) -> str:
        (at.folder / "empty").touch()
        (at.folder / "state").mkdir()
        (at.folder / "agent.toml").write_text(BASE.replace("[people]", 'state_dir = "state"\n[people]'))
        at.patch.setenv("ISPAGENT_SOCKET", str(at.folder / "none.sock"))
        at.patch.setenv("XDG_CONFIG_HOME", str(at.folder))
        spare_this_process(at.patch)
        at.patch.setattr(sys, "argv", argv := words.format(at=at.folder).split())
        at.patch.setattr(sys.modules["__main__"], "__package__", "")  # or the help calls the program `python -m pytest`
        with pytest.raises(SystemExit) as ended:
            await trio.to_thread.run_sync(MAINS[argv[0]])
        said = at.shown.readouterr()
        return f"{ended.value.code} {said.out}{said.err}".strip()

    return make


def at_agent(words: str) -> Mistake:
    """Type a command at an agent; the answer begins with its exit code."""

    async def make(at: Place) -> str:
        said = await Terminal(await at.agent(), at.patch).type(*words.split())
        return f"{said.code} {said.out}{said.err}".strip()

    return make


def asked(method: str, path: str, body: object = None, uid: int = MARIA) -> Mistake:
    """Send a request to an agent; the answer begins with its status."""

    async def make(at: Place) -> str:
        err = await refused((await at.agent()).call(method, path, body, uid))
        return f"{err.status} {err}"

    return make


# --- more than one act ------------------------------------------------------------------------------------------------


async def approved_by_the_requester(at: Place) -> str:
    agent = await at.agent()
    return str((await agent.approve(await agent.ask("suspend", "C-1/home"), "maria"))["message"])


async def approved_a_day_ago(at: Place) -> str:
    agent = await at.agent()
    change = await agent.ask("suspend", "C-1/home")
    people = replace(agent.people, now_s=agent.people.now_s - 86_400)
    signed = people.approve(plan_of(change), "joseph", seen=SeenHeads(1, agent.head))
    return str((await agent.hand_in(signed, change["id"]))[0]["message"])


async def approved_after_the_start(at: Place) -> str:
    agent = await at.agent()
    change = await agent.ask("suspend", "C-1/home")
    await agent.approve(change, "joseph")
    await agent.end(change)
    return str((await agent.approve(change, "lena"))["message"])


async def approved_another_change(at: Place) -> str:
    agent = await at.agent()
    change, other = await agent.ask("suspend", "C-1/home"), await agent.ask("suspend", "C-2/home")
    return str((await agent.approve({**change, "id": other["id"]}, "joseph"))["message"])


async def handed_in_no_statement(at: Place) -> str:
    return str(await refused((await at.agent()).hand_in(b"{}")))


async def approved_while_frozen(at: Place) -> str:
    agent = await at.agent()
    change = await agent.ask("suspend", "C-1/home")
    await agent.hand_in(agent.people.freeze("joseph"))
    await agent.approve(change, "lena")
    with trio.fail_after(10):
        while not (told := (await agent.call("GET", f"/v1/changes/{change['id']}"))["waits_because"]):  # noqa: ASYNC110  as a person looks
            await trio.sleep(0.01)
    return str(told)


async def suspended_by_old_facts(at: Place) -> str:
    agent = await at.agent()
    now_s = time.time()
    due, as_of = rfc3339(now_s - 422 * 86400)[:10], rfc3339(now_s - 415 * 86400 - 60)
    text = f"{HEADER}\nC-9,Old,home,u9,fake,20M,,0,34.00,{due},,{as_of}\n"
    fields = {"csv": base64.b64encode(text.encode()).decode(), "dry_run": False}
    await agent.call("POST", "/v1/subscribers/import", fields)
    return str(await refused(agent.ask("suspend", "C-9/home")))


async def served_without_grpc(at: Place) -> str:
    at.patch.setitem(sys.modules, "grpc_health", None)
    for name in [name for name in sys.modules if name.startswith(("control_plane.server", "grpc_health."))]:
        at.patch.delitem(sys.modules, name)
    return await typed("ispcloud serve --dir {at}/cloud")(at)


async def read_of(target: SqlTarget) -> str:
    """Return why the users of a RADIUS database cannot be read."""
    sql = SqlAuthority(target, lambda: b"it", 1)
    try:
        await sql.read_users(["amina.h"])
    except UnreadableError as err:
        return str(err)
    finally:
        await sql.aclose()
    pytest.fail("everything was read")


async def asked_no_database(at: Place) -> str:
    return await read_of(
        SqlTarget("main", Database.POSTGRESQL, host="127.0.0.1", port=free_port(), secret="radius/main")
    )


async def asked_no_mariadb(at: Place) -> str:
    return await read_of(SqlTarget("main", Database.MARIADB, host="127.0.0.1", port=free_port(), secret="radius/main"))


async def asked_no_file(at: Place) -> str:
    return await read_of(SqlTarget("main", Database.SQLITE, path=str(at.folder / "radius.db")))


# --- the table --------------------------------------------------------------------------------------------------------

BASE: Final = '[agent]\nname = "hill"\n[people]\n1001 = "maria"\n'
RADIUS: Final = BASE + '[radius.main]\ndatabase = "postgresql"\nsecret = "radius/main"\n'
NAS: Final = RADIUS + '[nas.bng-1]\naccounting = "10.9.0.11"\nsecret = "nas/bng-1"\n'
METHOD: Final = NAS + (
    '[method.pppoe]\ntarget = "radius/main"\ngarden4 = ["100.99.0.0/16"]\n'
    '[method.pppoe.suspended_reply]\nMikrotik-Address-List = "suspended"\n[method.pppoe.tariffs]\n"20M" = "home-20m"\n'
)
HEADER: Final = ",".join(subscribers_csv.COLUMNS)
GOOD: Final = "C-1,Amina,home,a,pppoe,20M,,0,34.00,2026-10-03,,2026-10-15T09:00:00Z"
ASK: Final[Mapping[str, object]] = {
    "action": "suspend", "refs": ["C-1/home"], "on_tariff": "", "exclude": [], "reason": "debt", "tariff": "",
    "on_failure": "stop", "change": "", "alone": False, "hold": False,
}  # fmt: skip


def line(**cells: str) -> str:
    """Return a header and a good line with other cells."""
    return f"{HEADER}\n{','.join((dict(zip(subscribers_csv.COLUMNS, GOOD.split(','), strict=True)) | cells).values())}"


def after(good: str, **cells: str) -> str:
    """Return a header, a good line, and a second one with other cells."""
    return f"{good}\n{line(**cells).partition(chr(10))[2]}"


@dataclass(frozen=True, slots=True)
class Told:
    """One row: the mistake, the act, and the whole text; folder, id, port and time are {at}, {id}, {port}, {time}."""

    name: str
    make: Mistake
    text: str


ERRORS: Final = (
    Told(
        "no TOML",
        configured("[agent\nname = 1"),
        "{at}/agent.toml: expected TOML in UTF-8: Expected ']' at the end of a table declaration (at line 1, column 7)",
    ),
    Told(
        "no name",
        configured("[agent]\n"),
        "{at}/agent.toml agent.name: missing; expected a handle: 1 to 32 of a-z, 0-9 and -",
    ),
    Told(
        "unknown key",
        configured(BASE.replace("[people]", 'stat_dir = "/x"\n[people]')),
        "{at}/agent.toml agent.stat_dir: unknown; did you mean state_dir?",
    ),
    Told(
        "unknown section",
        configured(BASE + "[radios.main]\n"),
        "{at}/agent.toml radios: unknown; did you mean radius?",
    ),
    Told(
        "number for a name",
        configured(BASE.replace('"hill"', "7")),
        "{at}/agent.toml agent.name: expected a handle: 1 to 32 of a-z, 0-9 and -, got 7",
    ),
    Told(
        "name with a space",
        configured(BASE.replace('"hill"', '"Hill Top"')),
        "{at}/agent.toml agent.name: expected a handle: 1 to 32 of a-z, 0-9 and -, got 'Hill Top'",
    ),
    Told(
        "unknown time zone",
        configured(BASE.replace("[people]", 'timezone = "Africa/Nowhere"\n[people]')),
        "{at}/agent.toml agent.timezone: expected an IANA time zone, such as Africa/Kampala, got 'Africa/Nowhere'",
    ),
    Told(
        "name for a uid",
        configured(BASE.replace("1001", "maria")),
        "{at}/agent.toml people.maria: expected a uid, 0 to 4294967294, as the key (id -u NAME prints it)",
    ),
    Told(
        "password in the file",
        configured(RADIUS + 'password = "hunter2"\n'),
        "{at}/agent.toml radius.main.password: unknown; secrets do not stand here: `ispagent secret set "
        "NAME`, and secret = NAME",
    ),
    Told(
        "unknown database",
        configured(RADIUS.replace("postgresql", "oracle")),
        "{at}/agent.toml radius.main.database: expected one of postgresql, mariadb, sqlite, got 'oracle'",
    ),
    Told(
        "port out of range",
        configured(RADIUS + "port = 70000\n"),
        "{at}/agent.toml radius.main.port: expected a whole number from 0 to 65535, got 70000",
    ),
    Told(
        "bad address",
        configured(NAS.replace("10.9.0.11", "10.9.0.311")),
        "{at}/agent.toml nas.bng-1.accounting: expected an IP address, got '10.9.0.311'",
    ),
    Told(
        "bad prefix",
        configured(METHOD.replace("100.99.0.0/16", "100.99.0.0/33")),
        "{at}/agent.toml method.pppoe.garden4: expected a list of IPv4 prefixes without host bits, such as "
        "100.99.0.0/16, got ['100.99.0.0/33']",
    ),
    Told(
        "prefix with host bits",
        configured(METHOD.replace("100.99.0.0/16", "100.99.0.1/16")),
        "{at}/agent.toml method.pppoe.garden4: expected a list of IPv4 prefixes without host bits, such as "
        "100.99.0.0/16, got ['100.99.0.1/16']",
    ),
    Told(
        "unknown target of a method",
        configured(METHOD.replace('"radius/main"\ngarden', '"radius/mian"\ngarden')),
        "{at}/agent.toml method.pppoe.target: expected one of radius/main, got 'radius/mian'",
    ),
    Told(
        "key without its unit",
        configured(BASE + '[policy]\nttl = "half an hour"\n'),
        "{at}/agent.toml policy.ttl: unknown; did you mean ttl_s?",
    ),
    Told(
        "text for seconds",
        configured(BASE + '[policy]\nttl_s = "half an hour"\n'),
        "{at}/agent.toml policy.ttl_s: expected a whole number from 60 to 86400, got 'half an hour'",
    ),
    Told(
        "target with a space",
        configured(BASE + '[radius."main db"]\n'),
        "{at}/agent.toml radius.main db: expected a name of 1 to 32 of a-z, 0-9 and -",
    ),
    Told(
        "hooks without a certificate",
        configured(BASE + '[hooks]\nlisten = "0.0.0.0:8443"\n'),
        "{at}/agent.toml hooks.certificate: missing; expected a certificate, a `proxy` that has one, or a "
        "loopback address in `listen`: callers are reached by TLS only",
    ),
    Told(
        "empty list",
        listed(""),
        "expected a header line with subscriber, name, service, login, method, tariff, protected, feeds, balance, "
        "due, paid_at, as_of, got an empty file",
    ),
    Told(
        "list in UTF-16",
        listed(HEADER, "utf-16"),
        "expected UTF-8, got UTF-16: save it as CSV UTF-8",
    ),
    Told(
        "list in Latin-1",
        listed(line(name="José"), "latin-1"),
        "line 2: expected UTF-8, got byte 0xe9 at position 8",
    ),
    Told(
        "column is missing",
        listed(HEADER.replace(",tariff", "")),
        "line 1: header: missing tariff; got 'subscriber, name, service, login, method, protected, feeds, "
        "balance, due, paid_at, as_of'",
    ),
    Told(
        "column twice",
        listed(f"{HEADER},name"),
        "line 1: header: expected each column once, 'name' stands twice",
    ),
    Told(
        "field too few",
        listed(line().rpartition(",")[0]),
        "line 2: expected 12 fields as in the header, got 11",
    ),
    Told(
        "forgotten quote",
        listed(line(name='"Amina')),
        "line 2: expected balanced quotes (a field holds no line break)",
    ),
    Told(
        "no login",
        listed(line(login="")),
        "line 2: login: expected a value, it is empty",
    ),
    Told(
        "slash in a subscriber",
        listed(line(subscriber="C/1")),
        "line 2: subscriber: expected no slash, space or invisible character, got 'C/1'",
    ),
    Told(
        "bad amount",
        listed(line(balance="34 EUR")),
        "line 2: balance: expected an amount such as 34.00, got '34 EUR'",
    ),
    Told(
        "bad due day",
        listed(line(due="03.10.2026")),
        "line 2: due: expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got '03.10.2026'",
    ),
    Told(
        "no time of the export",
        listed(line(as_of="")),
        "line 2: as_of: expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got ''",
    ),
    Told(
        "export of tomorrow",
        listed(line(as_of="2026-12-01")),
        "line 2: as_of lies in the future: expected the time of the export, got '2026-12-01'",
    ),
    Told(
        "service twice",
        listed(after(line(), login="b")),
        "line 3: expected each service once, C-1/home stands on line 2 already",
    ),
    Told(
        "two balances of one subscriber",
        listed(after(line(), service="shop", login="b", balance="1")),
        "line 3: balance, due, paid_at, as_of: expected one account a subscriber, C-1 reads otherwise on "
        "line 2 (leave them empty on all but one line)",
    ),
    Told(
        "bad number of subscribers behind",
        listed(line(feeds="many")),
        "line 2: feeds: expected a number of subscribers that hang on it (0 to 999999), got 'many'",
    ),
    Told(
        "agent does not run",
        typed("ispagent status"),
        "1 the agent is not running: no agent listens on {at}/none.sock (No such file or directory): "
        "ispagent doctor says why",
    ),
    Told(
        "mistyped command",
        typed("ispagent change suspned C-1"),
        "2 Usage: ispagent change [OPTIONS] COMMAND [ARGS]...\n"
        "Try 'ispagent change -h' for help.\n"
        "\n"
        "Error: No such command 'suspned'. Did you mean 'suspend'?",
    ),
    Told(
        "file of references is missing",
        typed("ispagent change suspend --file {at}/none.txt"),
        "2 {at}/none.txt: cannot be read: No such file or directory",
    ),
    Told(
        "file of references is a folder",
        typed("ispagent change suspend --file {at}"),
        "2 {at}: cannot be read: Is a directory",
    ),
    Told(
        "file of references is empty",
        typed("ispagent change suspend --file {at}/empty"),
        "2 {at}/empty: expected one reference a line, got none",
    ),
    Told(
        "list of subscribers is missing",
        typed("ispagent subscriber import {at}/none.csv"),
        "2 {at}/none.csv: cannot be read: No such file or directory",
    ),
    Told(
        "bad time",
        typed("ispagent change list --since yesteryear"),
        "2 --since: expected 2026-11-27, 2026-11-27T14:30, 14:30, today, yesterday, or 45m, 6h, 3d, 2w ago; "
        "got 'yesteryear'",
    ),
    Told(
        "configuration is missing",
        typed("ispagent config check --config {at}/none.toml"),
        "2 {at}/none.toml: cannot be read: No such file or directory: name another one with --config or "
        "ISPAGENT_CONFIG",
    ),
    Told(
        "configuration is a folder",
        typed("ispagent run --config {at}"),
        "2 {at}: cannot be read: Is a directory: name another one with --config or ISPAGENT_CONFIG",
    ),
    Told(
        "backup without a place",
        typed("ispagent backup --config {at}/agent.toml"),
        "2 expected --to FILE, or a folder in [backup] to; got neither",
    ),
    Told(
        "backup for nobody",
        typed("ispagent backup --config {at}/agent.toml --to {at}/b"),
        "2 expected --recipient age1…, or [backup] recipients; got neither: age-keygen makes a pair of keys",
    ),
    Told(
        "profile without its ending",
        typed("ispagent cpe profile test {at}/hg --against cpe-1"),
        "2 {at}/hg: expected a file FILE.toml",
    ),
    Told(
        "profile is missing",
        typed("ispagent cpe profile test {at}/hg.toml --against cpe-1"),
        "2 {at}/hg.toml: there is no such file",
    ),
    Told(
        "nothing to set",
        typed("ispagent cpe set cpe-1"),
        "2 expected --value, --secret, --row or --delete-row; got none",
    ),
    Told(
        "bad pair of a value",
        typed("ispagent cpe set cpe-1 --value wifi"),
        "2 --value: expected NAME=VALUE, got 'wifi'",
    ),
    Told(
        "plot of another kind",
        typed("ispagent device series bng-1 cpu value --plot {at}/x.gif"),
        "2 --plot: expected a file that ends in .png or .svg, got {at}/x.gif",
    ),
    Told(
        "two forms of a report",
        typed("ispagent report --csv --json"),
        '2 {"error": {"code": "usage", "message": "expected --csv or --json, got both", "exit": 2}}',
    ),
    Told(
        "invitation is missing",
        typed("ispagent cloud enroll --config {at}/agent.toml --invite {at}/none"),
        "2 {at}/none: cannot be read: No such file or directory",
    ),
    Told(
        "desk without a trust file",
        typed("ispcloud changes show --file {at}/none"),
        "2 ispcloud: {at}/ispcloud/trust.json: expected your own trust file (--trust FILE or "
        "ISPCLOUD_TRUST), there is none",
    ),
    Told(
        "control plane was never made",
        typed("ispcloud operators list --dir {at}/cloud"),
        "2 ispcloud: {at}/cloud: expected a data directory (ispcloud init makes one): No such file or directory",
    ),
    Told(
        "key file that is none",
        typed("ispcloud keys show {at}/empty"),
        "2 ispcloud: {at}/empty: not a key file: key file: not strict JSON: Expecting value at character 0",
    ),
    Told(
        "key file is missing",
        typed("ispcloud keys show {at}/none.key"),
        "2 ispcloud: {at}/none.key: expected a key file, it cannot be read: No such file or directory",
    ),
    Told(
        "trust document is missing",
        typed("ispcloud trust show {at}/trust.json"),
        "2 ispcloud: {at}/trust.json: expected a draft or a trust document, it cannot be read: No such file "
        "or directory",
    ),
    Told(
        "package is missing",
        served_without_grpc,
        "2 ispcloud: expected the packages of the extra control-plane, got none named grpc_health.v1: pip "
        "install --require-hashes -r requirements/control-plane.txt (or 'ispagents[control-plane]')",
    ),
    Told(
        "unknown subscriber",
        at_agent("change suspend C-77"),
        "2 C-77: no such service: ispagent subscriber find C-77",
    ),
    Told(
        "mistyped service",
        at_agent("change suspend C-2/hom"),
        "2 C-2/hom: no such service (did you mean C-2/home, C-2/shop?)",
    ),
    Told(
        "subscriber of several services",
        at_agent("change suspend C-2"),
        "2 C-2: 2 services: name one of C-2/home, C-2/shop, or take all with --all-services",
    ),
    Told(
        "protected subscriber",
        at_agent("change suspend C-3/home"),
        "1 nothing would change\nC-3/home: protected: hospital",
    ),
    Told(
        "subscriber who paid",
        at_agent("change suspend C-4/home"),
        "1 nothing would change\n"
        "C-4/home: paid: balance 0.00, last paid 2026-01-01, as of {time}, imported by hand by maria",
    ),
    Told(
        "unknown reason",
        at_agent("change suspend C-1/home --reason fun"),
        "2 reason: expected one of debt, abuse, request, got 'fun'",
    ),
    Told(
        "restore of an active one",
        at_agent("change restore C-1/home"),
        "1 nothing would change\nC-1/home: the network already is as wanted",
    ),
    Told(
        "no tariff",
        at_agent("change set-plan C-1/home"),
        "2 expected the tariff to set (--tariff NAME), got none",
    ),
    Told(
        "tariff that it has",
        at_agent("change set-plan C-1/home --tariff 20M"),
        "1 nothing would change\nC-1/home: already on 20M, and the network does not read otherwise",
    ),
    Told(
        "nobody named",
        at_agent("change suspend"),
        "2 expected at least one service, a file of them, or --on-tariff; got none",
    ),
    Told(
        "unknown change",
        at_agent("change show K7QF2"),
        "2 there is no change K7QF2: ispagent change list shows them",
    ),
    Told(
        "unknown state",
        at_agent("change list --state waiting"),
        "2 state: expected waiting-for-approval, approved, running, done, accepted, waiting-for-device, "
        "needs-you, done-in-part, nothing-changed, reverted, rejected, cancelled, expired, void, stale, "
        "open; got waiting",
    ),
    Told(
        "unknown device",
        at_agent("device show bng-9"),
        "2 there is no device 'bng-9'; configured: none",
    ),
    Told(
        "CPE where none are managed",
        at_agent("cpe list"),
        "2 this agent has no ACS: expected a section [cwmp] in its configuration, got none",
    ),
    Told(
        "unknown event",
        at_agent("audit proof 9999 --out /dev/null"),
        "2 there is no event 9999: the log has events 1 to 2",
    ),
    Told(
        "unknown billing source",
        at_agent("billing check uisp"),
        "2 source: the configuration names no billing source, got 'uisp'",
    ),
    Told(
        "unknown port",
        at_agent("port alias bng-1 ether1 x"),
        "2 no device called bng-1 with ports to change; configured: none",
    ),
    Told(
        "unknown route",
        asked("GET", "/v1/chnages"),
        "404 there is no /v1/chnages: docs/api.md lists the routes",
    ),
    Told(
        "unknown method",
        asked("DELETE", "/v1/changes"),
        "405 /v1/changes: expected POST or GET, got DELETE",
    ),
    Told(
        "unknown field",
        asked("POST", "/v1/changes", {**ASK, "force": True}),
        "400 body of POST /v1/changes: unknown field 'force'",
    ),
    Told(
        "field is missing",
        asked("POST", "/v1/changes", {"action": "suspend"}),
        "400 body of POST /v1/changes: field 'refs' is missing",
    ),
    Told(
        "field of another type",
        asked("POST", "/v1/changes", {**ASK, "hold": "yes"}),
        "400 body of POST /v1/changes: field 'hold' should be true or false, is a text",
    ),
    Told(
        "unknown verb",
        asked("POST", "/v1/changes", {**ASK, "action": "delete"}),
        "400 body of POST /v1/changes: field 'action' should be one of suspend, restore, set-plan, "
        "disconnect, revert, adopt, cpe-set, cpe-reboot, cpe-factory-reset, cpe-firmware, cpe-diagnose, "
        "cpe-accept, remove, rename-login, prepare-device, subscriber-edit, port-set, port-power-cycle, is "
        "'delete'",
    ),
    Told(
        "verb of another route",
        asked("POST", "/v1/changes", {**ASK, "action": "subscriber-edit"}),
        "400 subscriber-edit: expected an import of a list (ispagent subscriber import)",
    ),
    Told(
        "bad moment",
        asked("GET", "/v1/changes?since=yesterday"),
        "400 since: expected RFC 3339 (2026-11-26T11:05:00Z) or unix seconds, got 'yesterday'",
    ),
    Told(
        "moment without an offset",
        asked("GET", "/v1/changes?until=2026-11-26T11:05:00"),
        "400 until: expected RFC 3339 (2026-11-26T11:05:00Z) or unix seconds, got '2026-11-26T11:05:00'",
    ),
    Told(
        "bad number",
        asked("GET", "/v1/changes?limit=all"),
        "400 limit: expected a number, got 'all'",
    ),
    Told(
        "bad base64",
        asked("POST", "/v1/statements", {"envelope": "%%", "change": ""}),
        "400 envelope: expected base64, got 2 characters that are none",
    ),
    Told(
        "report by another column",
        asked("GET", "/v1/report?by=week"),
        "400 by: expected day or tariff, got week",
    ),
    Told(
        "user whom nobody knows",
        asked("GET", "/v1/subscribers", uid=NOBODY),
        "403 uid 4243 is mapped to no person in the configuration ([people]): who reads needs a line there, "
        "and a role such as auditor in the trust document",
    ),
    Told(
        "person whom the trust lacks",
        asked("GET", "/v1/subscribers", uid=OTHER),
        "403 [people] says that uid 4244 is nobody-known, and trust version 1 has no nobody-known: who reads "
        "needs a line there, and a role such as auditor in the trust document",
    ),
    Told(
        "secret from somebody else",
        asked("POST", "/v1/secrets/x", {"secret": "eA=="}),
        "403 only root or the agent's own user may do this, not uid 4242",
    ),
    Told(
        "secret that nothing names",
        asked("POST", "/v1/secrets/x", {"secret": "eA=="}, os.getuid()),
        "403 expected a secret that the configuration names (none), got x",
    ),
    Told(
        "statement that is none",
        handed_in_no_statement,
        "expected a signed envelope: envelope: field 'payloadType' is missing",
    ),
    Told(
        "own approval",
        approved_by_the_requester,
        "maria asked for it, so another must approve",
    ),
    Told(
        "approval past its date",
        approved_a_day_ago,
        "the approval of joseph was good until {time}: ask them for another",
    ),
    Told(
        "approval after the start",
        approved_after_the_start,
        "{id} is started already: it takes no approvals",
    ),
    Told(
        "approval of another change",
        approved_another_change,
        "the approval is for another plan: nothing was approved",
    ),
    Told(
        "approval while frozen",
        approved_while_frozen,
        "frozen by joseph: nothing is sent until two people lift it (ispcloud changes unfreeze)",
    ),
    Told(
        "old billing data",
        suspended_by_old_facts,
        "nothing would change\n"
        "C-9/home: its billing data is 415 days old, at most 2 h counts: 34.00 due {day}, 422 days "
        "late, as of {time}, imported by hand by maria",
    ),
    Told(
        "nothing listens: PostgreSQL",
        asked_no_database,
        "radius/main: cannot be read: nothing listens on 127.0.0.1:{port} (connection refused): is the "
        "database up, and is this its host and port?",
    ),
    Told(
        "nothing listens: MariaDB",
        asked_no_mariadb,
        "radius/main: cannot be read: nothing listens on 127.0.0.1:{port} (connection refused): is the "
        "database up, and is this its host and port?",
    ),
    Told(
        "database file is missing",
        asked_no_file,
        "radius/main: cannot be read: {at}/radius.db cannot be opened: is it there, and may the agent's user "
        "read and write it? (SQLITE_CANTOPEN)",
    ),
)


@pytest.mark.parametrize("told", ERRORS, ids=lambda told: told.name)
async def test_an_error_says(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], world: World
) -> None:
    (tmp_path / "agent").mkdir()
    at = Place(tmp_path, monkeypatch, capsys, world)
    async with at.made:
        text = (await told.make(at)).replace(str(tmp_path), "{at}")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:{port}", re.sub(r"\b[A-HJ-NP-Z2-9]{5}\b(?= is )", "{id}", text))
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "{time}", text)
    text = re.sub(r"due \d{4}-\d\d-\d\d", "due {day}", text)
    assert text == told.text


def test_no_mistake_stands_twice() -> None:
    assert len({told.name for told in ERRORS}) == len(ERRORS)
