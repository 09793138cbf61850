"""Schedules from text and to text; what is not one is refused, quickly, with the documented error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysched.errors import InvalidSchedule
from anysched.schedules import Cron, Every, Once, Schedule, check_stored, parse_schedule, parse_stored

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Unnamed(tzinfo):
    """A zone that no other machine would know."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, dt: datetime | None) -> str:
        return "unnamed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@every 1h30m", Every("1h30m")),
        ("@EVERY  90s ", Every("90s")),
        ("0 8 * * *", Cron("0 8 * * *")),
        ("@daily", Cron("@daily")),
        ("CRON_TZ=Asia/Tokyo 0 8 * * *", Cron("0 8 * * *", tz="Asia/Tokyo")),
    ],
)
def test_text_becomes_a_schedule(text: str, expected: Schedule) -> None:
    """Cron expressions, and @every with a length of time."""
    assert expected == parse_schedule(text)


def test_a_zone_and_a_rule_go_to_the_expression() -> None:
    """They are arguments of a cron expression; @every needs none; a schedule stays what it is."""
    assert Cron("0 8 * * *", tz="Asia/Tokyo", dst="literal") == parse_schedule(
        "0 8 * * *", tz="Asia/Tokyo", dst="literal"
    )
    assert Every("1h") == parse_schedule("@every 1h", tz="Asia/Tokyo")
    assert Cron("0 8 * * *") == parse_schedule(Cron("0 8 * * *"), tz="Asia/Tokyo")


@pytest.mark.parametrize(
    "text", ["", "@every", "@every ", "@every 0s", "@every soon", "@every 5", "@every 1h 30m", "@reboot", 5, None]
)
def test_other_text_is_refused(text: Any) -> None:
    """With an error that says what is allowed."""
    with pytest.raises(InvalidSchedule, match=r"^invalid .*: expected "):
        parse_schedule(text)


@pytest.mark.parametrize(
    "schedule",
    [
        Cron("*/5 * * * *"),
        Cron("30 2 * * mon-fri", tz=BERLIN),
        Cron("30 2 * * *", tz="Europe/Berlin", dst="literal"),
        Cron("@daily", tz=timezone(timedelta(hours=5, minutes=30))),
        Cron("@daily", tz=timezone(-timedelta(hours=5, minutes=30, seconds=15, microseconds=1))),
        Cron("H H * * *").for_entry('mail "weekly" \u00fc'),
        Cron("H H * * *"),
        Every("90s"),
        Every("1h", anchor=NOON),
        Every("1.5ms", anchor=NOON.astimezone(BERLIN)),
        Every("10s", after_completion=True),
        Once(NOON),
        Once(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)),
        Once(datetime.max.replace(tzinfo=UTC)),
        Once(NOON.replace(tzinfo=Unnamed())),
    ],
    ids=str,
)
def test_a_stored_schedule_comes_back_equal(schedule: Schedule) -> None:
    """What to_text wrote, parse_stored reads, its zone too, where that has a name."""
    again = parse_stored(schedule.to_text())

    assert schedule == again
    assert str(schedule) == str(again)
    assert schedule.to_text() == again.to_text()


@pytest.mark.parametrize("kind", [Once, lambda at: Every("1h", anchor=at)], ids=["once", "every"])
@pytest.mark.parametrize("fold", [0, 1])
def test_an_instant_that_is_read_in_a_gap_is_stored_as_what_is_shown_then(
    kind: Callable[[datetime], Schedule], fold: int
) -> None:
    """`datetime` takes 02:30 for an instant also on the day without it; the entry is one of that instant."""
    schedule = kind(datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=fold))
    again = parse_stored(schedule.to_text())

    check_stored(schedule)
    assert schedule == again
    assert schedule.to_text() == again.to_text()
    assert ("03:30:00+02:00", "01:30:00+01:00")[fold] in schedule.to_text()


def test_the_stored_form_is_pinned() -> None:
    """Later versions have to read what this one wrote."""
    hashed = Cron("H 8 * * *", dst="literal").for_entry("a")

    assert '{"cron":"H 8 * * *","tz":"UTC","dst":"literal","entry_id":"a"}' == hashed.to_text()
    assert '{"cron":"0 8 * * *","tz":"Europe/Berlin"}' == Cron("0 8 * * *", tz="Europe/Berlin").to_text()
    assert '{"every":"1h","anchor":"2026-01-01T12:00:00+00:00"}' == Every("1h", anchor=NOON).to_text()
    assert '{"every":"10s","after_completion":true}' == Every("10s", after_completion=True).to_text()
    assert '{"once":"2026-01-01T13:00:00+01:00","tz":"Europe/Berlin"}' == Once(NOON.astimezone(BERLIN)).to_text()


def test_a_zone_without_a_name_is_usable_but_not_storable() -> None:
    """It is refused when the text is asked for, and the error says what would do."""
    cron = Cron("0 8 * * *", tz=Unnamed())

    assert [datetime(2026, 1, 2, 7, tzinfo=UTC)] == cron.upcoming(NOON, 1)

    with pytest.raises(InvalidSchedule, match=r"invalid tz .*: expected a ZoneInfo with a key or a datetime.timezone"):
        cron.to_text()


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", "0 8 * * *",
        '{"cron":5}', '{"cron":"0 8 * * *","every":"1h"}', '{"cron":"61 * * * *"}',
        '{"cron":"0 8 * * *","tz":"Mars/Olympus"}', '{"cron":"0 8 * * *","colour":"red"}',
        '{"cron":"0 8 * * *","dst":"vixie"}', '{"cron":"0 8 * * *","anchor":"x"}', '{"every":"soon"}',
        '{"every":"1h","anchor":"2026-01-01T12:00:00"}', '{"every":"1h","dst":"default"}', '{"once":"yesterday"}',
        '{"once":"2026-01-01"}', '{"once":"2026-01-01T12:00:00+00:00","tz":"x"}', '{"tz":"UTC"}',
        '{"once":"9999-12-31T23:00:00+00:00","tz":"Asia/Tokyo"}', "\ud800", 5, None,
        pytest.param("[" * 16_000, id="deep"), pytest.param('{"cron":' * 1000, id="nested"),
    ],
)  # fmt: skip
def test_what_no_schedule_wrote_is_refused(text: Any) -> None:
    """A stored text that does not parse is an InvalidSchedule, whatever is wrong with it."""
    with pytest.raises(InvalidSchedule):
        parse_stored(text)


ODD = st.text(alphabet="0123456789*/-,#LWHR?@()=_:+. \t\n\0monfrijaCRTZ\u0665\u00a0\u017f", max_size=60)


def in_zone(text: str) -> Schedule:
    return Cron("0 0 * * *", tz=text)


READERS: list[Callable[[str], Schedule]] = [parse_schedule, parse_stored, in_zone]


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), ODD, st.lists(ODD, min_size=5, max_size=6).map(" ".join)))
def test_no_text_raises_anything_but_the_documented_error(read: Callable[[str], Schedule], text: str) -> None:
    """Whatever is written, it is a schedule or an InvalidSchedule, and the answer takes milliseconds."""
    started = process_time()

    with suppress(InvalidSchedule):
        read(text).for_entry("a").next_after(NOON)

    assert 1 > process_time() - started


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, special: list[str]) -> str:
    number = st.integers(low, high)
    items = st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}"),
        st.integers(1, high - low + 1).map(lambda step: f"*/{step}"),
        st.sampled_from(special),
    )

    return draw(st.one_of(st.just("*"), st.lists(items, min_size=1, max_size=3).map(",".join)))


EXPRESSIONS = st.tuples(
    fields(0, 59, ["H", "H/7"]),
    fields(0, 23, ["H(1-5)"]),
    fields(1, 31, ["L", "15W", "H", "30", "31"]),
    fields(1, 12, ["feb", "H"]),
    fields(0, 7, ["5L", "mon#5", "H"]),
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "-03:30"]))
def test_an_expression_is_answered_quickly_and_comes_back_from_storage(expression: str, zone: str) -> None:
    """Hard or impossible, a first answer takes milliseconds, and the stored schedule is the same one."""
    cron = Cron(expression, tz=zone).for_entry("a")
    started = process_time()
    fire = cron.next_after(NOON)

    assert 1 > process_time() - started
    assert fire is None or fire > NOON
    assert cron == parse_stored(cron.to_text())


@pytest.mark.parametrize(
    ("expression", "zone", "dst"),
    [("15-45 2 * 3 sun#2", "America/New_York", "default"), ("30 2 * 3 sunL", "Europe/Berlin", "literal")],
)
def test_readings_that_daylight_saving_always_swallows_are_given_up(expression: str, zone: str, dst: Any) -> None:
    """After one cycle of the calendar, not at its end: the event loop waits for the answer.

    Break: it takes a third of a second, and longer the first time.
    """
    cron = Cron(expression, tz=zone, dst=dst)
    started = process_time()
    assert cron.next_after(NOON) is None
    assert 0.25 > process_time() - started


@pytest.mark.parametrize("text", ["@every 1h", "0 8 * * *"])
def test_a_rule_for_daylight_saving_is_checked_whatever_it_is_for(text: str) -> None:
    """Like a zone."""
    with pytest.raises(InvalidSchedule, match="invalid dst 'bogus'"):
        parse_schedule(text, dst="bogus")  # type: ignore[arg-type] - that is refused


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_year_of_five_minutes_takes_a_moment(zone: str) -> None:
    """105 120 fires, each computed from the one before, at some microseconds each."""
    cron = Cron("*/5 * * * *", tz=zone)
    started = process_time()
    upcoming = cron.upcoming(NOON, 105_120)

    assert NOON + timedelta(days=365) == upcoming[-1]
    assert 5 > process_time() - started
