"""The pytest plugin: a fresh scheduler, a real Redis, and each backend in turn.

It is there as soon as anysched is installed. Its fixtures are plain ones that start nothing in an event loop, so they
serve tests that are run by AnyIO's plugin, by pytest-trio, by :func:`~anysched.testing.virtual_time` or by hand::

    async def test_greeting(scheduler: Scheduler) -> None:
        greet = scheduler.job(say_hello)
        async with scheduler.running():
            run = await greet.enqueue("Ada")
            assert await run.result() == "hello Ada"
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from anysched import Scheduler
    from anysched.backends import Backend

    from .servers import RedisServer

__all__ = ["anysched_backend", "anysched_redis_server", "redis_url", "scheduler"]

# A plugin is loaded in every test run on the machine, and this one brings all that `import anysched` and
# `import anysched.testing` bring: about a tenth of a second. Clients and servers wait until a fixture is asked for.


@pytest.fixture
def scheduler() -> Scheduler:
    """A new scheduler in memory, not open: ``async with scheduler.running():``, or ``nursery.start(scheduler.run)``."""
    from anysched import Scheduler

    return Scheduler()


@pytest.fixture(scope="session")
def anysched_redis_server() -> Iterator[RedisServer]:
    """The Redis server of this test session, found or started as :class:`~anysched.testing.RedisServer` says.

    All tests of the session share it: to kill or configure one, make a ``RedisServer(own=True)``. Where none can be
    had, a test that needs it fails, and says how to get one; it is never skipped.
    """
    from .servers import NoRedisServer, RedisServer

    server = RedisServer(appendonly=False)
    try:
        server.start()
    except NoRedisServer as error:
        pytest.fail(str(error), pytrace=False)

    yield server
    server.stop()


@pytest.fixture
def redis_url(anysched_redis_server: RedisServer) -> str:
    """The address of a real Redis server with an empty database.

    Of a server that ``$ANYSCHED_TEST_REDIS_URL`` names, only the database in that address is emptied; each worker of
    pytest-xdist takes the next one.
    """
    from .resp import RespConnection

    address = anysched_redis_server.address
    if not anysched_redis_server.is_own:
        worker = re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", ""))
        address = address.of_database(address.database + (int(worker[0]) if worker else 0))

    with RespConnection(address) as connection:
        connection.command("FLUSHALL" if anysched_redis_server.is_own else "FLUSHDB")

    return address.url


@pytest.fixture(params=["memory", "redis"])
def anysched_backend(request: pytest.FixtureRequest) -> Backend:
    """A new backend, not open: first one in memory, then one on a real, empty Redis."""
    if request.param == "memory":
        from anysched.backends.memory import MemoryBackend

        return MemoryBackend()

    from anysched.backends.redis import RedisBackend

    return RedisBackend.from_url(request.getfixturevalue("redis_url"))
