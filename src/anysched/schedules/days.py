"""Which dates a rule allows.

croniter knows the calendar: which days of a month are the first Monday, the last Friday, the last day or the weekday
nearest to the 15th. It is asked about one part of one day field at a time, with numbers that are spelled out, and only
about the 14 kinds of year there are; the answers are kept as bit masks. How the two day fields combine is decided here.

It is imported with the first rule that needs it: its import costs as much as a good part of anysched's own.
"""

from __future__ import annotations

import calendar
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol, cast

from attrs import frozen

from anysched.schedules.fields import Field

__all__ = ["DayRule", "day_rule"]

_EVERY_DAY: Final = 0xFFFF_FFFE
_LAST_ORDINAL: Final = date.max.toordinal()

# The same kind of year comes back after 40 years at most: a leap year around a century that is none.
_YEARS_OF_A_CYCLE: Final = 40

# For each weekday of January 1st, and each length, a year of that kind; 28 years have all of them.
_YEAR_OF_KIND: Final = {(date(year, 1, 1).weekday(), calendar.isleap(year)): year for year in range(2000, 2028)}


class _Iterator(Protocol):
    """The part of croniter that is used."""

    def get_next(self, ret_type: type[datetime], /) -> datetime: ...


@frozen
class DayRule:
    """The dates that the day of month, month and day of week allow together.

    Attributes:
        months: the months, as numbers from 1.
        by_month: croniter's notation for days of the month, a part each; empty: every day.
        by_week: croniter's notation for days of the week, a part each; empty: every day.
        both: whether a date has to satisfy both, instead of either.
    """

    months: frozenset[int]
    by_month: tuple[str, ...]
    by_week: tuple[str, ...]
    both: bool

    def mask(self, year: int, month: int) -> int:
        """The days of one month: bit ``n`` is set where the n-th is allowed. Bits past its end mean nothing."""
        if month not in self.months:
            return 0

        alike = _YEAR_OF_KIND[date(year, 1, 1).weekday(), calendar.isleap(year)]
        of_month = _union(self.by_month, alike, month)
        of_week = _union(self.by_week, alike, month)

        return of_month & of_week if self.both else of_month | of_week

    def next_date(self, ordinal: int) -> int | None:
        """The first allowed date at or after one, both as proleptic ordinals; None where there is none."""
        if not (self.by_month or self.by_week) and len(self.months) == 12:
            return ordinal if ordinal <= _LAST_ORDINAL else None

        if ordinal > _LAST_ORDINAL:
            return None

        start = date.fromordinal(max(ordinal, 1))
        year, month, day = start.year, start.month, start.day
        last_year = min(year + _YEARS_OF_A_CYCLE, date.max.year)

        while year <= last_year:
            days = self.mask(year, month) >> day << day if month in self.months else 0

            if days:
                # The lowest bit that is set.
                found = (days & -days).bit_length() - 1

                if found <= calendar.monthrange(year, month)[1]:
                    return date(year, month, found).toordinal()

            day = 1
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)

        return None


def day_rule(days: Field, months: Field, weekdays: Field) -> DayRule:
    """Combine the three fields as Vixie cron does.

    A date has to satisfy either day field when both are restricted, and both when one of them starts with ``*``
    (crontab(5), and ``find_jobs`` in cron.c, which goes by that first character: ``*/2`` is no restriction to it).
    """
    by_month = [] if len(days.values) == 31 else [",".join(map(str, days.values))] * bool(days.values)
    by_month += [] if len(days.values) == 31 else days.specials
    by_week = [] if len(weekdays.values) == 7 else [",".join(map(str, weekdays.values))] * bool(weekdays.values)
    by_week += [] if len(weekdays.values) == 7 else weekdays.specials

    rule = DayRule(
        frozenset(months.values),
        tuple(f"0 0 {part} * *" for part in by_month),
        tuple(f"0 0 * * {part}" for part in by_week),
        days.starred or weekdays.starred,
    )
    # Whatever croniter has against a part, and the time its import takes, shall come when the rule is written.
    rule.mask(2000, months.values[0])

    return rule


def _union(parts: tuple[str, ...], year: int, month: int) -> int:
    if not parts:
        return _EVERY_DAY

    mask = 0

    for part in parts:
        mask |= _days_in(part, year, month)

    return mask


@lru_cache(maxsize=32768)
def _days_in(part: str, year: int, month: int) -> int:
    """Ask croniter for the days of one month, as a bit mask."""
    from croniter import CroniterBadDateError, croniter

    before = datetime(year, month, 1) - timedelta(minutes=1)
    days = cast("_Iterator", croniter(part, before, max_years_between_matches=1))
    mask = 0

    while True:
        try:
            found = days.get_next(datetime)
        except CroniterBadDateError:
            return mask

        if (found.year, found.month) != (year, month):
            return mask

        mask |= 1 << found.day
