"""Where a line of Python can be made wrong, and how. Pure."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OTHER: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_CONDITIONS = (ast.If, ast.While, ast.IfExp, ast.comprehension)


@dataclass(frozen=True, slots=True)
class Site:
    """One mistake that can be made.

    `function`, `statement`, `nth`, `what` name it, whatever its line is: the dotted name of its function; the text of
    its innermost statement; the mistake; which of those that are equal in these. `line` is where it begins now.
    """

    function: str
    statement: str
    nth: int
    what: str
    line: int
    last_line: int
    begin: int
    end: int
    text: str

    @property
    def name(self) -> tuple[str, str, int, str]:
        """How it is found in another tree."""
        return self.function, self.statement, self.nth, self.what


def mutated(source: str, site: Site) -> str:
    """Return the source with that mistake; offsets are of UTF-8 bytes, as `ast` counts."""
    data = source.encode()
    return (data[: site.begin] + site.text.encode() + data[site.end :]).decode()


def sites(source: str) -> list[Site]:
    """Return every mistake that can be made in the functions of a module, in order of their places."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return sorted(_Walk(starts).module(tree), key=lambda site: (site.begin, site.what))


class _Walk:
    def __init__(self, starts: list[int]) -> None:
        self._starts = starts

    def module(self, tree: ast.AST, path: str = "") -> Iterator[Site]:
        """Yield the sites of every function below a node that is none."""
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._function(node, f"{path}{node.name}")
            elif isinstance(node, ast.ClassDef):
                yield from self.module(node, f"{path}{node.name}.")

    def _function(self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[Site]:
        seen: Counter[tuple[str, str]] = Counter()
        for statement in self._statements(function.body):
            text = _head(statement)
            for node, what, instead in _mistakes(statement):
                seen[text, what] += 1
                begin, end = self._offsets(node)
                yield Site(name, text, seen[text, what], what, node.lineno, node.end_lineno or 0, begin, end, instead)

    def _statements(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            yield statement
            for field in ("body", "orelse", "finalbody"):
                if not isinstance(statement, ast.ClassDef):
                    yield from self._statements(getattr(statement, field, []))
            for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
                yield from self._statements(part.body)

    def _offsets(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self._starts[node.lineno - 1] + node.col_offset
        return begin, self._starts[node.end_lineno - 1] + node.end_col_offset


def _own_expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement without those of statements in it, of annotations and of formatted texts."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if node is not statement:
            yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment", "handlers", "cases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.stmt | ast.JoinedStr):
                    waiting.append(child)


def _mistakes(statement: ast.stmt) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """Yield what can be wrong in a statement: the node to replace, the mistake's name, the text in its place."""
    match statement:
        case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Import() | ast.ImportFrom():
            return
        case ast.Expr(value=ast.Await() | ast.Call()):
            yield statement, "left out", "pass"
        case ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign() | ast.Delete():
            yield statement, "left out", "pass"
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield value, "returns None", "None"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield statement, "left out", "pass"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return
        case _:
            pass
    nodes = list(_own_expressions(statement))
    for node in [statement, *nodes]:
        if isinstance(node, _CONDITIONS):
            for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
                yield test, f"not ({ast.unparse(test)})", f"(not ({ast.unparse(test)}))"
    for node in nodes:
        yield from _of_expression(node)


def _of_expression(node: ast.AST) -> Iterator[tuple[ast.expr, str, str]]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPPOSITE:
            changed: ast.expr = ast.Compare(left, [_OPPOSITE[type(op)]()], [right])
        case ast.BoolOp(op=op, values=values):
            changed = ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            changed = operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OTHER:
            changed = ast.BinOp(left, _OTHER[type(op)](), right)
        case ast.Constant(value=bool() as flag):
            changed = ast.Constant(not flag)
        case ast.Constant(value=int() as number):
            changed = ast.Constant(number + 1)
        case _:
            return
    assert isinstance(node, ast.expr)
    text = ast.unparse(changed)
    yield node, f"{ast.unparse(node)} -> {text}", f"({text})"


def _head(statement: ast.stmt) -> str:
    """Return the text of a statement without those in it, so that a change of one of them leaves its name."""
    text = ast.unparse(statement)
    return text.partition("\n")[0] if hasattr(statement, "body") or hasattr(statement, "cases") else text


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
