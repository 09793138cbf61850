"""Celery: a pool of threads, acknowledgement after the job, no stored results, none of the chatter between workers."""
# /// script
# dependencies = ["celery[redis]", "hiredis"]
# [tool.bench]
# pace = 1000
# ///

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import line_protocol
from celery import Celery


class CeleryPeer(line_protocol.SyncPeer):
    packages = ("celery", "kombu", "redis", "hiredis")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.app = Celery("bench", broker=self.url)
        self.app.conf.update(
            task_ignore_result=True,
            task_acks_late=True,
            worker_prefetch_multiplier=4,
            worker_enable_remote_control=False,
            worker_send_task_events=False,
            broker_connection_retry_on_startup=True,
        )
        mark = line_protocol.mark

        @self.app.task(name="job")
        def job(i: int) -> None:
            if mark(i):
                self.hold()

        self.job = job

    def enqueue(self, i: int) -> None:
        self.job.apply_async((i,))

    def enqueue_at(self, i: int, due: float) -> None:
        self.job.apply_async((i,), eta=datetime.fromtimestamp(due, UTC))

    def work(self) -> None:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
        self.app.worker_main(["worker", "--pool=threads", f"--concurrency={self.concurrency}", *quiet])


line_protocol.play(CeleryPeer)
