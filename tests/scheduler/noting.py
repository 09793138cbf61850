"""What tests of entries look at: when a job began, in seconds since the start, and which fires were told as missed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from anysched.clock import now
from anysched.events import Event, FiresMissed

__all__ = ["START", "Recorder", "at", "noting", "since_start"]

START = datetime(2026, 1, 1, tzinfo=UTC)


class Recorder:
    """An observer of missed fires."""

    def __init__(self) -> None:
        self.missed: list[tuple[str, int]] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, FiresMissed):
            self.missed.append((event.entry_id, event.count))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def since_start() -> float:
    return (now() - START).total_seconds()


def noting(begun: list[float], seconds: float = 0) -> Callable[[], Any]:
    """A function for a job, which takes so long."""

    async def note() -> None:
        begun.append(since_start())
        await anyio.sleep(seconds)

    return note
