"""Links by a client that the user already has: used as it is set, and left as it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import coredis
import pytest
import redis
import redis.asyncio
from coredis.retry import ConstantRetryPolicy
from redis._parsers import _AsyncRESP2Parser, _AsyncRESP3Parser

from anysched.backends.redis.link import Link, Script, open_link
from anysched.errors import BackendUnavailable, InvalidOption
from anysched.testing.proxy import FaultyProxy
from anysched.testing.servers import RedisServer

ECHO = Script("echo", "return {ARGV[1], 7, false}")
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
RAW = [b"\xff\x00", 7, None]
OLD_REDIS_PY = tuple(map(int, redis.__version__.split(".")[:2])) < (6, 2)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@pytest.fixture
def library(anyio_backend_name: str, request: pytest.FixtureRequest) -> str:
    """Of whose making the client is: under Trio coredis', under asyncio either."""
    return request.param


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "library" in metafunc.fixturenames:
        metafunc.parametrize("library", ["redis-py", "coredis"], indirect=True)


@pytest.fixture(autouse=True)
def _only_what_goes_together(request: pytest.FixtureRequest) -> None:
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}

    if parameters.get("library") == "redis-py" and request.getfixturevalue("anyio_backend_name") == "trio":
        pytest.skip("redis-py does not run on Trio")


@asynccontextmanager
async def client_of(library: str, port: int, **options: Any) -> AsyncGenerator[Any]:
    if library == "coredis":
        async with coredis.Redis(port=port, **options) as theirs:
            yield theirs

    else:
        parser = {name: options.pop(name) for name in ("parser_class",) if name in options}
        theirs = redis.asyncio.Redis(port=port, **options)
        theirs.connection_pool.connection_kwargs |= parser
        yield theirs
        await theirs.aclose()


@asynccontextmanager
async def open_by(client: Any, **options: float) -> AsyncGenerator[Link]:
    link = open_link(client, **options)

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


@pytest.mark.parametrize("decoded", [False, True])
async def test_replies_are_raw_however_the_client_decodes(server: RedisServer, library: str, decoded: bool) -> None:
    """Calls, commands and messages; and the client itself goes on decoding."""
    heard: list[bytes] = []
    arrived = anyio.Event()

    def deliver(message: bytes) -> None:
        heard.append(message)
        arrived.set()

    async with (
        client_of(library, server.port, decode_responses=decoded) as theirs,
        open_by(theirs) as link,
        anyio.create_task_group() as listening,
    ):
        assert RAW == await link.call(ECHO, [], [b"\xff\x00"])
        assert [b"maxmemory-policy", b"noeviction"] == await link.command("CONFIG", "GET", "maxmemory-policy")
        await listening.start(link.listen, ["c"], deliver)
        await link.command("PUBLISH", "c", b"\xff")

        with anyio.fail_after(5):
            await arrived.wait()

        await theirs.set("k", "v")
        assert ("v" if decoded else b"v") == await theirs.get("k")
        listening.cancel_scope.cancel()

    assert [b"\xff"] == heard


@pytest.mark.parametrize("parser", [{}, {"parser_class": _AsyncRESP2Parser}], ids=["hiredis", "in Python"])
async def test_texts_are_sent_as_utf_8_whatever_the_client_writes(
    server: RedisServer, parser: dict[str, Any], anyio_backend_name: str
) -> None:
    """What is stored is read by others.

    Break: a run is stored that nobody can read.
    """
    if anyio_backend_name == "trio":
        pytest.skip("redis-py does not run on Trio")

    async with client_of("redis-py", server.port, encoding="latin-1", **parser) as theirs, open_by(theirs) as link:
        assert "ü€".encode() == (await link.call(ECHO, [], ["ü€"]))[0]


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": 2},
        {"protocol": 3},
        {"protocol": 2, "parser_class": _AsyncRESP2Parser},
        {"protocol": 3, "parser_class": _AsyncRESP3Parser},
    ],
    ids=["2", "3", "2 in Python", "3 in Python"],
)
async def test_either_protocol_will_do(server: RedisServer, options: dict[str, Any], anyio_backend_name: str) -> None:
    """redis-py lets its user choose, and parses in Python without hiredis; replies, maps and messages are the same."""
    if anyio_backend_name == "trio":
        pytest.skip("redis-py does not run on Trio")

    if options.get("parser_class") is _AsyncRESP3Parser and OLD_REDIS_PY:
        pytest.skip("beside hiredis, redis-py before 6.2 keeps the messages to itself that come over RESP3 in Python")

    arrived = anyio.Event()

    async with (
        client_of("redis-py", server.port, **options) as theirs,
        open_by(theirs, time_limit=0.2) as link,
        anyio.create_task_group() as listening,
    ):
        assert RAW == await link.call(ECHO, [], [b"\xff\x00"])
        assert [b"maxmemory-policy", b"noeviction"] == await link.command("CONFIG", "GET", "maxmemory-policy")
        await listening.start(link.listen, ["c"], lambda _: arrived.set())
        await anyio.sleep(0.5)
        await link.command("PUBLISH", "c", "m")

        with anyio.fail_after(5):
            await arrived.wait()

        listening.cancel_scope.cancel()


async def test_the_client_stays_open_and_as_it_was(server: RedisServer, library: str) -> None:
    """After the link has ended the client works, and its pool has what it had."""
    options = {"socket_timeout": 7} if library == "redis-py" else {}

    async with client_of(library, server.port, max_connections=2, **options) as theirs:
        for _ in range(5):
            async with open_by(theirs) as link:
                await link.call(ECHO, [], ["a"])

        assert await theirs.ping()

        if library == "redis-py":
            connection = await theirs.connection_pool.get_connection()
            assert 7 == connection.socket_timeout
            await theirs.connection_pool.release(connection)


async def test_a_client_that_resends_does_not_do_so_for_us(server: RedisServer, library: str) -> None:
    """redis-py is set to ten times, coredis to two; a script whose reply is lost has run once."""
    server.cli("DEL", "n")
    policy = {"retry_policy": ConstantRetryPolicy((Exception,), retries=3, delay=0)} if library == "coredis" else {}

    async with (
        FaultyProxy(target_port=server.port) as proxy,
        client_of(library, proxy.port, **policy) as theirs,
        open_by(theirs) as link,
    ):
        await link.call(COUNT, ["n"], [])
        proxy.drop_replies(containing=b"EVALSHA")

        with pytest.raises(BackendUnavailable):
            await link.call(COUNT, ["n"], [])

        assert 3 == await link.call(COUNT, ["n"], [])


async def test_a_pool_with_nothing_left_is_unavailable(server: RedisServer) -> None:
    """redis-py's pool refuses or blocks when all its connections are taken: we say so, in limited time."""
    if "trio" == __import__("sniffio").current_async_library():
        pytest.skip("redis-py does not run on Trio")

    pools = [
        redis.asyncio.ConnectionPool(port=server.port, max_connections=1),
        redis.asyncio.BlockingConnectionPool(port=server.port, max_connections=1, timeout=20),
    ]

    for pool in pools:
        theirs = redis.asyncio.Redis.from_pool(pool)
        taken = await pool.get_connection()
        failure: Exception | None = None

        async with anyio.create_task_group() as services:
            try:
                await services.start(open_link(theirs, time_limit=0.3).run)
            except BackendUnavailable as error:
                failure = error

        assert isinstance(failure, BackendUnavailable)
        await pool.release(taken)
        await theirs.aclose()


async def test_a_client_that_was_not_entered_serves(server: RedisServer) -> None:
    """coredis' own context need not be entered, and its end does not end us."""
    theirs = coredis.Redis(port=server.port)

    async with open_by(theirs) as link:
        async with theirs:
            assert RAW == await link.call(ECHO, [], [b"\xff\x00"])

        assert RAW == await link.call(ECHO, [], [b"\xff\x00"])


async def test_a_client_that_cannot_be_used_is_refused(anyio_backend_name: str) -> None:
    """A blocking client, something else altogether, or redis-py under Trio."""
    useless: list[object] = [redis.Redis(), object(), "redis://localhost"]

    if anyio_backend_name == "trio":
        useless.append(redis.asyncio.Redis())

    for client in useless:
        with pytest.raises(InvalidOption):
            open_link(client)
