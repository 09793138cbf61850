"""A full queue, emptied by one worker process to which each round trip takes 1 ms longer."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario

EACH_WAY = 0.0005  # seconds


def run(this: Round) -> Figures:
    count = this.sizes.jobs(this.contestant, seconds=2.0)
    this.fill(count).kill()
    return this.drain(count, url=this.proxy(EACH_WAY))


SCENARIOS = [Scenario("drain-far", "Drain, one worker process, concurrency 32, 1 ms further away", run)]
