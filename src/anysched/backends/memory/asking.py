"""What is asked of runs from outside: to be stored, found, watched, cancelled, moved in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anysched.backends.memory import handing, moves, nodes
from anysched.backends.memory.state import State
from anysched.backends.records import KEY_TAKEN, CancelAnswer, Enqueued, NewRun, RunRecord
from anysched.run import FINAL

__all__ = ["cancel", "enqueue", "find_key", "get_runs", "reschedule", "revive", "watch"]


def enqueue(state: State, runs: Sequence[NewRun], hears: Callable[[str], bool]) -> list[Enqueued]:
    """Store runs that are not stored yet and whose key is free. ``hears``: whether anybody listens to an inbox."""
    state.fade(nodes.MOST_FORGOTTEN)
    alone = len(runs) == 1
    return [_enqueue(state, new, hears if alone else _nobody) for new in runs]


def _nobody(inbox: str) -> bool:
    return False


def _enqueue(state: State, new: NewRun, hears: Callable[[str], bool]) -> Enqueued:
    if state.find(new.id) is not None:
        return Enqueued(new.id, created=False)

    if new.key and (holder := moves.holder_of(state, new.key)) is not None:
        return Enqueued(holder, created=False)

    run = moves.store(state, new)

    if not handing.hand_over(state, run, hears):
        moves.enter(state, run)

    return Enqueued(new.id, created=True)


def get_runs(state: State, run_ids: Sequence[str]) -> list[RunRecord | None]:
    """The records of runs."""
    found = [moves.find(state, run_id) for run_id in run_ids]
    return [run and run.record() for run in found]


def find_key(state: State, key: str) -> str | None:
    """The live run of that key."""
    return moves.holder_of(state, key)


def watch(state: State, run_id: str, inbox: str) -> RunRecord | None:
    """A run's record; the inbox is told of its end."""
    if (run := moves.find(state, run_id)) is None:
        return None

    if run.status not in FINAL:
        run.watchers[inbox] = None

    return run.record()


def cancel(state: State, run_id: str) -> CancelAnswer | None:
    """Cancel a run, or ask it to stop."""
    if (run := state.find(run_id)) is None:
        return None

    if run.status not in FINAL:
        moves.cancel(state, run)

    return CancelAnswer(run.status, run.cancel_requested or run.status == "cancelled")


def revive(state: State, run_id: str) -> str | None:
    """Make a failed run ready again, unless its key is taken."""
    if (run := state.find(run_id)) is None or run.status != "failed":
        return run and run.status

    if run.key:
        if moves.holder_of(state, run.key) is not None:
            return KEY_TAKEN

        state.keys[run.key] = run_id

    run.attempt, run.crashed_ms, run.finished_ms = 0, [], 0
    moves.make_ready(state, run)

    if (entry := state.entries.get(run.new.entry_id)) is not None:
        entry.live[run_id] = None
        entry.note_run(run_id, "live")

    return "failed"


def reschedule(state: State, run_id: str, at_ms: int | None, delay_ms: int | None) -> str | None:
    """Move a run to another due time."""
    if (run := state.find(run_id)) is None:
        return None

    before = run.status
    due_ms = state.now + (delay_ms or 0) if at_ms is None else at_ms

    if before in {"scheduled", "retrying"}:
        moves.postpone(state, run, before, due_ms)

    elif before == "ready" and due_ms > state.now:
        moves.postpone(state, run, "scheduled", due_ms)

    elif before == "ready":
        run.due_ms = due_ms

    if before in {"scheduled", "retrying", "ready"}:
        moves.move_expiry(state, run)

    return before
