"""A worker is killed (SIGKILL) while it runs a job: how long until another worker, already there, runs it again."""

from __future__ import annotations

import time

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario

PATIENCE = 130.0  # seconds; infinity stands for longer


def run(this: Round) -> Figures:
    this.indices, this.held_from = 1, 0
    client = this.client()
    victim, heir = this.hire(2)
    victim.go()
    client.call("one", first=0, count=1)
    this.await_marks(1)
    heir.go()
    time.sleep(this.sizes.pick(5.0, 2.0))
    victim.kill()
    killed = time.monotonic()
    give_up = killed + this.sizes.pick(PATIENCE, 5.0)

    while not heir.marks.counts[0]:
        if time.monotonic() > give_up:
            return {"back_s": float("inf")}

        time.sleep(0.01)

    return {"back_s": time.monotonic() - killed}


SCENARIOS = [Scenario("killed", "Until the job of a killed worker runs again (130 s waited)", run, repeats=1)]
