"""Looking after single runs: finding them, asking how they are, cancelling, retrying, moving them."""

from __future__ import annotations

from abc import ABC
from datetime import datetime
from typing import Any, TypeVar, overload

from anysched.backends import KEY_TAKEN, Backend, Enqueued, RunRecord
from anysched.clock import to_ms
from anysched.durations import Duration
from anysched.errors import InvalidOption, InvalidState, RunExists, RunNotFound
from anysched.job import BoundJob
from anysched.options import check_kind, milliseconds, require_aware
from anysched.run import RunInfo, RunStatus
from anysched.run_handle import Run
from anysched.runtime.managing import Managing
from anysched.runtime.requesting import jobs_of_found, run_info

__all__ = ["Tending"]

T = TypeVar("T")


class Tending(Managing, ABC):
    """What a scheduler can be asked about one run. It has to be open."""

    @overload
    async def find(self, bound: BoundJob[T], *, key: None = None) -> Run[T] | None: ...

    @overload
    async def find(self, bound: None = None, *, key: str) -> Run[Any] | None: ...

    async def find(self, bound: BoundJob[Any] | None = None, *, key: str | None = None) -> Run[Any] | None:
        """The live run of that key, or of that call if it was enqueued with ``key=by_arguments``.

        Args:
            bound: the call, as ``job.bind(...)``; or
            key: the key.

        Returns:
            Its handle, or ``None``.

        Raises:
            InvalidOption: neither or both are given, or it is something else.
        """
        backend = self._backend("find")

        if (bound is None) == (key is None):
            raise InvalidOption("key", key, "either a call or key=, not both and not neither")

        if bound is not None:
            check_kind("run", bound, BoundJob, "job.bind(...)")
            key = bound.key_by_arguments

        check_kind("key", key, str, "text")
        run_id = await backend.find_key(key or "")
        return None if run_id is None else await self.get_run(run_id)

    async def get_run(self, run_id: str) -> Run[Any]:
        """The handle of a stored run.

        Raises:
            RunNotFound: there is none of that id (any more).
        """
        info = await self.run_info(run_id)
        return Run(run_id, info.job, self, self._types(info.job))

    async def run_status(self, run_id: str) -> RunStatus:
        """See :meth:`Run.status`."""
        return (await self.run_info(run_id)).status

    async def run_info(self, run_id: str) -> RunInfo:
        """See :meth:`Run.info`."""
        (record,) = await self._backend("info").get_runs([run_id])

        if record is None:
            raise RunNotFound(run_id)

        return run_info(record)

    async def cancel_run(self, run_id: str) -> None:
        """See :meth:`Run.cancel`."""
        if await self._backend("cancel").cancel(run_id) is None:
            raise RunNotFound(run_id)

    async def retry_run(self, run_id: str) -> None:
        """See :meth:`Run.retry`."""
        backend = self._backend("retry")

        while (before := await backend.revive(run_id)) == KEY_TAKEN:
            await _name_holder(backend, run_id)

        if before is None:
            raise RunNotFound(run_id)

        if before != RunStatus.FAILED:
            raise InvalidState(f"run {run_id!r}", before, "only a failed run can be retried", run_id=run_id)

    async def reschedule_run(self, run_id: str, *, at: datetime | None, delay: Duration | None) -> None:
        """See :meth:`Run.reschedule`."""
        if (at is None) == (delay is None):
            raise InvalidOption("at", at, "either at= or delay=, not both and not neither")

        before = await self._backend("reschedule").reschedule(
            run_id,
            at_ms=to_ms(require_aware("at", at)) if at is not None else None,
            delay_ms=milliseconds(delay, "delay") if delay is not None else None,
        )

        if before is None:
            raise RunNotFound(run_id)

        if before not in (RunStatus.SCHEDULED, RunStatus.READY, RunStatus.RETRYING):
            allowed = "only one that is scheduled, ready or retrying can be moved to another time"
            raise InvalidState(f"run {run_id!r}", before, allowed, run_id=run_id)


async def _name_holder(backend: Backend, run_id: str) -> None:
    """Say who has a run's key, unless it is free by now."""
    (record,) = await backend.get_runs([run_id])
    key = record.key if isinstance(record, RunRecord) else ""
    holder = await backend.find_key(key) if key else None

    if holder is not None:
        jobs = await jobs_of_found([Enqueued(holder, created=False)], backend)
        raise RunExists(holder, jobs.get(holder, "?"), key=key)
