"""dramatiq: its Redis broker with the default middleware, a thread for each job in flight, no stored results."""
# /// script
# dependencies = ["dramatiq[redis]", "hiredis"]
# [tool.bench]
# pace = 3500
# ///

from __future__ import annotations

import math
import time
from typing import Any

import dramatiq
import line_protocol
from dramatiq.brokers.redis import RedisBroker


class Dramatiq(line_protocol.SyncPeer):
    packages = ("dramatiq", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.broker = RedisBroker(url=self.url)
        dramatiq.set_broker(self.broker)
        mark = line_protocol.mark

        @dramatiq.actor
        def job(i: int) -> None:
            if mark(i):
                self.hold()

        self.job = job

    def enqueue(self, i: int) -> None:
        self.job.send(i)

    def enqueue_at(self, i: int, due: float) -> None:
        self.job.send_with_options(args=(i,), delay=math.ceil(1000 * (due - time.time())))

    def work(self) -> None:
        worker = dramatiq.Worker(self.broker, worker_threads=self.concurrency)
        worker.start()
        self.hold()


line_protocol.play(Dramatiq)
