"""Jobs that misbehave: each harms its own run, is reported as what it was, and the node goes on."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from anyio import create_task_group

from anysched import (
    Executor,
    MemoryBackend,
    RetryAfter,
    RetryPolicy,
    RunFailed,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.config import ErrorContext
from anysched.events import CancellationSwallowed, Event, RunGaveUp
from anysched.testing import virtual_time

ONCE = RetryPolicy(max_retries=0)


class Unspeakable(Exception):
    """Neither its text nor its representation can be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Strange(BaseException):
    pass


class Leaving(Exception):
    """Whoever asks for its text leaves the program."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Immutable(Exception):
    def with_traceback(self, tb: object) -> Any:
        raise TypeError("immutable")


class Empty(Exception):
    def __len__(self) -> int:
        return 0


class Careless(RetryAfter):
    """It never came by the `__init__` that sets a delay."""

    def __init__(self, who: str) -> None:
        Exception.__init__(self, f"{who} is busy")


class Unclassed(type):
    """Of a class of this kind there is no module to be had."""

    @property
    def __module__(cls) -> str:  # type: ignore[override] - a class that lies
        raise LookupError("no module")


Moduleless = Unclassed("Moduleless", (Exception,), {})


class Unsplit(BaseExceptionGroup[BaseException]):
    def derive(self, excs: Any, /) -> Any:
        raise TypeError("stays whole")


def delayed_by(delay: Any) -> RetryAfter:
    error = RetryAfter("1s")
    error.delay = delay
    return error


def nested(depth: int) -> Exception:
    error: Exception = ValueError("innermost")

    for _ in range(depth):
        error = ExceptionGroup("nested", [error])

    return error


def recurse() -> None:
    recurse()


async def deep_recursion() -> None:
    recurse()


def raises(error: Callable[[], BaseException]) -> Callable[[], Any]:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise error()

    return fail


async def failing_children() -> None:
    async def child(name: str) -> None:
        await anyio.sleep(0.1)
        raise ValueError(name)

    async with create_task_group() as children:
        children.start_soon(child, "a")
        children.start_soon(child, "b")


async def groups_what_was_cancelled() -> None:
    """As whoever gathers what its children ended with, one of which was cancelled."""
    ends: list[BaseException] = [ValueError("v")]

    with anyio.CancelScope() as scope:
        scope.cancel()

        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as end:  # noqa: BLE001, ASYNC103 - to look at it; the scope is left at once
            ends.append(end)

    raise BaseExceptionGroup("both", ends)


async def returns_lock() -> Any:
    return anyio.Lock()


async def returns_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


async def returns_much() -> str:
    return "x" * 100_000_000


async def raises_much() -> None:
    raise ValueError("y" * 100_000_000)


async def stops_iteration() -> None:
    raise StopIteration(1)


async def exits_generator() -> None:
    raise GeneratorExit


def exits_generator_in_a_thread() -> None:
    raise GeneratorExit


HOSTILE: dict[str, tuple[Callable[..., Any], str, str]] = {
    "error": (raises(lambda: ValueError("no")), "builtins.ValueError", "no"),
    "unspeakable": (raises(Unspeakable), "Unspeakable", "str() raised"),
    "base exception": (raises(lambda: Strange("odd")), "Strange", "odd"),
    "system exit": (raises(lambda: SystemExit(3)), "builtins.SystemExit", "3"),
    "sys.exit in a thread": (lambda: sys.exit("bye"), "builtins.SystemExit", "bye"),
    "exception group": (failing_children, "builtins.ExceptionGroup", "sub-exception"),
    "base exception group": (
        raises(lambda: BaseExceptionGroup("both", [ValueError("v"), SystemExit(1)])),
        "builtins.BaseExceptionGroup",
        "2 sub-exceptions",
    ),
    "cancellation in a group": (groups_what_was_cancelled, "builtins.BaseExceptionGroup", "2 sub-exceptions"),
    "stop iteration": (stops_iteration, "builtins.RuntimeError", "StopIteration"),
    "generator exit": (exits_generator, "builtins.GeneratorExit", ""),
    "generator exit in a thread": (exits_generator_in_a_thread, "builtins.GeneratorExit", ""),
    "recursion": (deep_recursion, "builtins.RecursionError", "recursion"),
    "recursion in a thread": (recurse, "builtins.RecursionError", "recursion"),
    "unencodable result": (returns_lock, "anysched.errors.CannotEncode", "result"),
    "endless result": (returns_itself, "anysched.errors.CannotEncode", "result"),
    "large result": (returns_much, "anysched.errors.PayloadTooLarge", "max_payload"),
    "large error": (raises_much, "builtins.ValueError", "[cut]"),
    "leaves when asked": (raises(Leaving), "Leaving", "str() raised SystemExit"),
    "immutable": (raises(lambda: Immutable("as it is")), "Immutable", "as it is"),
    "empty": (raises(lambda: Empty("but an error")), "Empty", "but an error"),
    "never had a delay": (raises(lambda: Careless("the shop")), "Careless", "the shop is busy"),
    "a number for a delay": (raises(lambda: delayed_by(5)), "anysched.retry.RetryAfter", "after 1s"),
    "a delay backwards": (raises(lambda: delayed_by(timedelta(-1))), "anysched.retry.RetryAfter", "after 1s"),
    "without a module": (raises(Moduleless), "cannot be had: LookupError)", ""),
    "a thousand groups": (raises(lambda: nested(1000)), "builtins.ExceptionGroup", "nested"),
    "does not split": (raises(lambda: Unsplit("whole", [SystemExit(1)])), "Unsplit", "whole"),
    "no such argument": (raises(TypeError), "builtins.TypeError", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_job_harms_its_own_run_alone(name: str) -> None:
    """Whatever it raises or returns, its run fails with that, attempts beside it go on, and so does the node.

    Break: catching `Exception` alone lets `SystemExit` of one job take the node down.
    """
    function, type_, message = HOSTILE[name]
    errors: list[tuple[Exception, ErrorContext]] = []
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: errors.append((error, context))))
    job = scheduler.job(name="hostile", retry=ONCE)(function)

    @scheduler.job
    async def innocent(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "fine"

    async with scheduler.running():
        before = await innocent.enqueue(1)
        run = await job.enqueue()

        with pytest.raises(RunFailed) as caught:
            await run.result()

        assert caught.value.error.type.endswith(type_)
        assert message in caught.value.error.message
        assert len(caught.value.error.message) <= 4096
        assert "fine" == await before.result()
        assert "fine" == await (await innocent.enqueue(0)).result()
        assert 0 == scheduler.statistics().executor.busy

    # The error handler is for exceptions; what is none is on record with the run.
    assert all(("hostile", run.id, 1) == (context.job, context.run_id, context.attempt) for _, context in errors)


@pytest.mark.parametrize("name", HOSTILE)
async def test_without_an_error_handler_it_is_written_down(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also what logging itself fails on; with retries, and where an observer wants to know.

    Break: logging lets the RecursionError of a deeply nested group through, and that takes the node down.
    """
    function, type_, _ = HOSTILE[name]
    seen: list[Event] = []

    class Observer:
        def on_event(self, event: Event) -> None:
            seen.append(event)

    scheduler = Scheduler(observers=[Observer()])
    job = scheduler.job(name="hostile", retry=RetryPolicy(max_retries=1, initial=0))(function)

    async with scheduler.running():
        with pytest.raises(RunFailed) as caught:
            await (await job.enqueue()).result()

    assert caught.value.error.type.endswith(type_)
    assert 1 == sum(isinstance(event, RunGaveUp) for event in seen)


async def test_what_breaks_the_judging_of_an_attempt_fails_its_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is. Nobody knows all that a class can do.

    Break: it takes the node down, and then every other that takes the run.
    """

    def odd(*_: object) -> str:
        raise LookupError("nobody thought of that")

    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))

    @scheduler.job(retry=ONCE)
    async def fail() -> None:
        raise ValueError("no")

    @scheduler.job
    async def innocent() -> str:
        return "fine"

    async with scheduler.running():
        with monkeypatch.context() as patching:
            patching.setattr("anysched.runtime.judging.Judge._failed", odd)

            with pytest.raises(RunFailed, match="LookupError: nobody thought of that"):
                await (await fail.enqueue()).result()

        assert "fine" == await (await innocent.enqueue()).result()


async def test_a_cancellation_that_is_nobodys_fails_the_run(loop_name: str) -> None:
    """On asyncio `await` of something cancelled raises `CancelledError` in whoever awaits: that is the run's own error.

    Break: taking it for our own ends the slots, and the node goes on claiming without ever beginning anything.
    """
    if loop_name == "trio":
        pytest.skip("Trio has no such thing")

    import asyncio

    scheduler = Scheduler(executor=Executor(max_concurrent=2))

    @scheduler.job(retry=ONCE)
    async def awaits_cancelled() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    @scheduler.job(retry=ONCE)
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(1)

    @scheduler.job
    async def leaves_it_behind() -> str:
        # Long enough for the slot to let others run before it goes on.
        await anyio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    @scheduler.job
    async def innocent(number: int) -> int:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.1))

        return number

    async with scheduler.running():
        with anyio.fail_after(30):
            for job in (awaits_cancelled, cancels_itself, awaits_cancelled):
                with pytest.raises(RunFailed, match="CancelledError"):
                    await (await job.enqueue()).result()

            for _ in range(3):
                assert "done" == await (await leaves_it_behind.enqueue()).result()

            runs = await scheduler.enqueue(*[innocent.bind(number) for number in range(10)])
            assert list(range(10)) == [await run.result() for run in runs]


async def test_a_handler_that_swallows_cancellation_is_told_of() -> None:
    """It outlives its time limit: what it does then counts, others go on, and observers learn its name."""
    seen: list[Event] = []

    class Observer:
        def on_event(self, event: Event) -> None:
            seen.append(event)

    scheduler = Scheduler(observers=[Observer()], config=SchedulerConfig(on_error=lambda error, context: None))

    @scheduler.job(timeout="1s", retry=ONCE)
    async def stubborn(then: str) -> str:
        with contextlib.suppress(BaseException):
            await anyio.sleep(60)

        if then == "raise":
            raise ValueError("late")

        return then

    async with scheduler.running():
        assert "value" == await (await stubborn.enqueue("value")).result()

        with pytest.raises(RunFailed, match="late"):
            await (await stubborn.enqueue("raise")).result()

    assert 2 == sum(isinstance(event, CancellationSwallowed) for event in seen)


async def test_a_handler_that_goes_on_in_a_shield_keeps_its_slot() -> None:
    """Cancelled at its time limit, it takes ten seconds more: its slot is free only then.

    Break: freeing it at the limit would run more at once than allowed.
    """
    scheduler = Scheduler(executor=Executor(max_concurrent=1), config=SchedulerConfig(on_error=lambda e, c: None))
    began = anyio.current_time()

    @scheduler.job(timeout="1s", retry=ONCE)
    async def slow_to_leave() -> None:
        try:
            await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)

    @scheduler.job
    async def next_one() -> float:
        return anyio.current_time() - began

    async with scheduler.running():
        run = await slow_to_leave.enqueue()
        assert 11 == await (await next_one.enqueue()).result()

        with pytest.raises(RunFailed, match="time limit"):
            await run.result()


async def test_a_job_that_blocks_the_loop_beyond_the_lease_harms_nobody_else(real_time: None) -> None:
    """Alone on the backend its lease is renewed late and nothing is lost: it and its neighbour are run to their end."""
    scheduler = Scheduler(config=SchedulerConfig(lease="1s"))

    @scheduler.job
    async def blocks() -> int:
        if current_run().attempt == 1 and not blocked:
            blocked.append(1)
            time.sleep(1.2)  # noqa: ASYNC251 - that is what it does

        return 1

    blocked: list[int] = []

    @scheduler.job
    async def neighbour() -> int:
        calls.append(current_run().attempt)
        await anyio.sleep(0.3)
        return 2

    calls: list[int] = []

    async with scheduler.running():
        first, second = await neighbour.enqueue(), await blocks.enqueue()
        assert [2, 1] == [await first.result(), await second.result()]
        statistics = scheduler.statistics()
        assert (True, 0) == (statistics.trusted, statistics.executor.busy)

    # What ran beside it was not to be trusted any more, and was begun again, its attempt refunded.
    assert {1} == set(calls)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_keyboard_interrupt_is_not_the_runs(loop: Literal["asyncio", "trio"]) -> None:
    """It means the process: it leaves the event loop, and the run comes back, at once or when the lease has run out.

    Trio unwinds what was interrupted, and the run is handed back. asyncio leaves its loop at once and tears down all
    tasks natively, through every shield, so that there the lease has to be enough.
    """
    # A store that others could have, so that the lease is that of everyday.
    scheduler = Scheduler(MemoryBackend())
    begun: list[int] = []

    @scheduler.job
    async def interrupted() -> str:
        begun.append(current_run().attempt)

        if len(begun) == 1:
            raise KeyboardInterrupt

        return "done"

    async def main() -> None:
        async with scheduler.running():
            await interrupted.options(run_id="r").enqueue()
            await anyio.sleep_forever()

    async def again() -> tuple[str, float]:
        async with scheduler.running():
            return await (await scheduler.get_run("r")).result(), anyio.current_time()

    with pytest.raises(KeyboardInterrupt):
        virtual_time(main, backend=loop)

    result, seconds = virtual_time(again, backend=loop)
    assert "done" == result
    assert seconds <= (0 if loop == "trio" else 16.001)
    assert [1, 1] == begun


async def test_context_variables_do_not_leak_from_one_attempt_to_the_next() -> None:
    """Each attempt starts from the application's context, whoever ran in the slot before it."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    scheduler = Scheduler(executor=Executor(max_concurrent=1))
    seen: list[str] = []

    @scheduler.job
    async def work(name: str) -> None:
        seen.append(tenant.get())
        tenant.set(name)
        await anyio.lowlevel.checkpoint()
        seen.append(tenant.get())

    tenant.set("application")

    async with scheduler.running():
        tenant.set("body")

        for name in ("a", "b"):
            await (await work.enqueue(name)).result()

    assert ["application", "a", "application", "b"] == seen


async def test_what_a_job_leaves_running_in_its_own_group_ends_with_it() -> None:
    """A handler's task group is its own: at its time limit its children are cancelled before the slot is free."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    ended: list[float] = []

    async def child() -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(anyio.current_time())

    @scheduler.job(timeout="2s", retry=ONCE)
    async def parent() -> None:
        async with create_task_group() as children:
            for _ in range(3):
                children.start_soon(child)

    async with scheduler.running():
        with pytest.raises(RunFailed, match="time limit"):
            await (await parent.enqueue()).result()

    assert [2, 2, 2] == ended


async def test_what_a_job_leaves_behind_to_cancel_its_task_ends_a_slot_only(loop_name: str) -> None:
    """The node is idle when it strikes, and carries out what comes next.

    Break: the slot that waits takes the executor with it; the node keeps its lease, and begins nothing any more.
    """
    if loop_name == "trio":
        pytest.skip("Trio has no such thing")

    import asyncio

    scheduler = Scheduler()

    @scheduler.job
    async def leaves_a_timer() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.5, task.cancel)

    async with scheduler.running():
        with anyio.fail_after(30):
            for _ in range(3):
                await (await leaves_a_timer.enqueue()).result()
                await anyio.sleep(1)


class Heavy:
    """A file, say, or a table."""


async def test_an_idle_node_holds_nothing_of_its_attempts() -> None:
    """Neither what they returned nor what they failed with, whose traceback holds all their variables.

    Break: the slot that waits for work keeps the last attempt, and its first for as long as it lives.
    """
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    alive: list[weakref.ref[Heavy]] = []

    @scheduler.job(retry=ONCE)
    async def fails() -> None:
        heavy = Heavy()
        alive.append(weakref.ref(heavy))
        raise ValueError

    async with scheduler.running():
        with anyio.fail_after(30):
            for _ in range(2):
                with pytest.raises(RunFailed):
                    await (await fails.enqueue()).result()

                await anyio.sleep(1)

        gc.collect()
        assert [None, None] == [reference() for reference in alive]
