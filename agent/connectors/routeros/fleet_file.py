"""The file of a fleet of routers: candidates from a list or from UISP, and the lines that they add to it. Pure.

Source: UISP's `GET /nms/api/v2.1/devices`, of which `identification.name` (or `hostname`) and `ipAddress` are taken.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any, Final

from agent.connectors.routeros.errors import FleetFileError
from agent.spelling import handle_of

COLUMNS: Final = ("name", "host", "port", "fingerprint", "serial")
PORT: Final = 8729
ENTRIES_MAX: Final = 5000
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FleetRouter:
    """One line of the file. `fingerprint`: 64 hex digits, or empty: not pinned yet."""

    name: str
    host: str
    port: int = PORT
    fingerprint: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """A file with new routers: all lines, and the result for each candidate."""

    routers: tuple[FleetRouter, ...]
    added: tuple[FleetRouter, ...]
    known: int
    refused: tuple[str, ...]


def read_list_untrusted(data: bytes) -> tuple[FleetRouter, ...]:
    """Return the routers of a CSV list: the columns `name` and `host`, and those of `COLUMNS` that it has.

    Raises:
        FleetFileError: it is none; the text says the line.
    """
    try:
        lines = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        columns = [c.strip() for c in lines.fieldnames or ()]
        lines.fieldnames = columns
        if not {"name", "host"} <= set(columns):
            raise FleetFileError(f"line 1: expected a header with name and host, got {','.join(columns)[:60]!r}")
        rows = [(lines.line_num, row) for row in lines]
    except (UnicodeDecodeError, csv.Error) as err:
        raise FleetFileError(f"expected CSV in UTF-8: {err}") from err
    if len(rows) > ENTRIES_MAX:
        raise FleetFileError(f"expected at most {ENTRIES_MAX} routers, got {len(rows)}")
    return tuple(_router(number, row) for number, row in rows)


def _router(number: int, row: Mapping[str | None, Any]) -> FleetRouter:
    if None in row or None in row.values():
        raise FleetFileError(f"line {number}: expected as many cells as the header has")
    cells = {str(name): str(cell).strip() for name, cell in row.items()}
    name, host, port = cells["name"], cells["host"], cells.get("port", "") or str(PORT)
    fingerprint = cells.get("fingerprint", "").replace(":", "").lower()
    if not _NAME.fullmatch(name):
        raise FleetFileError(f"line {number}: expected a name of 1 to 32 of a-z, 0-9 and -, got {name[:40]!r}")
    if not host or not host.isprintable() or " " in host:
        raise FleetFileError(f"line {number}: expected a host, got {host[:40]!r}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise FleetFileError(f"line {number}: expected a port, 1 to 65535, got {port[:40]!r}")
    if fingerprint and not _FINGERPRINT.fullmatch(fingerprint):
        raise FleetFileError(f"line {number}: expected a fingerprint of 64 hex digits, got {fingerprint[:40]!r}")
    return FleetRouter(name, host, int(port), fingerprint, cells.get("serial", ""))


def read_uisp_untrusted(data: bytes, match: str = "") -> tuple[FleetRouter, ...]:
    """Return the devices of UISP's device list with `match` in their JSON (in any case), with name and address.

    Raises:
        FleetFileError: it is no such list.
    """
    try:
        devices = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise FleetFileError(f"expected JSON: {err}") from err
    if not isinstance(devices, list) or len(devices) > ENTRIES_MAX:
        raise FleetFileError(f"expected UISP's list of at most {ENTRIES_MAX} devices")
    found = []
    for number, device in enumerate(devices):
        if match.casefold() not in json.dumps(device, ensure_ascii=False).casefold():
            continue
        known = device.get("identification") if isinstance(device, dict) else None
        if not isinstance(known, dict):
            raise FleetFileError(f"device {number}: expected an object with identification")
        text = next((known[k] for k in ("name", "hostname") if isinstance(known.get(k), str) and known[k]), "")
        host = _host(device.get("ipAddress"))
        if text and host:
            found.append(FleetRouter(handle_of(text), host))
    return tuple(found)


def _host(address: object) -> str:
    """Return an address without its prefix length; empty where it is none."""
    try:
        return str(ip_interface(str(address)).ip)
    except ValueError:
        return ""


def merged(now: Sequence[FleetRouter], candidates: Iterable[FleetRouter]) -> Merged:
    """Return the file's routers and the candidates that are new to it. Lines of the file are never changed."""
    by_name = {router.name: router for router in now}
    by_place = {(router.host, router.port): router.name for router in now}
    added: list[FleetRouter] = []
    refused: list[str] = []
    known = 0
    for one in candidates:
        there, place = by_name.get(one.name), (one.host, one.port)
        same_place = there is not None and (there.host, there.port) == place
        if there is not None and same_place and one.fingerprint in ("", there.fingerprint):
            known += 1
        elif there is not None:
            what = "another fingerprint" if same_place else f"{there.host}:{there.port}"
            refused.append(
                f"{one.name}: the file has it with {what}, not {one.host}:{one.port}: change it there by hand"
            )
        elif place in by_place:
            refused.append(f"{one.name}: {one.host}:{one.port} stands in the file as {by_place[place]}")
        else:
            added.append(one)
            by_name[one.name], by_place[place] = one, one.name
    return Merged((*now, *added), tuple(added), known, tuple(refused))


def pinned(routers: Iterable[FleetRouter], fingerprints: Mapping[str, str]) -> tuple[FleetRouter, ...]:
    """Return the routers with the fingerprints that were fetched, by name; a router that has one keeps it."""
    return tuple(r if r.fingerprint else replace(r, fingerprint=fingerprints.get(r.name, "")) for r in routers)


def written(routers: Iterable[FleetRouter]) -> str:
    """Return the file's text."""
    out = io.StringIO(newline="")
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(COLUMNS)
    for router in routers:
        lines.writerow([getattr(router, column) for column in COLUMNS])
    return out.getvalue()
