"""Services outlive the body that they serve, by a limited time, whatever ends it."""

from __future__ import annotations

import anyio
import pytest
from anyio import TASK_STATUS_IGNORED, Event, create_task_group, current_time
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.runtime.services import Services, open_services

GRACE = 5.0


@define(eq=False)
class Service:
    """A service that notes when it ended, and ends only when it is cancelled, or a second after `closing`."""

    finish_after: float | None = None
    closing: Event | None = None
    ended_at: float | None = None
    ready: Event = field(factory=Event)

    async def run(self, *, task_status: TaskStatus[str] = TASK_STATUS_IGNORED) -> None:
        task_status.started("ready")
        self.ready.set()

        try:
            if self.closing is None or self.finish_after is None:
                await anyio.sleep_forever()
            else:
                await self.closing.wait()
                await anyio.sleep(self.finish_after)
        finally:
            self.ended_at = current_time()


async def test_start_returns_what_the_service_says_when_it_is_ready() -> None:
    """`start` waits for `started()` and gives its value."""
    async with open_services(grace=GRACE) as services:
        assert "ready" == await services.start(Service().run)


async def test_a_cancellation_from_outside_reaches_services_only_after_the_body() -> None:
    """The body takes two shielded seconds to be left: the service goes on for as long, and ends right then.

    Break: without the shield in `_keep` it ends when the cancellation comes.
    """
    service = Service()
    began = current_time()

    with anyio.move_on_after(1):
        async with open_services(grace=GRACE) as services:
            await services.start(service.run)

            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2)

    assert 3.0 == pytest.approx(current_time() - began)
    assert service.ended_at == pytest.approx(began + 3)


async def test_a_finishing_service_ends_first_and_the_others_stay_for_it() -> None:
    """At the end of the body the finishing service takes a second more; the other is cancelled only after that."""
    began = current_time()
    other = Service()

    async with open_services(grace=GRACE) as services:
        finishing = Service(finish_after=1, closing=services.closing)
        await services.start(other.run)
        await services.start(finishing.run, finishes=True)

    assert [began + 1, began + 1] == [finishing.ended_at, other.ended_at]


async def test_closing_takes_no_longer_than_the_grace() -> None:
    """A finishing service that would take an hour is cancelled after the grace.

    Break: without the deadline in `close` the group never ends.
    """
    began = current_time()

    with anyio.fail_after(60):
        async with open_services(grace=GRACE) as services:
            finishing = Service(finish_after=3600, closing=services.closing)
            await services.start(finishing.run, finishes=True)

    assert began + GRACE == finishing.ended_at


async def test_the_grace_holds_when_the_body_is_cancelled() -> None:
    """A cancellation from outside does not cut the grace short, nor make it longer."""
    began = current_time()
    slow, quick = Service(), Service()

    with anyio.move_on_after(1):
        async with open_services(grace=GRACE) as services:
            slow.finish_after, slow.closing = 3600, services.closing
            quick.finish_after, quick.closing = 2, services.closing
            await services.start(slow.run, finishes=True)
            await services.start(quick.run, finishes=True)
            await anyio.sleep_forever()

    assert [began + 3, began + 1 + GRACE] == [quick.ended_at, slow.ended_at]


async def test_a_crashed_service_ends_the_body_and_its_siblings() -> None:
    """Its error leaves the group, the body is cancelled at once, and siblings under their shields within the grace."""
    began = current_time()
    sibling = Service()
    body_ended_at: list[float] = []

    async def crash(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await anyio.sleep(1)
        raise ValueError("broken")

    async def body() -> None:
        async with open_services(grace=GRACE) as services:
            await services.start(sibling.run)
            await services.start(crash)

            try:
                await anyio.sleep_forever()
            finally:
                body_ended_at.append(current_time())

    with anyio.fail_after(60), pytest.RaisesGroup(ValueError):
        await body()

    assert [began + 1] == body_ended_at
    assert sibling.ended_at is not None and sibling.ended_at <= began + 1 + GRACE


async def test_an_error_before_it_is_ready_reaches_whoever_starts_it() -> None:
    """A service that fails to start fails the `start`, not the group."""

    async def fail(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        await anyio.sleep(1)
        raise ConnectionError("refused")

    async with open_services(grace=GRACE) as services:
        with pytest.raises(ConnectionError, match="refused"):
            await services.start(fail)


async def test_a_service_that_never_gets_ready_can_be_cancelled() -> None:
    """There is no shield before `started()`: nothing leans on it yet, and there is no limit to what it waits for.

    Break: a shield from the start makes whoever cancels the start wait as long as the service likes.
    """
    began = current_time()

    async def never(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        await anyio.sleep(3600)

    with anyio.move_on_after(1):
        async with open_services(grace=GRACE) as services:
            await services.start(never)

    assert 1.0 == pytest.approx(current_time() - began)


async def test_a_service_that_gets_ready_too_late_ends_with_whoever_started_it() -> None:
    """Cancelled while it got ready, which it did not let itself be kept from: it ends right then.

    Break: a shield from then on would keep it, and whoever waits for it, for ever.
    """
    began = current_time()

    async def late(*, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)

        task_status.started()
        await anyio.sleep_forever()

    with anyio.fail_after(60):
        with anyio.move_on_after(1):
            async with open_services(grace=GRACE) as services:
                await services.start(late)

    assert 2.0 == pytest.approx(current_time() - began)


async def test_a_service_started_in_a_closing_group_ends_at_once() -> None:
    """Nothing is started when the group is closing already."""
    began = current_time()
    late = Service()

    async with create_task_group() as outside, open_services(grace=GRACE) as services:
        finishing = Service(finish_after=2, closing=services.closing)
        await services.start(finishing.run, finishes=True)

        async def start_late(services: Services) -> None:
            await services.closing.wait()
            await anyio.sleep(1)
            await services.start(late.run)

        outside.start_soon(start_late, services)

    assert began + 1 == late.ended_at


async def test_a_native_cancel_of_the_host_does_not_pierce_the_services(loop_name: str) -> None:
    """`Task.cancel()` of the host, once in the body and once while it closes: the finishing service finishes.

    Break: waiting for the services in the host itself, under a shield, ends at the native cancel.
    """
    if loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    import asyncio

    began = current_time()
    made: list[Service] = []

    async def host() -> None:
        async with open_services(grace=GRACE) as services:
            service = Service(finish_after=2, closing=services.closing)
            made.append(service)
            await services.start(service.run, finishes=True)
            await anyio.sleep_forever()

    task = asyncio.ensure_future(host())
    await anyio.sleep(1)
    task.cancel()
    await anyio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert began + 3 == made[0].ended_at


async def test_a_native_cancel_of_the_host_in_the_moment_in_which_a_service_becomes_ready(loop_name: str) -> None:
    """`Task.cancel()` of the host at any time while it starts a service: both end.

    Break: shielded as soon as it says that it is ready, the service outlasts its start, whose end waits for it.
    """
    if loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    import asyncio

    async def host() -> None:
        async with open_services(grace=GRACE) as services:
            await services.start(Service().run)
            await anyio.sleep_forever()

    for passes in range(6):
        task = asyncio.ensure_future(host())

        for _ in range(passes):
            await anyio.lowlevel.checkpoint()

        task.cancel()
        await asyncio.wait([task], timeout=GRACE + 1)
        assert task.cancelled()
