"""Turns of sources, the order of each, and who loses items when the queue is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.snmp.fair_queue import FairQueue


def test_sources_take_turns_and_each_stays_in_order() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        assert queue.put(item[0], item) is None
    served = []
    while (found := queue.take()) is not None:
        served.append(found[1])
        queue.done(found[0])
    assert served == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_source_under_way_waits_for_its_end() -> None:
    queue: FairQueue[str] = FairQueue(100)
    queue.put("a", "a1")
    queue.put("a", "a2")
    assert queue.take() == ("a", "a1")
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == ("a", "a2")


def test_a_source_that_floods_drops_its_own() -> None:
    queue: FairQueue[str] = FairQueue(4)
    for n in range(4):
        queue.put("flood", f"f{n}")
    assert queue.put("quiet", "q") == "f3"
    assert queue.put("flood", "f4") == "f4"
    assert len(queue) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 8))
def test_any_use_keeps_order_and_bound(steps: list[tuple[str, bool]], most: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(most)
    taken: dict[str, list[int]] = {}
    inside = 0
    for n, (source, put) in enumerate(steps):
        if put:
            inside += queue.put(source, (source, n)) is None
        elif (found := queue.take()) is not None:
            taken.setdefault(found[1][0], []).append(found[1][1])
            queue.done(found[0])
            inside -= 1
        assert len(queue) == inside <= most
    assert all(numbers == sorted(numbers) for numbers in taken.values())
