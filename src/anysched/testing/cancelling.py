"""Cancel an operation at each of its awaits in turn: what httpcore does for its connection pool, for anything.

Whatever an operation has half done when it is cancelled, it must undo, finish or leave repeatable. Which awaits it has
is not written anywhere and changes with every edit, so they are not listed but counted: the coroutine is stepped by
hand, and each time it hands a wait to the event loop is one suspension.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from anysched.errors import AnySchedError, InvalidOption

from .whereabouts import where_suspended

__all__ = ["NeverCompletes", "Round", "cancel_at_every_await"]

T = TypeVar("T")


class NeverCompletes(AnySchedError, RuntimeError):
    """An operation was still being suspended after as many suspensions as the limit allows."""

    def __init__(self, limit: int, where: str) -> None:
        super().__init__(f"the operation has more than {limit} suspensions; cancelled at the last of them in {where}")
        self.limit = limit


@frozen(kw_only=True)
class Round(Generic[T]):
    """How one round of :func:`cancel_at_every_await` went.

    Attributes:
        where: the await at which it was cancelled, as ``"function (file:line)"``. None: it was not, in the last round.
        cancelled: whether it ended by that. An operation may complete in spite of it, under a shield.
        value: what it returned, if it did.
        error: what it raised, if that was expected.
    """

    where: str | None
    cancelled: bool
    value: T | None
    error: Exception | None


async def cancel_at_every_await(
    factory: Callable[[], Awaitable[T]],
    *,
    check: Callable[[int, Round[T]], Awaitable[object]],
    expected: tuple[type[Exception], ...] = (),
    native: bool = False,
    limit: int = 1000,
) -> int:
    """Run an operation over and over, cancelled at its first await, at its second, and so on.

    In round `n` a fresh operation runs within a cancel scope, which is cancelled when the operation is suspended for
    the `n`-th time: before what it waits for has happened. Then `check` is called, to see that nothing leaked. The
    last round is the first in which there was no `n`-th suspension, so nothing was cancelled.

    Only the operation's own suspensions are counted, not those of tasks that it starts: these are cancelled with it.
    Use it in a running event loop, of either kind; in virtual time, if the operation waits for time to pass::

        async def no_token_leaked(n: int, outcome: Round[None]) -> None:
            assert limiter.borrowed_tokens == 0

        await cancel_at_every_await(operation, check=no_token_leaked)

    Args:
        factory: makes the operation, anew for each round; a call of an async function.
        check: is told the round, from 1, and how it went. What it raises is passed on, with a note of where the
            operation had been cancelled.
        expected: errors that the operation may raise. Any other is passed on, with the same note.
        native: cancel by ``asyncio.Task.cancel()`` instead, as ``asyncio.timeout`` and many frameworks do; it is
            delivered once only, and AnyIO's shields do not hold it back. The operation runs in a task of its own then.
        limit: how many suspensions an operation may have.

    Returns:
        At how many suspensions the operation was cancelled.

    Raises:
        NeverCompletes: the operation has more suspensions than `limit`.
        InvalidOption: `native` was asked for, but the event loop is not asyncio's.
    """
    if native and not _is_asyncio():
        raise InvalidOption("native", native, "False, unless asyncio is what runs the event loop")

    run = _run_natively if native else _run_in_scope
    where: str | None = ""
    for n in range(1, limit + 2):
        stepped = _Stepped(factory(), n)
        try:
            outcome = await run(stepped, expected)
            await check(n, outcome)
        except BaseException as error:
            error.add_note(f"in round {n} of cancel_at_every_await: cancelled in {stepped.where or 'no place'}")
            raise

        where = outcome.where
        if where is None:
            return n - 1

    raise NeverCompletes(limit, where)


@define(eq=False)
class _Stepped(Generic[T]):
    """An awaitable that awaits another one, and calls `cancel` at its n-th suspension."""

    _operation: Awaitable[T]
    _at: int
    cancel: Callable[[], object] = field(default=lambda: None, init=False)
    where: str | None = field(default=None, init=False)

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._operation.__await__()
        resume: Callable[[], Any] = partial(next, steps)
        suspensions = 0
        while True:
            try:
                wanted = resume()
            except StopIteration as stop:
                return stop.value

            suspensions += 1
            if suspensions == self._at:
                self.where = where_suspended(self._operation)
                self.cancel()

            try:
                answer = yield wanted
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: ASYNC103, BLE001 (what the loop throws in is the operation's to handle)
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, answer)


async def _run_in_scope(stepped: _Stepped[T], expected: tuple[type[Exception], ...]) -> Round[T]:
    value, failure = None, None
    await anyio.lowlevel.checkpoint()  # the operation may have none
    with anyio.CancelScope() as scope:  # noqa: ASYNC912 (and that is for the caller to know)
        stepped.cancel = partial(scope.cancel, reason="cancel_at_every_await")
        try:
            value = await stepped
        except expected as error:
            failure = error

    return Round(where=stepped.where, cancelled=scope.cancelled_caught, value=value, error=failure)


async def _run_natively(stepped: _Stepped[T], expected: tuple[type[Exception], ...]) -> Round[T]:
    import asyncio

    rounds: list[Round[T]] = []
    failures: list[BaseException] = []

    async def operate() -> None:
        task = asyncio.current_task()
        assert task is not None, "this is a task"
        stepped.cancel = task.cancel
        value, failure, cancelled = None, None, False
        await anyio.lowlevel.checkpoint()  # the operation may have none
        try:
            value = await stepped
        except asyncio.CancelledError:  # noqa: ASYNC103 (what was cancelled natively is this task's whole purpose)
            if stepped.where is None:
                raise  # not by us

            cancelled = True
        except expected as error:
            failure = error
        except Exception as error:  # noqa: BLE001 (raised again below, outside of the group)
            failures.append(error)

        if stepped.where is not None:
            task.uncancel()

        rounds.append(Round(where=stepped.where, cancelled=cancelled, value=value, error=failure))

    async with anyio.create_task_group() as group:  # noqa: ASYNC112 (it must have a task of its own)
        group.start_soon(operate)

    for failure in failures:
        raise failure

    return rounds[0]


def _is_asyncio() -> bool:
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
