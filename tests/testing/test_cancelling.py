"""`cancel_at_every_await`: every suspension is cancelled once, and a leak is found."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from anysched.errors import InvalidOption
from anysched.testing import NeverCompletes, Round, cancel_at_every_await


class Shelf:
    """Something that can leak: tokens to be taken and put back."""

    def __init__(self) -> None:
        self.taken = 0

    async def careful(self) -> str:
        await anyio.lowlevel.checkpoint()
        self.taken += 1
        try:
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        finally:
            self.taken -= 1

        await anyio.lowlevel.checkpoint()
        return "done"

    async def leaky(self) -> None:
        self.taken += 1
        await anyio.lowlevel.checkpoint()
        self.taken -= 1


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, anyio_backend_name: str) -> bool:
    if request.param and anyio_backend_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    return request.param


async def test_each_suspension_is_cancelled_and_the_last_round_completes(native: bool) -> None:
    """Rounds count from 1; all but the last were cancelled, each at another line; the last has the result."""
    shelf = Shelf()
    rounds: dict[int, Round[str]] = {}

    async def check(n: int, outcome: Round[str]) -> None:
        await anyio.lowlevel.checkpoint()
        rounds[n] = outcome
        assert shelf.taken == 0

    count = await cancel_at_every_await(shelf.careful, check=check, native=native)
    assert list(range(1, count + 2)) == list(rounds)
    *cancelled, last = rounds.values()
    assert count >= 4
    assert all(outcome.cancelled and outcome.value is None for outcome in cancelled)
    assert all("careful" in str(outcome.where) for outcome in cancelled)
    assert Round(where=None, cancelled=False, value="done", error=None) == last


async def test_a_planted_leak_is_found_and_its_place_is_named(native: bool) -> None:
    """What `check` raises is passed on, with a note of the line at which the operation was cancelled."""
    shelf = Shelf()

    async def check(n: int, outcome: Round[None]) -> None:
        await anyio.lowlevel.checkpoint()
        assert shelf.taken == 0, f"leaked in round {n}"

    with pytest.raises(AssertionError, match="leaked in round 1") as caught:
        await cancel_at_every_await(shelf.leaky, check=check, native=native)

    assert "round 1" in caught.value.__notes__[0]
    assert "leaky" in caught.value.__notes__[0]
    assert "test_cancelling.py" in caught.value.__notes__[0]


async def accept(n: int, outcome: Round[object]) -> None:
    await anyio.lowlevel.checkpoint()


async def test_an_operation_without_a_suspension_runs_once(native: bool) -> None:
    """There is nothing to cancel, and its result is still checked."""
    outcomes: list[Round[int]] = []

    async def operation() -> int:
        return 7

    async def check(n: int, outcome: Round[int]) -> None:
        await anyio.lowlevel.checkpoint()
        outcomes.append(outcome)

    assert 0 == await cancel_at_every_await(operation, check=check, native=native)
    assert [7] == [outcome.value for outcome in outcomes]


async def test_an_operation_that_completes_in_spite_of_it_counts_as_not_cancelled() -> None:
    """Under a shield the cancellation is not delivered: the round has a result and a place."""
    outcomes: list[Round[str]] = []

    async def operation() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()

        return "kept"

    async def check(n: int, outcome: Round[str]) -> None:
        await anyio.lowlevel.checkpoint()
        outcomes.append(outcome)

    count = await cancel_at_every_await(operation, check=check)
    assert count >= 1
    assert ["kept"] * (count + 1) == [outcome.value for outcome in outcomes]
    assert not any(outcome.cancelled for outcome in outcomes)


async def test_an_unexpected_error_is_passed_on_bare(native: bool) -> None:
    """An operation that fails when it is cancelled is a bug, unless the error was announced."""

    async def operation() -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            divmod(1, 0)

    with pytest.raises(ZeroDivisionError, match="zero") as caught:
        await cancel_at_every_await(operation, check=accept, native=native)

    assert "round 1" in caught.value.__notes__[0]


async def test_an_expected_error_is_part_of_the_outcome(native: bool) -> None:
    """`check` sees it, and the rounds go on."""
    errors: list[type[Exception] | None] = []

    async def operation() -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            raise ZeroDivisionError

    async def check(n: int, outcome: Round[None]) -> None:
        await anyio.lowlevel.checkpoint()
        errors.append(type(outcome.error) if outcome.error else None)

    count = await cancel_at_every_await(operation, check=check, expected=(ZeroDivisionError,), native=native)
    assert [ZeroDivisionError] * (count + 1) == errors


async def test_an_endless_operation_is_given_up_on() -> None:
    """The error says how far it came and where it was."""

    async def operation() -> None:
        while True:
            try:
                await anyio.lowlevel.checkpoint()
            finally:
                pass

    with pytest.raises(NeverCompletes, match=r"more than 5 suspensions.*test_cancelling\.py"):
        await cancel_at_every_await(operation, check=accept, limit=5)


async def test_tasks_of_the_operation_are_cancelled_with_it(native: bool) -> None:
    """Child tasks end with the round; none is left over."""
    alive = 0

    async def child() -> None:
        nonlocal alive
        alive += 1
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            alive -= 1

    async def operation() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            tasks.start_soon(child)

    async def check(n: int, outcome: Round[None]) -> None:
        await anyio.lowlevel.checkpoint()
        assert alive == 0

    assert await cancel_at_every_await(operation, check=check, native=native) >= 1


async def test_a_cancellation_from_outside_ends_the_whole_thing(native: bool) -> None:
    """It is not mistaken for one of its own."""

    async def operation() -> None:
        await anyio.lowlevel.checkpoint()

    async def check(n: int, outcome: Round[None]) -> None:
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    with anyio.CancelScope() as scope:
        await cancel_at_every_await(operation, check=check, native=native)

    assert scope.cancelled_caught


async def test_native_cancellation_is_refused_where_there_is_none(anyio_backend_name: str) -> None:
    """Trio has no other way than cancel scopes."""
    if anyio_backend_name == "trio":
        with pytest.raises(InvalidOption, match="invalid native"):
            await cancel_at_every_await(anyio.lowlevel.checkpoint, check=accept, native=True)
