"""The judge on suspension designs: those that are published, and those that were made to fool it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agent.connectors.routeros.addresses import networks
from agent.connectors.routeros.firewall import KeptIn, LetOut, keeps_in
from tests.agent.connectors.routeros.designs import BY_NAT, OWN, PUBLISHED, Design, Label
from tests.agent.connectors.routeros.lab_referee import packets, referee

DESIGNS = (*PUBLISHED, *BY_NAT, *OWN)
REFUSED_MAX = 0.1


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_a_design_is_judged_by_what_it_does(design: Design) -> None:
    """E2: for the subscriber as it will really be, toward each way out; and E14, E21 and E22."""
    found = keeps_in(design.ruleset, design.confined)
    if design.label is Label.LEAKS or design.refused:
        assert isinstance(found, LetOut), found
        assert found.mend
        return
    assert isinstance(found, KeptIn), found
    assert bool(found.open_flows) is (design.label is Label.CUTS)
    assert bool(found.mend) is (design.label is Label.CUTS)


def test_few_are_refused_that_keep_people_in() -> None:
    for designs in ((*PUBLISHED, *BY_NAT), OWN):
        working = [design for design in designs if design.label is not Label.LEAKS]
        refused = [design for design in working if isinstance(keeps_in(design.ruleset, design.confined), LetOut)]
        assert len(refused) <= REFUSED_MAX * len(working), [design.name for design in refused]
    assert (len(PUBLISHED), len(OWN) >= 25) == (48, True)
    assert len({design.name for design in DESIGNS}) == len(DESIGNS)


def test_a_design_by_nat_is_mended_by_one_drop() -> None:
    """Refused, all of them, with the rule that makes them keep people in whatever NAT does."""
    for design in BY_NAT:
        found = keeps_in(design.ruleset, design.confined)
        assert isinstance(found, LetOut)
        assert found.mend == "add a rule at the top: chain=forward action=drop src-address-list=suspended"
        (drop,) = [{"chain": "forward", "action": "drop", "src-address-list": "suspended"}]
        mended = replace(design.ruleset, filter=[drop, *design.ruleset.filter])
        assert isinstance(keeps_in(mended, design.confined), KeptIn)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_a_refusal_says_which_rule_and_what_to_do(design: Design) -> None:
    found = keeps_in(design.ruleset, design.confined)
    if isinstance(found, KeptIn):
        return
    if "may let it out" in found.text:
        assert re.fullmatch(r"(raw )?rule \d+", found.rule)
        assert found.text.startswith(f"{found.rule} (")
    assert re.match(r"(move|add|remove|enable) ", found.mend)
    assert found.advice == f"{found.text}: {found.mend}"


@pytest.mark.parametrize("design", [one for one in DESIGNS if not one.unseen], ids=lambda design: design.name)
def test_the_labs_packets_agree_with_the_labels(design: Design) -> None:
    """The labels are not the judge's: whether a design leaks is seen from packets, limits and the like both ways."""
    nets = [network for text in design.confined.addresses for network in networks(text)]
    ends = [str(one) for network in nets for one in (network[0], network[-1])]
    states = ("new",) if design.label is Label.CUTS else ("new", "established", "related")
    labs = [referee(design.ruleset, unsure=unsure) for unsure in (False, True)]
    out = any(lab.judge(packet).out for lab in labs for packet in packets(ends, states, design.ways))
    assert out is (design.label is Label.LEAKS)
    if design.label is Label.CUTS:
        assert any(lab.judge(packet).out for lab in labs for packet in packets(ends, ("established",), design.ways))
