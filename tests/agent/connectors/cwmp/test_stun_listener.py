"""The STUN server's socket: what datagrams without end cost everybody else."""

from __future__ import annotations

import socket

import trio

from agent.connectors.cwmp.stun import StunServer
from agent.connectors.cwmp.stun_listener import serve_stun

REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
JUNK = b"\xff" * 100


async def test_of_datagrams_without_end_one_is_read_in_pass_of_loop() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        stun = await nursery.start(serve_stun, StunServer(lambda _user: None), "127.0.0.1", 0, lambda _binding: None)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            flood.settimeout(30)
            for _ in range(100):
                flood.sendto(JUNK, ("127.0.0.1", stun.port))
            flood.sendto(REQUEST, ("127.0.0.1", stun.port))
            nursery.start_soon(others)
            reply = await trio.to_thread.run_sync(flood.recv, 1000)
            assert reply[:2] == b"\x01\x01", "whoever is honest is answered after them"
        assert turns >= 100
        nursery.cancel_scope.cancel()
