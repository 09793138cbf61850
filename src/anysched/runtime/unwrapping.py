"""What a task group raised, in the shape that users expect.

Groups are normal, and always groups, inside. At the door an error that is alone is raised bare, so that
``except ValueError`` around ``async with scheduler.running()`` means what it says. Several at once, or something that
is not an ``Exception``, stay the group that they are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

__all__ = ["bare", "only_leaf"]


def only_leaf(error: BaseException) -> BaseException | None:
    """The one exception in a group, however deep; ``None`` if there are several."""
    while isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions

        if len(members) != 1:
            return None

        error = members[0]

    return error


@contextmanager
def bare() -> Generator[None]:
    """Around a task group: an exception that is alone in it leaves bare."""
    alone: BaseException | None = None

    try:
        yield
    except BaseExceptionGroup as group:
        alone = only_leaf(group)

        if alone is None:
            raise

    if alone is not None:
        # The group it came in says nothing that its own traceback does not say.
        raise alone from alone.__cause__
