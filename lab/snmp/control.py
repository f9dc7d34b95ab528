"""The control socket of `python -m lab snmp`: one JSON object a line in, one a line out.

    {"do": "devices"}                                                names, places, requests so far
    {"do": "fault", "device": "sw", "fault": "loss:30"}              "none": take all back; device left out: all
    {"do": "link", "device": "sw", "port": "ge-1", "up": false}      a cable in or out
    {"do": "reboot", "device": "sw", "seconds": 30}
    {"do": "wrap" or "reset", "device": "sw", "port": "ge-1"}        counters of a port
    {"do": "fade", "device": "sw", "oid": "1.3...", "to": -85, "seconds": 600}
    {"do": "lines"}                                                  of a network: who is where, and whether it works
    {"do": "cut" or "mend", "login": "x"}                            of a network: a line
    {"do": "fade", "login": "x", "to": -85, "seconds": 600}          of a network: a signal
    {"do": "stop"}

Answers: `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.snmp.device import Device
from lab.snmp.errors import SnmpLabError
from lab.snmp.network import Network
from lab.snmp.server import SnmpLab

LINE_BYTES_MAX: Final = 65_536
PATH_BYTES_MAX: Final = 107  # sun_path, less its zero

Answer = dict[str, object]


class Control:
    """Does commands on a running lab; `network` None: its devices are no network; `stop` is set by the command."""

    def __init__(self, lab: SnmpLab, network: Network | None) -> None:
        self.lab, self.network = lab, network
        self.stop = trio.Event()

    def perform(self, command: Answer) -> Answer:
        """Do one command and return its answer.

        Raises:
            LabError: an unknown command, device, port, login or fault.
        """
        do = command.get("do")
        if do in ("cut", "mend", "lines") or (do == "fade" and "login" in command):
            return self._on_network(str(do), command)
        match do:
            case "devices":
                return {
                    "devices": [
                        {"name": n, "at": list(self.lab.where(n)), "asked": d.asked}
                        for n, d in self.lab.devices.items()
                    ]
                }
            case "fault":
                for device in [self._device(command)] if "device" in command else self.lab.devices.values():
                    device.faults.put(str(command.get("fault")))
            case "link":
                self._device(command).set_link(_port(command), up=bool(command.get("up")))
            case "reboot" if self.network is not None:
                self.network.reboot(self._device(command).name, _number(command, "seconds"))
            case "reboot":
                self._device(command).reboot(_number(command, "seconds"))
            case "wrap":
                self._device(command).wrap_counters(_port(command))
            case "reset":
                self._device(command).reset_counters(_port(command))
            case "fade":
                oid, to = str(command.get("oid")), int(_number(command, "to"))
                self._device(command).fade(oid, to, _number(command, "seconds"))
            case "stop":
                self.stop.set()
            case _:
                raise SnmpLabError(f"expected a command such as devices, fault, link or stop, got {do!r}")
        return {}

    def _on_network(self, do: str, command: Answer) -> Answer:
        network, login = self.network, str(command.get("login"))
        if network is None:
            raise SnmpLabError(f"{do}: expected a network (--network), got devices from recordings")
        if do == "lines":
            return {
                "lines": [
                    {
                        "login": line.login,
                        "mac": line.mac,
                        "access": line.access.value,
                        "device": line.device,
                        "port": line.port,
                        "works": network.works(line.login),
                    }
                    for line in network.lines.values()
                ]
            }
        if do == "fade":
            network.fade(login, int(_number(command, "to")), _number(command, "seconds"))
        elif do == "cut":
            network.cut(login)
        else:
            network.mend(login)
        return {}

    def _device(self, command: Answer) -> Device:
        return self.lab[str(command.get("device"))]


def _port(command: Answer) -> int | str:
    port = command.get("port")
    return port if isinstance(port, int) else str(port)


def _number(command: Answer, name: str) -> float:
    value = command.get(name)
    if not isinstance(value, int | float):
        raise SnmpLabError(f"{command.get('do')}: expected a number for {name}, got {value!r}")
    return float(value)


def answer_untrusted(control: Control, line: bytes) -> bytes:
    """Return the line that answers a line."""
    answer: Answer
    try:
        answer = {"ok": True, **control.perform(dict(json.loads(line)))}
    except (ValueError, TypeError, RecursionError):
        answer = {"ok": False, "error": "expected one JSON object a line"}
    except LabError as err:
        answer = {"ok": False, "error": str(err)}
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


@asynccontextmanager
async def open_control(control: Control, path: Path) -> AsyncIterator[None]:
    """Serve the control socket for the block.

    Raises:
        SnmpLabError: the path is too long for a socket.
    """
    if len(str(path).encode()) > PATH_BYTES_MAX:
        raise SnmpLabError(f"expected a path of at most {PATH_BYTES_MAX} bytes for the control socket, got {path}")
    place = trio.Path(path)
    await place.unlink(missing_ok=True)

    async def serve(stream: trio.SocketStream) -> None:
        buffered = b""
        async with stream:
            try:
                async for chunk in stream:
                    *lines, buffered = (buffered + chunk).split(b"\n")
                    for line in lines:
                        await stream.send_all(answer_untrusted(control, line))
                    if len(buffered) > LINE_BYTES_MAX:
                        return
            except trio.BrokenResourceError:
                return  # the caller went away

    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        await listening.bind(str(path))
        await place.chmod(0o600)
        listening.listen(16)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await place.unlink(missing_ok=True)
