"""What a function has left behind in its task: cancel scopes that it entered and never left, and cancellations.

A function that is abandoned in the middle, such as an asynchronous generator that nobody closes, leaves the scopes and
task groups it is in open. Under asyncio nobody who has entered a scope around them could leave theirs any more: one
careless job would take the whole node down. Trio mends its scopes by itself; a nursery that is left open it does not.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from anyio import CancelScope

__all__ = ["forget_cancellations", "has_left_none_open", "leave_scopes"]


def forget_cancellations(scope: Any) -> None:
    """Take back whatever has cancelled the present task natively, and was dealt with: asyncio goes on counting it.

    From Python 3.13 on its task groups cancel a task once more that was cancelled before, whoever is in it by then.

    Args:
        scope: entered by the present task, not left, and not cancelled.
    """
    # AnyIO has no public word for it; Trio has nothing of the kind.
    task = getattr(scope, "_host_task", None)

    while task is not None and task.cancelling():
        task.uncancel()


def has_left_none_open(scope: Any) -> bool:
    """Whether it is certain that nothing is open in a scope; if AnyIO or Trio have changed too much to tell: ``False``.

    Args:
        scope: an AnyIO cancel scope, entered and not left.
    """
    try:
        # Neither has a public word for them.
        return not scope._child_scopes
    except AttributeError:
        pass

    try:
        return not scope._CancelScope__original._cancel_status._children
    except AttributeError:
        return False


def leave_scopes(scope: CancelScope) -> None:
    """Leave a scope of this task, and before that whatever was left open in it, whose tasks are cancelled.

    Args:
        scope: entered by the present task, and not left in order.
    """
    # AnyIO has no public word for them.
    for inner in tuple(getattr(scope, "_child_scopes", ())):
        inner.cancel(reason="its function has ended without leaving it")
        leave_scopes(inner)

    # Of another task, or left already.
    with suppress(RuntimeError):
        scope.__exit__(None, None, None)
