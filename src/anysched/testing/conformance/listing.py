# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""What people look at: pages, queues, numbers; and that final records go away."""

from __future__ import annotations

from typing import Any

import pytest

from anysched.backends import NewRun, RunRecord
from anysched.run import RunStatus

from .stage import LATER, Stage, Staged, ids

__all__ = ["ListConformance"]


async def pages(stage: Stage, *, limit: int = 7, **fields: Any) -> list[RunRecord]:
    """Every run that is listed, read page by page."""
    found: list[RunRecord] = []
    cursor = ""

    while True:
        page = await stage.backend.list_runs(cursor=cursor, limit=limit, **fields)
        assert len(page.runs) <= limit
        found += [run for run in page.runs if isinstance(run, RunRecord)]

        if not (cursor := page.cursor):
            return found


class ListConformance(Staged):
    """``list_runs``, ``list_queues``, ``totals``, ``time_ms``, ``report``, and the ttl of final records."""

    async def test_runs_are_listed_by_status_newest_first(self, stage: Stage) -> None:
        """Page by page, whole records."""
        names = [f"{number:03}" for number in range(20)]

        for name in names:
            await stage.add(name)
            await stage.advance(1)

        found = await pages(stage, status="ready")
        assert names[::-1] == ids(found)
        assert await stage.run("003") == found[16]
        assert [] == await pages(stage, status="running")

    async def test_every_status_is_listed(self, stage: Stage) -> None:
        """Alone, and all of them together, each run once."""
        await self.one_of_each(stage)

        for status in RunStatus:
            assert [f"{status} 1", f"{status} 2"] == sorted(ids(await pages(stage, status=status.value)))

        everything = ids(await pages(stage))
        assert sorted(f"{status} {number}" for status in RunStatus for number in "12") == sorted(everything)

    async def test_runs_are_listed_by_queue(self, stage: Stage) -> None:
        """With or without a status."""
        await stage.add("a", "b", queue="one")
        await stage.add("c", queue="two")
        await stage.add("d", queue="one", delay_ms=LATER)

        assert ["a", "b"] == sorted(ids(await pages(stage, status="ready", queue="one")))
        assert ["a", "b", "d"] == sorted(ids(await pages(stage, queue="one")))
        assert [] == await pages(stage, queue="three")

    async def test_running_runs_of_all_nodes_are_listed_by_queue(self, stage: Stage) -> None:
        """None is passed over, however small the page and whatever else the nodes hold."""
        await stage.join("one", queues=("default", "other"))
        await stage.join("two")
        await stage.add("a", "b")
        await stage.add("c", queue="other")
        claims = (("two", "default"), ("one", "default"), ("one", "other"))
        assert [["a"], ["b"], ["c"]] == [await stage.claim_ids(node, queues=(queue,)) for node, queue in claims]

        for limit in (1, 2, 7):
            assert ["b", "a"] == ids(await pages(stage, limit=limit, status="running", queue="default"))

    async def test_the_newest_ended_runs_are_listed(self, stage: Stage) -> None:
        """A thousand of them at least are, though more are kept."""
        await stage.join()
        names = [f"{number:04}" for number in range(1_100)]

        for start in range(0, 1_100, 100):
            await stage.add(*names[start : start + 100])
            outcomes = [self.succeeded(run.id, run.token) for run in await stage.claim(count=100)]
            await stage.backend.work("node", outcomes, None)
            await stage.advance(1)

        page = await stage.backend.list_runs(status="succeeded", limit=100)
        assert set(names[1_000:]) == set(ids(page.runs))
        assert set(names[200:]) <= set(ids(await pages(stage, status="succeeded")))
        assert ["succeeded"] == await stage.statuses(names[0])

    async def test_a_page_may_be_long(self, stage: Stage) -> None:
        """Longer than Lua takes arguments."""
        for start in range(0, 9_000, 1_000):
            await stage.add(*[f"{number:04}" for number in range(start, start + 1_000)])

        page = await stage.backend.list_runs(limit=9_000)
        assert ([f"{number:04}" for number in reversed(range(9_000))], "") == (ids(page.runs), page.cursor)

    async def test_queues_are_listed_by_name(self, stage: Stage) -> None:
        """With what stands in them, as soon as they were used or paused."""
        await stage.join(queues=("looked at",))
        await stage.claim(queues=("looked at",))
        await stage.add("a", "b", queue="two")
        await stage.add("c", job="strange", queue="two")
        await stage.add("d", queue="one", delay_ms=LATER)
        await stage.backend.pause_queue("paused")
        queues = [queue for queue in await stage.backend.list_queues() if queue.name != "looked at"]

        assert [("one", 0, False), ("paused", 0, True), ("two", 3, False)] == [
            (queue.name, queue.ready, queue.paused) for queue in queues
        ]
        await stage.claim(count=1, queues=("two",))
        await stage.claim(count=9, queues=("two",))
        (two,) = [queue for queue in await stage.backend.list_queues() if queue.name == "two"]
        assert 0 == two.ready

    @pytest.mark.parametrize("name", ["bad\udcff", "\ud800", "a\0\n b", "x" * 500], ids=ascii)
    async def test_what_no_name_can_be_is_not_found(self, stage: Stage, name: str) -> None:
        """Also if it has no form in UTF-8, as some names of files: a question about it is a question like any other."""
        await stage.join()
        await stage.add("a")
        backend = stage.backend

        assert [None] == [record for record in await backend.get_runs([name, "a"]) if record is None]
        assert [None] * 6 == [
            await backend.find_key(name),
            await backend.watch(name, "inbox"),
            await backend.cancel(name),
            await backend.revive(name),
            await backend.reschedule(name, delay_ms=LATER),
            await backend.get_entry(name),
        ]
        assert () == (await backend.list_runs(queue=name)).runs
        assert [False] * 3 == [
            await backend.pause_entry(name, "note"),
            await backend.resume_entry(name, revision="r", next_ms=None),
            await backend.remove_entry(name),
        ]
        assert await backend.trigger(name, NewRun(id="b", job="job"), overlap="allow") is None

    async def test_totals_are_what_counting_gives(self, stage: Stage) -> None:
        """Over every status, and over entries; what has ended is counted for good."""
        await self.one_of_each(stage)
        await stage.put("paused")
        await stage.backend.pause_entry("paused", "")
        totals = await stage.backend.totals()
        count = {status.value: len(await pages(stage, status=status.value)) for status in RunStatus}

        assert {status.value: 2 for status in RunStatus} == count
        assert (count["ready"], count["scheduled"] + count["retrying"], count["running"], count["waiting"]) == (
            totals.ready,
            totals.scheduled,
            totals.running,
            totals.waiting,
        )
        assert (2, 2, 2, 2, 2) == (
            totals.failed_kept,
            totals.failed,
            totals.succeeded,
            totals.cancelled,
            totals.expired,
        )
        entries = (await stage.backend.list_entries()).entries
        assert (len(entries), len(entries) - 1, 0) == (totals.entries, totals.active_entries, totals.corrupt)

        await stage.backend.revive("failed 1")
        totals = await stage.backend.totals()
        assert (1, 2, 3) == (totals.failed_kept, totals.failed, totals.ready)

    async def test_the_clock_goes_forward(self, stage: Stage) -> None:
        """And the report shows it."""
        before = await stage.backend.time_ms()
        await stage.advance(20)
        report = await stage.backend.report()

        assert before + 20 <= report.time_ms <= await stage.backend.time_ms()
        assert report.product
        assert report.version
        assert report.round_trip_ms >= 0

    async def test_final_records_go_away(self, stage: Stage) -> None:
        """After their ttl, which is ten seconds at least; a failed one is listed no more, and its id is free."""
        await stage.join()
        names = ["succeeded", "failed", "cancelled", "expired"]

        for name in ("succeeded", "failed"):
            await stage.add(name)
            await stage.settle(await stage.claim_one(), name, ttl_ms=1)

        await stage.add("cancelled", ttl_ms=10_000)
        await stage.backend.cancel("cancelled")
        await stage.add("expired", ttl_ms=10_000, expires_ms=1)
        await stage.advance(5)
        await stage.tidy()
        await stage.add("unseen", "kept")

        for run, ttl_ms in zip(await stage.claim(count=2), (1, LATER), strict=True):
            await stage.settle(run, "failed", ttl_ms=ttl_ms)

        await stage.advance(8_500)
        assert names == await stage.statuses(*names)

        await stage.advance(2_000)
        assert ["", "", "", "", "failed"] == await stage.statuses(*names, "kept")
        assert ["kept"] == ids(await pages(stage))
        assert 1 == (await stage.backend.totals()).failed_kept
        await stage.tidy()
        assert 1 == (await stage.backend.totals()).failed_kept
        assert [None, None, None] == [
            await stage.backend.watch("failed", "me"),
            await stage.backend.cancel("failed"),
            await stage.backend.revive("failed"),
        ]
        (again,) = await stage.backend.enqueue([self.plain("succeeded")])
        assert (True, "ready") == (again.created, await stage.status("succeeded"))

    async def one_of_each(self, stage: Stage) -> None:
        """Two runs in every status, named for it."""
        await stage.join()

        for kind, settled in (("failed",) * 2, ("succeeded",) * 2, ("retrying", "retry")):
            await stage.add(f"{kind} 1", f"{kind} 2")

            for run in await stage.claim(count=2):
                await stage.settle(run, settled, delay_ms=LATER)

        await stage.add("expired 1", "expired 2", expires_ms=1)
        await stage.advance(5)
        await stage.tidy()
        await stage.add("cancelled 1", "cancelled 2")

        for number in "12":
            await stage.backend.cancel(f"cancelled {number}")

        await stage.put(next_ms=await stage.backend.time_ms() + LATER)
        await stage.trigger("running 1")
        await stage.trigger("running 2")
        assert 2 == len(await stage.claim(count=2))

        for number in "12":
            await stage.trigger(f"waiting {number}", overlap="queue_all")

        await stage.add("scheduled 1", "scheduled 2", delay_ms=LATER)
        await stage.add("ready 1", "ready 2")
