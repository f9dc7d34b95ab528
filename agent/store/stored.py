"""Reads values of the databases that only ispagent writes; any other value there ends the program.

SQLite keeps no checksums. A page of zeros is a valid page of a long row, and then its check finds nothing. So a value
that no ispagent writes is a damage: nobody knows what else is damaged, and nothing more is done.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, ParamSpec, TypeVar

from agent.store.errors import DamagedValueError
from agent.store.state_folder import DATABASE, PUT_BACK

E = TypeVar("E", bound=Enum)
P = ParamSpec("P")
T = TypeVar("T")

MISREAD: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of a program that reads a value which it never wrote."""


def damaged(table: str, found: str, file: str = DATABASE) -> DamagedValueError:
    """Return the error of a table of a file. `found`: the problem, without the value, which may be anything."""
    return DamagedValueError(
        f"{file}, table {table}: {found}: it is damaged, or another version of ispagent wrote it, and nothing more"
        f" is done with it: install that version, or {PUT_BACK}, and look at the disk"
    )


class _Members(dict[object, E]):
    """The members of an enumeration by their values in a table."""

    def __init__(self, kind: type[E], table: str) -> None:
        super().__init__({member.value: member for member in kind})
        self._kind, self._table = kind, table

    def __missing__(self, value: object) -> E:
        raise damaged(self._table, f"expected a value of {self._kind.__name__}, got another one")


@functools.cache
def members(kind: type[E], table: str) -> Mapping[object, E]:
    """Return the members of an enumeration by the values that a column holds.

    A look at another value raises DamagedValueError.
    """
    return _Members(kind, table)


def misread(table: str, file: str = DATABASE) -> DamagedValueError:
    """Return the error of a row that cannot be decoded."""
    return damaged(table, "a row does not have the form that this ispagent writes", file)


def reads_row_of(table: str, file: str = DATABASE) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator of functions that only decode a row: one that cannot be decoded raises DamagedValueError."""

    def decorated(decode: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(decode)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return decode(*args, **kwargs)
            except MISREAD as err:
                raise misread(table, file) from err

        return checked

    return decorated
