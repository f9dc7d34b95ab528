"""The client on a repository that is right or wrong. Scenarios that are tuf-conformance's have its names."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadError
from tuf.api.metadata import Metadata

from agent.update import release, repository_session
from agent.update.channel import UpdateChannel
from agent.update.errors import ChannelAwayError, ChannelRefusedError, HostError
from agent.update.repository_session import Repository, applying, check, fetch, prepare
from tests.builders.update import HERE, LONG_AGO, NEXT, ROOT_KEYS, TARGET_KEYS, THIRD, Shop, web


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def fetched(shop: Shop, *, offered: bool = True) -> UpdateChannel:
    """Offer the next version, fetch it, and return the channel."""
    if offered:
        shop.offer(NEXT)
    channel = shop.channel()
    fetch(channel, HERE)
    return channel


def refused(shop: Shop, match: str) -> None:
    """Expect that a machine that has seen the repository before refuses it, and one that has not."""
    for machine in ("host", "new"):
        with pytest.raises(ChannelRefusedError, match=match):
            check(shop.channel(machine=machine), HERE)


# --- the way that it should go ----------------------------------------------------------------------------------------


def test_an_update_is_fetched_and_verified_twice(shop: Shop) -> None:
    channel = shop.channel()
    assert check(channel, HERE) == HERE
    shop.offer(NEXT)
    assert fetch(channel, HERE) == NEXT
    found = prepare(channel, HERE)
    assert (found.offered, found.new.is_relative_to(channel.applied)) == (NEXT, True)
    assert found.new.read_bytes() == (shop.folder / "ispagent_0.2.0_amd64.deb").read_bytes()
    assert found.old is not None
    assert found.old.read_bytes() == (shop.folder / "ispagent_0.1.0_amd64.deb").read_bytes()


def test_what_was_fetched_is_enough_without_the_repository(shop: Shop) -> None:
    fetched(shop)
    shutil.rmtree(shop.repo)
    assert prepare(shop.channel(), HERE).offered == NEXT


def test_an_older_version_by_its_number(shop: Shop) -> None:
    shop.offer(NEXT)
    fetch(shop.channel(), NEXT, "0.1.0")
    found = prepare(shop.channel(), NEXT, "0.1.0")
    assert (found.offered.version, found.new.name) == ("0.1.0", "ispagent_0.1.0_amd64.deb")
    with pytest.raises(ChannelRefusedError, match=r"has no pool/debian-13/ispagent_9\.9\.9_amd64\.deb"):
        fetch(shop.channel(), HERE, "9.9.9")
    with pytest.raises(ChannelRefusedError, match=r"has no pool/debian-13/ispagent_9\.9\.9_amd64\.deb"):
        prepare(shop.channel(), HERE, "9.9.9")


def test_an_installed_version_that_the_repository_never_had(shop: Shop) -> None:
    mine = replace(HERE, version="0.0.9")
    shop.offer(NEXT)
    fetch(shop.channel(), mine)
    assert prepare(shop.channel(), mine).old is None


def test_a_version_that_may_not_be_skipped(shop: Shop) -> None:
    """Each release says over which versions it may be installed: the error names the next one on the way."""
    for version, lowest in (("0.2.0", "0.1.0"), ("0.2.1", "0.1.0"), ("0.3.0", "0.2.0"), ("0.4.0", "0.2.1")):
        shop.offer(replace(HERE, version=version), lowest=lowest)
    channel = shop.channel()
    said = r"may be installed over 0\.2\.1 and newer, and this machine has 0\.1\.0: install 0\.2\.1 first: `ispa"
    with pytest.raises(ChannelRefusedError, match=said):
        fetch(channel, HERE)
    assert not (channel.folder / "mirror").exists()
    here = fetch(channel, HERE, "0.2.1")
    assert prepare(channel, HERE, "0.2.1").offered == here
    assert fetch(channel, here).version == "0.4.0"
    # Back is another way: an older program says itself whether it may write to the database
    assert fetch(channel, replace(HERE, version="0.4.0"), "0.1.0") == HERE


def test_root_asks_too_what_may_be_skipped(shop: Shop) -> None:
    """It was fetched for another version than the one that is installed when root installs it."""
    shop.offer(NEXT)
    shop.offer(THIRD, lowest="0.2.0")
    fetch(shop.channel(), NEXT)
    with pytest.raises(ChannelRefusedError, match=r"install 0\.2\.0 first"):
        prepare(shop.channel(), HERE)
    assert not (shop.channel().applied / "pool").exists()


def test_no_version_leads_there(shop: Shop) -> None:
    shop.offer(THIRD, lowest="0.2.0")
    with pytest.raises(ChannelRefusedError, match=r"no version between that may be installed over 0\.1\.0: ask its"):
        fetch(shop.channel(), HERE)


def test_a_package_that_was_signed_without_a_lowest_version(shop: Shop) -> None:
    shop.offer(NEXT)
    shop.edit("targets", lambda d: d.signed.targets[NEXT.target].unrecognized_fields.clear(), *TARGET_KEYS)
    with pytest.raises(ChannelRefusedError, match="expected the oldest version that it may be installed over"):
        fetch(shop.channel(), HERE)


def test_artifact_cache(shop: Shop) -> None:
    fetched(shop)
    for path in (shop.repo / "targets" / "pool").rglob("*.deb"):
        path.unlink()
    assert fetch(shop.channel(), HERE) == NEXT, "what was fetched once is not fetched again"


def test_a_fetch_that_was_interrupted_leaves_the_one_before(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = fetched(shop)
    third = replace(NEXT, version="0.3.0")
    shop.offer(third)
    (path,) = (shop.repo / "targets" / "pool").rglob("*0.3.0*.deb")
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(ChannelAwayError, match="missing"):
        fetch(channel, HERE)
    assert prepare(channel, HERE).offered == NEXT
    path.write_bytes(kept)
    assert fetch(channel, HERE) == third


def test_a_channel_of_another_name(shop: Shop) -> None:
    shop.offer(replace(NEXT, version="0.3.0"), channel="early")
    assert check(shop.channel("stable"), HERE) == HERE
    assert check(shop.channel("early"), HERE).version == "0.3.0"
    with pytest.raises(ChannelRefusedError, match="channel late has no ispagent for Debian 13 on amd64"):
        check(shop.channel("late"), HERE)


def test_another_release_or_architecture(shop: Shop) -> None:
    for here in (replace(HERE, release="12"), replace(HERE, arch="arm64"), replace(HERE, product="ispcloud")):
        with pytest.raises(
            ChannelRefusedError, match=f"has no {here.product} for Debian {here.release} on {here.arch}"
        ):
            check(shop.channel(), here)


def test_an_offer_for_another_product(shop: Shop) -> None:
    offer = release.encode_offer(replace(NEXT, product="ispcloud"))
    shop.edit(
        "targets",
        lambda d: release._keep(shop.repo, d.signed, "channels/stable/ispagent/debian-13/amd64.json", offer),
        *TARGET_KEYS,
    )
    refused(shop, "offers ispcloud for Debian 13 on amd64; this machine has ispagent")


# --- scenarios of tuf-conformance -------------------------------------------------------------------------------------


def test_invalid_initial_root(shop: Shop) -> None:
    channel = shop.channel()
    channel.root.write_text("{}")
    with pytest.raises(ChannelRefusedError):
        check(channel, HERE)
    channel.root.unlink()
    with pytest.raises(HostError, match=r"update-root\.json: cannot be read"):
        check(channel, HERE)


@pytest.mark.parametrize(
    ("role", "keys", "had"),
    [
        pytest.param("root", (), "0/2", id="unsigned_initial_root"),
        *(pytest.param(role, (), "0/", id=f"unsigned-{role}") for role in ("targets", "snapshot", "timestamp")),
        pytest.param("targets", TARGET_KEYS[:1], "1/2", id="one-too-few"),
        pytest.param("targets", (TARGET_KEYS[0],) * 2, "1/2", id="duplicate_sig_keyids"),
        # signed by a key of another role
        pytest.param("snapshot", ("timestamp",), "0/1", id="snapshot_does_not_meet_threshold"),
    ],
)
def test_signatures(shop: Shop, role: str, keys: tuple[str, ...], had: str) -> None:
    """Of tuf-conformance, too: test_unsigned_metadata."""
    shop.offer(NEXT)
    shop.edit(role, lambda d: None, *keys)
    refused(shop, f"{role} was signed by {had}")


def test_invalid_sig_in_valid_metadata(shop: Shop) -> None:
    path = shop.path("targets")
    path.write_text(path.read_text().replace("0.1.0", "6.6.6"))
    refused(shop, "targets was signed by 0/2 keys")


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_expired(shop: Shop, role: str) -> None:
    """Of tuf-conformance: test_root_expired, test_targets_expired, test_snapshot_expired, test_timestamp_expired."""
    keys = {"root": ROOT_KEYS[:2], "targets": TARGET_KEYS}.get(role, (role,))
    shop.edit(role, lambda d: setattr(d.signed, "expires", LONG_AGO), *keys)
    refused(shop, rf"{role}(\.json)? is expired")


def test_expired_local_root(shop: Shop) -> None:
    """A machine that was switched off for two years has an expired root, and finds the way to the newest."""
    first = shop.channel()
    shop.edit("root", lambda d: setattr(d.signed, "expires", LONG_AGO), *ROOT_KEYS[:2])
    first.root.write_bytes(shop.path("root").read_bytes())
    shop.new_key("root-d")
    release.rotate(shop.repo, "root", shop.public("root-a"), shop.public("root-d"))
    shop.sign("root", "root-b", "root-c", "root-d")
    shop.publish()
    assert check(first, HERE) == HERE


def test_expired_local_timestamp(shop: Shop) -> None:
    channel = shop.channel()
    check(channel, HERE)
    local = channel.folder / "trusted" / "timestamp.json"
    shop.edit("timestamp", lambda d: setattr(d.signed, "expires", LONG_AGO), "timestamp")
    local.write_bytes(shop.path("timestamp").read_bytes())
    shop.publish()
    assert check(channel, HERE) == HERE


def test_new_timestamp_version_rollback(shop: Shop) -> None:
    older = shop.path("timestamp").read_bytes()
    shop.offer(NEXT)
    assert check(shop.channel(), HERE) == NEXT
    shop.path("timestamp").write_bytes(older)
    with pytest.raises(ChannelRefusedError, match="timestamp"):
        check(shop.channel(), HERE)


@pytest.mark.parametrize(
    ("by", "role", "back"),
    [
        ("timestamp", "snapshot", lambda signed: setattr(signed.snapshot_meta, "version", 1)),
        ("snapshot", "targets", lambda signed: setattr(signed.meta["targets.json"], "version", 1)),
    ],
    ids=["snapshot_rollback", "targets_rollback"],
)
def test_rollback(shop: Shop, by: str, role: str, back: Callable[[Any], None]) -> None:
    """The online keys are stolen: they alone cannot bring back what was signed before."""
    shop.offer(NEXT)
    assert check(shop.channel(), HERE) == NEXT

    def edit(document: Metadata[Any]) -> None:
        document.signed.version += 1
        back(document.signed)

    shop.edit(by, edit, by)
    with pytest.raises(ChannelRefusedError, match=role):
        check(shop.channel(), HERE)


def test_root_remembers_too_what_it_saw(shop: Shop) -> None:
    """The user that fetches was taken over and puts an older repository into the mirror: root saw a newer one."""
    channel = fetched(shop, offered=False)
    shutil.copytree(channel.folder / "mirror", shop.folder / "old-mirror")
    shop.offer(NEXT)
    fetch(channel, HERE)
    assert prepare(channel, HERE).offered == NEXT
    shutil.rmtree(channel.folder / "mirror")
    shutil.copytree(shop.folder / "old-mirror", channel.folder / "mirror")
    with pytest.raises(ChannelRefusedError):
        prepare(channel, HERE)


def test_repository_substitutes_target_file(shop: Shop) -> None:
    shop.offer(NEXT)
    (path,) = (shop.repo / "targets" / "pool").rglob("*0.2.0*.deb")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ChannelRefusedError, match="hash"):
        fetch(shop.channel(), HERE)


def test_what_was_fetched_is_changed_before_it_is_installed(shop: Shop) -> None:
    channel = fetched(shop)
    (path,) = (channel.folder / "mirror" / "targets" / "pool").rglob("*0.2.0*.deb")
    path.unlink()
    path.write_bytes(b"other bytes")
    with pytest.raises(ChannelRefusedError, match="length"):
        prepare(channel, HERE)


def test_a_file_without_an_end(shop: Shop) -> None:
    shop.offer(NEXT)
    (path,) = (shop.repo / "targets" / "pool").rglob("*0.2.0*.deb")
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + (64 << 20))
    with pytest.raises(ChannelRefusedError, match="beyond its signed length"):
        fetch(shop.channel(), HERE)
    shop.path("timestamp").write_bytes(b" " * (1 << 20))
    with pytest.raises(ChannelRefusedError, match="beyond its signed length"):
        check(shop.channel(), HERE)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_404(shop: Shop, role: str) -> None:
    """Of tuf-conformance: test_timestamp_404, test_snapshot_404, test_targets_404."""
    shop.path(role).unlink()
    with pytest.raises(ChannelAwayError, match="missing"):
        check(shop.channel(), HERE)


def test_incorrect_metadata_type(shop: Shop) -> None:
    shop.path("timestamp").write_bytes(shop.path("snapshot").read_bytes())
    refused(shop, "timestamp")


def test_url_and_metadata_version_mismatch(shop: Shop) -> None:
    wrong = shop.path("snapshot").read_bytes()
    shop.publish()
    shop.path("snapshot").write_bytes(wrong)
    refused(shop, "snapshot")


def test_root_rotation(shop: Shop) -> None:
    """Each of the three root keys is replaced, one after another; a machine that slept through all of it follows."""
    sleeper = shop.channel()
    check(sleeper, HERE)
    for old, new, signers in (
        ("root-a", "root-d", ("root-b", "root-c")),
        ("root-b", "root-e", ("root-c", "root-d", "root-b")),
        ("root-c", "root-f", ("root-d", "root-e", "root-c")),
    ):
        shop.new_key(new)
        release.rotate(shop.repo, "root", shop.public(old), shop.public(new))
        shop.sign("root", *signers)
        shop.publish()
    assert shop.path("root").name == "4.root.json"
    assert check(sleeper, HERE) == HERE
    assert check(shop.channel(machine="new"), HERE) == HERE


def test_root_rotation_by_too_few_old_keys(shop: Shop) -> None:
    shop.new_key("root-d")
    shop.edit("root", lambda d: setattr(d.signed, "version", 2), "root-a", "root-d")
    refused(shop, "root was signed by 1/2 keys")


def test_non_root_rotations(shop: Shop) -> None:
    """Online keys were stolen and are replaced: what the old ones sign counts no more."""
    check(shop.channel(), HERE)
    for role in ("snapshot", "timestamp"):
        shop.new_key(f"{role}-2")
        release.rotate(shop.repo, role, shop.public(role), shop.public(f"{role}-2"))
    shop.sign("root", *ROOT_KEYS[:2])
    with pytest.raises(release.ReleaseProblem, match="is no key of role snapshot"):
        shop.publish()
    release.publish(shop.repo, shop.keys / "snapshot-2", shop.keys / "timestamp-2")
    assert check(shop.channel(), HERE) == HERE
    shop.edit("timestamp", lambda d: setattr(d.signed, "version", d.signed.version + 1), "timestamp")
    refused(shop, "timestamp was signed by 0/1 keys")


def test_new_timestamp_fast_forward_recovery(shop: Shop) -> None:
    """A thief of the online keys made the highest version there is; new keys begin anew."""
    for role in ("snapshot", "timestamp"):
        shop.edit(role, lambda d: setattr(d.signed, "version", 1 << 30), role)
    check(shop.channel(), HERE)
    for role in ("snapshot", "timestamp"):
        shop.new_key(f"{role}-2")
        release.rotate(shop.repo, role, shop.public(role), shop.public(f"{role}-2"))
        for path in (shop.repo / "metadata").glob(f"*{role}.json"):
            path.unlink()
    shop.sign("root", *ROOT_KEYS[:2])
    release.publish(shop.repo, shop.keys / "snapshot-2", shop.keys / "timestamp-2")
    assert check(shop.channel(), HERE) == HERE


# --- where it comes from ----------------------------------------------------------------------------------------------


def test_a_source_that_does_not_end_in_time(shop: Shop) -> None:
    channel = shop.channel()
    with pytest.raises(ChannelAwayError, match="no answer in time"):
        Repository(channel, channel.source, channel.folder / "trusted", within_s=-1.0)


def test_a_source_that_cannot_be_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(url: str, folder: Path) -> Iterator[bytes]:
        raise DownloadError("cannot be read") from OSError("no route")

    monkeypatch.setattr(repository_session, "_file", broken)
    with pytest.raises(ChannelAwayError, match="no route"):
        check(shop.channel(), HERE)


def test_nothing_was_fetched(shop: Shop) -> None:
    with pytest.raises(HostError, match="nothing was fetched yet"):
        prepare(shop.channel(), HERE)
    fetch(shop.channel(), HERE)
    shop.offer(NEXT)
    with pytest.raises(ChannelRefusedError, match=r"no pool/debian-13/ispagent_0\.2\.0"):
        prepare(shop.channel(), HERE, "0.2.0")


def test_a_package_that_is_not_in_the_mirror_any_more(shop: Shop) -> None:
    fetched(shop)
    for path in (shop.channel().folder / "mirror" / "targets" / "pool").rglob("*.deb"):
        path.unlink()
    with pytest.raises(HostError, match="not all of it was fetched"):
        prepare(shop.channel(), HERE)


def test_a_folder_that_cannot_be_written(shop: Shop) -> None:
    channel = shop.channel()
    channel.folder.write_text("a file")
    with pytest.raises(HostError, match="fetched"):
        check(channel, HERE)


def test_a_source_on_the_web(shop: Shop) -> None:
    with web(shop.repo) as address:
        channel = replace(shop.channel(), source=address)
        shop.offer(NEXT)
        assert fetch(channel, HERE) == NEXT
        assert prepare(channel, HERE).offered == NEXT
    with pytest.raises(ChannelAwayError, match="or none at all"):
        check(channel, HERE)


# --- users of the same machine ----------------------------------------------------------------------------------------


def test_a_fetch_with_nothing_new_may_be_repeated(shop: Shop) -> None:
    """A timer does so each day: the offered package and the one to put back are the same one."""
    for _ in range(2):
        assert fetch(shop.channel(), HERE) == HERE
    assert prepare(shop.channel(), HERE).offered == HERE


LEADS_AWAY = ["mirror", "mirror/metadata", "mirror/metadata/timestamp.json", "mirror/targets", "mirror/targets/pool"]


@pytest.mark.parametrize("part", LEADS_AWAY)
def test_no_link_of_the_user_that_fetches_is_followed(shop: Shop, part: str) -> None:
    channel = fetched(shop)
    (channel.folder / part).rename(shop.folder / "elsewhere")
    (channel.folder / part).symlink_to(shop.folder / "elsewhere")
    with pytest.raises((ChannelAwayError, HostError), match=r"symbolic link|Not a directory"):
        prepare(channel, HERE)


def test_a_pipe_in_the_mirror_does_not_hold_root_up(shop: Shop) -> None:
    channel = fetched(shop)
    stamp = channel.folder / "mirror" / "metadata" / "timestamp.json"
    stamp.unlink()
    os.mkfifo(stamp)
    found: list[BaseException] = []

    def run() -> None:
        try:
            prepare(channel, HERE)
        except ChannelAwayError as err:
            found.append(err)

    thread = threading.Thread(target=run, daemon=True)  # it would wait for ever
    thread.start()
    thread.join(30)
    assert [str(err).rpartition("] ")[2] for err in found] == [f"expected a regular file: {str(stamp)!r}"]


def test_one_command_at_a_time(shop: Shop) -> None:
    channel = fetched(shop, offered=False)
    with applying(channel):
        with pytest.raises(HostError, match="another `ispagent update` works there"), applying(channel):
            pass
        prepare(channel, HERE)
    with repository_session._alone(channel.folder), pytest.raises(HostError, match="another `ispagent update` works"):
        check(channel, HERE)


@pytest.mark.parametrize("part", ["applied", "update-root.json", "."])
def test_what_others_may_change_is_not_trusted(shop: Shop, part: str) -> None:
    channel = fetched(shop, offered=False)
    with applying(channel):
        prepare(channel, HERE)
    (channel.root.parent / part).chmod(0o777)
    with pytest.raises(HostError, match="mode 0777 lets others change what is installed"), applying(channel):
        pass


def test_what_belongs_to_another_user(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would follow links of that user while it writes there: offer.json.part could lead to /etc/passwd."""
    channel = fetched(shop, offered=False)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 4_000_000)
    for command in (check, fetch):
        with pytest.raises(HostError, match=r"belongs to .*: run this as that user, such as by: runuser -u"):
            command(channel, HERE)


def test_the_folder_of_root_keeps_two_packages(shop: Shop) -> None:
    channel = fetched(shop)
    prepare(channel, HERE)
    third = replace(NEXT, version="0.3.0")
    shop.offer(third)
    fetch(channel, NEXT)
    prepare(channel, NEXT)
    kept = sorted(path.name for path in (channel.applied / "pool").rglob("*.deb"))
    assert kept == ["ispagent_0.2.0_amd64.deb", "ispagent_0.3.0_amd64.deb"]
