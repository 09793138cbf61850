"""What becomes of fires that overlap or come late, and from when to when there are any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from anysched.clock import to_ms
from anysched.durations import LONGEST, Duration, parse_duration
from anysched.errors import InvalidOption
from anysched.options import require_aware
from anysched.values import is_whole

__all__ = ["EntryPolicy", "Misfire", "Overlap"]

Overlap = Literal["skip", "queue_one", "queue_all", "cancel_previous", "allow"]
"""What becomes of a fire while a run of the entry is live."""

Misfire = Literal["latest", "all", "skip"]
"""What becomes of fires that come late. ``"all"`` wants an ``overlap`` that lets them run: see :class:`EntryPolicy`."""


def _one_of(kind: Any) -> Callable[[object, Attribute[Any], object], None]:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value not in get_args(kind):
            allowed = f"one of {', '.join(get_args(kind))}"
            raise InvalidOption(attribute.name, value, allowed)

    return check


# A type checker takes a parameter's type from its converter, and that of a call's result it does not work out: so each
# converter is a function with a name.


def _to_misfire_grace(value: Duration | None) -> timedelta | None:
    return _length_of("misfire_grace", value)


def _to_jitter(value: Duration | None) -> timedelta | None:
    return _length_of("jitter", value)


def _to_start_at(value: datetime | None) -> datetime | None:
    return _instant_of("start_at", value)


def _to_end_at(value: datetime | None) -> datetime | None:
    return _instant_of("end_at", value)


def _length_of(name: str, value: Duration | None) -> timedelta | None:
    return None if value is None else parse_duration(value, name=name, maximum=LONGEST)


def _instant_of(name: str, value: datetime | None) -> datetime | None:
    return None if value is None else require_aware(name, value)


def _check_limit(_: object, __: Attribute[Any], value: object) -> None:
    if value is not None and not is_whole(value, 1):
        raise InvalidOption("limit", value, "a whole number from 1, or None for no limit")


@frozen(kw_only=True)
class EntryPolicy:
    """What becomes of fires that overlap or come late, and from when to when there are any.

    Args:
        overlap: while a run of the entry is live: ``"skip"`` the fire and count it, ``"queue_one"`` or ``"queue_all"``
            of them behind it, ``"cancel_previous"``, or ``"allow"`` both.
        misfire: of fires that were missed: make a run for the ``"latest"``, for ``"all"`` of them, or ``"skip"`` them.
            Those of ``"all"`` are made at once, so they overlap: with ``overlap="queue_all"`` they run one after
            another, with ``"allow"`` side by side; with the default the first runs, and the others count as skipped.
        misfire_grace: what is later than this is dropped and counted, whatever ``misfire`` says; None: nothing is. A
            fire that is up to two seconds late is in time.
        jitter: each fire is put off by up to this, by the same on every node, and never past the next one, or the end.
        start_at: there is no fire before this instant.
        end_at: there is none after this.
        limit: the entry is finished after so many runs; None: never.

    Raises:
        InvalidOption: one of them cannot be; also ``end_at`` before ``start_at``, or an instant from the year 9000 on.
        InvalidDuration: a length of time cannot be read, is negative, or more than a thousand years.
        NaiveDatetime: an instant has no time zone.
    """

    overlap: Overlap = field(default="skip", validator=_one_of(Overlap))
    misfire: Misfire = field(default="latest", validator=_one_of(Misfire))
    misfire_grace: timedelta | None = field(default=None, converter=_to_misfire_grace)
    jitter: timedelta | None = field(default=None, converter=_to_jitter)
    start_at: datetime | None = field(default=None, converter=_to_start_at)
    end_at: datetime | None = field(default=None, converter=_to_end_at)
    limit: int | None = field(default=None, validator=_check_limit)

    def __attrs_post_init__(self) -> None:
        # Python compares two datetimes of one zone by what clocks show.
        if self.start_at is not None and self.end_at is not None and to_ms(self.end_at) < to_ms(self.start_at):
            allowed = f"an instant not before start_at, {self.start_at.isoformat()}"
            raise InvalidOption("end_at", self.end_at.isoformat(), allowed)
