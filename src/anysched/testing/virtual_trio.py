"""The Trio clock that is virtual.

Trio asks its clock how long to wait whenever no task can go on, so that is where time is made to pass. This is not
``trio.testing.MockClock``: that one jumps ahead while a worker thread is at work, adds delays up where it could take
the timer's own time, and waits for ever when there is no timer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar, TypeVarTuple, cast

import anyio
import trio
import trio.testing
from attrs import define, field

from .virtual import Deadlock, Outside, VirtualTime, where_tasks_wait

__all__ = ["run"]

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")

# What Trio itself always waits for: a socket by which other threads wake it up.
_SOCKETS_OF_ITS_OWN = 1
# Real seconds; any number longer than what a task may ask of wait_all_tasks_blocked().
_NO_HURRY = 3600.0


def run(virtual: VirtualTime, main: Callable[[*ArgsT], Awaitable[T]], /, *args: *ArgsT) -> T:
    """Run `main` in a new Trio event loop whose time is `virtual`."""
    clock = _VirtualClock(virtual=virtual)

    try:
        result = anyio.run(clock.watch, main, args, backend="trio", backend_options={"clock": clock})
    except Exception as error:
        if clock.deadlock is None:
            raise

        raise clock.deadlock from error

    if clock.deadlock is not None:
        raise clock.deadlock

    return cast("T", result)


@define(eq=False, kw_only=True)
class _VirtualClock(trio.abc.Clock):
    virtual: VirtualTime
    # Set while the main function runs, and both together. Outside of it Trio is tidying up, and may well be idle.
    scope: trio.CancelScope | None = field(default=None, init=False)
    main_task: trio.lowlevel.Task | None = field(default=None, init=False)
    deadlock: Deadlock | None = field(default=None, init=False)

    async def watch(self, main: Callable[[*ArgsT], Awaitable[T]], args: tuple[*ArgsT]) -> T | None:
        """Run `main`. It is cancelled, and None returned, when everything stands still."""
        with trio.CancelScope() as scope:
            self.scope, self.main_task = scope, trio.lowlevel.current_task()
            try:
                return await main(*args)
            finally:
                self.scope = self.main_task = None

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        # Trio asks at once after it has waited, before it looks which timers are due.
        self.virtual.end_wait()
        return self.virtual.seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline <= self.virtual.seconds:
            return 0

        if _somebody_waits_for_idleness():
            return _NO_HURRY

        if (outside := _outside()) is not Outside.NOTHING:
            return self.virtual.begin_wait(deadline, outside)

        if deadline < math.inf:
            self.virtual.jump(deadline)
            return 0

        return self._stand_still()

    def _stand_still(self) -> float:
        if self.scope is None or self.main_task is None:
            return _NO_HURRY

        if self.deadlock is None:
            self.deadlock = Deadlock(where_tasks_wait())
            self.scope.cancel(reason="deadlock in virtual time")
        elif not _interrupt(self.main_task, self.deadlock):
            raise self.deadlock  # which ends the loop at once, and untidily

        return 0


def _interrupt(task: trio.lowlevel.Task, error: Exception) -> bool:
    """Raise an error where a task and its children wait, shielded or not. Returns whether any of them took it."""

    def raise_error() -> NoReturn:
        raise error

    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    if sum(_interrupt(child, error) for child in children):
        return True  # the task itself then hears of it from its nursery

    attempt = cast("Callable[[Callable[[], NoReturn]], None] | None", getattr(task, "_attempt_abort", None))
    if attempt is None or task.child_nurseries:
        return False

    attempt(raise_error)
    return trio.lowlevel.current_statistics().tasks_runnable > 0


def _outside() -> Outside:
    statistics = trio.lowlevel.current_statistics()
    # The names differ with the operating system's way of waiting.
    names = ("tasks_waiting_read", "tasks_waiting_write", "tasks_waiting", "tasks_waiting_overlapped")
    sockets = sum(getattr(statistics.io_statistics, name, 0) for name in names)
    if sockets > _SOCKETS_OF_ITS_OWN:
        return Outside.WORLD

    # Something in the queue is a wake-up by another thread that Trio has not read from its socket yet.
    if trio.testing.active_thread_count() > 0 or statistics.run_sync_soon_queue_size:
        return Outside.THREADS

    return Outside.NOTHING


def _somebody_waits_for_idleness() -> bool:
    """Whether a task is in ``wait_all_tasks_blocked()``, which goes before time. Trio has no public word for it."""
    module = sys.modules.get("trio._core._run")
    context = getattr(module, "GLOBAL_RUN_CONTEXT", None)
    runner = getattr(context, "runner", None)
    return bool(getattr(runner, "waiting_for_idle", False))
