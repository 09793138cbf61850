"""A scheduler inside of somebody's program on a real Redis: whatever cancels it, nothing is lost and nothing left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import current_time

from anysched import BackendUnavailable, Executor, InvalidState, RunStatus, Scheduler, SchedulerConfig
from anysched.testing import RedisServer, Round, cancel_at_every_await

from .polling import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


class Mishap(Exception):
    pass


class Site:
    """A scheduler with many runs of which half end in the very moment in which everything is cancelled."""

    def __init__(self, url: str, *, count: int) -> None:
        self.url = url
        self.count = count
        self.scheduler = Scheduler(
            url,
            executor=Executor(max_concurrent=count + 1),
            config=SchedulerConfig(lease="30s", shutdown_timeout="1s"),
        )
        self.begun = 0
        self.finished: set[int] = set()
        self.let_go = anyio.Event()

        @self.scheduler.job(name="work")
        async def work(number: int) -> int:
            self.begun += 1

            if number % 2:
                await self.let_go.wait()
            else:
                await anyio.sleep(3600)

            self.finished.add(number)
            return number

        self.work = work

    async def until_begun(self) -> None:
        await self.scheduler.enqueue(*[self.work.options(run_id=str(n)).bind(n) for n in range(self.count)])

        await until(lambda: self.begun >= self.count)

    async def assert_settled(self) -> None:
        """Another scheduler looks at once, long before any lease ends."""
        async with Scheduler(self.url) as other:
            found = {int(run.id): run.status for run in await other.runs(limit=1000)}
            assert self.finished == {number for number, status in found.items() if status == RunStatus.SUCCEEDED}
            assert set(range(self.count)) - self.finished == {
                number for number, status in found.items() if status == RunStatus.READY
            }
            totals = await other.totals()
            assert (0, 0) == (totals.running, totals.failed)
            assert [] == await other.nodes()


async def scope_cancelled(site: Site) -> None:
    with anyio.CancelScope() as scope:
        async with site.scheduler.running():
            await site.until_begun()
            site.let_go.set()
            await anyio.lowlevel.checkpoint()
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught


async def nursery_cancelled(site: Site) -> None:
    async with site.scheduler, anyio.create_task_group() as group:
        await group.start(site.scheduler.run)
        await site.until_begun()
        site.let_go.set()
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def sibling_crashed(site: Site) -> None:
    async def crash() -> None:
        await site.until_begun()
        site.let_go.set()
        await anyio.lowlevel.checkpoint()
        raise Mishap

    async def run() -> None:
        async with anyio.create_task_group() as group:
            await group.start(site.scheduler.run)
            group.start_soon(crash)

    with pytest.raises(ExceptionGroup) as caught:
        await run()

    assert [Mishap] == [type(error) for error in caught.value.exceptions]


async def body_raised(site: Site) -> None:
    async def run() -> None:
        async with site.scheduler.running():
            await site.until_begun()
            site.let_go.set()
            await anyio.lowlevel.checkpoint()
            raise Mishap

    with pytest.raises(Mishap):
        await run()


async def stopped_twice(site: Site) -> None:
    async with site.scheduler.running():
        await site.until_begun()
        site.let_go.set()
        site.scheduler.stop()
        await anyio.sleep(0.2)
        site.scheduler.stop()


ENDINGS = [scope_cancelled, nursery_cancelled, sibling_crashed, body_raised, stopped_twice]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_no_finished_result_is_lost_and_the_rest_is_handed_back_at_once(
    ending: Any, server: RedisServer, connected: Callable[[], int]
) -> None:
    """Two hundred attempts, a hundred of which end as everything is cancelled: settled or handed back, none running.

    Break: "shield" (connections and settling die together with the work, and all stay running for a lease).
    """
    site = Site(server.url, count=200)

    with anyio.fail_after(20):
        await ending(site)
        assert 0 == connected()
        assert site.finished == {number for number in range(200) if number % 2}
        await site.assert_settled()


async def test_a_native_cancel_from_asyncio_loses_nothing_either(server: RedisServer, anyio_backend_name: str) -> None:
    """`Task.cancel()`, as `asyncio.timeout` and web frameworks do it, pierces AnyIO's shields in the task it hits.

    Break: "shield".
    """
    if anyio_backend_name != "asyncio":
        pytest.skip("native cancellation is asyncio's")

    site = Site(server.url, count=50)

    async def live() -> None:
        async with site.scheduler.running():
            await site.until_begun()
            site.let_go.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(live())

    await until(site.let_go.is_set)

    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    await site.assert_settled()


# --- cancelled everywhere -------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Scheduler]:
    scheduler = Scheduler(url, config=SchedulerConfig(lease="30s", on_error=lambda error, context: None))

    @scheduler.job(name="work")
    async def work() -> str:
        return "done"

    async with scheduler:
        yield scheduler


async def a_life(url: str) -> None:
    """Open, run, enqueue, wait for the result, stop and close."""
    async with opened(url) as scheduler, scheduler.running():
        run = await scheduler.jobs["work"].enqueue()
        assert "done" == await run.result()


async def a_held_lock(url: str) -> None:
    async with opened(url) as scheduler, scheduler.lock("it", ttl="30s"):
        await anyio.lowlevel.checkpoint()


async def a_lock_in_vain(url: str) -> None:
    async with opened(url) as scheduler, scheduler.lock("it", ttl="30s"):
        with anyio.move_on_after(0.05):
            async with scheduler.lock("it", ttl="30s"):
                raise AssertionError("not reached")


async def management(url: str) -> None:
    async with opened(url) as scheduler:
        work = scheduler.jobs["work"]
        run = await work.options(delay="1h").enqueue()
        await run.reschedule(delay="2h")
        await scheduler.add("@every 1h", work.bind(), id="it", replace=True)
        await scheduler.pause("it")
        await scheduler.resume("it")
        await scheduler.remove("it")
        await run.cancel()
        await scheduler.totals()


async def looking_around(url: str) -> None:
    """What is left of the public coroutines: those that mostly read."""
    async with opened(url) as scheduler:
        work = scheduler.jobs["work"]
        await work.options(run_id="it", key="key", delay="1h").enqueue()
        await scheduler.add("@every 1h", work.bind(), id="it", replace=True)
        await scheduler.find(key="key")
        run = await scheduler.get_run("it")
        await run.info()
        await run.status()
        await scheduler.runs()
        await scheduler.entries()
        await scheduler.get_entry("it")
        await scheduler.trigger("it")
        await scheduler.pause_queue("default")
        await scheduler.resume_queue("default")
        await scheduler.queues()
        await scheduler.nodes()

        with pytest.raises(InvalidState):
            await run.retry()


OPERATIONS = [a_life, a_held_lock, a_lock_in_vain, management, looking_around]


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, anyio_backend_name: str) -> bool:
    if request.param and anyio_backend_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    return request.param


@pytest.mark.timeout(120)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_cancelled_at_any_await_it_leaves_no_lease_lock_connection_or_task(
    operation: Callable[[str], Awaitable[None]],
    native: bool,
    server: RedisServer,
    connected: Callable[[], int],
    record_property: Callable[[str, object], None],
) -> None:
    """At its 1st, 2nd, ... n-th suspension on a real Redis: afterwards no node, no lock, no running run, no client.

    Breaks: "lock release", "shield".
    """
    slowest = 0.0
    began = current_time()

    async def check(n: int, outcome: Round[None]) -> None:
        nonlocal slowest, began
        slowest = max(slowest, current_time() - began)
        with anyio.fail_after(2):
            await until(lambda: not (connected()))  # the server takes notice of a connection's end when it comes to it

        if not native:
            assert [] == server.cli("KEYS", "{anysched}:lock:*"), "a lock is held"

        assert [] == server.cli("KEYS", "{anysched}:held:*"), "a run is held"
        assert [] == server.cli("ZRANGE", "{anysched}:nodes", 0, -1), "a node is listed"
        began = current_time()

    count = await cancel_at_every_await(
        lambda: operation(server.url), check=check, native=native, expected=(BackendUnavailable,)
    )
    record_property("suspensions cancelled", count)
    print(f"\n{count} suspensions cancelled; the slowest round took {slowest:.2f} s")
    assert count >= 5
    assert slowest < 5
