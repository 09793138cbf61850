"""anysched: scheduling and background jobs for AnyIO programs, under asyncio or Trio, in memory or on Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysched.backends import Backend
from anysched.blueprint import Blueprint
from anysched.clock import Clock
from anysched.codec import Codec, JsonCodec
from anysched.config import ErrorContext, SchedulerConfig
from anysched.context import RunContext, current_run
from anysched.entry import Entry, EntryPolicy, EntryRun, EntryStatus
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
    InternalError,
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
    RunExpired,
    RunFailed,
    RunNotFound,
    ServerTooOld,
    StaleLease,
    UnknownJob,
)
from anysched.events import Event, Observer
from anysched.executor import Executor
from anysched.job import BoundJob, Job
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

__all__ = [
    "AnySchedError",
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
    "Entry",
    "EntryExists",
    "EntryNotFound",
    "EntryPolicy",
    "EntryRun",
    "EntryStatus",
    "ErrorContext",
    "Event",
    "Every",
    "Executor",
    "InternalError",
    "InvalidArguments",
    "InvalidConfig",
    "InvalidDuration",
    "InvalidOption",
    "InvalidSchedule",
    "InvalidState",
    "InvalidURL",
    "Job",
    "JobNotIncluded",
    "JsonCodec",
    "Lease",
    "Lock",
    "LockBusy",
    "LockLost",
    "LoggingObserver",
    "MemoryBackend",
    "MissingExtra",
    "NaiveDatetime",
    "NotInRun",
    "NotOpen",
    "Observer",
    "Once",
    "PayloadTooLarge",
    "RecordCorrupt",
    "RedisBackend",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunContext",
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
    "UnknownJob",
    "by_arguments",
    "current_run",
    "parse_schedule",
]


def __getattr__(name: str) -> Any:
    # A program uses one backend, and what Redis needs may not be installed.
    if name == "MemoryBackend":
        from anysched.backends.memory import MemoryBackend

        return MemoryBackend

    if name == "LoggingObserver":
        from anysched.observability import LoggingObserver

        return LoggingObserver

    if name == "RedisBackend":
        from anysched.backends.redis import RedisBackend

        return RedisBackend

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
