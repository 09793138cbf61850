"""Outcomes to the backend, and claims with them.

Everything that attempts report and everything that the intake wishes for goes through one loop with at most one
command in flight, so that *settle these and claim the next* is one round trip, and what happens during one trip
travels together in the next. Nothing is delayed to make a batch fuller.

What always holds:

* An outcome is in the line, or in the one command in flight (which is repeated, unchanged, until it is answered), or
  settled.
* A run that comes with an answer is either passed to the intake or handed back.
* Once closing, nothing is claimed; what is in the line is settled, and then the node leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Protocol

from anyio import TASK_STATUS_IGNORED, Event
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Backend, Claim, ClaimedRun, Outcome, WorkReply
from anysched.errors import BackendRefused
from anysched.runtime.persisting import Outage, persist

__all__ = ["Intake", "Settling"]

_BATCH = 256
"""Outcomes in one command: keeps a script under a few milliseconds, which is all that others wait for it."""

_BATCH_BYTES = 4 * 1024 * 1024


class Intake(Protocol):
    """Who wishes for runs."""

    def wish(self) -> Claim | None:
        """What to claim now, or nothing. Called right before a command is sent."""
        ...

    def receive(self, claim: Claim | None, reply: WorkReply) -> Sequence[ClaimedRun]:
        """Take in the answer to a claim; returns the runs that cannot be taken, which are then handed back."""
        ...


@define(eq=False, kw_only=True)
class Settling:
    """The loop between this node's attempts and the backend.

    Args:
        backend: where the runs are.
        node_id: gives the id that this node goes by now.
        outage: told how the backend is doing.
        on_stale: called with each outcome that came too late.
        on_reply: called with each reply.
        on_leaving: called when all is settled, right before the node leaves: its lease is not to be renewed any more.
    """

    backend: Backend
    node_id: Callable[[], str]
    outage: Outage
    on_stale: Callable[[Outcome], None]
    on_reply: Callable[[WorkReply], None]
    on_leaving: Callable[[], None] = lambda: None
    intake: Intake | None = None
    """Set while the intake is open."""
    closing: Event = field(factory=Event)
    _line: deque[Outcome] = field(factory=deque[Outcome], init=False)
    _woken: Event = field(factory=Event, init=False)
    _sweeping: bool = field(default=False, init=False)
    trips: int = field(default=0, init=False)
    """Commands that were answered."""
    sent: int = field(default=0, init=False)
    """Commands that were sent: as many, or one more."""
    _in_flight: Sequence[Outcome] = field(default=(), init=False)

    def report(self, outcome: Outcome) -> None:
        """Have an outcome settled. Never blocks."""
        self._line.append(outcome)
        self._woken.set()

    def poke(self) -> None:
        """The intake may wish for something now."""
        self._woken.set()

    def sweep(self) -> None:
        """Have the backend keep house, which it does by the way whenever it is spoken to."""
        self._sweeping = True
        self._woken.set()

    def has(self, run_id: str, token: int) -> bool:
        """Whether an outcome is on its way for this run, claimed under this token."""
        pending = chain(self._in_flight, self._line)
        return any(outcome.run_id == run_id and outcome.token == token for outcome in pending)

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Settle and claim until closing and empty; then leave."""
        task_status.started()

        while True:
            outcomes = self._take()
            claim = self.intake.wish() if self.intake is not None else None

            if outcomes or claim is not None or self._sweeping:
                self._sweeping = False
                await self._exchange(outcomes, claim)
            elif self.closing.is_set():
                break
            else:
                await self._woken.wait()
                self._woken = Event()

        self.on_leaving()
        node_id = self.node_id()

        try:
            await persist(lambda: self.backend.leave(node_id), self.outage)
        except BackendRefused:
            # Whoever was not let in has been told so, by what was tried first.
            return

    def close(self) -> None:
        """No more will be reported: finish."""
        self.closing.set()
        self._woken.set()

    async def _exchange(self, outcomes: Sequence[Outcome], claim: Claim | None) -> None:
        node_id = self.node_id()
        self.sent += 1
        self._in_flight = outcomes
        reply = await persist(lambda: self.backend.work(node_id, outcomes, claim), self.outage)
        self._in_flight = ()
        self.trips += 1

        if outcomes:
            for outcome, settled in zip(outcomes, reply.settled, strict=True):
                if not settled:
                    self.on_stale(outcome)

        self.on_reply(reply)

        if reply.runs or claim is not None:
            self._pass_on(claim, reply, node_id)

    def _pass_on(self, claim: Claim | None, reply: WorkReply, node_id: str) -> None:
        if node_id != self.node_id():
            # The lease was lost while the answer was on its way: these runs are somebody else's by now.
            reply_runs: Sequence[ClaimedRun] = ()
        elif self.intake is None:
            reply_runs = reply.runs
        else:
            reply_runs = self.intake.receive(claim, reply)

        for run in reply_runs:
            self.report(released(run))

    def _take(self) -> list[Outcome]:
        """The next batch: the head of the line."""
        line = self._line
        batch: list[Outcome] = []
        size = 0

        while line and len(batch) < _BATCH and size < _BATCH_BYTES:
            outcome = line.popleft()
            size += len(outcome.result) + len(outcome.error)
            batch.append(outcome)

        return batch


def released(run: ClaimedRun) -> Outcome:
    """The outcome that hands a run back unharmed."""
    return Outcome(run_id=run.id, token=run.token, kind="released")
