"""Redis is gone, and something has to end: in bounded time, with the right exception, losing nothing settled.

Leases in here are short where a test waits for one to end, and else so long that a busy machine does not end them. A
command's time limit, connecting included, is not a quarter of the lease as by default, but three seconds: a process
has been seen to stand in the queue for a processor for one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import current_time

from anysched import BackendUnavailable, Event, LockLost, RunStatus, Scheduler, SchedulerConfig, current_run
from anysched.backends.redis import RedisBackend
from anysched.events import BackendLost
from anysched.testing import FaultyProxy, RedisServer

from .polling import until
from .timing import Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

BOUND = 10.0
"""Seconds in which whatever is cancelled while Redis is away has to be over."""


class Mishap(Exception):
    pass


@asynccontextmanager
async def gone(server: RedisServer, how: str) -> AsyncGenerator[None]:
    """Redis is away while this is entered."""
    server.kill() if how == "killed" else server.pause()

    try:
        yield
    finally:
        if how == "killed":
            await anyio.to_thread.run_sync(server.start)
        else:
            server.resume()


@pytest.fixture(params=["killed", pytest.param("silent", marks=pytest.mark.nightly)])
def how(request: pytest.FixtureRequest) -> str:
    """Connections are refused, or nothing is ever answered."""
    return request.param


class Site:
    """A scheduler with a short run, which has ended when Redis goes away, and a long one, which runs."""

    def __init__(self, url: str, *, lease: str = "10s", time_limit: float = 3.0) -> None:
        config = SchedulerConfig(lease=lease, shutdown_timeout="1s")
        backend = RedisBackend.from_url(url, time_limit=time_limit)
        self.scheduler = Scheduler(backend, config=config, observers=[self])
        self.begun: list[tuple[str, int, int]] = []
        self.ended: list[str] = []
        self.outages = 0
        self.let_go = anyio.Event()

        @self.scheduler.job(name="work")
        async def work(name: str, seconds: float) -> str:
            run = current_run()
            self.begun.append((name, run.attempt, run.fencing_token))

            try:
                await anyio.sleep(seconds)
                return name
            finally:
                self.ended.append(name)

        @self.scheduler.job(name="held")
        async def held(name: str) -> str:
            run = current_run()
            self.begun.append((name, run.attempt, run.fencing_token))
            await self.let_go.wait()
            self.ended.append(name)
            return name

        self.work = work
        self.held = held

    def on_event(self, event: Event) -> None:
        self.outages += isinstance(event, BackendLost)

    async def until_begun(self, count: int) -> None:
        with anyio.fail_after(20):
            await until(lambda: len(self.begun) >= count)


async def cancelled(site: Site, go: Callable[[], Awaitable[Any]]) -> None:
    with anyio.CancelScope() as scope:
        async with site.scheduler.running():
            await go()
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught


async def stopped(site: Site, go: Callable[[], Awaitable[Any]]) -> None:
    async with site.scheduler.running():
        await go()


async def raising(site: Site, go: Callable[[], Awaitable[Any]]) -> None:
    async def run() -> None:
        async with site.scheduler.running():
            await go()
            raise Mishap

    with pytest.raises(Mishap):  # bare
        await run()


async def beside_a_crash(site: Site, go: Callable[[], Awaitable[Any]]) -> None:
    async def crash() -> None:
        await go()
        raise Mishap

    async def run() -> None:
        async with anyio.create_task_group() as group:
            await group.start(site.scheduler.run)
            group.start_soon(crash)

    with pytest.raises(ExceptionGroup) as caught:
        await run()

    assert [Mishap] == [type(error) for error in caught.value.exceptions]


DEFAULT = [(cancelled, "killed")]
ENDINGS = [
    pytest.param(ending, how, marks=[] if (ending, how) in DEFAULT else pytest.mark.nightly)
    for ending in (cancelled, stopped, raising, beside_a_crash)
    for how in ("killed", "silent")
]


@pytest.mark.parametrize(("ending", "how"), ENDINGS)
async def test_an_end_while_redis_is_away_is_bounded_and_the_run_is_done_by_another(
    ending: Any, how: str, durable_server: RedisServer
) -> None:
    """Whatever ends it, it is over within ten seconds, and raises what it would have raised with Redis there.

    When Redis is back, with its data, another node has the run that was interrupted, after its lease.
    Breaks: "grace" never ends; "shield" ends at once, but see `test_embedding`.
    """
    server = durable_server
    first, second = Site(server.url), Site(server.url)

    async with Scheduler(server.url) as client:
        short = await client.enqueue_bound([first.work.bind("short", 0)])
        await client.enqueue_bound([first.work.options(run_id="long").bind("long", 60)])

        async def lose_redis() -> None:
            await first.until_begun(2)

            with anyio.fail_after(10):
                await short[0].result()

            server.kill() if how == "killed" else server.pause()
            nonlocal watch
            watch = Watch()

        watch = Watch()

        with anyio.fail_after(30):
            await ending(first, lose_redis)

        watch.check(within=BOUND)
        assert {"short", "long"} == set(first.ended)

        if how == "killed":
            await anyio.to_thread.run_sync(server.start)
        else:
            server.resume()

    # What was sent to a silent server is done when it goes on.
    found = await statuses(server.url)
    assert RunStatus.SUCCEEDED == found[short[0].id]
    assert found["long"] == RunStatus.RUNNING or (how, found["long"]) == ("silent", RunStatus.READY)

    async with second.scheduler.running():
        await second.until_begun(1)

    (name, attempt, token), (_, _, before) = second.begun[0], first.begun[-1]
    assert ("long", 1) == (name, attempt), "a crash costs no attempt"
    assert token > before


async def statuses(url: str) -> dict[str, str]:
    async with Scheduler(url) as scheduler:
        return {run.id: run.status for run in await scheduler.runs()}


async def test_a_result_that_came_while_redis_was_away_is_settled_when_it_is_back(
    how: str, durable_server: RedisServer
) -> None:
    """The run ends in the middle of an outage that is shorter than the lease: it is done once.

    Break: "outages" (an outage ends the node).
    """
    site = Site(durable_server.url)

    with anyio.fail_after(30):
        async with site.scheduler.running():
            run = await site.held.enqueue("it")
            await site.until_begun(1)

            async with gone(durable_server, how):
                site.let_go.set()
                await until(lambda: site.ended and site.outages)

            assert "it" == await run.result()

    assert [("it", 1)] == [begun[:2] for begun in site.begun]


async def test_after_an_outage_longer_than_the_lease_the_attempt_is_cancelled_and_done_anew(
    how: str, durable_server: RedisServer
) -> None:
    """The node stops trusting its lease in time, cancels, joins anew when Redis is back, and takes the run again.

    Break: "trust" lets the first attempt go on beside the second.
    """
    lease = 10.0
    site, other = (Site(durable_server.url, lease=f"{lease:g}s") for _ in range(2))

    with anyio.fail_after(40):
        async with site.scheduler.running(), other.scheduler.running():
            await site.work.enqueue("it", 60)
            await until(lambda: site.begun or other.begun)
            began, watch = current_time(), Watch()

            async with gone(durable_server, how):
                await until(lambda: site.ended or other.ended)
                watch.check(within=lease)  # before anybody else could have it
                await anyio.sleep_until(began + lease)

            await until(lambda: len(site.begun) + len(other.begun) >= 2)
            # Now: the one that stops first hands it back, and the other one may take it once more.
            tokens = [token for _, _, token in site.begun + other.begun]

    assert len(tokens) == len(set(tokens)) == 2


async def test_a_start_without_redis_fails_soon_and_clearly(server: RedisServer, how: str) -> None:
    """`run` raises `BackendUnavailable`, bare, within the time limit of a command."""
    site = Site(server.url)
    server.kill() if how == "killed" else server.pause()
    watch = Watch()

    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        async with site.scheduler.running():
            raise AssertionError("not reached")

    watch.check(within=5)
    server.resume() if how == "silent" else None


@pytest.mark.parametrize("after", [0.0, 0.05])
async def test_a_start_that_redis_does_not_answer_can_be_cancelled_and_stopped(
    server: RedisServer, after: float
) -> None:
    """Redis hangs in the middle of the start: `cancel` ends it at once, wherever it is."""
    async with FaultyProxy(target_port=server.port) as proxy:
        proxy.delay = after
        proxy.blackhole = not after

        for pause in (0.01, 0.12, 0.25, 0.4):
            scheduler = Scheduler(f"redis://127.0.0.1:{proxy.port}/0")
            watch = Watch()

            with anyio.move_on_after(pause):
                async with scheduler.running():
                    await anyio.sleep_forever()

            watch.check(within=pause + 3)

        proxy.heal()

    assert {} == await statuses(server.url)


async def run_and_stop(scheduler: Scheduler, is_there: Callable[[], bool], *, within: float) -> None:
    """Start it, stop it when it has come so far, and see it end within so many seconds."""
    async with anyio.create_task_group() as group:

        async def start() -> None:
            await group.start(scheduler.run)

        group.start_soon(start)
        await until(is_there)
        scheduler.stop()
        watch = Watch()

    watch.check(within=within)


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_a_stop_during_a_start_that_waits_for_a_connection_is_obeyed_at_once(
    server: RedisServer, delay: float
) -> None:
    """`stop` while Redis does not answer yet, or slowly: `run` ends without an error, ready or not; nothing is taken.

    Break: `Stopping.set` cancels nothing, and `run` raises that nobody has answered within the time limit.
    """
    site = Site(server.url)

    async with Scheduler(server.url) as client:
        await client.enqueue_bound([site.work.options(run_id="it").bind("it", 0)])

    async with FaultyProxy(target_port=server.port, delay=delay, blackhole=not delay) as proxy:
        started = Site(f"redis://127.0.0.1:{proxy.port}/0", lease="40s", time_limit=10)
        await run_and_stop(started.scheduler, lambda: proxy.accepted > 0, within=3)  # and not a time limit

    assert {"it": RunStatus.READY} == await statuses(server.url)


@pytest.mark.nightly
@pytest.mark.parametrize("stage", ["joining", "declaring"])
async def test_a_stop_during_a_start_that_redis_has_left_is_obeyed(server: RedisServer, stage: str) -> None:
    """Redis falls silent when the connection stands: what the start still waits for is given up; nothing is taken.

    Break: `Stopping.set` cancels nothing, and `run` never ends.
    """

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        await anyio.lowlevel.checkpoint()
        proxy.blackhole = proxy.blackhole or stage == "declaring"
        yield

    async with FaultyProxy(target_port=server.port) as proxy:
        scheduler = Scheduler(f"redis://127.0.0.1:{proxy.port}/0", lifespan=lifespan)

        with anyio.fail_after(30):
            async with scheduler:
                proxy.blackhole = stage == "joining"
                is_there = lambda: proxy.blackhole and scheduler.statistics().running  # noqa: E731 - short
                await run_and_stop(scheduler, is_there, within=BOUND)

    assert {} == await statuses(server.url)


@pytest.mark.nightly
async def test_a_cancel_during_a_stop_without_redis_is_bounded(server: RedisServer) -> None:
    """A stop that waits for attempts, cancelled in the middle, Redis being away: over within ten seconds."""
    site = Site(server.url)

    with anyio.fail_after(30):
        with anyio.CancelScope() as scope:
            async with site.scheduler.running():
                await site.work.enqueue("it", 60)
                await site.until_begun(1)
                server.kill()
                site.scheduler.stop()
                await anyio.sleep(0.2)
                site.scheduler.stop()
                watch = Watch()
                scope.cancel()
                await anyio.sleep_forever()

    watch.check(within=BOUND)


async def test_an_enqueue_while_redis_is_away_fails_and_the_open_scheduler_recovers(
    durable_server: RedisServer, how: str
) -> None:
    """Each call fails within its time limit; the first after the outage works."""
    server = durable_server
    site = Site(server.url)

    async with site.scheduler:
        async with gone(server, how):
            for _ in range(2):
                watch = Watch()

                with pytest.raises(BackendUnavailable):
                    await site.work.options(run_id="it").enqueue("it", 0)

                watch.check(within=5)

        run = await site.work.options(run_id="it").enqueue("it", 0)
        assert RunStatus.READY == await run.status()


async def test_a_lock_whose_store_is_gone_cancels_its_body_in_time(server: RedisServer, how: str) -> None:
    """The body is cancelled before the lease can have ended there, and `LockLost` raised; without a long farewell.

    Break: "lock loss" lets the body go on.
    """
    scheduler = Scheduler(server.url, config=SchedulerConfig(lease="12s"))
    ttl = 3.0
    watch = farewell = Watch()

    async def hold() -> None:
        nonlocal watch, farewell

        async with scheduler.lock("it", ttl=ttl) as lease:
            assert lease.trusted
            server.kill() if how == "killed" else server.pause()
            watch = Watch()

            try:
                await anyio.sleep(10)
            finally:
                watch.check(within=ttl)
                farewell = Watch()
                assert not lease.trusted

    async with scheduler:
        with pytest.raises(LockLost):
            await hold()

        farewell.check(within=3)

    server.resume() if how == "silent" else None
