# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Hints: who is woken, by what, and that nobody else is."""

from __future__ import annotations

from anysched.backends import Hint

from .stage import LATER, Inbox, Stage, Staged

__all__ = ["HintConformance"]


def of_kind(inbox: Inbox, kind: str) -> list[Hint]:
    """The hints of a kind in an inbox."""
    return [hint for hint in inbox.hints if hint.kind == kind]


class HintConformance(Staged):
    """``listen``, and the hungry nodes."""

    async def test_a_hungry_node_is_woken_for_work(self, stage: Stage) -> None:
        """When its last claim came back short; once, until it has claimed again."""
        await stage.join()

        async with stage.inbox("node") as inbox:
            for name in "abc":
                assert [] == await stage.claim()
                await stage.add(name)
                await inbox.expect("work")
                assert [name] == await stage.claim_ids()

            assert [] == await stage.claim()
            await stage.add("d")
            await inbox.expect("work")
            await stage.add("e", "f")
            await stage.advance(30)
            assert [] == of_kind(inbox, "work")

    async def test_a_claim_that_comes_too_late_changes_nobodys_hunger(self, stage: Stage) -> None:
        """What the newest claim said stands: one node is told of what comes next, and the other is not."""
        await stage.join("hungry")
        await stage.join("filled")

        async with stage.inbox("hungry") as hungry, stage.inbox("filled") as filled:
            late = [stage.number(name) for name in ("filled", "hungry")]
            await stage.add(*"abcdefgh")
            assert [*"abcdefgh"] == [run.id for _ in range(8) for run in await stage.claim("filled")]

            for _ in range(8):
                assert [] == await stage.claim("hungry")

            await stage.work("filled", number=late[0])
            await stage.work("hungry", number=late[1])
            await stage.add("i", "j")
            await hungry.expect("work")
            await stage.advance(30)
            assert [] == of_kind(filled, "work")

    async def test_a_busy_node_is_left_alone(self, stage: Stage) -> None:
        """When its claim was filled, or was of another queue, or is paused."""
        await stage.join("filled")
        await stage.join("elsewhere", queues=("other",))
        await stage.add("a")

        async with stage.inbox("filled") as filled, stage.inbox("elsewhere") as elsewhere:
            assert ["a"] == await stage.claim_ids("filled")
            assert [] == await stage.claim("elsewhere", queues=("other",))
            await stage.add("b")
            await stage.backend.pause_queue("other")
            await stage.add("c", queue="other")
            await stage.advance(30)
            assert ([], []) == (of_kind(filled, "work"), of_kind(elsewhere, "work"))

    async def test_only_the_last_claim_counts(self, stage: Stage) -> None:
        """A node is hungry for what it asked for last, and not at all once that was filled."""
        await stage.join("moved on", queues=("default", "other"))
        await stage.join("filled", queues=("default", "other"))

        async with stage.inbox("moved on") as moved_on, stage.inbox("filled") as filled:
            await stage.claim("moved on")
            await stage.claim("moved on", queues=("other",))
            await stage.claim("filled")
            await stage.add("a", queue="other")
            await moved_on.expect("work")
            await stage.claim_one("filled", queues=("other",))
            await stage.claim("moved on", queues=("other",))
            await stage.add("b")
            await stage.advance(30)
            assert ([], []) == (of_kind(moved_on, "work"), of_kind(filled, "work"))

    async def test_as_many_are_woken_as_there_are_runs(self, stage: Stage) -> None:
        """Two runs wake two of three."""
        names = ["one", "two", "three"]

        for name in names:
            await stage.join(name)
            await stage.claim(name)

        async with stage.inbox("one") as one, stage.inbox("two") as two, stage.inbox("three") as three:
            await stage.add("a", "b")
            await stage.advance(50)
            assert 2 == sum(len(of_kind(inbox, "work")) for inbox in (one, two, three))

    async def test_a_sooner_due_time_wakes_one(self, stage: Stage) -> None:
        """Who learns then when to look again; a later one wakes nobody."""
        await stage.join()
        now = await stage.backend.time_ms()

        async with stage.inbox("node") as inbox:
            for delay in (2 * LATER, LATER):
                await stage.claim()
                await stage.add(f"in {delay}", at_ms=now + delay)
                await inbox.expect("work")
                assert now + delay == (await stage.work()).next_due_ms

            await stage.add("later", at_ms=now + 3 * LATER)
            await stage.advance(30)
            assert [] == of_kind(inbox, "work")

    async def test_a_node_of_another_queue_is_woken_for_a_due_time(self, stage: Stage) -> None:
        """If there is no hungry one of the queue: anybody can make it ready."""
        await stage.join(queues=("other",))

        async with stage.inbox("node") as inbox:
            await stage.claim(queues=("other",))
            await stage.add("a", delay_ms=LATER)
            await inbox.expect("work")

    async def test_a_retry_wakes_somebody_to_watch_its_time(self, stage: Stage) -> None:
        """When the node that settles it has no room to look itself."""
        await stage.join("busy")
        await stage.join("idle")
        await stage.add("a")
        run = await stage.claim_one("busy")

        async with stage.inbox("idle") as inbox:
            await stage.claim("idle")
            await stage.settle(run, "retry", node_id="busy", delay_ms=LATER // 2)
            await inbox.expect("work")
            assert (await stage.run("a")).due_ms == (await stage.work("idle")).next_due_ms

    async def test_the_watch_is_handed_over(self, stage: Stage) -> None:
        """When the node that knows the next instant gets busy or leaves, another hungry one is told."""
        await stage.join("first")
        await stage.join("second", queues=("other",))
        await stage.add("later", delay_ms=LATER)

        async with stage.inbox("first") as first, stage.inbox("second") as second:
            await stage.claim("second", queues=("other",))
            await stage.claim("first")
            await stage.add("now")
            await first.expect("work")
            assert ["now"] == await stage.claim_ids("first")
            await second.expect("work")

            await stage.claim("first", queues=("other",))
            await stage.claim("second", queues=("other",))
            await stage.backend.leave("second")
            await first.expect("work")

    async def test_what_falls_due_wakes_those_who_can_take_it(self, stage: Stage) -> None:
        """Though it was another node, of another queue, that noticed."""
        await stage.join("watching", queues=("other",))
        await stage.join("wanting")
        await stage.claim("wanting")
        await stage.add("a", delay_ms=30)
        await stage.claim("wanting")

        async with stage.inbox("wanting") as inbox:
            await stage.advance(40)
            await stage.claim("watching", queues=("other",))
            await inbox.expect("work")

        assert ["a"] == await stage.claim_ids("wanting")

    async def test_what_comes_back_wakes_somebody(self, stage: Stage) -> None:
        """Handed back, left by a node that goes or dies, revived, moved to now."""
        await stage.join("holder")
        await stage.join("hungry")
        await stage.add("a", "b", "c", "d")
        a, *_ = await stage.claim("holder", count=4)

        async with stage.inbox("hungry") as inbox:
            await stage.claim("hungry")
            await stage.settle(a, "released", node_id="holder")
            await inbox.expect("work")

            run = await stage.claim_one("hungry")
            await stage.settle(run, "failed", node_id="hungry")
            await stage.claim("hungry")
            await stage.backend.revive("a")
            await inbox.expect("work")

            run = await stage.claim_one("hungry")
            await stage.settle(run, "retry", node_id="hungry", delay_ms=LATER)
            await stage.claim("hungry")
            await stage.backend.reschedule("a", delay_ms=0)
            await inbox.expect("work")

            assert ["a"] == await stage.claim_ids("hungry", count=5)
            await stage.backend.leave("holder")
            await inbox.expect("work")

    async def test_a_resumed_queue_wakes_its_nodes(self, stage: Stage) -> None:
        """Those who found it paused."""
        await stage.join()
        await stage.backend.pause_queue("default")
        await stage.add("a")

        async with stage.inbox("node") as inbox:
            assert [] == await stage.claim()
            await stage.backend.resume_queue("default")
            await inbox.expect("work")

    async def test_an_inbox_may_have_several_listeners(self, stage: Stage) -> None:
        """Each gets every hint that is sent after it stands, and none of another inbox."""
        await stage.add("a")
        await stage.backend.watch("a", "me")

        async with stage.inbox("me") as one, stage.inbox("me") as two, stage.inbox("you") as other:
            await stage.backend.cancel("a")
            await one.expect("done", "a")
            await two.expect("done", "a")
            assert [] == of_kind(other, "done")
