"""trio's loop for a run in virtual time: the same passes, and the same steps in the same order, with less CPU.

trio's own loop serves guest runs, signals, a kernel with news and instruments of all kinds: it spent more on its
questions than most tasks spend on a step. The differences:

- The kernel is asked only while something waits in trio's entry queue, and once more after that. Nothing else comes
  from outside: no kernel's socket is waited for.
- A pass of one task is not shuffled: that draws nothing.
- Tasks that give way or are woken without a value share one outcome.
- Scopes register their deadlines without a generator, and a new one of which nothing is canceled is not looked through.
- `trio.current_time` is the clock's own method.

`test_passes.py` plays the same tasks by both loops.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, cast
from unittest import mock

import trio
import trio._core._run as own
from outcome import Error, Outcome, Value
from trio._core._instrumentation import INSTRUMENT_LOGGER, Instruments
from trio._core._ki import enable_ki_protection
from trio._core._run import GLOBAL_RUN_CONTEXT, Runner, Task
from trio._core._traps import CancelShieldedCheckpoint, WaitTaskRescheduled


class _Nothing:
    """The outcome None. It may be unwrapped again and again; one of trio's own may be so once."""

    def unwrap(self) -> None:
        """Return None."""


_PRUNED: Final = own.DEADLINE_HEAP_MIN_PRUNE_THRESHOLD
_NOTHING: Final = cast("Outcome[None]", _Nothing())


class _Instruments(dict[str, Any]):
    """trio's `Instruments`, as a dictionary: trio asks it in each step of a task."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.data = self

    add_instrument, remove_instrument = Instruments.add_instrument, Instruments.remove_instrument

    def call(self, hook: str, *args: object) -> None:
        """Tell the instruments of something; one that fails is removed, as by trio."""
        for instrument in tuple(self[hook]):
            try:
                getattr(instrument, hook)(*args)
            except BaseException:  # noqa: BLE001  as trio: the run goes on without the instrument
                self.fails(hook, instrument)

    def fails(self, hook: str, instrument: Any) -> None:
        """Remove an instrument that raised the present error."""
        self.remove_instrument(instrument)
        INSTRUMENT_LOGGER.exception("%r failed when %r was called, and is removed", instrument, hook)


class _MayChangeDeadline:
    """Registers the deadline of a scope anew after the block, as trio's own generator does."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Any) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        scope = self._scope
        old = scope._registered_deadline
        new = math.inf if scope._cancel_status is None or scope._cancel_called else scope._deadline
        if old != new:
            scope._registered_deadline = new
            deadlines = GLOBAL_RUN_CONTEXT.runner.deadlines
            if old != math.inf:
                deadlines.remove(old, scope)
            if new != math.inf:
                deadlines.add(new, scope)


def _may_change_deadline(scope: trio.CancelScope) -> _MayChangeDeadline:
    return _MayChangeDeadline(scope)


@enable_ki_protection
def _enter(scope: Any) -> Any:
    """Enter a scope, as trio's own method does: the same in one frame."""
    task = GLOBAL_RUN_CONTEXT.task
    if scope._has_been_entered:
        raise RuntimeError("Each CancelScope may only be used for a single 'with' block")
    scope._has_been_entered = True
    now = own.current_time()
    if scope._relative_deadline != math.inf:
        scope._deadline = now + scope._relative_deadline
        scope._relative_deadline = math.inf
    if now >= scope._deadline:
        scope._cancel(own.CancelReason(source="deadline"))
    scope._cancel_status = own.CancelStatus(scope=scope, parent=task._cancel_status)
    task._activate_cancel_status(scope._cancel_status)
    if scope._deadline != math.inf and not scope._cancel_called:
        scope._registered_deadline = scope._deadline
        GLOBAL_RUN_CONTEXT.runner.deadlines.add(scope._deadline, scope)
    return scope


def _join(status: Any) -> None:
    """Put a new status below its parent. It is canceled only where its scope or the parent is."""
    parent = status._parent
    if parent is not None:
        parent._children.add(status)
        if status._scope._cancel_called or parent.effectively_cancelled:
            status.recalculate()


def _reschedule(runner: Runner, task: Task, next_send: Outcome[Any] = own._NO_SEND) -> None:
    """Let a task go on in the next pass, as trio's method does."""
    assert task._next_send_fn is None
    task._next_send_fn = task.coro.send
    task._next_send = _NOTHING if next_send is own._NO_SEND else next_send
    task._abort_func = None
    task.custom_sleep_data = None
    runner.runq.append(task)


@enable_ki_protection
def _passes(
    runner: Runner,
    async_fn: Any,
    args: tuple[Any, ...],
    host_uses_signal_set_wakeup_fd: bool = False,
) -> Generator[float, Any, None]:
    """Run the tasks, as trio's `unrolled_run`; yield how long the kernel may wait, and take its events."""
    try:
        if not host_uses_signal_set_wakeup_fd:
            runner.entry_queue.wakeup.wakeup_on_signals()
        runner.instruments = hooks = cast("Any", _Instruments(runner.instruments.data))
        clock, runq, queue, draw = runner.clock, runner.runq, runner.entry_queue, own._r
        clock.start_clock()
        runner.init_task = runner.spawn_impl(runner.init, (async_fn, args), None, "<init>", system_task=True)
        asks = True
        while runner.tasks:
            timeout = 0.0
            if not runq:
                wait_s = clock.deadline_to_sleep_time(runner.deadlines.next_deadline())
                timeout = min(max(0.0, wait_s), own._MAX_TIMEOUT)
            idle = False
            if runner.waiting_for_idle:
                cushion = runner.waiting_for_idle.keys()[0][0]
                if cushion < timeout:
                    timeout, idle = cushion, True
            if "before_io_wait" in hooks:
                hooks.call("before_io_wait", timeout)
            waits = bool(queue.queue or queue.idempotent_queue)
            events = None
            if timeout or waits or asks:
                events = yield timeout
                runner.io_manager.process_events(events)
                asks = waits
            now, deadlines = clock.current_time(), runner.deadlines
            heap = deadlines._heap
            over = heap and heap[0][0] <= now
            if (over or len(heap) > deadlines._active * 2 + _PRUNED) and deadlines.expire(now):
                idle = False
            if idle and not runq and not events:
                for key, task in list(runner.waiting_for_idle.items()):
                    if key[0] == cushion:
                        del runner.waiting_for_idle[key]
                        runner.reschedule(task)
            batch = list(runq)
            runq.clear()
            if not own._ALLOW_DETERMINISTIC_SCHEDULING:
                if draw.random() < 0.5:
                    batch.reverse()
            elif len(batch) > 1:
                batch.sort(key=_counter)
                if len(batch) > 2:
                    draw.shuffle(batch)
                elif not draw._randbelow(2):  # as it shuffles two
                    batch.reverse()
            while batch:
                task = batch.pop()
                GLOBAL_RUN_CONTEXT.task = task
                send, value = task._next_send_fn, task._next_send
                task._next_send_fn = task._next_send = None
                final: Outcome[object] | None = None
                try:
                    msg = task.context.run(send, value)
                except StopIteration as stop:
                    final = Value(stop.value)
                except BaseException as err:  # noqa: BLE001  the outcome of the task, as by trio
                    final = Error(err.with_traceback(_below(err)))
                if final is not None:
                    runner.task_exited(task, final)
                    final = None
                else:
                    task._schedule_points += 1
                    if msg is CancelShieldedCheckpoint:
                        task._next_send_fn, task._next_send = task.coro.send, _NOTHING
                        runq.append(task)
                    elif type(msg) is WaitTaskRescheduled:
                        task._cancel_points += 1
                        task._abort_func = msg.abort_func
                        if runner.ki_pending and task is runner.main_task:
                            task._attempt_delivery_of_pending_ki()
                        if task._cancel_status.effectively_cancelled:
                            task._attempt_delivery_of_any_pending_cancel()
                    else:
                        raise trio.TrioInternalError(f"a task yielded {msg!r}: no coroutine of a world does")
                    del msg
                for instrument in tuple(hooks.get("after_task_step", ())):
                    try:
                        instrument.after_task_step(task)
                    except BaseException:  # noqa: BLE001  as `call` does, in one frame less
                        hooks.fails("after_task_step", instrument)
                del GLOBAL_RUN_CONTEXT.task, task, send, value
    except (trio.TrioInternalError, GeneratorExit):
        raise
    except BaseException as err:
        raise trio.TrioInternalError("internal error in the loop of a simulation") from err
    finally:
        runner.close()
        GLOBAL_RUN_CONTEXT.__dict__.clear()
        if runner.ki_pending:
            pressed = KeyboardInterrupt()
            if isinstance(runner.main_task_outcome, Error):
                pressed.__context__ = runner.main_task_outcome.error
            runner.main_task_outcome = Error(pressed)


def _counter(task: Task) -> int:
    return task._counter


def _below(err: BaseException) -> Any:
    """Return the traceback of an error without the loop's own frames, as trio does."""
    found = err.__traceback__
    for _ in range(1 + own.CONTEXT_RUN_TB_FRAMES):
        if found is not None:
            found = found.tb_next
    return found


@contextmanager
def own_passes(clock: trio.abc.Clock) -> Iterator[None]:
    """Let `trio.run` with this clock run by this loop, for the block."""
    with ExitStack() as stack:
        for place, name, made in (
            (own, "unrolled_run", _passes),
            (Runner, "reschedule", _reschedule),
            (trio.CancelScope, "_might_change_registered_deadline", _may_change_deadline),
            (trio.CancelScope, "__enter__", _enter),
            (own.CancelStatus, "__attrs_post_init__", _join),
            (own, "current_time", clock.current_time),
            (trio, "current_time", clock.current_time),
        ):
            stack.enter_context(mock.patch.object(place, name, made))
        yield
