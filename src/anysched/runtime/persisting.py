"""Going on through an outage of the backend.

A lost connection is not an error of the work: whatever loop meets it waits a little longer each time and repeats the
same, repeatable command. The outage is told once when it begins and once when it ends, however many loops meet it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import sleep
from attrs import define, field

from anysched.errors import BackendUnavailable

__all__ = ["Outage", "persist"]

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
"""Seconds. Short enough that a server's restart costs little, long enough not to beat it while it loads."""


@define(eq=False, kw_only=True)
class Outage:
    """Whether the backend is out of reach, as far as this node knows."""

    on_lost: Callable[[BackendUnavailable], None]
    on_found: Callable[[], None]
    lost: bool = field(default=False, init=False)

    def begin(self, error: BackendUnavailable) -> None:
        """The backend could not be reached."""
        if not self.lost:
            self.lost = True
            self.on_lost(error)

    def end(self) -> None:
        """The backend answered."""
        if self.lost:
            self.lost = False
            self.on_found()


async def persist(operation: Callable[[], Awaitable[T]], outage: Outage) -> T:
    """Repeat an operation until the backend answers.

    Args:
        operation: repeatable; called anew for each try.
        outage: is told how it goes.

    Raises:
        Exception: anything but :exc:`BackendUnavailable` at once.
    """
    pause = _FIRST_PAUSE

    while True:
        try:
            answer = await operation()
        except BackendUnavailable as error:
            outage.begin(error)
        else:
            outage.end()
            return answer

        await sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE)
