"""How late delayed jobs start, and that none is early."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario

EVERY = 0.0173  # seconds between two jobs: all parts of a second are met


def run(this: Round) -> Figures:
    count = int(this.sizes.pick(500, 50))
    this.indices = count + 1
    client = this.client()
    this.wake(client, count)
    return this.lateness(client, 0, count, EVERY)


SCENARIOS = [Scenario("lateness", "Lateness of delayed runs", run)]
