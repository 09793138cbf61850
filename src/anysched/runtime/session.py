"""An open scheduler: the connection, hints, and what batches calls.

The first to enter opens; whoever enters after that is a guest of the same session. The opener leaves last: its exit
waits for the guests, since closing the connection under them would lose what they are settling.

What always holds:

* All of it happens in the thread, and so in the event loop, of the opener. Events, batches and connections belong to
  that: touched from elsewhere, at best nobody wakes up, and at worst the opener's own work fails.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from threading import get_ident

from anyio import TASK_STATUS_IGNORED, AsyncContextManagerMixin, Event, create_task_group, move_on_after
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Backend, Enqueued, NewRun
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


def _weight(run: NewRun) -> int:
    return len(run.payload) + len(run.options) + 200


@define(eq=False, kw_only=True)
class Session(AsyncContextManagerMixin):
    """Holds the backend open for whoever uses it.

    Args:
        backend: what is opened.
        outage: told how the backend is doing.
        grace: seconds that guests get when the opener is cancelled.
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
    _thread: int = field(factory=get_ident, init=False)
    _depths: dict[int, int] = field(factory=dict[int, int], init=False)
    """How often each task has entered, the opener's own first time not counted."""
    _quiet: Event = field(factory=Event, init=False)

    def __attrs_post_init__(self) -> None:
        require_started_program()
        self.listening = Listening(backend=self.backend, outage=self.outage, inbox=make_node_id())
        self.enqueueing = Batcher(send=self.backend.enqueue, max_items=1_000, weigh=_weight)
        self._quiet.set()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Session]:
        async with open_services(grace=self.grace) as services:
            await services.start(partial(self._hold, services.closing), finishes=True)
            self.ready.set()
            yield self
            await self._quiet.wait()

    @property
    def over(self) -> bool:
        """Whether it is too late to enter: the opener leaves, and waits for nobody."""
        return self.closing and not self._depths

    def belongs_here(self, what: str) -> None:
        """Refuse to be used in another thread than that in which it was opened.

        Args:
            what: is to be done.

        Raises:
            InvalidState: this is another one.
        """
        if self._thread != get_ident():
            raise InvalidState(
                "this scheduler", "open in another thread", f"use {what} there, by anyio.from_thread.run"
            )

    def enter(self, task: int) -> None:
        """This task uses the session too, or once more."""
        self._depths[task] = self._depths.get(task, 0) + 1
        self._settle_down()

    def leave(self, task: int) -> bool:
        """This task uses it once less. Whether that was the opener's last use, so that it has to close."""
        # A guest may leave in another task than it entered in; the opener may not.
        if task != self.opener and task not in self._depths:
            task = next(iter(self._depths), self.opener)

        depth = self._depths.get(task, 0)

        if task == self.opener and not depth:
            self.closing = True
            return True

        if depth > 1:
            self._depths[task] = depth - 1
        else:
            self._depths.pop(task, None)

        self._settle_down()
        return False

    def _settle_down(self) -> None:
        if not self._depths:
            self._quiet.set()
        elif self._quiet.is_set():
            self._quiet = Event()

    async def _hold(self, closing: Event, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Hold the connection until the body has been left and the guests have gone."""
        async with create_task_group() as connection:
            await connection.start(self.backend.run)
            await connection.start(self.listening.run)
            await connection.start(self.teller.run)
            task_status.started()
            await closing.wait()
            await self._quiet.wait()

            with move_on_after(_LAST_ERRORS):
                await self.teller.finish()

            connection.cancel_scope.cancel(reason="the session has ended")
