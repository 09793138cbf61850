"""anysched itself, with its defaults, a time limit of 30 s for each attempt, and its results stored for an hour."""
# /// script
# dependencies = ["anysched[redis,trio,uvloop]"]
# [tool.bench]
# loops = ["asyncio", "uvloop", "trio"]
# here = true
# pace = 50000
# ///

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import line_protocol

from anysched import Every, Executor, Once, Scheduler

ADDERS = 200  # tasks that store entries
PROBES = 2_000  # entries stored to see how long all will take
LEAD = 15.0  # seconds for a worker to start, and some to spare


class Anysched(line_protocol.AsyncPeer):
    packages = ("anysched", "anyio", "redis", "hiredis", "coredis", "msgspec", "uvloop", "trio")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.scheduler = Scheduler(self.url, executor=Executor(max_concurrent=self.concurrency))
        mark = line_protocol.mark

        @self.scheduler.job(name="job", timeout="30s")
        async def job(i: int) -> None:
            if mark(i):
                await self.hold()

        self.job = job

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with self.scheduler:
            yield

    async def enqueue(self, i: int) -> None:
        await self.job.enqueue(i)

    async def enqueue_many(self, indices: Iterable[int]) -> None:
        for chunk in line_protocol.chunks(indices):
            await self.scheduler.enqueue(*[self.job.bind(i) for i in chunk])

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.job.options(at=datetime.fromtimestamp(due, UTC)).enqueue(i)

    async def enqueue_many_at(self, index: int, count: int, due: float) -> None:
        later = self.job.options(at=datetime.fromtimestamp(due, UTC))

        for chunk in line_protocol.chunks(range(count)):
            await self.scheduler.enqueue(*[later.bind(index) for _ in chunk])

    async def do_entries(self, count: int, per_second: int) -> Any:
        """Entries of which so many are due in each second, evenly, from `base` on; each again after the last one."""
        period = count / per_second

        async def probe(i: int) -> None:
            tomorrow = Once(datetime.fromtimestamp(time.time() + 86_400, UTC))
            await self.scheduler.add(tomorrow, self.job.bind(i), id=f"probe-{i}")

        async def add(i: int) -> None:
            first = datetime.fromtimestamp(base + i / per_second, UTC)
            await self.scheduler.add(Every(period, anchor=first), self.job.bind(i), id=f"entry-{i}", start_at=first)

        with line_protocol.timed() as probed:
            await self.share_out(probe, range(PROBES), ADDERS)

        # None may be due before all are stored.
        base = float(round(time.time() + 1.3 * probed["seconds"] / PROBES * count + LEAD))

        with line_protocol.timed() as answer:
            await self.share_out(add, range(count), ADDERS)

        return {**answer, "base": base}

    async def work(self) -> None:
        async with self.scheduler.running():
            await self.hold()


line_protocol.play(Anysched)
