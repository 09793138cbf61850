"""`virtual_time`: a year in a moment, every timer at its own instant, on both loops."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from anysched.clock import now
from anysched.errors import InvalidOption, MissingExtra, NaiveDatetime
from anysched.testing import Deadlock, sleep_until_instant, virtual_time
from anysched.testing.virtual import LoopTime

LoopName = Literal["asyncio", "trio"]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest) -> LoopName:
    return request.param


def test_it_returns_what_main_returns_and_passes_arguments(loop: LoopName) -> None:
    """Positional arguments reach `main`; its result comes back."""

    async def main(a: int, b: str) -> tuple[int, str]:
        await anyio.sleep(1)
        return a, b

    assert (1, "x") == virtual_time(main, 1, "x", backend=loop)


def test_what_main_raises_is_raised_bare(loop: LoopName) -> None:
    """An exception leaves `virtual_time` as it is, in no group."""

    async def main() -> None:
        await anyio.sleep(1)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        virtual_time(main, backend=loop)


def test_sleeping_for_years_takes_no_time(loop: LoopName) -> None:
    """The loop's time and the wall clock both move by what was slept; the computer's do not."""

    async def main() -> tuple[float, datetime]:
        began = anyio.current_time()
        await anyio.sleep(10 * 365 * 86400)
        return anyio.current_time() - began, now()

    began = time.monotonic()
    slept, instant = virtual_time(main, backend=loop)
    assert 10 * 365 * 86400 == slept
    assert START + timedelta(days=3650) == instant
    assert time.monotonic() - began < 5


def test_the_wall_clock_starts_at_the_start_given_and_is_the_old_one_afterwards(loop: LoopName) -> None:
    """`start` may be in any zone; outside of the call the clock is the computer's."""

    async def main() -> datetime:
        return now()

    start = datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert datetime(2030, 6, 1, 10, tzinfo=UTC) == virtual_time(main, backend=loop, start=start)
    assert abs(now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_naive_start_is_refused() -> None:
    """A start without a zone is no instant."""

    async def main() -> None: ...

    with pytest.raises(NaiveDatetime, match="start must be an aware datetime"):
        virtual_time(main, start=datetime(2026, 1, 1))


def test_a_start_before_1970_is_refused() -> None:
    """Nothing could be stored that is due then.

    Break: every entry is finished at once.
    """

    async def main() -> None: ...

    with pytest.raises(InvalidOption, match="invalid start '1970-01-01T00:00:00"):
        virtual_time(main, start=datetime(1970, 1, 1, tzinfo=UTC))


def test_an_unknown_loop_is_refused() -> None:
    """The error names the value and the two that are allowed."""

    async def main() -> None: ...

    with pytest.raises(InvalidOption, match=r"curio.*asyncio.*trio"):
        virtual_time(main, backend="curio")  # pyright: ignore[reportArgumentType] (that is what is tested)


def test_a_loop_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""

    async def main() -> None: ...

    monkeypatch.delitem(sys.modules, "anysched.testing.virtual_trio", raising=False)
    monkeypatch.setitem(sys.modules, "trio", None)

    with pytest.raises(MissingExtra, match=r"'trio' is not installed.*anysched\[trio\]"):
        virtual_time(main, backend="trio")


def test_timeouts_fire_at_their_own_time(loop: LoopName) -> None:
    """`move_on_after` and `fail_after` end what they enclose after exactly their delay, even a decade in."""

    async def main() -> list[timedelta]:
        await anyio.sleep(10 * 365 * 86400)
        began = now()
        ends: list[timedelta] = []
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()

        ends.append(now() - began)
        with pytest.raises(TimeoutError), anyio.fail_after(7.7):
            await anyio.sleep_forever()

        ends.append(now() - began)
        with anyio.fail_after(60):
            await anyio.sleep(59.999)

        ends.append(now() - began)
        return ends

    expected = [timedelta(seconds=0.3), timedelta(seconds=8), timedelta(seconds=67.999)]
    assert expected == virtual_time(main, backend=loop)


@pytest.mark.slow
def test_the_wall_clock_never_drifts_from_the_instants_slept_to(loop: LoopName) -> None:
    """Sleeping from instant to instant 20 000 times over 30 years meets each to the microsecond.

    Both by delays computed from the wall clock, and with another task's odd delays in between.
    """
    step = timedelta(days=30 * 365) / 20_000 + timedelta(microseconds=1)

    async def disturb() -> None:
        while True:  # noqa: ASYNC110 (a sleeper is what is wanted)
            await anyio.sleep(86400 / 7)

    async def main() -> list[tuple[datetime, datetime]]:
        wrong: list[tuple[datetime, datetime]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(disturb)
            for n in range(1, 20_001):
                instant = START + n * step
                await anyio.sleep((instant - now()).total_seconds())
                if now() != instant:
                    wrong.append((instant, now()))

            tasks.cancel_scope.cancel()

        return wrong

    assert [] == virtual_time(main, backend=loop)


def test_timers_are_no_finer_than_a_microsecond(loop: LoopName) -> None:
    """A delay with a fraction of a microsecond ends at the next whole one, so time goes on with the shortest delays."""

    async def main() -> list[timedelta]:
        ends: list[timedelta] = []
        for delay in (1e-7, 2.4e-6, 1e-9):
            await anyio.sleep(delay)
            ends.append(now() - START)

        return ends

    assert [timedelta(microseconds=n) for n in (1, 4, 5)] == virtual_time(main, backend=loop)


def test_a_deadline_between_two_microseconds_is_kept(loop: LoopName) -> None:
    """A time limit that was computed by the user, with any fraction, is over when the scope is left."""

    async def main() -> tuple[bool, bool, timedelta]:
        with anyio.CancelScope(deadline=1234567.12345678) as scope:
            await anyio.sleep_forever()

        return scope.cancelled_caught, anyio.current_time() >= scope.deadline, now() - START

    assert (True, True, timedelta(seconds=1234567.123457)) == virtual_time(main, backend=loop)


def test_adding_to_the_time_of_the_loop_keeps_to_whole_microseconds() -> None:
    """Sums stay at the float nearest to the true value, whatever is added and from which side; infinity is allowed."""
    time_of_loop = LoopTime(0)
    for _ in range(10_000):
        time_of_loop = LoopTime(0.1 + time_of_loop)

    assert 1000.0 == time_of_loop
    assert math.inf == time_of_loop + math.inf
    assert 31_536_000.1 == LoopTime(31_536_000) + 0.1
    with pytest.raises(TypeError):
        time_of_loop + "1"  # pyright: ignore[reportUnusedExpression, reportOperatorIssue] (that is what is tested)


def test_sleeping_until_an_instant_ends_at_that_instant(loop: LoopName) -> None:
    """To the microsecond, and at once for an instant that is past."""

    async def main() -> list[datetime]:
        instants = [START + timedelta(days=400, microseconds=1), START]
        woken: list[datetime] = []
        for instant in instants:
            await sleep_until_instant(instant)
            woken.append(now())

        return woken

    expected = START + timedelta(days=400, microseconds=1)
    assert [expected, expected] == virtual_time(main, backend=loop)


def test_sleeping_until_a_naive_instant_is_refused(loop: LoopName) -> None:
    """An instant needs a zone."""
    with pytest.raises(NaiveDatetime, match="instant must be an aware"):
        virtual_time(sleep_until_instant, datetime(2027, 1, 1), backend=loop)


def test_tasks_wake_up_in_the_order_of_their_times(loop: LoopName) -> None:
    """Several sleepers share one time line."""

    async def main() -> list[tuple[int, timedelta]]:
        woken: list[tuple[int, timedelta]] = []

        async def sleeper(seconds: int) -> None:
            await anyio.sleep(seconds)
            woken.append((seconds, now() - START))

        async with anyio.create_task_group() as tasks:
            for seconds in (3, 1, 2):
                tasks.start_soon(sleeper, seconds)

        return woken

    assert [(n, timedelta(seconds=n)) for n in (1, 2, 3)] == virtual_time(main, backend=loop)


# --- what is outside -------------------------------------------------------------------------------------------------


def test_a_call_in_a_thread_takes_no_virtual_time(loop: LoopName) -> None:
    """Timers are not jumped to while a worker thread is at work; when it is done, no time has passed."""

    async def main() -> tuple[str, datetime]:
        with anyio.fail_after(3600):
            result = await anyio.to_thread.run_sync(lambda: time.sleep(0.05) or "done")

        return result, now()

    assert ("done", START) == virtual_time(main, backend=loop)


def test_a_call_in_a_thread_with_a_limiter_of_its_own_is_waited_for_too(loop: LoopName) -> None:
    """Which limiter a call goes through makes no difference."""

    async def main() -> datetime:
        limiter = anyio.CapacityLimiter(1)
        with anyio.fail_after(3600):
            await anyio.to_thread.run_sync(time.sleep, 0.05, limiter=limiter)

        return now()

    assert START == virtual_time(main, backend=loop)


def test_a_timer_is_let_through_when_a_thread_takes_as_long_as_it(loop: LoopName) -> None:
    """A time limit shorter than the call ends the waiting, at its own time."""

    async def main() -> tuple[bool, datetime]:
        with anyio.move_on_after(0.05) as scope:
            await anyio.to_thread.run_sync(time.sleep, 0.3, abandon_on_cancel=True)

        return scope.cancelled_caught, now()

    assert (True, START + timedelta(seconds=0.05)) == virtual_time(main, backend=loop)


def test_a_thread_may_wait_for_the_loop(loop: LoopName) -> None:
    """A worker thread that sleeps by way of the loop does not stop time for ever."""

    async def main() -> datetime:
        await anyio.to_thread.run_sync(anyio.from_thread.run, anyio.sleep, 0.05)
        return now()

    assert START + timedelta(seconds=0.05) == virtual_time(main, backend=loop)


def test_many_short_calls_in_threads_do_not_hold_up_a_timer(loop: LoopName) -> None:
    """A timer goes off after as much real waiting as it has to go, however many calls that is made of."""

    async def main() -> datetime:
        with anyio.move_on_after(0.1):
            while True:
                await anyio.to_thread.run_sync(time.sleep, 0.01)

        return now()

    assert START + timedelta(seconds=0.1) == virtual_time(main, backend=loop)


def test_a_child_process_is_waited_for(loop: LoopName) -> None:
    """No timer is jumped over while a child is alive; time passes as fast as really."""

    async def main() -> tuple[bytes, timedelta]:
        program = "import sys; sys.stdin.read(); print(6 * 7)"

        with anyio.fail_after(3600):
            async with await anyio.open_process([sys.executable, "-c", program]) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                await anyio.sleep(0.05)
                await process.stdin.aclose()
                answer = await process.stdout.receive()
                await process.wait()

        return answer.strip(), now() - START

    answer, passed = virtual_time(main, backend=loop)
    assert b"42" == answer
    assert timedelta(seconds=0.05) <= passed < timedelta(seconds=60)


def test_a_socket_is_waited_for(loop: LoopName) -> None:
    """Two tasks that talk over TCP are not overtaken by a timer; sleeping goes on as before when they are done."""

    async def greet(client: anyio.abc.SocketStream) -> None:
        async with client:
            await anyio.to_thread.run_sync(time.sleep, 0.05)
            await client.send(b"hello")

    async def main() -> tuple[bytes, bool]:
        said = b""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, greet)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                with anyio.fail_after(3600):
                    said = await stream.receive()

            tasks.cancel_scope.cancel()

        was = now()
        await anyio.sleep(86400)
        return said, now() == was + timedelta(days=1)

    assert (b"hello", True) == virtual_time(main, backend=loop)


def test_asyncio_executors_are_waited_for() -> None:
    """`run_in_executor`, and the shutdown of the default executor at the end, are calls in threads too."""

    async def main() -> datetime:
        async with asyncio.timeout(3600):
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)

        return now()

    assert START == virtual_time(main)


# --- standing still --------------------------------------------------------------------------------------------------


def test_a_deadlock_is_an_error_that_says_who_waits_where(loop: LoopName) -> None:
    """`main` is cancelled, and the error names the line that waits for what cannot happen."""
    tidied: list[str] = []

    async def wait_for_godot() -> None:
        try:
            await anyio.Event().wait()
        finally:
            tidied.append("tidied")

    with pytest.raises(Deadlock, match=r"wait_for_godot.*test_virtual_time\.py:\d+"):
        virtual_time(wait_for_godot, backend=loop)

    assert ["tidied"] == tidied


def test_a_deadlock_under_a_shield_is_an_error_too(loop: LoopName) -> None:
    """Where cancelling does not help, the run ends all the same."""

    async def wait(task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.CancelScope(shield=True):
            task_status.started()
            await anyio.Event().wait()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(wait)

    with pytest.raises(Deadlock):
        virtual_time(main, backend=loop)


def test_a_deadlock_is_not_hidden_by_a_main_that_completes(loop: LoopName) -> None:
    """Code that swallows the cancellation does not turn a deadlock into a result."""

    async def main() -> str:
        with anyio.CancelScope():
            try:
                await anyio.Event().wait()
            except BaseException:  # noqa: BLE001 (that is what is tested)
                return "fine"

        return "never"

    with pytest.raises(Deadlock):
        virtual_time(main, backend=loop)


def test_time_does_not_pass_for_a_task_that_waits_for_idleness_under_trio() -> None:
    """`wait_all_tasks_blocked` goes before the next timer. (Under asyncio AnyIO itself polls with sleeps.)"""

    async def main() -> datetime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 3600)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

        return now()

    assert START == virtual_time(main, backend="trio")


def test_other_threads_have_no_part_in_it(loop: LoopName) -> None:
    """A thread that the loop knows nothing of, such as a test runner's, neither stops time nor hides a deadlock."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()

    async def main() -> datetime:
        await anyio.sleep(86400)
        return now()

    try:
        assert START + timedelta(days=1) == virtual_time(main, backend=loop)
        with pytest.raises(Deadlock):
            virtual_time(anyio.sleep_forever, backend=loop)
    finally:
        end.set()
        thread.join()
