"""Names for live runs: the same key is the same run, until that has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import pytest

from anysched import (
    Backend,
    EntryNotFound,
    Event,
    InvalidOption,
    MemoryBackend,
    RetryPolicy,
    Run,
    RunCancelled,
    RunExists,
    RunExpired,
    RunFailed,
    RunNotFound,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    by_arguments,
)
from anysched.events import RunEnqueued


async def test_a_key_names_a_run_while_it_is_live() -> None:
    """Enqueued again it is the same run, on any node; found by its key; and free when the run has ended."""
    scheduler = Scheduler()
    calls: list[str] = []

    @scheduler.job
    async def welcome(name: str) -> str:
        calls.append(name)
        await anyio.sleep(10)
        return name

    keyed = welcome.options(key="welcome:42")

    async with scheduler.running():
        first, second = await keyed.enqueue("Ada"), await keyed.enqueue("Bob")
        assert first == second == await scheduler.find(key="welcome:42")
        await anyio.sleep(5)
        assert first == await keyed.enqueue("Cleo")
        assert "Ada" == await first.result()
        assert await scheduler.find(key="welcome:42") is None
        third = await keyed.enqueue("Dan")
        assert first != third
        assert "Dan" == await third.result()

    assert ["Ada", "Dan"] == calls


async def test_a_handle_says_whether_its_run_was_made() -> None:
    """By this call, and not by an earlier one, of whatever id or key; a request that arrived twice has made it.

    Break: a client that sends again after a lost reply says of each run that it was there already.
    """

    class Twice(MemoryBackend):
        async def enqueue(self, runs: Sequence[Any]) -> Any:
            await super().enqueue(runs)
            return await super().enqueue(runs)

    for is_doubled in (False, True):
        scheduler = Scheduler(Twice() if is_doubled else None)
        job = scheduler.job(name="job")(_succeed)

        async with scheduler:
            keyed, named = job.options(key="k", delay="1h"), job.options(run_id="one")
            assert [True, False] == [(await keyed.enqueue()).created for _ in "12"]
            assert [True, False, True] == [
                run.created for run in await scheduler.enqueue(job.bind(), keyed.bind(), job.bind())
            ]
            # Of an id that the caller has chosen nobody knows who was first, if the first reply is lost.
            assert [not is_doubled, False] == [(await named.enqueue()).created for _ in "12"]
            assert not (await scheduler.get_run("one")).created
            found = await scheduler.find(key="k")
            assert found is not None and not found.created
            await scheduler.add("@hourly", job.bind(), id="entry")
            triggered = await scheduler.trigger("entry")
            assert triggered is not None and triggered.created


async def test_two_of_one_step_with_one_key_are_one_run() -> None:
    """The second of a batch finds the first."""
    scheduler = Scheduler()

    @scheduler.job
    async def work(number: int) -> int:
        return number

    async with scheduler.running():
        bounds = [work.options(key="k").bind(number) for number in (1, 2)]
        first, second = await scheduler.enqueue(*bounds)
        assert first == second
        assert 1 == await second.result()


async def test_a_run_can_be_found_by_its_arguments() -> None:
    """Whether they were given by position or by name, and whether a default was written out."""
    scheduler = Scheduler()

    @scheduler.job
    async def send(to: str, *, subject: str = "hi", tags: set[str] | None = None) -> None: ...

    async with scheduler:
        run = await send.options(key=by_arguments, delay="1h").enqueue("a@b.c", tags={"x", "y", "z"})
        again = send.bind(to="a@b.c", subject="hi", tags={"z", "y", "x"})
        assert run == await scheduler.find(again)
        assert run == await send.options(key=by_arguments).enqueue(to="a@b.c", tags={"y", "x", "z"})
        assert await scheduler.find(send.bind("a@b.c")) is None
        found = await scheduler.find(again)
        assert found is not None
        await found.reschedule(delay="2h")
        await found.cancel()
        assert RunStatus.CANCELLED == await run.status()
        assert await scheduler.find(again) is None

        for wrong in ((), (again,)):
            with pytest.raises(InvalidOption):
                await scheduler.find(*wrong, **({"key": "k"} if wrong else {}))


async def _succeed() -> None: ...


async def _fail() -> None:
    raise ValueError


async def test_a_run_expires_and_frees_its_key_though_no_node_runs() -> None:
    """Whoever waits for it, or asks for it by its key, finds it so.

    Break: its result is waited for, and its key held, for ever.
    """
    scheduler = Scheduler()

    @scheduler.job(expires="10s")
    async def work() -> None: ...

    keyed = work.options(key="k")

    async with scheduler:
        first = await keyed.enqueue()

        with pytest.raises(RunExpired):
            await first.result()

        second = await keyed.enqueue()
        assert first != second
        await anyio.sleep(11)
        assert await scheduler.find(key="k") is None
        assert RunStatus.EXPIRED == await second.status()


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled", "expired"])
async def test_a_key_is_free_at_every_end(ending: str) -> None:
    """Whatever the final status is."""
    config = SchedulerConfig(on_error=lambda error, context: None, tick_interval="4s")
    scheduler = Scheduler(MemoryBackend(), config=config)
    function: Callable[[], Awaitable[Any]] = _fail if ending == "failed" else _succeed
    job = scheduler.job(name="work", retry=RetryPolicy(max_retries=0))(function)

    async with scheduler.running():
        if ending == "expired":
            await scheduler.pause_queue("default")

        run = await job.options(key="k", expires="1s", delay="1h" if ending == "cancelled" else 0).enqueue()

        if ending == "cancelled":
            await run.cancel()

        # What expires in a paused queue is noticed at the next look.
        await anyio.sleep(6)
        assert ending == await run.status()
        assert await scheduler.find(key="k") is None


async def test_a_run_id_makes_enqueueing_repeatable() -> None:
    """The same id is the same run, live or ended, and it runs once."""
    scheduler = Scheduler()
    calls: list[int] = []

    @scheduler.job
    async def work() -> int:
        calls.append(1)
        return len(calls)

    async with scheduler.running():
        runs = [await work.options(run_id="order-7").enqueue() for _ in range(3)]
        assert [1, 1, 1] == [await run.result() for run in runs]
        assert "order-7" == (await work.options(run_id="order-7").enqueue()).id

    assert [1] == calls


async def test_a_run_of_another_job_does_not_stand_for_what_was_asked(
    anysched_backend: Backend, real_time: None
) -> None:
    """Found by its key or its id, alone or in a bulk, whose other runs are stored. The same job's is returned as it is.

    Break: a handle of the new job decodes the other's result as its own, and what was asked for is never done.
    """
    scheduler = Scheduler(anysched_backend)

    @scheduler.job(name="a")
    async def first(number: int) -> None: ...

    @scheduler.job(name="b")
    async def second(text: str) -> None: ...

    async with scheduler:
        held = await first.options(key="k", delay="1h").enqueue(1)
        named = await first.options(run_id="order-7", delay="1h").enqueue(1)

        with pytest.raises(RunExists) as caught:
            await second.options(key="k").enqueue("x")

        assert f"key 'k' is held by run {held.id!r} of job 'a'" == str(caught.value)
        assert (held.id, "a", "k") == (caught.value.run_id, caught.value.job, caught.value.key)

        with pytest.raises(RunExists, match="there is a run 'order-7' already, of job 'a'"):
            await second.options(run_id="order-7", key="free").enqueue("x")

        assert await scheduler.find(key="free") is None
        bulk = [second.options(run_id=f"run-{number}", key="k" if number == 1 else None) for number in range(3)]

        with pytest.raises(RunExists, match="key 'k'"):
            await scheduler.enqueue(*[options.bind("x") for options in bulk])

        assert ["b", "b"] == [(await scheduler.get_run(f"run-{number}")).job for number in (0, 2)]

        with pytest.raises(RunNotFound):
            await scheduler.get_run("run-1")

        assert held == await first.options(key="k").enqueue(2)
        assert named == await first.options(run_id="order-7").enqueue(2)


async def test_what_no_name_can_be_names_no_run(anysched_backend: Backend, real_time: None) -> None:
    """It is asked about like any other, also if it is no text that can be sent."""
    scheduler = Scheduler(anysched_backend)

    async with scheduler:
        for name in ("bad\udcff", "a b", ""):
            assert (None, []) == (await scheduler.find(key=name), await scheduler.runs(queue=name))

            with pytest.raises(EntryNotFound):
                await scheduler.get_entry(name)

            run = Run(name, "job", scheduler)

            for question in (run.status, run.result, run.cancel, run.retry, partial(run.reschedule, delay=1)):
                with pytest.raises(RunNotFound):
                    await question()

            with pytest.raises(RunNotFound):
                await scheduler.get_run(name)


async def test_a_refused_call_stops_none_of_those_in_later_steps(anysched_backend: Backend, real_time: None) -> None:
    """Of more calls than one step takes, the first is refused and the last is stored."""
    scheduler = Scheduler(anysched_backend)
    first, second = scheduler.job(name="a")(_succeed), scheduler.job(name="b")(_fail)

    async with scheduler:
        await first.options(key="k", delay="1h").enqueue()
        calls = [second.options(delay="1h").bind()] * 1_000

        with pytest.raises(RunExists, match="key 'k'"):
            await scheduler.enqueue(second.options(key="k").bind(), *calls, second.options(run_id="last").bind())

        assert "b" == (await scheduler.get_run("last")).job
        assert 1_002 == (await scheduler.totals()).ready + (await scheduler.totals()).scheduled


async def test_only_what_was_found_is_looked_up() -> None:
    """One question more where a run was there already, for all that were; none otherwise. Observers hear whose it is.

    Break: asking always doubles the round trips of `enqueue`.
    """
    asked: list[list[str]] = []
    told: list[tuple[str, bool]] = []

    class Asked(MemoryBackend):
        async def get_runs(self, run_ids: Sequence[str]) -> Any:
            asked.append([*run_ids])
            return await super().get_runs(run_ids)

    class Observer:
        def on_event(self, event: Event) -> None:
            if isinstance(event, RunEnqueued):
                told.append((event.job, event.created))

    scheduler = Scheduler(Asked(), observers=[Observer()])
    first, second = scheduler.job(name="a")(_succeed), scheduler.job(name="b")(_fail)

    async with scheduler:
        await scheduler.enqueue(first.bind(), second.bind(), first.options(run_id="one").bind())
        assert [] == asked
        await scheduler.enqueue(*[first.options(run_id="one").bind()] * 3, first.bind())
        assert [["one"]] == asked
        told.clear()

        with pytest.raises(RunExists):
            await second.options(run_id="one").enqueue()

    assert [("a", False)] == told


async def test_what_is_not_there_is_said_to_be_not_there() -> None:
    """Every question about a run that never was raises `RunNotFound`."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None: ...

    async with scheduler.running():
        run = await work.enqueue()
        await run.result()
        await anyio.sleep(7200)

        for question in (run.status, run.info, run.result, run.cancel, run.retry, lambda: run.reschedule(delay=1)):
            with pytest.raises(RunNotFound, match=run.id):
                await question()

        with pytest.raises(RunNotFound):
            await scheduler.get_run("nonsense")


async def test_cancelling_twice_and_too_late_changes_nothing() -> None:
    """A run that has ended stays as it is."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    succeed, fail = scheduler.job(_succeed), scheduler.job(retry=RetryPolicy(max_retries=0))(_fail)

    async with scheduler.running():
        done, failed = await succeed.enqueue(), await fail.enqueue()
        waiting = await succeed.options(delay="1h").enqueue()
        await done.result()

        with pytest.raises(RunFailed):
            await failed.result()

        for run in (done, failed, waiting, waiting):
            await run.cancel()

        with pytest.raises(RunCancelled):
            await waiting.result()

        assert ["succeeded", "failed", "cancelled"] == [await run.status() for run in (done, failed, waiting)]


async def test_a_failed_run_whose_key_another_has_is_not_retried(anysched_backend: Backend, real_time: None) -> None:
    """The holder is named, in bulk it is passed over. When that has ended, it can be.

    Break: two runs are live for one key.
    """
    scheduler = Scheduler(anysched_backend, config=SchedulerConfig(on_error=lambda error, context: None))
    job = scheduler.job(name="a", retry=RetryPolicy(max_retries=0))(_fail)

    async with scheduler:
        async with scheduler.running():
            failed = await job.options(key="k").enqueue()
            other = await job.enqueue()

            for run in (failed, other):
                with pytest.raises(RunFailed):
                    await run.result()

        holder = await job.options(key="k").enqueue()

        with pytest.raises(RunExists, match=f"key 'k' is held by run '{holder.id}' of job 'a'"):
            await failed.retry()

        assert 1 == await scheduler.retry_failed()
        assert (RunStatus.FAILED, "k") == (await failed.status(), (await failed.info()).key)
        assert holder == await scheduler.find(key="k")

        await holder.cancel()
        await failed.retry()
        assert failed == await scheduler.find(key="k")
