"""Runs that are handed over with the hint, as a node sees them: at once, in spite of lost hints, past busy nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import anyio
import pytest
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from anysched import Executor, MemoryBackend, Scheduler, SchedulerConfig, current_run
from anysched.backends import Claim, Hint, Outcome, WorkReply

LEASE = 15.0


class Watched(MemoryBackend):
    """Counts what claims bring, and may keep hints to itself."""

    claimed: int
    loses: Callable[[Hint], bool]

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        reply = await super().work(node_id, outcomes, claim)
        self.claimed += len(reply.runs)
        return reply

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        def pass_on(hint: Hint) -> None:
            if not self.loses(hint):
                deliver(hint)

        await super().listen(inbox, pass_on, task_status=task_status)


def watched(loses: Callable[[Hint], bool] = lambda hint: False) -> Watched:
    backend = Watched()
    backend.claimed, backend.loses = 0, loses
    return backend


def in_seconds(seconds: float) -> float:
    return float(anyio.current_time()) + seconds


@pytest.mark.parametrize("most", [1, 32])
async def test_an_idle_node_need_not_come_for_a_run(most: int) -> None:
    """One after the other, each is brought by its hint: nothing is claimed, also when they have become so short that
    some would be taken in advance.

    Break: a node that had no room when it claimed last stays one that no run may be handed to.
    """
    backend = watched()
    scheduler = Scheduler(backend, executor=Executor(max_concurrent=most))

    @scheduler.job
    async def double(number: int) -> int:
        return 2 * number

    async with scheduler.running():
        await anyio.sleep(1)

        for number in range(60):
            assert 2 * number == await (await double.enqueue(number)).result()
            await anyio.sleep(0.1)

    assert 0 == backend.claimed


async def test_a_run_whose_hint_is_lost_is_carried_out_once() -> None:
    """Within a lease: two renewals name it, and it is handed back."""
    lost: list[Hint] = []

    def loses(hint: Hint) -> bool:
        if hint.kind == "take" and not lost:
            lost.append(hint)
            return True

        return False

    backend, told, tokens = watched(loses), list[str](), list[int]()
    config = SchedulerConfig(
        lease=timedelta(seconds=LEASE), on_error=lambda error, context: told.append(str(error).partition(":")[0])
    )
    scheduler = Scheduler(backend, config=config)

    @scheduler.job
    async def work() -> None:
        tokens.append(current_run().fencing_token)

    async with scheduler.running():
        await anyio.sleep(1)
        run = await work.enqueue()

        with anyio.fail_after(LEASE):
            await run.result()

    assert [f"run {run.id!r} is handed back"] == told
    assert 1 == len(tokens)
    assert lost[0].run is not None
    assert tokens[0] > lost[0].run.token


async def test_a_node_that_was_handed_all_it_can_do_hands_on_the_watch() -> None:
    """The one that would have looked after the next due time has no hands left: the other looks.

    Break: a delayed run waits until somebody looks by himself, which is seconds later.
    """
    backend = MemoryBackend()
    late: list[float] = []
    watching = Scheduler(
        backend, config=SchedulerConfig(queues={"default": 1, "own": 1}), executor=Executor(max_concurrent=1)
    )
    other = Scheduler(backend)

    async def work(seconds: float, due: float) -> None:
        late.append(anyio.current_time() - due)
        await anyio.sleep(seconds)

    job, _ = [node.job(work) for node in (watching, other)]

    async with watching.running(), other.running():
        await anyio.sleep(1)

        # Of this the one that has waited longest is told, and only that one.
        run = await job.options(delay="2s").enqueue(0, in_seconds(2))
        await anyio.sleep(0.1)
        await job.options(queue="own").enqueue(10, in_seconds(0))
        await run.result()

    assert 2 == len(late)
    assert max(late) < 0.01


async def test_a_node_that_stops_leaves_what_comes_to_others() -> None:
    """For as long as its last attempt takes, it is asked for nothing.

    Break: it is woken, as it is the one that has waited longest, and what it was woken for waits for seconds.
    """
    backend = MemoryBackend()
    waited: list[float] = []
    nodes = [Scheduler(backend, executor=Executor(max_concurrent=4)) for _ in range(2)]

    async def work(seconds: float, asked_at: float) -> None:
        waited.append(anyio.current_time() - asked_at)
        await anyio.sleep(seconds)

    async def stop_slowly(node: Scheduler) -> None:
        async with node.running():
            await anyio.sleep(1)
            await jobs[0].enqueue(20, in_seconds(0))
            await anyio.sleep(0.1)

    jobs = [node.job(work) for node in nodes]

    async with nodes[0], nodes[1], anyio.create_task_group() as group:
        group.start_soon(partial(stop_slowly, nodes[0]))
        await anyio.sleep(0.5)

        async with nodes[1].running():
            await anyio.sleep(1)

            for key in (None, "a", None, "b", "c"):
                run = await jobs[1].options(key=key).enqueue(0, in_seconds(0))
                await anyio.sleep(0.5)
                await run.result()

    assert 6 == len(waited)
    assert max(waited) < 0.01
