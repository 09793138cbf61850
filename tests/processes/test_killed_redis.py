"""Redis is killed under load and comes back: with its data, and without."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import anyio
import pytest

from anysched import Scheduler
from anysched.backends import Totals
from anysched.testing import RedisServer

pytestmark = pytest.mark.slow

AMOUNTS = [
    pytest.param(2_000, 2, marks=pytest.mark.timeout(60)),
    pytest.param(20_000, 8, marks=[pytest.mark.nightly, pytest.mark.timeout(300)]),
]


async def totals_of(url: str) -> Totals:
    async with Scheduler(url, namespace="processes") as scheduler:
        return await scheduler.totals()


async def entry_ids_of(url: str) -> set[str]:
    async with Scheduler(url, namespace="processes") as scheduler:
        return {entry.id for entry in await scheduler.entries()}


@pytest.mark.parametrize(("count", "kills"), AMOUNTS)
def test_no_accepted_run_is_lost_when_redis_with_an_append_only_file_is_killed(
    durable: Any, durable_server: RedisServer, count: int, kills: int
) -> None:
    """`kill -9` of Redis time and again while runs are enqueued and executed: all are done.

    A run is done twice only if its node lost its lease. Break: "outages" (workers end).
    """
    for loop in ("asyncio", "trio"):
        durable.worker(loop, ANYSCHED_TEST_LEASE="5s")

    client = durable.start("flood", "--count", str(count))
    done = lambda: len(durable.effects("note"))  # noqa: E731 - short

    for kill in range(kills):
        durable.wait_for(lambda: done() >= count * (kill + 0.5) / (kills + 1), within=120)  # noqa: B023 - called now
        durable_server.kill()
        time.sleep(0.3)
        durable_server.start()

    assert 0 == client.wait(120)
    notes = lambda: Counter(int(words[1]) for words in durable.effects("note"))  # noqa: E731 - short

    try:
        durable.wait_for(lambda: len(notes()) == count, within=60)
    except AssertionError:
        missing = sorted(set(range(count)) - set(notes()))
        records = [durable_server.cli("HGETALL", f"{{processes}}:run:flood-{number}") for number in missing[:3]]
        totals = anyio.run(totals_of, durable.url)
        pytest.fail(f"{len(missing)} are missing: {missing[:5]}; their records {records}; {totals}")

    durable.wait_for(lambda: anyio.run(totals_of, durable.url).running == 0)

    totals = anyio.run(totals_of, durable.url)
    assert (0, 0, 0, 0) == (totals.ready, totals.running, totals.scheduled, totals.failed)
    assert count == len(durable.effects("accepted")) * 100
    doubled = [number for number, times in notes().items() if times > 1]
    assert not doubled or durable.effects("LeaseWasLost"), f"{len(doubled)} doubled without a lost lease"
    print(f"\n{count} accepted, {kills} kills, 0 lost, {len(doubled)} doubled")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("trio", marks=pytest.mark.nightly)])
def test_workers_go_on_with_a_redis_that_came_back_empty(
    forgetful: Any, forgetful_server: RedisServer, loop: str
) -> None:
    """Without persistence everything is lost: the log says so, declared entries are there again, and work goes on.

    Tokens do not begin anew: a lease of the earlier life can change nothing. Break: "tokens".
    """
    worker = forgetful.worker(loop, ANYSCHED_TEST_ENTRIES="1", ANYSCHED_TEST_LEASE="2s")
    anyio.run(enqueue, forgetful.url, "before")
    forgetful.wait_for(lambda: forgetful.effects("begin"))
    forgetful.wait_for(lambda: forgetful.effects("fired"))
    forgetful_server.kill()
    time.sleep(0.2)
    forgetful_server.start()
    began = time.monotonic()

    forgetful.wait_for(lambda: forgetful.effects("cancelled"), within=5)
    fires = len(forgetful.effects("fired"))
    forgetful.wait_for(lambda: len(forgetful.effects("fired")) > fires + 3, within=10)
    recovered = time.monotonic() - began
    assert 3 == len(anyio.run(entry_ids_of, forgetful.url))

    anyio.run(enqueue, forgetful.url, "after")
    forgetful.wait_for(lambda: len(forgetful.effects("begin")) == 2)
    before, after = forgetful.effects("begin")
    assert int(after[5]) > int(before[5]), "tokens never come back"
    assert 0 == forgetful.stop(worker)

    fired = Counter((words[1], words[2]) for words in forgetful.effects("fired"))
    assert set(fired.values()) == {1}, "no fire is doubled by the loss of all memory of it"
    journal = forgetful.journal.read_text()
    assert "backend" in journal and "the lease on run" in journal
    print(f"\nrecovered in {recovered:.1f} s")


async def enqueue(url: str, name: str) -> None:
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="long")
    async def long(name: str, seconds: float) -> str: ...

    async with scheduler:
        await long.enqueue(name, 30 if name == "before" else 0.0)
