"""What comes back from a worker process: values, and exceptions of whatever they are made."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from anysched.attempt_errors import describe_error
from anysched.errors import NotInRun
from anysched.retry import RetryPolicy
from anysched.runtime.crossing import ProcessTraceback, pack_error, pack_value, unpack


class ApiError(Exception):
    """Cannot be read again: its message is not what it is made of."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class DoublingError(ValueError):
    """Comes back with another message."""

    def __init__(self, text: str) -> None:
        super().__init__(f"bad {text}")


class HoldingError(OSError):
    """Holds on to what cannot leave its process."""

    def __init__(self) -> None:
        super().__init__(5, "no answer")
        self.lock = threading.Lock()
        self.host = "here"


class WordyError(Exception):
    """Says what depends on something that cannot leave its process."""

    def __init__(self) -> None:
        super().__init__()
        self.words = lambda: "only here"

    def __str__(self) -> str:
        return self.words()


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class StrictError(Exception):
    """Does not let itself be derived from without being told why."""

    def __init_subclass__(cls, *, why: str) -> None:
        super().__init_subclass__()

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.words = lambda: f"{first}{second}"

    def __str__(self) -> str:
        return self.words()


def local_error() -> Exception:
    class LocalError(ApiError):
        pass

    return LocalError(503, "busy")


def undecodable() -> Exception:
    error = UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")
    error.lock = threading.Lock()
    return error


def noted() -> Exception:
    error = ApiError(503, "busy")
    error.add_note("on Tuesdays")
    return error


def crossed(make: Callable[[], BaseException]) -> tuple[BaseException, BaseException]:
    """The exception, and what comes of it on the other side."""
    try:
        raise make()  # noqa: TRY301 - it is to have a traceback
    except BaseException as raised:  # noqa: BLE001 - whatever it is
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - that is the question
            unpack(pack_error(raised))

        return raised, caught.value


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("plain"),
        lambda: KeyError("absent"),
        lambda: SystemExit(3),
        lambda: FileNotFoundError(2, "absent", "file"),
        lambda: ApiError(503, "busy"),
        lambda: DoublingError("thing"),
        NotInRun,
        HoldingError,
        WordyError,
        SpeechlessError,
        undecodable,
        noted,
    ],
)
def test_an_exception_is_of_the_class_that_was_raised(make: Callable[[], BaseException]) -> None:
    """With its message and name, and as much of its arguments and attributes as can leave the process.

    Break: left to pickle, it becomes a `TypeError` of the unpickling, or says something else.
    """
    raised, back = crossed(make)
    before, after = describe_error(raised), describe_error(back)

    assert isinstance(back, type(raised))
    assert (before.type, before.message) == (after.type, after.message)
    assert getattr(raised, "__notes__", None) == getattr(back, "__notes__", None)


def test_attributes_come_back_as_far_as_they_can() -> None:
    """One that cannot be pickled is left behind alone."""
    assert 503 == crossed(lambda: ApiError(503, "busy"))[1].code  # type: ignore[attr-defined] - of its class
    back: Any = crossed(HoldingError)[1]
    assert (5, "here", False) == (back.errno, back.host, hasattr(back, "lock"))


def test_a_class_without_a_name_is_made_anew() -> None:
    """It has the bases and the names that the other has: policies find it by either.

    Break: as an exception of ours it is retried, though it is of a class that is to be given up on.
    """
    raised, back = crossed(local_error)
    name = f"{__name__}.local_error.<locals>.LocalError"

    assert (name, "503: busy") == (describe_error(back).type, describe_error(back).message)
    assert type(raised) is not type(back)
    assert [False] * 3 == [
        RetryPolicy(give_up_on=one).retries(back) for one in (ApiError, name, f"{__name__}.ApiError")
    ]
    assert RetryPolicy(give_up_on=KeyError).retries(back)


def test_a_class_that_cannot_be_derived_from_still_has_its_name() -> None:
    """What it says is not lost for that."""
    _, back = crossed(lambda: StrictError(1, 2))

    assert (f"{__name__}.StrictError", "12") == (describe_error(back).type, describe_error(back).message)


def test_groups_come_back_with_their_members() -> None:
    """Each of them as it would by itself, at any depth."""
    _, back = crossed(lambda: ExceptionGroup("outer", [ApiError(1, "a"), ExceptionGroup("inner", [local_error()])]))

    assert isinstance(back, ExceptionGroup)
    first, inner = back.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert ("outer", "1: a", "inner", "503: busy") == (
        *(back.message, str(first)),
        *(inner.message, str(inner.exceptions[0])),
    )
    assert isinstance(first, ApiError)
    assert isinstance(inner.exceptions[0], ApiError)


def endless() -> Exception:
    error: Exception = ApiError(503, "busy")

    for _ in range(1200):
        error = ExceptionGroup("deep", [error])

    return error


def test_a_group_without_end_still_has_its_name() -> None:
    """What is too deep to be taken apart is said to have been raised.

    Break: the process answers with a RecursionError of ours.
    """
    _, back = crossed(endless)

    assert ("builtins.ExceptionGroup", "deep (1 sub-exception): ApiError: 503: busy") == (
        describe_error(back).type,
        str(back),
    )


def test_the_traceback_comes_as_text() -> None:
    """As the cause: it names the lines that raised, and the causes that the exception had there."""

    def chained() -> BaseException:
        error = ApiError(503, "busy")
        error.__cause__ = KeyError("the cause of it")
        return error

    _, back = crossed(chained)
    assert isinstance(back.__cause__, ProcessTraceback)

    for text in (str(back.__cause__), describe_error(back).traceback):
        assert __file__ in text
        assert "the cause of it" in text


def test_values_come_back_or_are_errors() -> None:
    """A value that cannot be pickled is one of the function that returned it."""
    assert {"a": [1, None]} == unpack(pack_value({"a": [1, None]}))

    with pytest.raises((AttributeError, pickle.PicklingError), match="local object"):
        pack_value(lambda: 1)
