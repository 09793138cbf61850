"""One attempt at a run: resolve, decode, call, classify.

An attempt that ends has exactly one outcome, which is reported synchronously the moment the handler is left, before
anything else can happen to it. Why a handler was interrupted is not guessed from times: the time limit has a scope of
its own, and whoever interrupts for another reason writes it down before cancelling, the first one counting.

What always holds:

* From :meth:`Attempting.accept` until its outcome is reported, an attempt is in ``live``.
* An attempt that was interrupted because the lease was lost, or at a stop, is handed back unless its handler
  finished first; one whose cancellation was asked for is never retried.
* A handler's ``Exception`` is data. So is any other ``BaseException`` it raises, except ``KeyboardInterrupt`` and our
  own cancellation: these mean the process, not the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from datetime import datetime
from enum import Enum
from functools import partial
from math import inf
from types import TracebackType
from typing import Any

from anyio import CancelScope, current_effective_deadline, current_time, from_thread, get_cancelled_exc_class
from attrs import define, field

from anysched.backends import Backend, ClaimedRun, Outcome
from anysched.clock import from_ms
from anysched.context import RunContext, ShutdownSignal, set_current_run
from anysched.errors import CannotDecode, StaleLease
from anysched.executor import Executor
from anysched.job import Job
from anysched.options import RunOptions, decode_options
from anysched.runtime.judging import Ending, Judge
from anysched.runtime.mending import leave_scopes
from anysched.runtime.settling import released
from anysched.runtime.stepping import step_through

__all__ = ["Attempting", "Interruption", "LiveAttempt"]

_FORGET = 0.2
"""The weight of the newest attempt in the average duration."""


_PAUSED = 1.0
"""The average to go on from after some were handed back: no more are taken in advance for a while."""


class Interruption(Enum):
    """Why an attempt is made to end before its handler does."""

    CANCELLED = "the run was cancelled"
    LEASE_LOST = "the lease was lost"
    STOPPED = "the node is stopping"


@define(eq=False)
class LiveAttempt:
    """An attempt from its claim to its outcome."""

    run: ClaimedRun
    job: Job[Any, Any]
    options: RunOptions
    claimed_ms: int
    interruption: Interruption | None = None
    """Written before the scope is cancelled, and only once."""
    scope: CancelScope | None = None
    """While the handler runs."""

    def interrupt(self, reason: Interruption) -> None:
        """Make it end. The first reason counts."""
        if self.interruption is None:
            self.interruption = reason

        if self.scope is not None:
            self.scope.cancel(reason=reason.value)

    @property
    def limit(self) -> float | None:
        """Its time limit in seconds."""
        return self.options.limit(self.job.timeout)


@define(eq=False, kw_only=True)
class Attempting:
    """Carries out attempts on an executor and reports their outcomes.

    Args:
        backend: for the progress that handlers report.
        jobs: the jobs known here, by name.
        executor: where functions are called.
        judge: decides what an ending means.
        report: takes each outcome.
        base: the context that each attempt's own is copied from.
        state: what the lifespan yielded.
        shutting_down: set when a stop begins.
    """

    backend: Backend
    jobs: Mapping[str, Job[Any, Any]]
    executor: Executor
    judge: Judge
    report: Callable[[Outcome], None]
    base: Context
    state: Any
    shutting_down: ShutdownSignal
    live: dict[str, LiveAttempt] = field(factory=dict[str, LiveAttempt], init=False)
    pace: float = field(default=1.0, init=False)
    """Seconds that an attempt has been taking, as a moving average; a guess at first."""
    begun: int = field(default=0, init=False)
    waiting: dict[str, LiveAttempt] = field(factory=dict[str, LiveAttempt], init=False)
    """Those of ``live`` that have not begun, oldest first."""

    @property
    def room(self) -> int:
        """How many runs could begin now; negative when some are waiting to."""
        return self.executor.room

    @property
    def capacity(self) -> int:
        """How many are carried out at once."""
        return self.executor.max_concurrent

    def accept(self, run: ClaimedRun, claimed_ms: int) -> bool:
        """Take a claimed run, which begins as soon as there is room; ``False``: its job is not known here."""
        job = self.jobs.get(run.job)

        if job is None:
            return False

        try:
            options = decode_options(run.options, run.job)
        except CannotDecode as error:
            self.report(self.judge.unreadable(run, error, claimed_ms))
            return True

        attempt = LiveAttempt(run, job, options, claimed_ms)
        self.live[run.id] = self.waiting[run.id] = attempt
        self.executor.submit(partial(self._carry_out, attempt))
        return True

    def interrupt(self, run_ids: Iterable[str], reason: Interruption) -> None:
        """Make these attempts end, those that are here."""
        for run_id in run_ids:
            attempt = self.live.get(run_id)

            if attempt is not None:
                attempt.interrupt(reason)

    def surrender(self) -> None:
        """Hand back what has not begun."""
        self.executor.surrender()
        self.pace = max(self.pace, _PAUSED)
        given_up = list(self.waiting.values())
        self.waiting.clear()

        for attempt in given_up:
            self.live.pop(attempt.run.id, None)
            self.report(released(attempt.run))

    async def _carry_out(self, attempt: LiveAttempt) -> None:
        run = attempt.run

        # After a lost lease the same run may be here again already.
        if self.waiting.get(run.id) is attempt:
            del self.waiting[run.id]

        self.begun += 1
        began = current_time()
        ending = Ending()

        try:
            if attempt.interruption is None:
                self.judge.begins(attempt)
                await self._call(attempt, ending)
            else:
                ending.interrupted = True
        except BaseException:
            # Not ours to keep: the surroundings are cancelled, or the process is asked to end.
            ending.interrupted = True
            attempt.interruption = attempt.interruption or Interruption.STOPPED
            raise
        finally:
            took = current_time() - began
            self.pace += _FORGET * (took - self.pace)
            attempt.scope = None

            # After a lost lease the same run may be here again already.
            if self.live.get(run.id) is attempt:
                del self.live[run.id]

            self.report(self.judge.outcome(attempt, ending, took))

    async def _call(self, attempt: LiveAttempt, ending: Ending) -> None:
        run, job = attempt.run, attempt.job

        try:
            args, kwargs = job.types.decode_arguments(run.payload)
        except CannotDecode as error:
            ending.error = error
            return

        context = self.base.copy()
        context.run(set_current_run, self._context_of(attempt))
        handler = self.executor.call(job.function, args, kwargs, job.runs_in)

        try:
            await self._call_within(attempt, step_through(handler, context, self.executor.make_room), ending)
        except get_cancelled_exc_class() as error:  # noqa: ASYNC103 - only ours has to pass
            if current_effective_deadline() == -inf:
                raise

            # Nobody cancels us: on asyncio a handler raises this by itself when it awaits what somebody else cancelled.
            ending.error = error
        except RuntimeError as error:
            # Not the handler's, but of our scopes: it has left one of its own open in this task.
            ending.returned, ending.error = False, error

            if attempt.scope is not None:
                leave_scopes(attempt.scope)

        if ending.error is not None and attempt.interruption is None and current_effective_deadline() == -inf:
            # What it raised while it was being stopped says nothing about the run.
            attempt.interruption = Interruption.STOPPED

    async def _call_within(self, attempt: LiveAttempt, handler: Any, ending: Ending) -> None:
        """Await the handler within its scopes: one for whoever interrupts it, one for its time limit."""
        run, limit = attempt.run, attempt.limit

        with CancelScope() as scope:
            attempt.scope = scope

            if limit is None and not run.deadline_ms:
                await _listen_to(handler, ending)
            else:
                seconds = self._seconds_left(run, limit)

                with CancelScope(deadline=current_time() + seconds) as time_limit:
                    await _listen_to(handler, ending)

                ending.timed_out = time_limit.cancelled_caught
                ending.limit = limit if limit is not None and limit <= seconds else None
                ending.swallowed = time_limit.cancel_called and not time_limit.cancelled_caught

        ending.interrupted = scope.cancelled_caught
        ending.swallowed = ending.swallowed or (scope.cancel_called and not scope.cancelled_caught)

    def _seconds_left(self, run: ClaimedRun, limit: float | None) -> float:
        """The time limit, or what is left until the deadline by the backend's clock, whichever is less."""
        if not run.deadline_ms:
            return limit if limit is not None else float("inf")

        left = max(run.deadline_ms - self.judge.backend_ms(), 0) / 1000
        return left if limit is None else min(left, limit)

    def _context_of(self, attempt: LiveAttempt) -> RunContext:
        run = attempt.run
        return RunContext(
            id=run.id,
            job=run.job,
            attempt=run.attempt,
            entry_id=run.entry_id or None,
            scheduled_for=_instant(run.scheduled_for_ms),
            deadline=_instant(run.deadline_ms),
            fencing_token=run.token,
            metadata=attempt.options.metadata,
            state=self.state,
            shutting_down=self.shutting_down,
            progress_setter=partial(self._set_progress, run),
            progress_reporter=partial(self._report_progress, run) if attempt.job.runs_in == "thread" else None,
        )

    async def _set_progress(self, run: ClaimedRun, fraction: float, message: str) -> None:
        if not await self.backend.set_progress(run.id, run.token, fraction, message):
            raise StaleLease(f"run {run.id!r}")

    def _report_progress(self, run: ClaimedRun, fraction: float, message: str) -> None:
        from_thread.run(self._set_progress, run, fraction, message)


async def _listen_to(handler: Any, ending: Ending) -> None:
    """Await the handler and note how it ended; its cancellation passes through."""
    try:
        ending.value = await handler
        ending.returned = True
    except Exception as error:  # noqa: BLE001 - a handler's exception is data
        ending.error = error.with_traceback(_from_handler(error.__traceback__))
    except KeyboardInterrupt:
        raise
    except BaseExceptionGroup as group:
        cancelled, rest = group.split((get_cancelled_exc_class(), KeyboardInterrupt))
        ending.error = rest

        if cancelled is not None:
            raise cancelled from None
    except BaseException as error:  # noqa: ASYNC103 - cancellation does pass
        if isinstance(error, get_cancelled_exc_class()):
            raise

        ending.error = error


def _from_handler(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that are ours: it then begins in the handler."""
    found = traceback

    while found is not None and found.tb_frame.f_code in _OURS:
        found = found.tb_next

    return found or traceback


_OURS = {_listen_to.__code__, step_through.__code__, Executor.call.__code__}


def _instant(ms: int) -> datetime | None:
    return from_ms(ms) if ms else None
