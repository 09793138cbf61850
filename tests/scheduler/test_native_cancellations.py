"""Jobs on asyncio whose task is cancelled natively, beside the scopes that it is in."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest

from anysched import Executor, RetryPolicy, RunCancelled, RunFailed, Scheduler, SchedulerConfig

ONCE = RetryPolicy(max_retries=0)


async def be_cancelled_natively() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()

    with contextlib.suppress(asyncio.CancelledError):
        await anyio.sleep(1)


async def fail_in_a_native_group() -> str:
    async def fail() -> None:
        raise ValueError

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    await anyio.sleep(0.1)
    return "went on"


async def end_otherwise_when_cancelled() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await anyio.sleep(60)

    raise asyncio.CancelledError


async def test_a_time_limit_holds_whatever_has_cancelled_the_task_before(loop_name: str) -> None:
    """On asyncio a task counts who cancels it; up to Python 3.12 a task group that fails does not take that back.

    Break: the cancellation at the time limit passes for that of somebody else, and takes the node down.
    """
    if loop_name == "trio":
        pytest.skip("Trio has no such thing")

    scheduler = Scheduler(executor=Executor(max_concurrent=1), config=SchedulerConfig(on_error=lambda e, c: None))
    clumsy = scheduler.job(timeout="1s", retry=ONCE)(end_otherwise_when_cancelled)
    counted = scheduler.job(be_cancelled_natively)
    group_fails = scheduler.job(retry=ONCE)(fail_in_a_native_group)

    @scheduler.job(timeout="1s", retry=ONCE)
    async def slow(*, before: bool) -> None:
        if before:
            await fail_in_a_native_group()
            await be_cancelled_natively()

        await anyio.sleep(60)

    async with scheduler.running():
        for call in (slow.bind(before=False), slow.bind(before=True), clumsy.bind()):
            first, second, third, last = await scheduler.enqueue(
                counted.bind(), call, group_fails.bind(), slow.bind(before=True)
            )
            await first.result()

            with pytest.raises(RunFailed, match="AttemptTimeout"):
                await second.result()

            assert [1] == [one.number for one in (await second.info()).attempts]
            assert "went on" == await third.result()
            await anyio.sleep(0.5)
            await last.cancel()

            with pytest.raises(RunCancelled):
                await last.result()


async def test_an_attempt_begins_uncounted(loop_name: str) -> None:
    """Whatever the one before it has left behind in their task, a handler's own scopes and groups go by what it does.

    Break: from Python 3.13 on a task group of asyncio in it cancels the task once more.
    """
    if loop_name == "trio":
        pytest.skip("Trio has no such thing")

    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    counted = scheduler.job(be_cancelled_natively)

    @scheduler.job
    async def count() -> int:
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    async with scheduler.running():
        *_, last = await scheduler.enqueue(counted.bind(), counted.bind(), count.bind())
        assert 0 == await last.result()
