"""The backend in this process's memory: the specification in Python, and what small programs and tests run on.

Every operation is a checkpoint, then one synchronous step. So nobody can see half of one, and a call that was cancelled
did not happen. The rooms of this package hold those steps; :class:`MemoryBackend` is their door.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from anyio import TASK_STATUS_IGNORED, sleep_forever
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from attrs import define, field

from anysched.backends.memory import asking, entries, firing, hints, locks, lone, nodes, reading, working
from anysched.backends.memory.entries import declare
from anysched.backends.memory.hints import Listeners
from anysched.backends.memory.state import State
from anysched.backends.records import (
    CancelAnswer,
    Claim,
    Corrupt,
    Enqueued,
    EntryPage,
    EntryRecord,
    EntryWrite,
    Fire,
    FireAnswer,
    Hint,
    LockAnswer,
    NewRun,
    NodeInfo,
    NodeRecord,
    Outcome,
    QueueRecord,
    Renewed,
    RunPage,
    RunRecord,
    ServerReport,
    TickReply,
    Totals,
    WorkReply,
)
from anysched.clock import clock_in_force

__all__ = ["MemoryBackend"]


@define(eq=False, kw_only=True)
class MemoryBackend:
    """A :class:`~anysched.backends.Backend` whose store is this object.

    Several schedulers in one event loop may share one. It asks the clock in force for the time, so under virtual time
    everything in it is virtual. What is in it is gone with it.

    A call that is cancelled did not happen. No operation raises anything but cancellation.
    """

    _state: State = field(factory=State, init=False, repr=False)
    _listeners: Listeners = field(factory=Listeners, init=False, repr=False)
    _inhabitants: list[Callable[[], None]] = field(factory=list[Callable[[], None]], init=False, repr=False)
    """One for each node that runs and has said so: called when it is, or has become, one of several."""

    @contextmanager
    def _step(self) -> Generator[State]:
        """One atomic step at one instant; whoever is to be woken by it is, at its end."""
        state = self._state
        state.micros = clock_in_force.get().microseconds()
        state.now = state.micros // 1000

        yield state

        hints.wake(state)

        if state.hints:
            told, state.hints = state.hints, []
            self._listeners.send(told)

    # --- life ------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Hold nothing until cancelled: this backend works without it."""
        task_status.started()
        await sleep_forever()

    @contextmanager
    def alone(self, on_company: Callable[[], None], *, lease_ms: int, long_ms: int) -> Generator[bool]:
        """Whether a node that is about to run is the only one here, while it runs.

        It may then take longer leases than it needs: nobody waits for their end. When it has left, or died, what is
        left of them lasts no longer than it would have otherwise.

        Args:
            on_company: called as soon as it is the only one no more, or at once; it may be called again.
            lease_ms: how long its leases are to be where others wait for their end.
            long_ms: how long they are while it is alone.
        """
        with self._step() as state:
            is_alone = not self._inhabitants and not state.nodes

        self._inhabitants.append(on_company)
        self._tell_company()

        try:
            yield is_alone
        finally:
            self._inhabitants.remove(on_company)

            with self._step() as state:
                lone.shorten(state, long_ms, lease_ms)

    def _tell_company(self) -> None:
        if max(len(self._inhabitants), len(self._state.nodes)) > 1:
            for tell in self._inhabitants:
                tell()

    async def time_ms(self) -> int:
        """The clock in force."""
        await checkpoint()

        with self._step() as state:
            return state.now

    async def report(self) -> ServerReport:
        """What ``anysched check`` shows."""
        await checkpoint()

        with self._step() as state:
            return ServerReport(
                product="memory",
                version=platform.python_version(),
                address="this process",
                time_ms=state.now,
                round_trip_ms=0.0,
                warnings=("nothing in it outlives the process",),
            )

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Call ``deliver`` with each hint for ``inbox`` or for all, until cancelled."""
        await self._listeners.listen(inbox, deliver, task_status=task_status)

    # --- runs, from outside ------------------------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        """Store runs, all or none, in the order given."""
        await checkpoint()

        with self._step() as state:
            return asking.enqueue(state, runs, self._listeners.hears)

    async def get_runs(self, run_ids: Sequence[str]) -> list[RunRecord | Corrupt | None]:
        """The records of these runs, in order."""
        await checkpoint()

        with self._step() as state:
            return [*asking.get_runs(state, run_ids)]

    async def find_key(self, key: str) -> str | None:
        """The id of the live run that goes by ``key``."""
        await checkpoint()

        with self._step() as state:
            return asking.find_key(state, key)

    async def watch(self, run_id: str, inbox: str) -> RunRecord | Corrupt | None:
        """The run's record; ``inbox`` is told when it has become final."""
        await checkpoint()

        with self._step() as state:
            return asking.watch(state, run_id, inbox)

    async def cancel(self, run_id: str) -> CancelAnswer | None:
        """Cancel a run."""
        await checkpoint()

        with self._step() as state:
            return asking.cancel(state, run_id)

    async def revive(self, run_id: str) -> str | None:
        """Make a ``failed`` run ready again."""
        await checkpoint()

        with self._step() as state:
            return asking.revive(state, run_id)

    async def reschedule(self, run_id: str, *, at_ms: int | None = None, delay_ms: int | None = None) -> str | None:
        """Move a run that is not running to another due time."""
        await checkpoint()

        with self._step() as state:
            return asking.reschedule(state, run_id, at_ms, delay_ms)

    async def list_runs(
        self, *, status: str | None = None, queue: str | None = None, cursor: str = "", limit: int = 50
    ) -> RunPage:
        """A page of runs, newest first within a status."""
        await checkpoint()

        with self._step() as state:
            return reading.list_runs(state, status, queue, cursor, limit)

    # --- runs, from a worker -----------------------------------------------------------------------------------------

    async def join(self, node: NodeInfo) -> int:
        """Make a node known, or known anew."""
        await checkpoint()

        with self._step() as state:
            now_ms = nodes.join(state, node)

        self._tell_company()
        return now_ms

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        """Extend the lease of a node, and with it that of every run it holds."""
        await checkpoint()

        with self._step() as state:
            return nodes.renew(state, node_id, ttl_ms)

    async def leave(self, node_id: str) -> None:
        """Take a node off the list, and hand back whatever it still holds."""
        await checkpoint()

        with self._step() as state:
            nodes.leave(state, node_id)

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        """Settle outcomes and claim what is next, in one step."""
        await checkpoint()

        with self._step() as state:
            return working.work(state, node_id, outcomes, claim)

    async def set_progress(self, run_id: str, token: int, fraction: float, message: str) -> bool:
        """Store the progress of a held run and forget its crashes."""
        await checkpoint()

        with self._step() as state:
            return working.set_progress(state, run_id, token, fraction, message)

    # --- entries -----------------------------------------------------------------------------------------------------

    async def put_entry(self, entry: EntryWrite, *, replace: bool, nonce: str) -> bool:
        """Store an entry."""
        await checkpoint()

        with self._step() as state:
            return entries.put(state, entry, replace=replace, nonce=nonce)

    async def declare(self, program: str, entries: Sequence[EntryWrite], *, ttl_ms: int) -> list[str]:
        """Reconcile declared entries, as one running program has them."""
        await checkpoint()

        with self._step() as state:
            return declare(state, program, entries, ttl_ms)

    async def get_entry(self, entry_id: str) -> EntryRecord | Corrupt | None:
        """One entry."""
        await checkpoint()

        with self._step() as state:
            return entries.get(state, entry_id)

    async def list_entries(self, *, cursor: str = "", limit: int = 100) -> EntryPage:
        """A page of entries, by id."""
        await checkpoint()

        with self._step() as state:
            return reading.list_entries(state, cursor, limit)

    async def pause_entry(self, entry_id: str, note: str) -> bool:
        """Stop an entry from firing until it is resumed."""
        await checkpoint()

        with self._step() as state:
            return entries.pause(state, entry_id, note)

    async def resume_entry(self, entry_id: str, *, revision: str, next_ms: int | None) -> bool:
        """Let a paused entry fire again, next at ``next_ms``."""
        await checkpoint()

        with self._step() as state:
            return entries.resume(state, entry_id, revision, next_ms)

    async def remove_entry(self, entry_id: str) -> bool:
        """Remove an entry, its waiting runs being cancelled."""
        await checkpoint()

        with self._step() as state:
            return entries.remove(state, entry_id)

    async def tick(self, nonce: str, fires: Sequence[Fire], *, count: int, skip: int = 0) -> TickReply:
        """Fire entries and return the next due ones, in one step."""
        await checkpoint()

        with self._step() as state:
            return firing.tick(state, nonce, fires, count, skip)

    async def trigger(self, entry_id: str, run: NewRun, *, overlap: str) -> FireAnswer | None:
        """Make one run of an entry now, its schedule untouched."""
        await checkpoint()

        with self._step() as state:
            return firing.trigger(state, entry_id, run, overlap)

    # --- locks -------------------------------------------------------------------------------------------------------

    async def acquire_lock(self, name: str, owner: str, *, ttl_ms: int, wait_inbox: str | None) -> LockAnswer:
        """Take a lock, or a place in its line."""
        await checkpoint()

        with self._step() as state:
            return locks.acquire(state, name, owner, ttl_ms, wait_inbox)

    async def refresh_lock(self, name: str, owner: str, *, ttl_ms: int) -> bool:
        """Extend a held lock."""
        await checkpoint()

        with self._step() as state:
            return locks.refresh(state, name, owner, ttl_ms)

    async def release_lock(self, name: str, owner: str) -> bool:
        """Give back a held lock, or leave its line."""
        await checkpoint()

        with self._step() as state:
            return locks.release(state, name, owner)

    # --- queues, nodes, numbers --------------------------------------------------------------------------------------

    async def pause_queue(self, queue: str) -> None:
        """No claims from this queue until it is resumed."""
        await checkpoint()

        with self._step() as state:
            state.queue(queue).paused = True

    async def resume_queue(self, queue: str) -> None:
        """Allow claims from this queue again."""
        await checkpoint()

        with self._step() as state:
            nodes.resume_queue(state, queue)

    async def list_queues(self) -> list[QueueRecord]:
        """Every queue that was used, by name."""
        await checkpoint()

        with self._step() as state:
            return reading.list_queues(state)

    async def list_nodes(self) -> list[NodeRecord]:
        """Every node that holds a lease, by id."""
        await checkpoint()

        with self._step() as state:
            return reading.list_nodes(state)

    async def totals(self) -> Totals:
        """Counts over everything."""
        await checkpoint()

        with self._step() as state:
            return reading.totals(state)
