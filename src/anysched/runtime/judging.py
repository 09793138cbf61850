"""What the ending of an attempt means for its run.

Everything here is synchronous: it looks at how a handler was left and returns the outcome to be settled. The backend's
time is estimated from its answers, since a node's own clock decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from anyio import current_time
from attrs import define, field

from anysched.attempt_errors import describe_error, encode_error
from anysched.backends import ClaimedRun, Outcome
from anysched.clock import from_ms, now_ms
from anysched.config import ErrorContext
from anysched.durations import LONGEST, format_duration
from anysched.errors import AttemptTimeout, CannotDecode, CannotEncode, DeadlinePassed, PayloadTooLarge
from anysched.events import (
    AttemptFailed,
    CancellationSwallowed,
    RunGaveUp,
    RunHandedBack,
    RunSnoozed,
    RunStarted,
    RunSucceeded,
    RunWasCancelled,
)
from anysched.retry import Decision, decide
from anysched.runtime.telling import Teller

if TYPE_CHECKING:
    from anysched.runtime.attempting import LiveAttempt

__all__ = ["Ending", "Judge"]


@define(eq=False)
class Ending:
    """How a handler was left."""

    returned: bool = False
    value: Any = None
    error: BaseException | None = None
    timed_out: bool = False
    limit: float | None = None
    """The time limit, if it was that which passed, and not the deadline."""
    has_value: bool = False
    """The function has returned in its thread, which the loop may not know yet."""
    came_back: bool = False
    """The handler returned or raised, and no cancellation passed through it."""
    interrupted: bool = False
    swallowed: bool = False
    """It was cancelled and did not pass that on."""


@define(eq=False, kw_only=True)
class Judge:
    """Turns endings into outcomes.

    Args:
        node_id: gives the id that this node goes by now.
        teller: is told what happened.
        max_payload: bytes that a result may take.
        result_ttl: how long results are kept, unless the job or the run says otherwise.
        failed_ttl: how long failed runs are kept.
    """

    node_id: Callable[[], str]
    teller: Teller
    max_payload: int
    result_ttl: timedelta
    failed_ttl: timedelta
    _ahead: float = field(factory=lambda: now_ms() / 1000 - current_time(), init=False)
    """The backend's clock less the event loop's, in seconds; until the backend has said it, our own guess."""

    def observe(self, now_ms: int) -> None:
        """An answer with the backend's time has just come in."""
        self._ahead = now_ms / 1000 - current_time()

    def backend_ms(self) -> int:
        """About what time it is at the backend."""
        return int((self._ahead + current_time()) * 1000)

    def overdue(self, run: ClaimedRun) -> DeadlinePassed | None:
        """What an attempt that has not begun fails of, if the run's deadline has passed."""
        return _deadline_passed(run) if run.deadline_ms and self.backend_ms() >= run.deadline_ms else None

    def begins(self, attempt: LiveAttempt) -> None:
        """The handler is about to be called."""
        if self.teller.listened_to:
            run = attempt.run
            self.teller.tell(RunStarted(at=self._now(), run_id=run.id, job=run.job, attempt=run.attempt))

    def outcome(self, attempt: LiveAttempt, ending: Ending, took: float) -> Outcome:
        """What is to be settled.

        Args:
            attempt: which one.
            ending: how its handler was left.
            took: seconds that it took.
        """
        if ending.swallowed:
            self._tell_swallowed(attempt)

        reason = attempt.interruption

        # Also if it returned: a thread cannot be stopped, and whoever cancelled was told that nothing will come of it.
        if reason is not None and reason.name == "CANCELLED":
            return self._cancelled(attempt, ending.error)

        if ending.returned:
            return self._succeeded(attempt, ending.value, took)

        if reason is not None or (ending.interrupted and ending.error is None):
            return self._handed_back(attempt.run)

        error = ending.error

        if ending.timed_out:
            limit = ending.limit
            error = _time_is_up(limit, attempt.run)

        # Not by its truth: an exception may have a length, and be empty.
        return self._failed(attempt, error if error is not None else RuntimeError("the attempt ended without a result"))

    def unreadable(self, run: ClaimedRun, error: CannotDecode, claimed_ms: int) -> Outcome:
        """The outcome of a run whose options do not decode: it fails, alone."""
        return self._gives_up(run, error, claimed_ms)

    def beyond_judging(self, attempt: LiveAttempt, reason: Exception) -> Outcome:
        """The outcome of an attempt on whose outcome something of the user's raised: its run fails, alone."""
        return self._gives_up(attempt.run, reason, attempt.claimed_ms)

    def _succeeded(self, attempt: LiveAttempt, value: Any, took: float) -> Outcome:
        run = attempt.run

        # Of a result that cannot be stored: the work is done, and doing it again would make it no easier to store.
        try:
            result = attempt.job.types.encode_result(value) if value is not None else ""
        except CannotEncode as error:
            return self._gives_up(run, error, attempt.claimed_ms)

        size = len(result) if result.isascii() else len(result.encode())

        if size > self.max_payload:
            return self._gives_up(run, PayloadTooLarge("result", run.job, size, self.max_payload), attempt.claimed_ms)

        if self.teller.listened_to:
            at, duration = self._now(), timedelta(seconds=took)
            self.teller.tell(RunSucceeded(at=at, run_id=run.id, job=run.job, attempt=run.attempt, duration=duration))

        return Outcome(run_id=run.id, token=run.token, kind="succeeded", result=result, ttl_ms=self._kept_ms(attempt))

    def _cancelled(self, attempt: LiveAttempt, error: BaseException | None) -> Outcome:
        run = attempt.run

        if self.teller.listened_to:
            self.teller.tell(RunWasCancelled(at=self._now(), run_id=run.id, job=run.job, attempt=run.attempt))

        line = self._line(run, error, attempt.claimed_ms) if error is not None else ""
        return Outcome(run_id=run.id, token=run.token, kind="cancelled", error=line, ttl_ms=self._kept_ms(attempt))

    def _handed_back(self, run: ClaimedRun) -> Outcome:
        if self.teller.listened_to:
            self.teller.tell(RunHandedBack(at=self._now(), run_id=run.id, job=run.job, attempt=run.attempt))

        return Outcome(run_id=run.id, token=run.token, kind="released")

    def _failed(self, attempt: LiveAttempt, error: BaseException) -> Outcome:
        run, job = attempt.run, attempt.job

        try:
            decision = decide(error, policy=attempt.options.retry or job.retry, attempt=run.attempt)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001, ASYNC103 - the handler's class has broken it; and nothing is awaited here
            # Tried again, it would break that again.
            decision = Decision("fail")

        if decision.broken is not None:
            _note(error, f"not retried: {decision.reason}")
            self._report(run, decision.broken)

        # A policy may say more than storage can count.
        delay_ms = -(-min(decision.delay, LONGEST) // timedelta(milliseconds=1))

        if decision.kind == "fail" or isinstance(error, DeadlinePassed) or self._too_late(run, delay_ms):
            return self._gives_up(run, error, attempt.claimed_ms)

        if decision.kind == "snooze":
            return self._snoozed(run, delay_ms)

        if self.teller.listened_to:
            self.teller.tell(
                AttemptFailed(
                    at=self._now(),
                    run_id=run.id,
                    job=run.job,
                    attempt=run.attempt,
                    error=describe_error(error),
                    retry_in=timedelta(milliseconds=delay_ms),
                )
            )

        self._report(run, error)
        line = self._line(run, error, attempt.claimed_ms)
        return Outcome(run_id=run.id, token=run.token, kind="retry", error=line, delay_ms=delay_ms)

    def _snoozed(self, run: ClaimedRun, delay_ms: int) -> Outcome:
        if self.teller.listened_to:
            delay = timedelta(milliseconds=delay_ms)
            self.teller.tell(RunSnoozed(at=self._now(), run_id=run.id, job=run.job, attempt=run.attempt, delay=delay))

        return Outcome(run_id=run.id, token=run.token, kind="snooze", delay_ms=delay_ms)

    def _gives_up(self, run: ClaimedRun, error: BaseException, claimed_ms: int) -> Outcome:
        if self.teller.listened_to:
            at, said = self._now(), describe_error(error)
            self.teller.tell(RunGaveUp(at=at, run_id=run.id, job=run.job, attempt=run.attempt, error=said))

        self._report(run, error)
        ttl_ms = self.failed_ttl // timedelta(milliseconds=1)
        line = self._line(run, error, claimed_ms)
        return Outcome(run_id=run.id, token=run.token, kind="failed", error=line, ttl_ms=ttl_ms)

    def _kept_ms(self, attempt: LiveAttempt) -> int:
        return attempt.options.kept_for(attempt.job.result_ttl, self.result_ttl)

    def _too_late(self, run: ClaimedRun, delay_ms: int) -> bool:
        return bool(run.deadline_ms) and self.backend_ms() + delay_ms >= run.deadline_ms

    def _line(self, run: ClaimedRun, error: BaseException, claimed_ms: int) -> str:
        return encode_error(
            describe_error(error),
            number=run.attempt,
            started_ms=claimed_ms,
            ended_ms=max(self.backend_ms(), claimed_ms),
            node=self.node_id(),
        )

    def _report(self, run: ClaimedRun, error: BaseException) -> None:
        if isinstance(error, Exception):
            self.teller.report(
                error,
                ErrorContext(
                    kind="handler",
                    job=run.job,
                    run_id=run.id,
                    entry_id=run.entry_id or None,
                    attempt=run.attempt,
                    node=self.node_id(),
                ),
            )

    def _tell_swallowed(self, attempt: LiveAttempt) -> None:
        if self.teller.listened_to:
            run = attempt.run
            self.teller.tell(CancellationSwallowed(at=self._now(), run_id=run.id, job=run.job, attempt=run.attempt))

    def _now(self) -> Any:
        return from_ms(self.backend_ms())


def _note(error: BaseException, note: str) -> None:
    """Say something more of an error, once: the same one may be raised again."""
    # An exception of theirs may be frozen.
    with suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def _time_is_up(limit: float | None, run: ClaimedRun) -> Exception:
    if limit is not None:
        return AttemptTimeout(format_duration(timedelta(seconds=limit)))

    return _deadline_passed(run)


def _deadline_passed(run: ClaimedRun) -> DeadlinePassed:
    return DeadlinePassed(from_ms(run.deadline_ms).isoformat())
