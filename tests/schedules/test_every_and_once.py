"""Periods and single instants."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.errors import InvalidDuration, InvalidSchedule, NaiveDatetime
from anysched.schedules import Every, Once

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "period"),
    [
        (Every("90s"), timedelta(seconds=90)),
        (Every(90), timedelta(seconds=90)),
        (Every(minutes=15), timedelta(minutes=15)),
        (Every(timedelta(hours=1)), timedelta(hours=1)),
        (Every(weeks=1, days=1, hours=1, minutes=1, seconds=1, milliseconds=1), timedelta(8, 3661, 1000)),
        (Every(hours=1.5), timedelta(minutes=90)),
        (Every(seconds=0.1), timedelta(milliseconds=100)),
        (Every(hours=2, minutes=-30), timedelta(minutes=90)),
        (Every("1ms"), timedelta(milliseconds=1)),
    ],
)
def test_a_period_is_written_in_many_ways(every: Every, period: timedelta) -> None:
    """A length of time, or keywords that add up."""
    assert period == every.period


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"period": 0}, {"period": "0s"}, {"period": "999us"}, {"period": "-1s"}, {"period": True},
        {"period": "soon"},
        {"minutes": 0}, {"minutes": -1}, {"minutes": True}, {"minutes": "5"}, {"minutes": "5s"}, {"minutes": None},
        {"minutes": float("nan")}, {"minutes": float("inf")}, {"weeks": 10**15}, {"weeks": 10**6000},
        {"period": "5s", "minutes": 1},
        {"milliseconds": 0.1}, {"period": 1e300},
    ],
)  # fmt: skip
def test_a_period_that_is_none_is_refused(arguments: dict[str, Any]) -> None:
    """Nothing, zero, less than a millisecond, two at once, and what is no number."""
    with pytest.raises(InvalidDuration, match=r"^invalid \w+ .*: expected "):
        Every(**arguments)


def test_slots_are_whole_periods_from_the_anchor_on_either_side() -> None:
    """The anchor sets the phase, not the beginning."""
    every = Every("1h", anchor=NOON + timedelta(minutes=10))

    assert NOON + timedelta(minutes=10) == every.next_after(NOON)
    assert NOON + timedelta(minutes=70) == every.next_after(NOON + timedelta(minutes=10))
    assert NOON - timedelta(minutes=50) == every.next_after(NOON - timedelta(minutes=51))


@given(
    st.integers(1_000, 10**12),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, BERLIN])),
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, BERLIN])),
)
def test_slots_do_not_drift(period: int, anchor: datetime, instant: datetime) -> None:
    """The next slot is after the instant, one period at most, and a whole number of periods from the anchor."""
    length = timedelta(microseconds=period)
    slot = Every(length, anchor=anchor).next_after(instant)

    assert slot is not None
    assert timedelta(0) < slot.astimezone(UTC) - instant.astimezone(UTC) <= length
    assert timedelta(0) == (slot.astimezone(UTC) - anchor.astimezone(UTC)) % length
    assert anchor.tzinfo is slot.tzinfo


def test_a_period_is_real_time_across_daylight_saving() -> None:
    """24 hours from noon in Berlin are 13:00 when the clocks go forward."""
    every = Every("24h", anchor=datetime(2026, 3, 28, 12, tzinfo=BERLIN))

    assert "2026-03-29T13:00:00+02:00" == every.upcoming(datetime(2026, 3, 28, 12, tzinfo=BERLIN), 1)[0].isoformat()


def test_without_an_anchor_the_next_slot_is_a_period_away() -> None:
    """It is anchored at the moment it is added; what has an anchor, or counts from completion, keeps what it has."""
    every = Every("90s")

    assert NOON + timedelta(seconds=90) == every.next_after(NOON)
    assert Every("90s", anchor=NOON) == every.anchored(NOON)
    assert Every("90s", anchor=NOON) == every.anchored(NOON).anchored(NOON + timedelta(seconds=1))
    assert Every("90s", after_completion=True) == Every("90s", after_completion=True).anchored(NOON)
    assert NOON + timedelta(seconds=90) == Every("90s", after_completion=True).next_after(NOON)


def test_an_anchor_that_cannot_be_is_refused() -> None:
    """Naive, no datetime at all, or together with after_completion."""
    wrong: Any = "2026-01-01"

    with pytest.raises(NaiveDatetime, match="anchor must be an aware datetime"):
        Every("1h", anchor=datetime(2026, 1, 1))

    with pytest.raises(NaiveDatetime, match="anchor must be an aware datetime"):
        Every("1h").anchored(datetime(2026, 1, 1))

    with pytest.raises(InvalidSchedule, match="invalid anchor '2026-01-01'"):
        Every("1h", anchor=wrong)

    with pytest.raises(InvalidSchedule, match="after_completion"):
        Every("1h", anchor=NOON, after_completion=True)


def test_past_the_end_of_the_calendar_there_is_no_slot() -> None:
    """It is None, not an overflow."""
    assert Every(timedelta.max).next_after(NOON) is None
    assert Every(timedelta.max, anchor=NOON).next_after(NOON) is None
    assert Every("1h").next_after(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))) is None
    assert Every("1h", anchor=NOON).next_after(datetime.max.replace(tzinfo=UTC)) is None


def test_once_fires_once() -> None:
    """Before its instant it is ahead, at it and after it there is nothing more."""
    once = Once(NOON)

    assert [NOON] == once.upcoming(NOON - timedelta(microseconds=1), 5)
    assert once.next_after(NOON) is None
    assert once.next_after(datetime(2026, 1, 1, 13, tzinfo=BERLIN)) is None
    assert NOON == once.next_after(datetime(2026, 1, 1, 12, 59, tzinfo=BERLIN))


def test_once_knows_the_two_readings_of_a_repeated_hour_apart() -> None:
    """02:30 comes twice on that day in Berlin, an hour apart."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    second = first.replace(fold=1)

    assert Once(first) != Once(second)
    assert second.utcoffset() == Once(second).upcoming(first, 1)[0].utcoffset()
    assert Once(first) == Once(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


@pytest.mark.parametrize("at", ["2026-01-01", None, 5])
def test_once_takes_an_aware_datetime_only(at: Any) -> None:
    """A naive one, and what is none, are refused."""
    with pytest.raises(InvalidSchedule, match="invalid at "):
        Once(at)

    with pytest.raises(NaiveDatetime, match="at must be an aware datetime"):
        Once(datetime(2026, 1, 1))


def test_schedules_are_values() -> None:
    """They compare and hash by what they mean, survive a pickle, and are readable as text."""
    elsewhere = NOON.astimezone(BERLIN)

    assert Once(NOON) == Once(elsewhere)
    assert hash(Once(NOON)) == hash(Once(elsewhere))
    assert hash(Every("1h", anchor=NOON)) == hash(Every("60m", anchor=elsewhere))
    assert Every("1h") != Every("1h", anchor=NOON)
    assert Every("1h") != Every("1h", after_completion=True)
    assert Every("1h", anchor=elsewhere) == pickle.loads(pickle.dumps(Every("1h", anchor=elsewhere)))
    assert "every 1m30s" == str(Every(90))
    assert "every 10s after completion" == str(Every(10, after_completion=True))
    assert "every 1h from 2026-01-01T12:00:00+00:00" == str(Every("1h", anchor=NOON))
    assert "once at 2026-01-01T13:00:00+01:00" == str(Once(elsewhere))
    assert Once(NOON) == Once(NOON).for_entry("a").with_default_timezone("Asia/Tokyo")


@pytest.mark.parametrize("count", [-1, 1.5, "3", True])
def test_a_number_of_fires_that_is_none_is_refused(count: Any) -> None:
    """Half a fire more would be one too many."""
    with pytest.raises(InvalidSchedule, match=r"invalid count .*: expected a whole number"):
        Every("1h", anchor=NOON).upcoming(NOON, count)

    assert [] == Every("1h", anchor=NOON).upcoming(NOON, 0)
