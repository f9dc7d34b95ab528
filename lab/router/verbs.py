"""The effect of a command of the API, and its refusals. Pure.

`run` takes a sentence's words and answers with rows, a `ret`, or something to follow; a refusal is a Trap with
RouterOS's own text. A command that the recorded tree has and the lab does not perform is refused as such: never a
success that did nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from lab.router import values as v
from lab.router.assumed_facts import HIDDEN, SENSITIVE, Model
from lab.router.errors import Trap
from lab.router.query import Test, ids_asked, looked_up, parse_query
from lab.router.store import Store
from lab.router.table import Row

REFUSED: Final = "not enough permissions (9)"
UNDONE: Final = "failure: the lab's router does not perform this command"

_READ: Final = frozenset(("print", "get", "find", "listen", "export", "monitor"))
_TEST: Final = frozenset(("ping", "traceroute", "bandwidth-test", "scan", "torch", "speed-test"))
# what print takes beside what the tree lists: the API's own words, and views of the console
_PRINT: Final = frozenset(
    (
        ".proplist", ".id", "active", "all", "brief", "bytes", "count-only", "detail", "dynamic", "follow",
        "follow-only", "from", "interval", "packets", "rates", "static", "stats", "terse", "value-list",
        "without-paging",
    )
)  # fmt: skip
# rows that the router made and that may be taken away by hand all the same
_REMOVABLE: Final = frozenset(
    (
        "/interface/pppoe-server", "/ip/dhcp-server/lease", "/ip/firewall/address-list", "/ip/firewall/connection",
        "/ip/hotspot/active", "/ip/hotspot/cookie", "/ip/hotspot/host", "/ipv6/firewall/address-list",
        "/ipv6/firewall/connection", "/ppp/active",
    )
)  # fmt: skip
_CHANGEABLE: Final = frozenset(("/ip/firewall/address-list", "/ipv6/firewall/address-list"))


@dataclass(frozen=True, slots=True)
class User:
    """The user of a session; `policies` are those held now, `session` is the `.id` in /user/active."""

    name: str
    policies: frozenset[str]
    session: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A sentence taken apart. `where` are its query words without their `?`."""

    path: str
    verb: str
    args: Mapping[str, str]
    where: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.path}/{self.verb}"


@dataclass(frozen=True, slots=True)
class Follow:
    """The later output of a command: changes of a menu's rows, or (`every_ms`) the whole again and again."""

    path: str
    test: Test
    show: Callable[[Row], dict[str, str]]
    every_ms: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's answer. `empty`: it could have shown rows and had none."""

    rows: Sequence[Mapping[str, str]] = ()
    ret: str | None = None
    empty: bool = False
    follow: Follow | None = None


_DONE: Final = Answer()

Special: TypeAlias = Callable[[Mapping[str, str], User], Answer]
"""A command that acts on the router itself: its arguments and its user, and the answer."""


class Commanded(Protocol):
    """The parts of the router that commands act on.

    `specials`: commands that are no verb of a menu's rows, by their text.
    """

    store: Store
    specials: dict[str, Special]

    def refresh(self, path: str) -> None:
        """Bring a menu's rows up to date before they are shown."""

    def take_away(self, path: str, row: Row) -> None:
        """Remove a row, or end the session that it stands for."""

    def note(self, command: Command, user: User) -> None:
        """Remember a change."""


def parse_command(words: Sequence[str]) -> Command:
    """Take a sentence apart: `/ppp/secret/print`, `=name=value`, `?query`.

    Raises:
        Trap: a word that is none of these.
    """
    path, _, verb = words[0].rpartition("/")
    args: dict[str, str] = {}
    where = []
    for word in words[1:]:
        if word.startswith("="):
            name, _, value = word[1:].partition("=")
            args[name] = value
        elif word.startswith("?"):
            where.append(word[1:])
        elif not word.startswith("."):
            raise Trap("unknown word", 5)
    return Command(path, "print" if verb == "getall" else verb, args, tuple(where))


def needed_policy(command: Command) -> str:
    """The policy that a command asks for."""
    if command.verb in _READ:
        return "read"
    if command.path == "/user" or command.path.startswith("/user/"):
        return "policy"
    if command.path == "/system" and command.verb in ("reboot", "shutdown"):
        return "reboot"
    return "test" if command.verb in _TEST else "write"


@dataclass(slots=True)
class _Run:
    """One command under way."""

    router: Commanded
    command: Command
    user: User
    model: Model
    args: dict[str, str] = field(default_factory=dict)

    # --- reading ------------------------------------------------------------------------------------------------------

    def show(self, row: Row) -> dict[str, str]:
        """A row as this user sees it."""
        shown = self.router.store.view(self.model.path, row)
        if "sensitive" not in self.user.policies:
            for name in SENSITIVE & shown.keys():
                shown[name] = HIDDEN
        return shown

    def candidates(self) -> Sequence[Row]:
        """The rows that can match: all, or those an index finds."""
        store, path = self.router.store, self.model.path
        if self.model.menu.single:
            return [store.single(path)]
        chosen = self.args.get(".id") or self.args.get("from")
        if chosen:
            return store.resolve(path, chosen)
        table = store.table(path)
        ids = ids_asked(self.command.where)
        if ids is not None:
            return [row for row in map(table.get, dict.fromkeys(ids)) if row]
        wanted = looked_up(self.command.where)
        if ".id" in wanted:
            row = table.get(wanted[".id"])
            return [row] if row else []
        for keys in table.unique:
            if all(k in wanted for k in keys):
                return list(table.find(keys, wanted))
        store.walks[path] += 1
        return list(table)

    def matching(self, test: Test) -> list[dict[str, str]]:
        """The rows that a test takes, as this user sees them.

        Of a menu that only the router writes, nothing is hidden from anybody: its rows are tested without being shown.
        """
        store, path = self.router.store, self.model.path
        if path in store.computed or {"add", "set"} & self.model.menu.verbs.keys():
            return [shown for row in self.candidates() if test(shown := self.show(row))]
        peek = store.peek(path)
        return [self.show(row) for row in self.candidates() if test(peek(row))]

    def _chooser(self) -> Callable[[dict[str, str]], dict[str, str]]:
        """The part of a row that .proplist leaves."""
        names = [n for n in self.args.get(".proplist", "").split(",") if n]
        if not names:
            return lambda shown: shown
        return lambda shown: {n: shown[n] for n in names if n in shown}

    def print_(self) -> Answer:
        test, choose = parse_query(self.command.where), self._chooser()
        self.router.refresh(self.model.path)
        rows = self.matching(test)
        if self.args.get("count-only", "no") not in ("no", "false"):
            return Answer(ret=str(len(rows)))
        follow = None
        if "interval" in self.args:
            every = v.milliseconds(self.args["interval"])
            if every is None:
                raise Trap("invalid value for argument interval", 1)
            follow = Follow(self.model.path, test, lambda row: choose(self.show(row)), every_ms=max(every, 200))
        elif "follow" in self.args or "follow-only" in self.args:
            follow = Follow(self.model.path, test, lambda row: choose(self.show(row)))
            rows = [] if "follow-only" in self.args else rows
        return Answer([choose(row) for row in rows], empty=not rows, follow=follow)

    def listen(self) -> Answer:
        choose = self._chooser()
        return Answer(
            follow=Follow(self.model.path, parse_query(self.command.where), lambda row: choose(self.show(row)))
        )

    def find(self) -> Answer:
        test = parse_query(self.command.where)
        return Answer(ret=";".join(row.id for row in self.candidates() if test(self.show(row))))

    def get(self) -> Answer:
        store, path = self.router.store, self.model.path
        self.router.refresh(path)
        if self.model.menu.single:
            row = store.single(path)
        else:
            number = self.args.get("number") or self.args.get(".id") or self.args.get("numbers")
            if not number:
                raise Trap("missing value(s) of argument(s) number")
            row = store.resolve(path, number)[0]
        shown = self.show(row)
        wanted = self.args.get("value-name")
        if wanted is None:
            return Answer(ret=";".join(f"{k}={value}" for k, value in shown.items()))
        if wanted not in shown and wanted not in self.model.kinds:
            raise Trap("input does not match any value of value-name", 1)
        return Answer(ret=shown.get(wanted, ""))

    # --- writing ------------------------------------------------------------------------------------------------------

    def chosen(self) -> list[Row]:
        """The rows that a write names.

        Raises:
            Trap: none is named, or one is not there.
        """
        numbers = self.args.get(".id") or self.args.get("numbers")
        if not numbers:
            raise Trap("missing =.id=")
        return self.router.store.resolve(self.model.path, numbers)

    def add(self) -> Answer:
        store, path = self.router.store, self.model.path
        args = {k: value for k, value in self.args.items() if k not in ("copy-from", "place-before")}
        if original := self.args.get("copy-from"):
            props = store.resolve(path, original)[0].props
            args = {k: value for k, value in props.items() if k in self.model.menu.verbs["add"]} | args
        before = store.resolve(path, self.args["place-before"])[0] if "place-before" in self.args else None
        row = store.add(path, args, before=before)
        return Answer(ret=row.id)

    def set_(self) -> Answer:
        store, path = self.router.store, self.model.path
        args = {k: value for k, value in self.args.items() if k not in (".id", "numbers")}
        if self.model.menu.single:
            store.change(path, store.single(path), args)
            return _DONE
        rows = self.chosen()
        for row in rows:
            self._may_change(row)
        for row in rows:
            store.change(path, row, args)
        return _DONE

    def _may_change(self, row: Row) -> None:
        if row.dynamic and self.model.path not in _CHANGEABLE:
            raise Trap("failure: cannot change dynamic")

    def set_all(self, args: Mapping[str, str]) -> Answer:
        rows = self.chosen()
        for row in rows:
            self._may_change(row)
        for row in rows:
            self.router.store.change(self.model.path, row, args)
        return _DONE

    def unset(self) -> Answer:
        name = self.args.get("value-name", "")
        if name not in self.model.menu.unset and name != "comment":
            raise Trap("input does not match any value of value-name", 1)
        return self.set_all({f"!{name}": ""})

    def remove(self) -> Answer:
        rows = self.chosen()
        for row in rows:
            if row.builtin:
                raise Trap(
                    "failure: default profile can not be removed"
                    if self.model.path == "/ppp/profile"
                    else "failure: can not remove default"
                )
            if row.dynamic and self.model.path not in _REMOVABLE:
                raise Trap("failure: cannot remove dynamic")
        for row in rows:
            self.router.take_away(self.model.path, row)
        return _DONE

    def move(self) -> Answer:
        store, path = self.router.store, self.model.path
        rows = self.chosen()
        destination = self.args.get("destination")
        before = store.resolve(path, destination)[0] if destination else None
        while before is not None and before in rows:
            before = before.after
        for row in rows:
            store.move(path, row, before)
        return _DONE

    def make_static(self) -> Answer:
        for row in self.chosen():
            row.dynamic = False
            self.router.store.change(self.model.path, row, {})
        return _DONE


def run(router: Commanded, command: Command, user: User) -> Answer:
    """Perform a command for a user.

    Raises:
        Trap: the router refuses. Nothing was changed, but where several rows were named and one of them was refused.
    """
    model = router.store.find_model(command.path)
    if model is None:
        raise Trap("no such command" if router.store.facts.is_folder(command.path) else "no such command prefix", 0)
    known = model.menu.verbs
    verb = "print" if command.verb == "listen" else command.verb
    if verb not in known:
        raise Trap("no such command", 0)
    if needed_policy(command) not in user.policies:
        raise Trap(REFUSED)
    args = dict(command.args)
    _check_arguments(verb, known[verb], args)
    task = _Run(router, command, user, model, args)
    special = router.specials.get(command.text)
    if special:
        return special(task.args, user)
    simple: dict[str, Callable[[], Answer]] = {
        "print": task.print_,
        "listen": task.listen,
        "find": task.find,
        "get": task.get,
        "add": task.add,
        "set": task.set_,
        "unset": task.unset,
        "remove": task.remove,
        "move": task.move,
        "make-static": task.make_static,
        "enable": lambda: task.set_all({"disabled": "no"}),
        "disable": lambda: task.set_all({"disabled": "yes"}),
        "comment": lambda: task.set_all({"comment": args.get("comment", "")}),
    }
    action = simple.get(command.verb)
    if action is None:
        raise Trap(UNDONE)
    answer = action()
    if needed_policy(command) != "read":
        router.note(command, user)
    return answer


def _check_arguments(verb: str, known: frozenset[str], args: Mapping[str, str]) -> None:
    allowed = known | {".id", "numbers", "number", "where"} | (_PRINT if verb in ("print", "find", "get") else set())
    for name in args:
        if name.removeprefix("!") not in allowed:
            raise Trap(f"unknown parameter {name}")
