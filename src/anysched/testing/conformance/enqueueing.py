# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Runs as they are asked for from outside: stored, found by key, watched, cancelled, moved in time, revived."""

from __future__ import annotations

from anysched.backends import KEY_TAKEN, Enqueued, NewRun

from .stage import LATER, Stage, Staged, new_run

__all__ = ["EnqueueConformance"]


class EnqueueConformance(Staged):
    """``enqueue``, ``get_runs``, ``find_key``, ``watch``, ``cancel``, ``revive`` and ``reschedule``."""

    # --- enqueue ---------------------------------------------------------------------------------------------

    async def test_a_run_is_stored_as_it_was_given(self, stage: Stage) -> None:
        """Every field comes back, opaque text untouched."""
        new = NewRun(
            id="r",
            job="mail.send",
            payload='{"a": "\\u00e9\\n \x00 é|:,"}',
            queue="mail",
            priority=-7,
            key="welcome:42",
            entry_id="nightly",
            scheduled_for_ms=1_700_000_000_123,
            options='{"b":1}',
            deadline_ms=1_900_000_000_000,
        )
        before = await stage.backend.time_ms()
        await stage.backend.enqueue([new])
        record = await stage.run("r")

        for name in ("id", "job", "payload", "queue", "priority", "key", "entry_id", "options", "deadline_ms"):
            assert (name, getattr(new, name)) == (name, getattr(record, name))

        assert ("ready", 1_700_000_000_123, 0, 0) == (
            record.status,
            record.scheduled_for_ms,
            record.due_ms,
            record.attempt,
        )
        assert before <= record.enqueued_ms <= await stage.backend.time_ms()
        assert (0, "", "", 0, 0, 0) == (
            record.token,
            record.node,
            record.result,
            record.started_ms,
            record.finished_ms,
            record.crashes,
        )
        assert (False, -1.0, "", (), "") == (
            record.cancel_requested,
            record.progress,
            record.progress_message,
            record.errors,
            record.set_aside,
        )

    async def test_a_batch_is_answered_in_order(self, stage: Stage) -> None:
        """One answer for each, and an empty batch is allowed."""
        assert [] == await stage.backend.enqueue([])
        expected = [Enqueued(name, created=True) for name in "cab"]
        assert expected == await stage.backend.enqueue([new_run(name) for name in "cab"])

    async def test_an_id_that_is_stored_changes_nothing(self, stage: Stage) -> None:
        """The first run stands, whatever the second one looks like; also within one batch."""
        await stage.add("a", payload="first")
        answers = await stage.backend.enqueue(
            [new_run("a", payload="second", key="k"), new_run("b", payload="1"), new_run("b", payload="2")]
        )

        assert [Enqueued("a", created=False), Enqueued("b", created=True), Enqueued("b", created=False)] == answers
        assert ["first", "1"] == [(await stage.run(name)).payload for name in "ab"]
        assert await stage.backend.find_key("k") is None

    async def test_a_live_key_is_answered_with_its_run(self, stage: Stage) -> None:
        """No second run is made while one goes by the key, in one batch or later."""
        first = await stage.backend.enqueue([new_run("a", key="k"), new_run("b", key="k"), new_run("c", key="other")])
        second = await stage.backend.enqueue([new_run("d", key="k")])

        assert [Enqueued("a", created=True), Enqueued("a", created=False), Enqueued("c", created=True)] == first
        assert [Enqueued("a", created=False)] == second
        assert ["ready", "", "ready", ""] == await stage.statuses("a", "b", "c", "d")
        assert ["a", "c", None] == [await stage.backend.find_key(key) for key in ("k", "other", "none")]

    async def test_a_key_is_free_again_at_every_final_status(self, stage: Stage) -> None:
        """However a run ends, its key can be taken by another."""
        await stage.join()

        for kind in ("succeeded", "failed", "cancelled"):
            await stage.add(f"run {kind}", key="k")
            assert f"run {kind}" == await stage.backend.find_key("k")
            assert await stage.settle(await stage.claim_one(), kind)
            assert await stage.backend.find_key("k") is None

        await stage.add("asked", key="k", delay_ms=LATER)
        await stage.backend.cancel("asked")
        assert await stage.backend.find_key("k") is None

        await stage.add("late", key="k", expires_ms=1)
        await stage.advance(5)
        await stage.tidy()
        assert ("expired", None) == (await stage.status("late"), await stage.backend.find_key("k"))

    async def test_what_was_not_started_in_time_has_expired_though_no_node_is_there(self, stage: Stage) -> None:
        """Whoever asks finds it so: for the record, for who has its key, for the key itself; and is told like others.

        Break: its key is held, and its result waited for, by a run that can never start.
        """
        names = ("asked", "watched", "found", "revived", "held")

        await stage.join()
        await stage.add("failed", key="revived")
        await stage.settle(await stage.claim_one(), "failed")
        await stage.backend.leave("node")

        for name in names[:4]:
            await stage.add(name, key=name, expires_ms=1)

        async with stage.inbox("me") as inbox:
            await stage.add("held", key="held", expires_ms=200)
            assert "ready" == getattr(await stage.backend.watch("held", "me"), "status", "")
            await stage.advance(250)
            assert "expired" == await stage.status("asked")
            assert "expired" == getattr(await stage.backend.watch("watched", "me"), "status", "")
            assert await stage.backend.find_key("found") is None
            (made,) = await stage.backend.enqueue([new_run("new", key="held")])
            assert ("new", True) == (made.id, made.created)
            await inbox.expect("done", "held")

        assert "failed" == await stage.backend.revive("failed")
        assert ["expired"] * 5 == await stage.statuses(*names)
        assert "failed" == await stage.backend.find_key("revived")
        assert 5 == (await stage.backend.totals()).expired

    async def test_a_key_stays_taken_while_the_run_is_live(self, stage: Stage) -> None:
        """Running, retrying and snoozing are live too."""
        await stage.join()
        await stage.add("a", key="k")

        for kind in ("retry", "snooze"):
            run = await stage.claim_one()
            assert "a" == await stage.backend.find_key("k")
            await stage.settle(run, kind, delay_ms=LATER)
            assert "a" == await stage.backend.find_key("k")
            await stage.backend.reschedule("a", delay_ms=0)

    async def test_what_is_due_later_is_scheduled(self, stage: Stage) -> None:
        """By an instant or a delay; what is due in the past is ready."""
        now = await stage.backend.time_ms()
        await stage.add("at", at_ms=now + LATER)
        await stage.add("delay", delay_ms=LATER)
        await stage.add("past", at_ms=now - 1_000)

        assert ["scheduled", "scheduled", "ready"] == await stage.statuses("at", "delay", "past")
        assert now + LATER == (await stage.run("at")).due_ms
        assert now + LATER <= (await stage.run("delay")).due_ms <= await stage.backend.time_ms() + LATER
        assert now - 1_000 == (await stage.run("past")).due_ms

    async def test_the_earlier_expiry_and_deadline_hold(self, stage: Stage) -> None:
        """An expiry counts from the due time, a deadline from now; of two the earlier one is kept."""
        far = await stage.backend.time_ms() + 10 * LATER
        await stage.add("due", at_ms=far, expires_ms=5)
        await stage.add(
            "both", at_ms=far, expires_ms=500, expires_at_ms=far + 100, deadline_ms=7, deadline_after_ms=LATER
        )
        await stage.add("after", deadline_ms=far, deadline_after_ms=LATER)
        after = await stage.run("after")

        assert [far + 5, far + 100] == [(await stage.run(name)).expires_at_ms for name in ("due", "both")]
        assert [7, after.enqueued_ms + LATER] == [(await stage.run(name)).deadline_ms for name in ("both", "after")]

    async def test_runs_are_read_in_the_order_asked_for(self, stage: Stage) -> None:
        """With nothing where there is none."""
        await stage.add("a", "b")
        found = await stage.backend.get_runs(["b", "none", "a", "b"])

        assert ["b", None, "a", "b"] == [record and record.id for record in found]
        assert [] == await stage.backend.get_runs([])

    # --- watching --------------------------------------------------------------------------------------------

    async def test_whoever_watches_is_told_of_the_end(self, stage: Stage) -> None:
        """Every inbox that watches gets one hint when the run has become final."""
        await stage.join()
        await stage.add("a")

        async with stage.inbox("one") as one, stage.inbox("two") as two:
            for inbox in ("one", "two", "one"):
                record = await stage.backend.watch("a", inbox)
                assert record == await stage.run("a")

            await stage.settle(await stage.claim_one(), "succeeded")
            await one.expect("done", "a")
            await two.expect("done", "a")

    async def test_every_end_is_told(self, stage: Stage) -> None:
        """Also of a run that is cancelled before it ran, or expires, or is poison."""
        await stage.add("cancelled", delay_ms=LATER)

        async with stage.inbox("me") as inbox:
            await stage.add("expired", expires_ms=200)

            for name in ("cancelled", "expired"):
                await stage.backend.watch(name, "me")

            await stage.backend.cancel("cancelled")
            await inbox.expect("done", "cancelled")
            await stage.advance(250)
            await stage.tidy()
            await inbox.expect("done", "expired")

    async def test_watching_a_final_run_answers_at_once(self, stage: Stage) -> None:
        """The record says that it is over; a run that is not there is ``None``."""
        await stage.add("a")
        await stage.backend.cancel("a")
        record = await stage.backend.watch("a", "me")

        assert record == await stage.run("a")
        assert await stage.backend.watch("none", "me") is None

    # --- cancelling ------------------------------------------------------------------------------------------

    async def test_what_does_not_run_is_cancelled_at_once(self, stage: Stage) -> None:
        """Ready or scheduled: it never runs; asked again it is the same."""
        await stage.join()
        await stage.add("ready")
        await stage.add("scheduled", delay_ms=LATER)

        for name in ("ready", "scheduled") * 2:
            answer = await stage.backend.cancel(name)
            assert answer is not None
            assert ("cancelled", True) == (answer.status, answer.requested)

        assert [] == await stage.claim()
        assert (await stage.run("ready")).finished_ms > 0
        assert await stage.backend.cancel("none") is None

    async def test_the_node_of_a_running_run_is_told(self, stage: Stage) -> None:
        """By a hint, and again in its next renewals, until it has settled."""
        await stage.join()
        await stage.add("a", "b")
        run, _ = await stage.claim(count=2)

        async with stage.inbox("node") as inbox:
            answer = await stage.backend.cancel("a")
            await inbox.expect("cancel", "a")

        assert answer is not None
        assert ("running", True) == (answer.status, answer.requested)
        assert answer == await stage.backend.cancel("a")
        assert (await stage.run("a")).cancel_requested
        assert [("a",), ("a",)] == [(await stage.backend.renew("node", LATER)).cancels for _ in "12"]

        await stage.settle(run, "cancelled")
        assert () == (await stage.backend.renew("node", LATER)).cancels
        assert ("cancelled", False) == ((await stage.run("a")).status, (await stage.run("a")).cancel_requested)

    async def test_a_cancelled_run_never_comes_back(self, stage: Stage) -> None:
        """Whatever its node reports, it ends cancelled, with its attempt counted and its error kept."""
        await stage.join()

        for kind in ("retry", "snooze", "released", "cancelled"):
            await stage.add(kind)
            run = await stage.claim_one()
            await stage.backend.cancel(kind)
            assert await stage.settle(run, kind, delay_ms=1, error="why")
            record = await stage.run(kind)
            assert (kind, "cancelled", 1, ("why",)) == (kind, record.status, record.attempt, record.errors)

        await stage.advance(5)
        assert [] == await stage.claim()

    async def test_a_cancel_that_came_too_late_is_forgotten(self, stage: Stage) -> None:
        """A success or a failure that was reached first stands."""
        await stage.join()

        for kind in ("succeeded", "failed"):
            await stage.add(kind)
            run = await stage.claim_one()
            await stage.backend.cancel(kind)
            assert await stage.settle(run, kind)
            before = await stage.run(kind)
            answer = await stage.backend.cancel(kind)
            assert answer is not None
            assert (kind, False) == (answer.status, answer.requested)
            assert before == await stage.run(kind)

    async def test_a_cancelled_run_whose_node_dies_is_cancelled(self, stage: Stage) -> None:
        """It does not come back as a crash."""
        await stage.join("doomed")
        await stage.add("a", key="k")
        await stage.claim_one("doomed")
        await stage.backend.cancel("a")
        await stage.die("doomed")

        record = await stage.run("a")
        assert ("cancelled", 0, None) == (record.status, record.crashes, await stage.backend.find_key("k"))

    # --- reviving --------------------------------------------------------------------------------------------

    async def test_a_failed_run_is_ready_again(self, stage: Stage) -> None:
        """Its attempts start anew, its errors stay; twice makes no difference."""
        await stage.join()
        await stage.add("a", key="k")
        await stage.settle(await stage.claim_one(), "failed", error="broken")

        assert "failed" == await stage.backend.revive("a")
        assert "ready" == await stage.backend.revive("a")
        record = await stage.run("a")
        assert (0, 0, ("broken",), "a") == (
            record.attempt,
            record.finished_ms,
            record.errors,
            await stage.backend.find_key("k"),
        )
        run = await stage.claim_one()
        assert ("a", 1, "running") == (run.id, run.attempt, await stage.backend.revive("a"))
        assert [] == await stage.claim()

    async def test_a_failed_run_whose_key_was_taken_is_not_revived(self, stage: Stage) -> None:
        """Two would be live for one key. It stays as it is until the other has ended."""
        await stage.join()
        await stage.add("a", key="k")
        await stage.settle(await stage.claim_one(), "failed")
        await stage.add("b", key="k")
        before = await stage.run("a")

        assert KEY_TAKEN == await stage.backend.revive("a")
        assert (before, "b") == (await stage.run("a"), await stage.backend.find_key("k"))

        await stage.backend.cancel("b")
        assert "failed" == await stage.backend.revive("a")
        assert ("ready", "a") == (await stage.status("a"), await stage.backend.find_key("k"))

    async def test_only_failed_runs_are_revived(self, stage: Stage) -> None:
        """Everything else is left alone."""
        await stage.add("ready")
        await stage.add("scheduled", delay_ms=LATER)
        await stage.add("cancelled")
        await stage.backend.cancel("cancelled")

        for name in ("ready", "scheduled", "cancelled"):
            before = await stage.run(name)
            assert name == await stage.backend.revive(name)
            assert before == await stage.run(name)

        assert await stage.backend.revive("none") is None

    # --- rescheduling ----------------------------------------------------------------------------------------

    async def test_a_run_is_moved_to_another_time(self, stage: Stage) -> None:
        """Later or earlier, by an instant or a delay; a ready run becomes scheduled."""
        now = await stage.backend.time_ms()
        await stage.add("a", expires_at_ms=now + LATER)
        expected = ["ready", "scheduled", "scheduled"]
        instants = [now + LATER, now + 2 * LATER, now + 1_000_000]

        assert expected == [await stage.backend.reschedule("a", at_ms=at) for at in instants]
        assert ("scheduled", now + 1_000_000, now + LATER) == (
            await stage.status("a"),
            (await stage.run("a")).due_ms,
            (await stage.run("a")).expires_at_ms,
        )
        await stage.backend.reschedule("a", delay_ms=LATER)
        assert now + LATER <= (await stage.run("a")).due_ms <= await stage.backend.time_ms() + LATER
        assert await stage.backend.reschedule("none", at_ms=1) is None

    async def test_an_expiry_that_counts_from_the_due_time_moves_with_it(self, stage: Stage) -> None:
        """Later or earlier, never beyond an instant that was given as well."""
        now = await stage.backend.time_ms()
        await stage.add("free", expires_ms=50)
        await stage.add("bound", expires_ms=50, expires_at_ms=now + 2 * LATER)
        await stage.add("scheduled", expires_ms=LATER, delay_ms=LATER)

        for due_ms, expected in ((now + LATER, now + LATER + 50), (now + 3 * LATER, now + 2 * LATER)):
            for name in ("free", "bound", "scheduled"):
                await stage.backend.reschedule(name, at_ms=due_ms)

            assert [due_ms + 50, expected, due_ms + LATER] == [
                (await stage.run(name)).expires_at_ms for name in ("free", "bound", "scheduled")
            ]

        await stage.backend.reschedule("scheduled", at_ms=now)
        assert now + LATER == (await stage.run("scheduled")).expires_at_ms

    async def test_a_run_that_was_moved_expires_by_its_new_time(self, stage: Stage) -> None:
        """Not by the old one."""
        await stage.join()
        await stage.add("sooner", delay_ms=LATER, expires_ms=20)
        await stage.add("later", expires_ms=20)
        await stage.backend.reschedule("sooner", delay_ms=10)
        await stage.backend.reschedule("later", delay_ms=LATER)
        await stage.advance(50)

        assert [] == await stage.claim_ids(count=5)
        assert ("expired", "scheduled") == (await stage.status("sooner"), await stage.status("later"))

    async def test_what_was_started_has_no_expiry_to_move(self, stage: Stage) -> None:
        """It stays as it was."""
        await stage.join()
        await stage.add("a", expires_ms=LATER)
        before = (await stage.run("a")).expires_at_ms
        await stage.settle(await stage.claim_one(), "retry", delay_ms=LATER)
        await stage.backend.reschedule("a", delay_ms=3 * LATER)

        assert (before, "retrying") == ((await stage.run("a")).expires_at_ms, await stage.status("a"))

    async def test_a_run_that_is_moved_to_the_past_is_ready(self, stage: Stage) -> None:
        """Scheduled and retrying runs are ready at once; a retrying run that is moved later goes on retrying."""
        await stage.join()
        await stage.add("retrying")
        await stage.settle(await stage.claim_one(), "retry", delay_ms=LATER)
        await stage.add("scheduled", delay_ms=LATER)

        assert "retrying" == await stage.backend.reschedule("retrying", delay_ms=2 * LATER)
        assert "retrying" == await stage.backend.reschedule("retrying", at_ms=1)
        assert "scheduled" == await stage.backend.reschedule("scheduled", delay_ms=0)
        assert ["retrying", "scheduled"] == await stage.claim_ids(count=5)

    async def test_a_ready_run_that_is_moved_to_the_past_keeps_its_place(self, stage: Stage) -> None:
        """It was due already."""
        await stage.join()
        await stage.add("a", "b")

        assert "ready" == await stage.backend.reschedule("a", at_ms=1)
        assert ["a", "b"] == await stage.claim_ids(count=2)

    async def test_a_moved_run_falls_due_at_its_new_time(self, stage: Stage) -> None:
        """Not before and not at the old one."""
        await stage.join()
        await stage.add("sooner", delay_ms=LATER)
        await stage.add("later", delay_ms=20)
        await stage.backend.reschedule("sooner", delay_ms=20)
        await stage.backend.reschedule("later", delay_ms=LATER)
        await stage.advance(30)

        assert ["sooner"] == await stage.claim_ids(count=5)

    async def test_what_runs_or_is_over_is_not_moved(self, stage: Stage) -> None:
        """It is left alone."""
        await stage.join()
        await stage.add("running", "cancelled")
        await stage.backend.cancel("cancelled")
        await stage.claim_one()

        for name in ("running", "cancelled"):
            before = await stage.run(name)
            assert name == await stage.backend.reschedule(name, delay_ms=LATER)
            assert before == await stage.run(name)
