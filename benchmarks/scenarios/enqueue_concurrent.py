"""Enqueue from 100 tasks at once (threads, where a library has no tasks)."""

from __future__ import annotations

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario


def run(this: Round) -> Figures:
    return this.enqueue(int(this.sizes.pick(4_000, 400)), "concurrent", tasks=100)


SCENARIOS = [Scenario("enqueue-concurrent", "Enqueue from 100 concurrent tasks", run)]
