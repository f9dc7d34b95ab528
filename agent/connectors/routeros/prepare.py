"""The parts that a router lacks to keep a suspension: a profile with its list, and rules in their place. Pure.

* Only rows are added, and the address list of a suspended profile that has none is set. Nothing of anybody else's is
  touched, and no chain but `forward`: the agent's own connections are in `input`, and meet none of it.
* The rules of a list stand together, as low as the judge of `firewall` allows: above FastTrack and every rule that lets
  its members out, below the operator's accepts for them.
* There is no guard: RouterOS has no confirmed commit for the API, and its safe mode undoes the changes of all sessions.
  In its place it is read, and again before the start, that no list holds an address from which the API is used.
* In the order of the steps each state on the way is safe: first the destinations that suspended subscribers may reach,
  then the drop, then the accept that keeps the answers to them out of FastTrack.
* No pool is made: a new profile takes its addresses as its tariffs' profiles do. A pool that a profile names, and that
  is not there, is told: its subscribers could not log in.
* Hotspot profiles are left to people: the list of one holds only where its walled garden and its proxy do too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Final

from agent.connectors.base import CannotEnforce, DeviceNeeds, Preparation, PrepareTerms
from agent.connectors.routeros import fasttrack
from agent.connectors.routeros.addresses import (
    ALL,
    COPIES,
    RouterResource,
    address,
    entry_key,
    networks,
    parse,
    texts_of,
)
from agent.connectors.routeros.firewall import KeptIn, LetOut, keeps_in
from agent.connectors.routeros.matching import PPP, Confined, Rule, Ruleset, is_wide, session_of
from agent.connectors.routeros.placed_rules import ABOVE, COMMENT, OURS, differences, is_ours, text_of
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.rulesets import ruleset_of
from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import ABSENT, Absent, Address, Effect, Field, Seen, Step, Transition, Value, target_of
from agent.reasons import MethodReason
from trust.plural import counted

GARDEN: Final = "ispagents-garden"
"""The address list of the destinations that suspended subscribers may reach."""
_CHAIN: Final = "forward"
_EXCEPTED: Final = ("dst-address", "dst-address-list", "dst-port")
"""Matchers of a drop that leave a pay page open by exception."""
_LISTS: Final = "address-list"
_NOT_TAKEN: Final = frozenset(
    {
        "rate-limit",
        "bridge",
        "bridge-horizon",
        "bridge-path-cost",
        "bridge-port-priority",
        "bridge-port-vid",
        "dhcpv6-pd-pool",
        "dhcpv6-use-radius",
        "remote-ipv6-prefix-pool",
        "insert-queue-before",
        "parent-queue",
        "queue-type",
        "incoming-filter",
        "outgoing-filter",
        "interface-list",
        "comment",
    }
)
"""Properties of a tariff's profile that a suspended one is made without: speed, IPv6, bridges, queues, filters."""
_GUARD: Final = (
    "none: no confirmed commit, RouterOS has none for the API (its safe mode would undo a colleague's changes too). "
    "Instead: rows are only added, rules only in chain forward (what the agent sends to the router is in chain input), "
    "and the address from which the agent comes is in none of the lists; that is read again before the start"
)
_SCRIPTS: Final = ("on-up", "on-down")

SeenAll = Mapping[Address, Seen]


@dataclass(frozen=True, slots=True)
class _Family:
    version: int
    rules: RouterResource
    order: RouterResource
    rule: RouterResource
    entry: RouterResource
    members: RouterResource
    clients: RouterResource


_FAMILIES: Final = (
    _Family(
        4,
        RouterResource.FILTER,
        RouterResource.ORDER,
        RouterResource.RULE,
        RouterResource.LIST,
        RouterResource.MEMBERS,
        RouterResource.CLIENTS,
    ),
    _Family(
        6,
        RouterResource.FILTER6,
        RouterResource.ORDER6,
        RouterResource.RULE6,
        RouterResource.LIST6,
        RouterResource.MEMBERS6,
        RouterResource.CLIENTS6,
    ),
)


@dataclass(slots=True)
class _Draft:
    """A preparation in the making."""

    target: str
    terms: PrepareTerms
    seen: SeenAll
    writes: list[Transition] = field(default_factory=list)
    now: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    look: list[str] = field(default_factory=list)
    left: list[CannotEnforce] = field(default_factory=list)
    """Work that is left to people, though all else can be prepared."""
    rests_on: list[Address] = field(default_factory=list)

    def before(self, resource: RouterResource, key: str) -> Seen:
        return self.seen[address(self.target, resource, key)]

    def write(self, resource: RouterResource, key: str, value: Mapping[str, Field]) -> None:
        where = address(self.target, resource, key)
        self.writes.append(Transition(where, self.seen[where], value))


# --- what is read ---


def reads(target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: SeenAll) -> Collection[Address]:
    """Return the needs of `preparation` that `seen` lacks."""
    families = _families(needs)
    wanted = [address(target, one, ALL) for family in families for one in (family.rules, family.order)]
    wanted += [where for need in needs for where in (need.profile, need.like) if where is not None]
    if any(_is_ppp(target, need.profile) for need in needs):
        wanted.append(address(target, RouterResource.POOLS, ALL))
    missing = [where for where in dict.fromkeys(wanted) if where not in seen]
    if missing:
        return missing
    for family in families:
        for name in _lists(needs, terms, seen, family):
            wanted += [address(target, one, name) for one in (family.members, family.clients)]
            wanted += [address(target, family.rule, rule[COMMENT]) for rule in _rules(name, terms, family)]
        wanted += [address(target, family.entry, entry_key(one, GARDEN)) for one in _of(terms.garden, family)]
    return [where for where in dict.fromkeys(wanted) if where not in seen]


def _is_ppp(target: str, profile: Address | None) -> bool:
    found = None if profile is None else parse(target, profile)
    return found is not None and found[0] is RouterResource.PROFILE


def _families(needs: Sequence[DeviceNeeds]) -> tuple[_Family, ...]:
    return _FAMILIES if any(need.six for need in needs) else _FAMILIES[:1]


def _lists(needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: SeenAll, family: _Family) -> list[str]:
    """Return the lists of suspended subscribers in a family, each once; that of a profile which has none yet too."""
    found: dict[str, None] = {}
    for need in needs:
        if family.version == 4 or need.six:
            found |= dict.fromkeys(need.lists)
        if need.profile is not None and family.version == 4:
            target = target_of(need.profile)
            lacks = _is_ppp(target, need.profile) and _kept_alone(target, need.profile, seen) is None
            found |= dict.fromkeys(_lists_of(seen[need.profile]) or ([terms.list_name] if lacks else []))
    return list(found)


def _lists_of(profile: Seen) -> list[str]:
    return [name for name in texts_of(profile.value).get(_LISTS, "").split(",") if name]


def _kept_alone(target: str, profile: Address, seen: SeenAll) -> KeptIn | None:
    """Return the rules that keep a PPP profile's sessions in without a list: by their pool, interface list or chain."""
    row = texts_of(seen[profile].value)
    place = row.get("remote-address", "")
    ranges = texts_of(seen[address(target, RouterResource.POOLS, ALL)].value).get(place, "")
    places = (place,) if networks(place) else tuple(filter(None, ranges.split(",")))
    joins = frozenset(filter(None, (row.get("interface-list", ""),)))
    found = keeps_in(
        ruleset_of(seen[address(target, RouterResource.FILTER, ALL)].value),
        Confined(frozenset(), places, PPP, joins, row.get("incoming-filter", "")),
    )
    return found if isinstance(found, KeptIn) else None


def _of(texts: Sequence[str], family: _Family) -> list[str]:
    return [text for text in texts if ip_network(text, strict=False).version == family.version]


def _rules(name: str, terms: PrepareTerms, family: _Family) -> list[dict[str, str]]:
    """Return the rules of a list in their order; the last one only where FastTrack is on."""

    def rule(what: str, action: str, **matchers: str) -> dict[str, str]:
        told = {key.replace("_", "-"): text for key, text in matchers.items()}
        return {"chain": _CHAIN, "action": action, **told, COMMENT: f"{OURS}{what} {name}"}

    found = []
    if _of(terms.garden, family):
        found.append(rule("garden of", "accept", src_address_list=name, dst_address_list=GARDEN))
    for resolver in _of(terms.resolvers, family):
        place = normalize(RouterKind.RANGE, resolver)
        for protocol in ("udp", "tcp"):
            to = {"protocol": protocol, "dst_port": "53", "dst_address": place}
            found.append(rule(f"DNS {protocol} {place} of", "accept", src_address_list=name, **to))
    found.append(rule("drop", "drop", src_address_list=name))
    states = normalize(RouterKind.MATCH_LIST, "established,related")
    found.append(rule("no FastTrack to", "accept", dst_address_list=name, connection_state=states))
    return found


# --- what is done ---


def preparation(
    target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: SeenAll
) -> Preparation | CannotEnforce:
    """Return the steps that make a router ready, none where it is; or why that cannot be prepared."""
    draft, families = _Draft(target, terms, seen), _families(needs)
    for place in dict.fromkeys(need.profile for need in needs if need.profile is not None):
        like = next((need.like for need in needs if need.profile == place), None)
        if refusal := _profile(draft, place, like):
            return refusal
    for family in families:
        if refusal := _family(draft, family, _lists(needs, terms, seen, family), _jumps(needs, seen)):
            return refusal
    if draft.left and not draft.writes:
        return draft.left[0]
    draft.look += [f"not prepared: {one.detail}" for one in draft.left]
    steps = tuple(Step(n, target, (write,), (n - 1,) if n > 1 else ()) for n, write in enumerate(draft.writes, start=1))
    rests_on = (*(address(target, family.order, ALL) for family in families), *draft.rests_on)
    display = {
        "now": "; ".join(draft.now),
        "after": "; ".join(draft.after),
        "guard": _GUARD,
        "proof": "each row is read back, a rule with its place · afterwards, try it: ispagent device ready",
    }
    return Preparation(steps, display, "; ".join(draft.look), rests_on)


def _profile(draft: _Draft, where: Address, like: Address | None) -> CannotEnforce | None:
    found = parse(draft.target, where)
    seen, name = draft.seen[where], found[1] if found else ""
    if COPIES in texts_of(seen.value):
        return CannotEnforce(MethodReason.SEVERAL, f"{draft.target} has several profiles {name}")
    if _lists_of(seen):
        _pool(draft, name, texts_of(seen.value))
        return None
    if found is None or found[0] is not RouterResource.PROFILE:
        lacks = "is missing" if isinstance(seen.value, Absent) else "has no address-list"
        why = (
            f"hotspot user profile {name} {lacks}: set it by hand (/ip hotspot user profile, address-list="
            f"{draft.terms.list_name}); whether it keeps anybody in hangs on the hotspot's walled garden and proxy too"
        )
        draft.left.append(CannotEnforce(MethodReason.NO_LIST, why))
        return None
    if kept := _kept_alone(draft.target, where, draft.seen):
        draft.now.append(f"profile {name}: {kept.text}")
        return None
    if not isinstance(seen.value, Absent):
        draft.write(RouterResource.PROFILE, name, {**seen.value, _LISTS: draft.terms.list_name})
        draft.now.append(f"profile {name} has no address-list")
        draft.after.append(f"profile {name} puts its sessions into list {draft.terms.list_name} from their next login")
        _pool(draft, name, texts_of(seen.value))
        return None
    base = ABSENT if like is None else draft.seen[like].value
    if isinstance(base, Absent) or COPIES in base:
        why = f"{draft.target} has no PPP profile {name}, and none of a tariff that it could take its addresses from"
        return CannotEnforce(MethodReason.NO_SUCH_PROFILE, why)
    taken = {key: text for key, text in base.items() if key not in _NOT_TAKEN}
    taken |= {script: "" for script in _SCRIPTS if script in taken}
    made = {**taken, "name": name, _LISTS: draft.terms.list_name, COMMENT: f"{OURS}suspended subscribers"}
    draft.write(RouterResource.PROFILE, name, made)
    draft.now.append(f"no profile {name}")
    pool = texts_of(base).get("remote-address", "")
    pool_text = f", addresses of {pool}" if pool else ""
    draft.after.append(f"profile {name} with list {draft.terms.list_name}{pool_text}, no IPv6")
    _pool(draft, name, texts_of(base))
    return None


def _pool(draft: _Draft, profile: str, value: Mapping[str, str]) -> None:
    """Tell of a pool that a PPP profile takes its addresses from and that is not there."""
    if draft.seen.get(pools := address(draft.target, RouterResource.POOLS, ALL)) is None:
        return  # a hotspot's profile: that gives no addresses
    pool = value.get("remote-address", "")
    if pool and not networks(pool) and pool not in texts_of(draft.seen[pools].value):
        draft.look.append(
            f"profile {profile} takes its addresses from pool {pool}, which is not there: who is suspended could not "
            "log in. No pool is made, since its ranges are yours to choose"
        )


def _jumps(needs: Sequence[DeviceNeeds], seen: SeenAll) -> list[dict[str, str]]:
    """Return the jumps that logins to the suspended profiles make: their chains may let a list out, or its PPP part."""
    chains = {texts_of(seen[n.profile].value).get("incoming-filter", "") for n in needs if n.profile is not None}
    session = session_of("")  # of a member of the list it is not known whether it comes in by one
    return [
        {"chain": PPP, "action": "jump", "jump-target": chain, "in-interface": session}
        for chain in sorted(chains - {""})
    ]


def _family(
    draft: _Draft, family: _Family, lists: Sequence[str], jumps: Sequence[dict[str, str]]
) -> CannotEnforce | None:
    """Add the entries of the garden, and the rules of each list that is not kept in yet."""
    ruleset = ruleset_of(draft.before(family.rules, ALL).value)
    rows = [dict(row) for row in (*ruleset.filter, *jumps)]
    garden = _of(draft.terms.garden, family)
    if is_wide(garden):
        return CannotEnforce(RouterReason.WIDER_ENTRY, f"{', '.join(garden)} is much of the internet: no garden")
    entered = False
    for name in lists:
        told = f"list {name} (IPv{family.version})"
        held = texts_of(draft.before(family.members, name).value)
        if is_wide(held):
            return CannotEnforce(
                RouterReason.WIDER_ENTRY, f"{told} holds much of the internet: its members would be cut"
            )
        kept = keeps_in(replace(ruleset, filter=rows), Confined(frozenset((name,))))
        draft.now.append(f"{told}: {kept.text}")
        if isinstance(kept, KeptIn) and not kept.open_flows:
            continue
        clients = address(draft.target, family.clients, name)
        if inside := texts_of(draft.seen[clients].value):
            why = f"{told} holds {', '.join(inside)}, from which the API is used now: its rules could cut the agent off"
            return CannotEnforce(RouterReason.AGENT_IN_LIST, why)
        draft.rests_on.append(clients)
        if not entered:
            _enter(draft, family, garden)
            entered = True
        if refusal := _block(draft, family, name, ruleset, rows):
            return refusal
        if held:
            draft.look.append(f"{told} has {counted(len(held), 'member')} now: they are cut off at once")
    return None


def _enter(draft: _Draft, family: _Family, garden: Sequence[str]) -> None:
    for one in garden:
        key, place = entry_key(one, GARDEN), normalize(RouterKind.RANGE, one)
        if isinstance(draft.before(family.entry, key).value, Absent):
            entry = {"address": place, "list": GARDEN, "disabled": "false", "dynamic": "false"}
            draft.write(family.entry, key, {**entry, COMMENT: f"{OURS}garden"})


def _block(
    draft: _Draft, family: _Family, name: str, ruleset: Ruleset, rows: list[dict[str, str]]
) -> CannotEnforce | None:
    """Write the rules of a list that are not there yet, and put them into `rows`, which later lists are judged by."""
    wanted = _rules(name, draft.terms, family)
    if not fasttrack.is_on(rows):
        wanted.pop()
    now = {rule[COMMENT]: draft.before(family.rule, rule[COMMENT]).value for rule in wanted}
    if not all(isinstance(value, Absent) for value in now.values()):
        kept = keeps_in(replace(ruleset, filter=rows), Confined(frozenset((name,))))
        return _changed(f"list {name} (IPv{family.version})", wanted, now, kept)
    place = _place(replace(ruleset, filter=rows), wanted, name)
    if place is None:
        why = f"IPv{family.version}: no place in chain {_CHAIN} from which a rule would keep list {name} in"
        return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, why)
    under = text_of(rows[place]) if place < len(rows) else ""
    if hidden := _hidden(rows, place, name):
        told = f"name by --garden and --resolver what they leave open to list {name}"
        draft.look.append(f"no longer reached: {'; '.join(hidden)}: {told}")
    for rule in wanted:
        draft.write(family.rule, rule[COMMENT], {**rule, ABOVE: under})
    rows[place:place] = wanted
    open_to = [*_of(draft.terms.garden, family), *(f"DNS at {one}" for one in _of(draft.terms.resolvers, family))]
    allowed = f" but for {', '.join(open_to)}" if open_to else ""
    where = f"above rule {place} ({under})" if under else "at the end"
    draft.after.append(f"list {name} (IPv{family.version}) is dropped{allowed}, {where}")
    return None


def _changed(told: str, wanted: Sequence[Rule], now: Mapping[str, Value], kept: KeptIn | LetOut) -> CannotEnforce:
    """Return somebody's changes to our rules of a list, which no longer keep it in; a person puts that right."""
    changes = [(rule[COMMENT], differences(now[rule[COMMENT]], rule)) for rule in wanted]
    if changed := [f"{comment!r}: {text}" for comment, text in changes if text]:
        why = f"somebody changed the agent's rules of {told}: {'; '.join(changed)}"
        mend = "put that right on the router, or remove these rules there and ask for the preparation again"
    else:
        let_out = f"{kept.open_flows} lets open connections pass" if isinstance(kept, KeptIn) else kept.text
        why = f"the agent's rules of {told} are as it made them, and do not keep it in: {let_out}"
        mend = kept.mend or "move them above it"
    return CannotEnforce(RouterReason.OTHER_RULE, f"{why}. By hand: {mend}")


def _hidden(rows: Sequence[Rule], place: int, name: str) -> list[str]:
    """Return the rules that leave something open to a list's members, and that none of their packets comes to then."""
    found = []
    for n, row in enumerate(rows):
        reached = row.get("chain") == _CHAIN and n < place
        opens = row.get("action", "accept") == "accept" or any(row.get(one, "").startswith("!") for one in _EXCEPTED)
        if row.get("src-address-list") == name and opens and not reached and row.get("disabled") != "true":
            found.append(f"rule {n} ({text_of(row)})")
    return found


def _place(ruleset: Ruleset, wanted: Sequence[Rule], name: str) -> int | None:
    """Return the lowest index at which the rules keep a list in; None: there is none.

    Not above a dynamic rule, which RouterOS keeps first, nor above one that has the same text as another rule of the
    chain: the place could not be told from that one's.
    """
    rows = ruleset.filter
    texts = [text_of(row) for row in rows if row.get("chain") == _CHAIN]
    anchors = [
        n
        for n, row in enumerate(rows)
        if row.get("chain") == _CHAIN
        and row.get("dynamic") != "true"
        and not is_ours(row)
        and texts.count(text_of(row)) == 1
    ]
    for n in reversed([*anchors, len(rows)]):
        kept = keeps_in(replace(ruleset, filter=[*rows[:n], *wanted, *rows[n:]]), Confined(frozenset((name,))))
        if isinstance(kept, KeptIn) and not kept.open_flows:
            return n
    return None


# --- and taken back ---


def undo_reads(target: str, steps: Sequence[Step]) -> Collection[Address]:
    """Return the members of the lists with a drop that a preparation added."""
    return [address(target, family.members, name) for family, name in _dropped(target, steps)]


def undo_refusal(target: str, steps: Sequence[Step], seen: SeenAll) -> str:
    """Return why a preparation cannot be taken back now: somebody is kept in by it; "": nobody is."""
    for family, name in _dropped(target, steps):
        held = texts_of(seen[address(target, family.members, name)].value)
        if held:
            return f"list {name} (IPv{family.version}) has {len(held)} members, whom the rule keeps in: restore them"
    return ""


def _dropped(target: str, steps: Sequence[Step]) -> list[tuple[_Family, str]]:
    found: dict[tuple[int, str], _Family] = {}
    for step in steps:
        for write in () if isinstance(step.do, Effect) else step.do:
            which, after = parse(target, write.address), texts_of(write.after)
            for family in _FAMILIES:
                if which is not None and which[0] is family.rule and after.get("action") == "drop":
                    found[family.version, after["src-address-list"]] = family
    return [(family, name) for (_, name), family in found.items()]
