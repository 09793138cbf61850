"""How a node stops: gracefully, at once, while it starts, while it stops, and when its surroundings fail."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time

from anysched import Executor, InvalidState, MemoryBackend, RunStatus, Scheduler, SchedulerConfig, current_run
from anysched.clock import now

START = datetime(2026, 1, 1, tzinfo=UTC)


def since_start() -> float:
    return (now() - START).total_seconds()


async def assert_nothing_is_left(scheduler: Scheduler, *, ready: int = 0, succeeded: int = 0) -> None:
    """No run is running, no node is listed, no lock is held, no slot is taken."""
    totals = await scheduler.backend.totals()
    assert (0, ready, succeeded) == (totals.running, totals.ready, totals.succeeded)
    assert [] == await scheduler.backend.list_nodes()
    assert isinstance(scheduler.backend, MemoryBackend)
    assert {} == scheduler.backend._state.locks
    statistics = scheduler.statistics()
    assert (False, 0, 0) == (statistics.running, statistics.executor.busy, statistics.executor.backlog)


async def test_a_graceful_stop_lets_live_attempts_end_and_takes_no_more() -> None:
    """Leaving `running` waits for what runs; what is ready stays ready.

    Break: cancelling at once loses the ten seconds' work; going on to claim never ends.
    """
    scheduler = Scheduler(executor=Executor(max_concurrent=2))
    done: list[float] = []

    @scheduler.job
    async def work(seconds: float) -> None:
        await anyio.sleep(seconds)
        done.append(since_start())

    async with scheduler:
        async with scheduler.running():
            await scheduler.enqueue(*[work.bind(seconds) for seconds in (5, 10, 1, 1)])
            await anyio.sleep(1)

        assert [5, 10] == done
        assert 10 == since_start()
        await assert_nothing_is_left(scheduler, ready=2, succeeded=2)


async def test_what_outlasts_the_shutdown_timeout_is_cancelled_and_handed_back() -> None:
    """Its attempt is refunded, it is first in the queue again, and the next node runs it from the start."""
    scheduler = Scheduler(config=SchedulerConfig(shutdown_timeout="5s"))
    seen: list[tuple[str, float, int]] = []

    @scheduler.job
    async def work() -> str:
        seen.append(("begun", since_start(), current_run().attempt))

        try:
            await anyio.sleep(20)
            return "done"
        finally:
            seen.append(("ended", since_start(), current_run().attempt))

    async with scheduler:
        async with scheduler.running():
            run = await work.enqueue()
            await anyio.sleep(1)

        assert 6 == since_start()
        info = await run.info()
        assert (RunStatus.READY, 0, ()) == (info.status, info.attempt, info.attempts)
        await assert_nothing_is_left(scheduler, ready=1)

        async with scheduler.running():
            assert "done" == await run.result()

    assert [("begun", 0, 1), ("ended", 6, 1), ("begun", 6, 1), ("ended", 26, 1)] == seen


@pytest.mark.parametrize("count", [1, 300])
async def test_a_fast_stop_hands_back_at_once_and_loses_no_finished_result(count: int) -> None:
    """The scope around `run` is cancelled in the very moment in which half of the attempts finish.

    Break: without the shield of the services outcomes are not settled, and runs stay `running` until the lease ends.
    """
    scheduler = Scheduler(executor=Executor(max_concurrent=400))
    finished: list[int] = []

    @scheduler.job
    async def work(number: int) -> int:
        await anyio.sleep(5 if number % 2 else 3600)
        finished.append(number)
        return number

    async with scheduler:
        runs = await scheduler.enqueue(*[work.bind(number) for number in range(2 * count)])

        with anyio.move_on_after(5):
            await scheduler.run()

        assert 5 == since_start()
        await assert_nothing_is_left(scheduler, ready=2 * count - len(finished), succeeded=len(finished))
        statuses = [await run.status() for run in runs]
        assert {RunStatus.READY} == set(statuses[::2])
        assert {RunStatus.SUCCEEDED} >= {statuses[number] for number in finished}
        infos = [await run.info() for run in runs[::2]]
        assert {0} == {info.attempt for info in infos}


async def test_a_fast_stop_tells_attempts_that_it_shuts_down() -> None:
    """`shutting_down` is set also when the scope around `run` is cancelled, for those who cannot be cancelled."""
    scheduler = Scheduler()
    seen: list[bool] = []

    @scheduler.job
    async def work() -> None:
        run = current_run()
        seen.append(run.shutting_down.is_set())

        try:
            await anyio.sleep(3600)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)

            seen.append(run.shutting_down.is_set())

    async with scheduler:
        await work.enqueue()

        with anyio.move_on_after(5):
            await scheduler.run()

    assert [False, True] == seen


async def test_a_graceful_stop_tells_attempts_that_it_shuts_down() -> None:
    """One that waits for `shutting_down` ends by itself, long before the timeout."""
    scheduler = Scheduler()

    @scheduler.job
    async def patient() -> str:
        await current_run().shutting_down.wait()
        return "told"

    async with scheduler:
        async with scheduler.running():
            run = await patient.enqueue()
            await anyio.sleep(1)

        assert 1 == since_start()
        assert "told" == await run.result()


async def test_an_error_that_a_stop_brings_about_is_not_the_runs() -> None:
    """A handler that raises in its cleanup while the node stops is handed back, like one that lets go quietly.

    Break: taking the error for the handler's own uses up an attempt at each stop, or fails the run for good.
    """
    errors: list[Exception] = []
    config = SchedulerConfig(shutdown_timeout="1s", on_error=lambda error, context: errors.append(error))
    scheduler = Scheduler(config=config)

    @scheduler.job
    async def clumsy() -> None:
        try:
            await anyio.sleep(3600)
        finally:
            raise ConnectionError("closed under me")

    async with scheduler:
        run = await clumsy.enqueue()

        for stop in ("graceful", "fast"):
            if stop == "graceful":
                async with scheduler.running():
                    await anyio.sleep(1)
            else:
                with anyio.move_on_after(1):
                    await scheduler.run()

            info = await run.info()
            assert (RunStatus.READY, 0, ()) == (info.status, info.attempt, info.attempts)


async def test_a_thread_that_looks_ends_early_at_a_fast_stop(real_time: None) -> None:
    """A plain function cannot be cancelled; it sees `shutting_down`, ends, and its result counts."""
    scheduler = Scheduler()
    begun = threading.Event()

    @scheduler.job
    def work() -> str:
        run = current_run()
        begun.set()

        while not run.shutting_down.is_set():
            time.sleep(0.005)

        return "saw it"

    async with scheduler:
        run = await work.enqueue()

        async with create_task_group() as group:
            group.start_soon(scheduler.run)

            while not begun.is_set():  # noqa: ASYNC110 - it is a thread that begins
                await anyio.sleep(0.005)

            group.cancel_scope.cancel()

        assert "saw it" == await run.result()
        await assert_nothing_is_left(scheduler, succeeded=1)


async def test_the_error_of_a_body_leaves_bare_and_stops_at_once() -> None:
    """`except ValueError` around `async with scheduler.running()` means what it says; live attempts are handed back."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    with pytest.raises(ValueError, match="mine"):  # noqa: PT012 - it is the block that is left
        async with scheduler.running():
            await work.enqueue()
            await anyio.sleep(1)
            raise ValueError("mine")

    assert 1 == since_start()
    await assert_nothing_is_left(scheduler, ready=1)


async def test_a_group_that_a_body_raises_stays_one() -> None:
    """What the body raised leaves as it was."""
    scheduler = Scheduler()

    with pytest.RaisesGroup(ValueError, KeyError):
        async with scheduler.running():
            raise ExceptionGroup("mine", [ValueError(), KeyError()])


async def test_cancelling_around_running_is_a_fast_stop() -> None:
    """A time limit around the block, or the nursery that it is in."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    with anyio.move_on_after(2) as scope:
        async with scheduler.running():
            await work.enqueue()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert 2 == since_start()
    await assert_nothing_is_left(scheduler, ready=1)


async def test_a_crashed_sibling_stops_it_at_once() -> None:
    """The embedding application's task group dies: so does the node, in good order."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    async def crash() -> None:
        await anyio.sleep(3)
        raise ZeroDivisionError

    async def application() -> None:
        async with scheduler, create_task_group() as group:
            await group.start(scheduler.run)
            await work.enqueue()
            group.start_soon(crash)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await application()

    assert 3 == since_start()
    await assert_nothing_is_left(scheduler, ready=1)


async def test_stop_while_it_starts_is_heard() -> None:
    """`stop` right after `run` was called, before it is ready: it ends, as if it had been ready.

    Break: `stop` that only looks for a running node is lost, and `run` never ends.
    """
    scheduler = Scheduler()

    for checkpoints in range(40):
        with anyio.fail_after(30):
            async with create_task_group() as group:
                group.start_soon(scheduler.run)

                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()

                while scheduler._stopping is None:
                    await anyio.lowlevel.checkpoint()

                scheduler.stop()

        await assert_nothing_is_left(scheduler)


async def test_stop_while_it_stops_changes_nothing() -> None:
    """Asked twice, or ten times, the grace is the same; and a stopped scheduler takes no notice."""
    scheduler = Scheduler(config=SchedulerConfig(shutdown_timeout="5s"))

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    scheduler.stop()

    async with scheduler:
        await work.enqueue()

        async with create_task_group() as group:
            await group.start(scheduler.run)
            await anyio.sleep(1)

            for _ in range(10):
                scheduler.stop()
                await anyio.sleep(0.3)

        assert 6 == since_start()
        scheduler.stop()
        await assert_nothing_is_left(scheduler, ready=1)


async def test_cancelling_while_it_stops_ends_the_grace() -> None:
    """The second signal: what was given time is cancelled now."""
    scheduler = Scheduler(config=SchedulerConfig(shutdown_timeout="1h"))

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    async with scheduler:
        await work.enqueue()

        with anyio.move_on_after(10):
            async with create_task_group() as group:
                await group.start(scheduler.run)
                await anyio.sleep(1)
                scheduler.stop()

        assert 10 == since_start()
        await assert_nothing_is_left(scheduler, ready=1)


async def test_it_can_run_again_after_it_has_stopped() -> None:
    """In the same opening or in a new one, as often as one likes; and not twice at once."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> int:
        return 1

    for _ in range(3):
        async with scheduler.running():
            assert 1 == await (await work.enqueue()).result()

            with pytest.raises(InvalidState, match=r"^this scheduler is running already: it runs once at a time"):
                await scheduler.run()

    async with scheduler:
        for _ in range(3):
            async with scheduler.running():
                assert 1 == await (await work.enqueue()).result()

    await assert_nothing_is_left(scheduler, succeeded=6)


async def test_two_runs_at_once_are_refused_though_neither_is_ready() -> None:
    """The second is told, in whatever moment it comes.

    Break: looking only for a running node lets both in while they open.
    """
    scheduler = Scheduler()
    refused: list[str] = []

    async def run() -> None:
        try:
            await scheduler.run()
        except InvalidState as error:
            refused.append(str(error))

    async with create_task_group() as group:
        for _ in range(3):
            group.start_soon(run)

        await anyio.sleep(1)
        scheduler.stop()

    assert 2 == len(refused)


async def test_one_executor_serves_one_running_scheduler() -> None:
    """A second scheduler that would run on it is refused before it does anything; the first one goes on, and ends.

    Break: the second takes the executor over, and the first waits for ever: for its runs, and for its end.
    """
    executor = Executor(max_concurrent=1)
    opened: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        opened.append("second")
        yield

    first, second = Scheduler(executor=executor), Scheduler(executor=executor, lifespan=lifespan)

    @first.job
    async def work() -> int:
        return 1

    async with first.running():
        with anyio.fail_after(60), pytest.raises(InvalidState, match="give each scheduler an Executor of its own"):
            async with second.running():
                pytest.fail("it runs")

        with anyio.fail_after(60), pytest.raises(InvalidState, match="this executor is running already"):
            await second.run()

        assert 1 == await (await work.enqueue()).result()

    assert [] == opened

    async with second.running():
        assert ["second"] == opened


async def test_one_scheduler_serves_one_event_loop_after_another() -> None:
    """What belongs to a loop is made anew at each opening (see also the plain test below)."""
    scheduler = Scheduler()

    async with scheduler.running():
        pass

    async with scheduler.running():
        pass


def test_a_scheduler_can_run_in_asyncio_and_then_in_trio() -> None:
    """The same object, made at import time, in several event loops one after the other."""
    scheduler = Scheduler()

    @scheduler.job
    def plain(value: int) -> int:
        return value + 1

    async def main() -> int:
        async with scheduler.running():
            return await (await plain.enqueue(1)).result()

    assert [2, 2, 2] == [anyio.run(main, backend=name) for name in ("asyncio", "trio", "asyncio")]


# --- the lifespan ----------------------------------------------------------------------------------------------------


async def test_the_lifespan_is_around_the_attempts() -> None:
    """Entered before the first attempt, left after the last, at either kind of stop; jobs see its value."""
    happened: list[str] = []

    @asynccontextmanager
    async def open_pool() -> AsyncGenerator[dict[str, str]]:
        happened.append("open")

        try:
            yield {"pool": "p"}
        finally:
            happened.append("closed")

    scheduler = Scheduler(lifespan=open_pool)

    @scheduler.job
    async def work() -> str:
        try:
            await anyio.sleep(2)
            return current_run().state["pool"]
        finally:
            happened.append("worked")

    async with scheduler:
        run = await work.enqueue()
        assert [] == happened

        async with scheduler.running():
            await anyio.sleep(1)

        assert "p" == await run.result()
        assert ["open", "worked", "closed"] == happened
        await work.enqueue()

        with anyio.move_on_after(1):
            await scheduler.run()

        assert ["open", "worked", "closed"] * 2 == happened


@pytest.mark.parametrize("when", ["opening", "closing"])
async def test_an_error_of_the_lifespan_leaves_bare(when: str) -> None:
    """Neither swallowed nor wrapped, and the node leaves in good order."""

    @asynccontextmanager
    async def broken() -> AsyncGenerator[None]:
        if when == "opening":
            raise OSError("no pool")

        yield
        raise OSError("no pool")

    scheduler = Scheduler(lifespan=broken)

    with pytest.raises(OSError, match="no pool"):
        async with scheduler.running():
            await anyio.sleep(1)

    await assert_nothing_is_left(scheduler)


# --- natively, on asyncio --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_a_native_cancel_is_a_fast_stop_too(loop_name: str, again: bool) -> None:
    """`task.cancel()` of the task that hosts `run`, as frameworks do it: everything is handed back all the same."""
    if loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    import asyncio

    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None:
        try:
            await anyio.sleep(3600)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)

    async def application() -> None:
        async with scheduler.running():
            await work.enqueue()
            await anyio.sleep_forever()

    task: asyncio.Task[Any] = asyncio.ensure_future(application())
    await anyio.sleep(2)
    task.cancel()

    if again:
        await anyio.sleep(0.5)
        task.cancel()

    await asyncio.wait([task])
    assert task.cancelled()
    assert 3 == since_start() == current_time()
    await assert_nothing_is_left(scheduler, ready=1)
