"""Answers in slices are the texts that they are in one piece."""

from __future__ import annotations

import pytest

from agent.runtime import json_text
from agent.runtime.json_slices import LONG, encode_in_slices
from agent.runtime.slices import MANY


@pytest.mark.parametrize("n", [0, 1, MANY, MANY + 1, 3 * MANY])
async def test_in_slices_it_is_the_same_text(n: int) -> None:
    rows = [{"n": k, "name": f"é{k}"} for k in range(n)]
    for value in (rows, {}, {"id": "K7QF", "rows": rows, "none": [], "of": {"rows": rows}}, "text", None):
        assert await encode_in_slices(value) == json_text.encode(value)


async def test_a_long_text_in_slices_is_the_same_text() -> None:
    value = {"file": 'é\n"' * (LONG // 3 + 1)}
    assert await encode_in_slices(value) == json_text.encode(value)
