"""An open scheduler: the connection, hints, and what batches calls.

The first to enter opens; whoever enters after that is a guest of the same session. The opener leaves last: its exit
waits for the guests, since closing the connection under them would lose what they are settling. It can be left to no
guest, since a task group is left by the task that has entered it. An opener that is cancelled, or fails, dismisses its
guests: a node among them is cancelled, and may take its time; the others get a moment.

What always holds:

* All of it happens in the thread, and in the event loop, of the opener. Events, batches and connections belong to
  that: touched from elsewhere, at best nobody wakes up, and at worst the opener's own work fails.
* The connection outlives all that leans on it: attempts, settling, and the node that leaves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from threading import get_ident

from anyio import (
    TASK_STATUS_IGNORED,
    AsyncContextManagerMixin,
    CancelScope,
    Event,
    NoEventLoopError,
    get_current_task,
    get_running_tasks,
    move_on_after,
)
from anyio.abc import TaskStatus
from anyio.lowlevel import EventLoopToken, current_token
from attrs import define, field

from anysched.backends import Backend, Enqueued, NewRun
from anysched.config import ErrorContext
from anysched.errors import InvalidState
from anysched.identifiers import make_node_id
from anysched.runtime.batching import Batcher
from anysched.runtime.crossing import require_started_program
from anysched.runtime.listening import Listening
from anysched.runtime.persisting import Outage
from anysched.runtime.services import open_services
from anysched.runtime.telling import Teller

__all__ = ["Session"]


_LAST_ERRORS = 2.0
"""Seconds that an asynchronous error handler may take at the end, when it is behind."""

_ENDED = "whoever opened the scheduler has left it"

_FAREWELL = 2.0
"""Seconds that a guest without a node gets when the opener was cancelled: those of a call that is under way."""


def _weight(run: NewRun) -> int:
    return len(run.payload) + len(run.options) + 200


@define(eq=False, kw_only=True)
class Session(AsyncContextManagerMixin):
    """Holds the backend open for whoever uses it.

    Args:
        backend: what is opened.
        outage: told how the backend is doing.
        grace: seconds that a node which is a guest gets when the opener is cancelled.
        opener: the id of the task that opens it.
        teller: awaits what the error handler returns.
    """

    backend: Backend
    outage: Outage
    grace: float
    opener: int
    teller: Teller
    listening: Listening = field(init=False)
    enqueueing: Batcher[NewRun, Enqueued] = field(init=False)
    ready: Event = field(factory=Event)
    closed: Event = field(factory=Event)
    closing: bool = field(default=False, init=False)
    """The opener leaves."""
    _dismissed: bool = field(default=False, init=False)
    """It ends though there may be guests."""
    _thread: int = field(factory=get_ident, init=False)
    _loop: EventLoopToken = field(factory=current_token, init=False)
    _depths: dict[int, int] = field(factory=dict[int, int], init=False)
    """How often each task has entered, the opener's own first time not counted."""
    _quiet: Event = field(factory=Event, init=False)
    """Set while there is no guest."""
    _at_work: set[CancelScope] = field(factory=set[CancelScope], init=False)
    """Of the guests that are nodes."""
    _at_rest: Event = field(factory=Event, init=False)
    """Set while none of them is."""

    def __attrs_post_init__(self) -> None:
        require_started_program()
        self.listening = Listening(
            backend=self.backend,
            outage=self.outage,
            inbox=make_node_id(),
            on_refused=lambda error: self.teller.report(error, ErrorContext(kind="backend")),
        )
        self.enqueueing = Batcher(send=self.backend.enqueue, max_items=1_000, weigh=_weight)
        self._quiet.set()
        self._at_rest.set()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Session]:
        async with open_services(grace=self.grace) as services:
            try:
                # Services of their own: if one fails, all else can still be settled and handed back.
                await services.start(self._connect)
                await services.start(partial(self._see_off, services.closing), finishes=True)
                await services.start(self.listening.run)
                await services.start(self.teller.run)
                self.ready.set()
                yield self
                await self._quiet.wait()
            except BaseException:
                self._dismiss()
                raise

    @property
    def over(self) -> bool:
        """Whether it is too late to enter: the opener leaves, and waits for nobody."""
        return self.closing and (not self._depths or (self._dismissed and not self._at_work))

    @property
    def guests(self) -> dict[int, int]:
        """How often each task has entered and not left."""
        return dict(self._depths)

    @property
    def has_died(self) -> bool:
        """Whether its event loop was closed under it, as asyncio does after a KeyboardInterrupt in a task."""
        is_closed = getattr(self._loop.native_token, "is_closed", None)
        return is_closed is not None and is_closed()

    def belongs_here(self, what: str) -> None:
        """Refuse to be used in another thread or event loop than that in which it was opened.

        Args:
            what: is to be done.

        Raises:
            InvalidState: this is another one.
        """
        if self._thread != get_ident():
            raise InvalidState(
                "this scheduler", "open in another thread", f"use {what} there, by anyio.from_thread.run"
            )

        try:
            is_elsewhere = current_token() != self._loop
        except NoEventLoopError:
            # In a handler of signals, say: it interrupts the loop of this thread.
            is_elsewhere = False

        if is_elsewhere:
            raise InvalidState("this scheduler", "open in another event loop", f"use {what} there")

    def enter(self, task: int) -> None:
        """This task uses the session too, or once more."""
        self._depths[task] = self._depths.get(task, 0) + 1
        self._settle_down()

    def leave(self, task: int) -> bool:
        """This task uses it once less. Whether that was the opener's last use, so that it has to close."""
        entered = task if task in self._depths else self._entered_elsewhere(task)

        if entered is None:
            self.closing = True
            return True

        self._depths[entered] -= 1

        if not self._depths[entered]:
            del self._depths[entered]

        self._settle_down()
        return False

    def knows(self, task: int) -> bool:
        """Whether this task has entered and not left."""
        return task == self.opener or task in self._depths

    @contextmanager
    def at_work(self) -> Generator[CancelScope]:
        """Around a node: the scope is cancelled if it is a guest and the session ends under it."""
        with CancelScope() as scope:
            # The opener leaves last by itself.
            if get_current_task().id == self.opener:
                yield scope
                return

            if self._dismissed:
                scope.cancel(reason=_ENDED)

            self._at_work.add(scope)
            self._at_rest = Event()

            try:
                yield scope
            finally:
                self._at_work.discard(scope)

                if not self._at_work:
                    self._at_rest.set()

    def _entered_elsewhere(self, task: int) -> int | None:
        """The task whose entry this one leaves, which has none; ``None`` if it leaves as the opener."""
        if not self._depths:
            return None

        # A guest may leave in another task than it has entered in: surely so if that one has ended.
        running = {one.id for one in get_running_tasks()}
        ended = next((one for one in self._depths if one not in running), None)

        if ended is not None or task == self.opener:
            return ended

        return next(iter(self._depths))

    def _settle_down(self) -> None:
        if not self._depths:
            self._quiet.set()
        elif self._quiet.is_set():
            self._quiet = Event()

    def _dismiss(self) -> None:
        """Have it end though there may be guests."""
        self._dismissed = True

        for scope in self._at_work:
            scope.cancel(reason=_ENDED)

    async def _connect(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        try:
            await self.backend.run(task_status=task_status)
        finally:
            # Nobody can work without.
            self._dismiss()

    async def _see_off(self, closing: Event, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Once the body has been left, wait for the guests, and for the error handler."""
        task_status.started()
        await closing.wait()

        with move_on_after(_FAREWELL):
            await self._quiet.wait()

        await self._at_rest.wait()

        with move_on_after(_LAST_ERRORS):
            await self.teller.finish()
