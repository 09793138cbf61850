"""A store that has forgotten what it answered: what it takes for ours and nobody here knows is handed back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import anyio
from msgspec.structs import replace

from anysched import ErrorContext, MemoryBackend, Scheduler, SchedulerConfig, current_run
from anysched.backends import Claim, Held, Outcome, WorkReply
from anysched.runtime.disowning import Disowning

LEASE = 15.0


class Forgetful(MemoryBackend):
    """Has the outcomes of the first attempts, as its answers say, and then has them no more."""

    forgotten: set[str]

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        kept = [outcome for outcome in outcomes if outcome.run_id in self.forgotten]
        self.forgotten |= {outcome.run_id for outcome in outcomes}
        reply = await super().work(node_id, kept, claim)
        return replace(reply, settled=(True,) * len(outcomes))


async def test_a_run_whose_outcome_the_store_has_forgotten_is_done_again() -> None:
    """Within a lease, and by its own node if there is no other; what is carried out meanwhile is left alone.

    Breaks: without the comparison it is running for ever; without a look at what is carried out the long run is done
    twice.
    """
    told: list[tuple[str, str | None]] = []

    def on_error(error: Exception, context: ErrorContext) -> None:
        told.append((str(error), context.run_id))

    backend = Forgetful()
    backend.forgotten = {"long"}
    config = SchedulerConfig(lease=timedelta(seconds=LEASE), on_error=on_error)
    scheduler = Scheduler(backend, config=config)
    done: Counter[str] = Counter()

    @scheduler.job
    async def work(seconds: float) -> None:
        await anyio.sleep(seconds)
        done[current_run().id] += 1

    async with scheduler.running():
        long = await work.options(run_id="long").enqueue(4 * LEASE)
        short = await work.options(run_id="short").enqueue(1)

        with anyio.fail_after(LEASE + 2):
            await short.result()

        await long.result()

    assert {"short": 2, "long": 1} == done
    ((message, run_id),) = told
    assert ("run 'short' is handed back", "short") == (message.partition(":")[0], run_id)


class Slow(MemoryBackend):
    """It takes long until a command with outcomes has arrived. Renewals are not slower than ever."""

    arrived: list[list[tuple[str, str]]]

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        if outcomes:
            await anyio.sleep(0.9 * LEASE)
            self.arrived.append([(outcome.run_id, outcome.kind) for outcome in outcomes])

        return await super().work(node_id, outcomes, claim)


async def test_a_run_whose_outcome_is_on_its_way_is_not_handed_back() -> None:
    """Carried out here it is no more, and the store goes on naming it: its outcome is in the line, then in flight.

    Break: without a look at what is on its way, the run that ended while the first outcome was in flight is handed
    back, and the store is said to have forgotten how it ended.
    """
    told: list[str] = []
    backend = Slow()
    backend.arrived = []
    config = SchedulerConfig(lease=timedelta(seconds=LEASE), on_error=lambda error, context: told.append(str(error)))
    scheduler = Scheduler(backend, config=config)

    @scheduler.job
    async def work(seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    async with scheduler.running():
        first, second = await scheduler.enqueue(
            work.options(run_id="first").bind(1), work.options(run_id="second").bind(2)
        )
        assert [1, 2] == [await first.result(), await second.result()]

    assert [[("first", "succeeded")], [("second", "succeeded")]] == backend.arrived
    assert [] == told


def test_what_an_answer_may_still_bring_is_not_handed_back() -> None:
    """A run that was claimed by a command in flight is named by a renewal before its answer is there.

    Break: without counting commands it is handed back at the second renewal, and then carried out here all the same.
    """
    known: set[Held] = set()
    handed_back: list[str] = []
    answered, sent = 3, 4
    disowning = Disowning(
        is_known=known.__contains__,
        answered=lambda: answered,
        sent=lambda: sent,
        hand_back=lambda outcome: handed_back.append(outcome.run_id),
    )

    for _ in "123":
        disowning.compare([("a", 1), ("b", 2)])

    assert [] == handed_back
    answered = 4
    known.add(("a", 1))
    disowning.compare([("a", 1), ("b", 2)])
    assert ["b"] == handed_back


def test_what_is_no_longer_named_is_doubted_anew() -> None:
    """Of two renewals in a row both have to name it."""
    handed_back: list[str] = []
    disowning = Disowning(
        is_known=lambda held: False,
        answered=lambda: 0,
        sent=lambda: 0,
        hand_back=lambda outcome: handed_back.append(outcome.run_id),
    )

    for held in ([("a", 1)], [], [("a", 1)], [("a", 2)]):
        disowning.compare(held)

    assert [] == handed_back
    disowning.compare([("a", 2)])
    assert ["a"] == handed_back
