"""TLS as routers have it: certificates of their own making, none at all, old versions, and whatever else listens."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable

import pytest
import trio

from agent.connectors.routeros.carrier_session import Endpoint, dial, fetch_certificate
from agent.connectors.routeros.errors import UnreachableRouterError
from tests.agent.connectors.routeros.fakes import Peer, certificate, router


async def wait(peer: Peer) -> None:
    await peer.hears()


def pinned(port: int, fingerprint: bytes) -> Endpoint:
    return Endpoint("127.0.0.1", port, fingerprint, insecure=False)


async def test_the_certificate_pinned_is_the_one_fetched() -> None:
    """Enrolment: it is fetched, a person compares it with the router's own, and it is pinned."""
    heard: list[bytes] = []

    async def listen(peer: Peer) -> None:
        heard.append(await peer.stream.receive_some(1000))

    pair = certificate()
    async with router(listen, pair.context) as port:
        assert await fetch_certificate("127.0.0.1", port, timeout_s=20) == pair.der
        carrier = await dial(pinned(port, pair.fingerprint))
        assert carrier.certificate == pair.der
        await carrier.close(in_doubt=False)
        await carrier.close(in_doubt=True)  # again does no harm
    assert b"".join(heard) == b"", "nothing but TLS was sent"


@pytest.mark.parametrize("place", range(32))
async def test_each_byte_of_the_fingerprint_counts(place: int) -> None:
    pair = certificate()
    other = bytearray(pair.fingerprint)
    other[place] ^= 1
    async with router(wait, pair.context) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await dial(pinned(port, bytes(other)))
    assert caught.value.reason == "certificate"


def anonymous() -> ssl.SSLContext:
    """api-ssl without a certificate: anonymous Diffie-Hellman, which anybody on the way can play too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ADH:AECDH:@SECLEVEL=0")
    return context


def old() -> ssl.SSLContext:
    """A certificate, and nothing newer than TLS 1.1."""
    context = certificate("old").context
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize("context", [anonymous, old])
async def test_no_certificate_and_old_tls_are_refused(context: Callable[[], ssl.SSLContext]) -> None:
    async with router(wait, context()) as port:
        for attempt in (dial(pinned(port, bytes(32))), fetch_certificate("127.0.0.1", port, timeout_s=20)):
            with pytest.raises(UnreachableRouterError) as caught:
                await attempt
            assert caught.value.reason == "certificate"


async def test_a_port_that_hangs_up_is_unreachable() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.stream.receive_some(1000)

    async with router(hang_up) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await dial(pinned(port, bytes(32)))
    assert caught.value.reason == "hung-up"


async def test_a_certificate_is_not_waited_for_for_ever() -> None:
    async def silent(peer: Peer) -> None:
        while await peer.stream.receive_some(1000):
            pass

    async with router(silent) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await fetch_certificate("127.0.0.1", port, timeout_s=0.05)
    assert caught.value.reason == "timeout"


async def test_an_outer_cancellation_passes() -> None:
    async def silent(peer: Peer) -> None:
        while await peer.stream.receive_some(1000):
            pass

    async with router(silent) as port:
        with trio.move_on_after(0.05) as scope:
            await dial(pinned(port, bytes(32)))
    assert scope.cancelled_caught
