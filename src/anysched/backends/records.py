"""The values that cross the backend interface.

These are made and read once for every run, so they are ``msgspec`` structures: the cheapest immutable records there
are. Instants and lengths are whole milliseconds (``..._ms``); ``0`` means "none" where an instant is optional.
Text fields called ``payload``, ``options``, ``result``, ``error`` and ``spec`` are opaque to backends.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from anysched.attempt_errors import encode_error, lost_worker
from anysched.options import SHORTEST_TTL_MS

__all__ = [
    "CLAIMS_REMEMBERED",
    "DEFAULT_TTL_MS",
    "KEY_TAKEN",
    "MEMO_MS",
    "MOST_ERRORS",
    "MOST_WAITING",
    "NAMED_AT_RENEWAL",
    "POISON_CRASHES",
    "POISON_ERROR",
    "POISON_WINDOW_MS",
    "RETIRED",
    "SHORTEST_TTL_MS",
    "SHORT_PAYLOAD",
    "TOMBSTONE_MS",
    "CancelAnswer",
    "Claim",
    "ClaimedRun",
    "Corrupt",
    "DueEntry",
    "Enqueued",
    "EntryPage",
    "EntryRecord",
    "EntryWrite",
    "Fire",
    "FireAnswer",
    "Held",
    "Hint",
    "LockAnswer",
    "NewRun",
    "NodeInfo",
    "NodeRecord",
    "Outcome",
    "OutcomeKind",
    "QueueRecord",
    "Renewed",
    "RunPage",
    "RunRecord",
    "ServerReport",
    "TickReply",
    "Totals",
    "WorkReply",
]

OutcomeKind = Literal["succeeded", "failed", "retry", "snooze", "released", "cancelled"]
HintKind = Literal["work", "take", "entries", "cancel", "done", "lock"]

DEFAULT_TTL_MS = 3_600_000

TOMBSTONE_MS = 10_000
"""So long it is known at least that a run which goes on was settled under a token."""

MEMO_MS = 60_000
"""So long the answer to a nonce is known."""

CLAIMS_REMEMBERED = 8
"""So many of a node's newest claims are known again."""

MOST_ERRORS = 16
"""So many of a run's newest errors are kept."""

MOST_WAITING = 1_000
"""So many runs of an entry wait, at the most."""

RETIRED = "no longer declared"
"""The note of an entry that no running program declares any more."""
KEY_TAKEN = "taken"
"""The answer of ``revive`` for a failed run whose key another run has by now."""

POISON_CRASHES = 3
POISON_WINDOW_MS = 86_400_000
POISON_ERROR = encode_error(lost_worker(POISON_CRASHES), number=0, started_ms=0, ended_ms=0, node="")
"""What a backend appends to the errors of a run that it fails itself because its crashes were too many.

It is the same for all: which attempt that was, the rest of the record says.
"""

SHORT_PAYLOAD = 4_096
"""A run whose payload has more characters is not handed over: what comes with a hint is to be short. Nor had it better
be copied when it ends, so in Redis one of more bytes is not sealed; there the line need not be sharp."""


class Corrupt(msgspec.Struct, frozen=True):
    """A stored record that cannot be read; it was set aside, or is left where it is."""

    id: str
    reason: str


# --- runs ----------------------------------------------------------------------------------------------------


class NewRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run to be stored.

    Attributes:
        at_ms: due at this instant; 0: due ``delay_ms`` after the backend's now.
        expires_ms: it must have been started this long after it is due; 0: no limit.
        expires_at_ms: it must have been started by this instant; 0: no limit. The earlier of the two holds.
        deadline_ms: it must have ended by this instant; 0: no limit. Backends only pass it on.
        deadline_after_ms: likewise, this long after the backend's now; the earlier of the two is what is passed on.
        ttl_ms: how long the final record is kept if the backend itself ends the run (cancelled before it ran, expired),
            at least 10,000. An outcome brings its own, and the node that poison was on last has its own.
    """

    id: str
    job: str
    payload: str = ""
    queue: str = "default"
    priority: int = 0
    at_ms: int = 0
    delay_ms: int = 0
    expires_ms: int = 0
    expires_at_ms: int = 0
    deadline_ms: int = 0
    deadline_after_ms: int = 0
    key: str = ""
    entry_id: str = ""
    scheduled_for_ms: int = 0
    ttl_ms: int = DEFAULT_TTL_MS
    options: str = ""


class Enqueued(msgspec.Struct, frozen=True, gc=False):
    """The run that now stands for a request, and whether it was made by it."""

    id: str
    created: bool


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored run, whole.

    Attributes:
        attempt: the number of the newest attempt that was not refunded.
        token: the newest token; it stays when the run is held no more.
        node: who holds it; empty unless it is running.
        due_ms: 0 if it was ready at once and has not been retried, snoozed or rescheduled since.
        started_ms: when it was claimed last; its expiry is in force only as long as this is 0.
        crashes: crashes of the last 24 hours, as counted at the newest of them.
        cancel_requested: it is running and was asked to stop.
        progress: -1: none was reported since it was claimed last.
    """

    id: str
    job: str
    status: str
    payload: str = ""
    queue: str = "default"
    priority: int = 0
    attempt: int = 0
    token: int = 0
    node: str = ""
    key: str = ""
    entry_id: str = ""
    scheduled_for_ms: int = 0
    options: str = ""
    enqueued_ms: int = 0
    due_ms: int = 0
    expires_at_ms: int = 0
    deadline_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    progress: float = -1.0
    progress_message: str = ""
    result: str = ""
    errors: tuple[str, ...] = ()
    """What ``Outcome.error`` said of each failed attempt, oldest first, at most the newest 16."""
    set_aside: str = ""
    """``"unknown"`` (nobody live knows the job), ``"limit"``, or empty."""


class RunPage(msgspec.Struct, frozen=True):
    """Some runs, and where to go on; an empty cursor is the end."""

    runs: tuple[RunRecord | Corrupt, ...]
    cursor: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A wish for runs.

    Attributes:
        number: one more for each claim of a node, from 1; the same when it is repeated.
        count: at most so many; 0: the node wants nothing for now, others are woken for what it may have been woken for.
        queues: in this order.
        limits: live attempts allowed at once across the cluster, for those of the node's jobs that have a limit.
        takes: if it comes back short, the hint that wakes the node may bring a run with it.
    """

    number: int
    count: int
    queues: tuple[str, ...]
    limits: dict[str, int] = {}
    takes: bool = False


class ClaimedRun(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run that is ours for now: what is needed to run it, so that nothing more is asked.

    Id and token are always there. They need not be where it is read from: a backend may know them from elsewhere.
    """

    id: str = ""
    job: str
    token: int = 0
    attempt: int = 1
    payload: str = ""
    queue: str = "default"
    priority: int = 0
    key: str = ""
    entry_id: str = ""
    scheduled_for_ms: int = 0
    deadline_ms: int = 0
    enqueued_ms: int = 0
    crashes: int = 0
    options: str = ""


class Hint(msgspec.Struct, frozen=True):
    """Something may have changed; look for yourself.

    ``work``: something may be claimable. ``take``: likewise, and ``run`` is already claimed, for the node ``name`` at
    ``now_ms``. ``entries``: an earlier fire time. ``cancel``: the held run ``name`` was asked to stop. ``done``: the
    watched run ``name`` is final. ``lock``: it is ``owner``'s turn for the lock ``name``.
    """

    kind: HintKind
    name: str = ""
    run: ClaimedRun | None = None
    now_ms: int = 0
    owner: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt ended.

    Attributes:
        error: one line of text about the attempt (no newline in it), appended to the run's errors; empty: none.
        ttl_ms: how long a final record is kept, at least 10,000.
    """

    run_id: str
    token: int
    kind: OutcomeKind
    result: str = ""
    error: str = ""
    delay_ms: int = 0
    ttl_ms: int = DEFAULT_TTL_MS


class WorkReply(msgspec.Struct, frozen=True, kw_only=True):
    """What ``work`` did.

    Attributes:
        now_ms: the backend's time.
        settled: one answer for each outcome, in order; ``False``: the token was stale.
        runs: the claimed runs.
        known: whether the node is known; if not, it has to join again under a new id.
        more: the claim was filled, so there may be more; or it came too late, and a new one is in order.
        next_due_ms: when to look again at the latest: the earliest due time, expiry or end of another node's lease.
            0: nothing in sight. Only given when the claim came back short.
        corrupt: records that were set aside.
        lost: ids of nodes that this call reaped.
        expired: how many runs were made ``expired`` by this call.
    """

    now_ms: int
    settled: tuple[bool, ...] = ()
    runs: tuple[ClaimedRun, ...] = ()
    known: bool = True
    more: bool = False
    next_due_ms: int = 0
    corrupt: tuple[Corrupt, ...] = ()
    lost: tuple[str, ...] = ()
    expired: int = 0


class CancelAnswer(msgspec.Struct, frozen=True):
    """The status now, and whether the run is cancelled, or running and asked to stop: by this call or one like it."""

    status: str
    requested: bool


# --- nodes ---------------------------------------------------------------------------------------------------


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A node that executes or ticks.

    Attributes:
        id: made anew at each start; also its inbox.
        program: names the set of declared entries; nodes of one version of one program share it.
        facts: what people are shown (host, process, version, capacity), as JSON text.
        failed_ttl_ms: how long the final record of a run is kept that is poison, if this node was the last that it took
            down; 0: as long as of one that was cancelled.
    """

    id: str
    ttl_ms: int
    jobs: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    program: str = ""
    facts: str = ""
    failed_ttl_ms: int = 0


Held = tuple[str, int]
"""The id of a run that a node holds, and the token that it holds it under."""

NAMED_AT_RENEWAL = 1_000
"""Of the runs that a node holds so many are named when it renews its lease."""


class Renewed(msgspec.Struct, frozen=True):
    """The answer to a renewal.

    Attributes:
        cancels: held runs that were asked to cancel.
        held: the runs that the node holds, those with the smallest tokens, in order of these.
        undeclared: what the program of the node declares is not remembered (its time ran out), and is to be declared.
    """

    lost: bool
    now_ms: int
    cancels: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()
    undeclared: bool = False


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A live node, as people see it."""

    id: str
    expires_ms: int
    running: int
    queues: tuple[str, ...] = ()
    program: str = ""
    facts: str = ""


# --- entries -------------------------------------------------------------------------------------------------


class EntryWrite(msgspec.Struct, frozen=True, kw_only=True):
    """An entry to be stored.

    Attributes:
        spec: the rule, the job, its arguments and policies; opaque text.
        revision: names this very spec; changes whenever it does.
        next_ms: its first fire time; 0: it never fires, and is ``finished`` from the start.
        missed: fires that were too late already when it was written, counted if it is stored, or takes this rule.
        limit: an entry that takes this rule and has made so many runs is ``finished``; 0: no limit.
    """

    id: str
    spec: str
    revision: str
    next_ms: int
    declared: bool = False
    missed: int = 0
    limit: int = 0


class EntryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored entry, whole.

    Attributes:
        next_ms: the cursor. A paused entry keeps the one it had; 0 if finished, or while its next time depends on the
            end of a run.
        last_ms: the fire time of the newest run that a fire made.
        live: its runs that are neither final nor waiting, at most the oldest 100.
        waiting: its runs that wait for those, in order, at most the first 100.
    """

    id: str
    spec: str
    revision: str
    status: str
    next_ms: int = 0
    last_ms: int = 0
    run_count: int = 0
    missed_count: int = 0
    overlap_skipped: int = 0
    note: str = ""
    declared: bool = False
    live: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    last_runs: tuple[tuple[str, int, str], ...] = ()
    """Run id, fire time and status of the newest 10 runs, newest first; status ``"live"`` until it is final."""


class EntryPage(msgspec.Struct, frozen=True):
    """Some entries, and where to go on; an empty cursor is the end."""

    entries: tuple[EntryRecord | Corrupt, ...]
    cursor: str


class DueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry whose time has come."""

    id: str
    spec: str
    revision: str
    cursor_ms: int
    run_count: int = 0


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """What a node decided about a due entry.

    Attributes:
        cursor_ms: the fire time that it saw.
        next_ms: the next one; 0: none, and ``end`` says why.
        end: ``finished``: there is no next one. ``completion``: the next is ``after_ms`` after the end of the run
            that is made here; if none is made, of the entry's newest live one; without any, ``after_ms`` after now.
        runs: to be made, oldest first, at most 100.
        missed: fires that the misfire rule drops.
        limit: finished when ``run_count`` reaches it; 0: no limit.
    """

    entry_id: str
    revision: str
    cursor_ms: int
    next_ms: int
    end: Literal["", "finished", "completion"] = ""
    after_ms: int = 0
    runs: tuple[NewRun, ...] = ()
    missed: int = 0
    overlap: str = "skip"
    limit: int = 0


class FireAnswer(msgspec.Struct, frozen=True):
    """Whether it was done (by us), how many runs were made and how many skipped by the overlap policy or limit."""

    done: bool
    made: int = 0
    skipped: int = 0


class TickReply(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tick`` did and found.

    Attributes:
        due: entries to be fired now, at most ``count``, after those that were skipped.
        next_due_ms: if ``due`` holds all the rest, the earliest fire time after these; 0: none in sight.
        retired: declared entries that were found to be no longer declared.
    """

    now_ms: int
    fired: tuple[FireAnswer, ...] = ()
    due: tuple[DueEntry, ...] = ()
    next_due_ms: int = 0
    retired: tuple[str, ...] = ()
    corrupt: tuple[Corrupt, ...] = ()


# --- locks, queues, numbers ----------------------------------------------------------------------------------


class LockAnswer(msgspec.Struct, frozen=True):
    """``token`` 0: not had; then ``expires_ms`` is when to ask again at the latest.

    That is when the present lease runs out, or, if the lock is free, when the first in its line loses its place.
    """

    token: int
    expires_ms: int
    now_ms: int


class QueueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A queue's numbers. ``ready`` is what stands in it; what is set aside is not counted."""

    name: str
    ready: int
    paused: bool = False


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over a namespace. The last four only grow."""

    ready: int = 0
    """Every run of that status, set aside or not."""
    scheduled: int = 0
    """``scheduled`` and ``retrying`` together: all that is due later."""
    running: int = 0
    waiting: int = 0
    failed_kept: int = 0
    """Failed runs whose ttl has not passed, whether or not the others have been forgotten yet."""
    set_aside: int = 0
    corrupt: int = 0
    entries: int = 0
    active_entries: int = 0
    unknown_jobs: dict[str, int] = {}
    """Jobs of runs set aside as unknown that no live node has among its jobs, and since when (``_ms``) they wait."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


class ServerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``anysched check`` shows of the backend."""

    product: str
    version: str
    address: str
    time_ms: int
    round_trip_ms: float
    warnings: tuple[str, ...] = ()
    facts: dict[str, str] = {}
