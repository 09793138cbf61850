"""Settling: every outcome reaches the backend, whatever is in the way, and nothing is claimed once closing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time
from attrs import define, field

from anysched.backends.memory import MemoryBackend
from anysched.backends.records import Claim, NewRun, NodeInfo, Outcome, WorkReply
from anysched.errors import BackendUnavailable
from anysched.runtime.persisting import Outage
from anysched.runtime.settling import Settling, released


@define(eq=False)
class Backend:
    """A memory backend that takes a while to answer, can be out of reach, and notes what it was asked."""

    inner: MemoryBackend = field(factory=MemoryBackend)
    seconds: float = 0.0
    down: bool = False
    asked: list[tuple[list[str], bool]] = field(factory=list[tuple[list[str], bool]])
    """Runs settled, and whether something was claimed, for each command that was tried."""
    left: list[str] = field(factory=list[str])

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        self.asked.append(([outcome.run_id for outcome in outcomes], claim is not None))
        await anyio.sleep(self.seconds)

        if self.down:
            raise BackendUnavailable("down")

        return await self.inner.work(node_id, outcomes, claim)

    async def leave(self, node_id: str) -> None:
        await self.inner.leave(node_id)
        self.left.append(node_id)


@define(eq=False)
class Wishes:
    """An intake that wishes for one claim of so many runs."""

    count: int
    takes: bool = True
    received: list[str] = field(factory=list[str])

    def wish(self) -> Claim | None:
        count, self.count = self.count, 0
        return Claim(number=2, count=count, queues=("default",)) if count else None

    def receive(self, claim: Claim | None, reply: WorkReply) -> Sequence[Any]:
        self.received += [run.id for run in reply.runs]
        return () if self.takes else reply.runs


@define(eq=False)
class Told:
    stale: list[str] = field(factory=list[str])
    replies: int = 0

    def on_reply(self, reply: WorkReply) -> None:
        self.replies += 1


def settling_on(backend: Any, told: Told, *, node_id: Any = lambda: "n1") -> Settling:
    return Settling(
        backend=backend,
        node_id=node_id,
        outage=Outage(on_lost=lambda error: None, on_found=lambda: None),
        on_stale=lambda outcome: told.stale.append(outcome.run_id),
        on_reply=told.on_reply,
    )


async def claimed(backend: Backend, count: int) -> list[Outcome]:
    """So many runs that are running on n1, as outcomes that say that they succeeded."""
    await backend.inner.join(NodeInfo(id="n1", ttl_ms=60_000, jobs=("greet",), queues=("default",)))
    await backend.inner.enqueue([NewRun(id=f"r{number}", job="greet") for number in range(count)])
    reply = await backend.inner.work("n1", (), Claim(number=1, count=count, queues=("default",)))
    return [Outcome(run_id=run.id, token=run.token, kind="succeeded", result='"x"') for run in reply.runs]


async def test_what_ends_during_a_trip_travels_together_in_the_next() -> None:
    """At most one command is in flight, and none is held back to be fuller."""
    backend, told = Backend(seconds=1), Told()
    outcomes = await claimed(backend, 5)
    settling = settling_on(backend, told)

    async with create_task_group() as group:
        await group.start(settling.run)

        for outcome in outcomes:
            settling.report(outcome)
            await anyio.sleep(0.3)

        settling.close()

    assert [(["r0"], False), (["r1", "r2", "r3"], False), (["r4"], False)] == backend.asked
    assert 5 == (await backend.inner.totals()).succeeded
    assert ["n1"] == backend.left


async def test_an_outcome_is_on_its_way_until_it_is_answered() -> None:
    """From its report on: in the line, and in flight; under the token that it was reported with."""
    backend, told = Backend(seconds=1), Told()
    first, second = await claimed(backend, 2)
    settling = settling_on(backend, told)
    seen: list[list[bool]] = []

    def look() -> None:
        seen.append([settling.has(outcome.run_id, outcome.token) for outcome in (first, second)])

    look()

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.report(first)
        look()
        await anyio.sleep(0.5)
        settling.report(second)
        assert not settling.has(second.run_id, second.token + 1)

        # The first is in flight and the second in the line; the second is in flight; both were answered.
        for _ in range(3):
            look()
            await anyio.sleep(1)

        settling.close()

    assert [[False, False], [True, False], [True, True], [False, True], [False, False]] == seen


async def test_settling_and_claiming_are_one_command() -> None:
    """A wish travels with the outcomes, and the answer goes to the intake."""
    backend, told = Backend(), Told()
    outcomes = await claimed(backend, 1)
    await backend.inner.enqueue([NewRun(id="next", job="greet")])
    settling = settling_on(backend, told)
    settling.intake = intake = Wishes(count=1)
    settling.report(outcomes[0])

    async with create_task_group() as group:
        await group.start(settling.run)
        await anyio.sleep(1)
        settling.intake = None
        settling.close()

    assert (["r0"], True) == backend.asked[0]
    assert ["next"] == intake.received


async def test_an_outcome_survives_an_outage() -> None:
    """The command is repeated, unchanged, until it is answered; what ends meanwhile goes after it.

    Break: taking the outcomes out of the line before the command is known to have arrived loses them.
    """
    backend, told = Backend(down=True), Told()
    outcomes = await claimed(backend, 2)
    settling = settling_on(backend, told)

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.report(outcomes[0])
        await anyio.sleep(10)
        settling.report(outcomes[1])
        await anyio.sleep(10)
        backend.down = False
        settling.close()

    assert {("r0",), ("r1",)} == {tuple(runs) for runs, _ in backend.asked}
    assert 2 == (await backend.inner.totals()).succeeded


async def test_a_stale_outcome_is_told_and_nothing_else() -> None:
    """An outcome whose token is no longer the newest changes nothing."""
    backend, told = Backend(), Told()
    (outcome,) = await claimed(backend, 1)
    stale = Outcome(run_id="r0", token=outcome.token - 1, kind="failed")
    settling = settling_on(backend, told)
    settling.report(stale)
    settling.report(outcome)

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.close()

    assert ["r0"] == told.stale
    assert 1 == (await backend.inner.totals()).succeeded


@pytest.mark.parametrize("closed", [True, False], ids=["intake-closed", "refused"])
async def test_a_run_that_comes_with_an_answer_is_taken_or_handed_back(closed: bool) -> None:
    """The intake closes while a claim is under way, or refuses: the run goes back, its attempt refunded.

    Break: dropping it leaves it `running` until the lease ends.
    """
    backend, told = Backend(seconds=1), Told()
    await claimed(backend, 0)
    await backend.inner.enqueue([NewRun(id="r", job="greet")])
    settling = settling_on(backend, told)
    settling.intake = Wishes(count=1, takes=False)

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.poke()
        await anyio.sleep(0.5)

        if closed:
            settling.intake = None

        await anyio.sleep(2.5)
        (record,) = await backend.inner.get_runs(["r"])
        assert ("ready", 0) == (record.status, record.attempt)
        settling.close()


async def test_runs_claimed_for_a_node_that_was_lost_meanwhile_are_left_alone() -> None:
    """The answer to a claim arrives when we have joined anew: these runs belong to the old id, and are not started."""
    backend, told = Backend(seconds=1), Told()
    await claimed(backend, 0)
    await backend.inner.enqueue([NewRun(id="r", job="greet")])
    names = ["n1"]
    settling = settling_on(backend, told, node_id=lambda: names[-1])
    settling.intake = intake = Wishes(count=1)

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.poke()
        await anyio.sleep(0.5)
        names.append("n2")
        await anyio.sleep(1)
        settling.intake = None
        settling.close()

    assert [] == intake.received


async def test_a_long_line_takes_several_commands() -> None:
    """A batch has at most 256 outcomes, and at most some 4 MiB."""
    backend, told = Backend(), Told()
    outcomes = await claimed(backend, 600)
    settling = settling_on(backend, told)

    for outcome in outcomes:
        settling.report(outcome)

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.close()

    assert [256, 256, 88] == [len(runs) for runs, _ in backend.asked]

    backend, told = Backend(), Told()
    outcomes = await claimed(backend, 5)
    settling = settling_on(backend, told)
    heavy = "x" * 2_000_000

    for outcome in outcomes:
        settling.report(Outcome(run_id=outcome.run_id, token=outcome.token, kind="succeeded", result=heavy))

    async with create_task_group() as group:
        await group.start(settling.run)
        settling.close()

    assert [3, 2] == [len(runs) for runs, _ in backend.asked]


def test_handing_back_names_the_token() -> None:
    """A released run is settled under the token that it was claimed with, like any other."""
    from anysched.backends.records import ClaimedRun

    expected = Outcome(run_id="r", token=7, kind="released")
    assert expected == released(ClaimedRun(id="r", job="greet", token=7, attempt=1))


async def test_an_idle_node_sends_nothing() -> None:
    """Without outcomes and wishes there is no command at all, for an hour."""
    backend, told = Backend(), Told()
    await claimed(backend, 0)
    settling = settling_on(backend, told)
    began = current_time()

    async with create_task_group() as group:
        await group.start(settling.run)
        await anyio.sleep(3600)
        settling.close()

    assert [] == backend.asked
    assert 3600.0 == current_time() - began
