"""What the backend adds to its scripts: opening, reporting, surviving a server that forgets or is full."""

from __future__ import annotations

from typing import Any

import anyio
import coredis
import msgspec
import pytest
import redis.asyncio

from anysched.backends import Backend, Claim, Hint, NewRun, NodeInfo, Outcome, RunRecord
from anysched.backends.redis import RedisBackend
from anysched.backends.redis.report import check_version, make_report
from anysched.backends.redis.wire import decode_queues
from anysched.errors import BackendError, BackendUnavailable, InvalidOption, NotOpen, ServerTooOld
from anysched.testing.resp import RespConnection
from anysched.testing.servers import RedisServer

LATER = 3_600_000


def claim(number: int, count: int = 10) -> Claim:
    return Claim(number=number, count=count, queues=("default",))


async def join(backend: RedisBackend) -> None:
    await backend.join(NodeInfo(id="node", ttl_ms=LATER, jobs=("job",), queues=("default",)))


# --- opening ---------------------------------------------------------------------------------------------------------


def test_it_is_a_backend() -> None:
    """Made outside any event loop."""
    assert isinstance(RedisBackend.from_url("redis://localhost"), Backend)


@pytest.mark.parametrize("namespace", ["", "a b", "a}b", "{"])
def test_a_namespace_that_would_break_keys_is_refused(namespace: str) -> None:
    """At once, by name."""
    with pytest.raises(InvalidOption, match="namespace"):
        RedisBackend.from_url("redis://localhost", namespace=namespace)


@pytest.mark.parametrize(
    ("client", "remedy"), [("redis://:secret@localhost", "from_url"), (5, "coredis.Redis"), (None, "coredis.Redis")]
)
def test_what_is_no_client_is_refused_when_it_is_made(client: object, remedy: str) -> None:
    """Not only when it is opened; an address is not shown, since there may be a password in it."""
    with pytest.raises(InvalidOption, match=f"invalid client .*{remedy}") as caught:
        RedisBackend(client)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("pool", [redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool])
def test_a_pool_for_one_connection_is_refused(pool: Any) -> None:
    """The second is for hints, which would all be lost, with an outage each second. coredis' pool is not used."""
    with pytest.raises(InvalidOption, match="invalid max_connections 1: expected 2 or more"):
        RedisBackend(redis.asyncio.Redis.from_pool(pool(max_connections=1)))

    RedisBackend(redis.asyncio.Redis.from_pool(pool(max_connections=2)))
    RedisBackend(redis.asyncio.Redis())
    RedisBackend(coredis.Redis(max_connections=1))


async def test_nothing_works_unless_it_is_open() -> None:
    """And the error says so."""
    backend = RedisBackend.from_url("redis://localhost:1")

    with pytest.raises(NotOpen):
        await backend.time_ms()


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """As the error itself, not as a group."""
    with pytest.raises(BackendUnavailable):
        await RedisBackend.from_url("redis://127.0.0.1:1").run()


async def test_the_last_of_several_runs_closes(redis_url: str) -> None:
    """Whichever was first: calls go on as long as one is running."""
    backend = RedisBackend.from_url(redis_url)

    async with anyio.create_task_group() as second:
        async with anyio.create_task_group() as first:
            await first.start(backend.run)
            await second.start(backend.run)
            await backend.time_ms()
            first.cancel_scope.cancel()

        await backend.enqueue([NewRun(id="a", job="job")])
        second.cancel_scope.cancel()

    with pytest.raises(NotOpen):
        await backend.time_ms()


async def test_namespaces_are_apart(redis_url: str) -> None:
    """A run of one is not there in the other."""
    one, two = (RedisBackend.from_url(redis_url, namespace=name) for name in ("one", "two"))

    async with anyio.create_task_group() as services:
        await services.start(one.run)
        await services.start(two.run)
        await one.enqueue([NewRun(id="a", job="job")])
        (found,) = await one.get_runs(["a"])
        assert isinstance(found, RunRecord)
        assert [None] == await two.get_runs(["a"])
        services.cancel_scope.cancel()


# --- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["6.0.20", "5.0.7", "2.8", ""])
def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    """The error names what was found and what is needed."""
    with pytest.raises(ServerTooOld, match=r"6\.2"):
        check_version({"redis_version": version})


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.15", "7.2.4", "8.0.1", "10.0.0", "7.4.0-rc1"])
def test_a_newer_server_is_taken(version: str) -> None:
    """By its numbers, not by its text."""
    check_version({"redis_version": version})


async def test_the_report_shows_the_server(backend: RedisBackend, store: RespConnection) -> None:
    """What it is, how far it is, and what is wrong with it."""
    store.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    report = await backend.report()
    store.command("CONFIG", "SET", "maxmemory-policy", "noeviction")

    assert report.product in {"redis", "valkey"}
    assert report.version[0].isdigit()
    assert report.address.startswith(("redis://", "unix://"))
    assert report.round_trip_ms < 1_000
    assert any("allkeys-lru" in warning for warning in report.warnings)
    assert not any("allkeys-lru" in warning for warning in (await backend.report()).warnings)


def test_a_clock_that_is_off_is_warned_of() -> None:
    """Schedules go by the server's; a valkey says that it is one."""
    info = {"maxmemory_policy": "noeviction", "aof_enabled": "1", "server_name": "valkey", "valkey_version": "8.0.0"}
    report = make_report(info, address="here", time_ms=95_000, our_time_ms=100_000, round_trip_ms=1.0)

    assert ("valkey", "8.0.0") == (report.product, report.version)
    assert ["the server's clock is -5.0 s off ours; schedules go by the server's"] == list(report.warnings)


# --- a server that forgets, or is full -------------------------------------------------------------------------------


async def test_forgotten_scripts_are_loaded_again(backend: RedisBackend, store: RespConnection) -> None:
    """In the middle of everything."""
    await join(backend)

    for number, name in enumerate("abc", 1):
        store.command("SCRIPT", "FLUSH")
        await backend.enqueue([NewRun(id=name, job="job")])
        store.command("SCRIPT", "FLUSH")
        assert [name] == [run.id for run in (await backend.work("node", (), claim(number))).runs]


async def test_an_emptied_store_is_noticed(backend: RedisBackend, store: RespConnection) -> None:
    """The node is lost, its outcomes are stale, and it can start again; tokens only grow."""
    await join(backend)
    await backend.enqueue([NewRun(id="a", job="job")])
    (before,) = (await backend.work("node", (), claim(1))).runs
    store.command("FLUSHALL")

    assert (await backend.renew("node", LATER)).lost
    reply = await backend.work("node", [Outcome(run_id="a", token=before.token, kind="succeeded")], claim(2))
    assert ((False,), False) == (reply.settled, reply.known)
    await join(backend)
    await backend.enqueue([NewRun(id="a", job="job")])
    (after,) = (await backend.work("node", (), claim(3))).runs
    assert after.token > before.token


async def test_what_is_held_outlives_a_full_server() -> None:
    """At maxmemory nothing can be enqueued, and nothing is half stored; leases, settling and locks go on."""
    with RedisServer(own=True, appendonly=False) as server:
        backend = RedisBackend.from_url(server.url)

        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            await join(backend)
            lock = await backend.acquire_lock("lock", "me", ttl_ms=LATER, wait_inbox=None)
            await backend.enqueue([NewRun(id=name, job="job", payload="x" * 1000) for name in "abcd"])
            runs = (await backend.work("node", (), claim(1, 2))).runs
            server.cli("CONFIG", "SET", "maxmemory", "1mb")

            with pytest.raises(BackendUnavailable):
                await backend.enqueue([NewRun(id="late", job="job", key="k")])

            assert not (await backend.renew("node", LATER)).lost
            outcomes = [Outcome(run_id=run.id, token=run.token, kind="succeeded", result="1") for run in runs]
            reply = await backend.work("node", outcomes, claim(2, 1))
            assert ((True, True), 1) == (reply.settled, len(reply.runs))
            assert await backend.refresh_lock("lock", "me", ttl_ms=LATER)
            assert await backend.release_lock("lock", "me")
            assert (await backend.acquire_lock("lock", "you", ttl_ms=LATER, wait_inbox=None)).token > lock.token
            await backend.leave("node")

            server.cli("CONFIG", "SET", "maxmemory", "0")
            assert [None] == await backend.get_runs(["late"])
            assert await backend.find_key("k") is None
            assert (2, 2, 0) == ((totals := await backend.totals()).succeeded, totals.ready, totals.running)
            services.cancel_scope.cancel()


async def test_a_user_without_channels_can_work(redis_url: str, store: RespConnection) -> None:
    """Hints that cannot be sent are no error: nothing is half done."""
    store.command("ACL", "SETUSER", "mute", "on", ">secret", "resetchannels", "~*", "+@all")
    backend = RedisBackend.from_url(redis_url.replace("redis://", "redis://mute:secret@"))

    try:
        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            await join(backend)
            await backend.work("node", (), claim(1))
            await backend.enqueue([NewRun(id="a", job="job")])
            (run,) = (await backend.work("node", (), claim(2))).runs
            await backend.watch("a", "me")
            settled = await backend.work("node", [Outcome(run_id="a", token=run.token, kind="succeeded")], None)
            assert (True,) == settled.settled
            services.cancel_scope.cancel()
    finally:
        store.command("ACL", "DELUSER", "mute")


@pytest.mark.parametrize("lacking", ["-pubsub", "resetchannels"])
async def test_a_user_with_fewer_rights_hands_nothing_over(
    backend: RedisBackend, redis_url: str, store: RespConnection, lacking: str
) -> None:
    """Who may not ask who listens, or not publish: the run is queued as any other, and nothing is left of the attempt.

    Break: the run is held by a node that was never told.
    """
    store.command("ACL", "SETUSER", "poor", "on", ">secret", "~*", "&*", "+@all", lacking)
    client = RedisBackend.from_url(redis_url.replace("redis://", "redis://poor:secret@"))
    heard: list[Hint] = []

    try:
        async with anyio.create_task_group() as services:
            await services.start(client.run)
            await services.start(backend.listen, "node", heard.append)
            await join(backend)
            await backend.work("node", (), Claim(number=1, count=1, queues=("default",), takes=True))
            await client.enqueue([NewRun(id="a", job="job")])
            assert () == (await backend.renew("node", LATER)).held
            assert ["a"] == [run.id for run in (await backend.work("node", (), claim(2))).runs]
            assert 1 == store.command("SCARD", "{anysched}:live:job")
            services.cancel_scope.cancel()
    finally:
        store.command("ACL", "DELUSER", "poor")

    assert [] == [hint for hint in heard if hint.kind == "take"]


async def test_the_documented_rights_are_enough(redis_url: str, store: RespConnection) -> None:
    """Of a user for anysched alone."""
    rights = ["+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info", "+time"]
    store.command("ACL", "SETUSER", "ours", "on", ">secret", "resetchannels", "~{anysched}:*", "&{anysched}:*", *rights)
    backend = RedisBackend.from_url(redis_url.replace("redis://", "redis://ours:secret@"))
    heard = anyio.Event()

    def hear(_: Hint) -> None:
        heard.set()

    try:
        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            await services.start(backend.listen, "me", hear)
            await join(backend)
            await backend.enqueue([NewRun(id="a", job="job")])
            (run,) = (await backend.work("node", (), claim(1))).runs
            await backend.watch("a", "me")
            await backend.work("node", [Outcome(run_id="a", token=run.token, kind="succeeded")], None)
            await backend.report()

            with anyio.fail_after(5):
                await heard.wait()

            services.cancel_scope.cancel()
    finally:
        store.command("ACL", "DELUSER", "ours")


@pytest.mark.parametrize("names", [["B", "a", "ä"], ["a", "ä", "B"]])
def test_queues_are_listed_by_name_whatever_the_locale_of_the_server(names: list[str]) -> None:
    """Lua compares texts by that: started with LANG=en_US.UTF-8, a server puts "a" before "B".

    Break: the order is that of the script.
    """
    reply = msgspec.msgpack.encode([{"name": name, "ready": 0, "paused": False} for name in names])
    assert ["B", "a", "ä"] == [queue.name for queue in decode_queues(reply)]


async def test_many_runs_in_one_call(backend: RedisBackend) -> None:
    """More than Lua can unpack at once."""
    await join(backend)
    made = await backend.enqueue([NewRun(id=f"{number:05}", job="job") for number in range(9_000)])
    assert all(answer.created for answer in made)

    reply = await backend.work("node", (), claim(1, 9_000))
    assert 9_000 == len(reply.runs)
    outcomes = [Outcome(run_id=run.id, token=run.token, kind="succeeded") for run in reply.runs]
    reply = await backend.work("node", outcomes, None)
    assert 9_000 == sum(reply.settled)
    assert 9_000 == (await backend.totals()).succeeded


async def test_an_error_of_a_script_names_no_arguments(backend: RedisBackend, store: RespConnection) -> None:
    """A key of ours that somebody has made something else of is an error of the backend's, and ends nothing."""
    store.command("SET", "{anysched}:queues", "x")

    with pytest.raises(BackendError):
        await backend.list_queues()

    await backend.time_ms()


@pytest.mark.parametrize(("told_ms", "kept_ms"), [(7_200_000, 7_200_000), (0, 60_000)])
async def test_poison_is_kept_as_its_last_node_said(
    backend: RedisBackend, store: RespConnection, told_ms: int, kept_ms: int
) -> None:
    """As every run that has failed; as one that was cancelled, if that node said nothing."""
    await backend.enqueue([NewRun(id="a", job="job", ttl_ms=60_000)])

    for name in "123":
        node = NodeInfo(id=name, ttl_ms=20, jobs=("job",), queues=("default",), failed_ttl_ms=told_ms)
        await backend.join(node)
        assert 1 == len((await backend.work(name, (), claim(1))).runs)
        await anyio.sleep(0.03)
        await backend.join(NodeInfo(id="other", ttl_ms=LATER))
        await backend.work("other", (), claim(int(name)))

    assert kept_ms - 10_000 < int(store.command("PTTL", "{anysched}:run:a")) <= kept_ms
