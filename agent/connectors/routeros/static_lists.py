"""Fixed addresses in an address list: the half of the access method that suspends by the firewall. Pure.

Each address is an entry of its own. An entry of ours is removed at the restore, one that was there disabled is disabled
again, and one that somebody else made is removed too, since the list is the one that the operator named: the preview
names its maker. A suspension that an address' own entry cannot lift (a wider entry, one with a timeout) is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Final

from agent.connectors.base import CannotEnforce, Enforced, Judgment
from agent.connectors.routeros.addresses import (
    ALL,
    COPIES,
    Network,
    RouterResource,
    address,
    entry_key,
    member,
    texts_of,
    touching,
)
from agent.connectors.routeros.comment_marker import COMMENT, SUSPENDED, marked, marks_in
from agent.connectors.routeros.firewall import KeptIn, LetOut, without_cuts
from agent.connectors.routeros.flows import cut_text, garden_of, passing
from agent.connectors.routeros.matching import Confined
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.static_addresses import Family, families, family_of, of_family, spelt
from agent.connectors.routeros.static_flows import Open, fasttracked, flows_of, open_now
from agent.connectors.routeros.static_text import entry_text, list_after
from agent.model import ABSENT, Absent, Access, Address, Field, Seen, Transition, Value
from agent.reasons import MethodReason, ProofReason
from trust.plural import counted

_ENABLED: Final = "enabled"
"""The mark of an entry that was there, disabled, before we enabled it."""

SeenAll = Mapping[Address, Seen]


def rules_at(target: str, family: Family) -> Address:
    """Return the address of a family's filter rules."""
    return address(target, family.rules, ALL)


class StaticLists:
    """One list of suspended addresses, of both families, on one router."""

    def __init__(self, target: str, name: str, rulesets: Rulesets) -> None:
        """Take the router's target, the list's name ("": there is nothing to do), and the rules as last seen."""
        self._target, self._name, self._rulesets = target, name, rulesets

    # --- what is read ---

    def reads(self, mine: Collection[Network]) -> list[Address]:
        """Return the addresses' entries and the list's members."""
        listed = self.elsewhere_reads(mine)
        if not self._name:
            return listed
        members = [address(self._target, family.members, self._name) for family in families(mine)]
        return listed + members + self.entries(mine)

    def then_reads(self, mine: Collection[Network], seen: SeenAll) -> list[Address]:
        """Return the open connections of the addresses that are in the list already, as some may pass by."""
        if not self._name:
            return []
        return [flows_of(self._target, one) for one in mine if _is_on(texts_of(seen[self._entry(one)].value))]

    def judge_reads(self, mine: Collection[Network], access: Access) -> list[Address]:
        """Return the list's members, the rules, and the open connections."""
        wanted = []
        for family in families(mine):
            wanted += [rules_at(self._target, family), address(self._target, family.members, self._name)]
        return wanted + ([flows_of(self._target, one) for one in mine] if access is Access.SUSPENDED else [])

    # --- what is done ---

    def writes(self, access: Access, mine: Collection[Network], seen: SeenAll) -> list[Transition] | CannotEnforce:
        """Return the steps that make the addresses members of the list, or of none of its entries."""
        found: list[Transition] = []
        for one in mine if self._name else ():
            refusal = self._refuse(access, one, seen)
            if refusal:
                return refusal
            before = seen[self._entry(one)]
            if access is Access.SUSPENDED and not _is_on(texts_of(before.value)):
                found.append(Transition(self._entry(one), before, self._entered(one, seen)))
            elif access is Access.ACTIVE and not isinstance(before.value, Absent) and _is_on(texts_of(before.value)):
                found.append(Transition(self._entry(one), before, _left(before.value)))
        return found

    def elsewhere(self, mine: Collection[Network], seen: SeenAll) -> CannotEnforce | None:
        """Return which other list keeps an address in after a restore: one of before the configuration was changed."""
        for one in mine:
            for name in texts_of(seen[self._listed(one)].value):
                kept = (
                    None
                    if name == self._name
                    else without_cuts(self._kept(family_of(one), seen, _confined((one,), name)))
                )
                if kept is not None and not isinstance(kept, LetOut):
                    why = f"{spelt(one)} is also in list {name}, and {kept.text}: lift that entry first"
                    return CannotEnforce(RouterReason.OTHER_LIST, why)
        return None

    def entries(self, mine: Collection[Network]) -> list[Address]:
        """Return the addresses' own entries of the list; none where there is no list."""
        return [self._entry(one) for one in mine] if self._name else []

    def elsewhere_reads(self, mine: Collection[Network]) -> list[Address]:
        """Return the addresses that `elsewhere` goes by, beside the rules."""
        return [self._listed(one) for one in mine]

    def names(self, one: Network, seen: SeenAll) -> list[str]:
        """Return the lists that an address has an entry of its own in."""
        return list(texts_of(seen[self._listed(one)].value))

    def state(self, mine: Collection[Network], seen: SeenAll) -> tuple[Access | None, str]:
        """Return whether the addresses are in the list now, or why that cannot be told; whoever made the entries."""
        inside = [one for one in mine if self._name and self._is_member(one, seen)]
        if not inside:
            return Access.ACTIVE, ""
        if len(inside) < len(mine):
            out = [spelt(one) for one in mine if one not in inside]
            return None, f"{spelt(inside[0])} is in list {self._name}, and {', '.join(out)} is not"
        return Access.SUSPENDED, ""

    def _is_member(self, one: Network, seen: SeenAll) -> bool:
        return bool(member(seen[address(self._target, family_of(one).members, self._name)].value, spelt(one)))

    def _listed(self, one: Network) -> Address:
        return address(self._target, family_of(one).listed, spelt(one))

    def _refuse(self, access: Access, one: Network, seen: SeenAll) -> CannotEnforce | None:
        entry = texts_of(seen[self._entry(one)].value)
        name = f"{spelt(one)} in list {self._name}"
        if COPIES in entry:
            return CannotEnforce(RouterReason.AMBIGUOUS_ENTRY, f"{self._target} has {entry[COPIES]} entries of {name}")
        if entry.get("dynamic") == "true":
            # RouterOS takes no second equal entry; this one ends by its timeout or a reboot, or is made again
            why = f"{name} is a dynamic entry, which ends by itself and is somebody else's: remove it first"
            return CannotEnforce(RouterReason.DYNAMIC_ENTRY, why)
        members = seen[address(self._target, family_of(one).members, self._name)].value
        others = [text for text in touching(members, one) if text != spelt(one)]
        if others and access is Access.ACTIVE:
            why = f"{spelt(one)} is also in list {self._name} by {', '.join(others)}, which is not its own entry"
            return CannotEnforce(RouterReason.WIDER_ENTRY, why)
        return None

    def _entered(self, one: Network, seen: SeenAll) -> Mapping[str, Field]:
        value = seen[self._entry(one)].value
        if isinstance(value, Absent):
            new = {"address": spelt(one), "list": self._name, "disabled": "false", "dynamic": "false"}
            return marked(new, suspended=True)
        return {**marked(marked(value, suspended=True, what=_ENABLED), suspended=True), "disabled": "false"}

    def kept(self, mine: Collection[Network], seen: SeenAll) -> list[str] | CannotEnforce:
        """Return by which rules, a family each, the list's members are kept in; or that they are not."""
        texts = []
        for family in families(mine):
            found = self._kept(family, seen, _confined(of_family(family, mine), self._name))
            if isinstance(found, LetOut):
                return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, f"IPv{family.version}: {found.advice}")
            texts += [f"IPv{family.version} {found.text}", *filter(None, (cut_text(found),))]
        return texts

    def open_now(self, mine: Collection[Network], seen: SeenAll, ended: Collection[Address] = ()) -> Open:
        """Return the open connections of the addresses, and those of them that the list's rules do not hold."""
        return open_now(self._target, mine, seen, ended, partial(self._passing, seen))

    def _passing(self, seen: SeenAll, one: Network, connections: Value) -> tuple[Collection[str], bool]:
        """Implements `static_flows.Passing`: where a rule accepts established connections, later ones count too."""
        rules = seen[rules_at(self._target, family_of(one))].value
        found = self._rulesets.kept(rules, _confined((one,), self._name))
        open_flows = found.open_flows if isinstance(found, KeptIn) else ""
        if not open_flows:
            return fasttracked(one, connections)
        garden = garden_of(self._rulesets.of(rules), [self._name])
        return passing(connections, garden, open_flows, [spelt(one)]), True

    # --- what is said ---

    def now(self, mine: Collection[Network], seen: SeenAll) -> list[str]:
        """Return how each address stands in the list."""
        if not self._name:
            return []
        entries = {one: texts_of(seen[self._entry(one)].value) for one in mine}
        return [f"{spelt(one)} {entry_text(entry, self._name)}" for one, entry in entries.items()]

    def after(self, access: Access, mine: Collection[Network], seen: SeenAll) -> str | CannotEnforce:
        """Return the state afterwards, or that the list keeps nobody in."""
        if access is Access.ACTIVE:
            return f"in no entry of list {self._name}"
        kept = self.kept(mine, seen)
        if isinstance(kept, CannotEnforce):
            return kept
        out = [
            self._rulesets.kept_out(seen[rules_at(self._target, family)].value, self._name) for family in families(mine)
        ]
        return list_after(kept, mine, from_outside=any(isinstance(one, LetOut) for one in out))

    # --- judging ---

    def judge(self, access: Access, mine: Collection[Network], seen: SeenAll, ended: Collection[Address]) -> Judgment:
        """Judge from the list and the rules as they are now; no connection in `ended` may pass by them."""
        if access is Access.ACTIVE:
            return self._judge_out(mine, seen)
        told = f"{' · '.join(map(spelt, mine))} in list {self._name}"
        for family in families(mine):
            members = seen[address(self._target, family.members, self._name)].value
            missing = [spelt(one) for one in of_family(family, mine) if not member(members, spelt(one))]
            if missing:
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"{missing[0]} is not in list {self._name}")
        kept = self.kept(mine, seen)
        if isinstance(kept, CannotEnforce):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, kept.detail)
        flows = self.open_now(mine, seen, ended)
        if flows.left:
            text = f"{counted(len(flows.left), 'connection carries', 'connections carry')} on as before"
            return Judgment(Enforced.NO, ProofReason.STILL_ONLINE, text, flows.of)
        if not flows.many and not any(where.startswith(f"{self._target}/") for where in ended):
            return Judgment(
                Enforced.PENDING, ProofReason.OFFLINE, f"{told}; no connection was open: it holds for the next one"
            )
        return Judgment(Enforced.YES, ProofReason.SEEN, f"{told}; nothing passes by the rule")

    def _judge_out(self, mine: Collection[Network], seen: SeenAll) -> Judgment:
        for one in mine:
            held = touching(seen[address(self._target, family_of(one).members, self._name)].value, one)
            if held:
                why = f"{spelt(one)} still in list {self._name} by {', '.join(held)}"
                return Judgment(Enforced.NO, ProofReason.GARDEN, why)
        return Judgment(Enforced.YES, ProofReason.SEEN, f"{' · '.join(map(spelt, mine))} not in {self._name}")

    def _kept(self, family: Family, seen: SeenAll, confined: Confined) -> KeptIn | LetOut:
        return self._rulesets.kept(seen[rules_at(self._target, family)].value, confined)

    def _entry(self, one: Network) -> Address:
        resource: RouterResource = family_of(one).entry
        return address(self._target, resource, entry_key(str(one), self._name))


def _confined(mine: Collection[Network], name: str) -> Confined:
    return Confined(frozenset((name,)), tuple(map(str, mine)))


def _is_on(entry: Mapping[str, str]) -> bool:
    return bool(entry) and entry.get("disabled") != "true"


def _left(entry: Mapping[str, Field]) -> Mapping[str, Field] | Absent:
    """Return the entry after the restore: disabled again if that is how we found it, else nothing."""
    comment = entry.get(COMMENT, "")
    if not isinstance(comment, str) or not {_ENABLED, SUSPENDED} <= {*marks_in(comment)}:
        return ABSENT
    return {**marked(marked(entry, suspended=False), suspended=False, what=_ENABLED), "disabled": "true"}
