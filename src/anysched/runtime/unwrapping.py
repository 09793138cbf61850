"""What a task group raised, in the shape that users expect.

Groups are normal, and always groups, inside. At the door an error that is alone is raised bare, so that
``except ValueError`` around ``async with scheduler.running()`` means what it says. Several at once stay a group. A
cancellation beside an error is dropped, as whoever was cancelled is told again; and one refusal that several loops met
is one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import cast

from anyio import CancelScope, get_cancelled_exc_class
from attrs import define, field

from anysched.errors import BackendRefused, NotOpen

__all__ = ["Body", "bare", "failure_in"]

_TOLD_TO_ALL = (BackendRefused, NotOpen)
"""What every loop is told that asks for anything: the first says it all."""


def failure_in(error: BaseException) -> BaseException | None:
    """What is left of an error without the cancellations in it, which Trio keeps beside others in groups."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        matched, rest = group.split(get_cancelled_exc_class())
        # Without a match it is a copy.
        return group if matched is None else rest

    return None if isinstance(error, get_cancelled_exc_class()) else error


@contextmanager
def bare(*, body: BaseException | None = None) -> Generator[None]:
    """Around a task group: an exception that is alone in it leaves bare.

    Args:
        body: what its body raised, which leaves as it was, also if it was a group.
    """
    try:
        yield
        return
    except BaseExceptionGroup as group:
        failure = failure_in(group)

        if failure is None:
            raise

        alone = body if body is not None and _is_all(body, failure) else _alone(failure)

        if alone is None and failure is group:
            raise

    if alone is None:
        raise failure

    # The group it came in says nothing that its own traceback does not say.
    raise alone from alone.__cause__


@define(eq=False)
class Body:
    """A body that others run beside, in a task group around it. What it raises is kept until that has been left."""

    _failure: BaseException | None = field(default=None, init=False)

    @contextmanager
    def outcome(self) -> Generator[None]:
        """Around the task group: raises what the body raised, as it was, though the group was cancelled.

        Raises:
            BaseExceptionGroup: of that and of what else the group raised.
        """
        try:
            with bare():
                yield
        except BaseException as ending:  # noqa: ASYNC103 - what the body raised goes before a cancellation
            if self._failure is None:
                raise

            other = failure_in(ending)

            if other is not None:
                self._failure = BaseExceptionGroup("the body failed, and so did another", [self._failure, other])

        if self._failure is not None:
            raise self._failure

    @contextmanager
    def kept(self, scope: CancelScope) -> Generator[None]:
        """Around the body, in the task group of that scope, which is cancelled if the body fails."""
        try:
            yield
        except BaseException as error:  # noqa: ASYNC103 - a cancellation is raised; what else there is, later
            self._failure = failure_in(error)

            if self._failure is None:
                raise

            scope.cancel(reason="the body failed")


def _is_all(body: BaseException, failure: BaseException) -> bool:
    """Whether nothing but the body's error is in the failure, in groups that Trio has made anew."""
    own = failure_in(body)
    return own is not None and [id(leaf) for leaf in _leaves(own)] == [id(leaf) for leaf in _leaves(failure)]


def _alone(failure: BaseException) -> BaseException | None:
    leaves = [*_leaves(failure)]
    is_one = len(leaves) == 1 or any(all(isinstance(leaf, kind) for leaf in leaves) for kind in _TOLD_TO_ALL)
    return leaves[0] if is_one else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    else:
        yield error
