"""What is done in a simulation: any program's own jobs, or the mixture that is in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, Protocol, TypeVar

from anyio import create_task_group, sleep
from attrs import define, field

from anysched.context import current_run
from anysched.entry import EntryPolicy
from anysched.errors import AnySchedError, BackendUnavailable, LockLost
from anysched.identifiers import make_nonce
from anysched.job import BoundJob
from anysched.registry import PolicyOptions
from anysched.retry import DoNotRetry, RetryPolicy, Snooze
from anysched.run_handle import Run
from anysched.scheduler import Scheduler
from anysched.schedules import Cron, Every, Schedule

__all__ = ["Mixture", "Workload", "insist"]

T = TypeVar("T")


class Workload(Protocol):
    """Jobs, entries, and a program that uses them. One object serves all machines of a simulation."""

    queues: Mapping[str, int]
    """What the nodes work on, with weights."""

    def declare(self, scheduler: Scheduler) -> None:
        """Give jobs and entries to the scheduler of one machine: ``scheduler.include(blueprint)``, or decorators."""
        ...

    async def drive(self, scheduler: Scheduler, chance: Random) -> None:
        """Use them, from a machine that only enqueues. Cancelled when the time is over.

        Args:
            scheduler: open, not running; its calls raise :exc:`BackendUnavailable` as the faults have it.
            chance: the only luck to use, or the seed does not decide.
        """
        ...

    def complaints(self) -> list[str]:
        """What is wrong at the end, as far as the workload itself can tell."""
        ...


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the backend answers. It must be one that may be repeated."""
    while True:
        try:
            return await call()
        except BackendUnavailable:
            await sleep(0.5)


class Refused(Exception):
    """What the jobs in here raise."""


@define(eq=False)
class _Ledger:
    """A store that checks fencing tokens, and so loses no update."""

    token: int = 0
    value: int = 0
    written: int = 0
    refused: int = 0

    def read(self, token: int) -> int:
        self.check(token)
        return self.value

    def write(self, token: int, value: int) -> None:
        self.check(token)
        self.value = value
        self.written += 1

    def check(self, token: int) -> None:
        if token < self.token:
            self.refused += 1
            raise Refused("a stale token")

        self.token = token


@define(eq=False)
class Mixture:
    """A bit of everything.

    Args:
        pace: seconds between two actions of the client, on average.
    """

    pace: float = 0.7
    queues: Mapping[str, int] = field(factory=lambda: {"default": 3, "slow": 1}, init=False)
    ledger: _Ledger = field(factory=_Ledger, init=False)
    snoozed: dict[str, int] = field(factory=dict[str, int], init=False)
    _runs: list[Run[Any]] = field(factory=list[Run[Any]], init=False)
    _entries: list[str] = field(factory=list[str], init=False)
    _made: int = field(default=0, init=False)

    def declare(self, scheduler: Scheduler) -> None:
        """Nine jobs and three entries."""
        _declare_plain(scheduler)
        _declare_troubled(scheduler, self.snoozed)
        _declare_locking(scheduler, self.ledger)

        @scheduler.cron("*/5 * * * * *", overlap="skip")
        async def declared() -> None:
            await sleep(current_run().fencing_token % 7)

        @scheduler.every("4s", overlap="queue_one", misfire="all", jitter="1s")
        async def jittered() -> None:
            await sleep(1)

        @scheduler.every("6s", after_completion=True)
        async def sweeping() -> None:
            await sleep(2)

    def complaints(self) -> list[str]:
        """Updates that the ledger lost."""
        lost = self.ledger.written - self.ledger.value
        return [f"the ledger lost {lost} updates, though it checks fencing tokens"] if lost else []

    async def drive(self, scheduler: Scheduler, chance: Random) -> None:
        """Enqueue most of the time, and meddle with what is there the rest of it."""
        actions: dict[Callable[[Scheduler, Random], Awaitable[None]], int] = {
            self._enqueue: 70,
            self._cancel: 10,
            self._reschedule: 5,
            self._retry: 3,
            self._add: 4,
            self._remove: 2,
            self._pause: 4,
            self._trigger: 4,
            self._hold_queue: 2,
        }

        async with create_task_group() as group:
            while True:
                await sleep(chance.expovariate(1 / self.pace))
                (action,) = chance.choices(list(actions), list(actions.values()))
                group.start_soon(self._act, action, scheduler, chance)

    async def _act(
        self, action: Callable[[Scheduler, Random], Awaitable[None]], scheduler: Scheduler, chance: Random
    ) -> None:
        # Gone meanwhile, or no longer in the state for it: as may be.
        with suppress(AnySchedError):
            await action(scheduler, chance)

    # --- actions -----------------------------------------------------------------------------------------------

    async def _enqueue(self, scheduler: Scheduler, chance: Random) -> None:
        bounds = [self._bound(scheduler, chance) for _ in range(chance.choice((1, 1, 1, 5)))]
        self._runs += await insist(lambda: scheduler.enqueue(*bounds))

    def _bound(self, scheduler: Scheduler, chance: Random) -> BoundJob[Any]:
        (name,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        self._made += 1
        options: dict[str, Any] = {
            # Fixed here, so that a repetition after a lost reply is known.
            "run_id": f"r{self._made}-{make_nonce()[:6]}",
            "priority": chance.choice((0, 0, 0, 5)),
            "queue": chance.choice(("default", "default", "slow")),
        }

        if chance.random() < 0.25:
            options["delay"] = chance.uniform(0.1, 20)

        if chance.random() < 0.1:
            options["key"] = f"key-{chance.randint(1, 3)}"

        if chance.random() < 0.1:
            options["expires"] = chance.uniform(1, 20)

        if chance.random() < 0.1:
            options["deadline"] = chance.uniform(5, 40)

        return scheduler.jobs[name].options(**options).bind(chance.randint(1, 4))

    async def _cancel(self, scheduler: Scheduler, chance: Random) -> None:
        if self._runs:
            run = chance.choice(self._runs[-30:])
            await insist(lambda: scheduler.cancel_run(run.id))

    async def _reschedule(self, scheduler: Scheduler, chance: Random) -> None:
        if self._runs:
            run, delay = chance.choice(self._runs[-30:]), chance.choice((0, chance.uniform(0.1, 15)))
            await insist(lambda: scheduler.reschedule_run(run.id, at=None, delay=delay))

    async def _retry(self, scheduler: Scheduler, chance: Random) -> None:
        if self._runs:
            run = chance.choice(self._runs)
            await insist(lambda: scheduler.retry_run(run.id))

    async def _add(self, scheduler: Scheduler, chance: Random) -> None:
        self._made += 1
        entry_id = f"e{self._made}"
        schedule: Schedule = chance.choice(
            (
                Cron("*/3 * * * * *"),
                Every(seconds=chance.randint(2, 9)),
                Every(seconds=3, after_completion=True),
            )
        )
        policy: PolicyOptions = {
            "overlap": chance.choice(("skip", "queue_one", "queue_all", "cancel_previous", "allow")),
            "misfire": chance.choice(("latest", "all", "skip")),
        }

        if chance.random() < 0.3:
            policy["misfire_grace"] = "5s"

        if chance.random() < 0.2:
            policy["limit"] = chance.randint(1, 8)

        bound = scheduler.jobs[chance.choice(("steady", "flaky"))].bind(chance.randint(1, 6))
        EntryPolicy(**policy)
        self._entries.append(entry_id)
        await insist(lambda: scheduler.add(schedule, bound, id=entry_id, replace=chance.random() < 0.5, **policy))

    async def _remove(self, scheduler: Scheduler, chance: Random) -> None:
        if self._entries:
            entry_id = chance.choice(self._entries)
            self._entries.remove(entry_id)
            await insist(lambda: scheduler.remove(entry_id))

    async def _pause(self, scheduler: Scheduler, chance: Random) -> None:
        entries = [*self._entries, "declared"]
        entry_id = chance.choice(entries)
        await insist(lambda: scheduler.pause(entry_id))
        await sleep(chance.uniform(0.5, 20))
        await insist(lambda: scheduler.resume(entry_id))

    async def _trigger(self, scheduler: Scheduler, chance: Random) -> None:
        entries = [*self._entries, "declared"]
        entry_id = chance.choice(entries)
        await insist(lambda: scheduler.trigger(entry_id))

    async def _hold_queue(self, scheduler: Scheduler, chance: Random) -> None:
        await insist(lambda: scheduler.pause_queue("slow"))
        await sleep(chance.uniform(0.5, 8))
        await insist(lambda: scheduler.resume_queue("slow"))


# --- the jobs -----------------------------------------------------------------------------------------------------

_WEIGHTS = {
    "steady": 6,
    "long": 2,
    "few": 3,
    "flaky": 4,
    "doomed": 1,
    "sleepy": 2,
    "late": 1,
    "reporting": 1,
    "booking": 3,
}


def _declare_plain(scheduler: Scheduler) -> None:
    @scheduler.job(name="steady")
    async def steady(seconds: int) -> int:
        await sleep(seconds / 3)
        return current_run().fencing_token

    @scheduler.job(name="long")
    async def long(times: int) -> int:
        for _ in range(5 * times):
            await sleep(1)

        return current_run().fencing_token

    @scheduler.job(name="few", max_concurrent=2)
    async def few(seconds: int) -> int:
        await sleep(seconds)
        return current_run().fencing_token

    @scheduler.job(name="reporting")
    async def reporting(times: int) -> int:
        for step in range(times):
            await sleep(1)
            await insist(lambda step=step: current_run().set_progress(step / times))

        return current_run().fencing_token


def _declare_troubled(scheduler: Scheduler, snoozed: dict[str, int]) -> None:
    retry = RetryPolicy(max_retries=2, initial="1s", jitter=0.2)

    @scheduler.job(name="flaky", retry=retry)
    async def flaky(failures: int) -> int:
        await sleep(0.2)

        if current_run().attempt < failures:
            raise Refused("not yet")

        return current_run().fencing_token

    @scheduler.job(name="doomed", retry=retry)
    async def doomed(seconds: int) -> int:
        await sleep(seconds)
        raise (DoNotRetry("never") if seconds > 2 else Refused("no"))

    @scheduler.job(name="sleepy")
    async def sleepy(times: int) -> int:
        run = current_run()
        await sleep(0.1)
        snoozed[run.id] = snoozed.get(run.id, 0) + 1

        if snoozed[run.id] <= times:
            raise Snooze("2s")

        return run.fencing_token

    @scheduler.job(name="late", timeout="2s", retry=retry)
    async def late(seconds: int) -> int:
        await sleep(seconds)
        return current_run().fencing_token


def _declare_locking(scheduler: Scheduler, ledger: _Ledger) -> None:
    @scheduler.job(name="booking")
    async def booking(seconds: int) -> int:
        try:
            async with scheduler.lock("ledger", ttl="4s") as lease:
                value = ledger.read(lease.token)
                await sleep(seconds / 2)
                ledger.write(lease.token, value + 1)
        except LockLost as error:
            raise Refused("lost the lock") from error

        return current_run().fencing_token
