r"""Expressions of a script: in parentheses, in an array's braces, in a text, behind `where`. Pure.

Operators, the loosest first; those of one line bind alike, from the left:

    <%%                              (from the right: a function and what it is called with)
    (nothing between two conditions)
    ,
    or  ||
    and &&
    =  !=  <  >  <=  >=  ~  in
    |    ^    &    <<  >>
    +  -
    *  /  %
    .
    ->
    !  -  ~  >  any                  (before one operand)

Those that can be chained are printed as one: `1 + 2 + 3` is (+ 1 2 3), but `9 - 2 - 3` is (- (- 9 2) 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from lab.router.errors import ScriptSyntaxError
from lab.router.limits import SCRIPT_DEPTH_MAX
from lab.router.script import literals
from lab.router.script.cursor import SYNTAX, WHERE, Cursor
from lab.router.script.nodes import NOTHING, Constant, Keyed, Listed, Node, Operation, Variable

_BINDING: Final = {
    "<%%": 1, " ": 2, ",": 3, "or": 4, "||": 4, "and": 5, "&&": 5, "=": 6, "!=": 6, "<": 6, ">": 6, "<=": 6, ">=": 6,
    "~": 6, "in": 6, "|": 7, "^": 8, "&": 9, "<<": 10, ">>": 10, "+": 11, "-": 11, "*": 12, "/": 12, "%": 12, ".": 13,
    "->": 14,
}  # fmt: skip
_SPELT: Final = {"&&": "and", "||": "or"}
_CHAINED: Final = frozenset((" ", ",", "or", "and", "|", "^", "&", "+", "*", "."))
_OPERATOR: Final = re.compile(r"<%%|->|&&|\|\||!=|<=|>=|<<|>>|[,=<>~|^&+\-*/%.]|(?:and|or|in)(?![A-Za-z0-9_-])")
# the operand of a `!` takes `->` along, and nothing looser
_UNARY_BINDING: Final = 13
# an element of an array ends at a blank that no operator follows
_ELEMENT: Final = 2
_UNARY: Final = re.compile(r"[!~>-]|any(?=[ \t])")
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|\\\r?\n)+")
_BLANKS: Final = re.compile(r"(?:[ \t\r]|\\\r?\n)+")

# a value that needs no quotes inside an expression
_LITERAL: Final = re.compile(
    r"(?:0x[0-9a-fA-F]+|\d+(?:\.\d+){1,3}(?:/\d{1,2})?|(?:\d+[wd])*\d+:\d\d(?::\d\d(?:\.\d+)?)?"
    r"|(?:\d+(?:ms|us|ns|[wdhms]))+|[0-9a-fA-F]*(?:::?[0-9a-fA-F]{0,4}){2,8}(?:/\d{1,3})?|\d+)(?![A-Za-z0-9_])"
)
_NUMBER: Final = re.compile(r"\d+")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROPERTY: Final = re.compile(r"\.?[A-Za-z][A-Za-z0-9._-]*")
# what can stand unquoted as the value of a condition: type=ether, list=my-list
_PLAIN: Final = re.compile(r"[^\s()\[\]{}\"$;=~!,\\]+")
_VARIABLE: Final = re.compile(r"[A-Za-z0-9]+")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=|\s*\"([^\"\\$\n]*)\"\s*=")

_ESCAPES: Final = {
    '"': '"', "\\": "\\", "$": "$", "?": "?", "_": " ", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r",
    "t": "\t", "v": "\v",
}  # fmt: skip
_TEXT: Final = re.compile(r'[^"\\$]+')
_BYTE: Final = re.compile(r"[0-9A-F]{2}")
_CONTINUED: Final = re.compile(r"\r?\n[ \t]*")

Commands: TypeAlias = Callable[[], tuple[Node, ...]]


class Expressions:
    """The expressions of one script; `commands` reads the text between square brackets."""

    def __init__(self, cursor: Cursor, commands: Commands) -> None:
        self.cursor = cursor
        self._commands = commands
        self._depth = 0
        # of the `where` that is read, None outside of one
        self._properties: Collection[str] | None = None

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Count a bracket that is open.

        Raises:
            ScriptSyntaxError: too many are; how many RouterOS bears is not recorded.
        """
        if self._depth >= SCRIPT_DEPTH_MAX:
            raise self.cursor.error(SYNTAX)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def parenthesised(self) -> Node:
        """`( ... )`."""
        with self.nested():
            self.cursor.at += 1
            node = self._binary(0, _SPACE)
            self._close(")")
        return node

    def bracketed(self) -> Node:
        """`[ commands ]`."""
        with self.nested():
            self.cursor.at += 1
            outer, self._properties = self._properties, None
            statements = self._commands()
            self._properties = outer
            self._close("]")
        return Operation("evl", statements)

    def array(self) -> Node:
        """`{a; b; name=c}`. Named elements are kept in the order of their names."""
        items: list[Node] = []
        keyed: dict[str, Node] = {}
        with self.nested():
            self.cursor.at += 1
            self.cursor.space()
            while self.cursor.peek() != "}":
                found = _KEY.match(self.cursor.text, self.cursor.at)
                if found and self.cursor.text[found.end() : found.end() + 1] != "=":
                    self.cursor.at = found.end()
                    keyed[found[1] if found[1] is not None else found[2]] = self._binary(_ELEMENT, _SPACE)
                else:
                    items.append(self._binary(_ELEMENT, _SPACE))
                # blanks part elements as well as a `;` does
                before = self.cursor.at
                self.cursor.space()
                if self.cursor.take(";"):
                    self.cursor.space()
                elif self.cursor.at == before and self.cursor.peek() != "}":
                    raise self.cursor.error(SYNTAX)
                elif not self.cursor.peek():
                    raise self.cursor.error(SYNTAX, before)
            self.cursor.at += 1
        items += (Keyed(name, keyed[name]) for name in sorted(keyed))
        return Listed(tuple(items)) if items else NOTHING

    def _close(self, bracket: str) -> None:
        before = self.cursor.at
        self.cursor.space()
        if not self.cursor.take(bracket):
            raise self.cursor.error(SYNTAX, before)

    def conditions(self, properties: Collection[str]) -> Node:
        """The conditions behind `where`, up to the end of the command.

        Raises:
            ScriptSyntaxError: nothing stands there, or no condition.
        """
        begun = self.cursor.at
        self.cursor.blanks()
        if self.cursor.ended():
            raise self.cursor.error(WHERE)
        self.cursor.at = begun
        outer, self._properties = self._properties, properties
        node = self._binary(0, _BLANKS)
        self._properties = outer
        return node

    def _binary(self, least: int, blank: re.Pattern[str]) -> Node:
        """Operands and the operators between them that bind tighter than `least`."""
        cursor = self.cursor
        chain = _Chain(self._unary(blank))
        while True:
            before = cursor.at
            spaced = bool(cursor.match(blank))
            found = _OPERATOR.match(cursor.text, cursor.at)
            operator = found[0] if found else self._implied(spaced)
            binding = _BINDING.get(operator, -1)
            if binding < least or (binding == least and operator != "<%%"):
                cursor.at = before
                return chain.node()
            if found:
                cursor.at = found.end()
            try:
                chain.add(_SPELT.get(operator, operator), self._right(operator, binding, blank))
            except ScriptSyntaxError as err:
                # one after blanks that has no operand is no operator: RouterOS points before the blanks
                if spaced and found and err.text == SYNTAX:
                    raise cursor.error(SYNTAX, before) from None
                raise

    def _right(self, operator: str, binding: int, blank: re.Pattern[str]) -> Node:
        if self._properties is not None and operator == "=" and self.cursor.sees(_PLAIN):
            return Constant(literals.folded(self.cursor.match(_PLAIN)))
        if operator == "<%%":
            with self.nested():
                return self._binary(binding, blank)
        return self._binary(binding, blank)

    def _implied(self, spaced: bool) -> str:
        """The operator between two conditions in a row, or "" where no operand follows."""
        if self._over():
            return ""
        return " " if spaced or self.cursor.peek() in '("[{$' else ""

    def _over(self) -> bool:
        return self.cursor.peek() in ("", "\n", ";", ")", "]", "}")

    def _unary(self, blank: re.Pattern[str]) -> Node:
        cursor = self.cursor
        before = cursor.at
        cursor.match(blank)
        literal = cursor.match(_LITERAL)
        if literal:
            return Constant(literals.folded(literal))
        operator = cursor.match(_UNARY)
        if operator:
            with self.nested():
                return Operation(operator, (self._binary(_UNARY_BINDING, blank),))
        primary = self.primary()
        if primary is not None:
            return primary
        properties = self._properties
        if properties is not None:
            here = cursor.at
            name = cursor.match(_PROPERTY)
            if name in properties or (not properties and "-" in name):
                # of a menu whose properties are not recorded, a name with a hyphen is taken for one
                return Variable(name)
            cursor.at = here
        word = cursor.match(_WORD)
        if word:
            truth = literals.truth(word)
            return Constant(truth) if truth else Variable(word)
        number = cursor.match(_NUMBER)
        if number:
            return Constant(literals.folded(number))
        raise cursor.error(SYNTAX, before)

    def primary(self) -> Node | None:
        """A value that begins with a sign of its own: `"text"`, `$name`, `(...)`, `[...]`, `{...}`; else None."""
        match self.cursor.peek():
            case '"':
                return self.quoted()
            case "$":
                self.cursor.at += 1
                return self._variable()
            case "(":
                return self.parenthesised()
            case "[":
                return self.bracketed()
            case "{":
                return self.array()
        return None

    def _variable(self) -> Node:
        """The name after a `$`."""
        cursor = self.cursor
        name = cursor.match(_VARIABLE)
        if name:
            return Variable(name)
        if cursor.peek() == '"':
            text = self.quoted()
            return Variable(text.text) if isinstance(text, Constant) else text
        if cursor.peek() == "(":
            return self.parenthesised()
        if cursor.peek() == "[":
            return self.bracketed()
        raise cursor.error(SYNTAX)

    def quoted(self) -> Node:
        """A text in quotes. Each escaped character is an operand of its own, as RouterOS keeps it."""
        cursor = self.cursor
        begun = cursor.at
        cursor.at += 1
        parts: list[Node] = []
        with self.nested():
            while not cursor.take('"'):
                text = cursor.match(_TEXT)
                if text:
                    parts.append(Constant(text))
                elif cursor.take("$"):
                    parts.append(self._variable())
                elif cursor.take("\\"):
                    if cursor.match(_CONTINUED):
                        continue
                    parts.append(Constant(self._escaped()))
                else:
                    # the end: RouterOS points at the end of the line where the text began
                    line = cursor.text.find("\n", begun)
                    raise cursor.error(SYNTAX, line if line >= 0 else len(cursor.text))
        if not parts:
            return NOTHING
        return parts[0] if len(parts) == 1 else Operation(".", tuple(parts))

    def _escaped(self) -> str:
        byte = self.cursor.match(_BYTE)
        if byte:
            return chr(int(byte, 16))
        char = _ESCAPES.get(self.cursor.peek())
        if not char:
            raise self.cursor.error(SYNTAX)
        self.cursor.at += 1
        return char


class _Chain:
    """An expression that grows to the right."""

    def __init__(self, first: Node) -> None:
        self._operator = ""
        self._operands = [first]

    def add(self, operator: str, operand: Node) -> None:
        if operator != self._operator or operator not in _CHAINED:
            left = self.node()
            self._operator = operator
            self._operands = _flat(operator, left)
        self._operands += _flat(operator, operand)

    def node(self) -> Node:
        return Operation(self._operator, tuple(self._operands)) if self._operator else self._operands[0]


def _flat(operator: str, node: Node) -> list[Node]:
    if operator in _CHAINED and isinstance(node, Operation) and node.operator == operator:
        return list(node.operands)
    return [node]
