"""Questions that people ask devices by hand: get, walk, poll, list, credentials, discover."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import trio

from agent.connectors.base import AnswerRow, Question, UnreadableError
from agent.connectors.snmp import profile_choice, profile_files, values
from agent.connectors.snmp.answer_text import row_of, rows_of
from agent.connectors.snmp.client_session import SnmpClient, open_client
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig
from agent.connectors.snmp.credential import SnmpCredential
from agent.connectors.snmp.device_session import SnmpDeviceLine, credential_of, hello_of, recognize, unreadable
from agent.connectors.snmp.discovery import hosts_of
from agent.connectors.snmp.errors import NoOidError, RequestRefusedError, SnmpError
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.profile import SnmpProfile
from agent.connectors.snmp.values import Oid
from agent.line_model.reading import DeviceReading
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from trust.moments import moment_json

Tell = Callable[[AnswerRow], Awaitable[None]]
VERBS: Final = frozenset({"get", "walk", "poll", "list", "discover", "test", "heard"})
OIDS_MAX: Final = 1000
"""Names of one get by hand."""
SEARCHED_AT_ONCE: Final = 256
"""Addresses that are asked at the same time in a search. A silent one costs memory, and no more."""
SEARCH: Final = SnmpLimits(timeout_s=1.0, retries=1)
PROGRESS_S: Final = 1.0
UNANSWERED_S: Final = 12.0
"""So long a device is asked by hand that answers nothing: a request with its retries takes 10 s by default."""
POLL_S: Final = 120.0
"""A whole reading by hand takes no longer. Chosen arbitrarily."""
MIB_2: Final = "1.3.6.1.2.1"


async def answer(
    config: SnmpConfig,
    lines: Mapping[str, SnmpDeviceLine],
    secrets: Callable[[str], bytes],
    clock: Clock,
    question: Question,
    tell: Tell,
) -> None:
    """Answer a question.

    Raises:
        UnreadableError: the device cannot be asked, or the question makes no sense.
    """
    match question.verb:
        case "get":
            await _get(_line(lines, question), question.words, tell)
        case "walk":
            await _walk(_line(lines, question), question.words, tell)
        case "poll":
            await _poll(_line(lines, question), clock, tell)
        case "test":
            await _test(config, _line(lines, question), question.words, tell)
        case "list":
            for line in lines.values():
                await tell(_listed(line))
        case "discover":
            await _Search(config, lines, secrets, clock).run(question, tell)
        case other:
            raise _senseless(f"expected one of {', '.join(sorted(VERBS))}, got {other[:40]!r}")


def _line(lines: Mapping[str, SnmpDeviceLine], question: Question) -> SnmpDeviceLine:
    for line in lines.values():
        if question.target in (line.device.id, line.device.name):
            return line
    known = ", ".join(sorted(line.device.name for line in lines.values())) or "none"
    why = f"there is no device {question.target[:40]!r}; configured: {known[:400]}"
    raise UnreadableError(why, reason=TargetReason.UNKNOWN_TARGET)


def _senseless(text: str) -> UnreadableError:
    return UnreadableError(text, reason=TargetReason.UNSUPPORTED)


def _oids(words: Sequence[str]) -> list[Oid]:
    try:
        return [values.oid(word) for word in words]
    except NoOidError as err:
        raise _senseless(str(err)) from err


async def _get(line: SnmpDeviceLine, words: Sequence[str], tell: Tell) -> None:
    if not 1 <= len(words) <= OIDS_MAX:
        raise _senseless(f"expected 1 to {OIDS_MAX} OIDs, got {len(words)}")
    oids = _oids(words)
    client = await line.client()
    try:
        found = await client.get(oids)
    except SnmpError as err:
        raise unreadable(err) from err
    for oid in oids:
        await tell(row_of(oid, found.get(oid, (values.NO_SUCH_OBJECT, 0))))


async def _walk(line: SnmpDeviceLine, words: Sequence[str], tell: Tell) -> None:
    if len(words) > 1:
        raise _senseless(f"expected one OID to walk below, got {len(words)}")
    (root,) = _oids(words or (MIB_2,))
    client, count = await line.client(), 0
    try:
        async for oid, value in client.walk(root):
            count += 1
            await tell(row_of(oid, value))
    except SnmpError as err:
        raise unreadable(err) from err
    await tell({"count": count})


async def _poll(line: SnmpDeviceLine, clock: Clock, tell: Tell) -> None:
    began_boot_s, octets = clock.boot_s(), line.octets
    unanswered_s = max(UNANSWERED_S, 2 * line.device.timeout_s)
    read: list[DeviceReading | UnreadableError] = []

    async def reading_itself() -> None:
        try:
            read.append(await line.read())
        except UnreadableError as err:
            read.append(err)
        nursery.cancel_scope.cancel()

    with trio.move_on_after(POLL_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading_itself)
            while not read:
                await clock.sleep(PROGRESS_S)
                elapsed_s, came = clock.boot_s() - began_boot_s, line.octets - octets
                if not came and elapsed_s >= unanswered_s:
                    nursery.cancel_scope.cancel()
                    why = f"{line.device.id}: no answer in {elapsed_s:.0f} s: unreachable, or wrong secret"
                    read.append(UnreadableError(why, reason=TargetReason.UNREACHABLE))
                text = f"{came} octets were read" if came else "no answer yet: unreachable, or wrong secret"
                await tell({"progress": round(elapsed_s, 1), "text": text})
    found = (
        read[0]
        if read
        else UnreadableError(
            f"{line.device.id}: expected a whole reading in {POLL_S:g} s", reason=TargetReason.UNREACHABLE
        )
    )
    if isinstance(found, UnreadableError):
        raise found
    for row in rows_of(found):
        await tell(row)
    await tell({"count": len(found.parts) + len(found.sensors), "elapsed_s": round(clock.boot_s() - began_boot_s, 2)})


async def _test(config: SnmpConfig, line: SnmpDeviceLine, words: Sequence[str], tell: Tell) -> None:
    if len(words) != 2:
        raise _senseless("expected the name of a profile and its text")
    name, text = words
    found, problems = profile_files.load({**config.own_profiles, name: text})
    profile = next((one for one in found if one.name == name and one.own), None)
    if profile is None:
        raise _senseless("; ".join(problems))
    for row in rows_of(await line.read_by(profile)):
        await tell(row)


def _listed(line: SnmpDeviceLine) -> AnswerRow:
    device, last = line.device, line.last
    return {
        "name": device.name,
        "address": device.place,
        "credential": device.access.name,
        "version": device.access.version.value,
        "profile": device.profile or ("" if last is None else last.profile),
        "every_s": line.every_s,
        "sys_name": "" if last is None else last.identity,
        "read_at": moment_json(last and last.read_s),
    }


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for devices that are not configured, by addresses and credentials."""

    config: SnmpConfig
    lines: Mapping[str, SnmpDeviceLine]
    secrets: Callable[[str], bytes]
    clock: Clock

    async def run(self, question: Question, tell: Tell) -> None:
        """Ask each address by each credential, and tell the devices that answer.

        Raises:
            UnreadableError: no address, an unknown credential or too many addresses.
        """
        usable = self._usable(self._accesses(question.options.get("credentials", "")))
        configured = [line.device.address for line in self.lines.values()]
        words = list(question.words)
        if "neighbors" in question.options:
            words += self._heard()
        try:
            hosts = hosts_of(words, configured)
        except SnmpError as err:
            raise _senseless(str(err)) from err
        port = question.options.get("port", "161")
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
            raise _senseless(f"expected a port from 1 to 65535, got {port[:20]!r}")
        asked, found, told_boot_s = 0, 0, self.clock.boot_s()
        await tell({"progress": 0, "of": len(hosts), "found": 0})
        left, profiles = iter(hosts), profile_files.load(self.config.own_profiles)[0]

        async def work() -> None:
            nonlocal asked, found, told_boot_s
            for host in left:
                row = await self._ask(host, int(port), usable, profiles)
                asked += 1
                if row is not None:
                    found += 1
                    await tell(row)
                if self.clock.boot_s() - told_boot_s >= PROGRESS_S:
                    told_boot_s = self.clock.boot_s()
                    await tell({"progress": asked, "of": len(hosts), "found": found})

        async with trio.open_nursery() as nursery:
            for _ in range(min(SEARCHED_AT_ONCE, len(hosts))):
                nursery.start_soon(work)
        await tell({"progress": asked, "of": len(hosts), "found": found})

    def _accesses(self, names: str) -> list[SnmpAccess]:
        known = {access.name: access for access in self.config.accesses}
        wanted = names.split(",") if names else list(known)
        if unknown := [name for name in wanted if name not in known]:
            have = ", ".join(known) or "none"
            raise _senseless(f"there is no [snmp-credential.{unknown[0][:40]}]; configured: {have}")
        if not wanted:
            raise _senseless("no [snmp-credential.NAME] is configured: a search needs one to ask by")
        return [known[name] for name in wanted]

    def _usable(self, accesses: Sequence[SnmpAccess]) -> Mapping[str, SnmpCredential]:
        """Return the credentials whose secrets are set, by name: one that is not must not end the search by others.

        Raises:
            UnreadableError: none is.
        """
        found: dict[str, SnmpCredential] = {}
        missing: list[UnreadableError] = []
        for access in accesses:
            try:
                found[access.name] = credential_of(access, self.secrets)
            except UnreadableError as err:
                missing.append(err)
        if not found:
            raise missing[0]
        return found

    def _heard(self) -> list[str]:
        """Return the addresses of the neighbors of configured devices, as they were read last."""
        every = [one.address for line in self.lines.values() if line.last is not None for one in line.last.neighbors]
        return sorted({address for address in every if _is_address(address)})

    async def _ask(
        self, host: str, port: int, usable: Mapping[str, SnmpCredential], profiles: Sequence[SnmpProfile]
    ) -> AnswerRow | None:
        refused = ""
        for name, credential in usable.items():
            try:
                async with open_client(host, port, credential, SEARCH) as client:
                    return await self._found(client, host, name, profiles)
            except RequestRefusedError as err:
                refused = refused or f"{name}: {err}"
            except SnmpError:
                continue
        return {"address": host, "credential": "", "problem": refused} if refused else None

    async def _found(
        self, client: SnmpClient, host: str, credential: str, profiles: Sequence[SnmpProfile]
    ) -> AnswerRow:
        hello = await hello_of(client)
        profile = await recognize(client, profiles, hello)
        same = [line.device.name for line in self.lines.values() if line.last and line.last.identity == hello.name]
        return {
            "address": host,
            "credential": credential,
            "sys_name": hello.name,
            "profile": profile.name,
            "known": "" if profile.name == profile_choice.STANDARD else profile.title,
            "description": hello.description,
            "object_id": values.dotted(hello.object_id) if hello.object_id else "",
            "same_name": ", ".join(same) if hello.name else "",
        }
