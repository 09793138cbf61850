"""What a ticker decides about a due entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysched.clock import from_ms, to_ms
from anysched.entry import EntryPolicy, EntrySpec, FirePlan, first_fire, first_or_missed, plan_fire
from anysched.entry.planning import MISFIRE_TOLERANCE, MOST_FIRES, MOST_SLOTS
from anysched.schedules import Cron, Every, Once, Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTELY = Cron("* * * * *")
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def spec_of(schedule: Schedule, **policy: Any) -> EntrySpec:
    return EntrySpec(schedule=schedule, job="job", policy=EntryPolicy(**policy)).anchored(START)


def plan(
    schedule: Schedule, late: timedelta, *, cursor: datetime = START, run_count: int = 0, **policy: Any
) -> FirePlan:
    spec = spec_of(schedule, **policy)
    return plan_fire(spec, entry_id="e", cursor=cursor, now=cursor + late, run_count=run_count)


def fired(plan: FirePlan) -> list[timedelta]:
    return [fire - START for fire in plan.fires]


# --- in time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misfire", ["latest", "all", "skip"])
@pytest.mark.parametrize("late", [timedelta(0), SECOND, MISFIRE_TOLERANCE])
@pytest.mark.parametrize("schedule", [MINUTELY, Every(MINUTE)])
def test_a_fire_in_time_is_made_and_the_next_one_waited_for(schedule: Schedule, late: timedelta, misfire: Any) -> None:
    """A failover's second is in time for every policy, and not a misfire whatever the grace is."""
    assert FirePlan(fires=(START,), next_at=START + MINUTE) == plan(schedule, late, misfire=misfire, misfire_grace=0)


@pytest.mark.parametrize("misfire", ["latest", "all", "skip"])
def test_each_of_several_fires_in_time_is_made(misfire: Any) -> None:
    """An entry that fires each second loses none when its leader dies."""
    plans = plan(Every(SECOND), 1.5 * SECOND, misfire=misfire)

    assert FirePlan(fires=(START, START + SECOND), next_at=START + 2 * SECOND) == plans


def test_an_entry_that_is_not_due_is_left_alone() -> None:
    """Its cursor stays."""
    assert FirePlan(next_at=START) == plan(MINUTELY, -MS)


# --- late --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [MINUTELY, Every(MINUTE)])
@pytest.mark.parametrize(
    ("policy", "fires", "missed"),
    [
        ({"misfire": "latest"}, [5], 5),
        ({"misfire": "latest", "misfire_grace": "30s"}, [5], 5),
        ({"misfire": "latest", "misfire_grace": "29s"}, [], 6),
        ({"misfire": "all"}, [0, 1, 2, 3, 4, 5], 0),
        ({"misfire": "all", "misfire_grace": "100s"}, [4, 5], 4),
        ({"misfire": "all", "misfire_grace": "5s"}, [], 6),
        ({"misfire": "skip"}, [], 6),
        ({"misfire": "skip", "misfire_grace": "1h"}, [], 6),
        ({"misfire": "all", "limit": 2}, [0, 1], 0),
        ({"misfire": "latest", "limit": 2}, [5], 5),
    ],
    ids=str,
)
def test_late_fires_are_dealt_with_by_the_policy(
    schedule: Schedule, policy: dict[str, Any], fires: list[int], missed: int
) -> None:
    """Five and a half minutes after the first of six."""
    plans = plan(schedule, 5.5 * MINUTE, **policy)
    following = START + (len(fires) if "limit" in policy and len(fires) == 2 else 6) * MINUTE

    assert ([number * MINUTE for number in fires], missed, following, "") == (
        *(fired(plans), plans.missed, plans.next_at, plans.end),
    )


@pytest.mark.parametrize("misfire", ["latest", "skip"])
def test_one_in_time_stands_for_those_that_were_missed(misfire: Any) -> None:
    """There is one run, not two."""
    plans = plan(MINUTELY, 5 * MINUTE + SECOND, misfire=misfire)

    assert ([5 * MINUTE], 5) == (fired(plans), plans.missed)


def test_a_single_instant_is_made_up_for_or_not() -> None:
    """After it there is nothing."""
    assert FirePlan(fires=(START,), end="finished") == plan(Once(START), DAY)
    assert FirePlan(missed=1, end="finished") == plan(Once(START), DAY, misfire="skip")
    assert FirePlan(missed=1, end="finished") == plan(Once(START), DAY, misfire_grace="1h")


# --- the work of one plan is bounded -----------------------------------------------------------------------------


def test_a_long_outage_of_a_cron_entry_is_walked_over_in_steps() -> None:
    """The cursor goes on, counts what it passes, and the last step makes the one run."""
    spec = spec_of(MINUTELY)
    now = START + 2 * DAY + 30 * SECOND
    cursor: datetime | None = START
    steps: list[tuple[int, int]] = []

    while cursor is not None and cursor <= now:
        step = plan_fire(spec, entry_id="e", cursor=cursor, now=now, run_count=0)
        steps.append((len(step.fires), step.missed))
        cursor = step.next_at

    assert [(0, MOST_SLOTS), (0, MOST_SLOTS), (1, 880)] == steps
    assert START + 2 * DAY + MINUTE == cursor


def test_a_long_outage_of_a_period_is_computed() -> None:
    """In one step, however many there are."""
    plans = plan(Every("10ms"), 3650 * DAY, misfire="all", misfire_grace="3s")

    assert MOST_FIRES == len(plans.fires)
    assert 3650 * 86_400 * 100 - 300 == plans.missed
    assert plans.fires[-1] + 10 * MS == plans.next_at


def test_no_more_runs_are_made_than_storage_takes_in_one_step() -> None:
    """The next plan goes on where this one got to."""
    plans = plan(MINUTELY, DAY, misfire="all")

    assert (MOST_FIRES, 0, START + MOST_FIRES * MINUTE) == (len(plans.fires), plans.missed, plans.next_at)


# --- bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [MINUTELY, Every(MINUTE)])
def test_nothing_fires_after_the_end(schedule: Schedule) -> None:
    """The end itself counts; what was missed before it is made up for."""
    assert FirePlan(fires=(START,), next_at=START + MINUTE) == plan(schedule, 0 * SECOND, end_at=START + MINUTE)
    assert FirePlan(fires=(START,), end="finished") == plan(schedule, 0 * SECOND, end_at=START + MINUTE - MS)

    late = plan(schedule, DAY, end_at=START + 2 * MINUTE)
    assert ([2 * MINUTE], 2, "finished") == (fired(late), late.missed, late.end)


def test_an_entry_at_its_limit_is_finished() -> None:
    """It fires no more, whatever is due."""
    assert FirePlan(end="finished") == plan(MINUTELY, DAY, limit=3, run_count=3)
    assert 1 == len(plan(MINUTELY, DAY, limit=3, run_count=2, misfire="all").fires)


# --- after completion --------------------------------------------------------------------------------------------

FIXED_DELAY = Every("10s", after_completion=True)


@pytest.mark.parametrize(
    ("late", "policy", "expected"),
    [
        (SECOND, {}, FirePlan((START,), 0, None, "completion", 10 * SECOND)),
        (DAY, {}, FirePlan((START,), 0, None, "completion", 10 * SECOND)),
        (DAY, {"misfire": "skip"}, FirePlan((), 1, None, "completion", 10 * SECOND)),
        (DAY, {"misfire_grace": "1h"}, FirePlan((), 1, None, "completion", 10 * SECOND)),
        (SECOND, {"end_at": START + 5 * SECOND}, FirePlan((START,), 0, None, "finished")),
        (SECOND, {"end_at": START - MS}, FirePlan((), 0, None, "finished")),
        (SECOND, {"limit": 1}, FirePlan((START,), 0, None, "completion", 10 * SECOND)),
    ],
    ids=str,
)
def test_a_fixed_delay_counts_from_completions(late: timedelta, policy: dict[str, Any], expected: FirePlan) -> None:
    """The backend adds it when the run has ended."""
    assert expected == plan(FIXED_DELAY, late, **policy)


def test_a_fixed_delay_can_have_jitter() -> None:
    """On top of the delay."""
    after = plan(FIXED_DELAY, SECOND, jitter="5s").after

    assert 10 * SECOND < after < 15 * SECOND


# --- the first fire ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "policy", "expected"),
    [
        (MINUTELY, {}, START + MINUTE),
        (Every("90s"), {}, START + 90 * SECOND),
        (FIXED_DELAY, {}, START + 10 * SECOND),
        (Once(START + DAY), {}, START + DAY),
        (Once(START), {}, None),
        (Cron("0 0 30 2 *"), {}, None),
        (MINUTELY, {"start_at": START - DAY}, START + MINUTE),
        (MINUTELY, {"start_at": START + DAY}, START + DAY),
        (MINUTELY, {"start_at": START + DAY + MS}, START + DAY + MINUTE),
        (Every("90s"), {"start_at": START + DAY}, START + DAY),
        (FIXED_DELAY, {"start_at": START + DAY}, START + DAY),
        (MINUTELY, {"end_at": START + 59 * SECOND}, None),
        (MINUTELY, {"end_at": START + MINUTE}, START + MINUTE),
        (FIXED_DELAY, {"end_at": START + SECOND}, None),
    ],
    ids=str,
)
def test_the_first_fire_of_an_entry(schedule: Schedule, policy: dict[str, Any], expected: datetime | None) -> None:
    """Strictly after now, within its bounds; the start itself counts."""
    assert expected == first_fire(spec_of(schedule, **policy), entry_id="e", now=START)


def test_hashed_fields_differ_from_entry_to_entry() -> None:
    """And are the same for one."""
    spec = spec_of(Cron("H H * * *"))
    fires = {first_fire(spec, entry_id=f"entry-{number}", now=START) for number in range(20)}

    assert len(fires) > 15
    assert first_fire(spec, entry_id="a", now=START) == first_fire(spec, entry_id="a", now=START)


def test_a_zone_that_changes_its_clocks_is_no_trouble() -> None:
    """Berlin repeats an hour; Python would compare its readings as if it did not."""
    schedule = Cron("*/30 * * * *", tz="Europe/Berlin")
    before = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    plans = plan(schedule, timedelta(hours=3), cursor=before, misfire="all")

    assert [before + number * 30 * MINUTE for number in range(7)] == list(plans.fires)


# --- jitter ------------------------------------------------------------------------------------------------------

schedules = st.sampled_from(
    [
        MINUTELY,
        Every("7s"),
        Every("1500ms"),
        Cron("*/10 * 9 * * *"),
        Cron("0 9 * * mon", tz="Europe/Berlin"),
        Cron("0 0 1 1 *"),
        Once(START + DAY),
    ]
)
jitters = st.sampled_from([None, "1ms", "3s", "10m", "30h"])
entry_ids = st.text("abc", min_size=1, max_size=5)


@settings(deadline=None)
@given(schedules, jitters, entry_ids)
def test_jitter_moves_each_fire_less_than_to_the_next(schedule: Schedule, jitter: str | None, entry_id: str) -> None:
    """By the same on every node; the fire is still known by the time it was scheduled for."""
    spec = spec_of(schedule, jitter=jitter)
    cursor = first_fire(spec, entry_id=entry_id, now=START)
    slots = spec.schedule.upcoming(START, 5)

    for slot in slots:
        assert cursor is not None
        following = spec.schedule.next_after(slot)
        assert slot <= cursor
        assert following is None or cursor < following

        plans = plan_fire(spec, entry_id=entry_id, cursor=cursor, now=cursor, run_count=0)
        assert ((slot,), 0) == (plans.fires, plans.missed)
        assert plans == plan_fire(spec, entry_id=entry_id, cursor=cursor, now=cursor, run_count=0)
        cursor = plans.next_at

    assert ((cursor is None) is (len(slots) < 5)) or isinstance(schedule, Once)


def test_jitter_spreads_entries() -> None:
    """Over the whole of it."""
    spec = spec_of(Cron("@daily"), jitter="1h")
    offsets = {first_fire(spec, entry_id=f"e{number}", now=START) for number in range(200)}

    assert 195 < len(offsets)
    assert min(filter(None, offsets)) < START + DAY + 5 * MINUTE
    assert max(filter(None, offsets)) > START + DAY + 55 * MINUTE


@settings(deadline=None, max_examples=150)
@given(
    schedule=schedules,
    jitter=jitters,
    misfire=st.sampled_from(["latest", "all", "skip"]),
    grace=st.sampled_from([None, "0s", "20s", "1h"]),
    late=st.sampled_from([0, 1, 2, 30, 100, 3600, 100_000]),
    end_at=st.sampled_from([None, START + 2 * MINUTE, START + 40 * DAY]),
)
def test_every_slot_is_fired_or_missed_exactly_once(
    *, schedule: Schedule, jitter: str | None, misfire: Any, grace: str | None, late: int, end_at: datetime | None
) -> None:
    """Over as many plans as it takes; and in the order of time."""
    spec = spec_of(schedule, jitter=jitter, misfire=misfire, misfire_grace=grace, end_at=end_at)
    cursor = first_fire(spec, entry_id="e", now=START)

    if cursor is None:
        return

    now = cursor + timedelta(seconds=late)
    fires: list[datetime] = []
    missed = steps = 0

    while cursor is not None and cursor <= now:
        step = plan_fire(spec, entry_id="e", cursor=cursor, now=now, run_count=0)
        assert step.next_at is None or step.next_at > cursor
        assert (step.next_at is None) is (step.end == "finished")
        fires += step.fires
        missed += step.missed
        cursor = step.next_at
        steps += 1
        assert steps < 1000

    due = 0
    slot = spec.schedule.next_after(START)

    while slot is not None and slot <= (end_at or slot) and (cursor is None or slot < cursor) and slot <= now:
        due += 1
        slot = spec.schedule.next_after(slot)

    # A slot that has come, but not yet its jitter, is what the cursor waits for.
    waiting = cursor is not None and any(_slot_waits(spec, cursor, now))
    assert due - waiting == len(fires) + missed
    assert sorted(set(fires)) == fires


def test_no_slot_of_a_period_of_parts_of_a_millisecond_is_passed_over_twice_or_not_at_all() -> None:
    """Storage counts in milliseconds, and a period need not.

    Break: the newest that was missed is looked for from the millisecond of the oldest, which is up to one too late.
    """
    spec = spec_of(Every("1.23ms"))
    stored = [from_ms(to_ms(slot)) for slot in spec.schedule.upcoming(START, 3000)]

    for number in range(60):
        late = plan_fire(spec, entry_id="e", cursor=stored[number], now=stored[-2], run_count=0)
        passed = stored.index(late.fires[0]) - number

        assert (passed, stored[number + passed + len(late.fires)]) == (late.missed, late.next_at)


def test_what_is_made_up_for_has_the_time_of_its_slot_whatever_part_of_a_millisecond_that_has() -> None:
    """As the last before the end is looked for from any of them."""
    slots = Every("2.164394s", anchor=START).upcoming(START, 100)
    stored = [from_ms(to_ms(slot)) for slot in slots]
    spec = spec_of(Every("2.164394s"), end_at=stored[-1] + SECOND)

    for number, cursor in enumerate(stored[:-1]):
        late = plan_fire(spec, entry_id="e", cursor=cursor, now=stored[-1] + MINUTE, run_count=0)

        assert FirePlan((stored[-1],), len(stored) - number - 1, None, "finished") == late


def _slot_waits(spec: EntrySpec, cursor: datetime, now: datetime) -> list[bool]:
    """Whether the slot that fires at the cursor is not after now."""
    due = plan_fire(spec, entry_id="e", cursor=cursor, now=cursor, run_count=0)
    return [slot <= now for slot in due.fires]


# --- equal on all machines ---------------------------------------------------------------------------------------


def test_the_offset_of_a_fire_never_changes() -> None:
    """Two versions of this program run side by side: a change here would move fires under their feet."""
    spec = spec_of(MINUTELY, jitter="30s")
    first = first_fire(spec, entry_id="e", now=START)

    assert first is not None
    assert 60_000 + JITTER_MS == to_ms(first) - to_ms(START)


JITTER_MS = 4329


def test_instants_may_be_given_in_any_zone() -> None:
    """Only the instant counts."""
    spec = spec_of(MINUTELY)
    tokyo = START.astimezone(ZoneInfo("Asia/Tokyo"))

    assert plan_fire(spec, entry_id="e", cursor=START, now=START, run_count=0) == plan_fire(
        spec, entry_id="e", cursor=tokyo, now=tokyo, run_count=0
    )


@pytest.mark.parametrize(
    ("late", "policy", "expected"),
    [
        (-1, {}, (START + SECOND, 0)),
        (0, {}, (START, 0)),
        (2, {}, (START - 2 * SECOND, 0)),
        (2, {"misfire": "skip"}, (START - 2 * SECOND, 0)),
        (3, {}, (None, 1)),
        (3, {"misfire": "all"}, (None, 1)),
        (60, {"misfire_grace": "1m"}, (START - 60 * SECOND, 0)),
        (61, {"misfire_grace": "1m"}, (None, 1)),
        (60, {"misfire_grace": "1m", "misfire": "skip"}, (None, 1)),
        (2, {"misfire_grace": "1ms"}, (START - 2 * SECOND, 0)),
        (3, {"end_at": START - 5 * SECOND}, (None, 0)),
        (3, {"start_at": START}, (None, 0)),
    ],
)
def test_a_single_instant_that_has_passed_is_missed_or_fires_at_once(
    late: int, policy: dict[str, Any], expected: tuple[datetime | None, int]
) -> None:
    """In time, or within a grace that was given; what is outside of the entry's bounds never was a fire.

    Break: the entry is finished, and nothing says that it never ran.
    """
    spec = spec_of(Once(START - late * SECOND), **policy)
    assert expected == first_or_missed(spec, entry_id="e", now=START)


def test_a_single_instant_may_be_put_off_beyond_now() -> None:
    """It is waited for."""
    spec = spec_of(Once(START - 60 * SECOND), jitter="1000h")
    first, missed = first_or_missed(spec, entry_id="e", now=START)

    assert first is not None
    assert (True, 0) == (first > START, missed)


@pytest.mark.parametrize(("bound", "is_within"), [("start_at", False), ("end_at", True)])
def test_the_bounds_of_a_single_instant_are_instants_too(bound: str, is_within: bool) -> None:
    """In an hour that is shown twice, 02:50 is before the second 02:10.

    Break: two datetimes of one zone are compared, which Python does by what clocks show.
    """
    first = datetime(2026, 10, 25, 2, 50, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(minute=10, fold=1)
    now = second.astimezone(UTC)

    assert (first.astimezone(UTC) if is_within else None, 0) == first_or_missed(
        spec_of(Once(first), misfire_grace="1h", **{bound: second}), entry_id="e", now=now
    )


def test_of_a_rule_with_more_instants_none_is_missed_before_it_is_there() -> None:
    """An entry begins when it is stored."""
    assert (None, 0) == first_or_missed(spec_of(MINUTELY, end_at=START - SECOND), entry_id="e", now=START)
