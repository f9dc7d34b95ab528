"""`ispagent device`: what is pasted, and the certificate that a router shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.config import parse_untrusted
from agent.connectors.routeros import SPEC
from lab.router.device import Router
from lab.router.server import RouterThread


def test_onboard_prints_lines_for_router_and_configuration() -> None:
    first = CliRunner().invoke(app, ["device", "onboard", "edge-1", "--host", "10.9.0.21", "--from", "10.9.0.5"])
    assert first.exit_code == 0
    assert "/ip/service set api-ssl certificate=ispagents disabled=no address=10.9.0.5/32\n" in first.stdout
    assert "It then answers 10.9.0.5/32 and nobody else" in first.stdout
    assert '[routeros.edge-1]\nhost = "10.9.0.21"\nuser = "ispagents"' in first.stdout
    passwords = re.findall(r" password=(\S+)", first.stdout)
    assert len(set(passwords)) == 3
    again = CliRunner().invoke(app, ["device", "onboard", "edge-1", "--host", "10.9.0.21"])
    assert not any(password in again.stdout for password in passwords)
    assert "address=" not in again.stdout
    assert "Any address may reach it" in again.stdout


def test_what_onboard_prints_is_a_configuration() -> None:
    said = CliRunner().invoke(app, ["device", "onboard", "edge-1", "--host", "10.9.0.21"]).stdout
    section = (
        said.partition("[routeros.edge-1]")[2]
        .partition("\n\n")[0]
        .replace('fingerprint = "…', f'fingerprint = "{"94" * 32}')
    )
    config = parse_untrusted(f'[agent]\nname = "hill"\n[routeros.edge-1]{section}'.encode(), Path("/a.toml"), {})
    (target,) = config.of(SPEC).targets
    assert {use.value: found.user for use, found in target.credentials.items()} == {
        "service": "ispagents",
        "read": "ispagents-read",
        "config": "ispagents-config",
    }
    for name in target.secrets:
        assert f"\nispagent secret set {name}\n" in said


@pytest.mark.parametrize(
    ("args", "says"),
    [(["Edge 1", "--host", "h"], "a name of 1 to 32"), (["edge-1", "--host", "h", "--from", "10.9.0.5/8"], "--from")],
)
def test_onboard_of_what_is_no_name_or_address(args: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["device", "onboard", *args])
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_the_certificate_that_answers() -> None:
    with RouterThread(Router(), tls=True) as endpoint:
        at = ["device", "certificate", endpoint.host, "--port", str(endpoint.port)]
        said = CliRunner().invoke(app, at)
        assert said.stdout.splitlines()[0] == endpoint.fingerprint
        assert json.loads(CliRunner().invoke(app, [*at, "--json"]).stdout)["fingerprint"] == endpoint.fingerprint
    gone = CliRunner().invoke(app, at)
    assert gone.exit_code == 1
    assert endpoint.host in gone.stderr


def test_a_fleet_is_imported_and_its_certificates_are_pinned(tmp_path: Path) -> None:
    fleet = tmp_path / "bng.csv"
    with RouterThread(Router(), tls=True) as one, RouterThread(Router(), tls=True) as two:
        listed = f"name,host,port\nedge-1,{one.host},{one.port}\nedge-2,{two.host},{two.port}\n"
        words = ["device", "import", "-", "--fleet", str(fleet)]
        first = CliRunner().invoke(app, words, input=listed)
        assert first.exit_code == 0, first.output
        assert "2 routers, 2 new, 0 known before, 2 without a pin" in first.stdout
        nothing = CliRunner().invoke(app, [*words[:2], str(fleet), *words[3:], "--pin"], input="no\n")
        assert "nothing was pinned" in nothing.stdout
        assert one.fingerprint not in fleet.read_text()
        pinned = CliRunner().invoke(app, [*words[:2], str(fleet), *words[3:], "--pin"], input="yes\n")
        assert f"    {one.fingerprint}\n" in pinned.stdout
        assert "0 without a pin" in pinned.stdout
        assert f"edge-1,{one.host},{one.port},{one.fingerprint},\n" in fleet.read_text()
        assert f"edge-2,{two.host},{two.port},{two.fingerprint},\n" in fleet.read_text()
    changed = CliRunner().invoke(app, words, input="name,host\nedge-1,127.0.0.9\n")
    assert changed.exit_code == 1
    assert "change it there by hand" in changed.stderr
    assert "127.0.0.9" not in fleet.read_text()


def test_a_router_without_a_certificate_stays_without_a_pin(tmp_path: Path) -> None:
    with RouterThread(Router(), tls=True) as gone:
        pass
    words = ["device", "import", "-", "--fleet", str(tmp_path / "bng.csv"), "--pin", "--yes"]
    told = CliRunner().invoke(app, words, input=f"name,host,port\nedge-1,{gone.host},{gone.port}\n")
    assert told.exit_code == 0
    assert "no certificate: the port is closed" in told.stdout
    assert "1 without a pin" in told.stdout


def test_a_certificate_shared_by_several_routers_is_not_pinned(tmp_path: Path) -> None:
    """Somebody in between would look like this."""
    fleet = tmp_path / "bng.csv"
    with RouterThread(Router(), tls=True) as one, RouterThread(Router(), tls=True) as two:
        listed = (
            f"name,host,port\nedge-1,127.0.0.1,{one.port}\nedge-2,localhost,{one.port}\nedge-3,127.0.0.1,{two.port}\n"
        )
        words = ["device", "import", "-", "--fleet", str(fleet), "--pin", "--yes"]
        told = CliRunner().invoke(app, words, input=listed)
    assert told.exit_code == 1
    assert told.stdout.count(f"    {one.fingerprint}\n    not pinned: several show this certificate\n") == 2
    assert f"refused  edge-1, edge-2: all show the certificate {one.fingerprint}. Either one router" in told.stderr
    assert "edge-3" not in told.stderr
    assert "3 routers, 3 new, 0 known before, 2 without a pin" in told.stdout
    assert one.fingerprint not in fleet.read_text()
    assert f"edge-3,127.0.0.1,{two.port},{two.fingerprint},\n" in fleet.read_text()


def test_a_pinned_certificate_is_not_pinned_for_another_router(tmp_path: Path) -> None:
    fleet = tmp_path / "bng.csv"
    words = ["device", "import", "-", "--fleet", str(fleet), "--pin", "--yes"]
    with RouterThread(Router(), tls=True) as one:
        first = CliRunner().invoke(app, words, input=f"name,host,port\nedge-1,127.0.0.1,{one.port}\n")
        assert first.exit_code == 0
        told = CliRunner().invoke(app, words, input=f"name,host,port\nedge-2,localhost,{one.port}\n")
    assert told.exit_code == 1
    assert f"refused  edge-1, edge-2: all show the certificate {one.fingerprint}" in told.stderr
    assert fleet.read_text().count(one.fingerprint) == 1
    assert "1 without a pin" in told.stdout


def test_help_says_a_sections_name_as_it_is_written() -> None:
    said = CliRunner().invoke(app, ["device", "import", "--help"])
    assert "[fleet.NAME]" in said.stdout
