"""Storing runs that users asked for, in order, and the handles for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyio.lowlevel import checkpoint
from attrs import define

from anysched.backends import Backend, Enqueued, NewRun
from anysched.clock import now
from anysched.config import ErrorContext, SchedulerConfig
from anysched.errors import AnySchedError, RunExists
from anysched.events import RunEnqueued
from anysched.job import BoundJob
from anysched.options import check_kind
from anysched.run_handle import Run, RunHome
from anysched.runtime.batching import Batcher
from anysched.runtime.requesting import jobs_of_found, new_runs
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
        config: the settings.
        enqueueing: puts what is enqueued at the same time together.
        teller: hears what was enqueued, and what went wrong.
    """

    home: RunHome
    backend: Backend
    config: SchedulerConfig
    enqueueing: Batcher[NewRun, Enqueued]
    teller: Teller

    async def submit(self, bounds: Sequence[BoundJob[Any]]) -> list[Run[Any]]:
        """Store a run for each call; the handles of those that stand for them. The error handler hears what is raised.

        Args:
            bounds: the calls.

        Raises:
            InvalidOption: one of them is something else.
            PayloadTooLarge: the arguments, or the metadata, of one are. None is stored.
            RunExists: a run of another job has the key or the id of one of them. The others are stored.
            BackendUnavailable: unknown whether they are stored.
        """
        runs = self._runs_of(bounds)

        if not runs:
            await checkpoint()
            return []

        handles: list[Run[Any]] = []
        refused: RunExists | None = None
        refused_job = ""

        for start in range(0, len(runs), _BULK):
            batch = runs[start : start + _BULK]
            answers, jobs = await self._store(batch)

            for bound, run, answer in zip(bounds[start:], batch, answers, strict=False):
                created = _is_new(bound, run, answer)
                handles.append(Run(answer.id, bound.job.name, self.home, bound.job.types, created))

                if jobs and jobs.get(answer.id, run.job) != run.job:
                    key = "" if answer.id == run.id else run.key
                    refused_job = refused_job or run.job
                    refused = refused or RunExists(answer.id, jobs[answer.id], key=key)

            if self.teller.listened_to:
                for handle, run in zip(handles[start:], batch, strict=True):
                    job = jobs.get(handle.id, run.job)
                    self.teller.tell(RunEnqueued(at=now(), run_id=handle.id, job=job, created=handle.created))

        if refused is not None:
            self.teller.report(refused, ErrorContext(kind="enqueue", job=refused_job))
            raise refused

        return handles  # noqa: ASYNC910 - each batch is a checkpoint, and there is at least one

    def _runs_of(self, bounds: Sequence[BoundJob[Any]]) -> list[NewRun]:
        try:
            for bound in bounds:
                check_kind("run", bound, BoundJob, "job.bind(...)")

            return new_runs(bounds, config=self.config)
        except AnySchedError as error:
            self.teller.report(error, ErrorContext(kind="enqueue", job=getattr(error, "job", None)))
            raise

    async def _store(self, batch: Sequence[NewRun]) -> tuple[Sequence[Enqueued], dict[str, str]]:
        """What stands for each of these runs, and the jobs of those that were there already."""
        try:
            answers = await self.enqueueing.submit(batch)
            return answers, await jobs_of_found(answers, self.backend)
        except AnySchedError as error:
            self.teller.report(error, ErrorContext(kind="enqueue", job=batch[0].job))
            raise


def _is_new(bound: BoundJob[Any], run: NewRun, answer: Enqueued) -> bool:
    """Whether the call made the run. It did if the id was made for it, also if its request arrived twice."""
    return answer.created or (answer.id == run.id and not bound.settings.run_id)
