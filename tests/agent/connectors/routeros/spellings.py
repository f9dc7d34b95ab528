"""The meaning of a value, apart from its spelling: the model that `values.normalize` is compared with.

A meaning is a Python value that was never text; `spell` writes it in every way that RouterOS takes. Domains are small,
so that two drawn values often mean the same. Nothing here uses the code under test.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable
from typing import Final

from hypothesis import strategies as st

from agent.connectors.routeros.values import RouterKind

Texts = st.SearchStrategy[str]

_TOTAL = (1 << 32) - 1


# --- durations, in milliseconds ---

_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def spell_duration(ms: int | None) -> Texts:
    if ms is None:
        return st.just("none")
    ways = [_in_units(ms, list(_MS))]
    seconds, rest = divmod(ms, 1000)
    if not rest:
        ways += [str(seconds), f"{seconds}s"]
    if not ms % 3_600_000 and ms:
        ways.append(f"{ms // 3_600_000}h")
    fraction = f".{rest:03d}" if rest else ""
    days, clock = divmod(seconds, 86_400)
    for before, span in (("", seconds), (f"{days}d", clock), (f"{days // 7}w{days % 7}d", clock)):
        ways.append(f"{before}{span // 3600:02d}:{span // 60 % 60:02d}:{span % 60:02d}{fraction}")
    return st.sampled_from(ways)


def _in_units(ms: int, units: list[str]) -> str:
    text = ""
    for unit in units:
        count, ms = divmod(ms, _MS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


_duration = st.sampled_from([0, 1, 200, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, 90_061_000, 604_800_000])
_durations = st.one_of(st.none(), _duration)


# --- rates ---


def spell_rate(bits: int) -> Texts:
    ways = [str(bits)]
    for suffix, times in (("k", 1000), ("K", 1000), ("M", 10**6), ("G", 10**9)):
        if bits % times == 0 and bits:
            ways.append(f"{bits // times}{suffix}")
    return st.sampled_from(ways)


_rates = st.sampled_from([0, 64, 64_000, 1_000_000, 1_024_000, 10_000_000, 1_000_000_000])

Half = Callable[[Hashable], Texts]


def _spell_pair(one: Callable[..., Texts]) -> Callable[[tuple[int, int]], Texts]:
    return lambda pair: st.tuples(one(pair[0]), one(pair[1])).map("/".join)


def _spell_half(one: Callable[..., Texts], pair: tuple[int, int]) -> Texts:
    both = st.tuples(one(pair[0]), one(pair[1])).map("/".join)
    return st.one_of(both, one(pair[0])) if pair[0] == pair[1] else both


RateLimit = tuple[tuple[int, int], ...]
"""rates; or rates, burst, threshold, time in ms, (priority, 0), minimum."""


@st.composite
def _rate_limits(draw: st.DrawFn) -> RateLimit:
    pairs = st.tuples(st.sampled_from([64_000, 1_000_000]), st.sampled_from([64_000, 2_000_000]))
    rates = draw(pairs)
    if draw(st.booleans()):
        return (rates,)
    threshold, minimum = draw(st.one_of(st.just(rates), pairs)), draw(st.one_of(st.just(rates), pairs))
    times = draw(st.sampled_from([(1_000, 1_000), (16_000, 8_000)]))
    return (rates, draw(pairs), threshold, times, (draw(st.sampled_from([1, 8])), 0), minimum)


def spell_rate_limit(limit: RateLimit) -> Texts:
    if len(limit) == 1:
        return _spell_half(spell_rate, limit[0])
    rates, burst, threshold, times, priority, minimum = limit
    defaults = [rates, None, rates, (1_000, 1_000), (8, 0), rates]
    needed = max(at for at in range(6) if at < 2 or limit[at] != defaults[at])
    parts = [
        _spell_half(spell_rate, rates),
        _spell_half(spell_rate, burst),
        _spell_half(spell_rate, threshold),
        _spell_half(spell_duration, times),
        st.just(str(priority[0])),
        _spell_half(spell_rate, minimum),
    ]
    return st.integers(needed, 5).flatmap(lambda last: st.tuples(*parts[: last + 1]).map(" ".join))


# --- sets ---

_words = st.frozensets(st.sampled_from(["established", "related", "new", "untracked"]), min_size=1)


def _spell_set(words: frozenset[str]) -> Texts:
    again = st.lists(st.sampled_from(sorted(words)), max_size=2)
    return st.tuples(st.permutations(sorted(words)), again).map(lambda found: ",".join([*found[0], *found[1]]))


# --- addresses: (version, number) and (version, network, length) ---

_hosts4 = st.integers(0x0A000000, 0x0A000007)
_addresses = st.one_of(
    st.tuples(st.just(4), _hosts4), st.tuples(st.just(6), st.integers(0x20010DB8 << 96, (0x20010DB8 << 96) + 3))
)


def spell_address(address: tuple[int, int]) -> Texts:
    version, number = address
    if version == 4:
        return st.just(str(ipaddress.IPv4Address(number)))
    found = ipaddress.IPv6Address(number)
    return st.sampled_from([str(found), found.exploded, found.exploded.upper()])


def _prefixes(address: tuple[int, int]) -> st.SearchStrategy[tuple[int, int, int]]:
    bits = 32 if address[0] == 4 else 128
    return st.integers(bits - 3, bits).map(
        lambda length: (address[0], address[1] >> (bits - length) << (bits - length), length)
    )


def spell_prefix(prefix: tuple[int, int, int]) -> Texts:
    """With any host bits, with a netmask, and alone where it is one address."""
    version, network, length = prefix
    bits = 32 if version == 4 else 128
    host = st.integers(network, network + (1 << (bits - length)) - 1)
    ends = [f"/{length}"] + ([f"/{ipaddress.IPv4Address(_TOTAL << (32 - length) & _TOTAL)}"] if version == 4 else [])
    ends += [""] if length == bits else []
    texts = host.flatmap(lambda number: spell_address((version, number)))
    return st.tuples(texts, st.sampled_from(ends)).map("".join)


def _spell_interface_address(address: tuple[int, int]) -> Texts:
    number, length = address
    mask = str(ipaddress.IPv4Address(_TOTAL << (32 - length) & _TOTAL))
    return st.sampled_from([str(length), mask]).map(lambda end: f"{ipaddress.IPv4Address(number)}/{end}")


Range = tuple[bool, int, int]


@st.composite
def _ranges(draw: st.DrawFn, *, negated: bool = True) -> Range:
    first, last = sorted((draw(_hosts4), draw(_hosts4)))
    return (negated and draw(st.booleans()), first, last)


def spell_range(wanted: Range) -> Texts:
    negated, first, last = wanted
    ways = [st.just(f"{ipaddress.IPv4Address(first)}-{ipaddress.IPv4Address(last)}")]
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        ways.append(spell_prefix((4, first, 32 - size.bit_length() + 1)))
    return st.one_of(ways).map(lambda text: "!" * negated + text)


# --- identifiers ---

_bytes6 = st.sampled_from([bytes.fromhex("001132abcd0e"), bytes.fromhex("f018986bf8ce"), bytes(6)])


def _spell_mac(mac: bytes) -> Texts:
    return st.tuples(st.sampled_from(":-."), st.booleans()).map(
        lambda how: mac.hex(how[0]).upper() if how[1] else mac.hex(how[0])
    )


def _spell_client_id(found: bytes) -> Texts:
    ways = [found.hex(":"), found.hex(":").upper(), ":".join(f"{byte:x}" for byte in found)]
    return st.sampled_from(ways)


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)

MEANINGS: Final[dict[RouterKind, st.SearchStrategy[Hashable]]] = {
    RouterKind.TEXT: _text,
    RouterKind.REFERENCE: _text,
    RouterKind.ENUM: st.sampled_from(["yes", "no", "default", "required"]),
    RouterKind.BOOL: st.booleans(),
    RouterKind.SWITCH: st.booleans(),
    RouterKind.INTEGER: st.integers(0, 10**12),
    RouterKind.DURATION: _durations,
    RouterKind.DURATION_PAIR: st.tuples(_duration, _duration),
    RouterKind.RATE: _rates,
    RouterKind.RATE_PAIR: st.tuples(_rates, _rates),
    RouterKind.RATE_LIMIT: _rate_limits(),
    RouterKind.LIST: _words,
    RouterKind.MATCH_LIST: st.tuples(st.booleans(), _words),
    RouterKind.ADDRESS: _addresses,
    RouterKind.ADDRESSES: st.lists(_addresses, min_size=1, max_size=3).map(tuple),
    RouterKind.INTERFACE_ADDRESS: st.tuples(_hosts4, st.integers(29, 32)),
    RouterKind.PREFIX: _addresses.flatmap(_prefixes),
    RouterKind.PREFIX_LIST: st.frozensets(_addresses.flatmap(_prefixes), min_size=1, max_size=3),
    RouterKind.RANGE: _ranges(),
    RouterKind.RANGES: st.lists(_ranges(negated=False), min_size=1, max_size=3).map(tuple),
    RouterKind.MAC: _bytes6,
    RouterKind.CLIENT_ID: _bytes6.map(lambda mac: b"\1" + mac),
}

_WORDS: Final[dict[RouterKind, dict[Hashable, list[str]]]] = {
    RouterKind.ENUM: {"yes": ["yes", "true"], "no": ["no", "false"]},
    RouterKind.BOOL: {True: ["yes", "true"], False: ["no", "false"]},
    RouterKind.SWITCH: {True: ["yes", "true", ""], False: ["no", "false"]},
}

_SPELL: Final[dict[RouterKind, Callable[..., Texts]]] = {
    RouterKind.DURATION: spell_duration,
    RouterKind.DURATION_PAIR: _spell_pair(spell_duration),
    RouterKind.RATE: spell_rate,
    RouterKind.RATE_PAIR: _spell_pair(spell_rate),
    RouterKind.RATE_LIMIT: spell_rate_limit,
    RouterKind.LIST: _spell_set,
    RouterKind.MATCH_LIST: lambda found: _spell_set(found[1]).map(lambda text: "!" * found[0] + text),
    RouterKind.ADDRESS: spell_address,
    RouterKind.ADDRESSES: lambda found: st.tuples(*map(spell_address, found)).map(",".join),
    RouterKind.INTERFACE_ADDRESS: _spell_interface_address,
    RouterKind.PREFIX: spell_prefix,
    RouterKind.PREFIX_LIST: lambda found: st.permutations(sorted(found)).flatmap(
        lambda order: st.tuples(*map(spell_prefix, order)).map(",".join)
    ),
    RouterKind.RANGE: spell_range,
    RouterKind.RANGES: lambda found: st.tuples(*map(spell_range, found)).map(",".join),
    RouterKind.MAC: _spell_mac,
    RouterKind.CLIENT_ID: _spell_client_id,
}


def spell(kind: RouterKind, meaning: Hashable) -> Texts:
    """Return the texts that RouterOS takes for a value."""
    if kind in _SPELL:
        return _SPELL[kind](meaning)
    return st.sampled_from(_WORDS.get(kind, {}).get(meaning, [str(meaning)]))
