"""The lease of this node: joining, renewal and trust.

One lease covers everything a node holds: it is renewed by one command, however many runs are live. If it runs out
and somebody reaps it, all of these runs belong to others.

**Trust.** Whether a lease still stands is decided by the backend's clock, which we cannot read without asking. So we
trust it only until ``renewal_started + ttl - margin`` on our own monotonic clock: since the renewal reached the
backend no earlier than we started it, the lease cannot have ended there by then, as long as the two clocks run at
rates within the margin of each other. After that nothing of ours may go on: every live attempt is cancelled. (The
idea is River's "trust window".)

What always holds:

* While ``trusted`` is true, nobody else holds a run that we hold.
* A node id that was lost is never used again. Joining anew takes a new one.
* Nobody joins or renews after ``end``: a node that leaves would find its lease gone and come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anyio import TASK_STATUS_IGNORED, CancelScope, Event, current_time, move_on_after
from anyio.abc import TaskStatus
from attrs import define, field
from msgspec.structs import replace

from anysched.backends import Backend, Held, NodeInfo, Renewed
from anysched.errors import BackendUnavailable
from anysched.identifiers import make_node_id
from anysched.runtime.persisting import Outage, persist

__all__ = ["Leasing"]

_MARGIN = 0.1
"""The share of a lease that is not trusted: far more than any two clocks differ in rate, and time to stop in."""

_RENEWALS_PER_LEASE = 3
"""So that two renewals in a row may be lost. BullMQ renews at half, most others at a third."""

_UNREACHED = "the backend could not be reached for as long as the lease lasts"
_BLOCKED = "the event loop was blocked, or the machine slept, for longer than the lease"


@define(eq=False, kw_only=True)
class Leasing:
    """Keeps this node's lease.

    Args:
        backend: where the lease is.
        node: what is made known of this node; its id is replaced at each joining.
        outage: told how the backend is doing.
        on_lost: called when the lease can no longer be trusted, synchronously and before anything else happens.
        on_joined: called with the new node id after each joining, and the backend's time.
        on_trusted: called when a lease that could not be trusted any more can be again.
        on_cancel: called with the ids of held runs that were asked to stop.
        on_held: called after each renewal with what the backend says that we hold.
        on_undeclared: called after a renewal if the backend does not remember what our program declares.
    """

    backend: Backend
    node: NodeInfo
    outage: Outage
    on_lost: Callable[[str], None]
    on_joined: Callable[[str, int], None]
    on_trusted: Callable[[], None]
    on_cancel: Callable[[Sequence[str]], None]
    on_held: Callable[[Sequence[Held]], None] = lambda held: None
    on_undeclared: Callable[[], None] = lambda: None
    trusted: bool = field(default=False, init=False)
    trusted_until: float = field(default=0.0, init=False)
    """On the event loop's clock. Means nothing unless ``trusted``."""

    _forgotten: Event = field(factory=Event, init=False)
    _scope: CancelScope = field(factory=CancelScope, init=False)

    @property
    def trusted_now(self) -> bool:
        """Whether the lease can be trusted at this instant: a loop that was blocked may not have noticed yet."""
        return self.trusted and current_time() < self.trusted_until

    @property
    def ttl(self) -> float:
        """The lease's length in seconds."""
        return self.node.ttl_ms / 1000

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Join, say so, and renew until cancelled, or ended."""
        with self._scope:
            await self._keep(task_status)

    def end(self) -> None:
        """Let the lease be: neither renew it nor join again."""
        self._scope.cancel(reason="the node leaves")

    async def _keep(self, task_status: TaskStatus[None]) -> None:
        await self._join()
        task_status.started()
        pause = self.ttl / _RENEWALS_PER_LEASE

        while True:
            with move_on_after(self._within_trust(pause)):
                await self._forgotten.wait()

            self._forgotten = Event()
            renewed = await self._renew()

            if renewed is None:
                pause = self.ttl / (4 * _RENEWALS_PER_LEASE)
                continue

            pause = self.ttl / _RENEWALS_PER_LEASE

            if renewed.lost:
                self._distrust("the lease ran out and was taken")
                await self._join()
            else:
                self.on_cancel(renewed.cancels)
                self.on_held(renewed.held)

                if renewed.undeclared:
                    self.on_undeclared()

    def forgotten(self) -> None:
        """The backend has answered that it does not know this node: find out at once."""
        self._forgotten.set()

    def change_length(self, ttl_ms: int) -> None:
        """Let the lease last so long from now on, and renew it at once."""
        self.node = replace(self.node, ttl_ms=ttl_ms)
        self.trusted_until = min(self.trusted_until, current_time() + self.ttl * (1 - _MARGIN))
        self._forgotten.set()

    async def _join(self) -> None:
        self.node = replace(self.node, id=make_node_id())

        async def join_once() -> tuple[float, int]:
            started = current_time()
            return started, await self.backend.join(self.node)

        started, now_ms = await persist(join_once, self.outage)
        self._trust(started)
        self.on_joined(self.node.id, now_ms)

    async def _renew(self) -> Renewed | None:
        """Renew once; ``None`` if the backend did not answer in time."""
        started = current_time()

        if self.trusted and started >= self.trusted_until:
            self._distrust(_UNREACHED if self.outage.lost else _BLOCKED)

        left = self.trusted_until - started if self.trusted else self.ttl
        renewed: Renewed | None = None

        with move_on_after(left):
            try:
                renewed = await self.backend.renew(self.node.id, self.node.ttl_ms)
            except BackendUnavailable as error:
                self.outage.begin(error)

        if renewed is not None:
            self.outage.end()

            if not renewed.lost:
                self._trust_again(started)
        elif self.trusted and current_time() >= self.trusted_until:
            self._distrust(_UNREACHED)

        return renewed

    def _within_trust(self, pause: float) -> float:
        return max(0.0, min(pause, self.trusted_until - current_time())) if self.trusted else pause

    def _trust(self, started: float) -> None:
        self.trusted_until = started + self.ttl * (1 - _MARGIN)
        self.trusted = True

    def _trust_again(self, started: float) -> None:
        was_trusted = self.trusted
        self._trust(started)

        if not was_trusted:
            self.on_trusted()

    def _distrust(self, reason: str) -> None:
        if self.trusted:
            self.trusted = False
            self.on_lost(reason)
