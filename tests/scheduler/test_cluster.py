"""Several nodes over one backend: each fire exactly once, leaders that go, nodes that die."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from anysched import (
    BackendUnavailable,
    MemoryBackend,
    RunNotFound,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.backends.records import WorkReply
from anysched.clock import now
from anysched.testing import sleep_until_instant

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def since_start() -> float:
    return (now() - START).total_seconds()


def leaders(nodes: list[Scheduler]) -> list[int]:
    return [index for index, node in enumerate(nodes) if node.statistics().leader]


def noting_lateness(late: list[float]) -> Any:
    async def note() -> None:
        scheduled_for = current_run().scheduled_for
        assert scheduled_for is not None
        late.append((now() - scheduled_for).total_seconds())

    return note


async def test_five_nodes_fire_each_entry_exactly_once() -> None:
    """Three declared entries for ten minutes over five nodes: every fire time once, whoever made it, and on time.

    Break: without the comparison of the cursor two nodes make one fire each.
    """
    backend = MemoryBackend()
    fired: Counter[tuple[str, datetime]] = Counter()
    late: list[float] = []
    nodes = [Scheduler(backend) for _ in range(5)]

    async def note() -> None:
        run = current_run()
        assert run.scheduled_for is not None and run.entry_id is not None
        fired[run.entry_id, run.scheduled_for] += 1
        late.append((now() - run.scheduled_for).total_seconds())

    for node in nodes:
        job = node.job(name="note")(note)
        node.every("1s", id="second", anchor=START)(job)
        node.every("7s", id="seven", anchor=START)(job)
        node.cron("* * * * *", id="minute")(job)

    async with create_task_group() as group:
        for node in nodes:
            await group.start(node.run)

        assert 1 == len(leaders(nodes))
        await sleep_until_instant(START + timedelta(seconds=600, milliseconds=500))

        for node in nodes:
            node.stop()

    assert {1} == set(fired.values())
    assert {"second": 600, "seven": 85, "minute": 10} == Counter(entry for entry, _ in fired)
    assert 0 == max(late)


async def test_a_leader_that_stops_hands_over_at_once() -> None:
    """A graceful stop and a cancelled one: the next one leads in the same moment, and no fire is late.

    Break: leaving the lock to run out makes the followers fire each a second late for fifteen seconds.
    """
    for graceful in (True, False):
        backend = MemoryBackend()
        nodes = [Scheduler(backend) for _ in range(3)]
        late: list[float] = []

        for node in nodes:
            node.every("1s", id="second", anchor=START)(node.job(name="note")(noting_lateness(late)))

        async with create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in nodes]

            async def run(node: Scheduler, scope: anyio.CancelScope, *, task_status: Any) -> None:
                with scope:
                    await node.run(task_status=task_status)

            for node, scope in zip(nodes, scopes, strict=True):
                await group.start(run, node, scope)

            for _ in range(2):
                await anyio.sleep(5.3)
                (leader,) = leaders(nodes)

                if graceful:
                    nodes[leader].stop()
                else:
                    scopes[leader].cancel()

                await anyio.sleep(0.01)
                (new,) = leaders(nodes)
                assert new != leader

            await anyio.sleep(5)
            group.cancel_scope.cancel()

        assert 0 == max(late)
        assert 15 <= len(late) <= 16


class Freezer(MemoryBackend):
    """A backend that can be cut off for one node: its commands run into their time limit, as a client's do."""

    __slots__ = ("frozen",)

    def __init__(self, shared: MemoryBackend) -> None:
        super().__init__()
        self._state = shared._state
        self._listeners = shared._listeners
        self.frozen = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)

        if name.startswith("_") or name in ("frozen", "run", "listen"):
            return found

        async def ask(*args: Any, **kwargs: Any) -> Any:
            if self.frozen:
                await anyio.sleep(3)
                raise BackendUnavailable("cut off")

            return await found(*args, **kwargs)

        return ask


async def test_a_dead_leader_delays_a_fire_by_a_second_and_not_by_its_lease() -> None:
    """It holds the lock and does nothing: until that runs out, followers fire a second late, each fire once.

    Break: a follower that waits for leadership is late by up to fifteen seconds; one that fires what is due for less
    than a second, too, makes two fires of this entry each two seconds.
    """
    shared = MemoryBackend()
    frozen = Freezer(shared)
    nodes = [Scheduler(frozen), Scheduler(shared), Scheduler(shared)]
    late: list[tuple[datetime, float]] = []

    async def note() -> None:
        scheduled_for = current_run().scheduled_for
        assert scheduled_for is not None
        late.append((scheduled_for, (now() - scheduled_for).total_seconds()))

    for node in nodes:
        # At the handover two fires are due at once.
        node.every("1s", id="second", anchor=START, overlap="allow")(node.job(name="note")(note))

    async with create_task_group() as group:
        # It only fires: as a worker it would also swallow a hint now and then, which costs up to `tick_interval`.
        await group.start(partial(nodes[0].run, queues=[]))

        for node in nodes[1:]:
            await group.start(node.run)

        assert [0] == leaders(nodes)
        await anyio.sleep(10.5)
        frozen.frozen = True
        await anyio.sleep(40)
        assert [0] != leaders(nodes)
        group.cancel_scope.cancel()

    assert len(late) == len({instant for instant, _ in late})
    assert [START + number * SECOND for number in range(1, 49)] == sorted(instant for instant, _ in late)[:48]
    assert 1.0 == max(seconds for _, seconds in late)
    assert 0 == late[-1][1]
    # Twice in the same instant: the last of a follower's and the first of the new leader's.
    assert 1 >= sum(seconds == 0 and dict(late).get(instant - SECOND) == 1 for instant, seconds in late)


async def test_the_runs_of_a_dead_node_come_back_within_its_lease_and_a_second() -> None:
    """Another node runs them again; the crash costs no attempt, and is counted."""
    shared = MemoryBackend()
    frozen = Freezer(shared)
    dying, living = Scheduler(frozen), Scheduler(shared)
    seen: list[tuple[str, float, int]] = []

    def work_on(name: str) -> Any:
        async def work() -> str:
            seen.append((name, since_start(), current_run().attempt))
            await anyio.sleep(5 if name == "living" else 3600)
            return name

        return work

    for name, node in (("dying", dying), ("living", living)):
        node.job(name="work")(work_on(name))

    async with create_task_group() as group:
        await group.start(dying.run)
        run = await dying.jobs["work"].enqueue()
        await anyio.sleep(2)
        frozen.frozen = True
        await group.start(living.run)
        found = await living.get_run(run.id)
        assert "living" == await found.result()
        info = await found.info()
        group.cancel_scope.cancel()

    assert [("dying", 0, 1), ("living", seen[1][1], 1)] == seen
    assert 15 <= seen[1][1] <= 16.001
    assert (1, 1) == (info.crashes, info.attempt)


async def test_what_is_poison_is_kept_as_long_as_any_failed_run() -> None:
    """For `failed_ttl`, as its nodes were told: whoever looks on Monday finds what took them down on Saturday.

    Break: it goes with what was cancelled, after `result_ttl`.
    """
    shared = MemoryBackend()
    config = SchedulerConfig(result_ttl="1m", failed_ttl="48h")
    watching = Scheduler(Freezer(shared), config=config)

    async with watching, create_task_group() as group:
        run = await watching.job(name="work")(_freeze).enqueue()
        await group.start(partial(watching.run, queues=["other"]))

        for _ in range(3):
            frozen = Freezer(shared)
            dying = Scheduler(frozen, config=config)
            dying.job(name="work")(partial(_freeze, frozen))
            group.start_soon(dying.run)
            await anyio.sleep(20)

        assert RunStatus.FAILED == await watching.run_status(run.id)
        group.cancel_scope.cancel()

    async with watching:
        await anyio.sleep(47 * 3600)
        assert RunStatus.FAILED == await watching.run_status(run.id)
        await anyio.sleep(3600)

        with pytest.raises(RunNotFound):
            await watching.run_status(run.id)


async def _freeze(backend: Freezer | None = None) -> None:
    assert backend is not None
    backend.frozen = True
    await anyio.sleep(3600)


async def test_a_node_that_loses_its_lease_cancels_what_it_runs_and_joins_anew() -> None:
    """Cut off for longer than its lease: its attempt is cancelled before another node can have it, and it comes back.

    Break: going on without trust has two nodes in one run at the same time.
    """
    shared = MemoryBackend()
    frozen = Freezer(shared)
    cut_off, other = Scheduler(frozen), Scheduler(shared)
    live = most = 0
    spans: list[tuple[str, float, float]] = []

    def work_on(name: str) -> Any:
        async def work() -> str:
            nonlocal live, most
            live += 1
            most = max(most, live)
            began = since_start()

            try:
                await anyio.sleep(30)
                return name
            finally:
                live -= 1
                spans.append((name, began, since_start()))

        return work

    for name, node in (("cut off", cut_off), ("other", other)):
        node.job(name="work")(work_on(name))

    async with create_task_group() as group:
        await group.start(cut_off.run)
        run = await cut_off.jobs["work"].enqueue()
        await anyio.sleep(1)
        first = cut_off.statistics().node
        await group.start(other.run)
        frozen.frozen = True
        await anyio.sleep(25)
        frozen.frozen = False
        found = await other.get_run(run.id)
        assert "other" == await found.result()
        await anyio.sleep(60)
        statistics = cut_off.statistics()
        assert statistics.trusted
        assert first != statistics.node
        group.cancel_scope.cancel()

    assert 1 == most
    assert ["cut off", "other"] == [name for name, _, _ in spans]
    assert spans[0][2] <= 14 <= spans[1][1]


async def test_a_node_that_was_cut_off_takes_new_work_afterwards() -> None:
    """Nobody took its lease: trust comes back with the first answer, and so does the appetite.

    Break: a wish that was refused for lack of trust, and nobody to ask again, leaves the node idle for ever.
    """
    frozen = Freezer(MemoryBackend())
    scheduler = Scheduler(frozen)

    @scheduler.job
    async def work(seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    async with scheduler.running():
        first = await work.enqueue(30)
        await anyio.sleep(1)
        frozen.frozen = True
        await anyio.sleep(20)
        frozen.frozen = False
        await anyio.sleep(15)

        with anyio.fail_after(60):
            assert 1 == await (await work.enqueue(1)).result()
            assert 30 == await first.result()


async def test_a_long_run_is_never_run_twice() -> None:
    """A run of a hundred leases' length, with two nodes: its lease is renewed."""
    backend = MemoryBackend()
    nodes = [Scheduler(backend, config=SchedulerConfig(lease="2s")) for _ in range(2)]
    calls: list[int] = []

    async def work() -> None:
        calls.append(1)
        await anyio.sleep(200)

    for node in nodes:
        node.job(name="work")(work)

    async with nodes[0].running(), nodes[1].running():
        await (await nodes[0].jobs["work"].enqueue()).result()

    assert [1] == calls


async def test_nodes_share_work_while_none_of_them_is_full() -> None:
    """Work that comes in one by one, with every node idle, is done at once, and each result is seen on every node."""
    backend = MemoryBackend()
    nodes = [Scheduler(backend) for _ in range(3)]

    async def work(number: int) -> int:
        await anyio.sleep(1)
        return number

    for node in nodes:
        node.job(name="work")(work)

    async with nodes[0].running(), nodes[1].running(), nodes[2].running():
        for number in range(30):
            run = await nodes[number % 3].jobs["work"].enqueue(number)
            assert number == await (await nodes[(number + 1) % 3].get_run(run.id)).result()

        assert 30 == since_start()


async def test_an_idle_node_takes_what_waits_at_a_busy_one() -> None:
    """What a node took in advance and cannot begin goes back after 100 ms, to whoever has room."""
    backend = MemoryBackend()
    from anysched import Executor

    busy, idle = (Scheduler(backend, executor=Executor(max_concurrent=2)) for _ in range(2))
    where: list[tuple[str, float]] = []

    def work_on(name: str) -> Any:
        async def work(seconds: float) -> None:
            where.append((name, since_start()))
            await anyio.sleep(seconds)

        return work

    for name, node in (("busy", busy), ("idle", idle)):
        node.job(name="work")(work_on(name))

    async with busy.running():
        for run in await busy.enqueue(*[busy.jobs["work"].bind(0) for _ in range(100)]):
            await run.result()

        where.clear()
        runs = await busy.enqueue(*[busy.jobs["work"].bind(60) for _ in range(4)])
        await anyio.sleep(0.05)
        assert [RunStatus.RUNNING] * 4 == [await run.status() for run in runs]

        async with idle.running():
            await anyio.sleep(1)

    assert ["busy", "busy", "idle", "idle"] == [name for name, _ in where]
    assert where[-1][1] < 0.3


def test_the_reply_of_a_claim_names_the_time() -> None:
    """The estimate of the backend's clock, by which events are dated, comes with every answer."""
    assert "now_ms" in WorkReply.__struct_fields__


@pytest.mark.parametrize("count", [2, 4])
async def test_a_lock_is_held_by_one_scheduler_at_a_time(count: int) -> None:
    """`scheduler.lock` on several nodes: one body at a time, with growing tokens, and no place in line is lost."""
    backend = MemoryBackend()
    nodes = [Scheduler(backend) for _ in range(count)]
    tokens: list[int] = []
    live = most = 0

    async def work(node: Scheduler) -> None:
        nonlocal live, most

        async with node:
            for _ in range(5):
                async with node.lock("reports", ttl="2s") as lease:
                    live += 1
                    most = max(most, live)
                    tokens.append(lease.token)
                    await anyio.sleep(3)
                    live -= 1

    async with create_task_group() as group:
        for node in nodes:
            group.start_soon(work, node)

    assert 1 == most
    assert 5 * count == len(tokens) == len(set(tokens))
    assert sorted(tokens) == tokens
    assert 15 * count == since_start()
