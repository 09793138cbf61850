"""What is to be done about an entry whose time has come.

Two kinds of instants are told apart. A *slot* is when the schedule says. A *cursor* is when the entry fires: the slot
and its jitter, which is always less than the way to the next slot, so that cursors come in the order of their slots.
What is stored is the cursor that the entry waits for; it is due when that is not after now. What always holds:

* A plan is a function of its arguments alone: any two nodes plan the same.
* Every slot ends up among the fires, among the missed, or ahead of the new cursor. None is lost, none comes twice.
* One plan looks at a bounded number of slots; after a long outage the next plan goes on where this one got to.

All instants in here are whole milliseconds of UTC: Python compares two datetimes of one zone by what clocks show.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from attrs import define, evolve, field

from anysched.clock import LATEST_MS, from_ms, to_ms
from anysched.entry.spec import EntrySpec
from anysched.errors import InvalidSchedule
from anysched.identifiers import digest
from anysched.schedules import Every, Once, Schedule
from anysched.schedules.instants import require_aware, ticks_of

__all__ = [
    "MISFIRE_TOLERANCE",
    "MOST_FIRES",
    "MOST_SLOTS",
    "FirePlan",
    "first_fire",
    "first_or_missed",
    "plan_fire",
    "plan_surrender",
]

MISFIRE_TOLERANCE: Final = timedelta(seconds=2)
"""A fire that is no later than this is in time, not missed.

When the leader has died, a follower fires a second late, and a busy loop or a lost connection add their part: that is
how punctual a fire can be, and no misfire.
"""

MOST_FIRES: Final = 100
"""The most runs that one plan makes: what storage takes in one step."""

MOST_SLOTS: Final = 1000
"""The most slots of a cron expression that one plan walks over: a few milliseconds."""

_MS: Final = timedelta(milliseconds=1)
_US: Final = timedelta(microseconds=1)
_TOLERANCE_MS: Final = MISFIRE_TOLERANCE // _MS
_FOREVER_MS: Final = 1 << 62


class FirePlan(msgspec.Struct, frozen=True):
    """What is to be done about a due entry.

    Attributes:
        fires: the slots to be made into runs, oldest first, at most :data:`MOST_FIRES`.
        missed: how many slots are given up.
        next_at: the new cursor; None: there is none, and ``end`` says why.
        end: ``"finished"``: no slot is left. ``"completion"``: the next fire is ``after`` after the end of the run.
        after: see there.
    """

    fires: tuple[datetime, ...] = ()
    missed: int = 0
    next_at: datetime | None = None
    end: Literal["", "finished", "completion"] = ""
    after: timedelta = timedelta(0)


def first_fire(spec: EntrySpec, *, entry_id: str, now: datetime) -> datetime | None:
    """The first fire of an entry that is added, or resumed, now; None if there is none.

    Args:
        spec: its description, anchored.
        entry_id: its id.
        now: the backend's time.
    """
    slots = _slots_of(spec, entry_id)
    start = spec.policy.start_at
    now_ms = to_ms(now)

    if start is None or to_ms(start) <= now_ms:
        return _instant(slots.cursor(slots.after(now_ms)))

    # A slot at the very start counts, and what counts from completions begins there.
    slot = to_ms(start) if slots.after_completion else slots.after(to_ms(start) - 1)
    return _instant(slots.cursor(slot))


def first_or_missed(spec: EntrySpec, *, entry_id: str, now: datetime) -> tuple[datetime | None, int]:
    """The first fire of an entry that is stored now, and how many fires are missed already.

    A single instant that has passed is all that the entry has, so it does not just end: it fires at once if it is in
    time, or within a grace that was given; else it is missed. Without a grace it is not made up for however late it is:
    the line stays in a program, and is new to each store that this meets.
    """
    first = first_fire(spec, entry_id=entry_id, now=now)
    schedule, policy = spec.schedule, spec.policy

    if first is not None or not isinstance(schedule, Once):
        return first, 0

    at_ms = to_ms(schedule.at)

    if to_ms(policy.start_at or schedule.at) > at_ms or to_ms(policy.end_at or schedule.at) < at_ms:
        return None, 0

    cursor_ms = _slots_of(spec, entry_id).cursor(at_ms) or at_ms
    has_grace = policy.misfire != "skip" and policy.misfire_grace is not None
    is_wanted = to_ms(now) - cursor_ms <= (_kept_ms(spec) if has_grace else _TOLERANCE_MS)
    return (from_ms(cursor_ms), 0) if is_wanted else (None, 1)


def plan_fire(spec: EntrySpec, *, entry_id: str, cursor: datetime, now: datetime, run_count: int) -> FirePlan:
    """Decide about a due entry.

    Args:
        spec: its description, as stored.
        entry_id: its id.
        cursor: the fire that it waits for.
        now: the backend's time.
        run_count: how many runs it has made.
    """
    limit = spec.policy.limit
    cursor_ms, now_ms = to_ms(cursor), to_ms(now)

    if limit is not None and run_count >= limit:
        return FirePlan(end="finished")

    if cursor_ms > now_ms:
        return FirePlan(next_at=cursor)

    slots = _slots_of(spec, entry_id)

    if slots.after_completion:
        return _plan_after_completion(spec, slots, cursor_ms, now_ms)

    most = MOST_FIRES if limit is None else min(MOST_FIRES, limit - run_count)
    return _plan_slots(spec, slots, slots.at(cursor_ms), now_ms, most)


def plan_surrender(spec: EntrySpec, *, entry_id: str, cursor: datetime, now: datetime, run_count: int) -> FirePlan:
    """Give up all whose slot has passed, since the entry gets another rule or is paused.

    That is what is due, and what its jitter has put off until later. Without either nothing is missed, and the cursor
    stays. The arguments are those of :func:`plan_fire`.
    """
    rule = evolve(spec, policy=evolve(spec.policy, misfire="skip"))
    is_put_off = cursor > now and from_ms(_slots_of(spec, entry_id).at(to_ms(cursor))) <= now
    until = cursor if is_put_off else now
    plan = plan_fire(rule, entry_id=entry_id, cursor=cursor, now=until, run_count=run_count)
    return msgspec.structs.replace(plan, fires=(), missed=plan.missed + len(plan.fires))


# --- slots and cursors --------------------------------------------------------------------------------------------


@define(eq=False)
class _Slots:
    """The slots of one entry, looked up no oftener than needed.

    Attributes:
        schedule: as this entry keeps it.
        entry_id: what the jitter is made from.
        end_ms: there is no slot after this.
        jitter_ms: the longest jitter.
        period: of a schedule that has one.
        after_completion: the slots are not known before the runs have ended.
    """

    schedule: Schedule
    entry_id: str
    end_ms: int
    jitter_ms: int
    period: timedelta | None
    after_completion: bool
    _asked: int = field(default=-1, init=False)
    _answer: int | None = field(default=None, init=False)

    def after(self, instant_ms: int) -> int | None:
        """The first slot strictly after an instant."""
        slot = self._next(instant_ms)
        return None if slot is None or slot > self.end_ms else slot

    def cursor(self, slot_ms: int | None) -> int | None:
        """When a slot fires, or None if there is no slot."""
        if slot_ms is None or not self.jitter_ms:
            return slot_ms

        following = None if self.after_completion else self._next(slot_ms)
        room = min(self.jitter_ms, self.end_ms + 1 - slot_ms)
        room = room if following is None else min(room, following - slot_ms)
        return slot_ms + self.chance(slot_ms, max(room, 1))

    def chance(self, slot_ms: int, below: int) -> int:
        """A number from 0 up to ``below``, made from the entry and the slot: the same on every node."""
        number = int.from_bytes(digest(f"{self.entry_id}\0{slot_ms}".encode(), 8), "big")
        return number * below >> 64

    def at(self, cursor_ms: int) -> int:
        """The slot that fires then: the last one that is not after it."""
        if not self.jitter_ms:
            return cursor_ms

        known = self._some_slot(cursor_ms)

        if known is None:
            # The rule was another when this cursor was stored, such as an older time zone database.
            return cursor_ms

        beyond = cursor_ms

        while (following := self._next(known)) is not None and following <= cursor_ms:
            middle = (following + beyond) // 2
            found = self._next(middle)

            if found is not None and found <= cursor_ms:
                known = found
            else:
                known, beyond = following, middle

        return known

    def exact_us(self, slot_ms: int) -> int:
        """When a slot of a period is, which may be within the millisecond before the one that it is counted as."""
        anchor = self.schedule.anchor if isinstance(self.schedule, Every) else None

        if anchor is None or self.period is None:
            return slot_ms * 1000

        beyond_us = (ticks_of(from_ms(slot_ms)) - ticks_of(anchor)) % (self.period // _US)
        return slot_ms * 1000 - (beyond_us if beyond_us < 1000 else 0)

    def _some_slot(self, cursor_ms: int) -> int | None:
        """A slot not after the cursor, and hardly more than twice as far back as the last one."""
        back = 1

        while True:
            back = min(back, self.jitter_ms)
            slot = self._next(cursor_ms - back)

            if slot is not None and slot <= cursor_ms:
                return slot

            if back == self.jitter_ms:
                return None

            back *= 2

    def _next(self, instant_ms: int) -> int | None:
        if self._asked != instant_ms:
            slot = self.schedule.next_after(from_ms(instant_ms))
            answer = None if slot is None else to_ms(require_aware(slot, "next_after"))

            # A schedule of somebody's own may do anything; going back it would never end.
            if answer is not None and answer <= instant_ms:
                raise InvalidSchedule("next_after", slot, f"an instant after {from_ms(instant_ms).isoformat()}")

            self._asked, self._answer = instant_ms, answer

        return self._answer


def _slots_of(spec: EntrySpec, entry_id: str) -> _Slots:
    schedule = spec.schedule.for_entry(entry_id)
    policy = spec.policy
    every = schedule if isinstance(schedule, Every) else None

    return _Slots(
        schedule=schedule,
        entry_id=entry_id,
        end_ms=LATEST_MS if policy.end_at is None else to_ms(policy.end_at),
        jitter_ms=0 if policy.jitter is None else policy.jitter // _MS,
        period=None if every is None else every.period,
        after_completion=every is not None and every.after_completion,
    )


# --- the plans ----------------------------------------------------------------------------------------------------


def _plan_slots(spec: EntrySpec, slots: _Slots, first_ms: int, now_ms: int, most: int) -> FirePlan:
    misfire, kept_ms = spec.policy.misfire, _kept_ms(spec)
    horizon_ms = now_ms - (kept_ms if misfire == "all" else _TOLERANCE_MS)
    missed, newest, slot = _pass_over(slots, first_ms, horizon_ms)
    cursor = slots.cursor(slot)
    fires: list[int] = []

    while slot is not None and cursor is not None and horizon_ms <= cursor <= now_ms and len(fires) < most:
        fires.append(slot)
        slot = slots.after(slot)
        cursor = slots.cursor(slot)

    # One run for all that was missed, unless one that is in time stands for them, or there are more to pass over.
    if misfire == "latest" and newest is not None and not fires and (cursor is None or cursor > now_ms):
        fires = [newest] if now_ms - (slots.cursor(newest) or newest) <= kept_ms else []
        missed -= len(fires)

    return FirePlan(
        fires=tuple(map(from_ms, fires)),
        missed=missed,
        next_at=_instant(cursor),
        end="finished" if cursor is None else "",
    )


def _pass_over(slots: _Slots, first_ms: int, horizon_ms: int) -> tuple[int, int | None, int | None]:
    """Leave behind what fires before the horizon.

    Returns:
        How many slots that was, the newest of them, and the slot that follows.
    """
    passed, newest = _leap(slots, first_ms, horizon_ms)
    slot = first_ms if newest is None else slots.after(newest)
    most = passed + MOST_SLOTS

    while slot is not None and (slots.cursor(slot) or slot) < horizon_ms and passed < most:
        passed, newest, slot = passed + 1, slot, slots.after(slot)

    return passed, newest, slot


def _leap(slots: _Slots, first_ms: int, horizon_ms: int) -> tuple[int, int | None]:
    """The same for the slots of a period whose next one is not after the horizon either, by arithmetic."""
    if slots.period is None:
        return 0, None

    period_us, first_us = slots.period // _US, slots.exact_us(first_ms)
    within_end = (slots.end_ms * 1000 - first_us) // period_us + 1
    passed = min((horizon_ms * 1000 - first_us) // period_us, within_end)

    if passed < 1:
        return 0, None

    return passed, -(-(first_us + (passed - 1) * period_us) // 1000)


def _plan_after_completion(spec: EntrySpec, slots: _Slots, cursor_ms: int, now_ms: int) -> FirePlan:
    if cursor_ms > slots.end_ms or slots.period is None:
        return FirePlan(end="finished")

    kept_ms = _TOLERANCE_MS if spec.policy.misfire == "skip" else _kept_ms(spec)
    is_wanted = now_ms - cursor_ms <= kept_ms
    after_ms = slots.period // _MS + slots.chance(cursor_ms, slots.jitter_ms)
    ends = now_ms + after_ms > slots.end_ms

    return FirePlan(
        fires=(from_ms(cursor_ms),) if is_wanted else (),
        missed=0 if is_wanted else 1,
        end="finished" if ends else "completion",
        after=timedelta(0) if ends else after_ms * _MS,
    )


def _kept_ms(spec: EntrySpec) -> int:
    """How late a fire may be and still be made up for. What is in time is not late at all."""
    grace = spec.policy.misfire_grace
    return _FOREVER_MS if grace is None else max(grace // _MS, _TOLERANCE_MS)


def _instant(instant_ms: int | None) -> datetime | None:
    return None if instant_ms is None else from_ms(instant_ms)
