"""No fire is lost without a word: by a pause, a deploy, a program that was away, a run that is live."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anysched import BackendUnavailable, EntryNotFound, Every, InvalidOption, MemoryBackend, Scheduler, SchedulerConfig
from anysched.backends import Renewed
from anysched.clock import now
from anysched.testing import sleep_until_instant

from .noting import START, Recorder, at, noting


async def test_what_a_pause_finds_due_is_counted_as_missed() -> None:
    """All of it, once; and observers are told.

    Break: it is neither made into a run nor counted.
    """
    recorder = Recorder()
    scheduler = Scheduler(observers=[recorder])
    job = scheduler.job(name="note")(noting([]))

    async with scheduler:
        await scheduler.add("* * * * *", job.bind(), id="e")
        await sleep_until_instant(at(310))
        await scheduler.pause("e")
        await scheduler.pause("e", note="again")
        await scheduler.resume("e")
        entry = await scheduler.get_entry("e")

    assert (at(360), 0, 5) == (entry.next_run_at, entry.run_count, entry.missed_count)
    assert [("e", 5)] == recorder.missed


async def test_a_fire_that_jitter_has_put_off_survives_a_pause() -> None:
    """Its slot has passed, its time has not come.

    Break: resuming goes on with the next slot, and today's fire is nowhere.
    """
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))

    async with scheduler.running():
        await scheduler.add("0 0 * * *", job.bind(), id="e", jitter="20h")
        await sleep_until_instant(at(86_460))
        fires_at = (await scheduler.get_entry("e")).next_run_at
        assert fires_at is not None
        assert now() < fires_at < at(2 * 86_400)
        await scheduler.pause("e")
        await scheduler.resume("e")
        assert fires_at == (await scheduler.get_entry("e")).next_run_at
        await sleep_until_instant(at(2 * 86_400))

    assert [(fires_at - START).total_seconds()] == begun


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "added"])
async def test_a_fire_that_jitter_has_put_off_is_counted_when_the_rule_changes(declared: bool) -> None:
    """Which is what becomes of all that the old rule had begun."""
    backend, recorder = MemoryBackend(), Recorder()

    async def live(priority: int) -> Scheduler:
        scheduler = Scheduler(backend, observers=[recorder])
        job = scheduler.job(name="note", priority=priority)(noting([]))

        if declared:
            scheduler.cron("0 0 * * *", id="e", jitter="20h")(job)

        async with scheduler:
            if not declared:
                await scheduler.add("0 0 * * *", job.bind(), id="e", jitter="20h", replace=True)

            async with scheduler.running():
                await anyio.sleep(1)

        return scheduler

    await live(1)
    await sleep_until_instant(at(86_460))

    async with (scheduler := await live(2)):
        entry = await scheduler.get_entry("e")

    assert (0, 1) == (entry.run_count, entry.missed_count)
    assert [("e", 1)] == recorder.missed


async def test_jitter_stays_before_the_end_of_an_entry() -> None:
    """There is no fire after `end_at`, and none is shown."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, 3600))

    async with scheduler.running():
        for index in range(20):
            await scheduler.add("0 * * * *", job.bind(), id=f"e{index}", jitter="50m", end_at=at(3660))

        await scheduler.add(Every("10m", after_completion=True), job.bind(), id="delay", end_at=at(1800))
        assert at(3600) <= max(entry.next_run_at or at(9999) for entry in await scheduler.entries()) <= at(3660)
        await anyio.sleep(4300)
        delayed = await scheduler.get_entry("delay")

    assert 600 == begun[0]
    assert 20 == sum(3600 <= second <= 3660 for second in begun[1:])
    assert ("finished", None) == (delayed.status, delayed.next_run_at)


async def test_an_entry_stops_when_the_last_node_that_declares_it_has_stopped() -> None:
    """At once: a new version may not know its job.

    Break: it fires on for as long as a lease, and leaves a run that nobody can carry out.
    """
    backend = MemoryBackend()
    begun: list[float] = []
    old, new = Scheduler(backend), Scheduler(backend)
    old.every("1s", id="old")(old.job(name="old")(noting(begun)))
    new.job(name="other")(noting([]))

    async with old.running():
        await anyio.sleep(3.5)

    async with new.running():
        await anyio.sleep(60)
        entry = await new.get_entry("old")
        assert ("finished", "no longer declared", []) == (entry.status, entry.note, await new.runs(status="ready"))

    assert [1, 2, 3] == begun


class Mute(MemoryBackend):
    """Does not answer renewals for a while, as if it, or the node, had stood still."""

    is_mute = False

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        if self.is_mute:
            raise BackendUnavailable("it does not answer")

        return await super().renew(node_id, ttl_ms)


async def test_the_entries_of_a_node_that_stood_still_for_longer_than_its_lease_go_on() -> None:
    """Whatever it does first when it goes on: fire, and so retire what it declares itself, or renew.

    Break: nobody took its lease, so it is renewed, and what was retired is never declared again.
    """
    backend = Mute()
    begun: list[float] = []
    scheduler = Scheduler(backend)
    scheduler.every("30s", id="e")(scheduler.job(name="note")(noting(begun)))

    async with scheduler.running():
        await sleep_until_instant(at(40))
        backend.is_mute = True
        await sleep_until_instant(at(61))
        retired = await scheduler.get_entry("e")
        backend.is_mute = False
        await sleep_until_instant(at(100))
        entry = await scheduler.get_entry("e")

    assert "no longer declared" == retired.note
    assert ("active", 3) == (entry.status, entry.run_count)
    assert [30, 90] == [begun[0], begun[-1]]
    assert 60 < begun[1] < 70


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [("latest", [125, 150]), ("all", [125, 125, 125, 150]), ("skip", [150])],
)
async def test_a_program_that_was_away_while_another_ran_is_as_late_as_if_all_were_down(
    misfire: Any, expected: list[float]
) -> None:
    """Its entries keep their place in time; the misfire rule decides about what came due.

    Break: the other program retires them, and what was due is neither run nor counted.
    """
    backend = MemoryBackend()
    begun: list[float] = []
    other = Scheduler(backend)
    other.job(name="other")(noting([]))

    def program() -> Scheduler:
        scheduler = Scheduler(backend)
        job = scheduler.job(name="note")(noting(begun))
        scheduler.cron("*/30 * * * * *", id="e", misfire=misfire, overlap="allow")(job)
        return scheduler

    async with other.running():
        async with program().running():
            await anyio.sleep(40)

        await sleep_until_instant(at(125))
        assert "finished" == (await other.get_entry("e")).status

        async with program().running():
            await sleep_until_instant(at(155))
            entry = await other.get_entry("e")

    assert [30, *expected] == begun
    assert ("active", 5) == (entry.status, entry.run_count + entry.missed_count)


async def test_what_a_retired_entry_had_due_counts_when_it_comes_back_with_another_rule() -> None:
    """The new rule begins anew; also if somebody paused it while it was retired, which changes nothing."""
    backend = MemoryBackend()
    begun: list[float] = []
    other = Scheduler(backend)
    other.job(name="other")(noting([]))

    async def live(period: str, seconds: float) -> None:
        scheduler = Scheduler(backend)
        scheduler.every(period, id="e")(scheduler.job(name="note")(noting(begun)))

        async with scheduler.running():
            await anyio.sleep(seconds)

    async with other.running():
        await live("60s", 30)
        await anyio.sleep(60)
        await other.pause("e", note="not now")
        await live("20s", 30)
        entry = await other.get_entry("e")

    assert [110] == begun
    assert (1, 1, "") == (entry.run_count, entry.missed_count, entry.note)


@pytest.mark.parametrize("way", ["pause", "trigger"])
async def test_a_fixed_delay_that_meets_a_live_run_counts_from_its_end(way: str) -> None:
    """It skips once, not every ten seconds.

    Break: the next run follows the end of the live one by whatever is left of a period.
    """
    scheduler = Scheduler(config=SchedulerConfig(shutdown_timeout=0))
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, 60))

    async with scheduler.running():
        await scheduler.add(Every("10s", after_completion=True), job.bind(), id="e")

        if way == "pause":
            await anyio.sleep(15)
            await scheduler.pause("e")
            await scheduler.resume("e")
        else:
            await anyio.sleep(1)
            await scheduler.trigger("e")

        await anyio.sleep(100)
        entry = await scheduler.get_entry("e")

    first = 10 if way == "pause" else 1
    assert [first, first + 70] == begun
    assert 1 == entry.overlap_skipped


async def test_notes_and_ids_that_cannot_be_stored_are_refused_alike(anysched_backend: Any) -> None:
    """By what a user asked for, not from inside of a backend."""
    async with (scheduler := Scheduler(anysched_backend)):
        job = scheduler.job(name="note")(noting([]))
        await scheduler.add("* * * * *", job.bind(), id="e")

        for note in (None, 5, "\ud800", "x" * 1001):
            with pytest.raises(InvalidOption, match="invalid note"):
                await scheduler.pause("e", note=note)  # type: ignore[arg-type] - that is refused

        for entry_id in (None, 5, "", "\ud800", "x" * 300):
            for ask in (scheduler.pause, scheduler.resume, scheduler.trigger, scheduler.remove, scheduler.get_entry):
                with pytest.raises(EntryNotFound):
                    await ask(entry_id)  # type: ignore[arg-type] - likewise

        await scheduler.pause("e", note="x" * 1000)
        assert "x" * 1000 == (await scheduler.get_entry("e")).note
