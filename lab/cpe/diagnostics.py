"""Diagnostics: the effect of `DiagnosticsState` = Requested. Nothing leaves the machine; results are made up.

A host that ends in `.invalid` has no address; one of `unreachable` does not answer.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from lab.cpe.soap import time_text
from lab.cpe.tree import Tree

_STATE: Final = "DiagnosticsState"


@dataclass(frozen=True, slots=True)
class _Shape:
    """One diagnostic. `done`: the state when it is complete; `table`, `fields`: of its results."""

    what: str
    done: str
    table: str = ""
    fields: tuple[str, ...] = ()


_HOPS: Final = ("Host", "HostAddress", "ErrorCode", "RTTimes")
SHAPES: Final = {
    "InternetGatewayDevice.IPPingDiagnostics.": _Shape("ping", "Complete"),
    "InternetGatewayDevice.TraceRouteDiagnostics.": _Shape(
        "trace", "Complete", "RouteHops", tuple(f"Hop{name}" for name in _HOPS)
    ),
    "InternetGatewayDevice.DownloadDiagnostics.": _Shape("download", "Completed"),
    "InternetGatewayDevice.UploadDiagnostics.": _Shape("upload", "Completed"),
    "Device.IP.Diagnostics.IPPing.": _Shape("ping", "Complete"),
    "Device.IP.Diagnostics.TraceRoute.": _Shape("trace", "Complete", "RouteHops", _HOPS),
    "Device.IP.Diagnostics.DownloadDiagnostics.": _Shape("download", "Completed"),
    "Device.IP.Diagnostics.UploadDiagnostics.": _Shape("upload", "Completed"),
    "Device.WiFi.NeighboringWiFiDiagnostic.": _Shape("scan", "Complete", "Result"),
}


def diagnostic_of(name: str) -> tuple[str, bool] | None:
    """The object of a diagnostic's parameter, and whether that is its state; None for any other parameter."""
    path, _, last = name.rpartition(".")
    return (f"{path}.", last == _STATE) if f"{path}." in SHAPES else None


def forget(tree: Tree, path: str) -> None:
    """Put a diagnostic back to None, where the CPE has it: one of its parameters was written, or it booted."""
    if tree.leaf(path + _STATE) is not None:
        tree.put(path + _STATE, "None")


def run(tree: Tree, path: str, dice: random.Random, unreachable: Collection[str]) -> None:
    """Do a diagnostic and put its results into the tree."""
    shape = SHAPES[path]
    if shape.table:
        for number in tree.instances(f"{path}{shape.table}."):
            tree.unplug(f"{path}{shape.table}.{number}.")
    act = {"ping": _ping, "trace": _trace, "scan": _scan, "download": _load, "upload": _load}[shape.what]
    tree.put(path + _STATE, act(tree, path, dice, unreachable) or shape.done)


def _ping(tree: Tree, path: str, dice: random.Random, unreachable: Collection[str]) -> str:
    host, count = tree.get(f"{path}Host"), int(tree.get(f"{path}NumberOfRepetitions"))
    if not host or host.endswith(".invalid"):
        return "Error_CannotResolveHostName"
    lost = count if host in unreachable else 0
    times = sorted(dice.randint(4, 40) for _ in range(3)) if lost < count else [0, 0, 0]
    results = {
        "SuccessCount": count - lost,
        "FailureCount": lost,
        "MinimumResponseTime": times[0],
        "AverageResponseTime": times[1],
        "MaximumResponseTime": times[2],
    }
    for name, value in results.items():
        tree.put(path + name, str(value))
    return ""


def _trace(tree: Tree, path: str, dice: random.Random, unreachable: Collection[str]) -> str:
    host, shape = tree.get(f"{path}Host"), SHAPES[path]
    if not host or host.endswith(".invalid"):
        return "Error_CannotResolveHostName"
    hops = ["100.64.0.1", "192.0.2.1", "198.51.100.1"]
    for n, address in enumerate(hops, 1):
        times = ",".join(str(dice.randint(n, 9 * n)) for _ in range(3))
        row = (f"hop-{n}.example", address, "0", times)
        tree.plug(f"{path}{shape.table}.", dict(zip(shape.fields, row, strict=True)))
    tree.put(f"{path}ResponseTime", str(dice.randint(9, 60)))
    return "Error_MaxHopCountExceeded" if host in unreachable else ""


def _scan(tree: Tree, path: str, dice: random.Random, unreachable: Collection[str]) -> str:
    for n in range(1, 4):
        row = {
            "Radio": "Device.WiFi.Radio.1.",
            "SSID": f"neighbor-{n}",
            "BSSID": f"02:00:5E:00:53:{n:02X}",
            "Channel": str(dice.choice((1, 6, 11))),
            "SignalStrength": str(-dice.randint(40, 90)),
        }
        tree.plug(f"{path}Result.", row)
    return ""


def _load(tree: Tree, path: str, dice: random.Random, unreachable: Collection[str]) -> str:
    up = "Upload" in path
    if not tree.get(f"{path}{'UploadURL' if up else 'DownloadURL'}").startswith("http://"):
        return "Error_InitConnectionFailed"
    size = int(tree.get(f"{path}TestFileLength")) if up else 1_000_000
    now = tree.now()
    for name, after_s in (("ROMTime", 0.0), ("BOMTime", 0.0), ("EOMTime", dice.uniform(1, 4))):
        tree.put(path + name, time_text(now + after_s))
    names = ("TotalBytesSent", "TestBytesSent") if up else ("TotalBytesReceived", "TestBytesReceived")
    for name in names:
        if tree.leaf(path + name) is not None:
            tree.put(path + name, str(size))
    return ""
