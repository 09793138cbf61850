"""The conformance suite over Redis, in real time: on asyncio by redis-py, on Trio by coredis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from anysched.backends.redis import RedisBackend

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
