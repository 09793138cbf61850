"""Schedules from text: what a user writes, and what was stored."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, cast

from msgspec import UNSET

from anysched.errors import InvalidSchedule, NaiveDatetime
from anysched.schedules.base import Schedule, class_of, scheme_of
from anysched.schedules.cron import Cron, DaylightSaving, check_daylight_saving
from anysched.schedules.every import Every
from anysched.schedules.once import Once
from anysched.schedules.stored import StoredSchedule, decode_stored, instant_from_text
from anysched.schedules.zones import resolve_timezone
from anysched.values import shown

__all__ = ["check_stored", "parse_schedule", "parse_stored"]


def parse_schedule(
    value: str | Schedule, *, tz: str | tzinfo | None = None, dst: DaylightSaving = "default"
) -> Schedule:
    """Turn what a user wrote into a schedule.

    Args:
        value: a cron expression, ``@every`` and a length of time as in Go's robfig/cron, the text of a schedule of your
            own, which begins with its scheme, or a schedule, which is returned as it is.
        tz: the zone of a cron expression; nothing else needs one.
        dst: the rule for daylight saving of a cron expression.

    Raises:
        InvalidSchedule: it cannot be read, or could be read in more than one way.
    """
    if isinstance(value, Schedule):
        return value

    # The check is for callers without a type checker.
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSchedule("schedule", value, "a cron expression, '@every 1h30m', or a schedule")

    if (scheme := scheme_of(value)) is not None and class_of(scheme) is not None:
        return _own(scheme, value)

    words = value.split(maxsplit=1)

    if not words or words[0].lower() != "@every":
        return Cron(value, tz=tz, dst=dst)

    if tz is not None:
        resolve_timezone(tz)

    check_daylight_saving(dst)
    return Every("".join(words[1:]).rstrip())


def parse_stored(text: str) -> Schedule:
    """Make the schedule again whose :meth:`Schedule.to_text` gave this text; the two are equal.

    Raises:
        InvalidSchedule: no schedule gives such a text, or a time zone or a class in it is unknown here.
    """
    if (scheme := scheme_of(text)) is not None:
        return _own(scheme, text)

    stored = decode_stored(text)

    if stored.cron is not UNSET and stored.every is stored.once is stored.anchor is stored.after_completion is UNSET:
        return _stored_cron(stored, stored.cron)

    if stored.every is not UNSET and stored.cron is stored.once is stored.dst is stored.entry_id is UNSET:
        return _stored_every(stored, stored.every)

    if stored.once is not UNSET and stored.cron is stored.every is stored.dst is stored.entry_id is UNSET:
        return Once(instant_from_text(stored.once, stored.tz))

    raise InvalidSchedule("schedule", text, "one of cron, every and once, with what belongs to it")


def check_stored(schedule: Schedule) -> None:
    """Make sure that a schedule can be stored, and found again by whoever reads it.

    Raises:
        InvalidSchedule: its text does not lead back to an equal one.
    """
    try:
        # What a user's class gives may be anything.
        text = cast("object", schedule.to_text())
    except InvalidSchedule:
        raise
    except Exception as error:
        raise InvalidSchedule("schedule", schedule, f"one with a text ({shown(error)})") from error

    if not isinstance(text, str):
        raise InvalidSchedule("schedule", schedule, f"one whose to_text() gives text, not {shown(text)}")

    try:
        back = parse_stored(text)
        leads_back = back == schedule and back.to_text() == text
    except Exception as error:
        raise InvalidSchedule("schedule", schedule, f"{_LEADS_BACK} ({error})") from error

    if not leads_back:
        raise InvalidSchedule("schedule", schedule, f"{_LEADS_BACK}, and not to {shown(back)}")


_LEADS_BACK: Final = "a class with a scheme, whose to_text() leads back to an equal schedule by its from_text()"


def _own(scheme: str, text: str) -> Schedule:
    kind = class_of(scheme)

    if kind is None:
        raise InvalidSchedule("schedule", text, f"that the class with the scheme {shown(scheme)} is imported")

    try:
        found = cast("object", kind.from_text(text))
    except (InvalidSchedule, NaiveDatetime):
        raise
    except Exception as error:
        raise InvalidSchedule("schedule", text, f"what {kind.__qualname__} reads ({error})") from error

    if not isinstance(found, Schedule):
        raise InvalidSchedule("schedule", text, f"a schedule from {kind.__qualname__}, not {shown(found)}")

    return found


def _stored_cron(stored: StoredSchedule, expression: str) -> Cron:
    return Cron(
        expression,
        tz=None if stored.tz is UNSET else stored.tz,
        # Cron itself refuses what is neither of the two.
        dst="default" if stored.dst is UNSET else cast("DaylightSaving", stored.dst),
        entry_id=None if stored.entry_id is UNSET else stored.entry_id,
    )


def _stored_every(stored: StoredSchedule, period: str) -> Every:
    return Every(
        period,
        anchor=None if stored.anchor is UNSET else instant_from_text(stored.anchor, stored.tz),
        after_completion=stored.after_completion is True,
    )
