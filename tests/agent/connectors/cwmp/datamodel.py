"""The Broadband Forum's data models, read in place: what every parameter is, whatever our tables say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from lxml import etree

from lab.tests.cpe import data

FILES = {"InternetGatewayDevice.": "tr-098-1-7-0-full.xml", "Device.": "tr-181-2-12-0-cwmp-full.xml"}
_BASES = {"Dbm1000": "int", "StatsCounter32": "unsignedInt", "StatsCounter64": "unsignedLong"}


@dataclass(frozen=True)
class Parameter:
    """`type`: as CWMP has it; `table` for a table of objects. `hidden`: reads as an empty text."""

    type: str
    writable: bool
    hidden: bool = False
    deprecated: bool = False


@cache
def model(root: str) -> dict[str, Parameter]:
    """Path with `{i}` for every instance -> what the standard says of it; skipped where the data is not there."""
    found: dict[str, Parameter] = {}
    for entry in etree.parse(str(data.recorded(f"datamodel/{FILES[root]}"))).getroot().iterfind("model/object"):
        path = entry.get("name")
        if path.endswith("{i}."):
            found[path.removesuffix("{i}.")] = Parameter("table", entry.get("access") == "readWrite")
        for one in entry.iterfind("parameter"):
            if one.get("status") == "deleted":
                continue
            syntax = one.find("syntax")
            kind = next(
                child for child in syntax if isinstance(child.tag, str) and child.tag not in ("list", "default")
            )
            name = kind.tag if kind.tag != "dataType" else _BASES.get(kind.get("ref") or kind.get("base"), "string")
            found[path + one.get("name")] = Parameter(
                name,
                one.get("access") == "readWrite",
                syntax.get("hidden") == "true",
                one.get("status") in ("deprecated", "obsoleted"),
            )
    assert len(found) > 1500, "the data models were not read"
    return found


def generic(path: str) -> str:
    """A path with `{i}` in place of every instance number."""
    return re.sub(r"(?<=\.)[0-9]+(?=\.|$)", "{i}", path)


def concrete(path: str) -> str:
    """A path of the data model as a CPE would have it."""
    return path.replace("{i}", "1")
