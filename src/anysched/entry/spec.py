"""What is stored of an entry."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from attrs import evolve, field, frozen

from anysched.clock import from_ms, to_ms
from anysched.durations import LONGEST, format_duration
from anysched.entry.policy import EntryPolicy
from anysched.errors import CannotDecode, InvalidOption
from anysched.identifiers import check_name, digest
from anysched.job import BoundJob
from anysched.options import RunSettings, check_priority, decode_options, require_aware
from anysched.schedules import Every, Once, Schedule, check_stored, parse_stored

__all__ = ["EntrySpec", "check_schedule"]

_VERSION: Final = 1
_MS: Final = timedelta(milliseconds=1)


class _StoredPolicy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    overlap: str = "skip"
    misfire: str = "latest"
    grace_ms: int | None = None
    jitter_ms: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int | None = None


class _StoredSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    v: int
    job: str
    schedule: str
    payload: str = ""
    queue: str = "default"
    priority: int = 0
    expires_ms: int = 0
    deadline_after_ms: int = 0
    options: str = ""
    policy: _StoredPolicy = _StoredPolicy()


class _Version(msgspec.Struct, frozen=True):
    v: int


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(_StoredSpec)
_version_decoder = msgspec.json.Decoder(_Version)


@frozen(kw_only=True)
class EntrySpec:
    """All that is stored of an entry: when, what, with what, and how.

    Attributes:
        schedule: when.
        job: the name of the job.
        payload: its encoded arguments.
        queue: where its runs wait.
        priority: of its runs.
        expires_ms: a run that was not started this long after its fire never is; 0: no limit.
        deadline_after_ms: each run has to have ended this long after it was made; 0: no limit.
        options: :class:`~anysched.options.RunOptions` as text.
        policy: the rest.
    """

    schedule: Schedule
    job: str
    payload: str = ""
    queue: str = "default"
    priority: int = 0
    expires_ms: int = 0
    deadline_after_ms: int = 0
    options: str = ""
    policy: EntryPolicy = field(factory=EntryPolicy)

    @classmethod
    def of(cls, schedule: Schedule, bound: BoundJob[Any], policy: EntryPolicy) -> EntrySpec:
        """The description of an entry.

        Raises:
            InvalidOption: the bound job has options that are for a single run, or an instant is too far ahead.
            InvalidSchedule: the schedule cannot be stored, as :func:`check_schedule` says.
        """
        settings = bound.settings
        refuse_single(settings)
        check_schedule(schedule)
        return cls(
            schedule=schedule,
            job=bound.job.name,
            payload=bound.payload,
            queue=settings.queue,
            priority=settings.priority,
            expires_ms=settings.expires_ms,
            deadline_after_ms=settings.deadline_after_ms,
            options=settings.options,
            policy=policy,
        )

    def anchored(self, now: datetime) -> EntrySpec:
        """The same with a phase for a period that was given none: it counts from ``start_at``, else from now.

        A period's slots are then known from the stored text alone, on every node and after every restart.
        """
        schedule = self.schedule

        if not isinstance(schedule, Every) or schedule.anchor is not None or schedule.after_completion:
            return self

        # Storage counts in milliseconds; an anchor in between would move by a part of one.
        start = self.policy.start_at or now
        return evolve(self, schedule=schedule.anchored(from_ms(to_ms(start))))

    def to_text(self) -> str:
        """The description as text; equal ones give equal text."""
        policy = self.policy
        stored = _StoredSpec(
            v=_VERSION,
            job=self.job,
            schedule=self.schedule.to_text(),
            payload=self.payload,
            queue=self.queue,
            priority=self.priority,
            expires_ms=self.expires_ms,
            deadline_after_ms=self.deadline_after_ms,
            options=self.options,
            policy=_StoredPolicy(
                overlap=policy.overlap,
                misfire=policy.misfire,
                grace_ms=_to_ms(policy.misfire_grace),
                jitter_ms=_to_ms(policy.jitter),
                start_ms=None if policy.start_at is None else to_ms(policy.start_at),
                end_ms=None if policy.end_at is None else to_ms(policy.end_at),
                limit=policy.limit,
            ),
        )
        return _encoder.encode(stored).decode()

    @property
    def revision(self) -> str:
        """A short name for this very description: another one has another."""
        return digest(self.to_text().encode(), 10).hex()

    @classmethod
    def from_text(cls, text: str) -> EntrySpec:
        """What :meth:`to_text` gave. What was read before is kept, so that ticking costs no parsing.

        Raises:
            CannotDecode: it is something else, or was stored by a newer version.
        """
        return _read_spec(text)


def _to_ms(length: timedelta | None) -> int | None:
    return None if length is None else -(-length // _MS)


# As many entries as a busy program has; one takes a few kilobytes.
@lru_cache(maxsize=4096)
def _read_spec(text: str) -> EntrySpec:
    job = "?"

    try:
        _check_version(_version_decoder.decode(text).v)
        stored = _decoder.decode(text)
        job = stored.job
        decode_options(stored.options, job)
        return _spec_of(stored)
    except CannotDecode:
        raise
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise CannotDecode("entry", job, str(error)) from None


def _check_version(version: int) -> None:
    if version != _VERSION:
        reason = f"it has version {version}, and this anysched reads version {_VERSION}"
        raise CannotDecode("entry", "?", reason)


def _spec_of(stored: _StoredSpec) -> EntrySpec:
    policy = stored.policy
    grace, jitter = policy.grace_ms, policy.jitter_ms
    times = (stored.expires_ms, stored.deadline_after_ms)

    if min(times) < 0:
        raise InvalidOption("expires_ms", min(times), "a number that is not negative")

    return EntrySpec(
        schedule=parse_stored(stored.schedule),
        job=check_name("job", stored.job),
        payload=stored.payload,
        queue=check_name("queue", stored.queue),
        priority=check_priority(stored.priority),
        expires_ms=stored.expires_ms,
        deadline_after_ms=stored.deadline_after_ms,
        options=stored.options,
        policy=EntryPolicy(
            # The validators know what these may be.
            overlap=policy.overlap,  # pyright: ignore[reportArgumentType]
            misfire=policy.misfire,  # pyright: ignore[reportArgumentType]
            misfire_grace=None if grace is None else min(grace * _MS, LONGEST),
            jitter=None if jitter is None else min(jitter * _MS, LONGEST),
            start_at=None if policy.start_ms is None else from_ms(policy.start_ms),
            end_at=None if policy.end_ms is None else from_ms(policy.end_ms),
            limit=policy.limit,
        ),
    )


def check_schedule(schedule: Schedule) -> None:
    """Refuse what cannot be stored.

    Raises:
        InvalidOption: it is for an instant that is too far ahead.
        InvalidSchedule: its text does not lead back to it: it is of a class without a scheme, or in a zone without a
            name.
    """
    if isinstance(schedule, Once):
        require_aware("at", schedule.at)

    check_stored(schedule)


def refuse_single(settings: RunSettings) -> None:
    """Refuse what makes sense for one run only.

    Raises:
        InvalidOption: there is such a setting.
    """
    instants = {"at": settings.at_ms, "expires": settings.expires_at_ms, "deadline": settings.deadline_ms}
    single = {
        "delay": settings.delay_ms and format_duration(timedelta(milliseconds=settings.delay_ms)),
        "key": "by_arguments" if settings.key_by_arguments else settings.key,
        "run_id": settings.run_id,
        **{name: ms and from_ms(ms).isoformat() for name, ms in instants.items()},
    }

    for name, value in single.items():
        if value:
            raise InvalidOption(name, value, "nothing for an entry, whose fires make many runs")
