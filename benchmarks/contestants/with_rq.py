"""RQ: its SimpleWorker, the fastest of its workers (no fork for each job), which runs one job at a time."""
# /// script
# dependencies = ["rq", "hiredis"]
# [tool.bench]
# pace = 300
# ///

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import line_protocol
from redis import Redis
from rq import Queue, SimpleWorker

JOB = "with_rq.job"  # it finds jobs by import


def job(i: int) -> None:
    if line_protocol.mark(i):
        time.sleep(line_protocol.HELD_FOR)


class Rq(line_protocol.SyncPeer):
    packages = ("rq", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.redis = Redis.from_url(self.url)
        self.queue = Queue("bench", connection=self.redis)

    def enqueue(self, i: int) -> None:
        self.queue.enqueue(JOB, i)

    def enqueue_many(self, indices: Iterable[int]) -> None:
        for chunk in line_protocol.chunks(indices):
            self.queue.enqueue_many([Queue.prepare_data(JOB, (i,)) for i in chunk])

    def enqueue_at(self, i: int, due: float) -> None:
        self.queue.enqueue_at(datetime.fromtimestamp(due, UTC), JOB, i)

    def work(self) -> None:
        SimpleWorker([self.queue], connection=self.redis).work(with_scheduler=True, logging_level="WARNING")


if __name__ == "__main__":
    line_protocol.play(Rq)
