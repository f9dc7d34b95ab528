"""A router's certificate: its own authority, pinned by its fingerprint."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from lab.router.certificate import make_certificate


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bytes:
    """A handshake in memory; returns the certificate that the client saw."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    while len(done) < 2:
        for side in (near, far):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    return near.getpeercert(binary_form=True)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_client_that_holds_it_trusts_it(name):
    made = make_certificate("edge-1")
    seen = shake(ssl.create_default_context(cadata=made.pem.decode()), made.server_context(), name)
    assert hashlib.sha256(seen).hexdigest() == made.fingerprint


def test_a_client_that_holds_another_does_not():
    one, two = make_certificate("edge-1"), make_certificate("edge-1")
    assert one.fingerprint != two.fingerprint
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(ssl.create_default_context(cadata=two.pem.decode()), one.server_context(), "localhost")


def test_an_identity_of_any_length_has_a_certificate():
    assert len(make_certificate("x" * 200).fingerprint) == len(make_certificate("").fingerprint) == 64
