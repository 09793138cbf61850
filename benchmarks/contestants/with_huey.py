"""huey: RedisHuey, blocking reads, a thread for each job in flight. It has no acknowledgements."""
# /// script
# dependencies = ["huey", "redis", "hiredis"]
# [tool.bench]
# pace = 1800
# lacks = ["killed"]
# ///

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import line_protocol
from huey import RedisHuey


class Huey(line_protocol.SyncPeer):
    packages = ("huey", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.huey = RedisHuey("bench", url=self.url)
        mark = line_protocol.mark

        @self.huey.task()
        def job(i: int) -> None:
            if mark(i):
                self.hold()

        self.job = job

    def enqueue(self, i: int) -> None:
        self.job(i)

    def enqueue_at(self, i: int, due: float) -> None:
        self.job.schedule((i,), eta=datetime.fromtimestamp(due, UTC))

    def work(self) -> None:
        consumer = self.huey.create_consumer(workers=self.concurrency, worker_type="thread", periodic=False)
        consumer.start()
        self.hold()


line_protocol.play(Huey)
