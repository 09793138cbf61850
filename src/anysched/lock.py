"""Mutual exclusion across nodes, built on a lease.

A lease is a right limited in time: whoever holds the lock renews it in the background, and a holder that dies loses
it by itself when its ``ttl`` has passed. What a lease alone cannot do is to stop a holder that was paused for longer
than that and does not know it yet. So every lease carries a **fencing token** that only ever grows: hand it to the
store that the lock protects, and let the store refuse a token lower than the highest it has seen. (The argument is
Martin Kleppmann's, "How to do distributed locking".)

On our side, a lease is trusted until ``renewal_started + ttl - margin`` by the event loop's clock. If it could not be
renewed by then, the body is cancelled and :exc:`~anysched.errors.LockLost` is raised. A body is never entered under a
lease that is not trusted: if the answer came too late, or the event loop was blocked, the lock is asked for again.

Who waits stands in line, first come, first served.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from math import inf
from typing import Protocol

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    Event,
    create_task_group,
    current_effective_deadline,
    current_time,
    get_cancelled_exc_class,
    move_on_after,
    sleep,
    sleep_forever,
)
from anyio.abc import TaskStatus
from attrs import define, evolve, field

from anysched.backends import Backend, LockAnswer
from anysched.durations import LONGEST, Duration, parse_duration
from anysched.errors import AnySchedError, BackendUnavailable, InvalidOption, LockBusy, LockLost, NotOpen
from anysched.identifiers import check_name, make_nonce
from anysched.runtime.unwrapping import failure_in

__all__ = ["Lease", "Lock", "LockHints"]

_MARGIN = 0.1
"""The share of a lease that is not trusted."""

_RELEASE_LIMIT = 2.0
"""Seconds that giving a lock back may take; after that it runs out by itself."""

_RELEASES = 5
"""So often is it tried; with the pauses in between that takes most of the time."""

_FIRST_PAUSE = 0.05
"""Seconds before the first repetition when the backend cannot be reached."""

_LOOK_AGAIN = 1.0
"""Seconds after which somebody who waits without hints asks again."""


class LockHints(Protocol):
    """Where hints about locks arrive."""

    async def lock_inbox(self) -> str:
        """The inbox to be named to the backend, being listened to."""
        ...

    def turn(self, owner: str) -> AbstractContextManager[Event]:
        """While entered, gives the event that is set by a hint that it is this owner's turn."""
        ...


@define(eq=False)
class Lease:
    """A lock that is held.

    Attributes:
        name: the lock's name.
        token: its fencing token: greater than that of every earlier lease of this name.
    """

    name: str
    token: int
    trusted_until: float = field(repr=False)
    """On the event loop's clock."""

    @property
    def trusted(self) -> bool:
        """Whether nobody else can hold the lock now."""
        return current_time() < self.trusted_until


def _is_more_than_an_error(error: BaseException) -> bool:
    """Whether it has to leave as it is. A cancellation in a group ends at its scope: that is not meant."""
    return not isinstance(failure_in(error), Exception)


def _duration(value: Duration) -> timedelta:
    return parse_duration(value, name="ttl", maximum=LONGEST)


def _optional_duration(value: Duration | None) -> timedelta | None:
    return None if value is None else parse_duration(value, name="refresh_every", maximum=LONGEST)


@define(eq=False, kw_only=True)
class Lock:
    """A lock by name, in a backend.

    Args:
        name: what it goes by: 1 to 200 characters without spaces and braces.
        ttl: how long a lease lasts without renewal: after that a dead holder's lock is free. From 100 ms.
        refresh_every: how often it is renewed; default: a third of ``ttl``, so that two renewals may be lost.
        backend: where it is kept; given by the scheduler if it is not given here.
        hints: tells when it is worth asking again; without, a waiting caller asks every second.
        space: goes in front of the name where the lock is kept, and is never shown: it keeps names apart.

    Raises:
        InvalidOption: the name cannot be one, or the lease would be too short or renewed too late.
    """

    name: str = "leader"
    ttl: timedelta = field(default=timedelta(seconds=15), converter=_duration)
    refresh_every: timedelta | None = field(default=None, converter=_optional_duration)
    backend: Backend | None = None
    hints: LockHints | None = None
    space: str = ""
    _holdings: list[_Holding] = field(factory=list["_Holding"], init=False, repr=False)
    """Whoever holds it through this object, or waits for it."""

    @property
    def kept_as(self) -> str:
        """The name that the backend knows."""
        return self.space + self.name

    @property
    def seconds(self) -> float:
        """``ttl`` in seconds."""
        return self.ttl.total_seconds()

    @property
    def ttl_ms(self) -> int:
        """``ttl`` in whole milliseconds."""
        return self.ttl // timedelta(milliseconds=1)

    @property
    def refresh_seconds(self) -> float:
        """``refresh_every`` in seconds, or its default."""
        return self.refresh_every.total_seconds() if self.refresh_every is not None else self.seconds / 3

    def __attrs_post_init__(self) -> None:
        check_name("lock name", self.name)

        if self.ttl < timedelta(milliseconds=100):
            raise InvalidOption("ttl", self.ttl, "at least 100ms")

        if self.refresh_every is not None and not timedelta() < self.refresh_every < self.ttl:
            raise InvalidOption("refresh_every", self.refresh_every, f"more than 0 and less than the ttl ({self.ttl})")

    def change_ttl(self, ttl: timedelta) -> None:
        """Let leases last so long from now on, and renew at once one that is held."""
        self.ttl = ttl

        for holding in self._holdings:
            holding.hurry()

    def bound(self, *, name: str | None = None, backend: Backend, hints: LockHints | None) -> Lock:
        """The same lock over the given collaborators, where it has none of its own."""
        return evolve(self, name=name or self.name, backend=self.backend or backend, hints=self.hints or hints)

    @asynccontextmanager
    async def hold(self, *, wait: bool = True, closed: Event | None = None) -> AsyncGenerator[Lease]:
        """Hold the lock around a body.

        Args:
            wait: stand in line until it is ours; otherwise give up at once.
            closed: set when the lock can be had no more, and is not to be renewed any more.

        Yields:
            The lease, renewed in the background.

        Raises:
            NotOpen: there is no backend, or it is not open, or ``closed`` is set.
            LockBusy: it is held elsewhere and ``wait`` is false.
            LockLost: the lease was lost while the body ran; the body has been cancelled.
            BackendUnavailable: ``wait`` is false, and no answer came, or none before its lease was over.

        If the wait is cancelled, the place in line is given up; if that cannot be said in time, it lapses after
        one ``ttl``. An exception of the body leaves unchanged, also when it is cancelled meanwhile; but
        if the lease was lost, an ``Exception`` becomes the cause of ``LockLost``.
        """
        if self.backend is None:
            raise NotOpen(f"lock {self.name!r}")

        holding = _Holding(lock=self, backend=self.backend, closed=closed)
        self._holdings.append(holding)

        async with holding.failure_first(), create_task_group() as keeper:
            keeper.start_soon(holding.run, wait, name=f"anysched lock {self.name}")

            try:
                lease = await holding.take()

                if lease is not None:
                    with holding.body:
                        yield lease
            except get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised again below, where no group wraps it
                holding.failure = error
                # It may not have come further than the line.
                keeper.cancel_scope.cancel(reason="the body failed")
            finally:
                self._holdings.remove(holding)
                holding.end()

        holding.conclude()

    async def run(self, *, task_status: TaskStatus[Lease] = TASK_STATUS_IGNORED) -> None:
        """Wait for the lock, say so with its lease, and hold it until cancelled.

        Raises:
            LockLost: the lease was lost.
        """
        async with self.hold() as lease:
            task_status.started(lease)
            await sleep_forever()


@define(eq=False, kw_only=True)
class _Holding:
    """One acquisition: waits for the lock, renews it, gives it back. All of that in a task of its own.

    That task is cancelled only while it waits. From the moment the lock is ours it is shielded until ``ended``, so
    that nothing from outside keeps it from giving the lock back.
    """

    lock: Lock
    backend: Backend
    closed: Event | None = None
    owner: str = field(factory=make_nonce)
    body: CancelScope = field(factory=CancelScope)
    ready: Event = field(factory=Event)
    """It is known whether the lock is ours. Made anew when a lease was over before anybody acted on it."""
    answered: Event = field(factory=Event)
    """Whoever holds has entered the body under the lease, or will not enter, or found it over. Then it is made anew."""
    ended: Event = field(factory=Event)
    lease: Lease | None = None
    lost: bool = False
    failure: BaseException | None = None
    """What the body raised."""
    trouble: AnySchedError | None = None
    """Why the lock could not be had, or was lost."""
    refreshing: CancelScope | None = None
    resting: CancelScope | None = None

    def end(self) -> None:
        """The body has been left: whoever leaves it does not wait for a renewal that is of no use any more."""
        self.ended.set()
        self.answered.set()

        if self.refreshing is not None:
            self.refreshing.cancel(reason="the body has ended")

    def hurry(self) -> None:
        """Leases last for another length from now on."""
        if self.lease is not None:
            self.lease.trusted_until = min(self.lease.trusted_until, current_time() + self.lock.seconds * (1 - _MARGIN))

        if self.resting is not None:
            self.resting.cancel(reason="the lease is to be renewed now")

    async def take(self) -> Lease | None:
        """Wait until it is known whether the lock is ours; the body is to be entered without another await."""
        while True:
            await self.ready.wait()
            lease, answered = self.lease, self.answered
            is_over = lease is not None and not lease.trusted

            if is_over:
                # The loop was busy for so long. Somebody who was not inside has lost nothing, and can go on waiting.
                self.lease, self.ready, self.answered = None, Event(), Event()

            answered.set()

            if not is_over:
                return lease

    @asynccontextmanager
    async def failure_first(self) -> AsyncGenerator[None]:
        """Let a cancellation pass, unless the body has failed, or its lock was lost, before that."""
        try:
            yield
        except get_cancelled_exc_class():  # noqa: ASYNC103 - see `conclude`
            # On asyncio it passes also the scope that it was for, if the task was cancelled natively since, and that is
            # still counted: up to Python 3.12 by a task group of asyncio that has failed.
            is_of_loss = self.body.cancelled_caught or (self.lost and current_effective_deadline() > -inf)

            if self.failure is None and not is_of_loss:
                raise

    def conclude(self) -> None:
        """Raise what is to be said at the end."""
        if self.failure is not None and (not self.lost or _is_more_than_an_error(self.failure)):
            raise self.failure

        if self.lost:
            raise LockLost(self.lock.name) from (self.trouble if self.failure is None else self.failure)

        if self.lease is None:
            raise self.trouble or LockBusy(self.lock.name)

    async def run(self, wait: bool) -> None:
        try:
            await self._acquire(wait)
        except AnySchedError as error:
            self.trouble = error
        finally:
            if self.lease is None:
                self.ready.set()

                with move_on_after(_RELEASE_LIMIT, shield=True):
                    await self._give_back()

        if self.lease is not None:
            # The body may last as long as it likes, and the shield with it: it ends with the body.
            with CancelScope(shield=True):
                await self._renew()

                with move_on_after(_RELEASE_LIMIT):
                    await self._give_back()

    async def _acquire(self, wait: bool) -> None:
        hints = self.lock.hints if wait else None
        pause, is_late = _FIRST_PAUSE, False

        while True:
            self._check_open()
            # Asked for each time: it changes when a node joins anew.
            inbox = await hints.lock_inbox() if hints is not None else "-" if wait else None
            # Before it is asked, lest a call be missed that comes with the answer.
            with hints.turn(self.owner) if hints is not None else nullcontext(Event()) as called:
                started = current_time()

                try:
                    answer = await self._ask(inbox)
                except BackendUnavailable:
                    if not wait:
                        raise

                    await sleep(pause)
                    pause = min(2 * pause, _LOOK_AGAIN)
                    continue

                if not answer.token:
                    if not wait:
                        return

                    with move_on_after(self._patience(answer)):
                        await called.wait()

                    continue

            # If it is over already, asking again extends it, or tells that somebody else has the lock by now.
            if await self._offer(Lease(self.lock.name, answer.token, started + self.lock.seconds * (1 - _MARGIN))):
                return

            if is_late and not wait:
                raise BackendUnavailable(f"lock {self.lock.name!r}: answers take longer than a lease lasts")

            is_late = True

    async def _offer(self, lease: Lease) -> bool:
        """Let the body be entered under this lease; whether it is not over before that."""
        self.lease, answered = lease, self.answered

        # Soon over: whoever holds answers as soon as it runs again, be it that it was cancelled.
        with CancelScope(shield=True):
            self.ready.set()
            await answered.wait()

        # Another one waits for the answer to another lease.
        return self.answered is answered

    async def _ask(self, inbox: str | None) -> LockAnswer:
        return await self.backend.acquire_lock(self.lock.kept_as, self.owner, ttl_ms=self.lock.ttl_ms, wait_inbox=inbox)

    def _patience(self, answer: LockAnswer) -> float:
        """Until the present lease ends, but often enough to keep our place in line."""
        left = max(answer.expires_ms - answer.now_ms, 1) / 1000
        keep_place = self.lock.seconds / 3
        return min(left, keep_place) if self.lock.hints is not None else min(left, keep_place, _LOOK_AGAIN)

    async def _renew(self) -> None:
        """Renew until the body has ended or the lease cannot be trusted any more."""
        lease = self.lease
        assert lease is not None
        pause = self.lock.refresh_seconds

        while not self.ended.is_set():
            with move_on_after(min(pause, max(lease.trusted_until - current_time(), 0))) as self.resting:
                await self.ended.wait()
                return

            self.resting = None
            started = current_time()
            kept: bool | None = None

            with move_on_after(max(lease.trusted_until - started, 0)) as self.refreshing:
                kept = await self._refresh()

            self.refreshing = None

            if kept:
                lease.trusted_until = started + self.lock.seconds * (1 - _MARGIN)
            elif kept is False or not lease.trusted:
                self._lose(lease)
                return

            pause = self.lock.refresh_seconds if kept else self.lock.refresh_seconds / 4

    async def _refresh(self) -> bool | None:
        try:
            self._check_open()
            return await self.backend.refresh_lock(self.lock.kept_as, self.owner, ttl_ms=self.lock.ttl_ms)
        except BackendUnavailable:
            return None
        except AnySchedError as error:
            self.trouble = error
            return False

    def _check_open(self) -> None:
        # Asked for more than once: a backend need not tell, as that in memory does not.
        if self.closed is not None and self.closed.is_set():
            raise NotOpen(f"lock {self.lock.name!r}")

    def _lose(self, lease: Lease) -> None:
        lease.trusted_until = 0.0

        if not self.ended.is_set():
            self.lost = True
            self.body.cancel(reason="the lock was lost")

    async def _give_back(self) -> None:
        """Free the lock, or leave its line. If that cannot be done in time it lapses by itself."""
        for tries in range(_RELEASES):
            try:
                await self.backend.release_lock(self.lock.kept_as, self.owner)
                return
            except BackendUnavailable:
                # Somebody may stand in line, and would wait for the end of the lease.
                await sleep(_FIRST_PAUSE * 2**tries)
            except AnySchedError:
                return
