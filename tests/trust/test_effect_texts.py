"""What an effect's arguments read like: a person approves sentences, and no argument is left out."""

from __future__ import annotations

import pytest

from trust.effect_texts import argument_texts

AT = "1767225600"
GARDEN = "10.99.0.0/16,fd00:99::/32"


@pytest.mark.parametrize(
    ("args", "texts"),
    [
        ({}, []),
        ({"now": "81c on bng-2"}, ["now: 81c on bng-2"]),
        ({"nas": "configured"}, ["only sessions on a configured NAS"]),
        ({"not-in": GARDEN}, [f"spares a session in {GARDEN}"]),
        ({"in": GARDEN}, [f"ends every session in {GARDEN}"]),
        ({"known": "u1"}, ["ends the 1 session that the preview saw"]),
        ({"known": "u1,u2"}, ["ends the 2 sessions that the preview saw"]),
        ({"right-since": AT}, ["spares others that began after 2026-01-01 00:00:00 UTC"]),
        (
            {"outside": AT, "in": GARDEN},
            [
                f"ends every session in {GARDEN}",
                "spares others that began elsewhere since about 2026-01-01 00:00:00 UTC",
            ],
        ),
        ({"by-user-name": "bng-1,bng-2"}, ["where accounting has none, bng-1 and bng-2 are asked by User-Name"]),
        (
            {"by-user-name": "bng-1", "each-answers": "yes"},
            ["where accounting has none, bng-1 is asked by User-Name, also if it was silent just now"],
        ),
    ],
)
def test_a_disconnect_says_which_sessions_it_ends(args, texts):
    assert argument_texts("disconnect", args) == texts


def test_what_is_not_known_is_said_as_it_is():
    odd = {
        "in": "",
        "right-since": "soon",
        "outside": "9" * 30,
        "nas": "all",
        "by-user-name": "",
        "each-answers": "yes",
        "more": "1",
    }
    assert argument_texts("disconnect", odd) == [" ".join(f"{name}={text}" for name, text in odd.items())]
    assert argument_texts("flash", {"known": "x", "in": "y"}) == ["known=x in=y"]
