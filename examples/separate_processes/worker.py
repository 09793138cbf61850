"""A worker: executes runs until SIGTERM or SIGINT. Start as many as you like.

``anysched run jobs:scheduler --queue billing`` does the same. This is what it takes to have it in a program of yours:
a library never touches signals, so the program listens for them and says ``stop``.
"""

from __future__ import annotations

import signal
from functools import partial

import anyio
from jobs import scheduler


async def stop_on_signal() -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scheduler.stop()
            return


async def main() -> None:
    async with anyio.create_task_group() as group:
        await group.start(partial(scheduler.run, queues=["billing"]))
        print("ready", flush=True)
        await stop_on_signal()

    print("stopped", flush=True)


if __name__ == "__main__":
    anyio.run(main)
