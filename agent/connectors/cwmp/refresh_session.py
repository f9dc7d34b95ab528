"""Reading a CPE for people: what its profile has names for, a path, or all of it. Nothing is written.

The first look at a CPE asks which parameters there are (GetParameterNames), and then for those that have a name in its
profile: a CPE that lacks one of many refuses them all, and some models do not live through being read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent.connectors.base import UnreadableError
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.line_session import CpeLine
from agent.connectors.cwmp.reasons import CwmpReason
from agent.cpe_model.profiles import CpeProfile
from agent.cpe_model.vocabulary import INSTANCE, TABLE, UnknownNameError

ALL: Final = "all"
"""What stands for everything that a CPE has."""


async def refresh(line: CpeLine, call: CwmpSession, wanted: Sequence[str]) -> tuple[str, ...]:
    """Read what is wanted of a CPE on the line; return what could not be read, a sentence each.

    Args:
        line: of the CPE.
        call: its session.
        wanted: names, paths, objects' paths, or `all`; empty: what its profile has names for.

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
            path = profile.root if name == ALL else profile.resolve(name)
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
    """Read what the profile has names for and the CPE has; tables whole."""
    wanted = [mapped for mapped in profile.parameters if INSTANCE not in mapped.path]
    if profile.unsafe_call("GetParameterNames", profile.root) is None:
        there = await line.names(call, profile.root)
        wanted = [mapped for mapped in wanted if mapped.path in there]
    problems: list[str] = []
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
    """Take note of what this model shows: its values at all, its Wi-Fi, who is in the house."""
    known = line.named()
    await line.evidence("read", True, "")
    if any(name.startswith("wifi.") for name in known):
        await line.evidence("wifi", True, "")
    if any(name.startswith("hosts.") for name in known):
        await line.evidence("hosts", True, "")
