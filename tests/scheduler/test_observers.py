"""What observers and the error handler are told, and that neither can do harm."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import BackendUnavailable, ErrorContext, MemoryBackend, RetryPolicy, RunFailed, Scheduler, SchedulerConfig
from anysched import Snooze as Later
from anysched.clock import now
from anysched.events import AttemptFailed, Event, RunSnoozed, RunSucceeded
from anysched.runtime.telling import Teller

START = datetime(2026, 1, 1, tzinfo=UTC)


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def names(self, *, of: str = "Run Attempt Cancellation") -> list[str]:
        return [name for one in self.events if (name := type(one).__name__).startswith(tuple(of.split()))]

    def when(self, kind: type[Event]) -> list[float]:
        return [(one.at - START).total_seconds() for one in self.events if isinstance(one, kind)]


async def test_observers_see_the_life_of_a_run() -> None:
    """Enqueued, started, failed with its delay, snoozed, succeeded with its duration; each dated by the backend."""
    recorder = Recorder()
    config = SchedulerConfig(on_error=lambda error, context: None)
    scheduler = Scheduler(observers=[recorder, Recorder()], config=config)
    calls: list[int] = []

    @scheduler.job(retry=RetryPolicy(initial="10s"))
    async def work() -> None:
        calls.append(1)
        await anyio.sleep(2)

        if len(calls) == 1:
            raise ValueError("first")

        if len(calls) == 2:
            raise Later("30s")

    async with scheduler.running():
        run = await work.enqueue()
        await anyio.sleep(1)
        assert run == await work.options(run_id=run.id).enqueue()
        await run.result()

    assert [
        *("RunEnqueued", "RunStarted", "RunEnqueued", "AttemptFailed", "RunStarted", "RunSnoozed"),
        *("RunStarted", "RunSucceeded"),
    ] == recorder.names()
    assert ([2], [14], [46]) == tuple(map(recorder.when, (AttemptFailed, RunSnoozed, RunSucceeded)))
    failed = next(one for one in recorder.events if isinstance(one, AttemptFailed))
    assert ("first", timedelta(seconds=10)) == (failed.error.message, failed.retry_in)
    succeeded = next(one for one in recorder.events if isinstance(one, RunSucceeded))
    assert (timedelta(seconds=2), 2) == (succeeded.duration, succeeded.attempt)
    assert [True, False] == [one.created for one in recorder.events if type(one).__name__ == "RunEnqueued"]


async def test_observers_see_every_other_ending() -> None:
    """Gave up, cancelled while running, handed back at a stop."""
    recorder = Recorder()
    config = SchedulerConfig(on_error=lambda error, context: None, shutdown_timeout=0)
    scheduler = Scheduler(observers=[recorder], config=config)

    @scheduler.job(retry=RetryPolicy(max_retries=0))
    async def work(fails: bool) -> None:
        await anyio.sleep(1)

        if fails:
            raise ValueError

        await anyio.sleep(3600)

    async with scheduler.running():
        await work.enqueue(True)
        cancelled = await work.enqueue(False)
        await anyio.sleep(2)
        await cancelled.cancel()
        await work.enqueue(False)
        await anyio.sleep(2)

    endings = [name for name in recorder.names() if name not in ("RunEnqueued", "RunStarted")]
    assert ["RunGaveUp", "RunWasCancelled", "RunHandedBack"] == endings


async def test_observers_see_the_node_and_its_entries() -> None:
    """Joined, leading, firing, skipping, not leading any more, left; each at its own time, the first one too."""
    recorder = Recorder()
    scheduler = Scheduler(observers=[recorder], config=SchedulerConfig(shutdown_timeout=0))

    @scheduler.every("10s", id="e")
    async def slow() -> None:
        await anyio.sleep(15)

    async with scheduler.running():
        await anyio.sleep(24)

    told = [(type(one).__name__, (one.at - START).total_seconds()) for one in recorder.events]
    assert [
        *(("NodeJoined", 0), ("BecameLeader", 0), ("EntryFired", 10), ("RunStarted", 10), ("FireSkipped", 20)),
        *(("StoppedLeading", 24), ("RunHandedBack", 24), ("NodeLeft", 24)),
    ] == told


async def test_expired_runs_are_told() -> None:
    """How many, by the node that noticed when it looked for work."""
    recorder = Recorder()
    scheduler = Scheduler(MemoryBackend(), observers=[recorder], config=SchedulerConfig(lease="1h", tick_interval="4s"))

    @scheduler.job(expires="1s")
    async def work() -> None: ...

    async with scheduler.running():
        await scheduler.pause_queue("default")
        await scheduler.enqueue(*[work.bind() for _ in range(3)])
        await anyio.sleep(10)
        assert 3 == (await scheduler.totals()).expired

    assert 3 == sum(getattr(one, "count", 0) for one in recorder.events if type(one).__name__ == "RunsExpired")


async def test_an_observer_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, the others are told all the same, and the work goes on."""

    class Broken:
        def on_event(self, event: Event) -> None:
            raise ZeroDivisionError

    recorder = Recorder()
    scheduler = Scheduler(observers=[Broken(), recorder])

    @scheduler.job
    async def work() -> int:
        return 1

    async with scheduler.running():
        assert 1 == await (await work.enqueue()).result()

    assert ["RunEnqueued", "RunStarted", "RunSucceeded"] == recorder.names()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_the_error_handler_sees_each_failed_attempt(is_async: bool) -> None:
    """With its context; an asynchronous one is awaited, also for what fails at the very end."""
    seen: list[tuple[str, ErrorContext]] = []

    def handle(error: Exception, context: ErrorContext) -> Any:
        if not is_async:
            seen.append((str(error), context))
            return None

        async def note() -> None:
            await anyio.sleep(0.5)
            seen.append((str(error), context))

        return note()

    scheduler = Scheduler(config=SchedulerConfig(on_error=handle))

    @scheduler.job(name="fail", retry=RetryPolicy(max_retries=2, initial=0))
    async def fail() -> None:
        raise ValueError("no")

    async with scheduler.running():
        run = await fail.enqueue()

        with pytest.raises(RunFailed):
            await run.result()

    assert [("no", "handler", "fail", run.id, attempt) for attempt in (1, 2, 3)] == [
        (said, context.kind, context.job, context.run_id, context.attempt) for said, context in seen
    ]


async def test_an_error_handler_that_fails_or_hangs_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged; one that never returns costs two seconds at the end, and what it left is logged."""

    async def raises(error: Exception, context: ErrorContext) -> None:
        raise ZeroDivisionError

    async def hangs(error: Exception, context: ErrorContext) -> None:
        await anyio.sleep_forever()

    def raises_at_once(error: Exception, context: ErrorContext) -> None:
        raise ZeroDivisionError

    for handle, expected in ((raises, "ZeroDivisionError"), (hangs, "stopped before"), (raises_at_once, "ZeroDiv")):
        caplog.clear()
        scheduler = Scheduler(config=SchedulerConfig(on_error=handle))

        @scheduler.job(retry=RetryPolicy(max_retries=2, initial=0))
        async def fail() -> None:
            raise ValueError("no")

        began = anyio.current_time()

        async with scheduler.running():
            with pytest.raises(RunFailed):
                await (await fail.enqueue()).result()

        assert anyio.current_time() - began <= 2
        assert expected in caplog.text


async def test_a_group_with_an_interrupt_in_it_passes() -> None:
    """Through an observer and a handler: who presses Ctrl-C means the program.

    Break: it is logged as something that an observer has raised.
    """

    def be_interrupted(*told: object) -> None:
        raise BaseExceptionGroup("children", [ZeroDivisionError(), KeyboardInterrupt()])

    class Observer:
        on_event = staticmethod(be_interrupted)

    lines: list[str] = []
    teller = Teller(log=lambda line, error: lines.append(line), observers=(Observer(),), on_error=be_interrupted)

    for tell in (lambda: teller.tell(Event(at=now())), lambda: teller.report(ValueError(), ErrorContext(kind="tick"))):
        with pytest.RaisesGroup(ZeroDivisionError, KeyboardInterrupt):
            tell()

    assert [] == lines


@pytest.mark.parametrize("who", ["async handler", "handler", "observer"])
async def test_a_group_with_a_cancellation_in_it_ends_nobody_who_is_told(
    who: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As of what children have ended with, one of which was cancelled: it is logged.

    Break: letting pass whatever is a group, it takes the node down.
    """
    ends: list[BaseException] = [ZeroDivisionError()]

    with anyio.CancelScope() as scope:
        scope.cancel()

        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as end:
            ends.append(end)
            raise

    def fail_if(this: str) -> None:
        if who == this:
            raise BaseExceptionGroup("children", ends)

    async def handle_later() -> None:
        fail_if("async handler")

    def handle(error: Exception, context: ErrorContext) -> Any:
        fail_if("handler")
        return handle_later()

    class Observer:
        def on_event(self, event: Event) -> None:
            fail_if("observer")

    scheduler = Scheduler(config=SchedulerConfig(on_error=handle), observers=[Observer()])

    @scheduler.job(retry=RetryPolicy(max_retries=0))
    async def fail() -> None:
        raise ValueError

    async with scheduler.running():
        for _ in range(2):
            with pytest.raises(RunFailed):
                await (await fail.enqueue()).result()

            await anyio.sleep(1)

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("who", ["async handler", "handler", "observer"])
async def test_a_cancellation_that_is_nobodys_ends_nobody_who_is_told(
    who: str, loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On asyncio whatever somebody has cancelled raises `CancelledError` in whoever looks at it: it is logged.

    Break: taken for our own it ends the task that awaits error handlers, and all later errors vanish.
    """
    if loop_name == "trio":
        pytest.skip("Trio has no such thing")

    import asyncio

    told: list[str] = []

    def look() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        future.result()

    async def handle_later(error: Exception, context: ErrorContext) -> None:
        told.append(str(error))
        look()

    def handle(error: Exception, context: ErrorContext) -> None:
        told.append(str(error))

        if who == "handler":
            look()

    class Observer:
        def on_event(self, event: Event) -> None:
            if who == "observer":
                look()

    config = SchedulerConfig(on_error=handle_later if who == "async handler" else handle)
    scheduler = Scheduler(config=config, observers=[Observer()])

    @scheduler.job(retry=RetryPolicy(max_retries=0))
    async def fail(number: int) -> None:
        raise ValueError(number)

    async with scheduler.running():
        for number in range(3):
            with pytest.raises(RunFailed):
                await (await fail.enqueue(number)).result()

            await anyio.sleep(1)

    assert ["0", "1", "2"] == told
    assert "CancelledError" in caplog.text


async def test_without_a_handler_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """By the `anysched` logger, with the traceback and where it happened."""
    scheduler = Scheduler()

    @scheduler.job(name="fail", retry=RetryPolicy(max_retries=0))
    async def fail() -> None:
        raise ValueError("so it is")

    async with scheduler.running():
        with pytest.raises(RunFailed):
            await (await fail.enqueue()).result()

    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "anysched" == record.name
    assert "job=fail" in record.message
    assert "so it is" in caplog.text


class Failing(MemoryBackend):
    """Every operation fails while it is down."""

    __slots__ = ("down",)

    def __init__(self) -> None:
        super().__init__()
        self.down = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)

        if name.startswith("_") or name in ("down", "run", "listen"):
            return found

        async def ask(*args: Any, **kwargs: Any) -> Any:
            if self.down:
                await anyio.lowlevel.checkpoint()
                raise BackendUnavailable("down")

            return await found(*args, **kwargs)

        return ask


async def test_an_outage_is_told_once_and_waited_out() -> None:
    """A minute without the backend: enqueueing fails in the caller and is reported; what ended is settled after."""
    recorder = Recorder()
    errors: list[str] = []
    backend = Failing()
    config = SchedulerConfig(lease="5m", on_error=lambda error, context: errors.append(context.kind))
    scheduler = Scheduler(backend, observers=[recorder], config=config)

    @scheduler.job
    async def work(seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    async with scheduler.running():
        run = await work.enqueue(30)
        await anyio.sleep(1)
        backend.down = True

        with pytest.raises(BackendUnavailable):
            await work.enqueue(1)

        await anyio.sleep(60)
        backend.down = False
        assert 30 == await run.result()
        assert 2 == await (await work.enqueue(2)).result()
        assert 1 == (await run.info()).attempt

    assert ["BackendLost", "BackendFound"] == recorder.names(of="Backend")
    assert ["enqueue", "backend"] == errors


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "graceful"])
async def test_a_stop_while_the_backend_is_away_is_bounded(fast: bool) -> None:
    """What cannot be settled is left to the lease: the stop takes seconds, not as long as the outage.

    Break: without a limit to the shield of the services it never ends.
    """
    backend = Failing()
    scheduler = Scheduler(backend, config=SchedulerConfig(on_error=lambda error, context: None, shutdown_timeout="5s"))

    @scheduler.job
    async def work() -> None:
        await anyio.sleep(3600)

    with anyio.fail_after(60):
        with anyio.CancelScope() as scope:
            async with scheduler.running():
                await work.enqueue()
                await anyio.sleep(1)
                backend.down = True
                await anyio.sleep(1)

                if fast:
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()

    assert anyio.current_time() <= 2 + 15
    assert not scheduler.statistics().running
    assert 0 == scheduler.statistics().executor.busy
    backend.down = False
    # The lease does the rest.
    await anyio.sleep(16)

    async with scheduler.running():
        await anyio.sleep(1)
        assert 1 == (await scheduler.totals()).running


async def test_a_start_while_the_backend_is_away_can_be_cancelled_and_stopped() -> None:
    """Joining waits for the backend; whoever is tired of that cancels it, and is out within seconds.

    Break: a shield around what is not ready yet holds up the cancellation as long as the outage lasts.
    """
    backend = Failing()
    backend.down = True
    scheduler = Scheduler(backend, config=SchedulerConfig(on_error=lambda error, context: None))

    with anyio.move_on_after(5) as scope:
        async with scheduler.running():
            pytest.fail("it runs")

    assert scope.cancelled_caught
    assert anyio.current_time() <= 15
    assert not scheduler.statistics().running
