"""The network between a node and its Redis: slow, dead without a word, partitioned; and a master that is another."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import current_time, to_thread

from anysched import RunStatus, Scheduler, SchedulerConfig, current_run
from anysched.events import LeaseWasLost
from anysched.testing import FaultyProxy, RedisServer
from anysched.testing.redis_process import find_redis_executable

from .polling import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


async def test_a_slow_link_delays_and_loses_nothing(server: RedisServer, make_load: Any, via: Any) -> None:
    """Fifty milliseconds each way on every chunk: all done once, each fire once, no lease lost."""
    async with FaultyProxy(target_port=server.port, delay=0.05) as proxy:
        load = make_load(urls=[via(proxy), server.url], client_url=via(proxy), time_limit=2.0)

        with anyio.fail_after(40):
            async with load.running() as ledger:
                await until(lambda: len(ledger.fires) >= 6 and len(ledger.done) > 30)

    assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)
    ledger.check_fires(at_least=6, every=0.25)


async def test_half_open_connections_are_found_dead_and_replaced(server: RedisServer, make_load: Any, via: Any) -> None:
    """The server has dropped the connections and the node does not know: a time limit tells it."""
    async with FaultyProxy(target_port=server.port) as proxy:
        load = make_load(urls=[via(proxy)], client_url=server.url, time_limit=2.0)

        with anyio.fail_after(40):
            async with load.running() as ledger:
                await until(lambda: len(ledger.fires) >= 2)
                accepted = proxy.accepted
                proxy.half_open()
                await until(lambda: proxy.accepted > accepted)
                before = len(ledger.fires)
                await until(lambda: len(ledger.fires) >= before + 4)

    assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)
    ledger.check_fires(at_least=6, every=0.25)


async def test_a_partitioned_worker_stops_in_time_and_comes_back(
    server: RedisServer, via: Any, make_ledger: Any
) -> None:
    """Nothing passes between one worker and Redis: it cancels its attempt before the other begins it, and joins anew.

    Break: "trust" (both run it at once).
    """
    seen: list[tuple[str, str, float]] = []
    ledger = make_ledger()

    def worker(name: str, url: str) -> Scheduler:
        config = SchedulerConfig(lease="2s", on_error=ledger.on_error)
        scheduler = Scheduler(url, config=config, observers=[ledger])

        @scheduler.job(name="work")
        async def work(seconds: float) -> None:
            seen.append(("begin", name, time.monotonic()))

            try:
                await anyio.sleep(seconds)
            finally:
                seen.append(("end", name, time.monotonic()))

        return scheduler

    async with FaultyProxy(target_port=server.port) as proxy:
        first, second = worker("first", via(proxy)), worker("second", server.url)

        async def there_are_two() -> bool:
            return len(await second.nodes()) == 2

        async with first.running():
            await first.jobs["work"].options(run_id="it").enqueue(4)
            await until(lambda: seen)

            async with second.running():
                proxy.blackhole = True
                await until(lambda: len(seen) >= 3)
                proxy.heal()
                await (await second.get_run("it")).result()
                # It has come back under another id, and works.
                await until(there_are_two)

            await first.jobs["work"].enqueue(0)
            await until(lambda: len([one for one in seen if one[1] == "first"]) >= 4)

    (_, _, _), (ended, who, at), (begun, other, later) = seen[:3]
    assert ("end", "first", "begin", "second") == (ended, who, begun, other)
    assert at < later
    assert 1 == len([event for event in ledger.events if isinstance(event, LeaseWasLost)])


def master_of_replicas() -> RedisServer:
    """One that does not wait five seconds for more replicas before it sends its data."""
    return RedisServer(own=True, appendonly=False, options={"repl-diskless-sync-delay": "0"})


async def test_a_failover_to_a_lagging_replica_loses_only_what_it_lacked(anyio_backend_name: str, via: Any) -> None:
    """The master dies, a replica that had stopped following takes its place: work goes on, with greater tokens.

    What the replica never saw is gone (that is what asynchronous replication can do), and said nothing of by Redis.
    What ran is not known as settled there, so it is done again: under a token greater than any before.
    Break: "tokens".
    """
    tokens: dict[str, list[int]] = {}

    with master_of_replicas() as master, RedisServer(own=True, appendonly=False) as replica:
        replica.cli("REPLICAOF", "127.0.0.1", master.port)

        async with FaultyProxy(target_port=master.port) as proxy:
            scheduler = Scheduler(via(proxy), config=SchedulerConfig(lease="2s"))

            @scheduler.job(name="work")
            async def work(name: str) -> str:
                tokens.setdefault(name, []).append(current_run().fencing_token)
                return name

            await until(lambda: replica.info("replication")["master_link_status"] == "up")

            async with scheduler.running():
                seen = await work.options(run_id="seen", delay="1500ms").enqueue("seen")
                await until(lambda: replica.cli("EXISTS", "{anysched}:run:seen") == 1)
                replica.cli("REPLICAOF", "NO", "ONE")  # it follows no more
                assert "unseen" == await (await work.options(run_id="unseen").enqueue("unseen")).result()
                await work.options(run_id="gone", delay="1h").enqueue("gone")
                proxy.target_port = replica.port
                await to_thread.run_sync(master.kill)
                assert "seen" == await seen.result()
                assert {"seen"} == {run.id for run in await scheduler.runs()}
                assert "unseen" == await (await work.options(run_id="unseen").enqueue("unseen")).result()

    assert tokens["unseen"] == sorted(set(tokens["unseen"]))
    assert tokens["seen"][0] > tokens["unseen"][0]


SENTINEL = """\
port {port}
dir {folder}
sentinel monitor it 127.0.0.1 {master} 1
sentinel down-after-milliseconds it 500
sentinel failover-timeout it 3000
"""


@contextmanager
def watched(master: RedisServer, folder: Path) -> Iterator[str]:
    """A sentinel that watches a master, and knows of its replica; the address of what it watches."""
    with RedisServer(own=True, appendonly=False) as borrowed:
        port = borrowed.port

    config, log = folder / "sentinel.conf", folder / "sentinel.log"
    config.write_text(SENTINEL.format(port=port, folder=folder, master=master.port))

    with log.open("wb") as out:
        sentinel = subprocess.Popen([str(find_redis_executable()), str(config), "--sentinel"], stdout=out)

    try:
        while b"+slave" not in log.read_bytes():
            time.sleep(0.1)

        yield f"redis+sentinel://127.0.0.1:{port}/it"
    finally:
        sentinel.kill()
        sentinel.wait()


@pytest.mark.nightly
@pytest.mark.timeout(120)
@pytest.mark.parametrize("lags", [False, True], ids=["up to date", "lagging"])
async def test_a_failover_by_sentinel_is_followed(
    tmp_path: Path, anyio_backend_name: str, make_load: Any, via: Any, lags: bool
) -> None:
    """The master is killed under load, a sentinel promotes the replica: nodes and clients find it by themselves.

    What the replica had not been sent yet is gone, here too, so that only what was done by then, and what was accepted
    afterwards, is held to. One that lags by half a second takes for running what was done: until its nodes have been
    told by two renewals what they hold there.

    Break: nodes that do not compare it with what they know let it run for ever.
    """
    with master_of_replicas() as master, RedisServer(own=True, appendonly=False) as replica:
        async with FaultyProxy(target_port=master.port) as proxy:
            replica.cli("REPLICAOF", "127.0.0.1", proxy.port)
            await until(lambda: replica.info("replication")["master_link_status"] == "up")

            with watched(master, tmp_path) as url:
                load = make_load(urls=[url, url], client_url=url, lease="3s")

                async with load.running() as ledger:
                    await until(lambda: len(ledger.done) > 20)
                    proxy.blackhole = lags
                    await anyio.sleep(0.5)
                    await to_thread.run_sync(master.kill)
                    killed, done = current_time(), len(ledger.done)
                    ledger.accepted &= set(ledger.done)
                    await until(lambda: len(ledger.done) > done + 20, within=30)
                    print(f"\nworking again {current_time() - killed:.1f} s after the master died")

                async with Scheduler(url) as after:
                    assert 0 == (await after.totals()).running

    assert set() == ledger.lost
    assert lags or not ledger.doubled or ledger.leases_lost


async def test_an_emptied_store_is_noticed_and_refilled(server: RedisServer, make_ledger: Any) -> None:
    """FLUSHALL under a running node: the attempt is cancelled, declared entries are there again, and work goes on."""
    ledger = make_ledger()
    config = SchedulerConfig(lease="2s", on_error=ledger.on_error)
    scheduler = Scheduler(server.url, config=config, observers=[ledger])
    begun: list[float] = []
    cancelled: list[float] = []

    @scheduler.every("250ms", overlap="allow")
    async def often() -> None:
        return

    @scheduler.job(name="work")
    async def work(seconds: float) -> str:
        begun.append(current_time())

        try:
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            cancelled.append(current_time())
            raise

        return "done"

    with anyio.fail_after(30):
        async with scheduler.running():
            await work.enqueue(30)
            await until(lambda: begun)
            server.cli("FLUSHALL")
            began = current_time()

            await until(lambda: cancelled)
            assert cancelled[0] - began < 2
            await until(scheduler.entries)
            assert "done" == await (await work.enqueue(0)).result()
            assert 0 == (await scheduler.totals()).running
            assert RunStatus.SUCCEEDED in {run.status for run in await scheduler.runs()}

    assert any("the lease on run" in str(error) for error, _ in ledger.errors)
