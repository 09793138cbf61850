"""Events in words, for people who look at the demo."""

from __future__ import annotations

from typing import Final

from anysched.durations import format_duration
from anysched.events import (
    AttemptFailed,
    EntryFired,
    Event,
    RunEnqueued,
    RunGaveUp,
    RunStarted,
    RunSucceeded,
    RunWasCancelled,
)

__all__ = ["line_of"]


def line_of(event: Event) -> tuple[str, str] | None:
    """A word for the colour of an event, and its words; ``None`` if it is not worth a line."""
    kind = type(event)
    return (_KINDS[kind], _words(event)) if kind in _KINDS else None


_KINDS: Final[dict[type[Event], str]] = {
    EntryFired: "fired",
    RunEnqueued: "enqueued",
    RunStarted: "running",
    RunSucceeded: "succeeded",
    AttemptFailed: "retrying",
    RunGaveUp: "failed",
    RunWasCancelled: "cancelled",
}


def _words(event: Event) -> str:
    text = ""

    match event:
        case EntryFired(entry_id=entry, run_id=run_id):
            text = f"{entry} fires: {_short(run_id)}"

        case RunEnqueued(job=job, run_id=run_id):
            text = f"{job} enqueued: {_short(run_id)}"

        case RunStarted(job=job, attempt=attempt):
            text = f"{job} tries again, attempt {attempt}" if attempt > 1 else f"{job} starts"

        case RunSucceeded(job=job, duration=duration):
            text = f"{job} succeeded in {duration.total_seconds():.2f} s"

        case AttemptFailed(job=job, error=error, retry_in=retry_in):
            text = f"{job} failed ({error}); again in {format_duration(retry_in)}"

        case RunGaveUp(job=job, error=error):
            text = f"{job} failed for good ({error.message or error.type})"

        case RunWasCancelled(job=job):
            text = f"{job} cancelled while running"

        case _:
            pass

    return text


def _short(run_id: str) -> str:
    return f"…{run_id[-6:]}"
