"""`ispagent device`: what is pasted, and the certificate that a router shows."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from agent.cli import app
from lab.router.device import Router
from lab.router.server import RouterThread


def test_onboard_prints_lines_for_the_router_and_the_configuration() -> None:
    first = CliRunner().invoke(app, ["device", "onboard", "edge-1", "--host", "10.9.0.21", "--from", "10.9.0.5"])
    assert first.exit_code == 0
    assert "/ip/service set api-ssl certificate=ispagents disabled=no\n" in first.stdout
    assert '[routeros.edge-1]\nhost = "10.9.0.21"\nuser = "ispagents"' in first.stdout
    (password,) = re.findall(r" password=(\S+)", first.stdout)
    again = CliRunner().invoke(app, ["device", "onboard", "edge-1", "--host", "10.9.0.21"])
    assert password not in again.stdout
    assert "address=" not in again.stdout


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
