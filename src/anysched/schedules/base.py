"""What every schedule can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, tzinfo

from attrs import frozen

from anysched.durations import shortened
from anysched.errors import InvalidSchedule

__all__ = ["Schedule"]


@frozen
class Schedule(ABC):
    """A pure rule for *when*: immutable, hashable, comparable; it reads no clock.

    ``str()`` of a schedule is for people, :meth:`to_text` is for storage.
    """

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire strictly after an instant.

        Args:
            instant: an aware datetime, in any zone.

        Returns:
            An aware datetime, or None where the schedule never fires again, or only after the year 9999.

        Raises:
            NaiveDatetime: ``instant`` has no time zone.
        """

    @abstractmethod
    def to_text(self) -> str:
        """The schedule as text to be stored; :func:`anysched.schedules.parse_stored` makes an equal one of it.

        Raises:
            InvalidSchedule: it has a time zone without a name that another machine would know.
        """

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """The next fires strictly after an instant, at most ``count`` of them, in order.

        Raises:
            NaiveDatetime: ``after`` has no time zone.
            InvalidSchedule: ``count`` is negative.
        """
        if count < 0:
            raise InvalidSchedule("count", shortened(count), "a number that is not negative")

        fires: list[datetime] = []

        while len(fires) < count and (fire := self.next_after(after)) is not None:
            fires.append(fire)
            after = fire

        return fires

    def for_entry(self, entry_id: str) -> Schedule:
        """This schedule as the entry of that id keeps it. Only ``H`` in a cron expression depends on the entry."""
        return self

    def with_default_timezone(self, tz: str | tzinfo) -> Schedule:
        """This schedule in a time zone, if it is one that needs a zone and was given none.

        Raises:
            InvalidSchedule: there is no such zone.
        """
        return self
