"""Waiting for what a real server, or somebody else's task, brings about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

import anyio


async def until(condition: Callable[[], Awaitable[Any] | Any], *, within: float = 15.0) -> None:
    """Wait until a condition, which may be async, holds.

    Raises:
        TimeoutError: it does not, within so many seconds.
    """
    with anyio.fail_after(within):
        while True:
            holds = condition()

            if await holds if isawaitable(holds) else holds:
                return

            await anyio.sleep(0.005)
