"""Rules for every call: a deadline, no words of an error to the outside, a count, and a line in the log.

The log is JSON, one object a line, of event names, enums and numbers: nothing that a peer sent is in it, and of other
libraries' messages only their logger and level.
"""

from __future__ import annotations

import asyncio
import enum
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from control_plane import limits
from control_plane.clock import SYSTEM, CloudClock
from control_plane.metrics import Metrics
from control_plane.refusals import refuse
from protos import message_pb2 as pb
from trust.moments import rfc3339

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Behavior = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]

HEALTH: Final = "/grpc.health.v1.Health/"


class LogEvent(enum.Enum):
    """The events that lines of the log tell."""

    STARTED = "started"
    DRAINING = "draining"
    STOPPED = "stopped"
    CALL_REFUSED = "call-refused"
    CALL_BROKE = "call-broke"
    STREAMS_ENDED = "streams-ended"
    FORGOT = "forgot"
    STORE_FAILED = "store-failed"
    LIBRARY = "library"


def write_event(event: LogEvent, **facts: str | int) -> None:
    """Write one line to standard error. `facts` are names out of our code, and numbers."""
    line = json.dumps({"at": rfc3339(SYSTEM.wall_s()), "event": event.value, **facts}, separators=(",", ":"))
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _WithoutMessages(logging.Handler):
    """Says that a library logged something, without its text: it may quote a peer."""

    def emit(self, record: logging.LogRecord) -> None:
        write_event(LogEvent.LIBRARY, logger=record.name[:64], level=record.levelname)


def silence_libraries() -> None:
    """Take the messages out of everything that other code logs."""
    logging.basicConfig(level=logging.WARNING, handlers=[_WithoutMessages()], force=True)


class CallGuard(grpc.aio.ServerInterceptor):
    """Wraps every handler. While `draining`, only health answers."""

    def __init__(self, metrics: Metrics, clock: CloudClock = SYSTEM) -> None:
        self.draining = False
        self.running: set[asyncio.Task[Any]] = set()
        """The calls under way, health's not among them: those last as long as their watchers like."""
        self._metrics, self._clock = metrics, clock

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Request, _Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Request, _Response] | None:
        """Return the wrapped handler, or None for a method that we do not have."""
        handler: Any = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or path.startswith(HEALTH):
            return handler  # type: ignore[no-any-return] # Any: the stubs know synchronous handlers only
        make, behavior, deadline_s = (
            (grpc.unary_stream_rpc_method_handler, handler.unary_stream, None)
            if handler.response_streaming
            else (grpc.unary_unary_rpc_method_handler, handler.unary_unary, limits.UNARY_S)
        )
        wrapped: Any = self._wrap(path.rpartition("/")[2], behavior, deadline_s)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _wrap(self, method: str, behavior: _Behavior, deadline_s: float | None) -> _Behavior:
        async def call(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
            begun = self._clock.monotonic_s()
            status = grpc.StatusCode.OK
            self._note(asyncio.current_task())
            try:
                if self.draining:
                    await refuse(context, pb.REFUSAL_DRAINING, limits.DRAIN_RETRY_S)
                async with asyncio.timeout(deadline_s):
                    return await behavior(request, context)
            except grpc.aio.AbortError:
                status = _status(context)
                write_event(LogEvent.CALL_REFUSED, method=method, status=status.name)
                raise
            except asyncio.CancelledError:
                status = grpc.StatusCode.CANCELLED
                raise
            except BaseException as err:
                status = grpc.StatusCode.INTERNAL
                write_event(LogEvent.CALL_BROKE, method=method, error=type(err).__name__)
                # In the place of what gRPC would send, which is the error's own text
                await _say_nothing_more(context)
                raise
            finally:
                self._metrics.calls.labels(method, status.name).inc()
                if deadline_s is not None:
                    self._metrics.seconds.labels(method).observe(self._clock.monotonic_s() - begun)

        return call

    def _note(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self.running.add(task)
            task.add_done_callback(self.running.discard)


async def _say_nothing_more(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await refuse(context, pb.REFUSAL_INTERNAL)


def _status(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode:
    code: Any = context.code()
    found = [status for status in grpc.StatusCode if code in (status, status.value[0])]
    return found[0] if found else grpc.StatusCode.UNKNOWN
