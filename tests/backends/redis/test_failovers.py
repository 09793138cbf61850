"""A master that has become a replica: it stays up, takes connections, and passes on what the new master publishes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import anyio
import pytest

from anysched.backends import Claim, Hint, NewRun, NodeInfo
from anysched.backends.redis import RedisBackend
from anysched.testing.redis_process import RedisProcess, find_redis_executable
from anysched.testing.resp import Address, RespConnection
from anysched.testing.servers import RedisServer


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
