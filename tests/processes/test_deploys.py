"""Two versions of one program side by side on one Redis, clocks that are wrong, and the worker of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

import anysched
from anysched import EntryStatus, RunStatus, Scheduler
from anysched.testing import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


async def enqueue_renamed(url: str, version: str, numbers: range) -> None:
    """As a program of that version would."""
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="renamed-" + version)
    async def renamed(number: int) -> None: ...

    async with scheduler:
        await scheduler.enqueue(*[renamed.bind(number) for number in numbers])


async def look(url: str) -> tuple[Any, dict[str, str], dict[str, str]]:
    async with Scheduler(url, namespace="processes") as scheduler:
        return (
            await scheduler.totals(),
            {entry.id: entry.status for entry in await scheduler.entries()},
            {run.id: run.status for run in await scheduler.runs(status=RunStatus.FAILED)},
        )


def fires(processes: Any, name: str) -> list[datetime]:
    return sorted(datetime.fromisoformat(words[2]) for words in processes.effects("fired") if words[1] == name)


def assert_each_once(found: list[datetime], period: timedelta) -> None:
    assert found == sorted(set(found)), "a fire was doubled"
    assert found == [found[0] + n * period for n in range(len(found))], "a fire was lost"


def test_a_rolling_deploy_loses_doubles_and_fails_nothing(processes: Any) -> None:
    """Old and new side by side: entries added, changed and removed, a job renamed; then only the new version.

    What nobody running knows waits without penalty; what the old version alone declares fires until that is gone.
    Breaks: "unknown jobs" (claimed by who cannot run them), "programs" (what the others declare is retired).
    """
    environ = {"ANYSCHED_TEST_LEASE": "2s"}
    half, quarter = timedelta(milliseconds=500), timedelta(milliseconds=250)
    old = [processes.worker(loop, ANYSCHED_TEST_VERSION="old", **environ) for loop in ("asyncio", "trio")]
    anyio.run(enqueue_renamed, processes.url, "new", range(100, 150))  # by a client that was deployed first
    anyio.run(enqueue_renamed, processes.url, "old", range(50))
    processes.wait_for(lambda: len(processes.effects("renamed")) == 50)
    processes.wait_for(lambda: len(fires(processes, "removed")) > 2)
    totals = anyio.run(look, processes.url)[0]
    assert (0, 0) == (totals.failed, totals.running)
    assert {"renamed-new"} == set(totals.unknown_jobs)
    assert 50 == totals.ready

    new = [processes.worker("asyncio", ANYSCHED_TEST_VERSION="new", **environ)]
    anyio.run(enqueue_renamed, processes.url, "old", range(50, 100))
    processes.wait_for(lambda: len(processes.effects("renamed")) == 150)
    assert 0 == processes.stop(old[0])
    new.append(processes.worker("trio", ANYSCHED_TEST_VERSION="new", **environ))
    count = len(fires(processes, "removed"))
    processes.wait_for(lambda: len(fires(processes, "removed")) > count + 1)
    assert 0 == processes.stop(old[1])
    processes.wait_for(lambda: anyio.run(look, processes.url)[1]["removed"] == EntryStatus.FINISHED)
    gone = time.time()
    time.sleep(1.2)

    for worker in new:
        assert 0 == processes.stop(worker)

    totals, entries, failed = anyio.run(look, processes.url)
    assert ({}, 0) == (failed, totals.failed)
    assert (0, 0) == (totals.ready, totals.running)
    assert {"kept": "active", "changed": "active", "added": "active", "removed": "finished"} == entries
    assert {1} == set(Counter(words[1] for words in processes.effects("renamed")).values())
    assert {"old", "new"} == {words[2] for words in processes.effects("renamed")}

    for name in ("kept", "removed", "added"):
        assert_each_once(fires(processes, name), half)

    changed = fires(processes, "changed")
    assert len(changed) == len(set(changed))
    steps = [later - earlier for earlier, later in pairwise(changed)]
    assert {half, quarter} == set(steps)
    assert steps == sorted(steps, reverse=True), "the new rule holds from when it was declared, and the old never again"
    assert fires(processes, "removed")[-1].timestamp() < gone


@pytest.mark.parametrize("skew", [3600, pytest.param(-3600, marks=pytest.mark.nightly)])
def test_a_node_whose_clock_is_an_hour_off_fires_at_the_right_time(processes: Any, skew: int) -> None:
    """What is shared goes by Redis' clock: fires are on time, each once, also beside a node whose clock is right.

    Break: "own clock" (an hour of fires at once, or none).
    """
    environ = {"ANYSCHED_TEST_ENTRIES": "1", "ANYSCHED_TEST_LEASE": "2s"}
    wrong = processes.worker("asyncio", ANYSCHED_TEST_SKEW=str(skew), **environ)
    processes.wait_for(lambda: len(fires(processes, "every")) >= 2, within=10)
    right = processes.worker("trio", **environ)
    anyio.run(delayed_note, processes.url)
    processes.wait_for(lambda: len(fires(processes, "every")) >= 4, within=10)
    assert 0 == processes.stop(wrong)
    processes.wait_for(lambda: len(fires(processes, "every")) >= 6, within=10)
    processes.wait_for(lambda: processes.effects("note"), within=5)
    assert 0 == processes.stop(right)

    for name in ("every", "cron", "elsewhere"):
        found = fires(processes, name)
        assert_each_once(found, timedelta(seconds=1))
        assert abs((found[-1] - datetime.now(UTC)).total_seconds()) < 10

    assert max(float(words[5]) for words in processes.effects("fired")) < 2000
    assert 1 == len(processes.effects("note"))


def test_a_node_whose_clock_steps_back_an_hour_fires_on(processes: Any, tmp_path: Path) -> None:
    """In the middle of its work, alone, with nobody to make up for it: each fire on time and once, a run too.

    Break: "own clock" (no fire for an hour).
    """
    step = tmp_path / "step"
    environ = {"ANYSCHED_TEST_ENTRIES": "1", "ANYSCHED_TEST_LEASE": "2s", "ANYSCHED_TEST_STEP": str(step)}
    worker = processes.worker("trio", **environ)
    processes.wait_for(lambda: len(fires(processes, "every")) >= 2, within=10)
    step.write_text("-3600")
    count = len(fires(processes, "every"))
    processes.wait_for(lambda: len(fires(processes, "every")) >= count + 3, within=15)
    anyio.run(delayed_note, processes.url)
    processes.wait_for(lambda: processes.effects("note"), within=10)
    assert 0 == processes.stop(worker)

    for name in ("every", "cron", "elsewhere"):
        assert_each_once(fires(processes, name), timedelta(seconds=1))

    assert [] == processes.effects("LeaseWasLost")


async def delayed_note(url: str) -> None:
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="note")
    async def note(number: int) -> int: ...

    async with scheduler:
        await note.options(delay="1s").enqueue(0)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void) {
  long seconds = 0;
  FILE *file = fopen(getenv("SHIM_FILE"), "r");
  if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
  return seconds;
}

int gettimeofday(struct timeval *at, void *zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int failed = real(at, zone);
  at->tv_sec += ahead();
  return failed;
}
"""


@pytest.fixture
def jumping_server(tmp_path: Any) -> Any:
    """A server whose clock is ahead by what a file says."""
    source, library, wrapper = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "redis-server"
    source.write_text(SHIM)

    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler to build the shim with that moves a server's clock")

    from anysched.testing.redis_process import find_redis_executable

    wrapper.write_text(
        f'#!/bin/sh\nSHIM_FILE="{tmp_path}/ahead" LD_PRELOAD="{library}" exec {find_redis_executable()} "$@"\n'
    )
    wrapper.chmod(0o755)

    with RedisServer(own=True, appendonly=False, executable=wrapper) as server:
        server.cli("TIME")
        yield server


@pytest.mark.nightly
def test_a_redis_clock_that_jumps_doubles_no_fire_and_ends_no_loop(
    jumping_server: RedisServer, tmp_path: Any, around: Any
) -> None:
    """Ten seconds ahead, and ten seconds back, at a lease of two.

    Ahead: all leases seem to be over, so a run may be taken from a node that lives; what that settles is refused, and
    it joins anew. Fires in between count as missed. Back: entries wait until the clock has come there again; what is
    ready is done at once all the time.
    """
    processes = around(jumping_server)
    environ = {"ANYSCHED_TEST_ENTRIES": "1", "ANYSCHED_TEST_LEASE": "2s"}
    workers = [processes.worker(loop, **environ) for loop in ("asyncio", "trio")]
    anyio.run(enqueue_long, processes.url, "it", 4)
    processes.wait_for(lambda: processes.effects("begin"))
    processes.wait_for(lambda: len(fires(processes, "every")) >= 2, within=10)

    for ahead in (10, 0):
        (tmp_path / "ahead").write_text(str(ahead))
        count, begun = len(fires(processes, "every")), len(processes.effects("note"))
        anyio.run(note_now, processes.url, ahead)
        processes.wait_for(lambda: len(processes.effects("note")) > begun, within=4)  # noqa: B023 - called now
        processes.wait_for(lambda: len(fires(processes, "every")) >= count + 3, within=20)  # noqa: B023 - called now

    processes.wait_for(lambda: anyio.run(status_of, processes.url, "it") == RunStatus.SUCCEEDED)

    for worker in workers:
        assert 0 == processes.stop(worker)

    for name in ("every", "cron", "elsewhere"):
        found = fires(processes, name)
        assert found == sorted(set(found)), "a fire was doubled"

    begun, lost = len(processes.effects("begin")), len(processes.effects("LeaseWasLost"))
    assert begun <= 1 + lost
    print(f"\n{begun} attempts, {lost} leases lost")


async def enqueue_long(url: str, name: str, seconds: float) -> None:
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="long")
    async def long(name: str, seconds: float) -> str: ...

    async with scheduler:
        await long.options(run_id=name).enqueue(name, seconds)


async def note_now(url: str, number: int) -> None:
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="note")
    async def note(number: int) -> int: ...

    async with scheduler:
        await note.enqueue(number)


async def status_of(url: str, run_id: str) -> str:
    async with Scheduler(url, namespace="processes") as scheduler:
        return await scheduler.run_status(run_id)


def test_the_command_line_runs_a_worker_that_outlives_redis(
    durable: Any, durable_server: RedisServer, tmp_path: Any
) -> None:
    """`anysched run` in a process of its own: Redis is killed, restarted, SIGTERM ends it; its log says all that."""
    folder = Path(__file__).parent
    journal = tmp_path / "cli.log"
    environ = {
        **os.environ,
        "ANYSCHED_TEST_URL": durable.url,
        "ANYSCHED_TEST_ENTRIES": "1",
        "ANYSCHED_TEST_LEASE": "5s",
        "EFFECTS": str(durable.log),
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(anysched.__file__).parents[1])]),
    }
    command = [sys.executable, "-m", "anysched.cli", "run", "program:scheduler"]

    with journal.open("w") as log:
        worker = subprocess.Popen(command, env=environ, stderr=log, cwd=folder)

    try:
        durable.wait_for(lambda: len(fires(durable, "every")) >= 2)
        durable_server.kill()
        time.sleep(0.5)
        durable_server.start()
        count = len(fires(durable, "every"))
        durable.wait_for(lambda: len(fires(durable, "every")) > count + 1)
        worker.send_signal(signal.SIGTERM)
        assert 0 == worker.wait(15)
    finally:
        worker.kill()
        worker.wait()
        print(journal.read_text()[-1500:])

    assert_each_once(fires(durable, "every"), timedelta(seconds=1))
    said = journal.read_text()
    assert "backend lost" in said and "backend found" in said and "stopped" in said
