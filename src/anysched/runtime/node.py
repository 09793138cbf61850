"""A running node: the loops, nested in the order in which they stop.

::

    services            leases, settling, the error handler: end last, when all outcomes are settled
      lifespan          what the application opened for its jobs
        attempts        one slot a running handler: at a graceful stop they get shutdown_timeout
          intake        listening, leading, ticking, claiming: ends first

What always holds:

* Nothing is claimed after the intake ended, and nothing is settled after the services did.
* However the body is left, each step outward is taken: what was prefetched is handed back, what ended is settled.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import Context, copy_context
from datetime import timedelta
from os import getpid
from typing import Any

import msgspec
from anyio import TASK_STATUS_IGNORED, Event, create_task_group
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Backend, Held, Hint, NodeInfo, Outcome, WorkReply
from anysched.clock import from_ms
from anysched.config import ErrorContext, SchedulerConfig
from anysched.errors import BackendError, RecordCorrupt, StaleLease
from anysched.events import (
    BecameLeader,
    LeaseWasLost,
    NodeJoined,
    NodeLeft,
    NodeWasLost,
    RecordSetAside,
    RunsExpired,
    StoppedLeading,
)
from anysched.executor import Executor
from anysched.identifiers import make_node_id
from anysched.job import Job
from anysched.lock import Lock
from anysched.options import SHORTEST_TTL_MS
from anysched.registry import Declaration
from anysched.runtime.accepting import opened_lifespan
from anysched.runtime.attempting import Attempting, Interruption
from anysched.runtime.claiming import Claiming
from anysched.runtime.disowning import Disowning
from anysched.runtime.judging import Judge
from anysched.runtime.leading import Leading
from anysched.runtime.leasing import Leasing
from anysched.runtime.listening import Listening
from anysched.runtime.persisting import Outage, persist
from anysched.runtime.reconciling import Reconciling
from anysched.runtime.requesting import kept_ms
from anysched.runtime.services import open_services
from anysched.runtime.settling import Settling
from anysched.runtime.stopping import Stopping
from anysched.runtime.taking import Taking
from anysched.runtime.telling import Teller
from anysched.runtime.ticking import Ticking

__all__ = ["Node"]

_MS = timedelta(milliseconds=1)

_FLUSH = 5.0
"""Seconds that settling and leaving may take at a stop when the backend does not answer; the leases then run out."""


@define(eq=False, kw_only=True)
class Node:
    """One run of a scheduler, from joining to leaving.

    Args:
        backend: storage, coordination and wake-up.
        config: the settings.
        executor: where functions are called.
        lock: the leader's.
        teller: is told what happens.
        outage: told how the backend is doing.
        listening: where hints arrive; runs already, or not yet.
        jobs: the jobs known here, by name.
        declarations: the entries declared in code.
        lifespan: entered around the attempts.
        queues: what to take from, with weights; empty: only tick.
        schedules: whether entries are fired here.
    """

    backend: Backend
    config: SchedulerConfig
    executor: Executor
    lock: Lock
    teller: Teller
    outage: Outage
    listening: Listening
    jobs: Mapping[str, Job[Any, Any]]
    declarations: Sequence[Declaration]
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None
    queues: Mapping[str, int]
    schedules: bool
    stopping: Stopping = field(factory=Stopping)
    leasing: Leasing = field(init=False)
    settling: Settling = field(init=False)
    disowning: Disowning = field(init=False)
    taking: Taking = field(init=False)
    attempting: Attempting | None = field(default=None, init=False)
    claiming: Claiming | None = field(default=None, init=False)
    ticking: Ticking = field(init=False)
    judge: Judge = field(init=False)
    reconciling: Reconciling = field(init=False)
    _rejoined: Event = field(factory=Event, init=False)
    _has_joined: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self.reconciling = Reconciling(backend=self.backend, declarations=self.declarations, teller=self.teller)
        self.disowning = Disowning(
            is_known=self._knows,
            answered=lambda: self.settling.trips,
            sent=lambda: self.settling.sent,
            hand_back=self._disown,
        )
        self.leasing = Leasing(
            backend=self.backend,
            node=self._describe(),
            outage=self.outage,
            on_lost=self._lease_lost,
            on_joined=self._joined,
            on_trusted=self._stir,
            on_cancel=self._cancel,
            on_held=self.disowning.compare,
            on_undeclared=self._undeclared,
        )
        self.settling = Settling(
            backend=self.backend,
            node_id=lambda: self.leasing.node.id,
            outage=self.outage,
            on_stale=self._stale,
            on_reply=self._replied,
            on_leaving=self.leasing.end,
        )
        self.taking = Taking(
            node_id=lambda: self.leasing.node.id,
            is_known=self._knows,
            begin=lambda run, claimed_ms: self.claiming is not None and self.claiming.begin(run, claimed_ms),
            hand_back=self.settling.report,
        )
        self.judge = Judge(
            node_id=lambda: self.leasing.node.id,
            teller=self.teller,
            max_payload=config.max_payload,
            result_ttl=config.result_ttl,
            failed_ttl=config.failed_ttl,
        )
        self.ticking = Ticking(
            backend=self.backend,
            teller=self.teller,
            outage=self.outage,
            tick_interval=config.tick_interval.total_seconds(),
            node_id=lambda: self.leasing.node.id,
            kept_ms=lambda spec: kept_ms(spec.options, self.jobs.get(spec.job), self.config),
        )

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Join, work until told to stop, settle, leave."""
        base = copy_context()

        async with open_services(grace=_FLUSH) as services:
            try:
                # First, since it is what leaves: also when joining is cancelled half-way.
                await services.start(self.settling.run, finishes=True)

                with self.stopping.cuts_short() as joining:
                    await services.start(self.leasing.run)

                if joining.cancel_called:
                    # Whoever waits for it to be ready would else wait for what never comes.
                    task_status.started()
                else:
                    await self._work(base, task_status)
            finally:
                self.settling.close()

        self._left()

    def change_pace(self, config: SchedulerConfig) -> None:
        """Look around, and renew the leases, as often as these settings say from now on."""
        if self.lock.ttl == self.config.lease:
            self.lock.change_ttl(config.lease)

        self.config = config
        self.ticking.tick_interval = config.tick_interval.total_seconds()
        self.leasing.change_length(config.lease // _MS)
        # What it declares is kept for as long as its lease.
        self._rejoined.set()
        self.ticking.stir()

        if self.claiming is not None:
            self.claiming.tick_interval = config.tick_interval.total_seconds()
            self.claiming.stir()

    async def _work(self, base: Context, task_status: TaskStatus[None]) -> None:
        lifespan = opened_lifespan(self.lifespan) if self.lifespan is not None else nullcontext()

        with self.stopping.cuts_short() as opening:
            async with lifespan as state:
                self.stopping.spare(opening)

                # It may have opened all the same: it swallowed that, or stopped us itself.
                if not opening.cancel_called:
                    self.attempting = self._make_attempting(base, state)
                    await self._attempt(self.attempting, task_status)

        if opening.cancel_called:
            # Whoever waits for it to be ready would else wait for what never comes.
            task_status.started()

    def _make_attempting(self, base: Context, state: Any) -> Attempting:
        return Attempting(
            backend=self.backend,
            jobs=self.jobs,
            executor=self.executor,
            judge=self.judge,
            report=self.settling.report,
            base=base,
            state=state,
            shutting_down=self.stopping,
        )

    async def _attempt(self, attempting: Attempting, task_status: TaskStatus[None]) -> None:
        async with create_task_group() as attempts:
            await attempts.start(self.executor.run)

            try:
                await self._take_in(task_status)
            finally:
                # Also when it is cancelled: a thread ends only if it looks.
                self.stopping.set()
                attempting.surrender()
                self._close_intake(attempting)
                self.executor.close(self.config.shutdown_timeout.total_seconds())

    def _close_intake(self, attempting: Attempting) -> None:
        if self.claiming is not None and attempting.live:
            self.claiming.retire()
        else:
            # Whoever has nothing left to do leaves at once, which says it all.
            self.settling.intake = None

    async def _take_in(self, task_status: TaskStatus[None]) -> None:
        async with create_task_group() as intake:
            self.listening.on_entries = self.ticking.stir
            self.listening.on_cancel = lambda run_id: self._cancel((run_id,))

            with self.stopping.cuts_short():
                if self.queues:
                    self.claiming = self._open_claiming()
                    self.listening.on_work = self.claiming.stir
                    self.listening.on_take = self._take
                    self.settling.intake = self.claiming
                    await intake.start(self.claiming.run)

                await self.listening.wanted()

                if self.schedules:
                    await self._declare()
                    await intake.start(self._lead)
                    intake.start_soon(self._declare_again)
                    await intake.start(self.ticking.run)

            task_status.started()
            await self.stopping.wait()
            intake.cancel_scope.cancel(reason="the node is stopping")

    async def _declare(self) -> None:
        node = self.leasing.node
        self._rejoined = Event()
        await persist(lambda: self.reconciling.declare(node.ttl_ms), self.outage)

    async def _declare_again(self) -> None:
        """After each new joining, and when a renewal says so.

        The store may have been emptied, or our program been forgotten with our lease.
        """
        while True:
            await self._rejoined.wait()
            await self._declare()
            self.ticking.stir()

    async def _lead(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        self.lock = self.lock.bound(backend=self.backend, hints=self.listening)
        leading = Leading(
            lock=self.lock,
            outage=self.outage,
            on_change=self._leads,
        )
        await leading.run(task_status=task_status)

    def _open_claiming(self) -> Claiming:
        attempting = self.attempting
        assert attempting is not None
        limits = {job.name: job.max_concurrent for job in self.jobs.values() if job.max_concurrent is not None}
        return Claiming(
            queues=self.queues,
            strict=self.config.strict_queues,
            limits=limits,
            tick_interval=self.config.tick_interval.total_seconds(),
            hands=attempting,
            trusted=lambda: self.leasing.trusted_now and not self.stopping.is_set(),
            poke=self.settling.poke,
            hears=lambda: self.listening.stands,
            sweep=self.settling.sweep,
        )

    def _describe(self) -> NodeInfo:
        facts = {"host": platform.node(), "pid": getpid(), "capacity": self.executor.max_concurrent}
        return NodeInfo(
            id=make_node_id(),
            ttl_ms=self.config.lease // _MS,
            jobs=tuple(self.jobs),
            queues=tuple(self.queues),
            program=self.reconciling.program if self.schedules else "",
            facts=msgspec.json.encode(facts).decode(),
            failed_ttl_ms=max(self.config.failed_ttl // _MS, SHORTEST_TTL_MS),
        )

    # --- what the loops tell -----------------------------------------------------------------------------------

    def _replied(self, reply: WorkReply) -> None:
        self.judge.observe(reply.now_ms)

        if not reply.known and self.leasing.trusted:
            self.leasing.forgotten()

        for bad in reply.corrupt:
            error = RecordCorrupt(f"run {bad.id!r}", bad.reason)
            self.teller.report(error, ErrorContext(kind="backend", run_id=bad.id, node=self.leasing.node.id))

            if self.teller.listened_to:
                at = from_ms(reply.now_ms)
                self.teller.tell(RecordSetAside(at=at, record=f"run {bad.id}", reason=bad.reason))

        if self.teller.listened_to:
            at = from_ms(reply.now_ms)

            for node_id in reply.lost:
                self.teller.tell(NodeWasLost(at=at, node=node_id))

            if reply.expired:
                self.teller.tell(RunsExpired(at=at, count=reply.expired))

    def _stale(self, outcome: Outcome) -> None:
        error = StaleLease(f"run {outcome.run_id!r}")
        self.teller.report(error, ErrorContext(kind="backend", run_id=outcome.run_id, node=self.leasing.node.id))

    def _cancel(self, run_ids: Sequence[str]) -> None:
        if self.attempting is not None:
            self.attempting.interrupt(run_ids, Interruption.CANCELLED)

    def _knows(self, held: Held) -> bool:
        run_id, token = held
        attempt = self.attempting.live.get(run_id) if self.attempting is not None else None
        return (attempt is not None and attempt.run.token == token) or self.settling.has(run_id, token)

    def _disown(self, outcome: Outcome) -> None:
        self.taking.disown(outcome)
        error = BackendError(
            f"run {outcome.run_id!r} is handed back: the store takes it for ours, and it is not known here (the store "
            "has forgotten how it ended, or a hint was lost)"
        )
        self.teller.report(error, ErrorContext(kind="backend", run_id=outcome.run_id, node=self.leasing.node.id))
        self.settling.report(outcome)

    def _take(self, hint: Hint) -> None:
        self.taking.take(hint)

        if self.claiming is not None:
            self.claiming.stir_soon()

    def _stir(self) -> None:
        if self.claiming is not None:
            self.claiming.stir()

    def _undeclared(self) -> None:
        self._rejoined.set()

    def _joined(self, node_id: str, now_ms: int) -> None:
        self._has_joined = True
        self.judge.observe(now_ms)
        self.listening.move(node_id)
        self._rejoined.set()
        self._stir()

        if self.teller.listened_to:
            self.teller.tell(NodeJoined(at=from_ms(self.judge.backend_ms()), node=node_id))

    def _lease_lost(self, reason: str) -> None:
        if self.attempting is not None:
            self.attempting.interrupt(tuple(self.attempting.live), Interruption.LEASE_LOST)

        if self.teller.listened_to:
            at = from_ms(self.judge.backend_ms())
            self.teller.tell(LeaseWasLost(at=at, node=self.leasing.node.id, reason=reason))

    def _leads(self, leads: bool) -> None:
        self.ticking.lead(leads)

        if self.teller.listened_to:
            at, kind = from_ms(self.judge.backend_ms()), BecameLeader if leads else StoppedLeading
            self.teller.tell(kind(at=at, node=self.leasing.node.id))

    def _left(self) -> None:
        if self._has_joined and self.teller.listened_to:
            self.teller.tell(NodeLeft(at=from_ms(self.judge.backend_ms()), node=self.leasing.node.id))
