"""Enqueue many at once, by the library's own call for that if it has one."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    return this.enqueue(this.sizes.jobs(this.contestant), "bulk")


SCENARIOS = [Scenario("enqueue-bulk", "Enqueue in bulk", run)]
