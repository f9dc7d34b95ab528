"""Writing rows of a CPE's tables: AddObject and its fields, new values for some, DeleteObject (TR-069 A.3.2.6, .7).

A row is made in two requests. Where the second is refused, the first is taken back at once. Where the CPE hangs up in
between, an empty row stays behind that no key finds. The next try fills that one, if it reads as it was made; one that
cannot be told from others, as after a restart of the agent, is left and named: `cpe refresh` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.connectors.base import LostError, NotSentError, Reply, UnreadableError
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.faults import refused
from agent.connectors.cwmp.line_session import CpeLine
from agent.connectors.cwmp.reasons import CwmpReason
from agent.cpe_model import rows
from agent.cpe_model.addresses import TableRow, what_of
from agent.cpe_model.known import CachedParameter
from agent.model import Absent, Transition
from agent.reasons import TargetReason


async def send(line: CpeLine, call: CwmpSession, writes: Sequence[Transition], key: str, earlier: str = "") -> Reply:
    """Make, change or delete a row, which still reads *before*.

    Args:
        line: of the CPE.
        call: its session that is open now.
        writes: the step's only transition.
        key: the ParameterKey of this try.
        earlier: the beginning of those of the step's earlier tries, "": there were none.

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
        return await _add(line, call, row, fields, found, key, earlier)
    line.made.pop(f"{row.table}{number}.", None)
    before = {} if isinstance(write.before.value, Absent) else write.before.value
    changed = {name: text for name, text in fields.items() if before.get(name) != text}
    return await line.set_values(call, [line.typed(f"{row.table}{number}.{n}", t) for n, t in changed.items()], key)


async def _add(
    line: CpeLine,
    call: CwmpSession,
    row: TableRow,
    fields: dict[str, str],
    found: Mapping[str, CachedParameter],
    key: str,
    earlier: str,
) -> Reply:
    """Make a row and fill it, or fill the one that an earlier try made. `found`: the table as it reads now."""
    new = _unfilled(line, row.table, fields, found)
    left = "" if new else await _left_behind(line, call, row.table, found, earlier)
    if not new:
        line.made[row.table] = None  # it stays where the answer is lost, with the number
        try:
            added = await line.ask(call, m.AddObject(row.table, key))
        except NotSentError:
            del line.made[row.table]
            raise
        del line.made[row.table]
        await line.worked("add-object", added)
        if isinstance(added, m.Fault):
            return refused(added)
        if not isinstance(added, m.AddObjectResponse) or added.instance_number < 1:
            return Reply(False, TargetReason.NO_INSTANCE, f"{row.table}: the CPE gave the new row no number")
        new = f"{row.table}{added.instance_number}."
        line.made[new] = None
    try:
        set_ = await _fill(line, call, new, fields, key)
        if not set_.accepted:
            taken_back = await _delete(line, call, new, key)
    except (NotSentError, UnreadableError) as err:  # of the second request: the first was done
        raise LostError(f"the CPE has a new row, {new}, which is not filled: {err}", reason=err.reason) from err
    line.made.pop(new, None)
    if not set_.accepted:
        text = "the new row was deleted again" if taken_back.accepted else "AND THE NEW ROW COULD NOT BE DELETED AGAIN"
        return Reply(False, set_.reason, f"{set_.detail} · {text}")
    return replace(set_, detail=" · ".join(filter(None, (set_.detail, left))))


def _unfilled(line: CpeLine, table: str, fields: Mapping[str, str], found: Mapping[str, CachedParameter]) -> str:
    """Return the path of a row that an earlier try made and that nobody filled since, "": none is known."""
    for number, now in rows.instances(table, found).items():
        as_made = line.made.get(f"{table}{number}.")
        if as_made is not None and all(as_made.get(n) == now[n].value for n in fields if n in now):
            return f"{table}{number}."
    return ""


async def _left_behind(
    line: CpeLine, call: CwmpSession, table: str, found: Mapping[str, CachedParameter], earlier: str
) -> str:
    """Return which row an earlier try left empty that is not known well enough to be filled, for people; "": none.

    Its ParameterKey tells that an earlier try of the same step made a row, also one before a restart of the agent.

    Raises:
        NotSentError: the CPE hung up.
    """
    numbers = rows.instances(table, found)
    known = [path for number in numbers if (path := f"{table}{number}.") in line.made]
    maybe = table in line.made
    for path in (*known, table):
        line.made.pop(path, None)
    if earlier and not (known or maybe):
        try:
            kept = (await line.values(call, [line.parameter_key_path()])).get(line.parameter_key_path())
        except UnreadableError as err:
            raise NotSentError(f"it could not be read before it was to be written: {err}", reason=err.reason) from err
        maybe = kept is not None and (kept.value or "").startswith(earlier)
    if not (known or maybe):
        return ""
    which = ", ".join(known) or f"one of {table}"
    return f"LOOK: an earlier try may have left a row empty ({which}): ispagent cpe refresh {line.name} {table}"


async def _fill(line: CpeLine, call: CwmpSession, new: str, fields: dict[str, str], key: str) -> Reply:
    """Set the fields of a new row, but those that the CPE sets by itself; a refusal of ours is told like the CPE's."""
    try:
        there = await line.names(call, new)
        read = await line.below(call, new)  # what types its fields have
        line.made[new] = {path.removeprefix(new): known.value for path, known in read.items()}
        values = [line.typed(f"{new}{n}", text) for n, text in fields.items() if there.get(f"{new}{n}", True)]
        return await line.set_values(call, values, key)
    except (NotSentError, UnreadableError) as err:
        if call.over.is_set():
            raise
        return Reply(False, err.reason, str(err))


async def _delete(line: CpeLine, call: CwmpSession, path: str, key: str) -> Reply:
    answer = await line.ask(call, m.DeleteObject(path, key))
    return refused(answer) if isinstance(answer, m.Fault) else Reply(True, TargetReason.OK)
