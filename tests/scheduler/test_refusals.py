"""What is refused at the door: each wrong value where it is given, not where it is used, and in words that help."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import anyio
import pytest

from anysched import (
    InvalidOption,
    Lock,
    LockBusy,
    MemoryBackend,
    NaiveDatetime,
    PayloadTooLarge,
    RetryPolicy,
    RunInfo,
    RunNotFound,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.codec import JsonCodec
from anysched.testing import sleep_until_instant, virtual_time


async def yields() -> Any:
    yield None


def yields_at_once() -> Any:
    yield None


async def returns() -> Any:
    return None


class Later:
    async def on_event(self, event: object) -> None: ...


def with_job(scheduler: Scheduler) -> Any:
    @scheduler.job(name="work")
    async def work(text: str = "") -> str:
        return text

    return work


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"backend": MemoryBackend}, "invalid backend <class 'anysched.backends.memory.MemoryBackend'>: expected"),
        ({"backend": 5}, "or a Backend object"),
        ({"namespace": ""}, "invalid namespace '': expected 1 to 200 printable characters"),
        ({"namespace": "a b{}"}, "invalid namespace 'a b{}'"),
        ({"namespace": 5}, "invalid namespace 5"),
        ({"config": 5}, "invalid config 5: expected a SchedulerConfig"),
        ({"config": SchedulerConfig}, "invalid config <class"),
        ({"executor": 5}, "invalid executor 5: expected an Executor, such as Executor(max_concurrent=10)"),
        ({"lock": 5}, "invalid lock 5: expected a Lock, such as Lock(ttl='15s')"),
        ({"codec": 5}, "invalid codec 5: expected a Codec: an object with the methods dumps"),
        ({"codec": JsonCodec}, "invalid codec <class 'anysched.codec.JsonCodec'>"),
        ({"lifespan": 5}, "invalid lifespan 5: expected a function that gives an async context manager"),
        ({"lifespan": yields}, "expected @asynccontextmanager on a function that yields"),
        ({"lifespan": yields_at_once}, "expected @asynccontextmanager on an async function that yields"),
        ({"lifespan": returns}, "expected @asynccontextmanager on an async function that yields"),
        (
            {"observers": [Later()]},
            "expected objects with a method on_event(event), a plain function: it is not awaited",
        ),
        ({"observers": 5}, "invalid observers 5: expected a list, and in it objects with a method on_event(event)"),
        ({"observers": "abc"}, "invalid observers 'abc'"),
        ({"observers": [print]}, "invalid observer <built-in function print>: expected objects with a method on_event"),
    ],
)
def test_a_scheduler_is_not_made_of_something_else(options: dict[str, Any], complaint: str) -> None:
    """The option, the value and what is allowed are named, and nothing has to be run to see it."""
    with pytest.raises(InvalidOption) as caught:
        Scheduler(**options)

    assert complaint in str(caught.value)


def test_a_late_observer_is_looked_at_too() -> None:
    """As those are that a scheduler is made with."""
    with pytest.raises(InvalidOption, match="invalid observer 5"):
        Scheduler().observe(5)  # type: ignore[arg-type] (that is the point)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda s, job: s.find(job), "expected job.bind(...)"),
        (lambda s, job: s.find(key=5), "invalid key 5: expected text"),
        (lambda s, job: s.find(), "expected either a call or key=, not both and not neither"),
        (lambda s, job: s.find(job.bind(), key="k"), "invalid key 'k': expected either a call or key="),
        (lambda s, job: s.add("@daily", job), "expected job.bind(...)"),
        (lambda s, job: s.add("@daily", job.bind(), foo=1), "invalid option 'foo': expected one of overlap, misfire"),
        (lambda s, job: s.runs(status="bogus"), "invalid status 'bogus': expected one of waiting, scheduled, ready"),
        (lambda s, job: s.runs(status=5), "invalid status 5"),
    ],
)
async def test_a_wrong_question_is_refused(ask: Callable[[Scheduler, Any], Any], complaint: str) -> None:
    """Of an open scheduler, in one sentence; nothing is stored."""
    scheduler = Scheduler()
    job = with_job(scheduler)

    async with scheduler:
        with pytest.raises(InvalidOption) as caught:
            await ask(scheduler, job)

        assert [] == await scheduler.entries()

    assert complaint in str(caught.value)


async def test_an_instant_is_an_aware_datetime_in_tests_too() -> None:
    """Both functions that take one refuse a naive one, and what is none at all."""
    for start, refusal in (("2026", InvalidOption), (datetime(2026, 1, 1), NaiveDatetime)):
        with pytest.raises(refusal):
            virtual_time(yields, start=start)  # type: ignore[arg-type] (that is the point)

        with pytest.raises(refusal):
            await sleep_until_instant(start)  # type: ignore[arg-type] (likewise)


@pytest.mark.parametrize("name", [None, 5, "", "two words", "two\nlines", "{tag}", "x" * 201, "x" * 100_000])
async def test_a_lock_needs_a_name(name: Any) -> None:
    """As all that is named does; it is refused where it is asked for, before there is anything to enter."""
    async with Scheduler() as scheduler:
        with pytest.raises(InvalidOption, match="invalid lock name") as caught:
            scheduler.lock(name)

    assert len(str(caught.value)) < 250


async def test_a_lock_is_called_what_it_was_called() -> None:
    """By its lease and by every error about it; a leader's lock of that name is another one all the same."""
    scheduler = Scheduler(lock=Lock(name="leader"))

    async with scheduler.running(), scheduler.lock("leader") as lease:
        with pytest.raises(LockBusy, match="lock 'leader' is held elsewhere"):
            async with scheduler.lock("leader", wait=False):
                pass

        assert "leader" == lease.name


@pytest.mark.parametrize(
    ("text", "metadata", "complaint"),
    [
        ("x" * 60, {}, "71 bytes are too many for the arguments of job 'work': max_payload is 50"),
        ("", {"a": "x" * 60}, "68 bytes are too many for the metadata of job 'work': max_payload is 50"),
        ("", {"a": "\u00e9" * 30}, "68 bytes are too many for the metadata"),
        ("x" * 39, {"a": "\u00e9" * 21}, None),
    ],
)
async def test_what_is_attached_to_a_run_may_take_as_much_as_its_arguments(
    text: str, metadata: dict[str, Any], complaint: str | None
) -> None:
    """Each is measured by itself, in bytes, and without what else is stored; the limit itself is allowed."""
    scheduler = Scheduler(config=SchedulerConfig(max_payload=50))
    bound = with_job(scheduler).options(metadata=metadata, retry=RetryPolicy(max_retries=7), timeout="5s").bind(text)

    async with scheduler:
        if complaint is None:
            (run,) = await scheduler.enqueue(bound)
            assert metadata == (await run.info()).metadata
            return

        with pytest.raises(PayloadTooLarge) as caught:
            await scheduler.enqueue(bound)

        assert complaint in str(caught.value)


async def test_a_node_is_named_where_that_is_kept() -> None:
    """While an attempt runs, and where it failed; a run that has succeeded does not keep it."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    seen: list[RunInfo] = []

    @scheduler.job(retry=RetryPolicy(max_retries=1))
    async def work() -> None:
        seen.append(await scheduler.run_info(current_run().id))

        if len(seen) == 1:
            raise ValueError

    async with scheduler.running():
        node = scheduler.statistics().node
        run = await work.enqueue()
        await run.result()
        ended = await run.info()

    assert [node, node, None] == [info.node for info in (*seen, ended)]
    assert [node, ""] == [attempt.node for attempt in ended.attempts]


async def test_a_run_out_of_turn_is_no_fire() -> None:
    """It is among the entry's newest runs, but neither its count nor its limit know of it."""
    scheduler = Scheduler()
    job = with_job(scheduler)

    async with scheduler.running():
        await scheduler.add("@every 1h", job.bind(), id="hourly", limit=1)
        run = await scheduler.trigger("hourly")
        assert run is not None
        await run.result()
        entry = await scheduler.get_entry("hourly")

    assert ("active", 0, None, [run.id]) == (
        *(entry.status, entry.run_count, entry.last_run_at),
        [one.id for one in entry.last_runs],
    )


async def test_a_short_result_ttl_is_ten_seconds() -> None:
    """Whoever settles a run twice has to find it still there."""
    scheduler = Scheduler(config=SchedulerConfig(result_ttl=0))
    job = with_job(scheduler)

    async with scheduler.running():
        runs = [await job.enqueue(), await job.options(result_ttl="1s").enqueue()]
        await anyio.sleep(9)
        assert ["succeeded"] * 2 == [await run.status() for run in runs]
        await anyio.sleep(2)

        for run in runs:
            with pytest.raises(RunNotFound):
                await run.status()
