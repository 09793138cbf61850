"""Jobs that take the event loop, a thread, or the whole process with them: leases bring back what they held."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from anyio import create_task_group, fail_after, sleep

from anysched import AttemptError, MemoryBackend, RetryPolicy, RunFailed, RunInfo, Scheduler, SchedulerConfig
from anysched.backends import RunRecord
from anysched.testing import virtual_time

ONCE = RetryPolicy(max_retries=0)
START = datetime(2026, 1, 1, tzinfo=UTC)


def quiet(**options: Any) -> SchedulerConfig:
    return SchedulerConfig(on_error=lambda error, context: None, **options)


# --- the loop and its threads ---------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_job_that_blocks_the_loop_beyond_the_lease_costs_nobody_an_attempt(real_time: None) -> None:
    """With a lease of a second and 1.5 s of blocking: its own run succeeds, its neighbour is begun anew or goes on."""
    scheduler = Scheduler(config=quiet(lease="1s"))

    @scheduler.job
    async def blocking() -> str:
        time.sleep(1.5)  # noqa: ASYNC251 (that is the point)
        return "done"

    @scheduler.job
    async def neighbour() -> str:
        await sleep(2)
        return "fine"

    async with scheduler.running():
        with fail_after(20):
            other = await neighbour.enqueue()
            await sleep(0.2)
            run = await blocking.enqueue()

            assert ("done", "fine") == (await run.result(), await other.result())
            assert [1, 1] == [(await run.info()).attempt, (await other.info()).attempt]
            assert [0, 0] == [(await run.info()).crashes, (await other.info()).crashes]


@pytest.mark.slow
async def test_a_thread_that_does_not_end_holds_its_slot_and_no_more(real_time: None) -> None:
    """Its time limit passes, others go on, and when it ends at last its result counts, late as it is."""
    release = threading.Event()
    scheduler = Scheduler(config=quiet(lease="1s"))

    @scheduler.job(retry=ONCE, timeout="200ms")
    def endless() -> str:
        release.wait(20)
        return "at last"

    @scheduler.job
    async def neighbour() -> str:
        return "fine"

    async with scheduler.running():
        with fail_after(20):
            run = await endless.enqueue()
            await sleep(1.5)
            assert "fine" == await (await neighbour.enqueue()).result()
            assert ("running", 1) == (await run.status(), scheduler.statistics().executor.busy)

            release.set()
            assert "at last" == await run.result()
            assert (1, 0) == ((await run.info()).attempt, (await run.info()).crashes)


# --- the process ----------------------------------------------------------------------------------------------------


def live_once(
    memory: MemoryBackend, loop: Literal["asyncio", "trio"], misbehave: Callable[[], Awaitable[None]], start: datetime
) -> None:
    """A process that runs one node, which carries out a run of this job."""
    scheduler = Scheduler(memory, config=quiet())
    hostile = scheduler.job(name="hostile", retry=ONCE)(misbehave)

    async def main() -> None:
        async with scheduler.running():
            await hostile.options(run_id="r").enqueue()
            await sleep(60)

    virtual_time(main, backend=loop, start=start)


def look(memory: MemoryBackend) -> RunRecord:
    async def main() -> Any:
        (found,) = await memory.get_runs(["r"])
        return found

    found = virtual_time(main, start=START)
    assert isinstance(found, RunRecord)
    return found


def asked_for(memory: MemoryBackend) -> tuple[RunInfo, RunFailed]:
    """What a user learns of the run."""
    scheduler = Scheduler(memory, config=quiet())

    async def main() -> Any:
        async with scheduler:
            run = await scheduler.get_run("r")

            with pytest.raises(RunFailed) as failed:
                await run.result()

            return await run.info(), failed.value

    return virtual_time(main, start=START + timedelta(minutes=10))


async def behave() -> None:
    return


async def press_control_c() -> None:
    await sleep(1)
    raise KeyboardInterrupt


async def child_exits() -> None:
    async def leave() -> None:
        await sleep(1)
        raise SystemExit(3)

    async with create_task_group() as group:
        group.start_soon(leave)
        await sleep(10)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_keyboard_interrupt_passes_through_and_its_run_is_not_lost(loop: Literal["asyncio", "trio"]) -> None:
    """It means the process. The run is handed back, or comes back with the lease, and another process completes it."""
    memory = MemoryBackend()

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
        live_once(memory, loop, press_control_c, START)

    assert caught.group_contains(KeyboardInterrupt) if isinstance(caught.value, BaseExceptionGroup) else True
    assert look(memory).status in ("ready", "running")

    live_once(memory, loop, behave, START + timedelta(minutes=2))
    assert ("succeeded", 1) == (look(memory).status, look(memory).attempt)


def test_a_child_that_exits_takes_asyncio_down_and_the_lease_brings_the_run_back() -> None:
    """Asyncio lets a SystemExit of any task through at once, past every shield. The next process completes the run."""
    memory = MemoryBackend()

    with pytest.raises((SystemExit, BaseExceptionGroup)):
        live_once(memory, "asyncio", child_exits, START)

    live_once(memory, "asyncio", behave, START + timedelta(minutes=2))
    assert ("succeeded", 1) == (look(memory).status, look(memory).attempt)


def test_a_child_that_exits_under_trio_fails_its_run() -> None:
    """There it is an exception like any other: the group that the job raises has it."""
    memory = MemoryBackend()
    live_once(memory, "trio", child_exits, START)
    found = look(memory)

    assert "failed" == found.status
    assert "SystemExit" in found.errors[-1]


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_run_that_takes_its_process_down_three_times_is_poison(loop: Literal["asyncio", "trio"]) -> None:
    """With three crashes within a day it fails, and the fourth process lives."""
    memory = MemoryBackend()

    for number in range(3):
        with pytest.raises(_PowerCut):
            die_with(memory, loop, START + timedelta(minutes=number))

    live_once(memory, loop, behave, START + timedelta(minutes=5))
    found = look(memory)

    assert ("failed", 3) == (found.status, found.crashes)

    info, failed = asked_for(memory)
    assert isinstance(failed.error, AttemptError)
    assert "anysched.errors.WorkerLost" == failed.error.type
    assert "lost 3 times within a day" in str(failed)
    assert [(1, failed.error)] == [(attempt.number, attempt.error) for attempt in info.attempts]


class _PowerCut(Exception):
    pass


class _Unplugged(MemoryBackend):
    """A backend that nobody reaches any more once the power is off."""

    is_off = False

    async def leave(self, node_id: str) -> None:
        if not self.is_off:
            await super().leave(node_id)

    async def work(self, node_id: str, outcomes: Any, claim: Any) -> Any:
        if self.is_off:
            raise _PowerCut

        return await super().work(node_id, outcomes, claim)


def die_with(memory: MemoryBackend, loop: Literal["asyncio", "trio"], start: datetime) -> None:
    """A process that a run takes down, and that says no more to the backend."""
    unplugged = _Unplugged()
    unplugged._state = memory._state

    async def cut_the_power() -> None:
        unplugged.is_off = True
        raise ValueError

    scheduler = Scheduler(unplugged, config=quiet())
    hostile = scheduler.job(name="hostile", retry=ONCE)(cut_the_power)

    async def main() -> None:
        async with scheduler.running():
            await hostile.options(run_id="r").enqueue()
            await sleep(60)

    virtual_time(main, backend=loop, start=start)
