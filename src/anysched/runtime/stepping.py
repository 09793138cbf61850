"""Running a coroutine step by step in a context of its own, inside a task that has another.

A task costs several times what a call costs, so attempts share long-lived tasks. But each attempt must have a context
of its own: what one handler puts into a context variable must not be seen by the next. So every step of the handler,
from one suspension to the next, is run in its context by hand, which is what a task does with its own.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["step_through"]

T = TypeVar("T")


@types.coroutine
def step_through(
    coroutine: Coroutine[Any, Any, T], context: Context, on_suspend: Callable[[], None]
) -> Generator[Any, Any, T]:
    """Await a coroutine with each of its steps run in ``context``.

    Args:
        coroutine: is run to its end, or closed.
        context: entered for each step.
        on_suspend: called when the coroutine suspends for the first time; never, if it runs through.

    Returns:
        What the coroutine returns.
    """
    run = context.run

    try:
        signal = run(coroutine.send, None)
        on_suspend()

        while True:
            try:
                value = yield signal
            except BaseException as error:  # noqa: BLE001, ASYNC103 - passed into the coroutine, whose business it is
                signal = run(coroutine.throw, error)
            else:
                signal = run(coroutine.send, value)
    except StopIteration as stop:
        return stop.value
    finally:
        coroutine.close()
