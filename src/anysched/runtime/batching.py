"""Group commit: calls that arrive while one is in flight travel together in the next.

There is no task of its own and no delay. The first caller sends at once, in its own task; whoever comes while it waits
joins a line. When the answer is there, the first in line becomes the *leader*, who sends for all that stand there by
then.

What always holds:

* An item is in the line, or in the one batch that is in flight, or answered.
* While anybody stands in line there is a leader, or somebody in line has been told to lead.
* A leader that is cancelled in flight leaves the others' items unanswered: they go back to the head of the line and
  are sent **again**. So only operations that may be repeated can be batched, and all of ours may.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from anyio import Event
from attrs import define, field

__all__ = ["Batcher"]

T = TypeVar("T")
R = TypeVar("R")


@define(eq=False)
class _Call(Generic[T, R]):
    items: Sequence[T]
    wakened: Event = field(factory=Event)
    answers: Sequence[R] | None = None
    error: Exception | None = None
    leads: bool = False
    gone: bool = False
    """Its caller was cancelled: nobody is there to take an answer, or to lead."""


@define(eq=False, kw_only=True)
class Batcher(Generic[T, R]):
    """Sends the items of concurrent callers in common batches.

    Args:
        send: sends a batch and returns one answer for each item, in order. Must be repeatable.
        max_items: a batch takes no further call once it holds so many items.
        max_weight: likewise for the sum of ``weigh`` over its items.
        weigh: an item's weight, such as its size in bytes.
    """

    send: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
    max_items: int = 1_000
    max_weight: int = 4 * 1024 * 1024
    weigh: Callable[[T], int] = lambda item: 1
    _line: OrderedDict[_Call[T, R], None] = field(factory=OrderedDict["_Call[T, R]", None], init=False)
    """Whoever is cancelled leaves it at once, however long it is."""
    _in_flight: bool = field(default=False, init=False)

    async def submit(self, items: Sequence[T]) -> Sequence[R]:
        """Send ``items`` together with whatever else is waiting.

        Args:
            items: what one caller wants done in one step; never split over two batches.

        Returns:
            One answer for each item, in order.

        Raises:
            Exception: whatever ``send`` raised for the batch that these items were in.

        If cancelled, the items may or may not have been sent.
        """
        if not self._in_flight:
            return await self._send_alone(items)

        call: _Call[T, R] = _Call(items)
        self._line[call] = None
        await self._stand_in_line(call)

        if call.leads:
            await self._lead()

        return _outcome(call)

    async def _send_alone(self, items: Sequence[T]) -> Sequence[R]:
        """Nothing is in flight, so nobody stands in line either."""
        self._in_flight = True

        try:
            return await self.send(items)
        finally:
            self._pass_on()

    async def _stand_in_line(self, call: _Call[T, R]) -> None:
        try:
            await call.wakened.wait()
        except BaseException:
            call.gone = True
            self._line.pop(call, None)

            if call.leads:
                self._pass_on()

            raise

    async def _lead(self) -> None:
        batch = self._take()

        try:
            answers = await self.send([item for call in batch for item in call.items])
        except Exception as error:  # noqa: BLE001 - it is handed to each caller, not swallowed
            for call in batch:
                call.error = error
        except BaseException:
            for call in reversed(batch[1:]):
                if not call.gone:
                    self._line[call] = None
                    self._line.move_to_end(call, last=False)

            batch = batch[:1]
            raise
        else:
            _deal(batch, answers)
        finally:
            for call in batch:
                call.wakened.set()

            self._pass_on()

    def _take(self) -> list[_Call[T, R]]:
        """The head of the line, as much as one batch may hold. The leader's own call is first."""
        batch = [self._line.popitem(last=False)[0]]
        room = self.max_items - len(batch[0].items)
        weight = self.max_weight - sum(map(self.weigh, batch[0].items))

        while self._line:
            items = self._first().items
            room -= len(items)
            weight -= sum(map(self.weigh, items))

            if room < 0 or weight < 0:
                break

            batch.append(self._line.popitem(last=False)[0])

        return batch

    def _pass_on(self) -> None:
        if self._line:
            first = self._first()
            first.leads = True
            first.wakened.set()
        else:
            self._in_flight = False

    def _first(self) -> _Call[T, R]:
        return next(iter(self._line))


def _deal(batch: Sequence[_Call[T, R]], answers: Sequence[R]) -> None:
    start = 0

    for call in batch:
        end = start + len(call.items)
        call.answers = answers[start:end]
        start = end


def _outcome(call: _Call[T, R]) -> Sequence[R]:
    if call.error is not None:
        raise call.error

    assert call.answers is not None
    return call.answers
