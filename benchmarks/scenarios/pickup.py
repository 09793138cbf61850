"""How soon an idle worker starts a job. An open loop: jobs are sent at irregular times, whatever became of the last."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario

EVERY = 0.02  # seconds between two jobs, on average


def run(this: Round) -> Figures:
    count = int(this.sizes.pick(1_000, 50))
    this.indices = count + 1
    client = this.client()
    this.wake(client, count)
    return this.pickup(client, 0, count, EVERY)


SCENARIOS = [Scenario("pickup", "Pickup by an idle worker", run)]
