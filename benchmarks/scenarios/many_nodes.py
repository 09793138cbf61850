"""Fifty idle nodes on one server, each a process: what each costs, and how soon one of them picks up a job."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    nodes = int(this.sizes.pick(50, 4))
    count = int(this.sizes.pick(250, 50))
    this.indices = count + 1
    client = this.client()
    workers = this.wake(client, count, nodes)
    idle = this.idle(workers, this.sizes.pick(20.0, 2.0))
    return {**idle, **this.pickup(client, 0, count, 0.02)}


SCENARIOS = [Scenario("many-nodes", "Fifty idle nodes, each", run, libraries=("anysched", "streaq"), repeats=1)]
