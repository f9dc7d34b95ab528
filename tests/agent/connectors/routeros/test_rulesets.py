"""A router's rules as one value, and the verdicts on it, which are given once for a whole batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.connectors.routeros import rulesets
from agent.connectors.routeros.firewall import KeptIn, LetOut, keeps_in, keeps_out
from agent.connectors.routeros.matching import Confined, Ruleset
from agent.connectors.routeros.rulesets import Rulesets, ruleset_of, ruleset_value

DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}
ONE = {"chain": "forward", "action": "accept", "src-address": "100.64.0.1"}
LISTED = frozenset(("suspended",))


class Judge:
    """`keeps_in`, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[Confined] = []

    def __call__(self, ruleset: Ruleset, confined: Confined) -> KeptIn | LetOut:
        self.asked.append(confined)
        return keeps_in(ruleset, confined)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    found = Judge()
    monkeypatch.setattr(rulesets, "keeps_in", found)
    return found


def test_a_value_and_back() -> None:
    whole = Ruleset((DROP,), (ONE,), {"WAN": frozenset(("ether1",))}, {"suspended": {"100.64.0.9": "static"}})
    for tunnels in (None, frozenset[str](), frozenset(("10.7.0.0/16",))):
        one = replace(whole, tunnels=tunnels)
        assert ruleset_of(ruleset_value(one)) == one
    assert ruleset_of(ruleset_value(Ruleset((DROP,)))).raw is None


def test_an_address_without_a_rule_makes_no_verdict(judge: Judge) -> None:
    known, value = Rulesets(), ruleset_value(Ruleset([DROP]))
    found = [known.kept(value, Confined(LISTED, (f"100.64.0.{n}",))) for n in range(9)]
    assert judge.asked == [Confined(LISTED)]
    assert all(isinstance(one, KeptIn) for one in found)
    known.kept(dict(value), Confined(LISTED, ("100.64.0.77",)))  # type: ignore[call-overload]  # rows: it is not ABSENT
    assert len(judge.asked) == 1  # read again, and as before


def test_address_on_which_rule_hangs_has_verdict_of_its_own(judge: Judge) -> None:
    known, value = Rulesets(), ruleset_value(Ruleset([ONE, DROP]))
    assert isinstance(known.kept(value, Confined(LISTED, ("100.64.0.1",))), LetOut)
    assert isinstance(known.kept(value, Confined(LISTED, ("100.64.0.2",))), KeptIn)
    assert len(judge.asked) == 2


def test_other_rules_are_judged_anew(judge: Judge) -> None:
    known = Rulesets()
    assert isinstance(known.kept(ruleset_value(Ruleset([DROP])), Confined(LISTED)), KeptIn)
    assert isinstance(known.kept(ruleset_value(Ruleset([ONE])), Confined(LISTED)), LetOut)
    assert len(judge.asked) == 2


def test_from_outside_as_keeps_out() -> None:
    known = Rulesets()
    for rules in ([DROP], [{**DROP, "src-address-list": "", "dst-address-list": "suspended"}]):
        value = ruleset_value(Ruleset(rules))
        assert known.kept_out(value, "suspended") == keeps_out(ruleset_of(value).filter, "suspended")
        assert known.kept_out(value, "suspended") is known.kept_out(value, "suspended")
