"""What the tests of the suite stand on: a backend, its time, and short ways to say what is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
from anyio import Event, create_task_group, fail_after
from attrs import Factory, define, field

from anysched.backends import (
    Backend,
    Claim,
    ClaimedRun,
    EntryRecord,
    EntryWrite,
    Fire,
    Hint,
    LockAnswer,
    NewRun,
    NodeInfo,
    Outcome,
    RunRecord,
    TickReply,
    WorkReply,
)

__all__ = ["LATER", "Advance", "Inbox", "Stage", "Staged"]

Advance = Callable[[int], Awaitable[None]]
"""Lets so many milliseconds pass at the backend: a clock is moved, or somebody sleeps."""

LATER = 3_600_000
"""A delay in milliseconds that no test outlives."""

PATIENCE = 10
"""Seconds for a hint to come over the wire, at the longest."""


@define(eq=False)
class Inbox:
    """The hints that came to one inbox and were not looked at yet."""

    hints: list[Hint] = Factory(list[Hint])
    _arrived: Event = Factory(Event)

    def deliver(self, hint: Hint) -> None:
        """Take a hint in."""
        self.hints.append(hint)
        self._arrived.set()

    async def expect(self, kind: str, name: str = "") -> Hint:
        """Wait for a hint of that kind and name, and forget it and all before it."""
        with fail_after(PATIENCE):
            while not (wanted := [at for at, hint in enumerate(self.hints) if (hint.kind, hint.name) == (kind, name)]):
                self._arrived = Event()
                await self._arrived.wait()

        hint = self.hints[wanted[0]]
        del self.hints[: wanted[0] + 1]
        return hint


@define(eq=False)
class Stage:
    """A backend under test.

    Attributes:
        backend: fresh and open.
        advance: lets time pass at it.
    """

    backend: Backend
    advance: Advance
    _numbers: count[int] = field(factory=count, init=False)
    _claims: Counter[str] = field(factory=Counter[str], init=False)

    def nonce(self) -> str:
        """One that was not used yet."""
        return f"nonce-{next(self._numbers)}"

    def number(self, node_id: str = "node") -> int:
        """That of a node's next claim."""
        self._claims[node_id] += 1
        return self._claims[node_id]

    # --- runs ------------------------------------------------------------------------------------------------

    async def add(self, *run_ids: str, **fields: Any) -> None:
        """Enqueue runs of the job ``job`` in one batch, all alike but for their ids."""
        await self.backend.enqueue([new_run(run_id, **fields) for run_id in run_ids])

    async def run(self, run_id: str) -> RunRecord:
        """The record of a run that is there."""
        (record,) = await self.backend.get_runs([run_id])
        assert isinstance(record, RunRecord)
        return record

    async def status(self, run_id: str) -> str:
        """The status of a run that is there."""
        return (await self.run(run_id)).status

    async def statuses(self, *run_ids: str) -> list[str]:
        """The statuses of runs; empty for one that is gone."""
        return [getattr(record, "status", "") for record in await self.backend.get_runs(run_ids)]

    # --- nodes and work --------------------------------------------------------------------------------------

    async def join(self, node_id: str = "node", **fields: Any) -> None:
        """Make a node known: it knows ``job`` and serves the queue ``default``, if nothing else is said."""
        known: dict[str, Any] = {"id": node_id, "ttl_ms": LATER, "jobs": ("job",), "queues": ("default",)}
        await self.backend.join(NodeInfo(**known | fields))

    async def work(
        self,
        node_id: str = "node",
        *outcomes: Outcome,
        count: int = 1,
        queues: tuple[str, ...] = ("default",),
        limits: dict[str, int] | None = None,
        number: int = 0,
        takes: bool = False,
    ) -> WorkReply:
        """Settle and claim."""
        number = number or self.number(node_id)
        claim = Claim(number=number, count=count, queues=queues, limits=limits or {}, takes=takes)
        return await self.backend.work(node_id, outcomes, claim)

    async def claim(self, node_id: str = "node", **fields: Any) -> list[ClaimedRun]:
        """What a node gets."""
        return list((await self.work(node_id, **fields)).runs)

    async def claim_one(self, node_id: str = "node", **fields: Any) -> ClaimedRun:
        """The only run that a node gets."""
        (run,) = await self.claim(node_id, **fields)
        return run

    async def claim_ids(self, node_id: str = "node", **fields: Any) -> list[str]:
        """The ids of what a node gets, in order."""
        return [run.id for run in await self.claim(node_id, **fields)]

    async def settle(self, run: ClaimedRun | RunRecord, kind: Any, *, node_id: str = "node", **fields: Any) -> bool:
        """Say how an attempt ended; whether the token was good."""
        outcome = Outcome(run_id=run.id, token=run.token, kind=kind, **fields)
        (answer,) = (await self.backend.work(node_id, [outcome], None)).settled
        return answer

    async def tidy(self, node_id: str = "housekeeper") -> WorkReply:
        """Let housekeeping be done by a call that does nothing else."""
        return await self.backend.work(node_id, (), None)

    async def die(self, node_id: str) -> None:
        """Let the lease of a node run out, and have it reaped."""
        await self.backend.renew(node_id, 1)
        await self.advance(5)
        await self.tidy()

    # --- entries ---------------------------------------------------------------------------------------------

    async def put(self, entry_id: str = "entry", **fields: Any) -> int:
        """Store an entry, due now if nothing else is said; its fire time."""
        write = entry_write(entry_id, **{"next_ms": await self.backend.time_ms()} | fields)
        assert await self.backend.put_entry(write, replace=False, nonce=self.nonce())
        return write.next_ms

    async def entry(self, entry_id: str = "entry") -> EntryRecord:
        """The record of an entry that is there."""
        record = await self.backend.get_entry(entry_id)
        assert isinstance(record, EntryRecord)
        return record

    async def fire(self, *run_ids: str, entry_id: str = "entry", nonce: str = "", **fields: Any) -> TickReply:
        """Fire an entry at the cursor that it has, making these runs."""
        entry = await self.entry(entry_id)
        at = entry.next_ms
        known: dict[str, Any] = {
            "entry_id": entry_id,
            "revision": entry.revision,
            "cursor_ms": at,
            "next_ms": at + LATER,
            "runs": tuple(new_run(run_id, entry_id=entry_id, scheduled_for_ms=at) for run_id in run_ids),
        }
        fire = Fire(**known | fields)
        return await self.backend.tick(nonce or self.nonce(), [fire], count=0)

    async def due(self, count: int = 100) -> list[str]:
        """The ids of the entries that are due."""
        reply = await self.backend.tick(self.nonce(), (), count=count)
        return [entry.id for entry in reply.due]

    async def trigger(
        self, run_id: str, entry_id: str = "entry", *, overlap: str = "allow", **fields: Any
    ) -> tuple[int, int]:
        """Make a run of an entry that is there; how many were made and skipped."""
        answer = await self.backend.trigger(entry_id, new_run(run_id, entry_id=entry_id, **fields), overlap=overlap)
        assert answer is not None
        assert answer.done
        return answer.made, answer.skipped

    async def handed_over(self, inbox: Inbox, node_id: str = "node") -> ClaimedRun:
        """The run that comes with the next hint to a node."""
        run = (await inbox.expect("take", node_id)).run
        assert run is not None
        return run

    # --- locks and hints -------------------------------------------------------------------------------------

    async def lock(
        self, owner: str, name: str = "lock", *, ttl_ms: int = LATER, inbox: str | None = None
    ) -> LockAnswer:
        """Ask for a lock."""
        return await self.backend.acquire_lock(name, owner, ttl_ms=ttl_ms, wait_inbox=inbox)

    @asynccontextmanager
    async def inbox(self, name: str) -> AsyncGenerator[Inbox]:
        """Listen while the block runs."""
        inbox = Inbox()

        async with create_task_group() as listening:
            await listening.start(partial(self.backend.listen, name, inbox.deliver))
            yield inbox
            listening.cancel_scope.cancel()


def new_run(run_id: str, **fields: Any) -> NewRun:
    """A run of the job ``job``."""
    known: dict[str, Any] = {"id": run_id, "job": "job"}
    return NewRun(**known | fields)


def entry_write(entry_id: str, **fields: Any) -> EntryWrite:
    """An entry that never fires by itself during a test."""
    known: dict[str, Any] = {"id": entry_id, "spec": f"spec of {entry_id}", "revision": "r1", "next_ms": 1}
    return EntryWrite(**known | fields)


def ids(runs: Sequence[Any]) -> list[str]:
    """The ids of records."""
    return [run.id for run in runs]


class Staged:
    """What every part of the suite begins with: the stage, made from what the user's own class provides."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @staticmethod
    def plain(run_id: str) -> NewRun:
        """A run of the job ``job``."""
        return new_run(run_id)

    @staticmethod
    def succeeded(run_id: str, token: int) -> Outcome:
        """That an attempt came to its end."""
        return Outcome(run_id=run_id, token=token, kind="succeeded")

    @pytest.fixture
    def stage(self, backend: Backend, advance: Advance) -> Stage:
        """The backend under test."""
        return Stage(backend, advance)
