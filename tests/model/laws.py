"""The invariants: what holds of a backend at every instant, whatever was done to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from anysched.run import FINAL

from .pictures import Picture

if TYPE_CHECKING:
    from .twins import Shown

__all__ = ["check_laws"]

PLACES = {"scheduled": "due", "retrying": "due", "ready": "queue", "waiting": "entry", "running": "node"}


def check_laws(before: Shown | None, shown: Shown, picture: Picture, now: int) -> None:
    """Everything that can be seen from one instant, or from it and the one before."""
    runs_are_in_one_place(shown, picture)
    keys_are_exact(shown, picture)
    totals_are_counts(shown, picture)
    entries_are_sound(shown, picture, now)

    if before is not None:
        final_stays_final(before, shown)
        counts_only_grow(before, shown)


def runs_are_in_one_place(shown: Shown, picture: Picture) -> None:
    """Each live run is exactly where its status says, and running is the same as held."""
    found: Counter[tuple[str, str]] = Counter()
    found.update((name, "queue") for ids in (*picture.ready.values(), *picture.aside.values()) for name in ids)
    found.update((name, "due") for name in picture.due)
    found.update((name, "entry") for ids in picture.waiting_of.values() for name in ids)
    found.update((name, "node") for ids in picture.held.values() for name in ids)
    live = {name: run for name, run in shown.runs.items() if run.status not in FINAL}
    assert dict(found) == {(name, PLACES[run.status]): 1 for name, run in live.items()}
    assert {name: [node] for node, ids in picture.held.items() for name in ids} == {
        name: [run.node] for name, run in live.items() if run.status == "running"
    }
    assert all(not run.node for run in shown.runs.values() if run.status != "running")
    assert set(picture.held) <= {*picture.leases, *picture.lost}
    assert Counter(run.job for run in live.values() if run.status == "running") == Counter(picture.slots)
    assert {name for name, run in live.items() if run.expires_at_ms and not run.started_ms} == set(picture.expiring)
    assert all(run.attempt >= 0 for run in shown.runs.values())


def keys_are_exact(shown: Shown, picture: Picture) -> None:
    """A key leads to the one live run that has it, and to nothing else."""
    live = {run.key: name for name, run in shown.runs.items() if run.key and run.status not in FINAL}
    assert live == picture.keys
    assert live == {key: name for key, name in shown.found.items() if name is not None}


def totals_are_counts(shown: Shown, picture: Picture) -> None:
    """What is kept up to date is what would be counted."""
    count = Counter(run.status for run in shown.runs.values())
    totals = shown.totals
    assert (count["ready"], count["running"], count["waiting"]) == (totals.ready, totals.running, totals.waiting)
    assert count["scheduled"] + count["retrying"] == totals.scheduled
    assert count["failed"] == totals.failed_kept == len(picture.failed)
    assert sum(bool(run.set_aside) for run in shown.runs.values()) == totals.set_aside
    assert 0 == totals.corrupt
    assert len(shown.entries) == totals.entries
    assert sum(entry.status == "active" for entry in shown.entries.values()) == totals.active_entries


def entries_are_sound(shown: Shown, picture: Picture, now: int) -> None:
    """Nothing waits while nothing is live, and cursors are those of active entries."""
    for name, entry in shown.entries.items():
        assert entry.live or not entry.waiting
        assert [*entry.live] == picture.live_of.get(name, [])
        assert all(shown.runs[run_id].status not in {*FINAL, "waiting"} for run_id in entry.live)
        assert (name in picture.cursors) == (entry.status == "active" and entry.next_ms > 0)
        assert (name in picture.awaiting) <= (entry.status == "active" and entry.next_ms == 0)
        assert entry.status != "finished" or entry.next_ms == 0

    assert set(picture.live_of) <= set(shown.entries)
    assert all(until > now for until, _ in picture.programs.values())


def final_stays_final(before: Shown, shown: Shown) -> None:
    """But for a failed one that is revived."""
    for name, was in before.runs.items():
        run = shown.runs.get(name)

        if was.status in FINAL and run is not None and run.enqueued_ms == was.enqueued_ms:
            revived = was.status == "failed" and run.status == "ready"
            assert run.status == was.status or revived

        if run is not None and run.enqueued_ms == was.enqueued_ms:
            assert run.token >= was.token


def counts_only_grow(before: Shown, shown: Shown) -> None:
    """Of the ended, and of fires."""
    for name in ("succeeded", "failed", "cancelled", "expired"):
        assert getattr(before.totals, name) <= getattr(shown.totals, name)
