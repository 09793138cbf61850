"""What the memory backend promises beyond the conformance suite: checkpoints, hints, and costs that do not grow."""

from __future__ import annotations

import inspect
import random
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import anyio
import pytest

from anysched.backends import Backend, Claim, EntryWrite, Hint, NewRun, NodeInfo, Outcome
from anysched.backends.memory import MemoryBackend
from anysched.backends.memory.ranked import Ranked, Recent
from anysched.clock import Clock, clock_in_force

OPERATIONS = [name for name in vars(Backend) if not name.startswith("_") and name not in {"run", "listen"}]


def operations(backend: MemoryBackend) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """Every operation that returns by itself, with arguments that will do."""
    given = {
        "runs": [NewRun(id="r", job="job")],
        "run_ids": ["r"],
        "run": NewRun(id="t", job="job"),
        "node": NodeInfo(id="n", ttl_ms=1_000),
        "outcomes": (),
        "claim": None,
        "entries": (),
        "fires": (),
        "replace": False,
        "ttl_ms": 1_000,
        "token": 1,
        "fraction": 0.5,
        "next_ms": 1,
        "entry": EntryWrite(id="e", spec="", revision="", next_ms=1),
        "count": 1,
        "wait_inbox": None,
    }
    found: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {}
    for name in OPERATIONS:
        method = getattr(backend, name)
        if inspect.iscoroutinefunction(method):
            parameters = inspect.signature(method).parameters.values()
            needed = {p.name: given.get(p.name, p.name) for p in parameters if p.default is inspect.Parameter.empty}
            found[name] = partial(method, **needed)

    return found


async def test_it_is_a_backend() -> None:
    """It has every operation, under the same signature."""
    backend = MemoryBackend()
    assert isinstance(backend, Backend)

    for name in operations(backend):
        expected = list(inspect.signature(getattr(Backend, name)).parameters)[1:]
        assert (name, expected) == (name, list(inspect.signature(getattr(backend, name)).parameters))


@types.coroutine
def suspensions(operation: Coroutine[Any, Any, object]) -> Generator[Any, Any, int]:
    """Run an operation; how often it let others go on."""
    iterator, sent, count = operation.__await__(), None, 0

    while True:
        try:
            trap = iterator.send(sent)
        except StopIteration:
            return count

        count += 1
        sent = yield trap


async def test_every_operation_is_a_checkpoint() -> None:
    """Others get their turn, once, before anything happens."""
    for name, operation in operations(MemoryBackend()).items():
        assert (name, 1) == (name, await suspensions(operation()))


async def test_a_cancelled_operation_did_not_happen() -> None:
    """Nothing is stored by it, and it is the cancellation that comes out."""
    for name in operations(MemoryBackend()):
        backend = MemoryBackend()

        with anyio.CancelScope() as scope:
            scope.cancel()
            await operations(backend)[name]()

        assert (name, True) == (name, scope.cancelled_caught)
        assert ([], [], []) == (
            await backend.get_runs([]),
            await backend.list_queues(),
            await backend.list_nodes(),
        )
        assert () == (await backend.list_runs()).runs


async def test_it_holds_until_cancelled() -> None:
    """`run` is ready at once, and several may be running."""
    backend = MemoryBackend()

    async with anyio.create_task_group() as group:
        await group.start(backend.run)
        await group.start(backend.run)
        assert await backend.time_ms() > 0
        group.cancel_scope.cancel()


def test_it_outlives_an_event_loop(anyio_backend_name: str) -> None:
    """What is stored in one can be found in the next."""
    backend = MemoryBackend()
    anyio.run(backend.enqueue, [NewRun(id="r", job="job")], backend=anyio_backend_name)
    (record,) = anyio.run(backend.get_runs, ["r"], backend=anyio_backend_name)

    assert "r" == getattr(record, "id", None)


async def test_a_hint_is_delivered_within_the_step() -> None:
    """The store is consistent by then, and the operation has not returned."""
    backend = MemoryBackend()
    await backend.enqueue([NewRun(id="r", job="job")])
    await backend.watch("r", "me")
    heard: list[Hint] = []

    async with anyio.create_task_group() as group:
        await group.start(backend.listen, "me", heard.append)
        await backend.cancel("r")
        assert [Hint("done", "r")] == heard
        group.cancel_scope.cancel()


async def test_whoever_fails_to_take_a_hint_fails_alone() -> None:
    """The operation that sent it goes on, and so do the other listeners."""
    backend = MemoryBackend()
    await backend.enqueue([NewRun(id="r", job="job")])
    await backend.watch("r", "me")
    heard: list[Hint] = []

    def deliver(hint: Hint) -> None:
        raise ValueError(hint.name)

    async def cancel_under_listeners() -> None:
        async with anyio.create_task_group() as group:
            await group.start(backend.listen, "me", deliver)
            await group.start(backend.listen, "me", heard.append)
            assert await backend.cancel("r") is not None
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        await cancel_under_listeners()

    assert [Hint("done", "r")] == heard
    assert raised.group_contains(ValueError, match="r")


async def test_a_claim_costs_the_same_whatever_is_stored() -> None:
    """Counted in lines of Python that are run: the same among ten and among twenty thousand runs, within a tenth."""
    assert await lines_of_a_claim(20_000) < 1.1 * await lines_of_a_claim(10)


async def lines_of_a_claim(stored: int) -> int:
    """How many lines are run to settle a run and claim the next among so many."""
    backend = MemoryBackend()
    await backend.join(NodeInfo(id="n", ttl_ms=60_000, jobs=("job",), queues=("default",)))
    runs = [NewRun(id=f"{number:06}", job="job", delay_ms=number % 3 * 60_000) for number in range(stored)]
    await backend.enqueue(runs)
    reply = await backend.work("n", (), Claim(number=1, count=1, queues=("default",)))
    outcome = Outcome(run_id=reply.runs[0].id, token=reply.runs[0].token, kind="succeeded")
    lines = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        return trace

    work = backend.work("n", [outcome], Claim(number=2, count=1, queues=("default",)))
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        await work
    finally:
        sys.settrace(previous)

    return lines


@pytest.mark.slow
async def test_what_has_ended_is_forgotten_as_fast_as_it_comes() -> None:
    """However much ends in one step: with a thousand runs a second, each kept for ten, no more than these are stored.

    Break: a step forgets a hundred, whatever it adds.
    """
    backend = MemoryBackend()
    await backend.join(NodeInfo(id="n", ttl_ms=10_000_000, jobs=("job",), queues=("default",)))
    stored: list[int] = []

    for second in range(60):
        at = 1_000_000 * second
        clock_in_force.set(Clock(lambda at=at: at))
        await backend.enqueue([NewRun(id=f"{second}-{number}", job="job") for number in range(1_000)])
        claim = Claim(number=second + 1, count=1_000, queues=("default",))
        runs = (await backend.work("n", (), claim)).runs
        outcomes = [Outcome(run_id=run.id, token=run.token, kind="failed", ttl_ms=10_000) for run in runs]
        await backend.work("n", outcomes, None)
        stored.append(len(backend._state.runs))

    assert max(stored) <= 11_000
    assert 60_000 == (await backend.totals()).failed


def test_those_up_to_a_rank_are_found() -> None:
    """Each once, also what was dropped and put back; and they stay."""
    ranked, chance = Ranked[int](), random.Random(7)

    for _ in range(5_000):
        name = f"{chance.randrange(100)}"

        if chance.random() < 0.3:
            ranked.discard(name)
        else:
            ranked.put(name, chance.randrange(50))

        most = chance.randrange(50)
        wanted = {name for name in map(str, range(100)) if (rank := ranked.rank(name)) is not None and rank <= most}
        assert wanted == ranked.up_to(most)


def test_what_was_dropped_takes_no_place_for_long() -> None:
    """Neither in a ranking nor in a listing."""
    ranked, recent = Ranked[int](), Recent()

    for number in range(10_000):
        ranked.put("same", number)
        ranked.put(f"{number}", number)
        ranked.discard(f"{number}")
        recent.add(f"{number}", number)
        recent.discard(f"{number}")
        assert len(ranked._heap) <= 70
        assert len(recent._items) <= 70

    assert (9_999, "same") == ranked.first()
