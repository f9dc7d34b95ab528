"""Reading a CPE for people: the parameters that its profile names, a path, or all of it. Nothing is written.

A look at a CPE asks which parameters there are (GetParameterNames), then for the references by which its WAN, its LAN
and its networks are found, and then for those that have a name in its profile: a CPE that lacks one of many refuses
them all, and some models do not live through being read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.connectors.base import UnreadableError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.line_session import CpeLine
from agent.connectors.cwmp.reasons import CwmpReason
from agent.cpe_model import places
from agent.cpe_model.profiles import CpeProfile
from agent.cpe_model.tracked import is_tracked
from agent.cpe_model.vocabulary import INSTANCE, TABLE, UnknownNameError, UnplacedNameError

ALL: Final = "all"
"""The word for everything that a CPE has."""


async def refresh(line: CpeLine, call: CwmpSession, wanted: Sequence[str]) -> tuple[str, ...]:
    """Read the wanted parameters of a CPE on the line; return the failures, a sentence each.

    Args:
        line: of the CPE.
        call: its session.
        wanted: names, paths, objects' paths, or `all`; empty: those that its profile names.

    Raises:
        UnreadableError: the CPE hung up, or a name is unknown.
    """
    profile = line.profile()
    problems: list[str] = []
    try:
        await line.settle_secrets(call)
    except UnreadableError as err:
        if call.over.is_set():
            raise
        problems.append(str(err))
    if not wanted:
        return (*problems, *await _vocabulary(line, call, profile))
    for name in wanted:
        try:
            path = profile.root if name == ALL else await _path(line, call, name)
        except UnplacedNameError as err:
            problems.append(str(err))
            continue
        except UnknownNameError as err:
            raise UnreadableError(str(err), reason=CwmpReason.UNKNOWN_PARAMETER) from err
        try:
            if path.endswith("."):
                await line.below(call, path)
            elif not await line.values(call, [path]):
                problems.append(f"{path}: the CPE has no such parameter")
        except UnreadableError as err:
            if call.over.is_set():
                raise
            problems.append(str(err))
    await _evidence(line)
    return tuple(problems)


async def sample(line: CpeLine, call: CwmpSession) -> None:
    """Read the parameters of a CPE that have a history, those that are known to be there; a few, in one request or two.

    Raises:
        UnreadableError: the CPE hung up, or refused.
    """
    uptime = line.profile().path("uptime")
    paths = [path for path in (uptime, *line.known_paths()) if path is not None and is_tracked(path)]
    await line.values(call, list(dict.fromkeys(paths))[: limits.SAMPLED])


async def _path(line: CpeLine, call: CwmpSession, name: str) -> str:
    """Return the path of a name or a path; the references by which a name is found are read before.

    Raises:
        UnknownNameError: neither, or a name with no known place at this CPE.
    """
    before = line.bound()
    path = before.path(name)
    if path is None and before.why_unplaced(name) is None:
        return before.resolve(name)
    if path is not None and path not in before.rests_on:
        return path
    references = before.rests_on.get(path, ()) if path is not None else ()
    if references:
        await line.values(call, references)
    if path is None or line.bound().path(name) != path:
        await _structure(line, call, before, [])
    return line.bound().resolve(name)


async def _structure(line: CpeLine, call: CwmpSession, profile: CpeProfile, problems: list[str]) -> dict[str, bool]:
    """Read the references by which places are found; return the names that the CPE has, as far as it may be asked."""
    there: dict[str, bool] = {}
    whole = profile.unsafe_call("GetParameterNames", profile.root) is None
    for path in (profile.root,) if whole else places.objects(profile.root):
        try:
            there |= await line.names(call, path)
        except UnreadableError as err:
            if call.over.is_set() or whole:
                raise
            problems.append(str(err))
            continue
        known = places.structural(profile.root, line.known_paths())
        await line.forget([each for each in known if each.startswith(path) and each not in there])
    await _each(line, call, places.structural(profile.root, there), problems)
    return there


async def _each(line: CpeLine, call: CwmpSession, paths: Sequence[str], problems: list[str]) -> None:
    """Read parameters together; where the CPE refuses one, each by itself, so that the others are known."""
    try:
        await line.values(call, paths)
    except UnreadableError:
        if call.over.is_set():
            raise
        for path in paths:
            try:
                await line.values(call, [path])
            except UnreadableError as err:
                if call.over.is_set():
                    raise
                problems.append(str(err))


async def _vocabulary(line: CpeLine, call: CwmpSession, profile: CpeProfile) -> tuple[str, ...]:
    """Read the parameters that the profile names and the CPE has; tables whole."""
    problems: list[str] = []
    there = await _structure(line, call, profile, problems)
    asked = profile.unsafe_call("GetParameterNames", profile.root) is None
    known = (profile.root,) if asked else places.objects(profile.root)
    wanted = [
        mapped
        for mapped in line.bound().parameters
        if INSTANCE not in mapped.path and (mapped.path in there or not mapped.path.startswith(known))
    ]
    await _each(line, call, [mapped.path for mapped in wanted if mapped.kind != TABLE], problems)
    for mapped in wanted:
        if mapped.kind == TABLE:
            try:
                await line.below(call, mapped.path)
            except UnreadableError as err:
                if call.over.is_set():
                    raise
                problems.append(str(err))
    await _evidence(line)
    return tuple(problems)


async def _evidence(line: CpeLine) -> None:
    """Take note of the workflows that this model shows: its values at all, its Wi-Fi, the hosts in the house."""
    known = line.named()
    await line.evidence("read", True, "")
    if any(name.startswith("wifi.") for name in known):
        await line.evidence("wifi", True, "")
    if any(name.startswith("hosts.") for name in known):
        await line.evidence("hosts", True, "")
