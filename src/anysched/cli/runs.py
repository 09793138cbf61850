"""``anysched runs``: what was enqueued or fired."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from anysched.cli.carrying import warn
from anysched.cli.enqueueing import instant_from_text, length_from_text
from anysched.cli.failures import UsageError
from anysched.cli.loading import names_application
from anysched.cli.opening import with_open
from anysched.cli.records import run_record
from anysched.cli.showing import ago, moment, show_fields, show_json, show_table
from anysched.run import RunInfo, RunStatus
from anysched.scheduler import Scheduler

__all__ = ["cancel_runs", "list_runs", "reschedule_run", "retry_runs", "show_run"]

_MOST_LOOKED_AT = 10_000
"""Runs that a search for one job goes through."""


def list_runs(arguments: Namespace) -> int:
    """Carry out ``anysched runs ls``."""

    async def show(scheduler: Scheduler) -> None:
        limit = arguments.limit if arguments.job is None else _MOST_LOOKED_AT
        found = await scheduler.runs(status=arguments.status, queue=arguments.queue, limit=limit)
        runs = [run for run in found if arguments.job in (None, run.job)][: arguments.limit]

        if len(found) == _MOST_LOOKED_AT and len(runs) < arguments.limit:
            warn(f"no more than {_MOST_LOOKED_AT:,} runs were looked at: --status and --queue make them fewer")

        if arguments.json:
            show_json([run_record(run) for run in runs])
        else:
            columns = ("id", "job", "status", "queue", "try", "when", "entry", "remark")
            show_table(columns, map(_row, runs), empty="no runs")

    return with_open(arguments, show)


def show_run(arguments: Namespace) -> int:
    """Carry out ``anysched runs show``."""

    async def show(scheduler: Scheduler) -> None:
        info = await scheduler.run_info(arguments.id)

        if arguments.json:
            show_json(run_record(info))
        else:
            show_fields(_fields(info))

    return with_open(arguments, show)


def cancel_runs(arguments: Namespace) -> int:
    """Carry out ``anysched runs cancel``."""
    ids = _ids_or_all(arguments, "all", ("status", "job", "queue"))

    async def cancel(scheduler: Scheduler) -> None:
        for run_id in ids:
            await scheduler.cancel_run(run_id)

        if arguments.all:
            wanted = {name: getattr(arguments, name) for name in ("status", "job", "queue")}
            count = await scheduler.cancel_runs(**wanted, limit=sys.maxsize)
            print(f"{count} runs are cancelled, or were asked to stop")

    return with_open(arguments, cancel)


def retry_runs(arguments: Namespace) -> int:
    """Carry out ``anysched runs retry``."""
    ids = _ids_or_all(arguments, "all_failed", ("job", "queue"))

    async def retry(scheduler: Scheduler) -> None:
        for run_id in ids:
            await scheduler.retry_run(run_id)

        if arguments.all_failed:
            count = await scheduler.retry_failed(job=arguments.job, queue=arguments.queue, limit=sys.maxsize)
            print(f"{count} runs are ready again")

    return with_open(arguments, retry)


def reschedule_run(arguments: Namespace) -> int:
    """Carry out ``anysched runs reschedule``."""
    at = instant_from_text(arguments.at) if arguments.at is not None else None
    delay = length_from_text("delay", arguments.delay) if arguments.delay is not None else None
    return with_open(arguments, lambda scheduler: scheduler.reschedule_run(arguments.id, at=at, delay=delay))


def _ids_or_all(arguments: Namespace, every: str, filters: tuple[str, ...]) -> list[str]:
    """The ids, or none where all are meant: one of the two has to be said.

    Args:
        arguments: the command line.
        every: the option that means all.
        filters: the options that go with that.
    """
    ids, means_all = _ids_of(arguments), getattr(arguments, every)
    option = "--" + every.replace("_", "-")

    if bool(ids) == means_all:
        taken = f" ({arguments.target!r} was taken for an application)" if arguments.target and not ids else ""
        message = f"say which: the ids of runs, or {option}{taken}"
        raise UsageError(message)

    if not means_all and any(getattr(arguments, name) for name in filters):
        *most, last = [f"--{name}" for name in filters]
        message = f"{', '.join(most)} and {last} go with {option}"
        raise UsageError(message)

    return ids


def _ids_of(arguments: Namespace) -> list[str]:
    """The ids, the first of which may have been taken for an application's import path."""
    ids: list[str] = list(arguments.ids)

    if arguments.target is not None and not names_application(arguments):
        ids.insert(0, arguments.target)
        arguments.target = None

    return ids


def _row(run: RunInfo) -> tuple[object, ...]:
    return (run.id, run.job, run.status, run.queue, run.attempt or "", _when(run), run.entry_id, _remark(run))


def _when(run: RunInfo) -> str:
    if run.status in (RunStatus.SCHEDULED, RunStatus.RETRYING) and run.due_at is not None:
        return f"due {ago(run.due_at)}"

    if run.status is RunStatus.RUNNING and run.started_at is not None:
        return f"began {ago(run.started_at)}"

    if run.finished_at is not None:
        return f"ended {ago(run.finished_at)}"

    return f"enqueued {ago(run.enqueued_at)}"


def _remark(run: RunInfo) -> str:
    if run.status is RunStatus.RUNNING and run.progress is not None:
        return f"{run.progress:.0%} {run.progress_message}"

    if run.unclaimed:
        return run.unclaimed

    return str(run.error)[:80] if run.error is not None and run.status is not RunStatus.SUCCEEDED else ""


def _fields(run: RunInfo) -> list[tuple[str, Any]]:
    record = run_record(run)
    attempts = [
        f"{attempt.number}  {attempt.started_at.isoformat()}  {attempt.error or 'no error'}" for attempt in run.attempts
    ]
    traceback = run.error.traceback if run.error is not None and run.status is not RunStatus.SUCCEEDED else ""
    return [
        *((name, record[name]) for name in ("id", "job", "status", "queue", "priority", "arguments", "key")),
        ("entry", run.entry_id),
        ("fire time", moment(run.scheduled_for)),
        ("enqueued", moment(run.enqueued_at)),
        ("due", moment(run.due_at)),
        ("expires", moment(run.expires_at)),
        ("deadline", moment(run.deadline)),
        ("began", moment(run.started_at)),
        ("ended", moment(run.finished_at)),
        ("took", run.duration),
        ("progress", f"{run.progress:.0%} {run.progress_message}" if run.progress is not None else None),
        ("result", run.result),
        ("metadata", record["metadata"]),
        ("node", run.node),
        ("crashes", run.crashes or None),
        ("cancelling", "asked to stop" if run.cancel_requested else None),
        ("unclaimed", run.unclaimed),
        ("attempts", "\n".join(attempts)),
        ("traceback", traceback),
    ]
