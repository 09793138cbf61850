"""`FaultyProxy`: each fault has the effect that its name says, on both loops, in front of a real server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from anyio.abc import SocketStream

from anysched.testing import FaultyProxy, RedisServer

PING = b"PING\r\n"
PONG = b"+PONG\r\n"
LOST = (anyio.EndOfStream, anyio.BrokenResourceError)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(target_port=server.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def every_loop(all_loops: None) -> None:
    """Sockets are where loops differ."""


async def ask(stream: SocketStream, request: bytes = PING) -> bytes:
    with anyio.fail_after(5):
        await stream.send(request)
        return await stream.receive()


async def is_silent(stream: SocketStream) -> bool:
    with anyio.move_on_after(0.05):
        await stream.receive()
        return False

    return True


async def test_without_a_fault_everything_is_passed_on(proxy: FaultyProxy) -> None:
    """Both ways, in any size, and a client's end is the end of its connection."""
    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        assert PONG == await ask(stream)
        big = b"x" * 300_000
        with anyio.fail_after(5):
            await stream.send(b"*2\r\n$4\r\nECHO\r\n$300000\r\n" + big + b"\r\n")
            received = b""
            while len(received) < 300_011:
                received += await stream.receive()

        assert b"$300000\r\n" + big + b"\r\n" == received
        assert 1 == proxy.connections == proxy.accepted

    with anyio.fail_after(5):
        while proxy.connections:  # noqa: ASYNC110 (the proxy has no event for that)
            await anyio.sleep(0.001)


async def test_a_cut_breaks_present_connections_and_no_new_ones(proxy: FaultyProxy) -> None:
    """The client finds out when it next reads."""
    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        await ask(stream)
        proxy.cut()
        with pytest.raises(LOST):
            await ask(stream)

    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        assert PONG == await ask(stream)


async def test_a_delay_holds_up_every_chunk(proxy: FaultyProxy) -> None:
    """Once on the way to the server and once on the way back."""
    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        proxy.delay = 0.03
        began = time.perf_counter()  # uvloop's own clock counts whole milliseconds, and late
        assert PONG == await ask(stream)
        assert time.perf_counter() - began >= 0.058


async def test_refused_connections_are_hung_up_on_and_old_ones_go_on(proxy: FaultyProxy) -> None:
    """Until the proxy is healed."""
    async with await anyio.connect_tcp(proxy.host, proxy.port) as old:
        await ask(old)
        proxy.refuse = True
        async with await anyio.connect_tcp(proxy.host, proxy.port) as new:
            with pytest.raises(LOST):
                await ask(new)

        assert PONG == await ask(old)
        proxy.heal()
        async with await anyio.connect_tcp(proxy.host, proxy.port) as new:
            assert PONG == await ask(new)


async def test_a_black_hole_swallows_everything_until_it_is_healed(proxy: FaultyProxy, server: RedisServer) -> None:
    """Connections stay open and silent; those that have lost bytes are cut by the healing."""
    proxy.blackhole = True
    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        await stream.send(b"SET swallowed 1\r\n")
        assert await is_silent(stream)
        assert None is server.cli("GET", "swallowed")
        proxy.heal()
        with pytest.raises(LOST):
            await ask(stream)


async def test_a_dropped_reply_is_to_a_request_that_was_carried_out(proxy: FaultyProxy, server: RedisServer) -> None:
    """The server has done it, the client sees a lost connection, and the next request is answered."""
    server.cli("DEL", "counter")
    proxy.drop_replies(2, containing=b"INCR")
    for _ in range(2):
        async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
            assert PONG == await ask(stream)
            with pytest.raises(LOST):
                await ask(stream, b"INCR counter\r\n")

    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        assert b":3\r\n" == await ask(stream, b"INCR counter\r\n")


async def test_a_half_open_connection_is_silent_for_the_client_and_closed_for_the_server(
    proxy: FaultyProxy, server: RedisServer
) -> None:
    """The client may send without an error, and never hears of anything."""
    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        await ask(stream, b"CLIENT SETNAME half\r\n")
        proxy.half_open()
        await stream.send(PING)
        assert await is_silent(stream)
        clients = server.cli("CLIENT", "LIST")
        assert isinstance(clients, bytes) and b"name=half" not in clients

    async with await anyio.connect_tcp(proxy.host, proxy.port) as stream:
        assert PONG == await ask(stream)


async def test_a_server_that_is_down_looks_like_one(free_tcp_port: int) -> None:
    """The proxy accepts, finds nobody, and hangs up."""
    async with (
        FaultyProxy(target_port=free_tcp_port) as proxy,
        await anyio.connect_tcp(proxy.host, proxy.port) as stream,
    ):
        with pytest.raises(LOST):
            await ask(stream)


async def test_closing_the_proxy_breaks_its_connections(server: RedisServer) -> None:
    """And frees its port."""
    async with FaultyProxy(target_port=server.port) as proxy:
        stream = await anyio.connect_tcp(proxy.host, proxy.port)
        await ask(stream)

    async with stream:
        with pytest.raises(LOST):
            await ask(stream)

    with pytest.raises(OSError, match=r".*"):
        await anyio.connect_tcp(proxy.host, proxy.port)
