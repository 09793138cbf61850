"""Cron expressions as text: what may be written, and which readings of a clock it stands for.

No zone and no instant appears here. A reading counts the microseconds of a calendar without time zones.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from anysched.errors import InvalidSchedule
from anysched.schedules.days import DayRule, day_rule
from anysched.schedules.fields import DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH, SECOND, parse_field
from anysched.schedules.instants import DAY
from anysched.schedules.instants import SECOND as ONE_SECOND

__all__ = ["Rule", "checked_text", "compile_expression", "split_zone"]

# The names and their meanings are those of crontab(5); croniter's own would be changed by its hash_id.
_NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_ALLOWED: Final = (
    "five fields (minute, hour, day of month, month, day of week), six with the seconds first, or one of "
    + ", ".join(_NAMED)
)

_INSTEAD_OF_NAME: Final = {
    "@reboot": "a time: what is to happen at each start belongs in the scheduler's lifespan",
    "@every": "a cron expression: a period is written as Every('1h30m') or parse_schedule('@every 1h30m')",
}

# Six fields that list every value come to about 500 characters.
_LONGEST: Final = 1000


@frozen
class Rule:
    """What an expression stands for.

    Attributes:
        hours: the hours of a day, and so on; sorted.
        days: the dates.
        fixed: whether seconds, minutes and hours are plain numbers or lists of them.
        hashed: whether the expression has an ``H`` in it.
        hour_from: for each hour and the one after the last, the first allowed one from there on, or -1; and so on.
    """

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    days: DayRule
    fixed: bool
    hashed: bool
    hour_from: tuple[int, ...]
    minute_from: tuple[int, ...]
    second_from: tuple[int, ...]

    def next_reading(self, reading: int) -> int | None:
        """The first reading that matches, at or after one that is on a whole second; None where there is none."""
        day, rest = divmod(reading, DAY)
        found = self.days.next_date(day)

        if found == day:
            time = self._next_time(rest // ONE_SECOND)

            if time >= 0:
                return day * DAY + time * ONE_SECOND

            found = self.days.next_date(day + 1)

        if found is None:
            return None

        return found * DAY + (self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]) * ONE_SECOND

    def _next_time(self, time: int) -> int:
        """The first allowed second of a day, at or after one; -1 where there is none."""
        minute_of_day, second = divmod(time, 60)
        hour, minute = divmod(minute_of_day, 60)
        second = self.second_from[second]

        if second < 0 or self.minute_from[minute] != minute:
            minute = self.minute_from[minute + (second < 0)]
            second = self.seconds[0]

        if minute < 0 or self.hour_from[hour] != hour:
            hour = self.hour_from[hour + (minute < 0)]
            minute, second = self.minutes[0], self.seconds[0]

        return hour * 3600 + minute * 60 + second if hour >= 0 else -1


def checked_text(expression: object) -> str:
    """The text of an expression, in ASCII and with single spaces."""
    if not isinstance(expression, str):
        raise InvalidSchedule("expression", expression, _ALLOWED)

    if len(expression) > _LONGEST:
        raise InvalidSchedule("expression", expression, f"at most {_LONGEST} characters")

    # Unicode has other digits, other spaces, and letters that become ASCII when their case is changed.
    if not expression.isascii() or not expression.strip().replace("\t", " ").isprintable():
        raise InvalidSchedule("expression", expression, "plain ASCII text on one line")

    return " ".join(expression.split())


def split_zone(text: str) -> tuple[str, str | None]:
    """Separate an expression from the zone that is named in front of it, as cronie and Go's robfig/cron have it."""
    first, _, body = text.partition(" ")
    prefix, sign, zone = first.partition("=")

    if not sign or prefix not in ("CRON_TZ", "TZ"):
        return text, None

    return body, zone


def _refuse_name(text: str) -> InvalidSchedule:
    allowed = _INSTEAD_OF_NAME.get(text.split(" ", 1)[0].lower(), _ALLOWED)

    return InvalidSchedule("expression", text, allowed)


def compile_expression(expression: str, entry_id: str | None) -> Rule:
    """Read an expression. Without an id, ``H`` is read as the lowest value, which is enough to check the rest."""
    if expression.startswith("@") and expression.lower() not in _NAMED:
        raise _refuse_name(expression)

    fields = _NAMED.get(expression.lower(), expression).split()

    if len(fields) not in (5, 6):
        raise InvalidSchedule("expression", expression, _ALLOWED)

    if len(fields) == 5:
        fields.insert(0, "0")

    kinds = (SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)
    second, minute, hour, day, month, weekday = (
        parse_field(kind, text, entry_id) for kind, text in zip(kinds, fields, strict=True)
    )

    return Rule(
        hours=hour.values,
        minutes=minute.values,
        seconds=second.values,
        days=day_rule(day, month, weekday),
        fixed=not (second.stepping or minute.stepping or hour.stepping),
        hashed=any(parsed.hashed for parsed in (second, minute, hour, day, month, weekday)),
        hour_from=_first_from(hour.values, 24),
        minute_from=_first_from(minute.values, 60),
        second_from=_first_from(second.values, 60),
    )


def _first_from(values: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(next((value for value in values if value >= start), -1) for start in range(size + 1))
