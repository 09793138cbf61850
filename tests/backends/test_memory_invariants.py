"""Random operations on the memory backend: after each, everything in it is in exactly one place."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from attrs import define, field

from anysched.backends import Claim, ClaimedRun, EntryRecord, EntryWrite, Fire, NewRun, NodeInfo, Outcome
from anysched.backends.memory import MemoryBackend
from anysched.backends.memory.state import State
from anysched.clock import Clock, clock_in_force
from anysched.run import FINAL

KINDS = ("succeeded", "failed", "retry", "snooze", "released", "cancelled")
POLICIES = ("skip", "queue_one", "queue_all", "cancel_previous", "allow")
QUEUES = ("one", "two")
JOBS = ("a", "b", "c")


def check(state: State) -> None:
    """Everything that is written on the fields of the state."""
    check_runs(state)
    check_aside(state)
    check_entries(state)
    hungry = {name for queue in state.queues.values() for name in queue.hungry}
    assert hungry <= set(state.hungry) <= set(state.nodes)
    assert set(state.nodes) == set(state.leases._ranks)
    assert not state.made_ready
    assert not state.hints


def check_runs(state: State) -> None:
    places = Counter(place for run in state.runs.values() for place in places_of(state, run.id))
    assert dict.fromkeys(state.runs, 1) == dict(places)
    assert set(state.keys.items()) == {(r.key, r.id) for r in state.runs.values() if r.key and r.status not in FINAL}
    assert Counter(run.new.job for run in state.runs.values() if run.status == "running") == state.running_of
    assert {
        run.id for run in state.runs.values() if run.expires_at_ms and not run.started and run.status not in FINAL
    } == set(state.expiries._ranks)

    for run in state.runs.values():
        assert (run.holder is not None) == (run.status == "running")
        assert not run.cancel_requested or run.status == "running"
        assert run.attempt >= 0
        assert [run.status] == [status for status, listing in state.listed.items() if run.id in listing._stamps]


def places_of(state: State, run_id: str) -> Iterator[str]:
    """The run's id, once for each place in which its status lets it be."""
    run = state.runs[run_id]
    queue = state.queues[run.new.queue]
    entry = state.entries.get(run.new.entry_id)
    held = [node for node in (*state.nodes.values(), *state.emptying) if run_id in node.runs]
    found = {
        "ready": (run_id in queue.ready) + any(run_id in q for q in (*queue.unknown.values(), *queue.limited.values())),
        "scheduled": run_id in state.due,
        "retrying": run_id in state.due,
        "running": len(held),
        "waiting": entry is not None and run_id in entry.waiting,
        "final": run_id in state.fading,
    }
    here = "final" if run.status in FINAL else run.status
    same = {"scheduled", "retrying"} if here in {"scheduled", "retrying"} else {here}
    yield from [run_id] * int(found[here])
    assert not any(count for name, count in found.items() if name not in same)


def check_aside(state: State) -> None:
    unknown = [run for run in state.runs.values() if run.set_aside == "unknown"]
    limited = [run for run in state.runs.values() if run.set_aside == "limit"]
    assert Counter(run.new.job for run in unknown) == {job: count for job, (count, _) in state.unknown.items()}
    assert len(limited) == state.limited_count
    assert {(run.new.job, run.new.queue) for run in limited} == {
        (job, queue) for job, queues in state.limited_in.items() for queue in queues
    }
    assert all(
        ranked for queue in state.queues.values() for ranked in (*queue.unknown.values(), *queue.limited.values())
    )


def check_entries(state: State) -> None:
    assert sorted(state.entries) == state.entry_ids
    assert sum(entry.status == "active" for entry in state.entries.values()) == state.active_entries

    for entry in state.entries.values():
        assert entry.live or not entry.waiting
        assert all(state.runs[run_id].status not in FINAL | {"waiting"} for run_id in entry.live)
        assert (entry.id in state.cursors) == (entry.status == "active" and entry.next_ms > 0)
        assert entry.status != "finished" or not entry.next_ms


@define(eq=False)
class Monkey:
    """Somebody who does anything."""

    backend: MemoryBackend
    random: random.Random
    micros: int = 1_800_000_000_000_000
    held: list[tuple[str, ClaimedRun]] = field(factory=list[tuple[str, ClaimedRun]])
    made: int = 0
    claims: int = 0

    @property
    def actions(self) -> list[Callable[[], Awaitable[object]]]:
        return [
            self.enqueue,
            self.work,
            self.work,
            self.work,
            self.ask,
            self.nodes,
            self.keep_entry,
            self.tick,
            self.wait,
        ]

    def new_run(self) -> NewRun:
        self.made += 1
        pick = self.random.choice
        return NewRun(
            id=f"r{self.random.randrange(self.made) if self.random.random() < 0.1 else self.made}",
            job=pick(JOBS),
            queue=pick(QUEUES),
            priority=pick((0, 0, 1)),
            delay_ms=pick((0, 0, 10, 1_000)),
            expires_ms=pick((0, 0, 0, 500)),
            key=pick(("", "", f"k{self.random.randrange(5)}")),
            ttl_ms=pick((1, 60_000)),
        )

    def any_run(self) -> str:
        return f"r{self.random.randrange(self.made + 2)}"

    def any_node(self) -> str:
        return f"n{self.random.randrange(4)}"

    async def wait(self) -> None:
        self.micros += 1_000 * self.random.choice((1, 20, 600, 5_000))

    async def enqueue(self) -> None:
        await self.backend.enqueue([self.new_run() for _ in range(self.random.randrange(4))])

    async def work(self) -> None:
        node, pick = self.any_node(), self.random.choice
        outcomes: list[Outcome] = []

        if self.held and self.random.random() < 0.7:
            node, run = pick(self.held)
            kind = pick(KINDS)
            outcomes.append(Outcome(run_id=run.id, token=run.token, kind=kind, delay_ms=pick((0, 50)), ttl_ms=1))

        queues = tuple(self.random.sample(QUEUES, self.random.choice((1, 2))))
        limits = {"a": self.random.randrange(3)} if self.random.random() < 0.7 else {}
        self.claims += 1
        number = max(self.claims - pick((0, 0, 0, 1, 9)), 1)
        claim = Claim(number=number, count=self.random.randrange(4), queues=queues, limits=limits)
        reply = await self.backend.work(node, outcomes, pick((claim, claim, None)))
        self.held = self.held[-9:] + [(node, run) for run in reply.runs]

    async def ask(self) -> None:
        run_id, backend = self.any_run(), self.backend
        action = self.random.randrange(5)

        if action == 0:
            await backend.cancel(run_id)
        elif action == 1:
            await backend.revive(run_id)
        elif action == 2:
            await backend.reschedule(run_id, delay_ms=self.random.choice((0, 100)))
        elif action == 3:
            await self.random.choice((backend.pause_queue, backend.resume_queue))(self.random.choice(QUEUES))
        else:
            await backend.watch(run_id, "me")

    async def nodes(self) -> None:
        node, action = self.any_node(), self.random.randrange(4)

        if action < 2:
            jobs = tuple(self.random.sample(JOBS, 2))
            await self.backend.join(NodeInfo(id=node, ttl_ms=3_000, jobs=jobs, queues=QUEUES, program="p"))
        elif action == 2:
            await self.backend.renew(node, 3_000)
        else:
            await self.backend.leave(node)

    async def keep_entry(self) -> None:
        entry_id, backend, now = f"e{self.random.randrange(3)}", self.backend, self.micros // 1_000
        revision, action = f"v{self.random.randrange(2)}", self.random.randrange(6)
        write = EntryWrite(id=entry_id, spec="", revision=revision, next_ms=self.random.choice((0, now, now + 500)))

        if action < 2:
            await backend.put_entry(write, replace=action == 1, nonce=f"{self.random.randrange(999)}")
        elif action == 2:
            await backend.declare("p", [write], ttl_ms=2_000)
        elif action == 3:
            await backend.pause_entry(entry_id, "")
        elif action == 4:
            await backend.resume_entry(entry_id, revision=revision, next_ms=self.random.choice((None, now)))
        elif self.random.random() < 0.3:
            await backend.remove_entry(entry_id)

    async def tick(self) -> None:
        entry_id, pick = f"e{self.random.randrange(3)}", self.random.choice
        overlap = pick(POLICIES)
        record = await self.backend.get_entry(entry_id)

        if self.random.random() < 0.2 or not isinstance(record, EntryRecord):
            await self.backend.trigger(entry_id, self.new_run(), overlap=overlap)
            return

        end = pick(("", "", "finished", "completion"))
        fire = Fire(
            entry_id=entry_id,
            revision=record.revision,
            cursor_ms=record.next_ms,
            next_ms=0 if end else record.next_ms + pick((1, 700)),
            end=end,
            after_ms=100,
            runs=tuple(self.new_run() for _ in range(self.random.randrange(3))),
            overlap=overlap,
            limit=pick((0, 0, 20)),
        )
        await self.backend.tick(f"{self.random.randrange(999)}", [fire], count=2)


@pytest.mark.parametrize("seed", range(12))
async def test_everything_is_in_one_place(seed: int) -> None:
    """After any operation, whatever went before."""
    monkey = Monkey(MemoryBackend(), random.Random(seed))
    token = clock_in_force.set(Clock(lambda: monkey.micros))
    try:
        for _ in range(600):
            await monkey.random.choice(monkey.actions)()
            check(monkey.backend._state)
    finally:
        clock_in_force.reset(token)


async def test_nothing_is_left_of_what_has_ended() -> None:
    """When everything was cancelled and its ttl has passed, no run and no lock is remembered."""
    monkey = Monkey(MemoryBackend(), random.Random(0))
    token = clock_in_force.set(Clock(lambda: monkey.micros))
    try:
        for number in range(800):
            await monkey.random.choice(monkey.actions)()
            await monkey.backend.acquire_lock(f"{number}", "me", ttl_ms=10, wait_inbox=None)

        state = monkey.backend._state

        for node_id in list(state.nodes):
            await monkey.backend.leave(node_id)

        for run_id in list(state.runs):
            await monkey.backend.cancel(run_id)

        monkey.micros += 10**9

        for _ in range(20):
            await monkey.backend.work("housekeeper", (), None)
            await monkey.backend.acquire_lock("lock", "me", ttl_ms=1, wait_inbox=None)

        assert (0, 0, 0, 0) == (len(state.runs), len(state.keys), len(state.due), len(state.fading))
        assert ["lock"] == list(state.locks)
        assert not state.running_of
        assert not any(state.listed.values())
    finally:
        clock_in_force.reset(token)
