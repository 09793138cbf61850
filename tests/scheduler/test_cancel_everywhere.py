"""Every public coroutine cancelled at its first await, its second, and so on; afterwards nothing leaked.

What "nothing" is: every run is in exactly one status and the totals agree with a count; nobody is listed as a node, no
lock is held or waited for, no slot is taken, no hint is listened for, and the scheduler can be opened and run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from anysched import Cron, Lock, MemoryBackend, RetryPolicy, RunFailed, Scheduler, SchedulerConfig, current_run
from anysched.errors import AnySchedError
from anysched.run import RunStatus
from anysched.testing import Round, cancel_at_every_await


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, loop_name: str) -> bool:
    if request.param and loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    return request.param


def quiet(**settings: Any) -> SchedulerConfig:
    return SchedulerConfig(on_error=lambda error, context: None, **settings)


async def assert_consistent(backend: Any) -> None:
    """Every stored run is in exactly one status, and the totals say the same."""
    listed: Counter[str] = Counter()

    for status in RunStatus:
        cursor = ""

        while True:
            page = await backend.list_runs(status=status.value, cursor=cursor, limit=500)
            listed[status.value] += len(page.runs)
            assert {status.value} >= {run.status for run in page.runs}
            cursor = page.cursor

            if not cursor:
                break

    totals = await backend.totals()
    assert (totals.ready, totals.running, totals.waiting) == (listed["ready"], listed["running"], listed["waiting"])
    assert totals.scheduled == listed["scheduled"] + listed["retrying"]
    # Of those that ended well only the newest thousand are listed.
    stored = Counter(run.status for run in backend._state.runs.values())
    capped = {status: min(count, 1000) if status == "succeeded" else count for status, count in stored.items()}
    assert capped == dict(+listed)


async def assert_nothing_leaked(scheduler: Scheduler) -> None:
    backend = scheduler.backend
    assert isinstance(backend, MemoryBackend)
    await assert_consistent(backend)
    assert 0 == (await backend.totals()).running
    assert [] == await backend.list_nodes()
    assert {} == backend._state.locks
    assert {} == backend._listeners._inboxes
    statistics = scheduler.statistics()
    assert (False, "") == (statistics.running, statistics.node)
    executor = scheduler.executor
    assert (0, 0, 0) == (executor.busy, executor.backlog, executor._slots)
    assert (None, None, None) == (scheduler._session, scheduler._node, scheduler._stopping)


# --- operations of an open scheduler ---------------------------------------------------------------------------

Operation = Callable[[Scheduler, int], Awaitable[Any]]


async def enqueue(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.jobs["work"].enqueue(number)


async def enqueue_many(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.enqueue(*[scheduler.jobs["work"].bind(one) for one in range(2500)])


async def result(scheduler: Scheduler, number: int) -> Any:
    return await (await scheduler.get_run("ended")).result()


async def info(scheduler: Scheduler, number: int) -> Any:
    return await (await scheduler.get_run("ended")).info()


async def find(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.find(key="key")


async def cancel(scheduler: Scheduler, number: int) -> Any:
    await (await scheduler.jobs["work"].options(run_id=f"c{number}", delay="1h").enqueue(0)).cancel()


async def reschedule(scheduler: Scheduler, number: int) -> Any:
    await (await scheduler.get_run("later")).reschedule(delay="2h")


async def retry(scheduler: Scheduler, number: int) -> Any:
    await (await scheduler.get_run("failed")).retry()


async def add(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.add(Cron("@hourly"), scheduler.jobs["work"].bind(1), id=f"entry-{number}")


async def replace(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.add("@every 30s", scheduler.jobs["work"].bind(1), id="kept", replace=True)


async def pause(scheduler: Scheduler, number: int) -> Any:
    await scheduler.pause("kept", note="n")


async def resume(scheduler: Scheduler, number: int) -> Any:
    await scheduler.pause("kept")
    await scheduler.resume("kept")


async def trigger(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.trigger("kept", overlap="queue_all")


async def remove(scheduler: Scheduler, number: int) -> Any:
    await scheduler.add("@hourly", scheduler.jobs["work"].bind(1), id="gone", replace=True)
    await scheduler.remove("gone")


async def look(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.entries(), await scheduler.queues(), await scheduler.nodes(), await scheduler.runs()


async def pause_queue(scheduler: Scheduler, number: int) -> Any:
    await scheduler.pause_queue("default")
    await scheduler.resume_queue("default")


async def retry_failed(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.retry_failed()


async def cancel_runs(scheduler: Scheduler, number: int) -> Any:
    return await scheduler.cancel_runs()


async def hold(scheduler: Scheduler, number: int) -> Any:
    async with scheduler.lock("reports"):
        await anyio.sleep(1)


async def hold_at_once(scheduler: Scheduler, number: int) -> Any:
    async with scheduler.lock("reports", wait=False):
        await anyio.lowlevel.checkpoint()


OPERATIONS = [
    *(enqueue, enqueue_many, result, info, find, cancel, reschedule, retry, add, replace, pause, resume, trigger),
    *(remove, look, pause_queue, retry_failed, cancel_runs, hold, hold_at_once),
]


async def work(number: int) -> int:
    if number < 0:
        raise ValueError

    return number


async def furnish(scheduler: Scheduler) -> None:
    """One run that has ended, one that failed, one that is due later, and an entry."""
    job = scheduler.job(name="work", retry=RetryPolicy(max_retries=0))(work)

    async with scheduler.running():
        ended = await job.options(run_id="ended").enqueue(7)
        failed = await job.options(run_id="failed").enqueue(-1)
        await job.options(run_id="later", delay="1h", key="key").enqueue(1)
        await scheduler.add(Cron("@yearly"), job.bind(1), id="kept")
        assert 7 == await ended.result()

        with pytest.raises(RunFailed):
            await failed.result()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_an_operation_cancelled_anywhere_leaves_the_rest_as_it_was(
    operation: Operation, native: bool, record_property: Callable[[str, object], None]
) -> None:
    """Cancelled, it happened wholly or not at all, and the next one works.

    Break: a batcher whose leader is cancelled without passing on; a lock that is taken and not given back.
    """
    scheduler = Scheduler(config=quiet())
    await furnish(scheduler)
    number = 0

    async def check(round_: int, outcome: Round[Any]) -> None:
        await assert_consistent(scheduler.backend)

        with anyio.fail_after(5):
            await enqueue(scheduler, 1)

            async with scheduler.lock("reports", wait=False):
                pass

    async with scheduler:

        def make() -> Awaitable[Any]:
            nonlocal number
            number += 1
            return operation(scheduler, number)

        suspensions = await cancel_at_every_await(make, check=check, native=native, expected=(AnySchedError,))
        record_property("suspensions cancelled", suspensions)
        assert suspensions >= 1

    await assert_nothing_leaked(scheduler)


# --- opening and running ---------------------------------------------------------------------------------------


def busy_scheduler() -> tuple[Scheduler, list[int]]:
    """A scheduler that has work of every kind to do as soon as it runs; and the numbers that were finished."""
    scheduler = Scheduler(config=quiet(shutdown_timeout="5s"), lock=Lock(ttl="15s"))
    finished: list[int] = []

    @scheduler.every("1s")
    async def tick() -> None:
        await anyio.sleep(0.5)

    @scheduler.job(name="work")
    async def work(number: int) -> int:
        await current_run().set_progress(0.5)
        await anyio.sleep(number % 3)
        finished.append(number)
        return number

    return scheduler, finished


@pytest.mark.parametrize("stage", ["open", "run", "running", "lifetime"])
async def test_opening_and_running_cancelled_anywhere_leave_nothing_behind(
    stage: str, native: bool, record_property: Callable[[str, object], None]
) -> None:
    """Wherever it is cancelled while it opens, starts, runs, stops or closes: within seconds it is gone, every finished
    result is settled, and everything else has been handed back.

    Break: leaving out `leave` keeps a dead node for its lease; a cancelled start that leaves its session keeps it open.
    """
    scheduler, finished = busy_scheduler()

    async def operation() -> None:
        if stage == "open":
            async with scheduler:
                await scheduler.jobs["work"].enqueue(0)
        elif stage == "run":
            async with anyio.create_task_group() as group:
                await group.start(scheduler.run)
                scheduler.stop()
        elif stage == "running":
            async with scheduler.running():
                await scheduler.enqueue(*[scheduler.jobs["work"].bind(number) for number in range(5)])
        else:
            async with scheduler, scheduler.running():
                runs = await scheduler.enqueue(*[scheduler.jobs["work"].bind(number) for number in range(5)])

                for run in runs:
                    await run.result()

                await anyio.sleep(3)

    async def check(number: int, outcome: Round[None]) -> None:
        assert anyio.current_time() - began[-1] < 20
        await assert_nothing_leaked(scheduler)
        assert len(finished) <= (await scheduler.backend.totals()).succeeded
        began.append(anyio.current_time())

    began = [anyio.current_time()]
    suspensions = await cancel_at_every_await(operation, check=check, native=native)
    record_property("suspensions cancelled", suspensions)
    assert suspensions >= 2

    with anyio.fail_after(60):
        async with scheduler.running():
            assert 9 == await (await scheduler.jobs["work"].enqueue(9)).result()

    await assert_nothing_leaked(scheduler)


async def test_cancelled_at_any_instant_of_its_life_it_hands_everything_back() -> None:
    """Not only where the caller waits: a fast stop at each of 120 instants of ten busy seconds.

    Break: an outcome that is reported after settling has ended is lost, and its run stays `running`.
    """
    scheduler, finished = busy_scheduler()

    for step in range(120):
        with anyio.move_on_after(0.0831 * step):
            async with scheduler.running():
                await scheduler.enqueue(*[scheduler.jobs["work"].bind(number) for number in range(5)])
                await anyio.sleep_forever()

        await assert_nothing_leaked(scheduler)

    assert 0 < len(finished) <= (await scheduler.backend.totals()).succeeded
