# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""One step of a worker: outcomes are settled under their tokens, due runs become ready, and runs are claimed."""

from __future__ import annotations

from anysched.backends import Outcome

from .stage import LATER, Stage, Staged, ids, new_run

__all__ = ["WorkConformance"]


class WorkConformance(Staged):
    """``work`` and ``set_progress``."""

    # --- claiming --------------------------------------------------------------------------------------------

    async def test_the_highest_priority_goes_first_then_the_first_in(self, stage: Stage) -> None:
        """Within a queue; a batch is in the order given."""
        await stage.join()
        await stage.backend.enqueue([new_run("z"), new_run("a"), new_run("low", priority=-1)])
        await stage.backend.enqueue([new_run("high", priority=5), new_run("m"), new_run("higher", priority=6)])

        assert ["higher", "high", "z", "a", "m", "low"] == await stage.claim_ids(count=10)

    async def test_queues_are_served_in_the_order_of_the_claim(self, stage: Stage) -> None:
        """The next queue only when the one before is empty; what is not asked for stays."""
        await stage.join(queues=("one", "two", "three"))
        await stage.add("a", "b", queue="one", priority=9)
        await stage.add("c", "d", queue="two")
        await stage.add("e", queue="three", priority=99)

        assert ["c", "d", "a"] == await stage.claim_ids(count=3, queues=("two", "one"))
        assert ["b"] == await stage.claim_ids(count=3, queues=("none", "one", "one"))
        assert "ready" == await stage.status("e")

    async def test_what_falls_due_queues_up_by_due_time(self, stage: Stage) -> None:
        """Then by id, behind what was ready before, whatever the order of enqueueing."""
        await stage.join()
        now = await stage.backend.time_ms()
        await stage.add("y", "x", at_ms=now + 50)
        await stage.add("earlier", at_ms=now + 40)
        await stage.add("ready")
        await stage.add("much later", delay_ms=LATER)
        await stage.advance(60)

        assert ["ready", "earlier", "x", "y"] == await stage.claim_ids(count=10)
        assert "scheduled" == await stage.status("much later")

    async def test_a_claim_brings_all_that_is_needed_to_run(self, stage: Stage) -> None:
        """The run as it was enqueued, with its token and the number of the attempt."""
        await stage.join(queues=("mail",))
        await stage.add(
            "a",
            payload="p",
            queue="mail",
            priority=3,
            key="k",
            entry_id="e",
            scheduled_for_ms=123,
            options="o",
            deadline_ms=456,
        )
        run, record = await stage.claim_one(queues=("mail",)), await stage.run("a")

        for name in ("id", "job", "payload", "queue", "priority", "key", "entry_id", "scheduled_for_ms", "options"):
            assert (name, getattr(record, name)) == (name, getattr(run, name))

        assert (record.token, 1, 456, record.enqueued_ms, 0) == (
            run.token,
            run.attempt,
            run.deadline_ms,
            run.enqueued_ms,
            run.crashes,
        )
        assert ("running", "node", 1) == (record.status, record.node, record.attempt)
        assert record.enqueued_ms <= record.started_ms <= await stage.backend.time_ms()

    async def test_a_claim_takes_no_more_than_it_asks_for(self, stage: Stage) -> None:
        """Filled, it says that there may be more; short, when to look again."""
        await stage.join()
        await stage.add(*(f"{number:03}" for number in range(70)))
        filled = await stage.work(count=32)
        await stage.claim(count=32)
        short = await stage.work(count=32)

        assert ([f"{number:03}" for number in range(32)], True) == (ids(filled.runs), filled.more)
        assert ([f"{number:03}" for number in range(64, 70)], False) == (ids(short.runs), short.more)

    async def test_tokens_only_grow(self, stage: Stage) -> None:
        """Each claimed run gets a token greater than all before, and at least the backend's microseconds."""
        await stage.join()
        await stage.add("a", "b", "c")
        tokens = [(await stage.backend.time_ms()) * 1_000 - 1]

        for run in await stage.claim(count=3):
            tokens.append(run.token)
            await stage.settle(run, "released")

        tokens += [run.token for run in await stage.claim(count=3)]
        assert sorted(set(tokens)) == tokens

    async def test_a_repeated_claim_gives_the_same_runs(self, stage: Stage) -> None:
        """As far as they are still held; nothing new is taken."""
        await stage.join()
        await stage.add("a", "b", "c")
        number = stage.number()
        first = await stage.work(count=2, number=number)
        again = await stage.work(count=2, number=number)

        assert first.runs == again.runs
        assert (first.more, "ready") == (again.more, await stage.status("c"))

        await stage.settle(first.runs[0], "released")
        assert ["b"] == ids((await stage.work(count=2, number=number)).runs)
        assert ["a", "c"] == await stage.claim_ids(count=5)
        assert ["b"] == ids((await stage.work(count=2, number=number)).runs)

    async def test_a_repeated_claim_that_got_nothing_gets_nothing(self, stage: Stage) -> None:
        """Even if there is something now."""
        await stage.join()
        number = stage.number()
        assert [] == await stage.claim(number=number)
        await stage.add("a")
        assert [] == await stage.claim(number=number)
        assert ["a"] == await stage.claim_ids()

    async def test_a_claim_is_known_again_after_seven_newer_ones(self, stage: Stage) -> None:
        """As long as that: so an answer that was lost can be asked for again, though others were sent meanwhile."""
        await stage.join()
        await stage.add("a", "b")
        number = stage.number()
        assert ["a"] == await stage.claim_ids(number=number)

        for _ in range(7):
            await stage.claim(count=1, queues=("other",))

        assert ["a"] == await stage.claim_ids(number=number)

    async def test_a_claim_that_arrives_after_eight_newer_ones_takes_nothing(self, stage: Stage) -> None:
        """Be it a repeated one or a late one: nobody waits for it. Whoever does is told to ask again."""
        await stage.join()
        late, repeated = stage.number(), stage.number()
        await stage.claim(number=repeated)

        for _ in range(9):
            await stage.claim()

        await stage.add("a")
        replies = [await stage.work(number=number) for number in (late, repeated, late)]

        assert [((), True, True)] * 3 == [(reply.runs, reply.known, reply.more) for reply in replies]
        assert "ready" == await stage.status("a")
        assert ["a"] == await stage.claim_ids()

    async def test_a_claim_that_comes_too_late_settles_what_it_brings(self, stage: Stage) -> None:
        """Outcomes are known by their tokens, whatever travels with them."""
        await stage.join()
        await stage.add("a", "b")
        late, run = stage.number(), await stage.claim_one()

        for _ in range(8):
            await stage.claim(queues=("other",))

        reply = await stage.work("node", Outcome(run_id="a", token=run.token, kind="succeeded"), number=late)

        assert ((True,), ()) == (reply.settled, reply.runs)
        assert ["succeeded", "ready"] == await stage.statuses("a", "b")

    async def test_claims_may_overtake_each_other(self, stage: Stage) -> None:
        """In whatever order the newest eight arrive, each is filled, and each is known again."""
        await stage.join()
        numbers = [stage.number() for _ in range(8)][::-1]
        names = [f"run {number}" for number in numbers]
        await stage.add(*names)
        given = [await stage.claim_ids(number=number) for number in numbers]

        assert [[name] for name in names] == given
        assert given == [await stage.claim_ids(number=number) for number in numbers]

    async def test_each_node_has_its_own_claims(self, stage: Stage) -> None:
        """Two nodes never get the same run, whatever the numbers of their claims."""
        await stage.join("one")
        await stage.join("two")
        await stage.add("a", "b")

        assert [["a"], ["b"]] == [await stage.claim_ids(node, number=1) for node in ("one", "two")]

    async def test_a_node_that_is_not_known_gets_nothing(self, stage: Stage) -> None:
        """It is told so, and the run is left."""
        await stage.add("a")
        reply = await stage.work("stranger")

        assert (False, (), "ready") == (reply.known, reply.runs, await stage.status("a"))

    async def test_a_paused_queue_gives_nothing(self, stage: Stage) -> None:
        """On any node, until it is resumed; enqueueing goes on, other queues too."""
        await stage.join(queues=("default", "other"))
        await stage.add("a")
        await stage.backend.pause_queue("default")
        await stage.backend.pause_queue("default")
        await stage.add("b")
        await stage.add("c", queue="other")

        assert ["c"] == await stage.claim_ids(count=5, queues=("default", "other"))
        await stage.backend.resume_queue("default")
        await stage.backend.resume_queue("default")
        assert ["a", "b"] == await stage.claim_ids(count=5)

    async def test_the_time_comes_with_the_answer(self, stage: Stage) -> None:
        """It is the backend's."""
        before = await stage.backend.time_ms()
        await stage.advance(20)
        reply = await stage.tidy()

        assert before + 20 <= reply.now_ms <= await stage.backend.time_ms()

    async def test_a_short_claim_says_when_to_look_again(self, stage: Stage) -> None:
        """The earliest of due times, expiries in force, and ends of the leases of others; nothing in sight is 0."""
        await stage.join()
        assert 0 == (await stage.work()).next_due_ms

        now = await stage.backend.time_ms()
        await stage.add("a", at_ms=now + 9 * LATER)
        assert now + 9 * LATER == (await stage.work()).next_due_ms

        await stage.add("b", at_ms=now + 9 * LATER, expires_at_ms=now + 8 * LATER)
        assert now + 8 * LATER == (await stage.work()).next_due_ms

        joined = await stage.backend.time_ms()
        await stage.join("other", ttl_ms=7 * LATER)
        assert 0 <= (await stage.work()).next_due_ms - (joined + 7 * LATER + 1) <= 5_000

        await stage.add("c", at_ms=now + 6 * LATER)
        assert now + 6 * LATER == (await stage.work()).next_due_ms

    async def test_an_expiry_that_is_met_is_not_looked_for(self, stage: Stage) -> None:
        """Once claimed, a run's expiry is over."""
        await stage.join()
        await stage.add("a", expires_ms=LATER)
        await stage.claim_one()

        assert 0 == (await stage.work()).next_due_ms

    # --- expiry ----------------------------------------------------------------------------------------------

    async def test_what_was_not_started_in_time_expires(self, stage: Stage) -> None:
        """Ready or scheduled, by housekeeping or by a claim; it is counted in the answer."""
        await stage.join()
        await stage.add("ready", "ready too", expires_ms=20)
        await stage.add("scheduled", delay_ms=LATER, expires_at_ms=await stage.backend.time_ms() + 20)
        await stage.add("in time", expires_ms=LATER)
        await stage.advance(30)
        reply = await stage.work(count=10)

        assert (["in time"], 3) == (ids(reply.runs), reply.expired)
        assert ["expired"] * 3 == await stage.statuses("ready", "ready too", "scheduled")
        assert (await stage.run("ready")).finished_ms > 0

    async def test_a_claim_gives_nothing_that_has_expired(self, stage: Stage) -> None:
        """Not even if there is more of it than housekeeping does in one call."""
        await stage.join()
        await stage.add(*(f"{number}" for number in range(150)), expires_ms=1)
        await stage.add("a")
        await stage.advance(5)
        reply = await stage.work(count=10)

        assert (["a"], 150) == (ids(reply.runs), reply.expired)

    async def test_what_was_started_in_time_does_not_expire(self, stage: Stage) -> None:
        """Not while it runs, not when it comes back."""
        await stage.join()
        await stage.add("a", "b", "c", "d", expires_ms=200)
        a, b, c, _ = await stage.claim(count=4)
        await stage.advance(210)
        await stage.settle(a, "released")
        await stage.settle(b, "retry")
        await stage.settle(c, "snooze", delay_ms=LATER)

        assert 0 == (await stage.tidy()).expired
        assert ["ready", "ready", "scheduled", "running"] == await stage.statuses("a", "b", "c", "d")
        assert ["a", "b"] == await stage.claim_ids(count=5)

    # --- settling --------------------------------------------------------------------------------------------

    async def test_a_success_is_final(self, stage: Stage) -> None:
        """With its result; the run is held no more."""
        await stage.join()
        await stage.add("a")
        run = await stage.claim_one()

        assert await stage.settle(run, "succeeded", result='{"x":1}')
        record = await stage.run("a")
        assert ("succeeded", '{"x":1}', "", run.token, 1, ()) == (
            record.status,
            record.result,
            record.node,
            record.token,
            record.attempt,
            record.errors,
        )
        assert record.started_ms <= record.finished_ms <= await stage.backend.time_ms()

    async def test_a_failure_is_final_and_listed(self, stage: Stage) -> None:
        """With the error of its last attempt."""
        await stage.join()
        await stage.add("a")
        await stage.settle(await stage.claim_one(), "failed", error="e1")

        record = await stage.run("a")
        assert ("failed", ("e1",), "") == (record.status, record.errors, record.result)
        assert ["a"] == ids((await stage.backend.list_runs(status="failed")).runs)

    async def test_a_retry_is_due_later_and_uses_an_attempt(self, stage: Stage) -> None:
        """Its errors add up; it is claimed again when it is due."""
        await stage.join()
        await stage.add("a")
        await stage.settle(await stage.claim_one(), "retry", delay_ms=LATER, error="e1")
        record = await stage.run("a")

        assert ("retrying", 1, ("e1",), "", 0) == (
            record.status,
            record.attempt,
            record.errors,
            record.node,
            record.finished_ms,
        )
        assert record.started_ms + LATER <= record.due_ms <= await stage.backend.time_ms() + LATER
        assert [] == await stage.claim()

        await stage.backend.reschedule("a", delay_ms=10)
        await stage.advance(20)
        again = await stage.claim_one()
        assert 2 == again.attempt
        await stage.settle(again, "failed", error="e2")
        assert ("e1", "e2") == (await stage.run("a")).errors

    async def test_a_retry_without_delay_is_ready_at_once(self, stage: Stage) -> None:
        """In the same step it can be claimed again, behind what was ready."""
        await stage.join()
        await stage.add("a", "b")
        run = await stage.claim_one()
        reply = await stage.work("node", Outcome(run_id="a", token=run.token, kind="retry"), count=5)

        assert [("b", 1), ("a", 2)] == [(claimed.id, claimed.attempt) for claimed in reply.runs]

    async def test_a_snooze_uses_no_attempt(self, stage: Stage) -> None:
        """It is scheduled, and the next attempt has the same number."""
        await stage.join()
        await stage.add("a")
        await stage.settle(await stage.claim_one(), "snooze", delay_ms=LATER)
        assert ("scheduled", 0) == (await stage.status("a"), (await stage.run("a")).attempt)

        await stage.backend.reschedule("a", delay_ms=0)
        assert 1 == (await stage.claim_one()).attempt

    async def test_what_is_handed_back_goes_to_the_front_of_its_priority(self, stage: Stage) -> None:
        """The attempt is refunded; among those handed back the id decides."""
        await stage.join()
        await stage.add("b", "a")
        await stage.add("urgent", priority=1)
        await stage.add("c", "d")
        urgent, b, a = await stage.claim(count=3)

        for run in (b, a, urgent):
            await stage.settle(run, "released")

        again = await stage.claim(count=10)
        assert ["urgent", "a", "b", "c", "d"] == ids(again)
        assert [1] * 5 == [run.attempt for run in again]

    async def test_the_newest_errors_are_kept(self, stage: Stage) -> None:
        """Sixteen of them; an empty one is none."""
        await stage.join()
        await stage.add("a")

        for number in range(20):
            await stage.settle(await stage.claim_one(), "retry", error=f"e{number}" if number % 2 else "")
            await stage.settle(await stage.claim_one(), "snooze", error=f"e{number}!")

        await stage.settle(await stage.claim_one(), "succeeded")
        expected = [text for number in range(20) for text in ([f"e{number}"] if number % 2 else []) + [f"e{number}!"]]
        assert tuple(expected[-16:]) == (await stage.run("a")).errors

    async def test_outcomes_are_settled_before_anything_is_claimed(self, stage: Stage) -> None:
        """One step settles several, answers in order, and claims the next."""
        await stage.join()
        await stage.add("a", "b", "c")
        a, b = await stage.claim(count=2)
        reply = await stage.work(
            "node",
            Outcome(run_id="b", token=b.token, kind="succeeded"),
            Outcome(run_id="none", token=1, kind="succeeded"),
            Outcome(run_id="c", token=b.token, kind="succeeded"),
            Outcome(run_id="a", token=a.token, kind="released"),
            count=5,
        )

        assert (True, False, False, True) == reply.settled
        assert ["a", "c"] == ids(reply.runs)

    async def test_a_stale_token_changes_nothing(self, stage: Stage) -> None:
        """Who lost the run is told so, whatever it reports, and the new holder goes on."""
        await stage.join("old")
        await stage.join("new")
        await stage.add("a")
        old = await stage.claim_one("old")
        await stage.die("old")
        new = await stage.claim_one("new")
        before = await stage.run("a")

        for kind in ("succeeded", "failed", "retry", "snooze", "released", "cancelled"):
            assert not await stage.settle(old, kind, node_id="old", error="late", delay_ms=LATER)

        assert not await stage.backend.set_progress("a", old.token, 0.5, "late")
        assert before == await stage.run("a")
        assert await stage.settle(new, "succeeded", node_id="new")

    async def test_a_token_that_was_never_given_changes_nothing(self, stage: Stage) -> None:
        """Not even a greater one, and not 0 for a run that was never claimed."""
        await stage.join()
        await stage.add("a", "b")
        run = await stage.claim_one()

        for run_id, token in (("a", run.token + 1), ("a", 0), ("b", 0), ("b", run.token)):
            outcome = Outcome(run_id=run_id, token=token, kind="succeeded")
            assert (False,) == (await stage.backend.work("node", [outcome], None)).settled

        assert ["running", "ready"] == await stage.statuses("a", "b")

    async def test_a_second_outcome_under_one_token_changes_nothing(self, stage: Stage) -> None:
        """It is taken for a repetition, even when the run has gone on since."""
        await stage.join()

        for kind in ("succeeded", "failed", "retry", "snooze", "released", "cancelled"):
            await stage.add(kind)
            run = await stage.claim_one()
            assert await stage.settle(run, kind, delay_ms=LATER, error="e")
            before = await stage.run(kind)
            assert await stage.settle(run, kind, delay_ms=LATER, error="e")
            assert await stage.settle(run, "succeeded", result="other")
            assert before == await stage.run(kind)
            await stage.backend.cancel(kind)

    async def test_an_old_outcome_is_known_after_the_next_attempt(self, stage: Stage) -> None:
        """The tombstone of a settled token outlives the next claim, and the next end."""
        await stage.join()
        await stage.add("a")
        first = await stage.claim_one()
        await stage.settle(first, "retry")
        second = await stage.claim_one()

        assert await stage.settle(first, "retry")
        assert ("running", second.token) == (await stage.status("a"), (await stage.run("a")).token)
        await stage.settle(second, "retry")
        assert await stage.settle(first, "retry")
        assert "ready" == await stage.status("a")

    # --- progress --------------------------------------------------------------------------------------------

    async def test_progress_is_kept_for_its_holder(self, stage: Stage) -> None:
        """Only under the token; a new attempt begins without."""
        await stage.join()
        await stage.add("a")
        run = await stage.claim_one()

        for _ in "12":
            assert await stage.backend.set_progress("a", run.token, 0.25, "half of a half")
            record = await stage.run("a")
            assert (0.25, "half of a half") == (record.progress, record.progress_message)

        assert not await stage.backend.set_progress("a", run.token - 1, 0.5, "")
        assert not await stage.backend.set_progress("none", run.token, 0.5, "")
        await stage.settle(run, "retry")
        assert not await stage.backend.set_progress("a", run.token, 0.5, "")
        await stage.claim_one()
        record = await stage.run("a")
        assert (-1.0, "") == (record.progress, record.progress_message)
