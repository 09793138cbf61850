"""The form in which schedules are stored: a small JSON object, one of three kinds."""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec
from msgspec import UNSET, UnsetType

from anysched.errors import InvalidSchedule
from anysched.schedules.instants import datetime_at, require_aware, ticks_of
from anysched.schedules.zones import resolve_timezone, timezone_name

__all__ = ["StoredSchedule", "decode_stored", "encode_stored", "instant_from_text", "instant_to_text"]

# A cron expression has at most 1000 characters, and an entry's id some more.
_LONGEST = 16_384


class StoredSchedule(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """One of ``cron``, ``every`` and ``once`` is set; the rest belongs to it."""

    cron: str | UnsetType = UNSET
    every: str | UnsetType = UNSET
    once: str | UnsetType = UNSET
    tz: str | UnsetType = UNSET
    dst: str | UnsetType = UNSET
    entry_id: str | UnsetType = UNSET
    anchor: str | UnsetType = UNSET
    after_completion: bool | UnsetType = UNSET


_decoder = msgspec.json.Decoder(StoredSchedule)


def encode_stored(stored: StoredSchedule) -> str:
    """The text of a stored schedule."""
    try:
        return msgspec.json.encode(stored).decode()
    except ValueError:
        # Half of a surrogate pair has no form in UTF-8.
        raise InvalidSchedule("entry_id", stored.entry_id, "text that can be stored as UTF-8") from None


def decode_stored(text: str) -> StoredSchedule:
    """What :func:`encode_stored` wrote.

    Raises:
        InvalidSchedule: it is something else.
    """
    try:
        if len(text) <= _LONGEST:
            return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        pass

    raise InvalidSchedule("schedule", text, "the text that a schedule's to_text() gives")


def instant_to_text(instant: datetime) -> tuple[str, str | UnsetType]:
    """An instant, and the name of its zone if it has one. What counts is the instant: the zone is for display."""
    zone = instant.tzinfo

    if zone is None or isinstance(zone, timezone):
        return instant.isoformat(), UNSET

    try:
        name = timezone_name(zone)
    except InvalidSchedule:
        return instant.isoformat(), UNSET

    # A reading that a gap swallows comes back as the one that is shown at that instant, so it is written as that.
    shown = datetime_at(ticks_of(instant), zone) or instant
    return shown.isoformat(), name


def instant_from_text(text: str, zone: str | UnsetType) -> datetime:
    """What :func:`instant_to_text` wrote.

    Raises:
        InvalidSchedule: it is something else.
    """
    try:
        instant = require_aware(datetime.fromisoformat(text), "instant")

        return instant if zone is UNSET else instant.astimezone(resolve_timezone(zone))
    except (ValueError, OverflowError):
        raise InvalidSchedule("instant", text, "an ISO 8601 time with an offset from UTC") from None
