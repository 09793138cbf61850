"""Between what users say and what backends store: runs to be made, and runs that were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from anysched.attempt_errors import decode_attempt
from anysched.backends import Backend, Corrupt, DueEntry, Enqueued, EntryRecord, Fire, NewRun, RunRecord
from anysched.backends.records import DEFAULT_TTL_MS
from anysched.clock import from_ms, from_ms_or_none, now_ms, to_ms
from anysched.config import SchedulerConfig
from anysched.entry import Entry, EntryRun, EntrySpec, FirePlan
from anysched.errors import CannotDecode, PayloadTooLarge, RecordCorrupt
from anysched.identifiers import fire_run_id, make_run_ids
from anysched.job import BoundJob, Job
from anysched.options import decode_options, metadata_size
from anysched.run import Attempt, RunInfo, RunStatus

__all__ = ["check_size", "entry_fire", "entry_of", "entry_run", "jobs_of_found", "kept_ms", "new_runs", "run_info"]

_PAGE = 100
"""Records that are asked for at once. Each may be as large as max_payload allows."""

_UNCLAIMED = {"unknown": "no live node knows its job", "limit": "its job is at max_concurrent"}


def new_runs(bounds: Sequence[BoundJob[Any]], *, config: SchedulerConfig) -> list[NewRun]:
    """What is to be stored for these calls, each with an id.

    Raises:
        PayloadTooLarge: the arguments, or the metadata, of one of them are.
    """
    made: list[NewRun] = []
    job, settings, ttl_ms = None, None, 0

    for bound, run_id in zip(bounds, make_run_ids(now_ms(), len(bounds)), strict=True):
        # They are the same for most that are made at once.
        if bound.job is not job or bound.settings is not settings:
            job, settings = bound.job, bound.settings
            ttl_ms = kept_ms(settings.options, job, config)

        made.append(_new_run(bound, bound.settings.run_id or run_id, ttl_ms, config.max_payload))

    return made


def kept_ms(options: str, job: Job[..., Any] | None, config: SchedulerConfig) -> int:
    """How long a run is kept that the backend itself ends, as one that is cancelled before it ran.

    Args:
        options: the run's, as text.
        job: its job, if that is known here.
        config: the settings.
    """
    return decode_options(options).kept_for(None if job is None else job.result_ttl, config.result_ttl)


def _new_run(bound: BoundJob[Any], run_id: str, ttl_ms: int, max_payload: int) -> NewRun:
    check_size(bound, max_payload)
    settings = bound.settings
    return NewRun(
        id=run_id,
        job=bound.job.name,
        payload=bound.payload,
        queue=settings.queue,
        priority=settings.priority,
        at_ms=settings.at_ms,
        delay_ms=settings.delay_ms,
        expires_ms=settings.expires_ms,
        expires_at_ms=settings.expires_at_ms,
        deadline_ms=settings.deadline_ms,
        deadline_after_ms=settings.deadline_after_ms,
        key=bound.key,
        ttl_ms=ttl_ms,
        options=settings.options,
    )


def check_size(bound: BoundJob[Any], most: int) -> None:
    """Refuse a call that would take more than so many bytes.

    Raises:
        PayloadTooLarge: its arguments, or its metadata, do.
    """
    # A character takes four bytes at most: what is far from the limit need not be measured.
    if len(bound.payload) * 4 > most and bound.size > most:
        raise PayloadTooLarge("arguments", bound.job.name, bound.size, most)

    if len(bound.settings.options) * 4 > most and (size := metadata_size(bound.settings.options)) > most:
        raise PayloadTooLarge("metadata", bound.job.name, size, most)


async def jobs_of_found(answers: Sequence[Enqueued], backend: Backend) -> dict[str, str]:
    """The jobs of the runs that were there already, by id; of those that can (still) be read. Asks only if there are.

    Args:
        answers: to what was enqueued.
        backend: where the runs are.
    """
    found = list({answer.id: None for answer in answers if not answer.created})
    jobs: dict[str, str] = {}

    for start in range(0, len(found), _PAGE):
        records = await backend.get_runs(found[start : start + _PAGE])
        jobs |= {record.id: record.job for record in records if isinstance(record, RunRecord)}

    return jobs


def entry_run(entry_id: str, spec: EntrySpec, fire_ms: int, *, ttl_ms: int, run_id: str = "") -> NewRun:
    """What is to be stored for one fire of an entry.

    Args:
        entry_id: the entry.
        spec: its description.
        fire_ms: the fire time.
        ttl_ms: as :func:`kept_ms` gives it.
        run_id: default: made from the entry and the fire time, the same on every node.
    """
    return NewRun(
        id=run_id or fire_run_id(entry_id, fire_ms),
        job=spec.job,
        payload=spec.payload,
        queue=spec.queue,
        priority=spec.priority,
        expires_ms=spec.expires_ms,
        deadline_after_ms=spec.deadline_after_ms,
        entry_id=entry_id,
        scheduled_for_ms=fire_ms,
        ttl_ms=ttl_ms,
        options=spec.options,
    )


def entry_fire(entry: DueEntry, spec: EntrySpec, plan: FirePlan, *, ttl_ms: int = DEFAULT_TTL_MS) -> Fire:
    """What is to be done about a due entry, in the words of storage; its runs are kept as :func:`kept_ms` says."""
    return Fire(
        entry_id=entry.id,
        revision=entry.revision,
        cursor_ms=entry.cursor_ms,
        next_ms=to_ms(plan.next_at) if plan.next_at is not None else 0,
        end=plan.end,
        after_ms=plan.after // timedelta(milliseconds=1),
        runs=tuple(entry_run(entry.id, spec, to_ms(fire_at), ttl_ms=ttl_ms) for fire_at in plan.fires),
        missed=plan.missed,
        overlap=spec.policy.overlap,
        limit=spec.policy.limit or 0,
    )


def entry_of(record: EntryRecord | Corrupt) -> Entry:
    """A stored entry, as users see it.

    Raises:
        RecordCorrupt: it cannot be read.
    """
    if isinstance(record, Corrupt):
        raise RecordCorrupt(f"entry {record.id!r}", record.reason)

    try:
        spec = EntrySpec.from_text(record.spec)
    except CannotDecode as error:
        raise RecordCorrupt(f"entry {record.id!r}", str(error)) from None

    next_run_at = from_ms_or_none(record.next_ms) if record.status == "active" else None
    end_at = spec.policy.end_at
    # The end of a run may set a time that is never reached. It is found out then; it can be told now.
    is_over = next_run_at is not None and end_at is not None and next_run_at > end_at

    return Entry.of(
        record.id,
        spec,
        status="finished" if is_over else record.status,
        next_run_at=None if is_over else next_run_at,
        last_run_at=from_ms_or_none(record.last_ms),
        run_count=record.run_count,
        missed_count=record.missed_count,
        overlap_skipped=record.overlap_skipped,
        note=record.note,
        last_runs=tuple(
            EntryRun(id=run_id, scheduled_for=from_ms(fire_ms), status=status)
            for run_id, fire_ms, status in record.last_runs
        ),
        declared=record.declared,
    )


def run_info(record: RunRecord | Corrupt) -> RunInfo:
    """A stored run, as users see it.

    Raises:
        RecordCorrupt: it cannot be read.
    """
    if isinstance(record, Corrupt):
        raise RecordCorrupt(f"run {record.id!r}", record.reason)

    try:
        metadata = decode_options(record.options, record.job).metadata
        status = RunStatus(record.status)
    except (CannotDecode, ValueError) as error:
        raise RecordCorrupt(f"run {record.id!r}", str(error)) from None

    attempts = _attempts(record, status)
    return RunInfo(
        id=record.id,
        job=record.job,
        status=status,
        queue=record.queue,
        priority=record.priority,
        attempt=record.attempt,
        enqueued_at=from_ms(record.enqueued_ms),
        due_at=from_ms_or_none(record.due_ms),
        expires_at=from_ms_or_none(record.expires_at_ms),
        deadline=from_ms_or_none(record.deadline_ms),
        started_at=from_ms_or_none(record.started_ms),
        finished_at=from_ms_or_none(record.finished_ms),
        key=record.key or None,
        entry_id=record.entry_id or None,
        scheduled_for=from_ms_or_none(record.scheduled_for_ms),
        attempts=attempts,
        crashes=record.crashes,
        progress=record.progress if record.progress >= 0 else None,
        progress_message=record.progress_message,
        metadata=metadata,
        payload=record.payload,
        result=record.result if status is RunStatus.SUCCEEDED else None,
        error=next((attempt.error for attempt in reversed(attempts) if attempt.error is not None), None),
        cancel_requested=record.cancel_requested,
        node=record.node or None,
        fencing_token=record.token,
        unclaimed=_UNCLAIMED.get(record.set_aside, record.set_aside),
    )


def _attempts(record: RunRecord, status: RunStatus) -> tuple[Attempt, ...]:
    failed = [decode_attempt(line) for line in record.errors]

    # What the backend itself says when a run fails does not name the attempt: it is the newest.
    if status is RunStatus.FAILED and failed and not failed[-1].number and record.started_ms:
        failed[-1] = replace(
            failed[-1],
            number=record.attempt,
            started_at=from_ms(record.started_ms),
            ended_at=from_ms_or_none(record.finished_ms),
        )

    if status in (RunStatus.RUNNING, RunStatus.SUCCEEDED) and record.started_ms:
        last = Attempt(
            number=record.attempt,
            started_at=from_ms(record.started_ms),
            ended_at=from_ms_or_none(record.finished_ms),
            node=record.node,
        )
        failed.append(last)

    return tuple(failed)
