"""Entries: declared and added, fired on time, paused, resumed, triggered, removed, counted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from anysched import (
    Blueprint,
    Cron,
    EntryExists,
    EntryNotFound,
    Every,
    InvalidOption,
    InvalidSchedule,
    Once,
    PayloadTooLarge,
    RetryPolicy,
    RunNotFound,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.clock import now
from anysched.testing import sleep_until_instant

from .noting import START, at, noting, since_start


async def test_declared_entries_fire_exactly_on_time() -> None:
    """Every, cron and once, from the moment of the start on; with arguments; and each run knows where it comes from."""
    scheduler = Scheduler()
    seen: list[tuple[str, float]] = []

    @scheduler.every("20s", args=["every"], id="e")
    @scheduler.cron("* * * * *", kwargs={"name": "cron"}, id="c")
    @scheduler.once(at(45), args=["once"], id="o")
    @scheduler.job
    async def note(name: str) -> None:
        run = current_run()
        assert (name[0], now()) == (run.entry_id, run.scheduled_for)
        seen.append((name, since_start()))

    async with scheduler.running():
        await sleep_until_instant(at(120.5))
        entries = {entry.id: entry for entry in await scheduler.entries()}

    expected = [("every", float(second)) for second in range(20, 121, 20)] + [("cron", 60), ("cron", 120), ("once", 45)]
    assert sorted(expected) == sorted(seen)
    assert {"e": (6, at(140), at(120)), "c": (2, at(180), at(120)), "o": (1, None, at(45))} == {
        name: (entry.run_count, entry.next_run_at, entry.last_run_at) for name, entry in entries.items()
    }
    assert ["active", "active", "finished"] == [entries[name].status for name in "eco"]
    assert [True] * 3 == [entry.declared for entry in entries.values()]
    assert {"name": "every"} == entries["e"].args


async def test_an_entry_added_at_run_time_fires_from_then_on() -> None:
    """On any node, with the scheduler's time zone where none is named, and with an id that is made for you."""
    worker = Scheduler()
    client = Scheduler(worker.backend, config=SchedulerConfig(timezone="Europe/Berlin"))
    begun: list[float] = []
    job = client.job(name="note")(noting(begun))
    worker.job(name="note")(noting(begun))

    async with worker.running(), client:
        await anyio.sleep(3.7)
        entry = await client.add("@every 30s", job.bind())
        assert entry == await client.get_entry(entry.id)
        assert at(33.7) == entry.next_run_at
        daily = await client.add("0 8 * * *", job.bind(), id="daily")
        assert at(7 * 3600) == daily.next_run_at
        utc = await client.add(Cron("0 8 * * *"), job.bind(), id="utc")
        assert at(8 * 3600) == utc.next_run_at
        await anyio.sleep(100)

    assert [33.7, 63.7, 93.7] == begun


async def test_a_paused_entry_does_not_fire_and_resuming_does_not_catch_up() -> None:
    """Paused on one node, it holds on all, over a restart, with its note; then it goes on with its next time.

    Break: resuming from the old cursor fires for what the pause skipped.
    """
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))
    scheduler.every("10s", id="e", anchor=START)(job)

    async with scheduler.running():
        await anyio.sleep(15)
        await scheduler.pause("e", note="provider down")
        entry = await scheduler.get_entry("e")
        assert ("paused", "provider down", None) == (entry.status, entry.note, entry.next_run_at)
        await anyio.sleep(50)

    async with scheduler.running():
        await anyio.sleep(10)
        assert [10] == begun
        await scheduler.resume("e")
        assert at(80) == (await scheduler.get_entry("e")).next_run_at
        await scheduler.resume("e")
        await anyio.sleep(20)
        entry = await scheduler.get_entry("e")

    assert [10, 80, 90] == begun
    assert ("active", "", 0) == (entry.status, entry.note, entry.missed_count)


async def test_triggering_makes_one_run_now_and_leaves_the_schedule_alone() -> None:
    """Also of a paused and of a finished entry; `None` where the overlap policy skips it."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, seconds=5))

    async with scheduler.running():
        await scheduler.add(Cron("0 * * * *"), job.bind(), id="e")
        await anyio.sleep(7)
        run = await scheduler.trigger("e")
        assert run is not None
        assert await scheduler.trigger("e") is None
        queued = await scheduler.trigger("e", overlap="queue_all")
        assert queued is not None
        assert "waiting" == await queued.status()
        await queued.result()
        entry = await scheduler.get_entry("e")
        assert (at(3600), 0) == (entry.next_run_at, entry.run_count)
        await scheduler.pause("e")
        again = await scheduler.trigger("e")
        assert again is not None
        await again.result()
        assert "paused" == (await scheduler.get_entry("e")).status
        await scheduler.add(Once(at(25)), job.bind(), id="once")
        await anyio.sleep(20)
        assert "finished" == (await scheduler.get_entry("once")).status
        last = await scheduler.trigger("once")
        assert last is not None
        await last.result()

    assert [7, 12, 17, 25, 42] == begun


async def test_a_removed_entry_is_gone_and_its_live_run_goes_on() -> None:
    """It fires no more, its id is free, and what waited for the live run is cancelled."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, seconds=15))

    async with scheduler.running():
        await scheduler.add("@every 10s", job.bind(), id="e", overlap="queue_one")
        await anyio.sleep(22)
        await scheduler.remove("e")

        for question in (scheduler.remove, scheduler.get_entry, scheduler.pause, scheduler.resume, scheduler.trigger):
            with pytest.raises(EntryNotFound, match="'e'"):
                await question("e")

        await anyio.sleep(60)
        totals = await scheduler.totals()

    assert [10] == begun
    assert (1, 1, 0) == (totals.succeeded, totals.cancelled, totals.entries)


async def test_an_id_is_taken_once_unless_it_is_replaced() -> None:
    """`EntryExists`; replacing keeps the counts, and moves to the new rule."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))

    async with scheduler.running():
        await scheduler.add("@every 10s", job.bind(), id="e")
        await anyio.sleep(25)

        with pytest.raises(EntryExists, match="'e'"):
            await scheduler.add("@every 1m", job.bind(), id="e")

        entry = await scheduler.add("@every 1m", job.bind(), id="e", replace=True)
        assert (at(85), 2) == (entry.next_run_at, entry.run_count)
        await anyio.sleep(70)

    assert [10, 20, 85] == begun


async def test_the_longest_name_of_a_job_leaves_its_entries_to_be_found() -> None:
    """Whose ids, made of it, are longer than a name may be.

    Break: an entry is added and cannot be seen, paused or removed.
    """
    scheduler = Scheduler()

    @scheduler.job(name="j" * 200)
    async def work() -> None: ...

    async with scheduler:
        entry = await scheduler.add("@every 1h", work.bind())
        await scheduler.pause(entry.id)
        assert "paused" == (await scheduler.get_entry(entry.id)).status
        await scheduler.remove(entry.id)
        assert [] == await scheduler.entries()


async def test_what_cannot_be_added_is_refused_and_nothing_is_stored() -> None:
    """A bad rule, id, option or argument, and what makes sense for one run only."""
    scheduler = Scheduler(config=SchedulerConfig(max_payload=50))

    @scheduler.job
    async def note(name: str) -> None: ...

    async with scheduler:
        for error, schedule, bound, options in (
            (InvalidSchedule, "61 * * * *", note.bind("a"), {}),
            (InvalidSchedule, "@every soon", note.bind("a"), {}),
            (InvalidOption, "@daily", note.bind("a"), {"id": "a b"}),
            (InvalidOption, "@daily", note.bind("a"), {"overlap": "maybe"}),
            (InvalidOption, "@daily", note.options(delay="1s").bind("a"), {}),
            (InvalidOption, "@daily", note.options(key="k").bind("a"), {}),
            (InvalidOption, "@daily", note, {}),
            (PayloadTooLarge, "@daily", note.bind("x" * 60), {}),
            (PayloadTooLarge, "@daily", note.options(metadata={"note": "x" * 60}).bind("x"), {}),
        ):
            with pytest.raises(error):
                await scheduler.add(schedule, bound, **options)

        assert [] == await scheduler.entries()


@pytest.mark.parametrize(
    ("overlap", "begun_at", "skipped", "ended"),
    [
        ("skip", [10, 40, 70], 4, {"succeeded": 2}),
        ("queue_one", [10, 35, 60], 3, {"succeeded": 2}),
        ("queue_all", [10, 35, 60], 0, {"succeeded": 2}),
        ("cancel_previous", [10, 20, 30, 40, 50, 60, 70], 0, {"cancelled": 6}),
        ("allow", [10, 20, 30, 40, 50, 60, 70], 0, {"succeeded": 4}),
    ],
)
async def test_overlapping_fires_are_dealt_with_by_the_policy(
    overlap: Any, begun_at: list[float], skipped: int, ended: dict[str, int]
) -> None:
    """A run of 25 seconds each ten seconds, looked at after 74."""
    scheduler = Scheduler(config=SchedulerConfig(shutdown_timeout=0))
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, seconds=25))

    async with scheduler.running():
        await scheduler.add("@every 10s", job.bind(), id="e", overlap=overlap)
        await anyio.sleep(74)
        entry, totals = await scheduler.get_entry("e"), await scheduler.totals()

    assert begun_at == begun
    assert skipped == entry.overlap_skipped
    assert ended == {name: count for name in ("succeeded", "cancelled") if (count := getattr(totals, name))}


@pytest.mark.parametrize(
    ("misfire", "grace", "expected", "missed"),
    [
        ("latest", None, [600], 9),
        ("all", None, [60 * minute for minute in range(1, 11)], 0),
        ("skip", None, [], 10),
        ("all", "3m", [480, 540, 600], 7),
        ("latest", "10s", [], 10),
    ],
)
async def test_fires_that_were_missed_are_dealt_with_by_the_rule(
    misfire: Any, grace: str | None, expected: list[float], missed: int
) -> None:
    """Nobody ran for ten and a half minutes; then somebody does."""
    scheduler = Scheduler()
    seen: list[float] = []

    @scheduler.job
    async def note() -> None:
        scheduled_for = current_run().scheduled_for
        assert scheduled_for is not None
        seen.append((scheduled_for - START).total_seconds())

    async with scheduler:
        policy = {"misfire": misfire, "misfire_grace": grace, "overlap": "allow"}
        await scheduler.add(Cron("* * * * *"), note.bind(), id="e", **policy)
        await sleep_until_instant(at(630))

        async with scheduler.running():
            await anyio.sleep(29)
            entry = await scheduler.get_entry("e")

    assert expected == seen
    assert (missed, at(660)) == (entry.missed_count, entry.next_run_at)


@pytest.mark.parametrize(
    ("overlap", "begun_at", "counts"),
    [
        ("skip", [630], (1, 0, 9)),
        ("queue_one", [630, 633], (2, 0, 8)),
        ("queue_all", [630 + 3 * number for number in range(10)], (10, 0, 0)),
        ("allow", [630] * 10, (10, 0, 0)),
    ],
)
async def test_runs_for_all_that_was_missed_overlap(
    overlap: Any, begun_at: list[float], counts: tuple[int, int, int]
) -> None:
    """They are made at once, so the overlap policy decides about them: `skip`, the default, runs the first only."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun, seconds=3))

    async with scheduler:
        await scheduler.add("* * * * *", job.bind(), id="e", misfire="all", overlap=overlap)
        await sleep_until_instant(at(630))

        async with scheduler.running():
            await sleep_until_instant(at(659))
            entry = await scheduler.get_entry("e")

    assert begun_at == begun
    assert counts == (entry.run_count, entry.missed_count, entry.overlap_skipped)


async def test_a_fixed_delay_counts_from_the_end_of_the_run() -> None:
    """Ten seconds after each end, retries included."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    begun: list[float] = []

    @scheduler.every("10s", after_completion=True)
    @scheduler.job(retry=RetryPolicy(max_retries=1, initial="1s"))
    async def work() -> None:
        begun.append(since_start())
        await anyio.sleep(5)

        if len(begun) == 2:
            raise ValueError

    async with scheduler.running():
        await anyio.sleep(62)

    assert [10, 25, 31, 46, 61] == begun


async def test_jitter_is_the_same_on_every_node_and_never_past_the_next_fire() -> None:
    """Two stores that know nothing of each other: each fire is put off by the same, by less than a minute."""
    seen: list[list[float]] = [[], []]
    nodes = [Scheduler(), Scheduler()]

    for node, begun in zip(nodes, seen, strict=True):
        job = node.job(name="note")(noting(begun))
        node.cron("* * * * *", id="e", jitter="5m", end_at=at(3600))(job)

    async with nodes[0].running(), nodes[1].running():
        await anyio.sleep(3700)

    assert seen[0] == seen[1]
    assert list(range(1, 61)) == [int(second // 60) for second in seen[0]]
    assert 30 < len({second % 60 for second in seen[0]})


async def test_start_end_and_limit_bound_an_entry() -> None:
    """Nothing before, nothing after, and no more than so many; then it is finished and costs nothing."""
    scheduler = Scheduler()
    begun: list[float] = []
    job = scheduler.job(name="note")(noting(begun))

    async with scheduler.running():
        await scheduler.add("@every 10s", job.bind(), id="bounded", start_at=at(35), end_at=at(60))
        await anyio.sleep(100)
        assert [35, 45, 55] == begun
        begun.clear()
        await scheduler.add("@every 10s", job.bind(), id="limited", limit=3)
        await anyio.sleep(100)
        assert [110, 120, 130] == begun
        assert {"finished"} == {entry.status for entry in await scheduler.entries()}
        ticks = scheduler.statistics().ticks
        await anyio.sleep(1000)
        assert scheduler.statistics().ticks - ticks <= 201


async def test_a_restart_keeps_the_place_of_unchanged_entries_and_moves_changed_ones() -> None:
    """A period goes on where it was; a changed rule moves; what is declared no longer stops; run-time ones stay."""
    backend = Scheduler().backend
    begun: dict[str, list[float]] = {"same": [], "changed": [], "gone": [], "added": []}

    def version(number: int) -> Scheduler:
        scheduler = Scheduler(backend)
        jobs = {name: scheduler.job(name=name)(noting(times)) for name, times in begun.items()}
        scheduler.every("60s", id="same")(jobs["same"])
        scheduler.every("60s" if number == 1 else "25s", id="changed")(jobs["changed"])

        if number == 1:
            scheduler.every("60s", id="gone")(jobs["gone"])

        return scheduler

    first = version(1)

    async with first.running():
        await first.add("@every 60s", first.jobs["added"].bind(), id="added")
        await anyio.sleep(90)

    second = version(2)

    async with second.running():
        await anyio.sleep(70)
        gone = await second.get_entry("gone")

    assert [60, 120] == begun["same"] == begun["added"]
    assert [60, 115, 140] == begun["changed"]
    assert [60] == begun["gone"]
    assert ("finished", "no longer declared") == (gone.status, gone.note)


async def test_old_and_new_version_side_by_side_keep_what_either_declares() -> None:
    """During a rolling deploy what only one of them declares goes on firing."""
    backend = Scheduler().backend
    begun: list[float] = []
    old, new = Scheduler(backend), Scheduler(backend)

    for scheduler in (old, new):
        scheduler.job(name="note")(noting(begun))

    old.every("10s", id="old")(old.jobs["note"])

    async with new.running():
        async with old.running():
            await anyio.sleep(35)

        assert [10, 20, 30] == begun
        await anyio.sleep(60)
        entry = await new.get_entry("old")

    assert "finished" == entry.status
    assert max(begun) <= 50


async def test_a_blueprints_entries_are_the_schedulers() -> None:
    """Jobs and entries of a blueprint fire under its name."""
    scheduler = Scheduler()
    mail = Blueprint("mail")
    begun: list[float] = []
    mail.every("10s")(mail.job(name="mail.note")(noting(begun)))
    scheduler.include(mail)

    async with scheduler.running():
        await anyio.sleep(25)

    assert [10, 20] == begun


async def test_only_those_that_fire_fire_and_only_those_that_execute_execute() -> None:
    """`run(schedules=False)` only executes, `run(queues=[])` only fires entries."""
    executing = Scheduler()
    firing = Scheduler(executing.backend)
    begun: list[float] = []

    for scheduler in (executing, firing):
        scheduler.every("10s", id="e", anchor=START)(scheduler.job(name="note")(noting(begun)))

    async with executing.running(schedules=False):
        await anyio.sleep(30)
        assert [] == begun
        assert [] == await executing.entries()

        async with firing.running(queues=[]):
            await anyio.sleep(25)

    async with firing.running(queues=[]):
        await anyio.sleep(25)

    assert [40, 50] == begun


async def test_a_schedule_that_never_fires_is_finished_from_the_start() -> None:
    """The 30th of February: stored, seen, and never looked at again."""
    scheduler = Scheduler()
    job = scheduler.job(name="note")(noting([]))

    async with scheduler.running():
        entry = await scheduler.add(Cron("0 0 30 2 *"), job.bind(), id="never")
        assert ("finished", None) == (entry.status, entry.next_run_at)
        soon = await scheduler.add(Every("1s"), job.bind(), id="soon")
        assert at(1) == soon.next_run_at


@pytest.mark.parametrize(("of_job", "seconds"), [(None, 3 * 3600), ("2m", 120)])
async def test_a_fire_that_is_cancelled_before_it_runs_is_kept_like_any_run(of_job: str | None, seconds: int) -> None:
    """For the `result_ttl` of its job, else of the configuration; so is what was triggered.

    Break: for an hour, whatever was said.
    """
    scheduler = Scheduler(config=SchedulerConfig(result_ttl="3h"))
    scheduler.once(at(20), id="e")(scheduler.job(name="note", result_ttl=of_job)(lambda: None))

    async with scheduler.running(queues=[]):
        await sleep_until_instant(at(20.5))
        await scheduler.trigger("e", overlap="allow")
        ids = [info.id for info in await scheduler.runs()]

        for run_id in ids:
            await scheduler.cancel_run(run_id)

        await anyio.sleep(seconds - 1)
        assert ["cancelled"] * 2 == [await scheduler.run_status(run_id) for run_id in ids]
        await anyio.sleep(1)

        for run_id in ids:
            with pytest.raises(RunNotFound):
                await scheduler.run_status(run_id)
