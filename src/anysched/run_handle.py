"""The handle of a run: what ``enqueue`` gives back. It only passes on; the scheduler does the work."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast, overload

import msgspec

from anysched.durations import Duration
from anysched.job_types import JobTypes
from anysched.run import RunInfo, RunStatus

__all__ = ["Run", "RunHome"]

R_co = TypeVar("R_co", covariant=True)


class RunHome(Protocol):
    """What a handle needs: the scheduler."""

    async def run_status(self, run_id: str) -> RunStatus:
        """See :meth:`Run.status`."""
        ...

    async def run_info(self, run_id: str) -> RunInfo:
        """See :meth:`Run.info`."""
        ...

    async def run_result(self, run_id: str, types: JobTypes | None) -> Any:
        """See :meth:`Run.result`; ``types`` is None where the job is not known."""
        ...

    async def cancel_run(self, run_id: str) -> None:
        """See :meth:`Run.cancel`."""
        ...

    async def retry_run(self, run_id: str) -> None:
        """See :meth:`Run.retry`."""
        ...

    async def reschedule_run(self, run_id: str, *, at: datetime | None, delay: Duration | None) -> None:
        """See :meth:`Run.reschedule`."""
        ...


class Run(msgspec.Struct, Generic[R_co], frozen=True, eq=False, weakref=True):
    """A run, by its id. Handles of one run are equal.

    None of the methods has a time limit: put ``anyio.fail_after`` around them. All need an open scheduler.

    Attributes:
        id: the run's id.
        job: the job's name.
        created: whether it was made by the call that gave this handle; False: it was there already, by its id or its
            key, or was looked up. (Of a ``run_id`` that is repeated, as after a lost reply, that is not known.)
    """

    id: str
    job: str
    _home: RunHome
    _types: JobTypes | None = None
    created: bool = False

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Run) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, job={self.job!r})"

    async def status(self) -> RunStatus:
        """Where it stands.

        Raises:
            RunNotFound: it is not stored (any more).
        """
        return await self._home.run_status(self.id)

    async def info(self) -> RunInfo:
        """Everything that is known of it.

        Raises:
            RunNotFound: it is not stored (any more).
        """
        return await self._home.run_info(self.id)

    async def result(self) -> R_co:
        """Wait until it has ended, and give what its function returned. Cancelling this leaves the run alone.

        Raises:
            RunFailed: it failed for good; the handler's error is in it.
            RunCancelled: it was cancelled.
            RunExpired: it was not started in time.
            RunNotFound: it is not stored (any more).
            CannotDecode: the result does not fit what the function declares.
        """
        return cast("R_co", await self._home.run_result(self.id, self._types))

    async def cancel(self) -> None:
        """See to it that it never starts, or stops where it runs. A run that has ended stays as it is.

        One that runs is ``cancelled`` as soon as its function has ended, whatever that still returns or raises, unless
        it had returned before its node heard of this.

        Cancelled itself, this may or may not have happened; it can be repeated.

        Raises:
            RunNotFound: it is not stored (any more).
        """
        await self._home.cancel_run(self.id)

    async def retry(self) -> None:
        """Make a failed run ready again, with its attempts counted anew. Cancellation: as for :meth:`cancel`.

        Raises:
            InvalidState: it has not failed.
            RunExists: another run has its key by now. It stays failed.
            RunNotFound: it is not stored (any more).
        """
        await self._home.retry_run(self.id)

    @overload
    async def reschedule(self, *, at: datetime, delay: None = None) -> None: ...

    @overload
    async def reschedule(self, *, at: None = None, delay: Duration) -> None: ...

    async def reschedule(self, *, at: datetime | None = None, delay: Duration | None = None) -> None:
        """Move it to another time, as long as it has not been started. Cancellation: as for :meth:`cancel`.

        An expiry that is a length of time counts from the new time; one that is an instant stays.

        Args:
            at: an aware datetime; or
            delay: how long from now.

        Raises:
            InvalidOption: neither or both are given.
            InvalidState: it runs or has ended.
            RunNotFound: it is not stored (any more).
        """
        await self._home.reschedule_run(self.id, at=at, delay=delay)
