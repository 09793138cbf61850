"""A single instant."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen

from anysched.schedules.base import Schedule
from anysched.schedules.instants import require_aware, ticks_of
from anysched.schedules.stored import StoredSchedule, encode_stored, instant_to_text

__all__ = ["Once"]


def _aware(value: datetime) -> datetime:
    return require_aware(value, "at")


@frozen
class Once(Schedule):
    """A single fire. Two of them are equal when they are the same instant, in whatever zone.

    Args:
        at: when; an aware datetime.

    Raises:
        NaiveDatetime: ``at`` has no time zone.
        InvalidSchedule: ``at`` is not a datetime.
    """

    at: datetime = field(converter=_aware, eq=ticks_of)

    def next_after(self, instant: datetime) -> datetime | None:
        """The fire, in the zone it was given in, if it is still ahead.

        Raises:
            NaiveDatetime: ``instant`` has no time zone.
        """
        return self.at if ticks_of(instant) < ticks_of(self.at) else None

    def to_text(self) -> str:
        """The schedule as text to be stored; see :meth:`Schedule.to_text`."""
        at, zone = instant_to_text(self.at)

        return encode_stored(StoredSchedule(once=at, tz=zone))

    def __str__(self) -> str:
        return f"once at {self.at.isoformat()}"
