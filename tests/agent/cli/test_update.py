"""`ispagent update` on a real repository: what people read, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import Result
from tuf.api.metadata import Metadata, Targets
from typer.testing import CliRunner

from agent.cli import app
from agent.update import host_session, release
from agent.update.channel import UpdateChannel
from tests.builders.update import HERE, NEXT, TARGET_KEYS, Shop, deb


class Machine:
    """A machine with version 0.1.0 installed, whose `apply-update` is replaced by a note of what it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = Shop(folder)
        channel: UpdateChannel = self.shop.channel()
        self.config = folder / "update.toml"
        self.config.write_text(
            f'[update]\nsource = "{channel.source}"\nchannel = "stable"\nroot = "{channel.root}"\n'
            f'folder = "{channel.folder}"\napplied = "{channel.applied}"\n'
        )
        self.applied: list[tuple[str, str]] = []

        def apply(new: Path, old: Path | None) -> NoReturn:
            self.applied.append((new.name, old.name if old else ""))
            raise SystemExit(0)

        monkeypatch.setattr(host_session, "installed", lambda: HERE)
        monkeypatch.setattr(host_session, "apply", apply)

    def run(self, *words: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, ["update", *words, "--config", str(self.config)], input=typed)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_check_fetch_apply(machine: Machine) -> None:
    done = machine.run("check")
    assert (done.exit_code, done.stdout) == (
        0,
        "ispagent 0.1.0 is installed; the channel offers 0.1.0: nothing to do\n",
    )
    machine.shop.offer(NEXT)
    assert "the channel offers 0.2.0: ispagent update fetch" in machine.run("check").stdout
    told = json.loads(machine.run("check", "--json").stdout)
    assert (told["newer"], told["offered"]["version"]) == (True, "0.2.0")
    done = machine.run("fetch")
    assert done.stdout == "fetched and verified: ispagent 0.2.0; installed: 0.1.0; next: ispagent update apply\n"
    assert json.loads(machine.run("fetch", "--json").stdout)["fetched"]["version"] == "0.2.0"
    done = machine.run("apply", typed="n\n")
    assert (done.exit_code, machine.applied) == (3, [])
    assert "ispagent 0.1.0 -> 0.2.0; if it does not start, 0.1.0 is put back" in done.stdout
    done = machine.run("apply", typed="y\n")
    assert (done.exit_code, machine.applied) == (0, [("ispagent_0.2.0_amd64.deb", "ispagent_0.1.0_amd64.deb")])


def test_an_older_one_only_where_a_person_names_it(machine: Machine) -> None:
    machine.run("fetch")
    done = machine.run("apply", "--yes")
    assert (done.exit_code, machine.applied) == (0, [])
    assert "nothing to do" in done.stdout
    assert machine.run("apply", "--yes", "--to", "0.1.0").exit_code == 0
    assert machine.applied == [("ispagent_0.1.0_amd64.deb", "ispagent_0.1.0_amd64.deb")]
    done = machine.run("apply", "--yes", "--to", "../0.1.0")
    assert (done.exit_code, "expected a version such as 0.2.0" in done.stderr) == (2, True)


def test_nothing_to_put_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_session, "installed", lambda: replace(HERE, version="0.0.9"))
    machine.run("fetch")
    done = machine.run("apply", "--yes")
    assert "if it does not start, nothing is put back: the channel has no package of it" in done.stdout
    assert machine.applied == [("ispagent_0.1.0_amd64.deb", "")]


def test_a_signed_package_that_is_another_one(machine: Machine) -> None:
    shop = machine.shop
    other, offer = (
        deb(shop.folder, NEXT, inside=replace(NEXT, version="0.1.9")).read_bytes(),
        release.encode_offer(NEXT),
    )

    def signed(document: Metadata[Targets]) -> None:
        release._keep(shop.repo, document.signed, NEXT.target, other, {"lowest": "0"})
        release._keep(shop.repo, document.signed, "channels/stable/ispagent/debian-13/amd64.json", offer)

    shop.edit("targets", signed, *TARGET_KEYS)
    machine.run("fetch")
    done = machine.run("apply", "--yes")
    assert (done.exit_code, machine.applied) == (3, [])
    assert "expected the package ispagent 0.2.0 amd64, got ispagent 0.1.9 amd64" in done.stderr


def test_an_update_that_was_cut_comes_first(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packages stay where they are, to undo it."""
    machine.shop.offer(NEXT)
    machine.run("fetch")
    monkeypatch.setattr(host_session, "UNDER_WAY", tmp_path / "under-way")
    (tmp_path / "under-way").touch()
    done = machine.run("apply", "--yes")
    assert (done.exit_code, machine.applied) == (1, [])
    assert "an update was cut on this machine: first, as root: /usr/lib/ispagents/apply-update --recover" in done.stderr
    assert not list((tmp_path / "host" / "applied").rglob("*.deb"))


def test_exit_codes(machine: Machine) -> None:
    done = machine.run("apply", "--yes")
    assert (done.exit_code, "nothing was fetched yet" in done.stderr) == (1, True)
    machine.shop.edit("targets", lambda d: None, "targets-a")
    done = machine.run("check")
    assert (done.exit_code, "targets was signed by 1/2 keys" in done.stderr) == (3, True)
    machine.shop.path("timestamp").unlink()
    assert machine.run("check").exit_code == 1
    machine.config.write_text("[update]\n")
    done = machine.run("check")
    assert (done.exit_code, "update.source: missing" in done.stderr) == (2, True)
