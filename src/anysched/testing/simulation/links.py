"""The way from one machine to the shared backend: commands get lost, late and doubled on it, and so do hints.

What always holds:

* What took effect is in the history, at the instant at which it did, whoever heard of it.
* The backend goes by true time, whatever the clock of the machine shows.
* A machine that is dead hears nothing, and nothing is heard of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from anyio import TASK_STATUS_IGNORED, Event, create_task_group, move_on_after, sleep, sleep_forever
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint
from attrs import define, field

from anysched.backends import (
    Backend,
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
from anysched.clock import Clock, clock_in_force
from anysched.errors import BackendUnavailable

from .faults import Faults, Trouble
from .history import Answered, Command, HandedOver, History

__all__ = ["Link", "Wire"]

_VERY_LATE = 30.0
"""Seconds: as long as several leases."""

_MOST_AT_ONCE = 5_000
"""Commands at one instant of virtual time. It does not pass while somebody asks again and again without a pause."""


@define(eq=False, kw_only=True)
class Wire:
    """What lies between all machines and the backend, and belongs to none of them.

    Args:
        backend: the shared one.
        history: what took effect goes there.
        clock: shows the true time.
        is_honest: whether the backend goes by it; otherwise by the clock of whoever calls, as no backend must.
    """

    backend: Backend
    history: History
    clock: Clock
    is_honest: bool = True
    later: list[tuple[float, Callable[[], Any]]] = field(factory=list[tuple[float, "Callable[[], Any]"]], init=False)
    _woken: Event = field(factory=Event, init=False)
    _instant: int = field(default=0, init=False)
    _at_instant: int = field(default=0, init=False)

    async def run(self) -> None:
        """Do later what was put off, until cancelled."""
        async with create_task_group() as group:
            while True:
                self._woken = Event()

                while self.later:
                    group.start_soon(self._do, *self.later.pop(0))

                await self._woken.wait()

    def put_off(self, seconds: float, what: Callable[[], Any]) -> None:
        """Have something done later, on nobody's machine."""
        self.later.append((seconds, what))
        self._woken.set()

    async def effect(self, machine: str, name: str, arguments: dict[str, Any]) -> Any:
        """Have a command take effect."""
        await self._let_time_pass(machine, name)
        token = clock_in_force.set(self.clock) if self.is_honest else None

        try:
            answer = await getattr(self.backend, name)(**arguments)
        finally:
            if token is not None:
                clock_in_force.reset(token)

        self.history.add(Command, machine, name=name, arguments=arguments, answer=answer)
        return answer

    async def _let_time_pass(self, machine: str, name: str) -> None:
        instant = self.clock.microseconds()
        self._at_instant = self._at_instant + 1 if instant == self._instant else 0
        self._instant = instant

        if self._at_instant > _MOST_AT_ONCE:
            self.history.note("spins", name, machine=machine)
            await sleep(1)

    async def _do(self, seconds: float, what: Callable[[], Any]) -> None:
        await sleep(seconds)
        done = what()

        if done is not None:
            await done


@define(eq=False, kw_only=True)
class Link:
    """A :class:`~anysched.backends.Backend` as one machine reaches it.

    Args:
        machine: its name.
        wire: to the shared backend.
        stumble: has the machine die (``"crash_at_call"``) or stand still for a while (``"pause_at_call"``).
        faults: what goes wrong.
        chance: with what luck.
        patience: how long a command waits for an answer, in seconds.
    """

    machine: str
    wire: Wire
    stumble: Callable[[str], None]
    faults: Faults
    chance: Random
    patience: float
    is_dead: bool = False
    _cut: bool = field(default=False, init=False)
    _cut_hangs: bool = field(default=False, init=False)
    _woken: Event = field(factory=Event, init=False)
    _calmed: Event = field(factory=Event, init=False)

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self._calmed.is_set()

    def calm(self) -> None:
        """Let nothing go wrong any more, and nothing take long."""
        self._calmed.set()

    @property
    def is_cut(self) -> bool:
        """Whether the backend cannot be reached."""
        return self._cut and not self.is_calm

    def cut(self, *, hangs: bool) -> None:
        """The backend cannot be reached from now on: commands fail at once, or after a while."""
        self._cut, self._cut_hangs = True, hangs
        self._woken.set()

    def mend(self) -> None:
        """It can be again."""
        self._cut = False

    # --- commands ----------------------------------------------------------------------------------------------

    async def _call(self, name: str, /, **arguments: Any) -> Any:
        if self.is_dead:
            await sleep_forever()

        trouble = Trouble() if self.is_calm else self.faults.draw_trouble(self.chance)
        sent_at = self.wire.clock.microseconds()
        self.wire.history.count(*trouble.names)
        await self._reach()
        await self._stumble(trouble, before=True)
        await self._dawdle(trouble.slow_before)

        if trouble.kind in ("lost_command", "late_command"):
            if trouble.kind == "late_command":
                self.wire.put_off(trouble.seconds, partial(self.wire.effect, self.machine, name, arguments))

            await self._fail("no answer in time")

        answer = await self.wire.effect(self.machine, name, arguments)

        if trouble.twice:
            await self._dawdle(trouble.again_after)
            answer = await self.wire.effect(self.machine, name, arguments)

        await self._stumble(trouble, before=False)
        await self._dawdle(trouble.slow_after)

        if trouble.kind == "lost_reply":
            await self._fail("the reply was lost")

        await self._reach()
        self.wire.history.add(Answered, self.machine, name=name, arguments=arguments, answer=answer, sent_at=sent_at)
        return answer

    async def _reach(self) -> None:
        if self.is_cut:
            self.wire.history.count("unreachable")
            await self._fail("the backend cannot be reached")

    async def _fail(self, reason: str) -> None:
        if self._cut_hangs or self.chance.random() < 0.5:
            await self._dawdle(self.patience)

        raise BackendUnavailable(reason)

    async def _dawdle(self, seconds: float) -> None:
        if seconds:
            with move_on_after(seconds):
                await self._calmed.wait()

    async def _stumble(self, trouble: Trouble, *, before: bool) -> None:
        """The machine dies or stands still here."""
        if trouble.before is before and trouble.kind in ("crash_at_call", "pause_at_call"):
            self.stumble(trouble.kind)
            await checkpoint()

    # --- hints -------------------------------------------------------------------------------------------------

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Deliver what arrives, on this machine, as it comes along this way."""
        await self._reach()
        arrived: list[Hint] = []

        def arrive(hint: Hint) -> None:
            # Called by whoever hints, on its machine.
            if hint.run is not None:
                self.wire.history.add(HandedOver, self.machine, run=hint.run, node_id=hint.name)

            arrived.append(hint)
            self._woken.set()

        async with create_task_group() as group:
            await group.start(self.wire.backend.listen, inbox, arrive)
            task_status.started()

            while not self.is_cut:
                self._woken = Event()

                while arrived:
                    self._pass_on(arrived.pop(0), deliver, group)

                await self._woken.wait()

            group.cancel_scope.cancel(reason="the connection was lost")

        raise BackendUnavailable("the connection was lost")

    def _pass_on(self, hint: Hint, deliver: Callable[[Hint], None], late: TaskGroup) -> None:
        point = 1.0 if self.is_calm else self.chance.random()
        faults, times = self.faults, 1

        if point < faults.lost_hint:
            self.wire.history.count("lost_hint")
            times = 0
        elif point < faults.lost_hint + faults.doubled_hint:
            self.wire.history.count("doubled_hint")
            late.start_soon(self._deliver_late, hint, deliver)
        elif point < faults.lost_hint + faults.doubled_hint + faults.late_hint:
            self.wire.history.count("late_hint")
            times = 0
            late.start_soon(self._deliver_late, hint, deliver)

        for _ in range(times):
            deliver(hint)

    async def _deliver_late(self, hint: Hint, deliver: Callable[[Hint], None]) -> None:
        """Others overtake it; and some come when nobody expects them any more."""
        await self._dawdle(self.chance.choice((0.05, 2.0, 2.0, _VERY_LATE)) * self.chance.random())
        deliver(hint)

    # --- the interface -----------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Hold nothing until cancelled."""
        task_status.started()
        await sleep_forever()

    async def time_ms(self) -> int:
        """As the backend's."""
        return await self._call("time_ms")

    async def report(self) -> ServerReport:
        """As the backend's."""
        return await self._call("report")

    async def enqueue(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        """As the backend's."""
        return await self._call("enqueue", runs=runs)

    async def get_runs(self, run_ids: Sequence[str]) -> list[RunRecord | Corrupt | None]:
        """As the backend's."""
        return await self._call("get_runs", run_ids=run_ids)

    async def find_key(self, key: str) -> str | None:
        """As the backend's."""
        return await self._call("find_key", key=key)

    async def watch(self, run_id: str, inbox: str) -> RunRecord | Corrupt | None:
        """As the backend's."""
        return await self._call("watch", run_id=run_id, inbox=inbox)

    async def cancel(self, run_id: str) -> CancelAnswer | None:
        """As the backend's."""
        return await self._call("cancel", run_id=run_id)

    async def revive(self, run_id: str) -> str | None:
        """As the backend's."""
        return await self._call("revive", run_id=run_id)

    async def reschedule(self, run_id: str, *, at_ms: int | None = None, delay_ms: int | None = None) -> str | None:
        """As the backend's."""
        return await self._call("reschedule", run_id=run_id, at_ms=at_ms, delay_ms=delay_ms)

    async def list_runs(
        self, *, status: str | None = None, queue: str | None = None, cursor: str = "", limit: int = 50
    ) -> RunPage:
        """As the backend's."""
        return await self._call("list_runs", status=status, queue=queue, cursor=cursor, limit=limit)

    async def join(self, node: NodeInfo) -> int:
        """As the backend's."""
        return await self._call("join", node=node)

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        """As the backend's."""
        return await self._call("renew", node_id=node_id, ttl_ms=ttl_ms)

    async def leave(self, node_id: str) -> None:
        """As the backend's."""
        await self._call("leave", node_id=node_id)

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        """As the backend's."""
        return await self._call("work", node_id=node_id, outcomes=outcomes, claim=claim)

    async def set_progress(self, run_id: str, token: int, fraction: float, message: str) -> bool:
        """As the backend's."""
        return await self._call("set_progress", run_id=run_id, token=token, fraction=fraction, message=message)

    async def put_entry(self, entry: EntryWrite, *, replace: bool, nonce: str) -> bool:
        """As the backend's."""
        return await self._call("put_entry", entry=entry, replace=replace, nonce=nonce)

    async def declare(self, program: str, entries: Sequence[EntryWrite], *, ttl_ms: int) -> list[str]:
        """As the backend's."""
        return await self._call("declare", program=program, entries=entries, ttl_ms=ttl_ms)

    async def get_entry(self, entry_id: str) -> EntryRecord | Corrupt | None:
        """As the backend's."""
        return await self._call("get_entry", entry_id=entry_id)

    async def list_entries(self, *, cursor: str = "", limit: int = 100) -> EntryPage:
        """As the backend's."""
        return await self._call("list_entries", cursor=cursor, limit=limit)

    async def pause_entry(self, entry_id: str, note: str) -> bool:
        """As the backend's."""
        return await self._call("pause_entry", entry_id=entry_id, note=note)

    async def resume_entry(self, entry_id: str, *, revision: str, next_ms: int | None) -> bool:
        """As the backend's."""
        return await self._call("resume_entry", entry_id=entry_id, revision=revision, next_ms=next_ms)

    async def remove_entry(self, entry_id: str) -> bool:
        """As the backend's."""
        return await self._call("remove_entry", entry_id=entry_id)

    async def tick(self, nonce: str, fires: Sequence[Fire], *, count: int, skip: int = 0) -> TickReply:
        """As the backend's."""
        return await self._call("tick", nonce=nonce, fires=fires, count=count, skip=skip)

    async def trigger(self, entry_id: str, run: NewRun, *, overlap: str) -> FireAnswer | None:
        """As the backend's."""
        return await self._call("trigger", entry_id=entry_id, run=run, overlap=overlap)

    async def acquire_lock(self, name: str, owner: str, *, ttl_ms: int, wait_inbox: str | None) -> LockAnswer:
        """As the backend's."""
        return await self._call("acquire_lock", name=name, owner=owner, ttl_ms=ttl_ms, wait_inbox=wait_inbox)

    async def refresh_lock(self, name: str, owner: str, *, ttl_ms: int) -> bool:
        """As the backend's."""
        return await self._call("refresh_lock", name=name, owner=owner, ttl_ms=ttl_ms)

    async def release_lock(self, name: str, owner: str) -> bool:
        """As the backend's."""
        return await self._call("release_lock", name=name, owner=owner)

    async def pause_queue(self, queue: str) -> None:
        """As the backend's."""
        await self._call("pause_queue", queue=queue)

    async def resume_queue(self, queue: str) -> None:
        """As the backend's."""
        await self._call("resume_queue", queue=queue)

    async def list_queues(self) -> list[QueueRecord]:
        """As the backend's."""
        return await self._call("list_queues")

    async def list_nodes(self) -> list[NodeRecord]:
        """As the backend's."""
        return await self._call("list_nodes")

    async def totals(self) -> Totals:
        """As the backend's."""
        return await self._call("totals")
