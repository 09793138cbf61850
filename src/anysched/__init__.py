"""anysched: scheduling and background jobs for AnyIO programs, under asyncio or Trio, in memory or on Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysched.backends import Backend, NodeRecord, QueueRecord, Totals
from anysched.blueprint import Blueprint
from anysched.clock import Clock
from anysched.codec import Codec, JsonCodec
from anysched.config import ErrorContext, ErrorHandler, SchedulerConfig
from anysched.context import RunContext, current_run
from anysched.durations import Duration
from anysched.entry import Entry, EntryPolicy, EntryRun, EntryStatus, Misfire, Overlap
from anysched.errors import (
    AnySchedError,
    AttemptTimeout,
    BackendError,
    BackendRefused,
    BackendUnavailable,
    CannotDecode,
    CannotEncode,
    DeadlinePassed,
    DuplicateJob,
    EntryExists,
    EntryNotFound,
    InvalidArguments,
    InvalidConfig,
    InvalidDuration,
    InvalidOption,
    InvalidSchedule,
    InvalidState,
    InvalidURL,
    JobNotIncluded,
    LockBusy,
    LockLost,
    MissingExtra,
    NaiveDatetime,
    NotInRun,
    NotOpen,
    PayloadTooLarge,
    RecordCorrupt,
    RunCancelled,
    RunExists,
    RunExpired,
    RunFailed,
    RunNotFound,
    ServerTooOld,
    StaleLease,
    UnknownJob,
    WorkerLost,
)
from anysched.events import Event, Observer
from anysched.executor import Executor, ExecutorStatistics
from anysched.job import AsyncJob, BoundJob, Job, JobWithOptions, PlainJob
from anysched.lock import Lease, Lock
from anysched.options import by_arguments
from anysched.retry import DoNotRetry, RetryAfter, RetryPolicy, Snooze
from anysched.run import Attempt, AttemptError, RunInfo, RunStatus
from anysched.run_handle import Run
from anysched.scheduler import Scheduler, SchedulerStatistics
from anysched.schedules import Cron, Every, Once, Schedule, parse_schedule

if TYPE_CHECKING:
    from anysched.backends.memory import MemoryBackend
    from anysched.backends.redis import RedisBackend
    from anysched.observability import LoggingObserver

    __version__: str

__all__ = [
    "AnySchedError",
    "AsyncJob",
    "Attempt",
    "AttemptError",
    "AttemptTimeout",
    "Backend",
    "BackendError",
    "BackendRefused",
    "BackendUnavailable",
    "Blueprint",
    "BoundJob",
    "CannotDecode",
    "CannotEncode",
    "Clock",
    "Codec",
    "Cron",
    "DeadlinePassed",
    "DoNotRetry",
    "DuplicateJob",
    "Duration",
    "Entry",
    "EntryExists",
    "EntryNotFound",
    "EntryPolicy",
    "EntryRun",
    "EntryStatus",
    "ErrorContext",
    "ErrorHandler",
    "Event",
    "Every",
    "Executor",
    "ExecutorStatistics",
    "InvalidArguments",
    "InvalidConfig",
    "InvalidDuration",
    "InvalidOption",
    "InvalidSchedule",
    "InvalidState",
    "InvalidURL",
    "Job",
    "JobNotIncluded",
    "JobWithOptions",
    "JsonCodec",
    "Lease",
    "Lock",
    "LockBusy",
    "LockLost",
    "LoggingObserver",
    "MemoryBackend",
    "Misfire",
    "MissingExtra",
    "NaiveDatetime",
    "NodeRecord",
    "NotInRun",
    "NotOpen",
    "Observer",
    "Once",
    "Overlap",
    "PayloadTooLarge",
    "PlainJob",
    "QueueRecord",
    "RecordCorrupt",
    "RedisBackend",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunContext",
    "RunExists",
    "RunExpired",
    "RunFailed",
    "RunInfo",
    "RunNotFound",
    "RunStatus",
    "Schedule",
    "Scheduler",
    "SchedulerConfig",
    "SchedulerStatistics",
    "ServerTooOld",
    "Snooze",
    "StaleLease",
    "Totals",
    "UnknownJob",
    "WorkerLost",
    "by_arguments",
    "current_run",
    "parse_schedule",
]


_LATER = {
    "LoggingObserver": "anysched.observability",
    "MemoryBackend": "anysched.backends.memory",
    "RedisBackend": "anysched.backends.redis",
}
"""What is imported when it is asked for: a program uses one backend, and what Redis needs may not be installed."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)

    if name == "__version__":
        # It takes as long to find as a good part of the import.
        from importlib.metadata import version

        return version("anysched")

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "__version__"})
