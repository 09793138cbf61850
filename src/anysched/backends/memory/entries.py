"""Entries as they are kept: stored, declared, paused, removed, and looked at when they are due."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from anysched.backends.memory import cursors, moves
from anysched.backends.memory.reading import entry_record
from anysched.backends.memory.state import Entry, Program, State
from anysched.backends.records import RETIRED, DueEntry, EntryRecord, EntryWrite

__all__ = ["declare", "get", "look", "pause", "put", "remove", "resume"]

MOST_RETIRED = 100


def put(state: State, write: EntryWrite, *, replace: bool, nonce: str) -> bool:
    """Store an entry, or replace its rule."""
    if state.recall(f"put:{nonce}") is not None:
        return True

    if (entry := state.entries.get(write.id)) is None:
        _add(state, write)

    elif not replace:
        return False

    elif entry.revision != write.revision:
        _change(state, entry, write)

    else:
        entry.declared = write.declared

        if entry.retired_ms:
            _come_back(state, entry)

    state.memorise(f"put:{nonce}", ())
    return True


def declare(state: State, program: str, writes: Sequence[EntryWrite], ttl_ms: int) -> list[str]:
    """Reconcile what a program declares with what is stored."""
    for name in [name for name, known in state.programs.items() if known.expires_ms <= state.now]:
        del state.programs[name]

    state.programs[program] = Program(frozenset(write.id for write in writes), ttl_ms, state.now + ttl_ms)
    return [_declare(state, write) for write in writes]


def _declare(state: State, write: EntryWrite) -> str:
    entry = state.entries.get(write.id)

    if entry is None:
        _add(state, write).declared = True
        return "added"

    if not entry.declared:
        return "foreign"

    if entry.revision != write.revision:
        _change(state, entry, write)
        entry.declared = True
        return "moved"

    if not entry.retired_ms:
        return "kept"

    _come_back(state, entry)
    return "added"


def _add(state: State, write: EntryWrite) -> Entry:
    entry = state.entries[write.id] = Entry(write.id, write.spec, write.revision, write.declared)
    entry.missed_count = write.missed
    insort(state.entry_ids, write.id)
    cursors.add(state, entry, write.next_ms)
    return entry


def _come_back(state: State, entry: Entry) -> None:
    """Go on from where a retired entry stopped."""
    entry.note = ""
    cursors.activate(state, entry, entry.retired_ms)


def _change(state: State, entry: Entry, write: EntryWrite) -> None:
    was_due = entry.retired_ms > 0 or _is_due(state, entry)
    entry.take(write)
    entry.missed_count += write.missed + was_due

    if entry.status == "paused":
        entry.next_ms = write.next_ms
        return

    is_used_up = bool(write.limit) and entry.run_count >= write.limit
    entry.note = ""
    cursors.activate(state, entry, 0 if is_used_up else write.next_ms)


def get(state: State, entry_id: str) -> EntryRecord | None:
    """One entry."""
    entry = state.entries.get(entry_id)
    return entry and entry_record(entry)


def pause(state: State, entry_id: str, note: str) -> bool:
    """Stop an entry from firing."""
    if (entry := state.entries.get(entry_id)) is None:
        return False

    if entry.status == "finished":
        return True

    entry.note = note

    if entry.status == "active":
        entry.missed_count += _is_due(state, entry)
        cursors.halt(state, entry, "paused")

    return True


def resume(state: State, entry_id: str, revision: str, next_ms: int | None) -> bool:
    """Let a paused entry fire again."""
    entry = state.entries.get(entry_id)

    if entry is None or entry.revision != revision:
        return False

    if entry.status == "paused":
        entry.note = ""
        cursors.activate(state, entry, next_ms or 0)

    return True


def remove(state: State, entry_id: str) -> bool:
    """Remove an entry; what waits in it is cancelled."""
    if (entry := state.entries.pop(entry_id, None)) is None:
        return False

    del state.entry_ids[bisect_left(state.entry_ids, entry_id)]
    cursors.discard(state, entry)

    for run_id in entry.waiting:
        moves.finish(state, state.runs[run_id], "cancelled")

    return True


def look(state: State, count: int, skip: int) -> tuple[list[DueEntry], list[str], int]:
    """The entries that are due, those that were retired instead, and when the next one is due after these."""
    due: list[DueEntry] = []
    retired: list[str] = []

    for _ in range(MOST_RETIRED):
        found = [item for item in state.cursors.lowest(skip + count)[skip:] if item[0] <= state.now]
        lapsed = [name for _, name in found if _is_lapsed(state, state.entries[name])]

        for name in lapsed[: MOST_RETIRED - len(retired)]:
            _retire(state, state.entries[name])
            retired.append(name)

        if not lapsed or len(retired) >= MOST_RETIRED:
            break

    following = state.cursors.lowest(skip + count + 1)[skip:]

    for cursor_ms, name in following[:count]:
        entry = state.entries[name]

        if cursor_ms > state.now:
            break

        if not _is_lapsed(state, entry):
            due.append(
                DueEntry(
                    id=name,
                    spec=entry.spec,
                    revision=entry.revision,
                    cursor_ms=cursor_ms,
                    run_count=entry.run_count,
                )
            )

    later = following[len(due)][0] if len(following) > len(due) else 0
    return due, retired, later


def _is_due(state: State, entry: Entry) -> bool:
    return entry.status == "active" and 0 < entry.next_ms <= state.now


def _is_lapsed(state: State, entry: Entry) -> bool:
    """Whether a declared entry is declared by no program that still runs."""
    return entry.declared and not any(
        entry.id in program.ids and program.expires_ms > state.now for program in state.programs.values()
    )


def _retire(state: State, entry: Entry) -> None:
    cursor_ms = entry.next_ms
    cursors.halt(state, entry, "finished")
    entry.retired_ms, entry.note = cursor_ms, RETIRED
