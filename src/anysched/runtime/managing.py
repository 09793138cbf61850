"""Managing what is stored: entries, queues, nodes, runs in bulk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Unpack

from anyio.lowlevel import checkpoint

from anysched.backends import Backend, Corrupt, EntryRecord, NodeRecord, QueueRecord, Totals
from anysched.clock import from_ms, now_ms, to_ms
from anysched.config import ErrorContext, SchedulerConfig
from anysched.entry import Entry, EntryPolicy, EntrySpec, EntryStatus, Overlap, first_fire
from anysched.errors import (
    AnySchedError,
    EntryExists,
    EntryNotFound,
    InvalidOption,
    InvalidState,
    NotOpen,
    RecordCorrupt,
)
from anysched.identifiers import check_name, check_text, make_run_id
from anysched.job import BoundJob, Job
from anysched.options import check_kind, check_known
from anysched.registry import PolicyOptions
from anysched.run import RunInfo, RunStatus
from anysched.run_handle import Run, RunHome
from anysched.runtime.replacing import entry_write, put_entry, surrender
from anysched.runtime.requesting import check_size, entry_of, entry_run, kept_ms, run_info
from anysched.runtime.telling import Teller
from anysched.schedules import Schedule, parse_schedule

__all__ = ["Managing"]

_PAGE = 200
_LONGEST_NOTE = 1_000  # characters
_LIVE = (RunStatus.WAITING, RunStatus.SCHEDULED, RunStatus.RETRYING, RunStatus.READY, RunStatus.RUNNING)
"""What has not begun comes first, so that nothing begins in the place of what is cancelled."""


class Managing(RunHome, ABC):
    """What a scheduler can be asked about entries, queues and nodes. It has to be open."""

    config: SchedulerConfig
    jobs: dict[str, Job[..., Any]]
    _teller: Teller

    @abstractmethod
    def _backend(self, what: str) -> Backend:
        """The backend, if the scheduler is open for ``what``."""

    def tell_refused(self, error: AnySchedError, job: str) -> None:
        """Tell the error handler what ``enqueue`` raises of arguments. While closed, nobody would await its answer."""
        with suppress(NotOpen, InvalidState):
            self._backend("enqueue")
            self._teller.report(error, ErrorContext(kind="enqueue", job=job))

    # --- entries -----------------------------------------------------------------------------------------------

    async def add(
        self,
        schedule: str | Schedule,
        bound: BoundJob[Any],
        *,
        id: str | None = None,
        replace: bool = False,
        **policy: Unpack[PolicyOptions],
    ) -> Entry:
        """Put a job on a schedule.

        Args:
            schedule: a :class:`Schedule`, a cron expression in the configured time zone, or ``"@every 30s"``. A
                :class:`Once` that has passed fires at once if it is no later than ``misfire_grace`` (without one: two
                seconds); else it is counted as missed, and the entry is finished. A fire time for which an entry of
                that id has made a run already, though it was removed since, makes no other.
            bound: the call, as ``job.bind(...)``.
            id: what the entry goes by; made for you if it is not given.
            replace: take the place of an entry of that id. Added again as it was written before, it stays as it is:
                with its place in time, its status, its counts. Changed, it moves to the new rule, what the old one had
                due is counted as missed, and its counts, and a pause, stay: the runs made so far count for a ``limit``.
            **policy: ``overlap``, ``misfire``, ``misfire_grace``, ``jitter``, ``start_at``, ``end_at``, ``limit``.

        Raises:
            EntryExists: there is an entry of that id, and ``replace`` is false.
            InvalidSchedule: the schedule cannot be, or cannot be stored.
            InvalidOption: an option does not exist or cannot be.
            PayloadTooLarge: the arguments, or the metadata, are.
        """
        backend = self._backend("add")
        rule = parse_schedule(schedule)

        if isinstance(schedule, str):
            rule = rule.with_default_timezone(self.config.timezone)

        check_kind("job", bound, BoundJob, "job.bind(...)")
        check_known(policy, PolicyOptions)

        check_size(bound, self.config.max_payload)
        spec = EntrySpec.of(rule, bound, EntryPolicy(**policy))
        entry_id = check_name("id", id) if id is not None else f"{bound.job.name}:{make_run_id(now_ms())}"
        now = from_ms(await backend.time_ms())
        write = entry_write(entry_id, spec, now)

        if not await put_entry(backend, write, now, self._teller, replace=replace):
            raise EntryExists(entry_id)

        return await self.get_entry(entry_id)

    async def get_entry(self, entry_id: str) -> Entry:
        """One entry.

        Raises:
            EntryNotFound: there is none of that id.
            RecordCorrupt: it cannot be read.
        """
        return entry_of(await self._entry(entry_id))

    async def entries(self) -> list[Entry]:
        """Every entry that can be read here, by id; the others are :meth:`unreadable_entries`."""
        found: list[Entry] = []

        for record in await self._entry_records("entries"):
            with suppress(RecordCorrupt):
                found.append(entry_of(record))

        return found

    async def unreadable_entries(self) -> dict[str, str]:
        """The ids of entries that cannot be read here, each with why: a class, say, is not imported."""
        found: dict[str, str] = {}

        for record in await self._entry_records("unreadable_entries"):
            try:
                entry_of(record)
            except RecordCorrupt as error:
                found[record.id] = str(error)

        return found

    async def pause(self, entry_id: str, *, note: str = "") -> None:
        """Stop an entry from firing, on every node, until it is resumed. Live runs go on.

        What was due by now and has not been fired counts as missed. One that has finished is left as it is.

        Args:
            entry_id: which one.
            note: words for whoever looks at it, at most 1,000 characters.

        Raises:
            EntryNotFound: there is none of that id.
            InvalidOption: the note cannot be.
        """
        backend = self._backend("pause")
        check_text("note", note, _LONGEST_NOTE)
        record = await self._entry(entry_id)
        now_at = await backend.time_ms()

        if 0 < record.next_ms <= now_at:
            await surrender(backend, entry_id, from_ms(now_at), self._teller)

        if not await backend.pause_entry(entry_id, note):
            raise EntryNotFound(entry_id)

    async def resume(self, entry_id: str) -> None:
        """Let a paused entry fire again, from its next time on: what the pause skipped is not caught up.

        A fire that it waited for when it was paused, and whose time has not come, it waits for again.

        Raises:
            EntryNotFound: there is none of that id.
        """
        backend = self._backend("resume")

        while True:
            record = await self._entry(entry_id)
            spec = EntrySpec.from_text(record.spec)
            limit = spec.policy.limit
            now = from_ms(await backend.time_ms())
            is_ahead = record.status == EntryStatus.PAUSED and record.next_ms > to_ms(now)
            first = from_ms(record.next_ms) if is_ahead else first_fire(spec, entry_id=entry_id, now=now)
            has_runs = limit is None or record.run_count < limit
            next_ms = to_ms(first) if first is not None and has_runs else None

            if await backend.resume_entry(entry_id, revision=record.revision, next_ms=next_ms):
                return

    async def trigger(self, entry_id: str, *, overlap: Overlap | None = None) -> Run[Any] | None:
        """Make one run of an entry now; its schedule stays untouched. Works on paused and finished entries too.

        It is no fire: the run is among the entry's ``last_runs``, but does not count in ``run_count``, in ``limit`` or
        for ``last_run_at``.

        Args:
            entry_id: which one.
            overlap: instead of the entry's own policy.

        Returns:
            The run, or ``None`` if the overlap policy skipped it.

        Raises:
            EntryNotFound: there is none of that id.
        """
        backend = self._backend("trigger")
        record = await self._entry(entry_id)
        spec = EntrySpec.from_text(record.spec)
        policy = EntryPolicy(overlap=overlap) if overlap is not None else spec.policy
        run_id = make_run_id(now_ms())
        ttl_ms = kept_ms(spec.options, self.jobs.get(spec.job), self.config)
        run = entry_run(entry_id, spec, await backend.time_ms(), ttl_ms=ttl_ms, run_id=run_id)
        answer = await backend.trigger(entry_id, run, overlap=policy.overlap)

        if answer is None:
            raise EntryNotFound(entry_id)

        return Run(run_id, spec.job, self, self._types(spec.job), created=True) if answer.made else None

    async def remove(self, entry_id: str) -> None:
        """Remove an entry. Its live runs go on; those that wait for them are cancelled.

        Raises:
            EntryNotFound: there is none of that id.
        """
        if not await self._backend("remove").remove_entry(entry_id):
            raise EntryNotFound(entry_id)

    # --- queues, nodes, runs -----------------------------------------------------------------------------------

    async def pause_queue(self, queue: str) -> None:
        """Claim nothing from a queue, on any node, until it is resumed. What runs goes on, and so does enqueueing."""
        await self._backend("pause_queue").pause_queue(check_name("queue", queue))

    async def resume_queue(self, queue: str) -> None:
        """Claim from a queue again."""
        await self._backend("resume_queue").resume_queue(check_name("queue", queue))

    async def queues(self) -> list[QueueRecord]:
        """Every queue that was used, by name."""
        return await self._backend("queues").list_queues()

    async def nodes(self) -> list[NodeRecord]:
        """Every live node."""
        return await self._backend("nodes").list_nodes()

    async def totals(self) -> Totals:
        """Counts over the whole namespace."""
        return await self._backend("totals").totals()

    async def runs(
        self, *, status: RunStatus | str | None = None, queue: str | None = None, limit: int = 50
    ) -> list[RunInfo]:
        """Runs, newest first within a status: every live and failed one, and the newest 1,000 of the others.

        Args:
            status: only these.
            queue: only of this queue.
            limit: at most so many.

        Raises:
            InvalidOption: there is no such status.
        """
        backend = self._backend("runs")
        return await _read(backend, _status(status).value if status is not None else None, queue, limit)

    async def retry_failed(self, *, job: str | None = None, queue: str | None = None, limit: int = 1_000) -> int:
        """Make failed runs ready again; returns how many. Those whose key another run has by now stay as they are.

        Args:
            job: only of this job.
            queue: only of this queue.
            limit: at most so many, the newest of these.
        """
        backend = self._backend("retry_failed")
        chosen = await _find(backend, (RunStatus.FAILED,), job, queue, limit)
        return sum([await backend.revive(run_id) == RunStatus.FAILED for run_id in chosen])

    async def cancel_runs(
        self,
        *,
        status: RunStatus | str | None = None,
        job: str | None = None,
        queue: str | None = None,
        limit: int = 1_000,
    ) -> int:
        """Cancel runs that have not ended, each as by :meth:`Run.cancel`; returns how many.

        What is enqueued meanwhile, or becomes ready again, may be left: pause its queue first, or remove its entry, and
        repeat it.

        Args:
            status: only of this status, one of those of live runs.
            job: only of this job.
            queue: only of this queue.
            limit: at most so many.

        Raises:
            InvalidOption: there is no such status, or runs of it have ended.
        """
        backend = self._backend("cancel_runs")
        wanted = _LIVE if status is None else (_status(status),)

        if wanted[0].is_final:
            raise InvalidOption("status", str(wanted[0]), f"one of {', '.join(_LIVE)}")

        answers = [await backend.cancel(run_id) for run_id in await _find(backend, wanted, job, queue, limit)]
        return sum(answer is not None and answer.requested for answer in answers)

    # --- inside ------------------------------------------------------------------------------------------------

    async def _entry_records(self, what: str) -> list[EntryRecord | Corrupt]:
        backend = self._backend(what)
        found: list[EntryRecord | Corrupt] = []
        cursor = ""

        while True:
            page = await backend.list_entries(cursor=cursor, limit=_PAGE)
            found += page.entries
            cursor = page.cursor

            if not cursor:
                return found

    async def _entry(self, entry_id: str) -> EntryRecord:
        record = await self._backend("get_entry").get_entry(entry_id)

        if record is None:
            raise EntryNotFound(entry_id)

        if isinstance(record, Corrupt):
            raise RecordCorrupt(f"entry {entry_id!r}", record.reason)

        return record

    def _types(self, job: str) -> Any:
        known = self.jobs.get(job)
        return known.types if known is not None else None


async def _read(
    backend: Backend, status: str | None, queue: str | None, limit: int, job: str | None = None
) -> list[RunInfo]:
    """Runs, newest first within a status, without those that cannot be read."""
    found: dict[str, RunInfo] = {}
    cursor = ""

    if limit <= 0:
        await checkpoint()

    while len(found) < limit:
        size = _PAGE if job is not None else min(_PAGE, limit - len(found))
        page = await backend.list_runs(status=status, queue=queue, cursor=cursor, limit=size)

        for record in page.runs:
            with suppress(RecordCorrupt):
                info = run_info(record)

                if job in (None, info.job):
                    found[info.id] = info

        cursor = page.cursor

        if not cursor:
            break

    return list(found.values())[: max(limit, 0)]  # noqa: ASYNC910 - each page is a checkpoint, or there is one above


async def _find(
    backend: Backend, statuses: Sequence[RunStatus], job: str | None, queue: str | None, limit: int
) -> list[str]:
    """Their ids: all before anything is done about them, since what leaves a list moves what is behind it."""
    found: dict[str, None] = {}

    for status in statuses:
        found.update((info.id, None) for info in await _read(backend, status.value, queue, limit - len(found), job))

    return list(found)  # noqa: ASYNC910 - there is at least one status, and reading is a checkpoint


def _status(value: object) -> RunStatus:
    try:
        return RunStatus(value)
    except ValueError:
        raise InvalidOption("status", value, f"one of {', '.join(RunStatus)}") from None
