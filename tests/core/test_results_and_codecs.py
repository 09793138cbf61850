"""Results, arguments from a command line, which calls mean the same, and codecs of the user's."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from string import ascii_lowercase
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from anysched.codec import Codec, JsonCodec
from anysched.errors import CannotDecode, CannotEncode, InvalidArguments
from anysched.job_types import JobTypes

from .hidden_fields import Account, Vault

NEW_YEAR = datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
SOMEWHERE = PurePath("a/b")
NOW = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC)


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


@attrs.frozen
class Order:
    at: Point
    price: Decimal


def optional(a: int = 1, b: int = 2) -> None: ...


def taking(annotation: Any) -> Callable[..., Any]:
    """A function of one parameter with this annotation."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": annotation}
    return function


# --- results -----------------------------------------------------------------------------------------------------


def returning(annotation: Any) -> JobTypes:
    def function() -> Any: ...

    function.__annotations__ = {"return": annotation}
    return JobTypes("job", function)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(None, None), (int, 5), (Order, Order(Point(1), Decimal(1))), (set[int], {1}), (str, ""), (bool, False)],
)
def test_a_result_comes_back_as_what_it_was(annotation: Any, value: Any) -> None:
    """Guided by the annotation."""
    types = returning(annotation)

    assert value == types.decode_result(types.encode_result(value))


def test_no_result_takes_no_space() -> None:
    """``None`` is stored as empty text."""
    assert "" == returning(int).encode_result(None)


def test_a_result_that_cannot_be_stored_is_refused() -> None:
    """With the reason."""
    with pytest.raises(CannotEncode, match="the result of job 'job' cannot be encoded: 'object' has no form"):
        returning(Any).encode_result(object())


def test_a_result_that_is_not_as_declared_is_told_to_who_asks() -> None:
    """The work is done: the run does not fail for it."""
    types = returning(int)
    text = types.encode_result("x")

    with pytest.raises(CannotDecode, match="the stored result of job 'job'"):
        types.decode_result(text)


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (Account, Account("Ada", 5), "it._balance is not stored: of an attrs class"),
        (Vault, Vault(5), "_code is not stored: of an attrs class"),
        (list[Account], [Account("Ada"), Account("Bob", 1)], r"it\[1\]._balance is not stored"),
        (Any, float("nan"), "it is a float and would come back as None"),
        (float, float("nan"), "it is a float and would come back as None"),
        (float | None, float("inf"), "it is a float and would come back as None"),
        (Any, {"x": [1.0, float("nan")]}, r"it\['x'\]\[1\] is a float and would come back as None"),
        (dict[str, Any], {"x": float("nan")}, r"it\['x'\] is a float and would come back as None"),
        (
            datetime,
            datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=1172))),
            "it would come back as another inst",
        ),
    ],
    ids=str,
)
def test_a_result_that_would_come_back_as_something_else_is_refused(
    annotation: Any, value: Any, complaint: str
) -> None:
    """Nobody would notice: it still fits what is declared, or nothing is."""
    with pytest.raises(CannotEncode, match=f"the result of job 'job' cannot be encoded: {complaint}"):
        returning(annotation).encode_result(value)


@pytest.mark.parametrize(
    ("annotation", "value", "back"),
    [
        (
            Any,
            {"at": NOW, 1: (Decimal(2), Color.RED)},
            {"at": NOW.isoformat().replace("+00:00", "Z"), "1": ["2", "red"]},
        ),
        (object, Point(1), {"x": 1}),
        (
            dict[str, Any],
            {"at": NOW, "of": [(Point(1), {2})]},
            {"at": NOW.isoformat().replace("+00:00", "Z"), "of": [[{"x": 1}, [2]]]},
        ),
        (dict, {1: {NOW.date(): "x"}}, {"1": {NOW.date().isoformat(): "x"}}),
        (list[int], (1, 2), [1, 2]),
        (float, 1, 1.0),
    ],
    ids=str,
)
def test_a_result_of_which_nothing_is_declared_comes_back_as_json_has_it(
    annotation: Any, value: Any, back: Any
) -> None:
    """As long as nothing is lost."""
    types = returning(annotation)

    assert back == types.decode_result(types.encode_result(value))


@pytest.mark.parametrize("value", ["x", "", 5, True, None])
def test_a_plain_result_is_not_looked_at_twice(value: Any) -> None:
    """It comes back as it is: the price of the look is for others."""
    types = returning("Missing")
    types.encode_result(value)

    assert types._load_result is None  # pyright: ignore[reportPrivateUsage]


def test_an_annotation_of_the_result_that_cannot_be_used_is_named() -> None:
    """Only where it is needed."""
    types = returning("Missing")

    assert "5" == types.encode_result(5)

    with pytest.raises(CannotDecode, match="annotation of 'return' cannot be used"):
        types.decode_result("5")

    with pytest.raises(CannotEncode, match="annotation of 'return' cannot be used"):
        types.check()


# --- JSON from a command line ------------------------------------------------------------------------------------


def test_arguments_can_be_written_as_json() -> None:
    """They become what the annotations say."""

    def function(point: Point, *, when: datetime, kind: Color = Color.RED) -> None: ...

    given = JobTypes("job", function).arguments_from_json(['{"x":1}'], {"when": f'"{NOW.isoformat()}"'})

    assert ((Point(1),), {"when": NOW}) == given


@pytest.mark.parametrize("text", ["x", "", '1,"b":2', "1}", '"x"', "[1]"])
def test_json_that_does_not_fit_is_refused(text: str) -> None:
    """Neither broken JSON, nor more than one value, nor another type gets in."""

    def function(a: int, b: int = 0) -> None: ...

    with pytest.raises(InvalidArguments):
        JobTypes("job", function).arguments_from_json([text], {})


# --- which calls mean the same -----------------------------------------------------------------------------------


def test_calls_that_mean_the_same_have_one_digest() -> None:
    """However the arguments were given, in whatever order sets and mappings come."""

    def function(a: set[str], b: dict[str, int], c: int = 3) -> None: ...

    types = JobTypes("job", function)
    letters, backwards = ascii_lowercase, ascii_lowercase[::-1]
    first = types.encode_arguments((set(letters), {"x": 1, "y": 2}), {})
    second = types.encode_arguments((), {"c": 3, "b": {"y": 2, "x": 1}, "a": set(backwards)})
    other = types.encode_arguments((set(letters), {"x": 1, "y": 2}, 4), {})

    assert types.arguments_digest(first) == types.arguments_digest(second)
    assert types.arguments_digest(first) != types.arguments_digest(other)


def test_no_arguments_and_written_out_defaults_have_one_digest() -> None:
    """A default that is written out makes no difference."""
    types = JobTypes("job", optional)

    assert types.arguments_digest("") == types.arguments_digest(types.encode_arguments((1, 2), {}))


def floating(x: float = 1) -> None: ...
def several(to: Sequence[str] = ()) -> None: ...
def untyped(to: Any = (), when: Any = {}) -> None: ...  # noqa: B006 (as many write it)
def frozen(names: set[str] = frozenset()) -> None: ...  # type: ignore[assignment] - a default of another kind is what it is about
def at_path(path: PurePath = SOMEWHERE) -> None: ...
def at_time(at: datetime | None = NEW_YEAR) -> None: ...
def with_sentinel(a: object = object(), b: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "other"),
    [
        (floating, (1,), (2,)),
        (floating, (1.0,), (1.5,)),
        (several, ((),), (("a",),)),
        (several, ([],), (["a"],)),
        (untyped, ((), {}), ([], {"a": 1})),
        (untyped, ([],), ([0],)),
        (frozen, (frozenset(),), ({"a"},)),
        (frozen, (set(),), ({"a"},)),
        (at_path, (PurePath("a/b"),), (PurePath("a"),)),
        (at_path, (Path("a/b"),), (Path("b"),)),
        (at_time, (NEW_YEAR,), (None,)),
    ],
)
def test_a_default_is_the_same_however_it_is_typed(
    function: Callable[..., Any], args: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    """What would be stored of it counts, not the class of the object that stands in the signature.

    Break: two runs for one call, with ``key=by_arguments``.
    """
    types = JobTypes("job", function)

    assert types.arguments_digest("") == types.arguments_digest(types.encode_arguments(args, {}))
    assert types.arguments_digest("") != types.arguments_digest(types.encode_arguments(other, {}))


def test_a_default_that_cannot_be_stored_is_like_nothing_that_was_given() -> None:
    """And harms no other."""
    types = JobTypes("job", with_sentinel)

    assert types.arguments_digest("") == types.arguments_digest(types.encode_arguments((), {"b": 1}))
    assert types.arguments_digest("") != types.arguments_digest(types.encode_arguments((None,), {}))


# --- other codecs ------------------------------------------------------------------------------------------------


class Pickled:
    """A codec that a user might bring."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def dumps(self, value: Any, type: Any) -> bytes:
        self.seen.append(type)
        return pickle.dumps(value)

    def loads(self, data: bytes, type: Any) -> Any:
        self.seen.append(type)
        return pickle.loads(data)


def test_another_codec_stores_base64() -> None:
    """It sees the arguments by name, with a TypedDict of their annotations, and may take what JSON has not."""

    def function(a: complex, *rest: int, b: str = "x") -> complex: ...

    codec = Pickled()
    types = JobTypes("job", function, codec)
    payload = types.encode_arguments((1j, 2), {})

    assert payload.isascii()
    assert ((1j, 2), {}) == types.decode_arguments(payload)
    assert 2j == types.decode_result(types.encode_result(2j))
    assert {"a", "rest", "b"} == set(codec.seen[0].__annotations__)
    assert {"a"} == codec.seen[0].__required_keys__
    assert complex is codec.seen[-1]
    assert isinstance(codec, Codec)


def test_a_codec_that_fails_is_reported_as_a_value_that_cannot_be() -> None:
    """Whatever it raises."""
    types = JobTypes("job", taking(Any), Pickled())

    with pytest.raises(CannotEncode, match="the arguments of job 'job' cannot be encoded: value: "):
        types.encode_arguments((lambda: None,), {})

    with pytest.raises(CannotEncode, match="the result of job 'job' cannot be encoded"):
        types.encode_result(lambda: None)

    for text in ("not base64!", "AAAA", "{}"):
        with pytest.raises(CannotDecode, match="of job 'job' cannot be decoded"):
            types.decode_arguments(text)


def test_hooks_teach_json_another_type() -> None:
    """Both ways, for arguments and results."""

    def encode(value: Any) -> Any:
        if isinstance(value, complex):
            return [value.real, value.imag]

        raise NotImplementedError  # what msgspec wants to hear of other types

    def decode(wanted: Any, value: Any) -> Any:
        if wanted is complex:
            return complex(*value)

        raise NotImplementedError  # what msgspec wants to hear of other types

    def function(value: complex, path: Path) -> complex: ...

    types = JobTypes("job", function, JsonCodec(encode, decode))
    payload = types.encode_arguments((1j, Path("x")), {})

    assert '{"value":[0.0,1.0],"path":"x"}' == payload
    assert ((1j, Path("x")), {}) == types.decode_arguments(payload)
    assert 1j == types.decode_result(types.encode_result(1j))
