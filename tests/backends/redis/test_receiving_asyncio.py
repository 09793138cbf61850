"""What takes the place of redis-py's stream: replies in pieces, what was not asked for, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import redis.asyncio
from attrs import Factory, define
from hiredis import Reader

from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.failures import explain
from anysched.backends.redis.link import STRAY, Link, open_link
from anysched.backends.redis.receiving_asyncio import Receiver, receive
from anysched.errors import BackendUnavailable
from anysched.testing.servers import RedisServer

NOTHING = object()


@pytest.fixture(autouse=True)
def on_asyncio(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("redis-py does not run on Trio")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@asynccontextmanager
async def open_to(server: Any, **options: float) -> AsyncGenerator[Link]:
    link = open_link(server, **options)

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


@define(eq=False)
class Transport:
    """Takes what is sent."""

    sent: list[bytes] = Factory(list[bytes])
    aborted: bool = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@define(eq=False)
class Stream:
    """What the transport had before."""

    lost: list[object] = Factory(list[object])

    def connection_lost(self, error: object) -> None:
        self.lost.append(error)


def receiver_with(take: Any) -> Receiver:
    return Receiver(Transport(), Stream(), Reader(notEnoughData=NOTHING), NOTHING, take)


def feed(receiver: Receiver, data: bytes) -> None:
    receiver.get_buffer(-1)[: len(data)] = data
    receiver.buffer_updated(len(data))


async def test_replies_come_whole_and_in_order() -> None:
    """Whatever the pieces in which their bytes come."""
    taken: list[Any] = []
    receiver = receiver_with(taken.append)

    for byte in b"+OK\r\n:7\r\n*2\r\n$1\r\na\r\n$-1\r\n":
        feed(receiver, bytes([byte]))

    feed(receiver, b"+a\r\n+b\r\n")
    assert [b"OK", 7, [b"a", None], b"a", b"b"] == taken
    assert receiver.is_open


async def test_what_cannot_be_parsed_ends_the_connection() -> None:
    """With the parser's error, and the transport is given up."""
    receiver = receiver_with(lambda reply: None)
    feed(receiver, b"nonsense\r\n")
    assert "Protocol error" in str(receiver.ended.result())
    assert receiver.transport.aborted
    assert not receiver.is_open


async def test_an_error_of_who_takes_ends_the_connection() -> None:
    """It is what whoever waits for the end is told, and not what the transport says afterwards."""

    def take(reply: object) -> None:
        raise ValueError(reply)

    receiver = receiver_with(take)
    feed(receiver, b":1\r\n")
    receiver.connection_lost(None)
    assert isinstance(receiver.ended.result(), ValueError)


async def test_the_end_is_passed_on() -> None:
    """To the stream, whose closing somebody may wait for, and to whoever waits until more can be sent."""
    receiver = receiver_with(lambda reply: None)
    receiver.pause_writing()
    assert receiver.is_full
    error = OSError("gone")

    async with anyio.create_task_group() as group:
        group.start_soon(receiver.drain)
        await anyio.wait_all_tasks_blocked()
        receiver.connection_lost(error)

    assert (error, [error], False) == (receiver.ended.result(), receiver.stream.lost, receiver.is_full)


def test_a_connection_that_is_not_as_expected_is_left_alone() -> None:
    """It is read as redis-py reads it."""
    assert receive(object(), lambda reply: None) is None


async def test_more_than_goes_out_at_once_is_sent_whole(server: RedisServer) -> None:
    """Others send in between, and each gets its own reply."""
    large = b"x" * 16_000_000

    async with open_to(parse_address(server.url)) as link, anyio.create_task_group() as group:

        async def ask(number: int) -> None:
            assert str(number).encode() == await link.command("ECHO", number)

        for number in range(20):
            group.start_soon(ask, number)

        group.start_soon(link.command, "SET", "large", large)

        for number in range(20):
            group.start_soon(ask, number)

    async with open_to(parse_address(server.url)) as link:
        assert len(large) == await link.command("STRLEN", "large")


async def test_what_was_not_asked_for_disturbs_nobody(server: RedisServer) -> None:
    """A client on RESP3 that tracks what changes is told of it between two replies."""
    async with redis.asyncio.Redis(port=server.port, protocol=3) as theirs, open_to(theirs) as link:
        await link.command("CLIENT", "TRACKING", "ON", "BCAST")
        before = await link.command("CLIENT", "ID")

        for number in range(10):
            await theirs.set("k", number)
            assert str(number).encode() == await link.command("GET", "k")

        assert before == await link.command("CLIENT", "ID")


async def test_a_reply_that_never_comes_is_waited_for_once(server: RedisServer) -> None:
    """Those who ask before, after and meanwhile are given up on in time; a cancelled one is forgotten."""
    async with open_to(parse_address(server.url), time_limit=0.3) as link:
        await link.command("PING")
        server.pause()
        gone: list[float] = []
        began = asyncio.get_running_loop().time()

        async def ask(after: float) -> None:
            await anyio.sleep(after)

            with pytest.raises(BackendUnavailable):
                await link.command("PING")

            gone.append(asyncio.get_running_loop().time() - began - after)

        async with anyio.create_task_group() as group:
            for after in (0.0, 0.1):
                group.start_soon(ask, after)

            with anyio.move_on_after(0.05):
                await link.command("PING")

        server.resume()
        assert 2 == len(gone)
        assert max(gone) < 2


async def test_a_reply_that_nobody_waits_for_ends_the_connection(server: RedisServer) -> None:
    """Who answers what was not asked is out of step; the next call makes a new connection.

    Break: an error of ours ends the link, and the program with it.
    """
    async with open_to(parse_address(server.url)) as link:
        before = await link.command("CLIENT", "ID")
        opened: Any = link
        receiver = opened._wire.receiver
        feed(receiver, b"+OK\r\n")
        assert before != await link.command("CLIENT", "ID")
        assert STRAY == str(explain(receiver.ended.result()))
