"""Budgets: a storm of one sender, of strangers, and of all together."""

from __future__ import annotations

from agent.connectors.snmp import limits
from agent.connectors.snmp.budgets import Budgets


def read(budgets: Budgets, sender: str, count: int, now: float, *, known: bool = True, user: bool = False) -> int:
    return sum(budgets.spend(sender, now, known=known, user=user) for _ in range(count))


def test_one_sender_gets_its_burst_and_then_its_rate() -> None:
    budgets = Budgets(0.0)
    assert read(budgets, "192.0.2.1", 5_000, 0.0) == limits.SENDER_BURST
    assert read(budgets, "192.0.2.1", 5_000, 1.0) == limits.SENDER_RATE
    assert read(budgets, "192.0.2.2", 10, 1.0) == 10
    assert read(budgets, "192.0.2.1", 5_000, 1_000.0) == limits.SENDER_BURST


def test_strangers_share_one_budget() -> None:
    budgets = Budgets(0.0)
    found = [budgets.spend(f"198.51.100.{n % 250}", 0.0, known=False) for n in range(5_000)]
    assert sum(found) == limits.STRANGER_BURST
    assert read(budgets, "192.0.2.1", 10, 0.0) == 10


def test_all_together_are_bounded_and_nobody_pays_for_drops() -> None:
    budgets = Budgets(0.0)
    senders = [f"10.0.{n >> 8}.{n & 255}" for n in range(50)]
    storm = sum(read(budgets, sender, 1_000, 0.0) for sender in senders)
    assert limits.ALL_BURST / 2 < storm <= limits.ALL_BURST, "half of it is for those who had none yet"
    assert read(budgets, "192.0.2.7", 1, 0.0) == 1
    assert read(budgets, senders[-1], 10, 1.0) == 10


def test_hundreds_of_forged_senders_keep_no_quiet_one_out() -> None:
    """25 configured senders at their full rate are as much as all may have; forged ones can be all of them."""
    for forged, each_s in ((30, 1), (300, 1), (2_000, 5)):
        budgets = Budgets(0.0)
        heard = 0
        for second in range(25):
            for now in (second, second + 0.5):
                for n in range(forged):
                    read(budgets, f"10.0.{n >> 8}.{n & 255}", 3, now)
            if second % each_s == 0:
                heard += read(budgets, "192.0.2.7", 1, second + 0.95)
        assert heard == 25 // each_s, f"{forged} senders are forged"


def test_communities_cost_users_nothing() -> None:
    budgets = Budgets(0.0)
    senders = [f"10.0.{n >> 8}.{n & 255}" for n in range(100)]
    for sender in senders:
        read(budgets, sender, 1_000, 0.0)
    assert read(budgets, senders[0], 100, 0.0, user=True) == 100, "its own budget for users is another one"
    for sender in senders:
        read(budgets, sender, 1_000, 0.0, user=True)
    quiet, heard = "192.0.2.7", 0
    for _ in range(100):  # wrong digests took what there was; each authentic message makes room for the next
        if budgets.spend(quiet, 0.0, known=True, user=True):
            budgets.authentic(quiet)
            heard += 1
    assert heard == 100


def test_the_senders_that_are_remembered_are_bounded() -> None:
    budgets = Budgets(0.0)
    for n in range(limits.SENDERS_KEPT + 10):
        budgets.spend(str(n), float(n), known=True)
    assert len(budgets._senders) == limits.SENDERS_KEPT
