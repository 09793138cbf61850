"""What takes the place of the stream of a connection of coredis': what is sent at once, in pieces, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import coredis
import pytest

from anysched.backends.redis import receiving_trio
from anysched.backends.redis.link import Link, open_link
from anysched.backends.redis.link_trio import open_client
from anysched.backends.redis.packing import pack
from anysched.backends.redis.receiving_trio import Receiver
from anysched.errors import BackendUnavailable
from anysched.testing.servers import RedisServer
from tests.faults.polling import until


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@asynccontextmanager
async def open_to(server: RedisServer, *, time_limit: float = 5.0, **options: Any) -> AsyncGenerator[Link]:
    link = open_link(coredis.Redis(port=server.port, **options), time_limit=time_limit)

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


async def test_more_than_goes_out_at_once_is_sent_whole(server: RedisServer) -> None:
    """Others send in between, and each gets its own reply.

    Break: what comes while the rest is being sent goes out in the middle of it.
    """
    large = b"x" * 16_000_000

    async with open_to(server) as link, anyio.create_task_group() as group:

        async def ask(number: int) -> None:
            for _ in range(number):
                await anyio.lowlevel.checkpoint()

            assert str(number).encode() == await link.command("ECHO", number)

        group.start_soon(link.command, "SET", "large", large)

        for number in range(100):
            group.start_soon(ask, number)

    async with open_to(server) as link:
        assert len(large) == await link.command("STRLEN", "large")


async def test_nothing_overtakes_the_rest() -> None:
    """There is room in the socket again, and the task that sends the rest has not seen it yet.

    Break: what is sent now goes out in the middle of it.
    """

    class Connection:
        async def _connect(self) -> Any:
            return await anyio.connect_tcp(*listener.getsockname())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection()
        receiver = Receiver.of(connection, lambda answer, pushed: None)
        await connection._connect()
        peer, _ = listener.accept()
        peer.setblocking(False)
        got = bytearray()

        async with receiver, anyio.create_task_group() as group:
            receiver.write(b"a" * 16_000_000)
            group.start_soon(receiver.send_rest)
            await anyio.wait_all_tasks_blocked()
            read_all(peer, got)
            receiver.write(b"b")

            with anyio.fail_after(10):
                while len(got) < 16_000_001:
                    await anyio.wait_readable(peer)
                    read_all(peer, got)

            group.cancel_scope.cancel()

        peer.close()

    assert (16_000_000, b"b") == (got.count(b"a"), got[-1:])


def read_all(peer: socket.socket, got: bytearray) -> None:
    with suppress(BlockingIOError):
        while data := peer.recv(1_000_000):
            got += data


@pytest.fixture
def no_lull(monkeypatch: pytest.MonkeyPatch) -> None:
    """coredis' reader never comes to look by itself."""
    monkeypatch.setattr(receiving_trio, "_LULL", 3600)


@pytest.mark.parametrize("end", ["answered", "cancelled"])
async def test_who_reads_leaves_nobody_behind(server: RedisServer, end: str, no_lull: None) -> None:
    """Another waits when the one who read has what it wants, or is cancelled.

    Break: that one waits until coredis' reader looks by itself.
    """
    async with open_to(server) as link, open_to(server) as other:
        await link.command("DEL", "list", "list-2")
        await link.command("PING")
        popped: list[Any] = []

        async def pop(key: str) -> None:
            popped.append(await link.command("BLPOP", key, 0))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                first = anyio.CancelScope()

                async def pop_first() -> None:
                    with first:
                        await pop("list")

                group.start_soon(pop_first)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(pop, "list-2")
                await anyio.wait_all_tasks_blocked()

                if end == "cancelled":
                    first.cancel()
                    await anyio.wait_all_tasks_blocked()

                await other.command("RPUSH", "list", "1")
                await anyio.wait_all_tasks_blocked()
                await other.command("RPUSH", "list-2", "2")

        seconds = [[b"list-2", b"2"]]
        assert popped == (seconds if end == "cancelled" else [[b"list", b"1"], *seconds])


async def test_one_who_reads_for_all_ends_the_connection_for_all(server: RedisServer, no_lull: None) -> None:
    """It comes upon the end of the connection in the place of coredis' reader.

    Break: it waits for a reply that nobody reads.
    """
    async with open_to(server) as link, open_to(server) as other:
        number = await link.command("CLIENT", "ID")

        async def ask(key: str) -> None:
            with pytest.raises(BackendUnavailable):
                await link.command("BLPOP", key, 0)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, "nothing")
                group.start_soon(ask, "nothing")
                await anyio.wait_all_tasks_blocked()
                await other.command("CLIENT", "KILL", "ID", number)

            assert b"PONG" == await link.command("PING")


async def test_the_end_of_a_connection_is_noticed_by_who_asks_next(server: RedisServer, no_lull: None) -> None:
    """Between two requests, when nobody reads.

    Break: the request is sent, and nobody knows whether it was carried out.
    """
    async with open_to(server) as link, open_to(server) as other:
        for _ in range(5):
            before = await link.command("CLIENT", "ID")
            await link.command("PING")
            await other.command("CLIENT", "KILL", "ID", before)
            await anyio.sleep(0.01)

            with anyio.fail_after(5):
                assert before != await link.command("CLIENT", "ID")


async def test_who_reads_from_a_socket_file_is_given_up_on(server: RedisServer) -> None:
    """It is told that the socket is closed, on either loop.

    Break: it waits for ever, and keeps the number of the socket from the next one.
    """
    client = coredis.Redis(unix_socket_path=unquote(urlsplit(server.unix_url).path))

    for _ in range(2):
        link = open_link(client, time_limit=0.3)

        async with anyio.create_task_group() as services:
            await services.start(link.run)
            await link.command("PING")
            server.pause()

            try:
                with pytest.raises(BackendUnavailable, match="not answered"), anyio.fail_after(5):
                    await link.command("PING")
            finally:
                server.resume()

            with anyio.fail_after(5):
                assert b"PONG" == await link.command("PING")

            services.cancel_scope.cancel()


async def test_the_end_of_an_idle_connection_is_noticed(server: RedisServer) -> None:
    """Nobody asks for anything any more, so that nobody reads but coredis' reader.

    Break: it is noticed by the next who asks, and whose request is lost.
    """
    async with open_to(server) as link, open_to(server) as other:
        for _ in range(3):
            before = await link.command("CLIENT", "ID")

        client: Any = link
        connection = client._wire.connection
        await other.command("CLIENT", "KILL", "ID", before)
        await until(lambda: not connection.usable, within=5)  # is_alive would look for itself
        assert before != await link.command("CLIENT", "ID")


async def test_replies_come_whole_and_in_order() -> None:
    """Whatever the pieces in which their bytes come; what comes before the greeting is coredis'."""
    pieces = [
        b"%HELLO",
        *(bytes([byte]) for byte in b"$2\r\nOK\r\n:7\r\n>1\r\n:0\r\n*2\r\n$1\r\na\r\n_\r\n"),
        b":1\r\n:2\r\n",
    ]
    taken: list[tuple[Any, bool]] = []

    class Stream:
        async def receive(self, max_bytes: int) -> bytes:
            await anyio.lowlevel.checkpoint()

            if not pieces:
                raise anyio.EndOfStream

            return pieces.pop(0)

        def extra(self, attribute: object, default: object) -> object:
            return default

    async def connect() -> Any:
        await anyio.lowlevel.checkpoint()
        return Stream()

    class Connection:
        _connect = staticmethod(connect)

    connection = Connection()
    receiver = Receiver.of(connection, lambda answer, pushed: taken.append((answer, pushed)))
    assert receiver is await connection._connect()
    assert b"%HELLO" == await receiver.receive()
    receiver.has_greeted = True

    with pytest.raises(anyio.EndOfStream):
        await receiver.receive()

    assert [(b"OK", False), (7, False), ([0], True), ([b"a", None], False), (1, False), (2, False)] == taken


async def test_what_was_not_asked_for_disturbs_nobody(server: RedisServer) -> None:
    """A client that tracks what changes is told of it between two replies.

    Break: it is taken for a reply, and each caller gets that of another.
    """
    async with open_to(server) as link, coredis.Redis(port=server.port) as theirs:
        await link.command("CLIENT", "TRACKING", "ON", "BCAST")
        before = await link.command("CLIENT", "ID")

        async def ask(number: int) -> None:
            assert str(number).encode() == await link.command("ECHO", number)

        for number in range(20):
            async with anyio.create_task_group() as group:
                for each in range(20):
                    group.start_soon(ask, each)

                await theirs.set("k", number)

        assert before == await link.command("CLIENT", "ID")


async def test_who_was_given_up_on_goes_on_with_a_new_connection(server: RedisServer) -> None:
    """At once: the old one is of no more use the moment its silence is told.

    Break: what is asked next goes out on it, with an outcome that nobody learns.
    """
    async with open_to(server, time_limit=0.3) as link:
        await link.command("SET", "times", 0)
        server.pause()

        try:
            with pytest.raises(BackendUnavailable, match="not answered"):
                await link.command("PING")
        finally:
            server.resume()

        assert 1 == await link.command("INCR", "times")


async def test_what_makes_no_connection_is_told_bare(server: RedisServer) -> None:
    """An option that coredis does not know, say, which is the user's mistake."""
    link = open_link(coredis.Redis(port=server.port))
    client: Any = link
    client._client.make = broken

    for task in (link.run, partial(link.listen, ["c"], lambda message: None)):
        with pytest.raises(TypeError, match="no such option"):
            await task()


async def broken() -> None:
    await anyio.lowlevel.checkpoint()
    raise TypeError("no such option")


async def test_a_reply_that_never_comes_is_waited_for_once(server: RedisServer) -> None:
    """Those who ask before, after and meanwhile are given up on in time; a cancelled one is forgotten.

    Break: the end of the connection is told in the place of why it was ended.
    """
    async with open_to(server, time_limit=0.3) as link:
        await link.command("PING")
        server.pause()
        gone: list[float] = []
        began = anyio.current_time()

        async def ask(after: float) -> None:
            await anyio.sleep(after)

            with pytest.raises(BackendUnavailable, match="connection was lost" if after else "not answered"):
                await link.command("PING")

            gone.append(anyio.current_time() - began - after)

        try:
            async with anyio.create_task_group() as group:
                for after in (0.0, 0.1):
                    group.start_soon(ask, after)

                with anyio.move_on_after(0.05):
                    await link.command("PING")
        finally:
            server.resume()

        assert 2 == len(gone)
        assert max(gone) < 2


async def test_one_who_was_cancelled_ends_nothing(server: RedisServer) -> None:
    """Its reply is waited for by nobody, so that nobody has waited for it for too long.

    Break: a connection on which nobody waits is given up.
    """
    async with open_to(server, time_limit=0.3) as link:
        before = await link.command("CLIENT", "ID")
        server.pause()

        try:
            with anyio.move_on_after(0.1):
                await link.command("PING")

            await anyio.sleep(0.5)
        finally:
            server.resume()

        assert before == await link.command("CLIENT", "ID")


async def test_a_reply_that_nobody_waits_for_ends_the_connection(server: RedisServer) -> None:
    """Who answers what was not asked is out of step."""
    client = open_client(coredis.Redis(port=server.port), 5.0)

    def ready(wire: Any) -> None:
        wire.receiver.write(pack(("PING",)))

    with pytest.raises(BackendUnavailable, match="nobody waits"), anyio.fail_after(5):
        await client.hold(ready)


async def test_a_connection_that_is_out_of_step_is_not_used(server: RedisServer, no_lull: None) -> None:
    """Whoever reads has its reply, and there is more than was asked for.

    Break: the next one sends its request there, and gets what was left.
    """
    async with open_to(server) as link:
        before = await link.command("CLIENT", "ID")
        client: Any = link
        client._wire.receiver._parser.feed(b"+one\r\n+stray\r\n+left\r\n")

        with anyio.fail_after(5), suppress(BackendUnavailable):
            assert b"one" == await link.command("PING")

        with anyio.fail_after(5):
            assert (await link.command("CLIENT", "ID")) not in (before, b"left")


async def test_a_client_that_closes_what_is_idle_keeps_ours(server: RedisServer) -> None:
    """Its limit is for what lies in its pool; ours is held, and watched."""
    async with open_to(server, max_idle_time=1) as link:
        before = await link.command("CLIENT", "ID")
        await anyio.sleep(1.3)
        assert before == await link.command("CLIENT", "ID")
