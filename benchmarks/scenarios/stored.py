"""Pickup and lateness again, while very many delayed runs are stored that are due tomorrow."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.rounds import Figures, Round
from benchmarks.scenarios import Scenario

TOMORROW = 86_400.0
EVERY = 0.02


def run(this: Round, *, stored: int) -> Figures:
    stored = int(this.sizes.pick(stored, stored / 100))
    count = int(this.sizes.pick(500, 50))
    this.indices = 2 * count + 2
    client = this.client()
    before = this.server.used_memory()
    load = client.call("stock", index=2 * count, count=stored, due=round(time.time()) + TOMORROW)
    size = (this.server.used_memory() - before) / stored
    this.wake(client, 2 * count + 1)
    picked = this.pickup(client, 0, count, EVERY)
    late = this.lateness(client, count, count, EVERY)
    return {
        "stored_per_s": stored / load["seconds"],
        "bytes": size,
        **{f"pickup_{name}": value for name, value in picked.items() if name != "max_ms"},
        **{f"late_{name}": value for name, value in late.items() if name != "max_ms"},
    }


SCENARIOS = [
    Scenario(
        "stored-100k",
        "With 100,000 delayed runs stored",
        partial(run, stored=100_000),
        libraries=("bare", "anysched", "streaq", "saq", "dramatiq", "huey"),
        repeats=1,
    ),
    Scenario(
        "stored-1m",
        "With 1,000,000 delayed runs stored",
        partial(run, stored=1_000_000),
        libraries=("bare", "anysched"),
        repeats=1,
    ),
]
