"""The errors of the lab's router.

LabError
└── RouterError
    ├── MalformedWordsError    bytes from a peer are no sentence, or break a limit
    ├── UnknownVersionError    no RouterOS version of that name
    ├── ScriptError            an export that cannot be read, with its line
    │   └── ScriptSyntaxError  a script that RouterOS refuses, with its line and column
    └── UnknownRouterFaultError  no fault of that name

Trap is no LabError: it is the router's own refusal, a reply to the client.
"""

from __future__ import annotations

from lab.errors import LabError


class RouterError(LabError):
    """Any error of the lab's router."""


class MalformedWordsError(RouterError):
    """Bytes that are not a sentence of the API, or one beyond the limits."""


class UnknownVersionError(RouterError):
    """A version that is not written as RouterOS writes it."""


class ScriptError(RouterError):
    """A line of an export that cannot be read."""


class ScriptSyntaxError(ScriptError):
    """A script that RouterOS refuses to read. Its text is RouterOS's own: "syntax error (line 3 column 7)"."""

    def __init__(self, text: str, line: int, column: int) -> None:
        super().__init__(f"{text} (line {line} column {column})")
        self.text = text
        self.line = line
        self.column = column


class UnknownRouterFaultError(RouterError):
    """A fault name that the router does not know."""


class Trap(Exception):
    """The router refuses: `!trap` with this message. `category` as MikroTik numbers them, None where it gives none."""

    def __init__(self, message: str, category: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
