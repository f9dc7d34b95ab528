"""The certificate authority: what it signs, what it refuses, and that gRPC's TLS takes it, over real sockets."""

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from control_plane import certificates, config
from control_plane.auth import CHECK_S, server_credentials
from control_plane.certificates import Authority, Pair
from control_plane.errors import BadCsrError, MalformedCertificateError, ServerConfigError
from tests.control_plane.enrolling import NOW, config_text, csr, key_pem, new_key

URI = f"ispagents://{'00' * 16}/person/lena"
DAY = 86_400


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(NOW)


# --- what is in them ---


def test_a_client_certificate_has_one_identity_and_seven_days(authority: Authority) -> None:
    key = new_key()
    issued = authority.issue_client_untrusted(csr(key), URI, NOW)
    made = x509.load_der_x509_certificate(issued.der)
    assert made.public_key() == key.public_key()
    assert issued.not_after_s == NOW + 7 * DAY
    made.verify_directly_issued_by(authority.certificate)
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert certificates.read_peer_untrusted(issued.pem) == certificates.CertifiedPeer(URI, issued.serial, NOW + 7 * DAY)


def test_a_request_gives_its_key_and_nothing_else(authority: Authority) -> None:
    """A request that asks to be the server, or an authority, gets a client's certificate as any other."""
    key = new_key()
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ispcloud")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ispcloud")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    issued = authority.issue_client_untrusted(greedy.public_bytes(serialization.Encoding.DER), URI, NOW)
    made = x509.load_der_x509_certificate(issued.der)
    san = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [(type(n), n.value) for n in san] == [(x509.UniformResourceIdentifier, URI)]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert made.subject.rfc4514_string() == "CN=ispcloud client"


def test_the_server_certificate_is_renewed_below_a_third(authority: Authority) -> None:
    pair = authority.issue_server(NOW)
    made = x509.load_pem_x509_certificate(pair.certificate)
    assert int(made.not_valid_after_utc.timestamp()) == NOW + 90 * DAY
    assert not certificates.needs_renewal(pair, authority, NOW + 60 * DAY)
    assert certificates.needs_renewal(pair, authority, NOW + 60 * DAY + 1)
    assert certificates.needs_renewal(pair, Authority.create(NOW), NOW)


# --- what is refused ---


def _bad_signature() -> bytes:
    good = csr()
    return good[:-1] + bytes([good[-1] ^ 1])


@pytest.mark.parametrize(
    ("request_der", "says"),
    [
        (b"", "got something else"),
        (b"\x30\x03\x02\x01\x00", "got something else"),
        (b"\x00" * 2049, "at most 2048 bytes, got 2049"),
        (csr(ed25519.Ed25519PrivateKey.generate()), "got another kind of key"),
        (csr(rsa.generate_private_key(65537, 2048)), "got another kind of key"),
        (csr(ec.generate_private_key(ec.SECP384R1())), "got another kind of key"),
        (_bad_signature(), "its signature is bad"),
        (csr().replace(b"\x02\x01\x00", b"\x02\x01\x5d", 1), "got something else"),  # version 93
    ],
)
def test_bad_requests(authority: Authority, request_der: bytes, says: str) -> None:
    with pytest.raises(BadCsrError, match=says):
        authority.issue_client_untrusted(request_der, URI, NOW)


_GOOD = csr()


@given(st.binary(max_size=300) | st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(1, 255)).map(
    lambda flip: bytes(b ^ (flip[1] if i == flip[0] else 0) for i, b in enumerate(_GOOD))
))  # fmt: skip
def test_any_request_gives_a_certificate_or_our_error(authority: Authority, data: bytes) -> None:
    try:
        issued = authority.issue_client_untrusted(data, URI, NOW)
    except BadCsrError:
        return
    assert x509.load_der_x509_csr(data).public_key() == x509.load_der_x509_certificate(issued.der).public_key()


@given(st.binary(max_size=300))
def test_any_peer_gives_an_identity_or_our_error(data: bytes) -> None:
    with pytest.raises(MalformedCertificateError):
        certificates.read_peer_untrusted(data)


def test_certificates_that_name_nobody(authority: Authority) -> None:
    for certificate in (authority.pem, authority.issue_server(NOW).certificate):
        with pytest.raises(MalformedCertificateError):
            certificates.read_peer_untrusted(certificate)


def test_files_that_are_no_authority(authority: Authority) -> None:
    pair = authority.pair()
    assert Authority.load(pair).pem == authority.pem
    for bad in (Pair(b"", pair.key), Pair(pair.certificate, b""), Pair(pair.certificate, key_pem(new_key()))):
        with pytest.raises(ServerConfigError, match="authority"):
            Authority.load(bad)


# --- gRPC's TLS ---


def _echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"".join(context.auth_context().get("x509_pem_cert", []))


@contextmanager
def serving(credentials: grpc.ServerCredentials) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Echo": method}),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def call(port: int, roots: bytes, pair: Pair | None = None, name: str = certificates.SERVER_NAME) -> bytes:
    """Return what the server saw as our certificate."""
    key, chain = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    options = [("grpc.ssl_target_name_override", name)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        answer: bytes = channel.unary_unary("/t.T/Echo")(b"", timeout=10)
        return answer


def client_pair(authority: Authority, now_s: int | None = None) -> Pair:
    key = new_key()
    return Pair(authority.issue_client_untrusted(csr(key), URI, now_s or int(time.time())).pem, key_pem(key))


def test_a_client_is_let_in_by_its_certificate_only(tmp_path: Path) -> None:
    data = config.create(tmp_path / "cloud", config_text(), int(time.time()))
    stranger = Authority.create(int(time.time()))
    mine = client_pair(data.authority)
    with serving(server_credentials(data, clients=True)) as port:
        assert certificates.read_peer_untrusted(call(port, data.authority.pem, mine)).uri == URI
        past = client_pair(data.authority, int(time.time()) - 8 * DAY)
        for refused in (None, client_pair(stranger), past):
            with pytest.raises(grpc.RpcError):
                call(port, data.authority.pem, refused)
        for roots, name in ((stranger.pem, certificates.SERVER_NAME), (data.authority.pem, "localhost")):
            with pytest.raises(grpc.RpcError):
                call(port, roots, mine, name)
    with serving(server_credentials(data, clients=False)) as port:
        assert call(port, data.authority.pem) == b""


def test_a_client_cannot_play_the_server(tmp_path: Path) -> None:
    data = config.create(tmp_path / "cloud", config_text(), int(time.time()))
    pair = client_pair(data.authority)
    with serving(grpc.ssl_server_credentials([(pair.key, pair.certificate)])) as port, pytest.raises(grpc.RpcError):
        call(port, data.authority.pem)


def test_the_server_certificate_changes_while_it_runs(tmp_path: Path) -> None:
    """Begun 61 days ago: the certificate of then is good for 29 more days, and the next handshake brings a new one."""
    real = time.time()
    clock = [real - 61 * DAY]
    data = config.create(tmp_path / "cloud", config_text(), int(clock[0]))
    begun = data.server_pair(int(clock[0]))
    mine = client_pair(data.authority)
    with serving(server_credentials(data, clients=True, wall_s=lambda: clock[0])) as port:
        call(port, data.authority.pem, mine)
        assert (data.path / "server.pem").read_bytes() == begun.certificate + begun.key
        clock[0] = real
        call(port, data.authority.pem, mine)
        renewed = data.server_pair(int(real))
        assert renewed.certificate != begun.certificate
        assert _served(port) == renewed.certificate
        # Broken meanwhile: what was read before goes on
        (data.path / "server.pem").write_bytes(b"rubbish")
        clock[0] += CHECK_S
        call(port, data.authority.pem, mine)


def _served(port: int) -> bytes:
    return ssl.get_server_certificate(("127.0.0.1", port)).encode()
