"""Attempts follow each other in a slot and share its scopes; nothing of one is felt by the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from anyio import CancelScope, current_effective_deadline, current_time
from anyio.lowlevel import checkpoint

from anysched import Executor, Scheduler, SchedulerConfig
from anysched.executor import Executor as Slots
from anysched.retry import RetryPolicy

LIMIT = 30.0


async def too_long() -> None:
    await anyio.sleep(2 * LIMIT)


async def abandons_a_scope() -> None:
    CancelScope(deadline=current_time() + 1).__enter__()
    await checkpoint()


async def abandons_a_scope_at_once() -> None:
    """It has never suspended."""
    CancelScope(deadline=current_time() + 1).__enter__()


async def abandons_a_cancelled_scope() -> None:
    scope = CancelScope()
    scope.__enter__()
    scope.cancel()


async def fails() -> None:
    raise ValueError


async def swallows_its_time_limit() -> None:
    try:
        await anyio.sleep(2 * LIMIT)
    except BaseException:  # noqa: BLE001, ASYNC103, ASYNC102 - that is what it is about
        return


async def cancels_a_scope_of_its_own() -> None:
    with CancelScope() as scope:
        scope.cancel()
        await anyio.sleep_forever()


async def nothing() -> None:
    pass


CAREFREE = [nothing, fails, cancels_a_scope_of_its_own]
CARELESS = [too_long, abandons_a_scope, abandons_a_scope_at_once, abandons_a_cancelled_scope, swallows_its_time_limit]


@pytest.mark.parametrize("before", CAREFREE + CARELESS, ids=lambda function: function.__name__)
async def test_whatever_an_attempt_did_the_next_in_its_slot_has_all_of_its_time(
    before: Callable[[], Awaitable[None]],
) -> None:
    """Its own time limit, counted from its own beginning, and nothing that was left behind.

    Break: without the look at what was left open, the scope that was abandoned cancels the next attempt after a second.
    """
    scheduler = Scheduler(
        executor=Executor(max_concurrent=1), config=SchedulerConfig(on_error=lambda error, context: None)
    )
    hostile = scheduler.job(name="before", timeout=timedelta(seconds=LIMIT), retry=RetryPolicy(max_retries=0))(before)
    left: list[float] = []

    @scheduler.job(timeout=timedelta(seconds=LIMIT))
    async def after(limited: bool) -> str:
        left.append(current_effective_deadline() - current_time())
        await anyio.sleep(LIMIT - 1)
        return "done"

    unlimited = scheduler.job(name="unlimited", timeout=None)(after.function)

    async with scheduler.running():
        *_, second, third = await scheduler.enqueue(hostile.bind(), after.bind(True), unlimited.bind(False))
        assert ["done", "done"] == [await second.result(), await third.result()]

    assert [LIMIT, float("inf")] == left


async def test_a_run_that_is_cancelled_takes_the_next_in_its_slot_not_with_it() -> None:
    """The scope that was cancelled is left before the next attempt begins."""
    scheduler = Scheduler(executor=Executor(max_concurrent=1))

    @scheduler.job
    async def work(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "done"

    async with scheduler.running():
        first, second = await scheduler.enqueue(work.bind(3600), work.bind(1))
        await anyio.sleep(1)
        await first.cancel()
        assert "done" == await second.result()
        assert "cancelled" == await first.status()


async def test_a_piece_that_goes_on_with_the_next_is_not_busy_in_between() -> None:
    """What claims while a slot breathes has to see the room that there is."""
    executor = Slots(max_concurrent=1)
    rooms: list[int] = []
    ended = anyio.Event()

    class Piece:
        def __init__(self, number: int) -> None:
            self.number = number

        async def __call__(self) -> None:
            following: Any = self

            while following is not None:
                rooms.append(executor.room)
                last = following.number
                following = await executor.following(Piece)

            if last == 3:
                ended.set()

    async with anyio.create_task_group() as services:
        await services.start(executor.run)

        for number in (1, 2, 3):
            executor.submit(Piece(number))

        await ended.wait()
        await anyio.wait_all_tasks_blocked()
        rooms.append(executor.room)
        executor.close(0)

    assert [-2, -1, 0, 1] == rooms
    assert 0 == executor.busy
