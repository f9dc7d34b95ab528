"""Which addresses a search asks."""

from __future__ import annotations

import pytest

from agent.connectors.snmp.discovery import HOSTS_MAX, NoPrefixError, hosts_of


def test_each_address_once_and_none_that_is_known() -> None:
    assert hosts_of(["10.0.0.0/30", "10.0.0.2", "2001:db8::5"], ["10.0.0.1", "sw.example"]) == [
        "10.0.0.2",
        "2001:db8::5",
    ]
    assert hosts_of(["10.0.0.0/31"]) == ["10.0.0.0", "10.0.0.1"]
    assert hosts_of([]) == []
    assert len(hosts_of(["10.1.0.0/16"])) == HOSTS_MAX - 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.0/12", r"expected prefixes of at most 65,536 addresses together, got 1,048,576 \(10.0.0.0/12 alone"),
        ("2001:db8::/64", "got 18,446,744,073,709,551,616"),
        ("10.0.0.1/24", "expected a prefix without host bits"),
        ("hill", "expected a prefix"),
    ],
)
def test_too_much_and_nonsense(text: str, said: str) -> None:
    with pytest.raises(NoPrefixError, match=said):
        hosts_of([text])
