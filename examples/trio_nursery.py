"""A scheduler in a Trio nursery, beside the rest of the program.

``nursery.start(scheduler.run)`` comes back when the scheduler is ready. From then on it is a task like any other: a
crash elsewhere in the nursery stops it, and ``scheduler.stop()`` lets it end in good order, after which the nursery
closes by itself.
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


async def serve_readings(readings: trio.MemoryReceiveChannel[str]) -> None:
    """The rest of the program: turns what comes in into runs."""
    async with scheduler, readings:
        async for sensor in readings:
            run = await measure.enqueue(sensor)
            print(f"{sensor}: {await run.result()}")


async def main() -> None:
    send, receive = trio.open_memory_channel[str](0)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(scheduler.run, schedules=False))  # ready when this returns
        nursery.start_soon(serve_readings, receive)

        async with send:
            for sensor in ("cellar", "attic"):
                await send.send(sensor)

        scheduler.stop()  # graceful: `serve_readings` still gets the result that it waits for

    print("all closed")


if __name__ == "__main__":
    trio.run(main)
