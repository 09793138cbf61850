"""Every error that leaves anysched, under one base.

A name says whose fault it is; the message is made here, so that a ``raise`` elsewhere is one line. Where a
built-in exception fits, it is a parent too (``ValueError`` for a bad value, ``LookupError`` for a missing thing).
"""

from __future__ import annotations

from typing import Any

from anysched.values import shown

__all__ = [
    "AnySchedError",
    "AttemptTimeout",
    "BackendError",
    "BackendRefused",
    "BackendUnavailable",
    "CannotDecode",
    "CannotEncode",
    "DeadlinePassed",
    "DuplicateJob",
    "EntryExists",
    "EntryNotFound",
    "InvalidArguments",
    "InvalidConfig",
    "InvalidDuration",
    "InvalidOption",
    "InvalidSchedule",
    "InvalidState",
    "InvalidURL",
    "JobNotIncluded",
    "LockBusy",
    "LockLost",
    "MissingExtra",
    "NaiveDatetime",
    "NotInRun",
    "NotOpen",
    "PayloadTooLarge",
    "RecordCorrupt",
    "RunCancelled",
    "RunExists",
    "RunExpired",
    "RunFailed",
    "RunNotFound",
    "ServerTooOld",
    "StaleLease",
    "UnknownJob",
    "WorkerLost",
]


class AnySchedError(Exception):
    """The base of every error that anysched raises on purpose.

    It can be copied, and pickled on its way between processes, with its message and its attributes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the message is given to `__init__` in place of the arguments that it was made of.
        return _made_anew, (type(self), self.args), self.__dict__


def _made_anew(kind: type[AnySchedError], args: tuple[Any, ...]) -> AnySchedError:
    """An error of this kind without a call of its own ``__init__``; its attributes come after that."""
    # What is built in is also initialised by what is built in: `ImportError`, for one, keeps its message apart.
    built_in: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    error = built_in.__new__(kind, *args)
    built_in.__init__(error, *args)
    return error


def _named(name: object) -> str:
    """A name that was asked for, which may be as long as one can be; or may be anything."""
    return shown(name, longest=300)


# --- what the caller wrote -----------------------------------------------------------------------------------


class InvalidSchedule(AnySchedError, ValueError):
    """A schedule cannot be what was written.

    Args:
        field: which part of it, such as ``"minute"``, ``"tz"`` or ``"period"``.
        value: the value as it was written.
        allowed: what would be accepted, as a phrase that follows "expected".
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"invalid {field} {shown(value)}: expected {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class InvalidDuration(InvalidSchedule):
    """A length of time cannot be what was written."""


class NaiveDatetime(AnySchedError, ValueError):
    """A ``datetime`` without a time zone was given where an instant is needed."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(
            f"{name} must be an aware datetime, got the naive {shown(value)}: give it a tzinfo, such as datetime.UTC"
        )
        self.name = name
        self.value = value


class InvalidOption(AnySchedError, ValueError):
    """An option has a value that is not allowed, or does not exist.

    Args:
        name: the option's name.
        value: the value as it was given.
        allowed: what would be accepted, as a phrase that follows "expected".
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"invalid {name} {shown(value)}: expected {allowed}")
        self.name = name
        self.value = value
        self.allowed = allowed


class InvalidConfig(InvalidOption):
    """A setting, from code or from the environment, has a value that is not allowed."""


class InvalidURL(InvalidOption):
    """A backend's address cannot be understood. Credentials in it are never shown."""

    def __init__(self, shown: str, allowed: str) -> None:
        super().__init__("backend address", shown, allowed)


class InvalidArguments(AnySchedError, TypeError):
    """The arguments do not fit the job's signature."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(f"these arguments do not fit job {job!r}: {reason}")
        self.job = job


class CannotEncode(AnySchedError, TypeError):
    """A value cannot be stored: it has no form in the codec's format."""

    def __init__(self, what: str, job: str, reason: str) -> None:
        super().__init__(f"the {what} of job {job!r} cannot be encoded: {reason}")
        self.what = what
        self.job = job


class CannotDecode(AnySchedError, ValueError):
    """A stored value no longer fits the types that the job declares."""

    def __init__(self, what: str, job: str, reason: str) -> None:
        super().__init__(f"the stored {what} of job {job!r} cannot be decoded: {reason}")
        self.what = what
        self.job = job


class PayloadTooLarge(AnySchedError, ValueError):
    """Encoded arguments, metadata or a result are larger than ``max_payload`` allows."""

    def __init__(self, what: str, job: str, size: int, limit: int) -> None:
        super().__init__(f"{size} bytes are too many for the {what} of job {job!r}: max_payload is {limit}")
        self.job = job
        self.size = size
        self.limit = limit


class UnknownJob(AnySchedError, LookupError):
    """No job of that name is registered here."""

    def __init__(self, name: str, known: list[str]) -> None:
        names = ", ".join(sorted(known)[:20]) or "none"
        super().__init__(f"there is no job {_named(name)}; the jobs known here: {names}")
        self.name = name


class DuplicateJob(AnySchedError, ValueError):
    """Two different functions were registered under one job name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a job named {name!r} is registered already: give one of them another name=")
        self.name = name


class NotInRun(AnySchedError, LookupError):
    """``current_run()`` was called outside of a running job."""

    def __init__(self) -> None:
        super().__init__("there is no current run here: current_run() is for functions that a worker calls")


class JobNotIncluded(AnySchedError, RuntimeError):
    """A job of a blueprint was enqueued before the blueprint was included in a scheduler."""

    def __init__(self, name: str) -> None:
        super().__init__(f"job {name!r} belongs to no scheduler yet: call scheduler.include(blueprint) first")
        self.name = name


class NotOpen(AnySchedError, RuntimeError):
    """An operation needs an open scheduler."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs an open scheduler: use it inside `async with scheduler:` "
            "or `async with scheduler.running():`"
        )


# --- what is (not) stored ------------------------------------------------------------------------------------


class EntryExists(AnySchedError, ValueError):
    """An entry of that id is there already."""

    def __init__(self, entry_id: str) -> None:
        super().__init__(
            f"entry {entry_id!r} exists already: choose another id, remove it, or pass replace=True to add()"
        )
        self.entry_id = entry_id


class EntryNotFound(AnySchedError, LookupError):
    """There is no entry of that id."""

    def __init__(self, entry_id: str) -> None:
        super().__init__(f"there is no entry {_named(entry_id)}")
        self.entry_id = entry_id


class RunExists(AnySchedError, ValueError):
    """A run of another job has that key, or that id, already: it cannot stand for what was asked.

    Or one of any job has the key of a failed run that is to be retried.

    Args:
        run_id: that run.
        job: its job.
        key: what it is known by, if it was found by its key.
    """

    def __init__(self, run_id: str, job: str, *, key: str = "") -> None:
        held = f"key {key!r} is held by run {run_id!r}" if key else f"there is a run {run_id!r} already,"
        super().__init__(f"{held} of job {job!r}")
        self.run_id = run_id
        self.job = job
        self.key = key


class RunNotFound(AnySchedError, LookupError):
    """There is no run of that id: it never was, or its result_ttl has passed."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {_named(run_id)}: it was never enqueued, or its result_ttl has passed")
        self.run_id = run_id


class InvalidState(AnySchedError, ValueError):
    """What was asked is not allowed in the state that a run is in; or a scheduler, or a part of one.

    Args:
        what: what is in that state.
        status: the state, as it follows "is".
        remedy: what would be allowed, as a sentence.
        run_id: the run, if it is about one.
    """

    def __init__(self, what: str, status: str, remedy: str, *, run_id: str = "") -> None:
        super().__init__(f"{what} is {status}: {remedy}")
        self.run_id = run_id
        self.status = status


class RecordCorrupt(AnySchedError):
    """A stored record cannot be read. It is set aside for inspection and harms no other."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the stored record {key} cannot be read: {reason}")
        self.key = key


# --- how a run ended -----------------------------------------------------------------------------------------


class RunFailed(AnySchedError):
    """The run failed for good. ``error`` is what its last attempt raised."""

    def __init__(self, run_id: str, error: Any) -> None:
        super().__init__(f"run {run_id!r} failed: {error}")
        self.run_id = run_id
        self.error = error


class RunCancelled(AnySchedError):
    """The run was cancelled before it could succeed."""

    def __init__(self, run_id: str, error: Any = None) -> None:
        super().__init__(f"run {run_id!r} was cancelled")
        self.run_id = run_id
        self.error = error


class RunExpired(AnySchedError):
    """The run was not started by the time it had to be, and never will be."""

    def __init__(self, run_id: str, error: Any = None) -> None:
        super().__init__(f"run {run_id!r} expired before it was started")
        self.run_id = run_id
        self.error = error


class AttemptTimeout(AnySchedError, TimeoutError):
    """An attempt did not end within its time limit: what it failed of, for retry policies and error handlers."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the attempt exceeded its time limit of {limit}")
        self.limit = limit


class DeadlinePassed(AnySchedError, TimeoutError):
    """A run did not end by its deadline. It is not retried."""

    def __init__(self, deadline: str) -> None:
        super().__init__(f"the run did not end by its deadline, {deadline}")
        self.deadline = deadline


class WorkerLost(AnySchedError):
    """Workers died with the run on them, once too often: what it failed of. ``RunFailed.error`` names it."""

    def __init__(self, times: int) -> None:
        super().__init__(f"the worker was lost {times} times within a day while this run was on it")
        self.times = times


# --- locks ---------------------------------------------------------------------------------------------------


class LockBusy(AnySchedError):
    """Somebody else holds the lock, and the caller did not want to wait."""

    def __init__(self, name: str) -> None:
        super().__init__(f"lock {name!r} is held elsewhere")
        self.name = name


class LockLost(AnySchedError):
    """The lock's lease ran out, or was taken, while its body was running. The body has been cancelled."""

    def __init__(self, name: str) -> None:
        super().__init__(f"lock {name!r} was lost while it was held; its body has been cancelled")
        self.name = name


class StaleLease(AnySchedError):
    """A fencing token is no longer the newest: what its holder asked for was not done."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the lease on {what} is no longer ours: nothing was changed")


# --- the backend ---------------------------------------------------------------------------------------------


class BackendError(AnySchedError):
    """The backend answered with something that is not ours to mend."""


class BackendUnavailable(BackendError, ConnectionError):
    """The backend cannot be reached, or cannot answer, for now. Worth repeating."""


class BackendRefused(BackendError):
    """The backend does not let us in, or lacks what we need. Repeating is of no use."""


class MissingExtra(BackendRefused, ImportError):
    """A client library is not installed. It comes with an extra of anysched."""

    def __init__(self, library: str, install: str) -> None:
        super().__init__(f"{library!r} is not installed, and this backend needs it: pip install '{install}'")
        self.library = library


class ServerTooOld(BackendRefused):
    """The server's version is older than what is supported."""

    def __init__(self, found: str, needed: str) -> None:
        super().__init__(f"the server is version {found}; anysched needs {needed} or newer")
        self.found = found
