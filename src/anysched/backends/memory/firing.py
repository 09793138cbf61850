"""Entries whose time has come: the cursor is compared and advanced, and runs are made as the overlap policy says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from msgspec.structs import replace

from anysched.backends.memory import cursors, moves
from anysched.backends.memory.entries import look
from anysched.backends.memory.state import Entry, State
from anysched.backends.records import MOST_WAITING, Fire, FireAnswer, NewRun, TickReply
from anysched.run import FINAL

__all__ = ["tick", "trigger"]

MOST_CANCELLED = 1_000


def tick(state: State, nonce: str, fires: Sequence[Fire], count: int, skip: int) -> TickReply:
    """Fire entries, and look which are due next."""
    if (fired := state.recall(f"tick:{nonce}")) is None:
        fired = state.memorise(f"tick:{nonce}", tuple([_fire(state, fire) for fire in fires]))

    due, retired, next_due_ms = look(state, max(count, 0), max(skip, 0))

    return TickReply(now_ms=state.now, fired=fired, due=tuple(due), next_due_ms=next_due_ms, retired=tuple(retired))


def trigger(state: State, entry_id: str, new: NewRun, overlap: str) -> FireAnswer | None:
    """Make a run of an entry apart from its schedule."""
    if (entry := state.entries.get(entry_id)) is None:
        return None

    if state.find(new.id) is not None:
        return FireAnswer(done=True, made=1)

    if not _make(state, entry, new, overlap):
        return FireAnswer(done=True, skipped=1)

    _remember(entry, new, new.scheduled_for_ms or state.now)
    return FireAnswer(done=True, made=1)


def _fire(state: State, fire: Fire) -> FireAnswer:
    entry = state.entries.get(fire.entry_id)

    if (
        entry is None
        or entry.status != "active"
        or entry.revision != fire.revision
        or entry.next_ms != fire.cursor_ms
        or not fire.cursor_ms
    ):
        return FireAnswer(done=False)

    entry.missed_count += fire.missed
    _advance(state, entry, fire)
    return _make_all(state, entry, fire)


def _advance(state: State, entry: Entry, fire: Fire) -> None:
    if fire.next_ms:
        cursors.activate(state, entry, fire.next_ms)

    elif fire.end == "completion":
        cursors.suspend(state, entry, "", 0)

    else:
        cursors.halt(state, entry, "finished")


def _make_all(state: State, entry: Entry, fire: Fire) -> FireAnswer:
    made = skipped = 0
    last_id = ""

    for new in fire.runs:
        if fire.limit and entry.run_count >= fire.limit:
            skipped += 1

        elif state.find(new.id) is not None:
            last_id = new.id

        elif _make(state, entry, new, fire.overlap):
            made += 1
            last_id = new.id
            entry.run_count += 1
            entry.last_ms = new.scheduled_for_ms or fire.cursor_ms
            _remember(entry, new, entry.last_ms)

        else:
            skipped += 1
            entry.overlap_skipped += 1

    if fire.limit and entry.run_count >= fire.limit:
        cursors.halt(state, entry, "finished")

    elif not fire.next_ms and fire.end == "completion":
        _await_end(state, entry, last_id, fire.after_ms)

    return FireAnswer(done=True, made=made, skipped=skipped)


def _await_end(state: State, entry: Entry, made_id: str, after_ms: int) -> None:
    run_id = made_id or next(reversed(entry.live), "")
    run = state.find(run_id)

    if run is None or run.status in FINAL:
        cursors.activate(state, entry, state.now + max(after_ms, 1))
    else:
        cursors.suspend(state, entry, run_id, after_ms)


def _remember(entry: Entry, new: NewRun, at_ms: int) -> None:
    entry.last_runs.appendleft((new.id, at_ms, "live"))


def _make(state: State, entry: Entry, new: NewRun, overlap: str) -> bool:
    """Make a run as the overlap policy wants it; ``False`` if it does not want it."""
    if new.key and moves.holder_of(state, new.key) is not None:
        return False

    if overlap == "cancel_previous":
        _cancel_previous(state, entry)

    if entry.live and not _may_join(entry, overlap):
        return False

    run = moves.store(state, new if new.entry_id == entry.id else replace(new, entry_id=entry.id))

    if entry.live and overlap != "allow":
        moves.make_waiting(state, run, entry)
    else:
        entry.live[new.id] = None
        moves.enter(state, run)

    return True


def _may_join(entry: Entry, overlap: str) -> bool:
    match overlap:
        case "allow" | "cancel_previous":
            return True

        case "queue_one":
            return not entry.waiting

        case "queue_all":
            return len(entry.waiting) < MOST_WAITING

        case _:
            return False


def _cancel_previous(state: State, entry: Entry) -> None:
    for run_id in list(entry.waiting):
        moves.finish(state, state.runs[run_id], "cancelled")

    for run_id in list(islice(entry.live, MOST_CANCELLED)):
        moves.cancel(state, state.runs[run_id])
