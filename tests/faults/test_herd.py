"""Everything at once: ten thousand runs and a thousand entries that are all overdue when the first node starts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from anyio import current_time

from anysched import Executor, Scheduler, SchedulerConfig, current_run
from anysched.backends import EntryWrite
from anysched.clock import to_ms
from anysched.entry import EntryPolicy, EntrySpec
from anysched.schedules import Every
from anysched.testing import RedisServer

from .polling import until

AMOUNTS = [pytest.param(2_000, 1_000), pytest.param(10_000, 1_000, marks=pytest.mark.nightly)]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("runs", "entries"), AMOUNTS)
async def test_a_herd_is_worked_off_once_and_no_command_takes_long(
    runs: int, entries: int, server: RedisServer, make_ledger: Any
) -> None:
    """Two nodes start together on it: each run once, one run an entry, no lease lost, no script over 50 ms by far."""
    done: Counter[str] = Counter()
    ledger = make_ledger()
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def node() -> Scheduler:
        scheduler = Scheduler(
            server.url,
            executor=Executor(max_concurrent=64),
            config=SchedulerConfig(lease="5s", on_error=ledger.on_error),
            observers=[ledger],
        )

        @scheduler.job(name="work")
        async def work() -> None:
            run = current_run()
            done[run.entry_id or run.id] += 1

        return scheduler

    first, second = node(), node()

    async with first:
        work = first.jobs["work"]
        await first.enqueue(*[work.options(run_id=f"run-{n}", delay="1s").bind() for n in range(runs)])
        spec = EntrySpec.of(Every("24h", anchor=long_ago), work.bind(), EntryPolicy())

        async with anyio.create_task_group() as group:
            for n in range(entries):
                entry = EntryWrite(
                    id=f"entry-{n}", spec=spec.to_text(), revision=spec.revision, next_ms=to_ms(long_ago)
                )
                group.start_soon(lambda entry=entry: first.backend.put_entry(entry, replace=False, nonce=entry.id))

        await anyio.sleep(1)
        server.cli("CONFIG", "SET", "slowlog-log-slower-than", 50_000)
        began = current_time()

        with anyio.fail_after(90):
            async with first.running(), second.running():
                await until(lambda: len(done) >= runs + entries)

        print(f"\n{runs} runs and {entries} entries in {current_time() - began:.1f} s")
        slow: Any = server.cli("SLOWLOG", "GET", 10)
        totals = await first.totals()

    assert {1} == set(done.values())
    assert (0, 0, 0) == (totals.ready, totals.running, ledger.leases_lost)
    assert all(entry[2] < 250_000 for entry in slow), "a script has held up everybody"
