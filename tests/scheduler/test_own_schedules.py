"""A schedule of one's own at work: declared and added, in memory and on Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

import anyio
import pytest
from attrs import frozen

from anysched import Blueprint, InvalidSchedule, Schedule, Scheduler, current_run
from anysched.backends import Backend
from anysched.clock import now
from anysched.entry import spec
from anysched.schedules import base

START = datetime(2026, 1, 1, tzinfo=UTC)


@frozen
class Fibonacci(Schedule):
    """So many milliseconds apart, times one, two, three, five, eight ... since an instant."""

    scheme = "test-fibonacci"
    since: datetime
    milliseconds: int

    def next_after(self, instant: datetime) -> datetime | None:
        before, steps = 1, 1

        while (slot := self.since + timedelta(milliseconds=steps * self.milliseconds)) <= instant:
            before, steps = steps, before + steps

        return slot

    def to_text(self) -> str:
        return f"{self.scheme}:{self.milliseconds}:{self.since.isoformat()}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        _, milliseconds, since = text.split(":", 2)
        return cls(datetime.fromisoformat(since), int(milliseconds))


@frozen
class Unstorable(Schedule):
    """Its text leads nowhere."""

    def next_after(self, instant: datetime) -> datetime | None:
        return instant + timedelta(seconds=10)

    def to_text(self) -> str:
        return "mine"


async def test_a_schedule_of_ones_own_fires() -> None:
    """Declared on a scheduler and a blueprint, and added as an object and as text."""
    scheduler = Scheduler()
    blueprint = Blueprint()
    rule = Fibonacci(START, 1000)
    begun: dict[str, list[float]] = {name: [] for name in ("declared", "part", "added", "text")}

    @scheduler.schedule(rule, id="declared", args=["declared"])
    @scheduler.job(name="note")
    async def note(name: str) -> None:
        scheduled_for = current_run().scheduled_for
        assert now() == scheduled_for
        begun[name].append((now() - START).total_seconds())

    @blueprint.schedule(rule, id="part")
    async def part() -> None:
        begun["part"].append((now() - START).total_seconds())

    scheduler.include(blueprint)

    async with scheduler.running():
        await scheduler.add(rule, note.bind("added"), id="added")
        entry = await scheduler.add(rule.to_text(), note.bind("text"), id="text")
        assert rule == entry.schedule
        await anyio.sleep(14)

    assert {name: [1, 2, 3, 5, 8, 13] for name in begun} == begun


async def test_a_schedule_of_ones_own_is_known_on_another_node(real_time: None, anysched_backend: Backend) -> None:
    """By its text: the program that fires it need not be the one that added it."""
    adding, firing = Scheduler(anysched_backend), Scheduler(anysched_backend)
    fired = anyio.Event()

    async def note() -> None:
        fired.set()

    firing.job(name="note")(note)
    job = adding.job(name="note")(note)
    rule = Fibonacci(START, 1)

    async with adding:
        entry = await adding.add(rule, job.bind(), id="own")
        assert (rule, "active") == (entry.schedule, entry.status)
        await adding.add(Fibonacci(now(), 50), job.bind(), id="soon")

        async with firing.running():
            with anyio.fail_after(10):
                await fired.wait()

        assert ["own", "soon"] == [entry.id for entry in await adding.entries()]


async def test_an_entry_that_cannot_be_read_here_is_named(
    real_time: None, anysched_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its id, and with the class that is to be imported; the others are listed."""
    scheduler = Scheduler(anysched_backend)

    @scheduler.job
    async def note() -> None: ...

    async with scheduler:
        await scheduler.add(Fibonacci(START, 1000), note.bind(), id="own")
        await scheduler.add("@daily", note.bind(), id="daily")
        assert {} == await scheduler.unreadable_entries()

        # As in a program that never knew the class.
        monkeypatch.delitem(base._classes, "test-fibonacci")
        spec._read_spec.cache_clear()
        assert ["daily"] == [entry.id for entry in await scheduler.entries()]
        unreadable = await scheduler.unreadable_entries()

        assert ["own"] == list(unreadable)
        assert "the class with the scheme 'test-fibonacci' is imported" in unreadable["own"]


async def test_nothing_is_stored_of_a_schedule_that_cannot_be(real_time: None, anysched_backend: Backend) -> None:
    """Added: refused, and an entry of that id stays as it is.

    Break: the entry is there, and corrupt.
    """
    scheduler = Scheduler(anysched_backend)

    @scheduler.job
    async def note() -> None: ...

    async with scheduler:
        before = await scheduler.add("@daily", note.bind(), id="daily")

        for entry_id in ("own", "daily"):
            with pytest.raises(InvalidSchedule, match="leads back to an equal schedule"):
                await scheduler.add(Unstorable(), note.bind(), id=entry_id, replace=True)

        assert [before] == await scheduler.entries()
