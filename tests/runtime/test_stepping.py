"""A coroutine that is run step by step behaves as if it had a task and a context of its own."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Generator

import anyio
import pytest
from anyio import create_task_group
from anyio.lowlevel import checkpoint

from anysched.runtime.stepping import step_through

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Suspension:
    """A bare one, which needs no event loop."""

    def __await__(self) -> Generator[None]:
        yield


def nothing() -> None:
    return


async def test_what_it_sets_stays_in_its_context() -> None:
    """Each coroutine sees its own values before and after every suspension; outside nothing is seen of them.

    Break: awaiting the coroutine directly leaks its value into whoever comes next.
    """
    seen: list[str] = []

    async def handler(name: str) -> None:
        seen.append(colour.get())
        colour.set(name)
        await checkpoint()
        seen.append(colour.get())
        await anyio.sleep(1)
        seen.append(colour.get())

    base = contextvars.copy_context()

    for name in ("red", "blue"):
        await step_through(handler(name), base.copy(), nothing)
        assert "none" == colour.get()

    assert ["none", "red", "red", "none", "blue", "blue"] == seen


async def test_what_it_starts_inherits_its_context() -> None:
    """Tasks, threads and async generators that a coroutine uses run in the context that it has."""
    seen: list[str] = []

    async def child() -> None:
        await checkpoint()
        seen.append(colour.get())

    async def generate() -> AsyncGenerator[str]:
        await checkpoint()
        yield colour.get()

    async def handler() -> None:
        colour.set("green")

        async with create_task_group() as children:
            children.start_soon(child)

        seen.append(await anyio.to_thread.run_sync(colour.get))

        seen.extend([value async for value in generate()])

    await step_through(handler(), contextvars.copy_context(), nothing)
    assert ["green"] * 3 == seen
    assert "none" == colour.get()


async def test_it_returns_and_raises_what_the_coroutine_does() -> None:
    """A value is returned and an exception passed on as it is, before and after the first suspension."""

    async def returns(suspends: bool) -> int:
        if suspends:
            await checkpoint()

        return 7

    async def raises(suspends: bool) -> None:
        if suspends:
            await checkpoint()

        raise KeyError("lost")

    for suspends in (False, True):
        assert 7 == await step_through(returns(suspends), contextvars.copy_context(), nothing)

        with pytest.raises(KeyError, match="lost"):
            await step_through(raises(suspends), contextvars.copy_context(), nothing)


@pytest.mark.parametrize("suspensions", [0, 1, 3])
async def test_the_first_suspension_is_told_once(suspensions: int) -> None:
    """`on_suspend` is called at the first suspension, and never if there is none."""
    told: list[int] = []

    async def handler() -> None:
        for _ in range(suspensions):
            await checkpoint()

    await step_through(handler(), contextvars.copy_context(), lambda: told.append(1))
    assert min(suspensions, 1) == len(told)


async def test_cancellation_is_thrown_into_it() -> None:
    """Its `finally` runs in its own context, and the cancellation goes on to the scope that it belongs to."""
    seen: list[str] = []

    async def handler() -> None:
        colour.set("black")

        try:
            await anyio.sleep_forever()
        finally:
            seen.append(colour.get())

    with anyio.move_on_after(1) as scope:
        await step_through(handler(), contextvars.copy_context(), nothing)

    assert scope.cancelled_caught
    assert ["black"] == seen


async def test_a_scope_inside_it_is_its_own_business() -> None:
    """Time limits that a coroutine sets for itself work as they do elsewhere."""

    async def handler() -> str:
        with anyio.move_on_after(1):
            await anyio.sleep_forever()

        return "went on"

    assert "went on" == await step_through(handler(), contextvars.copy_context(), nothing)


def test_it_is_closed_when_the_wait_is_given_up() -> None:
    """A stepped coroutine whose own awaitable is closed runs its `finally`."""
    seen: list[str] = []

    async def handler() -> None:
        try:
            await Suspension()
        finally:
            seen.append("closed")

    steps = step_through(handler(), contextvars.copy_context(), nothing)
    next(steps)
    steps.close()
    assert ["closed"] == seen
