"""What the memory backend remembers: one record for each thing, and the indexes over them.

The rooms beside this one change it, each in synchronous functions that begin and end with all of it consistent. The
invariants are written on the fields they bind.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice

from attrs import Factory, define, field, frozen

from anysched.backends.memory.ranked import Ranked, Recent
from anysched.backends.records import MEMO_MS, EntryWrite, FireAnswer, Hint, NewRun, NodeInfo, RunRecord
from anysched.run import RunStatus

__all__ = ["Entry", "Lock", "Memo", "Node", "Program", "Queue", "Run", "State", "Waiter"]

NEWEST_LISTED = 1_000
"""So many runs of each of these are listed; a failed one is listed as long as it is kept."""
_LISTED_IN_PART = frozenset({RunStatus.SUCCEEDED, RunStatus.CANCELLED, RunStatus.EXPIRED})


@define(eq=False)
class Run:
    """A stored run."""

    new: NewRun
    enqueued_ms: int
    due_ms: int
    expires_at_ms: int
    deadline_ms: int
    key: str
    """While the run is live and this is not empty, ``State.keys`` leads from it to the run."""
    status: str = ""
    rank: tuple[int, int] = (0, 0)
    """Negated priority and sequence number: its place among the ready."""
    set_aside: str = ""
    attempt: int = 0
    token: int = 0
    holder: Node | None = None
    """The node that runs it, lost or not, while it is running."""
    started_ms: int = 0
    finished_ms: int = 0
    crashed_ms: list[int] = Factory(list[int])
    cancel_requested: bool = False
    progress: float = -1.0
    progress_message: str = ""
    result: str = ""
    errors: list[str] = Factory(list[str])
    settled: list[tuple[int, int]] = Factory(list[tuple[int, int]])
    """Tokens it was settled under and when, so that a repetition is known."""
    watchers: dict[str, None] = Factory(dict[str, None])
    """Inboxes that are told of the end."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.new.id

    @property
    def started(self) -> bool:
        """Whether it was ever claimed; its expiry is in force until then."""
        return self.started_ms != 0

    def record(self) -> RunRecord:
        """What is told of it."""
        new = self.new

        return RunRecord(
            id=new.id,
            job=new.job,
            status=self.status,
            payload=new.payload,
            queue=new.queue,
            priority=new.priority,
            attempt=self.attempt,
            token=self.token,
            node=self.holder.info.id if self.holder is not None else "",
            key=self.key,
            entry_id=new.entry_id,
            scheduled_for_ms=new.scheduled_for_ms,
            options=new.options,
            enqueued_ms=self.enqueued_ms,
            due_ms=self.due_ms,
            expires_at_ms=self.expires_at_ms,
            deadline_ms=self.deadline_ms,
            started_ms=self.started_ms,
            finished_ms=self.finished_ms,
            crashes=len(self.crashed_ms),
            cancel_requested=self.cancel_requested,
            progress=self.progress,
            progress_message=self.progress_message,
            result=self.result,
            errors=tuple(self.errors),
            set_aside=self.set_aside,
        )


@define(eq=False)
class Queue:
    """A queue, and who waits for something in it."""

    name: str
    used: bool = False
    """Whether a run was ever put into it, or only nodes look at it."""
    ready: Ranked[tuple[int, int]] = Factory(Ranked[tuple[int, int]])
    paused: bool = False
    unknown: dict[str, Ranked[tuple[int, int]]] = Factory(dict[str, Ranked[tuple[int, int]]])
    """By job, never empty: ready runs that a node found and did not know."""
    limited: dict[str, Ranked[tuple[int, int]]] = Factory(dict[str, Ranked[tuple[int, int]]])
    """By job, never empty: ready runs that found no free slot."""
    hungry: dict[str, None] = Factory(dict[str, None])
    """Nodes that wait for a hint, those who have waited longest first. Also in ``Node.hungry_for``."""


@frozen
class PastClaim:
    """A claim that was made."""

    number: int
    filled: bool
    gave: tuple[tuple[str, int], ...]
    """Ids and tokens."""


@define(eq=False)
class Node:
    """A node that is not lost yet."""

    info: NodeInfo
    expires_ms: int
    jobs: frozenset[str]
    runs: dict[str, None] = Factory(dict[str, None])
    """The running runs whose ``holder`` it is, in the order of their tokens."""
    cancels: dict[str, None] = Factory(dict[str, None])
    """Those of them that were asked to cancel."""
    claims: dict[int, PastClaim] = Factory(dict[int, PastClaim])
    """By slot, in which a number is only ever followed by a greater one."""
    hungry_for: tuple[str, ...] = ()
    takes: bool = False
    """While it is hungry: whether it may be handed a run."""
    limited: frozenset[str] = frozenset()
    """Then: those of its jobs that have a limit."""
    crashed: bool = False
    """Set when it is lost: whether its runs come back as crashed or as handed back."""


@define(eq=False)
class Entry:
    """A stored entry."""

    id: str
    spec: str
    revision: str
    declared: bool
    status: str = "active"
    next_ms: int = 0
    """Also its rank in ``State.cursors`` while it is active and this is not 0; else it is not there."""
    completion: tuple[str, int] | None = None
    """The run at whose end the next time is set, and how long after it."""
    retired_ms: int = 0
    """The cursor that it had when it was retired; 0 if it is not."""
    last_ms: int = 0
    run_count: int = 0
    missed_count: int = 0
    overlap_skipped: int = 0
    note: str = ""
    live: dict[str, None] = Factory(dict[str, None])
    """Its runs that are neither final nor waiting. Nothing waits while this is empty."""
    waiting: dict[str, None] = Factory(dict[str, None])
    last_runs: deque[tuple[str, int, str]] = Factory(lambda: deque[tuple[str, int, str]](maxlen=10))

    def note_run(self, run_id: str, status: str) -> None:
        """Note what has become of a run, if it is among the last."""
        for index, (known, at_ms, _) in enumerate(self.last_runs):
            if known == run_id:
                self.last_runs[index] = (known, at_ms, status)

    def take(self, write: EntryWrite) -> None:
        """Take over another rule."""
        self.spec, self.revision, self.declared = write.spec, write.revision, write.declared


@define(eq=False)
class Program:
    """What one running program declares."""

    ids: frozenset[str]
    ttl_ms: int
    expires_ms: int


@define(eq=False)
class Waiter:
    """One place in the line for a lock."""

    inbox: str
    until_ms: int


@define(eq=False)
class Lock:
    """A lock that is held or waited for."""

    owner: str = ""
    token: int = 0
    ttl_ms: int = 0
    """As asked for last."""
    expires_ms: int = 0
    line: dict[str, Waiter] = Factory(dict[str, Waiter])
    """By owner, first come first."""


@define(eq=False)
class Memo:
    """An answer that is given again to the same nonce."""

    at_ms: int
    answer: tuple[FireAnswer, ...]


def _listings() -> dict[str, Recent]:
    return {status.value: Recent(NEWEST_LISTED if status in _LISTED_IN_PART else 0) for status in RunStatus}


@define(eq=False, kw_only=True)
class State:
    """Everything, and the indexes over it."""

    now: int = 0
    micros: int = 0
    """The instant of the operation that is being done, in milliseconds and in microseconds."""
    hints: list[tuple[str | None, Hint]] = Factory(list[tuple[str | None, Hint]])
    """What is to be delivered when it is done; ``None``: to everybody."""

    token: int = 0
    sequence: int = 0
    stamp: int = 0
    """The newest given: of all claims and locks, of all that became ready, of all changes of status."""

    runs: dict[str, Run] = Factory(dict[str, Run])
    keys: dict[str, str] = Factory(dict[str, str])
    listed: dict[str, Recent] = field(factory=_listings)
    """By status. Complete for all but those of which only the newest are listed, and so a count too."""
    due: Ranked[int] = Factory(Ranked[int])
    """All that is scheduled or retrying."""
    expiries: Ranked[int] = Factory(Ranked[int])
    """All that was never claimed, is not final, and has an expiry."""
    fading: Ranked[int] = Factory(Ranked[int])
    """Everything final, by when it is forgotten."""
    ended: Counter[str] = Factory(Counter[str])
    running_of: Counter[str] = Factory(Counter[str])
    """Running runs by job; no zeros."""

    queues: dict[str, Queue] = Factory(dict[str, Queue])
    limited_in: dict[str, dict[str, None]] = Factory(dict[str, dict[str, None]])
    """By job, never empty: the queues that have it in ``Queue.limited``."""
    unknown: dict[str, tuple[int, int]] = Factory(dict[str, tuple[int, int]])
    """By job: how many runs are set aside as unknown, and since when there is any."""
    limited_count: int = 0

    nodes: dict[str, Node] = Factory(dict[str, Node])
    leases: Ranked[int] = Factory(Ranked[int])
    emptying: deque[Node] = Factory(deque[Node])
    """Lost nodes that still have runs."""
    hungry: dict[str, None] = Factory(dict[str, None])
    watch: str = ""
    """The node that was told last when to look again."""

    made_ready: Counter[str] = Factory(Counter[str])
    """By queue: what this operation made ready and did not claim again."""
    freed: Counter[str] = Factory(Counter[str])
    """By job: how many slots this operation set free and did not use again."""
    sooner: str | None = None
    """The queue of a run whose due time this operation made the earliest of all."""

    entries: dict[str, Entry] = Factory(dict[str, Entry])
    entry_ids: list[str] = Factory(list[str])
    """Sorted."""
    cursors: Ranked[int] = Factory(Ranked[int])
    active_entries: int = 0
    programs: dict[str, Program] = Factory(dict[str, Program])
    memos: dict[str, Memo] = Factory(dict[str, Memo])
    """By nonce, oldest first."""

    locks: dict[str, Lock] = Factory(dict[str, Lock])
    lock_ends: Ranked[int] = Factory(Ranked[int])
    """By when neither its lease nor a place in its line counts any more."""

    def recall(self, nonce: str) -> tuple[FireAnswer, ...] | None:
        """What was answered to a nonce not long ago."""
        memo = self.memos.get(nonce)
        return memo and memo.answer

    def memorise(self, nonce: str, answer: tuple[FireAnswer, ...]) -> tuple[FireAnswer, ...]:
        """Note an answer, and forget some that are old."""
        self.memos[nonce] = Memo(self.now, answer)

        for known, memo in list(islice(self.memos.items(), 2)):
            if self.now - memo.at_ms >= MEMO_MS:
                del self.memos[known]

        return answer

    def queue(self, name: str) -> Queue:
        """The queue of that name, from now on known."""
        if (found := self.queues.get(name)) is None:
            found = self.queues[name] = Queue(name)

        return found

    def find(self, run_id: str) -> Run | None:
        """The run of that id, unless its time as a final record has passed."""
        gone_at = self.fading.rank(run_id)

        if gone_at is not None and gone_at <= self.now:
            self.forget(run_id)

        return self.runs.get(run_id)

    def forget(self, run_id: str) -> None:
        """Remove a final run."""
        run = self.runs.pop(run_id)
        self.listed[run.status].discard(run_id)
        self.fading.discard(run_id)

    def fade(self, most: int) -> None:
        """Forget final records whose time has passed."""
        for _ in range(most):
            if (found := self.fading.first()) is None or found[0] > self.now:
                break

            self.forget(found[1])

    def next_token(self) -> int:
        """A fencing token greater than any before, also of an earlier life."""
        self.token = max(self.token + 1, self.micros)
        return self.token

    def next_sequence(self) -> int:
        """The next place among the ready."""
        self.sequence += 1
        return self.sequence

    def next_stamp(self) -> int:
        """The next place in a listing."""
        self.stamp += 1
        return self.stamp
