"""What a running job knows and says: `current_run`, progress, metadata, state; in the loop and in threads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio import create_task_group

from anysched import Backend, InvalidOption, RunContext, Scheduler, StaleLease, current_run
from anysched.errors import NotInRun
from anysched.testing import sleep_until_instant

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_job_knows_its_run() -> None:
    """Its id, job, attempt, entry, fire time, deadline, token, metadata; the same in what it calls and starts."""
    scheduler = Scheduler()
    seen: list[RunContext] = []

    async def child() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(current_run())

    @scheduler.job(name="work")
    async def work() -> None:
        seen.append(current_run())

        async with create_task_group() as children:
            children.start_soon(child)

        seen.append(await anyio.to_thread.run_sync(current_run))

    async with scheduler.running():
        run = await work.options(deadline="1h", metadata={"tenant": "t"}).enqueue()
        await run.result()
        token = (await run.info()).fencing_token
        first = seen[0]
        assert [first] * 3 == seen
        assert (run.id, "work", 1, None, None, START + timedelta(hours=1), {"tenant": "t"}, None, token) == (
            *(first.id, first.job, first.attempt, first.entry_id, first.scheduled_for, first.deadline),
            *(first.metadata, first.state, first.fencing_token),
        )
        await scheduler.add("@every 10s", work.bind(), id="e")
        await sleep_until_instant(START + timedelta(seconds=11))
        assert ("e", START + timedelta(seconds=10)) == (seen[-1].entry_id, seen[-1].scheduled_for)
        assert seen[-1].fencing_token > token

        with pytest.raises(NotInRun):
            current_run()


async def test_plain_functions_know_it_too() -> None:
    """In their thread, with a way to report progress that does not need the loop."""
    scheduler = Scheduler()

    @scheduler.job
    def work() -> str:
        run = current_run()
        run.report_progress(0.25, "quarter")
        return run.id

    async with scheduler.running():
        run = await work.enqueue()
        assert run.id == await run.result()
        info = await run.info()
        assert (0.25, "quarter") == (info.progress, info.progress_message)


async def test_progress_is_seen_while_it_runs() -> None:
    """By whoever asks, from the moment that it was reported; what is no fraction is refused."""
    scheduler = Scheduler()

    @scheduler.job
    async def work() -> None:
        run = current_run()

        for step in range(1, 5):
            await run.set_progress(step / 4, f"step {step}")
            await anyio.sleep(10)

        for wrong in (-0.1, 1.1, float("nan"), True, "half"):
            with pytest.raises(InvalidOption):
                await run.set_progress(wrong)

    async with scheduler.running():
        run = await work.enqueue()
        assert (await run.info()).progress is None
        seen = []

        for _ in range(4):
            await anyio.sleep(5)
            info = await run.info()
            seen.append((info.progress, info.progress_message))
            await anyio.sleep(5)

        assert [(0.25, "step 1"), (0.5, "step 2"), (0.75, "step 3"), (1.0, "step 4")] == seen
        await run.result()


async def test_any_text_may_be_said_of_progress(anysched_backend: Backend, real_time: None) -> None:
    """What UTF-8 does not have, as in the names of some files, is escaped; what is too long is cut.

    Break: the run fails of what it says of itself, in Redis.
    """
    scheduler = Scheduler(anysched_backend)

    @scheduler.job
    async def work(message: list[int]) -> None:
        await current_run().set_progress(0.5, "".join(map(chr, message)))

    @scheduler.job
    def work_in_thread(message: list[int]) -> None:
        current_run().report_progress(0.5, "".join(map(chr, message)))

    async with scheduler.running():
        for job in (work, work_in_thread):
            for message, expected in (
                ("bad\udcff", r"bad\udcff"),
                ("\udcff" * 501, r"\udcff" * 83 + r"\u"),
                ("ä", "ä"),
            ):
                run = await job.enqueue([*map(ord, message)])
                await run.result()
                assert expected == (await run.info()).progress_message


async def test_a_context_kept_beyond_its_run_can_say_nothing() -> None:
    """Progress under a token that is no longer the newest is refused, not stored.

    Break: without the check of the token an attempt that was given up writes into the next one.
    """
    scheduler = Scheduler()
    kept: list[RunContext] = []

    @scheduler.job
    async def work() -> None:
        kept.append(current_run())

    async with scheduler.running():
        run = await work.enqueue()
        await run.result()

        with pytest.raises(StaleLease):
            await kept[0].set_progress(0.9)

        assert (await run.info()).progress is None
