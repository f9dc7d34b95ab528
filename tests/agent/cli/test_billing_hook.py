"""`ispagent billing hook` as people read it."""

from __future__ import annotations

from agent.cli.billing import hook_lines


def test_no_listener() -> None:
    assert hook_lines({"listening": False}) == ["nobody calls: [hooks] listen is not configured"]


def test_counts_by_source() -> None:
    refused = {"": {"rate": 7, "unknown-path": 2}, "main": {"forged": 1}}
    assert hook_lines({"listening": True, "port": 8443, "sources": ["main", "till"], "refused": refused}) == [
        "port 8443: main, till",
        "  refused, of no source: 7 rate, 2 unknown-path",
        "  refused, main: 1 forged",
    ]
    nobody = {"listening": True, "port": 8443, "sources": [], "refused": {}}
    assert hook_lines(nobody) == ["port 8443: no source has hook = true"]
