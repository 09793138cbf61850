"""Lengths of time, as a user writes them.

One notation everywhere: a ``timedelta``, a number of seconds, or text as Go's ``time.ParseDuration`` reads it. Text is
computed with integers, never with floats, so that ``"0.1s"`` is 100 000 microseconds and nothing else.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final, TypeAlias

from anysched.errors import InvalidDuration

__all__ = ["LONGEST", "Duration", "duration_of_words", "format_duration", "parse_duration"]

Duration: TypeAlias = timedelta | int | float | str
"""A length of time: a ``timedelta``, a number of seconds, or text such as ``"1h30m"``."""

LONGEST: Final = timedelta(days=365_000)
"""The longest that anything is put off, kept or waited for: a thousand years, or nearly.

Storage adds lengths to instants, and counts in numbers that hold whole milliseconds up to 2**53. An instant before the
year 9000 and one such length after it is still one that a ``datetime`` can show.
"""

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter mu: Go takes both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_MICROSECOND: Final = timedelta(microseconds=1)

# The longest timedelta has 24 digits of nanoseconds; what is longer than this is a mistake, not a duration.
_LONGEST_TEXT: Final = 100

# So many to a nanosecond: a text of that length has no more decimals.
_FINEST: Final = 10**_LONGEST_TEXT

_ALLOWED: Final = "a timedelta, a number of seconds, or text such as '90s', '1h30m', '1.5h' or '250ms'"


def parse_duration(
    value: Duration,
    *,
    name: str = "duration",
    minimum: timedelta | None = None,
    maximum: timedelta | None = None,
) -> timedelta:
    """Turn what a user wrote into a ``timedelta``, exactly.

    The notation is that of Go's ``time.ParseDuration``: numbers with units, ``ns``, ``us`` (or ``µs``), ``ms``, ``s``,
    ``m``, ``h``, put one after another, such as ``"1h30m5.25s"``. There is no unit for a day, which is not always 24
    hours long. A float counts seconds and is rounded to the microsecond; text is never rounded.

    Args:
        value: the length of time.
        name: what the error calls the value.
        minimum: the shortest length that is allowed.
        maximum: the longest.

    Raises:
        InvalidDuration: it cannot be read, has parts below a microsecond, is too long for a ``timedelta``, too short
            for ``minimum``, too long for ``maximum``, or negative.
    """
    if isinstance(value, timedelta):
        # A subclass may carry more than a timedelta does; what is kept is comparable and hashable as the plain type.
        length = timedelta(value.days, value.seconds, value.microseconds)
    elif isinstance(value, str):
        length = _from_text(value, name)
    else:
        length = _from_number(value, name)

    if length < timedelta(0):
        raise InvalidDuration(name, value, "a length of time that is not negative")

    if minimum is not None and length < minimum:
        raise InvalidDuration(name, value, f"at least {format_duration(minimum)}")

    if maximum is not None and length > maximum:
        raise InvalidDuration(name, value, f"at most {maximum.days} days")

    return length


def duration_of_words(text: str) -> str | float:
    """What text from outside a program means as a :data:`Duration`: a bare number counts seconds, as in code."""
    try:
        return float(text) if text[-1:].isdigit() or text[-1:] == "." else text
    except ValueError:
        return text


def format_duration(length: timedelta) -> str:
    """Write a length of time in Go's notation, such as ``1h30m``; :func:`parse_duration` reads it back exactly.

    Unlike Go's own ``Duration.String``, parts that are zero are left out.
    """
    microseconds = length // _MICROSECOND

    if microseconds == 0:
        return "0s"

    sign, microseconds = ("-", -microseconds) if microseconds < 0 else ("", microseconds)

    if microseconds < 1_000:
        return f"{sign}{microseconds}us"

    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 1_000)}ms"

    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    parts.append(f"{_decimal(rest, 1_000_000)}s" if rest else "")

    return sign + "".join(parts)


def _decimal(value: int, unit: int) -> str:
    """``value / unit`` in decimal digits, for a unit that is a power of ten."""
    whole, rest = divmod(value, unit)

    if rest == 0:
        return str(whole)

    return f"{whole}." + str(unit + rest)[1:].rstrip("0")


def _from_number(value: object, name: str) -> timedelta:
    # bool is an int to Python, and True seconds is nobody's intention.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidDuration(name, value, _ALLOWED)

    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidDuration(name, value, "a finite number of seconds")

    try:
        length = timedelta(seconds=value)
    except OverflowError:
        raise InvalidDuration(name, value, "at most 999999999 days") from None

    if value and not length:
        raise InvalidDuration(name, value, "at least a microsecond, or zero")

    return length


def _from_text(text: str, name: str) -> timedelta:
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("-", "+") else text

    if body == "0":
        return timedelta(0)

    if not body or len(text) > _LONGEST_TEXT:
        raise InvalidDuration(name, text, _ALLOWED)

    length = _in_finest_units(body)

    if length is None:
        raise InvalidDuration(name, text, _ALLOWED)

    microseconds, rest = divmod(length, 1_000 * _FINEST)

    if rest:
        raise InvalidDuration(name, text, "whole microseconds")

    try:
        return timedelta(microseconds=sign * microseconds)
    except OverflowError:
        raise InvalidDuration(name, text, "at most 999999999 days") from None


def _in_finest_units(body: str) -> int | None:
    """The sum of the parts, or None where the text is not made of parts alone."""
    total = 0
    position = 0

    while position < len(body):
        part = _PART.match(body, position)

        if part is None:
            return None

        whole, decimals, unit = part[1], part[2] or "", part[3]

        if not whole + decimals:
            return None

        total += int(whole + decimals) * _UNITS_NS[unit] * (_FINEST // 10 ** len(decimals))
        position = part.end()

    return total
