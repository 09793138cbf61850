"""Runs that stand in line for a thread: neither begun nor forgotten."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from anysched import Executor, RetryPolicy, Run, RunCancelled, RunFailed, RunStatus, Scheduler, SchedulerConfig
from anysched.events import Event, RunStarted, RunSucceeded

ONCE = RetryPolicy(max_retries=0)


class Witness:
    """An observer that remembers which runs began, and how long they took."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.took: dict[str, float] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.began.append(event.run_id)
        elif isinstance(event, RunSucceeded):
            self.took[event.run_id] = event.duration.total_seconds()


@asynccontextmanager
async def in_line(witness: Witness, **options: Any) -> AsyncGenerator[tuple[Run[str], threading.Event]]:
    """A run behind another that has the only thread, until the event is set."""
    gate, begun = threading.Event(), threading.Event()
    config = SchedulerConfig(on_error=lambda error, context: None)
    scheduler = Scheduler(executor=Executor(max_threads=1), observers=[witness], config=config)

    @scheduler.job
    def holds() -> None:
        begun.set()
        gate.wait()

    @scheduler.job(retry=ONCE)
    def work() -> str:
        return "worked"

    async with scheduler.running():
        try:
            holding = await holds.enqueue()

            while not begun.is_set():  # noqa: ASYNC110 - it is a thread that begins
                await anyio.sleep(0.005)

            run = await work.options(**options).enqueue()

            while await run.status() != RunStatus.RUNNING:  # noqa: ASYNC110 - nobody tells of one that has not begun
                await anyio.sleep(0.005)

            assert [holding.id] == witness.began
            yield run, gate
        finally:
            gate.set()


async def test_a_time_limit_begins_with_the_attempt(real_time: None) -> None:
    """Not with the wait for a thread, in which it would pass; nor does the wait count as time that the run took.

    Break: functions that were never called fail with AttemptTimeout, and use up their attempts.
    """
    witness = Witness()

    async with in_line(witness, timeout="50ms") as (run, gate):
        await anyio.sleep(0.2)
        assert RunStatus.RUNNING == await run.status()
        gate.set()

        with anyio.fail_after(30):
            assert "worked" == await run.result()

    assert 2 == len(witness.began)
    assert witness.took[run.id] < 0.2


async def test_a_deadline_passes_in_line_too(real_time: None) -> None:
    """It is of the run with all that it waits for; the function is not called."""
    witness = Witness()

    async with in_line(witness, timeout="1h", deadline="100ms") as (run, _):
        with anyio.fail_after(30), pytest.raises(RunFailed, match="DeadlinePassed"):
            await run.result()

    assert run.id not in witness.began


async def test_a_run_is_cancelled_in_line_too(real_time: None) -> None:
    """At once, though there is no thread for it yet."""
    witness = Witness()

    async with in_line(witness) as (run, _):
        await run.cancel()

        with anyio.fail_after(30), pytest.raises(RunCancelled):
            await run.result()

    assert run.id not in witness.began
