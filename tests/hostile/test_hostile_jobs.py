"""Jobs that misbehave harm their own run and nothing else, and are reported as what they were."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio import CancelScope, create_task_group, fail_after, get_cancelled_exc_class, sleep, sleep_forever
from anyio.lowlevel import checkpoint

from anysched import (
    CannotDecode,
    DoNotRetry,
    RetryPolicy,
    Run,
    RunCancelled,
    RunFailed,
    RunInfo,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.events import CancellationSwallowed, Event, LeaseWasLost

ONCE = RetryPolicy(max_retries=0)


class Witness:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def saw(self, kind: type[Event]) -> bool:
        return any(isinstance(one, kind) for one in self.events)


async def innocent(seconds: float) -> str:
    await sleep(seconds)
    return "fine"


async def ended(run: Run[Any]) -> RunInfo:
    with suppress(RunFailed, RunCancelled, CannotDecode):
        await run.result()

    return await run.info()


async def ending_of(function: Callable[..., Any], *, witness: Witness | None = None, **options: Any) -> RunInfo:
    """How a run of it ends, beside an innocent one that began before and one that begins after; both end well."""
    errors: list[Exception] = []
    watching = witness or Witness()
    config = SchedulerConfig(on_error=lambda error, context: errors.append(error))
    scheduler = Scheduler(config=config, observers=[watching])
    hostile = scheduler.job(name="hostile", **{"retry": ONCE, **options})(function)
    neighbour = scheduler.job(name="innocent")(innocent)

    async with scheduler.running():
        with fail_after(60):
            before = await neighbour.enqueue(5.0)
            run = await hostile.enqueue()

            info = await ended(run)
            after = await neighbour.enqueue(0.1)
            assert ("fine", "fine") == (await before.result(), await after.result())

        assert 0 == scheduler.statistics().executor.busy

    assert not watching.saw(LeaseWasLost)
    return info


# --- what is raised -------------------------------------------------------------------------------------------------


class Odd(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Boundless(Exception):
    def __str__(self) -> str:
        return "x" * 50_000_000


# As some extension modules have it.
Nameless = type("Nameless", (Exception,), {"__module__": None})


def raising(error: Callable[[], BaseException]) -> Callable[[], Awaitable[None]]:
    async def function() -> None:
        await checkpoint()
        raise error()

    return function


def circular() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (lambda: Odd("odd"), "Odd"),
        (lambda: SystemExit(3), "SystemExit"),
        (GeneratorExit, "GeneratorExit"),
        (StopAsyncIteration, "StopAsyncIteration"),
        (lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]), "ExceptionGroup"),
        (lambda: BaseExceptionGroup("worse", [SystemExit(1), KeyError(2)]), "BaseExceptionGroup"),
        (Unprintable, "Unprintable"),
        (Boundless, "Boundless"),
        (lambda: Nameless("who"), "Nameless"),
        (circular, "ValueError"),
        (lambda: DoNotRetry("\ud800 half a character"), "DoNotRetry"),
        (lambda: ValueError(b"\xff\x00"), "ValueError"),
        (MemoryError, "MemoryError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_whatever_is_raised_fails_that_run_alone(error: Callable[[], BaseException], named: str) -> None:
    """The run has failed, and says with what; nobody else notices."""
    info = await ending_of(raising(error))

    assert "failed" == info.status
    assert info.error is not None
    assert info.error.type.endswith(named)
    assert len(info.error.message) < 100_000


async def test_recursion_without_end_fails_that_run_alone() -> None:
    """A RecursionError like any other."""

    async def deeper() -> None:
        await deeper()

    info = await ending_of(deeper)

    assert "failed" == info.status
    assert info.error is not None
    assert "RecursionError" == info.error.type.rpartition(".")[2]


async def test_a_task_group_that_fails_is_the_failure_of_its_run() -> None:
    """With the errors of its tasks in the traceback."""

    async def fail(number: int) -> None:
        await sleep(0.1)
        raise ValueError(f"child {number}")

    async def spawning() -> None:
        async with create_task_group() as group:
            for number in range(3):
                group.start_soon(fail, number)

    info = await ending_of(spawning)

    assert "failed" == info.status
    assert info.error is not None
    assert "ExceptionGroup" == info.error.type.rpartition(".")[2]
    assert "ValueError: child" in (info.error.traceback or "")


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(loop_name: str) -> None:
    """On asyncio whoever awaits what somebody else cancelled gets one: the run has failed, not been stopped."""
    if loop_name == "trio":
        return  # Nobody can raise Trio's but Trio.

    async def awaiting() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    info = await ending_of(awaiting)

    assert "failed" == info.status
    assert info.error is not None
    assert info.error.type.endswith("CancelledError")


# --- what is returned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "CannotEncode"),
        ({"a": {1, object()}}, "CannotEncode"),
        ("x" * 100_000_000, "PayloadTooLarge"),
        (float("nan"), "CannotEncode"),
        (contextvars.copy_context(), "CannotEncode"),
    ],
    ids=["an object", "an object inside", "100 MB", "not a number", "a context"],
)
async def test_what_cannot_be_stored_fails_that_run_alone(value: Any, named: str) -> None:
    """At once, since doing the work again would make the result no easier to store."""

    async def returning() -> Any:
        return value

    info = await ending_of(returning, retry=RetryPolicy(max_retries=3))

    assert "failed" == info.status
    assert info.error is not None
    assert named == info.error.type.rpartition(".")[2]


# --- cancellation ---------------------------------------------------------------------------------------------------


async def test_a_job_that_swallows_its_timeout_and_returns_has_succeeded() -> None:
    """What it returned counts, and that it swallowed a cancellation is told."""
    witness = Witness()

    async def stubborn() -> int:
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            return 7  # as no function should

        return 8

    info = await ending_of(stubborn, witness=witness, timeout="1s")

    assert ("succeeded", "7") == (info.status, info.result)
    assert witness.saw(CancellationSwallowed)


async def test_a_job_that_raises_something_else_when_cancelled_has_timed_out() -> None:
    """Its own error is no news: the time limit was the reason."""

    async def sulking() -> None:
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            raise ValueError("how dare you") from None

    info = await ending_of(sulking, timeout="1s")

    assert "failed" == info.status
    assert info.error is not None


async def test_a_job_that_shields_itself_ends_in_its_own_time() -> None:
    """It is waited for; then its run has timed out, or succeeded if it finished."""

    async def shielded() -> int:
        with CancelScope(shield=True):
            await sleep(3)

        return 3

    info = await ending_of(shielded, timeout="1s")

    assert info.status in ("succeeded", "failed")


async def test_a_job_may_cancel_its_own_run() -> None:
    """It stops where it stands, and is cancelled."""
    scheduler = Scheduler()

    @scheduler.job
    async def suicidal() -> None:
        await scheduler.cancel_run(current_run().id)
        await sleep_forever()

    async with scheduler.running():
        run = await suicidal.enqueue()

        with fail_after(10):
            info = await ended(run)

    assert "cancelled" == info.status


@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
async def test_a_cancellation_that_is_left_over_does_not_spoil_the_next(loop_name: str, swallowed: bool) -> None:
    """On asyncio a task counts who has cancelled it, and what old time limits add there nobody takes away.

    Break: AnyIO then takes the next cancellation that is ours for somebody else's, and the node ends by it.
    """
    if loop_name == "trio":
        return  # It does not count.

    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))

    @scheduler.job(retry=ONCE, timeout="10s")
    async def limited(*, then: float = 0) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

        try:
            await sleep(1)
        except asyncio.CancelledError:
            if not swallowed:
                raise

        await sleep(then)
        return "fine"

    hanging = scheduler.job(sleep_forever, name="hanging", retry=ONCE, timeout="1s")
    unlimited = scheduler.job(sleep_forever, name="unlimited")

    async with scheduler.running():
        with fail_after(30):
            for then in (0, 60):
                info = await ended(await limited.enqueue(then=then))
                assert ("failed" if then or not swallowed else "succeeded") == info.status
                info = await ended(await hanging.enqueue())
                assert ("failed", "AttemptTimeout") == (info.status, info.error and info.error.type.rpartition(".")[2])
                run = await unlimited.enqueue()
                await sleep(1)
                await run.cancel()
                assert "cancelled" == (await ended(run)).status


# --- the scopes around it -------------------------------------------------------------------------------------------


async def test_a_scope_that_is_left_open_fails_that_run_alone() -> None:
    """A cancel scope that was entered and never left, such as by an abandoned generator."""

    async def careless() -> None:
        CancelScope().__enter__()
        await checkpoint()

    info = await ending_of(careless)

    assert "failed" == info.status


async def test_a_task_group_that_is_left_open_fails_that_run_alone(loop_name: str) -> None:
    """Under asyncio; its tasks are cancelled. For Trio it is an error of the task, and that is the node's."""
    outlived: list[str] = []

    async def outliving() -> None:
        await sleep(1)
        outlived.append("here")

    async def careless() -> None:
        group = await anyio.create_task_group().__aenter__()
        group.start_soon(outliving)
        await checkpoint()

    if loop_name == "trio":
        with pytest.raises((RuntimeError, ExceptionGroup)):
            await ending_of(careless)
    else:
        info = await ending_of(careless)
        assert ("failed", []) == (info.status, outlived)


async def test_a_loop_without_end_that_gives_way_is_stopped_by_its_timeout(real_time: None) -> None:
    """It slows others down, and no more."""

    async def spinning() -> None:
        while True:
            await checkpoint()

    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    hostile = scheduler.job(name="hostile", retry=ONCE, timeout="300ms")(spinning)
    neighbour = scheduler.job(name="innocent")(innocent)

    async with scheduler.running():
        with fail_after(20):
            run, other = await hostile.enqueue(), await neighbour.enqueue(0.1)
            assert "fine" == await other.result()
            info = await ended(run)

    assert "failed" == info.status
    assert info.error is not None
    assert info.error.type.endswith("AttemptTimeout")
