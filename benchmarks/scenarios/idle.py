"""What one worker costs that has nothing to do."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    this.indices = 1
    client = this.client()
    workers = this.wake(client, 0)
    client.kill()
    return this.idle(workers, this.sizes.pick(20.0, 2.0))


SCENARIOS = [Scenario("idle", "One idle worker", run)]
