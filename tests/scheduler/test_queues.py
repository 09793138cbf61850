"""What is worked on first, when, and by whom: delays, priorities, queues, capacity, limits."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import (
    Executor,
    InvalidConfig,
    InvalidOption,
    InvalidState,
    RunExpired,
    RunStatus,
    Scheduler,
    SchedulerConfig,
)
from anysched.clock import now
from anysched.testing import sleep_until_instant

START = datetime(2026, 1, 1, tzinfo=UTC)


def since_start() -> float:
    return (now() - START).total_seconds()


async def test_a_delayed_run_starts_exactly_when_it_is_due() -> None:
    """Never early, not late; enqueued in any order, with a delay or an instant."""
    scheduler = Scheduler()
    begun: list[tuple[float, float]] = []

    @scheduler.job
    async def work(due: float) -> None:
        begun.append((due, since_start()))

    async with scheduler.running():
        for seconds in (7, 0.001, 600, 0.25, 12.345, 5):
            await work.options(delay=seconds).enqueue(seconds)

        await work.options(at=START + timedelta(seconds=6)).enqueue(6)
        await work.options(at=START - timedelta(days=1)).enqueue(0)
        await sleep_until_instant(START + timedelta(hours=1))

    assert [(due, due) for due in (0, 0.001, 0.25, 5, 6, 7, 12.345, 600)] == begun


async def test_higher_priorities_go_first_and_equals_in_order() -> None:
    """Within one queue, whatever order they came in."""
    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    begun: list[str] = []

    @scheduler.job
    async def work(name: str) -> None:
        begun.append(name)
        await anyio.sleep(1)

    async with scheduler:
        for name, priority in (("c", 0), ("f", -5), ("a", 9), ("d", 0), ("b", 9), ("e", 0)):
            await work.options(priority=priority).enqueue(name)

        async with scheduler.running():
            await anyio.sleep(10)

    assert list("abcdef") == begun


async def test_weighted_queues_share_in_proportion() -> None:
    """Two queues that never run dry, of weights 6 and 3: two thirds and one third, and neither starves."""
    config = SchedulerConfig(queues={"high": 6, "low": 3})
    scheduler = Scheduler(executor=Executor(max_concurrent=1), config=config)
    done: Counter[str] = Counter()

    @scheduler.job
    async def work(queue: str) -> None:
        done[queue] += 1
        await anyio.sleep(1)

    async with scheduler:
        for queue in ("high", "low"):
            bounds = [work.options(queue=queue).bind(queue) for _ in range(1000)]
            await scheduler.enqueue(*bounds)

        async with scheduler.running():
            await anyio.sleep(600)

    assert 600 <= done.total() <= 602
    assert 340 < done["high"] < 460


async def test_strict_queues_are_emptied_in_order() -> None:
    """Nothing is taken from a queue while one of greater weight has something."""
    config = SchedulerConfig(queues={"low": 1, "high": 9, "mid": 3}, strict_queues=True)
    scheduler = Scheduler(executor=Executor(max_concurrent=1), config=config)
    begun: list[str] = []

    @scheduler.job
    async def work(queue: str) -> None:
        begun.append(queue)
        await anyio.sleep(1)

    async with scheduler:
        for queue in ("low", "mid", "high") * 3:
            await work.options(queue=queue).enqueue(queue)

        async with scheduler.running():
            await anyio.sleep(20)

    assert ["high"] * 3 + ["mid"] * 3 + ["low"] * 3 == begun


async def test_only_the_queues_that_a_node_was_given_are_worked_on() -> None:
    """`run(queues=...)` takes names or weights; the rest stays where it is."""
    scheduler = Scheduler(config=SchedulerConfig(queues={"a": 1, "b": 1}))
    done: list[str] = []

    @scheduler.job
    async def work(queue: str) -> None:
        done.append(queue)

    async with scheduler:
        for queue in "abc":
            await work.options(queue=queue).enqueue(queue)

        async with scheduler.running(queues=["c"]):
            await anyio.sleep(60)

        assert ["c"] == done

        async with scheduler.running(queues={"b": 2}):
            await anyio.sleep(60)

        assert ["c", "b"] == done

        async with scheduler.running():
            await anyio.sleep(60)

        assert ["c", "b", "a"] == done


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("abc", "invalid queues 'abc': expected a list of names, or a mapping from names to weights"),
        (b"abc", "invalid queues b'abc'"),
        (5, "invalid queues 5"),
        ([""], "invalid queues ''"),
        (["a b"], "invalid queues 'a b': expected 1 to 200 printable characters without spaces and braces"),
        ([5], "invalid queues 5"),
        ([["a"]], r"invalid queues \['a'\]"),
        ({"a": 0}, "invalid queues {'a': 0}: expected a mapping from at least one name to a weight"),
        ({"a": -1, "b": 1}, "invalid queues {'a': -1}"),
        ({"a": "x"}, "invalid queues {'a': 'x'}"),
        ({"a": 1.5}, "invalid queues {'a': 1.5}"),
        ({"a b": 1}, "invalid queues 'a b'"),
    ],
)
async def test_queues_that_cannot_be_are_refused_at_the_start(wrong: Any, complaint: str) -> None:
    """As they are in the configuration and by the same error, from `run` and from `running`, before anything is done.

    Break: a weight of nothing, or a name that no queue can have, makes a node that claims nothing and says nothing.
    """
    scheduler = Scheduler()

    with anyio.fail_after(10), pytest.raises(InvalidConfig, match=complaint):
        await scheduler.run(queues=wrong)

    with pytest.raises(InvalidConfig, match=complaint):
        async with scheduler.running(queues=wrong):
            pytest.fail("it runs")


async def test_a_paused_queue_keeps_what_it_has() -> None:
    """On every node, until it is resumed; enqueueing and what runs go on."""
    scheduler = Scheduler()
    done: list[float] = []

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(10)
        done.append(since_start())

    async with scheduler.running():
        await work.enqueue()
        await anyio.sleep(1)
        await scheduler.pause_queue("default")
        await work.enqueue()
        await anyio.sleep(99)
        assert [10] == done
        (queue,) = await scheduler.queues()
        assert ("default", 1, True) == (queue.name, queue.ready, queue.paused)
        await scheduler.resume_queue("default")
        await anyio.sleep(20)

    assert [10, 110] == done


async def test_max_concurrent_of_a_job_holds_across_the_cluster() -> None:
    """Three nodes with room for a hundred: two at once of this job, others are not held up.

    Break: counting per node allows six.
    """
    first = Scheduler()
    nodes = [first, Scheduler(first.backend), Scheduler(first.backend)]
    live = most = 0
    free: list[float] = []

    async def limited() -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)
        await anyio.sleep(1)
        live -= 1

    async def unlimited() -> None:
        free.append(since_start())

    for node in nodes:
        node.job(name="limited", max_concurrent=2)(limited)
        node.job(name="unlimited")(unlimited)

    async with first:
        await first.enqueue(*[first.jobs["limited"].bind() for _ in range(20)], first.jobs["unlimited"].bind())

        async with nodes[0].running(), nodes[1].running(), nodes[2].running():
            await anyio.sleep(30)
            totals = await first.totals()

    assert 2 == most
    assert [0] == free
    assert (21, 0, 0) == (totals.succeeded, totals.running, totals.set_aside)


async def test_a_run_that_is_moved_has_as_long_to_start_as_before() -> None:
    """From its new time on. An instant that it has to be started by stays.

    Break: it expires before it is due.
    """
    scheduler = Scheduler()

    @scheduler.job(expires="10m")
    async def work() -> float:
        return since_start()

    async with scheduler.running():
        moved = await work.options(delay="1m").enqueue()
        bound = await work.options(delay="1m", expires=START + timedelta(minutes=11)).enqueue()

        for run in (moved, bound):
            await run.reschedule(delay="1h")

        assert START + timedelta(minutes=70) == (await moved.info()).expires_at
        assert 3600 == await moved.result()

        with pytest.raises(RunExpired):
            await bound.result()


async def test_a_run_can_be_moved_in_time_until_it_starts() -> None:
    """Earlier, later, now; not while it runs, and not after."""
    scheduler = Scheduler()
    begun: list[float] = []

    @scheduler.job
    async def work() -> None:
        begun.append(since_start())
        await anyio.sleep(10)

    async with scheduler.running():
        run = await work.options(delay="1h").enqueue()
        await run.reschedule(delay="2h")
        await run.reschedule(at=START + timedelta(seconds=30))
        await sleep_until_instant(START + timedelta(seconds=20))
        assert [] == begun
        await sleep_until_instant(START + timedelta(seconds=35))
        assert [30] == begun

        with pytest.raises(InvalidState, match="running"):
            await run.reschedule(delay="1m")

        await run.result()

        with pytest.raises(InvalidState, match="succeeded"):
            await run.reschedule(delay="1m")

        for wrong in ({}, {"at": START, "delay": "1s"}):
            with pytest.raises(InvalidOption):
                await run.reschedule(**wrong)

        again = await work.options(delay="1h").enqueue()
        await again.reschedule(delay=0)
        await again.result()

    assert [30, 40] == begun


async def test_a_run_of_a_job_that_nobody_knows_waits_for_somebody_who_does() -> None:
    """Without penalty: when a node that knows it joins, it runs."""
    old = Scheduler()
    new = Scheduler(old.backend)

    @new.job
    async def novelty() -> str:
        return "done"

    async with old.running():
        async with new:
            run = await novelty.enqueue()
            await anyio.sleep(60)
            assert RunStatus.READY == await run.status()
            assert "no live node knows its job" == (await run.info()).unclaimed

        async with new.running():
            assert "done" == await run.result()
            assert 1 == (await run.info()).attempt


async def test_capacity_is_never_exceeded_and_never_idle() -> None:
    """A hundred runs of a second with room for ten take ten seconds, ten at a time."""
    scheduler = Scheduler(executor=Executor(max_concurrent=10))
    live = most = 0

    @scheduler.job
    async def work() -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)
        await anyio.sleep(1)
        live -= 1

    async with scheduler.running():
        runs = await scheduler.enqueue(*[work.bind() for _ in range(100)])

        for run in runs:
            await run.result()

        assert 10 == since_start()
        assert 10 == most
        statistics = scheduler.statistics()
        assert (True, True, 0) == (statistics.running, statistics.trusted, statistics.executor.busy)
