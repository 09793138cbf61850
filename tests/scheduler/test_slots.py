"""Attempts follow each other in a slot and share its scopes; nothing of one is felt by the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import CancelScope, Event, current_effective_deadline, current_time
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from anysched import BoundJob, Executor, MemoryBackend, Run, Scheduler, SchedulerConfig
from anysched.backends import Claim, Outcome, WorkReply
from anysched.executor import Executor as Slots
from anysched.retry import RetryPolicy

LIMIT = 0.064
"""Seconds. Nobody may be without a beginning for a tenth, or what was claimed in advance is handed back."""

INFINITE = float("inf")


class Generous(MemoryBackend):
    """Gives more than it was asked for, so that runs wait at their node and follow each other in its slots."""

    given: list[int]
    """How many runs came with each answer, if any did."""

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        reply = await super().work(node_id, outcomes, claim and replace(claim, count=100))
        self.given += [len(reply.runs)] if reply.runs else []
        return reply


def scheduler_with(slots: int) -> tuple[Scheduler, Generous]:
    backend = Generous()
    backend.given = []
    config = SchedulerConfig(on_error=lambda error, context: None)
    return Scheduler(backend, executor=Executor(max_concurrent=slots), config=config), backend


async def stored(scheduler: Scheduler, *bounds: BoundJob[Any]) -> list[Run[Any]]:
    """Runs of these calls, made before there is a node: its first claim brings them all."""
    async with scheduler:
        return await scheduler.enqueue(*bounds)


async def too_long() -> None:
    await anyio.sleep(2 * LIMIT)


async def abandons_a_scope() -> None:
    CancelScope(deadline=current_time() + LIMIT / 8).__enter__()
    await checkpoint()


async def abandons_a_scope_at_once() -> None:
    """It has never suspended."""
    CancelScope(deadline=current_time() + LIMIT / 8).__enter__()


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

    Breaks: without the look at what was left open, the scope that was abandoned cancels the next attempt after a
    while; without taking a time limit back, an attempt that has none ends by that of the one before.
    """
    scheduler, backend = scheduler_with(slots=1)
    hostile = scheduler.job(name="before", timeout=timedelta(seconds=LIMIT), retry=RetryPolicy(max_retries=0))(before)
    left: list[float] = []

    @scheduler.job(timeout=timedelta(seconds=LIMIT))
    async def after(seconds: float) -> str:
        left.append(round(current_effective_deadline() - current_time(), 6))
        await anyio.sleep(seconds)
        return "done"

    unlimited = scheduler.job(name="unlimited", timeout=None)(after.function)

    bounds = hostile.bind(), after.bind(LIMIT * 3 / 4), unlimited.bind(LIMIT * 5 / 4)
    _, second, third = await stored(scheduler, *bounds)

    async with scheduler.running():
        assert ["done", "done"] == [await second.result(), await third.result()]

    assert [LIMIT, INFINITE] == left
    assert [3] == backend.given


@pytest.mark.parametrize("breath", [0, 2 * LIMIT / 3], ids=["next at once", "next after a breath"])
async def test_a_time_limit_ends_with_its_attempt(breath: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the breath before the next attempt nor that attempt itself is cut short by it.

    Break: left as it was, it cancels both at the instant at which the first attempt would have had to end.
    """
    monkeypatch.setattr("anysched.executor.checkpoint", partial(anyio.sleep, breath))
    scheduler, backend = scheduler_with(slots=1)
    began: list[float] = []
    ended: list[float] = []

    @scheduler.job(timeout=timedelta(seconds=LIMIT))
    async def limited(seconds: float) -> None:
        began.append(current_time())
        await anyio.sleep(seconds)
        ended.append(current_time())

    unlimited = scheduler.job(name="unlimited", timeout=None)(limited.function)

    runs = await stored(scheduler, limited.bind(LIMIT / 2), unlimited.bind(LIMIT * 5 / 4))

    async with scheduler.running():
        assert [None, None] == [await run.result() for run in runs]

    assert [LIMIT / 2, LIMIT * 5 / 4] == [round(end - begin, 6) for begin, end in zip(began, ended, strict=True)]
    assert [round(breath, 6)] == [round(begin - end, 6) for begin, end in zip(began[1:], ended, strict=False)]
    assert [2] == backend.given


async def test_a_run_that_is_cancelled_takes_the_next_in_its_slot_not_with_it() -> None:
    """The scope that was cancelled is left before the next attempt begins."""
    scheduler, backend = scheduler_with(slots=1)

    @scheduler.job
    async def work(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "done"

    first, second = await stored(scheduler, work.bind(3600), work.bind(1))

    async with scheduler.running():
        await anyio.sleep(LIMIT)
        await first.cancel()
        assert "done" == await second.result()
        assert "cancelled" == await first.status()

    assert [2] == backend.given


async def swallows_cancellation(until: Event) -> None:
    """It is told of it, and goes on."""
    try:
        await anyio.sleep_forever()
    except BaseException:  # noqa: BLE001, ASYNC103 - that is what it is about
        with CancelScope(shield=True):
            await until.wait()


async def ends_before_cancellation_reaches_it(until: Event) -> None:
    """It never suspends where it could be."""
    with CancelScope(shield=True):
        await until.wait()


@pytest.mark.parametrize("by", ["its user", "its time limit"])
@pytest.mark.parametrize(
    "goes_on", [swallows_cancellation, ends_before_cancellation_reaches_it], ids=lambda function: function.__name__
)
async def test_an_attempt_that_outlives_its_cancellation_leaves_none_of_it_to_the_next(
    goes_on: Callable[[Event], Awaitable[None]], by: str
) -> None:
    """It comes to its end in a scope that was cancelled; the next in its slot begins in one that was not.

    The other slot lets the loop breathe right before that, so that there is no breath in between which the
    cancellation could hit in place of the next attempt.

    Break: in the scopes as they were, the next attempt is cancelled as soon as it suspends.
    """
    scheduler, backend = scheduler_with(slots=2)
    is_limited = by == "its time limit"
    release, breathed, over = Event(), Event(), Event()
    began: list[bool] = []

    @scheduler.job(timeout=timedelta(seconds=LIMIT / 4) if is_limited else None)
    async def cancelled() -> str:
        await goes_on(breathed)
        return "anyway"

    @scheduler.job
    async def elsewhere() -> None:
        await release.wait()

    @scheduler.job
    async def elsewhere_next() -> None:
        breathed.set()
        await over.wait()

    @scheduler.job(retry=RetryPolicy(max_retries=0))
    async def following() -> str:
        began.append(breathed.is_set())
        await anyio.sleep(LIMIT)
        over.set()
        return "done"

    bounds = cancelled.bind(), elsewhere.bind(), elsewhere_next.bind(), following.bind()
    first, *_, last = await stored(scheduler, *bounds)

    async with scheduler.running():
        await anyio.sleep(LIMIT / 2)

        if not is_limited:
            await first.cancel()

        await anyio.sleep(LIMIT / 4)
        release.set()
        assert "done" == await last.result()
        assert ("succeeded" if is_limited else "cancelled") == await first.status()

    assert [True] == began
    assert [4] == backend.given


async def test_a_piece_that_goes_on_with_the_next_is_not_busy_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """What claims while a slot breathes has to see the room that there is.

    Break: counting it as busy, the node claims nothing until the breath is over, and one run less then.
    """
    monkeypatch.setattr("anysched.executor.checkpoint", partial(anyio.sleep, 1))
    executor = Slots(max_concurrent=1)
    seen: list[tuple[int, int]] = []

    class Piece:
        async def __call__(self) -> None:
            following: Any = self

            while following is not None:
                await anyio.sleep(1)
                following = await executor.following(Piece)

    async with anyio.create_task_group() as services:
        await services.start(executor.run)
        executor.submit(Piece())
        executor.submit(Piece())

        # In the middle of each second: of a piece, of a breath, of the other piece, of a breath, and after that.
        await anyio.sleep(0.5)

        for _ in range(5):
            seen.append((executor.busy, executor.room))
            await anyio.sleep(1)

        executor.close(0)

    assert [(1, -1), (0, 0), (1, 0), (0, 1), (0, 1)] == seen
