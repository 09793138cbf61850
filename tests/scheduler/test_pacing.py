"""How often a scheduler looks around in virtual time: hardly while it is alone in its memory, else as configured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import MemoryBackend, Scheduler, SchedulerConfig
from anysched.backends import NodeInfo
from anysched.clock import now, now_ms

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400


class Changed(MemoryBackend):
    """Whoever changes it may lose hints."""


ALONE: dict[str, Callable[[], Scheduler]] = {
    "nothing": Scheduler,
    "an address": lambda: Scheduler("memory://"),
    "a word": lambda: Scheduler.from_env({"ANYSCHED_BACKEND": "memory"}),
    "a backend": lambda: Scheduler(MemoryBackend()),
}


async def ticks_in(scheduler: Scheduler, seconds: float) -> int:
    before = scheduler.statistics().ticks
    await anyio.sleep(seconds)
    return scheduler.statistics().ticks - before


async def longest_lease(scheduler: Scheduler) -> float:
    return max(node.expires_ms - now_ms() for node in await scheduler.nodes()) / 1000


@pytest.mark.parametrize("make", ALONE.values(), ids=ALONE.keys())
async def test_a_scheduler_alone_in_its_memory_jumps_from_one_thing_to_do_to_the_next(
    make: Callable[[], Scheduler],
) -> None:
    """However it was given its memory.

    Break: over a backend object, the one of the fixture too, a virtual year takes minutes.
    """
    scheduler = make()
    called: list[datetime] = []

    @scheduler.cron("0 8 * * *")
    async def note() -> None:
        called.append(now())

    async with scheduler.running():
        assert 100 > await ticks_in(scheduler, 30 * DAY)

    assert [START + timedelta(days=day, hours=8) for day in range(30)] == called


async def test_what_was_configured_is_kept() -> None:
    """Only what was left at its default is stretched."""
    scheduler = Scheduler(MemoryBackend(), config=SchedulerConfig(tick_interval="1h"))

    async with scheduler.running():
        assert 24 <= await ticks_in(scheduler, DAY) <= 30


async def test_a_backend_that_somebody_changed_is_looked_at_as_configured() -> None:
    """It may do anything, such as losing hints."""
    scheduler = Scheduler(Changed())

    async with scheduler.running():
        assert 100 < await ticks_in(scheduler, 1000)


@pytest.mark.parametrize("raw", [False, True], ids=["a scheduler", "a node"])
async def test_a_scheduler_notices_that_it_is_alone_no_more(raw: bool) -> None:
    """It looks around and renews its lease as configured from that moment on.

    Break: the other waits for three days for the end of a lease.
    """
    backend = MemoryBackend()
    first, second = Scheduler(backend), Scheduler(backend)
    first.every("1h", id="e")(first.job(name="note")(lambda: None))

    async with first.running():
        assert 10 > await ticks_in(first, 1000)
        assert DAY < await longest_lease(first)

        if raw:
            await backend.join(NodeInfo(id="other", ttl_ms=15_000))
            assert 150 < await ticks_in(first, 1000)
        else:
            async with second.running():
                assert 150 < await ticks_in(first, 1000)
                assert 100 < await ticks_in(second, 1000)

        assert 15 >= await longest_lease(first)
        assert first.statistics().trusted


async def test_a_second_scheduler_is_not_alone_and_neither_is_who_comes_with_it() -> None:
    """Started together, in whatever order."""
    backend = MemoryBackend()
    schedulers = [Scheduler(backend) for _ in "123"]

    async with anyio.create_task_group() as group:
        for scheduler in schedulers:
            group.start_soon(scheduler.run)

        await anyio.sleep(60)

        for scheduler in schedulers:
            assert 15 >= await longest_lease(scheduler)

        assert [3] * 3 == [len(await scheduler.nodes()) for scheduler in schedulers]
        group.cancel_scope.cancel()


@pytest.mark.slow
async def test_what_a_lone_scheduler_declared_is_forgotten_as_soon_as_otherwise() -> None:
    """When it has left, and another program runs in its memory: within the lease that was configured."""
    backend = MemoryBackend()
    begun: list[float] = []

    def program(*names: str) -> Scheduler:
        scheduler = Scheduler(backend)

        async def note() -> None:
            begun.append((now() - START).total_seconds())

        job = scheduler.job(name="note")(note)

        for name in names:
            scheduler.every("60s", id=name)(job)

        return scheduler

    async with program("gone").running():
        await anyio.sleep(90)

    async with (second := program()).running():
        await anyio.sleep(60)
        assert "finished" == (await second.get_entry("gone")).status

    async with (third := program("stays")).running():
        await anyio.sleep(5 * DAY + 1)
        assert "active" == (await third.get_entry("stays")).status

    assert 60 == begun[0]
    assert 5 * DAY // 60 == len(begun) - 1


async def test_a_longer_lease_of_somebody_else_is_left_as_it_is() -> None:
    """Who was configured to remember its entries for an hour does so, whoever leaves."""
    backend = MemoryBackend()
    patient = Scheduler(backend, config=SchedulerConfig(lease="1h"))
    called: list[Any] = []

    @patient.every("10m", id="e")
    async def note() -> None:
        called.append(now())

    async with Scheduler(backend).running(), patient.running():
        await anyio.sleep(1)

    async with patient.running():
        async with Scheduler(backend).running():
            await anyio.sleep(60)

        await anyio.sleep(3540)

    assert 6 == len(called)
