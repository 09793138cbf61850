"""Locks of a scheduler, on both backends: who waits is called in turn, and nothing is left of a lock that was had."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import create_task_group, current_time
from anyio.abc import TaskStatus
from attrs import define, field

from anysched import Lock, Scheduler
from anysched.backends.memory import MemoryBackend
from anysched.backends.redis import RedisBackend
from anysched.errors import BackendUnavailable, LockLost, NotOpen

COUNT = 20


async def at_once() -> None:
    """Nothing happens before an answer arrives."""


class Watching:
    """Counts how often somebody asks for a lock, and lets something happen before each answer that it is had."""

    asked = 0
    before_answer: Callable[[], Awaitable[None]] = staticmethod(at_once)

    async def acquire_lock(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        answer = await super().acquire_lock(*args, **kwargs)  # type: ignore[misc] - of the backend beside it

        if answer.token:
            await self.before_answer()

        return answer


class WatchedMemory(Watching, MemoryBackend):
    """In memory."""


class WatchedRedis(Watching, RedisBackend):
    """In Redis."""


Watched = WatchedMemory | WatchedRedis


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Watched:
    if request.param == "memory":
        return WatchedMemory()

    return WatchedRedis.from_url(request.getfixturevalue("redis_url"))


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


async def test_of_many_who_wait_only_the_one_whose_turn_it_is_asks_again(backend: Watched, real_time: None) -> None:
    """Each asks once to stand in line, and once when it is called; and all are served in order.

    Break: a hint that wakes all who wait for a lock in a process makes each of them ask at each release.
    """
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
        return sum(issubclass(type(found), anyio.Event) for found in gc.get_objects())

    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(Scheduler())
        await use(0)
        before = events()
        await use(100)
        assert events() - before < 10


# --- answers that come too late --------------------------------------------------------------------------------------


async def test_nobody_enters_under_a_lease_that_ended_before_its_answer_came(backend: Watched, real_time: None) -> None:
    """By then it is somebody else's: two would be inside. Whoever asked goes on waiting, and is not told of a loss.

    Break: entering with whatever lease an answer brings.
    """
    answers = iter((0.5,))
    inside: list[str] = []
    order: list[str] = []

    async def delay() -> None:
        await anyio.sleep(next(answers, 0))

    async def work(name: str, ttl: str, seconds: float) -> None:
        async with scheduler.lock("it", ttl=ttl) as lease:
            assert lease.trusted
            assert [] == inside
            inside.append(name)
            order.append(name)
            await anyio.sleep(seconds)
            inside.remove(name)

    backend.before_answer = delay
    scheduler = Scheduler(backend)

    async with scheduler, create_task_group() as group:
        group.start_soon(work, "late", "200ms", 0)
        await anyio.sleep(0.1)
        group.start_soon(work, "other", "5s", 0.5)

    assert ["other", "late"] == order


@pytest.mark.slow
async def test_who_does_not_wait_asks_twice_for_a_lease_that_is_not_over(backend: Watched, real_time: None) -> None:
    """One late answer may be chance. After another the backend counts as out of reach, and the lock is given back.

    Break: asking again without end.
    """
    answers = [0.6]

    async def delay() -> None:
        await anyio.sleep(answers.pop() if answers else 0)

    backend.before_answer = delay

    async with Scheduler(backend) as scheduler:
        async with scheduler.lock("it", ttl="500ms", wait=False) as lease:
            assert lease.trusted

        answers.extend((0.6, 0.6))

        with pytest.raises(BackendUnavailable, match="'it'"):
            async with scheduler.lock("it", ttl="500ms", wait=False):
                pytest.fail("it was held")

        async with scheduler.lock("it", ttl="500ms", wait=False):
            assert 5 == backend.asked


async def test_nobody_enters_under_a_lease_that_ended_while_the_loop_was_blocked(
    backend: Watched, real_time: None
) -> None:
    """Between the answer and the body another task holds up the loop for longer than the lease.

    Trio runs tasks in any order, so that it takes some rounds. Break: looking at the lease only when its answer comes.
    """
    answered = anyio.Event()

    async def answer() -> None:
        nonlocal answered
        answered.set()
        answered = anyio.Event()

    async def block(*, task_status: TaskStatus[None]) -> None:
        has_come = answered
        task_status.started()
        await has_come.wait()
        time.sleep(0.12)  # noqa: ASYNC251 - that is what it is about

    backend.before_answer = answer
    rounds = 0

    async with Scheduler(backend) as scheduler, create_task_group() as group:
        while backend.asked == rounds and rounds < 20:
            rounds += 1
            await group.start(block)

            async with scheduler.lock("it", ttl="100ms") as lease:
                assert lease.trusted

    assert backend.asked > rounds


# --- without a scheduler that is open --------------------------------------------------------------------------------


async def test_a_lock_of_a_scheduler_that_has_closed_cannot_be_had(backend: Watched, real_time: None) -> None:
    """Whether somebody waits for it or not, and at once.

    Break: looking only when the lock is made; memory would give it.
    """
    async with Scheduler(backend) as scheduler:
        locks = [scheduler.lock("it", wait=wait) for wait in (True, False)]

    for lock in locks:
        began = current_time()

        with pytest.raises(NotOpen, match="'it'"):
            async with lock:
                pytest.fail("it was held")

        assert current_time() - began < 0.5

    assert 0 == backend.asked


async def test_a_scheduler_that_closes_takes_its_locks_along(backend: Watched, real_time: None) -> None:
    """Whoever is inside has lost the lock, and is told why; whoever waits cannot have it any more. No group comes out.

    Break: a renewal, or a question, whose failure is raised as it is from the task that sends it.
    """
    told: dict[str, BaseException] = {}

    async def use(name: str, ttl: str, *, task_status: TaskStatus[None]) -> None:
        try:
            async with scheduler.lock("it", ttl=ttl):
                task_status.started()
                await anyio.sleep_forever()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at below
            told[name] = error

    async def wait(*, task_status: TaskStatus[None]) -> None:
        asked = backend.asked

        async with create_task_group() as waiting:
            waiting.start_soon(partial(use, task_status=anyio.TASK_STATUS_IGNORED), "waiting", "400ms")

            while backend.asked == asked:
                await anyio.lowlevel.checkpoint()

            task_status.started()

    scheduler = Scheduler(backend)

    with anyio.fail_after(10):
        async with create_task_group() as group, scheduler:
            await group.start(use, "inside", "900ms")
            await group.start(wait)

    assert isinstance(told["inside"], LockLost)
    assert isinstance(told["inside"].__cause__, NotOpen)
    assert isinstance(told["waiting"], NotOpen)


async def test_a_lock_over_a_backend_that_is_not_open_says_so(real_time: None) -> None:
    """Bare, from `Lock.run` too."""
    with pytest.raises(NotOpen):
        await Lock(name="it", backend=RedisBackend.from_url("redis://localhost:1")).run()
