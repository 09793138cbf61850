# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Entries as they are kept: added, replaced, declared, retired, paused, resumed, removed, listed."""

from __future__ import annotations

from msgspec.structs import replace

from anysched.backends import EntryRecord

from .stage import LATER, Stage, Staged, entry_write, ids

__all__ = ["EntryConformance"]


class EntryConformance(Staged):
    """``put_entry``, ``declare``, ``get_entry``, ``list_entries``, pausing, removing, and what is due."""

    # --- adding ----------------------------------------------------------------------------------------------

    async def test_an_entry_is_stored_as_it_was_given(self, stage: Stage) -> None:
        """Active from its first fire time, with nothing counted yet."""
        write = entry_write("é:1", spec='{"a":"\\n é"}', revision="rev", next_ms=await stage.backend.time_ms() + LATER)
        assert await stage.backend.put_entry(write, replace=False, nonce="n")

        assert EntryRecord(id="é:1", spec=write.spec, revision="rev", status="active", next_ms=write.next_ms) == (
            await stage.entry("é:1")
        )
        assert await stage.backend.get_entry("none") is None

    async def test_an_entry_without_a_fire_time_is_finished(self, stage: Stage) -> None:
        """From the start; nothing of it is due."""
        await stage.put(next_ms=0)
        assert ("finished", []) == ((await stage.entry()).status, await stage.due())

    async def test_what_was_missed_already_is_counted(self, stage: Stage) -> None:
        """Of an entry that is new, put or declared, and of one that moves; once, and not of one that stays."""
        now = await stage.backend.time_ms()
        await stage.put(next_ms=0, missed=1)
        await stage.backend.declare("p", [entry_write("declared", next_ms=0, missed=2)], ttl_ms=LATER)
        assert [1, 2] == [(await stage.entry(name)).missed_count for name in ("entry", "declared")]

        for revision in ("r1", "r2"):
            write = entry_write("entry", revision=revision, next_ms=now + LATER, missed=5)
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())
            moved = entry_write("declared", revision=revision, next_ms=now + LATER, missed=5)
            await stage.backend.declare("p", [moved], ttl_ms=LATER)

        assert [6, 7] == [(await stage.entry(name)).missed_count for name in ("entry", "declared")]

    async def test_an_id_that_exists_is_refused(self, stage: Stage) -> None:
        """Nothing is changed, unless it is to be replaced."""
        await stage.put(next_ms=LATER)
        before = await stage.entry()
        other = entry_write("entry", revision="r2", spec="other", next_ms=2 * LATER)

        assert not await stage.backend.put_entry(other, replace=False, nonce="n")
        assert before == await stage.entry()
        assert await stage.backend.put_entry(other, replace=True, nonce="n")
        after = await stage.entry()
        assert ("r2", "other", 2 * LATER, "active") == (after.revision, after.spec, after.next_ms, after.status)

    async def test_a_repeated_put_is_known_by_its_nonce(self, stage: Stage) -> None:
        """It is answered as at first, and undoes nothing that was done since."""
        write = entry_write("entry", next_ms=LATER)
        assert [True, True] == [await stage.backend.put_entry(write, replace=False, nonce="n") for _ in "12"]

        newer = entry_write("entry", next_ms=2 * LATER, revision="r2")
        assert await stage.backend.put_entry(newer, replace=True, nonce="newer")
        assert await stage.backend.put_entry(write, replace=False, nonce="n")
        assert await stage.backend.put_entry(write, replace=True, nonce="n")
        assert "r2" == (await stage.entry()).revision

    async def test_a_replaced_entry_keeps_what_it_has_counted(self, stage: Stage) -> None:
        """And its runs, and the last of them."""
        await stage.put()
        await stage.fire("a", "b", missed=3, overlap="allow")
        await stage.trigger("w", overlap="queue_all")
        before = await stage.entry()
        await stage.backend.put_entry(entry_write("entry", revision="r2", next_ms=LATER), replace=True, nonce="n")
        after = await stage.entry()

        for name in ("run_count", "missed_count", "overlap_skipped", "last_ms", "live", "waiting", "last_runs"):
            assert (name, getattr(before, name)) == (name, getattr(after, name))

        assert (2, 3, LATER) == (after.run_count, after.missed_count, after.next_ms)

    async def test_a_replaced_entry_stays_paused(self, stage: Stage) -> None:
        """With its note; a finished one is active again."""
        await stage.put("paused")
        await stage.backend.pause_entry("paused", "why")
        await stage.put("finished", next_ms=0)
        now = await stage.backend.time_ms()

        for name in ("paused", "finished"):
            write = entry_write(name, revision="r2", next_ms=now)
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())

        assert ("paused", "why") == ((record := await stage.entry("paused")).status, record.note)
        assert ("active", ["finished"]) == ((await stage.entry("finished")).status, await stage.due())

    async def test_an_entry_that_is_put_again_unchanged_keeps_its_place(self, stage: Stage) -> None:
        """In time, and its status, counts, and the text of its rule; it is known by its revision.

        Break: a program that adds its entries at each start never fires what takes longer than it runs.
        """
        overdue = await stage.put("overdue")
        await stage.fire("a", entry_id="overdue", missed=3, next_ms=overdue + 1)
        await stage.put("finished", next_ms=0)
        await stage.put("paused", next_ms=overdue + LATER)
        await stage.backend.pause_entry("paused", "why")
        await stage.backend.declare("p", [entry_write("declared", next_ms=overdue + LATER)], ttl_ms=LATER)
        await stage.advance(5)
        names = ("overdue", "finished", "paused", "declared")
        before = [await stage.entry(name) for name in names]

        for name in names:
            write = entry_write(name, spec="anchored anew", next_ms=overdue + 7 * LATER)
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())

        before[3] = replace(before[3], declared=False)
        assert before == [await stage.entry(name) for name in names]
        assert ["overdue"] == await stage.due()

    async def test_what_was_due_when_an_entry_changed_is_counted_as_missed(self, stage: Stage) -> None:
        """Put or declared; not if it was not due yet. What a pause has counted is not counted again."""
        now = await stage.backend.time_ms()
        cursors = {"due": now, "paused": now, "ahead": now + LATER}

        for name, next_ms in cursors.items():
            await stage.put(name, next_ms=next_ms)
            await stage.backend.declare("p", [entry_write(f"{name}2", next_ms=next_ms)], ttl_ms=LATER)

        for name in ("paused", "paused2"):
            await stage.backend.pause_entry(name, "")

        for name in cursors:
            write = entry_write(name, revision="r2", next_ms=now + LATER)
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())

        writes = [entry_write(f"{name}2", revision="r2", next_ms=now + LATER) for name in cursors]
        assert ["moved"] * 3 == await stage.backend.declare("p", writes, ttl_ms=LATER)
        found = [await stage.entry(name) for name in (*cursors, *(f"{name}2" for name in cursors))]
        assert [1, 1, 0] * 2 == [entry.missed_count for entry in found]
        assert {now + LATER} == {entry.next_ms for entry in found}

    async def test_a_retired_entry_that_is_put_again_is_active(self, stage: Stage) -> None:
        """Where it stopped, since it had not come to its end by itself."""
        await stage.backend.declare("p", [entry_write("entry")], ttl_ms=LATER)
        stopped_ms = (await stage.entry()).next_ms
        await stage.backend.declare("p", [], ttl_ms=LATER)
        assert [] == await stage.due()
        assert await stage.backend.put_entry(entry_write("entry", next_ms=LATER), replace=True, nonce="n")

        record = await stage.entry()
        assert ("active", "", stopped_ms, False) == (record.status, record.note, record.next_ms, record.declared)

    async def test_an_entry_that_has_reached_its_new_limit_is_finished(self, stage: Stage) -> None:
        """Replaced or declared; with runs left it is active, and a paused one stays so.

        Break: it says that it is active, and never fires.
        """
        names = ("same", "more", "paused", "declared")

        for name in names[:3]:
            await stage.put(name)

        await stage.backend.declare("p", [entry_write("declared")], ttl_ms=LATER)

        for name in names:
            await stage.fire(f"{name}1", f"{name}2", entry_id=name, overlap="allow", limit=2)

        for name in ("paused", "same"):
            write = entry_write(name, revision="r2", next_ms=LATER)
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())

        await stage.backend.pause_entry("paused", "why")
        writes = [entry_write(name, revision="r3", next_ms=LATER, limit=3 if name == "more" else 2) for name in names]

        for write in writes[:3]:
            assert await stage.backend.put_entry(write, replace=True, nonce=stage.nonce())

        await stage.backend.declare("p", writes[3:], ttl_ms=LATER)
        found = [await stage.entry(name) for name in names]
        expected = [("finished", 0), ("active", LATER), ("paused", LATER), ("finished", 0)]
        assert expected == [(entry.status, entry.next_ms) for entry in found]

    # --- listing and looking ---------------------------------------------------------------------------------

    async def test_entries_are_listed_by_id(self, stage: Stage) -> None:
        """Page by page, whatever their status."""
        names = [f"{number:02}" for number in range(11)]

        for name in reversed(names):
            await stage.put(name, next_ms=LATER)

        await stage.backend.pause_entry("05", "")
        found: list[EntryRecord] = []
        cursor = ""

        for _ in "123":
            page = await stage.backend.list_entries(cursor=cursor, limit=4)
            found += [entry for entry in page.entries if isinstance(entry, EntryRecord)]
            cursor = page.cursor

        assert (names, "") == ([entry.id for entry in found], cursor)
        assert await stage.entry("05") == found[5]

    async def test_what_is_due_is_found_earliest_first(self, stage: Stage) -> None:
        """Then by id; as many as asked for; with the time of the next one after these."""
        now = await stage.backend.time_ms()

        for name, next_ms in (("c", now - 5), ("a", now - 3), ("b", now - 3), ("later", now + LATER), ("off", 0)):
            await stage.put(name, next_ms=next_ms)

        reply = await stage.backend.tick("n", (), count=10)
        assert ["c", "a", "b"] == [entry.id for entry in reply.due]
        assert now + LATER == reply.next_due_ms
        first = reply.due[0]
        assert ("spec of c", "r1", now - 5, 0) == (first.spec, first.revision, first.cursor_ms, first.run_count)
        assert now <= reply.now_ms <= await stage.backend.time_ms()

        assert ["c", "a"] == await stage.due(2)
        assert ["c", "a", "b"] == await stage.due(3)
        assert [] == await stage.due(0)

    async def test_what_is_due_is_found_after_what_is_skipped(self, stage: Stage) -> None:
        """However much that is; what is skipped stays as it is."""
        now = await stage.backend.time_ms()

        for name, next_ms in (("c", now - 5), ("a", now - 3), ("b", now - 3), ("later", now + LATER)):
            await stage.put(name, next_ms=next_ms)

        replies = [await stage.backend.tick(stage.nonce(), (), count=2, skip=skip) for skip in range(6)]
        assert [["c", "a"], ["a", "b"], ["b"], [], [], []] == [ids(reply.due) for reply in replies]
        assert [now - 3, *[now + LATER] * 3, 0, 0] == [reply.next_due_ms for reply in replies]
        assert ["c", "a", "b"] == await stage.due()

    async def test_what_is_skipped_is_not_retired(self, stage: Stage) -> None:
        """Though no program declares it any more: whoever skips it has seen it."""
        now = await stage.backend.time_ms()
        writes = [entry_write(name, next_ms=now, declared=True) for name in "abc"]
        await stage.backend.declare("p", writes, ttl_ms=1)
        await stage.advance(5)

        assert ("b", "c") == (await stage.backend.tick(stage.nonce(), (), count=9, skip=1)).retired
        assert ("a",) == (await stage.backend.tick(stage.nonce(), (), count=9)).retired

    async def test_nothing_in_sight_is_0(self, stage: Stage) -> None:
        """Without active entries."""
        await stage.put("off", next_ms=0)
        await stage.put("paused")
        await stage.backend.pause_entry("paused", "")
        reply = await stage.backend.tick("n", (), count=10)

        assert ((), 0) == (reply.due, reply.next_due_ms)

    async def test_an_entry_is_due_when_its_time_has_come(self, stage: Stage) -> None:
        """By the backend's clock."""
        await stage.put(next_ms=await stage.backend.time_ms() + 200)
        assert [] == await stage.due()
        await stage.advance(210)
        assert ["entry"] == await stage.due()

    async def test_an_earlier_fire_time_is_told_to_all(self, stage: Stage) -> None:
        """When it is added, replaced, declared or resumed; a later one is not."""
        now = await stage.backend.time_ms()

        async with stage.inbox("me") as inbox:
            await stage.put("a", next_ms=now + 9 * LATER)
            await inbox.expect("entries")
            sooner = entry_write("a", revision="r2", next_ms=now + 8 * LATER)
            await stage.backend.put_entry(sooner, replace=True, nonce="n")
            await inbox.expect("entries")
            await stage.backend.declare("p", [entry_write("d", next_ms=now + 7 * LATER)], ttl_ms=LATER)
            await inbox.expect("entries")
            await stage.backend.pause_entry("a", "")
            await stage.backend.resume_entry("a", revision="r2", next_ms=now + 6 * LATER)
            await inbox.expect("entries")

            await stage.put("later", next_ms=now + 10 * LATER)
            await stage.advance(30)
            assert [] == inbox.hints

    # --- pausing ---------------------------------------------------------------------------------------------

    async def test_a_paused_entry_is_not_due(self, stage: Stage) -> None:
        """Until it is resumed, from the time given; the note is kept until then."""
        cursor = await stage.put()
        assert [True, True] == [await stage.backend.pause_entry("entry", "why") for _ in "12"]
        record = await stage.entry()
        assert ("paused", "why", cursor, []) == (record.status, record.note, record.next_ms, await stage.due())

        later = cursor + LATER
        assert [True, True] == [await stage.backend.resume_entry("entry", revision="r1", next_ms=later) for _ in "12"]
        record = await stage.entry()
        assert ("active", "", later) == (record.status, record.note, record.next_ms)
        assert [] == await stage.due()

    async def test_a_paused_entry_does_not_fire(self, stage: Stage) -> None:
        """Also when the node that fires it saw it before."""
        await stage.put()
        await stage.backend.pause_entry("entry", "")

        assert not (await stage.fire("a")).fired[0].done
        assert [""] == await stage.statuses("a")

    async def test_resuming_asks_for_the_revision_that_is_stored(self, stage: Stage) -> None:
        """Otherwise the next time was computed by an old rule."""
        await stage.put()
        await stage.backend.pause_entry("entry", "why")

        assert not await stage.backend.resume_entry("entry", revision="r0", next_ms=1)
        assert not await stage.backend.resume_entry("none", revision="r1", next_ms=1)
        assert ("paused", "why") == ((record := await stage.entry()).status, record.note)

    async def test_what_is_not_paused_is_not_resumed(self, stage: Stage) -> None:
        """It is left alone: an active one keeps its time, a finished one stays so."""
        cursor = await stage.put()
        await stage.put("finished", next_ms=0)

        for name in ("entry", "finished"):
            assert await stage.backend.resume_entry(name, revision="r1", next_ms=cursor + LATER)

        assert (cursor, "finished") == ((await stage.entry()).next_ms, (await stage.entry("finished")).status)

    async def test_an_entry_without_a_next_time_is_finished_by_resuming(self, stage: Stage) -> None:
        """Its last time passed while it was paused."""
        await stage.put()
        await stage.backend.pause_entry("entry", "why")
        assert await stage.backend.resume_entry("entry", revision="r1", next_ms=None)

        record = await stage.entry()
        assert ("finished", 0, "") == (record.status, record.next_ms, record.note)

    async def test_a_finished_entry_is_not_paused(self, stage: Stage) -> None:
        """Its note stays, by which it is known why it has finished; what is not there is not paused.

        Break: one that is no longer declared, and was paused then, never fires when it is declared again.
        """
        await stage.put(next_ms=0)
        await stage.backend.declare("p", [entry_write("retired")], ttl_ms=LATER)
        await stage.backend.declare("p", [], ttl_ms=LATER)
        assert [] == await stage.due()
        assert [True, True] == [await stage.backend.pause_entry(name, "why") for name in ("entry", "retired")]
        assert not await stage.backend.pause_entry("none", "")

        found = [await stage.entry(name) for name in ("entry", "retired")]
        assert [("finished", ""), ("finished", "no longer declared")] == [(entry.status, entry.note) for entry in found]
        assert ["added"] == await stage.backend.declare("p", [entry_write("retired")], ttl_ms=LATER)

    async def test_a_pause_counts_what_was_due(self, stage: Stage) -> None:
        """Once, however often it is paused; not what is ahead.

        Break: it is neither made into a run nor counted.
        """
        await stage.put("due")
        await stage.put("ahead", next_ms=await stage.backend.time_ms() + LATER)

        for name in ("due", "ahead", "due"):
            assert await stage.backend.pause_entry(name, "")

        assert [1, 0] == [(await stage.entry(name)).missed_count for name in ("due", "ahead")]

    # --- removing --------------------------------------------------------------------------------------------

    async def test_a_removed_entry_is_gone(self, stage: Stage) -> None:
        """What waits in it is cancelled, what is live goes on."""
        await stage.join()
        await stage.put()
        await stage.trigger("a")
        await stage.trigger("w", overlap="queue_one")
        run = await stage.claim_one()

        assert [True, False] == [await stage.backend.remove_entry("entry") for _ in "12"]
        assert await stage.backend.get_entry("entry") is None
        assert ((), []) == ((await stage.backend.list_entries()).entries, await stage.due())
        assert ["running", "cancelled"] == await stage.statuses("a", "w")
        assert await stage.settle(run, "succeeded")
        assert (0, 0) == ((totals := await stage.backend.totals()).entries, totals.active_entries)

    async def test_a_removed_id_begins_anew(self, stage: Stage) -> None:
        """What is left of its runs does not hold up the new one."""
        await stage.put()
        await stage.fire("a")
        await stage.backend.remove_entry("entry")
        await stage.put()
        record = await stage.entry()

        assert (0, (), ()) == (record.run_count, record.live, record.last_runs)
        assert 1 == (await stage.fire("b")).fired[0].made
        await stage.backend.cancel("a")
        assert ("b",) == (await stage.entry()).live

    # --- declaring -------------------------------------------------------------------------------------------

    async def test_declared_entries_are_reconciled(self, stage: Stage) -> None:
        """New ones are added, unchanged ones keep their place in time, changed ones move, others' are left."""
        now = await stage.backend.time_ms()
        old = [entry_write(name, next_ms=now + LATER) for name in ("same", "changed", "paused")]
        assert ["added"] * 3 == await stage.backend.declare("p1", old, ttl_ms=LATER)
        await stage.put("foreign", next_ms=now + LATER)
        await stage.backend.pause_entry("paused", "why")
        new = [
            entry_write("same", next_ms=now + 2 * LATER),
            entry_write("changed", revision="r2", spec="new", next_ms=now + 2 * LATER),
            entry_write("paused", revision="r2", next_ms=now + 2 * LATER),
            entry_write("foreign", revision="r2", next_ms=now + 2 * LATER),
            entry_write("fresh", next_ms=now + 2 * LATER),
        ]

        answers = ["kept", "moved", "moved", "foreign", "added"]
        assert answers == await stage.backend.declare("p2", new, ttl_ms=LATER)
        found = [await stage.entry(write.id) for write in new]
        assert [("r1", 1), ("r2", 2), ("r2", 2), ("r1", 1), ("r1", 2)] == [
            (entry.revision, (entry.next_ms - now) // LATER) for entry in found
        ]
        assert [True, True, True, False, True] == [entry.declared for entry in found]
        assert ("new", "paused", "why") == (found[1].spec, found[2].status, found[2].note)
        assert ["kept", "kept", "kept", "foreign", "kept"] == await stage.backend.declare("p2", new, ttl_ms=LATER)

    async def test_a_moved_entry_keeps_its_counts(self, stage: Stage) -> None:
        """Like a replaced one."""
        await stage.backend.declare("p", [entry_write("entry", next_ms=1)], ttl_ms=LATER)
        await stage.fire("a", missed=2, next_ms=await stage.backend.time_ms() + LATER)
        await stage.backend.declare("p", [entry_write("entry", next_ms=5, revision="r2")], ttl_ms=LATER)

        record = await stage.entry()
        assert (1, 2, 5, ("a",)) == (record.run_count, record.missed_count, record.next_ms, record.live)

    async def test_what_nobody_declares_any_more_is_retired(self, stage: Stage) -> None:
        """When its time comes, in place of being due; entries added at run time are never touched."""
        await stage.put("added")
        await stage.backend.declare("old", [entry_write("gone"), entry_write("stays")], ttl_ms=40)
        await stage.backend.declare("new", [entry_write("stays")], ttl_ms=LATER)
        await stage.advance(60)
        reply = await stage.backend.tick("n", (), count=10)

        assert (("gone",), ["stays", "added"]) == (reply.retired, [entry.id for entry in reply.due])
        assert ("finished", "no longer declared") == ((gone := await stage.entry("gone")).status, gone.note)
        assert ["active", "active"] == [(await stage.entry(name)).status for name in ("stays", "added")]
        assert () == (await stage.backend.tick("n", (), count=10)).retired

    async def test_a_program_that_declares_less_gives_up_the_rest(self, stage: Stage) -> None:
        """Its newest declaration counts."""
        await stage.backend.declare("p", [entry_write("a"), entry_write("b")], ttl_ms=LATER)
        assert ["a", "b"] == await stage.due()
        await stage.backend.declare("p", [entry_write("b")], ttl_ms=LATER)
        assert ["b"] == await stage.due()

    async def test_a_retired_entry_can_be_declared_again(self, stage: Stage) -> None:
        """Where it stopped, or by its new rule, and then the fire that was due is missed; what had finished stays so.

        Break: a fire that was due when it was retired is neither made nor counted.
        """
        now = await stage.backend.time_ms()
        await stage.backend.declare("p", [entry_write(name) for name in ("a", "b", "done")], ttl_ms=LATER)
        await stage.fire("run", entry_id="done", next_ms=0, end="finished")
        await stage.backend.declare("p", [], ttl_ms=LATER)
        assert [] == await stage.due()
        again = [
            entry_write("a", next_ms=now + LATER),
            entry_write("b", next_ms=now + LATER, revision="r2"),
            entry_write("done", next_ms=now + LATER),
        ]

        assert ["added", "moved", "kept"] == await stage.backend.declare("p", again, ttl_ms=LATER)
        found = [await stage.entry(name) for name in ("a", "b", "done")]
        assert [("active", ""), ("active", ""), ("finished", "")] == [(entry.status, entry.note) for entry in found]
        assert [entry_write("a").next_ms, now + LATER, 0] == [entry.next_ms for entry in found]
        assert [0, 1, 0] == [entry.missed_count for entry in found]
        assert ["a"] == await stage.due()
        assert ["kept"] == (await stage.backend.declare("p", again, ttl_ms=LATER))[:1]

    async def test_what_is_retired_and_moved_and_back_again_is_not_retired(self, stage: Stage) -> None:
        """Its new rule's place in time is what counts from then on."""
        now = await stage.backend.time_ms()
        await stage.backend.declare("p", [entry_write("a")], ttl_ms=LATER)
        await stage.backend.declare("p", [], ttl_ms=LATER)
        assert [] == await stage.due()

        moved = entry_write("a", next_ms=now + LATER, revision="r2")
        assert ["moved"] == await stage.backend.declare("p", [moved], ttl_ms=LATER)
        await stage.fire(next_ms=0, end="finished", entry_id="a", cursor_ms=now + LATER, revision="r2")
        assert ["kept"] == await stage.backend.declare("p", [moved], ttl_ms=LATER)
        assert "finished" == (await stage.entry("a")).status

    async def test_what_a_node_declared_is_declared_no_more_when_it_leaves(self, stage: Stage) -> None:
        """Unless another node has the same program. A node that merely dies counts until its time is over.

        Break: for as long as a lease an entry fires whose runs nobody can carry out.
        """
        await stage.join("one", program="p")
        await stage.join("two", program="p")
        await stage.join("other", program="q")
        await stage.backend.declare("p", [entry_write("entry")], ttl_ms=LATER)
        await stage.backend.leave("one")
        await stage.backend.leave("other")
        assert ["entry"] == await stage.due()
        await stage.backend.leave("two")
        assert [] == await stage.due()
        assert "no longer declared" == (await stage.entry()).note

    async def test_a_running_node_keeps_its_program_declared(self, stage: Stage) -> None:
        """Each renewal of one of its nodes counts the time anew; a node of another program does not."""
        await stage.join("mine", program="p")
        await stage.join("other", program="q")
        await stage.backend.declare("p", [entry_write("entry")], ttl_ms=300)

        for _ in "12":
            await stage.advance(200)
            await stage.backend.renew("mine", LATER)

        assert ["entry"] == await stage.due()
        await stage.advance(200)
        await stage.backend.renew("other", LATER)
        await stage.advance(150)
        assert [] == await stage.due()

    async def test_a_program_whose_time_ran_out_is_told_to_declare_again(self, stage: Stage) -> None:
        """By each renewal, until it does; its entries, which may have been retired meanwhile, go on then.

        Break: a renewal brings back the program, and of what was retired nobody is told.
        """
        write = entry_write("entry")
        await stage.join("node", program="p")
        await stage.join("other")
        assert (await stage.backend.renew("node", LATER)).undeclared
        await stage.backend.declare("p", [write], ttl_ms=300)
        assert not (await stage.backend.renew("node", LATER)).undeclared
        await stage.advance(350)
        assert [] == await stage.due()
        assert [True, True] == [(await stage.backend.renew("node", LATER)).undeclared for _ in "12"]
        assert not (await stage.backend.renew("other", LATER)).undeclared
        assert ["added"] == await stage.backend.declare("p", [write], ttl_ms=300)
        assert not (await stage.backend.renew("node", LATER)).undeclared
        assert ["entry"] == await stage.due()

    async def test_so_many_entries_are_retired_in_a_call(self, stage: Stage) -> None:
        """And no more; those that are declared no longer and are left stand in nobody's way, and are found next.

        Break: one call retires as many as it is asked to look at.
        """
        writes = [entry_write(f"e{number:03}") for number in range(150)]
        await stage.backend.declare("p", writes, ttl_ms=1)
        await stage.put("own", next_ms=(await stage.backend.time_ms()) - 1)
        await stage.put("own2")
        await stage.advance(5)
        replies = [await stage.backend.tick(stage.nonce(), (), count=256) for _ in range(3)]

        # A look that is sent twice retires twice as many.
        assert [100, 0] == [len(reply.retired) for reply in (replies[0], replies[2])]
        assert [["own", "own2"]] * 3 == [[entry.id for entry in reply.due] for reply in replies]
        assert [True, False] == [0 < reply.next_due_ms <= reply.now_ms for reply in (replies[0], replies[2])]
