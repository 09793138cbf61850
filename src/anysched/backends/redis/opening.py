"""Opening a link: connected, asked what it leads to, and only then in use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio import create_task_group, sleep_forever

from anysched.backends.redis.link import Link
from anysched.errors import BackendError

__all__ = ["hold_open"]


async def hold_open(link: Link, greet: Callable[[Link], Awaitable[None]], opened: Callable[[], None]) -> None:
    """Run a link until cancelled, calling ``opened`` once it is connected and ``greet`` has found nothing wrong.

    It takes a group of its own, as links do: to greet, somebody has to read the replies at the same time.

    Raises:
        BackendUnavailable: the first connection could not be made.
        BackendRefused: the server does not let us in, or is not one that can serve us.
    """
    failure: BackendError | None = None

    async with create_task_group() as holding:
        try:
            await holding.start(link.run)
            await greet(link)
        except BackendError as error:
            failure = error
            holding.cancel_scope.cancel()
        else:
            opened()
            await sleep_forever()

    if failure is not None:
        raise failure
