"""Locks of a scheduler, on both backends: who waits is called in turn, and nothing is left of a lock that was had."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time
from attrs import define, field

from anysched import Scheduler
from anysched.backends.memory import MemoryBackend
from anysched.backends.redis import RedisBackend

COUNT = 20


class CountingMemory(MemoryBackend):
    """Counts how often somebody asks for a lock."""

    asked = 0

    async def acquire_lock(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return await super().acquire_lock(*args, **kwargs)


class CountingRedis(RedisBackend):
    """Likewise."""

    asked = 0

    async def acquire_lock(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return await super().acquire_lock(*args, **kwargs)


@define
class Crowd:
    """Many tasks of one process that wait for one lock."""

    scheduler: Scheduler
    served: list[int] = field(factory=list[int])

    async def pass_through(self) -> None:
        async with create_task_group() as workers, self.scheduler.lock("it"):
            for number in range(COUNT):
                workers.start_soon(self._work, number)
                await anyio.sleep(0.01)

    async def _work(self, number: int) -> None:
        async with self.scheduler.lock("it"):
            self.served.append(number)
            await anyio.sleep(0.01)


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_of_many_who_wait_only_the_one_whose_turn_it_is_asks_again(
    kind: str, real_time: None, request: pytest.FixtureRequest
) -> None:
    """Each asks once to stand in line, and once when it is called; and all are served in order.

    Break: a hint that wakes all who wait for a lock in a process makes each of them ask at each release.
    """
    backend = CountingMemory() if kind == "memory" else CountingRedis.from_url(request.getfixturevalue("redis_url"))
    crowd = Crowd(Scheduler(backend))

    async with crowd.scheduler:
        await crowd.pass_through()

    assert list(range(COUNT)) == crowd.served
    assert backend.asked <= 2 * COUNT + 5


async def test_a_lock_is_handed_over_at_once() -> None:
    """In no time it lies free while somebody waits.

    Break: whoever was woken out of turn sleeps before it asks again, also when its turn has come.
    """
    crowd = Crowd(Scheduler())

    async with crowd.scheduler:
        began = current_time()
        await crowd.pass_through()

    assert COUNT * 0.02 == pytest.approx(current_time() - began, abs=0.001)


async def test_nothing_is_left_of_the_names_of_locks() -> None:
    """However many names are used, once each.

    Break: an event that stays for each name until somebody hints at it.
    """

    async def use(first: int) -> None:
        for number in range(first, first + 100):
            async with scheduler.lock(f"order:{number}"):
                pass

    def events() -> int:
        gc.collect()
        return sum(isinstance(found, anyio.Event) for found in gc.get_objects())

    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(Scheduler())
        await use(0)
        before = events()
        await use(100)
        assert events() - before < 10
