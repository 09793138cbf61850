"""Cron expressions where clocks jump: known cases, and every case against the rule's own words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysched.schedules import Cron

DST = Literal["default", "literal"]


def fires(expression: str, zone: str, start: str, end: str, dst: DST = "default") -> list[str]:
    """The fires after one reading of the zone's clocks, up to another, as readings with offsets."""
    tz = ZoneInfo(zone)
    cron = Cron(expression, tz=tz, dst=dst)
    until = datetime.fromisoformat(end).replace(tzinfo=tz).astimezone(UTC)
    instant: datetime | None = datetime.fromisoformat(start).replace(tzinfo=tz)
    found: list[str] = []

    while (instant := cron.next_after(instant) if instant else None) is not None and instant.astimezone(UTC) <= until:
        # Whole hours of the offset are enough, but for the local times of old, which have minutes and seconds.
        offset = f"{instant:%z}"
        found.append(f"{instant:%d %H:%M}{offset[:-2]}")

    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["28 02:30+01", "29 03:00+02", "30 02:30+02"]),
        ("0,30 2 * * *", ["28 02:00+01", "28 02:30+01", "29 03:00+02", "30 02:00+02", "30 02:30+02"]),
        ("30 2,3 29 * *", ["29 03:00+02", "29 03:30+02"]),
        ("0 2,3 29 * *", ["29 03:00+02"]),
        ("30 2-2 * * *", ["28 02:30+01", "30 02:30+02"]),
        ("*/30 1-3 29 * *", ["29 01:00+01", "29 01:30+01", "29 03:00+02", "29 03:30+02"]),
        ("0 */2 29 * *", [f"29 {hour:02}:00+{'01' if hour < 2 else '02'}" for hour in range(0, 24, 2) if hour != 2]),
        ("@daily", ["29 00:00+01", "30 00:00+02"]),
        ("30 2 29 3 sun", ["29 03:00+02"]),
    ],
)
def test_a_gap_in_berlin(expression: str, expected: list[str]) -> None:
    """On 2026-03-29 02:00-03:00 does not exist: fixed expressions run at its end, once; the others leave it out."""
    assert expected == fires(expression, "Europe/Berlin", "2026-03-28T00:00", "2026-03-30T23:59")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["24 02:30+02", "25 02:30+02", "26 02:30+01"]),
        ("0 2,3 25 * *", ["25 02:00+02", "25 03:00+01"]),
        ("0 2-3 25 * *", ["25 02:00+02", "25 02:00+01", "25 03:00+01"]),
        ("*/30 2 25 * *", ["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01"]),
        ("*/20 1-3 25 * *", ["25 01:00+02", "25 01:20+02", "25 01:40+02", "25 02:00+02", "25 02:20+02", "25 02:40+02",
                             "25 02:00+01", "25 02:20+01", "25 02:40+01", "25 03:00+01", "25 03:20+01", "25 03:40+01"]),
    ],
)  # fmt: skip
def test_a_repeated_hour_in_berlin(expression: str, expected: list[str]) -> None:
    """On 2026-10-25 02:00-03:00 comes twice: fixed expressions run at the first, the others at both."""
    assert expected == fires(expression, "Europe/Berlin", "2026-10-24T00:00", "2026-10-26T23:59")


def test_literal_runs_at_every_reading_that_exists() -> None:
    """With dst="literal" a gap swallows fixed fires too, and a repeated hour repeats them."""
    assert ["28 02:30+01", "30 02:30+02"] == fires(
        "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00", "2026-03-30T23:59", "literal"
    )
    assert ["25 02:30+02", "25 02:30+01"] == fires(
        "30 2 * * *", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T23:59", "literal"
    )


@pytest.mark.parametrize(
    ("expression", "zone", "start", "end", "expected"),
    [
        # half an hour forward at 02:00, and back at 02:00
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00", "2026-10-05T12:00", ["04 02:30+11", "05 02:15+11"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-06T12:00", ["05 01:45+11", "06 01:45+10"]),
        ("*/15 1 5 4 *", "Australia/Lord_Howe", "2026-04-05T00:01", "2026-04-05T12:00",
         ["05 01:00+11", "05 01:15+11", "05 01:30+11", "05 01:45+11", "05 01:30+10", "05 01:45+10"]),
        # no 30 December 2011
        ("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00", "2011-12-31T12:00",
         ["29 09:00-10", "31 00:00+14", "31 09:00+14"]),
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-29T00:00", "2012-01-31T12:00", ["31 00:00+14"]),
        ("0 */6 * * *", "Pacific/Apia", "2011-12-29T17:00", "2011-12-31T07:00",
         ["29 18:00-10", "31 00:00+14", "31 06:00+14"]),
        # no midnight, and two of them
        ("@daily", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-05T12:00", ["04 01:00-02", "05 00:00-02"]),
        ("0 0,1 * * *", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-04T12:00", ["04 01:00-02"]),
        ("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00", "2018-02-18T23:59", ["17 23:30-02", "18 23:30-03"]),
        ("30 23 17 * *", "America/Sao_Paulo", "2018-02-17T12:00", "2018-02-18T23:59", ["17 23:30-02"]),
        ("*/30 23 17 * *", "America/Sao_Paulo", "2018-02-17T12:00", "2018-02-18T23:59",
         ["17 23:00-02", "17 23:30-02", "17 23:00-03", "17 23:30-03"]),
        # at midnight of UTC
        ("30 2 * * *", "Europe/Istanbul", "1978-04-01T00:00", "1978-04-03T12:00",
         ["01 02:30+02", "02 03:00+03", "03 02:30+03"]),
        # one minute past midnight, back to the day before
        ("30 23 * * *", "America/St_Johns", "2010-11-06T12:00", "2010-11-07T23:45", ["06 23:30-02", "07 23:30-03"]),
        ("*/30 23 6 * *", "America/St_Johns", "2010-11-06T12:00", "2010-11-07T12:00",
         ["06 23:00-02", "06 23:30-02", "06 23:30-03"]),
        # the day that came twice, by the clocks of two empires
        ("0 12 * * *", "America/Juneau", "1867-10-18T00:00", "1867-10-20T20:00",
         ["18 12:00+1502", "19 12:00+1502", "20 12:00-0857"]),
        ("30 15 * * *", "America/Juneau", "1867-10-18T00:00", "1867-10-20T20:00",
         ["18 15:30+1502", "19 15:30+1502", "20 15:30-0857"]),
        ("*/30 12 19 10 *", "America/Juneau", "1867-10-18T00:00", "1867-10-20T20:00",
         ["19 12:00+1502", "19 12:30+1502", "19 12:00-0857", "19 12:30-0857"]),
    ],
)  # fmt: skip
def test_unusual_jumps(expression: str, zone: str, start: str, end: str, expected: list[str]) -> None:
    """Half hours, whole days, midnights."""
    assert expected == fires(expression, zone, start, end)


def test_a_fire_at_the_end_of_a_gap_is_not_given_again() -> None:
    """What the gap put off is strictly before what comes next."""
    cron = Cron("0,15,30,45 2 * * *", tz="Europe/Berlin")
    end_of_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)

    assert end_of_gap == cron.next_after(end_of_gap - timedelta(microseconds=1))
    assert datetime(2026, 3, 30, 0, tzinfo=UTC) == cron.next_after(end_of_gap)


def test_a_question_from_within_the_repeated_hour_is_answered_with_the_next_day() -> None:
    """A fixed expression has run at the first of the two readings, whoever asks between the two and after."""
    cron = Cron("30 2 * * *", tz="Europe/Berlin")
    expected = datetime(2026, 10, 26, 1, 30, tzinfo=UTC)

    for asked in ("2026-10-25T00:30", "2026-10-25T00:59", "2026-10-25T01:00", "2026-10-25T01:10", "2026-10-25T01:30"):
        assert expected == cron.next_after(datetime.fromisoformat(asked).replace(tzinfo=UTC))


# --- against the rule's own words --------------------------------------------------------------------------------


class Shown(NamedTuple):
    """What the clocks show at an instant."""

    instant: datetime
    reading: datetime


class Window(NamedTuple):
    """Some time around a transition."""

    zone: str
    transition: str
    hours: int
    step: timedelta


MINUTES = timedelta(minutes=1)
WINDOWS = [
    Window("Europe/Berlin", "2026-03-29T01:00", 30, MINUTES),
    Window("Europe/Berlin", "2026-10-25T01:00", 30, MINUTES),
    Window("Europe/Dublin", "2026-10-25T01:00", 30, MINUTES),
    Window("America/New_York", "2026-03-08T07:00", 30, MINUTES),
    Window("America/New_York", "2026-11-01T06:00", 30, MINUTES),
    Window("Australia/Lord_Howe", "2026-04-04T15:00", 30, MINUTES),
    Window("Australia/Lord_Howe", "2026-10-03T15:30", 30, MINUTES),
    Window("America/Sao_Paulo", "2018-02-18T02:00", 30, MINUTES),
    Window("America/Sao_Paulo", "2018-11-04T03:00", 30, MINUTES),
    Window("America/St_Johns", "2010-11-07T02:31", 30, MINUTES),
    Window("Antarctica/Troll", "2026-03-29T01:00", 30, MINUTES),
    Window("Antarctica/Troll", "2026-10-25T01:00", 30, MINUTES),
    Window("Asia/Kathmandu", "1985-12-31T18:30", 30, MINUTES),
    Window("Africa/Casablanca", "2026-02-15T02:00", 30, MINUTES),
    Window("Atlantic/Azores", "2026-03-29T01:00", 30, MINUTES),
    Window("Europe/Istanbul", "1978-04-02T00:00", 30, MINUTES),  # at midnight UTC, as the next one
    Window("Europe/Lisbon", "1985-09-29T00:00", 30, MINUTES),
    Window("Africa/Monrovia", "1972-01-07T00:44:30", 2, timedelta(seconds=1)),
    Window("Pacific/Apia", "2011-12-30T10:00", 60, MINUTES),
    Window("Pacific/Kwajalein", "1993-08-21T12:00", 60, MINUTES),
    Window("Europe/Berlin", "2026-03-29T01:00", 2, timedelta(seconds=1)),
    Window("Europe/Berlin", "2026-10-25T01:00", 2, timedelta(seconds=1)),
    Window("Australia/Lord_Howe", "2026-04-04T15:00", 2, timedelta(seconds=1)),
]


@cache
def clocks(window: Window) -> tuple[Shown, ...]:
    """What the clocks show at each instant of the window, one step apart."""
    tz: tzinfo = ZoneInfo(window.zone)
    middle = datetime.fromisoformat(window.transition).replace(tzinfo=UTC)
    start = middle - timedelta(hours=window.hours)
    count = int(timedelta(hours=2 * window.hours) / window.step)
    instants = (start + number * window.step for number in range(count))

    return tuple(Shown(instant, instant.astimezone(tz).replace(tzinfo=None, fold=0)) for instant in instants)


def readings(window: Window) -> Iterator[datetime]:
    """Every reading from the first to the last of the window, whether the clocks show it or not."""
    reading, last = clocks(window)[0].reading, clocks(window)[-1].reading

    while reading <= last:
        yield reading
        reading += window.step


@cache
def fixed_fires(window: Window) -> dict[datetime, datetime]:
    """When each reading runs by the rule for fixed expressions: the first time it is shown, else when its gap ends."""
    first_shown: dict[datetime, datetime] = {}

    for shown in clocks(window):
        first_shown.setdefault(shown.reading, shown.instant)

    return {
        reading: first_shown.get(reading) or next(shown.instant for shown in clocks(window) if shown.reading > reading)
        for reading in readings(window)
    }


class Times(NamedTuple):
    """One of the three fields of a time."""

    text: str
    values: frozenset[int]
    plain: bool


def times(high: int) -> st.SearchStrategy[Times]:
    value = st.integers(0, high)
    plain = st.lists(value, min_size=1, max_size=4).map(
        lambda values: Times(",".join(map(str, values)), frozenset(values), True)
    )
    ranges = st.tuples(value, value).map(
        lambda ends: Times(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)), False)
    )
    steps = st.integers(2, high + 1).map(lambda step: Times(f"*/{step}", frozenset(range(0, high + 1, step)), False))

    return st.one_of(plain, plain, plain, ranges, steps, st.just(Times("*", frozenset(range(high + 1)), False)))


def hours_near(window: Window) -> st.SearchStrategy[Times]:
    """Plain numbers of hours that the clocks show, or skip, around the transition."""
    middle = len(clocks(window)) // 2
    before, after = clocks(window)[middle - 1].reading, clocks(window)[middle].reading
    hours = sorted({(hour + shift) % 24 for hour in (before.hour, after.hour) for shift in (-1, 0, 1)})

    return st.lists(st.sampled_from(hours), min_size=1, max_size=3).map(
        lambda found: Times(",".join(map(str, found)), frozenset(found), True)
    )


@st.composite
def crons(draw: st.DrawFn, window: Window) -> tuple[Cron, list[Times]]:
    """A cron expression in UTC, with its fields: seconds, minutes and hours."""
    second = draw(times(59)) if window.step < MINUTES else Times("0", frozenset([0]), True)
    minute = draw(times(59))
    hour = draw(st.one_of(times(23), hours_near(window)))
    dst: DST = draw(st.sampled_from(["default", "literal"]))

    return Cron(f"{second.text} {minute.text} {hour.text} * * *", dst=dst), [second, minute, hour]


def fires_by_the_rule(window: Window, fields: list[Times], dst: DST) -> list[datetime]:
    """Every fire in the window, by the rule as it is worded."""
    second, minute, hour = fields

    def matches(reading: datetime) -> bool:
        return reading.hour in hour.values and reading.minute in minute.values and reading.second in second.values

    if dst == "default" and all(field.plain for field in fields):
        return sorted({instant for reading, instant in fixed_fires(window).items() if matches(reading)})

    return [shown.instant for shown in clocks(window) if matches(shown.reading)]


@pytest.mark.parametrize(
    "window", WINDOWS, ids=lambda window: f"{window.zone}-{window.transition}-{window.step.seconds}"
)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_fire_follows_from_the_rule(window: Window, data: st.DataObject) -> None:
    """Walking through real time step by step, and applying the rule as it is worded, gives the same fires."""
    cron, fields = data.draw(crons(window))
    shown = clocks(window)
    # Before the transition or soon after it, so that what comes next is known; not only on the steps.
    asked = data.draw(st.sampled_from(shown[: len(shown) * 3 // 4])).instant
    asked += timedelta(microseconds=data.draw(st.sampled_from([0, 1, 999_999])))

    expected = [instant for instant in fires_by_the_rule(window, fields, cron.dst) if instant > asked][:400]
    upcoming = cron.with_default_timezone(window.zone).upcoming(asked, len(expected) + 1)
    actual = [fire.astimezone(UTC) for fire in upcoming]

    assert expected == actual[: len(expected)]
    assert len(expected) == 400 or actual[-1] > shown[-1].instant
