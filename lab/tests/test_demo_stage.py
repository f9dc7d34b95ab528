"""What `make demo` stands on: it notices what is not as it should be, and leaves nothing running."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import stat
from pathlib import Path

import pytest

from lab import demo_cloud
from lab.stage import DemoError, Stage, change_id, expect, find, owing, pays, read_rows


def test_another_exit_code_ends_the_demo(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.type("maria", "sh -c 'echo said; exit 3'", exits=(3,)) == "said\n"
    with pytest.raises(DemoError, match="expected exit code 0, got 3"):
        stage.type("maria", "sh -c 'exit 3'")


def test_people_have_homes_and_settings_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISPCLOUD_TRUST", "/elsewhere")
    stage = Stage(tmp_path)
    assert stat.S_IMODE(stage.home("joseph").stat().st_mode) == 0o700
    said = stage.type("joseph", "sh -c 'echo $HOME $ISPCLOUD_KEY [$ISPCLOUD_TRUST] $ISPCLOUD_PASSPHRASE_FILE'")
    assert said == f"{tmp_path}/joseph joseph.key [] passphrase\n"
    stage.unlocked.add("joseph")
    assert stage.ask("joseph", "sh -c 'echo [$ISPCLOUD_PASSPHRASE_FILE]'") == "[]\n"
    (stage.home("joseph") / "trust.json").write_text("theirs")
    assert stage.ask("joseph", "cat ~/.config/ispcloud/trust.json") == "theirs"


def test_programs_are_waited_for_and_ended(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stays = stage.start("site", "sh -c 'echo ready; exec sleep 600'", "ready")
    assert stays.process.poll() is None
    with pytest.raises(DemoError, match="expected 'ready'"):
        stage.start("site", "sh -c 'echo no; exit 1'", "ready")
    killed = stage.start("site", "sh -c 'echo ready; exec sleep 600'", "ready")
    killed.end(signal.SIGKILL)
    assert killed.process.returncode == -signal.SIGKILL
    stage.stop()
    assert stays.process.returncode == -signal.SIGTERM


def test_what_lacks_is_said() -> None:
    assert change_id("SUSPEND 1 service · K7QF2 · asked by maria 10:00\n…") == "K7QF2"
    assert find(r"^witness (\S+)", "made\nwitness w+1+2\n", "a key") == "w+1+2"
    expect("enforced now", "enforced")
    for wrong in (lambda: change_id("nothing"), lambda: find("x(y)", "z", "y"), lambda: expect("a", "a", "b")):
        with pytest.raises(DemoError):
            wrong()


def test_one_pays_and_the_others_owe(tmp_path: Path) -> None:
    path = tmp_path / "subscribers.csv"
    path.write_text("subscriber,balance,due,paid_at\nC-1,5.00,2020-01-01,\nC-2,7.50,2020-01-01,\n")
    assert len(owing(read_rows(path))) == 2
    when = pays(path, "C-1")
    one, two = read_rows(path)
    assert (one["balance"], one["paid_at"], two["balance"], two["paid_at"]) == ("0.00", when, "7.50", "")
    assert [r["subscriber"] for r in owing(read_rows(path))] == ["C-2"]


def test_a_letter_is_read_as_whoever_holds_the_database_can() -> None:
    payload = json.dumps({"requester": "maria"}).encode()
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": "t", "signatures": []}
    letter = demo_cloud.read_letter(7, b"\x08\x01" + json.dumps(envelope).encode() + b"\x2a\x00")
    assert letter is not None
    assert (letter.row, letter.before, letter.after) == (7, b"\x08\x01", b"\x2a\x00")
    assert letter.says == {"requester": "maria"}
    assert letter.digest == hashlib.sha256(b"DSSEv1 1 t %d %b" % (len(payload), payload)).hexdigest()
    for sealed in (b"", b"\x08\x0a\x00\xff", b'{"not":"an envelope"}', b'{"cut'):
        assert demo_cloud.read_letter(1, sealed) is None
