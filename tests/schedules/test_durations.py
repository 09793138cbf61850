"""Lengths of time, in every notation that is accepted, and the refusal of all others."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.durations import format_duration, parse_duration
from anysched.errors import InvalidDuration

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("value", "microseconds"),
    [
        ("90s", 90_000_000),
        ("1h30m", 5_400_000_000),
        ("1.5h", 5_400_000_000),
        ("250ms", 250_000),
        ("1h30m5.25s", 5_405_250_000),
        ("0.1s", 100_000),
        (".5s", 500_000),
        ("5.s", 5_000_000),
        ("1000ns", 1),
        ("1us", 1),
        ("1\u00b5s", 1),
        ("1\u03bcs", 1),
        ("1m1h", 3_660_000_000),
        ("+1s", 1_000_000),
        ("0", 0),
        ("0s", 0),
        ("1.000000s", 1_000_000),
        ("0.000001s", 1),
        (3, 3_000_000),
        (0.25, 250_000),
        (0.1 + 0.2, 300_000),
        (timedelta(minutes=2), 120_000_000),
    ],
)
def test_a_duration_is_read_exactly(value: Any, microseconds: int) -> None:
    """Text is Go's notation, a number counts seconds, and no digit is lost."""
    assert microseconds == parse_duration(value) // MICROSECOND


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "s", ".s", "5", "1d", "1H", "1 s", " 1s", "1s ", "1h-30m", "--1s", "1e3s", "1_000s", "\u0661s", "1s\0",
        "infs", "0x1s", "1ns", "0.0000001s", "1.5us", "9" * 50 + "h",
        pytest.param("1" * 200 + "s", id="long"),
        "-1s", "-0.5h", True, False, float("nan"), float("inf"), float("-inf"), 1e300, 10**30,
        pytest.param(10**6000, id="huge"), -1, -0.5, 1e-9,
        timedelta(seconds=-1), None, b"1s", [], object(),
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_by_name_and_value(value: Any) -> None:
    """The error names the field, and says what is allowed."""
    with pytest.raises(InvalidDuration, match=r"^invalid timeout .*: expected ") as caught:
        parse_duration(value, name="timeout")

    assert "timeout" == caught.value.field
    assert 1000 > len(str(caught.value))


def test_a_minimum_is_named_in_the_refusal() -> None:
    """What is shorter than the minimum is refused with the minimum in the message."""
    assert timedelta(seconds=5) == parse_duration("5s", minimum=timedelta(seconds=5))

    with pytest.raises(InvalidDuration, match="invalid ttl '4999ms': expected at least 5s"):
        parse_duration("4999ms", name="ttl", minimum=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(milliseconds=250), "250ms"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(microseconds=1), "1us"),
        (timedelta(seconds=5.25), "5.25s"),
        (timedelta(days=2), "48h"),
        (-timedelta(seconds=1.5), "-1.5s"),
    ],
)
def test_a_length_is_written_in_gos_notation(length: timedelta, text: str) -> None:
    """Parts that are zero are left out."""
    assert text == format_duration(length)


@given(st.timedeltas(min_value=timedelta(0)))
def test_what_is_written_is_read_back_exactly(length: timedelta) -> None:
    """Every timedelta that is a length survives being written and read."""
    assert length == parse_duration(format_duration(length))


@given(st.one_of(st.text(), st.text(alphabet="0123456789.hmsnu\u00b5+- ", max_size=120), st.integers(), st.floats()))
def test_no_value_raises_anything_but_the_documented_error(value: Any) -> None:
    """Whatever is written, it is a duration or an InvalidDuration."""
    with suppress(InvalidDuration):
        assert timedelta(0) <= parse_duration(value)
