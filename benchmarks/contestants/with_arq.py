"""arq on uvloop. It polls: asked every 10 ms instead of every 500, without which it would start 320 jobs a second."""
# /// script
# dependencies = ["arq", "uvloop", "hiredis"]
# [tool.bench]
# loops = ["uvloop"]
# pace = 500
# ///

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import line_protocol
from arq import Worker, create_pool
from arq.connections import RedisSettings
from arq.worker import func


class Arq(line_protocol.AsyncPeer):
    packages = ("arq", "redis", "hiredis")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.pool = await create_pool(RedisSettings.from_dsn(self.url))
        yield
        await self.pool.aclose()

    async def enqueue(self, i: int) -> None:
        await self.pool.enqueue_job("job", i)

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.pool.enqueue_job("job", i, _defer_until=datetime.fromtimestamp(due, UTC))

    async def work(self) -> None:
        mark = line_protocol.mark

        async def job(_context: dict[Any, Any], i: int) -> None:
            if mark(i):
                await self.hold()

        worker = Worker(
            [func(job, name="job")],
            redis_settings=RedisSettings.from_dsn(self.url),
            max_jobs=self.concurrency,
            poll_delay=0.01,
            handle_signals=False,
        )
        await worker.async_run()


line_protocol.play(Arq)
