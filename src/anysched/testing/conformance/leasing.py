# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Nodes and their leases: who is known, what comes back from the dead, and what is poison."""

from __future__ import annotations

import pytest

from anysched.backends.records import NAMED_AT_RENEWAL, POISON_ERROR
from anysched.clock import from_ms
from anysched.codec import JsonCodec
from anysched.errors import RunFailed, WorkerLost
from anysched.run import Attempt, AttemptError
from anysched.runtime.awaiting import conclude
from anysched.runtime.requesting import run_info

from .stage import LATER, Stage, Staged, ids

__all__ = ["LeaseConformance"]


class LeaseConformance(Staged):
    """``join``, ``renew``, ``leave``, and the reaping of dead nodes."""

    async def test_a_live_node_is_listed(self, stage: Stage) -> None:
        """By id, with what it said of itself and how much it runs; joined anew it is changed."""
        before = await stage.backend.time_ms()
        await stage.join("b", queues=("one", "two"), program="p", facts='{"host":"x"}')
        await stage.join("a")
        await stage.add("r")
        await stage.claim("a")
        first, second = await stage.backend.list_nodes()

        assert ("a", ("default",), "", "", 1) == (first.id, first.queues, first.program, first.facts, first.running)
        assert ("b", ("one", "two"), "p", '{"host":"x"}', 0) == (
            second.id,
            second.queues,
            second.program,
            second.facts,
            second.running,
        )
        assert before + LATER <= first.expires_ms <= await stage.backend.time_ms() + LATER

        await stage.join("a", ttl_ms=2 * LATER, facts="new")
        first, _ = await stage.backend.list_nodes()
        assert ("new", 1) == (first.facts, first.running)
        assert first.expires_ms >= before + 2 * LATER

    async def test_joining_tells_the_time(self, stage: Stage) -> None:
        """The backend's."""
        before = await stage.backend.time_ms()
        await stage.join()
        await stage.advance(5)
        await stage.join("other", jobs=())
        assert before + 5 <= await stage.backend.time_ms()

    async def test_a_renewed_node_keeps_its_runs(self, stage: Stage) -> None:
        """However long they last, as long as it renews in time, or before somebody reaped it."""
        await stage.join(ttl_ms=150)
        await stage.add("a")
        run = await stage.claim_one()

        for _ in "123":
            await stage.advance(60)
            renewed = await stage.backend.renew("node", 150)
            assert not renewed.lost

        await stage.backend.renew("node", 1)
        await stage.advance(5)
        late = await stage.backend.renew("node", LATER)
        assert not late.lost
        assert late.now_ms <= await stage.backend.time_ms()
        await stage.tidy()
        assert await stage.settle(run, "succeeded")

    async def test_a_renewal_names_what_the_node_holds(self, stage: Stage) -> None:
        """With the tokens, the smallest first, and only so many; not what was settled, nor what is another's."""
        await stage.join()
        await stage.join("other")
        await stage.add("theirs")
        await stage.claim("other")
        assert () == (await stage.backend.renew("node", LATER)).held

        await stage.add(*(f"{number:04}" for number in range(NAMED_AT_RENEWAL + 5)))
        runs = [run for _ in range(5) for run in await stage.claim(count=250)]
        held = [(run.id, run.token) for run in runs]
        assert held[:NAMED_AT_RENEWAL] == list((await stage.backend.renew("node", LATER)).held)

        await stage.settle(runs[1], "succeeded")
        await stage.settle(runs[2], "released")
        expected = [held[0], *held[3:]][:NAMED_AT_RENEWAL]
        assert expected == list((await stage.backend.renew("node", LATER)).held)

    async def test_a_lapsed_node_does_not_reap_itself(self, stage: Stage) -> None:
        """It may go on working until somebody else reaps it."""
        await stage.join()
        await stage.add("a", "b")
        run = await stage.claim_one()
        await stage.backend.renew("node", 1)
        await stage.advance(5)
        reply = await stage.work()

        assert (True, (), ["b"]) == (reply.known, reply.lost, ids(reply.runs))
        assert await stage.settle(run, "succeeded")

    async def test_the_runs_of_a_dead_node_come_back(self, stage: Stage) -> None:
        """At the front of their queue, the attempt refunded, the crash counted."""
        await stage.join("doomed")
        await stage.join("other")
        await stage.add("b", "a")
        await stage.add("c", "d")
        dead = await stage.claim("doomed", count=2)
        await stage.backend.renew("doomed", 1)
        await stage.advance(5)
        reply = await stage.work("other", count=10)

        assert (("doomed",), ["a", "b", "c", "d"]) == (reply.lost, ids(reply.runs))
        assert [(1, 1), (1, 1), (1, 0), (1, 0)] == [(run.attempt, run.crashes) for run in reply.runs]
        assert min(run.token for run in reply.runs) > max(run.token for run in dead)
        assert ["other"] == ids(await stage.backend.list_nodes())

    async def test_a_lost_node_is_told_so(self, stage: Stage) -> None:
        """By its renewal, which changes nothing, and by its next claim, until it joins under another id."""
        await stage.join("doomed")
        await stage.add("a")
        await stage.claim("doomed")
        await stage.die("doomed")

        assert [True, True] == [(await stage.backend.renew("doomed", LATER)).lost for _ in "12"]
        assert (False, ()) == ((reply := await stage.work("doomed")).known, reply.runs)
        assert (await stage.backend.renew("stranger", LATER)).lost
        assert [] == await stage.backend.list_nodes()

    async def test_one_dead_node_at_a_time_is_reaped(self, stage: Stage) -> None:
        """The one whose lease ended first; each is named once."""
        for name in ("one", "two"):
            await stage.join(name, ttl_ms=1)
            await stage.advance(5)

        assert [("one",), ("two",), ()] == [(await stage.tidy()).lost for _ in "123"]

    async def test_a_node_with_many_runs_is_reaped_in_portions(self, stage: Stage) -> None:
        """A hundred at a time, by whoever works or renews; it is lost from the first on."""
        await stage.join("doomed")
        await stage.join("other", jobs=("nothing",))
        run_ids = [f"{number:03}" for number in range(250)]
        await stage.add(*run_ids)
        assert 250 == len(await stage.claim("doomed", count=250))
        await stage.backend.renew("doomed", 1)
        await stage.advance(5)

        assert ("doomed",) == (await stage.tidy()).lost
        assert (100, 150) == ((totals := await stage.backend.totals()).ready, totals.running)
        assert (await stage.backend.renew("doomed", LATER)).lost
        await stage.backend.renew("other", LATER)
        assert () == (await stage.tidy()).lost
        assert (250, 0) == ((totals := await stage.backend.totals()).ready, totals.running)

    async def test_a_node_that_leaves_hands_back_what_it_holds(self, stage: Stage) -> None:
        """At once, no crash counted; leaving twice, or without having joined, is nothing."""
        await stage.join("leaving")
        await stage.join("other")
        await stage.add("a", "b", "c")
        await stage.claim("leaving", count=2)
        await stage.backend.cancel("b")

        for name in ("leaving", "leaving", "stranger"):
            await stage.backend.leave(name)

        assert ["ready", "cancelled", "ready"] == await stage.statuses("a", "b", "c")
        assert [("a", 1, 0), ("c", 1, 0)] == [
            (run.id, run.attempt, run.crashes) for run in await stage.claim("other", count=5)
        ]
        assert ["other"] == ids(await stage.backend.list_nodes())
        assert (await stage.backend.renew("leaving", LATER)).lost

    async def test_a_node_that_leaves_with_many_runs_leaves_the_rest_to_housekeeping(self, stage: Stage) -> None:
        """Without waiting for its lease, and without counting a crash."""
        await stage.join("leaving")
        run_ids = [f"{number:03}" for number in range(150)]
        await stage.add(*run_ids)
        await stage.claim("leaving", count=150)
        await stage.backend.leave("leaving")
        assert 100 == (await stage.backend.totals()).ready
        await stage.tidy()

        records = [await stage.run(run_id) for run_id in (run_ids[0], run_ids[-1])]
        assert [("ready", 0, 0)] * 2 == [(run.status, run.attempt, run.crashes) for run in records]
        assert (150, 0) == ((totals := await stage.backend.totals()).ready, totals.running)

    async def test_three_crashes_are_poison(self, stage: Stage) -> None:
        """The run fails, its last error says why; it can be revived, its crashes forgotten."""
        await stage.add("a", key="k")

        for crashes in range(3):
            await stage.join(f"n{crashes}")
            run = await stage.claim_one(f"n{crashes}")
            assert (1, crashes) == (run.attempt, run.crashes)
            await stage.die(f"n{crashes}")

        record = await stage.run("a")
        assert ("failed", 3, (POISON_ERROR,), None) == (
            record.status,
            record.crashes,
            record.errors,
            await stage.backend.find_key("k"),
        )

        with pytest.raises(RunFailed) as failed:
            conclude(record, None, JsonCodec())

        expected = AttemptError("anysched.errors.WorkerLost", str(WorkerLost(3)))
        lost = Attempt(
            number=1,
            started_at=from_ms(record.started_ms),
            ended_at=from_ms(record.finished_ms),
            error=expected,
        )
        assert (expected, (lost,)) == (failed.value.error, run_info(record).attempts)
        assert 0 < record.started_ms <= record.finished_ms

        await stage.backend.revive("a")
        await stage.join("last")
        assert 0 == (await stage.claim_one("last")).crashes

    async def test_progress_forgives_crashes(self, stage: Stage) -> None:
        """A run that gets on is not poison."""
        await stage.add("a")

        for number in range(4):
            await stage.join(f"n{number}")
            run = await stage.claim_one(f"n{number}")
            assert await stage.backend.set_progress("a", run.token, number / 10, "")
            assert 0 == (await stage.run("a")).crashes
            await stage.die(f"n{number}")

        assert ("ready", 1) == ((await stage.run("a")).status, (await stage.run("a")).crashes)

    @pytest.mark.parametrize("kind", ["retry", "snooze", "released"])
    async def test_other_ends_of_an_attempt_do_not_forgive_crashes(self, stage: Stage, kind: str) -> None:
        """Only progress does."""
        await stage.add("a")

        for number in range(2):
            await stage.join(f"n{number}")
            await stage.claim_one(f"n{number}")
            await stage.die(f"n{number}")

        await stage.join("fine")
        await stage.settle(await stage.claim_one("fine"), kind, node_id="fine")
        await stage.claim_one("fine")
        await stage.die("fine")
        assert "failed" == await stage.status("a")
