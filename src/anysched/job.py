"""Jobs: named functions with their defaults, and calls of them that are to be made into runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, runtime_checkable

import msgspec
from attrs import define, field, frozen

from anysched.codec import Codec, JsonCodec
from anysched.durations import LONGEST, Duration, parse_duration
from anysched.errors import AnySchedError, InvalidOption, JobNotIncluded
from anysched.identifiers import check_name
from anysched.job_types import JobTypes
from anysched.options import (
    EnqueueOptions,
    JobOptions,
    RunSettings,
    RunsIn,
    check_known,
    check_priority,
    check_retry,
    milliseconds,
    settings_for,
)
from anysched.retry import RetryPolicy
from anysched.run_handle import Run
from anysched.values import is_whole

__all__ = ["AsyncJob", "BoundJob", "Job", "JobHome", "JobWithOptions", "PlainJob", "make_job"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_MS: Final = timedelta(milliseconds=1)


@runtime_checkable
class JobHome(Protocol):
    """What a job needs to be enqueued: the scheduler."""

    @property
    def codec(self) -> Codec:
        """What turns arguments and results into bytes."""
        ...

    async def enqueue_bound(self, bounds: Sequence[BoundJob[Any]]) -> list[Run[Any]]:
        """Make runs of them, as :meth:`anysched.Scheduler.enqueue` says, and give their handles in order."""
        ...

    def tell_refused(self, error: AnySchedError, job: str) -> None:
        """Hear what ``enqueue`` raises of arguments, before there is anything to make a run of."""
        ...


# --- calls that are to be made ------------------------------------------------------------------------------------


class BoundJob(msgspec.Struct, Generic[R_co], frozen=True):
    """A job with its arguments, checked and encoded, and its settings: all that a run is made of but its id."""

    job: Job[..., R_co]
    payload: str
    settings: RunSettings

    @property
    def key(self) -> str:
        """The key that was asked for, empty if there is none."""
        return self.key_by_arguments if self.settings.key_by_arguments else self.settings.key

    @property
    def key_by_arguments(self) -> str:
        """The key that ``key=by_arguments`` makes: the same for every call that means the same."""
        return f"{self.job.name}:{self.job.types.arguments_digest(self.payload)}"

    @property
    def size(self) -> int:
        """How many bytes the arguments take."""
        return len(self.payload) if self.payload.isascii() else len(self.payload.encode())


@frozen(eq=False)
class JobWithOptions(Generic[P, R_co]):
    """A job with options for the runs that are made through it. It can be kept and used many times."""

    job: Job[P, R_co]
    settings: RunSettings

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundJob[R_co]:
        """See :meth:`Job.bind`."""
        return BoundJob(self.job, self.job.types.encode_arguments(args, kwargs), self.settings)

    def options(self, **options: Unpack[EnqueueOptions]) -> JobWithOptions[P, R_co]:
        """More options, or others: see :meth:`Job.options`. One that is given again replaces what was given before.

        ``at`` and ``delay`` replace each other. ``metadata`` is replaced as a whole.
        """
        return JobWithOptions(self.job, settings_for(self.settings, options))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Run[R_co]:
        """See :meth:`Job.enqueue`."""
        return await self.job.enqueue_bound(BoundJob(self.job, self.job.encoded(args, kwargs), self.settings))


# --- the job -------------------------------------------------------------------------------------------------------


@define(eq=False, kw_only=True, slots=False)
class Job(Generic[P, R_co]):
    """A named function and the defaults of its runs. Made by a decorator of a scheduler or blueprint.

    Attributes:
        function: what is called.
        name: what it is called by, in storage and on every node.
        queue: where its runs wait.
        priority: -100 to 100; the highest goes first within a queue.
        timeout: of one attempt, from when its function is called; None: unlimited.
        retry: what follows a failed attempt.
        expires: a run that was not started this long after it was due, never is; None: no limit. Running nodes end it;
            without any, whoever asks for it, or for its key, does, and lists and counts have it as it was till then.
        result_ttl: how long an ended run is kept, at least 10 s; None: as the configuration says.
        max_concurrent: live attempts of this job at once, across the cluster; None: no limit.
        runs_in: ``"loop"``, ``"thread"`` or ``"process"``. Processes read the program that was started: guard what
            starts it by ``if __name__ == "__main__":``.
    """

    function: Callable[..., Any]
    name: str
    queue: str = "default"
    priority: int = 0
    timeout: timedelta | None = None
    retry: RetryPolicy = field(factory=RetryPolicy)
    expires: timedelta | None = None
    result_ttl: timedelta | None = None
    max_concurrent: int | None = None
    runs_in: RunsIn = "loop"
    types: JobTypes = field(init=False, repr=False)
    settings: RunSettings = field(init=False, repr=False)
    _home: JobHome | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        functools.update_wrapper(cast("Any", self), self.function, updated=())
        expires = 0 if self.expires is None else milliseconds(self.expires, "expires")
        self.types = JobTypes(self.name, self.function, JsonCodec())
        self.settings = RunSettings(queue=self.queue, priority=self.priority, expires_ms=expires)

    def attach(self, home: JobHome) -> None:
        """Give the job to a scheduler, which ``enqueue`` goes through from now on. The last one has it."""
        self._home = home

        if self.types.codec is not home.codec:
            self.types = JobTypes(self.name, self.function, home.codec)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundJob[R_co]:
        """The job with these arguments, which are checked and encoded now: for :meth:`Scheduler.enqueue` and the like.

        Raises:
            InvalidArguments: they do not fit the function.
            CannotEncode: one of them cannot be stored.
        """
        return BoundJob(self, self.types.encode_arguments(args, kwargs), self.settings)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Run[R_co]:
        """Have the function called with these arguments, by whichever node comes first.

        Once this has returned, the run is durable. Cancelled or failed, it may have been made: repeat it with the
        same ``run_id`` to be sure that it is made once.

        Raises:
            InvalidArguments: they do not fit the function.
            CannotEncode: one of them cannot be stored.
            PayloadTooLarge: they, or the metadata, take more than ``max_payload``.
            RunExists: a run of another job has the ``key`` or ``run_id`` that was asked for.
            JobNotIncluded: the job belongs to no scheduler yet.
            NotOpen: its scheduler is not open.
        """
        return await self.enqueue_bound(BoundJob(self, self.encoded(args, kwargs), self.settings))

    def options(self, **options: Unpack[EnqueueOptions]) -> JobWithOptions[P, R_co]:
        """The job with options for single runs.

        Args:
            **options: ``delay``: due this long from now, by the backend's clock. ``at``: due at this instant.
                ``queue``, ``priority``, ``timeout``, ``retry``, ``expires`` (also an instant), ``result_ttl`` (at least
                10 s): instead of the job's. ``deadline``: an instant, or a length of time from now, by which it has to
                have ended. ``key``: what the run goes by while it is live; if a live run of this job has it, that is
                returned; ``by_arguments`` makes it from the job and its arguments. ``run_id``: the id, to be able to
                repeat. ``metadata``: a mapping that the job sees in its context.

        Raises:
            InvalidOption: there is no such option, or its value is not allowed.
            InvalidDuration: a length of time cannot be read, or is negative.
            NaiveDatetime: an instant has no time zone.
        """
        return JobWithOptions(self, settings_for(self.settings, options))

    def encoded(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The arguments of an ``enqueue``. If they cannot be, the scheduler hears of it."""
        try:
            return self.types.encode_arguments(args, kwargs)
        except AnySchedError as error:
            if self._home is not None:
                self._home.tell_refused(error, self.name)

            raise

    async def enqueue_bound(self, bound: BoundJob[R]) -> Run[R]:
        """Make a run of a call of this job."""
        if self._home is None:
            raise JobNotIncluded(self.name)

        (run,) = await self._home.enqueue_bound((bound,))
        return run


@define(eq=False, kw_only=True, slots=False)
class AsyncJob(Job[P, R_co]):
    """A job made of an async function. ``await job(...)`` just calls that."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)


@define(eq=False, kw_only=True, slots=False)
class PlainJob(Job[P, R_co]):
    """A job made of a plain function. ``job(...)`` just calls that.

    A coroutine that the function returns, as a plain wrapper around an async one does, is awaited in the loop.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function, here and now."""
        return cast("R_co", self.function(*args, **kwargs))


def make_job(function: Callable[..., Any], options: JobOptions, *, prefix: str = "") -> Job[..., Any]:
    """Make a job of a function.

    Args:
        function: an async or a plain function.
        options: what the decorator was given.
        prefix: goes in front of a name that was not given.

    Raises:
        InvalidOption: there is no such option, its value is not allowed, or the function cannot be a job.
        InvalidDuration: a length of time cannot be read.
    """
    check_known(options, JobOptions)
    is_async = _check_function(function)
    kind = AsyncJob[..., Any] if is_async else PlainJob[..., Any]

    return kind(
        function=function,
        name=check_name("name", options["name"] if "name" in options else prefix + _default_name(function)),
        queue=check_name("queue", options.get("queue", "default")),
        priority=check_priority(options.get("priority", 0)),
        timeout=_length("timeout", options.get("timeout"), _MS),
        retry=check_retry(options.get("retry", _DEFAULT_RETRY)),
        expires=_length("expires", options.get("expires"), _MS),
        result_ttl=_length("result_ttl", options.get("result_ttl"), timedelta(0)),
        max_concurrent=_check_limit(options.get("max_concurrent")),
        runs_in=_check_place(function, is_async, options.get("runs_in")),
    )


_DEFAULT_RETRY: Final = RetryPolicy()


def _check_function(function: Any) -> bool:
    """Whether it is async."""
    called = _called(function)
    generates = inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called)

    if not callable(function) or isinstance(function, type) or generates:
        raise InvalidOption("job", function, "a function, async or plain, that is no generator")

    return inspect.iscoroutinefunction(called)


def _called(function: Any) -> Any:
    """What runs when it is called. What a plain wrapper makes of that is seen when it has run."""
    while isinstance(function, functools.partial | staticmethod):
        function = cast("Any", function.func if isinstance(function, functools.partial) else function.__func__)

    # An object with a __call__ of its own is as async as that is.
    return function if inspect.isroutine(function) else function.__class__.__call__


def _default_name(function: Any) -> str:
    name = getattr(function, "__qualname__", None)

    if not isinstance(name, str) or "<lambda>" in name:
        raise InvalidOption("name", None, "a name for a job whose function has none of its own")

    return name.replace("<locals>.", "")


def _length(name: str, value: Duration | None, least: timedelta) -> timedelta | None:
    return None if value is None else parse_duration(value, name=name, minimum=least, maximum=LONGEST)


def _check_limit(value: object) -> int | None:
    if value is None or is_whole(value, 1):
        return value

    raise InvalidOption("max_concurrent", value, "a whole number from 1, or None for no limit")


def _check_place(function: Any, is_async: bool, value: object) -> RunsIn:
    allowed = ("loop",) if is_async else ("thread", "process")

    if value is None:
        return allowed[0]

    if value not in allowed:
        kind = "an async" if is_async else "a plain"
        shown = " or ".join(map(repr, allowed))
        raise InvalidOption("runs_in", value, f"{shown}, for {kind} function")

    if value == "process" and not _is_importable(function):
        raise InvalidOption("runs_in", value, "'thread': a process finds a function only by its name in a module")

    return cast("RunsIn", value)


def _is_importable(function: Any) -> bool:
    name = getattr(function, "__qualname__", "<")
    return inspect.isfunction(function) and "<" not in name and "." not in name
