"""`ispagent cpe` and references as people type them, as far as it needs no agent."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import typer

from agent.cli import client
from agent.cli.change import references
from agent.cli.cpe import _VALUES, _decided, _secret, bind, get
from agent.cli.outcome import outcome_text
from agent.cpe.desk import SHOWN
from agent.runtime import http_client

REPO = Path(__file__).parents[3]


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have bytes stand on standard input, which is no terminal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_piped_secret_ends_with_its_line(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b" correct horse " + end)
    assert _secret("wifi.1.key") == " correct horse "


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "got nothing"),
        (b"  \n", "got nothing"),
        (b"a\tb\n", "printable characters"),
        (b"a\x1b[2Jb\n", "printable characters"),
        (b"caf\xe9\n", "UTF-8"),
    ],
)
def test_what_is_no_secret(
    data: bytes, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, data)
    with pytest.raises(typer.Exit) as caught:
        _secret("wifi.1.key")
    assert caught.value.exit_code == client.USAGE
    said = capsys.readouterr().err
    assert why in said
    assert "caf" not in said


def test_secrets_take_no_line_of_a_file_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"one\ntwo\n" + b"".join(b"LAB%04d\n" % n for n in range(2000)))
    assert [_secret("a"), _secret("b")] == ["one", "two"]
    found = references(None, Path("-"))
    assert (found[0], found[-1], len(found)) == ("LAB0000", "LAB1999", 2000)


def test_a_file_of_references(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_bytes("\ufeffLAB0001\r\n# all of it\nLAB#02 # a serial number may have one\n\n  LAB0003\t#x\n".encode())
    assert references(["FIRST"], file) == ["FIRST", "LAB0001", "LAB#02", "LAB0003"]


@pytest.mark.parametrize("service", ["", "  "])
def test_an_empty_variable_takes_no_service_away(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        bind("LAB0001", service)
    assert "or - for none" in capsys.readouterr().err


def test_a_batch_names_its_cpe() -> None:
    shared = {"service": None, "state": "not-applied", "reason": "fault-9002", "detail": "9002 Internal error"}
    items = [{"n": n, "cpe": f"02AC5F-Lab-{n}", **shared} for n in (1, 2)]
    change = {
        "id": "ABCDE",
        "gate": "consumed",
        "state": "finished, needs you",
        "approvals": [],
        "standing": "",
        "items": items,
        "steps": [],
        "done_again": {},
        "reverted_by": {},
        "finished_at": None,
        "finished_seq": 1,
        "action": "suspend",
        "witnessed": "not witnessed",
        "waits_because": "",
    }
    assert "2 NOT APPLIED · 9002 Internal error (02AC5F-Lab-1, 02AC5F-Lab-2)" in outcome_text(change)
    assert "02AC5F-Lab-2: NOT APPLIED" in outcome_text(change, only_open=True)


@pytest.mark.parametrize("words", [[b"cpe", b"show", b"caf\xe9"], [b"change", b"show", b"\xff"]])
def test_words_that_are_no_text_are_refused_in_a_sentence(words: list[bytes], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "agent", *words], cwd=REPO, capture_output=True, check=False)
    assert done.returncode == client.USAGE
    assert done.stderr == b"ispagent: expected words in UTF-8, got other bytes\n"


def test_a_terminal_that_cannot_show_a_name_ends_nothing() -> None:
    script = "import agent.cli as cli; cli.app = lambda: print('caf\\u00e9'); cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPO,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\\xe9\n", b"")


@pytest.mark.parametrize("count", [0, 3, SHOWN, SHOWN + 1, 2 * SHOWN + 7])
def test_all_values_of_a_large_cpe_are_printed(
    count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _VALUES == SHOWN
    paths = [f"Device.X.{n:06}" for n in range(count)]

    def agent(_socket: object, _method: str, path: str, *_: object, **__: object) -> http_client.HttpAnswer:
        after = parse_qs(urlsplit(path).query).get("after", [""])[0]
        page = [p for p in paths if p > after][:SHOWN]
        return http_client.HttpAnswer(200, [{"path": p} for p in page])

    monkeypatch.setenv("ISPAGENT_SOCKET", "/nowhere/agent.sock")
    monkeypatch.setattr(http_client, "request", agent)
    get("LAB0001", "Device.X.", as_json=True)
    assert [each["path"] for each in json.loads(capsys.readouterr().out)] == paths


def test_a_decision_is_told_in_a_line_with_the_next_step() -> None:
    cpe: dict[str, object] = {
        "name": "A",
        "trust": "accepted",
        "service": "C-1/home",
        "why": "",
        "missing": ["wifi.1.ssid"],
        "takes_secrets": True,
    }
    assert _decided(cpe) == [
        "A accepted · serves C-1/home",
        "     > ispagent cpe refresh A: reads it; changes are planned from what was read",
    ]
    assert _decided({**cpe, "missing": []}) == ["A accepted · serves C-1/home"]
    assert _decided({**cpe, "service": ""})[1] == "     > ispagent cpe accept A --service SERVICE"
    admitted = {**cpe, "takes_secrets": False}
    assert _decided(admitted)[1].startswith("     > ispagent cpe accept A: no secret goes into it before")
    refused = {**cpe, "trust": "refused", "why": "refused by maria", "service": ""}
    assert _decided(refused) == ["A refused · serves nobody"]


def test_a_reason_that_begins_with_the_state_is_not_said_twice() -> None:
    detail = "accepted, not provable: Device.X.Key"
    item = {
        "n": 1,
        "service": None,
        "cpe": "A",
        "state": "accepted",
        "reason": "accepted-not-provable",
        "detail": detail,
    }
    change = {
        "id": "ABCDE", "gate": "consumed", "state": "accepted, not provable", "items": [item], "steps": [],
        "approvals": [], "standing": "", "done_again": {}, "reverted_by": {}, "waits_because": "", "action": "cpe-set",
        "finished_at": "2026-01-01T00:00:00Z", "finished_seq": 41, "witnessed": "not witnessed",
    }  # fmt: skip
    assert outcome_text(change).splitlines()[1] == detail
    two = outcome_text({**change, "items": [item, {**item, "n": 2, "cpe": "B"}]})
    assert f"   2 {detail}" in two.splitlines()
