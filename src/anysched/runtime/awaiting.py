"""Waiting for a run to end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import move_on_after

from anysched.backends import Backend, RunRecord
from anysched.codec import Codec
from anysched.errors import RecordCorrupt, RunCancelled, RunExpired, RunFailed, RunNotFound
from anysched.job_types import JobTypes
from anysched.run import RunStatus
from anysched.runtime.persisting import Outage, persist
from anysched.runtime.requesting import run_info

if TYPE_CHECKING:
    from anysched.runtime.listening import Listening

__all__ = ["conclude", "wait_until_final"]


async def wait_until_final(
    run_id: str, *, backend: Backend, listening: Listening, outage: Outage, look_every: float
) -> RunRecord:
    """Wait until a run has come to a final status.

    Args:
        run_id: which one.
        backend: where it is.
        listening: where the hint arrives.
        outage: told how the backend is doing; an outage is waited out.
        look_every: seconds after which to look again although no hint came.

    Raises:
        RunNotFound: it is not there (any more).
        RecordCorrupt: it cannot be read.
    """
    while True:
        inbox = await listening.wanted()

        with listening.ended(run_id) as ended:
            record = await persist(partial(backend.watch, run_id, inbox), outage)

            if record is None:
                raise RunNotFound(run_id)

            if not isinstance(record, RunRecord):
                raise RecordCorrupt(f"run {run_id!r}", record.reason)

            if RunStatus(record.status).is_final:
                return record

            with move_on_after(look_every):
                await ended.wait()


def conclude(record: RunRecord, types: JobTypes | None, codec: Codec) -> Any:
    """A final run's result, or what it raised instead.

    Args:
        record: the run.
        types: decodes the result; without, it comes as the JSON values that were stored.
        codec: what these are decoded by.

    Raises:
        CannotDecode: the result cannot be read.
        RunFailed: with the error of its last attempt.
        RunCancelled: likewise.
        RunExpired: it was not started in time.
    """
    match RunStatus(record.status):
        case RunStatus.FAILED:
            raise RunFailed(record.id, run_info(record).error)
        case RunStatus.CANCELLED:
            raise RunCancelled(record.id, run_info(record).error)
        case RunStatus.EXPIRED:
            raise RunExpired(record.id)
        case _:
            return (types or JobTypes(record.job, _unknown, codec)).decode_result(record.result)


def _unknown() -> Any:
    """A function of which nothing is known."""
