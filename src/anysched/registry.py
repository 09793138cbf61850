"""Declarations: the decorators that make jobs of functions and put them on schedules.

A :class:`Registry` only collects. A scheduler is one, and so is a blueprint; what a blueprint collects, before or after
it is included, is passed on to all that include it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, Final, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

import msgspec

from anysched.config import SchedulerConfig
from anysched.durations import Duration
from anysched.entry import EntryPolicy, EntrySpec, Misfire, Overlap, check_schedule
from anysched.errors import DuplicateJob, InvalidArguments, InvalidOption, InvalidState
from anysched.identifiers import check_name
from anysched.job import AsyncJob, Job, JobHome, PlainJob, make_job
from anysched.options import JobOptions, check_kind, check_known
from anysched.schedules import Cron, DaylightSaving, Every, Once, Schedule, parse_schedule

__all__ = [
    "CronOptions",
    "Declaration",
    "Declare",
    "EntryOptions",
    "EveryOptions",
    "PeriodOptions",
    "PolicyOptions",
    "Registry",
]

P = ParamSpec("P")
R = TypeVar("R")


class PolicyOptions(TypedDict, total=False):
    """What an entry's policy is made of; see :class:`~anysched.entry.EntryPolicy`."""

    overlap: Overlap
    misfire: Misfire
    misfire_grace: Duration | None
    jitter: Duration | None
    start_at: datetime | None
    end_at: datetime | None
    limit: int | None


class EntryOptions(PolicyOptions, JobOptions, total=False):
    """What the decorators of entries take: also an id, arguments, and the options of the job."""

    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class CronOptions(EntryOptions, total=False):
    """The same, for cron expressions."""

    tz: str | tzinfo
    dst: DaylightSaving


class EveryOptions(EntryOptions, total=False):
    """The same, for periods."""

    anchor: datetime
    after_completion: bool


class PeriodOptions(EveryOptions, total=False):
    """The same, with the period in parts, which add up."""

    weeks: float
    days: float
    hours: float
    minutes: float
    seconds: float
    milliseconds: float


class Declare(Protocol):
    """A decorator. A job passes through it as it is."""

    # An async function is a plain one that returns a coroutine, too; the first that fits counts.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncJob[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> PlainJob[P, R]: ...


class Declaration(msgspec.Struct, frozen=True):
    """An entry as it is declared in code."""

    id: str
    spec: EntrySpec


class _Declared(msgspec.Struct, frozen=True, eq=False):
    """The same, before the scheduler's time zone and codec are known."""

    id: str
    job: Job[..., Any]
    schedule: Schedule
    policy: EntryPolicy
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    written: bool = False
    """The schedule was written as text, so that it is in the scheduler's zone if it names none."""

    def settled(self, timezone: tzinfo) -> Declaration:
        bound = self.job.bind(*self.args, **self.kwargs)
        schedule = self.schedule.with_default_timezone(timezone) if self.written else self.schedule
        return Declaration(self.id, EntrySpec.of(schedule, bound, self.policy))


_EVERY: Final = frozenset(PeriodOptions.__annotations__) - frozenset(EntryOptions.__annotations__)
_POLICY: Final = frozenset(PolicyOptions.__annotations__)
_JOB: Final = frozenset(JobOptions.__annotations__)
_ID_TAKEN: Final = "another id=, since there is an entry of that one, which is a job's name unless given"


class Registry:
    """Jobs and declared entries, by name and id.

    Attributes:
        jobs: the jobs, by name.
        config: the settings; a scheduler has its own.
    """

    config: SchedulerConfig = SchedulerConfig()

    def __init__(self, *, prefix: str = "") -> None:
        self.jobs: dict[str, Job[..., Any]] = {}
        self._declared: dict[str, _Declared] = {}
        self._prefix = prefix
        self._includers: list[Registry] = []

    # --- decorators ------------------------------------------------------------------------------------------

    # As for Declare.
    @overload
    def job(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[JobOptions]
    ) -> AsyncJob[P, R]: ...

    @overload
    def job(self, function: Callable[P, R], /, **options: Unpack[JobOptions]) -> PlainJob[P, R]: ...

    @overload
    def job(self, function: None = None, /, **options: Unpack[JobOptions]) -> Declare: ...

    def job(self, function: Callable[..., Any] | None = None, /, **options: Unpack[JobOptions]) -> Any:
        """Make a job of a function: ``@scheduler.job``, or with options.

        What cannot be decorated, such as a bound method or a ``functools.partial``, is passed beside the options.

        Args:
            function: the function; given by the bare decorator.
            **options: ``name``, ``queue``, ``priority``, ``timeout``, ``retry``, ``expires``, ``result_ttl``,
                ``max_concurrent``, ``runs_in``; see :class:`~anysched.job.Job`.

        Raises:
            InvalidOption: an option does not exist or cannot be, or the function cannot be a job.
            InvalidDuration: a length of time cannot be read.
            DuplicateJob: another function has that name already.
            InvalidState: the scheduler is running, or one that includes this blueprint.
        """
        check_known(options, JobOptions)

        return partial(self._job_of, options=options) if function is None else self._job_of(function, options)

    def cron(self, expression: str | Cron, **options: Unpack[CronOptions]) -> Declare:
        """Call a function, or a job, at the times of a cron expression.

        Args:
            expression: the expression, or a :class:`Cron`, which is in UTC if it names no zone.
            **options: ``tz`` (default: the scheduler's) and ``dst`` of the expression; ``id`` of the entry (default:
                the job's name); ``args`` and ``kwargs`` for the function; the entry's policy: ``overlap``, ``misfire``,
                ``misfire_grace``, ``jitter``, ``start_at``, ``end_at``, ``limit``; for a function, the options of
                :meth:`job`.

        Raises:
            InvalidSchedule: the expression cannot be.
            InvalidOption: an option does not exist or cannot be.
            InvalidState: as for :meth:`job`.
        """
        check_known(options, CronOptions)
        zone = {"tz": options["tz"]} if "tz" in options else {}
        rule = {"dst": options["dst"]} if "dst" in options else {}

        if isinstance(expression, Cron):
            _refuse(zone | rule, "None beside a Cron, which has its own")
            return self._declare(expression, options)

        return self._declare(Cron(expression, **cast("Any", zone | rule)), options, written=True)

    @overload
    def every(self, period: Duration | Every, **options: Unpack[EveryOptions]) -> Declare: ...

    @overload
    def every(self, **options: Unpack[PeriodOptions]) -> Declare: ...

    def every(self, period: Duration | Every | None = None, **options: Unpack[PeriodOptions]) -> Declare:
        """Call a function, or a job, each period.

        Args:
            period: the length of the period; or
            **options: ``weeks``, ``days``, ``hours``, ``minutes``, ``seconds``, ``milliseconds``: instead,
                as for :class:`Every`. ``anchor``: an instant that is a fire time; ``after_completion``: count from the
                end of the run before. The rest as for :meth:`cron`.

        Raises:
            InvalidDuration: the period is given twice, not at all, or cannot be.
            InvalidSchedule: the anchor cannot be.
            InvalidOption: an option does not exist or cannot be.
            InvalidState: as for :meth:`job`.
        """
        check_known(options, PeriodOptions)
        given = {name: value for name, value in options.items() if name in _EVERY}

        if isinstance(period, Every):
            _refuse(given, "None beside an Every, which has its own")
            return self._declare(period, options)

        return self._declare(Every(period, **cast("Any", given)), options)

    def once(self, at: datetime | Once, **options: Unpack[EntryOptions]) -> Declare:
        """Call a function, or a job, once.

        Args:
            at: when; an aware datetime. One that has passed when the program starts fires at once if it is no later
                than ``misfire_grace`` (without one: two seconds); else it is counted as missed.
            **options: as for :meth:`cron`.

        Raises:
            NaiveDatetime: the instant has no time zone.
            InvalidOption: an option does not exist or cannot be.
            InvalidState: as for :meth:`job`.
        """
        check_known(options, EntryOptions)
        return self._declare(at if isinstance(at, Once) else Once(at), options)

    def schedule(self, schedule: str | Schedule, **options: Unpack[EntryOptions]) -> Declare:
        """Call a function, or a job, at the times of any schedule, such as one of your own.

        Args:
            schedule: a :class:`Schedule`, or text as for :meth:`Scheduler.add <anysched.scheduler.Scheduler.add>`.
            **options: as for :meth:`cron`.

        Raises:
            InvalidSchedule: the schedule cannot be, or cannot be stored.
            InvalidOption: an option does not exist or cannot be.
        """
        check_known(options, EntryOptions)
        return self._declare(parse_schedule(schedule), options, written=isinstance(schedule, str))

    # --- collections -----------------------------------------------------------------------------------------

    def include(self, blueprint: Registry) -> None:
        """Take over the jobs and entries of a blueprint, and whatever is added to it later. Twice is harmless.

        Raises:
            DuplicateJob: another job has the name of one of them; nothing is taken over.
            InvalidOption: likewise with an entry's id; or it is no blueprint, or one that includes this one.
            InvalidState: there is something new in it, and the scheduler is running.
        """
        check_kind("blueprint", blueprint, Registry, "a Blueprint")

        if blueprint in self._with_includers():
            raise InvalidOption("blueprint", blueprint, "one that this one is not part of")

        jobs, declared = list(blueprint.jobs.values()), list(blueprint._declared.values())
        self._take(jobs, declared)

        if self not in blueprint._includers:
            blueprint._includers.append(self)

    def declarations(self) -> list[Declaration]:
        """The declared entries, described in full.

        Raises:
            InvalidArguments: the arguments of one do not fit the annotations of its function.
            CannotEncode: the arguments of one cannot be stored.
        """
        return [declared.settled(self.config.timezone) for declared in self._declared.values()]

    # --- inside ----------------------------------------------------------------------------------------------

    def _job_of(self, function: Callable[..., Any], options: JobOptions) -> Job[..., Any]:
        if isinstance(function, Job):
            allowed = "none on a job that is made already: give them to the decorator that makes it"
            _refuse(options, allowed)
            job = cast("Job[..., Any]", function)
        else:
            job = make_job(function, options, prefix=self._prefix)
            known = self.jobs.get(job.name)

            if known is not None and _definition(known) == _definition(job):
                return known

        self._take([job], [])
        return job

    def _declare(self, schedule: Schedule, options: EntryOptions, *, written: bool = False) -> Declare:
        check_schedule(schedule)
        given = cast("dict[str, Any]", options)
        policy = EntryPolicy(**{name: value for name, value in given.items() if name in _POLICY})
        job_options = cast("JobOptions", {name: value for name, value in given.items() if name in _JOB})
        args, kwargs = _check_call(options)

        def declare(function: Callable[..., Any]) -> Any:
            job = self._job_of(function, job_options)

            try:
                inspect.signature(job.function).bind(*args, **kwargs)
            except TypeError as error:
                raise InvalidArguments(job.name, str(error)) from None

            entry_id = check_name("id", options.get("id", job.name))
            self._take([], [_Declared(entry_id, job, schedule, policy, args, kwargs, written)])
            return job

        return cast("Declare", declare)

    def _take(self, jobs: Sequence[Job[..., Any]], declared: Sequence[_Declared]) -> None:
        """Add all of them, here and wherever this is included, or none."""
        registries = list(self._with_includers())

        for registry in registries:
            registry._check(jobs, declared)

        for registry in registries:
            registry._declared |= {one.id: one for one in declared}

            for job in jobs:
                registry.jobs[job.name] = job

                if isinstance(registry, JobHome):
                    job.attach(registry)

    def _check(self, jobs: Sequence[Job[..., Any]], declared: Sequence[_Declared]) -> None:
        for job in jobs:
            if self.jobs.get(job.name, job) is not job:
                raise DuplicateJob(job.name)

        for one in declared:
            if self._declared.get(one.id, one) is not one:
                raise InvalidOption("id", one.id, _ID_TAKEN)

        if self._runs():
            for new in self._new(jobs, declared):
                raise InvalidState("the scheduler", "running", f"declare {new} before it runs, or when it has ended")

    def _runs(self) -> bool:
        """Whether a node is at work with what has been declared, and would never hear of more."""
        return False

    def _new(self, jobs: Sequence[Job[..., Any]], declared: Sequence[_Declared]) -> Iterator[str]:
        yield from (f"job {job.name!r}" for job in jobs if job.name not in self.jobs)
        yield from (f"entry {one.id!r}" for one in declared if one.id not in self._declared)

    def _with_includers(self) -> Iterator[Registry]:
        """This, and all that include it, directly or not; each once."""
        found: list[Registry] = [self]

        for registry in found:
            found += [outer for outer in registry._includers if outer not in found]

        return iter(found)


def _definition(job: Job[..., Any]) -> tuple[Any, ...]:
    return (
        *(job.function, job.queue, job.priority, job.timeout, job.retry, job.expires, job.result_ttl),
        *(job.max_concurrent, job.runs_in),
    )


def _refuse(options: Mapping[str, Any], allowed: str) -> None:
    for name, value in options.items():
        raise InvalidOption(name, value, allowed)


def _check_call(options: EntryOptions) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: Any = options.get("args", ())
    kwargs: Any = options.get("kwargs", {})

    # Text is a sequence too, and nobody means its letters.
    if not isinstance(args, list | tuple):
        raise InvalidOption("args", args, "a list or tuple of arguments")

    if not isinstance(kwargs, Mapping):
        raise InvalidOption("kwargs", kwargs, "a mapping from parameters to arguments")

    return tuple(cast("tuple[Any, ...]", args)), dict(cast("Mapping[str, Any]", kwargs))
