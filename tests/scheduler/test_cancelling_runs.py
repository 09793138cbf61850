"""Cancelling runs: not started, running, on another node; and that it is final."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import anyio
import pytest
from anyio import from_thread, to_thread

from anysched import (
    Backend,
    Executor,
    InvalidOption,
    RetryPolicy,
    RunCancelled,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    Snooze,
)
from anysched.clock import now
from anysched.events import CancellationSwallowed, Event
from anysched.runtime.attempting import Attempting, Interruption

START = datetime(2026, 1, 1, tzinfo=UTC)


def since_start() -> float:
    return (now() - START).total_seconds()


def attempting_of(scheduler: Scheduler) -> Attempting:
    node = scheduler._node
    assert node is not None
    assert node.attempting is not None
    return node.attempting


async def test_a_run_that_was_not_started_never_is() -> None:
    """Scheduled or ready, it ends `cancelled` at once."""
    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    begun: list[str] = []

    @scheduler.job
    async def work(name: str) -> None:
        begun.append(name)
        await anyio.sleep(60)

    async with scheduler.running():
        await work.enqueue("first")
        await anyio.sleep(1)
        ready, later = await work.enqueue("ready"), await work.options(delay="5s").enqueue("later")

        for run in (ready, later):
            await run.cancel()

            with pytest.raises(RunCancelled):
                await run.result()

        await anyio.sleep(200)
        assert ["first"] == begun
        assert 1 == since_start() - 200


async def test_live_runs_are_cancelled_together() -> None:
    """Of a status, a job or a queue, or all; what has not begun first, and what has ended stays as it is.

    Break: as those that run are cancelled, those that wait for their slots begin.
    """
    scheduler = Scheduler(executor=Executor(max_concurrent=2))
    begun: list[str] = []

    async def work(name: str) -> None:
        begun.append(name)
        await anyio.sleep(60 if name else 0)

    first, second = scheduler.job(work, name="first"), scheduler.job(work, name="second")

    async with scheduler.running():
        ended = await first.enqueue("")
        await ended.result()
        await scheduler.enqueue(first.bind("a"), second.bind("b"))
        await anyio.sleep(1)
        slow = second.options(queue="slow")
        await scheduler.enqueue(*[first.bind("c") for _ in range(500)], second.bind("d"), slow.bind("e"))
        await first.options(delay="1h").enqueue("f")

        assert 1 == await scheduler.cancel_runs(queue="slow")
        assert 1 == await scheduler.cancel_runs(status="scheduled")
        assert [7, 0] == [await scheduler.cancel_runs(status=RunStatus.READY, limit=limit) for limit in (7, 0)]
        assert 1 == await scheduler.cancel_runs(job="second")  # "d" was among the newest
        assert 495 == await scheduler.cancel_runs(job="first")
        assert 0 == await scheduler.cancel_runs(job="none")
        await anyio.sleep(1)
        assert (0, 0, 1, 505) == (
            *((totals := await scheduler.totals()).running, totals.ready),
            *(totals.succeeded, totals.cancelled),
        )

        with pytest.raises(InvalidOption, match=r"'succeeded'.*waiting, scheduled"):
            await scheduler.cancel_runs(status="succeeded")

    assert {"", "a", "b"} == {name for name in begun if name != "c"}
    assert begun.count("c") <= 1  # in the place of "b"


async def test_a_limit_is_of_all_that_is_cancelled() -> None:
    """Of whatever status it is."""
    scheduler = Scheduler()
    job = scheduler.job(anyio.sleep, name="job")

    async with scheduler:
        later = job.options(delay="1h")
        await scheduler.enqueue(*[later.bind(0) for _ in "12"], *[job.bind(0) for _ in "123"])
        assert [4, 1, 0] == [await scheduler.cancel_runs(limit=4) for _ in "123"]


async def test_a_running_one_is_cancelled_wherever_it_runs() -> None:
    """Asked for on one node, its scope on another is cancelled at once, and it is not retried.

    Break: without the hint it takes until the next renewal of the lease.
    """
    worker = Scheduler()
    client = Scheduler(worker.backend)
    ended: list[float] = []

    async def work() -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(since_start())

    worker.job(name="work")(work)
    job = client.job(name="work")(work)

    async with worker.running(), client:
        run = await job.enqueue()
        await anyio.sleep(2)
        assert RunStatus.RUNNING == await run.status()
        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()

        info = await run.info()
        await anyio.sleep(100)

    assert [2] == ended
    assert (RunStatus.CANCELLED, 1, 2) == (info.status, info.attempt, (info.finished_at - START).total_seconds())


@pytest.mark.parametrize("raised", [ValueError("in cleanup"), Snooze("1s"), None], ids=["error", "snooze", "nothing"])
async def test_cancelled_is_final_whatever_the_handler_does_about_it(raised: Exception | None) -> None:
    """It raises in its cleanup, or asks for later: cancelled all the same, with the error on record. Never a retry."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    calls: list[int] = []

    @scheduler.job(retry=RetryPolicy(max_retries=9, initial=0))
    async def work() -> None:
        calls.append(1)

        try:
            await anyio.sleep(60)
        finally:
            if raised is not None:
                raise raised

    async with scheduler.running():
        run = await work.enqueue()
        await anyio.sleep(1)
        await run.cancel()

        with pytest.raises(RunCancelled) as caught:
            await run.result()

        await anyio.sleep(100)
        assert RunStatus.CANCELLED == await run.status()

    assert [1] == calls
    assert (str(raised) if raised else None) == (caught.value.error.message if caught.value.error else None)


async def test_a_handler_that_swallows_its_cancellation_and_returns_is_cancelled() -> None:
    """Whoever cancelled a run that was at work is not told that it succeeded; observers are told of the handler.

    Break: looking at what it returned first, the run ends `succeeded`.
    """
    seen: list[Event] = []

    class Observer:
        def on_event(self, event: Event) -> None:
            if isinstance(event, CancellationSwallowed):
                seen.append(event)

    scheduler = Scheduler(observers=[Observer()])

    @scheduler.job
    async def stubborn() -> str:
        try:
            await anyio.sleep(60)
        except BaseException:  # noqa: BLE001 - it is the cancellation that is swallowed
            return "anyway"

        return "slept"

    async with scheduler.running():
        run = await stubborn.enqueue()
        await anyio.sleep(1)
        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()

        assert RunStatus.CANCELLED == await run.status()

    assert [run.id] == [event.run_id for event in seen]


async def test_a_thread_that_returns_after_its_cancellation_is_cancelled(
    anysched_backend: Backend, real_time: None
) -> None:
    """It cannot be stopped and need not look: what it returns in the end is of no account, nor is its error.

    Break: looking at what it returned first, the run ends `succeeded`.
    """
    scheduler = Scheduler(anysched_backend, config=SchedulerConfig(on_error=lambda error, context: None))
    began, released = threading.Event(), threading.Event()

    @scheduler.job(retry=RetryPolicy(initial=0))
    def work(fails: bool) -> str:
        began.set()
        released.wait(10)

        if fails:
            raise ValueError("late")

        return "late"

    async with scheduler.running():
        for fails in (False, True):
            run = await work.enqueue(fails)
            await to_thread.run_sync(began.wait, 10)
            await run.cancel()

            while attempting_of(scheduler).live[run.id].interruption is None:  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.005)

            released.set()

            with pytest.raises(RunCancelled) as caught:
                await run.result()

            assert ("late" if fails else None) == (caught.value.error and caught.value.error.message)
            began.clear()
            released.clear()


async def test_a_success_that_was_reached_first_stands(real_time: None) -> None:
    """A thread has its result, and the loop, which is busy, learns of that only after the cancellation.

    Break: going by what the loop knows, a result that was there is thrown away.
    """
    scheduler = Scheduler()
    began, released = threading.Event(), threading.Event()

    @scheduler.job
    def work() -> int:
        began.set()
        released.wait(10)
        return 1

    async with scheduler.running():
        run = await work.enqueue()
        await to_thread.run_sync(began.wait, 10)
        released.set()
        attempting = attempting_of(scheduler)
        # The loop is held up until the thread is through.
        deadline = time.monotonic() + 10

        while not attempting.live[run.id].ending.has_value and time.monotonic() < deadline:
            time.sleep(0.001)  # noqa: ASYNC251 - the loop is meant to be busy

        await scheduler.backend.cancel(run.id)
        attempting.interrupt([run.id], Interruption.CANCELLED)
        assert 1 == await run.result()


async def test_one_that_waits_for_its_next_attempt_can_be_cancelled() -> None:
    """Between two attempts there is nothing to interrupt, and no other comes."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    calls: list[int] = []

    @scheduler.job(retry=RetryPolicy(initial="30s"))
    async def work() -> None:
        calls.append(1)
        raise ValueError

    async with scheduler.running():
        run = await work.enqueue()
        await anyio.sleep(5)
        assert RunStatus.RETRYING == await run.status()
        await run.cancel()
        await anyio.sleep(100)
        assert RunStatus.CANCELLED == await run.status()

    assert [1] == calls


async def test_a_thread_is_told_and_awaited(real_time: None) -> None:
    """A plain function sees it through `check_cancelled`; the run ends when the thread does, and not before."""
    scheduler = Scheduler()
    ended: list[str] = []

    @scheduler.job
    def work() -> None:
        try:
            while True:
                time.sleep(0.01)
                from_thread.check_cancelled()
        finally:
            time.sleep(0.1)
            ended.append("thread")

    async with scheduler.running():
        run = await work.enqueue()

        while scheduler.statistics().executor.threads == 0:  # noqa: ASYNC110 - it is a thread that begins
            await anyio.sleep(0.005)

        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()

        assert ["thread"] == ended
        assert 0 == scheduler.statistics().executor.busy


async def test_one_that_was_claimed_and_has_not_begun_is_cancelled_without_beginning() -> None:
    """Taken in advance behind others, cancelled there: its function is never called."""
    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    begun: list[int] = []

    @scheduler.job
    async def work(number: int) -> None:
        begun.append(number)
        await anyio.sleep(0.001 if number < 60 else 0.05)

    async with scheduler.running():
        # Sixty short ones teach the node to take some in advance.
        for run in await scheduler.enqueue(*[work.bind(number) for number in range(60)]):
            await run.result()

        runs = await scheduler.enqueue(*[work.bind(number) for number in range(60, 64)])
        await anyio.sleep(0.01)
        assert ["running"] * 4 == [await run.status() for run in runs]
        await runs[3].cancel()

        with pytest.raises(RunCancelled):
            await runs[3].result()

        await runs[2].result()

    assert [*range(63)] == begun
