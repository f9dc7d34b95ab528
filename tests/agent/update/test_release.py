"""The signers' tool: what it refuses, and that one person alone publishes nothing."""

from __future__ import annotations

import errno
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from agent.update import release
from agent.update.repository_session import check, fetch
from tests.agent.update.cutting import cut_before
from tests.builders.update import HERE, NEXT, ROOT_KEYS, TARGET_KEYS, THIRD, Shop, deb, web


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_one_signature_publishes_nothing(shop: Shop) -> None:
    release.add(shop.repo, "stable", [deb(shop.folder, NEXT)])
    shop.sign("targets", TARGET_KEYS[0], TARGET_KEYS[0], ROOT_KEYS[0])
    with pytest.raises(release.ReleaseProblem, match="targets 2: expected 2 signatures of role targets, got 1"):
        shop.publish()
    assert check(shop.channel(), HERE) == HERE
    shop.sign("targets", TARGET_KEYS[1])
    shop.publish()
    assert check(shop.channel(), HERE) == NEXT


def test_what_is_changed_after_a_signature_needs_it_again(shop: Shop) -> None:
    release.add(shop.repo, "stable", [deb(shop.folder, NEXT)])
    shop.sign("targets", *TARGET_KEYS)
    release.add(shop.repo, "early", [deb(shop.folder, NEXT)])
    with pytest.raises(release.ReleaseProblem, match="expected 2 signatures of role targets, got 0"):
        shop.publish()


def test_a_root_needs_two_of_the_old_and_two_of_the_new(shop: Shop) -> None:
    shop.new_key("root-d")
    release.rotate(shop.repo, "root", shop.public("root-a"), shop.public("root-d"))
    shop.sign("root", "root-d", "root-b")
    with pytest.raises(release.ReleaseProblem, match="expected 2 signatures of role root, got 1"):
        shop.publish()
    shop.sign("root", "root-c")
    shop.publish()
    assert check(shop.channel(), HERE) == HERE


def test_keys_of_people_have_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = iter(["correct horse", "wrong", "correct horse"])
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: next(words))
    file = tmp_path / "me.key"
    release.key(file)
    assert b"ENCRYPTED" in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(release.ReleaseProblem, match="the passphrase is wrong"):
        release._signer(file)
    assert release._signer(file).public_key.keyid == release._public(tmp_path / "me.key.pub").keyid
    with pytest.raises(release.ReleaseProblem, match="is there already"):
        release.key(file, clear=True)


def test_what_is_refused(shop: Shop, tmp_path: Path) -> None:
    public = shop.public
    with pytest.raises(release.ReleaseProblem, match="--root: expected 3 keys, got 2"):
        release.init(tmp_path / "r", [public("root-a"), public("root-b")], [], [], [])
    (tmp_path / "copy.pub").write_bytes(public("root-a").read_bytes())
    with pytest.raises(release.ReleaseProblem, match="--root: two files hold the same key"):
        release.init(tmp_path / "r", [public("root-a"), public("root-b"), tmp_path / "copy.pub"], [], [], [])
    with pytest.raises(release.ReleaseProblem, match="channel: expected"):
        release.add(shop.repo, "No UpdateChannel", [])
    (tmp_path / "text.deb").write_text("no package")
    with pytest.raises(release.ReleaseProblem, match="expected a package made by packaging/build"):
        release.add(shop.repo, "stable", [tmp_path / "text.deb"])
    with pytest.raises(release.ReleaseProblem, match="role: expected root, targets"):
        release.rotate(shop.repo, "mirror", public("root-a"), public("root-b"))
    with pytest.raises(release.ReleaseProblem, match="is no key of role targets"):
        release.rotate(shop.repo, "targets", public("root-a"), public("root-b"))
    with pytest.raises(release.ReleaseProblem, match="nothing is staged for root"):
        shop.sign("root", "root-a")
    with pytest.raises(release.ReleaseProblem, match="holds no targets: `release init`"):
        release.add(tmp_path / "empty", "stable", [deb(tmp_path, NEXT)])
    with pytest.raises(release.ReleaseProblem, match="nothing was published yet"):
        release.publish(tmp_path / "empty", shop.keys / "snapshot", shop.keys / "timestamp")
    with pytest.raises(release.ReleaseProblem, match="is no key of role timestamp"):
        release.publish(shop.repo, shop.keys / "snapshot", shop.keys / "snapshot")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        release.main(["key", str(tmp_path / "a.key"), "--clear"])
    assert (left.value.code, (tmp_path / "a.key.pub").exists()) == (0, True)
    with pytest.raises(SystemExit) as left:
        release.main(["key", str(tmp_path / "a.key"), "--clear"])
    assert left.value.code == 2
    assert "is there already" in capsys.readouterr().err


# --- a publication that is cut, and readers that come meanwhile -------------------------------------------------------


def replaced_timestamp_key(shop: Shop) -> None:
    """Stage a new version and a new key of the timestamp: old and new documents do not go together."""
    shop.new_key("timestamp-2")
    release.rotate(shop.repo, "timestamp", shop.public("timestamp"), shop.public("timestamp-2"))
    shop.sign("root", *ROOT_KEYS[:2])
    release.add(shop.repo, "stable", [deb(shop.folder, NEXT)])
    shop.sign("targets", *TARGET_KEYS)


def test_a_cut_publication_shows_the_old_repository_or_the_new(shop: Shop) -> None:
    replaced_timestamp_key(shop)
    shutil.copytree(shop.repo, shop.folder / "kept")

    def publish() -> None:
        release.publish(shop.repo, shop.keys / "snapshot", shop.keys / "timestamp-2")

    seen = []
    while cut_before(len(seen), shop.repo, publish):
        channel = shop.channel(machine=f"machine-{len(seen)}")
        seen.append(check(channel, HERE))
        publish()  # after the cut, the same command goes on
        assert check(channel, HERE) == NEXT
        release.add(shop.repo, "stable", [deb(shop.folder, THIRD)])  # no number of a document is used twice
        shop.sign("targets", *TARGET_KEYS)
        publish()
        assert check(channel, NEXT) == THIRD
        assert sorted(path.name for path in shop.repo.iterdir()) == ["metadata", "staged", "targets"]
        shutil.rmtree(shop.repo)
        shutil.copytree(shop.folder / "kept", shop.repo)
    assert len(seen) > 10
    assert (seen[0], seen[-1]) == (HERE, NEXT)
    assert seen == sorted(seen, key=lambda one: one.version), "once it is published, it stays so"


def test_packages_that_are_added_change_nothing_for_readers(shop: Shop) -> None:
    """Also a package that is published already: its file is not written a second time while somebody reads it."""
    channel = shop.channel()
    kept = {path: path.read_bytes() for path in (shop.repo / "targets").rglob("*") if path.is_file()}
    shutil.copytree(shop.repo, shop.folder / "kept")
    packages = [deb(shop.folder, one) for one in (HERE, NEXT)]
    steps = 0
    while cut_before(steps, shop.repo, lambda: release.add(shop.repo, "stable", packages)):
        steps += 1
        assert {path: path.read_bytes() for path in kept} == kept
        assert check(channel, HERE) == HERE
        shutil.rmtree(shop.repo)
        shutil.copytree(shop.folder / "kept", shop.repo)
    assert steps > 5
    shop.sign("targets", *TARGET_KEYS)
    shop.publish()
    assert fetch(channel, HERE) == NEXT


def test_keys_that_are_replaced_while_somebody_reads(shop: Shop) -> None:
    """The reader has the old root document, then the new timestamp, which the old one does not know the key of."""
    replaced_timestamp_key(shop)
    asked: list[str] = []

    def meanwhile(path: str) -> None:
        asked.append(path)
        if asked.count("/metadata/timestamp.json") == 1 and path == "/metadata/timestamp.json":
            release.publish(shop.repo, shop.keys / "snapshot", shop.keys / "timestamp-2")

    with web(shop.repo, meanwhile) as address:
        assert check(replace(shop.channel(), source=address), HERE) == NEXT


def test_a_file_system_that_swaps_no_folders(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", str(one))

    monkeypatch.setattr(release, "swap", refused)
    before = check(shop.channel(), HERE)
    with pytest.raises(release.ReleaseProblem, match="publish on ext4, xfs, btrfs or tmpfs, and copy it from there"):
        shop.publish()
    assert check(shop.channel(), HERE) == before
