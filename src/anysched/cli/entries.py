"""``anysched entries``: what is on a schedule."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection
from typing import Any

from anysched.cli.carrying import warn
from anysched.cli.opening import with_open
from anysched.cli.records import entry_record
from anysched.cli.showing import moment, show_fields, show_json, show_table
from anysched.entry import Entry
from anysched.scheduler import Scheduler

__all__ = ["list_entries", "pause_entry", "remove_entry", "resume_entry", "show_entry", "trigger_entry"]

_MOST_NAMED = 10
"""Entries in one warning."""


def list_entries(arguments: Namespace) -> int:
    """Carry out ``anysched entries ls``."""

    async def show(scheduler: Scheduler) -> None:
        entries = await scheduler.entries()

        if arguments.json:
            show_json([entry_record(entry) for entry in entries])
        else:
            columns = ("id", "job", "schedule", "status", "next", "fired", "missed", "skipped")
            show_table(columns, map(_row, entries), empty="no entries")

        _warn_of(await scheduler.unreadable_entries())

    return with_open(arguments, show)


def show_entry(arguments: Namespace) -> int:
    """Carry out ``anysched entries show``."""

    async def show(scheduler: Scheduler) -> None:
        entry = await scheduler.get_entry(arguments.id)

        if arguments.json:
            show_json(entry_record(entry))
        else:
            show_fields(_fields(entry))

    return with_open(arguments, show)


def pause_entry(arguments: Namespace) -> int:
    """Carry out ``anysched entries pause``."""
    return with_open(arguments, lambda scheduler: scheduler.pause(arguments.id, note=arguments.note))


def resume_entry(arguments: Namespace) -> int:
    """Carry out ``anysched entries resume``."""
    return with_open(arguments, lambda scheduler: scheduler.resume(arguments.id))


def remove_entry(arguments: Namespace) -> int:
    """Carry out ``anysched entries remove``."""
    return with_open(arguments, lambda scheduler: scheduler.remove(arguments.id))


def trigger_entry(arguments: Namespace) -> int:
    """Carry out ``anysched entries trigger``: prints the id of the run, if one was made."""

    async def trigger(scheduler: Scheduler) -> None:
        run = await scheduler.trigger(arguments.id, overlap=arguments.overlap)
        print(run.id if run is not None else "skipped: a run of it is live, and its overlap rule says skip")

    return with_open(arguments, trigger)


def _warn_of(unreadable: Collection[str]) -> None:
    if unreadable:
        named = ", ".join(list(unreadable)[:_MOST_NAMED])
        more = ", ..." if len(unreadable) > _MOST_NAMED else ""
        what = "1 entry" if len(unreadable) == 1 else f"{len(unreadable)} entries"
        warn(f"{what} cannot be read here: {named}{more}")


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        *(entry.id, entry.job, entry.schedule, entry.status, moment(entry.next_run_at) or entry.note),
        *(entry.run_count, entry.missed_count, entry.overlap_skipped),
    )


def _fields(entry: Entry) -> list[tuple[str, Any]]:
    policy = entry.policy
    runs = [f"{run.id}  {run.scheduled_for.isoformat()}  {run.status}" for run in entry.last_runs]
    return [
        ("id", entry.id),
        ("job", entry.job),
        ("arguments", ", ".join(f"{name}={value!r}" for name, value in entry.args.items())),
        ("schedule", entry.schedule),
        ("status", entry.status),
        ("note", entry.note),
        ("next fire", moment(entry.next_run_at)),
        ("last fire", moment(entry.last_run_at)),
        ("fired", entry.run_count),
        ("missed", entry.missed_count),
        ("skipped", entry.overlap_skipped),
        ("made by", "the program's code" if entry.declared else "a call at run time"),
        ("queue", entry.queue),
        ("priority", entry.priority),
        ("overlap", policy.overlap),
        ("misfire", policy.misfire + (f", within {policy.misfire_grace}" if policy.misfire_grace is not None else "")),
        ("jitter", policy.jitter),
        ("starts", moment(policy.start_at)),
        ("ends", moment(policy.end_at)),
        ("limit", policy.limit),
        ("last runs", "\n".join(runs)),
    ]
