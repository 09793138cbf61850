"""What people look at: lists and numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from anysched.backends.memory.state import Entry, State
from anysched.backends.records import EntryPage, EntryRecord, NodeRecord, QueueRecord, RunPage, RunRecord, Totals
from anysched.run import RunStatus

__all__ = ["entry_record", "list_entries", "list_nodes", "list_queues", "list_runs", "totals"]

MOST_LOOKED_AT = 1_000
MOST_NAMED = 100
_ORDER = [status.value for status in RunStatus]


def list_runs(state: State, status: str | None, queue: str | None, cursor: str, limit: int) -> RunPage:
    """A page of runs; the cursor is the status it stopped in and the stamp it stopped at."""
    found: list[RunRecord] = []
    last = ""

    for looked_at, (at, name, run_id) in enumerate(_newest_first(state, status, cursor)):
        if len(found) >= max(limit, 1) or looked_at >= max(limit, MOST_LOOKED_AT):
            return RunPage(tuple(found), last)

        last = f"{name}:{at}"
        run = state.runs[run_id]
        gone_at = state.fading.rank(run_id)

        if queue in {None, run.new.queue} and (gone_at is None or gone_at > state.now):
            found.append(run.record())

    return RunPage(tuple(found), "")


def _newest_first(state: State, status: str | None, cursor: str) -> Iterator[tuple[int, str, str]]:
    start, _, stamp = cursor.partition(":")
    names = _ORDER if status is None else [status]
    names = names[names.index(start) :] if start in names else names

    for name in names:
        if name in state.listed:
            before = int(stamp) if name == start and stamp.isdecimal() else state.stamp + 1
            yield from ((at, name, run_id) for at, run_id in state.listed[name].before(before))


def entry_record(entry: Entry) -> EntryRecord:
    """What is told of an entry."""
    return EntryRecord(
        id=entry.id,
        spec=entry.spec,
        revision=entry.revision,
        status=entry.status,
        next_ms=entry.next_ms,
        last_ms=entry.last_ms,
        run_count=entry.run_count,
        missed_count=entry.missed_count,
        overlap_skipped=entry.overlap_skipped,
        note=entry.note,
        declared=entry.declared,
        live=tuple(islice(entry.live, MOST_NAMED)),
        waiting=tuple(islice(entry.waiting, MOST_NAMED)),
        last_runs=tuple(entry.last_runs),
    )


def list_entries(state: State, cursor: str, limit: int) -> EntryPage:
    """A page of entries; the cursor is the last id."""
    start = bisect_right(state.entry_ids, cursor) if cursor else 0
    ids = state.entry_ids[start : start + max(limit, 1)]
    more = start + len(ids) < len(state.entry_ids)
    return EntryPage(tuple(entry_record(state.entries[found]) for found in ids), ids[-1] if more else "")


def list_queues(state: State) -> list[QueueRecord]:
    """Every queue that was used, by name."""
    return [
        QueueRecord(name=name, ready=len(queue.ready), paused=queue.paused)
        for name, queue in sorted(state.queues.items())
        if queue.used or queue.paused
    ]


def list_nodes(state: State) -> list[NodeRecord]:
    """Every node whose lease is good, by id."""
    return [
        NodeRecord(
            id=node_id,
            expires_ms=node.expires_ms,
            running=len(node.runs),
            queues=node.info.queues,
            program=node.info.program,
            facts=node.info.facts,
        )
        for node_id, node in sorted(state.nodes.items())
        if node.expires_ms >= state.now
    ]


def totals(state: State) -> Totals:
    """The counts that the indexes keep."""
    count = {name: len(listing) for name, listing in state.listed.items()}
    # Past their time, but not forgotten yet.
    gone = sum(state.runs[run_id].status == "failed" for run_id in state.fading.up_to(state.now))
    unknown = sum(many for many, _ in state.unknown.values())
    known = {job for node in state.nodes.values() if node.expires_ms >= state.now for job in node.jobs}

    return Totals(
        ready=count["ready"],
        scheduled=count["scheduled"] + count["retrying"],
        running=count["running"],
        waiting=count["waiting"],
        failed_kept=count["failed"] - gone,
        set_aside=unknown + state.limited_count,
        entries=len(state.entries),
        active_entries=state.active_entries,
        unknown_jobs={job: since for job, (_, since) in sorted(state.unknown.items()) if job not in known},
        succeeded=state.ended["succeeded"],
        failed=state.ended["failed"],
        cancelled=state.ended["cancelled"],
        expired=state.ended["expired"],
    )
