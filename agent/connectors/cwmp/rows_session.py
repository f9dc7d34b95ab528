"""Writing rows of a CPE's tables: AddObject and its fields, new values for some, DeleteObject (TR-069 A.3.2.6, .7).

A row is made in two requests. Where the second is refused, the first is taken back at once; where the CPE hangs up in
between, an empty row stays behind that no key finds: its number is in the CPE's own list, and `cpe refresh` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.connectors.base import LostError, NotSentError, Reply, UnreadableError
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.faults import refused
from agent.connectors.cwmp.line_session import CpeLine
from agent.connectors.cwmp.reasons import CwmpReason
from agent.cpe_model import rows
from agent.cpe_model.addresses import TableRow, what_of
from agent.model import Absent, Transition
from agent.reasons import TargetReason


async def send(line: CpeLine, call: CwmpSession, writes: Sequence[Transition], key: str) -> Reply:
    """Make, change or delete a row, which still reads *before*.

    Raises:
        NotSentError: nothing was sent. LostError: the CPE hung up.
    """
    if len(writes) != 1 or not isinstance(row := what_of(writes[0].address), TableRow):
        raise NotSentError("expected one row in a step, and nothing beside it", reason=TargetReason.UNSUPPORTED)
    write = writes[0]
    try:
        found = await line.below(call, row.table)
    except UnreadableError as err:
        raise NotSentError(f"it could not be read before it was to be written: {err}", reason=err.reason) from err
    if rows.is_ambiguous(row, found):
        raise NotSentError(f"several rows of {row.table} have this key", reason=TargetReason.AMBIGUOUS)
    if unreadable := rows.unreadable(row, found, whole=isinstance(write.after, Absent)):
        raise NotSentError(
            f"{', '.join(unreadable)}: reads what cannot be decoded, and could not be told apart or put back",
            reason=CwmpReason.UNREADABLE_VALUE,
        )
    number = rows.number_of(row, found)
    if isinstance(write.after, Absent):
        if number is None:
            raise NotSentError(f"there is no such row of {row.table}", reason=TargetReason.DRIFTED)
        return await _delete(line, call, f"{row.table}{number}.", key)
    fields = {name: text for name, text in write.after.items() if isinstance(text, str)}
    if number is None and (lost := rows.secrets(row)):  # it was deleted, and is to be made again
        raise NotSentError(f"{', '.join(lost)} of the row is not known: make it anew", reason=CwmpReason.SECRET_UNKNOWN)
    if number is None:
        return await _add(line, call, row, fields, key)
    before = {} if isinstance(write.before.value, Absent) else write.before.value
    changed = {name: text for name, text in fields.items() if before.get(name) != text}
    return await line.set_values(call, [line.typed(f"{row.table}{number}.{n}", t) for n, t in changed.items()], key)


async def _add(line: CpeLine, call: CwmpSession, row: TableRow, fields: dict[str, str], key: str) -> Reply:
    added = await line.ask(call, m.AddObject(row.table, key))
    await line.worked("add-object", added)
    if isinstance(added, m.Fault):
        return refused(added)
    if not isinstance(added, m.AddObjectResponse) or added.instance_number < 1:
        return Reply(False, TargetReason.NO_INSTANCE, f"{row.table}: the CPE gave the new row no number")
    new = f"{row.table}{added.instance_number}."
    try:
        set_ = await _fill(line, call, new, fields, key)
        if not set_.accepted:
            taken_back = await _delete(line, call, new, key)
    except (NotSentError, UnreadableError) as err:  # of the second request: the first was done
        raise LostError(f"the CPE has a new row, {new}, which is not filled: {err}", reason=err.reason) from err
    if not set_.accepted:
        text = "the new row was deleted again" if taken_back.accepted else "AND THE NEW ROW COULD NOT BE DELETED AGAIN"
        return Reply(False, set_.reason, f"{set_.detail} · {text}")
    return set_


async def _fill(line: CpeLine, call: CwmpSession, new: str, fields: dict[str, str], key: str) -> Reply:
    """Set the fields of a new row, but those that the CPE sets by itself; a refusal of ours is told like the CPE's."""
    try:
        there = await line.names(call, new)
        await line.below(call, new)  # what types its fields have
        values = [line.typed(f"{new}{n}", text) for n, text in fields.items() if there.get(f"{new}{n}", True)]
        return await line.set_values(call, values, key)
    except (NotSentError, UnreadableError) as err:
        if call.over.is_set():
            raise
        return Reply(False, err.reason, str(err))


async def _delete(line: CpeLine, call: CwmpSession, path: str, key: str) -> Reply:
    answer = await line.ask(call, m.DeleteObject(path, key))
    return refused(answer) if isinstance(answer, m.Fault) else Reply(True, TargetReason.OK)
