# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Runs that are handed over to the node that they wake."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from anysched.backends import RunRecord

from .stage import LATER, Stage, Staged

__all__ = ["HandingConformance"]

HANDED: list[dict[str, Any]] = [
    {},
    {"payload": "[1]", "options": '{"metadata":{"a":1}}', "queue": "other", "priority": 7, "ttl_ms": 60_000},
    {"payload": "\u00fc" * 4_096},
    {"deadline_after_ms": LATER},
    {"deadline_ms": 4_000_000_000_000},
    {"deadline_ms": 5, "deadline_after_ms": LATER},
    {"scheduled_for_ms": 77},
]

NOT_HANDED: list[dict[str, Any]] = [
    {"key": "k"},
    {"entry_id": "e"},
    {"delay_ms": 5},
    {"at_ms": 5},
    {"expires_ms": LATER},
    {"expires_at_ms": 4_000_000_000_000},
    {"payload": "\u00fc" * 4_097},
    {"job": "strange"},
    {"job": "limited"},
]


class HandingConformance(Staged):
    """``enqueue``, when somebody hungry ``takes``."""

    @pytest.mark.parametrize("fields", HANDED, ids=lambda fields: " ".join(fields) or "plain")
    async def test_what_is_handed_over_is_claimed(self, stage: Stage, fields: dict[str, Any]) -> None:
        """The same as what a claim gets: the record, the hint, the token, and what may be done with it."""
        await stage.join(queues=("default", "other"))

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True, queues=("default", "other"))
            before = await stage.backend.time_ms()
            await stage.add("a", **fields)
            hint = await inbox.expect("take", "node")
            run, record = hint.run, await stage.run("a")
            assert run is not None
            assert ("a", "job", 1) == (run.id, run.job, run.attempt)
            assert ("running", "node", 1) == (record.status, record.node, record.attempt)
            assert before <= hint.now_ms == record.started_ms <= await stage.backend.time_ms()

            for name in ("token", "payload", "queue", "priority", "deadline_ms", "enqueued_ms", "options"):
                assert getattr(record, name) == getattr(run, name), name

            for name in fields.keys() - {"deadline_after_ms", "ttl_ms"}:
                assert fields[name] == getattr(run, name)

            assert (("a", run.token),) == (await stage.backend.renew("node", LATER)).held
            assert await stage.settle(run, "succeeded", result="r")
            assert "succeeded" == await stage.status("a")
            assert [run.queue] == [queue.name for queue in await stage.backend.list_queues() if queue.name == run.queue]

    async def test_tokens_of_what_is_handed_over_grow(self, stage: Stage) -> None:
        """With those of claims, from one sequence."""
        await stage.join()
        tokens: list[int] = []

        async with stage.inbox("node") as inbox:
            for name in "abc":
                await stage.work(takes=True)
                await stage.add(name)
                tokens.append((await stage.handed_over(inbox)).token)
                await stage.add(name + name)
                tokens.append((await stage.claim_one()).token)

        assert sorted(set(tokens)) == tokens

    async def test_one_is_handed_over_to_each(self, stage: Stage) -> None:
        """To those who have waited longest first; then nobody is hungry any more, and what comes next is queued."""
        await stage.join("one")
        await stage.join("two")

        async with stage.inbox("one") as one, stage.inbox("two") as two:
            await stage.work("two", takes=True)
            await stage.work("one", takes=True)
            await stage.add("a")
            await stage.add("b")
            await stage.add("c")
            await stage.add("d")
            assert "a" == (await stage.handed_over(two, "two")).id
            assert "b" == (await stage.handed_over(one, "one")).id
            assert ["running", "running", "ready", "ready"] == await stage.statuses(*"abcd")
            assert ["c", "d"] == await stage.claim_ids("one", count=3)

    @pytest.mark.parametrize("fields", NOT_HANDED, ids=lambda fields: f"{fields!a}"[:40])
    async def test_what_needs_more_is_not_handed_over(self, stage: Stage, fields: dict[str, Any]) -> None:
        """A key, an entry, a due time, an expiry, a long payload; a job that is limited, or that nobody knows."""
        await stage.join(jobs=("job", "limited"))

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True, limits={"limited": 9})
            await stage.add("a", **fields)
            await inbox.expect("work")
            assert [] == inbox.hints
            assert await stage.status("a") in {"ready", "scheduled"}

    async def test_what_is_not_handed_over_is_stored_whole(self, stage: Stage) -> None:
        """Whatever it has to it, as it would be if nobody were hungry."""
        fields: dict[str, Any] = {
            "payload": '[1,"\u00fc"]',
            "options": '{"metadata":{"a":1}}',
            "queue": "other",
            "priority": -7,
            "ttl_ms": 60_000,
            "deadline_ms": 4_000_000_000_000,
            "deadline_after_ms": LATER,
            "scheduled_for_ms": 77,
        }
        records: list[RunRecord] = []
        await stage.add("queued", **fields)
        await stage.join(jobs=("other",), queues=("other",))

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True, queues=("other",))
            await stage.add("not-known", **fields)
            assert [] == [hint for hint in inbox.hints if hint.kind == "take"]

        for run_id in ("queued", "not-known"):
            record = await stage.run(run_id)
            assert abs(record.deadline_ms - record.enqueued_ms - LATER) <= 1
            records.append(replace(record, id="", enqueued_ms=0, deadline_ms=0, set_aside=""))

        assert records[0] == records[1]
        assert fields["payload"] == records[0].payload

    async def test_several_at_once_are_not_handed_over(self, stage: Stage) -> None:
        """They are claimed together."""
        await stage.join()

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True)
            await stage.add("a", "b")
            await inbox.expect("work")
            assert ["a", "b"] == await stage.claim_ids(count=2)

    async def test_who_does_not_take_is_handed_nothing(self, stage: Stage) -> None:
        """What counts is the last claim."""
        await stage.join()

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True)
            await stage.work()
            await stage.add("a")
            await inbox.expect("work")
            assert "a" == (await stage.claim_one()).id

    async def test_who_does_not_listen_is_handed_nothing(self, stage: Stage) -> None:
        """Nor who has no lease any more: it would not be carried out before that is found out."""
        await stage.join()
        await stage.join("other")
        await stage.work(takes=True)
        await stage.add("a")
        assert "ready" == await stage.status("a")
        assert () == (await stage.backend.renew("node", LATER)).held
        assert await stage.settle(await stage.claim_one(), "succeeded")

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True)
            await stage.backend.renew("node", 1)
            await stage.advance(5)
            await stage.add("b")
            assert "ready" == await stage.status("b")
            assert [] == inbox.hints

        assert ["b"] == await stage.claim_ids("other")

    async def test_nothing_is_handed_over_past_what_waits(self, stage: Stage) -> None:
        """In a queue that has something ready, or is paused."""
        await stage.join("first")
        await stage.join("second")

        async with stage.inbox("first") as first, stage.inbox("second") as second:
            await stage.work("first")
            await stage.work("second", takes=True)
            await stage.add("a")
            await stage.add("b")
            await first.expect("work")
            await second.expect("work")
            assert ["a", "b"] == await stage.claim_ids("first", count=2)

            await stage.work("second", takes=True)
            await stage.backend.pause_queue("default")
            await stage.add("c")
            assert "ready" == await stage.status("c")

    async def test_an_enqueue_that_comes_twice_hands_over_once(self, stage: Stage) -> None:
        """It is known by its id."""
        await stage.join("one")
        await stage.join("two")

        async with stage.inbox("one") as one, stage.inbox("two") as two:
            await stage.work("one", takes=True)
            await stage.work("two", takes=True)
            await stage.add("a")
            run = await stage.handed_over(one, "one")
            await stage.add("a")
            await stage.advance(30)
            assert ([], []) == (one.hints, two.hints)
            assert run.token == (await stage.run("a")).token

    async def test_what_was_handed_over_comes_back_like_any_other(self, stage: Stage) -> None:
        """Released, it is at the front; from a dead node with a crash; asked to cancel, its node is told."""
        await stage.join()

        async with stage.inbox("node") as inbox:
            await stage.work(takes=True)
            await stage.add("a")
            run = await stage.handed_over(inbox)
            await stage.add("b")
            assert await stage.settle(run, "released")
            again, b = await stage.claim(count=2)
            assert ("a", 1, "b") == (again.id, again.attempt, b.id)

            await stage.work(takes=True)
            await stage.add("c")
            await stage.handed_over(inbox)
            await stage.backend.cancel("c")
            await inbox.expect("cancel", "c")
            await stage.die("node")

        assert ["ready", "ready", "cancelled"] == await stage.statuses(*"abc")
        assert (1, 1) == ((await stage.run("a")).crashes, (await stage.run("b")).crashes)


class DecliningConformance(Staged):
    """A claim of 0."""

    async def test_who_declines_is_not_woken(self, stage: Stage) -> None:
        """Others are, for what it may have been woken for; and one of them keeps the watch."""
        await stage.join("first")
        await stage.join("second")

        async with stage.inbox("first") as first, stage.inbox("second") as second:
            await stage.claim("first")
            await stage.claim("second", queues=("default", "other"))
            await stage.add("a")
            await first.expect("work")
            reply = await stage.work("first", count=0)
            assert ((), True) == (reply.runs, reply.more)
            await second.expect("work")
            assert ["a"] == await stage.claim_ids("second")

            await stage.claim("second")
            await stage.claim("first")
            await stage.add("later", delay_ms=LATER)
            await second.expect("work")
            await stage.claim("second")
            await stage.work("second", count=0)
            await first.expect("work")

    async def test_declining_takes_nothing_out_of_its_place(self, stage: Stage) -> None:
        """What is ready stays, what is set aside stays there."""
        await stage.join("other", jobs=())
        await stage.join()
        await stage.add("a", "b")
        assert [] == await stage.claim("other")
        assert "unknown" == (await stage.run("a")).set_aside
        await stage.work(count=0)
        assert ("unknown", "ready") == ((await stage.run("a")).set_aside, (await stage.run("b")).status)
        assert ["a", "b"] == await stage.claim_ids(count=2)
