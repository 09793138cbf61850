"""Faults of the server that pass: what was accepted is done once, each fire once, and nothing needs a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from anysched.events import BackendFound, BackendLost
from anysched.testing import RedisServer

from .polling import until

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(90)]
SECONDS = 1.0  # of a fault: longer than a command may take, shorter than the lease of 3


async def kill_clients(server: RedisServer) -> None:
    for kind in ("normal", "pubsub", "normal"):
        server.cli("CLIENT", "KILL", "TYPE", kind)
        await anyio.sleep(SECONDS / 3)


async def pause_clients(server: RedisServer) -> None:
    server.cli("CLIENT", "PAUSE", int(SECONDS * 1000), "ALL")
    await anyio.sleep(SECONDS)


async def flush_scripts(server: RedisServer) -> None:
    for _ in range(20):
        server.cli("SCRIPT", "FLUSH")
        await anyio.sleep(SECONDS / 20)


async def be_out_of_memory(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "maxmemory", 1)
    await anyio.sleep(SECONDS)
    server.cli("CONFIG", "SET", "maxmemory", 0)


async def be_a_replica(server: RedisServer) -> None:
    server.cli("REPLICAOF", "127.0.0.1", 1)
    await anyio.sleep(SECONDS)
    server.cli("REPLICAOF", "NO", "ONE")


async def fail_to_save(server: RedisServer) -> None:
    """MISCONF: where the snapshot is to go there is a directory."""
    answer: Any = server.cli("CONFIG", "GET", "dir")
    (Path(answer[1].decode()) / "dump.rdb").mkdir()
    server.cli("CONFIG", "SET", "save", "3600 1000000")
    server.cli("BGSAVE")
    await anyio.sleep(SECONDS)
    assert "err" == server.info("persistence")["rdb_last_bgsave_status"]
    server.cli("CONFIG", "SET", "save", "")


async def load_data(server: RedisServer) -> None:
    """LOADING: the server writes its data out and reads them in again, a quarter of a millisecond for each key."""
    keys = server.cli("DBSIZE")
    assert isinstance(keys, int) and keys > 0
    server.cli("CONFIG", "SET", "key-load-delay", int(SECONDS * 1_000_000 / keys))
    await to_thread.run_sync(lambda: server.cli("DEBUG", "RELOAD", timeout=30))
    server.cli("CONFIG", "SET", "key-load-delay", 0)


async def be_busy(server: RedisServer) -> None:
    """BUSY: somebody's script does not end."""
    server.cli("CONFIG", "SET", "busy-reply-threshold", 50)

    with server.connect() as connection:
        connection.send("EVAL", "while true do end", 0)
        await anyio.sleep(SECONDS)
        server.cli("SCRIPT", "KILL")


async def be_paused(server: RedisServer) -> None:
    server.pause()
    await anyio.sleep(SECONDS)
    server.resume()


FAULTS: dict[str, tuple[Callable[[RedisServer], Any], bool]] = {
    # Whether the nodes are to say that the backend was lost.
    "CLIENT KILL": (kill_clients, True),
    "CLIENT PAUSE": (pause_clients, True),
    "SCRIPT FLUSH": (flush_scripts, False),
    # Settling and claiming go on: they give memory back. Only what is new is refused.
    "OOM": (be_out_of_memory, False),
    "READONLY": (be_a_replica, True),
    "MISCONF": (fail_to_save, True),
    "LOADING": (load_data, True),
    "BUSY": (be_busy, True),
    "SIGSTOP": (be_paused, True),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_was_accepted_is_done_once_and_each_fire_happens_once(
    name: str, server: RedisServer, make_load: Any
) -> None:
    """Under load the fault holds for a while, well within the lease: no run lost or doubled, no fire either.

    A client whose command failed repeats it with the same run ids. Breaks that fail here: "outages", "relief".
    """
    fault, is_told = FAULTS[name]
    load = make_load(urls=[server.url, server.url], client_url=server.url)

    with anyio.fail_after(60):
        async with load.running() as ledger:
            await until(lambda: len(ledger.fires) >= 2)
            await fault(server)
            before = len(ledger.fires)
            await until(lambda: len(ledger.fires) >= before + 2)

    assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)
    ledger.check_fires(at_least=2, every=0.25)
    lost = [event for event in ledger.events if isinstance(event, BackendLost)]
    found = [event for event in ledger.events if isinstance(event, BackendFound)]
    assert len(lost) == len(found), "each outage is told once when it begins and once when it ends"
    assert not is_told or lost
    assert ledger.refused or name in ("SCRIPT FLUSH", "CLIENT PAUSE", "CLIENT KILL")
