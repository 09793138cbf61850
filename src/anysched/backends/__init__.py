"""The one interface behind which anysched stores, coordinates and wakes.

:class:`Backend` is implemented by :class:`~anysched.backends.memory.MemoryBackend`, which is the specification in
Python, and by :class:`~anysched.backends.redis.RedisBackend`. One conformance suite
(:mod:`anysched.testing.conformance`) holds both to what is written here.

What holds for every operation:

* It is **one atomic step**. Nobody sees half of it.
* It is **repeatable**: sent twice with the same arguments, it has the effect of once and gives the same answer,
  because clients resend after a lost reply. That is what the ids, tokens, numbers and nonces in the requests are for.
  Where a request carries nothing to know it again by (``revive``, ``reschedule``, ``declare``, ``remove_entry``,
  ``release_lock``), the second one changes nothing more and answers what it finds.
* **The backend's clock decides**: what is due, expired or leased is judged by the time at the backend, and every
  answer that needs it carries that time.
* Its work does **not grow with what is stored**: batches are capped by the caller, housekeeping by a constant.
* A record that cannot be read fails alone: it is set aside and named in the answer.

**Edges.** What is due at t, expires at t, or is locked until t, is due, expired or free from t on (``t <= now``). A
node's lease is over only after its last millisecond (``t < now``).

**Order.** A queue is ordered by priority, highest first, then by sequence number, then by run id. The sequence number
is taken from one counter of the namespace when a run becomes ready: by ``enqueue`` and by fires in the order given, by
falling due in the order ``(due_ms, id)``. What is handed back, or comes back from a dead node, has sequence number 0.
What is set aside keeps its numbers and so returns to its place.

**Kept.** A final record is kept for its ttl and then is as if it had never been. Nonces of fires and of ``put_entry``,
and tombstones of settled runs, are remembered for at least 10 s, a node's last 8 claims as long as the node lives.

Instants at this floor are whole milliseconds since 1970 and named ``..._ms``, so that all backends round alike.
Stored arguments, results, options, errors and entry rules are opaque text here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from anysched.backends.records import (
    KEY_TAKEN,
    CancelAnswer,
    Claim,
    ClaimedRun,
    Corrupt,
    DueEntry,
    Enqueued,
    EntryPage,
    EntryRecord,
    EntryWrite,
    Fire,
    FireAnswer,
    Held,
    Hint,
    LockAnswer,
    NewRun,
    NodeInfo,
    NodeRecord,
    Outcome,
    QueueRecord,
    Renewed,
    RunPage,
    RunRecord,
    ServerReport,
    TickReply,
    Totals,
    WorkReply,
)

__all__ = [
    "KEY_TAKEN",
    "Backend",
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
    "QueueRecord",
    "Renewed",
    "RunPage",
    "RunRecord",
    "ServerReport",
    "TickReply",
    "Totals",
    "WorkReply",
]


@runtime_checkable
class Backend(Protocol):
    """Storage, coordination and wake-up.

    What is asked for by a name or an id that nothing can be stored by, such as text that UTF-8 does not have, is not
    there, as is what was never stored.

    Raises, from any operation:
        BackendUnavailable: it cannot be reached or cannot answer for now. The outcome is unknown; repeat it.
        BackendRefused: it will not serve us. Repeating is of no use.
    """

    # --- life ------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Hold what the backend needs (connections) until cancelled; ready once ``started()``.

        Every other operation needs this to be running, so it is a child of the outermost task group. It is
        re-entrant: with several running at once, the last to end closes.

        Raises:
            BackendUnavailable: the first connection could not be made.
            BackendRefused: wrong credentials, a server too old, a command that is missing.
        """
        ...

    async def time_ms(self) -> int:
        """The backend's clock."""
        ...

    async def report(self) -> ServerReport:
        """What ``anysched check`` shows: product, version, eviction policy, round trip, warnings."""
        ...

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Call ``deliver`` with each hint for ``inbox`` or for all, until cancelled.

        ``started()`` is called once the subscription stands: whatever is hinted after that is delivered, unless
        the connection is lost, which raises :exc:`BackendUnavailable`. ``deliver`` is synchronous and quick.
        """
        ...

    # --- runs, from outside ----------------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        """Store runs, all or none, in the order given.

        For each: if a run of that id is stored, nothing is changed and ``Enqueued(id, created=False)`` says so.
        Else, if ``key`` is set and a live run goes by it, that run is the answer (``created=False``). Else it is
        stored: ``scheduled`` if due after the backend's now, otherwise ``ready``, and its key is taken. Two runs of
        one batch with one key: the second finds the first.

        A run is due at ``at_ms``, or ``delay_ms`` after now. Its expiry counts from there, and is in force, in whatever
        status, until it is claimed for the first time.

        A hungry node of the queue is woken for what became ready (as many nodes as there are runs, at most 16),
        and one for a due time that is now the earliest: one of the queue if there is one, else any. Whatever makes
        runs ready or due in other operations wakes likewise.

        A run is *handed over* if it comes alone, without due time, expiry, key and entry, with a payload of at most
        ``SHORT_PAYLOAD`` (4,096) characters, its queue is empty and not paused, and the first hungry node of that queue
        has claimed with ``takes``, knows its job, has no limit for it, has a good lease and listens: then it is
        ``running`` there, as if that node had claimed it, and the node is woken by a ``Hint("take")`` that brings it.
        """
        ...

    async def get_runs(self, run_ids: Sequence[str]) -> list[RunRecord | Corrupt | None]:
        """The records of these runs, in order; ``None`` where there is none.

        A run that should have been started by now is ``expired``, also if no node was there to find it: by this, by
        :meth:`watch`, and by whatever asks who has its key.
        """
        ...

    async def find_key(self, key: str) -> str | None:
        """The id of the live run that goes by ``key``."""
        ...

    async def watch(self, run_id: str, inbox: str) -> RunRecord | Corrupt | None:
        """The run's record; if it is not final, ``inbox`` gets ``Hint("done", run_id)`` when it has become so.

        A hint may be lost: whoever waits looks again from time to time.
        """
        ...

    async def cancel(self, run_id: str) -> CancelAnswer | None:
        """Cancel a run; ``None`` if there is none.

        Not yet running: ``cancelled`` at once. Running: marked, and its node gets ``Hint("cancel", run_id)`` and
        finds it in its next renewal; the run ends ``cancelled`` whatever that node then reports, except a success
        or a failure that was reached first (its outcome stands: the cancel came too late). Final: unchanged.
        A marked run that is handed back, crashes, snoozes or would be retried ends ``cancelled`` instead; no attempt
        is refunded and no crash counted then.
        """
        ...

    async def revive(self, run_id: str) -> str | None:
        """Make a ``failed`` run ready again, its attempts and crashes reset; the status before, ``None`` if absent.

        Anything but ``failed`` is left alone. Its key, if it had one, is taken again; if another run has it, this one
        is left alone as well, and the answer is :data:`KEY_TAKEN`. Its errors are kept. If its entry is still there,
        it counts as live there again.
        Twice in a row: the second finds it ready or later, and leaves it alone.
        """
        ...

    async def reschedule(self, run_id: str, *, at_ms: int | None = None, delay_ms: int | None = None) -> str | None:
        """Move a ``scheduled``, ``ready`` or ``retrying`` run to another due time.

        The answer is the status before, ``None`` if there is no such run.

        Exactly one of ``at_ms`` and ``delay_ms``. Any other status is left alone. A due time that is past makes it
        ready at once. An expiry that counts from the due time moves with it, as long as the run has not been started.
        A ready run becomes ``scheduled``, a retrying one stays ``retrying``; a ready one that is moved to a past time
        keeps its place.
        """
        ...

    async def list_runs(
        self, *, status: str | None = None, queue: str | None = None, cursor: str = "", limit: int = 50
    ) -> RunPage:
        """A page of runs, newest first within a status, for people to look at.

        Covers every live run and every failed one; of those that succeeded, expired or were cancelled the newest
        1,000 of each. Newest is what came into that status last. Without ``status`` they follow each other as
        :class:`~anysched.run.RunStatus` lists them. Records that vanish or change between two pages may be missed or
        shown twice. A page may be short, even empty, and still have a cursor.
        """
        ...

    # --- runs, from a worker ---------------------------------------------------------------------------------

    async def join(self, node: NodeInfo) -> int:
        """Make a node known, or known anew, under a lease of ``node.ttl_ms``; the backend's time.

        What was set aside because nobody knew its job, and this node knows it, is made ready again (in ``work``,
        up to 100 at a time). A node id is never used again once it was lost.
        """
        ...

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        """Extend the lease of a node, and with it that of every run it holds.

        ``lost`` when the lease is not there any more (it ran out and somebody reaped it, or the store was emptied):
        nothing is changed, and all that the node held belongs to others. A lease that ran out but was not reaped yet
        is simply renewed. Also names the held runs that were asked to cancel, does the housekeeping of ``work``, and
        then names what the node holds, up to ``NAMED_AT_RENEWAL``, those with the smallest tokens first: it may be told
        of runs here that were settled in what the store has forgotten since.
        """
        ...

    async def leave(self, node_id: str) -> None:
        """Take a node off the list, and hand back whatever it still holds.

        Attempts are refunded and no crash is counted. 100 at a time: the rest is handed back by housekeeping, at once.
        """
        ...

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        """Settle outcomes and claim what is next, in one step.

        **Settling.** For each outcome in order: if the run is ``running`` under exactly that token, it makes the
        move that ``outcome.kind`` names and the answer is ``True``. If it was already settled under that token
        (the command arrived twice) nothing changes and the answer is ``True``. Otherwise the token is stale:
        nothing changes, ``False``. Tombstones of settled runs stay at least 10 s so that a repetition finds them.
        A backend may take the token of another run of the same claim for the run's own: the run never had it, so that
        only who mixes up what one claim has brought can come with it.

        * ``succeeded``: final, with ``result``, kept for ``ttl_ms``.
        * ``failed``: final, error appended to the attempts, kept for ``ttl_ms``, listed among the failed.
        * ``retry``: ``retrying``, due after ``delay_ms``; error appended. Marked for cancel: ``cancelled``.
        * ``snooze``: ``scheduled``, due after ``delay_ms``; the attempt is refunded.
        * ``released``: ``ready`` at the front of its priority; the attempt is refunded.
        * ``cancelled``: final.

        A due time not after now makes it ``ready`` at once. A non-empty ``error`` is appended whatever the kind. What
        is ready or due again has no node, and keeps its token. Every final status frees the key, the limit's slot and
        what waits for the run, and tells those who watch.

        **Housekeeping**, capped: due runs become ready (up to 200), runs past their expiry expire (up to 100), one
        dead node is reaped (up to 100 runs: see :meth:`renew`), each only if there is any. The dead node is the one
        whose lease ended first, never the caller; it is lost as soon as its reaping began, and what is left of its
        runs comes back in later calls. A run that comes back has one crash more and its attempt refunded; with
        ``POISON_CRASHES`` within ``POISON_WINDOW_MS`` it is ``failed`` instead, with ``POISON_ERROR`` as its last
        error.

        **Claiming**, if ``claim`` is given and the node is known (else ``WorkReply.known`` is ``False`` and nothing is
        claimed): up to ``claim.count`` runs from ``claim.queues`` in that order, skipping paused queues; within a
        queue the highest priority first, then first in, first out. A run that is past its expiry expires instead. A
        run whose job the node does not know is set aside (``"unknown"``); if a hungry node of its queue knows the job,
        that is woken. A run whose job is at its limit (``claim.limits``: so many are running) is set aside
        (``"limit"``); when one of the job leaves ``running``, a hungry node of the queue is woken. Both go back to
        their queue when a node claims from it that may take them: for the unknown, one that knows the job; for the
        limited, one that knows it, as many as slots are free for it (all, if it brings no limit); at most 100 per
        claim, before anything is claimed. A claim looks at no more than ``claim.count + 200`` runs; if it had to stop
        there, ``more`` is true. Each claimed run gets the next attempt number, no progress, and a fencing token
        greater than any given before: ``max(previous + 1, backend time in microseconds)``. Runs and locks draw from
        one sequence of tokens.

        The same ``claim.number`` again: the same runs again, as far as they are still held under those tokens. A claim
        is remembered until the node has made one whose number is greater by 8, or by a multiple of 8. From then on it
        comes too late, whether or not it was ever there before: it takes nothing, changes nothing but what it settles
        and what housekeeping does, and ``more`` is true. So a claim takes runs once at most, however late and however
        often it arrives; and of claims that overtake each other none is turned away unless by 8 newer ones.

        A claim of 0 says that the node wants nothing for now: it is not hungry any more, and for what is ready in the
        queues that it names, which it may have been woken for, other hungry nodes are woken.

        A claim that comes back short makes the node hungry: it will get ``Hint("work")`` when there is something, or,
        if it ``takes``, a ``Hint("take")`` with it (see :meth:`enqueue`).
        ``next_due_ms`` is then the next instant at which it should look again by itself: the earliest of all due times,
        of the expiries in force, and of the ends of the leases of other nodes plus 1 ms; now, if a dead node's runs are
        left. The node that was told last keeps watch: when its claim is filled, or it is gone, and there is such an
        instant, another hungry node is woken to be told.
        """
        ...

    async def set_progress(self, run_id: str, token: int, fraction: float, message: str) -> bool:
        """Store the progress of a held run and forget its crashes; ``False`` if the token is stale."""
        ...

    # --- entries ---------------------------------------------------------------------------------------------

    async def put_entry(self, entry: EntryWrite, *, replace: bool, nonce: str) -> bool:
        """Store an entry; ``False``, and nothing changed, if the id exists and ``replace`` is false.

        The same ``nonce`` again is answered ``True``. Replacing keeps the counts and last times, the runs, and a pause
        with its note. With the same ``revision`` it keeps the place in time and the status too, also that of a finished
        entry, and changes nothing but ``declared``; one that had been retired goes on, as by :meth:`declare`.
        With another ``revision`` the entry moves to the new rule and ``next_ms``, and a finished one is active again,
        unless it has made ``EntryWrite.limit`` runs; a fire that was due, also when it was retired, is counted as
        missed. One that cannot be read is replaced whole, as if it had not been there. ``EntryWrite.missed`` is
        counted for a new entry and one that moves. Every inbox gets ``Hint("entries")`` if its next time is now the
        earliest; likewise whenever another operation makes it so.
        """
        ...

    async def declare(self, program: str, entries: Sequence[EntryWrite], *, ttl_ms: int) -> list[str]:
        """Reconcile declared entries, as one running program has them; one answer each.

        Remembers for ``ttl_ms`` (from now, and again from each :meth:`renew` of a node of that program) that
        ``program`` declares these ids and no others; it is forgotten when the last node of that program leaves. What
        was not renewed in time is not remembered any more: each renewal of a node of that program says so
        (``Renewed.undeclared``) until it is declared again, since its entries may have been retired meanwhile. For
        each entry: absent: ``"added"``; present with the same ``revision``: ``"kept"`` with its place in time (if it
        had been retired, it is active again, and due where it stopped: ``"added"``); another ``revision``: ``"moved"``
        as by :meth:`put_entry`, keeping counts and a pause; an entry of that id that was added at run time:
        ``"foreign"``, left alone. All that is stored here is marked as declared.
        """
        ...

    async def get_entry(self, entry_id: str) -> EntryRecord | Corrupt | None:
        """One entry."""
        ...

    async def list_entries(self, *, cursor: str = "", limit: int = 100) -> EntryPage:
        """A page of entries, by id."""
        ...

    async def pause_entry(self, entry_id: str, note: str) -> bool:
        """Stop an entry from firing until it is resumed; ``False`` if there is none.

        A fire that is due is counted as missed. One that is paused already only gets the note; one that has finished
        is left alone.
        """
        ...

    async def resume_entry(self, entry_id: str, *, revision: str, next_ms: int | None) -> bool:
        """Let a paused entry fire again, next at ``next_ms`` (``None``: it has finished); the note is cleared.

        ``False`` if there is no such entry of that ``revision``: read it again. One that is not paused is left alone
        (``True``).
        """
        ...

    async def remove_entry(self, entry_id: str) -> bool:
        """Remove an entry, its waiting runs being cancelled; live runs go on. ``False`` if there is none."""
        ...

    async def tick(self, nonce: str, fires: Sequence[Fire], *, count: int, skip: int = 0) -> TickReply:
        """Fire entries and return the next due ones, in one step.

        **Firing.** For each fire: if the entry is active with exactly that ``revision`` and ``cursor_ms``, the cursor
        is advanced to ``next_ms`` (``None``: see ``Fire.end``), the counts are added, and each of ``fire.runs`` is
        dealt with by ``fire.overlap``; otherwise somebody else was first: ``FireAnswer.done`` is ``False`` and nothing
        changes. The same ``nonce`` again: the same answer again.

        Overlap, per run, while a run of the entry is live (not final): ``skip``: not made, counted; ``queue_one``:
        made ``waiting`` unless one waits already, then counted; ``queue_all``: made ``waiting``, unless 1,000 wait
        already, then counted; ``cancel_previous``: what waits is cancelled, what is live is cancelled as by
        :meth:`cancel`, and the new one is made ``waiting`` if something still runs, else at once; ``allow``: made at
        once. "At once" is as by :meth:`enqueue`, so it may be due later; what waits becomes ready in its turn, due or
        not. When the last live run of an entry has ended, the first that waits is made ready. A made run, waiting or
        not, adds to ``run_count`` and counts against ``fire.limit``: when ``run_count`` reaches it, the entry is
        ``finished`` and no more of ``fire.runs`` are made (``skipped``, but not counted). A run whose id is stored
        already is neither made nor counted; one whose key is taken is skipped and counted, whatever the policy.

        ``completion`` with several runs made counts from the end of the last of them; with none made, from the end of
        the newest live run of the entry; and from now if there is none, or it is final. An
        entry that was paused, replaced or moved in between takes its next time from there instead.

        **Looking.** Up to ``count`` entries whose cursor is not after the backend's now, earliest first, then by id,
        without the first ``skip`` of them: whoever cannot read those looks past them. A declared entry that no running
        program declares any more is retired (``finished``, note "no longer declared") instead of returned, at most 100
        in a call: what is left of them is neither, and ``next_due_ms`` is past then.
        """
        ...

    async def trigger(self, entry_id: str, run: NewRun, *, overlap: str) -> FireAnswer | None:
        """Make one run of an entry now, its schedule and ``run_count`` untouched, by the given overlap policy.

        ``None`` if there is no such entry; a paused or finished one will do. The same ``run.id`` again: the same
        answer as when it was made, nothing made anew. It is among the entry's ``last_runs``; ``last_ms`` stays.
        """
        ...

    # --- locks -----------------------------------------------------------------------------------------------

    async def acquire_lock(self, name: str, owner: str, *, ttl_ms: int, wait_inbox: str | None) -> LockAnswer:
        """Take a lock if it is free, or ran out, and nobody is before us in its line.

        ``owner`` is a nonce made for this one acquisition; asking again while holding it gives the same token and
        a fresh lease. If it cannot be had and ``wait_inbox`` is given, ``owner`` stands in line (first come, first
        served) for another ``ttl_ms`` from now, keeping its place when it asks again, and that inbox gets
        ``Hint("lock", name, owner=owner)`` when its turn comes: at a release, and when somebody else asks for the free
        lock. A lease that simply runs out wakes nobody; ``LockAnswer.expires_ms`` says when to ask again.
        The token is greater than any token given before.
        """
        ...

    async def refresh_lock(self, name: str, owner: str, *, ttl_ms: int) -> bool:
        """Extend a held lock; ``False`` if it is no longer held by ``owner``, be it that the lease merely ran out."""
        ...

    async def release_lock(self, name: str, owner: str) -> bool:
        """Give back a held lock, or leave its line, and wake the first who waits if the lock is free.

        ``False`` if neither held nor waited for.
        """
        ...

    # --- queues, nodes, numbers ------------------------------------------------------------------------------

    async def pause_queue(self, queue: str) -> None:
        """No claims from this queue, on any node, until it is resumed. Enqueueing goes on."""
        ...

    async def resume_queue(self, queue: str) -> None:
        """Allow claims from this queue again, and wake its hungry nodes (at most 16)."""
        ...

    async def list_queues(self) -> list[QueueRecord]:
        """Every queue that a run was put into or that is paused, by name, with its numbers."""
        ...

    async def list_nodes(self) -> list[NodeRecord]:
        """Every node that holds a lease, by id."""
        ...

    async def totals(self) -> Totals:
        """Counts over the whole namespace, kept up to date rather than counted."""
        ...
