"""What is wrong from the start is told at the door: at once, clearly, and without the password."""

from __future__ import annotations

import anyio
import pytest

from anysched import BackendRefused, BackendUnavailable, InvalidURL, Scheduler, SchedulerConfig, ServerTooOld
from anysched.backends.redis import backend
from anysched.testing import RedisServer

pytestmark = pytest.mark.timeout(60)


async def raised_by(url: str, kind: type[Exception]) -> str:
    """What opening says, and running says the same."""
    with anyio.fail_after(8):
        with pytest.raises(kind) as opening:
            async with Scheduler(url):
                raise AssertionError("not reached")

        with pytest.raises(kind):
            await Scheduler(url).run()

    return str(opening.value)


@pytest.mark.parametrize("url", ["redis://:wrong-secret@{}", "redis://{}", "redis://nobody:wrong-secret@{}"])
async def test_a_wrong_password_is_refused_and_not_shown(url: str) -> None:
    """`BackendRefused`, which nobody should repeat."""
    with RedisServer(own=True, appendonly=False, requirepass="right-secret") as server:
        said = await raised_by(url.format(f"127.0.0.1:{server.port}"), BackendRefused)

    assert "password" in said
    assert "secret" not in said


async def test_a_user_without_permission_is_refused(server: RedisServer) -> None:
    """Who may log in but run no scripts is told at the first script."""
    server.cli("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+@connection", "+info")

    with anyio.fail_after(8), pytest.raises(BackendRefused, match="permission"):
        await Scheduler(f"redis://reader:pw@127.0.0.1:{server.port}").run()


def allow(server: RedisServer, *rights: str) -> None:
    everything = ("~*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info", "+time")
    server.cli("ACL", "SETUSER", "worker", "reset", "on", ">pw", *everything, "resetchannels", *rights)


@pytest.mark.slow
async def test_a_user_without_channels_works_without_hints(server: RedisServer) -> None:
    """Within a `tick_interval`, and told once; and so does a node whose user loses the channels while it runs.

    Break: a subscription that is refused ends the node.
    """
    errors: list[Exception] = []
    config = SchedulerConfig(tick_interval="500ms", on_error=lambda error, context: errors.append(error))
    scheduler = Scheduler(f"redis://worker:pw@127.0.0.1:{server.port}", config=config)

    @scheduler.job
    async def work() -> int:
        return 1

    for rights in ((), ("&*",)):
        allow(server, *rights)
        errors.clear()

        with anyio.fail_after(15):
            async with scheduler.running():
                assert 1 == await (await work.enqueue()).result()
                server.cli("ACL", "SETUSER", "worker", "resetchannels")

                while not any(isinstance(error, BackendRefused) for error in errors):  # noqa: ASYNC110 - it is told
                    await anyio.sleep(0.01)

                for _ in range(3):
                    assert 1 == await (await work.enqueue()).result()

                assert 1 == len([error for error in errors if isinstance(error, BackendRefused)])


async def test_a_password_that_was_changed_ends_a_node_that_has_to_connect_again(server: RedisServer) -> None:
    """By `BackendRefused`, bare, whichever of its loops meets it first.

    Break: a nest of groups with an error in it about a scheduler that is not open.
    """
    allow(server, "&*")
    scheduler = Scheduler(f"redis://worker:pw@127.0.0.1:{server.port}", config=SchedulerConfig(lease="3s"))

    @scheduler.job
    async def work() -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(20), pytest.raises(BackendRefused, match="password"):  # noqa: PT012 - it is left so
        async with scheduler.running():
            await work.enqueue()
            server.cli("ACL", "SETUSER", "worker", "resetpass", ">new")
            server.cli("CLIENT", "KILL", "USER", "worker")
            await anyio.sleep_forever()


async def test_a_server_that_is_too_old_is_refused(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version and the one that is needed are named. (No old server is at hand: this one is said to be old.)"""
    parse = backend.parse_info
    monkeypatch.setattr(backend, "parse_info", lambda reply: parse(reply) | {"redis_version": "6.0.16"})
    said = await raised_by(server.url, ServerTooOld)
    assert "6.0.16" in said and "6.2" in said


async def test_nobody_there_and_no_such_name_are_unavailable() -> None:
    """Within a few seconds: a start does not wait for a server that may never come."""
    for place in ("127.0.0.1:1", "no-such-host.invalid"):
        assert "cannot be reached" in await raised_by(f"redis://{place}", BackendUnavailable)


async def test_somebody_else_who_listens_there_is_told_apart() -> None:
    """A server that speaks another language, or nothing at all, is an error in bounded time."""

    async def speak(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(3):
                await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await anyio.sleep(0.2)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, speak)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        with anyio.fail_after(10), pytest.raises((BackendUnavailable, BackendRefused)):
            async with Scheduler(f"redis://127.0.0.1:{port}"):
                raise AssertionError("not reached")

        group.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["redis//x", "http://x", "redis://x:port", "redis://x/abc", "redis://"])
async def test_an_address_that_cannot_be_is_refused_when_it_is_written(url: str) -> None:
    """At construction: nothing has to be opened."""
    if url == "redis://":
        Scheduler(url)
        return

    with pytest.raises(InvalidURL):
        Scheduler(url)
