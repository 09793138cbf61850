"""How a run moves from one status to another, and what each move brings with it.

Every status has a place where the run is found: ``ready`` a queue, or beside it if set aside; ``scheduled`` and
``retrying`` the due times; ``running`` its node; ``waiting`` its entry; the final ones the time at which it is
forgotten. A move takes the run out of the one place and puts it into the other, so that it is always in exactly one.
"""

from __future__ import annotations

from anysched.backends.memory import aside, cursors
from anysched.backends.memory.state import Entry, Node, Run, State
from anysched.backends.records import MOST_ERRORS, SHORTEST_TTL_MS, Hint, NewRun

__all__ = [
    "add_error",
    "cancel",
    "enter",
    "finish",
    "make_ready",
    "make_waiting",
    "move_expiry",
    "postpone",
    "return_run",
    "start",
    "store",
]

FORGOTTEN_FOR_EACH = 2
"""With each run that ends so many are forgotten whose time has passed, so that these become fewer, however fast they
come."""


def store(state: State, new: NewRun) -> Run:
    """Make a run whose id and key are free; it has no place yet."""
    now = state.now
    due = new.at_ms or now + max(new.delay_ms, 0)
    expiries = [new.expires_at_ms, due + new.expires_ms if new.expires_ms else 0]
    deadlines = [new.deadline_ms, now + new.deadline_after_ms if new.deadline_after_ms else 0]

    run = state.runs[new.id] = Run(
        new,
        enqueued_ms=now,
        due_ms=due if new.at_ms or new.delay_ms > 0 else 0,
        expires_at_ms=min(filter(None, expiries), default=0),
        deadline_ms=min(filter(None, deadlines), default=0),
        key=new.key,
        rank=(-new.priority, 0),
    )

    state.queue(new.queue).used = True

    if new.key:
        state.keys[new.key] = new.id

    if run.expires_at_ms:
        state.expiries.put(new.id, run.expires_at_ms)

    return run


def enter(state: State, run: Run) -> None:
    """Give a stored run its first place: ready, or scheduled if it is due later."""
    postpone(state, run, "scheduled", run.due_ms)


def make_ready(state: State, run: Run, *, front: bool = False) -> None:
    """Put a run into its queue: at its end, or at the front of its priority."""
    _uproot(state, run)
    _set_status(state, run, "ready")
    run.rank = (run.rank[0], 0 if front else state.next_sequence())
    state.queue(run.new.queue).ready.put(run.id, run.rank)
    state.made_ready[run.new.queue] += 1


def postpone(state: State, run: Run, status: str, due_ms: int) -> None:
    """Make a run due at an instant: ``scheduled`` or ``retrying`` until then, ready at once if that is past."""
    run.due_ms = due_ms

    if due_ms <= state.now:
        make_ready(state, run)
        return

    _uproot(state, run)
    _set_status(state, run, status)
    first = state.due.first()
    state.due.put(run.id, due_ms)

    if first is None or due_ms < first[0]:
        state.sooner = run.new.queue


def move_expiry(state: State, run: Run) -> None:
    """Count the expiry of a run that has not been started from its due time, after that was moved."""
    if run.new.expires_ms and not run.started_ms:
        run.expires_at_ms = min(filter(None, (run.new.expires_at_ms, run.due_ms + run.new.expires_ms)))
        state.expiries.put(run.id, run.expires_at_ms)


def make_waiting(state: State, run: Run, entry: Entry) -> None:
    """Let a run wait for the entry's live ones."""
    _set_status(state, run, "waiting")
    entry.waiting[run.id] = None


def start(state: State, run: Run, node: Node, token: int) -> None:
    """Give a ready run to a node."""
    _uproot(state, run)
    _set_status(state, run, "running")
    state.expiries.discard(run.id)
    run.holder = node
    run.token = token
    run.attempt += 1
    run.started_ms = state.now
    run.progress, run.progress_message = -1.0, ""
    node.runs[run.id] = None
    state.running_of[run.new.job] += 1
    state.freed[run.new.job] -= 1


def return_run(state: State, run: Run) -> None:
    """Take a running run back, its attempt refunded: to the front of its queue, unless it was asked to cancel."""
    if run.cancel_requested:
        finish(state, run, "cancelled")
        return

    run.attempt -= 1
    make_ready(state, run, front=True)


def cancel(state: State, run: Run) -> None:
    """Cancel a run that is not final; one that is running is only asked to."""
    if run.status != "running":
        finish(state, run, "cancelled")
        return

    run.cancel_requested = True

    if run.holder is not None:
        run.holder.cancels[run.id] = None
        state.hints.append((run.holder.info.id, Hint("cancel", run.id)))


def find(state: State, run_id: str) -> Run | None:
    """A run that is still stored. One that should have been started by now has expired, whoever asks first."""
    if (run := state.find(run_id)) is None:
        return None

    if (until := state.expiries.rank(run_id)) is not None and until <= state.now:
        finish(state, run, "expired")

    return run


def holder_of(state: State, key: str) -> str | None:
    """The live run that goes by a key."""
    if (run_id := state.keys.get(key)) is not None:
        find(state, run_id)

    return state.keys.get(key)


def finish(state: State, run: Run, status: str, ttl_ms: int | None = None) -> None:
    """End a run, with all that hangs on it: its key, its slot, who watches, what waits."""
    _uproot(state, run)
    _set_status(state, run, status)
    run.finished_ms = state.now
    state.ended[status] += 1
    state.expiries.discard(run.id)
    state.fade(FORGOTTEN_FOR_EACH)
    state.fading.put(run.id, state.now + max(run.new.ttl_ms if ttl_ms is None else ttl_ms, SHORTEST_TTL_MS))

    if run.key:
        del state.keys[run.key]

    state.hints.extend((inbox, Hint("done", run.id)) for inbox in run.watchers)
    run.watchers.clear()

    if (entry := state.entries.get(run.new.entry_id)) is not None:
        _tell(state, entry, run)


def add_error(run: Run, error: str) -> None:
    """Append what was said of an attempt."""
    if error:
        run.errors.append(error)
        del run.errors[:-MOST_ERRORS]


def _tell(state: State, entry: Entry, ended: Run) -> None:
    """Do for an entry what follows from the end of one of its runs."""
    entry.note_run(ended.id, ended.status)

    if entry.completion is not None and entry.completion[0] == ended.id:
        cursors.activate(state, entry, state.now + max(entry.completion[1], 1))

    if ended.id in entry.live:
        del entry.live[ended.id]

        if not entry.live and entry.waiting:
            released = state.runs[next(iter(entry.waiting))]
            make_ready(state, released)
            entry.live[released.id] = None


def _set_status(state: State, run: Run, status: str) -> None:
    if run.status:
        state.listed[run.status].discard(run.id)

    run.status = status
    state.listed[status].add(run.id, state.next_stamp())


def _uproot(state: State, run: Run) -> None:
    """Take a run out of the place that its status gives it."""
    match run.status:
        case "ready" if run.set_aside:
            aside.end(state, run)

        case "ready":
            state.queue(run.new.queue).ready.discard(run.id)

        case "scheduled" | "retrying":
            state.due.discard(run.id)

        case "waiting":
            if (entry := state.entries.get(run.new.entry_id)) is not None:
                entry.waiting.pop(run.id, None)

        case "running":
            _take_away(state, run)

        case _:
            state.fading.discard(run.id)


def _take_away(state: State, run: Run) -> None:
    job, holder = run.new.job, run.holder
    run.holder, run.cancel_requested = None, False
    state.freed[job] += 1
    state.running_of[job] -= 1

    if not state.running_of[job]:
        del state.running_of[job]

    if holder is not None:
        holder.runs.pop(run.id, None)
        holder.cancels.pop(run.id, None)
