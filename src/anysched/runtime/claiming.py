"""Capacity into claims, and claims into attempts: the intake of work.

The loop here only keeps time. What to wish for is decided synchronously, right before a command is sent, by
:meth:`Claiming.wish`, and what came of it is taken in by :meth:`Claiming.receive`.

A node asks for as much as it has room for. While its attempts are short (they end before the next answer would be
there) it asks for some more, so that it need not stand idle during a round trip; what was taken in advance is handed
back at once when it stops.

When a claim comes back short there is nothing more for now: the node is *hungry*. It looks again when a hint says so,
at the next due time that the answer named, and in any case after ``tick_interval``, since hints may be lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from anyio import TASK_STATUS_IGNORED, Event, current_time, move_on_after
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Claim, ClaimedRun, WorkReply

__all__ = ["Claiming"]

_SHORT = 0.005
"""Seconds. An attempt shorter than this is over before a round trip to a nearby server is."""

_MOST_AHEAD = 480
"""So many are taken in advance at most: with what is being carried out, two batches for the backend."""

_MOST_AHEAD_OF_EACH = 15
"""And for each that is carried out at once: so many may have to wait for one that turns out to be long."""

_STUCK = 0.1
"""Seconds without any beginning after which what was taken in advance is handed back: others may be free."""


_SWEEP = 5.0
"""Seconds that a node without room lets pass until it has the backend keep house."""


class Hands(Protocol):
    """Who carries runs out."""

    @property
    def room(self) -> int:
        """How many runs could begin now; negative when some are waiting to."""
        ...

    @property
    def capacity(self) -> int:
        """How many are carried out at once."""
        ...

    @property
    def pace(self) -> float:
        """Seconds that an attempt has been taking lately."""
        ...

    @property
    def begun(self) -> int:
        """How many attempts have begun so far."""
        ...

    def accept(self, run: ClaimedRun, claimed_ms: int) -> bool:
        """Take a run; ``False``: it cannot be taken."""
        ...

    def surrender(self) -> None:
        """Hand back what has not begun."""
        ...


@define(eq=False, kw_only=True)
class Claiming:
    """The intake of one node.

    Args:
        queues: weights by name.
        strict: take from a queue only when those with a greater weight are empty.
        limits: live attempts allowed across the cluster, by job.
        tick_interval: seconds after which a hungry node looks again in any case.
        hands: who carries runs out.
        trusted: whether what is claimed now may be begun: the node's lease can be trusted, and it is not stopping.
        hears: whether hints arrive, as far as is known here.
        poke: has :meth:`wish` called soon.
        sweep: has the backend keep house: what has expired expires, though nothing is claimed.
    """

    queues: Mapping[str, int]
    strict: bool
    limits: Mapping[str, int]
    tick_interval: float
    hands: Hands
    trusted: Callable[[], bool]
    poke: Callable[[], None]
    hears: Callable[[], bool] = field(default=lambda: False)
    sweep: Callable[[], None] = field(default=lambda: None)
    hungry: bool = field(default=False, init=False)
    """The last claim came back short, and nothing was heard since it was sent."""
    _claims: int = field(default=0, init=False)
    _takes: bool = field(default=False, init=False)
    """With the last claim it was said that a run may be handed over."""
    _retired: bool = field(default=False, init=False)
    _heard: bool = field(default=False, init=False)
    """Something was heard since the last claim was sent: its answer may be out of date already."""
    _look_at: float = field(default=0.0, init=False)
    """On the event loop's clock: when to look again although nothing was heard."""
    _changed: Event = field(factory=Event, init=False)
    _check_at: float = field(default=float("inf"), init=False)
    """When to see whether what was taken in advance gets anywhere."""
    _begun: int = field(default=0, init=False)
    _soon: bool = field(default=False, init=False)
    """:meth:`wish` is to be called, but not at once."""
    _full: bool = field(default=False, init=False)
    """There was no room for a claim of late."""
    _sweep_at: float = field(default=float("inf"), init=False)
    """When to have the backend keep house, if there has been no room for a claim, which does it by the way."""

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Keep time until cancelled."""
        task_status.started()
        self.stir()

        while True:
            self._changed = Event()

            if self._full and self._sweep_at == float("inf"):
                self._sweep_at = current_time() + _SWEEP

            wake_at = min(self._check_at, self._sweep_at, self._look_at if self.hungry else float("inf"))

            with move_on_after(wake_at - current_time()):
                await self._changed.wait()

            if self._soon:
                self._soon = False
                self.poke()

            if self.hungry and current_time() >= self._look_at:
                self.stir()

            if current_time() >= self._sweep_at:
                self._sweep_at = float("inf")
                self._full = False
                self.sweep()

            if current_time() >= self._check_at:
                self._check()

    def stir(self) -> None:
        """There may be something to claim."""
        self.hungry = False
        self._heard = True
        self.poke()

    def stir_soon(self) -> None:
        """Likewise, but what was just handed over shall begin first: if it is short, its outcome goes along."""
        if self._retired:
            self.stir()
            return

        self.hungry = False
        self._heard = self._soon = True
        self._changed.set()

    def wish(self) -> Claim | None:
        """What to claim now, or nothing."""
        if self._retired:
            return self._decline()

        count = self.hands.room
        takes = count > 0 and self.hears()

        # Whoever was hungry without room for more may be handed a run as soon as it has some: it asks again.
        if (self.hungry and not (takes and not self._takes)) or not self.trusted():
            return None

        if self.hands.pace < _SHORT:
            ahead = self._ahead()
            # By halves: the backend hands out one while the other is carried out, and neither waits for the other.
            count = min(count + ahead, (self.hands.capacity + ahead + 1) // 2)

        if count <= 0:
            self._full = True
            self._changed.set()
            return self._decline()

        return self._claim(min(count, 256), takes=takes)

    def begin(self, run: ClaimedRun, claimed_ms: int) -> bool:
        """Start a run that was handed over; ``False``: it cannot be started."""
        return self.trusted() and self.hands.accept(run, claimed_ms)

    def receive(self, claim: Claim | None, reply: WorkReply) -> Sequence[ClaimedRun]:
        """Start what was claimed; returns what could not be started."""
        # What was claimed under a lease that ran out meanwhile may be somebody else's any moment.
        trusted = self.trusted()
        refused = [run for run in reply.runs if not (trusted and self.hands.accept(run, reply.now_ms))]

        if self.hands.room < 0 and self._check_at == float("inf"):
            self._arm()

        if claim is not None and not reply.more and not self._heard:
            self.hungry = True
            pause = (reply.next_due_ms - reply.now_ms) / 1000 if reply.next_due_ms else self.tick_interval
            self._look_at = current_time() + min(max(pause, 0.0), self.tick_interval)
            self._changed.set()

        return refused

    def retire(self) -> None:
        """Claim no more, and see to it that others are woken in our place."""
        self._retired = self._heard = True
        self.poke()

    def _claim(self, count: int, *, takes: bool) -> Claim:
        self._heard = False
        self._takes = takes
        self._claims += 1
        return Claim(number=self._claims, count=count, queues=self._order(), limits=dict(self.limits), takes=takes)

    def _ahead(self) -> int:
        """How many to take in advance: what can be carried out while an attempt would still be short."""
        capacity = self.hands.capacity
        in_time = capacity * _SHORT / max(self.hands.pace, 1e-6)
        return int(min(_MOST_AHEAD, _MOST_AHEAD_OF_EACH * capacity, in_time))

    def _decline(self) -> Claim | None:
        """If we were woken, a claim of nothing: others are woken for it then, and keep the watch."""
        return self._claim(0, takes=False) if self._heard else None

    def _arm(self) -> None:
        self._begun = self.hands.begun
        self._check_at = current_time() + _STUCK
        self._changed.set()

    def _check(self) -> None:
        """Hand back what was taken in advance, if nothing has begun for a while."""
        self._check_at = float("inf")

        if self.hands.room < 0:
            if self.hands.begun == self._begun:
                self.hands.surrender()
            else:
                self._arm()

    def _order(self) -> tuple[str, ...]:
        """The queues in the order to take from; by weight, each is first in proportion to its own."""
        names = tuple(self.queues)

        if len(names) == 1:
            return names

        if self.strict:
            return tuple(sorted(names, key=self.queues.__getitem__, reverse=True))

        # Efraimidis and Spirakis, "Weighted random sampling with a reservoir": keys u^(1/w) in falling order.
        keys = {name: random.random() ** (1 / weight) for name, weight in self.queues.items()}
        return tuple(sorted(names, key=keys.__getitem__, reverse=True))
