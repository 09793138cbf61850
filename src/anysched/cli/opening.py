"""For commands that look after a running system: open it, act, close it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable

from anysched.cli.carrying import run_async
from anysched.cli.loading import shared_scheduler_of
from anysched.scheduler import Scheduler

__all__ = ["with_open"]


def with_open(arguments: Namespace, action: Callable[[Scheduler], Awaitable[object]]) -> int:
    """Call an action with the scheduler that a command line means, connected; it executes nothing.

    Raises:
        CommandError: the scheduler cannot be had, or lives in another process's memory.
        BackendError: its backend cannot be reached.
    """
    scheduler = shared_scheduler_of(arguments)

    async def act() -> int:
        async with scheduler:
            await action(scheduler)

        return 0

    return run_async(act, loop=arguments.loop)
