"""Half an hour of mixed load at a steady rate with a fault every 20 seconds (``ANYSCHED_SOAK_SECONDS`` changes that).

What is looked at in the end: nothing accepted was lost; what was done twice is accounted for by a lease that was lost;
and neither the workers (memory, open files) nor the server (keys) have grown from the end of the warm-up to the end.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from anysched import Scheduler
from anysched.testing import RedisServer, ReplyError

SECONDS = float(os.environ.get("ANYSCHED_SOAK_SECONDS", "1800"))
EVERY = 20.0
ENVIRON = {"ANYSCHED_TEST_ENTRIES": "1", "ANYSCHED_TEST_LEASE": "3s", "ANYSCHED_TEST_RESULT_TTL": "15s"}


def harness() -> Any:
    path = Path(__file__).parents[1] / "processes" / "conftest.py"
    spec = importlib.util.spec_from_file_location("anysched_processes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(own=True, options={"appendfsync": "always"}) as found:
        yield found


class Soak:
    """The processes, and what can be done to them."""

    def __init__(self, processes: Any, server: RedisServer) -> None:
        self.processes = processes
        self.server = server
        self.workers = [processes.worker(loop, **ENVIRON) for loop in ("asyncio", "trio", "asyncio")]
        self.chance = random.Random(1)
        self.injected: Counter[str] = Counter()

    def kill_redis(self) -> None:
        self.server.kill()
        time.sleep(0.5)
        self.server.start()

    def pause_redis(self) -> None:
        self.server.pause()
        time.sleep(1.5)
        self.server.resume()

    def kill_worker(self) -> None:
        """One of the first two: the third lives through everything, and is the one that is measured."""
        number = self.chance.randrange(2)
        self.workers[number].kill()
        self.workers[number] = self.processes.worker(self.chance.choice(["asyncio", "trio"]), **ENVIRON)

    def stop_worker(self) -> None:
        """Beyond its lease."""
        worker = self.chance.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(5)
        worker.send_signal(signal.SIGCONT)

    def deploy_worker(self) -> None:
        assert 0 == self.processes.stop(self.workers[0])
        self.workers[0] = self.processes.worker("trio", **ENVIRON)

    def cut_clients(self) -> None:
        for kind in ("normal", "pubsub"):
            self.server.cli("CLIENT", "KILL", "TYPE", kind)

    def flush_scripts(self) -> None:
        self.server.cli("SCRIPT", "FLUSH")

    def fill_memory(self) -> None:
        self.server.cli("CONFIG", "SET", "maxmemory", 1)
        time.sleep(1.5)
        self.server.cli("CONFIG", "SET", "maxmemory", 0)

    def demote(self) -> None:
        self.server.cli("REPLICAOF", "127.0.0.1", 1)
        time.sleep(1)
        self.server.cli("REPLICAOF", "NO", "ONE")

    def inject(self) -> None:
        faults: list[Callable[[], None]] = [
            self.kill_redis, self.pause_redis, self.kill_worker, self.stop_worker, self.deploy_worker,
            self.cut_clients, self.flush_scripts, self.fill_memory, self.demote,
        ]  # fmt: skip
        fault = faults[sum(self.injected.values()) % len(faults)]
        fault()
        self.injected[fault.__name__] += 1

    def measure(self) -> dict[str, int]:
        """Of the worker that lives through everything, and of the server."""
        proc = Path(f"/proc/{self.workers[2].pid}")
        fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        keys: Any = 0

        for _ in range(50):
            try:
                keys = self.server.cli("DBSIZE")
                break
            except (ReplyError, OSError):
                time.sleep(0.1)

        tasks = [int(words[2]) for words in self.processes.effects("tasks") if words[1] == str(self.workers[2].pid)]
        return {
            "memory_kb": int(fields["VmRSS"].split()[0]),
            "files": len(list((proc / "fd").iterdir())),
            "keys": keys,
            "tasks": tasks[-1] if tasks else 0,
        }


async def totals_of(url: str) -> Any:
    async with Scheduler(url, namespace="processes") as scheduler:
        return await scheduler.totals()


@pytest.mark.soak
def test_half_an_hour_of_faults_loses_nothing_and_leaves_everything_flat(server: RedisServer, tmp_path: Path) -> None:
    """See above. The figures are printed as they come.

    Breaks: "renewals" (doubled all the time), "outages" (workers end), "shield" (runs stay behind at each deploy).
    """
    processes = harness().Processes(url=server.url, folder=tmp_path)

    try:
        soak(Soak(processes, server))
    finally:
        processes.close()


def soak(site: Soak) -> None:
    processes = site.processes
    client = processes.start("enqueue", "--seconds", str(SECONDS))
    began = time.monotonic()
    measured: list[dict[str, int]] = []

    while time.monotonic() - began < SECONDS:
        time.sleep(max(0.0, EVERY - 5))
        site.inject()
        time.sleep(5)
        measured.append(site.measure())
        print(f"{time.monotonic() - began:6.0f} s {measured[-1]} {dict(site.injected)}", flush=True)

    accepted = int(client.communicate(timeout=60)[0])
    processes.wait_for(lambda: len({words[1] for words in processes.effects("note")}) >= accepted, within=60)
    processes.wait_for(lambda: anyio.run(totals_of, processes.url).running == 0)
    notes = Counter(int(words[1]) for words in processes.effects("note"))
    assert set(range(accepted)) == set(notes), "lost"

    doubled = {number for number, times in notes.items() if times > 1}
    losses = len(processes.effects("LeaseWasLost")) + len(processes.effects("NodeWasLost"))
    by_number = {
        number: [words[3] for words in processes.effects("note") if words[1] == str(number)] for number in doubled
    }
    assert not doubled or losses, "doubled without a lost lease"
    fired = Counter((words[1], words[2]) for words in processes.effects("fired"))
    runs: dict[tuple[str, str], set[str]] = defaultdict(set)

    for words in processes.effects("fired"):
        runs[words[1], words[2]].add(words[3])

    assert {1} == {len(ids) for ids in runs.values()}, "a fire was made into two runs"
    print(
        f"\n{sum(site.injected.values())} faults, {accepted} accepted, 0 lost, {len(doubled)} doubled {by_number}, "
        f"{sum(fired.values())} fires of which {sum(times > 1 for times in fired.values())} were executed again, "
        f"{losses} losses of a lease noticed"
    )
    assert_flat(measured)


def assert_flat(measured: list[dict[str, int]]) -> None:
    """The last third against the second: what grows with time shows; noise and the warm-up do not."""
    third = max(len(measured) // 3, 1)

    for name, tolerance in (("memory_kb", 4_000), ("files", 4), ("keys", 500), ("tasks", 5)):
        middle = sorted(one[name] for one in measured[third : 2 * third])
        end = sorted(one[name] for one in measured[2 * third :])
        assert end[len(end) // 2] <= middle[len(middle) // 2] * 1.1 + tolerance, f"{name} grows: {middle} -> {end}"
