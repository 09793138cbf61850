"""When entries fire next: the one place that changes an entry's status and its cursor, which go together."""

from __future__ import annotations

from anysched.backends.memory.state import Entry, State
from anysched.backends.records import Hint

__all__ = ["activate", "add", "discard", "halt", "suspend"]


def add(state: State, entry: Entry, next_ms: int) -> None:
    """Count in a new entry, active from ``next_ms``; 0: finished."""
    state.active_entries += 1
    activate(state, entry, next_ms)


def activate(state: State, entry: Entry, next_ms: int) -> None:
    """Let an entry fire at ``next_ms``, whatever it did before; 0: it has finished."""
    entry.completion = None
    entry.retired_ms = 0

    if next_ms <= 0:
        halt(state, entry, "finished")
        return

    _set_status(state, entry, "active")
    entry.next_ms = next_ms
    first = state.cursors.first()
    state.cursors.put(entry.id, next_ms)

    if first is None or next_ms < first[0]:
        state.hints.append((None, Hint("entries")))


def suspend(state: State, entry: Entry, run_id: str, after_ms: int) -> None:
    """Leave an entry active, its next time to be set when that run ends."""
    entry.completion = (run_id, after_ms)
    entry.next_ms = 0
    state.cursors.discard(entry.id)


def halt(state: State, entry: Entry, status: str) -> None:
    """Stop an entry: ``paused``, which keeps its next time, or ``finished``."""
    state.cursors.discard(entry.id)
    entry.completion = None
    _set_status(state, entry, status)

    if status == "finished":
        entry.next_ms = 0


def discard(state: State, entry: Entry) -> None:
    """Count an entry out that is being removed."""
    halt(state, entry, "finished")


def _set_status(state: State, entry: Entry, status: str) -> None:
    state.active_entries += (status == "active") - (entry.status == "active")
    entry.status = status
