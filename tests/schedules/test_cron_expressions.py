"""What may be written as a cron expression, which dates and readings it stands for, and what is refused."""

from __future__ import annotations

import calendar
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysched.errors import InvalidSchedule, NaiveDatetime
from anysched.schedules import Cron

START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def fires(expression: str, count: int, start: datetime = START) -> list[str]:
    return [fire.strftime("%a %Y-%m-%d %H:%M:%S") for fire in Cron(expression).upcoming(start, count)]


# --- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", ["Thu 2026-01-01 00:05:00", "Thu 2026-01-01 00:10:00"]),
        ("*/25 * * * * *", ["Thu 2026-01-01 00:00:25", "Thu 2026-01-01 00:00:50", "Thu 2026-01-01 00:01:00"]),
        ("30 2 * * mon-fri", ["Thu 2026-01-01 02:30:00", "Fri 2026-01-02 02:30:00", "Mon 2026-01-05 02:30:00"]),
        ("@hourly", ["Thu 2026-01-01 01:00:00"]),
        ("@daily", ["Fri 2026-01-02 00:00:00"]),
        ("@Midnight", ["Fri 2026-01-02 00:00:00"]),
        ("@weekly", ["Sun 2026-01-04 00:00:00"]),
        ("@monthly", ["Sun 2026-02-01 00:00:00"]),
        ("@yearly", ["Fri 2027-01-01 00:00:00"]),
        ("@annually", ["Fri 2027-01-01 00:00:00"]),
        ("0 9 L * *", ["Sat 2026-01-31 09:00:00", "Sat 2026-02-28 09:00:00"]),
        ("0 9 * * mon#1", ["Mon 2026-01-05 09:00:00", "Mon 2026-02-02 09:00:00"]),
        ("0 9 * * 5L", ["Fri 2026-01-30 09:00:00", "Fri 2026-02-27 09:00:00"]),
        ("0 9 * * friL", ["Fri 2026-01-30 09:00:00"]),
        ("0 9 15W * *", ["Thu 2026-01-15 09:00:00", "Mon 2026-02-16 09:00:00"]),
        ("0 9 1W * *", ["Thu 2026-01-01 09:00:00", "Mon 2026-02-02 09:00:00"]),
        ("0 0 5-5 * *", ["Mon 2026-01-05 00:00:00", "Thu 2026-02-05 00:00:00"]),
        ("0 0 * * wed-wed", ["Wed 2026-01-07 00:00:00", "Wed 2026-01-14 00:00:00"]),
        ("0 0 * * 7", ["Sun 2026-01-04 00:00:00", "Sun 2026-01-11 00:00:00"]),
        ("0 0 * * fri-sun", ["Fri 2026-01-02 00:00:00", "Sat 2026-01-03 00:00:00", "Sun 2026-01-04 00:00:00"]),
        ("0 0 * * 5-7", ["Fri 2026-01-02 00:00:00", "Sat 2026-01-03 00:00:00", "Sun 2026-01-04 00:00:00"]),
        ("0 0 1 JAN,Jul *", ["Wed 2026-07-01 00:00:00", "Fri 2027-01-01 00:00:00"]),
        ("  0\t0  1 7   *  ", ["Wed 2026-07-01 00:00:00"]),
        ("05 007 * * *", ["Thu 2026-01-01 07:05:00"]),
        ("10-50/20,55 0 * * *", ["Thu 2026-01-01 00:10:00", "Thu 2026-01-01 00:30:00", "Thu 2026-01-01 00:50:00"]),
        ("*/60 * * * *", ["Thu 2026-01-01 01:00:00"]),
    ],
)
def test_an_expression_runs_at_the_times_it_names(expression: str, expected: list[str]) -> None:
    """Fields, names, steps, lists and the named expressions, as in crontab(5)."""
    assert expected == fires(expression, len(expected))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 13 * fri", ["Fri 2026-01-02", "Fri 2026-01-09", "Tue 2026-01-13"]),
        ("0 0 */1 * mon", ["Mon 2026-01-05", "Mon 2026-01-12"]),
        ("0 0 */10 * sun", ["Sun 2026-01-11", "Sun 2026-02-01"]),
        ("0 0 1-31 * mon", ["Fri 2026-01-02", "Sat 2026-01-03"]),
        ("0 0 10 * */1", ["Sat 2026-01-10", "Tue 2026-02-10"]),
        ("0 0 10 * 0-6", ["Fri 2026-01-02", "Sat 2026-01-03"]),
        ("0 0 10 * mon#1", ["Mon 2026-01-05", "Sat 2026-01-10", "Mon 2026-02-02"]),
        ("0 0 L * 5L", ["Fri 2026-01-30", "Sat 2026-01-31", "Fri 2026-02-27", "Sat 2026-02-28"]),
        ("0 0 15W,20 * sat#2", ["Sat 2026-01-10", "Thu 2026-01-15", "Tue 2026-01-20", "Sat 2026-02-14"]),
        ("0 0 * * mon#1,fri", ["Fri 2026-01-02", "Mon 2026-01-05", "Fri 2026-01-09"]),
        ("0 0 1,L * *", ["Sat 2026-01-31", "Sun 2026-02-01", "Sat 2026-02-28"]),
    ],
)
def test_either_day_field_is_enough_unless_one_starts_with_a_star(expression: str, expected: list[str]) -> None:
    """Vixie cron's rule goes by the first character of the field, and holds for L, W and # as well."""
    assert expected == [fire[:14] for fire in fires(expression, len(expected))]


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb *"])
def test_an_expression_that_can_never_fire_gives_none(expression: str) -> None:
    """There is no such date, and that is no error."""
    assert Cron(expression, tz="Europe/Berlin").next_after(START) is None
    assert [] == Cron(expression).upcoming(START, 3)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00:00", "Sun 2032-02-29 00:00:00"]),
        ("0 0 30 2 mon#5", ["Mon 2044-02-29 00:00:00", "Mon 2072-02-29 00:00:00", "Mon 2112-02-29 00:00:00"]),
        ("0 0 */28 2 mon", ["Mon 2027-02-01 00:00:00", "Mon 2038-02-01 00:00:00", "Mon 2044-02-01 00:00:00"]),
    ],
)
def test_a_rare_date_is_found_however_far_away(expression: str, expected: list[str]) -> None:
    """Leap days on one weekday are up to 40 years apart."""
    assert expected == fires(expression, len(expected))


def test_the_kind_of_a_year_comes_back_within_forty_years() -> None:
    """The search for a date may stop after 40 years: by then every kind of year has been seen, in any century."""
    kinds = [(date(year, 1, 1).weekday(), calendar.isleap(year)) for year in range(1600, 2401)]

    for index in range(400):
        assert kinds[index] in kinds[index + 1 : index + 41]
        assert set(kinds) == set(kinds[index : index + 41])


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "+14:00", "-12:00"])
def test_the_ends_of_the_calendar_are_no_error(zone: str) -> None:
    """Past the year 9999 there are no more fires; before the year 1 there are none that a datetime could show."""
    every_minute = Cron("* * * * *", tz=zone)
    yearly = Cron("0 0 31 12 *", tz=zone)

    for last in (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))):
        assert every_minute.next_after(last) is None
        assert yearly.next_after(last) is None

    for first in (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))):
        fire = every_minute.next_after(first)
        assert fire is not None
        assert (1, 1) == (fire.year, fire.month)

    assert 10 > len(yearly.upcoming(datetime(9995, 1, 1, tzinfo=UTC), 1000))


def test_fires_are_strictly_after_and_on_whole_seconds() -> None:
    """A microsecond before a fire gives that fire, the fire itself gives the next one."""
    cron = Cron("*/5 * * * *")
    fire = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)

    assert fire == cron.next_after(fire - timedelta(microseconds=1))
    assert fire + timedelta(minutes=5) == cron.next_after(fire)
    assert fire + timedelta(minutes=5) == cron.next_after(fire + timedelta(microseconds=1))


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "day of month"),
        ("* * * 0 *", "month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("60 * * * * *", "second"),
        ("-1 * * * *", "minute"),
        ("1.5 * * * *", "minute"),
        ("99999999999999999999 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/61 * * * *", "minute"),
        ("*/90 * * * *", "minute"),
        ("0-10/20 * * * *", "minute"),
        ("5/15 * * * *", "minute"),
        ("*/ * * * *", "minute"),
        ("*/5/5 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        (", * * * *", "minute"),
        ("1, * * * *", "minute"),
        ("*,5 * * * *", "minute"),
        ("1-2-3 * * * *", "minute"),
        ("10-5 * * * *", "minute"),
        ("0 22-2 * * *", "hour"),
        ("0 0 * nov-feb *", "month"),
        ("0 0 * * fri-mon", "day of week"),
        ("0 0 * monday *", "month"),
        ("0 0 * * monday", "day of week"),
        ("0 mon * * *", "hour"),
        ("R * * * *", "minute"),
        ("R(0-5) * * * *", "minute"),
        ("0 R/2 * * *", "hour"),
        ("H(5-70) * * * *", "minute"),
        ("H(9-5) * * * *", "minute"),
        ("H/0 * * * *", "minute"),
        ("H/1 * * * *", "minute"),
        ("H/61 * * * *", "minute"),
        ("H(0-5)/7 * * * *", "minute"),
        ("H(0-5 * * * *", "minute"),
        ("0 0 ? * 2", "day of month"),
        ("0 0 1 * ?", "day of week"),
        ("0 0 * * L", "day of week"),
        ("0 0 L-3 * *", "day of month"),
        ("0 0 LW * *", "day of month"),
        ("0 0 W15 * *", "day of month"),
        ("0 0 31W * *", "day of month"),
        ("0 0 0W * *", "day of month"),
        ("0 0 1-5W * *", "day of month"),
        ("L * * * *", "minute"),
        ("0 0 * L *", "month"),
        ("0 0 * * mon#0", "day of week"),
        ("0 0 * * mon#6", "day of week"),
        ("0 0 * * mon-fri#1", "day of week"),
        ("0 0 * * #1", "day of week"),
        ("0 0 * * L5", "day of week"),
        ("0 0 1#1 * *", "day of month"),
        ("", "expression"),
        ("   ", "expression"),
        ("* * * *", "expression"),
        ("* * * * * * *", "expression"),
        ("@reboot", "expression"),
        ("@every 5m", "expression"),
        ("@fortnightly", "expression"),
        ("@daily 5", "expression"),
        ("0 0 * * *\n0 1 * * *", "expression"),
        ("0 0 * * *\0", "expression"),
        ("\u0665 * * * *", "expression"),
        ("0\u00a00 * * *", "expression"),
        ("0 0 * * \u017fun", "expression"),
        pytest.param("0," * 5000 + "0 * * * *", "expression", id="long"),
        ("CRON_TZ=Europe/Berlin", "expression"),
        ("CRON_TZ=Mars/Olympus 0 0 * * *", "tz"),
        ("TZ= 0 0 * * *", "tz"),
    ],
)
def test_what_cannot_be_read_or_is_ambiguous_is_refused_when_written(expression: str, field: str) -> None:
    """The error names the field, shows the value, and says what is allowed."""
    with pytest.raises(InvalidSchedule, match=r"^invalid .*: expected ") as caught:
        Cron(expression)

    assert field == caught.value.field
    assert 600 > len(str(caught.value))


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["* * * * *"]])
def test_an_expression_that_is_no_text_is_refused(expression: Any) -> None:
    """The type is checked too, for callers without a type checker."""
    with pytest.raises(InvalidSchedule, match="invalid expression"):
        Cron(expression)


@pytest.mark.parametrize(
    "tz",
    [
        "", " ", "Mars/Olympus", "europe/berlin!", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules",
        "right/UTC", "Europe", "Europe/", "\0", "\ud800", pytest.param("a" * 1000, id="long"),
        "+24:00", "+5:30", "+05:60", "zone.tab", 5, b"UTC",
    ],
)  # fmt: skip
def test_a_zone_that_is_unknown_or_differs_between_machines_is_refused(tz: Any) -> None:
    """The error names tz and the value."""
    with pytest.raises(InvalidSchedule, match="invalid tz "):
        Cron("0 0 * * *", tz=tz)


def test_an_unknown_rule_for_daylight_saving_is_refused() -> None:
    """There are two."""
    rule: Any = "vixie"

    with pytest.raises(InvalidSchedule, match="invalid dst 'vixie': expected 'default' or 'literal'"):
        Cron("0 0 * * *", dst=rule)


def test_a_naive_instant_is_refused() -> None:
    """It is a ValueError that says so."""
    with pytest.raises(NaiveDatetime, match="must be an aware datetime"):
        Cron("* * * * *").next_after(datetime(2026, 1, 1))

    with pytest.raises(ValueError, match="must be an aware datetime"):
        Cron("* * * * *").upcoming(datetime(2026, 1, 1), 1)


# --- zones -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "given"),
    [
        (Cron("0 9 * * *"), False),
        (Cron("0 9 * * *", tz="Europe/Berlin"), True),
        (Cron("0 9 * * *", tz=ZoneInfo("Europe/Berlin")), True),
        (Cron("CRON_TZ=Europe/Berlin 0 9 * * *"), True),
        (Cron("TZ=Europe/Berlin 0 9 * * *", tz="Europe/Berlin"), True),
    ],
)
def test_a_default_zone_is_taken_only_where_none_was_named(cron: Cron, given: bool) -> None:
    """A zone counts as named in tz as well as in front of the expression; what was set once stays."""
    placed = cron.with_default_timezone("Asia/Tokyo")

    assert given == cron.tz_given
    assert Cron("0 9 * * *", tz="Europe/Berlin" if given else "Asia/Tokyo") == placed
    assert placed == placed.with_default_timezone("America/New_York")


def test_two_zones_that_disagree_are_refused() -> None:
    """An expression that names a zone cannot be given another one."""
    with pytest.raises(
        InvalidSchedule, match="invalid tz 'Asia/Tokyo': expected the zone that the expression itself names"
    ):
        Cron("CRON_TZ=Europe/Berlin 0 9 * * *", tz="Asia/Tokyo")


@pytest.mark.parametrize(
    ("tz", "expected"),
    [
        ("Europe/Berlin", "2026-01-02T09:00:00+01:00"),
        ("+05:30", "2026-01-02T09:00:00+05:30"),
        (timezone(-timedelta(hours=9, minutes=30)), "2026-01-01T09:00:00-09:30"),
        (timezone(timedelta(seconds=1)), "2026-01-02T09:00:00+00:00:01"),
        (timezone(timedelta(microseconds=-1)), "2026-01-02T09:00:00-00:00:00.000001"),
        ("UTC", "2026-01-02T09:00:00+00:00"),
    ],
)
def test_an_answer_is_in_the_zone_of_the_schedule(tz: str | tzinfo, expected: str) -> None:
    """Whatever the zone of the question, any tzinfo will do."""
    fire = Cron("0 9 * * *", tz=tz).next_after(datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=-5))))

    assert fire is not None
    assert expected == fire.isoformat()


# --- values ------------------------------------------------------------------------------------------------------


def test_schedules_are_values() -> None:
    """They compare and hash by what they mean, survive a pickle, and are readable as text."""
    cron = Cron("0 8 * * mon-fri", tz="Europe/Berlin")

    assert cron == Cron("0  8 * * mon-fri ", tz=ZoneInfo.no_cache("Europe/Berlin"))
    assert hash(cron) == hash(Cron("CRON_TZ=Europe/Berlin 0 8 * * mon-fri"))
    assert cron == pickle.loads(pickle.dumps(cron))
    assert cron != Cron("0 8 * * mon-fri")
    assert cron != Cron("0 8 * * mon-fri", tz="Europe/Berlin", dst="literal")
    assert Cron("@daily") == Cron("@daily", tz="UTC") == Cron("@daily", tz=ZoneInfo("UTC"))
    assert "0 8 * * mon-fri (Europe/Berlin)" == str(cron)
    assert "@daily (UTC, literal)" == str(Cron("@daily", dst="literal"))


# --- H -----------------------------------------------------------------------------------------------------------


def test_h_needs_an_entry() -> None:
    """Without an id there is nothing to make the value from, and the error says so."""
    with pytest.raises(InvalidSchedule, match="an entry's id for H"):
        Cron("H * * * *").next_after(START)


@pytest.mark.parametrize(
    ("expression", "part", "low", "high"),
    [
        ("H H * * *", "minute", 0, 59),
        ("H H * * *", "hour", 0, 23),
        ("H * * * * *", "second", 0, 59),
        ("0 0 H * *", "day", 1, 28),
        ("0 0 1 H *", "month", 1, 12),
        ("H(10-20) * * * *", "minute", 10, 20),
        ("H(30-30) * * * *", "minute", 30, 30),
        ("0 H(9-16) * * *", "hour", 9, 16),
    ],
)
def test_h_is_one_value_within_its_bounds(expression: str, part: str, low: int, high: int) -> None:
    """Alone it is one value of the field, the 28th at most; in brackets, one of the range."""
    for number in range(50):
        upcoming = Cron(expression).for_entry(f"entry-{number}").upcoming(START, 3)
        values = {getattr(fire, part) for fire in upcoming}

        assert 1 == len(values)
        assert low <= min(values) <= high


@pytest.mark.parametrize(
    ("expression", "step", "low", "high"), [("H/15 * * * *", 15, 0, 59), ("H(0-29)/10 * * * *", 10, 0, 29)]
)
def test_h_with_a_step_shifts_the_step(expression: str, step: int, low: int, high: int) -> None:
    """As in Jenkins: the first value is below the step, the others follow to the end of the range."""
    for number in range(20):
        upcoming = Cron(expression).for_entry(f"entry-{number}").upcoming(START, 8)
        minutes = sorted({fire.minute for fire in upcoming})

        assert low <= minutes[0] < low + step
        assert list(range(minutes[0], high + 1, step)) == minutes


def test_h_spreads_entries_and_its_fields() -> None:
    """Different ids get different values, and so do the fields of one entry."""
    crons = [Cron("H H H * *").for_entry(f"entry-{number}") for number in range(300)]
    upcoming = [fire for cron in crons if (fire := cron.next_after(START)) is not None]

    assert 50 < len({fire.minute for fire in upcoming})
    assert 24 == len({fire.hour for fire in upcoming})
    assert 280 < len({(fire.minute, fire.hour, fire.day) for fire in upcoming})


def test_h_is_the_same_in_every_process() -> None:
    """The value does not depend on Python's hash seed; this one is written down for all versions to come."""
    code = """
from datetime import UTC, datetime
from anysched.schedules import Cron

print(Cron("H H * * *").for_entry("digest").next_after(datetime(2026, 1, 1, tzinfo=UTC)))
"""
    answers: set[str] = set()

    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code]
        answers.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip())

    assert {str(Cron("H H * * *").for_entry("digest").next_after(START))} == answers
    assert {"2026-01-01 02:41:00+00:00"} == answers


def test_only_h_depends_on_the_entry() -> None:
    """Every other schedule is left as it is, the named ones too; a schedule moved to another entry is hashed anew."""
    assert Cron("@daily") == Cron("@daily").for_entry("a")
    assert ["Fri 2026-01-02 00:00:00"] == [
        f"{fire:%a %Y-%m-%d %H:%M:%S}" for fire in Cron("@daily").for_entry("a").upcoming(START, 1)
    ]
    assert Cron("H * * * *").for_entry("b") == Cron("H * * * *").for_entry("a").for_entry("b")
    assert Cron("H * * * *", tz="Asia/Tokyo").for_entry("b") == Cron("H * * * *").for_entry("b").with_default_timezone(
        "Asia/Tokyo"
    )


# --- the days, against their definition ---------------------------------------------------------------------------

Days = tuple[str, Callable[[date], bool]]
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def weekday_of(day: date) -> int:
    return day.isoweekday() % 7


def month_length(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def nearest_weekday(day: date, wanted: int) -> bool:
    """Whether a date is the weekday, of the same month, that is nearest to a day of the month."""
    weekdays = [day.replace(day=number) for number in range(1, month_length(day) + 1)]
    weekdays = [candidate for candidate in weekdays if candidate.isoweekday() <= 5]

    return day == min(weekdays, key=lambda candidate: abs(candidate.day - wanted))


def numbers(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """A number, a range, or a range with a step, and what it stands for."""
    first, last = sorted([draw(st.integers(low, high)), draw(st.integers(low, high))])
    kind = draw(st.sampled_from(["number", "range", "step", "star"]))

    if kind == "number":
        return str(first), {first}

    if kind == "range":
        return f"{first}-{last}", set(range(first, last + 1))

    step = draw(st.integers(1, last - first + 1)) if kind == "step" else draw(st.integers(1, high - low + 1))

    if kind == "step":
        return f"{first}-{last}/{step}", set(range(first, last + 1, step))

    return f"*/{step}", set(range(low, high + 1, step))


@st.composite
def days_of_month(draw: st.DrawFn) -> Days:
    if draw(st.booleans()) and draw(st.booleans()):
        return "*", lambda day: True

    texts: list[str] = []
    tests: list[Callable[[date], bool]] = []

    for kind in draw(st.lists(st.sampled_from(["numbers", "numbers", "last", "nearest"]), min_size=1, max_size=3)):
        if kind == "last":
            texts.append("L")
            tests.append(lambda day: day.day == month_length(day))
        elif kind == "nearest":
            wanted = draw(st.integers(1, 28))
            texts.append(f"{wanted}W")
            tests.append(lambda day, wanted=wanted: nearest_weekday(day, wanted))
        else:
            text, values = numbers(draw, 1, 31)
            texts.append(text)
            tests.append(lambda day, values=values: day.day in values)

    return ",".join(texts), lambda day: any(test(day) for test in tests)


@st.composite
def days_of_week(draw: st.DrawFn) -> Days:
    if draw(st.booleans()) and draw(st.booleans()):
        return "*", lambda day: True

    texts: list[str] = []
    tests: list[Callable[[date], bool]] = []

    for kind in draw(st.lists(st.sampled_from(["numbers", "numbers", "last", "nth"]), min_size=1, max_size=3)):
        wanted = draw(st.integers(0, 6))
        name = draw(st.sampled_from([str(wanted), WEEKDAYS[wanted]]))

        if kind == "last":
            texts.append(f"{name}L")
            tests.append(lambda day, wanted=wanted: weekday_of(day) == wanted and day.day > month_length(day) - 7)
        elif kind == "nth":
            nth = draw(st.integers(1, 5))
            texts.append(f"{name}#{nth}")
            tests.append(lambda day, wanted=wanted, nth=nth: weekday_of(day) == wanted and (day.day + 6) // 7 == nth)
        else:
            text, values = numbers(draw, 0, 7)
            texts.append(text)
            tests.append(lambda day, values=values: weekday_of(day) in {value % 7 for value in values})

    return ",".join(texts), lambda day: any(test(day) for test in tests)


@settings(max_examples=150, deadline=None)
@given(days_of_month(), days_of_week(), st.data(), st.integers(1970, 2390))
def test_the_days_are_those_of_vixie_cron(by_month: Days, by_week: Days, data: st.DataObject, year: int) -> None:
    """Each day of two years is in or out by the definition: months, then either day field, or both after a star."""
    month_text, months = data.draw(st.just(("*", set(range(1, 13)))) | st.composite(numbers)(1, 12))
    both = by_month[0].startswith("*") or by_week[0].startswith("*")
    expected: list[date] = []

    for offset in range((date(year + 2, 1, 1) - date(year, 1, 1)).days):
        day = date(year, 1, 1) + timedelta(days=offset)
        matches = (by_month[1](day), by_week[1](day))

        if day.month in months and (all(matches) if both else any(matches)):
            expected.append(day)

    cron = Cron(f"0 0 {by_month[0]} {month_text} {by_week[0]}")
    start = datetime(year, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    actual = [fire.date() for fire in cron.upcoming(start, len(expected) + 1)]

    assert expected == list(takewhile(lambda day: day.year < year + 2, actual))
