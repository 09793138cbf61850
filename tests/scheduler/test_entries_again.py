"""Entries that are stored again: unchanged at each start of a program, or with another rule."""

from __future__ import annotations

import anyio
import pytest

from anysched import Once, Scheduler, SchedulerConfig, current_run
from anysched.testing import sleep_until_instant

from .noting import Recorder, at, noting


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "added"])
async def test_an_entry_that_is_added_again_unchanged_keeps_its_place(declared: bool) -> None:
    """A program that is up 50 minutes of each hour and down over the full one loses no fire, however it says it.

    Break: each start computes the next time anew, so what was due while nobody ran is neither run nor counted, and a
    period begins again.
    """
    backend = Scheduler().backend
    fired: list[str] = []

    async def live(seconds: float) -> None:
        scheduler = Scheduler(backend)

        @scheduler.job(name="note")
        async def note(name: str) -> None:
            scheduled_for = current_run().scheduled_for
            assert scheduled_for is not None
            fired.append(f"{name} {scheduled_for:%H:%M}")

        if declared:
            scheduler.every("1h", id="every", args=["every"])(note)
            scheduler.cron("0 * * * *", id="cron", args=["cron"])(note)

        async with scheduler:
            if not declared:
                await scheduler.add("@every 1h", note.bind("every"), id="every", replace=True)
                await scheduler.add("0 * * * *", note.bind("cron"), id="cron", replace=True)

            async with scheduler.running():
                await anyio.sleep(seconds)

    for _ in "1234":
        await live(50 * 60)
        await anyio.sleep(30 * 60)

    assert ["01:00", "02:00", "03:00", "04:00"] == [one.split()[1] for one in fired if one.startswith("every")]
    assert [one.replace("every", "cron") for one in fired if "every" in one] == [one for one in fired if "cron" in one]

    async with (observer := Scheduler(backend)):
        assert [(4, 0), (4, 0)] == [(entry.run_count, entry.missed_count) for entry in await observer.entries()]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "added"])
async def test_what_a_changed_entry_had_due_is_counted_as_missed(declared: bool) -> None:
    """Each fire of it, and observers are told; the new rule runs at its own times, and what was added stays itself."""
    backend = Scheduler().backend
    begun: list[float] = []
    recorder = Recorder()

    async def live(expression: str, seconds: float) -> None:
        scheduler = Scheduler(backend, observers=[recorder])
        job = scheduler.job(name="note")(noting(begun))

        if declared:
            scheduler.cron(expression, id="e")(job)

        async with scheduler:
            if not declared:
                await scheduler.add(expression, job.bind(), id="e", replace=True)

            async with scheduler.running():
                await anyio.sleep(seconds)

    await live("*/10 * * * *", 650)
    await sleep_until_instant(at(3650))
    await live("0 0 * * *", 86_400)

    assert [600, 86_400] == begun
    assert [("e", 5)] == recorder.missed

    async with (observer := Scheduler(backend)):
        entry = await observer.get_entry("e")

    assert (2, 5, at(2 * 86_400)) == (entry.run_count, entry.missed_count, entry.next_run_at)


async def test_a_declaration_leaves_alone_what_is_due_of_an_added_entry() -> None:
    """The id is taken: nothing of that entry is given up."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))
    scheduler.cron("0 * * * *", id="e")(job)

    async with scheduler:
        await scheduler.add("* * * * *", job.bind(), id="e")
        await sleep_until_instant(at(630))

        async with scheduler.running():
            await anyio.sleep(1)
            entry = await scheduler.get_entry("e")

    assert ([630], 1, 9) == (begun, entry.run_count, entry.missed_count)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "added"])
@pytest.mark.parametrize(
    ("late", "grace", "expected"),
    [(0, None, ([100], 1, 0)), (60, None, ([], 0, 1)), (60, "2m", ([100], 1, 0)), (60, "30s", ([], 0, 1))],
)
async def test_a_single_instant_that_has_passed_is_run_at_once_or_counted(
    declared: bool, late: float, grace: str | None, expected: tuple[list[float], int, int]
) -> None:
    """Never neither; once, however often the program starts; and observers are told of what was missed."""
    backend, recorder = Scheduler().backend, Recorder()
    begun: list[float] = []
    await anyio.sleep(100)

    for _ in "12":
        scheduler = Scheduler(backend, observers=[recorder])
        job = scheduler.job(name="note")(noting(begun))

        if declared:
            scheduler.once(at(100 - late), id="e", misfire_grace=grace)(job)

        async with scheduler:
            if not declared:
                rule = Once(at(100 - late))
                await scheduler.add(rule, job.bind(), id="e", misfire_grace=grace, replace=True)

            async with scheduler.running():
                await anyio.sleep(10)
                entry = await scheduler.get_entry("e")

    assert expected == (begun, entry.run_count, entry.missed_count)
    assert "finished" == entry.status
    assert [("e", 1)] * expected[2] == recorder.missed


async def test_an_entry_that_has_made_its_runs_is_finished_whatever_replaces_it() -> None:
    """With the same limit, or a lower one, also if it was paused meanwhile; a higher one goes on.

    Break: it says that it is active, and never fires.
    """
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))

    async def put(rule: str, limit: int) -> tuple[str, int]:
        entry = await scheduler.add(rule, job.bind(), id="e", limit=limit, replace=True)
        return entry.status, entry.run_count

    async with scheduler.running():
        await put("@every 10s", 2)
        await anyio.sleep(30)
        assert ("finished", 2) == await put("@every 10s", 2)
        assert ("finished", 2) == await put("@every 5s", 2)
        assert ("finished", 2) == await put("@every 5s", 1)
        assert ("active", 2) == await put("@every 10s", 3)
        await scheduler.pause("e")
        assert ("paused", 2) == await put("@every 10s", 2)
        await scheduler.resume("e")
        assert "finished" == (await scheduler.get_entry("e")).status
        assert ("active", 2) == await put("@every 10s", 3)
        await anyio.sleep(30)

    assert [10, 20, 40] == begun


async def test_a_program_may_declare_as_many_entries_as_it_likes() -> None:
    """All of them are its own, and fire.

    Break: declared in several steps, only those of the last one are taken for declared, and the others are retired.
    """
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))

    for number in range(1_100):
        scheduler.every("1h", id=f"e{number}")(job)

    async with scheduler.running():
        await anyio.sleep(3700)
        assert 1_100 == (await scheduler.totals()).active_entries

    assert 1_100 == len(begun)
