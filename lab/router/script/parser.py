"""Statements of a script: menus, commands and their arguments, blocks. Pure.

A statement is read in the menu it stands in. A word is a child of that menu, or of the root; `/` begins at the root,
`:` is a command of the root that leaves the menu alone. A word that is neither is no error yet: RouterOS refuses it
when the script gets there, so it is kept as a call that fails, and its words are read without types.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from lab.router.errors import ScriptSyntaxError
from lab.router.script import literals
from lab.router.script.arguments import typed
from lab.router.script.commands import Commands
from lab.router.script.cursor import BRACE, END, NAME, SYNTAX, VALUE_BRACE, Cursor
from lab.router.script.expressions import Expressions
from lab.router.script.nodes import NOTHING, Command, Constant, Keyed, Listed, Menu, Node, Operation, Variable, code

_COMMAND: Final = re.compile(r"[a-z0-9.-]+")
_ARGUMENT: Final = re.compile(r"(!?[A-Za-z0-9._-]+)(=?)")
# an unquoted value of an argument
_WORD: Final = re.compile(r"[^ \t\r\n;\[\](){}\"'$=]+")
_NAMES: Final = re.compile(r"[A-Za-z0-9]+")
_ANY: Final = re.compile(r"(?:[ \t\r\n]|\\\r?\n)*")
_SIGNS: Final = ("$", "[", "(", "{")
# an argument's name that stands alone
_BARE: Final = re.compile(r"([A-Za-z0-9._-]+)(?=[ \t\r\n;\]}]|\Z)")


class Parser:
    """One script."""

    def __init__(self, text: str, commands: Commands) -> None:
        self.cursor = Cursor(text)
        self._commands = commands
        self._expressions = Expressions(self.cursor, self._inner)
        self._menu = ""
        self._scopes: list[set[str]] = [set()]

    def script(self) -> Node:
        """All statements up to the end, or to a brace that closes nothing: RouterOS reads no further."""
        return Listed(self._statements())

    # blocks

    def _inner(self) -> tuple[Node, ...]:
        """Statements between brackets: a menu entered there is left at their end."""
        menu = self._menu
        self._scopes.append(set())
        statements = self._statements()
        self._scopes.pop()
        self._menu = menu
        return statements

    def _block(self, missing: str = BRACE) -> tuple[Node, ...]:
        """`{ statements }`; `missing`: RouterOS' words at the script's end."""
        with self._expressions.nested():
            self.cursor.at += 1
            statements = self._inner()
            if not self.cursor.take("}"):
                raise self.cursor.error(missing if not self.cursor.peek() else SYNTAX)
        return statements

    def _statements(self) -> tuple[Node, ...]:
        into: list[Node] = []
        while True:
            self._statement(into)
            if not self.cursor.take(";") and self.cursor.peek() != "\n":
                return tuple(into)
            if self.cursor.peek() == "\n":
                self.cursor.match(_ANY)
            # a comment that begins its line is none of a statement's; an indented one begins an empty statement
            while self.cursor.peek() == "#" and self.cursor.text[self.cursor.at - 1] == "\n":
                self.cursor.comments()
                self.cursor.match(_ANY)
            if self.cursor.peek() in ("", "}", "]"):
                return tuple(into)

    def _statement(self, into: list[Node]) -> None:
        cursor = self.cursor
        cursor.blanks()
        while cursor.comments():
            cursor.blanks()
        if cursor.ended():
            into.append(Menu(self._menu + "/"))
            return
        match cursor.peek():
            case "$":
                function = self._expressions.primary() or NOTHING
                into.append(self._call("<%%", function, [Operation(">", (function,))]))
            case "(":
                into.append(self._call("<%%", self._expressions.parenthesised(), []))
            case "[":
                self._called_result(into)
            case "{":
                into.append(Operation("evl", self._block()))
            case _:
                into.append(self._command())
                return
        self._end(SYNTAX)

    def _called_result(self, into: list[Node]) -> None:
        """`[commands] words`: the commands join the statements before them, and all of those become the value."""
        with self._expressions.nested():
            self.cursor.at += 1
            menu = self._menu
            into += self._statements()
            self._menu = menu
            if not self.cursor.take("]"):
                raise self.cursor.error(SYNTAX)
        called = into[0] if len(into) == 1 else Operation("evl", (Listed(tuple(into)),))
        into[:] = [self._call("<%%", called, [])]

    def _end(self, text: str) -> None:
        self.cursor.blanks()
        if not self.cursor.ended():
            raise self.cursor.error(text)

    # commands

    def _command(self) -> Node:
        """A menu, a command with its arguments, or a menu with a block."""
        cursor = self.cursor
        menu, relative, stays = self._menu, True, False
        if cursor.take("/"):
            menu, relative = "", False
            cursor.blanks()
            if cursor.ended():
                self._menu = ""
                return Menu("/")
        elif cursor.take(":"):
            menu, relative, stays = "", False, True
        while True:
            at = cursor.at
            # in the root, `..` is a name like any other
            word = ".." if menu and cursor.take("..") else cursor.match(_COMMAND)
            if not word:
                raise cursor.error(NAME)
            if word == "..":
                menu, is_menu = menu.rpartition("/")[0], True
            else:
                found = self._commands.find(menu, word) or (self._commands.find("", word) if relative else None)
                if found is None:
                    return self._bad(word, at)
                menu, is_menu = found
            if not is_menu:
                return self._known(menu, stays=stays)
            relative = False
            before = cursor.at
            if not cursor.take("/"):
                cursor.blanks()
            if cursor.ended():
                self._menu = menu
                return Menu(menu + "/")
            if cursor.peek() == "{":
                outer, self._menu = self._menu, menu
                statements = self._block()
                self._menu = outer
                self._end(END)
                return Operation("evl", statements)
            if not cursor.sees(_COMMAND):
                raise cursor.error(NAME, before if cursor.at == before else None)

    def _bad(self, word: str, at: int) -> Node:
        operator = f"<%% bad command name {word} {self.cursor.place(at)}"
        words = self._words([Constant(word)], constant=True)
        return Operation(operator, (Listed(words),))

    def _call(self, operator: str, function: Node, words: list[Node]) -> Node:
        return Operation(operator, (function, Listed(self._words(words, constant=False))))

    def _words(self, words: list[Node], *, constant: bool) -> tuple[Node, ...]:
        """Words of a command with unknown arguments: those without a name, then the named by their names."""
        cursor = self.cursor
        named: dict[str, Node] = {}
        while True:
            spaced = cursor.blanks()
            if cursor.ended():
                break
            if not spaced:
                raise cursor.error(SYNTAX)
            begun = cursor.at
            found = _ARGUMENT.match(cursor.text, cursor.at)
            if found and found[2]:
                cursor.at = found.end()
                named[found[1]] = self._constant(found.end() - 1) if constant else self._plain_value()
                continue
            if constant and cursor.peek() == "{":
                raise cursor.error(SYNTAX)
            value = self._plain_value()
            if cursor.at == begun:
                raise cursor.error(SYNTAX)
            words.append(value)
        return (*words, *(Keyed(name, named[name]) for name in sorted(named)))

    def _constant(self, sign: int) -> Node:
        """The value of a named word of a command that there is not: a text must be a constant there."""
        cursor = self.cursor
        if cursor.peek() == '"':
            try:
                value = self._expressions.quoted()
            except ScriptSyntaxError:
                raise cursor.error(SYNTAX, sign) from None
            if not isinstance(value, Constant):
                raise cursor.error(SYNTAX, sign)
            return value
        return self._plain_value()

    def _plain_value(self) -> Node:
        primary = self._expressions.primary()
        if isinstance(primary, Variable):
            # it is known from there on in its block: `:set` can name it
            self.declare((primary.name,))
        return primary if primary is not None else Constant(self.cursor.match(_WORD))

    def _known(self, command: str, *, stays: bool) -> Node:
        """A command and its arguments; `stays`: it was called by `:`, which leaves the menu alone."""
        outer = self._menu
        menu = command.rpartition("/")[0]
        if menu and not stays:
            # what stands in its arguments is looked up where the command is
            self._menu = menu
        arguments = _Arguments(self, command).read()
        self._menu = outer
        return Command(command, tuple(Keyed(name, arguments[name]) for name in sorted(arguments)))

    # what arguments need

    def block(self) -> Node:
        """A block as a value."""
        return code(self._block(VALUE_BRACE))

    def declare(self, names: Collection[str]) -> None:
        """Make variables known from here to the end of the block."""
        self._scopes[-1].update(names)

    def declared(self, name: str) -> bool:
        """Tell whether a variable is known here."""
        return any(name in scope for scope in self._scopes)

    @property
    def commands(self) -> Commands:
        return self._commands

    @property
    def expressions(self) -> Expressions:
        return self._expressions


class _Arguments:
    """The arguments of one command."""

    def __init__(self, parser: Parser, command: str) -> None:
        self._parser = parser
        self._cursor = parser.cursor
        self._command = command
        self._names = parser.commands.arguments(command)
        self._free = list(parser.commands.unnamed(command))
        self._values: dict[str, Node] = {}
        self._group = ""
        # what an argument without a value reads as: RouterOS repeats the last value there was
        self._last: Node = Constant("true")

    def read(self) -> dict[str, Node]:
        """All of them, by name."""
        cursor = self._cursor
        while True:
            spaced = cursor.blanks()
            if cursor.ended():
                return self._values
            if not spaced:
                raise cursor.error(END)
            self._one()

    def _one(self) -> None:
        cursor = self._cursor
        found = _ARGUMENT.match(cursor.text, cursor.at)
        if found and found[1] == "where" and "where" in self._names:
            cursor.at = found.end()
            self._where()
            return
        if self._command.endswith("/find") and self._names == {"where"}:
            self._where()
            return
        if found and found[2]:
            # .as=65000 behind local.role=ebgp is local.as
            word = self._group + found[1] if found[1].startswith(".") else found[1].removeprefix("!")
            name = self._parser.commands.argument(self._command, word)
            # one that is not known is a value without a name, and its `=` is one sign too many
            if name is not None:
                self._group = name.rpartition(".")[0]
                cursor.at = found.end()
                cursor.blanks()
                if not cursor.ended():
                    self._give(name, self._value(name))
                return
        if self._alone():
            return
        self._free = self._unnamed()
        if not self._free:
            raise cursor.error(END)
        begun = cursor.at
        name = self._free.pop(0)
        self._give(name, self._value(name))
        if cursor.at == begun:
            raise cursor.error(END)

    def _alone(self) -> bool:
        """An argument's name without a `=`, which is no value without a name."""
        cursor = self._cursor
        found = _BARE.match(cursor.text, cursor.at)
        if not found or found[1] not in self._names or found[1] in self._free:
            return False
        cursor.at = found.end()
        cursor.blanks()
        if not self._unnamed() and cursor.peek() in _SIGNS:
            # its value comes behind a blank
            self._give(found[1], self._value(found[1]))
        else:
            cursor.at = found.end()
            self._values[found[1]] = self._last
        return True

    def _unnamed(self) -> list[str]:
        return [name for name in self._free if name not in self._values]

    def _give(self, name: str, value: Node) -> None:
        self._values[name] = self._last = value

    def _where(self) -> None:
        menu = self._command.rpartition("/")[0]
        properties = self._parser.commands.properties(menu)
        condition = self._parser.expressions.conditions(frozenset(properties))
        self._values["where"] = Listed((*map(Variable, properties), condition, Constant("5")))

    def _value(self, name: str) -> Node:
        cursor = self._cursor
        if name == self._parser.commands.declares(self._command) or (self._command, name) == ("/set", "name"):
            return self._name()
        if cursor.peek() == "{" and self._parser.commands.holds_code(self._command, name):
            return self._parser.block()
        if cursor.peek() == "{" and self._parser.commands.holds_source(self._command, name):
            return self._source()
        primary = self._parser.expressions.primary()
        if primary is not None:
            return primary
        begun = cursor.at
        word = cursor.match(_WORD)
        if name == "disabled" and word and literals.truth(word) is None:
            raise cursor.error(SYNTAX, begun)
        return typed(self._command, name, self._parser.commands.kind(self._command, name), word)

    def _source(self) -> Node:
        """A script in braces that is kept as its text."""
        cursor = self._cursor
        begun = cursor.at
        self._parser.block()
        return Constant(cursor.text[begun + 1 : cursor.at - 1])

    def _name(self) -> Node:
        """The name of a variable: bare, quoted, with its `$`; of `set` also an element, and only of a known one."""
        cursor = self._cursor
        if cursor.peek() == "(":
            return self._parser.expressions.parenthesised()
        begun = cursor.at
        names: list[str] = []
        known = self._command != "/set"
        while True:
            if not known:
                # with its `$` it is taken as it is
                known = cursor.take("$")
            elif cursor.peek() == "$":
                raise cursor.error(SYNTAX)
            if cursor.peek() == '"':
                text = self._parser.expressions.quoted()
                names.append(text.text if isinstance(text, Constant) else "")
            else:
                names.append(cursor.match(_NAMES))
            if self._command != "/foreach" or not cursor.take(","):
                break
        if self._command == "/set":
            if not known and not self._parser.declared(names[0]):
                raise cursor.error(SYNTAX, begun)
        else:
            self._parser.declare(names)
        variables = tuple(map(Variable, names))
        return variables[0] if len(variables) == 1 else Listed(variables)
