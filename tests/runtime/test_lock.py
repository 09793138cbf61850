"""Locks: one holder at a time, in line, fenced, given back whatever happens."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import Any

import anyio
import pytest
import trio
from anyio import create_task_group, current_time
from attrs import define, field

from anysched.backends.memory import MemoryBackend
from anysched.backends.records import LockAnswer
from anysched.errors import (
    AnySchedError,
    BackendRefused,
    BackendUnavailable,
    InvalidOption,
    LockBusy,
    LockLost,
    NotOpen,
)
from anysched.lock import Lock
from anysched.testing import Round, cancel_at_every_await, virtual_time


@define(eq=False)
class Rocky:
    """A memory backend that can be out of reach, or forget who holds a lock."""

    inner: MemoryBackend = field(factory=MemoryBackend)
    down: bool = False
    stolen: bool = False

    async def acquire_lock(self, *args: Any, **kwargs: Any) -> LockAnswer:
        await self._reach()
        return await self.inner.acquire_lock(*args, **kwargs)

    async def refresh_lock(self, *args: Any, **kwargs: Any) -> bool:
        await self._reach()
        return not self.stolen and await self.inner.refresh_lock(*args, **kwargs)

    async def release_lock(self, *args: Any, **kwargs: Any) -> bool:
        await self._reach()
        return await self.inner.release_lock(*args, **kwargs)

    async def _reach(self) -> None:
        await anyio.lowlevel.checkpoint()

        if self.down:
            raise BackendUnavailable("down")


def lock_on(backend: Any, **options: Any) -> Lock:
    return Lock(backend=backend, **{"name": "reports", "ttl": "10s", **options})


@pytest.mark.parametrize(
    ("options", "named"),
    [({"ttl": "50ms"}, "ttl"), ({"ttl": "1s", "refresh_every": "1s"}, "refresh_every"), ({"refresh_every": 0}, "re")],
)
def test_a_lock_that_cannot_work_is_refused(options: dict[str, Any], named: str) -> None:
    """A lease too short, or renewed too late, is refused when it is written."""
    with pytest.raises(InvalidOption, match=named):
        Lock(**options)


async def test_a_lock_without_a_backend_cannot_be_held() -> None:
    """It says that it needs an open scheduler."""
    with pytest.raises(NotOpen):
        async with Lock(name="reports").hold():
            pass


async def test_it_is_held_by_one_at_a_time_with_growing_tokens() -> None:
    """Five tasks hold it for a second each: never two at once, and each token is greater than the one before.

    Break: answering a token although somebody holds the lock lets two in.
    """
    backend = MemoryBackend()
    live, most, tokens = 0, 0, []
    began = current_time()

    async def work() -> None:
        nonlocal live, most

        async with lock_on(backend).hold() as lease:
            live += 1
            most = max(most, live)
            tokens.append(lease.token)
            assert lease.trusted
            await anyio.sleep(1)
            live -= 1

    async with create_task_group() as workers:
        for _ in range(5):
            workers.start_soon(work)

    assert 1 == most
    assert sorted(set(tokens)) == tokens and len(tokens) == 5
    assert current_time() - began >= 5


async def test_a_body_may_last_many_leases() -> None:
    """Renewal in the background keeps it for an hour at a lease of ten seconds.

    Break: without renewal the body is cancelled after nine seconds.
    """
    backend = MemoryBackend()

    async with lock_on(backend).hold() as lease:
        await anyio.sleep(3600)
        assert lease.trusted

        with pytest.raises(LockBusy):
            async with lock_on(backend).hold(wait=False):
                pass


async def test_who_does_not_wait_is_told_at_once() -> None:
    """`wait=False` on a held lock raises `LockBusy` without delay, and leaves no place in the line."""
    backend = MemoryBackend()

    async with lock_on(backend).hold():
        began = current_time()

        with pytest.raises(LockBusy, match="reports"):
            async with lock_on(backend).hold(wait=False):
                pytest.fail("it was held")

        assert began == current_time()

    async with lock_on(backend).hold(wait=False):
        pass


async def test_those_who_wait_are_served_in_order() -> None:
    """First come, first served."""
    backend = MemoryBackend()
    served: list[int] = []

    async def work(number: int) -> None:
        async with lock_on(backend).hold():
            served.append(number)
            await anyio.sleep(2)

    async with create_task_group() as workers:
        for number in range(5):
            workers.start_soon(work, number)
            await anyio.sleep(0.1)

    assert [0, 1, 2, 3, 4] == served


async def test_a_lost_lock_cancels_the_body_and_says_so() -> None:
    """The backend says that somebody else has it: the body is cancelled at the next renewal, and `LockLost` raised.

    Break: ignoring the answer of a renewal lets the body go on.
    """
    backend = Rocky()
    began = current_time()
    went_on = False

    with pytest.raises(LockLost, match="reports"):  # noqa: PT012 - what is raised comes from leaving the block
        async with lock_on(backend, refresh_every="3s").hold() as lease:
            backend.stolen = True
            await anyio.sleep(5)
            went_on = True

    assert not went_on
    assert not lease.trusted
    assert 3.0 == pytest.approx(current_time() - began, abs=0.01)


async def test_a_loss_is_told_though_the_body_was_cancelled_natively_before(loop_name: str) -> None:
    """As by a task group of asyncio that has failed: up to Python 3.12 it does not take back what it cancelled.

    Break: what leaves the body's scope passes for the cancellation of whoever holds, whose task ends without a word.
    """
    if loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    with pytest.raises(LockLost):  # noqa: PT012 - what is raised comes from leaving the block
        async with lock_on(Rocky(stolen=True)).hold():
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await anyio.lowlevel.checkpoint()

            await anyio.sleep_forever()


@pytest.mark.parametrize("refused", [BackendRefused("no right"), NotOpen("it")], ids=["refused", "not open"])
async def test_a_lock_whose_renewal_is_refused_is_lost_and_why_is_said(refused: AnySchedError) -> None:
    """Not in a group; what the body raises then is the cause, as ever.

    Break: letting it out of the task that renews.
    """

    class Refusing(Rocky):
        async def refresh_lock(self, *args: Any, **kwargs: Any) -> bool:
            await anyio.lowlevel.checkpoint()
            raise refused

    with pytest.raises(LockLost) as caught:
        await lock_on(Refusing()).run()

    assert refused is caught.value.__cause__


async def test_a_refused_question_is_raised_as_it_is() -> None:
    """Also if it is not the backend's, and somebody waits."""
    refused = NotOpen("it")

    class Refusing(Rocky):
        async def acquire_lock(self, *args: Any, **kwargs: Any) -> LockAnswer:
            await anyio.lowlevel.checkpoint()
            raise refused

        async def release_lock(self, *args: Any, **kwargs: Any) -> bool:
            await anyio.lowlevel.checkpoint()
            raise refused

    with pytest.raises(NotOpen) as caught:
        await lock_on(Refusing()).run()

    assert refused is caught.value


async def test_a_lock_that_cannot_be_renewed_is_trusted_for_nine_tenths_of_its_lease() -> None:
    """Out of reach: the body is cancelled before the lease can have run out, counted from the last renewal.

    Break: counting trust from the answer, or without a margin, ends later than nine seconds.
    """
    backend = Rocky()
    began = current_time()
    ended: list[float] = []

    with pytest.raises(LockLost):  # noqa: PT012 - what is raised comes from leaving the block
        async with lock_on(backend).hold():
            backend.down = True

            try:
                await anyio.sleep_forever()
            finally:
                ended.append(current_time() - began)

    assert [pytest.approx(9.0, abs=0.01)] == ended
    # Giving it back did not get through either, and that was limited.
    assert current_time() - began <= 11.01


async def test_a_short_outage_is_survived() -> None:
    """Two renewals that fail in a row cost nothing."""
    backend = Rocky()

    async with lock_on(backend).hold() as lease:
        await anyio.sleep(1)
        backend.down = True
        await anyio.sleep(6)
        backend.down = False
        await anyio.sleep(60)
        assert lease.trusted


async def test_the_error_of_a_body_leaves_as_it_is() -> None:
    """No group around it, and the lock is free at once.

    Break: letting it pass through the task group wraps it.
    """
    backend = MemoryBackend()

    with pytest.raises(ZeroDivisionError) as caught:
        async with lock_on(backend).hold():
            raise ZeroDivisionError("mine")

    assert "mine" == str(caught.value)

    async with lock_on(backend).hold(wait=False):
        pass


async def test_a_group_raised_by_a_body_stays_the_group_that_it_is() -> None:
    """A body's own exception group is not unwrapped."""
    with pytest.RaisesGroup(ValueError, KeyError):
        async with lock_on(MemoryBackend()).hold():
            raise ExceptionGroup("mine", [ValueError(), KeyError()])


FAILURES = [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_what_a_cancelled_body_raises_goes_before_its_cancellation(failure: BaseException) -> None:
    """As in any block without a lock: a body that fails while it is cancelled has failed.

    Break: raising it only if the group around the body is left without a cancellation.
    """
    with pytest.raises(type(failure)) as caught:  # noqa: PT012 - what is raised comes from leaving the block
        with anyio.fail_after(1):
            async with lock_on(Rocky()).hold():
                try:
                    await anyio.sleep_forever()
                finally:
                    raise failure

    assert failure is caught.value


async def test_a_group_that_a_cancelled_body_raises_goes_before_its_cancellation() -> None:
    """On Trio the cancellations of its siblings may be in it: they end at the scope that was cancelled."""

    async def fail() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("mine")

    with pytest.RaisesGroup(ValueError):
        with anyio.fail_after(1):
            async with lock_on(Rocky()).hold(), create_task_group() as group:
                group.start_soon(fail)
                group.start_soon(anyio.sleep_forever)


async def test_who_is_cancelled_while_a_failed_body_gives_the_lock_back_hears_of_the_failure() -> None:
    """Likewise, if the cancellation comes only then; and of a loss, which has ended the body too."""

    class Slow(Rocky):
        async def release_lock(self, *args: Any, **kwargs: Any) -> bool:
            await anyio.sleep(1)
            return await super().release_lock(*args, **kwargs)

    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what is raised comes from leaving the block
        with anyio.move_on_after(0.5):
            async with lock_on(Slow()).hold():
                raise ZeroDivisionError

    with pytest.raises(LockLost):  # noqa: PT012 - what is raised comes from leaving the block
        with anyio.move_on_after(3.5):
            async with lock_on(Slow(stolen=True), refresh_every="3s").hold():
                await anyio.sleep_forever()


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
@pytest.mark.parametrize("grouped", [False, True], ids=["bare", "in a group"])
async def test_a_loss_takes_the_place_of_errors_only(failure: BaseException, grouped: bool) -> None:
    """What a body raises after the lock was lost is the cause of `LockLost`; an interrupt, or an exit, passes.

    Break: raising `LockLost` whatever the body raised.
    """
    raised = BaseExceptionGroup("mine", [failure]) if grouped else failure

    with pytest.raises(BaseException) as caught:  # noqa: PT011, PT012 - which it is depends
        async with lock_on(Rocky(stolen=True)).hold():
            try:
                await anyio.sleep_forever()
            finally:
                raise raised

    assert isinstance(failure, Exception) is isinstance(caught.value, LockLost)
    left = caught.value.__cause__ if isinstance(caught.value, LockLost) else caught.value

    if grouped:
        # Trio makes a group anew that passes a cancelled scope.
        assert isinstance(left, BaseExceptionGroup)
        assert (failure,) == left.exceptions
    else:
        assert failure is left


def test_an_interrupt_does_not_wait_for_the_lock() -> None:
    """Ctrl-C while it waits in line, which Trio raises in the middle of the wait: the line is left at once.

    Break: leaving the group without cancelling what waits in it.
    """

    @trio.lowlevel.enable_ki_protection
    async def interrupt() -> None:
        await anyio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    async def main() -> float:
        backend = MemoryBackend()
        began = current_time()

        with pytest.RaisesGroup(KeyboardInterrupt), anyio.fail_after(30):
            async with create_task_group() as group, lock_on(backend).hold():
                group.start_soon(interrupt)

                async with lock_on(backend).hold():
                    pytest.fail("it was held")

        assert {} == backend._state.locks
        return current_time() - began

    assert 1 == virtual_time(main, backend="trio")


async def test_a_cancelled_body_gives_the_lock_back_at_once() -> None:
    """Cancellation passes through, and the next can take it without waiting for the lease to run out.

    Break: without the shielded `_give_back` it is held for ten more seconds.
    """
    backend = MemoryBackend()

    with anyio.move_on_after(1) as scope:
        async with lock_on(backend).hold():
            await anyio.sleep_forever()

    assert scope.cancelled_caught

    async with lock_on(backend).hold(wait=False):
        pass


async def test_giving_back_is_limited_when_the_backend_hangs() -> None:
    """A release that never answers is given up after two seconds."""

    class Hanging(Rocky):
        async def release_lock(self, *args: Any, **kwargs: Any) -> bool:
            await anyio.sleep_forever()
            raise AssertionError

    began = current_time()

    async with lock_on(Hanging()).hold():
        pass

    assert 2.0 == pytest.approx(current_time() - began)


async def test_a_cancelled_wait_gives_up_its_place() -> None:
    """Who was cancelled in line does not hold up those behind."""
    backend = MemoryBackend()
    began = current_time()

    async def wait_a_second() -> None:
        with anyio.move_on_after(1):
            async with lock_on(backend).hold():
                pytest.fail("it was held")

    async with create_task_group() as workers:
        async with lock_on(backend).hold():
            workers.start_soon(wait_a_second)
            await anyio.sleep(3)

        async with lock_on(backend).hold():
            pass

    assert 3.0 == pytest.approx(current_time() - began)


async def test_waiting_outlives_an_outage_and_not_waiting_does_not() -> None:
    """Who waits for the lock waits for the backend too; who does not is told that it is out of reach."""
    backend = Rocky(down=True)

    with pytest.raises(BackendUnavailable):
        async with lock_on(backend).hold(wait=False):
            pass

    async def repair() -> None:
        await anyio.sleep(20)
        backend.down = False

    async with create_task_group() as others:
        others.start_soon(repair)

        async with lock_on(backend).hold():
            assert not backend.down


async def test_run_says_when_it_has_the_lock_and_holds_it() -> None:
    """`Lock.run` is ready with its lease, and gives it back when it is cancelled."""
    backend = MemoryBackend()

    async with create_task_group() as holders:
        lease = await holders.start(lock_on(backend).run)
        assert lease.token > 0
        holders.cancel_scope.cancel()

    async with lock_on(backend).hold(wait=False) as later:
        assert later.token > lease.token


async def test_the_ttl_counts_in_any_form() -> None:
    """Durations are a timedelta, seconds, or text."""
    assert [timedelta(seconds=15)] * 3 == [Lock(ttl=ttl).ttl for ttl in ("15s", 15, timedelta(seconds=15))]


@pytest.fixture(params=[False, True], ids=["scope", "native"])
def native(request: pytest.FixtureRequest, loop_name: str) -> bool:
    if request.param and loop_name == "trio":
        pytest.skip("native cancellation is asyncio's")

    return request.param


@pytest.mark.parametrize("contended", [False, True], ids=["free", "contended"])
async def test_cancelled_at_any_await_the_lock_is_free_afterwards(native: bool, contended: bool) -> None:
    """Wherever holding it is cancelled, the next one has it at once, and no place in the line is left.

    Break: forgetting the release of a lock that was taken and not entered keeps it for its whole lease.
    """
    backend = MemoryBackend()

    async def other() -> None:
        async with lock_on(backend).hold():
            await anyio.sleep(1)

    async def operation() -> None:
        async with lock_on(backend).hold():
            await anyio.sleep(0.5)
            await anyio.sleep(0.5)

    async def check(number: int, outcome: Round[None]) -> None:
        if contended:
            await anyio.sleep(2)

        began = current_time()

        async with lock_on(backend).hold(wait=False):
            assert began == current_time()

        assert {} == backend._state.locks

    async with create_task_group() as others:
        if contended:

            def contend() -> Any:
                others.start_soon(other)
                return _after(0.1, operation)

            assert await cancel_at_every_await(contend, check=check, native=native) >= 4
        else:
            assert await cancel_at_every_await(operation, check=check, native=native) >= 4


async def _after(seconds: float, operation: Any) -> None:
    await anyio.sleep(seconds)
    await operation()
