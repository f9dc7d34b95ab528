"""The value that an unquoted word becomes as an argument: a number, a time, a list, a list with its denials. Pure.

RouterOS keeps a value as its type, and prints that. Where the recorded tree has a type text, that decides; of matchers
and lists it has none, so those that are known to be lists, or to take a `!`, stand here.

    address=10.0.0.1/24        10.0.0.1;24               (address; prefix length)
    in-interface-list=!LAN     true;LAN                  (denied; value), connection-state=new: ;new
    topics=lte,!raw            ;lte;true;raw             (denied; value) of each
"""

from __future__ import annotations

import re
from typing import Final

from lab.router.script import literals
from lab.router.script.nodes import NOTHING, Constant, Listed, Node

# matchers of the firewall that take a `!`. Recorded are addresses and their lists, interfaces and their lists, ports,
# protocol, connection-state, connection-nat-state and the classifier; the others are taken to be like them
_DENIED: Final = frozenset(
    (
        "connection-mark", "connection-nat-state", "connection-state", "connection-type", "content", "dscp",
        "dst-address", "dst-address-list", "dst-address-type", "dst-port", "icmp-options", "in-bridge-port",
        "in-bridge-port-list", "in-interface", "in-interface-list", "layer7-protocol", "out-bridge-port",
        "out-bridge-port-list", "out-interface", "out-interface-list", "packet-mark", "per-connection-classifier",
        "port", "priority", "protocol", "routing-mark", "src-address", "src-address-list", "src-address-type",
        "src-mac-address", "src-port", "tls-host",
    )
)  # fmt: skip
_FIREWALL: Final = re.compile(r"/ip(?:v6)?/firewall/(?:filter|mangle|nat|raw)/(?:add|set)")
# lists whose elements each take a `!`
_EACH: Final = frozenset((("/system/logging", "topics"), ("/user/group", "policy")))
_LISTS: Final = frozenset(
    ("connection-nat-state", "connection-state", "dst-port", "exclude", "include", "ipsec-policy", "order", "policy",
     "port", "src-port", "tagged", "untagged")
)  # fmt: skip
# <kind>:<value>, the classifier also with <of>/<which>
_COLONS: Final = frozenset(("hop-limit", "per-connection-classifier", "ttl"))
# intervals of commands, for which no type text is recorded
_TIMES: Final = frozenset(("delay", "delay-time", "duration", "interval", "timeout"))
_TEXTS: Final = frozenset(("file", "file-name", "name", "server", "url"))


def typed(command: str, argument: str, kind: str, word: str) -> Node:
    """The value of an unquoted word. `kind`: the type text of the recorded tree, "" where it has none."""
    menu = command.rpartition("/")[0]
    if (menu, argument) in _EACH:
        parts: list[Node] = []
        for part in word.split(","):
            parts += _denied(part)
        return Listed(tuple(parts))
    if _FIREWALL.fullmatch(command) and argument in _DENIED:
        head, rest = _denied(word)
        return Listed((head, *_elements(argument, rest.text)))
    if kind.startswith("string") or (not kind and argument in _TEXTS):
        return Constant(word)
    if "time interval" in kind or argument in _TIMES:
        return Constant(literals.seconds(word) or literals.folded(word))
    if kind == "A.B.C.D    (IP address)" and "/" in word:
        return Listed(tuple(map(Constant, word.split("/"))))
    if ("," in word[1:] and menu) or argument in _LISTS or argument in _COLONS:
        elements = _elements(argument, word)
        return elements[0] if len(elements) == 1 else Listed(elements)
    return Constant(literals.folded(word))


def _denied(word: str) -> tuple[Node, Constant]:
    bare = word.removeprefix("!")
    return NOTHING if bare == word else Constant("true"), Constant(bare)


def _elements(argument: str, word: str) -> tuple[Node, ...]:
    if argument in _COLONS:
        return tuple(map(Constant, re.split("[:/]", word)))
    parts = word.split(",") if argument in _LISTS or "," in word else [word]
    return tuple(Constant(literals.folded(part)) for part in parts)
