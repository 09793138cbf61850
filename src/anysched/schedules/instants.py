"""Instants as integers.

Python compares and subtracts two aware datetimes of one zone as if the zone had no transitions, and raises near the
ends of the calendar. Schedules therefore count in *ticks*: whole microseconds of UTC, with midnight of the day whose
proleptic ordinal is ``n`` at ``n * DAY``. A *reading* is what a clock on the wall shows, counted the same way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from anysched.errors import InvalidSchedule, NaiveDatetime

__all__ = ["DAY", "SECOND", "datetime_at", "require_aware", "ticks_of", "ticks_of_offset"]

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


def require_aware(value: object, name: str) -> datetime:
    """The value, if it is an aware datetime.

    Raises:
        NaiveDatetime: it has no time zone.
        InvalidSchedule: it is not a datetime.
    """
    if not isinstance(value, datetime):
        raise InvalidSchedule(name, value, "an aware datetime")

    if value.utcoffset() is None:
        raise NaiveDatetime(name, value)

    return value


def ticks_of_offset(offset: timedelta) -> int:
    """A UTC offset in microseconds."""
    return offset // _MICROSECOND


def ticks_of(instant: datetime) -> int:
    """An aware datetime as ticks. It never overflows, unlike a conversion to UTC.

    Raises:
        NaiveDatetime: it has no time zone.
        InvalidSchedule: it is not a datetime.
    """
    offset = require_aware(instant, "instant").utcoffset() or timedelta(0)
    seconds = instant.hour * 3600 + instant.minute * 60 + instant.second
    reading = instant.toordinal() * DAY + seconds * SECOND + instant.microsecond

    return reading - offset // _MICROSECOND


def datetime_at(ticks: int, tz: tzinfo) -> datetime | None:
    """The instant as a datetime of that zone, or None where the calendar of ``datetime`` does not reach."""
    try:
        return (_FIRST + timedelta(microseconds=ticks - DAY)).astimezone(tz)
    except OverflowError:
        return None
