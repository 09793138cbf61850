"""The same queue, emptied by two worker processes."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    count = this.sizes.jobs(this.contestant, seconds=6.0)
    this.fill(count).kill()
    return this.drain(count, workers=2)


SCENARIOS = [Scenario("drain-two", "Drain, two worker processes, concurrency 32 each", run)]
