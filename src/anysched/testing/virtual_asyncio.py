"""The asyncio event loop whose time is virtual.

The selector is where asyncio waits, so that is where time is made to pass: it asks the operating system what is ready
without waiting, and if nothing is, lets the loop jump. Time is set to the next timer's own ``when``. Adding the timeout
that asyncio passes would not do: after some months the sum rounds to just below the timer, and the loop spins for ever.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
from collections.abc import Awaitable, Callable, Sized
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from .virtual import Deadlock, Outside, VirtualTime, where_tasks_wait

__all__ = ["run"]

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")


def run(virtual: VirtualTime, main: Callable[[*ArgsT], Awaitable[T]], /, *args: *ArgsT) -> T:
    """Run `main` in a new asyncio event loop whose time is `virtual`."""
    options = {"loop_factory": lambda: _VirtualLoop(virtual)}
    return anyio.run(main, *args, backend="asyncio", backend_options=options)


class _PatientSelector(selectors.DefaultSelector):
    """A selector that asks before it waits."""

    def __init__(self, patience: Callable[[], float | None], after: Callable[[], None]) -> None:
        super().__init__()
        self._patience = patience
        self._after = after

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready

        seconds = self._patience()
        if seconds == 0:
            return ready

        ready = super().select(seconds)
        self._after()
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    # asyncio's own: the timers as a heap. When the selector is called, the first is never a cancelled one.
    _scheduled: list[asyncio.TimerHandle]
    # asyncio's own: a timer is due if it is less than this ahead. Its usual nanosecond is lost in floating point after
    # half a year, and then no timer is ever due; half of the microsecond that lies between two of ours never is.
    _clock_resolution: float

    def __init__(self, virtual: VirtualTime) -> None:
        self._virtual = virtual
        self._calls_in_threads = 0
        self._children: list[asyncio.SubprocessTransport] = []
        selector = _PatientSelector(self._pass_time, virtual.end_wait)
        super().__init__(selector)
        self._clock_resolution = 0.5e-6
        self._files = selector.get_map()
        self._files_of_its_own = len(self._files)

    def time(self) -> float:
        return self._virtual.seconds

    def _pass_time(self) -> float | None:
        """Nothing is ready: jump to the next timer and return 0, or say how long to wait for what is outside."""
        outside = self._outside()
        # anyio.sleep_forever() is a timer that is set to infinity.
        when = self._scheduled[0].when() if self._scheduled else math.inf
        if outside is Outside.NOTHING and when == math.inf:
            raise Deadlock(where_tasks_wait())

        if outside is not Outside.NOTHING:
            seconds = self._virtual.begin_wait(when, outside)
            return seconds if seconds < math.inf else None

        self._virtual.jump(when)
        return 0

    def _outside(self) -> Outside:
        if self._children:
            self._children = [child for child in self._children if child.get_returncode() is None]

        if self._children or len(self._files) > self._files_of_its_own:
            return Outside.WORLD

        if self._calls_in_threads or (threading.active_count() > 1 and _anyio_threads_at_work() > 0):
            return Outside.THREADS

        return Outside.NOTHING

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*ArgsT], T], *args: *ArgsT
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._calls_in_threads += 1
        future.add_done_callback(self._call_returned)
        return future

    def _call_returned(self, _: object) -> None:
        self._calls_in_threads -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        # Waits for a thread that asyncio starts by hand.
        self._calls_in_threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._calls_in_threads -= 1

    # A child's end may be noticed by a thread that asyncio starts by hand, so it is the children that are counted.

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().subprocess_exec(*args, **options)
        self._children.append(transport)
        return transport, protocol

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().subprocess_shell(*args, **options)
        self._children.append(transport)
        return transport, protocol


def _anyio_threads_at_work() -> int:
    """How many of AnyIO's worker threads are executing something for the running loop.

    AnyIO keeps them in two variables of its own. Should they be gone in some later version, the default limiter's
    count takes their place, which misses calls that were made with another limiter.
    """
    workers, idle = (_anyio_variable(name) for name in ("_threadpool_workers", "_threadpool_idle_workers"))
    if workers is None or idle is None:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens

    return len(workers.get(())) - len(idle.get(()))


def _anyio_variable(name: str) -> RunVar[Sized] | None:
    module = sys.modules.get("anyio._backends._asyncio")
    return cast("RunVar[Sized] | None", getattr(module, name, None))
