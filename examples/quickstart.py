"""Quickstart: a job that repeats, a job that is called for, and its result.

Run it with ``python examples/quickstart.py``; it ends by itself after five seconds.
"""

from __future__ import annotations

import anyio

from anysched import Scheduler

scheduler = Scheduler()  # in this process's memory
# scheduler = Scheduler("redis://localhost")  # the same program, distributed


@scheduler.every("2s")
async def heartbeat() -> None:
    print("still here")


@scheduler.job(timeout="30s")
async def greet(name: str) -> str:
    return f"hello {name}"


async def main() -> None:
    async with scheduler.running():
        run = await greet.enqueue("Ada")
        print(await run.result())
        await anyio.sleep(5)


if __name__ == "__main__":
    anyio.run(main)  # or trio.run(main)
