"""Opening and closing: by count, by many tasks, with errors; and what is refused when it is closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time

from anysched import (
    Backend,
    BackendUnavailable,
    Blueprint,
    Cron,
    InvalidOption,
    InvalidState,
    InvalidURL,
    MemoryBackend,
    NotOpen,
    RedisBackend,
    Scheduler,
    SchedulerConfig,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def with_job(scheduler: Scheduler) -> Any:
    @scheduler.job(name="work")
    async def work() -> int:
        return 1

    return work


async def test_nothing_can_be_asked_of_a_closed_scheduler() -> None:
    """Every operation says that it needs an open one; before, between and after openings."""
    scheduler = Scheduler()
    work = with_job(scheduler)

    async def ask() -> None:
        async with scheduler:
            run = await work.enqueue()

        for question in (
            work.enqueue,
            run.status,
            run.info,
            run.result,
            run.cancel,
            run.retry,
            lambda: run.reschedule(delay=1),
            lambda: scheduler.enqueue(work.bind()),
            lambda: scheduler.find(key="k"),
            lambda: scheduler.add(Cron("@daily"), work.bind()),
            lambda: scheduler.pause("e"),
            lambda: scheduler.resume("e"),
            lambda: scheduler.trigger("e"),
            lambda: scheduler.remove("e"),
            lambda: scheduler.get_entry("e"),
            scheduler.entries,
            scheduler.totals,
            scheduler.queues,
            scheduler.nodes,
            scheduler.runs,
            lambda: scheduler.lock("l").__aenter__(),
        ):
            with pytest.raises(NotOpen):
                await question()

    await ask()
    await ask()


async def test_opening_executes_nothing() -> None:
    """An open scheduler is a client: what it enqueues waits."""
    scheduler = Scheduler()
    work = with_job(scheduler)

    async with scheduler:
        run = await work.enqueue()
        await anyio.sleep(60)
        assert "ready" == await run.status()


async def test_it_can_be_opened_many_times_over() -> None:
    """By the same task within itself, and by others: it closes with the last."""
    scheduler = Scheduler()
    work = with_job(scheduler)

    async with scheduler, scheduler:
        async with scheduler:
            await work.enqueue()

        await work.enqueue()

        async with scheduler.running(), scheduler:
            await work.enqueue()

        await work.enqueue()

    with pytest.raises(NotOpen):
        await work.enqueue()


async def test_the_opener_waits_for_its_guests() -> None:
    """Who opened it leaves first: it stays open for those who are still in.

    Break: taking the opener's leaving for a guest's closes it in the wrong task, or never.
    """
    scheduler = Scheduler()
    work = with_job(scheduler)
    happened: list[tuple[str, float]] = []

    async def guest(seconds: float) -> None:
        async with scheduler:
            await anyio.sleep(seconds)
            await work.enqueue()
            happened.append(("guest", current_time()))

    async with create_task_group() as guests:
        async with scheduler:
            guests.start_soon(guest, 5)
            guests.start_soon(guest, 9)
            await anyio.sleep(1)

        happened.append(("opener", current_time()))

        with pytest.raises(NotOpen):
            await work.enqueue()

    assert [("guest", 5), ("guest", 9), ("opener", 9)] == happened


async def test_many_tasks_open_it_at_once() -> None:
    """One of them opens, the others wait until that is done; each can use it until it leaves."""
    scheduler = Scheduler()
    work = with_job(scheduler)
    done: list[int] = []

    async def use(number: int) -> None:
        for _ in range(3):
            async with scheduler:
                await work.enqueue()
                await anyio.sleep(number % 4)
                await work.enqueue()

            done.append(number)

    async with create_task_group() as group:
        for number in range(20):
            group.start_soon(use, number)

    assert 60 == len(done)
    assert 120 == (await scheduler.backend.totals()).ready


async def test_who_comes_while_it_closes_opens_it_anew() -> None:
    """At whatever moment of the closing somebody enters: they find it open, and can leave in good order.

    Break: becoming a guest of a session that is closing finds it closed, and trips over it when leaving.
    """
    scheduler = Scheduler()
    work = with_job(scheduler)

    async def late(checkpoints: int) -> None:
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()

        async with scheduler:
            await work.enqueue()
            await anyio.sleep(1)
            await work.enqueue()

    for checkpoints in range(25):
        async with create_task_group() as group, scheduler:
            group.start_soon(late, checkpoints)

    assert 50 == (await scheduler.backend.totals()).ready


async def work() -> None: ...


async def test_nothing_can_be_declared_while_a_node_runs() -> None:
    """Jobs and entries, on the scheduler or on a blueprint in it, in the program or in its lifespan: refused, and none
    of them is there afterwards. What is there already may be said again, and before and after a node all is well.

    Break: they are taken in, and never executed: the node told the backend at its start what it knows.
    """
    mail, late = Blueprint("mail"), Blueprint("late")

    @late.job(name="later")
    async def later() -> None: ...

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        with pytest.raises(InvalidState, match="job 'work'"):
            scheduler.job(name="work")(work)

        yield

    scheduler = Scheduler(lifespan=lifespan)
    scheduler.include(mail)

    @scheduler.job(name="known")
    async def known() -> None: ...

    async with scheduler.running():
        for declare, name in (
            (lambda: scheduler.job(name="work")(work), "job 'work'"),
            (lambda: scheduler.every("1s", name="work")(work), "job 'work'"),
            (lambda: scheduler.cron("@daily")(known), "entry 'known'"),
            (lambda: mail.job(name="work")(work), "job 'work'"),
            (lambda: mail.once(START, name="work")(work), "job 'work'"),
            (lambda: scheduler.include(late), "job 'later'"),
            (lambda: mail.include(late), "job 'later'"),
        ):
            with pytest.raises(InvalidState, match=f"the scheduler is running: declare {name} before it runs"):
                declare()

        assert known is scheduler.job(name="known")(known.function)
        scheduler.include(mail)
        assert (["known"], [], []) == ([*scheduler.jobs], scheduler.declarations(), [*mail.jobs])

    async with scheduler:
        scheduler.include(late)
        scheduler.every("1s", name="work")(work)

    assert ["known", "later", "work"] == [*scheduler.jobs]


class Unreachable(MemoryBackend):
    """Cannot be connected to, until it can."""

    __slots__ = ("down",)

    def __init__(self) -> None:
        super().__init__()
        self.down = True

    async def run(self, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        await anyio.sleep(1)

        if self.down:
            raise BackendUnavailable("nobody listens there")

        await super().run(task_status=task_status)


async def test_a_backend_that_cannot_be_reached_is_an_error_at_the_start() -> None:
    """Bare, from `async with scheduler`, from `running` and from `run`; and it can be opened later."""
    backend = Unreachable()
    scheduler = Scheduler(backend)
    work = with_job(scheduler)

    async def open_only() -> None:
        async with scheduler:
            pytest.fail("it is open")

    async def open_and_run() -> None:
        async with scheduler.running():
            pytest.fail("it runs")

    for attempt in (open_only, open_and_run, scheduler.run):
        with pytest.raises(BackendUnavailable, match="nobody listens"):
            await attempt()

    backend.down = False

    async with scheduler.running():
        assert 1 == await (await work.enqueue()).result()


@pytest.mark.parametrize(
    "rest", ["redis://h/2", "rediss://h", "unix:///s", "redis+sentinel://h/m", "rediss+sentinel://h/m"]
)
def test_an_address_may_begin_in_capitals(rest: str) -> None:
    """As a backend's may: whatever that takes a scheduler takes."""
    scheme, separator, place = rest.partition("://")

    for said in (rest, scheme.upper() + separator + place, scheme.title() + separator + place):
        assert isinstance(Scheduler(said).backend, RedisBackend)


@pytest.mark.parametrize("address", ["memory://", "MEMORY://"])
def test_memory_has_an_address_too(address: str) -> None:
    """For a configuration that has to say something."""
    assert isinstance(Scheduler(address).backend, MemoryBackend)


@pytest.mark.parametrize("address", ["http://h", "localhost", "", "memory://h"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """With all that would be one."""
    with pytest.raises(InvalidURL, match="expected memory://, redis://"):
        Scheduler(address)


@pytest.mark.parametrize("namespace", ["myapp", "anysched"])
def test_a_namespace_beside_a_backend_object_that_has_another_is_refused(namespace: str) -> None:
    """Ignored, the other application's runs would be taken for ours."""
    backend = RedisBackend.from_url("redis://localhost", namespace="own")

    with pytest.raises(InvalidOption, match=f"invalid namespace '{namespace}': expected 'own', which the backend"):
        Scheduler(backend, namespace=namespace)

    assert ("own", backend) == (Scheduler(backend, namespace="own").namespace, Scheduler(backend).backend)


def test_a_namespace_is_given_to_a_backend_object_that_was_given_none() -> None:
    """Break: the name is taken, and the keys are those of everybody who gave none."""
    backend = RedisBackend.from_url("redis://localhost")
    scheduler = Scheduler(backend, namespace="myapp")
    assert isinstance(scheduler.backend, RedisBackend)
    assert ("myapp", "myapp", "anysched") == (scheduler.namespace, scheduler.backend.namespace, backend.namespace)


@pytest.mark.parametrize(("lease", "limit"), [("1h", 3.75), ("15s", 3.75), ("14s", 3.5), ("3s", 0.75)])
def test_a_time_limit_that_was_not_given_fits_the_lease(lease: str, limit: float) -> None:
    """Of an address and of an object, which itself stays as it is: a quarter of the lease, so that a command that gets
    no answer leaves time for more.

    Break: with a lease of 3 s the first command that is lost takes it along.
    """
    backend = RedisBackend.from_url("redis://localhost", namespace="own")
    config = SchedulerConfig(lease=lease)
    address, given = Scheduler("redis://localhost", config=config).backend, Scheduler(backend, config=config).backend
    assert (limit, limit, "own") == (limit_of(address), limit_of(given), getattr(given, "namespace", ""))
    assert 3.75 == limit_of(backend)
    assert (given is backend) is (limit == 3.75)


def limit_of(backend: object) -> float:
    return getattr(backend, "_time_limit")  # noqa: B009 - private, and of one backend only


@pytest.mark.parametrize(("limit", "lease"), [(5.0, "15s"), (5.5, "15s"), (1.5, "4s"), (float("nan"), "15s")])
def test_a_time_limit_that_does_not_fit_the_lease_is_refused(limit: float, lease: str) -> None:
    """Both are named. One that is under a third of the lease is kept."""
    backend = RedisBackend.from_url("redis://localhost", time_limit=limit)

    with pytest.raises(InvalidOption, match=f"time_limit {limit}: expected .* third of the lease, which is {lease}"):
        Scheduler(backend, config=SchedulerConfig(lease=lease))

    fitting = RedisBackend.from_url("redis://localhost", time_limit=1.3)
    assert fitting is Scheduler(fitting, config=SchedulerConfig(lease="4s")).backend


def test_memory_is_one_namespace() -> None:
    """It is shared by whoever has the object; the name is for people."""
    backend = MemoryBackend()
    scheduler = Scheduler(backend, namespace="myapp")
    assert ("myapp", backend) == (scheduler.namespace, scheduler.backend)


def test_a_namespace_of_the_environment_is_not_for_a_backend_object() -> None:
    """It says whose data is meant where an address says where; an object that wins over the address says both."""
    backend = RedisBackend.from_url("redis://localhost", namespace="own")
    environ = {"ANYSCHED_BACKEND": "redis://elsewhere", "ANYSCHED_NAMESPACE": "shop"}

    assert backend is Scheduler.from_env(environ, backend=backend).backend
    assert "shop" == Scheduler.from_env(environ).namespace
    assert "shop" == Scheduler.from_env(environ, backend="redis://localhost").namespace
    assert "anysched" == Scheduler("redis://localhost").namespace

    with pytest.raises(InvalidOption, match="namespace"):
        Scheduler.from_env(environ, backend=backend, namespace="mine")


@pytest.mark.parametrize("other_loop", ["asyncio", "trio"])
async def test_an_open_scheduler_belongs_to_its_thread(
    anysched_backend: Backend, other_loop: str, real_time: None
) -> None:
    """In an event loop of another thread all that is asked of it is refused; the owner goes on, and takes calls that
    are sent to its thread. When it has been closed another thread can open it.

    Break: unnoticed, what waits for an answer waits for ever, or an event of the owner's breaks its node.
    """
    scheduler = Scheduler(anysched_backend)
    work = with_job(scheduler)

    async def use() -> int:
        async with scheduler.running():
            return await (await work.enqueue()).result()

    async def ask(run: Any) -> None:
        for question in (
            work.enqueue,
            run.result,
            run.cancel,
            run.info,
            scheduler.entries,
            lambda: scheduler.find(key="k"),
            lambda: scheduler.lock("l").__aenter__(),
            lambda: anyio.to_thread.run_sync(scheduler.stop),
            use,
        ):
            with anyio.fail_after(5), pytest.raises(InvalidState, match=r"open in another thread: use .* there"):
                await question()

    async with scheduler:
        async with scheduler.running():
            run = await work.enqueue()
            await run.result()
            await anyio.to_thread.run_sync(partial(anyio.run, ask, run, backend=other_loop))
            sent = await anyio.to_thread.run_sync(anyio.from_thread.run, work.enqueue)
            assert [1, 1] == [await sent.result(), await (await work.enqueue()).result()]

        # Open and not running is as good as open.
        await anyio.to_thread.run_sync(partial(anyio.run, ask, run, backend=other_loop))

    assert 1 == await anyio.to_thread.run_sync(partial(anyio.run, use, backend=other_loop))


async def test_guests_of_a_failed_opening_try_for_themselves() -> None:
    """Three open it at once and the first fails: each of the others is told the same by an attempt of its own."""
    scheduler = Scheduler(Unreachable())
    told: list[float] = []

    async def use() -> None:
        try:
            async with scheduler:
                pytest.fail("it is open")
        except BackendUnavailable:
            told.append(current_time())

    async with create_task_group() as group:
        for _ in range(3):
            group.start_soon(use)

    assert [1, 2, 3] == told


async def test_an_error_in_an_open_block_leaves_as_it_was() -> None:
    """Bare if it was bare; and a group, also of one, stays the group that it was."""
    scheduler = Scheduler()

    with pytest.raises(ValueError, match="mine"):
        async with scheduler:
            raise ValueError("mine")

    for mine in (
        ExceptionGroup("mine", [ValueError()]),
        ExceptionGroup("mine", [ValueError(), KeyError()]),
        ExceptionGroup("mine", [NotOpen("it"), NotOpen("it")]),
    ):
        for opening in (scheduler, scheduler.running()):
            with pytest.raises(ExceptionGroup) as raised:
                async with opening:
                    raise mine

            assert raised.value is mine


async def test_a_crash_inside_leaves_bare() -> None:
    """What the backend's own task raises ends the block, and is raised from it as it is."""

    class Crashing(MemoryBackend):
        async def run(self, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await anyio.sleep(5)
            raise ZeroDivisionError

    for opening in (lambda scheduler: scheduler, lambda scheduler: scheduler.running()):
        began = current_time()

        with anyio.fail_after(60), pytest.raises(ZeroDivisionError):
            async with opening(Scheduler(Crashing())):
                await anyio.sleep_forever()

        assert current_time() - began <= 10


async def test_a_lifespan_can_use_the_scheduler() -> None:
    """It is entered while the scheduler is open, and can open it once more."""
    ran: list[int] = []

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        async with scheduler:
            await work.enqueue()
            yield
            ran.append((await scheduler.totals()).succeeded)

    scheduler = Scheduler(lifespan=lifespan)
    work = with_job(scheduler)

    async with scheduler.running():
        await anyio.sleep(1)

    assert [1] == ran
