"""The walker with agents that are small, broken or hostile: each gives whole tables or a named error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.snmp import pdu
from agent.connectors.snmp.ber import Varbind
from agent.connectors.snmp.errors import AgentFaultError, RequestRefusedError
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.pdu import NO_SUCH_NAME, TOO_BIG, Pdu, PduKind
from agent.connectors.snmp.questions import GetQuestion
from agent.connectors.snmp.values import END_OF_MIB_VIEW, INTEGER, NO_SUCH_OBJECT, Oid, Value, oid, order, suffix
from agent.connectors.snmp.walk import Sizes, TableWalk
from tests.builders.expect import expect

ROOT = "1.3.6.1.4.1.41112.9"
COLUMNS = tuple(oid(f"{ROOT}.{n}") for n in range(1, 6))
BEHIND = oid("1.3.6.1.4.1.41112.10.1")
LIMITS = SnmpLimits(repetitions=20, walked=2_000)


def table(rows: int, columns: tuple[Oid, ...] = COLUMNS) -> dict[Oid, Value]:
    return {Oid(c + suffix((n,))): (INTEGER, n) for c in columns for n in range(1, rows + 1)} | {BEHIND: (INTEGER, 0)}


@dataclass
class Agent:
    """An agent with these values. `varbinds`: it cuts answers there; `big`: it says tooBig beyond."""

    values: Mapping[Oid, Value]
    varbinds: int = 10_000
    big: int = 10_000
    v1: bool = False
    requests: list[Pdu] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = sorted(self.values, key=order)

    def after(self, name: Oid) -> Varbind:
        found = next((n for n in self.names if order(n) > order(name)), None)
        return (name, (END_OF_MIB_VIEW, b"")) if found is None else (found, self.values[found])

    def answer(self, body: bytes) -> Pdu:
        asked = expect(Pdu, pdu.pdu_untrusted(body, 0, len(body)))
        self.requests.append(asked)
        names = [name for name, _ in asked.varbinds]
        if asked.kind is PduKind.GET:
            found = [(n, self.values.get(n, (NO_SUCH_OBJECT, b""))) for n in names]
            if self.v1 and (missing := [n for n in names if n not in self.values]):
                return self.said(NO_SUCH_NAME, names.index(missing[0]) + 1)
        else:
            assert self.v1 is (asked.kind is PduKind.GET_NEXT)
            found = []
            for _ in range(asked.index if asked.kind is PduKind.GET_BULK else 1):
                row = [self.after(name) for name in names]
                found += row
                names = [name for name, _ in row]
            ended = [n for n, (_, (tag, _)) in enumerate(found, 1) if tag == END_OF_MIB_VIEW]
            if self.v1 and ended:
                return self.said(NO_SUCH_NAME, ended[0])
        return self.said(TOO_BIG) if len(found) > self.big else Pdu(PduKind.RESPONSE, 1, 0, 0, found[: self.varbinds])

    def said(self, status: int, index: int = 0) -> Pdu:
        return Pdu(PduKind.RESPONSE, 1, status, index, ())


def walked(
    answer: Callable[[bytes], Pdu], columns: tuple[Oid, ...] = COLUMNS, *, bulk: bool = True, sizes: Sizes | None = None
) -> Mapping[Oid, Mapping[bytes, Value]]:
    walk = TableWalk(columns, sizes or Sizes(LIMITS), LIMITS, bulk=bulk)
    for _ in range(5_000):
        if walk.done:
            return walk.result()
        data = pdu.encode(answer(walk.body(1)))
        walk.receive(expect(Pdu, pdu.pdu_untrusted(data, 0, len(data), walk.columns)))
    raise AssertionError("the walk does not end")


def expected(values: Mapping[Oid, Value], columns: tuple[Oid, ...] = COLUMNS) -> Mapping[Oid, Mapping[bytes, Value]]:
    return {c: {n[len(c) :]: v for n, v in values.items() if n.startswith(c)} for c in columns}


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 19, 20, 21, 300])
def test_whole_tables(rows: int, v1: bool) -> None:
    values = table(rows)
    assert walked(Agent(values, v1=v1).answer, bulk=not v1) == expected(values)


@pytest.mark.parametrize("v1", [False, True])
def test_a_table_at_the_end_of_everything(v1: bool) -> None:
    values = table(5)
    del values[BEHIND]
    assert walked(Agent(values, v1=v1).answer, bulk=not v1) == expected(values)


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(1, 40))), st.integers(1, 60), st.integers(1, 60))
def test_sparse_tables_in_answers_of_any_size(cells: set[tuple[int, int]], cut: int, big: int) -> None:
    values = {Oid(COLUMNS[c] + suffix((n,))): (INTEGER, n) for c, n in cells} | {BEHIND: (INTEGER, 0)}
    assert walked(Agent(values, varbinds=cut, big=big).answer) == expected(values)


def test_a_small_device_is_soon_asked_for_what_it_can() -> None:
    agent = Agent(table(100), varbinds=12)
    walked(agent.answer)
    assert [request.index for request in agent.requests[:3]] == [20, 2, 2]


def test_a_device_that_recovers_is_asked_for_more_again() -> None:
    agent, sizes = Agent(table(100), varbinds=12), Sizes(LIMITS)
    walked(agent.answer, sizes=sizes)
    agent.varbinds = 10_000
    agent.requests.clear()
    walked(agent.answer, sizes=sizes)
    assert max(request.index for request in agent.requests) > 10


def test_the_next_walk_asks_for_as_many_rows_as_there_were() -> None:
    agent, sizes = Agent(table(7)), Sizes(LIMITS)
    walked(agent.answer, sizes=sizes)
    walked(agent.answer, sizes=sizes)
    agent = Agent(table(30))
    assert walked(agent.answer, sizes=sizes) == expected(agent.values)
    assert [request.index for request in agent.requests] == [8, 20, 20]


def test_one_value_is_too_big() -> None:
    with pytest.raises(RequestRefusedError, match=r"answered tooBig$") as caught:
        walked(Agent(table(3), big=0).answer)
    assert caught.value.status == "tooBig"


def test_another_error_names_the_column() -> None:
    def broken(body: bytes) -> Pdu:
        return Pdu(PduKind.RESPONSE, 1, 5, 1, ())

    with pytest.raises(RequestRefusedError, match=r"answered genErr for 1\.3\.6\.1\.4\.1\.41112\.9\.1"):
        walked(broken)


def test_an_answer_without_values() -> None:
    with pytest.raises(AgentFaultError, match=r"follows 1\.3\.6\.1\.4\.1\.41112\.9\.1, the device answered without"):
        walked(lambda body: Pdu(PduKind.RESPONSE, 1, 0, 0, ()))


def test_a_loop_is_named() -> None:
    agent = Agent(table(30))
    loop = {agent.names[9]: agent.names[3]}

    def answer(body: bytes) -> Pdu:
        whole = agent.answer(body)
        found, back = [], False
        for name, value in whole.varbinds:
            back = back or name in loop
            found.append((loop.get(name, name), value))
        return Pdu(PduKind.RESPONSE, 1, 0, 0, found)

    with pytest.raises(AgentFaultError, match=r"loops below 1\.3\.6\.1\.4\.1\.41112\.9\.1: .* answered .*\.4 again"):
        walked(answer, COLUMNS[:1])


@pytest.mark.parametrize(("late", "early"), [(9, 3), (150, 2), (45, 44)])
def test_a_loop_of_whole_rows_is_named(late: int, early: int) -> None:
    agent = Agent(table(200))

    def answer(body: bytes) -> Pdu:
        swapped = {Oid(c + suffix((late,))): Oid(c + suffix((early,))) for c in COLUMNS}
        found = [(swapped.get(name, name), value) for name, value in agent.answer(body).varbinds]
        return Pdu(PduKind.RESPONSE, 1, 0, 0, found)

    with pytest.raises(
        AgentFaultError, match=rf"loops below 1\.3\.6\.1\.4\.1\.41112\.9\.1: .* answered .*\.{early} again"
    ):
        walked(answer)


def test_a_device_that_always_answers_the_name_it_was_asked() -> None:
    def echo(body: bytes) -> Pdu:
        asked = expect(Pdu, pdu.pdu_untrusted(body, 0, len(body)))
        return Pdu(PduKind.RESPONSE, 1, 0, 0, [(name, (INTEGER, 1)) for name, _ in asked.varbinds])

    with pytest.raises(AgentFaultError, match="loops below"):
        walked(echo)


def test_unsorted_rows_are_taken() -> None:
    """Bridges sort their tables by hash: the successor is the next one in their own order."""
    shuffled = [3, 1, 200, 2, 40_000, 7]
    names = [Oid(COLUMNS[0] + suffix((n,))) for n in shuffled]
    following = dict(zip([COLUMNS[0], *names], [*names, BEHIND], strict=True))

    def answer(body: bytes) -> Pdu:
        asked = expect(Pdu, pdu.pdu_untrusted(body, 0, len(body)))
        return Pdu(PduKind.RESPONSE, 1, 0, 0, [(following[asked.varbinds[0][0]], (INTEGER, 1))])

    assert set(walked(answer, COLUMNS[:1])[COLUMNS[0]]) == {suffix((n,)) for n in shuffled}


def test_an_endless_table_ends() -> None:
    numbers = itertools.count(1)

    def answer(body: bytes) -> Pdu:
        found = [(Oid(COLUMNS[0] + suffix((next(numbers),))), (INTEGER, 1)) for _ in range(20)]
        return Pdu(PduKind.RESPONSE, 1, 0, 0, found)

    with pytest.raises(AgentFaultError, match=r"more than 2000 values below .*: no end in sight"):
        walked(answer, COLUMNS[:1])


@pytest.mark.parametrize("v1", [False, True])
def test_get_goes_on_where_a_device_is_small(v1: bool) -> None:
    values = table(50, COLUMNS[:1])
    absent = Oid(COLUMNS[1] + b"\1")
    question = GetQuestion([*values, absent])
    agent = Agent(values, big=7, v1=v1)
    while not question.done:
        question.receive(agent.answer(question.body(1)))
    assert question.found == {**values, absent: (NO_SUCH_OBJECT, b"")}


def test_get_refuses_other_names() -> None:
    question = GetQuestion([COLUMNS[0]])
    question.body(1)
    with pytest.raises(AgentFaultError, match=r"asked for .*\.9\.1, the device answered .*\.9\.2"):
        question.receive(Pdu(PduKind.RESPONSE, 1, 0, 0, [(COLUMNS[1], (INTEGER, 1))]))
    with pytest.raises(AgentFaultError, match="answered without any value"):
        question.receive(Pdu(PduKind.RESPONSE, 1, 0, 0, ()))
    with pytest.raises(RequestRefusedError, match="answered resourceUnavailable"):
        question.receive(Pdu(PduKind.RESPONSE, 1, 13, 0, ()))
