"""Leadership only saves work: with as many leaders as nodes every fire is still one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from anysched import Lock, Scheduler, current_run
from anysched.testing import RedisServer

from .polling import until


@pytest.mark.slow
async def test_four_leaders_at_once_fire_each_time_once(server: RedisServer, make_ledger: Callable[[], Any]) -> None:
    """Four nodes that all believe to lead decide every fire; whoever comes first moves the cursor, and nobody else.

    Break: "cursor" (each of them makes the run).
    """
    ledger = make_ledger()

    def node(number: int) -> Scheduler:
        scheduler = Scheduler(server.url, lock=Lock(name=f"leader-{number}"))

        @scheduler.every("100ms", overlap="allow", misfire="all", anchor=datetime(2026, 1, 1, tzinfo=UTC))
        async def fire() -> None:
            ledger.fires.append(current_run().scheduled_for)

        return scheduler

    nodes = [node(number) for number in range(4)]

    async with AsyncExitStack() as stack:
        for each in nodes:
            await stack.enter_async_context(each.running())

        await until(lambda: all(each.statistics().leader for each in nodes))
        await until(lambda: len(ledger.fires) >= 15)

    ledger.check_fires(at_least=15, every=0.1)
