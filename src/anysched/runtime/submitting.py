"""Storing runs that users asked for, in order, and the handles for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from anysched.backends import Backend, Enqueued, NewRun
from anysched.clock import now
from anysched.config import ErrorContext
from anysched.errors import BackendUnavailable, RunExists
from anysched.events import RunEnqueued
from anysched.job import BoundJob
from anysched.run_handle import Run, RunHome
from anysched.runtime.batching import Batcher
from anysched.runtime.requesting import jobs_of_found
from anysched.runtime.telling import Teller

__all__ = ["Submitting"]

_BULK = 1_000
"""Runs that are enqueued in one atomic step; a longer list takes several."""


@define(eq=False, kw_only=True)
class Submitting:
    """One list of calls on its way.

    Args:
        home: what the handles belong to.
        backend: asked about runs that were there already.
        enqueueing: puts what is enqueued at the same time together.
        teller: hears what was enqueued, and what went wrong.
    """

    home: RunHome
    backend: Backend
    enqueueing: Batcher[NewRun, Enqueued]
    teller: Teller

    async def submit(self, bounds: Sequence[BoundJob[Any]], runs: Sequence[NewRun]) -> list[Run[Any]]:
        """Store runs, at least one; the handles of those that stand for them.

        Args:
            bounds: the calls.
            runs: what is to be stored for each.

        Raises:
            RunExists: a run of another job has the key or the id of one of them. The others are stored.
            BackendUnavailable: unknown whether they are stored.
        """
        handles: list[Run[Any]] = []
        refused: RunExists | None = None

        for start in range(0, len(runs), _BULK):
            batch = runs[start : start + _BULK]
            answers, jobs = await self._store(batch)

            for bound, run, answer in zip(bounds[start:], batch, answers, strict=False):
                handles.append(Run(answer.id, bound.job.name, self.home, bound.job.types))

                if jobs and jobs.get(answer.id, run.job) != run.job:
                    key = "" if answer.id == run.id else run.key
                    refused = refused or RunExists(answer.id, jobs[answer.id], key=key)

            if self.teller.listened_to:
                for run, answer in zip(batch, answers, strict=True):
                    job = jobs.get(answer.id, run.job)
                    self.teller.tell(RunEnqueued(at=now(), run_id=answer.id, job=job, created=answer.created))

        if refused is not None:
            raise refused

        return handles  # noqa: ASYNC910 - each batch is a checkpoint, and there is at least one

    async def _store(self, batch: Sequence[NewRun]) -> tuple[Sequence[Enqueued], dict[str, str]]:
        """What stands for each of these runs, and the jobs of those that were there already."""
        try:
            answers = await self.enqueueing.submit(batch)
            return answers, await jobs_of_found(answers, self.backend)
        except BackendUnavailable as error:
            self.teller.report(error, ErrorContext(kind="enqueue", job=batch[0].job))
            raise
