"""A lifespan that does not open, or is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import anyio
import pytest
from anyio import create_task_group

from anysched import InvalidOption, Scheduler


@pytest.mark.parametrize("how", ["waits", "swallows it", "stops us itself"])
async def test_stop_while_the_lifespan_opens_is_heard(how: str) -> None:
    """It opens for as long as a database does not answer: it is cut short, left, and `run` ends as if it was ready.

    Break: nobody tells the lifespan, and `run` never ends.
    """
    happened: list[str] = []
    opening = anyio.Event()

    @asynccontextmanager
    async def open_pool() -> AsyncGenerator[None]:
        opening.set()

        if how == "stops us itself":
            scheduler.stop()
        else:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                happened.append("cut short")

                if how == "waits":
                    raise

        yield
        happened.append("left")

    scheduler = Scheduler(lifespan=open_pool)

    @scheduler.job
    async def work() -> None:
        happened.append("worked")

    async with scheduler:
        await work.enqueue()

        with anyio.fail_after(60):
            async with create_task_group() as group:
                group.start_soon(group.start, scheduler.run)
                await opening.wait()
                scheduler.stop()

        assert {"waits": ["cut short"], "swallows it": ["cut short", "left"], "stops us itself": ["left"]}[
            how
        ] == happened

        assert (0, 1) == ((await scheduler.backend.totals()).running, (await scheduler.backend.totals()).ready)
        assert [] == await scheduler.backend.list_nodes()


async def test_a_lifespan_that_gives_something_else_is_named() -> None:
    """That is seen no sooner than it is called."""

    @contextmanager
    def open_pool() -> Generator[None]:
        yield

    scheduler = Scheduler(lifespan=cast("Any", open_pool))
    said = (
        "invalid lifespan '.*open_pool': expected a function that gives an async .*; not contextlib._GeneratorContext"
    )

    with pytest.raises(InvalidOption, match=said):
        async with scheduler.running():
            pass

    assert [] == await scheduler.backend.list_nodes()
