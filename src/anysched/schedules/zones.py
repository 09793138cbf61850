"""Time zones: what is accepted as one, what it is called, and how its wall clocks run.

A zone is asked one question only, which offset holds at an instant, so that every ``tzinfo`` that converts from UTC
correctly will do. From the answers a :class:`Timeline` is made: stretches of real time with one offset each.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from attrs import define, field

from anysched.errors import InvalidSchedule
from anysched.schedules.instants import DAY, SECOND, datetime_at, ticks_of_offset

__all__ = ["Piece", "Timeline", "resolve_timezone", "timeline_of", "timezone_key", "timezone_name"]

_ALLOWED: Final = "a tzinfo, or the name of a time zone such as 'Europe/Berlin' or '+05:30'"
_NAME: Final = r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}"
_OFFSET: Final = r"(?a)([+-])([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{6}))?)?"

# These name a machine's own setting, or count leap seconds: two nodes would not agree on what they mean.
_NOT_THE_SAME_EVERYWHERE: Final = frozenset({"localtime", "posixrules", "Factory"})

# A zone can be asked safely for instants that are a day away from the ends of the calendar.
_EARLIEST: Final = (date.min.toordinal() + 1) * DAY
_LATEST: Final = date.max.toordinal() * DAY


# --- names ---------------------------------------------------------------------------------------------------


def resolve_timezone(value: str | tzinfo, *, name: str = "tz") -> tzinfo:
    """The time zone that was meant.

    Args:
        value: a name of the IANA time zone database, a fixed offset such as ``"+05:30"``, or a ``tzinfo``.
        name: what the error calls the value.

    Raises:
        InvalidSchedule: there is no such zone here, or it means different things on different machines.
    """
    if isinstance(value, str):
        return _zone_named(value, name)

    # The check is for callers without a type checker.
    if not isinstance(value, tzinfo):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSchedule(name, value, _ALLOWED)

    if _key_of(value) in ("UTC", "Etc/UTC"):
        return UTC

    if datetime(2000, 1, 1, tzinfo=value).utcoffset() is None:
        raise InvalidSchedule(name, value, "a tzinfo that knows its offset from UTC")

    return value


def timezone_name(tz: tzinfo, *, name: str = "tz") -> str:
    """What a zone is called, so that :func:`resolve_timezone` finds it again, on any machine.

    Raises:
        InvalidSchedule: it has no such name: it is neither a ``ZoneInfo`` with a key nor a ``datetime.timezone``.
    """
    key = _key_of(tz)

    if key is not None:
        return key

    if not isinstance(tz, timezone):
        raise InvalidSchedule(name, tz, "a ZoneInfo with a key or a datetime.timezone, to store it by its name")

    if tz == UTC:
        return "UTC"

    offset = tz.utcoffset(None)
    sign, offset = ("-", -offset) if offset < timedelta(0) else ("+", offset)
    minutes, seconds = divmod(offset.seconds, 60)
    text = f"{sign}{minutes // 60:02}:{minutes % 60:02}"

    if offset.microseconds:
        return f"{text}:{seconds:02}.{offset.microseconds:06}"

    return f"{text}:{seconds:02}" if seconds else text


def timezone_key(tz: tzinfo) -> Hashable:
    """What two zones are compared by. ``ZoneInfo`` compares by identity, which a pickle or a cleared cache breaks."""
    return tz if isinstance(tz, timezone) else _key_of(tz) or id(tz)


def _key_of(tz: tzinfo) -> str | None:
    """The name of a zone in the time zone database; None for any that has none."""
    if isinstance(tz, timezone):
        return None

    # Here and below: many programs know UTC only.
    from zoneinfo import ZoneInfo

    return tz.key or None if isinstance(tz, ZoneInfo) else None


def _zone_named(text: str, name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    fixed = re.fullmatch(_OFFSET, text)

    if fixed is not None:
        sign, hours, minutes, seconds, micros = fixed.groups("0")
        offset = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=int(micros))

        return timezone(-offset if sign == "-" else offset) if offset else UTC

    if re.fullmatch(_NAME, text) is None:
        raise InvalidSchedule(name, text, _ALLOWED)

    if text in _NOT_THE_SAME_EVERYWHERE or text.startswith(("right/", "posix/")):
        raise InvalidSchedule(name, text, "a zone that is the same on every machine, such as 'Europe/Berlin'")

    if text in ("UTC", "Etc/UTC"):
        return UTC

    try:
        return ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise InvalidSchedule(name, text, f"{_ALLOWED}, that this machine's time zone database knows") from None


# --- wall clocks ---------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A stretch of real time within one UTC day, through which a zone keeps one offset.

    Attributes:
        start: its first instant, in ticks.
        end: the first instant after it.
        offset: what is added to an instant to get the reading of a clock on the wall.
        known: the lowest reading that was neither shown nor passed over before ``start``. Below ``start + offset``,
            the readings in between fall in a gap that ends at ``start``; above it, those in between are repeats.
    """

    start: int
    end: int
    offset: int
    known: int


class _Transition(NamedTuple):
    at: int
    before: int
    after: int


@define(eq=False)
class Timeline:
    """How the wall clocks of one zone run through real time.

    Attributes:
        tz: the zone.
        fixed: its offset in ticks, if it has only one; else None.
    """

    tz: tzinfo
    fixed: int | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fixed = ticks_of_offset(self.tz.utcoffset(None)) if isinstance(self.tz, timezone) else None

    def pieces(self, day: int) -> tuple[Piece, ...]:
        """The stretches that make up the UTC day of that ordinal, in order."""
        return _pieces(self, day)

    def offset_at(self, ticks: int) -> int:
        """The offset at an instant; beyond the ends of the calendar, the one that holds there."""
        shown = datetime_at(min(max(ticks, _EARLIEST), _LATEST), self.tz)
        offset = shown.utcoffset() if shown is not None else None

        return ticks_of_offset(offset) if offset is not None else 0


def timeline_of(tz: tzinfo) -> Timeline:
    """The timeline of a zone, shared by all who ask."""
    try:
        return _timeline_of(tz)
    except TypeError:
        # A zone that cannot be hashed cannot be shared either.
        return Timeline(tz)


@lru_cache(maxsize=1024)
def _timeline_of(tz: tzinfo) -> Timeline:
    return Timeline(tz)


@lru_cache(maxsize=32768)
def _pieces(timeline: Timeline, day: int) -> tuple[Piece, ...]:
    start, end = day * DAY, (day + 1) * DAY
    offset = timeline.offset_at(start)
    # Offsets differ by less than 48 hours, so no repeat lasts longer than that after its transition.
    earlier = _transitions(timeline, day - 2) + _transitions(timeline, day - 1)
    within = [transition for transition in _transitions(timeline, day) if transition.at < end]
    known = max((transition.at + transition.before for transition in earlier), default=0)

    if not (earlier and earlier[-1].at == start):
        known = max(known, start + offset)

    pieces: list[Piece] = []

    for transition in within:
        pieces.append(Piece(start, transition.at, offset, known))
        known = max(known, transition.at + transition.before)
        start, offset = transition.at, transition.after

    return (*pieces, Piece(start, end, offset, known))


@lru_cache(maxsize=32768)
def _transitions(timeline: Timeline, day: int) -> tuple[_Transition, ...]:
    """The transitions after the beginning of a UTC day, up to and with the beginning of the next.

    Looking once a day is enough: in the time zone database each offset holds for days, 95 hours at the least.
    """
    return tuple(_transitions_between(timeline, day * DAY, (day + 1) * DAY))


def _transitions_between(timeline: Timeline, low: int, high: int) -> Iterator[_Transition]:
    final = timeline.offset_at(high)
    before = timeline.offset_at(low)

    while before != final:
        left, right = low // SECOND, high // SECOND

        while right - left > 1:
            middle = (left + right) // 2

            if timeline.offset_at(middle * SECOND) == before:
                left = middle
            else:
                right = middle

        low = right * SECOND
        after = timeline.offset_at(low)

        yield _Transition(low, before, after)

        before = after
