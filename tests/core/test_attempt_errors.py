"""Whatever a handler raises can be written down and read again."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.attempt_errors import MESSAGE_LIMIT, TRACEBACK_LIMIT, decode_attempt, describe_error, encode_error
from anysched.clock import from_ms
from anysched.run import Attempt, AttemptError


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class NumberError(Exception):
    def __str__(self) -> str:
        return cast("str", 5)


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301 (it is to have a traceback)
    except BaseException as caught:  # noqa: BLE001 (whatever it is)
        return caught


def recursing() -> BaseException:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error

    raise AssertionError


def chained(length: int) -> BaseException:
    error: BaseException = ValueError("first")

    for number in range(length):
        following = ValueError(number)
        following.__cause__ = error
        error = raised(following)

    return error


def nested(depth: int) -> BaseException:
    error: Exception = ValueError("innermost")

    for _ in range(depth):
        error = ExceptionGroup("group", [error, ValueError("x")])

    return raised(error)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (raised(ValueError("oops")), "builtins.ValueError", "oops"),
        (ValueError(), "builtins.ValueError", ""),
        (raised(SpeechlessError()), f"{__name__}.SpeechlessError", "(its str() raised RuntimeError)"),
        (raised(NumberError()), f"{__name__}.NumberError", "(its str() raised TypeError)"),
        (raised(KeyError("\ud800")), "builtins.KeyError", "'\\ud800'"),
        (raised(ValueError("\ud800")), "builtins.ValueError", "\\ud800"),
        (raised(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")), "builtins.UnicodeDecodeError", None),
        (recursing(), "builtins.RecursionError", None),
        (chained(2000), "builtins.ValueError", "1999"),
        (
            nested(2),
            "builtins.ExceptionGroup",
            "group (2 sub-exceptions): ValueError: innermost; ValueError: x; ValueError: x",
        ),
        (nested(300), "builtins.ExceptionGroup", None),
        (raised(ExceptionGroup("wide", [ValueError(n) for n in range(5000)])), "builtins.ExceptionGroup", None),
        (raised(KeyboardInterrupt()), "builtins.KeyboardInterrupt", ""),
        (raised(type("odd\nname", (Exception,), {})()), f"{__name__}.odd\nname", ""),
    ],
    ids=lambda value: "" if isinstance(value, str | None) else type(value).__name__.encode("ascii", "replace").decode(),
)
def test_any_exception_can_be_written_down(error: BaseException, kind: str, message: str | None) -> None:
    """In one line, which is read again as it was written."""
    described = describe_error(error)
    line = encode_error(described, number=2, started_ms=1000, ended_ms=2500, node="n")

    assert kind == described.type
    assert message in (None, described.message)
    assert "\n" not in line
    assert Attempt(
        number=2, started_at=from_ms(1000), ended_at=from_ms(2500), error=described, node="n"
    ) == decode_attempt(line)


def test_a_group_says_what_is_in_it() -> None:
    """Its own words, such as those of a task group, say nothing. Of many the first are named; a sick one harms none."""
    group = ExceptionGroup("errors in a TaskGroup", [KeyError("a"), SpeechlessError(), OSError()])
    many = ExceptionGroup("many", [ValueError(number) for number in range(5000)])

    leaves = "KeyError: 'a'; SpeechlessError: (its str() raised RuntimeError); OSError"
    assert f"errors in a TaskGroup (3 sub-exceptions): {leaves}" == describe_error(group).message
    assert describe_error(many).message.startswith("many (5000 sub-exceptions): ValueError: 0; ValueError: 1; ")
    assert describe_error(many).message.endswith("ValueError: 9; ...")


def test_the_traceback_says_where() -> None:
    """Of a group, of all of it."""
    described = describe_error(raised(ValueError("oops")))

    assert "in raised\n    raise error" in described.traceback
    assert described.traceback.endswith("ValueError: oops\n")
    assert "ValueError: innermost" in describe_error(nested(3)).traceback


def test_what_is_too_long_is_cut() -> None:
    """A message keeps its beginning, a traceback its end."""
    described = describe_error(raised(ValueError("ä" * 100_000 + "!")))

    assert MESSAGE_LIMIT - 4 <= len(described.message.encode()) <= MESSAGE_LIMIT
    assert described.message.startswith("ää")
    assert described.message.endswith("ä [cut]")
    assert TRACEBACK_LIMIT - 4 <= len(described.traceback.encode()) <= TRACEBACK_LIMIT
    assert described.traceback.endswith("ä!\n")


def test_an_attempt_without_an_error_can_be_written_down() -> None:
    """It ended otherwise."""
    line = encode_error(None, number=1, started_ms=0, ended_ms=1, node="")

    assert Attempt(number=1, started_at=from_ms(0), ended_at=from_ms(1)) == decode_attempt(line)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"number":"1","started_ms":0}', '{"number":1,"started_ms":1e400}', "[" * 100_000),
        *(json.dumps({"number": 1, "started_ms": far}) for far in (10**17, -(10**17))),
    ],
    ids=lambda text: text[:30],
)
def test_a_line_that_cannot_be_read_says_so(text: str) -> None:
    """In the place where it is shown."""
    attempt = decode_attempt(text)

    assert 0 == attempt.number
    assert attempt.error is not None
    assert "the stored error cannot be read" in attempt.error.message


@given(st.text() | st.dictionaries(st.sampled_from(["number", "started_ms", "type"]), st.integers()).map(json.dumps))
def test_no_line_raises(text: Any) -> None:
    """Whatever is stored."""
    assert isinstance(decode_attempt(text), Attempt)


@given(st.text(), st.text(), st.text(), st.integers(0, 10**9))
def test_any_error_comes_back(kind: str, message: str, trace: str, number: int) -> None:
    """As it was described."""
    error = AttemptError(kind or "x", message, trace)
    line = encode_error(error, number=number, started_ms=5, ended_ms=0, node="n")

    assert error == decode_attempt(line).error
