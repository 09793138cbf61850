"""Schedules from text: what a user writes, and what was stored."""

from __future__ import annotations

from datetime import tzinfo
from typing import cast

from msgspec import UNSET

from anysched.durations import shortened
from anysched.errors import InvalidSchedule
from anysched.schedules.base import Schedule
from anysched.schedules.cron import Cron, DaylightSaving
from anysched.schedules.every import Every
from anysched.schedules.once import Once
from anysched.schedules.stored import StoredSchedule, decode_stored, instant_from_text
from anysched.schedules.zones import resolve_timezone

__all__ = ["parse_schedule", "parse_stored"]


def parse_schedule(
    value: str | Schedule, *, tz: str | tzinfo | None = None, dst: DaylightSaving = "default"
) -> Schedule:
    """Turn what a user wrote into a schedule.

    Args:
        value: a cron expression, ``@every`` and a length of time as in Go's robfig/cron, or a schedule, which is
            returned as it is.
        tz: the zone of a cron expression; nothing else needs one.
        dst: the rule for daylight saving of a cron expression.

    Raises:
        InvalidSchedule: it cannot be read, or could be read in more than one way.
    """
    if isinstance(value, Schedule):
        return value

    # The check is for callers without a type checker.
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidSchedule("schedule", shortened(value), "a cron expression, '@every 1h30m', or a schedule")

    words = value.split(maxsplit=1)

    if not words or words[0].lower() != "@every":
        return Cron(value, tz=tz, dst=dst)

    if tz is not None:
        resolve_timezone(tz)

    return Every("".join(words[1:]).rstrip())


def parse_stored(text: str) -> Schedule:
    """Make the schedule again whose :meth:`Schedule.to_text` gave this text; the two are equal.

    Raises:
        InvalidSchedule: no schedule gives such a text, or a time zone in it is unknown here.
    """
    stored = decode_stored(text)

    if stored.cron is not UNSET and stored.every is stored.once is stored.anchor is stored.after_completion is UNSET:
        return _stored_cron(stored, stored.cron)

    if stored.every is not UNSET and stored.cron is stored.once is stored.dst is stored.entry_id is UNSET:
        return _stored_every(stored, stored.every)

    if stored.once is not UNSET and stored.cron is stored.every is stored.dst is stored.entry_id is UNSET:
        return Once(instant_from_text(stored.once, stored.tz))

    raise InvalidSchedule("schedule", shortened(text), "one of cron, every and once, with what belongs to it")


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
