"""A router's own facts beside its configuration: interfaces, health, CPU, SNMP engine, installed version.

The names and forms of the properties are those of recorded answers. The figures are made up, and no traffic is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lab.router import values as v
from lab.router.facts import parse_version
from lab.router.store import INTERFACES, Store
from lab.router.table import Row

CPU: Final = "/system/resource/cpu"
HEALTH: Final = "/system/health"
_ETHERNET: Final = "/interface/ethernet"
_PORTS: Final = "/interface/bridge/port"
_CORES: Final = 4
_ENGINE_ID: Final = "80003a8c04"
"""An SNMP engine ID that begins with MikroTik's enterprise number, 14988 (RFC 3411 section 5)."""
_COUNTERS: Final = (
    "rx-byte", "tx-byte", "rx-packet", "tx-packet", "rx-drop", "tx-drop", "tx-queue-drop", "rx-error", "tx-error",
    "fp-rx-byte", "fp-tx-byte", "fp-rx-packet", "fp-tx-packet",
)  # fmt: skip
_HEALTH: Final = (("cpu-temperature", "58", "C"), ("board-temperature1", "45", "C"), ("fan1-speed", "6090", "RPM"))
_HEALTH_6: Final = {"voltage": "24.2", "temperature": "45"}
_VIRTUAL: Final = ("CHR", "x86")


class Observed:
    """The facts that one router tells of itself. `cpu_load` and `date_time` are asked each time."""

    def __init__(
        self, store: Store, version: str, board: str, cpu_load: Callable[[], int], date_time: Callable[[], str]
    ) -> None:
        self._store, self._version, self._cpu_load = store, version, cpu_load
        self._seven = parse_version(version)[0] >= 7
        self._has_sensors = board not in _VIRTUAL
        self._up_since = date_time()

    def describe(self) -> None:
        """Make the menus show it."""
        computed = self._store.computed
        computed[INTERFACES] = self._interface
        computed[CPU] = lambda _: {"load": str(self._cpu_load()), "irq": "0", "disk": "0"}
        computed["/snmp"] = lambda _: {"engine-id": _ENGINE_ID if self._seven else ""}
        computed["/system/package/update"] = lambda _: {"installed-version": self._version}
        for core in range(_CORES):
            self._store.insert(CPU, {"cpu": f"cpu{core}"}, builtin=True)
        if not self._has_sensors:
            return
        if not self._seven:
            computed[HEALTH] = lambda _: _HEALTH_6
            return
        for name, value, unit in _HEALTH:
            self._store.insert(HEALTH, {"name": name, "value": value, "type": unit}, builtin=True)

    def _interface(self, row: Row) -> dict[str, str]:
        """Return the properties that /interface shows of a row beside its configuration. A session's interface has no
        MAC.
        """
        shown = dict.fromkeys(_COUNTERS, "0") | {"link-downs": "0", "last-link-up-time": self._up_since}
        shown["actual-mtu"] = row.props.get("mtu", "1500")
        if not self._seven:
            shown["fast-path"] = "false"
        if row.dynamic:
            return shown
        ethernet = self._store.table(_ETHERNET).get(row.id)
        if ethernet is not None:
            shown |= {"default-name": ethernet.props.get("default-name", ""), "l2mtu": "1592", "max-l2mtu": "9578"}
        shown["mac-address"] = (ethernet and ethernet.props.get("mac-address")) or self._made_up_mac(row)
        if any(port.props.get("interface") == row.props.get("name") for port in self._store.table(_PORTS)):
            shown["slave"] = "true"
        return shown

    @staticmethod
    def _made_up_mac(row: Row) -> str:
        return v.mac(f"02FF{int(row.id.removeprefix('*'), 16) % 2**32:08X}")
