"""Instants and lengths that are too far: refused where they are written, and harmless where they are stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anysched.backends.records import EntryRecord, RunRecord
from anysched.clock import LATEST_MS, from_ms
from anysched.config import SchedulerConfig
from anysched.durations import LONGEST
from anysched.entry import EntryPolicy, EntrySpec, plan_fire
from anysched.errors import InvalidConfig, InvalidDuration, InvalidOption
from anysched.lock import Lock
from anysched.registry import Registry
from anysched.retry import RetryAfter, Snooze
from anysched.runtime.requesting import entry_of, run_info
from anysched.schedules import Cron, Every, Once

LAST = datetime.max.replace(tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOME = Registry()


@HOME.job
def work() -> None: ...


TAKES_A_LENGTH: dict[str, Callable[[Any], object]] = {
    **{
        name: lambda length, name=name: work.options(**{name: length})
        for name in ("delay", "timeout", "expires", "deadline", "result_ttl")
    },
    **{
        f"{name} of a job": lambda length, name=name: Registry().job(**{name: length})(work.function)
        for name in ("timeout", "expires", "result_ttl")
    },
    "misfire_grace": lambda length: EntryPolicy(misfire_grace=length),
    "jitter": lambda length: EntryPolicy(jitter=length),
    "retry": RetryAfter,
    "snooze": Snooze,
    "ttl": lambda length: Lock(ttl=length),
}


@pytest.mark.parametrize("take", TAKES_A_LENGTH.values(), ids=TAKES_A_LENGTH.keys())
@pytest.mark.parametrize("length", [timedelta.max, timedelta(days=9_999_999), "99999999h", 10**12], ids=str)
def test_a_length_beyond_a_thousand_years_is_refused(take: Callable[[Any], object], length: Any) -> None:
    """Wherever storage counts with it; the error says what is allowed.

    Break: it is taken, and whoever looks at the run, or at a list with it, gets an OverflowError.
    """
    take(LONGEST)

    with pytest.raises(InvalidDuration, match="expected at most 365000 days"):
        take(length)


def test_a_length_beyond_a_thousand_years_is_no_configuration() -> None:
    """A lease is stored, too."""
    with pytest.raises(InvalidConfig, match=r"invalid lease .*: expected at most 365000 days"):
        SchedulerConfig(lease=timedelta.max)


TAKES_AN_INSTANT: dict[str, Callable[[datetime], object]] = {
    "at": lambda at: work.options(at=at),
    "expires": lambda at: work.options(expires=at),
    "deadline": lambda at: work.options(deadline=at),
    "start_at": lambda at: EntryPolicy(start_at=at),
    "end_at": lambda at: EntryPolicy(end_at=at),
    "at of an entry": lambda at: EntrySpec.of(Once(at), work.bind(), EntryPolicy()),
    "at of a declaration": lambda at: Registry().once(at)(work.function),
}


@pytest.mark.parametrize("take", TAKES_AN_INSTANT.values(), ids=TAKES_AN_INSTANT.keys())
def test_an_instant_after_the_year_9000_is_refused(take: Callable[[datetime], object]) -> None:
    """A thousand years after any other are an instant that can be shown."""
    take(datetime(8999, 12, 31, 23, 59, tzinfo=UTC))
    assert LAST > datetime(8999, 12, 31, 23, 59, tzinfo=UTC) + LONGEST

    for at in (LAST, datetime(9000, 1, 1, tzinfo=UTC)):
        with pytest.raises(InvalidOption, match=r"invalid \w+ '9\d{3}-.*: expected an instant before the year 9000"):
            take(at)


@pytest.mark.parametrize("far", [LATEST_MS + 1, 10**15, 10**17, 1 << 60])
def test_an_instant_that_is_stored_and_too_far_is_shown_as_the_latest(far: int) -> None:
    """Of a run and of an entry: a list with it in it can be read.

    Break: `info()` and `runs()` raise OverflowError for all.
    """
    run = RunRecord(id="r", job="work", status="scheduled", due_ms=far, expires_at_ms=far, deadline_ms=far)
    info = run_info(run)
    spec = EntrySpec(schedule=Cron("@daily"), job="work")
    entry = entry_of(EntryRecord(id="e", spec=spec.to_text(), revision="r", status="active", next_ms=far, last_ms=far))

    assert (LAST, LAST, LAST) == (info.due_at, info.expires_at, info.deadline)
    assert (LAST, LAST) == (entry.next_run_at, entry.last_run_at)
    assert datetime.min.replace(tzinfo=UTC) == from_ms(-far)


def test_a_stored_length_that_is_too_long_is_read_as_the_longest() -> None:
    """An entry that was stored before there was a longest goes on."""
    text = EntrySpec(schedule=Cron("@daily"), job="work", policy=EntryPolicy(misfire_grace="1h", jitter="1h")).to_text()
    longer = text.replace('_ms":3600000', f'_ms":{10**15}')
    policy = EntrySpec.from_text(longer).policy

    assert (LONGEST, LONGEST) == (policy.misfire_grace, policy.jitter)


def test_a_fixed_delay_that_leads_past_the_calendar_is_the_end() -> None:
    """The entry has had its last fire."""
    rule = Every(timedelta.max, after_completion=True)
    spec = EntrySpec(schedule=rule, job="work", policy=EntryPolicy(jitter="1h"))
    plan = plan_fire(spec, entry_id="e", cursor=NOON, now=NOON, run_count=0)

    assert ((NOON,), "finished") == (plan.fires, plan.end)
