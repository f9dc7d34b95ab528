"""Reads one LibreNMS: its list of devices, and the news of each.

* The API (v0) has no pages: lists come whole. So the list of devices comes first, and the ports of a device are asked
  for only once it was polled again. Its bridge and ARP tables and its neighbors, which LibreNMS reads every few hours,
  are asked for every `SLOW_S`.
* An empty list is answered with 404.
* Failures of one device are told, and the others are read. When several in a row are not answered, the LibreNMS itself
  does not answer.
* Only GET is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Final, TypeVar

import trio

from agent.connectors.base import UnreadableError
from agent.connectors.librenms import rows
from agent.connectors.librenms.configuration import LibrenmsSource
from agent.connectors.librenms.errors import MalformedLibrenmsError
from agent.connectors.librenms.names import names_of
from agent.connectors.librenms.rows import (
    PORT_COLUMNS,
    ApiRow,
    DeviceRow,
    LinkRow,
    MacRow,
    SensorRow,
    list_untrusted,
)
from agent.connectors.librenms.told import Told, reading_of
from agent.line_model.reading import DeviceReading, SourceReading, ToldDown
from agent.reasons import AnyReason, TargetReason
from agent.runtime.clock import Clock
from agent.runtime.errors import MalformedWebError, WebError, WebRefusedError, WebUnreachableError
from agent.runtime.web_session import MEBI, Query, WebClient, WebLimits, WebPeer, WebReading

T = TypeVar("T")
SLOW_S: Final = 900.0
"""How often bridge and ARP tables and neighbors of a device are asked for. Chosen arbitrarily."""
AT_ONCE: Final = 4
"""Devices that are asked for at the same time: LibreNMS is somebody's web server."""
IN_A_ROW: Final = 3
"""So many devices without an answer, one after the other, end a reading."""
ANSWER_LEAST_S: Final = 60.0
ANSWER_MOST_S: Final = 300.0
"""A reading takes no longer than the pace, within these bounds: as long as the agent waits for it."""
ENDS_S: Final = 10.0
"""So long before that the last device is asked for: the others are asked for first at the next reading."""
ANSWER_BYTES: Final = 32 * MEBI
CALLS: Final = 50_000
WIRELESS_MOST: Final = 100
"""Values of radios of one device. An access point of LibreNMS has some 20."""
DOWN_ASKED: Final = 50
"""Devices of which it is asked in one reading since when they are down."""
_BY: Final[Mapping[str, str]] = {"icmp": "no answer to ping", "snmp": "it answers ping, and not SNMP"}


@dataclass(slots=True)
class KnownTold:
    """A device between readings.

    `polled`: the time of its last poll as LibreNMS writes it; `asked_boot_s`: when its slow tables were asked for.
    `wireless`: class and id of its sensors, None: not known. `down_s`: since when it is down; 0: it is not.
    """

    row: DeviceRow
    polled: str | None = None
    asked_boot_s: float = float("-inf")
    wireless: Sequence[tuple[str, str]] | None = None
    down_s: int = 0
    reading: DeviceReading | None = None
    """The last one without sensors and MAC addresses, which others keep."""
    problem: str = ""
    """Why it was not read at the last reading."""


@dataclass(slots=True)
class _Gathering:
    """One reading under way."""

    web: WebReading
    sensors: Mapping[int, list[SensorRow]] = field(default_factory=dict)
    not_told: tuple[str, ...] = ()
    readings: list[DeviceReading] = field(default_factory=list)
    unanswered: int = 0
    failure: WebError | None = None


class LibrenmsReader:
    """Reads one LibreNMS."""

    def __init__(self, source: LibrenmsSource, secrets: Callable[[str], bytes], clock: Clock, zone: tzinfo) -> None:
        """Take a LibreNMS; nothing is opened.

        Args:
            source: as configured.
            secrets: the vault: name -> secret, or UnreadableError.
            clock: of pauses and times.
            zone: the operator's.
        """
        self.source, self._secrets, self._clock = source, secrets, clock
        self._zone: tzinfo = source.zone or zone
        self._limit_s = max(ANSWER_LEAST_S, min(source.every_s, ANSWER_MOST_S))
        limits = WebLimits(
            reading_s=self._limit_s - ENDS_S / 2,
            answer_bytes=min(ANSWER_BYTES, source.web.reading_bytes),
            reading_bytes=source.web.reading_bytes,
            calls=CALLS,
            attempts=3,
        )
        peer = WebPeer(source.web.address, source.web.ca_file, source.web.pin)
        self._client = WebClient(peer, clock, self._authorize, limits)
        self._vlans: tuple[float, Mapping[int, int]] = (float("-inf"), {})
        self._lock = trio.Lock()
        self.known: dict[str, KnownTold] = {}
        """Devices by target."""
        self.disabled = 0
        """Devices that LibreNMS does not poll."""

    async def _authorize(self) -> Mapping[str, str]:
        return {"x-auth-token": self._secrets(self.source.secret).decode("utf-8", "replace").strip()}

    async def gather(self) -> SourceReading:
        """Read the devices that were polled since the last reading.

        Raises:
            UnreadableError: the LibreNMS cannot be read, or answers in another form.
        """
        async with self._lock:
            try:
                async with self._client.reading() as web:
                    return await self._gather(web)
            except WebRefusedError as err:
                why = f"{self.source.id}: {err}: see secret in [librenms.{self.source.name}]"
                raise UnreadableError(why, reason=TargetReason.REFUSED) from err
            except (WebError, MalformedLibrenmsError) as err:
                raise UnreadableError(f"{self.source.id}: {err}", reason=_reason(err)) from err

    async def _gather(self, web: WebReading) -> SourceReading:
        until_boot_s = self._clock.boot_s() + self._limit_s - ENDS_S
        found = [rows.device_untrusted(row, self._zone) for row in await self._list(web, "/devices", "devices")]
        if not found and self.known:
            why = f"{self.source.id}: expected {len(self.known)} devices, got none: see the rights of the token's user"
            raise UnreadableError(why, reason=TargetReason.REFUSED)
        self._take(found)
        now = _Gathering(web)
        waiting = [one for one in self.known.values() if one.row.polled and _is_new(one)]
        waiting.sort(key=lambda one: 0 if one.reading is None else one.reading.read_s)
        if waiting:
            await self._read_shared(now)
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work, now, waiting, until_boot_s)
        if now.failure is not None:
            raise now.failure
        down = await self._down(web)
        names = frozenset(self.known)
        read_s = int(self._clock.wall_s())
        return SourceReading(
            self.source.id, read_s, tuple(now.readings), tuple(down), names, self.source.every_s, now.not_told
        )

    def _take(self, found: Sequence[DeviceRow]) -> None:
        """Take the list of devices: those that are disabled there are left out, others are known by their names."""
        polled = [row for row in found if not row.disabled]
        self.disabled = len(found) - len(polled)
        before, self.known = self.known, {}
        for name, row in names_of(polled).items():
            target = f"{self.source.id}/{name}"
            one = before.get(target)
            if one is None or one.row.id != row.id:
                one = KnownTold(row)
            one.row = row
            self.known[target] = one

    # --- devices ---

    async def _work(self, now: _Gathering, waiting: list[KnownTold], until_boot_s: float) -> None:
        while waiting and now.failure is None and self._clock.boot_s() < until_boot_s:
            one = waiting.pop(0)
            try:
                reading = await self._read(now, one)
            except (WebUnreachableError, WebRefusedError) as err:
                one.problem = str(err)
                now.unanswered += 1
                if now.unanswered >= IN_A_ROW:
                    now.failure = err
            except (WebError, MalformedLibrenmsError) as err:
                one.problem = str(err)
            else:
                one.problem, now.unanswered = "", 0
                if reading is not None:
                    now.readings.append(reading)

    async def _read(self, now: _Gathering, one: KnownTold) -> DeviceReading | None:
        row, web, key = one.row, now.web, str(one.row.id)
        target = next(target for target, known in self.known.items() if known is one)
        columns = {"columns": ",".join(PORT_COLUMNS)}
        ports = [
            rows.port_untrusted(p) for p in await self._list(web, "/devices/{}/ports", "ports", key, query=columns)
        ]
        told = Told(row, ports, sensors=now.sensors.get(row.id, ()), problems=now.not_told)
        if slow := self._clock.boot_s() - one.asked_boot_s >= SLOW_S:
            told = await self._with_tables(now, told, key)
        if self.source.wireless:
            told = await self._with_wireless(now, told, one, key, slow)
        addresses = {known.row.id: known.row.address for known in self.known.values()}
        reading = reading_of(told, target, self.source.title, addresses, self._clock.wall_s())
        if slow:
            one.asked_boot_s = self._clock.boot_s()
        one.polled = row.polled
        if reading is not None:
            one.reading = replace(reading, sensors=(), macs=())
        if row.up:
            one.down_s = 0
        return reading

    async def _read_shared(self, now: _Gathering) -> None:
        """Read what LibreNMS lists of all devices at once: health sensors and, now and then, VLANs."""
        try:
            found = [rows.sensor_untrusted(r, self._zone) for r in await self._list(now.web, _SENSORS, "sensors")]
        except (WebRefusedError, MalformedWebError, MalformedLibrenmsError) as err:
            now.not_told = (f"health sensors: {err}",)
            found = []
        by_device: dict[int, list[SensorRow]] = {}
        for sensor in found:
            if sensor is not None:
                by_device.setdefault(sensor.device_id, []).append(sensor)
        now.sensors = by_device
        if self._clock.boot_s() - self._vlans[0] < SLOW_S:
            return
        try:
            vlans = await self._list(now.web, "/resources/vlans", "vlans")
            numbers = {row.id("vlan_id"): row.whole("vlan_vlan") or 0 for row in vlans}
        except (WebRefusedError, MalformedWebError, MalformedLibrenmsError) as err:
            now.not_told = (*now.not_told, f"VLANs: {err}")
            numbers = {}
        self._vlans = (self._clock.boot_s(), numbers)

    async def _with_tables(self, now: _Gathering, told: Told, key: str) -> Told:
        problems = list(told.problems)

        async def read(what: str, path: str, name: str, take: Callable[[ApiRow], T], **more: str) -> list[T] | None:
            ids = () if more else (key,)
            try:
                return [take(row) for row in await self._list(now.web, path, name, *ids, query=more or None)]
            except (WebRefusedError, MalformedWebError, MalformedLibrenmsError) as err:
                problems.append(f"{what}: {err}")
                return None

        def bridge_mac(row: ApiRow) -> MacRow:
            return rows.bridge_mac_untrusted(row, self._zone)

        bridge = await read("bridge table", "/devices/{}/fdb", "ports_fdb", bridge_mac)
        arp = await read("ARP table", "/resources/ip/arp/all", "arp", rows.arp_mac_untrusted, device=key)
        links = await read("neighbors", "/devices/{}/links", "links", rows.link_untrusted)
        heard: list[LinkRow] | None = None if links is None else [link for link in links if link is not None]
        return replace(
            told, bridge=bridge, arp=arp, vlans=self._vlans[1], links=heard, problems=tuple(dict.fromkeys(problems))
        )

    async def _with_wireless(self, now: _Gathering, told: Told, one: KnownTold, key: str, slow: bool) -> Told:
        try:
            if one.wireless is None or slow:
                one.wireless = await self._wireless_ids(now.web, key)
            found = [
                rows.sensor_untrusted(row, self._zone)
                for kind, sensor in one.wireless
                for row in await self._list(now.web, "/devices/{}/wireless/{}/{}", "graphs", key, kind, sensor)
            ]
        except (WebRefusedError, MalformedWebError, MalformedLibrenmsError) as err:
            return replace(told, problems=(*told.problems, f"radios: {err}"))
        return replace(told, wireless=[sensor for sensor in found if sensor is not None])

    async def _wireless_ids(self, web: WebReading, key: str) -> Sequence[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for kind in await self._list(web, "/devices/{}/wireless", "graphs", key):
            name = kind.text("name")
            for sensor in await self._list(web, "/devices/{}/wireless/{}", "graphs", key, name):
                found.append((name, str(sensor.id("sensor_id"))))
        return found[:WIRELESS_MOST]

    # --- down ---

    async def _down(self, web: WebReading) -> Sequence[ToldDown]:
        """Return the devices that are down there. Those that its people ignore are no outage, so they are none here."""
        down, asked = [], 0
        for target, one in self.known.items():
            if one.row.up or one.row.ignored or one.reading is None:
                continue
            if not one.down_s and asked < DOWN_ASKED:
                asked += 1
                one.down_s = await self._down_since(web, one)
            why = _BY.get(one.row.down_by) or f"it says {one.row.down_by or 'not by what'}"
            answers = one.row.down_by == "snmp"
            told = f"{self.source.title}: {why}" if answers else why
            down.append(ToldDown(target, one.down_s or int(self._clock.wall_s()), told, silent=not answers))
        return down

    async def _down_since(self, web: WebReading, one: KnownTold) -> int:
        """Return since when a device is down; where LibreNMS does not say, since its last poll."""
        try:
            found = await self._list(web, "/devices/{}/outages", "outages", str(one.row.id))
            since_s = rows.down_since_untrusted(found)
        except (WebError, MalformedLibrenmsError):
            since_s = None
        return since_s or (one.reading.read_s if one.reading else 0) or int(self._clock.wall_s())

    async def _list(
        self, web: WebReading, path: str, name: str, *ids: str, query: Query | None = None
    ) -> Sequence[ApiRow]:
        answer = await web.get(path, query, ids=ids, expected=(200, 404))
        return [] if answer.json is None else list_untrusted(answer.json, name, f"GET {path}")


_SENSORS: Final = "/resources/sensors"


def _is_new(one: KnownTold) -> bool:
    """Tell whether a device was polled since it was read, or is up again."""
    return one.polled != one.row.polled or (one.row.up and one.down_s > 0)


def _reason(err: Exception) -> AnyReason:
    if isinstance(err, MalformedWebError | MalformedLibrenmsError):
        return TargetReason.MALFORMED
    return TargetReason.UNREACHABLE
