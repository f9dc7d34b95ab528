"""How a call is refused: a status, the refusal's name, and a `Problem` in the trailing metadata; no other words."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from protos import PROBLEM_KEY
from protos.message_pb2 import Problem, Refusal

STATUS: Final = {
    Refusal.REFUSAL_MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.REFUSAL_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.REFUSAL_WRONG_KIND: grpc.StatusCode.PERMISSION_DENIED,
    Refusal.REFUSAL_UNKNOWN_AGENT: grpc.StatusCode.NOT_FOUND,
    Refusal.REFUSAL_REF_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    Refusal.REFUSAL_QUOTA: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.REFUSAL_AGENT_AWAY: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.REFUSAL_NOT_ENROLLED: grpc.StatusCode.UNAUTHENTICATED,
    Refusal.REFUSAL_REVOKED: grpc.StatusCode.UNAUTHENTICATED,
    Refusal.REFUSAL_BAD_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
    Refusal.REFUSAL_BAD_CSR: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.REFUSAL_DRAINING: grpc.StatusCode.UNAVAILABLE,
    Refusal.REFUSAL_UNKNOWN_LOG: grpc.StatusCode.NOT_FOUND,
    Refusal.REFUSAL_BAD_PROOF: grpc.StatusCode.FAILED_PRECONDITION,
    Refusal.REFUSAL_INTERNAL: grpc.StatusCode.INTERNAL,
}
"""Every refusal but UNSPECIFIED, and the status with which it ends the call."""


async def refuse(context: grpc.aio.ServicerContext[Any, Any], refusal: Refusal, retry_after_s: int = 0) -> NoReturn:
    """End the call. Never returns.

    Args:
        context: of the call.
        refusal: why.
        retry_after_s: when it may be tried again, seconds; 0: not told.
    """
    problem = Problem(refusal=refusal, retry_after_s=retry_after_s)
    await context.abort(
        STATUS[refusal], Refusal.Name(refusal), trailing_metadata=((PROBLEM_KEY, problem.SerializeToString()),)
    )
