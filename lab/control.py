"""The lab's control socket: one JSON object a line in, one a line out.

    {"do": "fault", "fault": "nak:503", "login": "x"}    login left out: for all; "fault": "none": take faults back
    {"do": "sessions", "login": "x"}                     login left out: all
    {"do": "received", "login": "x"}                     what came to the CoA ports, and what came of it
    {"do": "dial", "login": "x"}   {"do": "hangup", "login": "x"}   {"do": "stop"}
    {"do": "break-line", "login": "x"}   {"do": "mend-line", "login": "x"}
    {"do": "snmp", "what": {"do": "reboot", "device": "core-1", "seconds": 60}}    see lab.snmp.control

Answers: `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.isp import Isp
from lab.snmp.control import Control

LINE_BYTES_MAX: Final = 65536
PATH_BYTES_MAX: Final = 107  # sun_path, less its zero


async def perform(isp: Isp, command: dict[str, object], stop: trio.Event) -> dict[str, object]:
    """Do one command and return its answer.

    Raises:
        LabError: an unknown command, login or fault, or an error of dialing.
    """
    do, login, fault = (str(command.get(key, "")) for key in ("do", "login", "fault"))
    match do:
        case "fault" if fault == "none":
            isp.clear_faults(login or None)
            return {}
        case "fault":
            isp.set_fault(fault, login)
            return {}
        case "sessions":
            now = trio.current_time()
            return {"sessions": [s.view(now) for s in isp.sessions(login)]}
        case "received":
            seen = [(r, n.options.name) for n in isp.nas.values() for r in n.received if login in ("", r.login)]
            return {
                "received": [
                    {"nas": nas, "code": r.code, "login": r.login, "session_id": r.session_id, "outcome": r.outcome}
                    for r, nas in seen
                ]
            }
        case "dial":
            session = await isp.dial(login)
            return {"session": None if session is None else session.view(trio.current_time())}
        case "hangup":
            return {"ended": await isp.hang_up(login)}
        case "break-line":
            await isp.break_line(login)
            return {}
        case "mend-line":
            await isp.mend_line(login)
            return {}
        case "snmp" if isp.snmp is not None and isinstance(what := command.get("what"), dict):
            return Control(isp.snmp, isp.network).perform(what)
        case "stop":
            stop.set()
            return {}
        case _:
            raise LabError(
                f"expected fault, sessions, received, dial, hangup, break-line, mend-line, snmp or stop, got {do!r}"
            )


async def _answer(isp: Isp, line: bytes, stop: trio.Event) -> bytes:
    answer: dict[str, object]
    try:
        answer = {"ok": True, **await perform(isp, dict(json.loads(line)), stop)}
    except (ValueError, TypeError, RecursionError):
        answer = {"ok": False, "error": "expected one JSON object a line"}
    except LabError as err:
        answer = {"ok": False, "error": str(err)}
    return json.dumps(answer, ensure_ascii=False).encode() + b"\n"


async def _serve_one(isp: Isp, stream: trio.SocketStream, stop: trio.Event) -> None:
    buffered = b""
    async with stream:
        try:
            async for chunk in stream:
                *lines, buffered = (buffered + chunk).split(b"\n")
                for line in lines:
                    await stream.send_all(await _answer(isp, line, stop))
                if len(buffered) > LINE_BYTES_MAX:
                    return
        except trio.BrokenResourceError:
            return  # the caller went away


@asynccontextmanager
async def open_control(isp: Isp, path: Path) -> AsyncIterator[trio.Event]:
    """Serve the control socket for the block; the event is set when somebody said stop.

    Raises:
        LabError: the path is too long for a socket.
    """
    if len(str(path).encode()) > PATH_BYTES_MAX:
        raise LabError(f"expected a directory whose control socket's path has at most {PATH_BYTES_MAX} bytes")
    await trio.Path(path).unlink(missing_ok=True)
    stop = trio.Event()
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        await listening.bind(str(path))
        await trio.Path(path).chmod(0o600)
        listening.listen(16)

        async def handle(stream: trio.SocketStream) -> None:
            await _serve_one(isp, stream, stop)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(listening)])
                yield stop
                nursery.cancel_scope.cancel()
        finally:
            os.unlink(path)
