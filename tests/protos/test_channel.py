"""One hardened connection for the agent and the desk, and errors that carry no text of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agent.uplink import client as agent_client
from agent.uplink import errors as uplink_errors
from agent.uplink.identity import CloudIdentity as AgentIdentity
from control_plane.desk import cloud_client
from control_plane.desk import errors as desk_errors
from protos import PROBLEM_KEY, channel
from protos.limits import METADATA_BYTES, PROBLEM_BYTES, RETRY_AFTER_S_MAX
from protos.member_files import Invitation, MemberCredentials
from protos.message_pb2 import Problem, Refusal
from tests.builders.cloud import Authority, Broken

SERVER = "unix:443"
"""A host with this name is one; without the scheme gRPC would open a socket file of that name."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# --- how connections are opened ---------------------------------------------------------------------------------------


class OpenedError(Exception):
    """A channel would have been opened with these."""


def opened(monkeypatch: pytest.MonkeyPatch, dial: Callable[[], object]) -> tuple[str, dict[str, object]]:
    def record(target: str, credentials: grpc.ChannelCredentials, options: Any) -> grpc.Channel:
        raise OpenedError(target, dict(options))

    monkeypatch.setattr(grpc, "secure_channel", record)
    with pytest.raises(OpenedError) as found:
        dial()
    target, options = found.value.args
    return target, options


def dials(authority: Authority) -> dict[str, Callable[[], object]]:
    key, certificate = authority.server_pair()
    pem = authority.pem
    at_agent = AgentIdentity("0b" * 16, "north", SERVER, "00" * 32, pem, certificate, key)
    invitation = Invitation("0b" * 16, "person", "lena", SERVER, SERVER, pem.decode(), bytes(32))
    at_desk = MemberCredentials("0b" * 16, "person", "lena", SERVER, pem.decode(), certificate.decode(), key.decode())
    return {
        "agent": lambda: agent_client.CloudClient(at_agent),
        "agent-enrolment": lambda: trio.run(agent_client.enroll, SERVER, pem, bytes(32), b"", b""),
        "desk": lambda: cloud_client.DeskClient(at_desk),
        "desk-enrolment": lambda: cloud_client.enroll(invitation),
    }


@pytest.mark.parametrize("who", ["agent", "agent-enrolment", "desk", "desk-enrolment"])
def test_every_connection_is_hardened(monkeypatch: pytest.MonkeyPatch, authority: Authority, who: str) -> None:
    target, options = opened(monkeypatch, dials(authority)[who])
    assert target == f"dns:///{SERVER}"
    assert options["grpc.max_metadata_size"] == options["grpc.absolute_max_metadata_size"] == METADATA_BYTES
    assert options["grpc.compression_enabled_algorithms_bitset"] == 1
    assert options["grpc.service_config_disable_resolution"] == 1
    assert options["grpc.enable_http_proxy"] == options["grpc.enable_retries"] == 0
    assert options["grpc.ssl_target_name_override"] == "ispcloud"
    assert options == dict(channel.options())


def test_a_keepalive_of_ones_own() -> None:
    found = dict(channel.options(channel.Keepalive(quiet_ms=300, answer_ms=200)))
    assert found["grpc.keepalive_time_ms"] == 300
    assert found["grpc.keepalive_timeout_ms"] == found["grpc.http2.ping_timeout_ms"] == 200


# --- how calls fail ---------------------------------------------------------------------------------------------------


def problem(refusal: int, retry_after_s: int = 0) -> bytes:
    return Problem(refusal=refusal, retry_after_s=retry_after_s).SerializeToString()  # type: ignore[arg-type]  # any number


def test_a_refusal_is_read() -> None:
    error = Broken(grpc.StatusCode.UNAVAILABLE, (PROBLEM_KEY, problem(Refusal.REFUSAL_AGENT_AWAY, 5)))
    found = channel.failure_of_untrusted(error)
    assert found == channel.CallFailure("unavailable", "agent-away", 5)
    assert not found.unreachable, "it answered"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_without_a_refusal_the_status_counts(code: grpc.StatusCode) -> None:
    found = channel.failure_of_untrusted(Broken(code))
    assert found == channel.CallFailure(code.name.lower().replace("_", "-"))
    assert found.unreachable is (code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"))


def test_a_pause_is_bounded_and_an_unknown_refusal_is_one() -> None:
    error = Broken(grpc.StatusCode.ABORTED, (PROBLEM_KEY, problem(999, 4_000_000_000)))
    assert channel.failure_of_untrusted(error) == channel.CallFailure("aborted", "unknown", RETRY_AFTER_S_MAX)


def test_a_problem_that_is_longer_than_one_is_not_read() -> None:
    whole = problem(Refusal.REFUSAL_QUOTA)
    padded = whole + b"\xfa\x07" + bytes([PROBLEM_BYTES]) + bytes(PROBLEM_BYTES)  # a field that nobody knows
    assert Problem.FromString(padded).refusal == Refusal.REFUSAL_QUOTA
    for data, refusal in ((whole, "quota"), (padded, ""), (whole.decode(), "")):
        error = Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, (PROBLEM_KEY, data))
        assert channel.failure_of_untrusted(error).refusal == refusal


WORDS = {name.removeprefix("REFUSAL_").lower().replace("_", "-") for name in Refusal.DESCRIPTOR.values_by_name} | {
    "",
    "unknown",
}


@given(
    code=st.sampled_from(list(grpc.StatusCode)),
    metadata=st.lists(st.tuples(st.sampled_from([PROBLEM_KEY, "grpc-message"]), st.binary(max_size=80) | st.text())),
)
def test_total(code: grpc.StatusCode, metadata: list[tuple[str, bytes | str]]) -> None:
    found = channel.failure_of_untrusted(Broken(code, *metadata))
    assert found.refusal in WORDS
    assert 0 <= found.retry_after_s <= RETRY_AFTER_S_MAX
    for raised in (agent_client._translated(Broken(code, *metadata)), told_at_desk(Broken(code, *metadata))):
        assert str(raised).isascii()
        assert str(raised).isprintable()


def told_at_desk(error: grpc.RpcError) -> Exception:
    with pytest.raises((desk_errors.CloudAwayError, desk_errors.CloudRefusedError)) as found, cloud_client._told():
        raise error
    return found.value


def test_both_programs_say_the_same_of_a_failure() -> None:
    away = Broken(grpc.StatusCode.DEADLINE_EXCEEDED)
    assert isinstance(agent_client._translated(away), uplink_errors.UnreachableError)
    assert isinstance(told_at_desk(away), desk_errors.CloudAwayError)
    full = Broken(grpc.StatusCode.UNAVAILABLE, (PROBLEM_KEY, problem(Refusal.REFUSAL_QUOTA)))
    at_agent, at_desk = agent_client._translated(full), told_at_desk(full)
    assert isinstance(at_agent, uplink_errors.RemoteRefusedError)
    assert isinstance(at_desk, desk_errors.CloudRefusedError)
    assert at_agent.refusal == at_desk.refusal == "quota"
