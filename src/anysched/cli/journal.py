"""What a running node tells, as lines on stderr."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import Any, Final

from anysched.cli.failures import CommandExited
from anysched.config import ErrorContext
from anysched.durations import format_duration
from anysched.events import (
    AttemptFailed,
    BackendLost,
    CancellationSwallowed,
    Event,
    FiresMissed,
    LeaseWasLost,
    NodeWasLost,
    RecordSetAside,
    RunEnqueued,
    RunGaveUp,
    RunsExpired,
    RunStarted,
)
from anysched.scheduler import Scheduler

__all__ = ["Journal", "attach", "set_up_logging"]

_LEVELS: Final[dict[type[Event], int]] = {
    RunEnqueued: logging.DEBUG,
    RunStarted: logging.DEBUG,
    AttemptFailed: logging.WARNING,
    RunGaveUp: logging.ERROR,
    RunsExpired: logging.WARNING,
    CancellationSwallowed: logging.WARNING,
    FiresMissed: logging.WARNING,
    NodeWasLost: logging.WARNING,
    LeaseWasLost: logging.ERROR,
    RecordSetAside: logging.ERROR,
    BackendLost: logging.ERROR,
}
"""What is not in here is ``INFO``."""

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")
_LONGEST: Final = 500


_log = logging.getLogger("anysched")


class Journal:
    """An observer that logs each event as a few words and its facts: ``run succeeded job=add attempt=1 ...``."""

    def on_event(self, event: Event) -> None:
        """Log it."""
        level = _LEVELS.get(type(event), logging.INFO)

        if _log.isEnabledFor(level):
            names = (name for name in event.__struct_fields__ if name != "at")
            said = " ".join(f"{name}={_shown(getattr(event, name))}" for name in names)
            _log.log(level, "%s %s", _CAPITAL.sub(" ", type(event).__name__).lower(), said)


def attach(scheduler: Scheduler) -> None:
    """Have a scheduler's events in the log, unless it logs them already."""
    if not any(type(observer).__name__ in ("LoggingObserver", "Journal") for observer in scheduler.observers):
        scheduler.observe(Journal(), on_error=_report)


def set_up_logging(*, verbose: bool) -> None:
    """Log to stderr, unless the application has set up logging by itself.

    What coredis reports with a traceback whenever a connection fails, the node tells in a line of its own.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    if verbose:
        _log.setLevel(logging.DEBUG)
    elif (coredis := logging.getLogger("coredis")).level == logging.NOTSET:
        coredis.setLevel(logging.CRITICAL)


def _report(error: Exception, context: ErrorContext) -> None:
    """Log an error with its traceback, unless that tells nothing beyond the event."""
    if error.__traceback__ is not None and not isinstance(error, CommandExited):
        _log.error("%s", context, exc_info=error)


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)

    if isinstance(value, datetime):
        return value.isoformat()

    # What an exception says may have many lines; a log entry has one.
    return " ".join(str(value).split())[:_LONGEST]
