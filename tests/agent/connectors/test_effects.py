"""Each verb of an effect that a connector takes has a kind, and each kind but the spare ones is some connector's."""

from __future__ import annotations

from agent.connectors.radius import access, session
from agent.connectors.routeros import live_sessions
from agent.cpe_model import effects as cpe
from agent.model import EffectKind

SPARE = {EffectKind.MESSAGE, EffectKind.OTHER}
"""No connector sends messages yet; OTHER is for what a connector has no word for."""


def test_every_verb_of_a_nas_has_a_kind() -> None:
    assert access.EFFECTS.keys() == session._KINDS.keys()


def test_every_verb_of_a_router_has_a_kind() -> None:
    assert live_sessions.EFFECTS.keys() == {menu.verb for menu in live_sessions.RUNNING.values()}


def test_every_verb_of_a_cpe_has_a_kind() -> None:
    assert cpe.EFFECTS.keys() == cpe.METHODS.keys() == cpe.WITHIN_S.keys()


def test_kinds_say_what_a_verb_is() -> None:
    tables = (access.EFFECTS, live_sessions.EFFECTS, cpe.EFFECTS)
    named = {kind for table in tables for kinds in table.values() for kind in kinds}
    assert named == set(EffectKind) - SPARE
    ends = {verb for table in tables for verb, kinds in table.items() if EffectKind.DISCONNECT in kinds}
    assert ends == {"disconnect"}, "a cut, a forgotten cookie or a CoA ends no session"
