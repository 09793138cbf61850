"""A real server of one's own to be harmed, a steady load on it, and a ledger of what the load has done.

Async tests in here run on asyncio and on Trio; that eager tasks and uvloop make no difference is shown elsewhere.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import define, field

from anysched import BackendUnavailable, ErrorContext, Event, Executor, Scheduler, SchedulerConfig, current_run
from anysched.backends.redis import RedisBackend
from anysched.backends.redis.scripts import all_scripts
from anysched.events import BackendLost, LeaseWasLost
from anysched.testing import FaultyProxy, RedisServer

from .polling import until

_BREAKS = Path(__file__).parents[1] / "processes" / "breaks.py"
START = datetime(2026, 1, 1, tzinfo=UTC)


def pytest_configure() -> None:
    spec = importlib.util.spec_from_file_location("anysched_breaks", _BREAKS)
    assert spec is not None and spec.loader is not None
    breaks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(breaks)
    breaks.apply()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out eager tasks."""
    here = Path(__file__).parent
    spare = [item for item in items if item.path.is_relative_to(here) and "asyncio+" in item.name]

    if spare:
        config.hook.pytest_deselected(items=spare)
        items[:] = [item for item in items if item not in spare]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of one's own, without persistence."""
    with RedisServer(own=True, appendonly=False) as found:
        yield found


@pytest.fixture
def durable_server() -> Iterator[RedisServer]:
    """A server of one's own that has on disk what it has answered."""
    with RedisServer(own=True, options={"appendfsync": "always"}) as found:
        yield found


@define(eq=False)
class Ledger:
    """What happened, as seen from outside."""

    accepted: set[int] = field(factory=set[int])
    done: Counter[int] = field(factory=Counter[int])
    fires: list[datetime] = field(factory=list[datetime])
    errors: list[tuple[Exception, ErrorContext]] = field(factory=list[tuple[Exception, ErrorContext]])
    events: list[Event] = field(factory=list[Event])
    refused: int = 0
    """Commands of the client that failed and were repeated."""

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_error(self, error: Exception, context: ErrorContext) -> None:
        self.errors.append((error, context))

    @property
    def outages(self) -> int:
        """How often a node, or the client, has said that the backend was lost."""
        return len([event for event in self.events if isinstance(event, BackendLost)])

    @property
    def leases_lost(self) -> int:
        return len([event for event in self.events if isinstance(event, LeaseWasLost)])

    @property
    def doubled(self) -> dict[int, int]:
        return {number: times for number, times in self.done.items() if times > 1}

    @property
    def lost(self) -> set[int]:
        return self.accepted - set(self.done)

    def check_fires(self, *, at_least: int, every: float) -> None:
        """Each fire once, and none left out between the first and the last."""
        fires = sorted(self.fires)
        assert fires == sorted(set(fires)), "a fire was doubled"
        period = timedelta(seconds=every)
        assert fires == [fires[0] + n * period for n in range(len(fires))], "a fire was lost"
        assert len(fires) >= at_least


def load_scripts(server: RedisServer) -> None:
    """So that every call is an EVALSHA from the first."""
    for script in all_scripts():
        server.cli("SCRIPT", "LOAD", script.text)


@define(eq=False, kw_only=True)
class Load:
    """Nodes, a client and an entry at steady work.

    Args:
        urls: of each node; several addresses may lead to one server.
        client_url: of the client.
        lease: of the nodes. Long beside any fault that it is to outlast, or a busy machine ends it.
        time_limit: seconds that a command, or connecting, may take; default: as the lease has it.
        every: seconds between fires.
    """

    urls: Sequence[str]
    client_url: str
    lease: str = "24s"
    time_limit: float | None = None
    every: float = 0.25
    work: float = 0.01
    ledger: Ledger = field(factory=Ledger)
    nodes: list[Scheduler] = field(factory=list[Scheduler])
    client: Scheduler = field(init=False)
    stopping: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Ledger]:
        """The load, around a fault. At the end the client stops, and all that was accepted has to be done."""
        self.nodes = [self._scheduler(url) for url in self.urls]
        self.client = self._scheduler(self.client_url, client=True)

        async with anyio.create_task_group() as group:
            for one in self.nodes:
                await group.start(one.run)

            async with self.client:
                async with anyio.create_task_group() as clients:
                    clients.start_soon(self._enqueue)
                    yield self.ledger
                    self.stopping = True

                with anyio.fail_after(25):
                    await until(lambda: not (self.ledger.lost))

                await until(self._is_quiet)

            for one in self.nodes:
                one.stop()

    async def _is_quiet(self) -> bool:
        return (await self.client.totals()).running == 0

    def _scheduler(self, url: str, *, client: bool = False) -> Scheduler:
        ledger = self.ledger
        scheduler = Scheduler(
            RedisBackend.from_url(url, time_limit=self.time_limit) if self.time_limit else url,
            executor=Executor(max_concurrent=16),
            config=SchedulerConfig(lease=self.lease, shutdown_timeout="5s", on_error=ledger.on_error),
            observers=[ledger],
        )

        @scheduler.job(name="note")
        async def note(number: int) -> int:
            await anyio.sleep(self.work)
            ledger.done[number] += 1
            return number

        if not client:

            @scheduler.every(self.every, anchor=START, overlap="allow", misfire="all")
            async def fire() -> None:
                scheduled_for = current_run().scheduled_for
                assert scheduled_for is not None
                ledger.fires.append(scheduled_for)

        return scheduler

    async def _enqueue(self) -> None:
        note = self.client.jobs["note"]
        number = 0

        while not self.stopping:
            bounds = [note.options(run_id=f"run-{n}").bind(n) for n in range(number, number + 3)]

            try:
                await self.client.enqueue(*bounds)
            except BackendUnavailable:
                self.ledger.refused += 1
                await anyio.sleep(0.05)
            else:
                self.ledger.accepted.update(range(number, number + 3))
                number += 3
                await anyio.sleep(0.01)


@pytest.fixture
def make_load() -> Callable[..., Load]:
    return Load


@pytest.fixture
def preload() -> Callable[[RedisServer], None]:
    return load_scripts


@pytest.fixture
def make_ledger() -> type[Ledger]:
    return Ledger


@pytest.fixture
def via() -> Callable[[FaultyProxy], str]:
    """The address of a proxy."""
    return lambda proxy: f"redis://127.0.0.1:{proxy.port}/0"


@pytest.fixture
def connected(server: RedisServer) -> Callable[[], int]:
    """How many clients of ours the server has."""

    def count() -> int:
        reply: Any = server.cli("CLIENT", "LIST")
        return reply.decode().count(" name=anysched ")

    return count
