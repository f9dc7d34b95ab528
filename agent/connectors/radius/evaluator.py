"""The reply to a subscriber's router: FreeRADIUS 3.2's SQL authorization of one login, computed from its rows.

It follows rlm_sql with the stock queries (`read_groups` and `read_profiles` on, no default profile) in the stock order
of modules `chap mschap sql expiration logintime pap`:

1. radcheck. No rows, or a comparison that fails: radreply is not even read. Otherwise the assignments among them go to
   the control list. `:=` and `+=` never compare, `=` compares like `==` and then assigns.
2. radreply, merged into the reply. Its Fall-Through decides whether groups are read: `No` stops, anything else goes on.
3. Groups from the lowest priority up. Check rows that do not match skip the group; else both lists are merged, and only
   `Fall-Through = Yes` among *its* reply rows leads to the next group.
4. A User-Profile would be another group list. Expiration rejects, or bounds Session-Timeout. Then the password.

A merge looks at the list as it was before the batch: two `:=` rows of one table do not overwrite each other. So a
marker group at priority -1 without Fall-Through hides the tariff's Framed-Pool; with it the tariff's `:=` rate wins.

An uncertain reply is `CannotTell`: regular expressions, `` `commands` ``, attributes that a function compares
(SQL-Group, Login-Time, Prefix...), values with texts that this module cannot read, groups of equal priority where the
order matters. Passwords are seen as `SecretRef` only: one that is there is taken to be right, and its operator to be
`:=`. Simultaneous-Use is left out, and so is anything outside of SQL (the `users` file, policies).
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from agent.connectors.radius import attributes
from agent.connectors.radius.attributes import Attribute, AttributeKind
from agent.connectors.radius.rowset import Table, UserRow, fields_of, holds_secret, rows_of
from agent.connectors.radius.schema import SECRET_CHECKS
from agent.model import Field, SecretRef, Value

SECRET: Final = "***"
"""Stands for a secret's value in a reply."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An Access-Accept. `groups` are those applied, in order; `found_in[i]` says where `reply[i]` comes from.

    `found_in` has `user`, `group NAME`, or `Expiration`.
    """

    reply: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    found_in: tuple[str, ...]

    def get(self, attribute: str) -> tuple[str, ...]:
        """Return the values of an attribute, in order."""
        return tuple(value for name, value in self.reply if name.lower() == attribute.lower())


@dataclass(frozen=True, slots=True)
class Rejected:
    """An Access-Reject. `reason` is one sentence for the operator.

    `found_in`: the rows that reject, `user` or `group NAME`; "" where a password is missing.
    """

    reason: str
    found_in: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The reply depends on facts that are not known here. `reason`: one sentence for the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expiring(CannotTell):
    """The reply depends on the RADIUS server's clock or zone. `replies`: by each that it may have."""

    replies: tuple[Accepted | Rejected | CannotTell, ...] = ()


Outcome = Accepted | Rejected | CannotTell


@dataclass(frozen=True, slots=True)
class Unmet:
    """An attribute that is not in effect as wanted: missing (`got` empty), of another value, or more than once."""

    attribute: str
    wanted: str
    got: tuple[str, ...]


def holds(reply: Iterable[tuple[str, str]], wanted: Mapping[str, str]) -> tuple[Unmet, ...]:
    """Return the part of `wanted` that is not in effect in `reply`, where each must be exactly once and with that
    value.
    """
    got: dict[str, list[str]] = {}
    for name, value in reply:
        got.setdefault(name.lower(), []).append(value)
    unmet: list[Unmet] = []
    for name, value in wanted.items():
        known = attributes.find(name)
        text = (attributes.canonical(known, value) if known else None) or value
        values = tuple(got.get(name.lower(), ()))
        if values != (text,):
            unmet.append(Unmet(name, value, values))
    return tuple(unmet)


def effective_reply(
    user: Value, groups: Mapping[str, Value], request: Mapping[str, str], *, now: datetime, complete: bool = False
) -> Outcome:
    """Return FreeRADIUS' answer to this login with the right password.

    Args:
        user: the login's row set (`rowset.to_value`).
        groups: the row set (`check:`, `reply:` fields) of each group that the login is in; ABSENT for one without rows.
        request: attributes that the NAS sends, User-Name among them. A CHAP-Password or MS-CHAP2-Response (any value)
            tells that it is CHAP or MS-CHAP, otherwise it is PAP.
        now: aware, in the time zone of the RADIUS server, which reads dates in it.
        complete: `request` is the whole request. Otherwise a comparison with an attribute that is not in it is not
            decided.

    Raises:
        MalformedRowSetError: a value is not a row set.
    """
    try:
        asked = _Request({name.lower(): value for name, value in request.items()}, complete)
        fields = fields_of(user)
        outcomes = [_login(fields, order, groups, asked, now) for order in _orders(fields)]
    except _UndecidedError as undecided:
        return CannotTell(str(undecided))
    if any(_essence(outcome) != _essence(outcomes[0]) for outcome in outcomes):
        return CannotTell("groups of equal priority are applied in an order that the database leaves open")
    return outcomes[0]


def may_reject(user: Value, groups: Mapping[str, Value], *, now: datetime) -> str:
    """Return the check row that could reject a login with an uncertain reply; "": none could.

    A comparison that fails leaves a group out, and rejects nobody.

    Args:
        user: as for `effective_reply`.
        groups: likewise.
        now: likewise.
    """
    sources = {"user": user} | {f"group {name}": value for name, value in groups.items()}
    for source, value in sources.items():
        for key, texts in fields_of(value).items():
            kind, _, name = key.partition(":")
            if kind != Table.CHECK.value or isinstance(texts, SecretRef):
                continue
            for text in (texts,) if isinstance(texts, str) else texts:
                if _could_reject(name, text, source, now):
                    return f"{source}: {name} {text}"
    return ""


def expires_within(user: Value, groups: Mapping[str, Value], *, now: datetime, within_s: float) -> bool:
    """Tell whether a check row's Expiration is less than so many seconds from now, before or after it.

    Args:
        user: as for `effective_reply`.
        groups: likewise.
        now: likewise.
        within_s: seconds.
    """
    for source, value in {"user": user, **groups}.items():
        for key, texts in fields_of(value).items():
            kind, _, name = key.partition(":")
            if kind != Table.CHECK.value or name.lower() != "expiration" or isinstance(texts, SecretRef):
                continue
            for text in (texts,) if isinstance(texts, str) else texts:
                op, _, written = text.partition(" ")
                try:
                    at_s = _date(_pair(UserRow(Table.CHECK, name, op, written), source), now)
                except _UndecidedError:
                    continue
                if abs(at_s - now.timestamp()) < within_s:
                    return True
    return False


def _could_reject(name: str, text: str, source: str, now: datetime) -> bool:
    op, _, written = text.partition(" ")
    attribute, known = attributes.untagged(name), attributes.find(name)
    if op not in _ASSIGNS or attribute in _LEFT_OUT or attribute in _PASSWORDS or holds_secret(name, written):
        return False
    if attribute == "auth-type":
        return written.strip("\"'") not in _ACCEPTING
    if attribute == "expiration":
        try:
            return _date(_pair(UserRow(Table.CHECK, name, op, written), source), now) <= now.timestamp()
        except _UndecidedError:
            return True
    return known is None or known.internal


class _UndecidedError(Exception):
    """The outcome depends on facts that are not known here; never leaves this module."""


@dataclass(frozen=True, slots=True)
class _Request:
    values: Mapping[str, str]
    complete: bool

    @property
    def method(self) -> str:
        if "chap-password" in self.values:
            return "CHAP"
        return "MS-CHAP" if {"ms-chap-response", "ms-chap2-response"} & self.values.keys() else "PAP"


@dataclass(frozen=True, slots=True)
class _Pair:
    """One attribute in a list.

    `key` is the name as it stands in the row, `name` the dictionary's; by `attribute` two of them are the same.
    """

    attribute: str
    key: str
    name: str
    op: str
    value: str
    source: str
    known: Attribute | None
    secret: bool = False


@dataclass(slots=True)
class _Lists:
    control: list[_Pair]
    reply: list[_Pair] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)


# --- rows to pairs --------------------------------------------------------------------------------------------------

_OPERATORS: Final = frozenset({"=", ":=", "+=", "-=", "^=", "==", "!=", "<", "<=", ">", ">=", "=*", "!*"})
_UNNAMED: Final = re.compile(r"(attr|vendor)-\d", re.IGNORECASE)
# A string attribute holds 253 bytes, a vendor's 247; longer ones are cut or split, whichever the type.
_VALUE_BYTES: Final = 247
_PASSWORDS: Final = frozenset(name.lower() for name in SECRET_CHECKS)


def _pairs(fields: Mapping[str, Field], table: Table, source: str) -> list[_Pair]:
    found: list[_Pair] = []
    for key, rows in fields.items():
        kind, _, name = key.partition(":")
        if kind != table.value:
            continue
        if isinstance(rows, SecretRef) or any(holds_secret(name, text) for text in rows):
            if table is Table.CHECK and attributes.untagged(name) not in _PASSWORDS:
                raise _UndecidedError(f"{source}: {name} has a secret, and what it does to a login is not known here")
            found.append(
                _Pair(attributes.untagged(name), name, name, ":=", SECRET, source, attributes.find(name), secret=True)
            )
        else:
            found += [_pair(row, source) for row in rows_of(key, rows)]
    _forbid_lost_order(found, source)
    return found


@functools.lru_cache(maxsize=256)
def _group_pairs(fields: tuple[tuple[str, Field], ...], table: Table, source: str) -> Sequence[_Pair]:
    """Return the pairs of a group: thousands of logins are in it, and its rows are read anew for each."""
    return _pairs(dict(fields), table, source)


def _forbid_lost_order(batch: Sequence[_Pair], source: str) -> None:
    """Refuse one attribute under two keys (`Tunnel-Type:1`, `:2`) with unlike operators: which row is first is lost."""
    spelled: dict[str, set[str]] = {}
    operators: dict[str, set[str]] = {}
    for pair in batch:
        spelled.setdefault(pair.attribute, set()).add(pair.key)
        operators.setdefault(pair.attribute, set()).add(pair.op)
    for attribute, keys in spelled.items():
        if len(keys) > 1 and operators[attribute] not in ({":="}, {"="}, {"+="}):
            raise _UndecidedError(f"{source}: {' and '.join(sorted(keys))} are one attribute with unlike operators")


def _pair(row: UserRow, source: str) -> _Pair:
    # An empty operator is logged as an error and taken as ==.
    op = row.op or "=="
    if op not in _OPERATORS:
        raise _UndecidedError(f"{source}: the operator {op!r} of {row.name} is not one that can be evaluated here")
    if _UNNAMED.match(row.name):
        raise _UndecidedError(f"{source}: {row.name} is given by number")
    if meant := attributes.misspelled(row.name):
        raise _UndecidedError(
            f"{source}: FreeRADIUS rejects a login with an attribute that its dictionary lacks, and {row.name} looks "
            f"like {meant} misspelled"
        )
    known = attributes.find(row.name)
    value = "" if op in ("=*", "!*") else _text(row, source)
    if known and op not in ("=*", "!*"):
        read = attributes.canonical(known, value)
        if read is None:
            raise _UndecidedError(f"{source}: it is not certain how FreeRADIUS reads the value of {row.name}")
        value = read
    name = known.name if known else row.name
    return _Pair(attributes.untagged(row.name), row.name, name, op, value, source, known)


def _text(row: UserRow, source: str) -> str:
    """Return the row's value without its quotes. A wholly quoted value loses them, a back-quoted one is run."""
    text = row.value
    quoted = text[:1] in ("'", '"', "`") and text[:1] == text[-1:]
    if quoted and (text[0] == "`" or len(text) < 2 or text[0] in text[1:-1]):
        raise _UndecidedError(f"{source}: the value of {row.name} is computed at each login")
    if "\\" in text or len(text.encode("utf-8", "surrogatepass")) > _VALUE_BYTES:
        raise _UndecidedError(f"{source}: the value of {row.name} has escapes or is over {_VALUE_BYTES} bytes")
    return text[1:-1] if quoted else text


# --- comparing ------------------------------------------------------------------------------------------------------

# "Server" items that are never compared, whatever their operator.
_NEVER_COMPARED: Final = frozenset({"auth-type", "autz-type", "acct-type", "session-type", "strip-user-name"})
# Set by modules before SQL, or compared by a function of a module.
_COMPUTED: Final = frozenset({"realm", "stripped-user-name", "hint", "huntgroup-name", "sql-user-name"})


def _match(pairs: Sequence[_Pair], request: _Request, now: datetime) -> bool:
    """Tell whether all comparisons hold. One that surely fails decides, even beside others that are not decided."""
    undecided: _UndecidedError | None = None
    for pair in pairs:
        try:
            if not _matches(pair, request, now):
                return False
        except _UndecidedError as err:
            undecided = err
    if undecided:
        raise undecided
    return True


def _matches(check: _Pair, request: _Request, now: datetime) -> bool:
    if check.op in (":=", "+=") or check.attribute in _NEVER_COMPARED:
        return True
    if check.known is None or check.attribute in _COMPUTED or check.name.lower() != check.attribute:
        raise _UndecidedError(f"{check.source}: {check.name} is compared in a way that is not known here")
    if check.attribute == "expiration":
        if check.op in ("=", "=="):
            return now.timestamp() <= _date(check, now)
        raise _UndecidedError(f"{check.source}: Expiration is compared with {check.op}")
    sent = None if check.known.internal else _sent(check, request)
    if sent is None or check.op == "!*":
        return check.op == "!*" and sent is None
    return check.op == "=*" or _satisfies(check.op, _order(sent, check))


def _sent(check: _Pair, request: _Request) -> _Pair | None:
    """Return the attribute as it was sent, None when it was not. FreeRADIUS adds a NAS-IP-Address of its own."""
    text = request.values.get(check.attribute)
    if text is None:
        if request.complete and check.attribute not in ("nas-ip-address", "nas-ipv6-address"):
            return None
        raise _UndecidedError(f"{check.source}: it is not known whether the router sends {check.name}")
    value = attributes.canonical(check.known, text) if check.known else None
    if value is None:
        raise _UndecidedError(f"{check.source}: it is not certain how FreeRADIUS reads the {check.name} that is sent")
    return replace(check, value=value)


def _satisfies(op: str, order: int) -> bool:
    match op:
        case "!=":
            return order != 0
        case "<":
            return order < 0
        case "<=":
            return order <= 0
        case ">":
            return order > 0
        case ">=":
            return order >= 0
        case _:
            # =, -= and ^= are "reverted to ==".
            return order == 0


def _order(left: _Pair, right: _Pair) -> int:
    """Return how two values of one attribute compare: below, at or above 0."""
    known = right.known
    if (
        known is None
        or known.kind in (AttributeKind.IPV6, AttributeKind.IPV6_PREFIX, AttributeKind.DATE)
        or left.secret
        or right.secret
    ):
        raise _UndecidedError(f"{right.source}: values of {right.name} are compared in a way that is not known here")
    a, b = attributes.number(known, left.value), attributes.number(known, right.value)
    if a is None or b is None:
        x, y = (pair.value.encode("utf-8", "surrogatepass") for pair in (left, right))
        # Octets of another length are always "above".
        above = len(x) != len(y) if known.kind is AttributeKind.OCTETS else False
        return 1 if above else (x > y) - (x < y)
    # FreeRADIUS takes the difference of two unsigned 32-bit numbers as a signed one.
    difference = (a - b) & 0xFFFFFFFF
    return difference - 0x100000000 if difference & 0x80000000 else difference


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE: Final = re.compile(
    r"(?:(?P<d1>\d{1,2}) (?P<m1>[A-Za-z]{3,9})|(?P<m2>[A-Za-z]{3,9})  ?(?P<d2>\d{1,2})) (?P<year>\d{4})"
    r"(?: (?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<s>\d\d))?)?",
    re.ASCII,
)


def _date(pair: _Pair, now: datetime) -> float:
    """Return the date's unix time. `01 Jan 2030 12:00:00` is in the server's zone; digits alone are unix time."""
    time = float(pair.value) if re.fullmatch(r"[0-9]{1,10}", pair.value) else _calendar(pair, now)
    if not 0 <= time <= 0xFFFFFFFF:
        raise _UndecidedError(f"{pair.source}: {pair.name} is not within the years 1970 to 2106")
    return time


def _calendar(pair: _Pair, now: datetime) -> float:
    found = _DATE.fullmatch(pair.value)
    month = (found["m1"] or found["m2"])[:3].lower() if found else ""
    if not found or month not in _MONTHS:
        raise _UndecidedError(f"{pair.source}: it is not certain how FreeRADIUS reads the date {pair.name}")
    hour, minute, second = (int(found[part] or 0) for part in ("h", "min", "s"))
    try:
        naive = datetime(  # noqa: DTZ001  the zone is the server's, given with `now`
            int(found["year"]), _MONTHS.index(month) + 1, int(found["d1"] or found["d2"]), hour, minute, second
        )
    except ValueError as err:
        raise _UndecidedError(f"{pair.source}: {pair.name} is a day that no month has") from err
    return naive.replace(tzinfo=now.tzinfo).timestamp()


# --- merging --------------------------------------------------------------------------------------------------------


def _merge(into: list[_Pair], batch: Sequence[_Pair]) -> list[_Pair]:
    """Return a list after one batch is merged into it. Operators act on the list as it was before the batch."""
    kept: list[_Pair | None] = list(into)
    edited: set[int] = set()
    first: list[_Pair] = []
    last: list[_Pair] = []
    for pair in batch:
        if pair.op == "+=":
            last.append(pair)
        elif pair.op == "^=":
            first.insert(0, pair)
        elif not _merge_one(pair, kept, edited) and pair.op in ("=", ":=", "<=", ">="):
            last.append(pair)
    return [*first, *(pair for pair in kept if pair), *last]


def _merge_one(pair: _Pair, kept: list[_Pair | None], edited: set[int]) -> bool:
    """Let one pair act on the old list; tell whether it is spent: stands in for another, or finds one there."""
    for i, old in enumerate(kept):
        if old is None or i in edited or old.attribute != pair.attribute:
            continue
        if pair.secret or old.secret:
            raise _UndecidedError(f"{pair.source}: {pair.name} is a secret that is given more than once")
        match pair.op:
            case "=":
                return True
            case "!*":
                kept[i] = None
            case "-=" | "==":
                if (_order(old, pair) == 0) == (pair.op == "-="):
                    kept[i] = None
            case ":=" | "<=" | ">=":
                if pair.op == ":=" or not _satisfies(pair.op, _order(old, pair)):
                    kept[i] = pair
                    edited.add(i)
                    return True
            case _:
                # An assertion in FreeRADIUS, which a build may have compiled out.
                raise _UndecidedError(f"{pair.source}: {pair.name} {pair.op} has no meaning where one is given before")
    return False


# --- the login ------------------------------------------------------------------------------------------------------

_ORDERS_MAX: Final = 24  # chosen arbitrarily: four groups of one priority


def _orders(user: Mapping[str, Field]) -> list[tuple[str, ...]]:
    """Return every order in which the database may give the login's groups: by priority, equal ones in any order."""
    by_priority: dict[int, list[str]] = {}
    for key, rows in user.items():
        if key.startswith("group:"):
            for row in () if isinstance(rows, SecretRef) else rows_of(key, rows):
                by_priority.setdefault(int(row.value), []).append(row.name)
    if math.prod(math.factorial(len(names)) for names in by_priority.values()) > _ORDERS_MAX:
        raise _UndecidedError("too many groups of equal priority, which are applied in an order that is left open")
    ties = [list(itertools.permutations(by_priority[priority])) for priority in sorted(by_priority)]
    return [tuple(itertools.chain(*order)) for order in itertools.product(*ties)]


def _essence(outcome: Outcome) -> object:
    return sorted(outcome.reply) if isinstance(outcome, Accepted) else outcome


def _login(
    user: Mapping[str, Field], order: Sequence[str], groups: Mapping[str, Value], request: _Request, now: datetime
) -> Outcome:
    lists = _Lists([])
    if request.method != "PAP":
        known = attributes.find("Auth-Type")
        lists.control.append(_Pair("auth-type", "Auth-Type", "Auth-Type", "=", request.method, "the request", known))
    fall_through: str | None = None
    check = _pairs(user, Table.CHECK, "user")
    if check and _match(check, request, now):
        lists.control = _merge(lists.control, check)
        reply = _pairs(user, Table.REPLY, "user")
        fall_through = _fall_through(reply)
        lists.reply = _merge(lists.reply, reply)
    if fall_through in (None, "Yes"):
        fall_through = _groups(order, groups, lists, request, now) or fall_through
    if fall_through != "No" and any(pair.attribute == "user-profile" for pair in lists.control):
        raise _UndecidedError("the login has a User-Profile, whose rows are not known here")
    return _decide(lists, request, now)


def _groups(
    order: Sequence[str], groups: Mapping[str, Value], lists: _Lists, request: _Request, now: datetime
) -> str | None:
    """Merge the groups that apply; return the last one's Fall-Through, None when it has none."""
    fall_through: str | None = None
    for name in order:
        if name not in groups:
            raise _UndecidedError(f"the rows of group {name} are not known here")
        fields = tuple(fields_of(groups[name]).items())
        check = _group_pairs(fields, Table.CHECK, f"group {name}")
        if not _match(check, request, now):
            continue
        if any(pair.secret for pair in check):
            raise _UndecidedError(f"group {name} sets a password")
        lists.control = _merge(lists.control, check)
        reply = _group_pairs(fields, Table.REPLY, f"group {name}")
        fall_through = _fall_through(reply)
        lists.reply = _merge(lists.reply, reply)
        lists.applied.append(name)
        if fall_through != "Yes":
            break
    return fall_through


def _fall_through(batch: Iterable[_Pair]) -> str | None:
    """Return Yes, No or None (not given). The first one counts, whatever its operator."""
    for pair in batch:
        if pair.attribute == "fall-through":
            if pair.value not in ("Yes", "No"):
                raise _UndecidedError(f"{pair.source}: Fall-Through is neither Yes nor No")
            return pair.value
    return None


_LEFT_OUT: Final = frozenset({"simultaneous-use", "pool-name", "acct-type", "strip-user-name", "user-profile"})


_ASSIGNS: Final = frozenset({"=", ":=", "+="})
_ACCEPTING: Final = frozenset({"Accept", "PAP", "CHAP", "MS-CHAP"})


def _decide(lists: _Lists, request: _Request, now: datetime) -> Outcome:
    """Return the outcome once both lists are made: expiry, then the password."""
    for pair in lists.control:
        decided = pair.secret or pair.attribute in _LEFT_OUT or pair.attribute in ("auth-type", "expiration")
        if not decided and (pair.known is None or pair.known.internal):
            raise _UndecidedError(f"{pair.source}: what {pair.name} does to a login is not known here")
    expiration = next((pair for pair in lists.control if pair.attribute == "expiration"), None)
    if expiration is not None:
        left_s = int(_date(expiration, now)) - int(now.timestamp())
        if left_s <= 0:
            return Rejected("the account has expired (Expiration)", expiration.source)
        lists.reply = _bounded(lists.reply, left_s)
    refused = _refused(lists.control, request.method)
    if refused:
        by = next((p.source for p in lists.control if p.attribute == "auth-type" and p.value == "Reject"), "")
        return Rejected(refused, by)
    # FreeRADIUS sends no empty attribute.
    sent = [p for p in lists.reply if p.value and not (p.known and p.known.internal)]
    return Accepted(tuple((p.name, p.value) for p in sent), tuple(lists.applied), tuple(p.source for p in sent))


def _bounded(reply: list[_Pair], left_s: int) -> list[_Pair]:
    """Return the reply with a Session-Timeout that ends at the account's expiry."""
    name = "Session-Timeout"
    bound = _Pair(name.lower(), name, name, "=", str(left_s), "Expiration", attributes.find(name))
    for i, pair in enumerate(reply):
        if pair.attribute == "session-timeout":
            return [*reply[:i], bound if int(pair.value) > left_s else pair, *reply[i + 1 :]]
    return [*reply, bound]


_FOR_PAP: Final = frozenset(
    {
        "cleartext-password",
        "password-with-header",
        "crypt-password",
        "md5-password",
        "smd5-password",
        "sha-password",
        "sha1-password",
        "ssha-password",
        "ssha1-password",
        "sha2-password",
        "ssha2-256-password",
        "ssha2-512-password",
        "nt-password",
        "lm-password",
    }
)
_FOR_CHAP: Final = frozenset({"cleartext-password"})
_FOR_MS_CHAP: Final = frozenset({"cleartext-password", "nt-password"})
# Never a password that a login is checked against.
_OTHER_SECRETS: Final = frozenset({"user-password", "chap-password", "tunnel-password", "mikrotik-wireless-psk"})


def _refused(control: Sequence[_Pair], method: str) -> str | None:
    """Return why the right password would be refused, None when it is accepted."""
    auth_types = [pair.value for pair in control if pair.attribute == "auth-type"]
    if "Reject" in auth_types:
        return "the login is rejected (Auth-Type)"
    # The last one counts; PAP's module sets it where none is given.
    auth_type = auth_types[-1] if auth_types else "PAP"
    if auth_type == "Accept":
        return None
    if auth_type not in ("PAP", "CHAP", "MS-CHAP"):
        raise _UndecidedError(f"the login is checked by {auth_type} (Auth-Type)")
    if auth_type != method:
        return f"the login is checked by {auth_type}, and the router sends {method}"
    passwords = {pair.attribute for pair in control if pair.secret} - _OTHER_SECRETS
    if passwords & {"PAP": _FOR_PAP, "CHAP": _FOR_CHAP, "MS-CHAP": _FOR_MS_CHAP}[method]:
        return None
    if passwords - _FOR_PAP or "password-with-header" in passwords:
        raise _UndecidedError(f"whether {method} can use the kind of password is not known here")
    return f"there is no password that {method} could be checked against"
