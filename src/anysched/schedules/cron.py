"""Cron expressions, in zones whose clocks jump.

What makes it hard: an expression speaks of readings of a clock on the wall, and a schedule has to name instants. The
clock skips some readings and shows others twice. What always holds here: real time is walked forwards, in stretches of
one offset each, so that an answer is an instant after the one asked about, by construction, and its reading matches.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen
from msgspec import UNSET

from anysched.errors import InvalidSchedule
from anysched.schedules.base import Schedule
from anysched.schedules.instants import DAY, SECOND, datetime_at, ticks_of
from anysched.schedules.stored import StoredSchedule, encode_stored
from anysched.schedules.zones import Piece, Timeline, resolve_timezone, timeline_of, timezone_key, timezone_name

if TYPE_CHECKING:
    from anysched.schedules.expressions import Rule

__all__ = ["Cron", "DaylightSaving", "check_daylight_saving"]

DaylightSaving = Literal["default", "literal"]

_LAST_DAY: Final = date.max.toordinal()
_CYCLE: Final = 146_097  # days


@frozen(init=False)
class Cron(Schedule):
    """A cron expression.

    Five fields as in crontab(5), six with the seconds first, or a name such as ``@daily``. The dialect is Vixie cron's:
    when day of month and day of week are both restricted, either one is enough. ``L`` is the last day of a month,
    ``5L`` its last Friday, ``mon#1`` its first Monday, ``15W`` the weekday nearest to the 15th. ``H`` stands for a
    value made from the entry's id, as in Jenkins. A zone may be named in front: ``CRON_TZ=Europe/Berlin 0 9 * * *``.

    Daylight saving, by default: an expression whose seconds, minutes and hours are plain numbers, or lists of them, is
    *fixed*. A reading of the clock that does not exist runs at the first instant after the gap, once; one that happens
    twice runs at the first of the two. An expression with a wildcard, range or step in one of the three steps in real
    time: what the gap swallows is absent, what repeats runs again. With ``dst="literal"`` every expression runs at
    every reading that exists, each time it exists.

    Args:
        expression: the expression.
        tz: the name of a zone, or a ``tzinfo``; UTC if neither this nor the expression names one.
        dst: ``"default"`` or ``"literal"``.
        entry_id: what ``H`` is made from; see :meth:`for_entry`.

    Attributes:
        expression: the expression as written, without the name of a zone, with single spaces.
        tz: the zone.
        tz_given: whether the zone was named, rather than assumed. Does not count in comparisons.
        dst: the rule for daylight saving.
        entry_id: what ``H`` is made from; None where there is no ``H`` in it, or none has been set.

    Raises:
        InvalidSchedule: something in it is not allowed, or could be read in more than one way.
    """

    expression: str
    tz: tzinfo = field(eq=timezone_key)
    dst: DaylightSaving
    entry_id: str | None
    tz_given: bool = field(eq=False, repr=False)

    def __init__(
        self,
        expression: str,
        *,
        tz: str | tzinfo | None = None,
        dst: DaylightSaving = "default",
        entry_id: str | None = None,
    ) -> None:
        from anysched.schedules.expressions import checked_text, split_zone

        body, named = split_zone(checked_text(expression))

        check_daylight_saving(dst)

        zone = None if named is None else resolve_timezone(named)

        if tz is not None:
            given = resolve_timezone(tz)

            if zone is not None and timezone_key(zone) != timezone_key(given):
                raise InvalidSchedule("tz", tz, f"the zone that the expression itself names, {named}")

            zone = given

        hashed = _rule(body, None).hashed
        object.__setattr__(self, "expression", body)
        object.__setattr__(self, "tz", zone if zone is not None else UTC)
        object.__setattr__(self, "dst", dst)
        object.__setattr__(self, "entry_id", entry_id if hashed else None)
        object.__setattr__(self, "tz_given", zone is not None)

    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire strictly after an instant, in the zone of the schedule.

        Raises:
            NaiveDatetime: ``instant`` has no time zone.
            InvalidSchedule: there is an ``H`` in the expression, and nothing to make its value from.
        """
        rule = _rule(self.expression, self.entry_id)

        if rule.hashed and self.entry_id is None:
            raise InvalidSchedule("expression", self.expression, "an entry's id for H: use for_entry(entry_id)")

        fire = _next_fire(rule, timeline_of(self.tz), ticks_of(instant), self.dst == "default" and rule.fixed)

        return datetime_at(fire, self.tz) if fire is not None else None

    def for_entry(self, entry_id: str) -> Cron:
        """The schedule whose ``H`` is made from that id; the schedule itself where there is no ``H`` in it."""
        if not _rule(self.expression, None).hashed or entry_id == self.entry_id:
            return self

        return self._replaced(self.tz, self.tz_given, entry_id)

    def with_default_timezone(self, tz: str | tzinfo) -> Cron:
        """The schedule in that zone, unless one was named when it was made.

        Raises:
            InvalidSchedule: there is no such zone.
        """
        zone = resolve_timezone(tz)

        return self if self.tz_given else self._replaced(zone, True, self.entry_id)

    def to_text(self) -> str:
        """The schedule as text to be stored; see :meth:`Schedule.to_text`."""
        return encode_stored(
            StoredSchedule(
                cron=self.expression,
                tz=timezone_name(self.tz),
                dst=UNSET if self.dst == "default" else self.dst,
                entry_id=UNSET if self.entry_id is None else self.entry_id,
            )
        )

    def __str__(self) -> str:
        try:
            zone = timezone_name(self.tz)
        except InvalidSchedule:
            zone = str(self.tz)

        return f"{self.expression} ({zone}{', literal' if self.dst == 'literal' else ''})"

    def _replaced(self, tz: tzinfo, given: bool, entry_id: str | None) -> Cron:
        return Cron(self.expression, tz=tz if given else None, dst=self.dst, entry_id=entry_id)


def check_daylight_saving(value: object) -> None:
    """Refuse what is no rule for daylight saving.

    Raises:
        InvalidSchedule: it is none.
    """
    if value not in ("default", "literal"):
        raise InvalidSchedule("dst", value, "'default' or 'literal'")


@lru_cache(maxsize=4096)
def _rule(expression: str, entry_id: str | None) -> Rule:
    """What an expression stands for."""
    # The grammar is imported with the first expression: a program that has none does without.
    from anysched.schedules.expressions import compile_expression

    return compile_expression(expression, entry_id)


# --- walking through real time -------------------------------------------------------------------------------


def _next_fire(rule: Rule, timeline: Timeline, after: int, fixed: bool) -> int | None:
    """The first fire after an instant, in ticks."""
    if after < 2 * DAY:
        # The calendar of datetime begins here; no earlier instant can be shown in the zone.
        after = max(after, DAY - 1 - min(timeline.offset_at(DAY), 0))

    if timeline.fixed is not None:
        reading = rule.next_reading(_next_second(after + timeline.fixed))

        return reading - timeline.fixed if reading is not None else None

    day = after // DAY
    # The calendar is the same again after 400 years. What has not fired in that time never does.
    last = min(_LAST_DAY, day + _CYCLE)

    while day <= last:
        for piece in timeline.pieces(day):
            fire = _fire_in(rule, piece, after, fixed) if piece.end > after else None

            if fire is not None:
                return fire

        # Offsets stay below 24 hours, so the next UTC day shows, or skips, readings of three dates: its own, the one
        # before and the one after.
        date_shown = rule.days.next_date(day)

        if date_shown is None:
            return None

        day = max(day + 1, date_shown - 1)

    return None


def _fire_in(rule: Rule, piece: Piece, after: int, fixed: bool) -> int | None:
    """The first fire of a stretch of time with one offset that comes after an instant."""
    begin = piece.start + piece.offset
    lowest = piece.known if fixed else begin

    if after >= piece.start:
        lowest = max(lowest, _next_second(after + piece.offset))

    reading = rule.next_reading(-(-lowest // SECOND) * SECOND)

    if reading is None or reading >= piece.end + piece.offset:
        return None

    # A reading below the first one of the stretch is in the gap before it, and runs when the gap ends.
    return max(reading - piece.offset, piece.start)


def _next_second(reading: int) -> int:
    """The first whole second after a reading."""
    return (reading // SECOND + 1) * SECOND
