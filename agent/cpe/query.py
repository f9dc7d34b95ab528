"""Queries of CPE: conditions as people type them, and whether a CPE fits. Pure.

    model=HG8245*   firmware!=2.0.0   tag=fiber   login=amina@ppp   mac=00:25:9e:aa:bb:cc   optical.rx<-27000
    wifi.1.ssid~home   any~LAB0001

* `=` and `!=` compare whole texts, `*` stands for anything; `~` asks for a part; `<` and `>` compare numbers. Capitals
  do not count, and a MAC address may be spelled in any way.
* A field that is none of `FIELDS` is a name of the vocabulary or a path, and is compared with the value that was read
  last. A value that was never read, is a secret, or was read before a reset fits no condition, `!=` neither.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from agent.cpe_model.addresses import is_path
from agent.cpe_model.known import CachedParameter, Cpe
from agent.spelling import mac_digits

CONDITIONS_MAX: Final = 20
"""Conditions of one query. Chosen arbitrarily."""
TEXT_CHARS: Final = 256
MAC: Final = "mac"
TAG: Final = "tag"
LOGIN: Final = "login"
ANY: Final = "any"
FIELDS: Final = (
    "name", "serial", "oui", "model", "manufacturer", "firmware", "hardware", "state", "service", "address",
    LOGIN, TAG, MAC, ANY,
)  # fmt: skip
"""The names that a condition may have besides parameters. `any`: any of the others, but `state`."""
_CONDITION: Final = re.compile(r"(?P<field>[^=!~<>]+?)\s*(?P<op>!=|=|~|<|>)\s*(?P<text>.*)", re.DOTALL)
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
_OTHERS_MACS: Final = re.compile(r"\.(Hosts|AssociatedDevice|DHCPv4|LANHosts)\.", re.ASCII)
"""Tables in which a CPE lists the devices of the house: their MAC addresses are not its own."""


class BadQueryError(Exception):
    """A condition, or a tag, that is not written as it has to be."""


class Op(enum.Enum):
    """How a condition compares."""

    IS = "="
    IS_NOT = "!="
    HAS = "~"
    LESS = "<"
    MORE = ">"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `field`: one of `FIELDS`, a name of the vocabulary, or a path."""

    field: str
    op: Op
    text: str

    @property
    def of_parameter(self) -> bool:
        """Whether it is about a parameter that was read."""
        return self.field not in FIELDS


@dataclass(frozen=True, slots=True)
class KnownCpe:
    """A CPE as queries see it. `values`: of the parameters that conditions name, by field; `macs`: its own."""

    cpe: Cpe
    login: str = ""
    tags: Collection[str] = ()
    values: Mapping[str, CachedParameter] | None = None
    macs: Collection[str] = ()


def parse_condition(text: str) -> Condition:
    """Return a condition that a person typed.

    Raises:
        BadQueryError: it has no operator, or its field is neither known nor the name of a parameter.
    """
    found = _CONDITION.fullmatch(text.strip()) if len(text) <= TEXT_CHARS else None
    if found is None or not found["text"].strip():
        raise BadQueryError(f"expected FIELD=TEXT, or != ~ < > in the place of =, got {text[:60]!r}")
    field, op = found["field"].strip(), Op(found["op"])
    if field not in FIELDS and ("." not in field or not is_path(field) or field.endswith(".")):
        raise BadQueryError(f"expected {', '.join(FIELDS)}, or a parameter such as wifi.1.ssid; got {field[:40]!r}")
    if op in (Op.LESS, Op.MORE) and _number(found["text"]) is None:
        raise BadQueryError(f"{field}: expected a number after {op.value}, got {found['text'][:40]!r}")
    return Condition(field, op, found["text"].strip())


def parse_query(texts: Sequence[str]) -> tuple[Condition, ...]:
    """Return the conditions of a query, all of which must hold.

    Raises:
        BadQueryError: one is wrong, or there are too many.
    """
    if len(texts) > CONDITIONS_MAX:
        raise BadQueryError(f"expected at most {CONDITIONS_MAX} conditions, got {len(texts)}")
    return tuple(parse_condition(text) for text in texts)


def parse_tag(text: str) -> str:
    """Return a tag that a person typed.

    Raises:
        BadQueryError: it has other characters, or too many.
    """
    if _TAG.fullmatch(text) is None:
        raise BadQueryError(f"tag: expected 1 to 32 of a-z 0-9 . _ - and a letter or digit first, got {text[:40]!r}")
    return text


def is_own_mac(path: str) -> bool:
    """Return whether a parameter is a MAC address of the CPE itself, not of a device in the house."""
    return path.endswith("MACAddress") and _OTHERS_MACS.search(path) is None


def fits(known: KnownCpe, conditions: Sequence[Condition]) -> bool:
    """Return whether all conditions hold of a CPE."""
    return all(_holds(known, condition) for condition in conditions)


def _holds(known: KnownCpe, condition: Condition) -> bool:
    if condition.of_parameter:
        value = (known.values or {}).get(condition.field)
        if value is None or value.value is None or value.before_reset:
            return False
        texts: Collection[str] = (value.value,)
    elif condition.field == ANY:
        texts = [text for field in FIELDS if field not in (ANY, "state") for text in _texts(known, field)]
    else:
        texts = _texts(known, condition.field)
    if condition.op is Op.IS_NOT:  # none of several tags, or addresses
        return not any(_compares(Op.IS, text, condition.text) for text in texts)
    return any(_compares(condition.op, text, condition.text) for text in texts)


def _texts(known: KnownCpe, field: str) -> Collection[str]:
    cpe = known.cpe
    match field:
        case "model":
            return (cpe.product_class,)
        case "firmware":
            return (cpe.software,)
        case "state":
            return (cpe.trust.value,)
        case "login":
            return (known.login,) if known.login else ()
        case "tag":
            return known.tags
        case "mac":
            return known.macs
        case _:
            return (str(getattr(cpe, field)),)


def _compares(op: Op, value: str, text: str) -> bool:
    value, text = value.casefold(), text.casefold()
    match op:
        case Op.HAS:
            part = re.sub(r"[:.-]", "", text)  # "" of a text of separators alone, which would be part of every address
            return text in value or bool(part and part in mac_digits(value))
        case Op.LESS | Op.MORE:
            left, right = _number(value), _number(text)
            if left is None or right is None:
                return False
            return left < right if op is Op.LESS else left > right
        case _:
            if (mac := mac_digits(text)) and mac == mac_digits(value):
                return True
            return _matches(text, value)


def _matches(pattern: str, value: str) -> bool:
    """Tell whether a value fits a pattern in which `*` stands for any text.

    Not by a regular expression of `.*`: over a serial number of many zeros, which is the CPE's word, one with twenty
    stars would not come to an end. Each part between stars is taken where it is found first, which leaves the most room
    for those after it.
    """
    first, *parts = pattern.split("*")
    if not parts:
        return value == pattern
    last = parts.pop()
    if not value.startswith(first) or not value.endswith(last) or len(first) + len(last) > len(value):
        return False
    at, end = len(first), len(value) - len(last)
    for part in parts:
        found = value.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None
