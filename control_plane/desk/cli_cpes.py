"""`ispcloud changes cpe-…`: ask an agent for a change on CPE, as `cli_intents` asks for one on services.

A secret is sealed to the agent by itself, inside the intent that is sealed as a whole: the agent keeps the intent, and
keeps it without the secret. Neither the control plane nor an approver sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from control_plane.desk.cli_intents import Agent, DeskAsk, OutFile, RefsFile, ask, references
from control_plane.desk.cli_shared import CloudFile, KeyFile, PassphraseFile, StateFile, TrustFile, Wait, load_own
from control_plane.errors import InputError
from trust.cpe_settings import BASELINE, FOR_SERVICE, ROTATE, read_settings
from trust.errors import MalformedError
from trust.policy import Action
from trust.statements import OnFailure

Cpes = Annotated[
    list[str] | None,
    typer.Argument(metavar="REF", help="CPE: by name, serial number or service"),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="A CPE to leave out; may be given again")]
Failure = Annotated[OnFailure, typer.Option("--on-failure", help="When an item fails: stop, continue or revert")]
Values = Annotated[
    list[str] | None, typer.Option("--value", "-v", help="wifi.1.ssid=Home, or a path; may be given again")
]
Secrets = Annotated[list[str] | None, typer.Option("--secret", help="A name; its secret is asked for")]
Rows = Annotated[
    list[str] | None,
    typer.Option("--row", help="Device.NAT.PortMapping.[ExternalPort=8080]:Enable=true,InternalPort=80"),
]
DeletedRows = Annotated[
    list[str] | None, typer.Option("--delete-row", help="Device.NAT.PortMapping.[ExternalPort=8080]")
]


def set_(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    values: Values = None,
    secret: Secrets = None,
    row: Rows = None,
    delete_row: DeletedRows = None,
    exclude: Exclude = None,
    on_failure: Failure = OnFailure.STOP,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that parameters, secrets and rows of tables of CPE are set; a preview appears on the shared feed."""
    settings = _settings(values or (), row or (), delete_row or ())
    if not settings and not secret:
        raise InputError("expected --value, --secret, --row or --delete-row; got none")
    secrets = {name: _secret(name) for name in secret or ()}
    asked = DeskAsk(
        Action.CPE_SET,
        references(refs, refs_file),
        params=settings,
        secrets=secrets,
        exclude=exclude or (),
        on_failure=on_failure,
    )
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def accept(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    service: Annotated[str, typer.Option("--service", help="The service that the one CPE serves")] = "",
    exclude: Exclude = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE are accepted for their services, so that secrets may go into them; a preview appears on the feed."""
    params = {FOR_SERVICE: service} if service else {}
    asked = DeskAsk(
        Action.CPE_ACCEPT,
        references(refs, refs_file),
        params=params,
        exclude=exclude or (),
        on_failure=OnFailure.CONTINUE,
    )
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def rotate(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE get new credentials of their own, both ways; a preview appears on the shared feed."""
    asked = DeskAsk(Action.CPE_SET, references(refs, refs_file), params={ROTATE: "new credentials"})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def provision(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE get the baseline that the agent's configuration declares; a preview appears on the shared feed."""
    asked = DeskAsk(Action.CPE_SET, references(refs, refs_file), params={BASELINE: "as configured"})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def reboot(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE are rebooted; a preview appears on the shared feed. It cannot be undone."""
    asked = DeskAsk(Action.CPE_REBOOT, references(refs, refs_file))
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def factory_reset(
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE are reset to their factory's settings; a preview appears on the shared feed. It cannot be undone."""
    asked = DeskAsk(Action.CPE_RESET, references(refs, refs_file))
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def firmware(
    agent: Agent,
    key: KeyFile,
    image: Annotated[str, typer.Option("--image", help="A file in the agent's folder of images")],
    version: Annotated[str, typer.Option("--version", help="The value of SoftwareVersion once it runs")],
    refs: Cpes = None,
    refs_file: RefsFile = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE fetch firmware, a few of them first; a preview appears on the shared feed."""
    asked = DeskAsk(Action.CPE_FIRMWARE, references(refs, refs_file), params={"file": image, "version": version})
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def diagnose(
    test: Annotated[str, typer.Argument(help="ping, traceroute, download, upload or wifi-scan")],
    agent: Agent,
    key: KeyFile,
    refs: Cpes = None,
    refs_file: RefsFile = None,
    values: Annotated[
        list[str] | None, typer.Option("--value", "-v", help="host=192.0.2.1, count=4; may be given again")
    ] = None,
    trust: TrustFile = None,
    state: StateFile = None,
    cloud: CloudFile = None,
    passphrase_file: PassphraseFile = None,
    wait: Wait = 60,
    out: OutFile = None,
) -> None:
    """Ask that CPE run a test; a preview appears on the shared feed. The results are kept at the agent."""
    settings = {"test": test, **_settings(values or (), (), ())}
    asked = DeskAsk(Action.CPE_DIAGNOSE, references(refs, refs_file), params=settings, on_failure=OnFailure.CONTINUE)
    ask(asked, agent, key, load_own(trust, state), cloud, passphrase_file, wait, out)


def _settings(values: Sequence[str], rows: Sequence[str], deleted: Sequence[str]) -> Mapping[str, str]:
    try:
        return read_settings(values, rows, deleted)
    except MalformedError as err:
        raise InputError(str(err)) from err


def _secret(name: str) -> str:
    typed: str = typer.prompt(name, hide_input=True, err=True)
    if not typed.strip() or not typed.isprintable():
        raise InputError(f"--secret {name}: expected printable characters")
    return typed
