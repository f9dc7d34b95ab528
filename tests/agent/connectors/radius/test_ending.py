"""Which sessions a disconnect ends, first and again. Pure."""

from __future__ import annotations

import pytest

from agent.connectors.base import CLOCK_SET
from agent.connectors.radius.beginnings import CLOCKS_S, Began
from agent.connectors.radius.ending import has_it, seems_old, to_end_again
from agent.model import Address, Effect, ProofKind, Replay

GARDEN = "100.127.0.0/16,2001:db8:ff00::/40"
FIRST_S = 1_700_600_000


def effect(**args: str) -> Effect:
    named = {name.replace("_", "-"): text for name, text in args.items()}
    return Effect(Address("radius/main/sessions/a"), "disconnect", named, "k", Replay.IF_UNPROVEN, ProofKind.GONE, 20)


@pytest.mark.parametrize(
    ("session", "has"),
    [
        ({"ip": "100.127.3.4"}, True),
        ({"ip": "100.127.3.4", "pd": "2001:db8:ff12::/56"}, True),
        ({"ip": "100.127.3.4", "pd": "2001:db8:4a00::/56"}, False),
        ({"ip": "100.64.3.4"}, False),
        ({}, False),
        ({"ip": "100.127.3.4", "may-be-over": "1700600000"}, False),
    ],
)
def test_one_in_the_garden_has_what_a_suspension_wants(session: dict[str, str], has: bool) -> None:
    assert has_it(effect(not_in=GARDEN), "u1", session) is has
    assert not has_it(effect(), "u1", session)
    assert not has_it(effect(**{"in": GARDEN}), "u1", session)


@pytest.mark.parametrize(
    ("session", "args", "began", "ends"),
    [
        ({}, {}, Began.SINCE, False),
        ({}, {}, Began.BEFORE, True),
        ({}, {}, Began.UNKNOWN, True),
        ({"ip": "100.127.3.4"}, {"in": GARDEN}, Began.SINCE, True),  # a restored one in the garden
        ({"ip": "100.127.3.4", "pd": "2001:db8:4a00::/56"}, {"in": GARDEN}, Began.SINCE, True),  # the prefix is its own
        ({"ip": "100.64.3.4"}, {"in": GARDEN}, Began.SINCE, False),
    ],
)
def test_what_is_ended_again(session: dict[str, str], args: dict[str, str], began: Began, ends: bool) -> None:
    assert to_end_again(effect(**args), session, began) is ends


@pytest.mark.parametrize(
    ("session", "set_s", "seems"),
    [
        ({"since": str(FIRST_S + 5)}, 0, False),
        ({"since": str(FIRST_S - CLOCKS_S)}, 0, False),  # the clocks may differ by as much
        ({"since": str(FIRST_S - CLOCKS_S - 1)}, 0, True),
        ({"since": str(FIRST_S - CLOCKS_S - 1)}, 1, False),  # ours was set by as much, then or since
        ({"since": str(FIRST_S - CLOCKS_S - 1)}, -300, True),
        ({}, 0, False),  # nothing says that it is an old one
    ],
)
def test_what_seems_old(session: dict[str, str], set_s: int, seems: bool) -> None:
    assert seems_old(effect(**{CLOCK_SET: str(set_s)}), session, FIRST_S) is seems


READ = str(FIRST_S)
RESTORED = {"in": GARDEN, "outside": READ, "known": "u0"}
"""A restore whose rows are still to be written."""
RIGHT = {"in": GARDEN, "right_since": READ, "known": "u0"}
"""A change of tariff that the rows have already."""
NEVER_WALLED = {"in": GARDEN, "outside": READ, "known": "u0", "spared": "u9"}
"""A restore whose preview showed one session outside of the garden."""


@pytest.mark.parametrize(
    ("unique_id", "session", "args", "has"),
    [
        ("u1", {"since": str(FIRST_S + 1), "ip": "100.64.3.4"}, RESTORED, True),
        ("u1", {"since": str(FIRST_S - CLOCKS_S), "ip": "100.64.3.4"}, RESTORED, True),  # its address tells, too
        ("u1", {"since": str(FIRST_S - CLOCKS_S - 1), "ip": "100.64.3.4"}, RESTORED, False),  # only late in accounting
        ("u1", {"ip": "100.64.3.4"}, RESTORED, False),  # nobody says when it began
        ("u0", {"since": str(FIRST_S + 1), "ip": "100.64.3.4"}, RESTORED, False),  # the preview said that it ends
        ("u1", {"since": str(FIRST_S + 1), "ip": "100.127.3.4"}, RESTORED, False),  # it is in the garden
        ("u1", {"since": str(FIRST_S + 1)}, RESTORED, False),  # it may have begun before the write
        ("u1", {"since": str(FIRST_S), "ip": "100.64.3.4"}, RIGHT, True),
        ("u1", {"since": str(FIRST_S)}, RIGHT, True),
        ("u1", {"since": str(FIRST_S - 1), "ip": "100.64.3.4"}, RIGHT, False),  # no address tells a speed
        ("u1", {"since": str(FIRST_S + 1), "ip": "100.127.3.4"}, RIGHT, False),
        ("u0", {"since": str(FIRST_S + 1)}, RIGHT, False),
        ("u9", {"since": str(FIRST_S - 86400), "ip": "100.64.3.4"}, NEVER_WALLED, True),
        ("u9", {"since": str(FIRST_S - 86400), "ip": "100.127.3.4"}, NEVER_WALLED, False),  # it is in the garden now
        ("u9", {"since": str(FIRST_S - 86400)}, NEVER_WALLED, False),
        ("u0", {"since": str(FIRST_S - 86400), "ip": "100.64.3.4"}, NEVER_WALLED, False),
    ],
)
def test_a_session_that_began_since_the_preview_is_spared(
    unique_id: str, session: dict[str, str], args: dict[str, str], has: bool
) -> None:
    named = {name.replace("_", "-"): text for name, text in args.items()}
    assert has_it(effect(**named), unique_id, session) is has
