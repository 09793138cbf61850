"""Every command is sent twice: the second time nothing more happens, and the answer is the same.

Clients resend after a lost reply, so this is not an edge. Where a request carries nothing to know it again by, the
second answer is what the first one left; what is stored is the same even then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest

from anysched.backends import Claim, Enqueued, Fire, LockAnswer, NodeInfo, Outcome, Renewed, TickReply, WorkReply
from anysched.backends.records import OutcomeKind

from .stage import LATER, Stage, Staged, entry_write, new_run

__all__ = ["RepetitionConformance"]

Command = Callable[[], Awaitable[Any]]
Prepare = Callable[[Stage], Awaitable[Command]]

PREPARED: dict[str, Prepare] = {}
"""What is sent twice, by name: each prepares a backend and says what is to be sent."""

ANSWER_WHAT_THEY_FIND = {"revive", "reschedule", "declare", "remove_entry", "release_lock", "leave_line"}


def prepared(prepare: Prepare) -> Prepare:
    """Add a command to be sent twice, with what has to be there before."""
    PREPARED[prepare.__name__] = prepare
    return prepare


# --- runs ----------------------------------------------------------------------------------------------------


@prepared
async def enqueue(stage: Stage) -> Command:
    """Three runs, two of one key."""
    runs = [new_run("a", key="k"), new_run("b", key="k"), new_run("c", delay_ms=LATER)]
    return partial(stage.backend.enqueue, runs)


@prepared
async def watch(stage: Stage) -> Command:
    """A live run."""
    await stage.add("a")
    return partial(stage.backend.watch, "a", "me")


@prepared
async def cancel_ready(stage: Stage) -> Command:
    """A run that is not running."""
    await stage.add("a", key="k")
    return partial(stage.backend.cancel, "a")


@prepared
async def cancel_running(stage: Stage) -> Command:
    """A run that is running."""
    await stage.join()
    await stage.add("a")
    await stage.claim()
    return partial(stage.backend.cancel, "a")


@prepared
async def revive(stage: Stage) -> Command:
    """A failed run."""
    await stage.join()
    await stage.add("a")
    await stage.settle(await stage.claim_one(), "failed")
    return partial(stage.backend.revive, "a")


@prepared
async def reschedule(stage: Stage) -> Command:
    """A ready run, to an instant."""
    await stage.add("a")
    return partial(stage.backend.reschedule, "a", at_ms=await stage.backend.time_ms() + LATER)


# --- work ----------------------------------------------------------------------------------------------------


@prepared
async def join(stage: Stage) -> Command:
    """A new node."""
    return partial(stage.backend.join, NodeInfo(id="n", ttl_ms=LATER))


@prepared
async def renew(stage: Stage) -> Command:
    """A node with a run that was asked to cancel."""
    await cancel_running(stage)
    await stage.backend.cancel("a")
    return partial(stage.backend.renew, "node", LATER)


@prepared
async def leave(stage: Stage) -> Command:
    """A node with runs."""
    await stage.join()
    await stage.add("a", "b", "c")
    await stage.claim(count=2)
    return partial(stage.backend.leave, "node")


@prepared
async def claim(stage: Stage) -> Command:
    """Some of what is ready."""
    await stage.join()
    await stage.add("a", "b", "c")
    return partial(stage.backend.work, "node", (), Claim(number=stage.number(), count=2, queues=("default",)))


@prepared
async def claim_with_limit(stage: Stage) -> Command:
    """Some of it set aside, for two reasons."""
    await stage.join()
    await stage.add("a", "b", "c")
    await stage.add("s", job="strange")
    claim = Claim(number=stage.number(), count=9, queues=("default",), limits={"job": 2})
    return partial(stage.backend.work, "node", (), claim)


@prepared
async def settle_and_claim(stage: Stage) -> Command:
    """One is settled and can be claimed again at once."""
    await stage.join()
    await stage.add("a", "b", "c")
    run, _ = await stage.claim(count=2)
    outcome = Outcome(run_id=run.id, token=run.token, kind="released")
    return partial(stage.backend.work, "node", [outcome], Claim(number=stage.number(), count=1, queues=("default",)))


def _settling(kind: OutcomeKind) -> Prepare:
    async def settle(stage: Stage) -> Command:
        await stage.join()
        await stage.add("a", "b", key=f"{kind} key")
        run = await stage.claim_one()
        outcome = Outcome(run_id=run.id, token=run.token, kind=kind, result="r", error="e", delay_ms=LATER)
        return partial(stage.backend.work, "node", [outcome], None)

    return settle


KINDS: tuple[OutcomeKind, ...] = ("succeeded", "failed", "retry", "snooze", "released", "cancelled")
PREPARED.update((f"settle_{kind}", _settling(kind)) for kind in KINDS)


@prepared
async def set_progress(stage: Stage) -> Command:
    """Of a held run."""
    await stage.join()
    await stage.add("a")
    run = await stage.claim_one()
    return partial(stage.backend.set_progress, "a", run.token, 0.5, "half")


# --- entries -------------------------------------------------------------------------------------------------


@prepared
async def put_entry(stage: Stage) -> Command:
    """A new one."""
    return partial(stage.backend.put_entry, entry_write("e"), replace=False, nonce="n")


@prepared
async def replace_entry(stage: Stage) -> Command:
    """One that is there."""
    await stage.put("e")
    return partial(stage.backend.put_entry, entry_write("e", revision="r2"), replace=True, nonce="n")


@prepared
async def declare(stage: Stage) -> Command:
    """Some that are there and some that are not."""
    await stage.put("a")
    await stage.backend.declare("p", [entry_write("b"), entry_write("c")], ttl_ms=LATER)
    writes = [entry_write("a"), entry_write("b"), entry_write("c", revision="r2"), entry_write("d")]
    return partial(stage.backend.declare, "p", writes, ttl_ms=LATER)


@prepared
async def pause_entry(stage: Stage) -> Command:
    """An active one."""
    await stage.put("e")
    return partial(stage.backend.pause_entry, "e", "why")


@prepared
async def resume_entry(stage: Stage) -> Command:
    """A paused one."""
    await stage.put("e")
    await stage.backend.pause_entry("e", "why")
    return partial(stage.backend.resume_entry, "e", revision="r1", next_ms=77)


@prepared
async def remove_entry(stage: Stage) -> Command:
    """One with a live and a waiting run."""
    await stage.put()
    await stage.fire("a", "b", overlap="queue_all")
    return partial(stage.backend.remove_entry, "entry")


@prepared
async def tick(stage: Stage) -> Command:
    """One that is due again at once, another that somebody else has fired."""
    cursor = await stage.put("a")
    await stage.put("b")
    fires = [
        Fire(
            entry_id=name,
            revision=revision,
            cursor_ms=cursor,
            next_ms=cursor + 1,
            missed=2,
            overlap="queue_one",
            runs=tuple(new_run(f"{name}{number}", entry_id=name) for number in range(3)),
        )
        for name, revision in (("a", "r1"), ("b", "r0"))
    ]
    return partial(stage.backend.tick, "n", fires, count=0)


@prepared
async def trigger(stage: Stage) -> Command:
    """A run that waits."""
    await stage.put()
    await stage.fire("a")
    return partial(stage.backend.trigger, "entry", new_run("b", entry_id="entry"), overlap="queue_one")


# --- locks and queues ----------------------------------------------------------------------------------------


@prepared
async def acquire_lock(stage: Stage) -> Command:
    """A free one."""
    return partial(stage.backend.acquire_lock, "lock", "a", ttl_ms=LATER, wait_inbox=None)


@prepared
async def stand_in_line(stage: Stage) -> Command:
    """A held one."""
    await stage.lock("a")
    return partial(stage.backend.acquire_lock, "lock", "b", ttl_ms=LATER, wait_inbox="inbox")


@prepared
async def refresh_lock(stage: Stage) -> Command:
    """A held one."""
    await stage.lock("a")
    return partial(stage.backend.refresh_lock, "lock", "a", ttl_ms=LATER)


@prepared
async def release_lock(stage: Stage) -> Command:
    """A held one."""
    await stage.lock("a")
    return partial(stage.backend.release_lock, "lock", "a")


@prepared
async def leave_line(stage: Stage) -> Command:
    """A held one that somebody waits for."""
    await stage.lock("a")
    await stage.lock("b", inbox="inbox")
    return partial(stage.backend.release_lock, "lock", "b")


@prepared
async def pause_queue(stage: Stage) -> Command:
    """One with runs."""
    await stage.add("a")
    return partial(stage.backend.pause_queue, "default")


@prepared
async def resume_queue(stage: Stage) -> Command:
    """A paused one."""
    await stage.backend.pause_queue("default")
    return partial(stage.backend.resume_queue, "default")


# --- comparing -----------------------------------------------------------------------------------------------


async def everything(stage: Stage) -> list[object]:
    """All that can be seen of a backend, but for instants that go on."""
    backend = stage.backend
    runs = (await backend.list_runs(limit=100)).runs
    entries = (await backend.list_entries()).entries
    nodes = [(node.id, node.running) for node in await backend.list_nodes()]
    return [sorted(runs, key=lambda run: run.id), entries, nodes, await backend.list_queues(), await backend.totals()]


TIMELESS: dict[type, tuple[str, ...]] = {
    Enqueued: ("id",),
    LockAnswer: ("token",),
    Renewed: ("lost", "cancels"),
    TickReply: ("fired",),
    WorkReply: ("settled", "runs", "known", "more", "corrupt"),
}
"""What is compared of an answer that tells instants, or who was first."""


def timeless(answer: object) -> object:
    """An answer without the instants in it, which go on."""
    if isinstance(answer, list):
        return [timeless(part) for part in cast("list[object]", answer)]

    if (names := TIMELESS.get(type(answer))) is not None:
        return [getattr(answer, name) for name in names]

    return None if type(answer) is int else answer


# --- the test ------------------------------------------------------------------------------------------------


class RepetitionConformance(Staged):
    """Every operation that changes something."""

    @pytest.mark.parametrize("name", sorted(PREPARED))
    async def test_a_command_that_arrives_twice_counts_once(self, stage: Stage, name: str) -> None:
        """Same effect as once, and the same answer."""
        command = await PREPARED[name](stage)
        answer, after = timeless(await command()), await everything(stage)
        answer_again, after_again = timeless(await command()), await everything(stage)

        assert after == after_again

        if name not in ANSWER_WHAT_THEY_FIND:
            assert answer == answer_again
