"""What `ispagent status` says at two in the morning."""

from __future__ import annotations

from typing import cast

import pytest
import typer

from agent.cli import local
from agent.cli.when import said

NEW_YEAR, IN_2096 = "2026-01-01T00:00:00Z", "2096-10-02T07:06:40Z"
AT = said(NEW_YEAR)
FOUND = {
    "condition": "fine",
    "problems": [],
    "sources": [],
    "disk": {"free": 5 * 2**30, "size": 40 * 2**30, "files": 3 * 2**20},
    "agent": "noc-1",
    "agent_id": "2" * 32,
    "words": "w",
    "trust_version": None,
    "trust_warning": None,
    "log": {"size": 1, "witnessed_text": "not witnessed", "vkey": "v"},
    "changes": {},
    "drift": None,
    "services": 0,
    "targets": [],
    "silent_credentials": [],
    "series_crowded": [],
    "devices": {"configured": 0, "not-asked": 0, "reachable": 0, "unreachable": 0, "refused": 0, "findings": 0},
    "cpes": None,
    "reviews": {"open": 0, "oldest_at": None},
    "frozen": [],
    "billing_problem": "",
    "clock_halt": None,
    "trust_doubt": "",
    "standings": [],
    "cloud": {"enrolled": False, "connected": False, "outbox": 0, "inbox": 0},
}
CPES = {"accepted": 9, "quarantined": 0, "sessions": 2, "turned_away": 0}
STANDING = {
    "verb": "restore",
    "evidence": "payment-matched",
    "rate_per_hour": 60,
    "not_after": NEW_YEAR,
    "people": ["lena", "joseph"],
}
EXPIRED = {
    "trust_version": 3,
    "trust_expires": NEW_YEAR,
    "trust_warning": "trust version 3 has expired: nothing is",
}
CLOUD = {"enrolled": True, "connected": False, "problem": "unavailable", "outbox": 3, "inbox": 0}


def routers(**counts: int) -> dict[str, object]:
    fields = {name.replace("_", "-"): n for name, n in counts.items()}
    return {"devices": {**cast("dict[str, int]", FOUND["devices"]), **fields}}


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (routers(configured=2, not_asked=2), "devices  none was needed yet: ispagent device list\n"),
        (routers(configured=2, reachable=2, findings=1), "devices  2 of 2 reachable, 1 with findings: ispagent device"),
        (routers(configured=3, reachable=1, refused=1, not_asked=1), "DEVICES  1 of 2 reachable, 1 not asked yet: "),
        (
            {"series_crowded": [{"device": "ap-1", "dropped": 128, "refused": True}]},
            "SERIES   ap-1 has more than are kept of a device: 128 ended series were dropped since the start, new ones",
        ),
        ({"silent_credentials": ["all 3 devices"]}, "SILENT   all 3 devices\n"),
        (routers(configured=1, unreachable=1), "DEVICES  0 of 1 reachable: "),
        ({"cpes": CPES}, "CPE      9 accepted, 2 on the line\n"),
        ({"cpes": {**CPES, "quarantined": 3}}, " · 3 IN QUARANTINE (ispagent cpe list --quarantined)\n"),
        ({"cpes": {**CPES, "turned_away": 7}}, " · 7 told to come again\n"),
        ({"reviews": {"open": 2, "oldest_at": NEW_YEAR}}, "REVIEW   2 done by one person alone, the oldest "),
        ({"standings": [STANDING]}, f"60 an hour, until {AT}, by lena, joseph"),
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


UP = {"name": "radius/main", "state": "up", "since": NEW_YEAR, "ok_at": NEW_YEAR, "error": "", "error_at": None}
DISK_UP, CONFIG_UP = {**UP, "name": "disk"}, {**UP, "name": "configuration"}
DOWN = {**UP, "name": "nas/bng-2", "state": "down", "error": "no reply", "error_at": NEW_YEAR}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        ({}, 0, "state    FINE"),
        (
            {"condition": "degraded", "sources": [UP, DOWN]},
            5,
            f"nas/bng-2 since {AT}: no reply",
        ),
        (
            {"sources": [{**UP, "error": "nothing listens", "error_at": IN_2096}]},
            0,
            "before: nothing listens",
        ),
        ({"sources": [{**UP, "error": "nothing listens", "error_at": NEW_YEAR}]}, 0, "sources  1 up\n"),
        ({"sources": [DISK_UP, CONFIG_UP, UP]}, 0, "sources  1 up\n"),
        ({"sources": [{**DISK_UP, "state": "down", "error": "full"}]}, 0, "DISK     full\n"),
        ({"sources": [{**CONFIG_UP, "state": "down", "error": "line 3"}]}, 0, "CONFIG   line 3\n"),
        ({"changes": {"consumed": 17, "open": 1}}, 0, "changes  1 waiting for approval, 17 started or over\n"),
        ({"condition": "frozen"}, 6, "state    FROZEN"),
        ({"condition": "halted", "trust_doubt": "version 1 is pinned"}, 7, "HALTED   trust: version 1 is pinned"),
        ({"condition": "halted", "clock_halt": 7200.0}, 7, "HALTED   the clock jumped by 7200 s"),
        ({}, 0, "disk     5.0 GiB of 40.0 GiB free, 3.0 MiB are the agent's"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_code_is_for_monitoring(
    found: dict[str, object],
    code: int,
    says: str,
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "call_object", lambda *_: {**FOUND, **found})
    ended = 0
    try:
        local.status(as_json)
    except typer.Exit as err:
        ended = err.exit_code
    assert ended == code
    assert as_json or says in capsys.readouterr().out
