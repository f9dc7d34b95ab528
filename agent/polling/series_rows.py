"""One row of the series file: the values of up to 128 series of a device in one bucket of time. Pure.

A row is three arrays of 32-bit floats (mean, lowest, highest), or one where each series has one value only, packed by
zlib. NaN: nothing was read. A row of 128 costs about 240 bytes (docs/benchmarks/series.md).
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 128
"""Series in a row: few enough that one series is read without much else, many enough that they pack well."""
LEVEL: Final = 6
WINDOW_BITS: Final = 11
MEMORY_LEVEL: Final = 3
"""Of zlib, for rows of 512 to 1,536 bytes: with its usual window and memory, a row takes three times as long."""
NAN: Final = math.nan
FLOAT_MOST: Final = 3.0e38
_COUNT_MOST: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Bucket:
    """Values of a row's series. `count`: readings behind it. `lows` and `highs` are `means` where there was but one."""

    count: int
    means: array[float]
    lows: array[float]
    highs: array[float]


def packed(bucket: Bucket) -> bytes:
    """Return the bytes of a row."""
    arrays = (bucket.means,) if bucket.count == 1 else (bucket.means, bucket.lows, bucket.highs)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
    return packer.compress(b"".join(one.tobytes() for one in arrays)) + packer.flush()


def unpacked(count: int, data: bytes) -> Bucket:
    """Return the values of a row.

    Raises:
        ValueError: the bytes are no row.
    """
    try:
        values = array("f", zlib.decompress(data))
    except (zlib.error, ValueError) as err:
        raise ValueError(f"expected a row of floats: {err}") from err
    if count == 1:
        return Bucket(1, values, values, values)
    third, rest = divmod(len(values), 3)
    if rest:
        raise ValueError(f"expected a row of three arrays, got {len(values)} floats")
    return Bucket(count, values[:third], values[third : 2 * third], values[2 * third :])


def merged(buckets: Sequence[Bucket]) -> Bucket:
    """Return one bucket of several, such as an hour of 5 minutes. Means weigh by the readings of each.

    `buckets`: at least one. The result has several readings, so that lows and highs are kept.
    """
    width = max(len(bucket.means) for bucket in buckets)
    sums, weights = [0.0] * width, [0] * width
    lows, highs = [math.inf] * width, [-math.inf] * width
    for bucket in buckets:
        for n, (mean, low, high) in enumerate(zip(bucket.means, bucket.lows, bucket.highs, strict=True)):
            if not math.isnan(mean):
                sums[n] += mean * bucket.count
                weights[n] += bucket.count
                lows[n], highs[n] = min(lows[n], low), max(highs[n], high)
    known = [weight > 0 for weight in weights]
    return Bucket(
        max(2, sum(bucket.count for bucket in buckets)),
        array("f", (s / w if w else NAN for s, w in zip(sums, weights, strict=True))),
        array("f", (low if is_known else NAN for low, is_known in zip(lows, known, strict=True))),
        array("f", (high if is_known else NAN for high, is_known in zip(highs, known, strict=True))),
    )


def one_of(bucket: Bucket, slot: int) -> tuple[float, float, float] | None:
    """Return lowest, mean and highest value of one series; None: nothing was read of it."""
    if slot >= len(bucket.means) or math.isnan(bucket.means[slot]):
        return None
    return decimal(bucket.lows[slot]), decimal(bucket.means[slot]), decimal(bucket.highs[slot])


def decimal(value: float) -> float:
    """Return a 32-bit float as people wrote it: 12.1, not 12.10000038."""
    return float(f"{value:.7g}")


class Gathered:
    """The running bucket of all series of a device: sum, lowest, highest and number of the values of each."""

    def __init__(self) -> None:
        """Begin without a series."""
        self._sums: array[float] = array("d")
        self._lows: array[float] = array("f")
        self._highs: array[float] = array("f")
        self._counts: array[int] = array("H")
        self._counts_before: array[int] = array("H")
        self.newest: array[float] = array("f")
        """The last value of each series."""

    def __len__(self) -> int:
        return len(self._sums)

    def grow(self, width: int) -> None:
        """Add series, without values."""
        more = width - len(self)
        self._sums.extend([0.0] * more)
        self._lows.extend([0.0] * more)
        self._highs.extend([0.0] * more)
        self._counts.extend([0] * more)
        self._counts_before.extend([0] * more)
        self.newest.extend([NAN] * more)

    def add(self, slots: Mapping[str, int], values: Mapping[str, float]) -> bool:
        """Add the finite values whose names have a slot; return whether one had none."""
        sums, lows, highs, counts, newest = self._sums, self._lows, self._highs, self._counts, self.newest
        whole = True
        for name, value in values.items():
            if not -FLOAT_MOST < value < FLOAT_MOST:  # NaN neither
                continue
            slot = slots.get(name)
            if slot is None:
                whole = False
                continue
            if count := counts[slot]:
                sums[slot] += value
                if value < lows[slot]:
                    lows[slot] = value
                elif value > highs[slot]:
                    highs[slot] = value
                if count < _COUNT_MOST:
                    counts[slot] = count + 1
            else:
                sums[slot] = lows[slot] = highs[slot] = value
                counts[slot] = 1
            newest[slot] = value
        return not whole

    def block(self, number: int) -> Bucket | None:
        """Return the bucket of the series in a block of `WIDTH`; None: none of them has a value."""
        here = slice(number * WIDTH, (number + 1) * WIDTH)
        counts = self._counts[here]
        if not (most := max(counts, default=0)):
            return None
        if most == 1 == min(counts):  # as it mostly is
            means = array("f", self._sums[here])
        else:
            means = _where(counts, (s / c if c else NAN for s, c in zip(self._sums[here], counts, strict=True)))
        if most == 1:
            return Bucket(1, means, means, means)
        lows, highs = _where(counts, self._lows[here]), _where(counts, self._highs[here])
        return Bucket(most, means, lows, highs)

    def living(self, number: int) -> int:
        """Return how many series in a block of `WIDTH` have values in the running bucket or the one before."""
        here = slice(number * WIDTH, (number + 1) * WIDTH)
        return sum(map(bool, map(max, self._counts[here], self._counts_before[here])))

    def clear(self, number: int) -> None:
        """Forget the values of a block, whose slots are given to other series."""
        for slot in range(number * WIDTH, min((number + 1) * WIDTH, len(self))):
            self._counts[slot] = self._counts_before[slot] = 0
            self.newest[slot] = NAN

    def end(self) -> None:
        """Begin the next bucket."""
        self._counts_before = self._counts
        self._counts = array("H", bytes(2 * len(self._counts)))


def _where(counts: Sequence[int], values: Iterable[float]) -> array[float]:
    return array("f", (value if count else NAN for value, count in zip(values, counts, strict=True)))
