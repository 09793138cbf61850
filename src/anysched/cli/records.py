"""What ``--json`` prints: the fields of each kind of record, in order, under names that stay.

Instants are text as ISO 8601 has it, lengths of time numbers of seconds, what does not apply is ``null``. New fields
may be added at any time; none is taken away or comes to mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, cast

import msgspec

from anysched.backends import NodeRecord, QueueRecord, Totals
from anysched.clock import from_ms
from anysched.entry import Entry
from anysched.run import RunInfo

__all__ = [
    "CHECK_FIELDS",
    "ENTRY_FIELDS",
    "NODE_FIELDS",
    "QUEUE_FIELDS",
    "RUN_FIELDS",
    "STATS_FIELDS",
    "entry_record",
    "node_record",
    "queue_record",
    "run_record",
    "stats_record",
]

RUN_FIELDS: Final = (
    *("id", "job", "status", "queue", "priority", "attempt", "arguments", "result", "error", "attempts"),
    *("enqueued_at", "due_at", "expires_at", "deadline", "started_at", "finished_at", "duration"),
    *("key", "entry_id", "scheduled_for", "progress", "progress_message", "metadata"),
    *("node", "crashes", "cancel_requested", "unclaimed"),
)
"""``attempts``: number, started_at, ended_at, error, node, which is empty for one that succeeded.
``error``: type, message, traceback.
"""

ENTRY_FIELDS: Final = (
    *("id", "job", "schedule", "args", "status", "next_run_at", "last_run_at", "run_count", "missed_count"),
    *("overlap_skipped", "note", "declared", "queue", "priority", "overlap", "misfire", "misfire_grace", "jitter"),
    *("start_at", "end_at", "limit", "last_runs"),
)
"""``last_runs``: id, scheduled_for, status."""

QUEUE_FIELDS: Final = ("name", "ready", "paused")
NODE_FIELDS: Final = ("id", "host", "pid", "running", "capacity", "queues", "program", "lease_expires_at")
STATS_FIELDS: Final = (
    *("ready", "scheduled", "running", "waiting", "failed_kept", "set_aside", "corrupt", "entries", "active_entries"),
    *("succeeded", "failed", "cancelled", "expired", "unknown_jobs", "queues", "nodes"),
)
"""``unknown_jobs``: since when, by job. ``queues`` and ``nodes`` as their own commands give them."""

CHECK_FIELDS: Final = ("check", "verdict", "message")

_ATTEMPT: Final = ("number", "started_at", "ended_at", "error", "node")
_ERROR: Final = ("type", "message", "traceback")
_ENTRY_RUN: Final = ("id", "scheduled_for", "status")


def run_record(info: RunInfo) -> dict[str, Any]:
    """A run, with :data:`RUN_FIELDS`."""
    special = {
        "arguments": _decoded(info.payload) if info.payload else {},
        "result": _decoded(info.result) if info.result else None,
        "error": _picked(info.error, _ERROR) if info.error is not None else None,
        "attempts": [_attempt_record(attempt) for attempt in info.attempts],
    }
    return _picked(info, RUN_FIELDS, special)


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry, with :data:`ENTRY_FIELDS`."""
    policy = ("overlap", "misfire", "misfire_grace", "jitter", "start_at", "end_at", "limit")
    special = {
        "schedule": str(entry.schedule),
        "last_runs": [_picked(run, _ENTRY_RUN) for run in entry.last_runs],
        **_picked(entry.policy, policy),
    }
    return _picked(entry, ENTRY_FIELDS, special)


def queue_record(queue: QueueRecord) -> dict[str, Any]:
    """A queue, with :data:`QUEUE_FIELDS`."""
    return _picked(queue, QUEUE_FIELDS)


def node_record(node: NodeRecord) -> dict[str, Any]:
    """A node, with :data:`NODE_FIELDS`."""
    facts: Any = _decoded(node.facts)
    known = cast("dict[str, Any]", facts) if isinstance(facts, dict) else {}
    special = {name: known.get(name) for name in ("host", "pid", "capacity")}
    return _picked(node, NODE_FIELDS, special | {"lease_expires_at": from_ms(node.expires_ms).isoformat()})


def stats_record(totals: Totals, queues: list[QueueRecord], nodes: list[NodeRecord]) -> dict[str, Any]:
    """Counts over the namespace, with :data:`STATS_FIELDS`."""
    special = {
        "unknown_jobs": {job: from_ms(since).isoformat() for job, since in totals.unknown_jobs.items()},
        "queues": [queue_record(queue) for queue in queues],
        "nodes": [node_record(node) for node in nodes],
    }
    return _picked(totals, STATS_FIELDS, special)


def _attempt_record(attempt: Any) -> dict[str, Any]:
    error = _picked(attempt.error, _ERROR) if attempt.error is not None else None
    return _picked(attempt, _ATTEMPT, {"error": error})


def _picked(record: Any, names: tuple[str, ...], special: Mapping[str, Any] | None = None) -> dict[str, Any]:
    given = special or {}
    return {name: given[name] if name in given else _plain(getattr(record, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()

    if isinstance(value, timedelta):
        return value.total_seconds()

    if isinstance(value, Enum):
        return value.value

    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))

    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _decoded(text: str) -> Any:
    """What was encoded, or the text itself where another codec than JSON wrote it."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
