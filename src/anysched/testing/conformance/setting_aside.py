# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Ready runs that cannot be claimed yet: their job is not known here, or has no free slot."""

from __future__ import annotations

from .stage import LATER, Stage, Staged, ids

__all__ = ["AsideConformance"]


class AsideConformance(Staged):
    """Unknown jobs and ``max_concurrent``."""

    # --- unknown jobs ----------------------------------------------------------------------------------------

    async def test_an_unknown_job_is_left_alone(self, stage: Stage) -> None:
        """Its run is set aside without penalty, once, and others are served."""
        await stage.join()
        await stage.add("strange", job="strange", priority=9)
        await stage.add("a")

        assert ["a"] == await stage.claim_ids()
        record = await stage.run("strange")
        assert ("ready", "unknown", 0, 0) == (record.status, record.set_aside, record.attempt, record.token)
        assert [] == await stage.claim_ids()

    async def test_what_is_set_aside_is_told(self, stage: Stage) -> None:
        """The job is named with the time since when it waits, until a live node knows it."""
        await stage.join()
        before = await stage.backend.time_ms()
        await stage.add("s1", "s2", job="strange")
        assert {} == (await stage.backend.totals()).unknown_jobs
        await stage.claim(count=5)
        totals = await stage.backend.totals()

        assert (2, 2, ["strange"]) == (totals.set_aside, totals.ready, list(totals.unknown_jobs))
        assert before <= totals.unknown_jobs["strange"] <= await stage.backend.time_ms()

        await stage.join("knowing", jobs=("strange",))
        assert {} == (await stage.backend.totals()).unknown_jobs
        assert ["s1", "s2"] == await stage.claim_ids("knowing", count=5)
        totals = await stage.backend.totals()
        assert (0, 0, 2) == (totals.set_aside, totals.ready, totals.running)

    async def test_a_node_that_knows_the_job_gets_it(self, stage: Stage) -> None:
        """It finds what was set aside in its old place, among what came later."""
        await stage.join()
        await stage.add("s1", job="strange")
        await stage.add("s2", job="strange", priority=1)
        assert [] == await stage.claim()
        await stage.add("a", priority=1)
        await stage.add("b")
        await stage.join("knowing", jobs=("job", "strange"))

        assert ["s2", "a", "s1", "b"] == await stage.claim_ids("knowing", count=10)
        assert "" == (await stage.run("s1")).set_aside

    async def test_a_live_node_that_knows_the_job_is_woken(self, stage: Stage) -> None:
        """If it waits for work of that queue."""
        await stage.join("ignorant")
        await stage.join("knowing", jobs=("strange",))

        async with stage.inbox("knowing") as inbox:
            await stage.claim("ignorant")
            await stage.claim("knowing")
            await stage.add("s", job="strange")
            await stage.claim("ignorant")
            await inbox.expect("work")

        assert ["s"] == await stage.claim_ids("knowing")

    async def test_a_dead_node_that_knows_the_job_is_passed_over(self, stage: Stage) -> None:
        """Though it was not reaped yet, since another that died before it was; the next that knows the job is woken.

        Break: it is tried again and again, or nobody is woken.
        """
        await stage.join("ignorant")
        await stage.join("dead", ttl_ms=300)
        await stage.join("dead too", ttl_ms=310, jobs=("strange",))
        await stage.join("knowing", jobs=("strange",))

        async with stage.inbox("ignorant") as woken, stage.inbox("knowing") as inbox:
            for name in ("ignorant", "dead too", "knowing"):
                await stage.claim(name)

            await stage.add("s", job="strange")
            await woken.expect("work")
            assert [] == inbox.hints
            await stage.advance(350)
            await stage.claim("ignorant")
            await inbox.expect("work")

        assert ["s"] == await stage.claim_ids("knowing")

    async def test_only_nodes_of_the_queue_bring_it_back(self, stage: Stage) -> None:
        """A node that knows the job but does not serve the queue leaves it where it is."""
        await stage.join()
        await stage.join("elsewhere", jobs=("strange",), queues=("other",))
        await stage.add("s", job="strange")
        await stage.claim()

        assert [] == await stage.claim("elsewhere", queues=("other",))
        assert "unknown" == (await stage.run("s")).set_aside

    async def test_what_is_set_aside_can_be_cancelled_moved_and_expires(self, stage: Stage) -> None:
        """Like any other ready run."""
        await stage.join()
        await stage.add("cancelled", "moved", job="strange")
        await stage.add("expired", job="strange", expires_ms=20)
        assert [] == await stage.claim(count=5)

        await stage.backend.cancel("cancelled")
        await stage.backend.reschedule("moved", delay_ms=LATER)
        await stage.advance(30)
        await stage.tidy()
        assert ["cancelled", "scheduled", "expired"] == await stage.statuses("cancelled", "moved", "expired")
        assert ["", "", ""] == [(await stage.run(name)).set_aside for name in ("cancelled", "moved", "expired")]
        totals = await stage.backend.totals()
        assert (0, {}) == (totals.set_aside, totals.unknown_jobs)

        await stage.join("knowing", jobs=("strange",))
        assert [] == await stage.claim("knowing")

    async def test_many_unknown_runs_do_not_hide_the_others_for_long(self, stage: Stage) -> None:
        """A claim looks at a bounded number of runs and says that there is more."""
        await stage.join()
        await stage.add(*(f"s{number}" for number in range(250)), job="strange")
        await stage.add("a")
        first = await stage.work()
        assert ((), True) == (first.runs, first.more)
        assert ["a"] == await stage.claim_ids()

        await stage.join("knowing", jobs=("strange",))
        found = [len(await stage.claim("knowing", count=500)) for _ in "1234"]
        assert (250, True) == (sum(found), max(found) <= 100)

    # --- limits ----------------------------------------------------------------------------------------------

    async def test_a_job_at_its_limit_waits_for_a_slot(self, stage: Stage) -> None:
        """Across nodes; jobs without a limit are not held up."""
        await stage.join("one", jobs=("few", "job"))
        await stage.join("two", jobs=("few", "job"))
        await stage.add("f1", "f2", "f3", "f4", job="few")
        await stage.add("a")
        first = await stage.claim("one", count=5, limits={"few": 2})

        assert ["f1", "f2", "a"] == ids(first)
        assert [] == await stage.claim("two", count=5, limits={"few": 2})
        assert [("ready", "limit")] * 2 == [
            (run.status, run.set_aside) for run in (await stage.run("f3"), await stage.run("f4"))
        ]
        assert 2 == (await stage.backend.totals()).set_aside

        await stage.settle(first[0], "succeeded", node_id="one")
        assert ["f3"] == await stage.claim_ids("two", count=5, limits={"few": 2})
        await stage.settle(first[1], "failed", node_id="one")
        assert ["f4"] == await stage.claim_ids("one", count=5, limits={"few": 2})
        assert 0 == (await stage.backend.totals()).set_aside

    async def test_every_way_out_of_running_frees_the_slot(self, stage: Stage) -> None:
        """Whatever the outcome, and also a crash or a node that leaves."""
        await stage.join()
        limits = {"job": 1}

        for kind in ("succeeded", "failed", "retry", "snooze", "released", "cancelled"):
            await stage.add(f"{kind} 1", f"{kind} 2")
            run = await stage.claim_one(count=5, limits=limits)
            assert [] == await stage.claim(count=5, limits=limits)
            await stage.settle(run, kind, delay_ms=LATER)

            if kind == "released":
                await stage.backend.cancel(f"{kind} 1")

            run = await stage.claim_one(count=5, limits=limits)
            assert f"{kind} 2" == run.id
            await stage.settle(run, "succeeded")

        await stage.add("last")
        for end in (stage.die, stage.backend.leave):
            await stage.join("other")
            assert ["last"] == await stage.claim_ids("other", count=5, limits=limits)
            await end("other")

        assert ["last"] == await stage.claim_ids(count=5, limits=limits)

    async def test_a_slot_that_is_freed_is_used_in_the_same_step(self, stage: Stage) -> None:
        """By the next in line, in its place."""
        await stage.join()
        await stage.add("a", "b", "c")
        await stage.add("urgent", priority=1)
        seen: list[str] = []
        runs = await stage.claim(count=2, limits={"job": 1})

        while runs:
            (run,) = runs
            seen.append(run.id)
            outcome = self.succeeded(run.id, run.token)
            runs = list((await stage.work("node", outcome, count=2, limits={"job": 1})).runs)

        assert ["urgent", "a", "b", "c"] == seen

    async def test_a_limit_that_was_raised_or_dropped_lets_more_through(self, stage: Stage) -> None:
        """It is the claim that brings it."""
        await stage.join()
        await stage.add(*"abcdefg")

        assert ["a"] == await stage.claim_ids(count=9, limits={"job": 1})
        assert ["b", "c"] == await stage.claim_ids(count=9, limits={"job": 3})
        assert ["d"] == await stage.claim_ids(count=1, limits={"job": 9})
        assert ["e", "f", "g"] == await stage.claim_ids(count=9)

    async def test_whoever_waits_is_woken_for_a_free_slot(self, stage: Stage) -> None:
        """When a run of the job has ended on another node."""
        await stage.join("one")
        await stage.join("two")
        await stage.add("a", "b")
        run = await stage.claim_one("one", limits={"job": 1})

        async with stage.inbox("two") as inbox:
            assert [] == await stage.claim("two", limits={"job": 1})
            await stage.settle(run, "succeeded", node_id="one")
            await inbox.expect("work")

        assert ["b"] == await stage.claim_ids("two", limits={"job": 1})
