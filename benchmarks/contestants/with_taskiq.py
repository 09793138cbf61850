"""taskiq on uvloop: the Redis stream broker, which acknowledges.

Delays need a scheduler: it runs in the worker's process, and looks for new ones every second instead of every minute.
"""
# /// script
# dependencies = ["taskiq", "taskiq-redis", "uvloop", "hiredis"]
# [tool.bench]
# loops = ["uvloop"]
# pace = 1800
# ///

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import line_protocol
from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker


class Taskiq(line_protocol.AsyncPeer):
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.broker = RedisStreamBroker(self.url, unacknowledged_lock_timeout=60.0)
        self.source = ListRedisScheduleSource(self.url)
        mark = line_protocol.mark

        @self.broker.task(task_name="job")
        async def job(i: int) -> None:
            if mark(i):
                await self.hold()

        self.job = job

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self.broker.startup()
        await self.source.startup()
        yield
        await self.broker.shutdown()

    async def enqueue(self, i: int) -> None:
        await self.job.kiq(i)

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.job.schedule_by_time(self.source, datetime.fromtimestamp(due, UTC), i)

    async def work(self) -> None:
        scheduler = TaskiqScheduler(self.broker, [self.source])

        async with self.tasks() as start:
            start(run_scheduler_task, scheduler, False, timedelta(seconds=1))
            await run_receiver_task(
                self.broker, max_async_tasks=self.concurrency, validate_params=False, run_startup=True
            )


line_protocol.play(Taskiq)
