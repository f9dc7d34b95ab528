"""From an invitation to a certificate, against servers that are right and wrong; and the command line around it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from agent.cli import app
from agent.store.identity import create_identity, load_identity
from agent.store.vault import Vault, create_store_key, load_store_key
from agent.uplink import enrolment, limits
from agent.uplink import identity as identities
from agent.uplink.client import CloudClient
from agent.uplink.enrolment import read_invitation_untrusted
from agent.uplink.errors import (
    CredentialsError,
    MalformedInvitationError,
    RemoteMisbehavedError,
    RemoteRefusedError,
    RemoteUplinkError,
    UnreachableError,
)
from protos import agent_pb2
from protos import message_pb2 as pb
from protos.member_files import Invitation
from tests.agent.uplink.rig import make_identity
from tests.builders.cloud import AGENT, NASTY, NOW, OPERATOR, TOKEN, Authority, Cloud, message, serving
from tests.builders.expect import present
from trust import envelope, verify

NOW_S = NOW.timestamp()


@pytest.fixture
def port(cloud: Cloud) -> Iterator[int]:
    with serving(cloud, client_auth=False) as port:
        yield port


def document(authority: Authority, port: int, **changes: object) -> dict[str, object]:
    return {
        "format": "ispagents-invitation-v0",
        "operator": OPERATOR,
        "kind": "agent",
        "name": "agent-1",
        "server": f"127.0.0.1:{port}",
        "enrolment": f"127.0.0.1:{port}",
        "ca": authority.pem.decode(),
        "token": TOKEN.hex(),
        **changes,
    }


def invitation(authority: Authority, port: int, **changes: object) -> Invitation:
    return read_invitation_untrusted(json.dumps(document(authority, port, **changes)).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "ispagents-invitation-v1"},
        {"kind": "person"},
        {"kind": "root"},
        {"name": "../../etc"},
        {"operator": "0b"},
        {"server": "unix:/run/x"},
        {"server": "host"},
        {"server": "host:0"},
        {"server": "host:65536"},
        {"server": "dns:///host:1"},
        {"enrolment": "a:1,b:2"},
        {"ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        {"ca": ""},
        {"token": "00"},
        {"more": 1},
    ],
)
def test_what_is_no_invitation(authority: Authority, change: dict[str, object]) -> None:
    with pytest.raises(MalformedInvitationError):
        invitation(authority, 1, **change)


def test_not_even_json() -> None:
    with pytest.raises(MalformedInvitationError):
        read_invitation_untrusted(b"\xff")


@pytest.mark.parametrize("server", ["cloud.example:443", "192.0.2.1:50051", "[2001:db8::1]:443"])
def test_servers_that_may_be_named(authority: Authority, server: str) -> None:
    assert invitation(authority, 1, server=server).server == server


async def test_an_invitation_gives_a_certificate_for_our_key(authority: Authority, cloud: Cloud, port: int) -> None:
    found = await enrolment.enroll(invitation(authority, port), AGENT, b"statement", NOW_S)
    begins_s, ends_s = enrolment.lifetime(found)
    assert begins_s < NOW_S < ends_s
    assert (found.operator, found.name, found.server) == (OPERATOR, "agent-1", f"127.0.0.1:{port}")
    with serving(cloud) as mutual:
        connection = CloudClient(replace(found, server=f"127.0.0.1:{mutual}"))
        assert await connection.submit(message(pb.KIND_PLAN)) is False
        assert await connection.submit(message(pb.KIND_PLAN)) is True
        connection.close()


async def test_a_token_that_is_not_good(authority: Authority, port: int) -> None:
    with pytest.raises(RemoteRefusedError, match="bad-token") as refused:
        await enrolment.enroll(invitation(authority, port, token="00" * 32), AGENT, b"s", NOW_S)
    assert NASTY not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_a_server_that_is_not_of_the_invitations_authority(port: int) -> None:
    with pytest.raises(UnreachableError):
        await enrolment.enroll(invitation(Authority(), port), AGENT, b"s", NOW_S)


@pytest.mark.parametrize(
    "certificate",
    [
        {"uri": f"ispagents://{OPERATOR}/agent/{'00' * 16}"},
        {"uri": f"ispagents://{'00' * 16}/agent/{AGENT}"},
        {"uri": f"ispagents://{OPERATOR}/person/{AGENT}"},
        {"ends": timedelta(minutes=-1)},
        {"begins": timedelta(days=1)},
    ],
)
async def test_certificates_that_are_not_for_us(
    authority: Authority, cloud: Cloud, port: int, certificate: dict[str, Any]
) -> None:
    cloud.certificate = certificate
    with pytest.raises(RemoteMisbehavedError, match="expected"):
        await enrolment.enroll(invitation(authority, port), AGENT, b"s", NOW_S)


def _other_key(authority: Authority) -> bytes:
    return authority.client(enrolment.new_key()[1])


def _other_authority(_: Authority) -> bytes:
    return Authority().client(enrolment.new_key()[1])


def _no_name(authority: Authority) -> bytes:
    return bytes(authority.certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    "make",
    [_other_key, _other_authority, _no_name, lambda a: b"", lambda a: b"\x30\x82" * 50, lambda a: bytes(20_000)],
)
def test_bytes_that_are_not_our_certificate(authority: Authority, make: Callable[[Authority], bytes]) -> None:
    ours = make_identity(authority, 1)
    with pytest.raises(RemoteMisbehavedError):
        enrolment.certificate_untrusted(make(authority), ours, AGENT, NOW_S)


def test_a_lifetime_needs_a_certificate(authority: Authority) -> None:
    with pytest.raises(CredentialsError):
        enrolment.lifetime(replace(make_identity(authority, 1), certificate=b"none"))


def test_the_request_asks_for_nothing_but_a_key() -> None:
    _, csr = enrolment.new_key()
    request = x509.load_der_x509_csr(csr)
    assert request.is_signature_valid
    assert list(request.subject) == []
    assert list(request.extensions) == []


async def test_a_cancelled_call_ends_on_the_other_side_too(authority: Authority, cloud: Cloud) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(_: pb.Message, context: Any) -> None:
        context.add_callback(ended.set)
        begun.set()
        ended.wait(20)

    cloud.before_submit = slow
    with serving(cloud) as port:
        connection = CloudClient(make_identity(authority, port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.submit, message(pb.KIND_PLAN))
            await trio.to_thread.run_sync(begun.wait, 20)
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(ended.wait, 20)
        connection.close()


async def test_a_call_that_is_not_answered_ends(
    authority: Authority, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def slow(_: pb.Message, context: Any) -> None:
        context.add_callback(ended.set)
        ended.wait(20)

    monkeypatch.setattr(limits, "CALL_S", 0.3)
    cloud.before_submit = slow
    with serving(cloud) as port:
        connection = CloudClient(make_identity(authority, port))
        with pytest.raises(UnreachableError, match="deadline-exceeded"):
            await connection.submit(message(pb.KIND_PLAN))
        connection.close()


@pytest.mark.parametrize("size", [0, limits.COSIGNATURE_BYTES + 1])
async def test_a_cosignature_that_is_none(authority: Authority, cloud: Cloud, size: int) -> None:
    cloud.witness = lambda b, c: agent_pb2.AddCheckpointReply(cosignatures=bytes(size))
    with serving(cloud) as port:
        connection = CloudClient(make_identity(authority, port))
        with pytest.raises(RemoteUplinkError, match="cosignature"):
            await connection.add_checkpoint(b"x")
        connection.close()


# --- ispagent cloud ---

CONFIG = """
[agent]
name = "agent-1"
state_dir = "state"
timezone = "UTC"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(CONFIG)
    state = tmp_path / "state"
    state.mkdir()
    create_store_key(state / "store.key")
    create_identity(state, load_store_key(state / "store.key"))
    return tmp_path


def ispagent(site: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["cloud", *words, "--config", str(site / "agent.toml")])
    return done.exit_code, done.output


def test_enroll_and_leave(site: Path, authority: Authority, cloud: Cloud, port: int) -> None:
    seen: list[Any] = []
    enroll = cloud.Enroll

    def keep(request: Any, context: Any) -> Any:
        seen.append(request)
        return enroll(request, context)

    key = load_store_key(site / "state" / "store.key")
    agent = load_identity(site / "state", key).agent
    cloud.certificate = {"uri": f"ispagents://{OPERATOR}/agent/{agent}"}
    cloud.Enroll = keep  # type: ignore[method-assign]  # looked at on its way
    with serving(cloud, client_auth=False) as port:
        (site / "invite.json").write_text(json.dumps(document(authority, port)))
        code, said = ispagent(site, "enroll", "--invite", str(site / "invite.json"))
        assert (code, "is enrolled at" in said) == (0, True), said
        statement = verify.verify_enroll(envelope.decode_untrusted(seen[0].identity))
        assert (statement.agent, statement.handle) == (agent, "agent-1")
        vault = Vault(key, site / "state" / "keys.db")
        first = present(identities.load(site / "state", vault))

        code, said = ispagent(site, "enroll", "--invite", str(site / "invite.json"))
        assert (code, "--again" in said) == (2, True)
        assert identities.load(site / "state", vault) == first
        code, _ = ispagent(site, "enroll", "--invite", str(site / "invite.json"), "--again")
        assert code == 0
        second = present(identities.load(site / "state", vault))
        assert second.enrolment != first.enrolment
        vault.close()

    assert ispagent(site, "leave", "--yes")[0] == 0
    assert ispagent(site, "leave", "--yes")[0] == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "11" * 32}, 3),
        ({"name": "agent-2"}, 2),
        ({"kind": "service"}, 2),
        ({"enrolment": "127.0.0.1:1"}, 1),
    ],
)
def test_enroll_says_what_is_wrong(
    site: Path, authority: Authority, port: int, change: dict[str, object], code: int
) -> None:
    (site / "invite.json").write_text(json.dumps(document(authority, port, **change)))
    got, said = ispagent(site, "enroll", "--invite", str(site / "invite.json"))
    assert got == code, said
    assert "\x1b" not in said
    assert identities.stamp(site / "state") is None
