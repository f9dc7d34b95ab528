"""`ispcloud keys`, and the files below it."""

import json
import stat
from pathlib import Path

import pytest

from control_plane.desk import files, key_files
from control_plane.errors import InputError, LocalFailureError
from tests.control_plane.conftest import PASSPHRASE, Desk, key
from trust import checkpoint, keys
from trust.errors import WrongPassphraseError


def test_a_new_key_is_sealed_private_and_not_overwritten(desk: Desk) -> None:
    path = desk.path / "joseph-new.key"
    result = desk.run("keys", "new", "--out", path, "--person", "joseph")
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = key_files.open_key(path, PASSPHRASE)
    assert made.public.hex() in result.stdout
    assert keys.fingerprint(made.public) in result.stdout
    assert f"trust add person joseph --key {made.public.hex()}" in result.stdout
    assert made.seed.hex().encode() not in path.read_bytes()
    document = json.loads(path.read_bytes())
    assert (document["kdf"], document["mem"]) == ("argon2id", keys.MEM_MODERATE)
    with pytest.raises(WrongPassphraseError):
        key_files.open_key(path, PASSPHRASE + b"!")
    before = path.read_bytes()
    again = desk.run("keys", "new", "--out", path)
    assert again.exit_code == 2
    assert "not overwritten" in again.stderr
    assert path.read_bytes() == before
    assert sorted(p.name for p in desk.path.iterdir()) == ["joseph-new.key", "passphrase", "trust.json"]


def test_the_passphrase_is_typed_twice(desk: Desk) -> None:
    path = desk.path / "typed.key"
    typed = "eight or more\n"
    result = desk.run("keys", "new", "--out", path, stdin=typed * 2, passphrase=False)
    assert result.exit_code == 0, result.output
    assert "eight or more" not in result.output
    assert key_files.open_key(path, b"eight or more").public.hex() in result.stdout
    different = desk.run(
        "keys", "new", "--out", desk.path / "no.key", stdin="eight or more\nanother one\n", passphrase=False
    )
    assert different.exit_code != 0
    assert not (desk.path / "no.key").exists()


@pytest.mark.parametrize("passphrase", [b"", b"\n", b"seven77\n", b"x" * 1025])
def test_passphrases_that_protect_nothing(desk: Desk, passphrase: bytes) -> None:
    (desk.path / "passphrase").write_bytes(passphrase)
    result = desk.run("keys", "new", "--out", desk.path / "k")
    assert result.exit_code == 2, result.output
    assert not (desk.path / "k").exists()


def test_show(desk: Desk) -> None:
    path = desk.key_file("lena")
    public = key("lena").public
    assert public.hex() in desk.run("keys", "show", path).stdout
    shown = json.loads(desk.run("keys", "show", path, "--json").stdout)
    assert shown == {"public": public.hex(), "words": keys.fingerprint(public)}
    path.write_bytes(b"not json")
    assert desk.run("keys", "show", path).exit_code == 2
    assert desk.run("keys", "show", desk.path / "none").exit_code == 2


def test_writing_replaces_as_a_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o644)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "folder" / "in").mkdir(parents=True)
    with pytest.raises(LocalFailureError):
        files.write(tmp_path / "folder", b"x")
    with pytest.raises(LocalFailureError):
        files.write_new(tmp_path / "nowhere" / "f", b"x")
    with pytest.raises(InputError):
        files.write_new(path, b"x")
    with pytest.raises(LocalFailureError):
        files.make_private_folder(path / "below")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "folder"]


def test_reading_stops_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    assert files.read(path, 4, "a thing") == b"1234"
    with pytest.raises(InputError, match="at most 3 bytes"):
        files.read(path, 3, "a thing")
    with pytest.raises(InputError, match="expected a thing"):
        files.read(tmp_path, 3, "a thing")
    assert files.read_if_there(tmp_path / "none", 1, "a thing") is None
    endless = tmp_path / "endless"
    endless.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="larger"):
        files.read_if_there(endless, 3, "a thing")


def test_a_witness_verifier_key(desk: Desk) -> None:
    path = desk.key_file("lena")
    shown = json.loads(desk.run("keys", "show", path, "--witness-name", "desk-lena", "--json").stdout)
    vkey = checkpoint.parse_witness_vkey_untrusted(shown["witness_vkey"])
    assert (vkey.name, vkey.public) == ("desk-lena", key("lena").public)
    assert "trust add witness desk-lena" in desk.run("keys", "show", path, "--witness-name", "desk-lena").stdout
    assert desk.run("keys", "show", path, "--witness-name", "two words").exit_code == 2
