"""Ticking: what is decided about due entries, when it looks again, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time
from anyio.lowlevel import checkpoint
from attrs import define, field

from anysched.backends.memory import MemoryBackend
from anysched.backends.records import DueEntry, EntryWrite, Fire, TickReply
from anysched.clock import now_ms, to_ms
from anysched.config import ErrorContext
from anysched.entry import EntryPolicy, EntrySpec
from anysched.events import EntryFired, Event, FireSkipped, FiresMissed
from anysched.identifiers import fire_run_id
from anysched.runtime.persisting import Outage
from anysched.runtime.telling import Teller
from anysched.runtime.ticking import Ticking
from anysched.schedules import Cron, Every, Schedule

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@define(eq=False)
class Told:
    events: list[Event] = field(factory=list[Event])
    errors: list[tuple[Exception, ErrorContext]] = field(factory=list[tuple[Exception, ErrorContext]])

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_error(self, error: Exception, context: ErrorContext) -> None:
        self.errors.append((error, context))

    def log(self, message: str, error: BaseException) -> None:
        raise AssertionError(message) from error


def ticking_on(backend: Any, told: Told | None = None) -> Ticking:
    told = told or Told()
    return Ticking(
        backend=backend,
        teller=Teller(log=told.log, observers=(told,), on_error=told.on_error),
        outage=Outage(on_lost=lambda error: None, on_found=lambda: None),
        tick_interval=5.0,
        node_id=lambda: "n1",
    )


def spec_of(schedule: Schedule, **policy: Any) -> EntrySpec:
    return EntrySpec(schedule=schedule, job="greet", payload='{"name":"Ada"}', policy=EntryPolicy(**policy))


def due(schedule: Schedule, cursor: datetime, **policy: Any) -> DueEntry:
    spec = spec_of(schedule, **policy)
    return DueEntry(id="e", spec=spec.to_text(), revision="1", cursor_ms=to_ms(cursor))


def decided(entry: DueEntry, now: datetime, *, leads: bool = True) -> list[Fire]:
    ticking = ticking_on(MemoryBackend())
    ticking.leads = leads
    return ticking.decide(TickReply(now_ms=to_ms(now), due=(entry,)))


def test_a_due_entry_becomes_a_fire_with_the_next_time() -> None:
    """The run's id comes from the entry and the fire time, and carries the entry's payload."""
    (fire,) = decided(due(Cron("*/5 * * * *"), NOON), NOON)
    (run,) = fire.runs
    assert (to_ms(NOON), to_ms(NOON + timedelta(minutes=5)), "") == (fire.cursor_ms, fire.next_ms, fire.end)
    assert fire_run_id("e", to_ms(NOON)) == run.id
    assert ("greet", '{"name":"Ada"}', "e", to_ms(NOON)) == (run.job, run.payload, run.entry_id, run.scheduled_for_ms)


def test_every_node_decides_the_same() -> None:
    """The decision is a function of what is stored and of the backend's time: leader, follower and a third agree."""
    entry = due(Cron("*/5 * * * *"), NOON, jitter="30s")
    later = NOON + timedelta(seconds=40)
    assert decided(entry, later) == decided(entry, later, leads=False) == decided(entry, later)


@pytest.mark.parametrize(("late_ms", "fires"), [(0, 0), (999, 0), (1000, 1), (5000, 1)])
def test_a_follower_leaves_a_second_to_the_leader(late_ms: int, fires: int) -> None:
    """What is due for less than a second is the leader's.

    Break: a follower that fires at once doubles the work; one that never fires makes a dead leader cost its lease.
    """
    now = NOON + timedelta(milliseconds=late_ms)
    assert fires == len(decided(due(Cron("*/5 * * * *"), NOON), now, leads=False))


def test_what_was_missed_is_dealt_with_by_the_rule() -> None:
    """An hour late: one run for the latest, all of them, or none; what is dropped is counted."""
    late = NOON + timedelta(hours=1, minutes=1)
    schedule = Cron("*/10 * * * *")
    answers = {rule: decided(due(schedule, NOON, misfire=rule), late)[0] for rule in ("latest", "all", "skip")}
    assert {"latest": (1, 6), "all": (7, 0), "skip": (0, 7)} == {
        rule: (len(fire.runs), fire.missed) for rule, fire in answers.items()
    }


def test_an_entry_that_cannot_be_read_is_reported_once_and_harms_no_other() -> None:
    """The others fire; it is told of once for each revision."""
    told = Told()
    ticking = ticking_on(MemoryBackend(), told)
    ticking.leads = True
    bad = DueEntry(id="bad", spec="{nonsense", revision="1", cursor_ms=to_ms(NOON))
    reply = TickReply(now_ms=to_ms(NOON), due=(bad, due(Cron("*/5 * * * *"), NOON)))
    assert [["e"], ["e"]] == [[fire.entry_id for fire in ticking.decide(reply)] for _ in range(2)]
    ((_, context),) = told.errors
    assert ("tick", "bad", "n1") == (context.kind, context.entry_id, context.node)


@pytest.mark.parametrize("count", [255, 256, 257, 2_000])
async def test_entries_that_cannot_be_read_stand_in_nobody_s_way(count: int) -> None:
    """However many: what comes after them fires on its instant; each is told of once, and is as it was.

    Break: no more than so many are ever asked for, and those are always the same.
    """
    backend, told = MemoryBackend(), Told()
    ticking = ticking_on(backend, told)
    ticking.leads = True
    start = now_ms()

    for number in range(count):
        write = EntryWrite(id=f"bad-{number}", spec="{nonsense", revision="1", next_ms=start)
        await backend.put_entry(write, replace=False, nonce=f"{number}")

    spec = spec_of(Every("2s"), overlap="allow").anchored(datetime.fromtimestamp(start / 1000, UTC))
    write = EntryWrite(id="good", spec=spec.to_text(), revision="1", next_ms=start + 2000)
    await backend.put_entry(write, replace=False, nonce="p")

    async with create_task_group() as group:
        await group.start(ticking.run)
        await anyio.sleep(20.5)
        group.cancel_scope.cancel()

    assert [start + 2000 * n for n in range(1, 11)] == [to_ms(event.at) for event in told.events]
    assert count == len(told.errors) == len({context.entry_id for _, context in told.errors})
    assert count == len((await backend.tick("look", (), count=3_000)).due)
    # At each instant it goes through them twice at most: to find what is due, and to see that no more is.
    assert ticking.ticks <= 2 * (count // 256 + 2) * 16


async def test_an_entry_that_comes_before_those_that_are_skipped_is_noticed() -> None:
    """It is asked for while the others are gone through: they are gone through again, from the first."""
    backend, told = MemoryBackend(), Told()
    ticking = ticking_on(backend, told)
    ticking.leads = True
    start = now_ms()

    for number in range(1_000):
        write = EntryWrite(id=f"bad-{number}", spec="{nonsense", revision="1", next_ms=start)
        await backend.put_entry(write, replace=False, nonce=f"{number}")

    async with create_task_group() as group:
        group.start_soon(ticking.run)

        while ticking.ticks < 2:  # in the midst of them
            await checkpoint()

        write = EntryWrite(id="e", spec=spec_of(Cron("0 0 1 7 *")).to_text(), revision="1", next_ms=start - 1)
        await backend.put_entry(write, replace=False, nonce="p")
        ticking.stir()
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()

    assert 1 == len(told.events)


def test_no_more_is_told_of_than_can_be_known_again() -> None:
    """Of more entries than that nothing is said: neither once more, nor for the first time."""
    told = Told()
    ticking = ticking_on(MemoryBackend(), told)
    ticking.leads = True
    bad = [DueEntry(id=f"{n}", spec="{nonsense", revision="1", cursor_ms=to_ms(NOON)) for n in range(10_100)]

    for _ in range(2):
        assert [] == ticking.decide(TickReply(now_ms=to_ms(NOON), due=tuple(bad)))

    assert 10_000 == len(told.errors)


async def test_it_sleeps_to_the_next_instant_and_fires_exactly_then() -> None:
    """No polling in between: one look at each due time, and each fire on its very instant.

    Break: sleeping for `tick_interval` alone is late by up to five seconds.
    """
    backend, told = MemoryBackend(), Told()
    ticking = ticking_on(backend, told)
    ticking.leads = True
    start = now_ms()
    spec = spec_of(Every("2s")).anchored(datetime.fromtimestamp(start / 1000, UTC))
    write = EntryWrite(id="e", spec=spec.to_text(), revision="1", next_ms=start + 2000)
    await backend.put_entry(write, replace=False, nonce="p")

    async with create_task_group() as group:
        await group.start(ticking.run)
        await anyio.sleep(20.5)
        group.cancel_scope.cancel()

    # The first run stays live, since nobody works: the others are skipped, and told to be.
    kinds = [type(event).__name__ for event in told.events]
    assert ["EntryFired"] + ["FireSkipped"] * 9 == kinds
    assert [start + 2000 * n for n in range(1, 11)] == [to_ms(event.at) for event in told.events]
    assert 1 == ticking.fired
    assert ticking.ticks <= 22


async def test_an_entry_that_comes_earlier_is_noticed() -> None:
    """`stir` wakes it; without a hint it looks after `tick_interval`."""
    for stirred, expected in ((True, 0.0), (False, 5.0)):
        backend, told = MemoryBackend(), Told()
        ticking = ticking_on(backend, told)
        ticking.leads = True

        async with create_task_group() as group:
            await group.start(ticking.run)
            await anyio.sleep(1e-3)
            began = current_time()
            write = EntryWrite(id="e", spec=spec_of(Cron("* * * * *")).to_text(), revision="1", next_ms=now_ms())
            await backend.put_entry(write, replace=False, nonce="p")

            if stirred:
                ticking.stir()

            while not told.events:  # noqa: ASYNC110 - virtual time, in which looking costs nothing
                await anyio.sleep(1e-3)

            assert expected == pytest.approx(current_time() - began, abs=2e-3)
            group.cancel_scope.cancel()


async def test_two_that_lead_fire_once() -> None:
    """Two tickers that both believe to lead, for a minute of seconds: every fire makes one run.

    Two guards hold here: the comparison of the cursor, and the run's id, which is made from the fire. Break both, and
    each fire is made twice; for the first alone see the next test.
    """
    backend = MemoryBackend()
    told = [Told(), Told()]
    start = now_ms()
    spec = spec_of(Every("1s"), overlap="allow").anchored(datetime.fromtimestamp(start / 1000, UTC))
    write = EntryWrite(id="e", spec=spec.to_text(), revision="1", next_ms=start + 1000)
    await backend.put_entry(write, replace=False, nonce="p")

    async with create_task_group() as group:
        for one in told:
            ticking = ticking_on(backend, one)
            ticking.leads = True
            await group.start(ticking.run)

        await anyio.sleep(60.5)
        group.cancel_scope.cancel()

    fired = [event.scheduled_for for one in told for event in one.events if isinstance(event, EntryFired)]
    assert 60 == len(fired) == len(set(fired)) == (await backend.totals()).ready


async def test_two_that_lead_count_what_was_missed_once() -> None:
    """Both look at the same moment and decide the same: one of them is first, and the other changes nothing.

    Break: without the comparison of the cursor the fires that were given up are counted twice.
    """
    backend = MemoryBackend()
    start = now_ms()
    spec = spec_of(Cron("* * * * *"), misfire="skip")
    await backend.put_entry(
        EntryWrite(id="e", spec=spec.to_text(), revision="1", next_ms=start), replace=False, nonce="p"
    )
    await anyio.sleep(630)

    async with create_task_group() as group:
        for _ in range(2):
            ticking = ticking_on(backend)
            ticking.leads = True
            group.start_soon(ticking.run)

        await anyio.sleep(1)
        group.cancel_scope.cancel()

    (entry,) = (await backend.list_entries()).entries
    assert (11, start + 660_000) == (entry.missed_count, entry.next_ms)


async def test_missed_and_skipped_fires_are_told() -> None:
    """Observers learn how many fires were given up, and how many were skipped."""
    backend, told = MemoryBackend(), Told()
    ticking = ticking_on(backend, told)
    ticking.leads = True
    start = now_ms()
    spec = spec_of(Cron("* * * * *"), misfire="latest")
    await backend.put_entry(
        EntryWrite(id="e", spec=spec.to_text(), revision="1", next_ms=start), replace=False, nonce="p"
    )
    await anyio.sleep(630)

    async with create_task_group() as group:
        await group.start(ticking.run)
        await anyio.sleep(40)
        group.cancel_scope.cancel()

    assert [("EntryFired", 1), ("FiresMissed", 10), ("FireSkipped", 1)] == [
        (type(event).__name__, event.count if isinstance(event, FiresMissed | FireSkipped) else 1)
        for event in told.events
    ]
