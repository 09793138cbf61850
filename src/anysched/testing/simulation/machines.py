"""The machines of a simulation: each runs one real scheduler, and may die, stand still, or be stopped."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from random import Random
from typing import Any, Literal

from anyio import CancelScope
from attrs import define, field

from anysched.clock import Clock, clock_in_force
from anysched.context import current_run
from anysched.executor import Executor
from anysched.scheduler import Scheduler

from .gates import Gate, current_gate
from .history import Began, Ended, Happened, History
from .links import Link

__all__ = ["Machine", "WatchedExecutor"]


@define(eq=False, kw_only=True)
class WatchedExecutor(Executor):
    """An executor that writes down when each function is called and when it is left.

    Args:
        machine: where it is.
        history: where that goes.
    """

    machine: str
    history: History

    async def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        runs_in: Literal["loop", "thread", "process"],
        *,
        begins: Callable[[], None] = lambda: None,
        facts: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function where it belongs, and return what it returns."""
        run = current_run()
        self.history.add(
            Began,
            self.machine,
            run_id=run.id,
            job=run.job,
            token=run.fencing_token,
            attempt=run.attempt,
            entry_id=run.entry_id or "",
        )
        how = "cancelled"

        try:
            answer = await super().call(function, args, kwargs, runs_in, begins=begins, facts=facts)
            how = "returned"
            return answer
        except Exception as error:
            how = type(error).__name__
            raise
        finally:
            self.history.add(Ended, self.machine, run_id=run.id, token=run.fencing_token, how=how)


@define(eq=False, kw_only=True)
class Machine:
    """One machine, with a clock of its own, and what runs on it.

    Args:
        name: what the history calls it.
        history: where its life is written down.
        true_time: microseconds since 1970.
        chance: its luck.
        most_pause: how long it stands still at most, in seconds.
        put_off: has something done later, on nobody's machine.
        skew: microseconds that its clock is ahead.
    """

    name: str
    history: History
    true_time: Callable[[], int]
    chance: Random
    most_pause: float
    put_off: Callable[[float, Callable[[], Any]], None]
    skew: int = 0
    state: Literal["new", "running", "stopping", "dead", "ended"] = field(default="new", init=False)
    is_doomed: bool = field(default=False, init=False)
    """To die at the next standstill."""
    gate: Gate = field(init=False)
    link: Link = field(init=False)
    scheduler: Scheduler = field(init=False)
    _scope: CancelScope = field(factory=CancelScope, init=False)
    _context: Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.gate = Gate(self._stopped_short)

    @property
    def is_well(self) -> bool:
        """Whether it runs, and nothing is the matter with it."""
        return self.state == "running" and not self.gate.is_closed and not self.is_doomed and not self.link.is_cut

    async def run(self, live: Callable[[], Awaitable[None]]) -> None:
        """Live until it is stopped, or to the end of the simulation if it dies.

        Args:
            live: what runs on it.
        """
        current_gate.set(self.gate)
        clock_in_force.set(Clock(microseconds=lambda: self.true_time() + self.skew))
        self._context = copy_context()
        self.state = "running"
        self._note("started", {"skew": self.skew})

        try:
            with self._scope:
                await live()
        except Exception:  # noqa: BLE001 - nothing may leave a scheduler here: it is written down, and found
            self._note("broke down", traceback.format_exc())

        self._end()

    def crash(self, *, after: int = 0) -> None:
        """Die: now, or after so many more steps of whatever it is doing."""
        self.is_doomed = True

        if after and not self.gate.is_closed:
            self.gate.close_after(after)
        elif self.gate.is_closed:
            self._stopped_short()
        else:
            self.gate.close()

    def stand_still(self, *, after: int = 0) -> None:
        """Stop in the middle of everything, and go on after a while."""
        if after:
            self.gate.close_after(after)
        else:
            self.gate.close()

    def stumble(self, kind: str) -> None:
        """What :class:`Link` asks for."""
        if kind == "crash_at_call":
            self.crash()
        else:
            self.stand_still()

    def stop(self, *, at_once: bool, is_calm: bool) -> None:
        """Have it stopped from outside: by a graceful stop, or by cancelling its scope.

        Args:
            at_once: cancel it.
            is_calm: nothing goes wrong with it from now on.
        """
        self.state = "stopping"
        self._note("stopping", {"at_once": at_once, "calm": is_calm})

        if is_calm:
            self.leave_in_peace()

        if at_once:
            # On its own behalf: asyncio repeats a cancellation until it was heard, and that has to stop with it.
            self._context.run(self._scope.cancel, "stopped by the simulation")
        else:
            self.scheduler.stop()

    def leave_in_peace(self) -> None:
        """Let nothing go wrong any more."""
        self.link.calm()

        if self.state != "dead":
            self.is_doomed = False
            self.gate.close_after(0)
            self.thaw()

    def end(self) -> None:
        """The simulation is over: let the dead be gone, and everybody else too."""
        self.link.is_dead = self.link.is_dead or self.state == "dead"
        self.gate.open()

        if self.state != "ended":
            self._context.run(self._scope.cancel, "the end of the simulation")

    def thaw(self) -> None:
        """Go on, unless it is dead."""
        if self.state != "dead" and self.gate.is_closed:
            self._note("goes on")
            self.gate.open()

    def _end(self) -> None:
        if self.state != "dead":
            self.state = "ended"
            self._note("ended")

    def _stopped_short(self) -> None:
        if self.state == "ended":
            return

        if self.is_doomed:
            self.state = "dead"
            self._note("died")
        else:
            seconds = self.chance.uniform(1.0, self.most_pause)
            self._note("stands still", seconds)
            self.put_off(seconds, self.thaw)

    def _note(self, what: str, detail: Any = None) -> None:
        self.history.add(Happened, self.name, what=what, detail=detail)
