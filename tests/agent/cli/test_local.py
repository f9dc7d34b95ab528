"""What `ispagent status` says at two in the morning."""

from __future__ import annotations

import pytest

from agent.cli import local

FOUND = {
    "agent": "noc-1",
    "agent_id": "2" * 32,
    "words": "w",
    "trust_version": None,
    "trust_warning": None,
    "log": {"size": 1, "witnessed_text": "not witnessed", "vkey": "v"},
    "changes": {},
    "services": 0,
    "targets": [],
    "frozen": [],
    "billing_problem": "",
    "clock_halt": None,
    "standings": [],
    "cloud": {"enrolled": False, "connected": False, "outbox": 0, "inbox": 0},
}
STANDING = {
    "verb": "restore",
    "evidence": "payment-matched",
    "rate_per_hour": 60,
    "not_after": 1_767_225_600,
    "people": ["lena", "joseph"],
}
EXPIRED = {
    "trust_version": 3,
    "trust_expires": 1_767_225_600,
    "trust_warning": "trust version 3 has expired: nothing is",
}
CLOUD = {"enrolled": True, "connected": False, "problem": "unavailable", "outbox": 3, "inbox": 0}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"standings": [STANDING]}, "at most 60 an hour, until 2026-01-01 00:00Z, by lena, joseph"),
        (EXPIRED, "RENEW IT trust version 3 has expired: nothing is"),
        ({"cloud": CLOUD}, "cloud    NOT CONNECTED (unavailable), 3 to send, 0 to handle"),
        ({"cloud": {**CLOUD, "connected": True}}, "cloud    connected, 3 to send"),
    ],
)
def test_it_says_what_acts_without_being_asked_and_what_is_away(
    found: dict[str, object], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "call_object", lambda *_: FOUND)
    local.status()
    assert line not in capsys.readouterr().out
    monkeypatch.setattr(local, "call_object", lambda *_: {**FOUND, **found})
    local.status()
    assert line in capsys.readouterr().out
