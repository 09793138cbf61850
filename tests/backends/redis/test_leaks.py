"""Every key has an owner that removes it: after a full life of everything only the permanent ones stay."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from anysched.backends import Claim, ClaimedRun, EntryWrite, Fire, NewRun, NodeInfo, Outcome, WorkReply
from anysched.backends.redis import RedisBackend
from anysched.testing.resp import RespConnection

LATER = 3_600_000
PERMANENT = {"queues", "sequence", "token", "totals", "finished:succeeded", "finished:cancelled", "finished:expired"}


def keys(store: RespConnection) -> set[str]:
    reply: Any = store.command("KEYS", "*")
    return {key.decode().removeprefix("{anysched}:") for key in reply}


def lasting(store: RespConnection) -> set[str]:
    """Those that no TTL removes."""
    return {key for key in keys(store) if store.command("PTTL", "{anysched}:" + key) == -1}


class Worker:
    """A node that does whatever it is told with whatever it gets."""

    def __init__(self, backend: RedisBackend, name: str) -> None:
        self.backend, self.name, self.calls = backend, name, 0

    async def join(self, *jobs: str, ttl_ms: int = LATER) -> None:
        await self.backend.join(
            NodeInfo(id=self.name, ttl_ms=ttl_ms, jobs=("job", *jobs), queues=("default", "other"), program="p")
        )

    async def work(self, *outcomes: Outcome, limits: dict[str, int] | None = None) -> WorkReply:
        self.calls += 1
        claim = Claim(number=self.calls, count=10, queues=("default", "other"), limits=limits or {})
        return await self.backend.work(self.name, outcomes, claim)

    async def finish_all(self) -> None:
        kinds: Any = ["succeeded", "failed", "cancelled"]

        while runs := (await self.work()).runs:
            outcomes = [
                Outcome(run_id=run.id, token=run.token, kind=kinds[number % 3], error="e", ttl_ms=10_000)
                for number, run in enumerate(runs)
            ]
            await self.backend.work(self.name, outcomes, None)


async def run_through_every_fate(backend: RedisBackend, worker: Worker) -> None:
    await worker.work()
    await backend.enqueue(
        [NewRun(id=f"plain {i}", job="job", key=f"k{i}", priority=i, ttl_ms=10_000) for i in range(6)]
    )
    await backend.enqueue([NewRun(id="due", job="job", delay_ms=1, queue="other")])
    await backend.enqueue([NewRun(id="later", job="job", delay_ms=LATER, ttl_ms=10_000)])
    await backend.enqueue([NewRun(id="expires", job="job", expires_ms=1, ttl_ms=10_000)])
    await backend.enqueue([NewRun(id="expires later", job="job", expires_ms=LATER)])
    await backend.enqueue([NewRun(id="strange", job="strange", ttl_ms=10_000)])
    await backend.watch("plain 1", "me")
    await backend.watch("plain 1", "you")
    await backend.cancel("later")
    retried, cancelled, *_ = (await worker.work(limits={"job": 3})).runs
    await backend.set_progress(retried.id, retried.token, 0.5, "half")
    await backend.cancel(cancelled.id)
    await worker.work(Outcome(run_id=retried.id, token=retried.token, kind="retry", error="e", delay_ms=1))
    await backend.cancel("strange")


async def fire_and_declare(backend: RedisBackend) -> None:
    now = await backend.time_ms()

    for name in ("entry", "removed"):
        write = EntryWrite(id=name, spec="s", revision="r", next_ms=now)
        await backend.put_entry(write, replace=False, nonce=name)

    fire = Fire(
        entry_id="entry",
        revision="r",
        cursor_ms=now,
        next_ms=0,
        end="completion",
        after_ms=1,
        runs=tuple(NewRun(id=f"fired {i}", job="job", entry_id="entry", ttl_ms=10_000) for i in range(3)),
        overlap="queue_all",
    )
    await backend.tick("tick", [fire], count=10)

    for name in ("made", "waits"):
        await backend.trigger("removed", NewRun(id=name, job="job", ttl_ms=10_000), overlap="queue_one")

    await backend.declare("p", [EntryWrite(id="declared", spec="s", revision="r", next_ms=now)], ttl_ms=1)
    await backend.pause_entry("declared", "why")


async def lock_and_wait(backend: RedisBackend) -> None:
    for owner in ("one", "two", "three"):
        await backend.acquire_lock("lock", owner, ttl_ms=LATER, wait_inbox=owner)

    for owner in ("one", "three", "two"):
        await backend.release_lock("lock", owner)

    await backend.acquire_lock("lapsing", "one", ttl_ms=1, wait_inbox=None)
    await backend.pause_queue("other")
    await backend.resume_queue("other")


async def live_fully(backend: RedisBackend) -> None:
    """Everything that there is, at least once, and all of it to its end; one node dies with work in its hands."""
    first, second = Worker(backend, "first"), Worker(backend, "second")
    await first.join()
    await second.join()
    await run_through_every_fate(backend, first)
    await fire_and_declare(backend)
    await lock_and_wait(backend)
    await backend.renew("first", 1)
    started = await backend.time_ms()

    while await backend.time_ms() <= started + 20:
        await backend.work("second", (), None)

    await second.finish_all()

    for entry in ("entry", "removed", "declared"):
        await backend.remove_entry(entry)

    await second.finish_all()
    await backend.cancel("expires later")
    await backend.declare("q", [], ttl_ms=1)
    await backend.leave("second")


@pytest.mark.slow
async def test_nothing_is_left_behind(backend: RedisBackend, store: RespConnection) -> None:
    """Permanent keys, final records under their TTL, and the failed runs' lists, which go with their records."""
    await live_fully(backend)
    failed = {"failed", "failed-until"}
    declared = {"programs", "program-ttls"}

    assert lasting(store) <= PERMANENT | failed | declared
    temporary = {key.partition(":")[0] for key in keys(store) - lasting(store)}
    assert temporary <= {"run", "memo", "lock", "program"}
    assert 0 == (await backend.totals()).running

    failed_ids: Any = store.command("ZRANGE", "{anysched}:failed", 0, -1)

    for name in failed_ids:
        store.command("ZADD", "{anysched}:failed-until", "XX", 1, name)

    await backend.join(NodeInfo(id="last", ttl_ms=LATER))
    await backend.renew("last", LATER)
    await backend.leave("last")
    assert lasting(store) <= PERMANENT | declared


async def test_failed_runs_leave_their_lists_as_fast_as_they_come(backend: RedisBackend, store: RespConnection) -> None:
    """Whose record has gone is named no more, however many fail between two renewals.

    Break: only a renewal takes some off the lists.
    """
    worker = Worker(backend, "node")
    await worker.join()

    for round in range(3):
        await backend.enqueue([NewRun(id=f"{round} {number}", job="job") for number in range(300)])
        claim = Claim(number=round + 1, count=300, queues=("default",))
        runs = (await backend.work("node", (), claim)).runs
        outcomes = [Outcome(run_id=run.id, token=run.token, kind="failed", ttl_ms=10_000) for run in runs]
        await backend.work("node", outcomes, None)
        assert 300 == store.command("ZCARD", "{anysched}:failed") == store.command("ZCARD", "{anysched}:failed-until")

        for run in runs:
            store.command("ZADD", "{anysched}:failed-until", "XX", 1, run.id)


async def lose_a_run(backend: RedisBackend, store: RespConnection, worker: Worker, form: str) -> ClaimedRun:
    """A run that its node has, whose record is gone."""
    await backend.enqueue([NewRun(id="lost", job="job")])
    (run,) = (await worker.work(limits={"job": 1})).runs

    if form == "hash":
        await backend.set_progress(run.id, run.token, 0.5, "")
        await backend.cancel(run.id)

    store.command("DEL", "{anysched}:run:lost")
    return run


@pytest.mark.parametrize("form", ["string", "hash"])
@pytest.mark.parametrize("way", ["settled", "left", "died"])
async def test_a_run_whose_record_is_lost_leaves_nothing_behind(
    backend: RedisBackend, store: RespConnection, form: str, way: str
) -> None:
    """Neither with its node nor in the slots of its job: when that settles it, leaves or dies.

    Breaks: what settles it finds no record and leaves it with its node; what empties the node leaves the slot taken.
    """
    worker, other = Worker(backend, "node"), Worker(backend, "other")
    await worker.join()
    run = await lose_a_run(backend, store, worker, form)
    assert 1 == (await backend.totals()).running

    if way == "settled":
        outcome = Outcome(run_id=run.id, token=run.token, kind="succeeded")
        assert (False,) == (await backend.work("node", [outcome], None)).settled
        renewed = await backend.renew("node", LATER)
        assert ((), ()) == (renewed.held, renewed.cancels)
    elif way == "left":
        await backend.leave("node")
    else:
        await backend.renew("node", 1)
        started = await backend.time_ms()

        while await backend.time_ms() <= started + 2:
            pass

        await backend.work("other", (), None)

    assert 0 == (await backend.totals()).running
    await backend.leave("node")
    await other.join()
    await other.work()
    await backend.leave("other")
    assert lasting(store) <= PERMANENT | {"corrupt", "corrupt-reasons"}


@pytest.mark.parametrize("form", ["string", "hash"])
async def test_a_run_whose_record_is_lost_takes_nobody_s_slot(
    backend: RedisBackend, store: RespConnection, form: str
) -> None:
    """Whoever claims sees that it does not run any more, before its node has noticed.

    Break: that its claim is still known is taken for that it runs.
    """
    worker, other = Worker(backend, "node"), Worker(backend, "other")
    await worker.join()
    await other.join()
    await lose_a_run(backend, store, worker, form)
    await backend.enqueue([NewRun(id="next", job="job")])

    assert ["next"] == [run.id for run in (await other.work(limits={"job": 1})).runs]


async def test_a_run_whose_record_was_lost_and_made_anew_is_let_go(
    backend: RedisBackend, store: RespConnection
) -> None:
    """Its node has it no more when it has settled it; the new one is as it was.

    Break: it stays with the node, which is told of it for ever.
    """
    worker, other = Worker(backend, "node"), Worker(backend, "other")
    await worker.join()
    await other.join()
    run = await lose_a_run(backend, store, worker, "string")
    await backend.enqueue([NewRun(id="lost", job="job")])
    (new,) = (await other.work()).runs
    outcome = Outcome(run_id=run.id, token=run.token, kind="succeeded")

    assert (False,) == (await backend.work("node", [outcome], None)).settled
    assert () == (await backend.renew("node", LATER)).held
    assert ((new.id, new.token),) == (await backend.renew("other", LATER)).held
    assert (True,) == (await backend.work("other", [replace(outcome, token=new.token)], None)).settled
