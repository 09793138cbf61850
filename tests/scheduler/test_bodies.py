"""What the body of `running` raises, beside a cancellation and beside what the node raises."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import create_task_group, current_time

from anysched import Scheduler


async def test_the_error_of_a_body_wins_over_a_cancellation() -> None:
    """A body that is cancelled from outside and raises: what it raised leaves `running`, also from a group of its own.

    Break: raised after a task group that has been cancelled, it is lost, and the program goes on.
    """

    async def clean_up(error: BaseException) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    for error in (ValueError("mine"), KeyboardInterrupt()):
        scheduler = Scheduler()

        with pytest.raises(type(error)) as raised, anyio.move_on_after(1):
            async with scheduler.running():
                await clean_up(error)

        assert error is raised.value

        with pytest.raises(type(error)) as raised, anyio.move_on_after(1):
            async with scheduler, scheduler.running():
                await clean_up(error)

        assert error is raised.value
        assert not scheduler.statistics().running

    scheduler = Scheduler()

    with pytest.RaisesGroup(ValueError), anyio.move_on_after(1):
        async with scheduler.running(), create_task_group() as group:
            group.start_soon(clean_up, ValueError("mine"))
            group.start_soon(anyio.sleep_forever)

    assert not scheduler.statistics().running


@pytest.mark.parametrize("crashes", [True, False])
async def test_the_error_of_a_body_and_that_of_a_node_are_both_seen(crashes: bool) -> None:
    """The lifespan fails, by itself or when it is left, and so does the body: a group of both.

    Break: of the two one is raised, and the other lost.
    """

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        try:
            async with create_task_group() as group:
                if crashes:
                    group.start_soon(fail)

                yield
        finally:
            if not crashes:
                raise LookupError("cannot close")

    async def fail() -> None:
        await anyio.sleep(1)
        raise LookupError("crashed")

    scheduler = Scheduler(lifespan=lifespan)

    with pytest.RaisesGroup(ValueError, LookupError, flatten_subgroups=True):
        async with scheduler.running():
            try:
                await anyio.sleep(2)
            finally:
                raise ValueError("mine")  # also while the node's crash cancels it

    assert (1 if crashes else 2) == current_time()
    assert not scheduler.statistics().running
