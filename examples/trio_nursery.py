"""A scheduler in a Trio nursery, beside the rest of the program.

``nursery.start(scheduler.run)`` comes back when the scheduler is ready. From then on it is a task like any other: a
crash elsewhere in the nursery stops it at once, and after ``scheduler.stop()`` it lets live jobs end, after which the
nursery closes by itself.
"""

from __future__ import annotations

from functools import partial

import trio

from anysched import Scheduler

scheduler = Scheduler()


@scheduler.job
async def measure(sensor: str) -> float:
    await trio.sleep(0.05)  # a job that only ever runs under Trio may use Trio's own functions
    return len(sensor) * 10.0


@scheduler.job
async def archive(sensor: str) -> None:
    await trio.sleep(0.5)
    print(f"{sensor} is archived")


async def take_readings(sensor: str) -> None:
    """The rest of the program. It need not open the scheduler: that is open as long as it runs."""
    run = await measure.enqueue(sensor)
    print(f"{sensor}: {await run.result()}")
    await archive.enqueue(sensor)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(scheduler.run, schedules=False))  # ready when this returns
        await take_readings("cellar")
        await trio.sleep(0.1)
        scheduler.stop()  # graceful: the archive is being written, and it will have been

    print("all closed")


if __name__ == "__main__":
    trio.run(main)
