"""One device: its client, the profile that it was recognized by, and its last reading.

* The client lives from poll to poll: what was learned of the device's engine and of how much it can answer at once is
  kept, its sockets are not. A silent device gets a new one, which looks its address up again.
* A profile is chosen anew when sysObjectID or sysDescr change.
* A table that stays silent while the device answers otherwise costs each poll its whole patience. It is left out for
  `SKIP_S`, twice as long each time that it is silent again, and the reading says since when it was not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio

from agent.age import age_text
from agent.connectors.base import UnreadableError
from agent.connectors.snmp import conversions, profile_choice, profile_reading, values
from agent.connectors.snmp.client_session import SnmpClient, open_client
from agent.connectors.snmp.configuration import SnmpAccess, SnmpDevice
from agent.connectors.snmp.credential import SnmpCredential
from agent.connectors.snmp.errors import (
    AgentFaultError,
    RemoteSnmpError,
    RequestRefusedError,
    SilentError,
    SnmpError,
    UnusableCredentialError,
)
from agent.connectors.snmp.limits import ASIDE_VALUES, READING_OCTETS_MAX, SnmpLimits
from agent.connectors.snmp.profile import SnmpProfile
from agent.connectors.snmp.profile_choice import WantedValues
from agent.connectors.snmp.usm import EngineTime
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import DeviceReading
from agent.reasons import AnyReason, TargetReason
from trust.moments import moment_text

SYS_DESCR: Final = values.oid("1.3.6.1.2.1.1.1.0")
SYS_OBJECT_ID: Final = values.oid("1.3.6.1.2.1.1.2.0")
SYS_UPTIME: Final = values.oid("1.3.6.1.2.1.1.3.0")
SYS_NAME: Final = values.oid("1.3.6.1.2.1.1.5.0")
HELLO: Final = (SYS_DESCR, SYS_OBJECT_ID, SYS_NAME)
TOGETHER: Final = 40
"""Columns of tables without rows that are asked in one request."""
SKIP_S: Final = 60.0
"""How long a table is left out that did not answer once: one lost packet is no reason to miss more than a reading."""
SKIP_MOST_S: Final = 3600.0
"""The same of one that never answers. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a device says of itself: sysObjectID without tag and length, sysDescr and sysName."""

    object_id: Oid
    description: str
    name: str

    @property
    def kind(self) -> tuple[Oid, str]:
        """The values by which a profile is chosen."""
        return self.object_id, self.description


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A table that did not answer: since when, when it was asked last, and for how long it is left out then."""

    since_s: float
    asked_s: float
    for_s: float

    def rests(self, now_s: float) -> bool:
        """Return whether it is not asked yet. A clock that was set back ends that."""
        return 0.0 <= now_s - self.asked_s < self.for_s

    def since(self) -> str:
        """Return the time since when it was not read, for people."""
        return moment_text(self.since_s)


@dataclass(frozen=True, slots=True)
class _Recognized:
    """A profile, with the answers by which it was chosen, and its questions."""

    profile: SnmpProfile
    hello: Hello
    wanted: WantedValues


class SnmpDeviceLine:
    """The way to one device."""

    def __init__(
        self,
        device: SnmpDevice,
        profiles: Sequence[SnmpProfile],
        secrets: Callable[[str], bytes],
        shared: trio.CapacityLimiter,
        wall_s: Callable[[], float],
    ) -> None:
        """Take the device; nothing is sent before it is read.

        Args:
            device: as it is configured.
            profiles: all of them.
            secrets: the vault: name -> secret, or UnreadableError.
            shared: one limit for requests in flight to all devices.
            wall_s: unix seconds.
        """
        self.device, self._profiles, self._secrets, self._wall_s = device, profiles, secrets, wall_s
        self._shared = shared
        self._limits = SnmpLimits(
            timeout_s=device.timeout_s, retries=device.retries, repetitions=device.repetitions, other_source=True
        )
        self._credential: SnmpCredential | None = None
        self._client: SnmpClient | None = None
        self._one_at_a_time = trio.Lock()
        self._recognized: _Recognized | None = None
        self._skipped: dict[tuple[Oid, ...], _Skipped] = {}
        self._empty: frozenset[tuple[Oid, ...]] = frozenset()
        self.last: DeviceReading | None = None
        """The last reading without parts, sensors and MACs, which others keep: there may be thousands of devices."""
        self.first: DeviceReading | None = None
        """The first one since the start, by which a renamed or replaced device is seen."""

    @property
    def every_s(self) -> float:
        """Seconds from one reading to the next."""
        if self.device.every_s:
            return self.device.every_s
        return (
            self._recognized.profile.every_s
            if self._recognized is not None
            else profile_every_s(self.device, self._profiles)
        )

    async def read_by(self, profile: SnmpProfile) -> DeviceReading:
        """Read the device by a profile that is tried; nothing of it is kept.

        Raises:
            UnreadableError: it is silent, or refuses.
        """
        client = await self._ready()
        try:
            wanted, unread = profile_choice.wanted(profile), dict[Oid, str]()
            return await self._whole(client, profile, wanted, await client.get(wanted.scalars, unread), unread)
        except SnmpError as err:
            raise unreadable(err) from err
        finally:
            client.close()

    async def read(self) -> DeviceReading:
        """Read the device whole.

        Raises:
            UnreadableError: it is silent, refuses, or is not the device that it should be.
        """
        async with self._one_at_a_time:
            client = await self._ready()
            try:
                reading = await self._read(client)
            except SnmpError as err:
                raise self.lost(err) from err
            finally:
                client.close()
            self.last = replace(reading, parts=(), sensors=(), macs=())
            self.first = self.first or self.last
            return reading

    @property
    def octets(self) -> int:
        """Octets of its answers, of this client."""
        return 0 if self._client is None else self._client.octets

    @property
    def clock(self) -> tuple[bytes, EngineTime] | None:
        """The id and the time of its engine, once authentic answers proved them."""
        return None if self._client is None else self._client.clock

    async def recognized(self) -> tuple[SnmpClient, SnmpProfile, Hello]:
        """Return the client, the profile of the device and its answer to `HELLO` now.

        Raises:
            UnreadableError: it is silent, refuses, or is not the device that it should be.
        """
        client = await self._ready()
        try:
            hello = self._expected(await client.get(HELLO))
            known = self._recognized
            if known is None or known.hello.kind != hello.kind:
                async with self._one_at_a_time:  # a reading goes by the profile with which it began
                    known = await self._recognize(client, hello)
        except SnmpError as err:
            raise self.lost(err) from err
        finally:
            client.close()
        return client, known.profile, hello

    def lost(self, err: SnmpError) -> UnreadableError:
        """Return an error of the engine as connectors raise it; after silence the address is looked up again."""
        if isinstance(err, SilentError):
            self._client = None
        return unreadable(err)

    async def client(self) -> SnmpClient:
        """Return the client, for questions by hand.

        Raises:
            UnreadableError: a secret is missing or unusable, or its name is not known.
        """
        return await self._ready()

    async def _ready(self) -> SnmpClient:
        credential = credential_of(self.device.access, self._secrets)
        if self._client is not None and credential == self._credential:
            return self._client
        try:
            # Leaving the block closes its sockets, of which it opens new ones when it is asked again.
            async with open_client(
                self.device.address, self.device.port, credential, self._limits, shared=self._shared
            ) as client:
                self._client, self._credential = client, credential
        except SnmpError as err:
            raise unreadable(err) from err
        return client

    async def _read(self, client: SnmpClient) -> DeviceReading:
        known, unread = self._recognized, dict[Oid, str]()
        scalars = await client.get(HELLO if known is None else (*HELLO, *known.wanted.scalars), unread)
        if broken := [unread[name] for name in HELLO if name in unread]:
            # Without these it is not known which device answers: nothing of it may stand under the name of this one
            raise RequestRefusedError(f"{self.device.id}: {broken[0]}", "hello")
        hello = self._expected(scalars)
        if known is None or known.hello.kind != hello.kind:
            known = await self._recognize(client, hello)
            unread.clear()
            scalars = await client.get(known.wanted.scalars, unread)
        return await self._whole(client, known.profile, known.wanted, scalars, unread)

    def _expected(self, scalars: Mapping[Oid, Value]) -> Hello:
        """Return the device's answer to `HELLO`.

        Raises:
            UnreadableError: it calls itself otherwise than it should.
        """
        hello = hello_in(scalars)
        if self.device.sys_name and hello.name != self.device.sys_name:
            why = (
                f"{self.device.id}: expected the device {self.device.sys_name!r} at {self.device.place}, got "
                f"{hello.name!r}: it was renamed, or another device answers there; see sys_name in its section"
            )
            raise UnreadableError(why, reason=TargetReason.REFUSED)
        return hello

    async def _whole(
        self,
        client: SnmpClient,
        profile: SnmpProfile,
        wanted: WantedValues,
        scalars: Mapping[Oid, Value],
        unread: Mapping[Oid, str],
    ) -> DeviceReading:
        columns: dict[Oid, Mapping[bytes, Value]] = {}
        not_read = [f"{values.dotted(name)}: {why}" for name, why in unread.items()]
        before = client.octets
        columns.update(await self._empty_tables(client, [one for one in wanted.columns if one in self._empty]))
        for group in wanted.columns:
            if group[0] in columns:
                continue
            if client.octets - before > READING_OCTETS_MAX:
                not_read.append(f"the table of {values.dotted(group[0])}: the answers before it are too large")
                continue
            found, why = await self._table(client, group)
            columns.update(found)
            if why:
                not_read.append(why)
        empty = (group for group in wanted.columns if not any(columns.get(column, True) for column in group))
        self._empty = frozenset(empty)
        read_s = int(self._wall_s())
        compute = partial(profile_reading.read, profile, self.device.id, read_s, scalars, columns, tuple(not_read))
        large = sum(map(len, columns.values())) > ASIDE_VALUES
        reading = await trio.to_thread.run_sync(compute) if large else compute()
        return replace(reading, every_s=self.every_s, places=(self.device.place,))

    async def _recognize(self, client: SnmpClient, hello: Hello) -> _Recognized:
        if self.device.profile:
            (profile,) = (one for one in self._profiles if one.name == self.device.profile)
        else:
            profile = await recognize(client, self._profiles, hello)
        self._skipped.clear()
        self._empty = frozenset()
        self._recognized = _Recognized(profile, hello, profile_choice.wanted(profile))
        return self._recognized

    async def _empty_tables(
        self, client: SnmpClient, groups: Sequence[tuple[Oid, ...]]
    ) -> Mapping[Oid, Mapping[bytes, Value]]:
        """Return the rows of tables that had none at the last reading: all of them in a few requests.

        A profile wants some thirty tables, and most devices have five. Where it fails, each is asked by itself.
        """
        found: dict[Oid, Mapping[bytes, Value]] = {}
        together: list[Oid] = []
        for number, group in enumerate(groups, 1):
            together += group
            if len(together) < TOGETHER and number < len(groups):
                continue
            try:
                found.update(await client.table(together))
            except SilentError:
                await client.get((SYS_UPTIME,))
            except (RequestRefusedError, AgentFaultError):
                pass
            together = []
        return found

    async def _table(
        self, client: SnmpClient, columns: tuple[Oid, ...]
    ) -> tuple[Mapping[Oid, Mapping[bytes, Value]], str]:
        """Return the rows of a table, or why it was not read.

        Raises:
            SilentError: the device does not answer anything any more.
        """
        name, now_s, skipped = values.dotted(columns[0]), self._wall_s(), self._skipped.get(columns)
        if skipped is not None and skipped.rests(now_s):
            within = age_text(int(skipped.for_s))
            return {}, f"the table of {name}: not read since {skipped.since()}; it is asked every {within}"
        try:
            found = await client.table(columns)
        except SilentError as err:
            await client.get((SYS_UPTIME,))
            for_s = SKIP_S if skipped is None else min(2 * skipped.for_s, SKIP_MOST_S)
            skipped = _Skipped(now_s if skipped is None else skipped.since_s, now_s, for_s)
            self._skipped[columns] = skipped
            why = f"not read since {skipped.since()}: the device answers other questions, but not this one: {err}"
            return {}, f"the table of {name}: {why}"
        except RemoteSnmpError as err:
            return {}, f"the table of {name}: {err}"
        self._skipped.pop(columns, None)
        return found, ""


def profile_every_s(device: SnmpDevice, profiles: Sequence[SnmpProfile]) -> float:
    """Return the pace of a device that was not recognized yet: that of its profile, or of the standard MIBs."""
    name = device.profile or profile_choice.STANDARD
    return next((one.every_s for one in profiles if one.name == name), 300.0)


async def hello_of(client: SnmpClient) -> Hello:
    """Ask a device for its sysObjectID, sysDescr and sysName.

    Raises:
        RemoteSnmpError: it is silent, or refuses.
    """
    return hello_in(await client.get(HELLO))


def hello_in(found: Mapping[Oid, Value]) -> Hello:
    """Return a device's description of itself from its answers."""
    tag, content = found.get(SYS_OBJECT_ID, (values.NULL, b""))
    object_id = Oid(content) if tag == values.OBJECT_IDENTIFIER and isinstance(content, bytes) else Oid(b"")
    return Hello(object_id, _text(found.get(SYS_DESCR)), _text(found.get(SYS_NAME)))


async def recognize(client: SnmpClient, profiles: Sequence[SnmpProfile], hello: Hello) -> SnmpProfile:
    """Return the profile for a device.

    Raises:
        RemoteSnmpError: it stopped answering.
    """
    asked = profile_choice.probes(profiles, hello.object_id, hello.description)
    answers = await client.get(asked, {}) if asked else {}
    return profile_choice.choose(profiles, hello.object_id, hello.description, answers)


def credential_of(access: SnmpAccess, secrets: Callable[[str], bytes]) -> SnmpCredential:
    """Return a credential with its secrets.

    Raises:
        UnreadableError: one is not set, or cannot be used.
    """
    try:
        return access.with_secrets(
            *(secrets(name) if name else b"" for name in (access.community, access.auth_secret, access.priv_secret))
        )
    except UnusableCredentialError as err:
        raise UnreadableError(f"snmp-credential.{access.name}: {err}", reason=TargetReason.MISSING_SECRET) from err


def unreadable(err: SnmpError) -> UnreadableError:
    """Return an error of the engine as connectors raise it."""
    reason: AnyReason = TargetReason.UNREACHABLE
    if isinstance(err, RequestRefusedError):
        reason = TargetReason.REFUSED
    elif isinstance(err, AgentFaultError):
        reason = TargetReason.MALFORMED
    return UnreadableError(str(err), reason=reason)


def _text(value: Value | None) -> str:
    found = None if value is None else conversions.plain(value)
    return "" if found is None else str(found)
