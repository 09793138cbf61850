"""A full queue of jobs that do nothing, emptied by one worker process with 32 in flight."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    count = this.sizes.jobs(this.contestant)
    this.fill(count).kill()
    return this.drain(count)


SCENARIOS = [Scenario("drain", "Drain, one worker process, concurrency 32", run)]
