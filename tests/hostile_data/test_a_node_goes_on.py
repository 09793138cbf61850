"""A node meets records that cannot be read: it says which, leaves them, and goes on with everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from attrs import Factory, define

from anysched import Every, RetryPolicy, Scheduler, SchedulerConfig
from anysched.backends import Backend, EntryRecord, EntryWrite, NewRun, RunRecord
from anysched.backends.redis import RedisBackend
from anysched.config import ErrorContext
from anysched.errors import CannotDecode, RecordCorrupt
from anysched.events import Event, RecordSetAside
from anysched.testing.resp import Address, RespConnection

PATIENCE = 10
JUNK = b"\xff\x00\xfe"

BROKEN_TEXTS = ("\x00", "{", "[1,", '{"v":', "\ud7ff" * 9, "null", "[[[[" * 2000, '{"v":99}', "{}" * 3, "9" * 5000)


@define(eq=False)
class Witness:
    """Everything that a node tells."""

    errors: list[tuple[Exception, ErrorContext]] = Factory(list[tuple[Exception, ErrorContext]])
    events: list[Event] = Factory(list[Event])
    done: list[int] = Factory(list[int])

    def on_error(self, error: Exception, context: ErrorContext) -> None:
        self.errors.append((error, context))

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, name: str) -> list[Exception]:
        """What was said of a run or an entry."""
        return [error for error, context in self.errors if name in {context.run_id, context.entry_id}]

    @property
    def set_aside(self) -> set[str]:
        return {event.record for event in self.events if isinstance(event, RecordSetAside)}


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something, but not for ever."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 (what is waited for sets no event)
            await anyio.sleep(0.01)


@pytest.fixture
def witness() -> Witness:
    return Witness()


def scheduler_on(backend: Backend, witness: Witness) -> Scheduler:
    config = SchedulerConfig(on_error=witness.on_error, tick_interval="200ms")
    scheduler = Scheduler(backend, config=config, observers=[witness])

    @scheduler.job(name="note", retry=RetryPolicy(max_retries=0))
    async def note(number: int) -> int:
        witness.done.append(number)
        return number

    return scheduler


async def assert_it_goes_on(scheduler: Scheduler, witness: Witness) -> None:
    """New runs are done and entries fire."""
    note = scheduler.jobs["note"]
    handle = await scheduler.enqueue(note.bind(1000))

    with anyio.fail_after(PATIENCE):
        assert 1000 == await handle[0].result()

    await scheduler.add(Every("50ms"), note.bind(2000), id="good")
    await until(lambda: 2000 in witness.done)


# --- texts, which backends do not look into ----------------------------------------------------------------------


@pytest.mark.parametrize("field", ["payload", "options"])
async def test_a_run_whose_texts_are_broken_fails_alone(
    anysched_backend: Backend, witness: Witness, field: str
) -> None:
    """Broken arguments or options, in memory and in Redis: that run is failed, and it is said why."""
    scheduler = scheduler_on(anysched_backend, witness)

    async with scheduler.running():
        runs = [NewRun(id=f"bad {n}", job="note", **{field: text}) for n, text in enumerate(BROKEN_TEXTS)]
        good = NewRun(id="good", job="note", payload='{"number":7}')
        await anysched_backend.enqueue([*runs, good])
        await assert_it_goes_on(scheduler, witness)

        await until(lambda: all(witness.of(run.id) for run in runs))
        records = await anysched_backend.get_runs([run.id for run in runs])

        for record in records:
            assert isinstance(record, RunRecord)
            assert "failed" == record.status
            assert "CannotDecode" in record.errors[-1]

    assert {7, 1000, 2000} == set(witness.done)


@pytest.mark.slow
async def test_an_entry_whose_rule_is_broken_is_named_once(anysched_backend: Backend, witness: Witness) -> None:
    """In memory and in Redis: it never fires, it is reported once, it stays, and it can be removed."""
    scheduler = scheduler_on(anysched_backend, witness)

    async with scheduler.running():
        now = await anysched_backend.time_ms()

        for number, text in enumerate(BROKEN_TEXTS):
            write = EntryWrite(id=f"bad {number}", spec=text, revision="r", next_ms=now)
            await anysched_backend.put_entry(write, replace=False, nonce=f"{number}")

        names = [f"bad {number}" for number in range(len(BROKEN_TEXTS))]
        await assert_it_goes_on(scheduler, witness)
        await until(lambda: all(witness.of(name) for name in names))
        await anyio.sleep(0.5)
        assert [1] * len(names) == [len(witness.of(name)) for name in names]
        assert all(isinstance(witness.of(name)[0], (CannotDecode, RecordCorrupt)) for name in names)

        for name, text in zip(names, BROKEN_TEXTS, strict=True):
            record = await anysched_backend.get_entry(name)
            assert isinstance(record, EntryRecord)
            assert text == record.spec

            with pytest.raises(RecordCorrupt):
                await scheduler.get_entry(name)

            await scheduler.remove(name)

        assert ["good"] == [entry.id for entry in await scheduler.entries()]


# --- records in Redis --------------------------------------------------------------------------------------------

HARMS: dict[str, tuple[str | bytes, ...]] = {
    "text": ("SET", JUNK),
    "list": ("RPUSH", JUNK),
    "random fields": ("HSET", JUNK, JUNK, b"version", JUNK),
    "a version to come": ("HSET", b"job", b"note", b"version", b"2"),
    "broken numbers": ("HSET", b"job", b"note", b"priority", b"high"),
    "broken bytes": ("HSET", b"job", b"note", b"payload", JUNK),
}


@pytest.fixture
def own(redis_url: str) -> Iterator[RespConnection]:
    with RespConnection(Address.from_url(redis_url)) as connection:
        yield connection


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_a_harmed_run_is_set_aside_by_name(
    redis_url: str, own: RespConnection, witness: Witness, harm: tuple[str | bytes, ...]
) -> None:
    """The node tells its observers and its error handler, and the record is kept."""
    backend = RedisBackend.from_url(redis_url)
    scheduler = scheduler_on(backend, witness)

    async with scheduler:
        await backend.enqueue([NewRun(id="bad", job="note"), NewRun(id="good", job="note", payload='{"number":7}')])
        own.command("DEL", "{anysched}:run:bad")
        own.command(harm[0], "{anysched}:run:bad", *harm[1:])

        async with scheduler.running():
            await assert_it_goes_on(scheduler, witness)
            await until(lambda: witness.of("bad"))
            assert isinstance(witness.of("bad")[0], RecordCorrupt)
            assert {"run bad"} == witness.set_aside
            assert 1 == (await scheduler.totals()).corrupt
            assert 1 == own.command("EXISTS", "{anysched}:run:bad")

            with pytest.raises(RecordCorrupt):
                await scheduler.run_info("bad")


@pytest.mark.parametrize("harm", list(HARMS.values())[:3], ids=list(HARMS)[:3])
async def test_a_harmed_entry_is_set_aside_by_name(
    redis_url: str, own: RespConnection, witness: Witness, harm: tuple[str | bytes, ...]
) -> None:
    """Likewise; and an entry of that id can be added anew."""
    backend = RedisBackend.from_url(redis_url)
    scheduler = scheduler_on(backend, witness)

    async with scheduler:
        await scheduler.add(Every("50ms"), scheduler.jobs["note"].bind(1), id="bad")
        own.command("DEL", "{anysched}:entry:bad")
        own.command(harm[0], "{anysched}:entry:bad", *harm[1:])

        async with scheduler.running():
            await assert_it_goes_on(scheduler, witness)
            await until(lambda: witness.of("bad"))
            assert isinstance(witness.of("bad")[0], RecordCorrupt)
            assert {"entry bad"} == witness.set_aside
            assert 1 == own.command("EXISTS", "{anysched}:entry:bad")
            await scheduler.remove("bad")
            await scheduler.add(Every("50ms"), scheduler.jobs["note"].bind(3), id="bad")
            await until(lambda: 3 in witness.done)
