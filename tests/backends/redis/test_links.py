"""A link to a real server: calls, listening, cancellation, and what becomes of them when the connection fails."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.link import ClientLink, Link, Script, open_link
from anysched.errors import BackendError, BackendRefused, BackendUnavailable, InvalidOption, MissingExtra, NotOpen
from anysched.testing.cancelling import Round, cancel_at_every_await
from anysched.testing.proxy import FaultyProxy
from anysched.testing.servers import RedisServer

ECHO = Script("echo", "return {KEYS[1], ARGV[1], 7, false}")
SAME = Script("same", "return ARGV[1]")
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")
SLOW = ("DEBUG", "SLEEP", "0.2")  # no script: TIME stands still in one, from Redis 7.2 on, and all of it is CPU time
SHORT = 0.5  # seconds, as a time limit


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@asynccontextmanager
async def open_to(url: str, **options: float) -> AsyncGenerator[Link]:
    link = open_link(parse_address(url), **options)

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


async def eventually(link: Link) -> None:
    """Repeat a call until it is answered, as the layers above do."""
    with anyio.fail_after(10):
        while True:
            try:
                await link.command("PING")
                return
            except BackendUnavailable:
                await anyio.sleep(0.01)


# --- calls -------------------------------------------------------------------------------------------------------


async def test_a_script_is_run_and_its_reply_is_raw(server: RedisServer, all_loops: None) -> None:
    """Keys and arguments of each kind arrive; bytes come back that are no text, numbers, and nil."""
    async with open_to(server.url) as link:
        assert [b"k\xc3\xa4y", b"\xff\x00", 7, None] == await link.call(ECHO, ["käy"], [b"\xff\x00"])
        assert b"12" == await link.call(SAME, [], [12])
        assert b"" == await link.call(SAME, [], [""])
        assert b"x" * 100_000 == await link.call(SAME, [], [b"x" * 100_000])


async def test_a_script_is_loaded_again_after_it_was_lost(server: RedisServer) -> None:
    """A server that was restarted or flushed gets the text once more, unnoticed by the caller."""
    async with open_to(server.url) as link:
        await link.call(SAME, [], ["a"])
        server.cli("SCRIPT", "FLUSH")

        assert b"b" == await link.call(SAME, [], ["b"])
        assert [1] == server.cli("SCRIPT", "EXISTS", SAME.sha)


async def test_a_text_that_cannot_be_sent_is_told(server: RedisServer) -> None:
    """Half of a surrogate pair has no form on the wire; nothing was sent."""
    async with open_to(server.url) as link:
        with pytest.raises(BackendError, match="cannot be sent"):
            await link.command("ECHO", "\ud800")

        assert b"a" == await link.command("ECHO", "a")


async def test_a_map_in_a_reply_is_flattened(server: RedisServer) -> None:
    """CONFIG GET answers with names and values in one list, whatever the protocol; INFO with bytes."""
    async with open_to(server.url) as link:
        assert [b"maxmemory-policy", b"noeviction"] == await link.command("CONFIG", "GET", "maxmemory-policy")
        assert (await link.command("INFO", "server")).startswith(b"# Server")


async def test_concurrent_calls_get_their_own_replies(server: RedisServer, all_loops: None) -> None:
    """Two hundred tasks on one connection: nobody gets another's reply."""
    replies: dict[int, bytes] = {}

    async with open_to(server.url) as link, anyio.create_task_group() as callers:

        async def ask(number: int) -> None:
            replies[number] = await link.call(SAME, [], [number])

        for number in range(200):
            callers.start_soon(ask, number)

    assert {number: str(number).encode() for number in range(200)} == replies


async def test_a_reply_of_any_size_comes_whole(server: RedisServer, all_loops: None) -> None:
    """Of more than is read at once, and of exactly as much."""
    async with open_to(server.url) as link:
        for size in (65_536 - len("$65527\r\n\r\n"), 65_536, 3_000_001):
            text = b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)
            await link.command("SET", "large", text)

            async with anyio.create_task_group() as group:
                group.start_soon(link.command, "PING")
                assert text == await link.command("GET", "large")


async def test_the_connection_bears_our_name_and_is_closed_at_the_end(server: RedisServer) -> None:
    """While a link runs, one connection is called anysched; afterwards none is there."""
    async with open_to(server.url):
        assert 1 == server.cli("CLIENT", "LIST").count(b"name=anysched")

    assert 0 == await forgotten(server)


async def forgotten(server: RedisServer) -> int:
    """How many of our connections the server still knows, once it has had time to notice."""
    for _ in range(200):
        if b"name=anysched" not in server.cli("CLIENT", "LIST"):
            return 0

        await anyio.sleep(0.01)

    return server.cli("CLIENT", "LIST").count(b"name=anysched")


async def test_a_call_needs_a_link_that_runs(server: RedisServer) -> None:
    """Before and after `run` a call is refused at once, rather than waiting for nobody."""
    link = open_link(parse_address(server.url))

    with pytest.raises(NotOpen):
        await link.command("PING")

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        services.cancel_scope.cancel()

    with pytest.raises(NotOpen):
        await link.command("PING")


# --- cancellation ------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_leaves_its_reply_to_nobody(server: RedisServer, all_loops: None) -> None:
    """A slow command is given up on; what is called next, and what was called beside it, gets its own reply."""
    replies: dict[str, bytes] = {}

    async with open_to(server.url) as link, anyio.create_task_group() as callers:

        async def ask(word: str) -> None:
            replies[word] = await link.call(SAME, [], [word])

        with anyio.move_on_after(0.05) as scope:
            callers.start_soon(ask, "beside")
            await link.command(*SLOW)

        assert scope.cancelled_caught
        await ask("next")

    assert {"beside": b"beside", "next": b"next"} == replies


async def test_a_call_may_be_cancelled_at_any_await(server: RedisServer) -> None:
    """Wherever a call is cancelled, loading its script included, the next one gets its own reply."""
    async with open_to(server.url) as link:

        async def call() -> bytes:
            server.cli("SCRIPT", "FLUSH")
            return await link.call(SAME, [], ["mine"])

        async def check(_: int, outcome: Round[bytes]) -> None:
            assert outcome.value in (None, b"mine")
            assert b"other" == await link.call(SAME, [], ["other"])

        await cancel_at_every_await(call, check=check)


async def test_connecting_may_be_cancelled_at_any_await(server: RedisServer) -> None:
    """Wherever `run` or `listen` is cancelled, no connection stays behind."""
    async with open_to(server.url) as link:
        await cancel_at_every_await(lambda: start(open_link(parse_address(server.url))), check=nothing)

        async def listen() -> None:
            with anyio.move_on_after(0.1):
                await link.listen(["c"], [].append)

        await cancel_at_every_await(listen, check=nothing)
        assert b"a" == await link.call(SAME, [], ["a"])

    assert 0 == await forgotten(server)


async def nothing(_: int, outcome: Round[None]) -> None:
    await anyio.lowlevel.checkpoint()


async def test_cancelling_run_ends_it_in_bounded_time(server: RedisServer) -> None:
    """A server that answers nothing any more cannot hold up the end; who waits for it is told."""
    told: list[BackendUnavailable] = []

    async with anyio.create_task_group() as callers:

        async def ask(link: Link) -> None:
            try:
                await link.command("PING")
            except BackendUnavailable as error:
                told.append(error)

        try:
            async with open_to(server.url, time_limit=30) as link:
                server.pause()
                callers.start_soon(ask, link)
                await anyio.sleep(0.05)
                start = anyio.current_time()
        finally:
            server.resume()

    assert 3 > anyio.current_time() - start
    assert 1 == len(told)


# --- failures ----------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_is_told_at_the_start() -> None:
    """Whoever starts the link gets the reason, bare."""
    link = open_link(parse_address("redis://127.0.0.1:1"))

    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
        await start(link)


async def start(link: Link) -> None:
    failure: Exception | None = None

    async with anyio.create_task_group() as services:
        try:
            await services.start(link.run)
        except Exception as error:  # noqa: BLE001 - handed on, without the group around it
            failure = error

        services.cancel_scope.cancel()

    if failure is not None:
        raise failure


async def test_a_server_that_does_not_greet_is_given_up_on(server: RedisServer) -> None:
    """The kernel accepts connections for a stopped process: connecting has its time limit too."""
    server.pause()

    try:
        begun = anyio.current_time()

        with pytest.raises(BackendUnavailable):
            await start(open_link(parse_address(server.url), time_limit=SHORT))

        assert SHORT + 0.5 > anyio.current_time() - begun
    finally:
        server.resume()


@pytest.mark.slow
async def test_a_server_that_falls_silent_is_given_up_on(server: RedisServer, all_loops: None) -> None:
    """A call fails within its time limit, and works again once the server is back."""
    async with open_to(server.url, time_limit=SHORT) as link:
        server.pause()

        try:
            for _ in range(2):
                begun = anyio.current_time()

                with pytest.raises(BackendUnavailable):
                    await link.call(SAME, [], ["a"])

                assert SHORT + 0.5 > anyio.current_time() - begun
        finally:
            server.resume()

        assert b"b" == await link.call(SAME, [], ["b"])


async def test_a_blocked_loop_is_not_the_server_s_silence(server: RedisServer, all_loops: None) -> None:
    """The program blocks its event loop for longer than the time limit; the reply that came meanwhile counts."""
    replies: list[bytes] = []

    async with open_to(server.url, time_limit=0.1) as link, anyio.create_task_group() as callers:
        await link.call(SAME, [], ["a"])

        async def ask() -> None:
            replies.append(await link.call(SAME, [], ["b"]))

        for _ in range(5):
            callers.start_soon(ask)

            for _ in range(5):
                await anyio.lowlevel.checkpoint()

            time.sleep(0.3)  # noqa: ASYNC251 - that is the point
            await anyio.sleep(0.05)

    assert 5 * [b"b"] == replies


async def test_a_restarted_server_is_found_again(all_loops: None) -> None:
    """Calls fail while it is away, and work when it is back; the link goes on all the time."""
    with RedisServer(own=True, appendonly=False) as server:
        async with open_to(server.url) as link:
            server.kill()

            for _ in range(3):
                with pytest.raises(BackendUnavailable):
                    await link.call(SAME, [], ["a"])

            server.start()
            await eventually(link)
            assert b"b" == await link.call(SAME, [], ["b"])


async def test_killed_connections_are_made_anew(server: RedisServer) -> None:
    """CLIENT KILL costs at most the calls that are under way."""
    async with open_to(server.url) as link:
        for _ in range(5):
            server.cli("CLIENT", "KILL", "TYPE", "normal")
            await eventually(link)

        assert b"a" == await link.call(SAME, [], ["a"])


async def test_reconnecting_asks_no_resolver(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver works in a thread, which a busy loop may starve: the address that a name led to is kept."""
    resolve = socket.getaddrinfo

    def refuse(host: object, *rest: Any, **options: Any) -> Any:
        if host in ("localhost", b"localhost"):
            raise socket.gaierror(socket.EAI_AGAIN, "no name is resolved any more")

        return resolve(host, *rest, **options)

    async with open_to(f"redis://localhost:{server.port}") as link:
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        server.cli("CLIENT", "KILL", "TYPE", "normal")
        await eventually(link)


async def test_a_kept_address_that_does_not_work_is_given_up() -> None:
    """When connecting to it fails, the name is looked up again."""
    with RedisServer(own=True, appendonly=False) as server:
        async with open_to(f"redis://localhost:{server.port}") as link:
            server.kill()

            with pytest.raises(BackendUnavailable):
                await link.command("PING")

            with pytest.raises(BackendUnavailable):
                await link.command("PING")

            server.start()
            await eventually(link)


async def test_a_connection_that_is_lost_at_once_is_not_used() -> None:
    """It was made for a caller, and is gone before that one is awake."""

    class Wire:
        is_alive = False

        async def exchange(self, words: object) -> None:
            raise AssertionError(words)

    class Client:
        failures = (OSError,)
        held = 0

        async def hold(self, ready: Any) -> None:
            await anyio.lowlevel.checkpoint()
            ready(Wire())
            self.held += 1

            if self.held > 1:
                await anyio.sleep_forever()

        async def hear(self, *_: object) -> None:
            raise AssertionError

        async def close(self) -> None:
            await anyio.lowlevel.checkpoint()

    link: Any = ClientLink(Client())

    async with anyio.create_task_group() as services:
        await services.start(link.run)

        with pytest.raises(BackendUnavailable, match="lost"), anyio.fail_after(5):
            await link.command("PING")

        services.cancel_scope.cancel()


async def test_nothing_is_sent_twice(server: RedisServer) -> None:
    """The reply to a call is lost: the caller is told, and the script has run once."""
    server.cli("DEL", "n")

    async with FaultyProxy(target_port=server.port) as proxy, open_to(f"redis://127.0.0.1:{proxy.port}") as link:
        await link.call(COUNT, ["n"], [])
        proxy.drop_replies(containing=b"EVALSHA")

        with pytest.raises(BackendUnavailable):
            await link.call(COUNT, ["n"], [])

        assert 3 == await link.call(COUNT, ["n"], [])


async def test_who_shares_a_lost_connection_is_told(server: RedisServer) -> None:
    """All calls under way end with the connection, none hangs."""
    told: list[str] = []

    async with FaultyProxy(target_port=server.port) as proxy, open_to(f"redis://127.0.0.1:{proxy.port}") as link:

        async def ask() -> None:
            try:
                await link.command(*SLOW)
            except BackendUnavailable:
                told.append("unavailable")

        async with anyio.create_task_group() as callers:
            for _ in range(3):
                callers.start_soon(ask)

            await anyio.sleep(0.05)
            proxy.cut()

    assert ["unavailable"] * 3 == told


# --- listening ---------------------------------------------------------------------------------------------------


async def test_messages_are_delivered_in_order(server: RedisServer, all_loops: None) -> None:
    """Whatever is published after `started()` arrives, from each channel, as bytes."""
    heard: list[bytes] = []
    complete = anyio.Event()

    def deliver(message: bytes) -> None:
        heard.append(message)

        if message == b"end":
            complete.set()

    async with open_to(server.url) as link, anyio.create_task_group() as listening:
        await listening.start(link.listen, ["one", "two"], deliver)

        for number in range(50):
            await link.command("PUBLISH", ("one", "two")[number % 2], b"\xff%d" % number)

        await link.command("PUBLISH", "one", "end")

        with anyio.fail_after(5):
            await complete.wait()

        listening.cancel_scope.cancel()

    assert [*(b"\xff%d" % number for number in range(50)), b"end"] == heard


async def listen_until_lost(link: Link, ready: anyio.Event) -> None:
    class Status:
        def started(self, value: None = None) -> None:
            ready.set()

    with pytest.raises(BackendUnavailable), anyio.fail_after(5):
        await link.listen(["c"], [].append, task_status=Status())


async def test_a_subscription_that_is_refused_is_told(server: RedisServer, all_loops: None) -> None:
    """It is no silence, which would be waited for again and again."""
    server.cli("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "resetchannels")

    async with open_to(f"redis://deaf:secret@127.0.0.1:{server.port}") as link:
        with pytest.raises(BackendRefused, match="permission"), anyio.fail_after(5):
            await link.listen(["c"], lambda message: None)


async def test_a_listener_learns_that_its_connection_is_lost(server: RedisServer) -> None:
    """It raises, so that whoever listens knows that hints may be lost."""
    ready = anyio.Event()

    async with open_to(server.url) as link, anyio.create_task_group() as listening:
        listening.start_soon(listen_until_lost, link, ready)
        await ready.wait()
        server.cli("CLIENT", "KILL", "TYPE", "pubsub")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["half_open", "blackhole"])
async def test_a_listener_notices_silence(server: RedisServer, fault: str) -> None:
    """A connection that nothing comes over any more is asked for a sign of life, and given up on without one."""
    ready = anyio.Event()

    async with (
        FaultyProxy(target_port=server.port) as proxy,
        open_to(f"redis://127.0.0.1:{proxy.port}", time_limit=SHORT) as link,
        anyio.create_task_group() as listening,
    ):
        listening.start_soon(listen_until_lost, link, ready)
        await ready.wait()

        if fault == "half_open":
            proxy.half_open()
        else:
            proxy.blackhole = True


async def test_a_quiet_listener_is_left_alone(server: RedisServer) -> None:
    """Silence alone is no failure: over several time limits nothing happens, then a message comes."""
    heard = anyio.Event()

    async with open_to(server.url, time_limit=0.2) as link, anyio.create_task_group() as listening:
        await listening.start(link.listen, ["c"], lambda _: heard.set())
        await anyio.sleep(1)
        await link.command("PUBLISH", "c", "m")

        with anyio.fail_after(2):
            await heard.wait()

        listening.cancel_scope.cancel()


async def test_many_reconnections_leave_nothing_behind(server: RedisServer) -> None:
    """A hundred lost listeners and a hundred given-up connects later the link works, with one connection."""
    async with open_to(server.url) as link:
        for _ in range(100):
            with anyio.move_on_after(0.001):
                await link.listen(["c"], [].append)

        for _ in range(20):
            server.cli("CLIENT", "KILL", "TYPE", "normal")

            with anyio.move_on_after(0.001), suppress(BackendUnavailable):
                await link.listen(["c"], [].append)

        await eventually(link)
        assert b"a" == await link.call(SAME, [], ["a"])

    assert 0 == await forgotten(server)


# --- choosing ----------------------------------------------------------------------------------------------------


async def test_a_missing_library_names_the_remedy(monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str) -> None:
    """Without redis-py under asyncio, or coredis under Trio, the error says what to install."""
    library, extra = ("coredis", "trio") if anyio_backend_name == "trio" else ("redis", "redis")
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf"pip install 'anysched\[{extra}\]'"):
        open_link(parse_address("redis://"))


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan")])
async def test_a_time_limit_must_be_one(limit: float) -> None:
    """A link without a time limit is refused."""
    with pytest.raises(InvalidOption):
        open_link(parse_address("redis://"), time_limit=limit)
