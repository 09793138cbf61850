"""Wall-clock time, wrapped so that it can be replaced.

Everything that asks what time it is asks the :class:`Clock` in force. It is the only thing in anysched that may
read the computer's clock, and code under :func:`anysched.testing.virtual_time` gets another one without knowing.
Waiting is never measured here: that is the event loop's monotonic time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

__all__ = ["LATEST_MS", "Clock", "clock_in_force", "from_ms", "from_ms_or_none", "now", "now_ms", "to_ms"]

_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)

LATEST_MS: Final = (_LATEST - _EPOCH) // _MS
"""The last millisecond that a ``datetime`` can show."""


@frozen
class Clock:
    """Where the current instant comes from.

    Attributes:
        microseconds: returns the wall-clock time as whole microseconds since 1970-01-01 UTC.
        virtual: it is tied to an event loop whose time is virtual, and goes only where that goes.
    """

    microseconds: Callable[[], int] = lambda: time.time_ns() // 1000
    virtual: bool = False

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return _EPOCH + timedelta(microseconds=self.microseconds())


clock_in_force: ContextVar[Clock] = ContextVar("anysched_clock", default=Clock())  # noqa: B039 (frozen)


def now() -> datetime:
    """The current instant by the clock in force, aware, in UTC."""
    return clock_in_force.get().now()


def now_ms() -> int:
    """The current instant by the clock in force, in whole milliseconds since 1970 (rounded down)."""
    return clock_in_force.get().microseconds() // 1000


def to_ms(instant: datetime) -> int:
    """An aware instant as whole milliseconds since 1970, rounded up: what is due then is never early."""
    return -((_EPOCH - instant) // _MS)


def from_ms(value: int) -> datetime:
    """Whole milliseconds since 1970 as an aware instant in UTC.

    What is stored may be further away than a ``datetime`` reaches, and is then shown as the latest that there is, or
    the earliest: whoever looks at many records must not fail for one.
    """
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return _LATEST if value > 0 else _EARLIEST


def from_ms_or_none(value: int) -> datetime | None:
    """The same where 0 stands for no instant, as it does in storage."""
    return from_ms(value) if value else None
