"""A backend on a real Redis, and a connection beside it to look at what is stored and to spoil it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from anysched.backends.redis import RedisBackend
from anysched.testing.resp import Address, RespConnection


@pytest.fixture
def store(redis_url: str) -> Iterator[RespConnection]:
    """The empty server, seen directly."""
    with RespConnection(Address.from_url(redis_url)) as connection:
        yield connection


@pytest.fixture
async def backend(redis_url: str) -> AsyncIterator[RedisBackend]:
    """An open backend on that server."""
    backend = RedisBackend.from_url(redis_url)

    async with anyio.create_task_group() as services:
        await services.start(backend.run)
        yield backend
        services.cancel_scope.cancel()
