"""Rules for *when*: cron expressions, periods and single instants.

Everything here is pure: values that are immutable, hashable and comparable, that read no clock and start nothing.
"""

from __future__ import annotations

from anysched.schedules.base import Schedule
from anysched.schedules.cron import Cron, DaylightSaving
from anysched.schedules.every import Every
from anysched.schedules.once import Once
from anysched.schedules.parsing import check_stored, parse_schedule, parse_stored
from anysched.schedules.zones import resolve_timezone, timezone_name

__all__ = [
    "Cron",
    "DaylightSaving",
    "Every",
    "Once",
    "Schedule",
    "check_stored",
    "parse_schedule",
    "parse_stored",
    "resolve_timezone",
    "timezone_name",
]
