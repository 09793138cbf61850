"""Attempts: when the next one comes, when there is none, and what ends one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from anysched import (
    Backend,
    DoNotRetry,
    Executor,
    InvalidDuration,
    InvalidState,
    RetryAfter,
    RetryPolicy,
    RunExpired,
    RunFailed,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    Snooze,
    current_run,
)
from anysched.clock import now
from anysched.testing import sleep_until_instant

START = datetime(2026, 1, 1, tzinfo=UTC)


def since_start() -> float:
    return (now() - START).total_seconds()


def failing(begun: list[float], error: Callable[[], BaseException]) -> Callable[[], Any]:
    async def fail() -> None:
        begun.append(since_start())
        raise error()

    return fail


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(max_retries=4), [0, 1, 3, 7, 15]),
        (RetryPolicy(max_retries=3, strategy="linear", initial="5s"), [0, 5, 15, 30]),
        (RetryPolicy(max_retries=3, strategy="fixed", initial="10s"), [0, 10, 20, 30]),
        (RetryPolicy(max_retries=5, initial="10s", maximum="30s"), [0, 10, 30, 60, 90, 120]),
        (RetryPolicy(max_retries=2, initial="250ms", multiplier=3), [0, 0.25, 1.0]),
        (RetryPolicy(max_retries=2, strategy=lambda attempt: attempt * 7), [0, 7, 21]),
        (RetryPolicy(max_retries=2, initial=0), [0, 0, 0]),
        (RetryPolicy(max_retries=0), [0]),
        (RetryPolicy(retry_on=(KeyError,)), [0]),
        (RetryPolicy(give_up_on=(ArithmeticError,)), [0]),
        (RetryPolicy(max_retries=1, retry_on=(LookupError, ZeroDivisionError)), [0, 1]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, list) else None,
)
async def test_attempts_come_exactly_when_the_policy_says(policy: RetryPolicy, expected: list[float]) -> None:
    """To the millisecond, by the backend's clock, and then the run is failed.

    Break: counting the delay from the claim, or rounding it down, is early.
    """
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    job = scheduler.job(name="fail", retry=policy)(failing(begun, ZeroDivisionError))

    async with scheduler.running():
        run = await job.enqueue()

        with pytest.raises(RunFailed, match="ZeroDivisionError") as caught:
            await run.result()

        info = await run.info()

    assert expected == begun
    assert "builtins.ZeroDivisionError" == caught.value.error.type
    assert list(range(1, len(expected) + 1)) == [attempt.number for attempt in info.attempts]
    assert RunStatus.FAILED == info.status


async def test_jitter_only_makes_delays_shorter() -> None:
    """A delay of 10 s with a jitter of a half becomes 5 to 10 s, and not always the same."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    policy = RetryPolicy(max_retries=20, strategy="fixed", initial="10s", jitter=0.5)
    job = scheduler.job(name="fail", retry=policy)(failing(begun, ValueError))

    async with scheduler.running():
        with pytest.raises(RunFailed):
            await (await job.enqueue()).result()

    pauses = [after - before for before, after in itertools.pairwise(begun)]
    assert 5 <= min(pauses) < 7
    assert 8 < max(pauses) <= 10.001


async def test_retry_after_uses_an_attempt_and_its_own_delay() -> None:
    """Beyond the policy's maximum too; and when attempts are used up, that is the end."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    job = scheduler.job(name="fail", retry=RetryPolicy(max_retries=2))(failing(begun, lambda: RetryAfter("1h")))

    async with scheduler.running():
        with pytest.raises(RunFailed):
            await (await job.enqueue()).result()

    assert [0, 3600, 7200] == begun


async def test_snoozing_uses_no_attempt() -> None:
    """Ten times later, and it is still the first attempt, without an error."""
    scheduler = Scheduler()
    seen: list[tuple[float, int]] = []

    @scheduler.job(retry=RetryPolicy(max_retries=0))
    async def shy() -> str:
        seen.append((since_start(), current_run().attempt))

        if len(seen) <= 10:
            raise Snooze("1m")

        return "now"

    async with scheduler.running():
        run = await shy.enqueue()
        assert "now" == await run.result()
        info = await run.info()

    assert [(60 * number, 1) for number in range(11)] == seen
    assert (1, None) == (info.attempt, info.error)


async def test_do_not_retry_ends_it_at_once() -> None:
    """Whatever attempts are left; also from inside a group."""
    for error in (lambda: DoNotRetry("bad address"), lambda: ExceptionGroup("g", [ValueError(), DoNotRetry("bad")])):
        scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
        begun: list[float] = []
        job = scheduler.job(name="fail")(failing(begun, error))

        async with scheduler.running():
            with pytest.raises(RunFailed):
                await (await job.enqueue()).result()

        assert [since_start()] == begun[-1:] and len(begun) == 1


async def test_the_policy_of_a_run_goes_before_that_of_its_job() -> None:
    """`options(retry=...)` travels with the run, with classes as names."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    job = scheduler.job(name="fail", retry=RetryPolicy(max_retries=9))(failing(begun, KeyError))
    policy = RetryPolicy(max_retries=1, initial="3s", retry_on=(LookupError,))

    async with scheduler.running():
        with pytest.raises(RunFailed):
            await (await job.options(retry=policy).enqueue()).result()

    assert [0, 3] == begun


class FrozenError(Exception):
    """One that takes no notes."""

    def add_note(self, note: str) -> None:
        raise AttributeError(note)


class SilentError(Exception):
    """One that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


def silent(attempt: int) -> float:
    raise SilentError


@pytest.mark.parametrize(
    ("strategy", "broken", "said"),
    [
        (lambda attempt: 10 / (attempt - 1), ZeroDivisionError, "ZeroDivisionError: division by zero"),
        (lambda attempt: "soon", InvalidDuration, "InvalidDuration: invalid delay 'soon'"),
        (silent, SilentError, "SilentError: (its str() raised RuntimeError)"),
    ],
    ids=["raises", "returns no duration", "raises what cannot be shown"],
)
async def test_a_broken_strategy_fails_the_run_with_the_handlers_error(
    strategy: Any, broken: type[Exception], said: str
) -> None:
    """The user's function is at fault, which the error's traceback says, and so is told; the node goes on.

    Break: a run with five retries fails at the first attempt, and nobody learns why.
    """
    told: list[Exception] = []
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: told.append(error)))
    begun: list[float] = []
    error = KeyError("the same each time")
    fail = failing(begun, lambda: error)
    job = scheduler.job(name="fail", retry=RetryPolicy(max_retries=5, strategy=strategy))(fail)
    frozen = scheduler.job(name="frozen", retry=RetryPolicy(strategy=strategy))(failing(begun, FrozenError))

    async with scheduler.running():
        for _ in "12":
            with pytest.raises(RunFailed, match="KeyError") as failed:
                await (await job.enqueue()).result()

            assert 1 == failed.value.error.traceback.count("not retried: the retry strategy raised ")
            assert said in failed.value.error.traceback

        assert [broken, KeyError] * 2 == [type(one) for one in told]

        with pytest.raises(RunFailed, match="FrozenError"):
            await (await frozen.enqueue()).result()


async def test_a_time_limit_ends_an_attempt_exactly_and_it_is_retried() -> None:
    """The attempt is cancelled at its limit, fails with a `TimeoutError` that names it, and the next one begins.

    Break: a limit that counts from the first attempt, or a scope around all of them.
    """
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    ended: list[float] = []

    @scheduler.job(timeout="2s", retry=RetryPolicy(max_retries=1, initial="1s"))
    async def slow() -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(since_start())

    async with scheduler.running():
        run = await slow.enqueue()

        with pytest.raises(RunFailed, match="time limit of 2s"):
            await run.result()

        unlimited = await slow.options(timeout=None).enqueue()
        assert await unlimited.result() is None
        longer = await slow.options(timeout="61s").enqueue()
        assert await longer.result() is None

    assert [2, 5, 65, 125] == ended


async def test_a_time_limit_of_its_own_inside_a_handler_is_an_ordinary_error() -> None:
    """`fail_after` in a handler raises `TimeoutError`, which is retried like any other."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    attempts: list[int] = []

    @scheduler.job(timeout="10s")
    async def careful() -> str:
        attempts.append(current_run().attempt)

        if len(attempts) == 1:
            with anyio.fail_after(1):
                await anyio.sleep(5)

        return "fine"

    async with scheduler.running():
        assert "fine" == await (await careful.enqueue()).result()

    assert [1, 2] == attempts


async def test_a_deadline_ends_the_whole_run() -> None:
    """An attempt is cut off at the deadline, and no retry is made that could only come after it."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    ended: list[float] = []

    @scheduler.job(retry=RetryPolicy(max_retries=9, strategy="fixed", initial="10s"))
    async def work(seconds: float) -> None:
        begun.append(since_start())

        try:
            await anyio.sleep(seconds)
        finally:
            ended.append(since_start())

        raise ValueError("again")

    async with scheduler.running():
        with pytest.raises(RunFailed, match="deadline"):
            await (await work.options(deadline="25s").enqueue(60)).result()

        assert ([0], [25]) == (begun, ended)

        with pytest.raises(RunFailed, match="deadline"):
            await (await work.options(deadline=START + timedelta(seconds=60)).enqueue(6)).result()

        # From 25 on: attempts that fail at 31 and 47; the next begins at 57 and is cut off.
        assert ([0, 25, 41, 57], [25, 31, 47, 60]) == (begun, ended)

        with pytest.raises(RunFailed, match="again"):
            await (await work.options(deadline="15s").enqueue(6)).result()

    # It failed at 66; the next attempt would begin at 76, a second after the deadline.
    assert (60, 66) == (begun[-1], ended[-1])


async def make_folder(path: str) -> None:
    os.makedirs(path)  # noqa: PTH103 - as below, where it is a plain function that a process can find


@pytest.mark.parametrize("place", ["loop", "thread", "process"])
async def test_nothing_is_called_after_its_deadline(
    place: Any, anysched_backend: Backend, tmp_path: Path, real_time: None
) -> None:
    """A deadline that is past when the run is claimed: its function is never called, wherever it would have run.

    Break: a scope without any time left lets an async function through to its first await, and a thread to its end.
    """
    scheduler = Scheduler(anysched_backend, config=SchedulerConfig(on_error=lambda error, context: None))
    function = make_folder if place == "loop" else os.makedirs
    work = scheduler.job(name="work", runs_in=place)(function)
    made = tmp_path / "made"

    async with scheduler.running():
        run = await work.options(deadline=START - timedelta(days=2000)).enqueue(str(made))

        with pytest.raises(RunFailed, match="did not end by its deadline"):
            await run.result()

        info = await run.info()

    assert not made.exists()
    assert (RunStatus.FAILED, ["anysched.errors.DeadlinePassed"]) == (
        info.status,
        [attempt.error and attempt.error.type for attempt in info.attempts],
    )


async def test_a_deadline_that_passes_while_a_run_waits_is_as_good_as_past() -> None:
    """Behind another one, or delayed until after it: not called, not retried, and no start is told."""
    from anysched.events import Event, RunStarted

    started: list[str] = []

    class Observer:
        def on_event(self, event: Event) -> None:
            if isinstance(event, RunStarted):
                started.append(event.run_id)

    scheduler = Scheduler(
        executor=Executor(max_concurrent=1),
        config=SchedulerConfig(on_error=lambda error, context: None),
        observers=[Observer()],
    )

    @scheduler.job(retry=RetryPolicy(initial=0))
    async def work(seconds: float) -> None:
        await anyio.sleep(seconds)

    async with scheduler.running():
        long = await work.enqueue(100)
        await anyio.sleep(1)
        behind = await work.options(deadline="20s").enqueue(0)
        delayed = await work.options(deadline="20s", delay="200s").enqueue(0)

        for run in (behind, delayed):
            with pytest.raises(RunFailed, match="did not end by its deadline"):
                await run.result()

            assert 1 == len((await run.info()).attempts)

    assert [long.id] == started


async def test_a_run_that_was_not_started_in_time_expires() -> None:
    """Its queue is blocked by a long one: it is never started, and says so."""
    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    started: list[str] = []

    @scheduler.job
    async def long() -> None:
        await anyio.sleep(100)

    @scheduler.job(expires="10s")
    async def fresh(name: str) -> str:
        started.append(name)
        return name

    async with scheduler.running():
        await long.enqueue()
        await anyio.sleep(1)
        late = await fresh.enqueue("late")
        patient = await fresh.options(expires="5m").enqueue("patient")
        dated = await fresh.options(expires=START + timedelta(seconds=30)).enqueue("dated")
        lasting = await fresh.options(expires=None).enqueue("lasting")

        for run in (late, dated):
            with pytest.raises(RunExpired):
                await run.result()

            assert RunStatus.EXPIRED == await run.status()

        assert ["patient", "lasting"] == [await patient.result(), await lasting.result()]

    assert ["patient", "lasting"] == started


async def test_a_failed_run_can_be_retried_by_hand() -> None:
    """Its attempts count anew, and its errors are kept; only a failed one can be."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    broken = True

    @scheduler.job(retry=RetryPolicy(max_retries=1, initial="1s"))
    async def work() -> int:
        if broken:
            raise ValueError("broken")

        return current_run().attempt

    async with scheduler.running():
        run = await work.enqueue()

        with pytest.raises(RunFailed):
            await run.result()

        broken = False
        await run.retry()
        assert 1 == await run.result()
        assert ["broken", "broken", None] == [one.error and one.error.message for one in (await run.info()).attempts]

        with pytest.raises(InvalidState, match="succeeded"):
            await run.retry()


async def test_those_of_one_job_are_found_among_however_many_others() -> None:
    """The limit counts what is retried, the newest of these first, not what is looked at.

    Break: of ten runs that failed before the newest thousand of another job, none is retried.
    """
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))

    async def work() -> None:
        raise ValueError

    once = RetryPolicy(max_retries=0)
    rare, common = scheduler.job(name="a", retry=once)(work), scheduler.job(name="b", retry=once)(work)

    async with scheduler.running():
        runs = await scheduler.enqueue(*[rare.bind() for _ in range(10)])
        await anyio.sleep(1)
        await scheduler.enqueue(*[common.bind() for _ in range(1_500)])
        await anyio.sleep(1)
        assert 1_510 == (await scheduler.totals()).failed_kept
        await scheduler.pause_queue("default")

        assert [3, 7, 0] == [await scheduler.retry_failed(job="a", limit=limit) for limit in (3, 1_000, 1_000)]
        assert {"ready"} == {await run.status() for run in runs}
        assert [0, 1_000, 500] == [await scheduler.retry_failed(limit=limit) for limit in (0, 1_000, 1_000)]


async def test_all_failed_runs_can_be_retried_together() -> None:
    """Those of one job, or all."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    broken = True

    async def work() -> None:
        if broken:
            raise ValueError

    once = RetryPolicy(max_retries=0)
    first, second = scheduler.job(name="a", retry=once)(work), scheduler.job(name="b", retry=once)(work)

    async with scheduler.running():
        await scheduler.enqueue(first.bind(), first.bind(), second.bind())
        await sleep_until_instant(START + timedelta(seconds=1))
        assert 3 == (await scheduler.totals()).failed_kept
        broken = False
        assert 2 == await scheduler.retry_failed(job="a")
        assert 1 == await scheduler.retry_failed()
        await anyio.sleep(1)
        assert (0, 3) == ((await scheduler.totals()).failed_kept, (await scheduler.totals()).succeeded)
