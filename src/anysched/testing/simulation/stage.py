"""The course of one simulation: machines are disturbed and replaced, and then left in peace until all is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from random import Random

from anyio import create_task_group, current_time, move_on_after, sleep
from anyio.abc import TaskGroup
from attrs import define, field

from anysched.backends.memory import MemoryBackend
from anysched.clock import Clock, clock_in_force
from anysched.config import ErrorContext, SchedulerConfig
from anysched.lock import Lock
from anysched.scheduler import Scheduler

from .faults import Faults
from .gates import gated
from .history import Command, History
from .links import Link, Wire
from .machines import Machine, WatchedExecutor
from .workload import Workload

__all__ = ["KEEPER", "Stage"]

KEEPER = "keeper"
"""The machine that looks after things at the end; nothing ever goes wrong with it."""

_CALM = 20.0
"""Virtual seconds without faults before the entries are paused: everything due has been fired by then."""

_PATIENCE = 1200.0
"""Virtual seconds that everything may take to come to its end."""


@define(eq=False, kw_only=True)
class Stage:
    """One simulation.

    Args:
        seed: decides everything.
        nodes: machines that run the scheduler.
        duration: seconds of disturbance.
        lease: of the nodes.
        faults: what goes wrong.
        workload: jobs, entries, and a program that uses them.
        backend: the shared one.
        is_honest: see :class:`Wire`.
    """

    seed: int
    nodes: int
    duration: float
    lease: timedelta
    faults: Faults
    workload: Workload
    backend: MemoryBackend = field(factory=MemoryBackend)
    is_honest: bool = True
    history: History = field(init=False)
    wire: Wire = field(init=False)
    machines: list[Machine] = field(factory=list[Machine], init=False)
    errors: int = field(default=0, init=False)
    """Reported to the error handlers, which see those of the handlers too."""
    _chance: Random = field(init=False)
    _machines: TaskGroup = field(init=False)
    _made: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = Random(f"{self.seed} stage")

    async def run(self) -> None:
        """From the first machine to the last record."""
        # The clock in force here is the true one.
        clock = clock_in_force.get()
        self.history = History(clock.microseconds)
        self.wire = Wire(
            backend=self.backend, history=self.history, clock=Clock(clock.microseconds), is_honest=self.is_honest
        )

        with gated():
            async with create_task_group() as outside, create_task_group() as self._machines:
                outside.start_soon(self.wire.run)
                self.history.note("at first", await self.backend.totals())

                for _ in range(self.nodes):
                    self._add_node()

                self._strike_first()
                client = self._add_client()
                await self._disturb(client)
                await self._settle()
                await self._stop_all()
                await self._record_finals()
                self.history.is_closed = True

                for machine in self.machines:
                    machine.end()

                outside.cancel_scope.cancel(reason="the end of the simulation")

    # --- machines ----------------------------------------------------------------------------------------------

    def _add_node(self) -> None:
        machine = self._machine("node", self.faults.draw_skew(self._chance))
        self._machines.start_soon(machine.run, partial(machine.scheduler.run))

    def _strike_first(self) -> None:
        if self.faults.first_crash:
            self.machines[0].crash(after=self.faults.first_crash)
            self.history.count("crashes")
        elif self.faults.first_pause:
            self.machines[0].stand_still(after=self.faults.first_pause)
            self.history.count("pauses")

    def _add_client(self) -> Machine:
        machine = self._machine("client", self.faults.draw_skew(self._chance))
        chance = Random(f"{self.seed} {machine.name}")

        async def live() -> None:
            async with machine.scheduler:
                await self.workload.drive(machine.scheduler, chance)

        self._machines.start_soon(machine.run, live)
        return machine

    def _machine(self, kind: str, skew: int) -> Machine:
        self._made += 1
        name = f"{kind}-{self._made}"
        chance = Random(f"{self.seed} {name} luck")
        machine = Machine(
            name=name,
            history=self.history,
            true_time=self.wire.clock.microseconds,
            chance=chance,
            most_pause=3 * self.lease.total_seconds(),
            put_off=self.wire.put_off,
            skew=skew,
        )
        machine.link = self._link(machine, chance)
        machine.scheduler = self._scheduler(machine)
        self.workload.declare(machine.scheduler)
        self.machines.append(machine)
        return machine

    def _link(self, machine: Machine, chance: Random) -> Link:
        faults = self.faults if machine.name.startswith("node") else self.faults.without("crash_at_call")
        return Link(
            machine=machine.name,
            wire=self.wire,
            stumble=machine.stumble,
            faults=faults,
            chance=chance,
            patience=self.lease.total_seconds() / 4,
        )

    def _scheduler(self, machine: Machine) -> Scheduler:
        def on_error(error: Exception, context: ErrorContext) -> None:
            self.errors += 1

        config = SchedulerConfig(
            tick_interval=self.lease / 2,
            lease=self.lease,
            shutdown_timeout=2 * self.lease,
            queues=self.workload.queues,
            # Nothing may be forgotten before it was looked at.
            result_ttl="720h",
            failed_ttl="720h",
            on_error=on_error,
        )
        executor = WatchedExecutor(machine=machine.name, history=self.history, max_concurrent=8)
        return Scheduler(machine.link, config=config, executor=executor, lock=Lock(ttl=self.lease))

    @property
    def _nodes(self) -> Sequence[Machine]:
        return [one for one in self.machines if one.name.startswith("node") and one.state not in ("dead", "ended")]

    # --- disturbances ------------------------------------------------------------------------------------------

    async def _disturb(self, client: Machine) -> None:
        async with create_task_group() as chaos:
            chaos.start_soon(self._replace)
            chaos.start_soon(self._upset)
            await sleep(self.duration)
            chaos.cancel_scope.cancel(reason="peace")

        self.history.note("peace")

        for machine in self.machines:
            machine.leave_in_peace()

        if client.state == "running":
            client.stop(at_once=True, is_calm=True)

    async def _replace(self) -> None:
        """Put a new machine where one is gone, after a while."""
        while True:
            await sleep(1.0)

            for _ in range(self.nodes - len(self._nodes)):
                if self._chance.random() < 0.3:
                    self._add_node()

    async def _upset(self) -> None:
        chance = Random(f"{self.seed} chaos")

        while True:
            seconds, kind = self.faults.draw_disturbance(chance)
            await sleep(seconds)
            self._upset_once(kind, chance)

    def _upset_once(self, kind: str, chance: Random) -> None:
        well = [one for one in self.machines if one.is_well]
        nodes = [one for one in well if one.name.startswith("node")]
        steps = chance.choice((0, chance.randint(1, 300)))

        match kind:
            case "outages":
                self._cut(self.machines, chance)
            case "clock_steps" if nodes:
                chance.choice(nodes).skew = self.faults.draw_skew(chance)
            case "crashes" if nodes:
                chance.choice(nodes).crash(after=steps)
            case "pauses" if well:
                chance.choice(well).stand_still(after=steps)
            case "cuts" if well:
                self._cut([chance.choice(well)], chance)
            case "stops" | "cancels" if nodes:
                chance.choice(nodes).stop(at_once=kind == "cancels", is_calm=chance.random() < 0.5)
            case _:
                return

        self.history.count(kind)

    def _cut(self, machines: Sequence[Machine], chance: Random) -> None:
        seconds = chance.uniform(0.5, 3 * self.lease.total_seconds())
        hangs = chance.random() < 0.5
        self.history.note("cut", {"seconds": seconds, "machines": [one.name for one in machines]})

        for machine in list(machines):
            machine.link.cut(hangs=hangs)
            self.wire.put_off(seconds, machine.link.mend)

    # --- the end -----------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Bring everything to its end: without faults, without a client, and soon without entries."""
        for _ in range(self.nodes - sum(one.state == "running" for one in self._nodes)):
            self._add_node()
            self.machines[-1].leave_in_peace()

        await sleep(_CALM)

        for queue in await self.backend.list_queues():
            await self._keep("resume_queue", queue=queue.name)

        # Late fires of entries that were busy catching up; the pauses are then taken at one instant.
        self.history.note("settled")
        page = await self.backend.list_entries(limit=1_000)

        for entry in page.entries:
            await self._keep("pause_entry", entry_id=entry.id, note="the end")

        with move_on_after(_PATIENCE):
            # Whether it is quiet is something that nobody tells.
            while not await self._is_quiet():  # noqa: ASYNC110 - see above
                await sleep(1.0)

        self.history.note("quiet", await self.backend.totals())

    async def _is_quiet(self) -> bool:
        totals = await self.backend.totals()
        return not totals.ready + totals.scheduled + totals.running + totals.waiting

    async def _stop_all(self) -> None:
        for machine in self._nodes:
            if machine.state == "running":
                machine.stop(at_once=self._chance.random() < 0.5, is_calm=True)

        until = current_time() + 4 * self.lease.total_seconds() + 15

        while self._nodes and current_time() < until:  # noqa: ASYNC110 (likewise)
            await sleep(0.5)

        for machine in self._nodes:
            self.history.note("never ended", machine=machine.name)

    async def _record_finals(self) -> None:
        known: dict[str, None] = {}

        for record in self.history.records:
            if isinstance(record, Command):
                known |= dict.fromkeys(_FOUND_IN.get(record.name, _nothing)(record))

        ids = list(known)

        for start in range(0, len(ids), 500):
            chunk = ids[start : start + 500]

            for run_id, found in zip(chunk, await self.backend.get_runs(chunk), strict=True):
                self.history.note("final run", (run_id, found), machine=KEEPER)

        for entry in (await self.backend.list_entries(limit=1_000)).entries:
            self.history.note("final entry", entry, machine=KEEPER)

    async def _keep(self, name: str, /, **arguments: object) -> None:
        await self.wire.effect(KEEPER, name, dict(arguments))


def _nothing(_: Command) -> list[str]:
    return []


_FOUND_IN: dict[str, Callable[[Command], list[str]]] = {
    "enqueue": lambda command: [answer.id for answer in command.answer],
    "tick": lambda command: [run.id for fire in command.arguments["fires"] for run in fire.runs],
    "trigger": lambda command: [command.arguments["run"].id],
}
"""Where the ids of runs come from."""
