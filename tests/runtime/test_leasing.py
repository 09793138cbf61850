"""The lease of a node: renewed in time, trusted no longer than it surely stands, joined anew when it is lost."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time
from attrs import define, field

from anysched.backends.memory import MemoryBackend
from anysched.backends.records import NodeInfo, Renewed
from anysched.errors import BackendUnavailable
from anysched.runtime.leasing import Leasing
from anysched.runtime.persisting import Outage

TTL = 10.0


@define(eq=False)
class Backend:
    """A memory backend that can be out of reach, or never answer, and that counts renewals."""

    inner: MemoryBackend = field(factory=MemoryBackend)
    down: bool = False
    hangs: bool = False
    renewals: list[float] = field(factory=list[float])

    async def join(self, node: NodeInfo) -> int:
        await self._reach()
        return await self.inner.join(node)

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        await self._reach()
        self.renewals.append(current_time())
        return await self.inner.renew(node_id, ttl_ms)

    async def _reach(self) -> None:
        await anyio.lowlevel.checkpoint()

        if self.hangs:
            await anyio.sleep_forever()

        if self.down:
            raise BackendUnavailable("down")


@define(eq=False)
class Told:
    """What the node was told, and when."""

    lost: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    joined: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    trusted: list[float] = field(factory=list[float])
    cancels: list[str] = field(factory=list[str])
    outage: list[str] = field(factory=list[str])


def leasing_on(backend: Any, told: Told) -> Leasing:
    return Leasing(
        backend=backend,
        node=NodeInfo(id="unused", ttl_ms=int(TTL * 1000), jobs=("greet",), queues=("default",)),
        outage=Outage(on_lost=lambda error: told.outage.append("lost"), on_found=lambda: told.outage.append("found")),
        on_lost=lambda reason: told.lost.append((current_time(), reason)),
        on_joined=lambda node_id, now_ms: told.joined.append((current_time(), node_id)),
        on_trusted=lambda: told.trusted.append(current_time()),
        on_cancel=told.cancels.extend,
    )


@asynccontextmanager
async def leased(backend: Any, told: Told) -> AsyncGenerator[Leasing]:
    leasing = leasing_on(backend, told)

    async with create_task_group() as group:
        await group.start(leasing.run)
        yield leasing
        group.cancel_scope.cancel()


async def test_it_is_ready_when_the_node_is_known() -> None:
    """After `started` the node is listed, and trusted, under an id of its own."""
    backend, told = Backend(), Told()

    async with leased(backend, told) as leasing:
        (node,) = await backend.inner.list_nodes()
        assert node.id == leasing.node.id == told.joined[0][1]
        assert leasing.trusted and leasing.trusted_now


async def test_it_renews_three_times_in_a_lease() -> None:
    """Two renewals in a row may be lost."""
    backend, told = Backend(), Told()
    began = current_time()

    async with leased(backend, told):
        await anyio.sleep(TTL + 0.1)

    assert [pytest.approx(TTL / 3 * n) for n in (1, 2, 3)] == [at - began for at in backend.renewals]


async def test_an_outage_ends_trust_before_the_lease_can_have_ended() -> None:
    """Out of reach since the joining: at nine tenths of the lease, and not later, nothing is trusted any more.

    Break: counting from when the answer came, or without the margin, ends later.
    """
    backend, told = Backend(), Told()

    async with leased(backend, told) as leasing:
        began = current_time()
        backend.down = True
        await anyio.sleep(TTL * 2)
        assert not leasing.trusted

    ((lost_at, reason),) = told.lost
    assert TTL * 0.9 == pytest.approx(lost_at - began, abs=0.01)
    assert "could not be reached" in reason
    assert ["lost"] == told.outage


async def test_a_renewal_that_never_answers_ends_trust_in_time_too() -> None:
    """A half-open connection: the time limit of the renewal is what is left of trust."""
    backend, told = Backend(), Told()

    async with leased(backend, told):
        began = current_time()
        backend.hangs = True
        await anyio.sleep(TTL * 2)

    assert [pytest.approx(TTL * 0.9, abs=0.01)] == [at - began for at, _ in told.lost]


async def test_a_lease_that_nobody_took_is_trusted_again_and_said_to_be() -> None:
    """After the outage the renewal succeeds under the same id: no new joining, and the node is told to look for work.

    Break: without telling, a node whose wish was refused while it was not trusted never claims again.
    """
    backend, told = Backend(), Told()

    async with leased(backend, told) as leasing:
        backend.down = True
        await anyio.sleep(TTL)
        backend.down = False
        await anyio.sleep(TTL)
        assert leasing.trusted

    assert 1 == len(told.lost) == len(told.joined) == len(told.trusted)
    assert ["lost", "found"] == told.outage


async def test_a_lost_lease_is_joined_anew_under_another_id() -> None:
    """Somebody reaped it during the outage: what it held is told to be lost, once, and a new id joins.

    Break: renewing or joining under the old id would let a stale holder look valid.
    """
    backend, told = Backend(), Told()
    reaper = NodeInfo(id="reaper", ttl_ms=3_600_000)

    async with leased(backend, told) as leasing:
        first = leasing.node.id
        backend.down = True
        await anyio.sleep(TTL + 1)
        await backend.inner.join(reaper)
        await backend.inner.work("reaper", (), None)
        backend.down = False
        await anyio.sleep(TTL)
        assert leasing.trusted
        assert first != leasing.node.id
        assert {"reaper", leasing.node.id} == {node.id for node in await backend.inner.list_nodes()}

    assert [first, leasing.node.id] == [node_id for _, node_id in told.joined]
    assert 1 == len(told.lost)


async def test_an_unknown_node_finds_out_at_once() -> None:
    """`forgotten` renews now, not in three seconds: an emptied store is noticed with the first answer that says so."""
    backend, told = Backend(), Told()

    async with leased(backend, told) as leasing:
        began = current_time()
        await backend.inner.leave(leasing.node.id)
        leasing.forgotten()
        await anyio.sleep(1)
        assert 2 == len(told.joined)

    assert began == told.joined[1][0]
    assert "was taken" in told.lost[0][1]


async def test_requests_to_cancel_come_with_a_renewal() -> None:
    """A hint that was lost costs a third of a lease at most."""
    backend, told = Backend(), Told()

    async with leased(backend, told) as leasing:
        from anysched.backends.records import Claim, NewRun

        await backend.inner.enqueue([NewRun(id="r1", job="greet")])
        claim = Claim(number=1, count=1, queues=("default",))
        assert ["r1"] == [run.id for run in (await backend.inner.work(leasing.node.id, (), claim)).runs]
        await backend.inner.cancel("r1")
        await anyio.sleep(TTL / 3 + 0.1)

    assert ["r1"] == told.cancels


async def test_a_blocked_loop_ends_trust_before_anything_else_can_go_on(real_time: None) -> None:
    """The loop stands still for longer than the lease: the very next look says that it is not trusted.

    Break: `trusted_now` without a look at the clock is true until the leasing task gets its turn.
    """
    backend, told = MemoryBackend(), Told()
    leasing = leasing_on(backend, told)
    leasing.node = NodeInfo(id="unused", ttl_ms=200)

    async with create_task_group() as group:
        await group.start(leasing.run)
        time.sleep(0.25)  # noqa: ASYNC251 - the loop is to be blocked
        assert not leasing.trusted_now
        await anyio.sleep(0.05)
        assert leasing.trusted_now
        group.cancel_scope.cancel()

    ((_, reason),) = told.lost
    assert "blocked" in reason


async def test_joining_outlives_an_outage() -> None:
    """A start while the backend is away waits for it."""
    backend, told = Backend(down=True), Told()

    async def repair() -> None:
        await anyio.sleep(30)
        backend.down = False

    async with create_task_group() as others:
        others.start_soon(repair)

        async with leased(backend, told):
            assert current_time() >= 30

    assert ["lost", "found"] == told.outage
