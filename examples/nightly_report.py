"""A nightly report: retried when the database is down, over by morning, and somebody is told when it fails for good.

In virtual time, so that three nights pass in a moment: one where all is well, one where the second attempt makes it,
and one where the database stays down until the report has to be given up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from attrs import define, field

from anysched import ErrorContext, Event, RetryPolicy, Scheduler, SchedulerConfig, current_run
from anysched.events import AttemptFailed, RunGaveUp, RunSucceeded
from anysched.testing import sleep_until_instant, virtual_time

EVENING = datetime(2026, 3, 1, 20, tzinfo=UTC)


@define
class Database:
    """Stands in for yours."""

    failures: dict[int, int] = field(factory=dict[int, int])

    async def sales_of(self, day: datetime) -> int:
        if self.failures.get(day.day, 0) > 0:
            self.failures[day.day] -= 1
            raise ConnectionError("the database does not answer")

        return 100 * day.day


@asynccontextmanager
async def open_database() -> AsyncGenerator[Database]:
    """Entered when the node starts and left when its last job has ended: ``current_run().state`` in every job."""
    yield Database(failures={3: 1, 4: 1_000})


class Alerts:
    """An observer. It must be quick: one that has to send something puts it on a queue, or enqueues a job."""

    def on_event(self, event: Event) -> None:
        match event:
            case AttemptFailed():
                print(f"{event.at:%d %H:%M} attempt {event.attempt} failed, again in {event.retry_in}")
            case RunGaveUp():
                print(f"{event.at:%d %H:%M} ALERT {event.job} gave up: {event.error}")
            case RunSucceeded():
                print(f"{event.at:%d %H:%M} done")
            case _:
                pass


async def ignore(error: Exception, context: ErrorContext) -> None:
    """Every error of a handler comes by here, final or not. Without an ``on_error`` it is logged with its traceback."""


# Virtual seconds cost nothing but what is done in them: one node, in memory, need not look around every few seconds.
CONFIG = SchedulerConfig(tick_interval="1h", lease="1h", on_error=ignore)

scheduler = Scheduler(config=CONFIG, lifespan=open_database, observers=[Alerts()])


@scheduler.job(
    timeout="10m",  # of one attempt
    retry=RetryPolicy(max_retries=None, initial="5m", maximum="1h", retry_on=(ConnectionError,)),
)
async def report() -> int:
    run = current_run()
    assert run.scheduled_for is not None
    database: Database = run.state
    return await database.sales_of(run.scheduled_for)


async def main() -> None:
    async with scheduler.running():
        # `replace` makes this line repeatable: the program may start again any time. The deadline counts from the fire.
        await scheduler.add("30 2 * * *", report.options(deadline="4h").bind(), id="nightly-report", replace=True)
        await sleep_until_instant(EVENING.replace(day=4, hour=12))

        for made in (await scheduler.get_entry("nightly-report")).last_runs:
            print(f"{made.scheduled_for:%d %B}: {made.status}")


if __name__ == "__main__":
    virtual_time(main, start=EVENING)
