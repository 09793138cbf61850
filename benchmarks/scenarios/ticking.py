"""Very many entries, 1,000 of them due in each second: how late their runs start, and what that costs."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.processes import cpu_seconds
from benchmarks.rounds import SETTLING, Figures, Round, milliseconds
from benchmarks.scenarios import Scenario

LEAD = 5.0  # seconds for the worker to start


def run(this: Round, *, entries: int) -> Figures:
    entries = int(this.sizes.pick(entries, entries / 100))
    per_second = int(this.sizes.pick(1_000, 100))
    seconds = int(this.sizes.pick(20, 3))
    due = per_second * seconds
    this.indices = entries
    client = this.client()
    load = client.call("entries", count=entries, per_second=per_second)
    base = load["base"]
    time.sleep(max(0.0, base - LEAD - time.time()))
    (worker,) = this.hire()
    worker.go()

    if time.time() > base:
        raise TimeoutError("storing the entries took longer than planned")

    time.sleep(base - time.time())
    cpu, redis_cpu = worker.cpu(), cpu_seconds(this.server.process.pid)
    this.await_marks(due, limit=3.0 * seconds)
    span = time.time() - base
    cpu, redis_cpu = worker.cpu() - cpu, cpu_seconds(this.server.process.pid) - redis_cpu
    time.sleep(SETTLING)
    this.check_delivery(due)
    late = [start - base - i / per_second for i, start in enumerate(this.started(0, due))]
    return {
        "stored_per_s": entries / load["seconds"],
        **milliseconds(late),
        "early": sum(each < 0 for each in late),
        "cpu_percent": 100 * cpu / span,
        "redis_cpu_percent": 100 * redis_cpu / span,
    }


SCENARIOS = [
    Scenario(
        "ticking-100k",
        "100,000 entries, 1,000 due each second",
        partial(run, entries=100_000),
        libraries=("anysched",),
    ),
    Scenario(
        "ticking-1m",
        "1,000,000 entries, 1,000 due each second",
        partial(run, entries=1_000_000),
        libraries=("anysched",),
        repeats=1,
    ),
]
