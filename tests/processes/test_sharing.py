"""Workers on both loops and a client share one Redis."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import Scheduler
from anysched.backends import Totals

SECONDS = [8, pytest.param(60, marks=[pytest.mark.nightly, pytest.mark.timeout(180)])]


async def totals_of(url: str) -> Totals:
    async with Scheduler(url, namespace="processes") as scheduler:
        return await scheduler.totals()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", SECONDS)
def test_every_fire_and_every_run_is_done_once_by_two_workers(processes: Any, seconds: float) -> None:
    """An asyncio worker, a Trio worker and a client for a while: each fire once, each run once, none lost.

    Fails if a fire's run id were not made from the entry and the fire time, or settling did not check the token.
    """
    environ = {"ANYSCHED_TEST_ENTRIES": "1"}
    workers = [processes.worker(loop, **environ) for loop in ("asyncio", "trio")]
    client = processes.start("enqueue", "--seconds", str(seconds))
    accepted = int(client.communicate(timeout=seconds + 30)[0])
    processes.wait_for(lambda: len(processes.effects("note")) >= accepted)
    statuses = [processes.stop(worker) for worker in workers]

    assert statuses == [0, 0]

    notes = Counter(int(words[1]) for words in processes.effects("note"))
    assert notes == Counter(range(accepted))

    for name in ("every", "cron", "elsewhere"):
        fires = [datetime.fromisoformat(words[2]) for words in processes.effects("fired") if words[1] == name]
        assert len(fires) == len(set(fires))
        assert sorted(fires) == [min(fires) + timedelta(seconds=n) for n in range(len(fires))]
        assert len(fires) >= seconds

    totals = anyio.run(totals_of, processes.url)
    assert (totals.running, totals.ready, totals.failed) == (0, 0, 0)

    busy = Counter(words[-1] for words in processes.effects("note"))
    assert set(busy) == {str(worker.pid) for worker in workers}, os.linesep.join(map(str, busy.items()))
