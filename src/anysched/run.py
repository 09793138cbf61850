"""Runs: their statuses, the table of moves between these, and what is known of one.

:data:`TRANSITIONS` is the one place that says which status follows which. Both backends, the tests and the
diagram in the documentation are made from it or held against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["FINAL", "TRANSITIONS", "Attempt", "AttemptError", "Move", "RunInfo", "RunStatus"]


class RunStatus(StrEnum):
    """Where a run stands. It ends in exactly one of the final four."""

    WAITING = "waiting"
    """For another run to end first."""
    SCHEDULED = "scheduled"
    """Due later."""
    READY = "ready"
    """Due now; the next free worker takes it."""
    RUNNING = "running"
    """Claimed by a node, under a lease."""
    RETRYING = "retrying"
    """Due later, after a failed attempt."""
    SUCCEEDED = "succeeded"
    """Final: the function returned."""
    FAILED = "failed"
    """Final, until retried by hand: attempts used up. The dead-letter set."""
    CANCELLED = "cancelled"
    """Final: asked to stop before it could succeed."""
    EXPIRED = "expired"
    """Final: not started by the time it had to be."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self in FINAL


class Move(StrEnum):
    """What can happen to a run."""

    RELEASE = "release"
    """What it waited for has ended."""
    FALL_DUE = "fall_due"
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    """The attempt failed and another is allowed."""
    SNOOZE = "snooze"
    """The handler asked to be called again later, which uses no attempt."""
    HAND_BACK = "hand_back"
    """The node stopped before the attempt could end; the attempt is refunded."""
    CRASH = "crash"
    """The node's lease ran out. Costs no attempt."""
    POISON = "poison"
    """The crash was one too many."""
    CANCEL = "cancel"
    EXPIRE = "expire"
    RESCHEDULE = "reschedule"
    REVIVE = "revive"
    """A failed run is retried by hand."""


_WAITING, _SCHEDULED, _READY = RunStatus.WAITING, RunStatus.SCHEDULED, RunStatus.READY
_RUNNING, _RETRYING = RunStatus.RUNNING, RunStatus.RETRYING
_SUCCEEDED, _FAILED = RunStatus.SUCCEEDED, RunStatus.FAILED
_CANCELLED, _EXPIRED = RunStatus.CANCELLED, RunStatus.EXPIRED

TRANSITIONS: Mapping[RunStatus, Mapping[Move, RunStatus]] = {
    _WAITING: {Move.RELEASE: _READY, Move.CANCEL: _CANCELLED, Move.EXPIRE: _EXPIRED},
    _SCHEDULED: {
        Move.FALL_DUE: _READY,
        Move.RESCHEDULE: _SCHEDULED,
        Move.CANCEL: _CANCELLED,
        Move.EXPIRE: _EXPIRED,
    },
    _READY: {Move.CLAIM: _RUNNING, Move.RESCHEDULE: _SCHEDULED, Move.CANCEL: _CANCELLED, Move.EXPIRE: _EXPIRED},
    _RUNNING: {
        Move.SUCCEED: _SUCCEEDED,
        Move.FAIL: _FAILED,
        Move.RETRY: _RETRYING,
        Move.SNOOZE: _SCHEDULED,
        Move.HAND_BACK: _READY,
        Move.CRASH: _READY,
        Move.POISON: _FAILED,
        Move.CANCEL: _CANCELLED,
    },
    _RETRYING: {Move.FALL_DUE: _READY, Move.RESCHEDULE: _RETRYING, Move.CANCEL: _CANCELLED},
    _SUCCEEDED: {},
    _FAILED: {Move.REVIVE: _READY},
    _CANCELLED: {},
    _EXPIRED: {},
}
"""Every move there is. What is not in the table does not happen."""

FINAL = frozenset({_SUCCEEDED, _FAILED, _CANCELLED, _EXPIRED})


class AttemptError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attempt raised, as far as it can be written down.

    Attributes:
        type: the exception's qualified class name, such as ``"builtins.ValueError"``.
        message: ``str(exception)``, cut to a few kilobytes.
        traceback: the formatted traceback, cut likewise; empty where there is none.
    """

    type: str
    message: str = ""
    traceback: str = ""

    def __str__(self) -> str:
        name = self.type.removeprefix("builtins.")
        return f"{name}: {self.message}" if self.message else name


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a run.

    Attributes:
        number: from 1; 0: it left a trace that does not say.
        started_at: when it was claimed, by the backend's clock.
        ended_at: when its outcome was stored; ``None`` while it runs.
        error: what it raised; ``None`` if it succeeded or still runs.
        node: the id of the node that runs it, or that it failed on; empty for one that succeeded, since a run that has
            succeeded keeps no more than it needs.
    """

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    error: AttemptError | None = None
    node: str = ""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a run, at one moment.

    Attributes:
        id: the run's id.
        job: the job's name.
        status: where it stands.
        queue: the queue it was put into.
        priority: higher goes first within the queue.
        attempt: the number of the newest attempt; 0 before the first.
        enqueued_at: when it was accepted.
        due_at: when it is or was due; ``None`` if it was ready at once.
        expires_at: it is never started after this.
        deadline: it has to have ended by then.
        started_at: when the newest attempt was claimed.
        finished_at: when it came to its final status.
        key: the name it goes by while it is live.
        entry_id: the entry that made it.
        scheduled_for: the fire time that made it.
        attempts: every attempt that left a trace, oldest first; of very many, the newest.
        crashes: how often a node died with it.
        progress: the last fraction reported, 0.0 to 1.0.
        progress_message: the words reported with it.
        metadata: what the caller attached.
        payload: the encoded arguments, as stored.
        result: the encoded result, as stored; ``None`` unless it succeeded.
        error: the error of the newest failed attempt.
        cancel_requested: it is running and has been asked to stop.
        node: the node that runs it; ``None`` at every other status. Where it failed is in ``attempts``.
        fencing_token: the newest token; 0 before the first claim.
        unclaimed: why nobody takes it though it is ready (such as ``"unknown job"``), or empty.
    """

    id: str
    job: str
    status: RunStatus
    queue: str = "default"
    priority: int = 0
    attempt: int = 0
    enqueued_at: datetime
    due_at: datetime | None = None
    expires_at: datetime | None = None
    deadline: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    key: str | None = None
    entry_id: str | None = None
    scheduled_for: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    crashes: int = 0
    progress: float | None = None
    progress_message: str = ""
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    payload: str = ""
    result: str | None = None
    error: AttemptError | None = None
    cancel_requested: bool = False
    node: str | None = None
    fencing_token: int = 0
    unclaimed: str = ""

    @property
    def duration(self) -> timedelta | None:
        """How long the newest attempt took; ``None`` until it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None

        return self.finished_at - self.started_at
