"""A graceful stop: seen by whoever looks, and felt by what still waits for the backend.

What always holds:

* A wait that a stop cuts short is one of the start, and nothing is in it that would have to be ended in order.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyio import CancelScope, Event
from attrs import define, field

__all__ = ["Stopping"]

_REASON = "told to stop before it was ready"


@define(eq=False)
class Stopping:
    """Set once, when a stop begins."""

    _begun: Event = field(factory=Event, init=False)
    _waits: set[CancelScope] = field(factory=set[CancelScope], init=False)
    """What a stop cancels."""

    def is_set(self) -> bool:
        """Whether it has begun. May be asked from any thread."""
        return self._begun.is_set()

    async def wait(self) -> None:
        """Wait until it has."""
        await self._begun.wait()

    def set(self) -> None:
        """Begin to stop. May be called again."""
        self._begun.set()

        for scope in self._waits:
            scope.cancel(reason=_REASON)

    @contextmanager
    def cuts_short(self) -> Generator[CancelScope]:
        """A scope that a stop cancels, until it is left or :meth:`spare` is called."""
        with CancelScope() as scope:
            self._waits.add(scope)

            if self.is_set():
                scope.cancel(reason=_REASON)

            try:
                yield scope
            finally:
                self.spare(scope)

    def spare(self, scope: CancelScope) -> None:
        """What is in this scope from now on ends in order."""
        self._waits.discard(scope)
