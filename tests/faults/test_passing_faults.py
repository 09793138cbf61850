"""Faults of the server that pass: what was accepted is done once, each fire once, and nothing needs a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from anysched.events import BackendFound
from anysched.testing import RedisServer

from .polling import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

SECONDS = 4.0
"""Of a fault that no command can end: two time limits, so that it is noticed, and a sixth of a lease."""

Noticed = Callable[[], Awaitable[None]]
"""Waits until somebody has said that the backend is lost, and a command of the client's has failed; and a bit more."""


async def kill_clients(server: RedisServer, noticed: Noticed) -> None:
    for kind in ("normal", "pubsub", "normal"):
        server.cli("CLIENT", "KILL", "TYPE", kind)
        await anyio.sleep(0.3)


async def pause_clients(server: RedisServer, noticed: Noticed) -> None:
    server.cli("CLIENT", "PAUSE", int(SECONDS * 1000), "ALL")
    await noticed()


async def flush_scripts(server: RedisServer, noticed: Noticed) -> None:
    for _ in range(20):
        server.cli("SCRIPT", "FLUSH")
        await anyio.sleep(0.05)


async def be_out_of_memory(server: RedisServer, noticed: Noticed) -> None:
    server.cli("CONFIG", "SET", "maxmemory", 1)
    await noticed()
    server.cli("CONFIG", "SET", "maxmemory", 0)


async def be_a_replica(server: RedisServer, noticed: Noticed) -> None:
    server.cli("REPLICAOF", "127.0.0.1", 1)
    await noticed()
    server.cli("REPLICAOF", "NO", "ONE")


async def fail_to_save(server: RedisServer, noticed: Noticed) -> None:
    """MISCONF: where the snapshot is to go there is a directory."""
    answer: Any = server.cli("CONFIG", "GET", "dir")
    (Path(answer[1].decode()) / "dump.rdb").mkdir()
    server.cli("CONFIG", "SET", "save", "3600 1000000")
    server.cli("BGSAVE")
    await noticed()
    assert "err" == server.info("persistence")["rdb_last_bgsave_status"]
    server.cli("CONFIG", "SET", "save", "")


async def load_data(server: RedisServer, noticed: Noticed) -> None:
    """LOADING: the server writes its data out and reads them in again, with a pause before each key."""
    keys = server.cli("DBSIZE")
    assert isinstance(keys, int) and keys > 0
    server.cli("CONFIG", "SET", "key-load-delay", int(SECONDS * 1_000_000 / keys))
    await to_thread.run_sync(lambda: server.cli("DEBUG", "RELOAD", timeout=30))
    server.cli("CONFIG", "SET", "key-load-delay", 0)


async def be_busy(server: RedisServer, noticed: Noticed) -> None:
    """BUSY: somebody's script does not end."""
    server.cli("CONFIG", "SET", "lua-time-limit", 50)  # the old name, which all versions know

    with server.connect() as connection:
        connection.send("EVAL", "while true do end", 0)
        await noticed()
        server.cli("SCRIPT", "KILL")


async def be_paused(server: RedisServer, noticed: Noticed) -> None:
    server.pause()
    await noticed()
    server.resume()


# CLIENT KILL may hit the client between two commands; nobody notices a script that is gone.
UNREFUSED = ("SCRIPT FLUSH", "CLIENT KILL")
FAULTS: dict[str, tuple[Callable[[RedisServer, Noticed], Any], bool]] = {
    # Whether the backend is lost to the nodes.
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


NIGHTLY = ("CLIENT PAUSE",)  # to a client the same as SIGSTOP


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name in NIGHTLY else []) for name in FAULTS]
)
async def test_what_was_accepted_is_done_once_and_each_fire_happens_once(
    name: str, server: RedisServer, make_load: Any
) -> None:
    """Under load the fault holds for a while, well within the lease: no run lost or doubled, no fire either.

    A client whose command failed repeats it with the same run ids. Breaks that fail here: "outages", "relief".
    """
    fault, is_told = FAULTS[name]
    load = make_load(urls=[server.url, server.url], client_url=server.url, time_limit=2.0)

    with anyio.fail_after(60):
        async with load.running() as ledger:
            await until(lambda: len(ledger.fires) >= 2)
            refused, outages = ledger.refused, ledger.outages

            def is_noticed() -> bool:
                is_refused = ledger.refused > refused or name in UNREFUSED
                return is_refused and (ledger.outages > outages or not is_told)

            async def noticed() -> None:
                await until(is_noticed)
                await anyio.sleep(0.5)  # so that every loop meets it

            await fault(server, noticed)
            await until(is_noticed)
            before = len(ledger.fires)
            await until(lambda: len(ledger.fires) >= before + 2)

    assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)
    ledger.check_fires(at_least=2, every=0.25)
    found = [event for event in ledger.events if isinstance(event, BackendFound)]
    assert ledger.outages == len(found), "each outage is told once when it begins and once when it ends"
