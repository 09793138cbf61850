"""What happened, told to observers; what went wrong, told to the error handler.

Neither may harm the work: an observer or handler that raises is itself reported, and goes on being called. That goes
for a cancellation that is nobody's, too, which on asyncio whatever was cancelled raises in whoever looks at it, and for
one in a group of what children have ended with. Callers make an event record only if ``listened_to`` says that somebody
observes, so that what nobody observes costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from inspect import isawaitable
from math import inf
from typing import Any

from anyio import TASK_STATUS_IGNORED, Event, current_effective_deadline, get_cancelled_exc_class
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.attempt_errors import describe_error
from anysched.config import ErrorContext
from anysched.events import Event as Record
from anysched.events import Observer
from anysched.runtime.unwrapping import failure_in
from anysched.values import shown

__all__ = ["Teller"]

_MOST_WAITING = 1_000
"""Errors that wait for a slow asynchronous handler; more are only logged."""


@define(eq=False, kw_only=True)
class Teller:
    """Tells observers and the error handler.

    Args:
        observers: each gets every event record, synchronously, in order.
        log: writes down a sentence and an error; for what no handler takes.
        on_error: called with each error and its context; may be asynchronous. Default: ``log``.
    """

    log: Callable[[str, BaseException], None]
    observers: Sequence[Observer] = ()
    on_error: Callable[[Exception, ErrorContext], Any] | None = None
    listened_to: bool = field(init=False)
    _waiting: deque[tuple[Awaitable[Any], Exception, ErrorContext]] = field(
        factory=deque["tuple[Awaitable[Any], Exception, ErrorContext]"], init=False
    )
    _woken: Event | None = field(default=None, init=False)
    _idle: Event | None = field(default=None, init=False)
    """While something waits or is being awaited; set when that is done."""

    def __attrs_post_init__(self) -> None:
        self.listened_to = bool(self.observers)

    def add(self, observer: Observer) -> None:
        """Tell one more."""
        self.observers = (*self.observers, observer)
        self.listened_to = True

    def tell(self, record: Record) -> None:
        """Pass an event record to every observer."""
        for observer in self.observers:
            try:
                observer.on_event(record)
            except _whatever() as broken:  # noqa: ASYNC103 - the user's code
                _let_pass(broken)
                self._write_down(f"the observer {shown(observer)} failed on {shown(record)}", broken)

    def report(self, error: Exception, context: ErrorContext) -> None:
        """Pass an error to the handler."""
        if self.on_error is None:
            self._write_down(str(context), error)
            return

        try:
            answer = self.on_error(error, context)
        except _whatever() as broken:  # noqa: ASYNC103 - the user's code
            _let_pass(broken)
            self._write_down(f"on_error failed on {shown(error)} ({context})", broken)
            return  # noqa: ASYNC104 - likewise

        if isawaitable(answer):
            self._queue(answer, error, context)

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Await what an asynchronous error handler returns, until cancelled."""
        task_status.started()

        try:
            while True:
                self._woken = Event()
                await self._await_all()
                await self._woken.wait()
        finally:
            self._woken = None
            self.close()

    async def finish(self) -> None:
        """Wait until the handler is done with all that was reported."""
        while self._idle is not None:
            await self._idle.wait()

    async def _await_all(self) -> None:
        while self._waiting:
            answer, error, context = self._waiting.popleft()

            try:
                await answer
            except Exception as broken:  # noqa: BLE001 - likewise
                self._write_down(f"on_error failed on {shown(error)} ({context})", broken)
            except (get_cancelled_exc_class(), BaseExceptionGroup) as stray:  # noqa: ASYNC103 - only ours has to pass
                if current_effective_deadline() == -inf:
                    raise

                _let_pass(stray)
                # On asyncio it raises this by itself when it awaits what somebody else has cancelled.
                self._write_down(f"on_error failed on {shown(error)} ({context})", stray)

        self._rest()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def _queue(self, answer: Awaitable[Any], error: Exception, context: ErrorContext) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._write_down(f"{context} (the error handler is behind)", error)
            _close(answer)
            return

        self._waiting.append((answer, error, context))

        if self._woken is not None:
            self._idle = self._idle or Event()
            self._woken.set()

    def close(self) -> None:
        """Drop what was not awaited."""
        while self._waiting:
            answer, error, context = self._waiting.popleft()
            self._write_down(f"{context} (stopped before the error handler was done)", error)
            _close(answer)

        self._rest()

    def _write_down(self, sentence: str, error: BaseException) -> None:
        try:
            self.log(sentence, error)
        except Exception as broken:  # noqa: BLE001 - logging lets the RecursionError of a deeply nested group through
            said = describe_error(error)

            with suppress(Exception):
                self.log(f"{sentence}: {said.type}: {said.message}", broken.with_traceback(None))


def _whatever() -> tuple[type[BaseException], ...]:
    """What a user's code may raise and is looked at: see :func:`_let_pass`."""
    return (Exception, get_cancelled_exc_class(), BaseExceptionGroup)


def _let_pass(broken: BaseException) -> None:
    """Raise a group in which there is more than errors, and cancellations that are nobody's."""
    if not isinstance(broken, Exception) and not isinstance(failure_in(broken), Exception | None):
        raise broken


def _close(answer: Awaitable[Any]) -> None:
    close = getattr(answer, "close", None)

    if close is not None:
        close()
