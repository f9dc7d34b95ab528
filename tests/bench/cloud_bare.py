"""The reference: a grpc.aio server that does nothing, with the TLS and options of `ispcloud serve`.

    python -m tests.bench.cloud_bare DATA_DIR

`Submit` returns the bytes that came; `Watch` sends them back once and stays open.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from control_plane import config
from control_plane.config import DataDir
from control_plane.server import OPTIONS

Context = grpc.aio.ServicerContext[bytes, bytes]


async def _echo(request: bytes, context: Context) -> bytes:
    return request


async def _stay(request: bytes, context: Context) -> AsyncIterator[bytes]:
    yield request
    await asyncio.Event().wait()


def _server(data: DataDir) -> tuple[grpc.aio.Server, int]:
    handlers: dict[str, Any] = {
        "Submit": grpc.unary_unary_rpc_method_handler(_echo),
        "Watch": grpc.unary_stream_rpc_method_handler(_stay),
    }
    pair = data.server_pair(int(time.time()))
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)], root_certificates=data.authority.pem, require_client_auth=True
    )
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("ispagents.v0.AgentCloud", handlers),))
    return server, server.add_secure_port("127.0.0.1:0", credentials)


async def _serve(data: DataDir) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server, port = _server(data)
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve(config.open_dir(Path(sys.argv[1]))))
