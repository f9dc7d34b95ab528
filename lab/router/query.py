"""Query words of a `print`: which rows it shows. Pure.

    ?name        has the property            ?-name       has it not
    ?name=x      equals x (also ?=name=x)    ?<name=x ?>name=x   less, greater
    ?#operations on the stack of answers, left to right:
        !  turns the top round    & |  joins the two on top    .  doubles the top
        a number copies the answer of that place (0 is the top); a number with . moves it there alone

A row is shown when every answer left on the stack is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from lab.router.errors import Trap

Test: TypeAlias = Callable[[Mapping[str, str]], bool]

_OPERATION: Final = re.compile(r"\d{1,4}\.?|[|&!.]")
_WORD: Final = re.compile(r"([-<>=]?)([^=]+)(?:=(.*))?", re.DOTALL)


_NUMBER: Final = re.compile(r"-?\d{1,20}")


def _below(value: str) -> Callable[[str], bool]:
    """Tell whether a text is less than a value: as numbers where both are, else as texts."""
    if not _NUMBER.fullmatch(value):
        return lambda have: have < value
    number = int(value)
    return lambda have: int(have) < number if _NUMBER.fullmatch(have) else have < value


def _property(sign: str, name: str, value: str | None) -> Test:
    if sign == "-":
        return lambda row: name not in row
    if value is None:
        return lambda row: name in row
    if sign in ("<", ">"):
        below, wanted = _below(value), sign == "<"
        return lambda row: (have := row.get(name)) is not None and have != value and below(have) is wanted
    # a truth value is also asked for as yes and no: librouteros does
    other = {"yes": "true", "no": "false"}.get(value, value)
    return lambda row: row.get(name) in (value, other)


def _operate(stack: list[Test], operations: Sequence[str]) -> None:
    for op in operations:
        if op == "!":
            stack.append(_not(stack.pop()))
        elif op == ".":
            stack.append(stack[-1])
        elif op in "&|":
            right, left = stack.pop(), stack.pop()
            stack.append(_both(left, right) if op == "&" else _Either(left, right))
        elif op.endswith("."):
            stack[:] = [stack[-1 - int(op[:-1])]]
        else:
            stack.append(stack[-1 - int(op)])


def _not(test: Test) -> Test:
    return lambda row: not test(row)


def _both(left: Test, right: Test) -> Test:
    return lambda row: left(row) and right(row)


class _Either:
    """Tests of which one is enough. Flat: a question after 32 addresses joins hundreds."""

    __slots__ = ("parts",)

    def __init__(self, *joined: Test) -> None:
        self.parts: tuple[Test, ...] = tuple(
            part for one in joined for part in (one.parts if isinstance(one, _Either) else (one,))
        )

    def __call__(self, row: Mapping[str, str]) -> bool:
        for part in self.parts:  # noqa: SIM110  in a walk through 300,000 rows a generator costs a third more
            if part(row):
                return True
        return False


def parse_query(words: Sequence[str]) -> Test:
    """Return the test that query words (without their `?`) describe.

    The stack is worked off once, on tests instead of answers: of each row as few properties are looked at as decide.

    Raises:
        Trap: a word that is no query, or an operation that finds too few answers.
    """
    stack: list[Test] = []
    for word in words:
        if word.startswith("#"):
            operations = _OPERATION.findall(word[1:])
            if "".join(operations) != word[1:]:
                raise Trap("invalid query", 5)
            try:
                _operate(stack, operations)
            except IndexError as err:
                raise Trap("invalid query", 5) from err
        elif found := _WORD.fullmatch(word):
            stack.append(_property(found[1], found[2], found[3]))
        else:
            raise Trap("invalid query", 5)
    return stack[0] if len(stack) == 1 else lambda row: all(test(row) for test in stack)


def ids_asked(words: Sequence[str]) -> list[str] | None:
    """The `.id`s of which a shown row must have one, where the words say just that; else None."""
    found: list[str] = []
    joins = 0
    for word in words:
        if word.startswith("#") and not word[1:].strip("|"):
            joins += len(word) - 1
        elif (one := _WORD.fullmatch(word)) and one[1] in ("", "=") and one[2] == ".id" and one[3] is not None:
            found.append(one[3])
        else:
            return None
    return found if found and joins == len(found) - 1 else None


def looked_up(words: Sequence[str]) -> dict[str, str]:
    """The properties that every shown row must equal, where all words say so; else empty. For an index to use."""
    wanted: dict[str, str] = {}
    for word in words:
        found = _WORD.fullmatch(word)
        if found and found[1] in ("", "=") and found[3] is not None and not word.startswith("#"):
            wanted[found[2]] = found[3]
        elif word.startswith("#"):
            return {}
    return wanted
