"""A year of crontab in virtual time: every fire, claim and attempt is real, and every fire is on its exact instant."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import pytest

from anysched import Cron, Every, Schedule, Scheduler, current_run
from anysched.clock import now
from anysched.testing import sleep_until_instant, virtual_time

START = datetime(2026, 1, 1, tzinfo=UTC)

ENTRIES: dict[str, Schedule] = {
    "dense": Cron("*/5 * * * *"),
    "quarter-berlin": Cron("*/15 * * * *", tz="Europe/Berlin"),
    "hourly-new-york": Cron("0 * * * *", tz="America/New_York"),
    "hourly-lord-howe": Cron("30 * * * *", tz="Australia/Lord_Howe"),
    "every-90m": Every("90m", anchor=START + timedelta(minutes=7)),
    "every-25h": Every("25h", anchor=START),
    # Does not exist on the last Sunday of March, comes twice on the last of October.
    "gap-berlin": Cron("30 2 * * *", tz="Europe/Berlin"),
    "gap-new-york": Cron("30 2 * * *", tz="America/New_York"),
    "repeat-new-york": Cron("30 1 * * *", tz="America/New_York"),
    "repeat-literal": Cron("30 1 * * *", tz="America/New_York", dst="literal"),
    "gap-lord-howe": Cron("15 2 * * *", tz="Australia/Lord_Howe"),
    "midnight-kolkata": Cron("0 0 * * *", tz="Asia/Kolkata"),
    "midnight-kathmandu": Cron("@midnight", tz="Asia/Kathmandu"),
    "workdays-tokyo": Cron("0 9 * * mon-fri", tz="Asia/Tokyo"),
    "workdays-london": Cron("*/10 9-17 * * mon-fri", tz="Europe/London"),
    "last-day-sao-paulo": Cron("0 9 L * *", tz="America/Sao_Paulo"),
    "second-tuesday": Cron("0 12 * * tue#2", tz="America/Los_Angeles"),
    "monthly-auckland": Cron("@monthly", tz="Pacific/Auckland"),
    "either-day": Cron("0 6 13 * fri", tz="Europe/Paris"),
    "yearly": Cron("0 0 29 2 *"),
}


def expected_between(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """What the pure rule says, without a scheduler."""
    instant = schedule.next_after(start)

    while instant is not None and instant <= end:
        yield instant.astimezone(UTC)
        instant = schedule.next_after(instant)


async def live_through(start: datetime, days: int) -> dict[str, list[datetime]]:
    """Run the entries for so many days; when each of them was really called."""
    scheduler = Scheduler()
    called: dict[str, list[datetime]] = {name: [] for name in ENTRIES}
    end = start + timedelta(days=days)

    @scheduler.job
    async def note(name: str) -> None:
        run = current_run()
        assert run.scheduled_for == now(), f"{name} is late"
        assert name == run.entry_id
        called[name].append(now())

    async with scheduler.running():
        for name, schedule in ENTRIES.items():
            await scheduler.add(schedule, note.bind(name), id=name)

        await sleep_until_instant(end + timedelta(milliseconds=1))
        totals = await scheduler.totals()
        entries = {entry.id: entry for entry in await scheduler.entries()}

    assert sum(map(len, called.values())) == totals.succeeded
    assert (0, 0, 0) == (totals.failed, totals.ready, totals.running)
    assert {name: len(times) for name, times in called.items()} == {
        name: entry.run_count for name, entry in entries.items()
    }
    assert {0} == {entry.missed_count + entry.overlap_skipped for entry in entries.values()}
    return called


def check_days(loop: Literal["asyncio", "trio"], days: int, start: datetime = START) -> tuple[int, float]:
    """Live through the days on a loop; how many fires there were, and how many seconds of computing it took."""
    began = time.process_time()
    called = virtual_time(partial(live_through, start, days), backend=loop, start=start)
    took = time.process_time() - began
    end = start + timedelta(days=days)

    for name, schedule in ENTRIES.items():
        assert list(expected_between(schedule, start, end)) == called[name], name

    return sum(map(len, called.values())), took


LOOPS: list[Literal["asyncio", "trio"]] = ["asyncio", "trio"]


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
def test_twelve_days_across_two_changes_of_clocks_fire_exactly(loop: Literal["asyncio", "trio"]) -> None:
    """Some 6,000 fires of 20 entries, each called on its very instant, and none twice: clocks go forward in Europe and
    back, by half an hour, on Lord Howe.

    Break: adding a delay to the loop's time instead of jumping to the timer's own is late after a while.
    """
    fires, _ = check_days(loop, 12, datetime(2026, 3, 25, tzinfo=UTC))
    assert fires > 5_000


@pytest.mark.nightly
@pytest.mark.timeout(180)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_year_of_twenty_entries_fires_exactly_in_under_a_minute(loop: Literal["asyncio", "trio"]) -> None:
    """365 days, the densest entry each five minutes, several zones with their changes of clocks: real fires, claims
    and attempts, each on its exact instant, the same on both loops, in less than 60 s of this process's own time."""
    fires, took = check_days(loop, 365)
    print(f"\na year on {loop}: {fires} fires in {took:.1f} s, {fires / took:.0f} per second")
    assert took < 60


def test_the_year_has_the_changes_of_clocks_that_it_is_about() -> None:
    """The readings that do not exist run once, after the gap; those that come twice run once, or twice if literal."""
    end = START + timedelta(days=365)
    per_day = {name: Counter(one.date() for one in expected_between(ENTRIES[name], START, end)) for name in ENTRIES}
    assert 365 == per_day["gap-berlin"].total() == per_day["gap-new-york"].total() == per_day["repeat-new-york"].total()
    assert 366 == per_day["repeat-literal"].total()
    assert 365 * 288 == per_day["dense"].total()
    assert 0 == per_day["yearly"].total()
