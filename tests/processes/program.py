"""The program that the tests of this folder run in processes of its own: workers and a client of one Redis.

Every effect of a job is one line appended to a log that all processes share, written with a single ``write``, so that
lines of different processes do not mix.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import breaks

from anysched import BackendUnavailable, Clock, Event, Executor, LockLost, Scheduler, SchedulerConfig, current_run
from anysched.clock import clock_in_force
from anysched.events import BecameLeader, LeaseWasLost, NodeWasLost, StoppedLeading
from anysched.testing.resp import Address, RespConnection

breaks.apply()

LOG = os.environ.get("EFFECTS", "/dev/null")
_log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

# A node whose clock is wrong by so many seconds, and one whose clock steps by what a file says, once there is one.
SKEW = int(os.environ.get("ANYSCHED_TEST_SKEW", "0"))
STEP = Path(os.environ.get("ANYSCHED_TEST_STEP", os.devnull))
VERSION = os.environ.get("ANYSCHED_TEST_VERSION", "")
URL = os.environ["ANYSCHED_TEST_URL"]


def effect(*words: object) -> None:
    os.write(_log, (" ".join(map(str, words)) + "\n").encode())


class Notes:
    """Notes in the log what happens to nodes."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, LeaseWasLost | NodeWasLost | BecameLeader | StoppedLeading):
            effect(type(event).__name__, os.getpid(), event.node, f"{time.time():.3f}")


scheduler = Scheduler(
    URL,
    namespace=os.environ.get("ANYSCHED_TEST_NAMESPACE", "processes"),
    executor=Executor(max_concurrent=32),
    config=SchedulerConfig(
        lease=os.environ.get("ANYSCHED_TEST_LEASE", "15s"),
        shutdown_timeout="10s",
        result_ttl=os.environ.get("ANYSCHED_TEST_RESULT_TTL", "1h"),
    ),
    observers=[Notes()],
)


def fired(name: str) -> None:
    run = current_run()
    scheduled_for = run.scheduled_for
    assert scheduled_for is not None
    late = (datetime.now(UTC) - scheduled_for).total_seconds() * 1000
    effect("fired", name, scheduled_for.isoformat(), run.id, os.getpid(), f"{late:.1f}")


if os.environ.get("ANYSCHED_TEST_ENTRIES"):

    @scheduler.every("1s", overlap="allow", anchor=datetime(2026, 1, 1, tzinfo=UTC))
    async def every_second() -> None:
        fired("every")

    @scheduler.cron("* * * * * *", overlap="allow")
    async def cron_second() -> None:
        fired("cron")

    @scheduler.cron("*/1 * * * * *", tz="Asia/Kolkata", overlap="allow")
    async def cron_elsewhere() -> None:
        fired("elsewhere")


if VERSION:
    # Two versions of a program: one entry stays, one changes, one goes, one comes; a job gets another name.
    OPTIONS: Any = {"overlap": "allow", "misfire": "all", "anchor": datetime(2026, 1, 1, tzinfo=UTC)}

    @scheduler.every("500ms", **OPTIONS)
    async def kept() -> None:
        fired("kept")

    @scheduler.every("500ms" if VERSION == "old" else "250ms", **OPTIONS)
    async def changed() -> None:
        fired("changed")

    @scheduler.every("500ms", id="removed" if VERSION == "old" else "added", **OPTIONS)
    async def one_of_them() -> None:
        # Either version may run what the entry of the other has made.
        fired(current_run().entry_id or "")

    @scheduler.job(name="renamed-" + VERSION)
    async def renamed(number: int) -> None:
        effect("renamed", number, VERSION, os.getpid())


@scheduler.job
async def note(number: int) -> int:
    effect("note", number, current_run().attempt, os.getpid())
    return number


@scheduler.job
async def long(name: str, seconds: float) -> str:
    run = current_run()
    effect("begin", name, run.attempt, os.getpid(), f"{time.time():.3f}", run.fencing_token)

    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        effect("cancelled", name, run.attempt, os.getpid(), f"{time.time():.3f}", run.fencing_token)
        raise

    effect("end", name, run.attempt, os.getpid(), f"{time.time():.3f}", run.fencing_token)
    return name


async def count_tasks() -> None:
    """Every few seconds, as long as the scheduler runs."""
    while scheduler.statistics().running:
        effect("tasks", os.getpid(), len(anyio.get_running_tasks()))

        for _ in range(100):
            await anyio.sleep(0.1)

            if not scheduler.statistics().running:
                break


async def work() -> None:
    async with anyio.create_task_group() as counting, anyio.create_task_group() as group:
        await group.start(scheduler.run)
        effect("ready", os.getpid())
        counting.start_soon(count_tasks)

        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                break

        scheduler.stop()


async def enqueue(seconds: float) -> None:
    """Enqueue one run every few milliseconds, of every kind, and print how many were accepted."""
    number = 0
    until = time.monotonic() + seconds

    async with scheduler:
        while time.monotonic() < until:
            batch = [note.options(run_id=f"steady-{number + i}").bind(number + i) for i in range(5)]
            batch.append(note.options(run_id=f"steady-{number + 5}", delay="200ms").bind(number + 5))

            try:
                await scheduler.enqueue(*batch)
            except BackendUnavailable:  # in some tests Redis is harmed meanwhile
                await anyio.sleep(0.1)
                continue

            number += 6
            await anyio.sleep(0.02)

    print(number)


async def flood(count: int) -> None:
    """Enqueue so many runs, a hundred at a time, and note each hundred when it has been accepted.

    What was refused is repeated with the same ids until it is accepted.
    """
    async with scheduler:
        for first in range(0, count, 100):
            bounds = [note.options(run_id=f"flood-{n}").bind(n) for n in range(first, first + 100)]

            while True:
                try:
                    await scheduler.enqueue(*bounds)
                    break
                except BackendUnavailable:
                    effect("refused", first)
                    await anyio.sleep(0.05)

            effect("accepted", first)


# Adds to a counter, if the token is not lower than the highest that has been seen: a store that checks.
ADD = """
if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], 'token') or '0') then
  return 'stale'
end

redis.call('HSET', KEYS[1], 'token', ARGV[1], 'count', ARGV[2])
return 'added'
"""


async def count_under_lock(seconds: float) -> None:
    """Read a counter, dawdle, and write it back plus one, over and over, under a lock. Each addition is noted."""
    until = time.monotonic() + seconds
    chance = random.Random(os.getpid())
    script = ADD if not os.environ.get("ANYSCHED_TEST_UNFENCED") else ADD.replace("return 'stale'", "")
    effect("ready", os.getpid())

    with RespConnection(Address.from_url(URL)) as store:

        async def add() -> None:
            async with scheduler.lock("counter", ttl="500ms") as lease:
                seen = int(bytes(store.command("HGET", "counter", "count") or b"0"))
                await anyio.sleep(chance.random() * 0.01)
                reply = store.command("EVAL", script, 1, "counter", lease.token, seen + 1)
                effect(bytes(reply).decode(), os.getpid())

        async with scheduler:
            while time.monotonic() < until:
                try:
                    await add()
                except LockLost:
                    effect("LockLost", os.getpid())


def wrong_time() -> int:
    step = int(STEP.read_text() or 0) if STEP.exists() else 0
    return time.time_ns() // 1000 + (SKEW + step) * 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["work", "enqueue", "flood", "count"])
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)

    if SKEW or STEP != Path(os.devnull):
        clock_in_force.set(Clock(wrong_time))

    to_do = {
        "work": work,
        "enqueue": partial(enqueue, args.seconds),
        "flood": partial(flood, args.count),
        "count": partial(count_under_lock, args.seconds),
    }
    anyio.run(to_do[args.what], backend=args.loop)
    sys.exit(0)


if __name__ == "__main__":
    main()
