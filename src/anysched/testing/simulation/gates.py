"""Machines that can stand still: everything that runs on one of them is held, at any suspension, and let go on later.

Each event loop has a queue of what runs next. While :func:`gated` is entered that queue asks, of each step that is put
into it, on whose behalf it is: the gate that is set in the step's context. A closed gate keeps the step. So a process
that is stopped, or killed, stops in the middle of whatever all of its tasks are doing: no time limit of it passes, no
``finally`` of it runs, none of its timers is noticed, while the time of the others goes on.

What always holds:

* A task that has suspended behind a closed gate does nothing until the gate opens; then all goes on in the old order.
* Nothing from outside may cancel what is behind a closed gate: it would never hear of it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, MutableSet
from contextlib import contextmanager
from contextvars import Context, ContextVar
from importlib import import_module
from typing import Any

from attrs import define, field

__all__ = ["Gate", "current_gate", "gated", "in_order"]


@define(eq=False)
class Gate:
    """Before everything that one machine does.

    Args:
        on_close: called when it closes.
    """

    on_close: Callable[[], None]
    is_closed: bool = False
    _steps_left: int = field(default=0, init=False)
    _held: list[tuple[deque[Any], Any]] = field(factory=list[tuple[deque[Any], Any]], init=False)

    def close(self) -> None:
        """Let nothing pass from now on."""
        if not self.is_closed:
            self.is_closed = True
            self._steps_left = 0
            self.on_close()

    def close_after(self, steps: int) -> None:
        """Let so many more steps pass, of whatever task; 0: as many as come."""
        self._steps_left = steps

    def open(self) -> None:
        """Let go on what was held."""
        self.is_closed = False
        held, self._held = self._held, []

        for queue, step in held:
            queue.append(step)

    def admits(self, queue: deque[Any], step: Any) -> bool:
        """Whether a step may be queued now; if not, it is kept."""
        if self._steps_left:
            self._steps_left -= 1

            if not self._steps_left:
                self.close()

        if self.is_closed:
            self._held.append((queue, step))

        return not self.is_closed


current_gate: ContextVar[Gate | None] = ContextVar("anysched_gate", default=None)


class _GatedQueue(deque[Any]):
    """What runs next. Both loops only ever append to it."""

    def __init__(self, steps: Iterable[Any], context_of: Callable[[Any], Context]) -> None:
        super().__init__(steps)
        self._context_of = context_of

    def append(self, step: Any, /) -> None:
        gate = self._context_of(step).get(current_gate)

        if gate is None or gate.admits(self, step):
            super().append(step)


@contextmanager
def gated() -> Generator[None]:
    """In a running event loop: have its queue obey the gates."""
    runner = _trio_runner()
    owner, name = (runner, "runq") if runner is not None else (asyncio.get_running_loop(), "_ready")
    context_of = _context_of_task if runner is not None else _context_of_handle
    setattr(owner, name, _GatedQueue(getattr(owner, name), context_of))

    try:
        yield
    finally:
        setattr(owner, name, deque(getattr(owner, name)))


def _context_of_task(task: Any) -> Context:
    return task.context


def _context_of_handle(handle: Any) -> Context:
    # There is a public word for it since Python 3.12 only.
    return handle._context


def _trio_runner() -> Any:
    """What runs the present Trio loop; ``None`` under asyncio. Trio has no public word for it."""
    module = sys.modules.get("trio._core._run")
    return getattr(getattr(module, "GLOBAL_RUN_CONTEXT", None), "runner", None)


@contextmanager
def in_order(seed: int, loop: str) -> Generator[None]:
    """Have an event loop do the same things in the same order each time.

    Trio chooses at random which task goes first. AnyIO's side of asyncio keeps tasks in sets, whose order is that of
    their addresses in memory. Neither has a public switch for that.
    """
    with _trio_in_order(seed) if loop == "trio" else _asyncio_in_order():
        yield


@contextmanager
def _trio_in_order(seed: int) -> Generator[None]:
    known = vars(import_module("trio._core._run"))
    chance, was_allowed = known["_r"], known["_ALLOW_DETERMINISTIC_SCHEDULING"]
    state = chance.getstate()
    chance.seed(seed)
    known["_ALLOW_DETERMINISTIC_SCHEDULING"] = True

    try:
        yield
    finally:
        known["_ALLOW_DETERMINISTIC_SCHEDULING"] = was_allowed
        chance.setstate(state)


@contextmanager
def _asyncio_in_order() -> Generator[None]:
    known = vars(import_module("anyio._backends._asyncio"))
    known["set"] = _OrderedSet

    try:
        yield
    finally:
        del known["set"]


class _OrderedSet(MutableSet[Any]):
    """A set in the order in which things were added."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Any) -> None:
        self._items[value] = None

    def discard(self, value: Any) -> None:
        self._items.pop(value, None)
