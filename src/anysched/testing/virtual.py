"""Virtual time: a year of waiting in a moment, on either event loop.

What makes it hard, and what always holds:

* **Nothing sleeps.** When no task can go on, the loop's time jumps to the next timer's own time, and to nowhere
  else. Computing costs no virtual time, so a test's instants do not depend on the machine.
* **Time is what the loop says it is.** ``anyio.sleep``, ``fail_after``, ``move_on_after`` and ``current_time`` follow
  because the loop's clock is replaced, not because they are patched. The wall clock that anysched reads is the
  start plus the time that the loop has jumped over.
* **Time is whole microseconds.** Loops count in floating point seconds, where a time plus a delay is off by a fraction
  of the last place: too little to see, but it adds up over a million sleeps, and differently for each sleeper. So
  virtual time adds without error: see :class:`LoopTime`. Somebody who sleeps until an instant wakes up at that instant,
  to the microsecond, after years as after seconds, and so does everybody else who sleeps until it.
* **Threads are waited for, and cost nothing.** While a worker thread is at work, time stands still, as it does for all
  computing; but a timer is let through after as much real time as it has to go, because the thread may wait for it.
* **The world is waited for, and costs what it takes.** While a socket is being waited on or a child process is alive,
  virtual time passes as fast as real time. A timer still fires at exactly its own time.
* **Standing still is an error.** No task can go on, no timer is set and nothing outside is at work: that raises
  :class:`Deadlock`, which says where each task waits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Literal, TypeVar, TypeVarTuple

import anyio
from attrs import define, field

from anysched.clock import Clock, clock_in_force, now
from anysched.errors import AnySchedError, InvalidOption, MissingExtra
from anysched.options import require_aware

from .whereabouts import where_suspended

__all__ = ["Deadlock", "LoopTime", "Outside", "VirtualTime", "sleep_until_instant", "virtual_time"]

T = TypeVar("T")
ArgsT = TypeVarTuple("ArgsT")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Deadlock(AnySchedError, RuntimeError):
    """Under virtual time every task waits for something that can no longer happen."""

    def __init__(self, waiting: list[str]) -> None:
        shown = "; ".join(waiting) or "none"
        super().__init__(
            "nothing can happen any more: no task can go on, no timer is set, and no thread, process or socket is "
            f"being waited for. Where the tasks wait: {shown}"
        )
        self.waiting = waiting


class Outside(Enum):
    """What a loop waits for other than its timers."""

    NOTHING = auto()
    THREADS = auto()
    WORLD = auto()


class LoopTime(float):
    """A time on an event loop's scale, in seconds, to which delays can be added without adding up errors.

    A timer is set to the loop's time plus a delay. Here that sum is the float nearest to a whole number of
    microseconds: to the right one, if the delay is as many; to the next one, if it has a fraction, as if timers were
    no finer. Exact for 68 years, when a float's last place comes to a quarter of a microsecond.
    """

    __slots__ = ()

    def __add__(self, delay: float) -> float:
        total = super().__add__(delay)
        if total is NotImplemented or not math.isfinite(total):
            return total

        return _whole_microseconds(total) / 1e6

    def __radd__(self, delay: float) -> float:
        return self + delay


def _whole_microseconds(seconds: float) -> int:
    """Seconds as microseconds, rounded up; but what exceeds a whole number by float noise only is rounded down."""
    return math.ceil((seconds - 2 * math.ulp(seconds)) * 1e6)


@define(eq=False, kw_only=True)
class VirtualTime:
    """The time of one virtual event loop, and the wall clock that goes with it.

    Attributes:
        start: the wall clock when the loop's time is zero, in microseconds since 1970-01-01 UTC.
        elapsed: whole microseconds since then.
        seconds: the same as the loop's time. Never less than that of a timer that was jumped to.
    """

    start: int
    elapsed: int = field(default=0, init=False)
    seconds: LoopTime = field(default=LoopTime(0), init=False)
    # Real seconds spent waiting for threads while `_waited_for` was the next timer.
    _waited: float = field(default=0.0, init=False)
    _waited_for: float = field(default=math.nan, init=False)
    # The present real wait: when it began by the computer's monotonic clock, the timer that limits it, and for what.
    _waiting: tuple[float, float, Outside] | None = field(default=None, init=False)

    def jump(self, when: float) -> None:
        """Make it `when`, a time on the loop's scale that is not in the past."""
        self.elapsed = _whole_microseconds(when)
        self.seconds = LoopTime(max(when, self.elapsed / 1e6))

    def wall_clock(self) -> int:
        """Whole microseconds since 1970-01-01 UTC."""
        return self.start + self.elapsed

    def begin_wait(self, when: float, outside: Outside) -> float:
        """Start waiting for what is outside. Returns the real seconds to wait at most, until the timer at `when`."""
        if when != self._waited_for:
            self._waited = 0.0
            self._waited_for = when

        self._waiting = (time.perf_counter(), when, outside)
        return max(0.0, when - self.seconds - self._waited)

    def end_wait(self) -> None:
        """Stop waiting for what is outside, if we are, and let time pass as far as it did."""
        if self._waiting is None:
            return

        began, when, outside = self._waiting
        self._waiting = None
        elapsed = time.perf_counter() - began
        if outside is Outside.WORLD:
            self.jump(min(when, self.seconds + elapsed))
            return

        self._waited += elapsed
        if self._waited >= when - self.seconds:
            self.jump(when)


def where_tasks_wait() -> list[str]:
    """Each task of the running loop and where it waits, for a message: twenty at most, none of the loop's own."""
    tasks = [(task.name, where_suspended(task.coro)) for task in anyio.get_running_tasks()]
    return [f"{name} in {where}" for name, where in tasks if where][:20]


def virtual_time(
    main: Callable[[*ArgsT], Awaitable[T]],
    *args: *ArgsT,
    backend: Literal["asyncio", "trio"] = "asyncio",
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> T:
    """Run an async function in a new event loop whose time is virtual.

    Whenever nothing can go on, time jumps to the next timer, so that a program which sleeps for a year takes as long
    as what it does in between. Everything that AnyIO says about time follows, and so does the clock that anysched
    reads: the wall clock is `start` when `main` is called.

    What is outside is waited for. A call in a worker thread takes no virtual time, but a timer that is due in an hour
    while it is at work fires only after a real hour. While a socket is being waited on or a child process is alive,
    time passes as fast as really. (Under asyncio a socket counts for as long as a transport is open; under Trio,
    while a task waits on it.) Two things cannot be known and are not waited for: threads that you started yourself,
    and threads of Trio's that a cancellation has abandoned.

    A loop that only computes, such as ``while True: await checkpoint()``, is not ended by a timeout.

    Under asyncio ``anyio.wait_all_tasks_blocked()`` polls with short sleeps, which take virtual time here.

    Args:
        main: the async function to run.
        *args: its positional arguments.
        backend: which event loop to run it in, ``"asyncio"`` or ``"trio"``.
        start: the wall clock's first instant, aware.

    Returns:
        What `main` returns. What it raises is raised here, bare.

    Raises:
        Deadlock: every task waits for something that can no longer happen. `main` was cancelled.
        NaiveDatetime: `start` has no time zone.
        InvalidOption: `backend` is neither of the two, or `start` is no datetime, or not after the beginning of 1970.
        MissingExtra: `backend` is ``"trio"``, which is not installed.
    """
    if require_aware("start", start) <= _EPOCH:
        raise InvalidOption("start", start.isoformat(), f"an instant after {_EPOCH.isoformat()}")

    virtual = VirtualTime(start=(start - _EPOCH) // _MICROSECOND)
    # Set outside of the loop, so that every context in it has the clock: callbacks and system tasks as well.
    token = clock_in_force.set(Clock(microseconds=virtual.wall_clock, virtual=True))
    try:
        match backend:
            case "asyncio":
                from .virtual_asyncio import run
            case "trio":
                try:
                    from .virtual_trio import run
                except ModuleNotFoundError as error:
                    raise MissingExtra("trio", "anysched[trio]") from error
            case _:
                raise InvalidOption("backend", backend, '"asyncio" or "trio"')

        return run(virtual, main, *args)
    finally:
        clock_in_force.reset(token)


async def sleep_until_instant(instant: datetime) -> None:
    """Sleep until the clock in force has come to an instant; only a checkpoint if it has already.

    Under :func:`virtual_time` the caller goes on at exactly that instant. With real time it goes on soon after, and
    never before: it looks at the clock again when it wakes up.

    Args:
        instant: when to go on, aware.

    Raises:
        NaiveDatetime: `instant` has no time zone.
        InvalidOption: it is no datetime.
    """
    require_aware("instant", instant)
    await anyio.sleep(max(0.0, (instant - now()).total_seconds()))
    while (left := instant - now()) > timedelta():  # noqa: ASYNC110 (it is time itself that is waited for)
        await anyio.sleep(left.total_seconds())
