"""What a running job can know and say of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from datetime import datetime
from typing import Any, Final, Protocol

from attrs import field, frozen

from anysched.errors import InvalidOption, NotInRun
from anysched.identifiers import without_surrogates

__all__ = ["RunContext", "ShutdownSignal", "context_with", "current_run", "facts_of", "set_current_run"]

_LONGEST_MESSAGE: Final = 500
_FOR_THREADS: Final = "'thread' for report_progress(): an async function awaits set_progress()"

_FACTS: Final = ("id", "job", "attempt", "entry_id", "scheduled_for", "deadline", "fencing_token", "metadata")
_AT_THE_NODE: Final = {
    "state": "state, which the lifespan yields at the node",
    "shutting_down": "shutting_down, which is set at the node",
    "progress_setter": "set_progress()",
    "progress_reporter": "report_progress()",
}
"""What a worker process has not, and what to call it."""

_current: ContextVar[Callable[[], RunContext]] = ContextVar("anysched_run")
"""Gives the current run. Most functions never ask, so that it is made for those who do."""


class ShutdownSignal(Protocol):
    """What ``anyio.Event`` offers to those who only look at it."""

    def is_set(self) -> bool:
        """Whether the node has begun to stop. May be asked from any thread."""
        ...

    async def wait(self) -> None:
        """Wait until it has."""
        ...


@frozen(kw_only=True)
class RunContext:
    """The run that the present function is called for.

    Attributes:
        id: the run's id.
        job: the job's name.
        attempt: the number of this attempt, from 1.
        entry_id: the entry that made the run.
        scheduled_for: the fire time that made it.
        deadline: the run has to have ended by then.
        fencing_token: greater than that of any attempt before, of any run: give it to what must not listen to a
            node that has been given up.
        metadata: what the caller attached.
        state: what the scheduler's ``lifespan`` yielded.
        shutting_down: set when the node begins to stop; a long function may look at it and end early.
    """

    id: str
    job: str
    attempt: int
    entry_id: str | None = None
    scheduled_for: datetime | None = None
    deadline: datetime | None = None
    fencing_token: int = 0
    metadata: Mapping[str, Any] = field(factory=dict[str, Any])
    state: Any = None
    shutting_down: ShutdownSignal
    progress_setter: Callable[[float, str], Awaitable[None]] = field(repr=False)
    progress_reporter: Callable[[float, str], None] | None = field(default=None, repr=False)

    async def set_progress(self, fraction: float, message: str = "") -> None:
        """Store how far the run is, for all to see; for async functions.

        Args:
            fraction: from 0 to 1.
            message: for people; a long one is cut, and half of a surrogate pair is escaped.

        Raises:
            InvalidOption: the fraction is something else.
            StaleLease: the run has been given to another node, and this attempt is about to be cancelled.
        """
        await self.progress_setter(_check_fraction(fraction), _storable(message))

    def report_progress(self, fraction: float, message: str = "") -> None:
        """The same for plain functions, which run in a thread.

        Args:
            fraction: from 0 to 1.
            message: for people; a long one is cut, and half of a surrogate pair is escaped.

        Raises:
            InvalidOption: the fraction is something else; or this is no function in a thread.
            StaleLease: the run has been given to another node.
        """
        if self.progress_reporter is None:
            raise InvalidOption("runs_in", "loop", _FOR_THREADS)

        self.progress_reporter(_check_fraction(fraction), _storable(message))


def current_run() -> RunContext:
    """The run that the present function is called for, also in what it calls, awaits and starts.

    In a job that ``runs_in="process"`` it has what can go there: all but ``state`` and ``shutting_down``, and it takes
    no progress.

    Raises:
        NotInRun: there is none.
    """
    try:
        source = _current.get()
    except LookupError:
        raise NotInRun from None

    return source()


def facts_of(context: RunContext) -> dict[str, Any]:
    """What of a context can go to a worker process."""
    return {name: getattr(context, name) for name in _FACTS}


def context_with(facts: Mapping[str, Any] | None) -> Context:
    """A copy of the present :mod:`contextvars` context; with a current run, if there are such facts of one."""
    here = copy_context()

    if facts is not None:
        run = _RunElsewhere(facts)
        here.run(set_current_run, lambda: run)

    return here


class _RunElsewhere(RunContext):
    """In a worker process: the facts, and errors in place of what stays with the node."""

    __slots__ = ()

    def __init__(self, facts: Mapping[str, Any]) -> None:
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        # Asked for what is not there, so not for any of the facts.
        if name in _AT_THE_NODE:
            raise InvalidOption("runs_in", "process", f"'loop' or 'thread' for {_AT_THE_NODE[name]}")

        raise AttributeError(name, name=name, obj=self)

    def __repr__(self) -> str:
        return f"RunContext({', '.join(f'{name}={getattr(self, name)!r}' for name in _FACTS)})"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def set_current_run(source: Callable[[], RunContext]) -> None:
    """Make what ``source`` gives the current run, in the :mod:`contextvars` context that this is called in."""
    _current.set(source)


def _storable(message: str) -> str:
    # Names of files may have halves of surrogate pairs in them.
    return without_surrogates(message[:_LONGEST_MESSAGE])[:_LONGEST_MESSAGE]


def _check_fraction(value: object) -> float:
    # A comparison with NaN is false.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)

    raise InvalidOption("fraction", value, "a number from 0 to 1")
