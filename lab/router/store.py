"""All menus' rows, and the rules between them: values, uniqueness, references, interfaces. Pure.

A reference is kept as the name that it shows. When its target is renamed it shows the new name; when the target is
removed it shows the target's `.id`, as RouterOS does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeAlias

from lab.router import values as v
from lab.router.assumed_facts import INTERFACE_TYPES, Model, Reference, make_model
from lab.router.errors import Trap
from lab.router.facts import Facts
from lab.router.table import Row, Table

Event: TypeAlias = Literal["added", "changed", "removed"]
Watcher: TypeAlias = Callable[[str, Row, Event], None]
Computed: TypeAlias = Callable[[Row], Mapping[str, str]]

INTERFACES: Final = "/interface"
_NAME: Final = ("name",)
# what of an interface /interface shows too
_SHARED: Final[tuple[str, ...]] = ("name", "disabled", "comment", "mtu", "l2mtu")
# arguments of add that say how, not what
_MANNER: Final = frozenset(("copy-from", "place-before", "numbers", ".id"))


class _Peek(Mapping[str, str]):
    """A row as `Store.view` shows it, looked up property by property. Every menu has one, for one row at a time."""

    __slots__ = ("_row", "_shown")

    def __init__(self, shown: Mapping[str, str]) -> None:
        self._shown = shown
        self._row = Row("", {})

    def of(self, row: Row) -> _Peek:
        """The same, of another row."""
        self._row = row
        return self

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # strings only
        row = self._row
        found = row.state.get(name)
        if found is None:
            found = row.props.get(name)
        if found is not None:
            return found
        if name == ".id":
            return row.id or default
        if name == "dynamic" and row.dynamic:
            return "true"
        return self._shown.get(name, default)

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        row = self._row
        more = [".id"] if row.id else []
        return iter(dict.fromkeys((*self._shown, *row.props, *row.state, *more, *(["dynamic"] if row.dynamic else []))))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Store:
    """The rows of one router. `computed`: by menu, the properties of a row that follow from other things.

    `walks`: by menu, how often all its rows were gone through to answer a command, one by one.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.computed: dict[str, Computed] = {}
        self.watchers: list[Watcher] = []
        self.walks: Counter[str] = Counter()
        self.reuse_ids = False
        self._models: dict[str, Model | None] = {}
        self._tables: dict[str, Table] = {}
        self._singles: dict[str, Row] = {}
        self._uses: Counter[tuple[str, str]] = Counter()
        self._referers = self._find_referers()

    def _find_referers(self) -> dict[str, list[tuple[str, str]]]:
        referers: dict[str, list[tuple[str, str]]] = {}
        for path in self.facts.paths():
            if model := self.find_model(path):
                for arg, reference in model.lore.references.items():
                    for target in reference.paths:
                        referers.setdefault(target, []).append((path, arg))
        return referers

    # --- menus --------------------------------------------------------------------------------------------------------

    def find_model(self, path: str) -> Model | None:
        """A menu's model, or None where there is no such menu."""
        if path not in self._models:
            self._models[path] = make_model(self.facts, path)
        return self._models[path]

    def model(self, path: str) -> Model:
        """A menu's model.

        Raises:
            Trap: there is no such menu.
        """
        model = self.find_model(path)
        if model is None:
            raise Trap("no such command prefix", 0)
        return model

    def table(self, path: str) -> Table:
        """A menu's rows; its first rows are made when it is first asked for.

        Raises:
            Trap: there is no such menu.
        """
        table = self._tables.get(path)
        if table is None:
            model = self.model(path)
            table = self._tables[path] = Table(model.indexes)
            for first in model.lore.rows:
                # what version 6 and 7 do not share is left out
                props = {k: value for k, value in first.items() if k != ".id"}
                row_id = first.get(".id") or table.new_id(dynamic=False)
                table.insert(Row(row_id, props, builtin=True))
        table.reuse_ids = self.reuse_ids
        return table

    def single(self, path: str) -> Row:
        """The one row of a menu that has one.

        Raises:
            Trap: there is no such menu.
        """
        if path not in self._singles:
            self.model(path)
            self._singles[path] = Row("", {})
        return self._singles[path]

    def used_paths(self) -> list[str]:
        """Menus that hold rows or were asked for theirs, in order."""
        return sorted({*self._tables, *self._singles})

    def tables(self) -> Iterator[tuple[str, Table]]:
        """All tables that were made so far."""
        yield from list(self._tables.items())

    def singles(self) -> Iterator[tuple[str, Row]]:
        """All menus of one row that were asked for so far."""
        yield from list(self._singles.items())

    # --- reading ------------------------------------------------------------------------------------------------------

    def view(self, path: str, row: Row) -> dict[str, str]:
        """A row as `print` shows it to a user that may see everything."""
        model = self.model(path)
        shown = {".id": row.id} if row.id else {}
        shown.update(model.shown)
        for arg in model.menu.write_only & row.props.keys():
            shown.pop(arg, None)
        shown.update({k: value for k, value in row.props.items() if k not in model.menu.write_only})
        shown.update(row.state)
        if row.dynamic:
            shown["dynamic"] = "true"
        for mark in ("default", "builtin"):
            if row.builtin and mark in model.shown:
                shown[mark] = "true"
        if path in self.computed:
            shown.update(self.computed[path](row))
        return shown

    def peek(self, path: str) -> Callable[[Row], Mapping[str, str]]:
        """Return a function that shows a row as `view` does, without write-only properties."""
        return _Peek(self.model(path).shown).of

    def named(self, path: str, name: str) -> Row | None:
        """The first row of that name."""
        table = self.table(path)
        if _NAME not in table.unique:
            return next((row for row in table if row.props.get("name") == name), None)
        return next(table.find(_NAME, {"name": name}), None)

    def resolve(self, path: str, numbers: str) -> list[Row]:
        """The rows that `numbers` or `.id` name: `*1`, a name, or several with commas.

        Raises:
            Trap: one of them is not there.
        """
        table = self.table(path)
        rows: list[Row] = []
        for number in [numbers] if self.named_exactly(path, numbers) else numbers.split(","):
            row = table.get(number) if number.startswith("*") else None
            row = row or (self.named(path, number) if number else None)
            if row is None:
                raise Trap("no such item", 0)
            rows.append(row)
        return rows

    def named_exactly(self, path: str, name: str) -> bool:
        """Tell whether a row has that name as it stands, comma or not."""
        return "," in name and self.named(path, name) is not None

    # --- values -------------------------------------------------------------------------------------------------------

    def _read_values(self, model: Model, args: Mapping[str, str], *, lenient: bool) -> dict[str, str | None]:
        """Arguments as the router keeps them; None: absent from now on."""
        read: dict[str, str | None] = {}
        for arg, value in args.items():
            if arg.startswith("!") or (value == "" and (arg == "comment" or model.menu.unset.get(arg) == "")):
                read[arg.removeprefix("!")] = None
                continue
            kind = model.kinds.get(arg, v.text)
            try:
                read[arg] = kind(value)
            except v.BadValueError as err:
                if not lenient:
                    raise Trap(err.message(arg), 1) from err
                read[arg] = value
        return read

    def _check_references(self, model: Model, props: Mapping[str, str | None]) -> None:
        for arg, reference in model.lore.references.items():
            value = props.get(arg)
            if not value:
                continue
            for name in _split(reference, value):
                if not self._exists(reference, name):
                    raise Trap(f"input does not match any value of {arg}", 1)

    def _exists(self, reference: Reference, name: str) -> bool:
        if name in reference.also:
            return True
        if reference.unless:
            try:
                reference.unless(name)
            except v.BadValueError:
                pass
            else:
                return True
        for path in reference.paths:
            if self.find_model(path) is None:
                return True  # this version keeps no such menu: nothing is known of what there is
            if self.named(path, name) or (name.startswith("*") and self.table(path).get(name)):
                return True
        return False

    def _check_unique(self, model: Model, props: Mapping[str, str], but: Row | None = None) -> None:
        table = self.table(model.path)
        for keys in model.lore.unique:
            # a row without the first key (a lease without an address) is like no other
            if props.get(keys[0]) and any(r is not but and not _of_router(r) for r in table.find(keys, props)):
                raise Trap(model.lore.duplicate)

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        path: str,
        args: Mapping[str, str],
        *,
        before: Row | None = None,
        dynamic: bool = False,
        lenient: bool = False,
    ) -> Row:
        """Add a row. `dynamic`: the router itself does; `lenient`: an export is loaded, nothing is checked.

        Raises:
            Trap: an argument is missing or bad, a reference dangles, the row is not unique.
        """
        model = self.model(path)
        given = {k: value for k, value in args.items() if k not in _MANNER}
        if not (dynamic or lenient):
            _check_missing(model, given)
        props = {k: value for k, value in self._read_values(model, given, lenient=lenient).items() if value is not None}
        for keys in model.lore.unique:
            for key in keys:
                if key in model.shown:
                    props.setdefault(key, model.shown[key])
        if not props.get("name") and "name" in model.menu.verbs.get("add", ()):
            props["name"] = self._free_name(path)
        if not (dynamic or lenient):
            self._check_unique(model, props)
            if path in INTERFACE_TYPES:
                self._check_unique(self.model(INTERFACES), props)
            self._check_references(model, props)
        return self.insert(path, props, before=before, dynamic=dynamic)

    def insert(
        self,
        path: str,
        props: dict[str, str],
        *,
        before: Row | None = None,
        dynamic: bool = False,
        builtin: bool = False,
        row_id: str = "",
    ) -> Row:
        """Put a row in as it is, unchecked. `row_id`: the `.id` that it gets if no row has it."""
        table = self.table(path)
        shadowed = path in INTERFACE_TYPES
        if not row_id or table.get(row_id):
            row_id = (self.table(INTERFACES) if shadowed else table).new_id(dynamic=dynamic)
        row = Row(row_id, props, dynamic=dynamic, builtin=builtin)
        table.insert(row, before)
        self._count(path, props, 1)
        if shadowed:
            shared = {k: props[k] for k in _SHARED if k in props}
            shadow = Row(row_id, shared, dynamic=dynamic, builtin=builtin)
            shadow.state["type"] = INTERFACE_TYPES[path]
            self.table(INTERFACES).insert(shadow)
            self._tell(INTERFACES, shadow, "added")
        self._tell(path, row, "added")
        return row

    def change(self, path: str, row: Row, args: Mapping[str, str], *, lenient: bool = False) -> None:
        """Set properties of a row; `!name` takes one away.

        Raises:
            Trap: a value is bad, a reference dangles, the row would no longer be unique.
        """
        model = self.model(path)
        read = self._read_values(model, {k: val for k, val in args.items() if k not in _MANNER}, lenient=lenient)
        props = {k: value for k, value in ({**row.props, **read}).items() if value is not None}
        if not lenient and row.id:
            if any(props.get(k) != row.props.get(k) for keys in model.lore.unique for k in keys):
                self._check_unique(model, props, but=row)
            self._check_references(model, read)
        self._put(path, row, props)
        if row.id and (path in INTERFACE_TYPES or path == INTERFACES):
            self._share(path, row)

    def _put(self, path: str, row: Row, props: dict[str, str]) -> None:
        old_name, new_name = row.props.get("name", ""), props.get("name", "")
        if not row.id:
            row.props = props
        else:
            self._count(path, row.props, -1)
            self.table(path).change(row, props)
            self._count(path, props, 1)
            if old_name != new_name and path in self._referers:
                self._rename(path, old_name, new_name)
        self._tell(path, row, "changed")

    def _share(self, path: str, row: Row) -> None:
        """Keep an interface's two rows alike."""
        others = [p for p in INTERFACE_TYPES if p in self._tables] if path == INTERFACES else [INTERFACES]
        for other in others:
            twin = self._tables[other].get(row.id) if other in self._tables else None
            if twin is None:
                continue
            kept = {k: value for k, value in twin.props.items() if k not in _SHARED}
            self._put(other, twin, kept | {k: row.props[k] for k in _SHARED if k in row.props})

    def remove(self, path: str, row: Row) -> None:
        """Take a row out; references to it show its `.id` from now on."""
        self.table(path).remove(row)
        self._count(path, row.props, -1)
        name = row.props.get("name", "")
        if path in self._referers and self.named(path, name) is None:
            self._rename(path, name, row.id)
        self._tell(path, row, "removed")
        if path in INTERFACE_TYPES and (shadow := self.table(INTERFACES).get(row.id)):
            self.remove(INTERFACES, shadow)

    def move(self, path: str, row: Row, before: Row | None) -> None:
        """Give a row another place."""
        self.table(path).move(row, before)
        self._tell(path, row, "changed")

    def _tell(self, path: str, row: Row, event: Event) -> None:
        for watcher in tuple(self.watchers):
            watcher(path, row, event)

    def _free_name(self, path: str) -> str:
        base = path.rpartition("/")[2].removesuffix("-server").replace("simple", "queue")
        tables = (path, INTERFACES) if path in INTERFACE_TYPES else (path,)
        number = len(self.table(path)) + 1 if len(self.table(path)) > 64 else 1
        while any(self.named(p, f"{base}{number}") for p in tables):
            number += 1
        return f"{base}{number}"

    # --- references ---------------------------------------------------------------------------------------------------

    def _count(self, path: str, props: Mapping[str, str], step: int) -> None:
        model = self.model(path)
        for arg, reference in model.lore.references.items():
            if value := props.get(arg):
                for name in _split(reference, value):
                    for target in reference.paths:
                        key = (target, name)
                        self._uses[key] += step
                        if self._uses[key] <= 0:
                            del self._uses[key]

    def _rename(self, target: str, old: str, new: str) -> None:
        """Let referring rows show another name. Only a name in use costs a walk."""
        if not old or not self._uses.get((target, old)):
            return
        for path, arg in self._referers[target]:
            if path not in self._tables:
                continue
            reference = self.model(path).lore.references[arg]
            for row in self._tables[path]:
                value = row.props.get(arg, "")
                if value and old in _split(reference, value):
                    self._put(path, row, row.props | {arg: _replace(reference, value, old, new)})


def _of_router(row: Row) -> bool:
    """Tell whether the router made a row: rows of a session stand beside configured ones."""
    return row.dynamic and row.expires_at is None and row.props.get("dynamic") != "true"


def _split(reference: Reference, value: str) -> list[str]:
    if reference.split == "!":
        return [value.removeprefix("!")]
    return value.split(reference.split) if reference.split else [value]


def _replace(reference: Reference, value: str, old: str, new: str) -> str:
    if reference.split == "!":
        return ("!" if value.startswith("!") else "") + new
    names = _split(reference, value)
    return (reference.split or ",").join(new if name == old else name for name in names)


def _check_missing(model: Model, given: Mapping[str, str]) -> None:
    """Answer as the recordings do to an `add` that lacks arguments."""
    missing = model.menu.missing
    if missing is None:
        return
    if not missing.text:
        lacking = [arg for arg in missing.arguments if arg not in given]
        if lacking:
            raise Trap(f"missing value(s) of argument(s) {' '.join(lacking)}")
        return
    wanted = missing.arguments or model.lore.needs
    if missing.text.startswith("error - "):
        raise Trap(missing.text)
    if not any(given.get(arg) for arg in wanted) if wanted else not given:
        raise Trap(missing.text)
