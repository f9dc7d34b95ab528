"""Do the firewall's rules keep a suspended subscriber off the internet? Pure: it is given the rules as they were read.

Every packet that the subscriber may send to the internet goes down the rules, as sets (`packet_sets`): raw first, then
filter, through jumps and returns. They are kept in where no set comes out. A rule drops only what it surely matches,
and lets out all that it may match (`matching`). A doubtful rule counts as letting out.

A packet of a new connection may not come out by any rule. Where only packets of connections that were open before come
out (an accept of established connections, or FastTrack, above the drop), it is a suspension once those are cut:
`KeptIn.open_flows`.

Each refusal comes with a mend. One that changes rules was tried: with it the rules keep them in.

Source: RouterOS manual, "Filter" (chains, actions), "RAW" and "FastTrack".
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.connectors.routeros.arrivals import arriving
from agent.connectors.routeros.marks import is_on
from agent.connectors.routeros.matching import (
    PPP,
    SILENT,
    Axis,
    Confined,
    Matched,
    Matcher,
    Rule,
    Ruleset,
    states,
)
from agent.connectors.routeros.packet_sets import Box, apart, both, meet, minus

_FORWARD: Final = "forward"
_GOES_ON: Final = frozenset({"passthrough", "log", "add-src-to-address-list", "add-dst-to-address-list"})
"""Actions after which the next rule is looked at."""
_DROPS: Final = frozenset({"drop", "reject", "tarpit"})
_DEPTH_MAX: Final = 8
"""Chains that jump to each other; chosen arbitrarily."""
_SETS_MAX: Final = 512
"""Sets of packets that are followed at a time; chosen arbitrarily."""
_WORK_MAX: Final = 100_000
"""Runs of numbers, in sets of packets, that were compared with a rule or with another set: in one judgment, and in all
tries of its mends together. Some 0.3 s each."""
_DROPS_TRIED: Final = 8
"""Rules of the subscriber's own that are tried as mends; chosen arbitrarily."""
_MENDED_MAX: Final = 8
"""Rules that one mend changes; chosen arbitrarily."""

_TURNED: Final = {
    f"{one}-{what}": f"{other}-{what}"
    for one, other in (("src", "dst"), ("dst", "src"))
    for what in ("address", "address-list", "port")
}


@dataclass(frozen=True, slots=True)
class KeptIn:
    """The suspended subscribers are kept in. `text` says by which rule.

    `open_flows`: the rule above it that lets connections pass that were open before ("rule 2 (…)"): those must be cut,
    or it is no suspension. "": only those that FastTrack took before pass. `mend`: how that rule would not.
    `fasttracks`: FastTrack is in the rules, so it may have taken some.
    """

    text: str
    open_flows: str = ""
    mend: str = ""
    fasttracks: bool = False


@dataclass(frozen=True, slots=True)
class LetOut:
    """The suspended subscribers are not kept in, or that cannot be told. `text` says why.

    `rule`: the place of the rule that lets them out ("rule 3"), "" where none does. `mend`: the advice, one sentence.
    """

    text: str
    rule: str = ""
    mend: str = ""

    @property
    def advice(self) -> str:
        """The cause, and the advice."""
        return f"{self.text}: {self.mend}" if self.mend else self.text


def keeps_in(ruleset: Ruleset, confined: Confined) -> KeptIn | LetOut:
    """Return whether the rules drop a suspended subscriber's packets to the internet."""
    if not confined.is_told:
        return LetOut("it is in no address list, and its addresses are not known", mend="name a list or a prefix")
    confined = arriving(ruleset, confined)
    found = _judge(ruleset, confined, _Budget())
    if isinstance(found, _Walked) and not found.leaks and not found.flows:
        fasttracks = any(is_on(rule) and rule.get("action") == "fasttrack-connection" for rule in ruleset.filter)
        return KeptIn(f"{found.last} drops {confined.text}", fasttracks=fasttracks)
    mend = _mend(ruleset, confined, found)
    if isinstance(found, str):
        return LetOut(found, mend=mend)
    if not found.leaks:
        return KeptIn(f"{found.last} drops {confined.text}", found.flows[0].name, mend)
    first = found.leaks[0]
    if first.place:
        return LetOut(f"{first.name} may let it out before it is dropped", first.place, mend)
    text = f"no rule of chain forward drops all of {confined.matcher}"
    return LetOut(text, found.narrow(ruleset, confined), mend)


def passing(ruleset: Ruleset, confined: Confined) -> Mapping[str, str]:
    """Return by which rule DNS and ping get to anywhere, which `keeps_in` does not count: their names -> `rule 3`.

    Those that no rule lets out are not in it; nor are any where the rules cannot be followed: then nothing keeps in.
    """
    matcher = Matcher(ruleset, confined)
    found = {}
    for what, packets in matcher.beside(states("untracked" if _untracks(ruleset) else "new")).items():
        walked = _walked(ruleset, confined, matcher, packets, _Budget())
        if isinstance(walked, _Walked) and walked.leaks:
            first = walked.leaks[0]
            found[what] = first.place or first.name
    return found


def without_cuts(found: KeptIn | LetOut) -> KeptIn | LetOut:
    """Return the verdict for whoever cuts no open connections: then it is no suspension where such pass."""
    if isinstance(found, LetOut) or not found.open_flows:
        return found
    text = f"{found.open_flows} lets connections of before the suspension carry on"
    place = found.open_flows.partition(" (")[0]
    return LetOut(text, place if place.startswith("rule") else "", found.mend)


def keeps_out(rules: Sequence[Rule], members_of: str) -> KeptIn | LetOut:
    """Return whether packets from the internet to members of a list are dropped: `keeps_in`, the other way round.

    A suspension does not hang on it: the members' answers are dropped. But a connection from outside with an answer
    seen counts as established, and where FastTrack stands below, it may then carry on.
    """
    turned = [{_TURNED.get(name, name): text for name, text in rule.items()} for rule in rules]
    return without_cuts(keeps_in(Ruleset(turned), Confined(frozenset((members_of,)))))


def garden_lists(rules: Iterable[Rule]) -> frozenset[str]:
    """Return the lists that rules name as a destination."""
    return frozenset(rule["dst-address-list"].removeprefix("!") for rule in rules if rule.get("dst-address-list"))


def source_lists(rules: Iterable[Rule]) -> frozenset[str]:
    """Return the lists that rules name as a source."""
    return frozenset(rule["src-address-list"].removeprefix("!") for rule in rules if rule.get("src-address-list"))


def own_rules(ruleset: Ruleset, confined: Confined) -> list[Rule]:
    """Return the rules that the router makes at the login for the `incoming-filter` of the subscriber's profile.

    It is a jump in chain `ppp`. Its place among rules that people put there is not known: then it counts for nothing.

    Source: RouterOS manual, "PPP AAA" (incoming-filter: chain ppp, and jumps to it, are to be made by hand).
    """
    by_hand = any(rule.get("chain") == PPP and rule.get("dynamic") != "true" for rule in ruleset.filter)
    if not confined.chain or confined.interface != PPP or by_hand:
        return []
    return [{"chain": PPP, "action": "jump", "jump-target": confined.chain}]


def asks_source(ruleset: Ruleset, lists: Collection[str]) -> bool:
    """Tell whether the rules may decide by the subscriber's address, beside the lists that it is in."""
    rules = [*ruleset.filter, *(ruleset.raw or ()), *(ruleset.mangle or ())]
    return any(rule.get("src-address") for rule in rules) or not source_lists(rules) <= {*lists}


def shown(rule: Rule) -> str:
    """Return a rule's action and matchers, for people: `action=drop src-address-list=suspended`."""
    told = ["action", "jump-target", "src-address-list", *sorted(set(rule) - SILENT - {"src-address-list"})]
    return " ".join(f"{k}={rule[k]}" for k in told if rule.get(k) and not k.startswith("."))


# --- the walk ---


@dataclass(frozen=True, slots=True)
class _Escape:
    """Packets that leave a table undropped, by a rule; `place` is "" at the end of its chain."""

    packets: tuple[Box, ...]
    place: str = ""
    name: str = ""
    number: int = -1
    action: str = ""


@dataclass(slots=True)
class _Walked:
    """The fate of the packets: those that came out, as new ones and as those of open connections."""

    leaks: list[_Escape]
    flows: list[_Escape]
    last: str
    """The last rule that dropped any that open a connection, for people."""

    def narrow(self, ruleset: Ruleset, confined: Confined) -> str:
        """Return the place of a rule that drops some of this subscriber's packets, and not all."""
        for number, rule in enumerate(ruleset.filter):
            mine = rule.get("src-address-list", "") in confined.lists and bool(confined.lists)
            if rule.get("action") in _DROPS and is_on(rule) and mine:
                return f"rule {number}"
        return ""


class _TooComplexError(Exception):
    """The rules cannot be followed: chains in a circle, or too many cases."""


@dataclass(slots=True)
class _Budget:
    """The work that may still be done."""

    left: int = _WORK_MAX

    def spend(self, work: int) -> None:
        """Take note of work.

        Raises:
            _TooComplexError: it is more than may be done.
        """
        self.left -= work
        if self.left < 0:
            raise _TooComplexError("the rules are too many cases to be followed")


@dataclass(slots=True)
class _Table:
    """A table of rules, through which packets go."""

    rules: Sequence[Rule]
    matcher: Matcher
    noun: str
    budget: _Budget
    escapes: list[_Escape] = field(default_factory=list)
    last: str = ""
    _matches: dict[int, Matched] = field(default_factory=dict)

    def send(self, packets: list[Box], chain: str) -> list[Box]:
        """Send packets down a built-in chain and return those that come out at its end."""
        return self._chain(packets, chain, 0)

    def _match(self, number: int) -> Matched:
        if number not in self._matches:
            self._matches[number] = self.matcher.match(self.rules[number])
        return self._matches[number]

    def _chain(self, packets: list[Box], chain: str, depth: int) -> list[Box]:
        """Return the packets that come out at a chain's end, or that a rule returns from it."""
        if depth > _DEPTH_MAX:
            raise _TooComplexError(f"chains that jump more than {_DEPTH_MAX} deep are not followed")
        back: list[Box] = []
        for number, rule in enumerate(self.rules):  # as print numbers them
            action = rule.get("action") or "accept"
            if not packets:
                break
            if rule.get("chain") != chain or not is_on(rule) or action in _GOES_ON:
                continue
            match = self._match(number)
            if len(packets) > _SETS_MAX:
                raise _TooComplexError("the rules are too many cases to be followed")
            self.budget.spend(_pieces(packets))
            hit = [] if match.may is None else [h for one in packets if (h := meet(one, match.may))]
            if not hit:
                continue
            rest = packets if match.must is None else [r for one in packets for r in minus(one, match.must)]
            if action in _DROPS:
                if match.must is not None and any(_of_new(meet(one, match.must)) for one in packets):
                    self.last = f"{self.noun} {number} ({shown(rule)})"
            elif action == "jump":
                rest = self._apart([*rest, *self._chain(self._apart(hit), rule.get("jump-target", ""), depth + 1)])
            elif action == "return" and depth:
                back += hit
            else:
                place = f"{self.noun} {number}"
                self.escapes.append(_Escape(tuple(hit), place, f"{place} ({shown(rule)})", number, action))
            packets = rest
        return self._apart([*packets, *back])

    def _apart(self, boxes: list[Box]) -> list[Box]:
        """Return the boxes without those that lie in another one: each is compared with each."""
        self.budget.spend((len(boxes) - 1) * _pieces(boxes))
        return apart(boxes)


def _judge(ruleset: Ruleset, confined: Confined, budget: _Budget) -> _Walked | str:
    """Return the fate of the packets, or why it cannot be followed."""
    matcher = Matcher(ruleset, confined)
    packets = matcher.packets(_UNTRACKED if _untracks(ruleset) else _TRACKED)
    return _walked(ruleset, confined, matcher, packets, budget)


def _untracks(ruleset: Ruleset) -> bool:
    return (ruleset.tracking or {}).get("enabled") in ("no", "false")


def _walked(
    ruleset: Ruleset, confined: Confined, matcher: Matcher, packets: list[Box], budget: _Budget
) -> _Walked | str:
    """Return the fate of these packets of a subscriber, or why it cannot be followed."""
    tracking = ruleset.tracking or {}
    try:
        raw = _Table(ruleset.raw or (), matcher, "raw rule", budget)
        packets = raw.send(packets, "prerouting")
        for escape in raw.escapes:
            untracked = escape.action == "notrack"
            packets += [_untracked(box) if untracked else box for box in escape.packets]
        table = _Table([*ruleset.filter, *own_rules(ruleset, confined)], matcher, "rule", budget)
        budget.spend((len(packets) - 1) * _pieces(packets))
        left = table.send(apart(packets), _FORWARD)
    except _TooComplexError as err:
        return str(err)
    escapes = [*table.escapes, *([_Escape(tuple(left), name=f"the end of chain {_FORWARD}")] if left else [])]
    # a packet of a connection that was cut is new again, unless tracking takes up none in its middle
    loose = tracking.get("loose-tcp-tracking", "yes") in ("yes", "true")
    of_flows = () if _untracks(ruleset) else states("established", "related", *(("invalid",) if loose else ()))
    leaks = [escape for escape in escapes if not all(_within(box, of_flows) for box in escape.packets)]
    flows = [escape for escape in escapes if escape not in leaks]
    return _Walked(leaks, flows, table.last or raw.last)


_TRACKED: Final = states("new", "established", "related", "invalid")
_UNTRACKED: Final = states("untracked", "invalid")
"""States of packets where connections are not tracked: which of the two, the manual does not say."""


def _untracked(box: Box) -> Box:
    return (*box[: Axis.STATE], states("untracked"), *box[Axis.STATE + 1 :])


def _pieces(boxes: Iterable[Box]) -> int:
    """Return how many runs of numbers the boxes are made of: comparing them costs as much."""
    return sum(len(axis) for box in boxes for axis in box)


def _of_new(box: Box | None) -> bool:
    """Tell whether packets that open a connection are among these."""
    return box is not None and bool(both(box[Axis.STATE], states("new", "untracked")))


def _within(box: Box, of_flows: tuple[tuple[int, int], ...]) -> bool:
    return both(box[Axis.STATE], of_flows) == box[Axis.STATE]


# --- mends ---


def _mend(ruleset: Ruleset, confined: Confined, found: _Walked | str) -> str:
    """Return the advice, a sentence: the first mend that was tried and makes the rules keep the subscriber in.

    A new rule at the top is not tried: it is told where nothing else helps.
    """
    bad, budget = [] if isinstance(found, str) else (found.leaks or found.flows), _Budget()
    tries = itertools.chain(
        itertools.islice(_widened(ruleset, confined), _DROPS_TRIED),
        _moved(ruleset, confined, bad),
        _exempted(ruleset, confined, budget),
        _chained(ruleset, confined),
    )
    for text, mended in tries:
        after = _judge(mended, confined, budget)
        if isinstance(after, _Walked) and not after.leaks and not (after.flows and not _leaks(found)):
            return text
    behind = ", behind what lets it reach the pay page" if any(_serves(r, confined) for r in ruleset.filter) else ""
    if confined.chain and not (confined.lists or confined.addresses or confined.joins):
        return "give the suspended profile an address list, as `ispagent device prepare` does"
    return f"add a rule at the top{behind}: chain=forward action=drop {confined.matcher}"


def _leaks(found: _Walked | str) -> bool:
    return isinstance(found, str) or bool(found.leaks)


def _chained(ruleset: Ruleset, confined: Confined) -> Iterator[tuple[str, Ruleset]]:
    """Try the way to the chain of the subscriber's profile at the top, and a drop at that chain's end."""
    if not confined.chain or not own_rules(ruleset, confined):
        return
    jump = {"chain": _FORWARD, "action": "jump", "jump-target": PPP}
    drop = {"chain": confined.chain, "action": "drop"}
    first = f"add a rule at the top: chain={_FORWARD} action=jump jump-target={PPP}"
    end = f"a rule at the end of its chain: chain={confined.chain} action=drop"
    rules = ruleset.filter
    yield f"add {end}", replace(ruleset, filter=[*rules, drop])
    yield first, replace(ruleset, filter=[jump, *rules])
    yield f"{first}, and {end}", replace(ruleset, filter=[jump, *rules, drop])


def _own_drops(ruleset: Ruleset, confined: Confined) -> Iterator[tuple[int, Rule]]:
    """Yield the rules that drop this subscriber by name."""
    for number, rule in enumerate(ruleset.filter):
        by_list = rule.get("src-address-list", "") in confined.lists and bool(rule.get("src-address-list"))
        if rule.get("action") in _DROPS and (by_list or (not confined.lists and rule.get("src-address"))):
            yield number, rule


def _widened(ruleset: Ruleset, confined: Confined) -> Iterator[tuple[str, Ruleset]]:
    """Try the subscriber's drop rules enabled, and without matchers that narrow them."""
    for number, rule in _own_drops(ruleset, confined):
        if not is_on(rule):
            text = f"enable rule {number}"
            yield text, _with(ruleset, number, {k: v for k, v in rule.items() if k not in ("disabled", "invalid")})
            continue
        narrowing = [
            name
            for name, value in rule.items()
            if value and name not in SILENT and not name.startswith((".", "src-address", "dst-address"))
        ]
        if narrowing:
            text = f"remove {' '.join(f'{name}={rule[name]}' for name in narrowing)} from rule {number}"
            yield text, _with(ruleset, number, {k: v for k, v in rule.items() if k not in narrowing})


def _moved(ruleset: Ruleset, confined: Confined, bad: Sequence[_Escape]) -> Iterator[tuple[str, Ruleset]]:
    """Try the subscriber's drop, or the jump to it, above the first rule that lets out."""
    above = min((one.number for one in bad if one.place.startswith("rule")), default=-1)
    if above < 0 or ruleset.filter[above].get("chain") != _FORWARD:
        return
    for number, rule in enumerate(ruleset.filter):
        mine = rule.get("src-address-list", "") in confined.lists and bool(confined.lists)
        mine = mine or (not confined.lists and bool(rule.get("src-address")))
        if number > above and mine and rule.get("action") in (*_DROPS, "jump") and rule.get("chain") == _FORWARD:
            rules = list(ruleset.filter)
            rules.insert(above, rules.pop(number))
            between = ruleset.filter[above:number]
            also = ", behind what lets it reach the pay page" if any(_serves(one, confined) for one in between) else ""
            yield f"move rule {number} above rule {above}{also}", replace(ruleset, filter=rules)


def _serves(rule: Rule, confined: Confined) -> bool:
    """Tell whether a rule lets this subscriber, by name, reach something."""
    return rule.get("action", "accept") == "accept" and rule.get("src-address-list", "-") in confined.lists


def _exempted(ruleset: Ruleset, confined: Confined, budget: _Budget) -> Iterator[tuple[str, Ruleset]]:
    """Try the rules that let out without the subscriber's list."""
    if not confined.lists:
        return
    spared, mended = [], ruleset
    for _ in range(_MENDED_MAX):
        after = _judge(mended, confined, budget)
        bad = [] if isinstance(after, str) else [*after.leaks, *after.flows]
        number = next((one.number for one in bad if one.place.startswith("rule")), -1)
        if number < 0 or mended.filter[number].get("src-address-list"):
            break
        spared.append(number)
        mended = _with(mended, number, {**mended.filter[number], "src-address-list": f"!{min(confined.lists)}"})
    if spared:
        rules = "rule" if len(spared) == 1 else "rules"
        yield f"add src-address-list=!{min(confined.lists)} to {rules} {', '.join(map(str, spared))}", mended


def _with(ruleset: Ruleset, number: int, rule: Mapping[str, str]) -> Ruleset:
    rules = list(ruleset.filter)
    rules[number] = rule
    return replace(ruleset, filter=rules)
