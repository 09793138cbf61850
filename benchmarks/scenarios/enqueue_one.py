"""Enqueue one by one: each is stored before the next is sent."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    return this.enqueue(int(this.sizes.pick(2_000, 200)), "one")


SCENARIOS = [Scenario("enqueue-one", "Enqueue one by one", run)]
