"""The files that a rehearsal needs: subscriber list, access mapping for the agent, and where everything listens."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lab import isp as isp_module
from lab import population, routers
from lab.database import Dsn, Engine
from lab.isp import Isp

COLUMNS: Final = (
    "subscriber",
    "name",
    "service",
    "login",
    "method",
    "tariff",
    "protected",
    "feeds",
    "balance",
    "due",
    "paid_at",
    "as_of",
)


def subscribers_csv(isp: Isp, as_of: datetime) -> str:
    """Return the subscriber list in the agent's import format."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    stamp = as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    for s in isp.services:
        rows.writerow(
            (
                s.subscriber,
                s.name,
                s.service,
                s.login,
                population.METHOD,
                s.tariff.name,
                s.protected,
                s.feeds,
                s.balance,
                s.due,
                s.paid_at,
                stamp,
            )
        )
    return out.getvalue()


def _toml(value: str | int | list[str]) -> str:
    # JSON strings are TOML basic strings, but for DEL, which no value here holds
    return json.dumps(value, ensure_ascii=False)


def _section(name: str, values: dict[str, str | int | list[str]]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""])


def _radius_section(dsn: Dsn) -> str:
    where: dict[str, str | int | list[str]]
    if dsn.engine is Engine.SQLITE:
        where = {"path": str(Path(dsn.path).resolve())}
    else:
        host = dsn.socket if dsn.engine is Engine.POSTGRESQL and dsn.socket else dsn.host
        where = {"host": host, "port": dsn.port, "dbname": dsn.dbname, "user": dsn.user, "secret": "radius/main"}
    marker: dict[str, str | int | list[str]] = {
        "marker_group": population.MARKER_GROUP,
        "marker_priority": population.MARKER_PRIORITY,
    }
    return _section("radius.main", {"database": dsn.engine.value, **where, "tables": "stock", **marker})


def mapping_toml(isp: Isp) -> str:
    """Return the agent's access mapping: the RADIUS database, every BNG (and its API, where it is a router), and the
    meaning of the method `pppoe` here.

    Secrets are named, not written; lab.json has them.
    """
    sections = [_radius_section(isp.database.dsn)]
    for nas in isp.nas.values():
        o = nas.options
        sections.append(
            _section(
                f"nas.{o.name}",
                {
                    "accounting": o.accounting,
                    "dynauth_host": o.host,
                    "dynauth_port": nas.dynauth_port,
                    "secret": f"nas/{o.name}",
                    "profile": "mikrotik",
                    **({"router": o.name} if o.name in isp.routers else {}),
                },
            )
        )
    method = f"method.{population.METHOD}"
    sections.append(
        _section(
            method,
            {
                "target": "radius/main",
                "garden4": [str(n) for n in isp_module.GARDEN4],
                "garden6": [str(n) for n in isp_module.GARDEN6],
                "disconnect_within_s": 10,
                "redial_within_s": 15,
                **({"coa": ["Mikrotik-Rate-Limit"]} if isp.routers else {}),
            },
        )
    )
    sections.append(_section(f"{method}.suspended_reply", dict(population.SUSPENDED_REPLY)))
    sections.append(
        "\n".join([f"[{method}.tariffs]", *(f"{_toml(t.name)} = {_toml(t.group)}" for t in population.TARIFFS), ""])
    )
    sections += [_router_section(isp, name) for name in isp.routers]
    sections += _snmp_sections(isp)
    return "\n".join(sections)


def _router_section(isp: Isp, name: str) -> str:
    endpoint = isp.endpoints[name]
    return _section(
        f"routeros.{name}",
        {
            "host": endpoint.host,
            "port": endpoint.port,
            "user": routers.API_USER,
            "secret": f"routeros/{name}",
            "fingerprint": endpoint.fingerprint,
            "serial": isp.routers[name].serial,
        },
    )


def _snmp_sections(isp: Isp) -> list[str]:
    if isp.snmp is None:
        return []
    places = {name: isp.snmp.where(name) for name in isp.snmp.devices}
    return [
        _section("snmp-credential.lab", {"version": "2c", "community": "snmp/lab"}),
        _section("snmp-credential.lab-write", {"version": "2c", "community": "snmp/lab-write"}),
        *(
            _section(
                f"snmp.{name}",
                {"address": host, "port": port, "credential": "lab", "write_credential": "lab-write"},
            )
            for name, (host, port) in places.items()
        ),
    ]


def lab_json(isp: Isp) -> str:
    """Return everything that a script needs to work with this ISP, secrets too."""
    dsn, radius = isp.database.dsn, isp.radius
    secrets = {f"nas/{n.options.name}": n.options.secret.decode() for n in isp.nas.values()}
    if isp.snmp is not None:
        secrets |= {"snmp/lab": isp.snmp_community, "snmp/lab-write": f"{isp.snmp_community}-write"}
    secrets |= {f"routeros/{name}": isp.api_password(name) for name in isp.routers}
    if dsn.engine is not Engine.SQLITE:
        secrets["radius/main"] = dsn.password
    document = {
        "radius": {
            "host": radius.host,
            "auth_port": radius.auth_port,
            "acct_port": radius.acct_port,
            "secret": radius.secret.decode(),
        },
        "database": {
            "engine": dsn.engine.value,
            "path": dsn.path,
            "host": dsn.host,
            "port": dsn.port,
            "user": dsn.user,
            "dbname": dsn.dbname,
        },
        "nas": [
            {
                "name": n.options.name,
                "accounting": n.options.accounting,
                "dynauth_host": n.options.host,
                "dynauth_port": n.dynauth_port,
            }
            for n in isp.nas.values()
        ],
        "routers": [
            {
                "name": name,
                "host": endpoint.host,
                "port": endpoint.port,
                "user": routers.API_USER,
                "fingerprint": endpoint.fingerprint,
            }
            for name, endpoint in isp.endpoints.items()
        ],
        "lines": [
            {"login": line.login, "device": line.device, "access": line.access.value, "port": line.port}
            for line in (isp.network.lines.values() if isp.network else ())
        ],
        "secrets": secrets,
        "services": [
            {
                "subscriber": s.subscriber,
                "service": s.service,
                "login": s.login,
                "tariff": s.tariff.name,
                "nas": f"bng-{s.nas + 1}",
                "mapped": s.mapped,
                "online": s.online,
                "protected": s.protected,
                "balance": s.balance,
            }
            for s in isp.services
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    # lab.json holds secrets, the list holds people: for their owner only, and whole or not at all
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(path)


def write_files(isp: Isp) -> None:
    """Write subscribers.csv, mapping.toml and, last, lab.json into the ISP's directory."""
    directory = isp.options.directory
    _write(directory / "subscribers.csv", subscribers_csv(isp, datetime.now(UTC)))
    _write(directory / "mapping.toml", mapping_toml(isp))
    _write(directory / "lab.json", lab_json(isp))
