"""`ispagent port`: switch ports of switches and other devices, describe them, and cycle their power (PoE)."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from agent.cli.change import ask

app = typer.Typer()
OFF_S: Final = 5

Device = Annotated[str, typer.Argument(help="The NAME of the device in the configuration")]
Port = Annotated[str, typer.Argument(help="The port, as the device calls it: ge-0/0/7 (ifName or ifDescr)")]
Ports = Annotated[list[str], typer.Argument(metavar="PORT", help="Ports, as the device calls them")]
Hold = Annotated[bool, typer.Option("--hold", help="Do not start by itself once approved; wait for `change apply`")]
OnFailure = Annotated[str, typer.Option("--on-failure", help="stop, continue or revert when ports fail")]
OnFailureUp = Annotated[str, typer.Option("--on-failure", help="stop or continue when ports fail")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def down(
    device: Device, ports: Ports, on_failure: OnFailure = "stop", hold: Hold = False, as_json: AsJson = False
) -> None:
    """Ask that ports are switched off; show the preview. An uplink, or the agent's own way, is refused."""
    _set(device, ports, {"admin": "down"}, on_failure, hold, as_json)


@app.command()
def up(
    device: Device, ports: Ports, on_failure: OnFailureUp = "stop", hold: Hold = False, as_json: AsJson = False
) -> None:
    """Ask that ports are switched on; show the preview."""
    _set(device, ports, {"admin": "up"}, on_failure, hold, as_json)


@app.command()
def alias(
    device: Device,
    port: Port,
    text: Annotated[str, typer.Argument(help='The description, at most 64 octets; "" takes it away')],
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Ask for another description of a port (ifAlias); show the preview."""
    _set(device, [port], {"alias": text}, "stop", hold, as_json)


@app.command("power-cycle")
def power_cycle(
    device: Device,
    ports: Ports,
    off_s: Annotated[int, typer.Option("--off", min=1, max=60, help="Seconds without power")] = OFF_S,
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a power cycle of ports (PoE): off, some seconds, on; show the preview. It cannot be undone.

    It ends with the power on, also after a cancel, a freeze or a crash of the agent.
    """
    refs = [f"{device}/{port}" for port in ports]
    fields = {"action": "port-power-cycle", "refs": refs, "settings": {"off-s": str(off_s)}, "hold": hold}
    ask(fields, as_json)


def _set(device: str, ports: list[str], settings: dict[str, str], on_failure: str, hold: bool, as_json: bool) -> None:
    refs = [f"{device}/{port}" for port in ports]
    fields = {"action": "port-set", "refs": refs, "settings": settings, "on_failure": on_failure, "hold": hold}
    ask(fields, as_json)
