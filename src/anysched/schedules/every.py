"""Fixed periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import field, frozen
from msgspec import UNSET

from anysched.durations import Duration, format_duration, parse_duration
from anysched.errors import InvalidDuration, InvalidSchedule
from anysched.schedules.base import Schedule
from anysched.schedules.instants import datetime_at, require_aware, ticks_of
from anysched.schedules.stored import StoredSchedule, encode_stored, instant_to_text

__all__ = ["Every"]

_MICROSECOND: Final = timedelta(microseconds=1)

# Storage counts in milliseconds.
_SHORTEST: Final = timedelta(milliseconds=1)

# More than there are milliseconds in the longest timedelta.
_LARGEST: Final = 10**18


def _ticks_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else ticks_of(instant)


@frozen(init=False)
class Every(Schedule):
    """A fire each period.

    The slots are at ``anchor + n * period`` for every whole number ``n``, before the anchor as well as after it: the
    anchor sets the phase, not the beginning. They are computed from the anchor each time, so they do not drift, and
    in real time, so that daylight saving does not touch them. Without an anchor the next slot is one period after the
    instant asked about; :meth:`anchored` gives one.

    Args:
        period: the length of the period, from a millisecond.
        weeks: with those below, the other way to say it. They add up.
        days: days of 24 hours.
        hours: hours.
        minutes: minutes.
        seconds: seconds.
        milliseconds: milliseconds.
        anchor: an aware datetime that is a slot.
        after_completion: count from the end of the run before ("fixed delay"); there is no anchor then.

    Raises:
        InvalidDuration: the period is given twice, not at all, cannot be read, or is too short or too long.
        InvalidSchedule: the anchor is not a datetime, or cannot be there.
        NaiveDatetime: the anchor has no time zone.
    """

    period: timedelta
    anchor: datetime | None = field(eq=_ticks_or_none)
    after_completion: bool

    def __init__(
        self,
        period: Duration | None = None,
        *,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
        anchor: datetime | None = None,
        after_completion: bool = False,
    ) -> None:
        parts = {
            "weeks": weeks,
            "days": days,
            "hours": hours,
            "minutes": minutes,
            "seconds": seconds,
            "milliseconds": milliseconds,
        }
        given = {name: value for name, value in parts.items() if _is_number(name, value) and value != 0}

        if period is None:
            period = _sum_of(given)
        elif given:
            raise InvalidDuration("period", period, f"one value or keywords, not also {', '.join(given)}")

        if anchor is not None:
            require_aware(anchor, "anchor")

            if after_completion:
                raise InvalidSchedule(
                    "anchor", anchor, "None with after_completion=True, which counts from the end of a run"
                )

        object.__setattr__(self, "period", parse_duration(period, name="period", minimum=_SHORTEST))
        object.__setattr__(self, "anchor", anchor)
        object.__setattr__(self, "after_completion", bool(after_completion))

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot strictly after an instant, in the zone of the anchor; without one, of the instant.

        Raises:
            NaiveDatetime: ``instant`` has no time zone.
        """
        after = ticks_of(instant)
        period = self.period // _MICROSECOND

        if self.anchor is None:
            return datetime_at(after + period, instant.tzinfo or UTC)

        anchor = ticks_of(self.anchor)

        return datetime_at(anchor + ((after - anchor) // period + 1) * period, self.anchor.tzinfo or UTC)

    def anchored(self, at: datetime) -> Every:
        """This schedule with an anchor, if it needs one and has none.

        Raises:
            NaiveDatetime: ``at`` has no time zone.
        """
        require_aware(at, "anchor")

        return self if self.anchor is not None or self.after_completion else Every(self.period, anchor=at)

    def to_text(self) -> str:
        """The schedule as text to be stored; see :meth:`Schedule.to_text`."""
        anchor, zone = (UNSET, UNSET) if self.anchor is None else instant_to_text(self.anchor)

        return encode_stored(
            StoredSchedule(
                every=format_duration(self.period),
                anchor=anchor,
                tz=zone,
                after_completion=True if self.after_completion else UNSET,
            )
        )

    def __str__(self) -> str:
        text = f"every {format_duration(self.period)}"

        if self.after_completion:
            return f"{text} after completion"

        return text if self.anchor is None else f"{text} from {self.anchor.isoformat()}"


_UNITS: Final = {
    "weeks": timedelta(weeks=1),
    "days": timedelta(days=1),
    "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1),
    "seconds": timedelta(seconds=1),
    "milliseconds": timedelta(milliseconds=1),
}


def _is_number(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST < value < _LARGEST:
        raise InvalidDuration(name, value, "a finite number")

    return True


def _sum_of(parts: dict[str, float]) -> timedelta:
    if not parts:
        raise InvalidDuration("period", None, "a length of time, such as Every('90s') or Every(minutes=15)")

    from fractions import Fraction

    total = Fraction(0)

    for name, value in parts.items():
        # The digits that Python prints for a float are what was meant: 0.1 is a tenth, not the float nearest to it.
        number = Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)
        total += number * (_UNITS[name] // _MICROSECOND)

    try:
        return timedelta(microseconds=round(total))
    except OverflowError:
        raise InvalidDuration("period", next(iter(parts.values())), "at most 999999999 days") from None
