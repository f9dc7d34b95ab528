"""Safe mode: whose changes are undone when its session ends, who may end it, and how the history shows it."""

from __future__ import annotations

import pytest

from lab.router.device import Router
from lab.router.limits import HISTORY_MAX, SAFE_MODE_UNDO_S
from lab.tests.router.routers import Bench, Client, access_bench, logged_in


def benched() -> tuple[Bench, Client, Client]:
    b = access_bench()
    b.router.add("/user", name="joe", group="full", password="")
    return b, logged_in(b.router), logged_in(b.router)


def profiles(router: Router) -> list[str]:
    return [row["profile"] for row in router.rows("/ppp/secret")]


def enabled(client: Client) -> str:
    return client.rows("/safe-mode/print")[0]["enabled"]


def test_anybodys_change_is_undone_after_the_holder_is_gone() -> None:
    b, joe, agent = benched()
    before = {path: b.router.rows(path) for path in ("/ppp/secret", "/ip/firewall/address-list")}
    assert joe.ask("/safe-mode/take") == [["!done"]]
    assert (enabled(joe), enabled(agent)) == ("true", "true")
    agent.ask("/ppp/secret/set", "=numbers=home1", "=profile=suspended", "=comment=isp:suspended")
    agent.ask("/ip/firewall/address-list/add", "=list=suspended", "=address=10.0.0.5")
    joe.ask("/ppp/secret/remove", "=numbers=home2")
    floating = agent.rows("/system/history/print", "?floating-undo=true")
    assert len(floating) == 3
    joe.session.close()
    b.after(SAFE_MODE_UNDO_S / 2)
    assert profiles(b.router) == ["suspended", "home20"]
    b.after(SAFE_MODE_UNDO_S)
    after = {path: b.router.rows(path) for path in before}
    assert {p: sorted(r[".id"] for r in rows) for p, rows in after.items()} == {
        p: sorted(r[".id"] for r in rows) for p, rows in before.items()
    }
    assert sorted(map(repr, after["/ppp/secret"])) == sorted(map(repr, before["/ppp/secret"]))
    assert enabled(agent) == "false"
    assert agent.rows("/system/history/print", "?floating-undo=true") == []


def test_any_session_releases_it_and_what_was_changed_stays() -> None:
    b, joe, agent = benched()
    joe.ask("/safe-mode/take")
    assert agent.ask("/safe-mode/take")[0][0] == "!trap"
    agent.ask("/ppp/secret/set", "=numbers=home1", "=profile=suspended")
    agent.ask("/safe-mode/release")
    joe.session.close()
    b.after(10 * SAFE_MODE_UNDO_S)
    assert profiles(b.router)[0] == "suspended"


def test_unroll_undoes_at_once() -> None:
    b, joe, agent = benched()
    joe.ask("/safe-mode/take")
    agent.ask("/ppp/secret/set", "=numbers=home1", "=profile=suspended")
    joe.ask("/safe-mode/unroll")
    assert profiles(b.router)[0] == "home20"


def test_a_session_that_holds_none_ends_without_a_trace() -> None:
    b, joe, agent = benched()
    joe.ask("/safe-mode/take")
    agent.ask("/ppp/secret/set", "=numbers=home1", "=profile=suspended")
    agent.session.close()
    b.after(10 * SAFE_MODE_UNDO_S)
    assert (profiles(b.router)[0], enabled(joe)) == ("suspended", "true")


def test_too_many_changes_put_it_out_of_force() -> None:
    """The hundred changes may be another's: then a colleague's way back is gone."""
    b, joe, agent = benched()
    joe.ask("/safe-mode/take")
    for n in range(HISTORY_MAX + 1):
        agent.ask("/ppp/secret/set", "=numbers=home1", f"=comment={n}")
    assert enabled(joe) == "false"
    joe.session.close()
    b.after(10 * SAFE_MODE_UNDO_S)
    assert b.router.rows("/ppp/secret")[0]["comment"] == str(HISTORY_MAX)


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3"])
def test_before_7_18_the_api_has_no_such_menu(version: str) -> None:
    b = access_bench(version)
    assert b.router.store.find_model("/safe-mode") is None
