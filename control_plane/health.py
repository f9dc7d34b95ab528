"""Asks a running control plane how it is, as a container's health check does: gRPC's health service, over TLS.

The port for enrolment answers, since it asks callers for no certificate of theirs. Both ports share one health service.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # no types are published with it

from control_plane.certificates import SERVER_NAME
from control_plane.config import Address
from control_plane.errors import InputError, LocalFailureError

ANSWER_S: Final = 5.0
"""How long the check waits for an answer; it takes milliseconds. Chosen arbitrarily, below the 10 s of the image."""


def local_address(listen: Address) -> Address:
    """Return where a server on this machine is reached that listens on `listen`.

    Raises:
        InputError: the system chooses the port.
    """
    if listen.port == 0:
        raise InputError("expected enrolment_listen with a port in config.toml, got port 0: the system chooses one")
    try:
        host = ipaddress.ip_address(listen.host)
    except ValueError:
        return listen
    if not host.is_unspecified:
        return listen
    return Address("127.0.0.1" if host.version == 4 else "::1", listen.port)


def check_serving(address: Address, authority: bytes, timeout_s: float = ANSWER_S) -> None:
    """Return if the control plane at `address` says that it serves.

    Args:
        address: its port for enrolment.
        authority: the certificate of its authority, PEM: only its own server passes.
        timeout_s: how long to wait for the answer, seconds.

    Raises:
        LocalFailureError: nobody answers, another server does, or it does not serve now.
    """
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_http_proxy", 0)]
    credentials = grpc.ssl_channel_credentials(authority)
    with grpc.secure_channel(str(address), credentials, options=options) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError as err:
            raise LocalFailureError(
                f"{address}: expected this control plane to answer in {timeout_s:.0f} s, got {err.code().name}: "
                "it does not run, or another server listens there"
            ) from err
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise LocalFailureError(
            f"{address}: expected a control plane that serves, it says that it does not: "
            "it ends, or its database cannot be written"
        )
