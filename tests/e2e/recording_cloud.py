"""A control plane that writes down what reaches it: each call in clear, and the bytes of its connections.

As a program (`python -m tests.e2e.recording_cloud DATA_DIR CAPTURE_DIR`) it is the real server with an interceptor
around it and a TCP way before each of its ports; it prints the line of `ispcloud serve`, with the ports of those ways.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import grpc
import grpc.aio

from control_plane import config
from control_plane.calls import silence_libraries
from control_plane.config import Address
from control_plane.server import Bound, CloudServer
from tests.e2e.cloud_site import START_S, CloudProgram
from tests.e2e.files import ROOT

GRACE_S = 2.0


# --- in the control plane's process -----------------------------------------------------------------------------------


class Recorder(grpc.aio.ServerInterceptor):
    """Writes each call: who, what method, metadata, serialized requests and replies, and how it ended."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("ab", buffering=0)
        self._calls = 0

    def close(self) -> None:
        self._out.close()

    def _write(self, call: int, what: str, **facts: object) -> None:
        if not self._out.closed:
            self._out.write(json.dumps({"call": call, "what": what, **facts}).encode() + b"\n")

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler with its bytes written down on both sides."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        self._calls += 1
        call = self._calls
        metadata = _pairs(handler_call_details.invocation_metadata)
        self._write(call, "call", method=handler_call_details.method, metadata=metadata)

        def read(data: bytes) -> object:
            self._write(call, "request", data=base64.b64encode(data).decode())
            return handler.request_deserializer(data)

        def written(reply: object) -> bytes:
            data: bytes = handler.response_serializer(reply)
            self._write(call, "reply", data=base64.b64encode(data).decode())
            return data

        behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary

        async def answer(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            self._write(call, "peer", names=[str(n) for n in context.auth_context().get(_SAN, ())])
            try:
                return await behavior(request, context)
            finally:
                facts = {"code": str(context.code()), "details": _text(context.details())}
                self._write(call, "end", **facts, trailing=_pairs(context.trailing_metadata()))

        make: Callable[..., Any] = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(answer, read, written)


def _text(details: str | bytes | None) -> str:
    return details.decode() if isinstance(details, bytes) else details or ""


_SAN = "x509_subject_alternative_name"


def _pairs(metadata: Any) -> list[list[str]]:
    found = []
    for key, value in metadata or ():
        data = value if isinstance(value, bytes) else value.encode()
        found.append([key, base64.b64encode(data).decode()])
    return found


class Tap:
    """A TCP way to a port; what passes is written to one file for each direction of each connection."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._joined = 0
        self._to = Address("", 0)
        self._server: asyncio.Server | None = None

    async def start(self, to: Address) -> Address:
        """Listen in front of `to`."""
        self._to = to
        self._server = await asyncio.start_server(self._join, to.host, 0)
        return Address(to.host, self._server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._joined += 1
        there, back = await asyncio.open_connection(self._to.host, self._to.port)
        base = self._folder / f"{self._name}-{self._joined:03}"
        with base.with_suffix(".sent").open("wb", 0) as sent, base.with_suffix(".got").open("wb", 0) as got:
            await asyncio.gather(_pump(reader, back, sent), _pump(there, writer, got))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, copy: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            copy.write(data)
            target.write(data)
            await target.drain()
    target.close()


async def _serve(data: Path, capture: Path) -> None:
    recorder = Recorder(capture / "calls.jsonl")
    server = CloudServer(config.open_dir(data), interceptors=[recorder])
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop.set)
    try:
        bound = await server.start()
        taps = Tap(capture, "members"), Tap(capture, "enrolment")
        members, strangers = await taps[0].start(bound.members), await taps[1].start(bound.enrolment)
        sys.stdout.write(Bound(members, strangers, bound.metrics).line() + "\n")
        sys.stdout.flush()
        await server.run(GRACE_S)
    finally:
        server.close()
        recorder.close()


def main(data: str, capture: str) -> None:
    os.umask(0o077)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    silence_libraries()
    asyncio.run(_serve(Path(data), Path(capture)))


# --- in the test's process --------------------------------------------------------------------------------------------


@dataclass
class Call:
    """One call as it was recorded. `peer`: the names in the client's certificate, empty: it had none."""

    method: str
    metadata: list[tuple[str, bytes]]
    peer: str = ""
    requests: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    code: str = ""
    details: str = ""
    trailing: list[tuple[str, bytes]] = field(default_factory=list)


def read_calls(path: Path) -> list[Call]:
    """Return the calls that a recorder wrote, in the order in which they began."""
    calls: dict[int, Call] = {}
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        match entry["what"]:
            case "call":
                calls[entry["call"]] = Call(entry["method"], _unpaired(entry["metadata"]))
            case "peer":
                calls[entry["call"]].peer = " ".join(entry["names"])
            case "request":
                calls[entry["call"]].requests.append(base64.b64decode(entry["data"]))
            case "reply":
                calls[entry["call"]].replies.append(base64.b64decode(entry["data"]))
            case _:
                call = calls[entry["call"]]
                call.code, call.details, call.trailing = entry["code"], entry["details"], _unpaired(entry["trailing"])
    return list(calls.values())


def _unpaired(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    return [(key, base64.b64decode(value)) for key, value in pairs]


class RecordingCloud(CloudProgram):
    """The recording control plane as a program. `capture`: what it wrote down."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.capture = folder / "capture"
        self.capture.mkdir()
        self.metrics = ""
        path = self.folder / "config.toml"
        path.write_text(path.read_text().replace('metrics_listen = ""', 'metrics_listen = "127.0.0.1:0"'))

    def start(self) -> None:
        """Start it; returns once it listens."""
        assert not self.running
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.e2e.recording_cloud", str(self.folder), str(self.capture)],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        words = process.stdout.readline().decode().replace(",", "").split() if ready else []
        assert words[:3] == ["ispcloud:", "listening", "on"], (words, self.log.read_text()[-2000:])
        self.server, self.enrolment, self.metrics = words[3], words[6], words[9]

    def calls(self) -> list[Call]:
        """Return what was called so far."""
        return read_calls(self.capture / "calls.jsonl")

    def metrics_text(self) -> bytes:
        """Return what Prometheus would read now."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            text: bytes = answer.read()
        return text

    def raw(self) -> dict[str, bytes]:
        """Return the bytes of each connection's directions."""
        found = sorted(p for p in self.capture.iterdir() if p.suffix in (".sent", ".got"))
        return {f"bytes {path.name}": path.read_bytes() for path in found}

    def files(self) -> dict[str, bytes]:
        """Return every file of the data directory, as it is on the disk now."""
        return {f"file {path.name}": path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()}


@contextlib.contextmanager
def recording_cloud(folder: Path) -> Iterator[RecordingCloud]:
    """Run a recording control plane for the block."""
    folder.mkdir(exist_ok=True)
    cloud = RecordingCloud(folder)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
