"""Who opens a scheduler, who is a guest, and what becomes of one when the other is cancelled, fails or stays on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from anyio import TASK_STATUS_IGNORED, CancelScope, Event, create_task_group, current_time
from anyio.abc import TaskStatus

from anysched import Backend, InvalidState, MemoryBackend, NotOpen, RunStatus, Scheduler


class Connected(MemoryBackend):
    """Serves only while it is connected, as a server does; and hears until `deaf` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = False
        self.deaf = Event()

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        self.connected = True

        try:
            await super().run(task_status=task_status)
        finally:
            self.connected = False

    async def listen(self, inbox: str, deliver: Any, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await self.deaf.wait()
        raise ZeroDivisionError

    async def work(self, *args: Any) -> Any:
        self._require()
        return await super().work(*args)

    async def renew(self, *args: Any) -> Any:
        self._require()
        return await super().renew(*args)

    async def leave(self, *args: Any) -> None:
        self._require()
        await super().leave(*args)

    def _require(self) -> None:
        if not self.connected:
            raise NotOpen("the backend")


def with_work(scheduler: Scheduler) -> Any:
    @scheduler.job(name="work")
    async def work(seconds: float = 0) -> float:
        await anyio.sleep(seconds)
        return seconds

    return work


async def assert_nothing_is_left(backend: Backend, *, ready: int) -> None:
    totals = await backend.totals()
    assert (0, ready, []) == (totals.running, totals.ready, await backend.list_nodes())


async def cancellable(scheduler: Scheduler, ended: Event, *, task_status: TaskStatus[CancelScope]) -> None:
    """A node in a scope of its own."""
    with CancelScope() as scope:
        async with create_task_group() as group:
            await group.start(scheduler.run)
            task_status.started(scope)

    ended.set()


@pytest.mark.parametrize("opening", ["running", "run", "run in an open one"])
async def test_what_fails_beside_the_connection_leaves_it_standing(opening: str) -> None:
    """Listening crashes: the attempt is cancelled and handed back, the node leaves, and the error leaves bare.

    Break: in one task group with it the connection is gone at once, and nothing can be handed back over it.
    """
    backend = Connected()
    scheduler = Scheduler(backend)
    work = with_work(scheduler)

    async def crash() -> None:
        await anyio.sleep(1)
        backend.deaf.set()

    async def body() -> None:
        await work.enqueue(3600)
        await anyio.sleep_forever()

    async def opened() -> None:
        if opening == "run":
            await scheduler.run()
        elif opening == "running":
            async with scheduler.running():
                await body()
        else:
            async with scheduler, scheduler.running():
                await body()

    async with create_task_group() as group:
        group.start_soon(crash)

        if opening == "run":
            async with scheduler:
                await work.enqueue(3600)

        with pytest.raises(ZeroDivisionError):
            await opened()

    assert 1 == current_time()
    await assert_nothing_is_left(backend, ready=1)


async def test_an_opener_that_is_cancelled_gives_idle_guests_a_moment() -> None:
    """A node that is cancelled is over in two seconds, however long its `shutdown_timeout`; the guest finds it closed,
    can open it anew, and leaves in good order.

    Break: the grace of a node is that of a guest that does nothing, and a cancelled `run` takes 40 s.
    """
    scheduler = Scheduler(Connected())
    work = with_work(scheduler)
    ended = Event()

    async with create_task_group() as group:
        scope = await group.start(cancellable, scheduler, ended)

        async with scheduler:
            scope.cancel()
            await work.enqueue()
            await ended.wait()
            assert 2 == current_time()
            assert not scheduler.statistics().running

            with pytest.raises(NotOpen):
                await work.enqueue()

            async with scheduler:
                await work.enqueue()

        group.start_soon(anyio.sleep, 0)

    await assert_nothing_is_left(scheduler.backend, ready=2)


async def test_a_guest_whose_session_was_closed_leaves_no_other() -> None:
    """It leaves while somebody else has opened the scheduler anew: that one stays open.

    Break: a guest that nobody knows is taken for the opener, and closes what another task holds open.
    """
    scheduler = Scheduler()
    work = with_work(scheduler)
    closed, left = Event(), Event()

    async def guest(*, task_status: TaskStatus[None]) -> None:
        async with scheduler:
            task_status.started()
            await closed.wait()
            await anyio.sleep(1)

        left.set()

    async with create_task_group() as group:
        with CancelScope() as scope:
            async with scheduler:
                await group.start(guest)
                scope.cancel()
                await anyio.sleep_forever()

        async with scheduler:
            closed.set()
            await left.wait()
            await work.enqueue()

        with pytest.raises(NotOpen):
            await work.enqueue()


async def test_a_node_that_has_stopped_runs_no_more_though_a_guest_is_there() -> None:
    """`run` is the opener and waits for the guest; statistics and a second `run` know that the node has ended."""
    scheduler = Scheduler()
    work = with_work(scheduler)
    returned: list[float] = []

    async def first(*, task_status: TaskStatus[None]) -> None:
        await scheduler.run(task_status=task_status)
        returned.append(current_time())

    async with create_task_group() as group:
        await group.start(first)

        async with scheduler:
            scheduler.stop()
            await anyio.sleep(3)
            assert ([], False) == (returned, scheduler.statistics().running)
            await group.start(scheduler.run)
            assert 0 == await (await work.enqueue()).result()
            scheduler.stop()
            await anyio.sleep(3)

    assert [6] == returned


async def test_a_node_whose_opener_is_cancelled_is_stopped_and_told(anysched_backend: Backend, real_time: None) -> None:
    """`run` is a guest: its attempts are handed back, it raises `NotOpen`, bare, and the opener is gone at once.

    Break: the opener waits out its whole grace, and then the node dies of a connection that is closed.
    """
    scheduler = Scheduler(anysched_backend)
    work = with_work(scheduler)
    opened = Event()
    raised: list[BaseException] = []

    async def opener() -> None:
        with scope:
            async with scheduler:
                opened.set()
                await anyio.sleep_forever()

    async def node(*, task_status: TaskStatus[None]) -> None:
        try:
            await scheduler.run(task_status=task_status)
        except NotOpen as error:
            raised.append(error)

    scope = CancelScope()

    with anyio.fail_after(8):
        async with create_task_group() as group:
            group.start_soon(opener)
            await opened.wait()
            await group.start(node)
            run = await work.enqueue(3600)

            while await run.status() != RunStatus.RUNNING:  # noqa: ASYNC110 - it is a node that takes it
                await anyio.sleep(0.01)

            scope.cancel()

    assert 1 == len(raised)
    assert "left behind by whoever opened it" in str(raised[0])

    async with scheduler:
        assert RunStatus.READY == await run.status()
        await assert_nothing_is_left(scheduler.backend, ready=1)


async def test_a_body_keeps_it_open_after_a_stop(anysched_backend: Backend, real_time: None) -> None:
    """`stop` inside `running`: the node ends, what the body asks is answered, and the scheduler can run again."""
    scheduler = Scheduler(anysched_backend)
    work = with_work(scheduler)

    with anyio.fail_after(10):
        async with scheduler.running():
            run = await work.enqueue(0.2)
            await anyio.sleep(0.1)
            scheduler.stop()
            assert 0.2 == await run.result()

            while scheduler.statistics().running:  # noqa: ASYNC110 - nothing says when
                await anyio.sleep(0.01)

            assert RunStatus.SUCCEEDED == await run.status()

            async with scheduler.running():
                assert 0 == await (await work.enqueue()).result()


async def test_a_guest_may_leave_in_the_openers_task() -> None:
    """Whose own leaving that is not: it stays open, and closes when the opener leaves.

    Break: taken for the opener's own, it waits for the guest, who cannot leave any more.
    """
    scheduler = Scheduler()
    work = with_work(scheduler)

    with anyio.fail_after(5):
        async with scheduler:
            async with AsyncExitStack() as entered, create_task_group() as group:
                group.start_soon(entered.enter_async_context, scheduler)

            await work.enqueue()

    with pytest.raises(NotOpen):
        await work.enqueue()


def test_a_scheduler_whose_event_loop_was_closed_is_closed() -> None:
    """Left open in a loop that has ended, it can be opened and run in the next one of the same thread.

    Break: events and connections of the old loop time out, or fail from inside.
    """
    scheduler = Scheduler()
    work = with_work(scheduler)

    async def leave_open() -> None:
        await scheduler.__aenter__()

    async def use() -> None:
        with pytest.raises(NotOpen):
            await work.enqueue()

        async with scheduler.running():
            assert 0 == await (await work.enqueue()).result()

    asyncio.run(leave_open())
    asyncio.run(use())


def test_an_open_scheduler_belongs_to_its_event_loop() -> None:
    """Another one that is run in the same thread, while the first waits to go on, is refused."""
    scheduler = Scheduler()
    work = with_work(scheduler)
    first = asyncio.new_event_loop()

    async def use() -> None:
        for question in (work.enqueue, scheduler.entries, scheduler.run, scheduler.__aenter__):
            with pytest.raises(InvalidState, match=r"open in another event loop: use .* there"):
                await question()

    try:
        first.run_until_complete(scheduler.__aenter__())
        asyncio.run(use())
    finally:
        for task in asyncio.all_tasks(first):
            task.cancel()

        first.run_until_complete(asyncio.sleep(0))
        first.close()
