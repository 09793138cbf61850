"""SAQ on uvloop, with hiredis. A delay is in whole seconds there, so lateness counts what its format rounds up."""
# /// script
# dependencies = ["saq[redis,hiredis]", "typing_extensions", "uvloop"]
# [tool.bench]
# loops = ["uvloop"]
# pace = 1300
# ///

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import line_protocol
from saq import Queue, Worker


class Saq(line_protocol.AsyncPeer):
    packages = ("saq", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.queue = Queue.from_url(self.url)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self.queue.connect()
        yield
        await self.queue.disconnect()

    async def enqueue(self, i: int) -> None:
        await self.queue.enqueue("job", i=i)

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.queue.enqueue("job", i=i, scheduled=math.ceil(due))

    async def work(self) -> None:
        mark = line_protocol.mark

        async def job(_context: Any, *, i: int) -> None:
            if mark(i):
                await self.hold()

        await self.queue.connect()
        await Worker(self.queue, [("job", job)], concurrency=self.concurrency).start()


line_protocol.play(Saq)
