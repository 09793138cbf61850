"""What was promised, and whether a run shows it: ratios between contestants of the same run on the same machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Results, aligned, figure

LOOPS = ("asyncio", "uvloop", "trio")
OURS = "anysched"


@dataclass(frozen=True)
class Line:
    """One promise: a value that has to be at most, or at least, a limit. None: it was not measured."""

    what: str
    value: float | None
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool | None:
        if self.value is None:
            return None

        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "PASS", False: "FAIL", None: "not measured"}[self.passed]
        value = "-" if self.value is None else figure(self.value)
        return self.what, value, f"{'>=' if self.at_least else '<='} {figure(self.limit)}", verdict


class Lookup:
    """Medians by scenario, contestant and name, None where there is none."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def get(self, scenario: str, contestant: str, name: str) -> float | None:
        return self.results.medians(scenario, contestant).get(name)

    def best(self, scenario: str, name: str, choose: Callable[..., float], without: tuple[str, ...]) -> float | None:
        """The best of the peers."""
        peers = [one for one in self.results.samples.get(scenario, {}) if not one.startswith((OURS, "bare", *without))]
        values = [value for one in peers if (value := self.get(scenario, one, name)) is not None]
        return choose(values) if values else None


def ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other if other else math.inf


def throughput(look: Lookup, loop: str) -> Iterator[Line]:
    us = f"{OURS}-{loop}"
    drained = look.get("drain", us, "jobs_per_s")
    twice = look.get("drain-two", us, "jobs_per_s")
    yield from (
        Line(f"{us} drain : {peer}", ratio(drained, look.get("drain", peer, "jobs_per_s")), limit, at_least=True)
        for peer, limit in ((f"streaq-{loop}", 12), ("dramatiq", 3.5), (f"bare-{loop}", 0.5))
    )
    yield Line(f"{us} drain by two : by one", ratio(twice, drained), 1.4, at_least=True)
    bulk, theirs = (look.get("enqueue-bulk", name, "jobs_per_s") for name in (us, f"streaq-{loop}"))
    yield Line(f"{us} bulk : streaq-{loop}", ratio(bulk, theirs), 8, at_least=True)
    single = look.get("enqueue-one", us, "jobs_per_s")
    many = look.get("enqueue-concurrent", us, "jobs_per_s")
    yield Line(f"{us} from 100 tasks : one by one", ratio(many, single), 5, at_least=True)
    fastest = look.best("enqueue-one", "jobs_per_s", max, ())
    yield Line(f"{us} one by one : fastest peer", ratio(single, fastest), 1, at_least=True)


def latency(look: Lookup, loop: str) -> Iterator[Line]:
    us = f"{OURS}-{loop}"
    p50, p99 = (look.get("pickup", us, name) for name in ("p50_ms", "p99_ms"))
    late50, late99 = (look.get("lateness", us, name) for name in ("p50_ms", "p99_ms"))
    fastest = look.best("pickup", "p50_ms", min, ())
    yield Line(f"{us} pickup p50 : fastest peer", ratio(p50, fastest), 1)
    yield Line(f"{us} pickup p99 : p50", ratio(p99, p50), 3)
    yield Line(f"{us} late p99, ms", late99, 5)
    yield Line(f"{us} started early", look.get("lateness", us, "early"), 0)
    befores = {"pickup_p50_ms": p50, "pickup_p99_ms": p99, "late_p50_ms": late50, "late_p99_ms": late99}

    for name, before in befores.items():
        what = name.removesuffix("_ms").replace("_", " ")
        yield Line(f"{us} {what} with 1,000,000 stored : none", ratio(look.get("stored-1m", us, name), before), 1.2)


def cost(look: Lookup, loop: str) -> Iterator[Line]:
    us = f"{OURS}-{loop}"
    yield Line(f"{us} trips a run, concurrency 1", look.get("drain-alone", us, "trips"), 1)
    yield Line(f"{us} trips a run, concurrency 32", look.get("drain", us, "trips"), 0.1)
    yield Line(f"{us} idle, requests/s (what it sends)", look.get("idle", us, "requests_per_s"), 1)
    yield Line(f"{us} idle, commands/s (also inside scripts)", look.get("idle", us, "commands_per_s"), 1)
    yield Line(f"{us} idle, CPU %", look.get("idle", us, "cpu_percent"), 0.3)
    yield Line(f"{us} idle, RSS MB", look.get("idle", us, "rss_mb"), 35)
    yield Line(f"{us} 1,000,000 entries, latest ms", look.get("ticking-1m", us, "max_ms"), 50)
    yield Line(f"{us} 1,000,000 entries, CPU %", look.get("ticking-1m", us, "cpu_percent"), 90)
    yield Line(f"{us} 1,000,000 entries, Redis CPU %", look.get("ticking-1m", us, "redis_cpu_percent"), 90)
    yield Line(f"{us} bytes a queued run", look.get("memory", us, "queued_bytes"), 350)


def delivery(results: Results) -> Iterator[Line]:
    """Each job exactly once, in every run of ours."""
    ours = {name for name in results.measured() if name.startswith(OURS)}

    for name in sorted(ours):
        troubles = sum(len(table.get(name, ())) for table in results.errors.values())
        yield Line(f"{name} runs with a lost or doubled job, or an error", troubles, 0)


def compare(results: Results) -> tuple[str, bool]:
    """All promises of which something was measured, and whether none was missed."""
    look = Lookup(results)
    loops = [loop for loop in LOOPS if f"{OURS}-{loop}" in results.measured()]
    lines = [line for part in (throughput, latency, cost) for loop in loops for line in part(look, loop)]
    lines += delivery(results)
    missed = sum(line.passed is False for line in lines)
    unknown = sum(line.passed is None for line in lines)
    total = f"{len(lines) - missed - unknown} passed, {missed} failed, {unknown} not measured"
    return "\n".join(["Promised", *aligned(line.cells() for line in lines), total]), not missed
