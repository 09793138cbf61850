"""A full queue, emptied one job after the other: what a job costs that shares nothing with others."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    count = min(this.sizes.jobs(this.contestant, seconds=2.0), 5_000)
    this.fill(count).kill()
    return this.drain(count, concurrency=1)


SCENARIOS = [Scenario("drain-alone", "Drain, one worker process, concurrency 1", run)]
