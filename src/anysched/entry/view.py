"""What people see of an entry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from attrs import field, frozen

from anysched.entry.policy import EntryPolicy
from anysched.entry.spec import EntrySpec
from anysched.schedules import Schedule

__all__ = ["Entry", "EntryRun", "EntryStatus"]


class EntryStatus(StrEnum):
    """Whether an entry fires."""

    ACTIVE = "active"
    PAUSED = "paused"
    """Until it is resumed."""
    FINISHED = "finished"
    """There is no next fire: the schedule has ended, the limit is reached, or it is declared no longer."""


class EntryRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that an entry made.

    Attributes:
        id: the run's id.
        scheduled_for: the fire time.
        status: its final status, or ``"live"``.
    """

    id: str
    scheduled_for: datetime
    status: str


@frozen(kw_only=True)
class Entry:
    """An entry, at one moment.

    Attributes:
        id: its id.
        job: the job's name.
        schedule: when it fires.
        args: the arguments by parameter, as JSON has them; empty where another codec wrote them.
        status: whether it fires.
        next_run_at: the next fire; None if there is none.
        last_run_at: the last one that made a run.
        run_count: runs that its fires made; those of ``trigger()`` are not counted.
        missed_count: fires that came too late and were dropped.
        overlap_skipped: fires that were skipped because a run was live.
        note: words given with a pause, or why it is finished.
        last_runs: the newest runs, newest first.
        declared: whether it was declared in code.
        policy: the rest of its rule.
        payload: the encoded arguments, as stored.
        queue: where its runs wait.
        priority: of its runs.
    """

    id: str
    job: str
    schedule: Schedule
    args: Mapping[str, Any]
    status: EntryStatus
    next_run_at: datetime | None = None
    last_run_at: datetime | None = None
    run_count: int = 0
    missed_count: int = 0
    overlap_skipped: int = 0
    note: str = ""
    last_runs: tuple[EntryRun, ...] = ()
    declared: bool = False
    policy: EntryPolicy = field(factory=EntryPolicy)
    payload: str = field(default="", repr=False)
    queue: str = "default"
    priority: int = 0

    @classmethod
    def of(cls, entry_id: str, spec: EntrySpec, *, status: str, **facts: Any) -> Entry:
        """An entry from its description and what storage counts of it.

        Args:
            entry_id: its id.
            spec: its description.
            status: as stored.
            **facts: the fields from ``next_run_at`` to ``declared``.
        """
        return cls(
            id=entry_id,
            job=spec.job,
            schedule=spec.schedule.for_entry(entry_id),
            args=_plain_arguments(spec.payload),
            status=EntryStatus(status),
            policy=spec.policy,
            payload=spec.payload,
            queue=spec.queue,
            priority=spec.priority,
            **facts,
        )


def _plain_arguments(payload: str) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any]) if payload else {}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
