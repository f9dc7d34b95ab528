"""Replays many subscribers of all operators in batches, each at days of its own, so that all days are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, timedelta

from lab.history import PayerLife
from lab.payers import payers
from tests.history.replay import OPERATORS, Operator, Replay, Replayed, Through, hot_moments, moments

FIRST = date(2025, 1, 1)
MONTHS = 24
DAYS = 731
Opens = Callable[[Operator, Sequence[PayerLife]], AbstractAsyncContextManager[Through]]


async def campaign(
    opens: Opens,
    subscribers: int,
    every: int,
    seed: int = 1,
    hot: int = 40,
    batch: int = 300,
    operators: Mapping[str, Operator] = OPERATORS,
    say: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Return what was seen.

    Args:
        opens: gives the source that a batch is read through.
        subscribers: of all operators together.
        every: days between two days that are played, of each batch.
        seed: of everything.
        hot: how many further moments each batch gets, just before or after something happened.
        batch: subscribers that are replayed together.
        operators: by their names.
        say: is told how far it is.
    """
    whole = Replayed()
    for n, (name, operator) in enumerate(operators.items()):
        count = subscribers // len(operators) + (n < subscribers % len(operators))
        for begin in range(0, count, batch):
            size = min(batch, count - begin)
            lives = payers(seed, size, operator.billing_zone, FIRST, MONTHS, prefix=f"{chr(65 + n)}{begin}")
            first = FIRST + timedelta(days=begin // batch * 7 % every)
            played = set(moments(operator.zone, first, DAYS - every, every))
            async with opens(operator, lives) as through:
                replay = Replay(operator, lives, through, seed)
                for now_s in sorted(played | set(hot_moments(lives, operator.zone, hot, seed + begin))):
                    await replay.at(now_s)
            whole.add(replay.replayed)
            done = f"{name}: {begin + size} of {count} subscribers"
            say(f"{done}, {whole.decisions} decisions so far, {len(whole.differ)} differ")
    return whole
