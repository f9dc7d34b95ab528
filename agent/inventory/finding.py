"""Finding services by a person's words on the phone: part of a name, a number, a MAC address in any spelling.

Each service has one row of folded keys (`spelling.search_key`) in the agent's own database. It is written with the
service and deleted with it, by a trigger, so that erasing a service erases its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations
from typing import Final

from agent.inventory import book
from agent.inventory.mapping_check import networks
from agent.inventory.resolve import SUGGESTIONS, Index
from agent.model import Service
from agent.spelling import fold, mac_digits, phone_of
from agent.store.db import Store

HITS: Final = 20
"""Services that one answer names unless it is asked for more."""
HITS_MAX: Final = 1000
TEXT_CHARS: Final = 200
_PART_OF_MAC: Final = re.compile(r"[0-9a-f]{1,4}(?:[:.-][0-9a-f]{0,4}){1,5}", re.IGNORECASE)
_PART_DIGITS: Final = 4
_NEAR_CHARS: Final = 4
"""A shorter text has too many neighbors for a hint to be worth reading."""
_LONG_CHARS: Final = 8
_EDITS: Final = 2
_NEAR_ROWS: Final = 2000
_WORDS: Final = re.compile(r"[^\s/@.,;:=()-]+")


@dataclass(frozen=True, slots=True)
class Found:
    """Services that a text fits, the best first. `total` counts those that were left off as well.

    `more`: there are more than `total`, which then is `HITS_MAX`. `near`: nothing fits the text as it is; these differ
    from it in a letter or two.
    """

    services: tuple[Service, ...]
    total: int
    more: bool = False
    near: bool = False


async def find(store: Store, text: str, limit: int = HITS) -> Found:
    """Return the services that fit a text: each of its words, or a MAC address or phone number in any spelling.

    Args:
        store: the agent's own.
        text: as a person typed it; more than `TEXT_CHARS` characters fit nothing.
        limit: services to return.
    """
    await _fill(store)
    wanted = _Wanted.of(text)
    if not wanted.words or len(text) > TEXT_CHARS:
        return Found((), 0)
    hits = _hits(store, wanted)
    if hits:
        ranked = sorted(hits, key=lambda ref: (wanted.rank(ref, hits[ref]), ref))
        return Found(_services(store, ranked[:limit]), min(len(ranked), HITS_MAX), more=len(ranked) > HITS_MAX)
    near = _near(store, wanted)
    return Found(_services(store, near[:limit]), len(near), near=True)


async def named(store: Store, ref: str) -> tuple[Service, ...]:
    """Return every service that a reference may mean, as `resolve.Index.named` does, without reading all services."""
    await _fill(store)
    folded, mac = fold(ref), mac_digits(ref)
    if not folded:
        return ()
    rows = store.reader.execute(
        "SELECT ref FROM service_key WHERE instr(char(10) || keys || char(10), ?) > 0 OR instr(keys, ?) = 1"
        " OR instr(char(10) || keys || char(10), ?) > 0",
        (f"\n{folded}\n", f"{folded}/", f"\nmac={mac}\n" if mac else f"\n{folded}\n"),
    )
    may_be = book.some_services(store.reader, [r["ref"] for r in rows])
    return Index(may_be).named(ref)


async def suggested(store: Store, ref: str) -> tuple[str, ...]:
    """Return the refs of services that a wrong reference may have meant: other services of it, or one letter away."""
    found = await find(store, ref.partition("/")[0], limit=SUGGESTIONS)
    return tuple(service.ref for service in found.services)


async def _fill(store: Store) -> None:
    """Write the keys of services that have none, as those of an older database."""
    if store.query("SELECT (SELECT count(*) FROM service) <> (SELECT count(*) FROM service_key)")[0][0]:
        await store.run(book.WriteKeys())


def of_login(store: Store, login: str) -> tuple[Service, ...]:
    """Return the services with a login, in any case or MAC spelling."""
    folded, mac = fold(login), mac_digits(login)
    rows = store.reader.execute(
        "SELECT k.ref, s.login FROM service_key k JOIN service s USING (ref)"
        " WHERE instr(keys, ?) > 0 OR instr(keys, ?) > 0",
        (folded, f"mac={mac}" if mac else folded),
    )
    fits = [r["ref"] for r in rows if fold(r["login"]) == folded or (mac and mac_digits(r["login"]) == mac)]
    return _services(store, sorted(fits))


def of_serial(store: Store, text: str) -> tuple[Service, ...]:
    """Return the services that an accepted CPE with a serial number serves; upper and lower case are alike."""
    serial = text.strip()[:TEXT_CHARS]
    rows = store.reader.execute(
        "SELECT service FROM cpe WHERE service <> '' AND trust = 'accepted' AND serial IN (?, ?, ?)",
        (serial, serial.upper(), serial.lower()),
    )
    return _services(store, sorted({r["service"] for r in rows}))


def addressed(store: Store, methods: Sequence[str], address: IPv4Address | IPv6Address) -> tuple[Service, ...]:
    """Return the services with networks as login that hold an address. `methods`: those of such services."""
    marks = ",".join("?" * len(methods))
    rows = store.reader.execute(f"SELECT ref, login FROM service WHERE method IN ({marks})", tuple(methods))  # noqa: S608  # only question marks
    return _services(store, sorted(r["ref"] for r in rows if any(address in net for net in networks(r["login"]))))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A query: folded words that all must be there, or a whole number in its one spelling."""

    text: str
    words: tuple[str, ...]
    numbers: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Wanted:
        folded, numbers = fold(text), []
        if mac := mac_digits(text):
            numbers.append(f"mac={mac}")
        elif _PART_OF_MAC.fullmatch(text.strip()):
            digits = re.sub("[^0-9a-f]", "", text.lower())
            numbers += [f"mac={digits}"] if len(digits) >= _PART_DIGITS else []
        if phone := phone_of(text):
            numbers.append(phone)
        return cls(folded, tuple(folded.split()), tuple(numbers))

    def rank(self, ref: str, keys: str) -> int:
        """Return how well keys fit, 0 best: as a whole, as a beginning, as the beginning of a word, anywhere."""
        lines = keys.split("\n")
        subscriber = fold(ref.partition("/")[0])
        if self.text in lines or self.text == subscriber or any(number in lines for number in self.numbers):
            return 0
        if any(line.startswith(self.text) for line in lines):
            return 1
        starts = {word for line in lines for word in _WORDS.findall(line)}
        return 2 if all(any(start.startswith(word) for start in starts) for word in self.words) else 3


def _hits(store: Store, wanted: _Wanted) -> Mapping[str, str]:
    """Return the keys of the services that fit, by ref. One pass over 50,000 rows takes some 15 ms."""
    words = " AND ".join(["instr(keys, ?) > 0"] * len(wanted.words))
    numbers = "".join([" OR instr(keys, ?) > 0"] * len(wanted.numbers))
    rows = store.reader.execute(
        f"SELECT ref, keys FROM service_key WHERE ({words}){numbers} LIMIT ?",  # noqa: S608  # only question marks
        (*wanted.words, *wanted.numbers, HITS_MAX + 1),
    )
    return {row["ref"]: row["keys"] for row in rows}


def _near(store: Store, wanted: _Wanted) -> list[str]:
    """Return services with keys that differ from the text in a letter or two side by side.

    Of a text with one mistake one half is right, of a long one two thirds: SQLite finds those, Python compares them.
    """
    said = next((n.partition("=")[2] for n in wanted.numbers if "=" in n), "") or max(wanted.words, key=len)
    if len(said) < _NEAR_CHARS:
        return []
    parts = 2 if len(said) < _LONG_CHARS else 3
    size = -(-len(said) // parts)
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    right = list(combinations(pieces, len(pieces) - 1))
    where = " OR ".join("(" + " AND ".join(["instr(keys, ?) > 0"] * len(both)) + ")" for both in right)
    rows = store.reader.execute(
        f"SELECT ref, keys FROM service_key WHERE {where} LIMIT ?",  # noqa: S608  # only question marks
        (*(piece for both in right for piece in both), _NEAR_ROWS),
    )
    found = []
    for row in rows:
        keys = row["keys"]
        if any(_is_near(word, said) for word in keys.split("\n")) or any(
            _is_near(word, said) for word in _WORDS.findall(keys)
        ):
            found.append(row["ref"])
    return sorted(found)


def _is_near(word: str, said: str) -> bool:
    """Return whether two texts agree at both ends, but for two letters at most between them."""
    longer, shorter = max(len(word), len(said)), min(len(word), len(said))
    if longer - shorter > _EDITS:
        return False
    begin = 0
    while begin < shorter and word[begin] == said[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and word[-1 - end] == said[-1 - end]:
        end += 1
    return longer - begin - end <= _EDITS


def _services(store: Store, refs: Sequence[str]) -> tuple[Service, ...]:
    found = book.some_services(store.reader, refs)
    return tuple(found[ref] for ref in refs if ref in found)
