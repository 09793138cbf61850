"""Wake-ups: hints from the backend to those in this process whom they concern.

A hint says "look for yourself". It may be lost, doubled or late, so nobody who waits for one relies on it: each looks
again after a while anyway.

What always holds:

* After every (re)connection everybody is told to look, since what was hinted in between was lost.
* A subscription that is refused ends nothing: whether we are served is decided by what we ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from anyio import TASK_STATUS_IGNORED, CancelScope, Event, move_on_after, sleep
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Backend, Hint
from anysched.errors import BackendRefused, BackendUnavailable
from anysched.runtime.persisting import Outage

__all__ = ["Listening"]

_PAUSE = 0.2
"""Seconds before the subscription is made again after it was lost."""

_NOW_AND_THEN = 10.0
"""Seconds before it is tried again after it was refused: somebody has to grant a right for that."""

_PATIENCE = 1.0
"""Seconds to wait for a subscription to stand before going on without."""


def _nobody(_: object = None) -> None:
    return


@define(eq=False, kw_only=True)
class Listening:
    """Listens to one inbox and passes on what comes.

    Args:
        backend: where hints come from.
        outage: told how the backend is doing.
        inbox: what to listen to first; :meth:`move` changes it.
        on_refused: called when the subscription is refused, once until it stands again.
    """

    backend: Backend
    outage: Outage
    inbox: str
    on_refused: Callable[[BackendRefused], None] = field(default=_nobody)
    on_work: Callable[[], None] = field(default=_nobody)
    on_take: Callable[[Hint], None] = field(default=_nobody)
    on_entries: Callable[[], None] = field(default=_nobody)
    on_cancel: Callable[[str], None] = field(default=_nobody)
    _wanted: Event = field(factory=Event, init=False)
    _standing: Event = field(factory=Event, init=False)
    """Set also while it is refused, since nobody has to wait then."""
    _refused: bool = field(default=False, init=False)
    _scope: CancelScope | None = field(default=None, init=False)
    _runs: dict[str, set[Event]] = field(factory=dict[str, "set[Event]"], init=False)
    _turns: dict[str, Event] = field(factory=dict[str, Event], init=False)
    """By the owner who waits for a lock."""

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Listen, as soon as anybody wants to hear something, until cancelled."""
        task_status.started()
        await self._wanted.wait()

        while True:
            with CancelScope() as self._scope:
                try:
                    await self._listen()
                except BackendUnavailable as error:
                    self.outage.begin(error)
                except BackendRefused as error:
                    self._be_refused(error)

            if not self._refused:
                self._standing = Event()

            if not self._scope.cancelled_caught:
                await sleep(_NOW_AND_THEN if self._refused else _PAUSE)

    @property
    def stands(self) -> bool:
        """Whether a subscription stands, as far as is known here."""
        return self._standing.is_set() and not self._refused

    async def wanted(self) -> str:
        """Begin to listen, if that was not done yet; returns the inbox once the subscription stands.

        Does not wait for a backend that cannot be reached, or refuses it: then hints are lost, which everybody has to
        expect.
        """
        self._wanted.set()

        with move_on_after(0 if self.outage.lost else _PATIENCE):
            await self._standing.wait()

        return self.inbox

    def move(self, inbox: str) -> None:
        """Listen to another inbox from now on."""
        if inbox != self.inbox:
            self.inbox = inbox

            if self._scope is not None:
                self._scope.cancel(reason="another inbox")

    @contextmanager
    def ended(self, run_id: str) -> Generator[Event]:
        """While entered, gives the event that is set by a hint that this run has ended."""
        event = Event()
        waiting = self._runs.setdefault(run_id, set())
        waiting.add(event)

        try:
            yield event
        finally:
            waiting.discard(event)

            if not waiting and self._runs.get(run_id) is waiting:
                del self._runs[run_id]

    async def lock_inbox(self) -> str:
        """See :class:`anysched.lock.LockHints`."""
        return await self.wanted()

    @contextmanager
    def turn(self, owner: str) -> Generator[Event]:
        """See :class:`anysched.lock.LockHints`."""
        event = self._turns[owner] = Event()

        try:
            yield event
        finally:
            del self._turns[owner]

    def deliver(self, hint: Hint) -> None:
        """Pass a hint on. Never raises."""
        match hint.kind:
            case "work":
                self.on_work()
            case "take":
                self.on_take(hint)
            case "entries":
                self.on_entries()
            case "cancel":
                self.on_cancel(hint.name)
            case "done":
                for event in self._runs.get(hint.name, ()):
                    event.set()
            case "lock":
                if (turn := self._turns.get(hint.owner)) is not None:
                    turn.set()

    async def _listen(self) -> None:
        await self.backend.listen(self.inbox, self.deliver, task_status=_Standing(self._stands))

    def _be_refused(self, error: BackendRefused) -> None:
        self._standing.set()

        if not self._refused:
            self._refused = True
            told = BackendRefused(f"hints are refused, and made up for by looking every tick_interval: {error}")
            told.__cause__ = error
            self.on_refused(told)

    def _stands(self) -> None:
        self.outage.end()
        self._refused = False
        self._standing.set()
        self.on_work()
        self.on_entries()

        for event in [event for waiting in self._runs.values() for event in waiting]:
            event.set()

        for turn in self._turns.values():
            turn.set()


@define(eq=False)
class _Standing(TaskStatus[None]):
    """Calls back when the subscription stands."""

    _callback: Callable[[], None]

    def started(self, value: None = None) -> None:
        self._callback()
