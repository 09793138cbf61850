"""What every schedule can do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import datetime, tzinfo
from typing import Any, ClassVar, Final, Self

from attrs import frozen

from anysched.errors import InvalidOption, InvalidSchedule
from anysched.values import is_whole

__all__ = ["Schedule", "class_of", "scheme_of"]

_SCHEME: Final = re.compile(r"([a-z][a-z0-9.+-]*):")

_classes: dict[str, type[Schedule]] = {}
"""By scheme, in the order of their definition. What is defined anew (a module loaded again) takes its own place."""


@frozen
class Schedule(ABC):
    """A pure rule for *when*: immutable, hashable, comparable; it reads no clock.

    ``str()`` of a schedule is for people, :meth:`to_text` is for storage.

    A rule of your own is a frozen attrs class, or one that is as comparable and immutable, with these two methods, a
    ``scheme`` and a :meth:`from_text`. Its text begins with the scheme and a colon, by which the class is found again:
    each program that is to fire or to show such an entry has to have imported it.

    Attributes:
        scheme: what the text of a class's schedules begins with, before the first colon: small letters, digits, ``.``,
            ``+`` and ``-``. The schedules of this package have none.

    Raises:
        InvalidOption: by the definition of a class whose scheme cannot be, or belongs to another class.
    """

    scheme: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # attrs makes a class with slots a second time, of the same name, and passes on only what is in its body.
        scheme = cls.__dict__.get("scheme")

        if scheme is None:
            return

        if not isinstance(scheme, str) or not _SCHEME.fullmatch(f"{scheme}:"):
            raise InvalidOption("scheme", scheme, "small letters, digits, '.', '+' and '-', a letter first")

        known = _classes.get(scheme, cls)

        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidOption("scheme", scheme, f"another one, since that is the one of {known.__qualname__}")

        _classes[scheme] = cls

    @abstractmethod
    def next_after(self, instant: datetime) -> datetime | None:
        """The first fire strictly after an instant.

        Args:
            instant: an aware datetime, in any zone.

        Returns:
            An aware datetime, or None where the schedule never fires again, or only after the year 9999.

        Raises:
            NaiveDatetime: ``instant`` has no time zone.
        """

    @abstractmethod
    def to_text(self) -> str:
        """The schedule as text to be stored; :func:`anysched.schedules.parse_stored` makes an equal one of it.

        That of a class of your own begins with its ``scheme`` and a colon.

        Raises:
            InvalidSchedule: it has a time zone without a name that another machine would know.
        """

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The schedule whose :meth:`to_text` gave this text, scheme and all. Only called of a class with a scheme.

        Raises:
            ValueError: there is none.
        """
        raise InvalidSchedule("schedule", text, f"a class with a from_text, which {cls.__qualname__} is not")

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """The next fires strictly after an instant, at most ``count`` of them, in order.

        Raises:
            NaiveDatetime: ``after`` has no time zone.
            InvalidSchedule: ``count`` is no whole number, or negative.
        """
        # What a type checker has not seen would give one too many, or an error about something else.
        if not is_whole(count, 0):
            raise InvalidSchedule("count", count, "a whole number that is not negative")

        fires: list[datetime] = []

        while len(fires) < count and (fire := self.next_after(after)) is not None:
            fires.append(fire)
            after = fire

        return fires

    def for_entry(self, entry_id: str) -> Schedule:
        """This schedule as the entry of that id keeps it. Only ``H`` in a cron expression depends on the entry."""
        return self

    def with_default_timezone(self, tz: str | tzinfo) -> Schedule:
        """This schedule in a time zone, if it is one that needs a zone and was given none.

        Raises:
            InvalidSchedule: there is no such zone.
        """
        return self


def scheme_of(text: object) -> str | None:
    """What a text begins with, if it is of a class of somebody's own."""
    # What was stored may be anything.
    found = _SCHEME.match(text) if isinstance(text, str) else None
    return None if found is None else found[1]


def class_of(scheme: str) -> type[Schedule] | None:
    """The class of that scheme, if it was imported."""
    return _classes.get(scheme)
