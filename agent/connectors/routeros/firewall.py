"""Does the firewall keep an address list's members off the internet? Pure: it is given the rules as they were read.

An entry in an address list does nothing by itself: a rule must drop whatever its members send, and no rule above it
may let any of that out. FastTrack, and an accept of established connections, do so for every connection that was open
before. What cannot be told from the rules counts as letting it out: a rule drops them surely, or does not count; a rule
lets them out unless it surely does not match, or is plainly the way to a pay page.

Source: RouterOS manual, "Filter" (chains, actions, matchers) and "FastTrack".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from agent.connectors.routeros.addresses import networks

Rule = Mapping[str, str]

_SILENT: Final = frozenset(
    {
        "chain",
        "action",
        "comment",
        "disabled",
        "invalid",
        "dynamic",
        "log",
        "log-prefix",
        "reject-with",
        "jump-target",
        "hw-offload",
        "src-address-list",
        "dst-address-list-wide",
    }
)
"""Properties of a rule that do not say what it matches, and the list, which is looked at by itself."""
_GOES_ON: Final = frozenset({"passthrough", "log", "add-src-to-address-list", "add-dst-to-address-list"})
"""Actions after which the next rule is looked at."""
_DROPS: Final = frozenset({"drop", "reject", "tarpit"})
_GARDEN: Final = frozenset({"dst-address", "dst-address-list"})
"""Matchers by which a rule may leave the way to a pay page open."""
_PLACE_BITS: Final = {4: 8, 6: 32}
"""A pay page is in no network that is larger than 10.0.0.0/8, or a provider's /32 of IPv6; chosen arbitrarily."""
_PLACES_MAX: Final = {4: 2 ** (32 - _PLACE_BITS[4]), 6: 2 ** (128 - _PLACE_BITS[6])}
"""Nor does a list of them hold more addresses than that, by version."""
WIDE: Final = "dst-address-list-wide"
"""A property that whoever reads the rules adds: `true` where the list of `dst-address-list` `is_wide`."""
_DEPTH_MAX: Final = 8
"""Chains that jump to each other; chosen arbitrarily."""

_TURNED: Final = {
    f"{one}-{what}": f"{other}-{what}"
    for one, other in (("src", "dst"), ("dst", "src"))
    for what in ("address", "address-list", "port")
}


@dataclass(frozen=True, slots=True)
class Confined:
    """How a suspended subscriber will look on a router.

    `lists`: the address lists that it is a member of. `addresses`: its fixed addresses, or the prefixes or ranges of
    the pool that it gets one from; empty: not known. `interface`: where its packets come in: `ppp` for a session's
    dynamic interface, else an interface's name; "": not known.
    """

    lists: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    interface: str = ""

    @property
    def text(self) -> str:
        """The subscriber for people: `list suspended`, else its addresses."""
        return f"list {', '.join(sorted(self.lists))}" if self.lists else ", ".join(self.addresses)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One family's rules as a router has them, and what they refer to. None: not read.

    `filter`, `raw`: all rules in their order, each with its properties as RouterOS prints them. `interface_lists`: the
    interfaces of each. `members`: entries of address lists, entry -> `dynamic` or `static`, of those that were read.
    `ways_out`: the interfaces of the default routes.
    """

    filter: Sequence[Rule]
    raw: Sequence[Rule] | None = None
    interface_lists: Mapping[str, frozenset[str]] | None = None
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ways_out: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class KeptIn:
    """They are kept in. `text` says by which rule.

    `open_flows`: the rule above it that lets connections pass that were open before ("rule 2 (…)"): those must be cut,
    or it is no suspension. "": only those that FastTrack took before pass.
    """

    text: str
    open_flows: str = ""


@dataclass(frozen=True, slots=True)
class LetOut:
    """They are not, or that cannot be told. `text` says why.

    `rule`: the place of the rule that lets them out ("rule 3"), "" where none does. `mend`: what to do, one sentence.
    """

    text: str
    rule: str = ""
    mend: str = ""


def keeps_in(ruleset: Ruleset, confined: Confined) -> KeptIn | LetOut:
    """Return whether the rules drop what a suspended subscriber sends to the internet."""
    texts = []
    for name in sorted(confined.lists):
        found = _walk(ruleset.filter, name, "forward", 0)
        if found is None:
            text = f"no rule of chain forward drops all of src-address-list={name}"
            return LetOut(text, mend=f"add a rule at the top: chain=forward action=drop src-address-list={name}")
        if isinstance(found, LetOut):
            return found
        texts.append(found.text)
    return KeptIn("; ".join(texts)) if texts else LetOut("no address list holds it", mend="name a list or a prefix")


def keeps_out(rules: Sequence[Rule], members_of: str) -> KeptIn | LetOut:
    """Return whether what the internet sends to members of a list is dropped: `keeps_in`, the other way round.

    A suspension does not hang on it: what they answer is dropped. But a connection from outside whose answer was seen
    counts as established, and where FastTrack stands below, it may then carry on.
    """
    turned = [{_TURNED.get(name, name): text for name, text in rule.items()} for rule in rules]
    return keeps_in(Ruleset(turned), Confined(frozenset((members_of,))))


def is_wide(entries: Iterable[str]) -> bool:
    """Tell whether an address list holds so much that it is no garden: by its entries' addresses, as RouterOS has them.

    A name counts for nothing: RouterOS lists the addresses that it found for it.
    """
    held = {4: 0, 6: 0}
    for text in entries:
        if _is_everywhere(text) and "-" not in text:
            return True
        for network in networks(text):
            held[network.version] += network.num_addresses
    return any(held[version] > most for version, most in _PLACES_MAX.items())


def garden_lists(rules: Iterable[Rule]) -> frozenset[str]:
    """Return the lists that rules name as a destination."""
    return frozenset(rule["dst-address-list"].removeprefix("!") for rule in rules if rule.get("dst-address-list"))


def _walk(rules: Sequence[Rule], members_of: str, chain: str, depth: int) -> KeptIn | LetOut | None:
    """Return what becomes of the packets in a chain; None: some or all of them come out at its end."""
    if depth > _DEPTH_MAX:
        return LetOut(f"chains that jump more than {_DEPTH_MAX} deep are not followed")
    leaks = False
    """Whether some of them may have gone back to where the chain was jumped to from."""
    for number, rule in enumerate(rules):  # as /ip/firewall/filter/print numbers them
        action = rule.get("action", "accept")
        if rule.get("chain") != chain or "true" in (rule.get("disabled"), rule.get("invalid")):
            continue
        if action in _GOES_ON or rule.get("src-address-list") == f"!{members_of}" or _goes_to_garden(rule):
            continue
        name, all_of_them = f"rule {number} ({shown(rule)})", _matches_all(rule, members_of)
        if action in _DROPS:
            found: KeptIn | LetOut | None = KeptIn(f"{name} drops list {members_of}") if all_of_them else None
        elif action == "jump":
            found = _walk(rules, members_of, rule.get("jump-target", ""), depth + 1)
            found = None if isinstance(found, KeptIn) and not all_of_them else found
        elif action == "return" and depth:
            leaks = True
            if all_of_them:
                return None
            found = None
        else:
            mend = f"add src-address-list=!{members_of} to rule {number}, or move the rule that drops it above"
            found = LetOut(f"{name} may let it out before it is dropped", f"rule {number}", mend)
        if found is not None:
            return None if leaks and isinstance(found, KeptIn) else found
    return None


def _goes_to_garden(rule: Rule) -> bool:
    """Tell whether a rule is about packets to some place only: another network, or DNS and ICMP on the way to it."""
    if any(rule.get(name) and not _is_everywhere(rule[name]) and not _is_wide(rule, name) for name in _GARDEN):
        return True
    protocol = rule.get("protocol")
    return protocol in ("icmp", "icmpv6") or (protocol in ("udp", "tcp") and rule.get("dst-port") == "53")


def _is_wide(rule: Rule, name: str) -> bool:
    return name == "dst-address-list" and rule.get(WIDE) == "true"


def _is_everywhere(destination: str) -> bool:
    """Tell whether a destination may be much of the internet: all but something, a range, a network that is large.

    A name is an address list's: `WIDE` says what it holds.
    """
    if destination.startswith("!") or ("-" in destination and destination[0].isdigit()):
        return True
    try:
        network = ip_network(destination, strict=False)
    except ValueError:
        return False
    return network.prefixlen < _PLACE_BITS[network.version]


def _matches_all(rule: Rule, members_of: str) -> bool:
    """Tell whether a rule matches all that the members send to the internet: it has no other matcher.

    But for the garden: `dst-address-list=!garden` leaves out what is in a list, or in a network.
    """
    others = {k for k, v in rule.items() if v and k not in _SILENT and not k.startswith(".")}
    gardens = {k for k in others & _GARDEN if rule[k].startswith("!") and not _is_everywhere(rule[k][1:])}
    garden = {k for k in gardens if not _is_wide(rule, k)}
    return rule.get("src-address-list", "") in ("", members_of) and not others - garden


def shown(rule: Rule) -> str:
    """Return what a rule does and matches, for people: `action=drop src-address-list=suspended`."""
    told = ["action", "jump-target", "src-address-list", *sorted(set(rule) - _SILENT)]
    return " ".join(f"{k}={rule[k]}" for k in told if rule.get(k) and not k.startswith("."))
