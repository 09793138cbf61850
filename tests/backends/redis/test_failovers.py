"""A master that has become a replica: it stays up, takes connections, and passes on what the new master publishes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from anysched.backends import Claim, Hint, NewRun, NodeInfo
from anysched.backends.redis import RedisBackend
from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.link import Link, Script, open_link
from anysched.errors import BackendUnavailable
from anysched.testing.redis_process import RedisProcess, find_redis_executable
from anysched.testing.resp import Address, RespConnection
from anysched.testing.servers import RedisServer

NAME = "redis.test"
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")


@pytest.fixture
def first() -> Iterator[RedisServer]:
    """A master, on 127.0.0.1, that replicates without delay."""
    with RedisServer(own=True, appendonly=False, options={"repl-diskless-sync-delay": "0"}) as server:
        yield server


@pytest.fixture
def second(first: RedisServer) -> Iterator[RespConnection]:
    """A replica of it: the same port, on 127.0.0.2."""
    executable = find_redis_executable()
    assert executable is not None
    address = Address(host="127.0.0.2", port=first.port)
    process = RedisProcess(executable=executable, directives={"save": ""}, address=address)
    process.start()

    try:
        with RespConnection(address) as connection:
            connection.command("REPLICAOF", first.host, str(first.port))
            wait_for_master(connection)
            yield connection
    finally:
        process.end(signal.SIGKILL)  # a master that ends in order waits for its replica
        process.remove()


def wait_for_master(replica: RespConnection) -> None:
    for _ in range(2_000):
        said = replica.command("INFO", "replication")

        if isinstance(said, bytes) and b"master_link_status:up" in said:
            return

        time.sleep(0.01)

    raise AssertionError("the replica does not get what its master has")


@pytest.fixture
def leads_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the name leads: to the last of these."""
    resolve, places = socket.getaddrinfo, ["127.0.0.1"]

    def led(host: Any, *rest: Any, **options: Any) -> Any:
        return resolve(places[-1] if host in (NAME, NAME.encode()) else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", led)
    return places


@asynccontextmanager
async def open_to(url: str) -> AsyncGenerator[Link]:
    link = open_link(parse_address(url))

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


def fail_over(first: RedisServer, second: RespConnection) -> None:
    second.command("REPLICAOF", "NO", "ONE")
    first.cli("REPLICAOF", "127.0.0.2", str(first.port))


async def listen_until_lost(link: Link, ready: anyio.Event, lost: anyio.Event) -> None:
    class Status:
        def started(self, value: None = None) -> None:
            ready.set()

    with pytest.raises(BackendUnavailable):
        await link.listen(["c"], [].append, task_status=Status())

    lost.set()


async def test_a_name_that_leads_to_another_master_is_followed(
    first: RedisServer, second: RespConnection, leads_to: list[str]
) -> None:
    """The old one refuses to write. Its address is forgotten then, which was kept since it works; listeners follow too.

    Break: it takes connections, so that its name is never asked for again, and nothing can be written any more.
    """
    ready, lost = anyio.Event(), anyio.Event()

    async with open_to(f"redis://{NAME}:{first.port}") as link, anyio.create_task_group() as group:
        group.start_soon(listen_until_lost, link, ready, lost)
        await ready.wait()
        await link.call(COUNT, ["n"], [])
        fail_over(first, second)
        leads_to.append("127.0.0.2")

        with pytest.raises(BackendUnavailable, match="replica"):
            await link.call(COUNT, ["n"], [])

        assert await link.call(COUNT, ["n"], [])

        with anyio.fail_after(5):
            await lost.wait()

        await group.start(link.listen, ["c"], [].append)
        assert [b"c", 1] == second.command("PUBSUB", "NUMSUB", "c")
        group.cancel_scope.cancel()


async def test_a_name_that_leads_on_later_is_followed_then(
    first: RedisServer, second: RespConnection, leads_to: list[str]
) -> None:
    """It is asked for again at each refusal, for as long as it leads to the old one."""
    async with open_to(f"redis://{NAME}:{first.port}") as link:
        fail_over(first, second)

        for _ in range(3):
            with pytest.raises(BackendUnavailable, match="replica"):
                await link.call(COUNT, ["n"], [])

        leads_to.append("127.0.0.2")
        assert 1 == await link.call(COUNT, ["n"], [])


async def test_who_listens_to_a_replica_is_handed_nothing(first: RedisServer, second: RespConnection) -> None:
    """A replica passes on what a script publishes, also if nobody has heard it where the script ran.

    Break: the node carries out what it hears, under a token that was never given, and the run is queued as well.
    """
    heard: list[Hint] = []
    over = anyio.Event()

    def hear(hint: Hint) -> None:
        heard.append(hint)

        if hint == Hint("done", "mark"):
            over.set()

    async with anyio.create_task_group() as services:
        master, replica = (RedisBackend.from_url(f"redis://127.0.0.{number}:{first.port}") for number in (1, 2))
        await services.start(master.run)
        await services.start(replica.run)
        await services.start(replica.listen, "node", hear)
        await master.join(NodeInfo(id="node", ttl_ms=60_000, jobs=("job",), queues=("default",)))
        await master.work("node", (), Claim(number=1, count=1, queues=("default",), takes=True))
        await master.enqueue([NewRun(id="a", job="job")])
        first.cli("PUBLISH", "{anysched}:hint:node", "done\nmark")

        with anyio.fail_after(5):
            await over.wait()

        assert [] == [hint for hint in heard if hint.kind == "take"]
        claim = Claim(number=2, count=1, queues=("default",))
        assert ["a"] == [run.id for run in (await master.work("node", (), claim)).runs]
        services.cancel_scope.cancel()
