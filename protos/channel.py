"""A client's connection to a control plane, hardened once for the agent and the desk. The server is not trusted.

* Only the operator's own authority is accepted, whatever host is dialed, and only the name that it issues to servers.
* The server, and DNS, cannot change how calls are made: no service config, no proxy, no retries by gRPC.
* Messages and metadata are bounded before they are read; compressed messages are refused, so nothing inflates here.
* An error becomes a `CallFailure`: the status' name and our own list of refusals. No text of the server leaves here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import grpc
from google.protobuf.message import DecodeError

from protos import PROBLEM_KEY
from protos.limits import MESSAGE_BYTES, METADATA_BYTES, PROBLEM_BYTES, RETRY_AFTER_S_MAX
from protos.message_pb2 import Problem, Refusal

SERVER_NAME: Final = "ispcloud"
"""The name in the server's certificate: its authority is the operator's own, so any host may carry it."""

UNKNOWN: Final = "unknown"
"""A refusal with a number that this version does not know."""

_UNREACHABLE: Final = frozenset({"unavailable", "deadline-exceeded", "cancelled"})


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How soon a dead connection is noticed: a ping after `quiet_ms`, the end when none answers in `answer_ms`."""

    quiet_ms: int = 15_000
    answer_ms: int = 5_000


DEFAULT: Final = Keepalive()


def options(keepalive: Keepalive = DEFAULT) -> list[tuple[str, int | str]]:
    """Return the options of every channel to a control plane. gRPC ignores a misspelled one: a test knows them."""
    return [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.compression_enabled_algorithms_bitset", 1),  # identity only: nothing is inflated here
        ("grpc.keepalive_time_ms", keepalive.quiet_ms),
        ("grpc.keepalive_timeout_ms", keepalive.answer_ms),
        ("grpc.http2.ping_timeout_ms", keepalive.answer_ms),  # the one that decides; a minute unless set
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),  # a new client is a new connection, without an old one's pause
        ("grpc.enable_retries", 0),  # the callers decide which call is sent again
        ("grpc.service_config_disable_resolution", 1),  # DNS has no say in how calls are made
        ("grpc.enable_http_proxy", 0),
    ]


def target(server: str) -> str:
    """Return the gRPC target of `host:port`. With its scheme: else a host called `unix` would be a socket's path."""
    return f"dns:///{server}"


def open_channel(
    server: str, ca: bytes, key: bytes | None = None, certificate: bytes | None = None, keepalive: Keepalive = DEFAULT
) -> grpc.Channel:
    """Return a channel; nothing is dialed before the first call.

    Args:
        server: `host:port`.
        ca: the authority that the server's certificate must be from, PEM.
        key: the client's private key, PEM; None for the enrolment service.
        certificate: the client's certificate, PEM.
        keepalive: how soon a dead connection is noticed.
    """
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.secure_channel(target(server), credentials, options=options(keepalive))


@dataclass(frozen=True, slots=True)
class CallFailure:
    """How a call failed, in words of our own lists.

    `status` is gRPC's name of it (`deadline-exceeded`); `refusal` is the control plane's reason, "" where it gave
    none; `retry_after_s` is the pause that it asked for, 0 where it did not.
    """

    status: str
    refusal: str = ""
    retry_after_s: int = 0

    @property
    def unreachable(self) -> bool:
        """Whether there was no connection, or no answer in time: the request was taken, or not."""
        return not self.refusal and self.status in _UNREACHABLE


def failure_of_untrusted(error: grpc.RpcError) -> CallFailure:
    """Return how a call failed. Total: the server may have written anything into details and metadata."""
    call = cast("grpc.Call", error)
    status = call.code().name.lower().replace("_", "-")
    for key, value in call.trailing_metadata() or ():
        if key == PROBLEM_KEY and isinstance(value, bytes) and len(value) <= PROBLEM_BYTES:
            try:
                problem = Problem.FromString(value)
            except DecodeError:
                break
            return CallFailure(status, _word(problem.refusal), min(problem.retry_after_s, RETRY_AFTER_S_MAX))
    return CallFailure(status)


def _word(refusal: int) -> str:
    try:
        return Refusal.Name(refusal).removeprefix("REFUSAL_").lower().replace("_", "-")
    except ValueError:
        return UNKNOWN
