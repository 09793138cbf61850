"""One attempt at a run: resolve, decode, call, classify.

An attempt that ends has exactly one outcome, which is reported synchronously the moment the handler is left, before
anything else can happen to it. Why a handler was interrupted is not guessed from times: the time limit has a scope of
its own, and whoever interrupts for another reason writes it down before cancelling, the first one counting.

Scopes cost as much as all the rest of a short attempt. So those of an attempt pass to the next one in its slot, as long
as they are as good as new: neither was cancelled, and the handler has left nothing open in them.

What always holds:

* From :meth:`Attempting.accept` until its outcome is reported, an attempt is in ``live``.
* No handler is called after the deadline of its run, as far as the backend's clock is known here.
* An attempt that was interrupted because the lease was lost, or at a stop, is handed back unless its handler
  finished; one whose cancellation was asked for before its handler finished is cancelled, however that ends.
* A handler's ``Exception`` is data. So is any other ``BaseException`` it raises, except ``KeyboardInterrupt`` and our
  own cancellation: these mean the process, not the run.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from enum import Enum
from functools import partial
from math import inf
from types import TracebackType
from typing import Any

from anyio import CancelScope, current_effective_deadline, current_time, from_thread, get_cancelled_exc_class
from attrs import Factory, define, field

from anysched.backends import Backend, ClaimedRun, Outcome
from anysched.clock import from_ms_or_none
from anysched.context import RunContext, ShutdownSignal, facts_of, set_current_run
from anysched.errors import CannotDecode, StaleLease
from anysched.executor import Executor
from anysched.job import Job
from anysched.options import RunOptions, decode_options
from anysched.runtime.judging import Ending, Judge
from anysched.runtime.mending import forget_cancellations, has_left_none_open, leave_scopes
from anysched.runtime.settling import released
from anysched.runtime.stepping import step_through
from anysched.runtime.unwrapping import failure_in

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
    owner: Attempting
    interruption: Interruption | None = None
    """Written before the scope is cancelled, and only once."""
    scope: CancelScope | None = None
    """While the handler runs."""
    ending: Ending = Factory(Ending)
    began: float = 0.0
    """When its slot took it up."""
    waited: float = 0.0
    """Seconds that it then stood in line for a thread or a process."""
    _context: RunContext | None = field(default=None, init=False)

    def __call__(self) -> Awaitable[None]:
        """As a piece of work."""
        return self.owner.carry_out(self)

    def context(self) -> RunContext:
        """What its handler can know of it, the same whenever it asks."""
        if self._context is None:
            self._context = self.owner.context_of(self)

        return self._context

    def interrupt(self, reason: Interruption) -> None:
        """Make it end, unless it has. The first reason counts."""
        if self.ending.has_value:
            return

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

        attempt = LiveAttempt(run, job, options, claimed_ms, self)
        self.live[run.id] = self.waiting[run.id] = attempt
        self.executor.submit(attempt)
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

    async def carry_out(self, attempt: LiveAttempt) -> None:
        """Carry out an attempt in a slot, and then those that follow in it."""
        following: LiveAttempt | None = attempt

        while following is not None:
            following = await self._carry_out_in(CancelScope(), CancelScope(), following)

    async def _carry_out_in(
        self, scope: CancelScope, time_limit: CancelScope, attempt: LiveAttempt
    ) -> LiveAttempt | None:
        """Carry out this attempt and those that follow in scopes, one for whoever interrupts and one for time limits.

        Returns:
            The next one if the scopes are spoiled; ``None``: there is none for now.
        """
        current: LiveAttempt | None = attempt
        has_passed = False

        try:
            with scope, time_limit:
                while current is not None:
                    await self._attempt(current, scope, time_limit)

                    if scope.cancel_called or time_limit.cancel_called or not has_left_none_open(time_limit):
                        break

                    ended, current = current, None
                    self._finish(ended)
                    current = await self.executor.following(LiveAttempt)
        except RuntimeError as error:
            # Not the handler's, but of our scopes: it has left one of its own open in this task.
            if current is None:
                raise

            current.ending.returned, current.ending.error = False, error
            leave_scopes(scope)
        except BaseException as error:  # noqa: ASYNC103 - what is kept has been through the scopes that it was for
            has_passed = failure_in(error) is None and current_effective_deadline() > -inf

            if current is None or not has_passed:
                # Not ours to keep: the surroundings are cancelled, or the process is asked to end.
                self._give_up(current)
                raise

        if current is None:
            return None

        ending = current.ending
        # On asyncio a cancellation passes the scope it was for, if anybody has cancelled the task natively meanwhile.
        ending.interrupted = scope.cancelled_caught or (has_passed and scope.cancel_called)
        ending.timed_out = time_limit.cancelled_caught or (has_passed and time_limit.cancel_called)
        ending.swallowed = ending.came_back and (scope.cancel_called or time_limit.cancel_called)
        self._finish(current)
        return await self.executor.following(LiveAttempt)

    async def _attempt(self, attempt: LiveAttempt, scope: CancelScope, time_limit: CancelScope) -> None:
        """Call the handler; how it was left is noted, and its cancellation passes."""
        run = attempt.run
        forget_cancellations(scope)

        # After a lost lease the same run may be here again already.
        if self.waiting.get(run.id) is attempt:
            del self.waiting[run.id]

        self.begun += 1
        attempt.began = current_time()

        if attempt.interruption is not None:
            attempt.ending.interrupted = True
            return

        # A scope without any time left would let it through to its first await, a plain function even to its end.
        attempt.ending.error = self.judge.overdue(run)

        if attempt.ending.error is not None:
            return

        attempt.scope = scope

        try:
            await self._call(attempt, time_limit)
        finally:
            attempt.scope = None
            time_limit.deadline = inf

    async def _call(self, attempt: LiveAttempt, time_limit: CancelScope) -> None:
        run, job, ending = attempt.run, attempt.job, attempt.ending

        if job.runs_in == "loop":
            self._begin(attempt, time_limit)

        try:
            args, kwargs = job.types.decode_arguments(run.payload)
        except CannotDecode as error:
            ending.error = error
            return

        context = self.base.copy()
        context.run(set_current_run, attempt.context)

        if job.runs_in == "loop":
            handler = self.executor.call(job.function, args, kwargs, "loop")
        else:
            handler = self._call_elsewhere(attempt, time_limit, args, kwargs)

        try:
            await _listen_to(step_through(handler, context, self.executor.make_room), ending)
        except get_cancelled_exc_class() as error:  # noqa: ASYNC103 - only ours has to pass
            if current_effective_deadline() == -inf:
                raise

            # Nobody cancels us: on asyncio a handler raises this by itself when it awaits what somebody else cancelled.
            ending.error = error

        ending.came_back = True

    def _call_elsewhere(
        self, attempt: LiveAttempt, time_limit: CancelScope, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """As soon as there is a thread or a process for it; until then only the run's deadline has a say."""
        run, job = attempt.run, attempt.job

        if run.deadline_ms:
            time_limit.deadline = attempt.began + self._seconds_left(run, None)

        def begin() -> None:
            overdue = self.judge.overdue(run)

            if overdue is not None:
                raise overdue

            attempt.waited = current_time() - attempt.began
            # It is called in the midst of the handler's context, which is none of an observer's.
            self.base.copy().run(self._begin, attempt, time_limit)

        function = job.function if job.runs_in != "thread" else _noting_its_end(job.function, attempt.ending)
        # Only a process has to be told of its run.
        facts = facts_of(attempt.context()) if job.runs_in == "process" else None
        return self.executor.call(function, args, kwargs, job.runs_in, begins=begin, facts=facts)

    def _begin(self, attempt: LiveAttempt, time_limit: CancelScope) -> None:
        """The handler is about to be called: its time begins."""
        run, limit = attempt.run, attempt.limit
        self.judge.begins(attempt)

        if limit is not None or run.deadline_ms:
            seconds = self._seconds_left(run, limit)
            attempt.ending.limit = limit if limit is not None and limit <= seconds else None
            time_limit.deadline = attempt.began + attempt.waited + seconds

    def _give_up(self, attempt: LiveAttempt | None) -> None:
        if attempt is not None:
            attempt.ending.interrupted = True
            attempt.interruption = attempt.interruption or Interruption.STOPPED
            self._finish(attempt)

    def _finish(self, attempt: LiveAttempt) -> None:
        """Report the outcome. The scopes of the attempt are whole, or left."""
        run, ending = attempt.run, attempt.ending

        if ending.error is not None and attempt.interruption is None and current_effective_deadline() == -inf:
            # What it raised while it was being stopped says nothing about the run.
            attempt.interruption = Interruption.STOPPED

        took = current_time() - attempt.began
        self.pace += _FORGET * (took - self.pace)

        # After a lost lease the same run may be here again already.
        if self.live.get(run.id) is attempt:
            del self.live[run.id]

        self.report(self._outcome(attempt, took - attempt.waited))
        # The slot may wait for long with this in its hands, and an error holds on to the handler's variables.
        ending.value = ending.error = None

    def _outcome(self, attempt: LiveAttempt, took: float) -> Outcome:
        try:
            return self.judge.outcome(attempt, attempt.ending, took)
        except Exception as broken:  # noqa: BLE001 - the last net
            # It would take the node down, and then every other that takes the run, for ever.
            return self.judge.beyond_judging(attempt, broken)

    def _seconds_left(self, run: ClaimedRun, limit: float | None) -> float:
        """The time limit, or what is left until the deadline by the backend's clock, whichever is less."""
        if not run.deadline_ms:
            return limit if limit is not None else float("inf")

        left = max(run.deadline_ms - self.judge.backend_ms(), 0) / 1000
        return left if limit is None else min(left, limit)

    def context_of(self, attempt: LiveAttempt) -> RunContext:
        """What the handler can know of its run."""
        run = attempt.run
        return RunContext(
            id=run.id,
            job=run.job,
            attempt=run.attempt,
            entry_id=run.entry_id or None,
            scheduled_for=from_ms_or_none(run.scheduled_for_ms),
            deadline=from_ms_or_none(run.deadline_ms),
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


def _noting_its_end(function: Callable[..., Any], ending: Ending) -> Callable[..., Any]:
    """A function for a thread: once it has returned that stands, whatever the loop is told until it hears of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        ending.has_value = not isinstance(value, Coroutine)
        return value

    return call


async def _listen_to(handler: Any, ending: Ending) -> None:
    """Await the handler and note how it ended; its cancellation passes through."""
    try:
        ending.value = await handler
        ending.returned = True
    except Exception as error:  # noqa: BLE001 - a handler's exception is data
        # Its class may have methods and attributes of its own by these names.
        ending.error = BaseException.with_traceback(error, _from_handler(sys.exc_info()[2]))
    except KeyboardInterrupt:
        raise
    except BaseExceptionGroup as group:
        cancelled, ending.error = _split(group)

        if cancelled is not None:
            raise cancelled from None
    except BaseException as error:  # noqa: ASYNC103 - cancellation does pass
        if isinstance(error, get_cancelled_exc_class()):
            raise

        ending.error = error


def _split(group: BaseExceptionGroup[Any]) -> tuple[BaseException | None, BaseException | None]:
    """What of a group has to pass, and what is data: so is a cancellation, if nobody cancels us."""
    ours = (get_cancelled_exc_class(), KeyboardInterrupt) if current_effective_deadline() == -inf else KeyboardInterrupt

    try:
        return group.split(ours)
    except Exception:  # noqa: BLE001 - it is nested without end, or of a class of the handler's that does not split
        return None, group


def _from_handler(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that are ours: it then begins in the handler."""
    found = traceback

    while found is not None and found.tb_frame.f_code in _OURS:
        found = found.tb_next

    return found or traceback


_OURS = {_listen_to.__code__, step_through.__code__, Executor.call.__code__}
