"""Runs and entries that are too far in the future: nothing is stored of what is refused, and nothing else suffers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from anysched import InvalidDuration, InvalidOption, Once, RetryPolicy, Scheduler, SchedulerConfig
from anysched.backends import NewRun

LAST = datetime.max.replace(tzinfo=UTC)


async def test_a_run_and_an_entry_are_not_moved_too_far() -> None:
    """Rescheduled or added: refused, and what was there stays."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None: ...

    async with scheduler:
        run = await work.options(delay="1h").enqueue()
        before = await run.info()

        with pytest.raises(InvalidOption, match="before the year 9000"):
            await run.reschedule(at=LAST)

        with pytest.raises(InvalidDuration, match="at most 365000 days"):
            await run.reschedule(delay=timedelta.max)

        with pytest.raises(InvalidOption, match="before the year 9000"):
            await scheduler.add(Once(LAST), work.bind())

        with pytest.raises(InvalidOption, match="before the year 9000"):
            await scheduler.add("@every 1h", work.bind(), start_at=LAST)

        assert ([before], []) == (await scheduler.runs(), await scheduler.entries())


async def test_a_run_that_was_stored_too_far_ahead_is_listed() -> None:
    """As due at the latest instant there is; it can be moved back."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> int:
        return 1

    async with scheduler.running():
        await scheduler.backend.enqueue([NewRun(id="far", job=work.name, payload=work.bind().payload, at_ms=10**15)])
        (info,) = await scheduler.runs()
        assert LAST == info.due_at
        run = await scheduler.get_run("far")
        await run.reschedule(delay="1s")
        assert 1 == await run.result()


async def test_a_policy_that_says_never_again_puts_a_run_off_for_a_thousand_years() -> None:
    """Its node goes on, and the run is retrying."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))

    @scheduler.job(retry=RetryPolicy(initial=timedelta.max, maximum=timedelta.max))
    async def work() -> None:
        raise ValueError

    async with scheduler.running():
        run = await work.enqueue()
        await anyio.sleep(1)
        info = await run.info()

    assert ("retrying", 3025) == (info.status, info.due_at.year if info.due_at is not None else 0)
