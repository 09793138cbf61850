"""Events in words, for people who look at the demo."""

from __future__ import annotations

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
    match event:
        case EntryFired(entry_id=entry, run_id=run_id):
            return "fired", f"{entry} fires: {_short(run_id)}"

        case RunEnqueued(job=job, run_id=run_id):
            return "enqueued", f"{job} enqueued: {_short(run_id)}"

        case RunStarted(job=job, attempt=attempt) if attempt > 1:
            return "running", f"{job} tries again, attempt {attempt}"

        case RunStarted(job=job):
            return "running", f"{job} starts"

        case RunSucceeded(job=job, duration=duration):
            return "succeeded", f"{job} succeeded in {duration.total_seconds():.2f} s"

        case AttemptFailed(job=job, error=error, retry_in=retry_in):
            return "retrying", f"{job} failed ({error}); again in {format_duration(retry_in)}"

        case RunGaveUp(job=job, error=error):
            return "failed", f"{job} failed for good ({error.message or error.type})"

        case RunWasCancelled(job=job):
            return "cancelled", f"{job} cancelled while running"

        case _:
            return None


def _short(run_id: str) -> str:
    return f"…{run_id[-6:]}"
