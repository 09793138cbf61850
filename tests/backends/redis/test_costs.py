"""What a run costs Redis: memory while it waits, commands from its enqueueing to its end."""

from __future__ import annotations

import pytest

from anysched.backends import Claim, NewRun, NodeInfo, Outcome
from anysched.backends.redis import RedisBackend
from anysched.identifiers import make_run_id
from anysched.testing.resp import RespConnection

RUNS = 10_000
BATCH = 32
NOT_OURS = {"eval", "evalsha", "info", "config", "config|resetstat", "client|setinfo", "script|load"}


def info(store: RespConnection, section: str) -> dict[str, str]:
    reply = store.command("INFO", section)
    assert isinstance(reply, bytes)
    return dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)


def commands_of_scripts(store: RespConnection) -> int:
    """How many commands scripts have run since the counters were set to nothing."""
    stats = info(store, "commandstats")
    calls = {name.removeprefix("cmdstat_"): int(row.split("=")[1].split(",")[0]) for name, row in stats.items()}
    return sum(count for name, count in calls.items() if name not in NOT_OURS)


def no_ops(count: int) -> list[NewRun]:
    return [NewRun(id=make_run_id(1_800_000_000_000 + i), job="noop", payload="[[],{}]") for i in range(count)]


@pytest.mark.slow
async def test_a_queued_run_takes_little_memory(backend: RedisBackend, store: RespConnection) -> None:
    """At most 350 bytes for one without arguments, all indexes counted."""
    await backend.enqueue(no_ops(1))
    before = int(info(store, "memory")["used_memory"])
    runs = no_ops(RUNS)

    for start in range(0, RUNS, 500):
        await backend.enqueue(runs[start : start + 500])

    assert (int(info(store, "memory")["used_memory"]) - before) / RUNS <= 350


async def test_a_run_takes_few_commands(backend: RedisBackend, store: RespConnection) -> None:
    """At most 7 from enqueue to success, in batches of 32."""
    await backend.join(NodeInfo(id="node", ttl_ms=60_000, jobs=("noop",), queues=("default",)))
    await backend.work("node", (), Claim(number=1, count=1, queues=("default",)))
    runs = no_ops(30 * BATCH)
    store.command("CONFIG", "RESETSTAT")

    for start in range(0, len(runs), BATCH):
        await backend.enqueue(runs[start : start + BATCH])

    outcomes: list[Outcome] = []
    settled = 0

    for number in range(len(runs) // BATCH + 1):
        claim = Claim(number=2 + number, count=BATCH, queues=("default",))
        reply = await backend.work("node", outcomes, claim)
        settled += sum(reply.settled)
        outcomes = [Outcome(run_id=run.id, token=run.token, kind="succeeded", result="null") for run in reply.runs]

    assert len(runs) == settled
    assert commands_of_scripts(store) / len(runs) <= 7


async def test_the_cost_of_a_claim_does_not_grow(backend: RedisBackend, store: RespConnection) -> None:
    """The same number of commands with 10 and with 5,000 runs waiting, due later, and with an expiry."""
    await backend.join(NodeInfo(id="node", ttl_ms=60_000, jobs=("noop",), queues=("default",)))
    counts: list[int] = []

    for stored in (10, 5_000):
        runs = no_ops(stored)
        await backend.enqueue(runs)
        await backend.enqueue([NewRun(id=f"later {stored} {i}", job="noop", delay_ms=3_600_000) for i in range(stored)])
        store.command("CONFIG", "RESETSTAT")
        reply = await backend.work("node", (), Claim(number=2 + stored, count=4, queues=("default",)))
        assert 4 == len(reply.runs)
        counts.append(commands_of_scripts(store))

    assert counts[0] == counts[1]


async def test_an_idle_node_asks_little(backend: RedisBackend, store: RespConnection) -> None:
    """A claim that finds nothing, and a renewal: a handful of commands within one script each."""
    await backend.join(NodeInfo(id="node", ttl_ms=60_000, jobs=("noop",), queues=("default",)))
    await backend.work("node", (), Claim(number=1, count=1, queues=("default",)))
    store.command("CONFIG", "RESETSTAT")
    await backend.work("node", (), Claim(number=2, count=1, queues=("default",)))
    await backend.renew("node", 60_000)

    assert commands_of_scripts(store) <= 45
