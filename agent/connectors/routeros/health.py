"""From a router's printed rows to facts and findings for people. Pure.

A finding refuses nothing; `line` refuses where the connection is made. A menu that a router does not print, because of
its release or of our policies, is no finding: it is simply not among the facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.connectors.base import Finding
from agent.connectors.routeros.policies import Rights, missing, missing_text, see_alike, superfluous, unlike_text
from agent.connectors.routeros.reasons import RouterFinding
from agent.connectors.routeros.safe_mode import FLOATING, HISTORY, SAFE_MODE, open_safe_mode
from agent.connectors.routeros.values import seconds
from agent.connectors.routeros.versions import known, not_known_text
from agent.connectors.routeros.words import presentable

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import RouterTarget, Use
    from agent.connectors.routeros.versions import Version

Rows = Sequence[Mapping[str, str]]

RESOURCE: Final = "/system/resource"
USERS: Final = "/user"
GROUPS: Final = "/user/group"
ONLINE: Final = "/user/active"
BOARD: Final = "/system/routerboard"
LICENSE: Final = "/system/license"
_IDENTITY: Final = "/system/identity"
_CLOCK, _NTP, _MODE = "/system/clock", "/system/ntp/client", "/system/device-mode"
_SERVICE, _AAA, _RADIUS, _INCOMING = "/ip/service", "/ppp/aaa", "/radius", "/radius/incoming"

PRINTS: Final[Mapping[str, str]] = {
    RESOURCE: "version,uptime,cpu-load,free-memory,total-memory,board-name",
    _IDENTITY: "name",
    BOARD: "serial-number,model",
    LICENSE: "software-id,system-id",
    _CLOCK: "date,time,gmt-offset,time-zone-name",
    _NTP: "enabled,status,servers",
    _MODE: "mode,scheduler,flagged",
    _SERVICE: "name,disabled,dynamic,address,available-from,max-sessions",
    USERS: "name,group",
    GROUPS: "name,policy",
    ONLINE: "name,via,group",
    _AAA: "use-radius",
    _RADIUS: "service,address,disabled",  # never `secret`
    _INCOMING: "accept,port",
    SAFE_MODE: "enabled",
    HISTORY: f"by,{FLOATING}",
}
"""The queries: menu -> `.proplist`. RouterOS passes over names that a release does not have."""

CLOCK_OFF_S: Final = 60
"""A clock that is further off makes logs and certificates lie."""
MEMORY_PERCENT: Final = 5
"""Free memory below this is a finding; chosen arbitrarily."""
SESSIONS_PERCENT: Final = 80
"""API sessions in use above this are a finding; chosen arbitrarily."""
_API: Final = ("api", "api-ssl")
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Printed:
    """The printed rows of a router. `menus`: menu -> rows; None: it refused, or has no such menu. `at_s`: our clock
    then.
    """

    menus: Mapping[str, Rows | None]
    at_s: float

    def one(self, menu: str) -> Mapping[str, str]:
        """Return the row of a menu that has one; empty where nothing was printed."""
        rows = self.menus.get(menu)
        return rows[0] if rows else {}

    def rows(self, menu: str) -> Rows:
        """Return a menu's rows; none where nothing was printed."""
        return self.menus.get(menu) or ()


@dataclass(frozen=True, slots=True)
class Health:
    """`facts`: label -> text for people, in the order in which they are shown."""

    facts: Mapping[str, str]
    findings: tuple[Finding, ...]


def serials(printed: Printed) -> frozenset[str]:
    """Return the numbers by which a router is known: its serial number, software id, or a CHR's system id."""
    named = ((BOARD, "serial-number"), (LICENSE, "software-id"), (LICENSE, "system-id"))
    return frozenset(text for menu, name in named if (text := printed.one(menu).get(name)))


def cpu_load(printed: Printed) -> int | None:
    """Return the CPU's load in percent; None where it was not printed."""
    return _number(printed.one(RESOURCE).get("cpu-load", ""))


def safe_mode(printed: Printed) -> str:
    """Return that a colleague's safe mode is open, for people; "": none is seen to be."""
    return open_safe_mode(printed.rows(SAFE_MODE), printed.rows(HISTORY)) or ""


def sessions_max(printed: Printed, *, tls: bool) -> int | None:
    """Return `max-sessions` of the API's service; None where it was not printed (before 7)."""
    return _number(_service(printed, "api-ssl" if tls else "api").get("max-sessions", ""))


def examine(printed: Printed, config: RouterTarget, version: Version, rights: Mapping[Use, Rights]) -> Health:
    """Return the facts and the findings.

    Args:
        printed: the router's rows.
        config: of this router.
        version: the release that it says it is.
        rights: our users there, those that were looked at.
    """
    facts = {label: presentable(text) for label, text in _facts(printed, config, version, rights) if text}
    findings = (
        *_of_version(version),
        *_of_identity(printed, config),
        *_of_users(rights),
        *_of_sight(rights),
        *_of_services(printed, config),
        *_of_clock(printed),
        *_of_load(printed, config),
        *_of_radius(printed),
        *_of_mode(printed),
    )
    return Health(facts, tuple(Finding(f.code, presentable(f.text)) for f in findings))


# --- facts ---


def _facts(
    printed: Printed, config: RouterTarget, version: Version, rights: Mapping[Use, Rights]
) -> Iterator[tuple[str, str]]:
    resource, mode = printed.one(RESOURCE), printed.one(_MODE)
    yield "version", resource.get("version", str(version))
    yield "identity", printed.one(_IDENTITY).get("name", "")
    yield "model", printed.one(BOARD).get("model", "") or resource.get("board-name", "")
    yield "serial", printed.one(BOARD).get("serial-number", "")
    yield "software id", printed.one(LICENSE).get("software-id", "") or printed.one(LICENSE).get("system-id", "")
    yield "certificate", config.fingerprint.hex() or "none: the API is plain"
    yield "device-mode", f"{mode['mode']}, scheduler {_may(mode)}" if "mode" in mode else ""
    for use, has in rights.items():
        held = "policies not known" if has.policies is None else ", ".join(sorted(has.policies)) or "no policy"
        yield f"{use.value} user", f"{has.user} (group {has.group or 'not known'}): {held}"
    yield "clock", _clock_text(printed)
    yield "uptime", resource.get("uptime", "")
    yield "cpu", f"{resource['cpu-load']} %" if "cpu-load" in resource else ""
    free, total = _memory(resource)
    yield "memory", f"{free // _MIB} of {total // _MIB} MiB free" if total else ""
    yield "api sessions", _sessions_text(printed, config)
    yield "radius", _radius_text(printed)


def _clock_text(printed: Printed) -> str:
    clock, off_s = printed.one(_CLOCK), _clock_off_s(printed)
    shown = " ".join(filter(None, (clock.get("date"), clock.get("time"), clock.get("gmt-offset"))))
    ntp = printed.one(_NTP)
    kept = "" if "enabled" not in ntp else "NTP on" if _yes(ntp["enabled"]) else "NTP off"
    told = ntp.get("status", "")
    return ", ".join(filter(None, (shown, "" if off_s is None else f"{off_s:+.0f} s of ours", kept, told)))


def _sessions_text(printed: Printed, config: RouterTarget) -> str:
    most = sessions_max(printed, tls=not config.insecure)
    if printed.menus.get(ONLINE) is None:
        return "" if most is None else f"at most {most}"
    return f"{_in_use(printed)} in use" + ("" if most is None else f" of {most}")


def _radius_text(printed: Printed) -> str:
    if printed.menus.get(_AAA) is None:
        return ""
    used = "PPP logins by RADIUS" if _yes(printed.one(_AAA).get("use-radius", "")) else "PPP logins by secrets only"
    servers = [row["address"] for row in _ppp_servers(printed) if row.get("address")]
    incoming = printed.one(_INCOMING)
    coa = f"CoA on port {incoming.get('port', '?')}" if _yes(incoming.get("accept", "")) else "no CoA"
    return ", ".join(filter(None, (used, f"servers {' '.join(servers)}" if servers else "", coa if incoming else "")))


# --- findings ---


def _of_version(version: Version) -> Iterator[Finding]:
    if not known(version):
        yield Finding(RouterFinding.VERSION_UNKNOWN, f"{not_known_text(version)}: only service changes")


def _of_identity(printed: Printed, config: RouterTarget) -> Iterator[Finding]:
    if config.insecure:
        yield Finding(RouterFinding.INSECURE, "the API is spoken without TLS: passwords and subscribers pass in clear")
    if not config.serial and (found := sorted(serials(printed))):
        yield Finding(RouterFinding.SERIAL_UNSET, f"no serial is configured: set serial to one of {', '.join(found)}")


def _of_users(rights: Mapping[Use, Rights]) -> Iterator[Finding]:
    for use, has in rights.items():
        if has.policies is None:
            text = f"the router does not say what user {has.user} may: what it may not is refused when it is tried"
            yield Finding(RouterFinding(f"{use.value}-policies-unknown"), text)
        if missing(use, has):
            yield Finding(RouterFinding(f"{use.value}-policies-missing"), missing_text(use, has))
        if more := superfluous(use, has):
            text = f"user {has.user} (group {has.group}) may more than it needs: {', '.join(more)}"
            yield Finding(RouterFinding(f"{use.value}-policies-superfluous"), text)


def _of_sight(rights: Mapping[Use, Rights]) -> Iterator[Finding]:
    if not see_alike(rights):
        yield Finding(RouterFinding.USERS_SEE_UNLIKE, f"{unlike_text(rights)}: till then nothing is written")


def _of_services(printed: Printed, config: RouterTarget) -> Iterator[Finding]:
    plain, tls = _service(printed, "api"), _service(printed, "api-ssl")
    if plain and not _yes(plain.get("disabled", "")) and not config.insecure:
        yield Finding(RouterFinding.API_PLAIN, "service api is on beside api-ssl: passwords of others pass in clear")
    own = plain if config.insecure else tls
    if own and not (own.get("address") or own.get("available-from")):
        name = own["name"]
        yield Finding(
            RouterFinding.API_OPEN, f"service {name} may be reached from any address: /ip/service set {name} address=…"
        )
    most = sessions_max(printed, tls=not config.insecure)
    if most and _in_use(printed) * 100 >= most * SESSIONS_PERCENT:
        yield Finding(
            RouterFinding.API_SESSIONS, f"{_in_use(printed)} of {most} API sessions are in use (max-sessions)"
        )


def _of_clock(printed: Printed) -> Iterator[Finding]:
    off_s = _clock_off_s(printed)
    if off_s is not None and abs(off_s) > CLOCK_OFF_S:
        way = "ahead of" if off_s > 0 else "behind"
        yield Finding(RouterFinding.CLOCK, f"its clock is {abs(off_s):.0f} s {way} ours: logs and certificates lie")
    enabled = printed.one(_NTP).get("enabled")
    if enabled is not None and not _yes(enabled):
        yield Finding(RouterFinding.NTP_OFF, "its NTP client is off: nothing keeps its clock right")


def _of_load(printed: Printed, config: RouterTarget) -> Iterator[Finding]:
    load = cpu_load(printed)
    if load is not None and config.cpu_limit and load >= config.cpu_limit:
        yield Finding(RouterFinding.CPU, f"CPU at {load} %: changes wait while it is {config.cpu_limit} % or more")
    free, total = _memory(printed.one(RESOURCE))
    if total and free * 100 < total * MEMORY_PERCENT:
        yield Finding(RouterFinding.MEMORY, f"{free // _MIB} of {total // _MIB} MiB of memory are free")


def _of_radius(printed: Printed) -> Iterator[Finding]:
    if not _yes(printed.one(_AAA).get("use-radius", "")):
        return
    if printed.menus.get(_RADIUS) is not None and not _ppp_servers(printed):
        yield Finding(
            RouterFinding.RADIUS_NO_SERVER, "PPP logins go to RADIUS, and /radius has no enabled server for ppp"
        )
    incoming = printed.one(_INCOMING)
    if incoming and not _yes(incoming.get("accept", "")):
        yield Finding(
            RouterFinding.RADIUS_NO_COA, "PPP logins go to RADIUS, and /radius/incoming accepts no CoA or Disconnect"
        )


def _of_mode(printed: Printed) -> Iterator[Finding]:
    mode = printed.one(_MODE)
    if _yes(mode.get("flagged", "")):
        yield Finding(
            RouterFinding.FLAGGED,
            "device-mode is flagged: RouterOS found suspicious configuration; look before you trust it",
        )
    if "scheduler" in mode and not _yes(mode["scheduler"]):
        name = mode.get("mode", "")
        yield Finding(
            RouterFinding.NO_SCHEDULER,
            f"device-mode {name} forbids the scheduler: no configuration change could be guarded",
        )


# --- parts ---


def _yes(text: str) -> bool:
    return text in ("true", "yes")


def _may(mode: Mapping[str, str]) -> str:
    return "not known" if "scheduler" not in mode else "allowed" if _yes(mode["scheduler"]) else "forbidden"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _memory(resource: Mapping[str, str]) -> tuple[int, int]:
    """Return free and total memory in bytes, zeros where they are not known."""
    free, total = (_number(resource.get(name, "")) for name in ("free-memory", "total-memory"))
    return (0, 0) if free is None or total is None else (free, total)


def _service(printed: Printed, name: str) -> Mapping[str, str]:
    # From 7.24 on connections stand in the same list, as dynamic rows
    rows = (row for row in printed.rows(_SERVICE) if row.get("name") == name and not _yes(row.get("dynamic", "")))
    return next(rows, {})


def _in_use(printed: Printed) -> int:
    # Both services together: whether `via` tells them apart is in no record that we have
    return sum(1 for row in printed.rows(ONLINE) if row.get("via") in _API)


def _ppp_servers(printed: Printed) -> Rows:
    return [
        row
        for row in printed.rows(_RADIUS)
        if "ppp" in row.get("service", "").split(",") and not _yes(row.get("disabled", ""))
    ]


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_OLD: Final = re.compile(r"([a-z]{3})/(\d{2})/(\d{4})", re.ASCII)
_TIME: Final = re.compile(r"(\d{2}):(\d{2}):(\d{2})", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(\d{2}):(\d{2})", re.ASCII)


def _clock_off_s(printed: Printed) -> float | None:
    """Return how far a router's clock is ahead of ours, seconds; None where it cannot be told.

    It prints local time: `2026-11-25` (before 7.10 `nov/25/2026`), `13:53:55`, and `gmt-offset`, `+03:00`. Over the API
    that offset may come as a duration, or as seconds in 32 bits (scripts that were recorded reckon with that).
    """
    clock = printed.one(_CLOCK)
    day, time, offset_s = _day(clock.get("date", "")), _TIME.fullmatch(clock.get("time", "")), _offset_s(clock)
    if day is None or time is None or offset_s is None:
        return None
    try:
        hour, minute, second = map(int, time.groups())
        at = datetime(*day, hour, minute, second, tzinfo=UTC) - timedelta(seconds=offset_s)
    except (ValueError, OverflowError):
        return None
    return at.timestamp() - printed.at_s


def _day(text: str) -> tuple[int, int, int] | None:
    if found := _ISO.fullmatch(text):
        year, month, day = map(int, found.groups())
        return year, month, day
    found = _OLD.fullmatch(text)
    if found is None or found[1] not in _MONTHS:
        return None
    return int(found[3]), _MONTHS.index(found[1]) + 1, int(found[2])


def _offset_s(clock: Mapping[str, str]) -> int | None:
    text = clock.get("gmt-offset", "")
    if found := _OFFSET.fullmatch(text):
        return (1 if found[1] == "+" else -1) * (int(found[2]) * 3600 + int(found[3]) * 60)
    number = _number(text)
    if number is not None:
        return number - (1 << 32) if number > 0x7FFFFFFF else number
    return seconds(text)
