"""What becomes of the runs of a worker that dies, and of runs that are longer than the lease."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from anysched import Run, RunStatus, Scheduler

LEASES = [2, pytest.param(15, marks=[pytest.mark.nightly, pytest.mark.timeout(120)])]


async def enqueue_long(url: str, name: str, seconds: float) -> str:
    """Enqueue as a program would that does not have the function."""
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="long")
    async def long(name: str, seconds: float) -> str: ...

    async with scheduler:
        run: Run[str] = await long.enqueue(name, seconds)
        return run.id


async def status_of(url: str, run_id: str) -> RunStatus:
    async with Scheduler(url, namespace="processes") as scheduler:
        return await scheduler.run_status(run_id)


@pytest.mark.slow
@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_killed_workers_run_is_back_within_the_lease_and_a_second(processes: Any, lease: int, loop: str) -> None:
    """``kill -9`` in the middle of a run: another node has it again in time, under a greater token.

    Fails if nobody looks at the end of another node's lease.
    """
    environ = {"ANYSCHED_TEST_LEASE": f"{lease}s"}
    first = processes.worker(loop, **environ)
    anyio.run(enqueue_long, processes.url, "it", 0.5 * lease + 1)
    processes.wait_for(lambda: processes.effects("begin"))
    second = processes.worker(loop, **environ)
    killed_at = time.time()
    first.kill()
    processes.wait_for(lambda: len(processes.effects("begin")) == 2, within=lease + 5)
    before, after = processes.effects("begin")

    assert str(second.pid) == after[3]
    assert float(after[4]) - killed_at < lease + 1
    assert int(after[5]) > int(before[5])
    assert (before[2], after[2]) == ("1", "1"), "a crash costs no attempt"
    processes.wait_for(lambda: processes.effects("end"))


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("trio", marks=pytest.mark.nightly)])
def test_a_run_of_ten_leases_is_run_once(processes: Any, loop: str) -> None:
    """Two workers, a lease of a second, a run of ten: it begins once and ends once.

    Fails if leases were not renewed while a handler runs.
    """
    for _ in range(2):
        processes.worker(loop, ANYSCHED_TEST_LEASE="1s")

    run_id = anyio.run(enqueue_long, processes.url, "it", 10)
    processes.wait_for(lambda: processes.effects("end"), within=20)

    assert len(processes.effects("begin")) == 1
    assert len(processes.effects("end")) == 1
    # The effect is written before the outcome is settled.
    processes.wait_for(lambda: anyio.run(status_of, processes.url, run_id).is_final)
    assert anyio.run(status_of, processes.url, run_id) == RunStatus.SUCCEEDED
