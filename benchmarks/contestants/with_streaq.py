"""streaQ, with its defaults: prefetch as deep as the concurrency, acknowledged by an idle timeout of 60 s."""
# /// script
# dependencies = ["streaq", "uvloop", "trio"]
# [tool.bench]
# loops = ["asyncio", "uvloop", "trio"]
# pace = 1000
# ///

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import line_protocol
from streaq import Worker


class Streaq(line_protocol.AsyncPeer):
    packages = ("streaq", "coredis", "anyio")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.worker = Worker(redis_url=self.url, concurrency=self.concurrency, handle_signals=False)
        mark = line_protocol.mark

        @self.worker.task
        async def job(i: int) -> None:
            if mark(i):
                await self.hold()

        self.job = job

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self.worker:
            yield

    async def enqueue(self, i: int) -> None:
        await self.job.enqueue(i)

    async def enqueue_many(self, indices: Iterable[int]) -> None:
        for chunk in line_protocol.chunks(indices):
            await self.worker.enqueue_many([self.job.enqueue(i) for i in chunk])

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.job.enqueue(i).start(schedule=datetime.fromtimestamp(due, UTC))

    async def enqueue_many_at(self, index: int, count: int, due: float) -> None:
        when = datetime.fromtimestamp(due, UTC)

        for chunk in line_protocol.chunks(range(count)):
            await self.worker.enqueue_many([self.job.enqueue(index).start(schedule=when) for _ in chunk])

    async def work(self) -> None:
        await self.worker.run_async()


line_protocol.play(Streaq)
