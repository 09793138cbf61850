"""Nothing breaks down, and who is stopped stops in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ..history import Happened, History

__all__ = ["check_machines"]

_SLACK = 8.0
"""Seconds that the clean-up of handlers, the last settling and the closing may take together."""


def check_machines(history: History, lease: timedelta) -> Iterator[str]:
    """Errors that left a scheduler, and stops that took too long.

    Args:
        history: what happened.
        lease: of the nodes; the grace of a graceful stop is twice that.
    """
    for note in history.happened("broke down"):
        last = str(note.detail).strip().splitlines()[-1]
        yield f"{note.machine}: an error left the scheduler: {last}"

    for note in history.happened("spins"):
        yield f"{note.machine}: asks for {note.detail} again and again without a pause"

    for note in history.happened("never ended"):
        yield f"{note.machine}: did not end, though it was stopped"

    for stop in history.happened("stopping"):
        allowed = _SLACK + (0 if stop.detail["at_once"] else 2 * lease.total_seconds())
        took = _seconds_to_end(history, stop)

        if stop.detail["calm"] and took is not None and took > allowed:
            yield f"{stop.machine}: took {took:.1f} s to stop, and nothing was the matter"


def _seconds_to_end(history: History, stop: Happened) -> float | None:
    ends = (one.at for one in history.happened("ended") if one.machine == stop.machine and one.at >= stop.at)
    ended_at = next(ends, None)
    return None if ended_at is None else (ended_at - stop.at) / 1e6
