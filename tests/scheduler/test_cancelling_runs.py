"""Cancelling runs: not started, running, on another node; and that it is final."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import anyio
import pytest
from anyio import from_thread

from anysched import Executor, RetryPolicy, RunCancelled, RunStatus, Scheduler, SchedulerConfig, Snooze
from anysched.clock import now

START = datetime(2026, 1, 1, tzinfo=UTC)


def since_start() -> float:
    return (now() - START).total_seconds()


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


async def test_a_success_that_was_reached_first_stands() -> None:
    """A handler that swallows the cancellation and returns has succeeded: the cancel came too late, and is told of."""
    from anysched.events import CancellationSwallowed, Event

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
        assert "anyway" == await run.result()

    assert [run.id] == [event.run_id for event in seen]


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
