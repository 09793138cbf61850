"""How soon things start on a real Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import quantiles
from time import perf_counter
from typing import Any

import anyio
import pytest

from anysched import Scheduler, current_run
from anysched.testing import RedisServer

# The figures hold on an idle machine; where others work beside it only the order of magnitude can be asked for.
AMOUNTS = [
    pytest.param(60, 250.0, 40.0, id="sanity"),
    pytest.param(300, 20.0, 3.0, id="promised", marks=pytest.mark.benchmark),
]


def percentile(values: list[float], which: int) -> float:
    return quantiles(values, n=100)[which - 1]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "late_p99", "pickup_p50"), AMOUNTS)
async def test_delayed_runs_are_never_early_and_hardly_late(
    redis_url: str, count: int, late_p99: float, pickup_p50: float
) -> None:
    """Delayed runs start at most a few milliseconds late, by the clock of the same machine, and none early."""
    del pickup_p50
    scheduler = Scheduler(redis_url)
    late: list[float] = []

    @scheduler.job
    async def due(at: datetime) -> None:
        late.append((datetime.now(UTC) - at).total_seconds() * 1000)

    async with scheduler.running():
        for _ in range(count):
            delay = 0.05
            at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + delay, UTC)
            run = await due.options(at=at).enqueue(at)
            await run.result()

    assert count == len(late)
    assert min(late) >= 0
    assert percentile(late, 99) <= late_p99, f"p50 {percentile(late, 50):.2f} ms, p99 {percentile(late, 99):.2f} ms"


@pytest.mark.slow
@pytest.mark.parametrize(("count", "late_p99", "pickup_p50"), AMOUNTS)
async def test_an_idle_worker_picks_up_at_once(redis_url: str, count: int, late_p99: float, pickup_p50: float) -> None:
    """From before ``enqueue`` to the handler's first line takes a few milliseconds."""
    del late_p99
    scheduler = Scheduler(redis_url)
    took: list[float] = []

    @scheduler.job
    async def picked_up(since: float) -> None:
        took.append((perf_counter() - since) * 1000)

    async with scheduler.running():
        for _ in range(count):
            run = await picked_up.enqueue(perf_counter())
            await run.result()
            await anyio.sleep(0.005)

    assert count == len(took)
    assert percentile(took, 50) <= pickup_p50, f"p50 {percentile(took, 50):.2f} ms, p99 {percentile(took, 99):.2f} ms"


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_an_idle_node_sends_at_most_a_command_a_second(
    anysched_redis_server: RedisServer, redis_url: str
) -> None:
    """Ten seconds of an idle node with a schedule that is far away."""
    scheduler = Scheduler(redis_url)

    @scheduler.cron("0 0 1 1 *")
    async def new_year() -> None:
        assert current_run()

    def commands() -> int:
        """What clients have sent. Commands inside scripts are counted under their own names."""
        stats: dict[str, Any] = anysched_redis_server.info("commandstats")
        sent = ("evalsha", "eval", "ping", "script", "subscribe")
        calls = [str(stats.get(f"cmdstat_{name}", "calls=0")) for name in sent]
        return sum(int(text.split(",")[0].removeprefix("calls=")) for text in calls)

    async with scheduler.running():
        await anyio.sleep(1)
        before = commands()
        await anyio.sleep(10)
        sent = commands() - before

    assert sent <= 10, f"{sent} commands in ten seconds"
