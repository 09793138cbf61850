# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Entries firing: the cursor is compared and advanced, and runs are made as the overlap policy says."""

from __future__ import annotations

from typing import Any

import pytest

from anysched.backends import Fire, FireAnswer

from .stage import LATER, Stage, Staged, new_run

__all__ = ["FireConformance"]

POLICIES = ["skip", "queue_one", "queue_all", "cancel_previous", "allow"]


class FireConformance(Staged):
    """``tick`` and ``trigger``."""

    # --- the cursor ------------------------------------------------------------------------------------------

    async def test_a_fire_makes_its_run_and_advances_the_cursor(self, stage: Stage) -> None:
        """In one step, counted, and listed as the newest."""
        await stage.join()
        cursor = await stage.put()
        reply = await stage.fire("a", missed=2)
        record, run = await stage.entry(), await stage.run("a")

        assert (FireAnswer(done=True, made=1),) == reply.fired
        assert ("active", cursor + LATER, cursor, 1, 2, 0) == (
            record.status,
            record.next_ms,
            record.last_ms,
            record.run_count,
            record.missed_count,
            record.overlap_skipped,
        )
        assert (("a",), (), (("a", cursor, "live"),)) == (record.live, record.waiting, record.last_runs)
        assert ("ready", "entry", cursor) == (run.status, run.entry_id, run.scheduled_for_ms)
        assert ([], ["a"]) == (await stage.due(), await stage.claim_ids())

    async def test_of_two_nodes_that_saw_one_cursor_one_wins(self, stage: Stage) -> None:
        """The other one is told, and nothing of its fire is done."""
        cursor = await stage.put()
        first = await stage.fire("a", cursor_ms=cursor, missed=1, overlap="allow")
        second = await stage.fire("b", cursor_ms=cursor, missed=1, overlap="allow")

        assert [True, False] == [reply.fired[0].done for reply in (first, second)]
        assert ["ready", ""] == await stage.statuses("a", "b")
        assert (1, 1) == ((record := await stage.entry()).run_count, record.missed_count)

    async def test_a_fire_by_another_rule_is_refused(self, stage: Stage) -> None:
        """The revision has to be the stored one, and the entry there and active."""
        await stage.put()
        await stage.put("finished", next_ms=0)
        fires = [
            Fire(entry_id="entry", revision="r0", cursor_ms=(await stage.entry()).next_ms, next_ms=LATER),
            Fire(entry_id="entry", revision="r1", cursor_ms=0, next_ms=LATER),
            Fire(entry_id="finished", revision="r1", cursor_ms=0, next_ms=LATER),
            Fire(entry_id="none", revision="r1", cursor_ms=0, next_ms=LATER),
        ]

        assert (FireAnswer(done=False),) * 4 == (await stage.backend.tick("n", fires, count=0)).fired
        assert ["entry"] == await stage.due()

    async def test_a_repeated_tick_is_known_by_its_nonce(self, stage: Stage) -> None:
        """It is answered as at first, and nothing is fired again; what is due is looked up anew."""
        cursor = await stage.put()
        first = await stage.fire("a", cursor_ms=cursor, next_ms=cursor + 1, nonce="n")
        again = await stage.fire("a", cursor_ms=cursor, next_ms=cursor + 1, nonce="n")

        assert first.fired == again.fired == (FireAnswer(done=True, made=1),)
        assert (1, cursor + 1) == ((record := await stage.entry()).run_count, record.next_ms)

    async def test_several_entries_fire_in_one_step(self, stage: Stage) -> None:
        """Each answered by itself, and the next due ones are looked up after that."""
        cursor = await stage.put("a")
        await stage.put("b", next_ms=cursor)
        fires = [
            Fire(
                entry_id=name, revision=revision, cursor_ms=cursor, next_ms=cursor + step, runs=(new_run(f"{name} 1"),)
            )
            for name, revision, step in (("a", "r1", LATER), ("b", "r0", LATER))
        ]
        reply = await stage.backend.tick("n", fires, count=5)

        assert (FireAnswer(done=True, made=1), FireAnswer(done=False)) == reply.fired
        assert (["b"], cursor + LATER) == ([entry.id for entry in reply.due], reply.next_due_ms)

    async def test_a_last_fire_finishes_the_entry(self, stage: Stage) -> None:
        """There is no next time."""
        await stage.put()
        assert 1 == (await stage.fire("a", next_ms=0, end="finished")).fired[0].made

        record = await stage.entry()
        assert ("finished", 0, 1) == (record.status, record.next_ms, record.run_count)
        assert (1, 0) == ((totals := await stage.backend.totals()).entries, totals.active_entries)

    async def test_a_fire_may_make_no_run(self, stage: Stage) -> None:
        """Everything was missed."""
        cursor = await stage.put()
        assert (FireAnswer(done=True),) == (await stage.fire(missed=7)).fired
        assert (0, 7, cursor + LATER, 0) == (
            (record := await stage.entry()).run_count,
            record.missed_count,
            record.next_ms,
            record.last_ms,
        )

    async def test_a_run_that_is_stored_already_is_not_made_again(self, stage: Stage) -> None:
        """Neither made nor skipped: the fire is that run."""
        await stage.add("a", payload="first")
        await stage.put()

        assert (FireAnswer(done=True),) == (await stage.fire("a")).fired
        assert ("first", 0, 0) == (
            (await stage.run("a")).payload,
            (record := await stage.entry()).run_count,
            record.overlap_skipped,
        )

    async def test_a_taken_key_skips_the_run(self, stage: Stage) -> None:
        """Whatever the policy."""
        await stage.add("holder", key="k")

        for policy in POLICIES:
            await stage.put(policy)
            reply = await stage.fire(entry_id=policy, overlap=policy, runs=[new_run(f"{policy} run", key="k")])
            assert (FireAnswer(done=True, skipped=1),) == reply.fired
            assert 1 == (await stage.entry(policy)).overlap_skipped

        assert "holder" == await stage.backend.find_key("k")

    async def test_a_fired_run_may_be_due_later(self, stage: Stage) -> None:
        """As one that is enqueued; it is live meanwhile."""
        await stage.put()
        await stage.fire(runs=[new_run("a", entry_id="entry", delay_ms=LATER)])

        assert ("scheduled", ("a",)) == (await stage.status("a"), (await stage.entry()).live)
        assert 1 == (await stage.fire("b")).fired[0].skipped

    async def test_the_last_ten_runs_are_remembered(self, stage: Stage) -> None:
        """Newest first, with what became of them."""
        await stage.join()
        cursor = await stage.put()
        names = [f"{number:02}" for number in range(12)]
        await stage.fire(*names, overlap="allow")
        runs = await stage.claim(count=12)
        await stage.settle(runs[11], "succeeded")
        await stage.settle(runs[10], "failed")
        await stage.settle(runs[9], "retry", delay_ms=LATER)
        await stage.backend.cancel(names[9])

        expected = ["succeeded", "failed", "cancelled", *["live"] * 7]
        assert list(zip(names[:1:-1], [cursor] * 10, expected, strict=True)) == list((await stage.entry()).last_runs)

    # --- limits ----------------------------------------------------------------------------------------------

    async def test_a_limit_finishes_the_entry(self, stage: Stage) -> None:
        """When as many runs were made; the rest of the fire is skipped, but not counted as overlapping."""
        await stage.put()
        await stage.fire("a", limit=3, overlap="allow")
        assert "active" == (await stage.entry()).status
        reply = await stage.fire("b", "c", "d", "e", limit=3, overlap="allow")
        record = await stage.entry()

        assert (FireAnswer(done=True, made=2, skipped=2),) == reply.fired
        assert ("finished", 0, 3, 0) == (record.status, record.next_ms, record.run_count, record.overlap_skipped)
        assert ["ready", "ready", "", ""] == await stage.statuses("b", "c", "d", "e")

    async def test_a_skipped_run_does_not_count_against_the_limit(self, stage: Stage) -> None:
        """A waiting one does."""
        await stage.put()
        await stage.fire("a", limit=3)
        await stage.fire("b", limit=3)
        assert ("active", 1, 1) == ((r := await stage.entry()).status, r.run_count, r.overlap_skipped)
        await stage.fire("c", "d", limit=3, overlap="queue_all")
        assert ("finished", 3, ("c", "d")) == ((r := await stage.entry()).status, r.run_count, r.waiting)

    # --- overlap ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("policy", POLICIES)
    async def test_without_a_live_run_every_policy_makes_one(self, stage: Stage, policy: str) -> None:
        """At once; also when the run before has ended."""
        await stage.join()
        await stage.put()

        for name in "ab":
            assert (FireAnswer(done=True, made=1),) == (await stage.fire(name, overlap=policy)).fired
            assert "ready" == await stage.status(name)
            await stage.settle(await stage.claim_one(), "failed")
            assert () == (await stage.entry()).live

    async def test_skip_makes_no_second_run(self, stage: Stage) -> None:
        """While one is live, in whatever status; it is counted."""
        await stage.join()
        await stage.put()
        await stage.fire("a", overlap="skip")
        run = await stage.claim_one()
        await stage.settle(run, "retry", delay_ms=LATER)

        assert (FireAnswer(done=True, skipped=2),) == (await stage.fire("b", "c", overlap="skip")).fired
        assert (1, 2, ("a",)) == ((r := await stage.entry()).run_count, r.overlap_skipped, r.live)
        assert ["", ""] == await stage.statuses("b", "c")

    async def test_queue_one_lets_one_wait(self, stage: Stage) -> None:
        """More are skipped and counted; the one is ready when the live one has ended."""
        await stage.join()
        await stage.put()
        reply = await stage.fire("a", "b", "c", overlap="queue_one")
        assert (FireAnswer(done=True, made=2, skipped=1),) == reply.fired
        assert (2, 1, ("a",), ("b",)) == ((r := await stage.entry()).run_count, r.overlap_skipped, r.live, r.waiting)
        run = await stage.claim_one()
        assert ([], "waiting") == (await stage.claim(), await stage.status("b"))

        await stage.settle(run, "succeeded")
        assert (("b",), ()) == ((r := await stage.entry()).live, r.waiting)
        assert 1 == (await stage.fire("d", overlap="queue_one")).fired[0].made
        assert ["b"] == await stage.claim_ids(count=5)

    async def test_queue_all_lets_them_wait_in_order(self, stage: Stage) -> None:
        """One after the other is made ready, each when the one before has ended, however it ended."""
        await stage.join()
        await stage.put()
        await stage.fire(*"abcdef", overlap="queue_all")
        assert tuple("bcdef") == (await stage.entry()).waiting
        await stage.backend.cancel("b")

        for name, kind in zip("acd", ("failed", "cancelled", "succeeded"), strict=True):
            (run,) = await stage.claim(count=9)
            assert name == run.id
            await stage.settle(run, kind)

        await stage.backend.cancel("e")
        assert ["f"] == await stage.claim_ids(count=9)
        assert ((r := await stage.entry()).live, r.waiting) == (("f",), ())

    async def test_queue_all_lets_a_thousand_wait(self, stage: Stage) -> None:
        """The next is skipped and counted."""
        await stage.put()
        await stage.fire("live")
        skipped = 0

        for start in range(0, 1_100, 100):
            reply = await stage.fire(*(f"{start + number}" for number in range(100)), overlap="queue_all")
            skipped += reply.fired[0].skipped

        assert (100, 100, 1_000) == (
            skipped,
            (await stage.entry()).overlap_skipped,
            (await stage.backend.totals()).waiting,
        )
        assert await stage.backend.remove_entry("entry")
        assert (0, 1_000) == ((totals := await stage.backend.totals()).waiting, totals.cancelled)

    async def test_cancel_previous_asks_what_runs_to_stop(self, stage: Stage) -> None:
        """The new one waits until it has; what waited before is cancelled."""
        await stage.join()
        await stage.put()
        await stage.fire("a", overlap="cancel_previous")
        run = await stage.claim_one()

        async with stage.inbox("node") as inbox:
            assert 1 == (await stage.fire("b", overlap="cancel_previous")).fired[0].made
            await inbox.expect("cancel", "a")

        assert 1 == (await stage.fire("c", overlap="cancel_previous")).fired[0].made
        assert ["running", "cancelled", "waiting"] == await stage.statuses("a", "b", "c")
        assert ("a",) == (await stage.backend.renew("node", LATER)).cancels
        await stage.settle(run, "cancelled")
        assert ["cancelled", "cancelled", "ready"] == await stage.statuses("a", "b", "c")
        assert (3, 0, ("c",)) == ((r := await stage.entry()).run_count, r.overlap_skipped, r.live)

    async def test_cancel_previous_replaces_what_was_not_started(self, stage: Stage) -> None:
        """The new one is made at once."""
        await stage.put()
        await stage.fire("a", "b", overlap="cancel_previous")
        await stage.fire("c", overlap="cancel_previous")

        assert ["cancelled", "cancelled", "ready"] == await stage.statuses("a", "b", "c")
        assert (("c",), ()) == ((r := await stage.entry()).live, r.waiting)

    async def test_allow_makes_them_at_once(self, stage: Stage) -> None:
        """However many are live; what waits is released when the last of them has ended."""
        await stage.join()
        await stage.put()
        await stage.fire("a", "b", overlap="allow")
        await stage.trigger("w", overlap="queue_all")
        a, b = await stage.claim(count=9)
        assert ("a", "b") == (await stage.entry()).live
        await stage.settle(a, "succeeded")
        assert "waiting" == await stage.status("w")
        await stage.settle(b, "succeeded")
        assert "ready" == await stage.status("w")

    async def test_a_waiting_run_expires_and_leaves_the_line(self, stage: Stage) -> None:
        """It is never started then."""
        await stage.join()
        await stage.put()
        await stage.fire("a")
        await stage.trigger("w1", overlap="queue_all", expires_ms=20)
        await stage.trigger("w2", overlap="queue_all")
        await stage.advance(30)
        await stage.tidy()

        assert ("expired", ("w2",)) == (await stage.status("w1"), (await stage.entry()).waiting)

    async def test_a_waiting_run_has_its_key(self, stage: Stage) -> None:
        """It is live."""
        await stage.put()
        await stage.fire("a")
        await stage.trigger("w", overlap="queue_all", key="k")
        assert "w" == await stage.backend.find_key("k")

    async def test_a_revived_run_is_live_again(self, stage: Stage) -> None:
        """For its entry, and in the list of the last."""
        await stage.join()
        cursor = await stage.put()
        await stage.fire("a")
        await stage.settle(await stage.claim_one(), "failed")
        await stage.backend.revive("a")

        assert (("a",), (("a", cursor, "live"),)) == ((r := await stage.entry()).live, r.last_runs)
        assert 1 == (await stage.fire("b")).fired[0].skipped

    # --- after completion ------------------------------------------------------------------------------------

    async def test_a_fixed_delay_counts_from_the_end_of_the_run(self, stage: Stage) -> None:
        """Until then the entry has no time, and is active; everybody is told of the new one."""
        await stage.join()
        await stage.put()
        await stage.fire("a", next_ms=0, end="completion", after_ms=LATER)
        assert ("active", 0, []) == ((r := await stage.entry()).status, r.next_ms, await stage.due())
        run = await stage.claim_one()
        await stage.settle(run, "snooze")
        assert 0 == (await stage.entry()).next_ms
        run = await stage.claim_one()

        async with stage.inbox("me") as inbox:
            await stage.settle(run, "failed")
            await inbox.expect("entries")

        ended = (await stage.run("a")).finished_ms
        assert ended + LATER == (await stage.entry()).next_ms

    async def test_a_fixed_delay_without_a_run_counts_from_now(self, stage: Stage) -> None:
        """Since none was made, and none lives."""
        await stage.put()
        reply = await stage.fire(next_ms=0, end="completion", after_ms=LATER)
        assert 0 <= (await stage.entry()).next_ms - LATER - reply.now_ms <= 5_000

    async def test_a_fixed_delay_that_meets_a_live_run_counts_from_its_end(self, stage: Stage) -> None:
        """The newest, if it skips its own, or has missed it.

        Break: it goes on from the time of the fire, and follows the end of the live run too soon.
        """
        await stage.join()

        for name, run_ids in (("missed", ()), ("skipped", ("own",))):
            await stage.put(name)
            await stage.trigger(f"{name} older", name)
            await stage.trigger(f"{name} newer", name)
            fields: dict[str, Any] = {"next_ms": 0, "end": "completion", "after_ms": LATER}
            await stage.fire(*run_ids, entry_id=name, overlap="skip", **fields)
            older, newer = await stage.claim(count=2)
            await stage.settle(older, "succeeded")
            assert ("active", 0) == ((entry := await stage.entry(name)).status, entry.next_ms)
            await stage.settle(newer, "succeeded")
            assert (await stage.run(newer.id)).finished_ms + LATER == (await stage.entry(name)).next_ms

    async def test_a_fixed_delay_waits_for_the_last_of_several_runs(self, stage: Stage) -> None:
        """The last that was made."""
        await stage.join()
        await stage.put()
        await stage.fire("a", "b", next_ms=0, end="completion", after_ms=LATER, overlap="queue_all")
        await stage.settle(await stage.claim_one(), "succeeded")
        assert 0 == (await stage.entry()).next_ms
        await stage.settle(await stage.claim_one(), "succeeded")
        assert (await stage.run("b")).finished_ms + LATER == (await stage.entry()).next_ms

    async def test_a_pause_outlasts_a_fixed_delay(self, stage: Stage) -> None:
        """The end of the run sets no time then, nor when it was resumed or replaced before."""
        await stage.join()

        for name in ("paused", "resumed"):
            await stage.put(name)
            await stage.fire(f"{name} run", entry_id=name, next_ms=0, end="completion", after_ms=LATER)
            await stage.backend.pause_entry(name, "")

        await stage.backend.resume_entry("resumed", revision="r1", next_ms=77)

        for run in await stage.claim(count=2):
            await stage.settle(run, "succeeded")

        assert ("paused", 77) == ((await stage.entry("paused")).status, (await stage.entry("resumed")).next_ms)

    async def test_a_limit_ends_a_fixed_delay(self, stage: Stage) -> None:
        """There is no next time after the last run."""
        await stage.join()
        await stage.put()
        await stage.fire("a", next_ms=0, end="completion", after_ms=LATER, limit=1)
        await stage.settle(await stage.claim_one(), "succeeded")

        assert ("finished", 0) == ((r := await stage.entry()).status, r.next_ms)

    # --- triggering ------------------------------------------------------------------------------------------

    async def test_a_triggered_run_leaves_the_schedule_alone(self, stage: Stage) -> None:
        """It is not counted, but it is the newest run; a paused or finished entry will do."""
        cursor = await stage.put()
        await stage.backend.pause_entry("entry", "why")
        await stage.put("finished", next_ms=0)

        assert (1, 0) == await stage.trigger("a", scheduled_for_ms=123)
        assert (1, 0) == await stage.trigger("b", "finished")
        record = await stage.entry()
        assert ("paused", cursor, 0, 0) == (record.status, record.next_ms, record.run_count, record.last_ms)
        assert (("a",), (("a", 123, "live"),)) == (record.live, record.last_runs)
        assert ["ready", "ready"] == await stage.statuses("a", "b")
        assert await stage.backend.trigger("none", new_run("c"), overlap="allow") is None

    async def test_a_repeated_trigger_makes_nothing_anew(self, stage: Stage) -> None:
        """It is known by the id of the run, also when that has ended."""
        await stage.join()
        await stage.put()
        assert [(1, 0), (1, 0)] == [await stage.trigger("a") for _ in "12"]
        await stage.settle(await stage.claim_one(), "succeeded")
        assert (1, 0) == await stage.trigger("a")

        assert (0, "succeeded", 1) == (
            (await stage.backend.totals()).ready,
            await stage.status("a"),
            len((await stage.entry()).last_runs),
        )

    async def test_a_trigger_heeds_the_overlap_policy(self, stage: Stage) -> None:
        """Like a fire, but what is skipped is not counted."""
        await stage.put()
        await stage.trigger("a")

        assert (0, 1) == await stage.trigger("b", overlap="skip")
        assert (1, 0) == await stage.trigger("c", overlap="queue_one")
        assert (0, 1) == await stage.trigger("d", overlap="queue_one")
        assert ["ready", "", "waiting", ""] == await stage.statuses(*"abcd")
        assert 0 == (await stage.entry()).overlap_skipped
        assert (1, 0) == await stage.trigger("e", overlap="cancel_previous")
        assert ["cancelled", "cancelled", "ready"] == await stage.statuses(*"ace")
