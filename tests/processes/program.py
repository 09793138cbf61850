"""The program that the tests of this folder run in processes of its own: workers and a client of one Redis.

Every effect of a job is one line appended to a log that all processes share, written with a single ``write``, so that
lines of different processes do not mix.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial

import anyio

from anysched import Executor, Scheduler, SchedulerConfig, current_run

LOG = os.environ.get("EFFECTS", "/dev/null")
_log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

scheduler = Scheduler(
    os.environ["ANYSCHED_TEST_URL"],
    namespace=os.environ.get("ANYSCHED_TEST_NAMESPACE", "processes"),
    executor=Executor(max_concurrent=32),
    config=SchedulerConfig(lease=os.environ.get("ANYSCHED_TEST_LEASE", "15s"), shutdown_timeout="10s"),
)


def effect(*words: object) -> None:
    os.write(_log, (" ".join(map(str, words)) + "\n").encode())


def fired(name: str) -> None:
    run = current_run()
    scheduled_for = run.scheduled_for
    assert scheduled_for is not None
    late = (datetime.now(UTC) - scheduled_for).total_seconds() * 1000
    effect("fired", name, scheduled_for.isoformat(), run.id, os.getpid(), f"{late:.1f}")


if os.environ.get("ANYSCHED_TEST_ENTRIES"):

    @scheduler.every("1s", overlap="allow", anchor=datetime(2026, 1, 1, tzinfo=UTC))
    async def every_second() -> None:
        fired("every")

    @scheduler.cron("* * * * * *", overlap="allow")
    async def cron_second() -> None:
        fired("cron")

    @scheduler.cron("*/1 * * * * *", tz="Asia/Kolkata", overlap="allow")
    async def cron_elsewhere() -> None:
        fired("elsewhere")


@scheduler.job
async def note(number: int) -> int:
    effect("note", number, current_run().attempt, os.getpid())
    return number


@scheduler.job
async def long(name: str, seconds: float) -> str:
    run = current_run()
    effect("begin", name, run.attempt, os.getpid(), f"{time.time():.3f}", run.fencing_token)
    await anyio.sleep(seconds)
    effect("end", name, run.attempt, os.getpid(), f"{time.time():.3f}", run.fencing_token)
    return name


async def work() -> None:
    async with anyio.create_task_group() as group:
        await group.start(scheduler.run)
        effect("ready", os.getpid())

        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break

        scheduler.stop()


async def enqueue(seconds: float) -> None:
    """Enqueue one run every few milliseconds, of every kind, and print how many were accepted."""
    number = 0
    until = time.monotonic() + seconds

    async with scheduler:
        while time.monotonic() < until:
            batch = [note.bind(number + i) for i in range(5)]
            await scheduler.enqueue(*batch)
            await note.options(delay="200ms").enqueue(number + 5)
            number += 6
            await anyio.sleep(0.02)

    print(number)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["work", "enqueue"])
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    anyio.run(work if args.what == "work" else partial(enqueue, args.seconds), backend=args.loop)
    sys.exit(0)


if __name__ == "__main__":
    main()
