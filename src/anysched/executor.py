"""Where and how functions are called: capacity, threads, processes.

An :class:`Executor` runs pieces of work, at most ``max_concurrent`` at once, in *slots*: tasks that take one piece
after the other. A slot is made when there is work and no other slot is free to take it. When there is none, one slot
waits for more, since a piece that comes alone is begun by it sooner than by a new task, and all others end.
Work that never suspends, however much of it there is, is done by one slot, which lets the event loop breathe four
times in a millisecond.

What always holds:

* ``busy`` counts the pieces that have begun and not really ended; threads are awaited to their end.
* While there is a backlog and room, there is a slot on its way to it; the one that waits was told to go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext, suppress
from functools import partial
from importlib import import_module
from math import inf
from typing import Any, Literal, TypeVar, cast

import msgspec
from anyio import (
    TASK_STATUS_IGNORED,
    CapacityLimiter,
    Event,
    create_task_group,
    current_effective_deadline,
    current_time,
    get_cancelled_exc_class,
    to_thread,
)
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint
from attrs import define, field, setters, validators

from anysched.context import context_with
from anysched.errors import InvalidOption, InvalidState
from anysched.values import is_whole

__all__ = ["Executor", "ExecutorStatistics"]

W = TypeVar("W")

_BREATH = 0.00025
"""Seconds that a slot works without letting others run. An answer passes three or four tasks until the next command is
sent, each of which waits so long: together it is less than what the backend needs for a batch."""


class ExecutorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of an executor.

    Attributes:
        max_concurrent: pieces of work at once.
        busy: begun and not ended.
        backlog: taken in, not begun.
        threads: worker threads in use.
    """

    max_concurrent: int
    busy: int
    backlog: int
    threads: int


def call_by_name(
    module: str,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    facts: dict[str, Any] | None = None,
) -> bytes:
    """Call a function of a module, here: in a worker process, which finds a job under the function's name.

    Args:
        module: imported, if it was not yet.
        name: the function's, or its job's.
        args: positional arguments.
        kwargs: keyword arguments.
        facts: of the current run.

    Returns:
        How it ended, for :func:`~anysched.runtime.crossing.unpack`.
    """
    from anysched.runtime.crossing import pack_error, pack_value, streams_of_its_own

    try:
        with streams_of_its_own():
            found = getattr(import_module(module), name)
            return pack_value(context_with(facts).run(getattr(found, "function", found), *args, **kwargs))
    except KeyboardInterrupt:
        # It means us all.
        raise
    except BaseException as error:  # noqa: BLE001, ASYNC103 - it is raised again where it was called from
        # Also SystemExit: AnyIO's worker would end by it, and the next function that is sent there fail.
        traceback = error.__traceback__
        return pack_error(error.with_traceback(traceback.tb_next if traceback else None))  # noqa: ASYNC104 - as above


def get_ready(module: str) -> None:
    """Import a module, here: in a worker process. Why it cannot be is said when a function of it is called."""
    from anysched.runtime.crossing import streams_of_its_own

    with suppress(Exception), streams_of_its_own():
        import_module(module)


def _nothing() -> None:
    """Do nothing."""


def _to_its_end(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, GeneratorExit | None]:
    """Call a function in a thread. A ``GeneratorExit`` becomes a value: thrown into the task, it would close that."""
    try:
        return function(*args, **kwargs), None
    except GeneratorExit as error:
        return None, error


def _at_least_one(instance: object, attribute: Any, value: object) -> None:
    if not is_whole(value, 1):
        raise InvalidOption(attribute.name, value, "a whole number from 1")


# Without checks on assignment, which the counters below would pay for at each attempt.
@define(eq=False, kw_only=True, on_setattr=setters.NO_OP)
class Executor:
    """Runs work in slots, and calls functions in the loop, in threads or in processes. Runs once at a time.

    Args:
        max_concurrent: pieces of work at once.
        max_threads: plain functions in threads at once; default: ``max_concurrent``.
        max_processes: functions in worker processes at once; default: the number of processors.
    """

    max_concurrent: int = field(default=100, validator=_at_least_one)
    max_threads: int | None = field(default=None, validator=validators.optional(_at_least_one))
    max_processes: int | None = field(default=None, validator=validators.optional(_at_least_one))
    busy: int = field(default=0, init=False)
    _slots: int = field(default=0, init=False)
    _backlog: deque[Callable[[], Awaitable[None]]] = field(factory=deque["Callable[[], Awaitable[None]]"], init=False)
    _attempts: TaskGroup | None = field(default=None, init=False)
    _closing: Event | None = field(default=None, init=False)
    _threads: CapacityLimiter | None = field(default=None, init=False)
    _processes: CapacityLimiter | None = field(default=None, init=False)
    _boundless: CapacityLimiter | None = field(default=None, init=False)
    """For what has its place already."""
    _ready: int = field(default=0, init=False)
    """At most so many worker processes wait for a function, some of them unless they have died meanwhile."""
    _breathe_at: float = field(default=-inf, init=False)
    _go: Event | None = field(default=None, init=False)
    """Set for the slot that waits, while there is one."""

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Host the slots until :meth:`close`, and until everything has ended.

        Cancelling it cancels what is running. What is then left in the backlog stays there for :meth:`surrender`.

        Raises:
            InvalidState: it runs already.
            RuntimeError: it has ended without having been closed: on asyncio, by a piece that was cancelled natively.
        """
        self.require_idle()
        self._closing = closing = Event()
        self._breathe_at = -inf
        # Limiters belong to an event loop, and an executor may see several, one after the other.
        self._threads = CapacityLimiter(self.max_threads or self.max_concurrent)
        self._boundless = CapacityLimiter(inf)
        self._processes = None
        self._ready = 0

        try:
            async with create_task_group() as attempts:
                self._attempts = attempts

                try:
                    task_status.started()
                    self.make_room()
                    await closing.wait()
                except BaseException:
                    # Cancelled: the group closes now, though what runs in it may take a while. Nothing new may enter.
                    self._attempts = None
                    raise
        finally:
            self._attempts = None
            self._closing = None

        if not closing.is_set():
            raise RuntimeError("the executor has ended because a piece of its work was cancelled by itself")

    def require_idle(self) -> None:
        """Refuse a second user, who would take the slots over, so that the first one's work waits for ever.

        Raises:
            InvalidState: it runs.
        """
        if self._closing is not None:
            raise InvalidState("this executor", "running already", "give each scheduler an Executor of its own")

    @property
    def room(self) -> int:
        """How many more pieces could begin at once; negative while some are waiting to."""
        return self.max_concurrent - self.busy - len(self._backlog)

    @property
    def backlog(self) -> int:
        """How many pieces were taken in and have not begun."""
        return len(self._backlog)

    def submit(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have a piece of work run as soon as a slot is free.

        Args:
            work: called without arguments and awaited. Its exceptions are the caller's bugs: they end :meth:`run`.
        """
        self._backlog.append(work)

        if self._slots == self.busy or self._go is not None:
            self.make_room()

    def surrender(self) -> list[Callable[[], Awaitable[None]]]:
        """Give up what has not begun, and return it."""
        given_up = list(self._backlog)
        self._backlog.clear()
        return given_up

    def close(self, grace: float) -> None:
        """End: nothing new begins; after ``grace`` seconds what still runs is cancelled."""
        if self._attempts is not None and self._closing is not None:
            self._attempts.cancel_scope.deadline = current_time() + grace
            self._closing.set()
            self._send_on()

    def make_room(self) -> None:
        """See to it that somebody takes the next piece, if there is one and capacity for it.

        To be called when a piece of work suspends: until then the slot it is in may well take the next one itself.
        """
        if not self._backlog:
            return

        if self._go is not None:
            self._send_on()
        elif self._slots < self.max_concurrent and self._attempts is not None:
            self._slots += 1
            self._attempts.start_soon(self._slot, name="anysched slot")

    async def following(self, kind: type[W]) -> W | None:
        """The next piece, for one that goes on with it in its place: an instance of ``kind``.

        To be called by a piece that has done its work, which may wait here for as long as there is nothing to do. In
        between, it does not count as busy.

        Returns:
            A piece that is the caller's from now on; ``None``: the caller has to end.
        """
        self.busy -= 1

        try:
            await self._breathe()

            if not self._backlog and self._go is None and self._closing is not None and not self._closing.is_set():
                await self._wait()
        finally:
            self.busy += 1

        first: Any = self._backlog[0] if self._backlog else None

        if isinstance(first, kind):
            self._backlog.popleft()
            return first

        return None

    async def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        runs_in: Literal["loop", "thread", "process"],
        *,
        begins: Callable[[], None] = _nothing,
        facts: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function where it belongs, and return what it returns.

        Args:
            function: an async function for ``"loop"``, else a plain one.
            args: positional arguments.
            kwargs: keyword arguments.
            runs_in: ``"loop"``; ``"thread"``: awaited to its end even if cancelled, it may poll
                ``anyio.from_thread.check_cancelled()``; ``"process"``: killed if cancelled, its arguments are
                pickled on their way to the worker process.
            begins: called in the loop when there is a thread or a process for the function, just before it is called.
                What it raises is raised here, and the function not called.
            facts: what :func:`~anysched.context.current_run` gives in a process.

        Raises:
            BaseException: what the function raised. From a process it comes as an instance of the same class, or of one
                made in its likeness, with its traceback as text in its cause.
            BrokenWorkerProcess: of AnyIO; the process has ended before it answered, or could not be prepared: why.
        """
        if runs_in == "loop":
            begins()
            return await function(*args, **kwargs)

        if runs_in == "process":
            from anysched.runtime.crossing import unpack

            return unpack(await self._call_in_process(function, args, kwargs, begins=begins, facts=facts))

        async with self._threads or nullcontext():
            begins()
            value, closing = await to_thread.run_sync(_to_its_end, function, args, kwargs, limiter=self._boundless)

        if closing is not None:
            raise closing

        # A plain wrapper around an async function gives what has yet to be awaited.
        return await cast("Coroutine[Any, Any, Any]", value) if isinstance(value, Coroutine) else value

    async def _call_in_process(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        begins: Callable[[], None],
        facts: dict[str, Any] | None,
    ) -> bytes:
        # Few programs use processes; the import takes as long as all the rest of this module.
        from anyio import to_process

        from anysched.runtime.crossing import in_words

        module = function.__module__
        bound = partial(call_by_name, module, function.__qualname__, args, kwargs, facts)
        run_sync = partial(to_process.run_sync, cancellable=True, limiter=self._boundless)

        if self._processes is None:
            self._processes = CapacityLimiter(
                self.max_processes or to_process.current_default_process_limiter().total_tokens
            )

        async with self._processes:
            # What a process needs to start, and to import the program, is not the function's time.
            with in_words():
                if self._ready:
                    self._ready -= 1
                else:
                    await run_sync(get_ready, module)

            begins()

            with in_words():
                answer = await run_sync(bound)

            self._ready += 1
            return answer

    def statistics(self) -> ExecutorStatistics:
        """A snapshot."""
        return ExecutorStatistics(
            max_concurrent=self.max_concurrent,
            busy=self.busy,
            backlog=len(self._backlog),
            threads=self._threads.borrowed_tokens if self._threads is not None else 0,
        )

    async def _slot(self) -> None:
        backlog = self._backlog

        try:
            while backlog:
                work = backlog.popleft()
                self.busy += 1

                try:
                    await work()
                finally:
                    self.busy -= 1

                await self._breathe()
        finally:
            self._slots -= 1

    async def _wait(self) -> None:
        """Wait to be sent on, in a slot; or be sent home by what a piece has left behind that cancels its task."""
        go = self._go = Event()

        try:
            await go.wait()
        except get_cancelled_exc_class():  # noqa: ASYNC103 - only ours has to pass
            if current_effective_deadline() == -inf:
                raise
        finally:
            if self._go is go:
                self._go = None

    def _send_on(self) -> None:
        if self._go is not None:
            self._go.set()
            self._go = None

    async def _breathe(self) -> None:
        instant = current_time()

        if instant >= self._breathe_at:
            try:
                await checkpoint()
            except get_cancelled_exc_class():  # noqa: ASYNC103 - only ours has to pass
                # On asyncio a piece may have cancelled the task that it was in, and have ended before it noticed.
                if current_effective_deadline() == -inf:
                    raise

            self._breathe_at = current_time() + _BREATH
