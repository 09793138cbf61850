"""Due entries into runs.

One loop looks for entries whose time has come, decides for each what its rule and policies say, and sends the
decisions back; firing what was decided and looking for what is due next are one command. It then sleeps to the next
due instant, woken early by a hint.

What always holds:

* Deciding changes nothing. A fire counts only if the backend finds the entry's cursor where we saw it, so two nodes
  that decide the same fire make one run.
* A node that does not lead leaves alone what is due for less than a second: the leader is at it.
* An entry that cannot be read is reported, once, and stands in nobody's way. It is left as it is, since another program
  may read it, and is first among what is due: so it is skipped, until what comes after it has been looked at too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from anyio import TASK_STATUS_IGNORED, Event, move_on_after
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends import Backend, Corrupt, DueEntry, Fire, FireAnswer, TickReply
from anysched.backends.records import DEFAULT_TTL_MS
from anysched.clock import from_ms
from anysched.config import ErrorContext
from anysched.entry import EntrySpec, plan_fire
from anysched.errors import AnySchedError, RecordCorrupt
from anysched.events import EntryFired, EntryRetired, FireSkipped, FiresMissed, RecordSetAside
from anysched.identifiers import make_nonce
from anysched.runtime.persisting import Outage, persist
from anysched.runtime.requesting import entry_fire
from anysched.runtime.telling import Teller

__all__ = ["Ticking"]

_BATCH = 256
"""Entries fired in one step: a few milliseconds of everybody's time at the backend."""

_MOST_REPORTED = 10_000
"""Entries that a node reports as unreadable, as it has to know them again. Of more it says nothing."""

_FOLLOWERS_WAIT_MS = 1_000
"""How long a fire is left to the leader."""


@define(eq=False, kw_only=True)
class Ticking:
    """Fires entries.

    Args:
        backend: where the entries are.
        teller: is told what fired.
        outage: told how the backend is doing.
        tick_interval: seconds after which it looks in any case.
        node_id: gives the id that this node goes by now.
        kept_ms: how long a run of such an entry is kept that ends before it is begun.
    """

    backend: Backend
    teller: Teller
    outage: Outage
    tick_interval: float
    node_id: Callable[[], str]
    kept_ms: Callable[[EntrySpec], int] = field(default=lambda _: DEFAULT_TTL_MS)
    leads: bool = field(default=False, init=False)
    ticks: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)
    _reported: dict[str, str] = field(factory=dict[str, str], init=False)
    """Revisions by id of entries that were reported as unreadable."""
    _skipped: set[str] = field(factory=set[str], init=False)
    """Of what was found due last, what is unreadable."""
    _stirred: Event = field(factory=Event, init=False)

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Fire what is due until cancelled."""
        task_status.started()
        fires: Sequence[Fire] = ()
        skip = 0

        while True:
            if not skip:
                self._stirred = Event()

            nonce = make_nonce()
            tick = partial(self.backend.tick, nonce, fires, count=_BATCH, skip=skip)
            reply = await persist(tick, self.outage)
            self.ticks += 1
            self._tell(fires, reply)
            fires = self.decide(reply)
            # A full reply is not all that is due. What is fired leaves its place to others, what is skipped does not.
            skip = skip + len(self._skipped) if len(reply.due) == _BATCH else 0

            if not fires and len(self._skipped) < _BATCH:
                skip = 0

                with move_on_after(self._pause(reply)):
                    await self._stirred.wait()

    def stir(self) -> None:
        """There may be an entry that is due earlier than was known."""
        self._stirred.set()

    def lead(self, leads: bool) -> None:
        """Whether this node leads from now on."""
        self.leads = leads
        self.stir()

    def decide(self, reply: TickReply) -> list[Fire]:
        """What to do about the entries that are due."""
        before_ms = reply.now_ms - (0 if self.leads else _FOLLOWERS_WAIT_MS)
        due = [entry for entry in reply.due if entry.cursor_ms <= before_ms]
        self._skipped = set()
        # A follower sees the world as it was a second ago, or it would make two fires of a short period at once.
        return [fire for fire in (self._decide(entry, before_ms) for entry in due) if fire is not None]

    def _decide(self, entry: DueEntry, now_ms: int) -> Fire | None:
        try:
            spec = EntrySpec.from_text(entry.spec)
            plan = plan_fire(
                spec,
                entry_id=entry.id,
                cursor=from_ms(entry.cursor_ms),
                now=from_ms(now_ms),
                run_count=entry.run_count,
            )
            ttl_ms = self.kept_ms(spec)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it is wrong with this entry alone
            self._skipped.add(entry.id)
            self._report(entry, error)
            return None

        return entry_fire(entry, spec, plan, ttl_ms=ttl_ms)

    def _pause(self, reply: TickReply) -> float:
        """Seconds until there may be something to fire."""
        wait_ms = 0 if self.leads else _FOLLOWERS_WAIT_MS
        waiting = [entry.cursor_ms for entry in reply.due if entry.id not in self._skipped]
        instants = [*waiting, reply.next_due_ms] if reply.next_due_ms else waiting

        if not instants:
            return self.tick_interval

        return min(max((min(instants) + wait_ms - reply.now_ms) / 1000, 0.0), self.tick_interval)

    def _report(self, entry: DueEntry, error: Exception) -> None:
        if self._reported.get(entry.id) == entry.revision or len(self._reported) >= _MOST_REPORTED:
            return

        self._reported[entry.id] = entry.revision
        known = error if isinstance(error, AnySchedError) else RecordCorrupt(f"entry {entry.id!r}", repr(error))
        self.teller.report(known, ErrorContext(kind="tick", entry_id=entry.id, node=self.node_id()))

    def _tell(self, fires: Sequence[Fire], reply: TickReply) -> None:
        for fire, answer in zip(fires, reply.fired, strict=True):
            if answer.done:
                self.fired += answer.made

                if self.teller.listened_to:
                    self._tell_fire(fire, answer, reply)

        for bad in reply.corrupt:
            self._tell_corrupt(bad, reply)

        if self.teller.listened_to:
            for entry_id in reply.retired:
                self.teller.tell(EntryRetired(at=from_ms(reply.now_ms), entry_id=entry_id))

    def _tell_fire(self, fire: Fire, answer: FireAnswer, reply: TickReply) -> None:
        at = from_ms(reply.now_ms)
        made = fire.runs[: answer.made]

        for run in made:
            scheduled_for = from_ms(run.scheduled_for_ms)
            self.teller.tell(EntryFired(at=at, entry_id=fire.entry_id, run_id=run.id, scheduled_for=scheduled_for))

        if answer.skipped:
            self.teller.tell(FireSkipped(at=at, entry_id=fire.entry_id, count=answer.skipped))

        if fire.missed:
            self.teller.tell(FiresMissed(at=at, entry_id=fire.entry_id, count=fire.missed))

    def _tell_corrupt(self, bad: Corrupt, reply: TickReply) -> None:
        error = RecordCorrupt(f"entry {bad.id!r}", bad.reason)
        self.teller.report(error, ErrorContext(kind="tick", entry_id=bad.id, node=self.node_id()))

        if self.teller.listened_to:
            self.teller.tell(RecordSetAside(at=from_ms(reply.now_ms), record=f"entry {bad.id}", reason=bad.reason))
