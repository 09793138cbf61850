"""A store with one of everything in it, and a day's work that meets all of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import Factory, define

from anysched.backends import (
    Backend,
    Claim,
    Corrupt,
    EntryWrite,
    Fire,
    NewRun,
    NodeInfo,
    Outcome,
    TickReply,
    WorkReply,
)
from anysched.errors import RecordCorrupt

__all__ = ["INNOCENT", "Day", "furnish", "new_run"]

LATER = 3_600_000
OUTCOMES: dict[str, Any] = {"done": "succeeded", "failed": "failed", "cancelled": "cancelled", "again": "retry"}

INNOCENT = {"failed", "fired", "fresh", "fresh-keyed", "limit2", "ready", "ready2", "strange"}
"""What is claimed in the course of a day when nothing is amiss."""


def new_run(run_id: str, **fields: Any) -> NewRun:
    """A run of the job ``job``."""
    known: dict[str, Any] = {"id": run_id, "job": "job"}
    return NewRun(**known | fields)


def entry(entry_id: str, next_ms: int, revision: str = "r") -> EntryWrite:
    return EntryWrite(id=entry_id, spec="s", revision=revision, next_ms=next_ms)


@define(eq=False)
class Day:
    """A day of a node.

    Attributes:
        backend: furnished.
        now: when it was.
        tokens: of the runs that the node before holds.
        claims: how many this one has made.
        claimed: the ids of what this one got.
        named: the records that were said to be unreadable, in replies and by errors.
    """

    backend: Backend
    now: int
    tokens: dict[str, int]
    claims: int = 0
    claimed: set[str] = Factory(set[str])
    named: set[str] = Factory(set[str])

    async def ask(self, operation: Awaitable[Any]) -> Any:
        """What an operation answers; nothing but that a record is corrupt may be wrong with it."""
        try:
            answer = await operation
        except RecordCorrupt as error:
            self.named.add(str(error))
            return None

        match answer:
            case WorkReply() | TickReply():
                self.named.update(bad.id for bad in answer.corrupt)

            case Corrupt():
                self.named.add(answer.id)

            case list():
                self.named.update(bad.id for bad in answer if isinstance(bad, Corrupt))

            case _:
                pass

        return answer

    def names(self, record: str) -> bool:
        """Whether a record was named."""
        return any(record in name for name in self.named)

    async def claim(self, count: int, **fields: Any) -> None:
        self.claims += 1
        claim = Claim(number=self.claims, count=count, queues=("default", "paused"), **fields)
        reply = await self.ask(self.backend.work("new", (), claim))
        self.claimed |= {run.id for run in reply.runs}
        outcomes = [Outcome(run_id=run.id, token=run.token, kind="succeeded") for run in reply.runs]
        await self.ask(self.backend.work("new", outcomes, None))

    async def work(self) -> None:
        """What a node does, with everything that is there."""
        backend = self.backend
        jobs = ("job", "limited", "strange")
        await self.ask(backend.join(NodeInfo(id="new", ttl_ms=LATER, jobs=jobs, queues=("default",), program="p")))
        await self.ask(backend.enqueue([new_run("fresh"), new_run("fresh-keyed", key="k2"), new_run("same", key="k")]))
        await self.ask(backend.tick("look", (), count=10))
        fire = Fire(
            entry_id="due", revision="r", cursor_ms=self.now, next_ms=self.now + LATER, runs=(new_run("fired"),)
        )
        await self.ask(backend.tick("fire", [fire], count=10))

        for _ in range(4):
            await self.claim(5, limits={"limited": 1})

        await self.ask(backend.enqueue([new_run("alone", queue="other")]))
        held = Outcome(run_id="held", token=self.tokens["held"], kind="succeeded")
        await self.ask(backend.work("old", [held], None))
        await self.ask(backend.renew("new", LATER))
        await self.ask(backend.renew("old", LATER))

    async def meddle(self) -> None:
        """What people do, from outside."""
        backend = self.backend

        for run_id in ("held", "held-keyed", "later", *OUTCOMES, "waits", "ready", "limit", "live", "awaited"):
            await self.ask(backend.get_runs([run_id]))
            await self.ask(backend.cancel(run_id))
            await self.ask(backend.watch(run_id, "me"))
            await self.ask(backend.reschedule(run_id, delay_ms=5))
            await self.ask(backend.revive(run_id))

        for entry_id in ("due", "busy", "declared", "awaits"):
            await self.ask(backend.get_entry(entry_id))
            await self.ask(backend.pause_entry(entry_id, "note"))
            await self.ask(backend.resume_entry(entry_id, revision="r", next_ms=self.now))
            await self.ask(backend.trigger(entry_id, new_run(f"of {entry_id}"), overlap="allow"))

        for listing in (backend.list_runs(), backend.list_entries(), backend.list_nodes(), backend.list_queues()):
            await self.ask(listing)

        await self.ask(backend.totals())
        await self.ask(backend.refresh_lock("lock", "x", ttl_ms=5))
        await self.ask(backend.acquire_lock("lock", "z", ttl_ms=LATER, wait_inbox="me"))
        await self.ask(backend.release_lock("lock", "x"))
        await self.ask(backend.acquire_lock("lock", "y", ttl_ms=LATER, wait_inbox=None))
        await self.ask(backend.leave("old"))
        await self.claim(50)

    async def clear(self) -> None:
        """The end of it."""
        await self.ask(self.backend.declare("p", [entry("declared", self.now, "r2")], ttl_ms=LATER))

        for entry_id in ("due", "busy", "declared", "awaits"):
            await self.ask(self.backend.remove_entry(entry_id))

        await self.ask(self.backend.leave("new"))


async def furnish(backend: Backend) -> Day:
    """Put one of everything into an empty store, the half of it in the hands of a node called ``old``."""
    await backend.join(NodeInfo(id="old", ttl_ms=LATER, jobs=("job", "limited"), queues=("default",), program="p"))
    names = ["held", *OUTCOMES]
    await backend.enqueue([*map(new_run, names), new_run("held-keyed", key="held key")])
    reply = await backend.work("old", (), Claim(number=1, count=6, queues=("default",)))
    tokens = {run.id: run.token for run in reply.runs}
    outcomes = [
        Outcome(run_id=name, token=tokens[name], kind=kind, error="e", delay_ms=LATER)
        for name, kind in OUTCOMES.items()
    ]
    await backend.work("old", outcomes, None)
    await backend.enqueue([new_run("limit", job="limited"), new_run("limit2", job="limited")])
    await backend.enqueue([new_run("strange", job="strange"), new_run("later", delay_ms=LATER, expires_ms=LATER)])
    await backend.work("old", (), Claim(number=2, count=6, queues=("default",), limits={"limited": 1}))
    now = await backend.time_ms()
    await furnish_entries(backend, now)
    await backend.acquire_lock("lock", "x", ttl_ms=LATER, wait_inbox=None)
    await backend.acquire_lock("lock", "y", ttl_ms=LATER, wait_inbox="me")
    await backend.cancel("held-keyed")
    await backend.pause_queue("paused")
    await backend.watch("later", "me")
    await backend.enqueue([new_run("ready", key="k"), new_run("ready2", priority=1)])
    # Waits, and may be handed what is enqueued alone.
    await backend.work("old", (), Claim(number=3, count=1, queues=("other",), takes=True))
    return Day(backend, now, tokens)


async def furnish_entries(backend: Backend, now: int) -> None:
    for name in ("due", "busy", "awaits"):
        await backend.put_entry(entry(name, now), replace=False, nonce=name)

    await backend.declare("p", [entry("declared", now + LATER)], ttl_ms=LATER)
    live, waits, awaited = new_run("live", delay_ms=LATER), new_run("waits"), new_run("awaited", delay_ms=LATER)
    busy = Fire(
        entry_id="busy", revision="r", cursor_ms=now, next_ms=now + LATER, overlap="queue_all", runs=(live, waits)
    )
    ends = Fire(
        entry_id="awaits", revision="r", cursor_ms=now, next_ms=0, end="completion", after_ms=5, runs=(awaited,)
    )
    await backend.tick("busy", [busy, ends], count=0)
