"""Events as lines in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from anysched.durations import format_duration
from anysched.events import (
    AttemptFailed,
    BackendFound,
    BackendLost,
    BecameLeader,
    CancellationSwallowed,
    EntryFired,
    EntryRetired,
    Event,
    FireSkipped,
    FiresMissed,
    LeaseWasLost,
    NodeJoined,
    NodeLeft,
    NodeWasLost,
    RecordSetAside,
    RunEnqueued,
    RunGaveUp,
    RunHandedBack,
    RunsExpired,
    RunSnoozed,
    RunStarted,
    RunSucceeded,
    RunWasCancelled,
    StoppedLeading,
)
from anysched.run import AttemptError

__all__ = ["LoggingObserver"]

_RUN: Final = "run {run_id} of job {job}"

_LINES: Final[Mapping[type[Event], tuple[int, str]]] = {
    RunEnqueued: (logging.DEBUG, f"{_RUN} was enqueued (new: {{created}})"),
    RunStarted: (logging.DEBUG, f"{_RUN} starts, attempt {{attempt}}"),
    RunSucceeded: (logging.INFO, f"{_RUN} succeeded at attempt {{attempt}} in {{duration}}"),
    AttemptFailed: (logging.WARNING, f"{_RUN} failed at attempt {{attempt}}, again in {{retry_in}}: {{error}}"),
    RunGaveUp: (logging.ERROR, f"{_RUN} failed for good at attempt {{attempt}}: {{error}}"),
    RunSnoozed: (logging.INFO, f"{_RUN} is snoozed for {{delay}}"),
    RunWasCancelled: (logging.INFO, f"{_RUN} was cancelled during attempt {{attempt}}"),
    RunHandedBack: (logging.INFO, f"{_RUN} is handed back, attempt {{attempt}} does not count"),
    CancellationSwallowed: (logging.WARNING, f"{_RUN} was cancelled during attempt {{attempt}} and swallowed that"),
    RunsExpired: (logging.WARNING, "{count} runs expired before they were started"),
    EntryFired: (logging.INFO, "entry {entry_id} fired for {scheduled_for}: run {run_id}"),
    FiresMissed: (logging.WARNING, "entry {entry_id} missed {count} fires"),
    FireSkipped: (logging.INFO, "entry {entry_id} skipped {count} fires, since a run of it is live"),
    EntryRetired: (logging.INFO, "entry {entry_id} is no longer declared and has stopped"),
    NodeJoined: (logging.INFO, "node {node} joined"),
    NodeLeft: (logging.INFO, "node {node} left"),
    NodeWasLost: (logging.WARNING, "node {node} was lost, its runs go to others"),
    LeaseWasLost: (logging.ERROR, "node {node} lost its lease: {reason}"),
    BecameLeader: (logging.INFO, "node {node} leads"),
    StoppedLeading: (logging.INFO, "node {node} no longer leads"),
    RecordSetAside: (logging.ERROR, "{record} cannot be read and was set aside: {reason}"),
    BackendLost: (logging.ERROR, "the backend does not answer: {reason}"),
    BackendFound: (logging.INFO, "the backend answers again"),
}


class LoggingObserver:
    """An observer that logs each event on one line, with the record itself as the attribute ``event``.

    A line that nobody will read is not made.

    Args:
        logger: where to; default: the logger ``anysched``.
        levels: other levels for some kinds of events.
    """

    def __init__(
        self, logger: logging.Logger | None = None, *, levels: Mapping[type[Event], int] | None = None
    ) -> None:
        self.logger: logging.Logger = logging.getLogger("anysched") if logger is None else logger
        self.levels: dict[type[Event], int] = {kind: level for kind, (level, _) in _LINES.items()} | dict(levels or {})

    def on_event(self, event: Event) -> None:
        """Log it."""
        kind = type(event)
        level = self.levels.get(kind, logging.INFO)

        if self.logger.isEnabledFor(level):
            _, line = _LINES.get(kind, (level, kind.__name__))
            self.logger.log(level, "%s", _Line(line, event), extra={"event": event})


class _Line:
    """A line that is put together when a handler asks for it."""

    def __init__(self, line: str, event: Event) -> None:
        self._line = line
        self._event = event

    def __str__(self) -> str:
        values = msgspec.structs.asdict(self._event)
        return self._line.format_map({name: _shown(value) for name, value in values.items()})


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)

    if isinstance(value, datetime):
        return value.isoformat()

    # One event is one line, whatever an exception says.
    text = f"{value.type.removeprefix('builtins.')}: {value.message}" if isinstance(value, AttemptError) else str(value)
    return text.strip().replace("\n", "\\n").replace("\r", "\\r")
