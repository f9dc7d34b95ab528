"""Connection requests over HTTP (TR-069 3.2.2): one listener, and a path for every CPE behind it."""

from __future__ import annotations

import functools
from typing import Final

import h11
import trio

from lab.cpe.auth import Server
from lab.cpe.device import Device

_TIMEOUT_S: Final = 10.0
_CHUNK_BYTES: Final = 4096


class Doorbell:
    """Where an ACS rings. `serve` first, then `add`."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._auth = Server("cpe")
        self.port = 0

    def add(self, device: Device) -> str:
        """Take connection requests for a CPE from now on. The address for them."""
        path = f"/{device.identity.serial}"
        self._devices[path] = device
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on loopback until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._serve_one, listeners, task_status=_port(task_status, self.port))

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            with trio.move_on_after(_TIMEOUT_S):
                while await self._answer(stream, connection):
                    connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass  # whoever it was is gone, or speaks no HTTP
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        """Answer one request; tell whether another may follow on the connection."""
        request: h11.Request | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(_CHUNK_BYTES))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return False
        if request is None:
            return False
        device = self._devices.get(request.target.decode("latin-1").partition("?")[0])
        if device is not None and device.rebooting:
            return False
        status, headers = (404, []) if device is None else self._decide(device, request)
        headers += [("Content-Length", "0")]
        response = h11.Response(status_code=status, headers=headers)
        sent = connection.send(response) + (connection.send(h11.EndOfMessage()) or b"")
        await stream.send_all(sent)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _decide(self, device: Device, request: h11.Request) -> tuple[int, list[tuple[str, str]]]:
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        if method != "GET":
            return 405, [("Allow", "GET")]
        username = device.server("ConnectionRequestUsername")
        said = next((value.decode("latin-1") for name, value in request.headers if name == b"authorization"), "")
        password = device.server("ConnectionRequestPassword")
        if username and not self._auth.accepts_untrusted(said, method, target, username, password):
            device.connection_request(status=401)
            return 401, [("WWW-Authenticate", self._auth.challenge())]
        status = 503 if device.quirks.busy else 200
        device.connection_request(status=status)
        return status, []


def _port(status: trio.TaskStatus[int], port: int) -> trio.TaskStatus[object]:
    """A task status that gives the port instead of the listeners."""

    class _Started:
        started = staticmethod(functools.partial(_tell, status, port))

    return _Started()


def _tell(status: trio.TaskStatus[int], port: int, _value: object = None) -> None:
    status.started(port)
