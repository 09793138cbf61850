"""Bytes of Redis memory for each run that is queued, and for each that has ended and is kept."""

from __future__ import annotations

import time

from benchmarks.rounds import SETTLING, Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    count = int(this.sizes.pick(10_000, 500))
    before = this.server.used_memory()
    this.fill(count).kill()
    queued = this.server.used_memory() - before
    this.drain(count)

    for worker in this.workers:
        worker.kill()

    time.sleep(SETTLING)  # until the buffers of its connections are gone
    ended = this.server.used_memory() - before
    return {"queued_bytes": queued / count, "ended_bytes": ended / count}


SCENARIOS = [Scenario("memory", "Redis memory for a run", run, repeats=1)]
