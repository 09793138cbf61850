"""Group commit: who travels with whom, and that nobody is forgotten, whoever is cancelled."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from anyio import Event, create_task_group
from anyio.lowlevel import checkpoint
from attrs import define, field

from anysched.runtime.batching import Batcher, _Call
from anysched.testing import Round, cancel_at_every_await


@define(eq=False)
class Wire:
    """What batches are sent over: each trip takes a second, or as long as a test wants."""

    trips: list[list[int]] = field(factory=list[list[int]])
    fail: dict[int, Exception] = field(factory=dict[int, Exception])
    """The error of the n-th trip."""
    seconds: float = 1.0

    async def send(self, items: Sequence[int]) -> Sequence[int]:
        self.trips.append(list(items))
        number = len(self.trips)
        await anyio.sleep(self.seconds)

        if number in self.fail:
            raise self.fail[number]

        return [item * 10 for item in items]


async def test_an_idle_batcher_sends_at_once() -> None:
    """Nobody waits for company: the first call leaves alone, without delay."""
    wire = Wire(seconds=0)
    began = anyio.current_time()
    assert [10, 20] == await Batcher(send=wire.send).submit([1, 2])
    assert [[1, 2]] == wire.trips
    assert began == anyio.current_time()


async def test_calls_that_arrive_while_one_is_in_flight_travel_together() -> None:
    """Three callers come while the first trip is under way: they make one trip, in order, each with its own answer."""
    wire = Wire()
    batcher = Batcher(send=wire.send)
    answers: dict[int, Sequence[int]] = {}

    async def call(number: int) -> None:
        answers[number] = await batcher.submit([number, number + 100])

    async with create_task_group() as callers:
        for number in (1, 2, 3, 4):
            callers.start_soon(call, number)
            await anyio.sleep(0.1)

    assert [[1, 101], [2, 102, 3, 103, 4, 104]] == wire.trips
    assert {number: [number * 10, number * 10 + 1000] for number in (1, 2, 3, 4)} == answers


async def test_a_batch_takes_no_more_than_it_may_and_splits_no_call() -> None:
    """`max_items` and `max_weight` end a batch between two calls; a call that is larger alone travels alone."""
    by_count, by_weight = Wire(), Wire()

    for wire, batcher in (
        (by_count, Batcher(send=by_count.send, max_items=3)),
        (by_weight, Batcher(send=by_weight.send, max_weight=3, weigh=lambda item: 1)),
    ):
        async with create_task_group() as callers:
            for items in ([1], [2, 2], [3, 3], [4, 4, 4, 4], [5]):
                callers.start_soon(batcher.submit, items)
                await anyio.sleep(0.01)

        assert [[1], [2, 2], [3, 3], [4, 4, 4, 4], [5]] == wire.trips


async def test_callers_that_are_cancelled_leave_the_line_without_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred that wait are cancelled, the last first; no call is compared with the others. The next one is sent."""
    compared: list[object] = []

    def compare(call: object, other: object) -> bool:
        compared.append(other)
        return call is other

    monkeypatch.setattr(_Call, "__eq__", compare)
    wire = Wire()
    batcher = Batcher(send=wire.send)
    scopes = [anyio.CancelScope() for _ in range(100)]

    async def call(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await batcher.submit([number])

    async with create_task_group() as callers:
        callers.start_soon(batcher.submit, [0])
        await anyio.sleep(0.1)

        for number, scope in enumerate(scopes, 1):
            callers.start_soon(call, number, scope)
            await checkpoint()

        for scope in reversed(scopes):
            scope.cancel()
            await checkpoint()

        callers.start_soon(batcher.submit, [-1])

    assert [[0], [-1]] == wire.trips
    # Those that share a place in a hash table are compared.
    assert len(scopes) > len(compared)


async def test_an_error_is_given_to_everyone_in_the_batch_and_to_nobody_else() -> None:
    """The second trip fails: both who were in it are told, and the next one is sent as if nothing had been."""
    wire = Wire(fail={2: ConnectionError("gone")})
    batcher = Batcher(send=wire.send)
    ended: dict[int, object] = {}

    async def call(number: int) -> None:
        try:
            ended[number] = await batcher.submit([number])
        except ConnectionError as error:
            ended[number] = str(error)

    async with create_task_group() as callers:
        for number in (1, 2, 3):
            callers.start_soon(call, number)
            await anyio.sleep(0.1)

        await anyio.sleep(1)
        callers.start_soon(call, 4)

    assert {1: [10], 2: "gone", 3: "gone", 4: [40]} == ended


async def test_a_leader_cancelled_in_flight_leaves_the_others_to_be_sent_again() -> None:
    """The leader of a batch of three is cancelled: the other two go out once more, and get their answers.

    Break: dropping the batch when its leader is cancelled leaves the two waiting for ever.
    """
    wire = Wire()
    batcher = Batcher(send=wire.send)
    scope = anyio.CancelScope()
    answers: dict[int, Sequence[int]] = {}

    async def call(number: int) -> None:
        answers[number] = await batcher.submit([number])

    async def call_cancelled() -> None:
        with scope:
            await call(2)

    with anyio.fail_after(10):
        async with create_task_group() as callers:
            callers.start_soon(call, 1)
            await anyio.sleep(0.1)
            callers.start_soon(call_cancelled)
            await anyio.sleep(0.1)
            callers.start_soon(call, 3)
            await anyio.sleep(0.1)
            callers.start_soon(call, 4)
            await anyio.sleep(1)
            scope.cancel()

    assert [[1], [2, 3, 4], [3, 4]] == wire.trips
    assert {1: [10], 3: [30], 4: [40]} == answers


async def test_a_passenger_cancelled_in_flight_is_not_waited_for_when_its_leader_is_cancelled_too() -> None:
    """First a passenger is cancelled, then the leader of its batch: nobody is told to lead who is not there any more.

    Break: putting the whole batch back into the line hands leadership to the dead call, and every later call waits for
    ever.
    """
    wire = Wire()
    batcher = Batcher(send=wire.send)
    leader, passenger = anyio.CancelScope(), anyio.CancelScope()

    async def call(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await batcher.submit([number])

    with anyio.fail_after(10):
        async with create_task_group() as callers:
            callers.start_soon(batcher.submit, [1])
            await anyio.sleep(0.1)
            callers.start_soon(call, 2, leader)
            await anyio.sleep(0.1)
            callers.start_soon(call, 3, passenger)
            await anyio.sleep(1)
            passenger.cancel()
            await anyio.sleep(0.1)
            leader.cancel()

        assert [40] == await batcher.submit([4])

    assert [[1], [2, 3], [4]] == wire.trips


async def test_a_caller_cancelled_in_line_is_never_sent() -> None:
    """What stood in line and was cancelled there did not happen."""
    wire = Wire()
    batcher = Batcher(send=wire.send)
    scope = anyio.CancelScope()

    async def call() -> None:
        with scope:
            await batcher.submit([2])

    async with create_task_group() as callers:
        callers.start_soon(batcher.submit, [1])
        await anyio.sleep(0.1)
        callers.start_soon(call)
        await anyio.sleep(0.1)
        callers.start_soon(batcher.submit, [3])
        await anyio.sleep(0.1)
        scope.cancel()

    assert [[1], [3]] == wire.trips


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, loop_name: str) -> bool:
    if request.param and loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    return request.param


@pytest.mark.parametrize("leading", [True, False], ids=["leader", "passenger"])
async def test_cancelled_at_any_await_it_keeps_nobody_waiting(native: bool, leading: bool) -> None:
    """Whoever is cancelled wherever: the others are answered, and the batcher is idle afterwards.

    Break: without passing on in `_stand_in_line`, a caller cancelled right after it was told to lead stops the line.
    """
    wire = Wire(seconds=0)
    batcher = Batcher(send=wire.send)
    others: list[Sequence[int]] = []

    async def other(number: int, started: Event) -> None:
        started.set()
        others.append(await batcher.submit([number]))

    async def operation() -> None:
        async with create_task_group() as callers:
            started = Event()

            if not leading:
                callers.start_soon(other, 1, started)
                await started.wait()

            others_began = Event()

            async def follow() -> None:
                await checkpoint()
                await other(2, others_began)

            callers.start_soon(follow)
            await batcher.submit([9])

    async def check(number: int, outcome: Round[None]) -> None:
        with anyio.fail_after(5):
            assert [70] == await batcher.submit([7])

        assert not batcher._in_flight
        assert not batcher._line

    assert await cancel_at_every_await(operation, check=check, native=native) >= 2
