"""What the simulation has found, as the smallest program that shows it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from anyio import create_task_group, sleep, sleep_forever

from anysched import MemoryBackend, Scheduler
from anysched.clock import now
from anysched.testing import virtual_time


class Counting(MemoryBackend):
    """Counts how often somebody asks for a lock, and notes where they listen."""

    asked = 0
    inbox = ""

    async def acquire_lock(self, name: str, owner: str, *, ttl_ms: int, wait_inbox: str | None) -> Any:
        self.asked += 1
        self.inbox = wait_inbox or self.inbox
        assert self.asked < 1_000
        return await super().acquire_lock(name, owner, ttl_ms=ttl_ms, wait_inbox=wait_inbox)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_waiter_that_is_gone_makes_no_other_ask_without_end(loop: Literal["asyncio", "trio"]) -> None:
    """Its place in the line of a free lock lapses; until then the next one asks a few times, not all the time.

    Seed 1023. Break: `Listening.deliver` wakes whoever waits for a lock, whatever owner is named. Asking calls the
    first in line, which is gone and had our inbox, so that we hear of it.
    """
    memory = Counting()
    scheduler = Scheduler(memory)

    async def main() -> float:
        async with scheduler:
            async with scheduler.lock("press"):
                pass

            began = now()
            await memory.acquire_lock("user:press", "holder", ttl_ms=60_000, wait_inbox=None)
            await memory.acquire_lock("user:press", "gone", ttl_ms=10_000, wait_inbox=memory.inbox)

            async with create_task_group() as group:
                group.start_soon(wait_for_it)
                await sleep(1)
                await memory.release_lock("user:press", "holder")

            return (now() - began).total_seconds()

    async def wait_for_it() -> None:
        async with scheduler.lock("press", ttl="10s"):
            pass

    took = virtual_time(main, backend=loop)

    assert 10 <= took < 11.1
    assert memory.asked < 25


class Silent(MemoryBackend):
    """Does not answer renewals of locks."""

    async def refresh_lock(self, name: str, owner: str, *, ttl_ms: int) -> bool:
        await sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_leaving_a_lock_does_not_wait_for_its_renewal(loop: Literal["asyncio", "trio"]) -> None:
    """A renewal that is under way when the body is left is given up, and the lock is free at once.

    Seed 1035. Break: the shielded task that holds the lock waits for the answer, for nearly a whole `ttl`: an attempt
    that ended, or was cancelled, went on for three seconds after its node had lost its lease.
    """
    memory = Silent()
    scheduler = Scheduler(memory)

    async def main() -> tuple[float, int]:
        async with scheduler:
            async with scheduler.lock("press", ttl="30s"):
                await sleep(15)
                left = now()

            took = (now() - left).total_seconds()
            answer = await memory.acquire_lock("user:press", "next", ttl_ms=1_000, wait_inbox=None)
            return took, answer.token

    took, token = virtual_time(main, backend=loop)

    assert 0 == took
    assert token
