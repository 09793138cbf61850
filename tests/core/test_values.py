"""Whatever is given where something else is expected, an error can say so in a line or two."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched import (
    Cron,
    EntryPolicy,
    Executor,
    Lock,
    RetryPolicy,
    Scheduler,
    SchedulerConfig,
)
from anysched.errors import AnySchedError, EntryNotFound, RunNotFound, UnknownJob
from anysched.schedules import parse_schedule
from anysched.values import is_whole, shown

HUGE = 10**5000
LONG = "x" * 1_000_000


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Exiting:
    def __repr__(self) -> str:
        raise SystemExit(3)


class Deceitful:
    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("no class")


class Wordy:
    def __repr__(self) -> str:
        return "a word\n" * 10_000


class Level(IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "'text'"),
        (b"bytes", "b'bytes'"),
        ("it's", '"it\'s"'),
        ("x" * 100, repr("x" * 100)),
        (None, "None"),
        (True, "True"),
        (-5, "-5"),
        (2**256, str(2**256)),
        (0.1, "0.1"),
        (Level.LOW, "<Level.LOW: 1>"),
        ([1, "b", (None,)], "[1, 'b', (None,)]"),
        ({"a": {1, 2}}, "{'a': {1, 2}}"),
        (ValueError("oops"), "ValueError('oops')"),
        (int, "<class 'int'>"),
    ],
    ids=ascii,
)
def test_an_ordinary_value_is_shown_as_python_shows_it(value: object, expected: str) -> None:
    """To the letter."""
    assert expected == shown(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LONG, f"'{'x' * 100}'..."),
        (LONG.encode(), f"b'{'x' * 100}'..."),
        (HUGE, "an integer of some 5000 digits"),
        (-HUGE, "an integer of some 5000 digits"),
        ({"x": HUGE}, "{'x': an integer of some 5000 digits}"),
        (list(range(1_000_000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
        ([[[[[]]]]], "[[[[...]]]]"),
        (Unshowable(), "<Unshowable whose repr() raised RuntimeError>"),
        ([Unshowable()], "<list whose repr() raised RuntimeError>"),
        (Deceitful(), "<Deceitful whose repr() raised RuntimeError>"),
        (type("int", (), {})(), "<int whose repr() raised AttributeError>"),
        ("\udcff\n", r"'\udcff\n'"),
    ],
    ids=["text", "bytes", "number", "negative", "in a dict", "list", "depth", *"1234", "surrogate"],
)
def test_what_is_long_or_cannot_be_shown_is_described(value: object, expected: str) -> None:
    """And nothing is raised."""
    assert expected == shown(value)


def test_what_shows_itself_in_many_lines_is_cut_and_escaped() -> None:
    """A line is a line."""
    text = shown(Wordy())
    assert text.startswith(r"a word\na word\na")
    assert text.endswith("...")
    assert text.isprintable()
    assert 300 > len(text)


@given(
    st.recursive(st.none() | st.integers() | st.text() | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner))
)
def test_no_value_is_shown_at_length(value: object) -> None:
    """Whatever it is made of."""
    text = shown(value)
    assert 1_500 > len(text)
    assert text.isprintable()


async def idle() -> None: ...


def job(**options: Any) -> object:
    return Scheduler().job(idle).options(**options)


@pytest.mark.parametrize(
    "value",
    [HUGE, LONG, [HUGE], [LONG] * 100, {LONG: LONG}, Unshowable(), Wordy()],
    ids=["number", "text", "numbers", "texts", "mapping", "unshowable", "wordy"],
)
@pytest.mark.parametrize(
    "give",
    [
        lambda value: job(metadata=[value]),
        lambda value: job(metadata={"x": {1: value}}),
        lambda value: job(retry=value),
        lambda value: job(priority=value),
        lambda value: job(queue=value),
        lambda value: job(at=value),
        lambda value: job(timeout=[value]),
        lambda value: job(**{str(type(value)) + LONG: value}),
        lambda value: Scheduler().job(max_concurrent=[value])(idle),
        lambda value: Scheduler().every("1s", args={"x": value}),
        lambda value: Scheduler(lifespan=value),
        lambda value: Scheduler(observers=[value]),
        lambda value: Scheduler(codec=value),
        lambda value: Scheduler(backend=f"redis://{LONG}:port"),
        lambda value: Scheduler().include(value),
        lambda value: SchedulerConfig(queues={"a": [value]}),
        lambda value: SchedulerConfig(max_payload=[value]),
        lambda value: Executor(max_concurrent=[value]),
        lambda value: Lock(ttl=[value]),
        lambda value: EntryPolicy(overlap=value),
        lambda value: EntryPolicy(limit=[value]),
        lambda value: RetryPolicy(max_retries=[value]),
        lambda value: RetryPolicy(strategy=[value]),
        Cron,
        lambda value: Cron("* * * * *", tz=value),
        lambda value: parse_schedule(f"{LONG}: {type(value)}"),
        lambda value: Cron("* * * * *").upcoming(None, [value]),
    ],
)  # fmt: skip
def test_every_refusal_is_a_line_or_two(give: Callable[[Any], object], value: object) -> None:
    """Also of what is huge, or raises when it is shown.

    Break: another error from inside, about integers of many digits, or a message of ten megabytes.
    """
    with pytest.raises(AnySchedError) as caught:
        give(value)

    assert 1_000 > len(str(caught.value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", [EntryNotFound, RunNotFound, lambda name: UnknownJob(name, ["a"])])
def test_a_name_that_was_asked_for_is_shown_as_long_as_a_name_may_be(kind: Callable[[str], Exception]) -> None:
    """And no longer."""
    assert "x" * 221 in str(kind("x" * 221))
    assert 500 > len(str(kind(LONG)))


@pytest.mark.parametrize("value", [1, 2, HUGE, Level.LOW], ids=["one", "two", "huge", "of a kind"])
def test_a_whole_number_is_one(value: object) -> None:
    """However large."""
    assert is_whole(value, 1)


@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, "1", None, [1], float("nan")])
def test_what_is_less_or_something_else_is_no_whole_number(value: object) -> None:
    """True is none either."""
    assert not is_whole(value, 1)


def test_a_value_that_exits_when_it_is_shown_is_described() -> None:
    """Like one that raises anything else."""
    assert "<Exiting whose repr() raised SystemExit>" == shown(Exiting())
