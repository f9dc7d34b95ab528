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


def test_onboard_prints_lines_for_the_router_and_the_configuration() -> None:
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
