"""The executor: how many at once, in what, and that it ends when everything in it has."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from anyio import Event, create_task_group, current_time, from_thread
from anyio.lowlevel import checkpoint
from attrs import define, field

from anysched.errors import InvalidOption, InvalidState
from anysched.executor import Executor, ExecutorStatistics


@pytest.fixture
def native_loop(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("native cancellation is asyncio's")


@asynccontextmanager
async def hosted(executor: Executor, *, grace: float = 60) -> AsyncGenerator[Executor]:
    """A running executor; leaving the block closes it."""
    async with create_task_group() as attempts:
        await attempts.start(executor.run)
        yield executor
        executor.close(grace)


def suspending(executor: Executor, work: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
    """Work that tells the executor when it is about to suspend, as attempts do."""

    async def piece() -> None:
        executor.make_room()
        await work()

    return piece


@pytest.mark.parametrize("name", ["max_concurrent", "max_threads", "max_processes"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "4"])
def test_a_capacity_that_cannot_be_is_refused(name: str, value: Any) -> None:
    """Capacities are whole numbers from 1."""
    with pytest.raises(InvalidOption, match=name):
        Executor(**{name: value})


async def test_as_many_pieces_run_at_once_as_allowed_and_no_more() -> None:
    """Ten pieces of a second with room for three take four seconds, with three at once.

    Break: making a slot for each piece runs all ten at once.
    """
    executor = Executor(max_concurrent=3)
    began = current_time()
    live = most = 0

    async def piece() -> None:
        nonlocal live, most
        live += 1
        most = max(most, live)
        await anyio.sleep(1)
        live -= 1

    async with hosted(executor):
        for _ in range(10):
            executor.submit(suspending(executor, piece))

        assert -7 == executor.room

    assert (3, 4.0) == (most, current_time() - began)
    assert ExecutorStatistics(max_concurrent=3, busy=0, backlog=0, threads=0) == executor.statistics()
    assert 3 == executor.room


async def test_pieces_begin_in_the_order_they_came() -> None:
    """First in, first out, also through many slots."""
    executor = Executor(max_concurrent=2)
    begun: list[int] = []

    async def piece(number: int) -> None:
        begun.append(number)
        executor.make_room()
        await anyio.sleep(1 if number % 2 else 0.5)

    async with hosted(executor):
        for number in range(20):
            executor.submit(lambda number=number: piece(number))

    assert list(range(20)) == begun


async def test_work_that_never_suspends_needs_one_slot_and_lets_others_run(real_time: None) -> None:
    """Twenty pieces of 2 ms that never suspend are done by one task, and another task gets its turns in between.

    Break: without `_breathe` nothing else runs until all of them are done.
    """
    executor = Executor(max_concurrent=10)
    done: list[int] = []
    slots: set[int] = set()
    turns: list[int] = []

    async def piece(number: int) -> None:
        slots.add(executor._slots)
        time.sleep(0.002)  # noqa: ASYNC251 - it is a piece that blocks
        done.append(number)

    async def neighbour() -> None:
        while len(done) < 20:
            turns.append(len(done))
            await checkpoint()

    async with hosted(executor), create_task_group() as neighbours:
        neighbours.start_soon(neighbour)
        await checkpoint()

        for number in range(20):
            executor.submit(lambda number=number: piece(number))

    assert {1} == slots
    assert len(set(turns)) >= 10


async def test_a_backlog_is_there_when_the_executor_starts() -> None:
    """What is submitted before `run` begins with it."""
    executor = Executor(max_concurrent=2)
    done: list[int] = []

    async def piece(number: int) -> None:
        await anyio.sleep(1)
        done.append(number)

    for number in range(5):
        executor.submit(suspending(executor, lambda number=number: piece(number)))

    async with hosted(executor):
        pass

    assert list(range(5)) == sorted(done)


async def test_what_has_not_begun_can_be_given_up() -> None:
    """`surrender` returns the backlog and leaves what runs alone."""
    executor = Executor(max_concurrent=1)
    done: list[int] = []

    async def piece(number: int) -> None:
        await anyio.sleep(1)
        done.append(number)

    async with hosted(executor):
        for number in range(3):
            executor.submit(suspending(executor, lambda number=number: piece(number)))

        await anyio.sleep(0.5)
        assert 2 == executor.backlog
        assert 2 == len(executor.surrender())
        assert 0 == executor.backlog

    assert [0] == done


async def test_closing_waits_for_the_grace_and_then_cancels() -> None:
    """A piece of half the grace finishes; one that would take an hour is cancelled when the grace is over.

    Break: without the deadline in `close` the hour is waited for.
    """
    executor = Executor(max_concurrent=5)
    ended: list[tuple[str, float]] = []
    began = current_time()

    async def piece(name: str, seconds: float) -> None:
        try:
            await anyio.sleep(seconds)
            ended.append((name, current_time() - began))
        except BaseException:
            ended.append((f"{name} cancelled", current_time() - began))
            raise

    async with hosted(executor, grace=4):
        executor.submit(suspending(executor, lambda: piece("short", 2)))
        executor.submit(suspending(executor, lambda: piece("long", 3600)))
        await anyio.sleep(1)

    assert [("short", 2.0), ("long cancelled", 5.0)] == ended
    assert 0 == executor.busy


async def test_a_cancellation_from_outside_frees_every_slot() -> None:
    """After a cancelled `run` nothing is busy, and the executor can run again."""
    executor = Executor(max_concurrent=2)
    done = Event()

    for _ in range(2):
        with anyio.move_on_after(1):
            async with hosted(executor):
                for _ in range(4):
                    executor.submit(suspending(executor, anyio.sleep_forever))

                await anyio.sleep_forever()

        executor.surrender()
        assert (0, 0, 2) == (executor.busy, executor._slots, executor.room)

    async with hosted(executor):
        executor.submit(suspending(executor, lambda: _set(done)))

    assert done.is_set()


async def _set(event: Event) -> None:
    await checkpoint()
    event.set()


async def test_an_exception_of_a_piece_ends_the_executor() -> None:
    """What a piece raises is a bug of whoever submitted it: it is not swallowed."""
    executor = Executor()

    async def broken() -> None:
        await checkpoint()
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with hosted(executor):
            executor.submit(broken)
            await anyio.sleep_forever()


async def test_functions_are_called_where_they_belong(real_time: None) -> None:
    """In the loop: the loop's thread. In a thread: another one. In a process: another one, with its arguments."""
    executor = Executor(max_processes=1)

    async def in_loop(value: int) -> tuple[int, int]:
        await checkpoint()
        return value, threading.get_ident()

    def in_thread(*, value: int) -> tuple[int, int]:
        return value, threading.get_ident()

    async with hosted(executor):
        here = threading.get_ident()
        assert (1, here) == await executor.call(in_loop, (1,), {}, "loop")
        value, there = await executor.call(in_thread, (), {"value": 2}, "thread")
        assert 2 == value and here != there
        assert 8 == await executor.call(pow, (2, 3), {}, "process")


@pytest.mark.parametrize("runs_in", ["thread", "process"])
async def test_a_call_begins_when_there_is_a_place_for_it(
    runs_in: Literal["thread", "process"], tmp_path: Path, real_time: None
) -> None:
    """Not while it stands in line, and not while a process starts and imports the program.

    Break: a time limit that begins with the call is used up in the line, and the function fails without being called.
    """
    executor = Executor(max_threads=1, max_processes=1)
    done, gate = anyio.Event(), tmp_path / "gate"
    happened: list[str] = []

    async def call(name: str, function: Callable[..., Any], *args: Any) -> None:
        await executor.call(function, args, {}, runs_in, begins=lambda: happened.append(f"{name} begins"))
        happened.append(f"{name} ends")
        done.set()

    async with hosted(executor), create_task_group() as callers:
        os.mkfifo(gate)
        callers.start_soon(call, "first", subprocess.call, ["cat", gate])

        while not happened:  # noqa: ASYNC110 - it is a process that starts
            await anyio.sleep(0.005)

        callers.start_soon(call, "second", os.path.exists, gate)
        # Opened once the other end is, which is when the first is in the midst of it.
        writing = await anyio.to_thread.run_sync(gate.open, "w")
        await anyio.wait_all_tasks_blocked()
        assert ["first begins"] == happened
        writing.close()

    assert ["first begins", "first ends", "second begins", "second ends"] == happened


SLOW_PROGRAM = """
from pathlib import Path

Path(__file__).with_suffix(".imported").touch()


def work():
    return "worked"
"""


async def test_a_process_has_imported_the_program_when_its_call_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_time: None
) -> None:
    """However long that takes, it is not the function's time.

    Break: with a time limit that is shorter each process is killed before it is ready, each time.
    """
    (tmp_path / "slow_program.py").write_text(SLOW_PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    work, sign = import_module("slow_program").work, tmp_path / "slow_program.imported"
    sign.unlink()
    found: list[bool] = []

    async with hosted(Executor(max_processes=1)) as executor:
        for _ in range(2):
            assert "worked" == await executor.call(work, (), {}, "process", begins=lambda: found.append(sign.exists()))

    del sys.modules["slow_program"]
    assert [True, True] == found


async def test_a_thread_is_awaited_to_its_end(real_time: None) -> None:
    """Cancelled, `call` comes back when the function has, and not before; the function can see that it is cancelled.

    Break: `abandon_on_cancel=True` frees the slot while the thread goes on.
    """
    executor = Executor(max_threads=1)
    begun, seen = threading.Event(), []

    def stubborn() -> str:
        begun.set()

        while True:
            time.sleep(0.01)

            try:
                from_thread.check_cancelled()
            except BaseException:  # noqa: BLE001 - whatever the loop raises to say so
                seen.append("cancelled")
                return "finished"

    async def wait_and_cancel(scope: anyio.CancelScope) -> None:
        while not begun.is_set():  # noqa: ASYNC110 - it is a thread that begins
            await anyio.sleep(0.005)

        assert 1 == executor.statistics().threads
        scope.cancel()

    async with hosted(executor), create_task_group() as watchers:
        with anyio.CancelScope() as scope:
            watchers.start_soon(wait_and_cancel, scope)
            assert "finished" == await executor.call(stubborn, (), {}, "thread")

    assert ["cancelled"] == seen
    assert 0 == executor.statistics().threads


async def test_a_process_is_killed_when_its_call_is_cancelled(real_time: None) -> None:
    """A function that would take ten seconds in a process ends with its time limit."""
    executor = Executor(max_processes=1)

    async with hosted(executor):
        await executor.call(abs, (1,), {}, "process")  # AnyIO forgets a process whose start is cancelled
        began = time.monotonic()

        with anyio.move_on_after(0.5) as scope:
            await executor.call(time.sleep, (10,), {}, "process")

    assert scope.cancelled_caught
    assert time.monotonic() - began < 5


async def test_an_executor_runs_once_at_a_time() -> None:
    """A second `run` is refused while the first is under way, which goes on; afterwards it can run again.

    Break: the second takes the slots over, and what is submitted by the first waits for ever.
    """
    executor = Executor(max_concurrent=1)
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    for _ in range(2):
        async with hosted(executor):
            with anyio.fail_after(5), pytest.raises(InvalidState, match="this executor is running already: give each"):
                await executor.run()

            executor.submit(work)
            await anyio.sleep(1)

    assert ["work", "work"] == done


def test_one_executor_serves_one_loop_after_another() -> None:
    """Whatever belongs to an event loop is made anew at each `run`.

    Break: keeping the limiter of processes from the loop before raises, or waits for ever, in the next.
    """
    executor = Executor(max_processes=1)

    async def main() -> int:
        async with hosted(executor):
            return await executor.call(pow, (2, 4), {}, "process") + await executor.call(pow, (2, 3), {}, "thread")

    assert [24, 24, 24] == [anyio.run(main, backend=name) for name in ("asyncio", "trio", "asyncio")]


async def test_a_slot_that_waits_outlives_what_was_left_behind(native_loop: None) -> None:
    """A piece has left something that cancels its task later on; only the slot ends by it.

    Break: the executor ends, and nobody is told.
    """
    executor = Executor()
    piece = Piece(executor)

    async with hosted(executor):
        executor.submit(piece)
        await anyio.sleep(1)
        (waiting,) = [task for task in asyncio.all_tasks() if task.get_name() == "anysched slot"]
        waiting.cancel()
        await anyio.sleep(1)
        executor.submit(piece)
        await anyio.sleep(1)
        assert (2, 0, 0) == (len(piece.tasks), executor.busy, executor.backlog)


async def test_an_executor_that_ends_by_itself_says_so(native_loop: None) -> None:
    """On asyncio a piece that cancels its own task ends all others without a word."""
    executor = Executor()

    async def piece() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="cancelled by itself"), flatten_subgroups=True):
        async with hosted(executor):
            executor.submit(piece)
            await anyio.sleep(1)


async def test_it_lets_others_run_in_every_life(real_time: None) -> None:
    """The clocks of two loops have nothing in common: Trio's begins somewhere.

    Break: the instant until which a slot may work stays from the loop before, whose clock was ahead.
    """
    executor = Executor(max_concurrent=1)
    executor._breathe_at = current_time() + 1_000_000
    turns: set[int] = set()

    async def piece() -> None:
        time.sleep(0.002)  # noqa: ASYNC251 - it is a piece that blocks

    async def neighbour() -> None:
        while executor.backlog:
            turns.add(executor.backlog)
            await checkpoint()

    async with hosted(executor), create_task_group() as neighbours:
        for _ in range(20):
            executor.submit(piece)

        neighbours.start_soon(neighbour)

    assert 10 <= len(turns)


async def test_what_is_submitted_while_it_is_being_cancelled_stays_in_the_backlog() -> None:
    """A claim may be on its way while the node stops: taking it in is no error, and it can be handed back.

    Break: making a slot in a task group that is closing raises, out of `run`.
    """
    executor = Executor()

    async def piece() -> None:
        pytest.fail("it has begun")

    async with create_task_group() as outside:
        with anyio.CancelScope() as scope:
            async with create_task_group() as attempts:
                await attempts.start(executor.run)

                async def go_on_submitting() -> None:
                    with anyio.CancelScope(shield=True):
                        for _ in range(10):
                            await checkpoint()
                            executor.submit(piece)

                scope.cancel()
                outside.start_soon(go_on_submitting)
                await anyio.sleep_forever()

    assert 10 == len(executor.surrender())
    assert 0 == executor.busy


@define(eq=False)
class Piece:
    """Work that goes on with the next piece in its place, as attempts do, and notes the task that it is in."""

    executor: Executor
    lasts: float = 0
    tasks: list[int] = field(factory=list[int])

    async def __call__(self) -> None:
        following: Piece | None = self

        while following is not None:
            following.tasks.append(anyio.get_current_task().id)

            if following.lasts:
                self.executor.make_room()
                await anyio.sleep(following.lasts)

            following = await self.executor.following(Piece)


async def test_a_piece_that_comes_alone_finds_a_slot_that_waits() -> None:
    """The same task begins it, and however many there were before, one waits.

    Break: letting every slot end makes a task for each piece; letting each wait keeps as many as ever ran at once.
    """
    executor = Executor(max_concurrent=4)
    piece = Piece(executor)

    async with hosted(executor):
        idle = len(anyio.get_running_tasks())

        for _ in range(3):
            executor.submit(piece)
            await anyio.sleep(1)
            assert (0, 4, idle + 1) == (executor.busy, executor.room, len(anyio.get_running_tasks()))

        assert 1 == len(set(piece.tasks))

        piece.lasts = 1

        for _ in range(8):
            executor.submit(piece)

        await anyio.sleep(1)
        assert idle + 4 == len(anyio.get_running_tasks())
        await anyio.sleep(10)
        assert idle + 1 == len(anyio.get_running_tasks())

    assert (11, 0, 0) == (len(piece.tasks), executor.busy, executor.backlog)


async def test_two_pieces_at_once_find_two_slots() -> None:
    """The one that waits takes the first; a second is made for the other as soon as the first suspends."""
    executor = Executor(max_concurrent=2)
    ended: list[float] = []

    async def piece() -> None:
        await anyio.sleep(1)
        ended.append(current_time())

    async with hosted(executor):
        executor.submit(Piece(executor))
        await anyio.sleep(1)
        began = current_time()
        executor.submit(suspending(executor, piece))
        executor.submit(suspending(executor, piece))

    assert [1.0, 1.0] == [at - began for at in ended]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_slot_that_waits_does_not_keep_the_executor(cancelled: bool) -> None:
    """Closing sends it home at once, and so does a cancellation; the next life of the executor begins afresh."""
    executor = Executor()

    for _ in range(2):
        piece = Piece(executor)
        began = current_time()

        async with create_task_group() as attempts:
            await attempts.start(executor.run)
            executor.submit(piece)
            await anyio.sleep(1)

            if cancelled:
                attempts.cancel_scope.cancel()
            else:
                executor.close(60)

        assert (1, 1.0, 0) == (len(piece.tasks), current_time() - began, executor.busy)
