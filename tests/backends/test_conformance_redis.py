"""The conformance suite over Redis, in real time: by redis-py on asyncio, by coredis on Trio; and all of it twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest
from attrs import define

from anysched.backends.redis import RedisBackend
from anysched.backends.redis.link import Argument, Link, Script

pytest.register_assert_rewrite("anysched.testing.conformance")

from anysched.testing.conformance import BackendConformance  # noqa: E402 (after it was registered)
from anysched.testing.conformance.stage import Advance  # noqa: E402 (after it was registered)


async def pass_time(ms: int) -> None:
    await anyio.sleep(ms / 1000)


class TestRedisBackend(BackendConformance):
    @pytest.fixture
    async def backend(self, redis_url: str) -> AsyncIterator[RedisBackend]:
        backend = RedisBackend.from_url(redis_url)

        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            yield backend
            services.cancel_scope.cancel()

    @pytest.fixture
    def advance(self) -> Advance:
        return pass_time


@define
class Twice:
    """A link whose every command arrives twice. What both answer is compared by the suite itself, in its last part."""

    link: Link

    def __getattr__(self, name: str) -> Any:
        return getattr(self.link, name)

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        reply = await self.link.call(script, keys, args)
        await self.link.call(script, keys, args)
        return reply


@pytest.mark.slow
class TestRedisBackendWithEveryCommandTwice(TestRedisBackend):
    # Each call does one share of the work that is due; two calls do two.
    test_one_dead_node_at_a_time_is_reaped: Any = None
    test_a_node_with_many_runs_is_reaped_in_portions: Any = None
    # The second one gives a fresh lease, a millisecond later.
    test_one_holds_it_and_no_other: Any = None
    test_asking_again_while_holding_gives_a_fresh_lease: Any = None

    @pytest.fixture
    async def backend(self, redis_url: str) -> AsyncIterator[RedisBackend]:
        backend = RedisBackend.from_url(redis_url)

        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            backend._links[:] = [Twice(link) for link in backend._links]
            yield backend
            services.cancel_scope.cancel()
