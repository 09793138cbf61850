"""A year of crontab in virtual time: what would run, how often, and on which side of daylight saving.

Nothing here waits. The event loop's time jumps from one timer to the next, and the jobs really run at their times; the
same function, started with ``anyio.run``, would take a year.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime

from anysched import Scheduler, SchedulerConfig, current_run
from anysched.testing import sleep_until_instant, virtual_time

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

CRONTAB = """
    hourly          @hourly
    nightly         30 2 * * *
    workdays        0 9 * * mon-fri
    last-of-month   0 18 L * *
    first-monday    0 8 * * mon#1
    13th-or-friday  0 0 13 * fri
    leap-day        0 12 29 2 *
"""

# Virtual seconds cost nothing but what is done in them: one node, in memory, need not look around every few seconds.
CONFIG = SchedulerConfig(timezone="Europe/Berlin", tick_interval="24h", lease="24h")

scheduler = Scheduler(config=CONFIG)
fired: Counter[str] = Counter()
nights: list[str] = []


@scheduler.job
async def note(name: str) -> None:
    fired[name] += 1
    moment = current_run().scheduled_for

    if name == "nightly" and moment is not None and moment.strftime("%m-%d") in ("03-29", "10-25"):
        nights.append(f"{moment:%m-%d %H:%M} UTC")


async def main() -> None:
    async with scheduler.running():
        for line in CRONTAB.strip().splitlines():
            name, expression = line.split(maxsplit=1)
            await scheduler.add(expression, note.bind(name), id=name)

        await sleep_until_instant(NEW_YEAR.replace(year=2027))

    for name, count in fired.most_common():
        print(f"{name:<15}{count:>5}")

    print("02:30 in the two odd nights:", ", ".join(nights))


if __name__ == "__main__":
    virtual_time(main, start=NEW_YEAR, backend="trio" if "--trio" in sys.argv else "asyncio")
