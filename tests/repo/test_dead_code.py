"""No code without a caller: the product names everything that it defines, outside the definition itself.

Functions, classes and constants are followed through imports: of two functions with one name, each needs a caller. A
method or property counts as used where any attribute of its name is, since the syntax does not tell an object's class.
Code that only dead code names is dead too.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from agent.connectors import registry
from tests.repo import tree

ALLOWED = {
    "agent.config.documented_keys": "tests/repo/test_docs.py compares docs/config.md with it",
    **{f"{package}.spec.SPEC": "the registry reads it by its package's name" for package in registry.DEFAULT},
}
"""Names without a caller in the product, each with the reason why it stays."""


Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Code:
    """Modules by name, what each of them imports, and every mention of a name.

    Attributes:
        imports: full names, by module and the name that stands there.
        uses: for a full name, or `.name` for an attribute of anything: the definitions around each mention.
    """

    modules: dict[str, ast.Module]
    imports: dict[str, dict[str, str]]
    uses: dict[str, list[frozenset[ast.AST]]]

    def dead(self, kept: Collection[str] = ()) -> list[str]:
        """Return the full names that no living code mentions; `kept` lives, as does what stands outside of them all."""
        left = {name: (mention, node) for name, mention, node in self._definitions() if name not in kept}
        while True:
            asleep = {node for _, node in left.values()}
            living = [name for name, (mention, _) in left.items() if self._mentioned(mention, asleep)]
            if not living:
                return sorted(left)
            for name in living:
                del left[name]

    def _mentioned(self, mention: str, asleep: set[ast.AST]) -> bool:
        return any(asleep.isdisjoint(around) for around in self.uses.get(mention, ()))

    def _definitions(self) -> Iterator[tuple[str, str, ast.AST]]:
        """Yield the full name, the mention that counts as a use, and the node of each definition."""
        for module, parsed in self.modules.items():
            for node in parsed.body:
                for name in _defined(node):
                    yield f"{module}.{name}", f"{module}.{name}", node
                if isinstance(node, ast.ClassDef):
                    for member in node.body:
                        if isinstance(member, Function) and not self._called_by_base(module, node, member.name):
                            yield f"{module}.{node.name}.{member.name}", f".{member.name}", member

    def _called_by_base(self, module: str, owner: ast.ClassDef, name: str) -> bool:
        """Return whether Python, or a base class of another package, calls a method of this name."""
        return _is_special(name) or any(self._has(module, base, name) for base in owner.bases)

    def _has(self, module: str, base: ast.expr, name: str) -> bool:
        text = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        head, _, rest = text.partition(".")
        full = ".".join([self.imports[module].get(head, head), *filter(None, [rest])])
        home, _, attribute = full.rpartition(".")
        if not home or home in self.modules:
            return False  # one of ours is judged by itself
        return hasattr(getattr(importlib.import_module(home), attribute), name)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a module defines; a decorator may register what it decorates."""
    if isinstance(node, Scope):
        return [node.name] if isinstance(node, ast.ClassDef) or not node.decorator_list else []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [t.id for t in targets if isinstance(t, ast.Name) and not _is_special(t.id)]


def _imports(module: str, parsed: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            tops = ((a.asname, a.name) if a.asname else (a.name.partition(".")[0],) * 2 for a in node.names)
            found.update(tops)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            found.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return found


def _mentions(node: ast.AST, module: str, imports: dict[str, str]) -> Iterator[str]:
    """Yield the names that one node mentions."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield imports.get(node.id, f"{module}.{node.id}")
    elif isinstance(node, ast.Attribute):
        yield f".{node.attr}"
        if isinstance(node.value, ast.Name) and node.value.id in imports:
            yield f"{imports[node.value.id]}.{node.attr}"
    elif isinstance(node, ast.MatchClass):
        yield from (f".{name}" for name in node.kwd_attrs)


def _walk(parsed: ast.Module) -> Iterator[tuple[ast.AST, frozenset[ast.AST]]]:
    """Yield each node of a module with the definitions around it."""
    left: list[tuple[ast.AST, frozenset[ast.AST]]] = [(parsed, frozenset())]
    while left:
        node, around = left.pop()
        yield node, around
        around = around | {node} if isinstance(node, Scope) else around
        left.extend((child, around) for child in ast.iter_child_nodes(node))


def read(modules: dict[str, ast.Module]) -> Code:
    imports = {module: _imports(module, parsed) for module, parsed in modules.items()}
    uses: dict[str, list[frozenset[ast.AST]]] = {}
    for module, parsed in modules.items():
        for node, around in _walk(parsed):
            for name in _mentions(node, module, imports[module]):
                uses.setdefault(name, []).append(around)
    return Code(modules, imports, uses)


@cache
def product() -> Code:
    return read({tree.module(path): tree.parsed(path) for path in tree.python_files(*tree.PACKAGES)})


def test_everything_has_a_caller() -> None:
    assert product().dead(ALLOWED) == [], "delete it with its tests, or say above why it stays"
    assert set(ALLOWED) <= set(product().dead()), "it has a caller, or is gone: take it off the list"


@pytest.mark.parametrize(
    ("source", "dead"),
    [
        ("def f(): return f()", ["a.f"]),
        ("def f(): return g()\ndef g(): return f()", ["a.f", "a.g"]),
        ("def f(): return g()\ndef g(): pass", ["a.f", "a.g"]),
        ("def f(): pass\nf()", []),
        ("def _f(): pass", ["a._f"]),
        ("@app.command()\ndef f(): pass", []),
        ("X = 1\nY: int = X\n__all__ = ['Y']", ["a.Y"]),
        ("class C: pass\ndef f() -> C: pass", ["a.C", "a.f"]),
        ("class C:\n  def m(self): self.m()\n  def __len__(self): pass\nC()", ["a.C.m"]),
        ("class C:\n  @property\n  def m(self): pass\nC().m", []),
        ("class C:\n  @property\n  def m(self): pass\nmatch C():\n  case C(m=1): pass", []),
        (
            "import logging\nclass C(logging.Handler):\n  def emit(self): pass\n  def more(self): pass\nC()",
            ["a.C.more"],
        ),
        ("class B:\n  def m(self): pass\nclass C(B):\n  def m(self): pass\nC()", ["a.B.m", "a.C.m"]),
    ],
)
def test_the_dead_are_found(source: str, dead: list[str]) -> None:
    assert read({"a": ast.parse(source)}).dead() == dead


@pytest.mark.parametrize("uses", ["from a import f\nf()", "import a as x\nx.f()", "from p import a\na.f()"])
def test_a_function_is_followed_through_imports(uses: str) -> None:
    code = {
        "p.a": "def f(): pass",
        "p.b": "def f(): pass",
        "p.c": uses.replace("from a ", "from p.a ").replace("import a ", "import p.a "),
    }
    assert read({module: ast.parse(text) for module, text in code.items()}).dead() == ["p.b.f"]
