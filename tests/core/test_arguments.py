"""What goes into a job comes out of storage as it was, or is refused at the door."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from inspect import signature
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Annotated, Any, Generic, Literal, NamedTuple, ParamSpec, TypedDict, TypeVar, Unpack
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.errors import CannotDecode, CannotEncode, InvalidArguments
from anysched.job_types import JobTypes

from .hidden_fields import Account, Vault

T = TypeVar("T")
P = ParamSpec("P")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Mood(StrEnum):
    GOOD = "good"


@dataclass
class Point:
    x: int
    y: float = 0.0
    tags: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Opaque:
    inner: Any = None


@attrs.frozen
class Order:
    id: UUID
    lines: tuple[Point, ...]
    price: Decimal


@attrs.define(eq=False)
class Loose:
    when: datetime


class Pair(NamedTuple):
    left: int
    right: str


class Movie(TypedDict, total=False):
    title: str
    year: int


class Box(msgspec.Struct, Generic[T]):
    content: T


OLD_AMSTERDAM = datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=1172)))
NOW = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC)
SOME_ID = UUID("12345678-1234-5678-1234-567812345678")


def round_trip(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return JobTypes("job", function).decode_arguments(JobTypes("job", function).encode_arguments(args, kwargs))


def taking(annotation: Any) -> Callable[..., Any]:
    """A function of one parameter with this annotation."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": annotation}
    return function


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 5),
        (int, 2**200),
        (float, 1.5),
        (float, 1e300),
        (str, 'ä "quoted" \n\0 𝄞'),
        (bytes, b"\x00\xff"),
        (bool, True),
        (None, None),
        (int | None, None),
        (int | str, "x"),
        (Any, {"a": [1, 2.5, None, "x", {"b": True}]}),
        (object, [1, "x"]),
        (list, [1, "x"]),
        (dict, {"a": 1}),
        (datetime, NOW),
        (datetime, datetime(2026, 1, 1)),
        (datetime, NOW.astimezone(ZoneInfo("Europe/Berlin"))),
        (date, date(2026, 1, 1)),
        (time, time(1, 2, 3)),
        (timedelta, timedelta(days=1, microseconds=1)),
        (UUID, SOME_ID),
        (Decimal, Decimal("1.10")),
        (Color, Color.RED),
        (Level, Level.LOW),
        (Mood, Mood.GOOD),
        (Literal["a", 3], 3),
        (Annotated[int, "a note"], 3),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"x"})),
        (tuple[int, str], (1, "x")),
        (tuple[int, ...], (1, 2, 3)),
        (tuple, (1, "x")),
        (dict[int, str], {1: "x"}),
        (dict[UUID, list[Color]], {SOME_ID: [Color.BLUE]}),
        (Sequence[int], [1, 2]),
        (Mapping[str, int], {"a": 1}),
        (Point, Point(1, 2.5, {"x"})),
        (Order, Order(SOME_ID, (Point(1), Point(2)), Decimal("0.10"))),
        (Pair, Pair(1, "x")),
        (Movie, {"title": "x"}),
        (Box[set[int]], Box({1})),
        (list[dict[str, Point | None]], [{"a": Point(1), "b": None}]),
        (Path, Path("/tmp/x y")),
        (PurePosixPath, PurePosixPath("a/b")),
        (ZoneInfo, ZoneInfo("Asia/Tokyo")),
    ],
    ids=str,
)
def test_a_value_comes_back_as_what_it_was(annotation: Any, value: Any) -> None:
    """Equal, and of the same type, guided by the annotation."""
    (back,), _ = round_trip(taking(annotation), value)

    assert value == back
    assert type(value) is type(back)


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("hour", [datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)])
def test_an_instant_in_an_hour_that_comes_twice_or_never_comes_back(hour: datetime, fold: int) -> None:
    """Python takes no such time for equal to one of another zone."""
    value = hour.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    (back,), _ = round_trip(taking(datetime), value)

    assert value != back
    assert value.astimezone(UTC) == back.astimezone(UTC)


def test_objects_without_equality_come_back(tmp_path: Path) -> None:
    """A class that does not define equality is compared by its fields."""
    (back,), _ = round_trip(taking(Loose), Loose(NOW))

    assert NOW == back.when


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (str, 5, "value: Expected `str`, got `int`"),
        (int, "5", "value: Expected `int`, got `str`"),
        (int, 5.5, "got `float`"),
        (int, True, "got `bool`"),
        (list[int], [1, "x"], "value[1]: Expected `int`, got `str`"),
        (Point, {"x": "one"}, "value.x"),
        (Color, "green", "Invalid enum value 'green'"),
        (float, float("nan"), "got `null`"),
        (float | None, float("nan"), "value is a float and would come back as None"),
        (float | None, float("inf"), "would come back as None"),
        (str, NOW, "value is a datetime and would come back as a str"),
        (str, SOME_ID, "value is an UUID and would come back as a str"),
        (UUID, str(SOME_ID), "value is a str and would come back as an UUID"),
        (Point, {"x": 1}, "value is a dict and would come back as a Point"),
        (list[str], [NOW], "value[0] is a datetime"),
        (Any, NOW, "value is a datetime"),
        (Any, {"a": [{"b": b"x"}]}, "value['a'][0]['b'] is a bytes and would come back as a str"),
        (Any, {1: 2}, "the key 1 of value is an int"),
        (Any, {1, 2}, "value is a set and would come back as a list"),
        (Any, Opaque(), "value is an Opaque and would come back as a dict"),
        (Opaque, Opaque({1}), "value.inner is a set and would come back as a list"),
        (dict, {"when": NOW}, "value['when'] is a datetime"),
        (Movie, {"title": "x", "year": "1999"}, "value.year"),
        (Annotated[int, msgspec.Meta(le=3)], 5, "Expected `int` <= 3"),
        (datetime, OLD_AMSTERDAM, "value would come back as another instant: convert it to UTC"),
        (list[datetime], [OLD_AMSTERDAM], "value[0] would come back as another instant"),
        (time, OLD_AMSTERDAM.timetz(), "value would come back as another value"),
        (Account, Account("Ada", 5), "value._balance is not stored: of an attrs class"),
        (Vault, Vault(5), "_code is not stored: of an attrs class"),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_refused(annotation: Any, value: Any, complaint: str) -> None:
    """What does not fit its annotation, or would come back as something else, does not get in."""
    with pytest.raises(InvalidArguments) as caught:
        round_trip(taking(annotation), value)

    assert complaint in str(caught.value)
    assert "'job'" in str(caught.value)


def test_a_tuple_without_annotation_comes_back_as_a_list() -> None:
    """JSON has one form for both, and nothing is lost."""
    assert (([1, [2]],), {}) == round_trip(taking(Any), (1, (2,)))


class Sick:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment] (it has equality of its own)


def recursive() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def deep() -> list[Any]:
    inner: list[Any] = []

    for _ in range(100_000):
        inner = [inner]

    return inner


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), "value: 'object' has no form in JSON"),
        (lambda: None, "has no form in JSON"),
        (Sick(), "'Sick' has no form in JSON"),
        (ipaddress.ip_address("::1"), "'IPv6Address' has no form in JSON"),
        (1j, "has no form in JSON"),
        ("\ud800", "surrogates not allowed"),
        ({(1, 2): 3}, "'tuple' has no form"),
        (recursive(), "contains itself"),
        (deep(), "nested too deeply"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_a_value_that_json_has_not_cannot_be_encoded(value: Any, complaint: str) -> None:
    """The parameter is named, with the reason."""
    with pytest.raises(CannotEncode) as caught:
        round_trip(taking(Any), value)

    assert complaint in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.dictionaries(st.integers(), st.binary()), st.sets(st.datetimes(timezones=st.just(UTC))))
def test_any_value_comes_back(anything: Any, numbered: dict[int, bytes], instants: set[datetime]) -> None:
    """Whatever JSON has, and typed containers of what it has not."""

    def function(anything: Any, numbered: dict[int, bytes], *, instants: set[datetime]) -> None: ...

    assert ((anything, numbered), {"instants": instants}) == round_trip(
        function, anything, numbered=numbered, instants=instants
    )


# --- calls -------------------------------------------------------------------------------------------------------


def nothing() -> None: ...
def plain(a: int, b: str = "b", *, c: float, d: int = 4) -> None: ...
def optional(a: int = 1, b: int = 2, c: int = 3) -> None: ...
def positional(a: int, b: int = 2, /, c: int = 3) -> None: ...
def variable(a: int, *rest: float, key: str = "k", **more: bytes) -> None: ...
def awkward(self: int, cls: int, kwargs: int, args: int = 0, *, name: int = 0) -> None: ...
def typed_more(**movie: Unpack[Movie]) -> None: ...
def passing(*args: P.args, **kwargs: P.kwargs) -> None: ...  # pyright: ignore (nothing binds P)
def shadowing(a: int, /, **kwargs: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "call"),
    [
        (nothing, (), {}, ((), {})),
        (plain, (1,), {"c": 2.5}, ((1,), {"c": 2.5})),
        (plain, (1, "x"), {"c": 2.5, "d": 5}, ((1, "x"), {"c": 2.5, "d": 5})),
        (plain, (), {"c": 2.5, "a": 1}, ((1,), {"c": 2.5})),
        (optional, (), {}, ((), {})),
        (optional, (), {"c": 5}, ((), {"c": 5})),
        (optional, (1,), {"c": 5}, ((1,), {"c": 5})),
        (positional, (1, 5), {"c": 6}, ((1, 5, 6), {})),
        (positional, (1,), {"c": 6}, ((1,), {"c": 6})),
        (variable, (1, 2.5, 3.5), {"key": "x", "z": b"1"}, ((1, 2.5, 3.5), {"key": "x", "z": b"1"})),
        (variable, (1,), {}, ((1,), {})),
        (variable, (1,), {"rest": b"x"}, ((1,), {"rest": b"x"})),
        (awkward, (1, 2), {"kwargs": 3, "name": 4}, ((1, 2, 3), {"name": 4})),
        (awkward, (), {"self": 1, "cls": 2, "kwargs": 3}, ((1, 2, 3), {})),
        (typed_more, (), {"title": "x"}, ((), {"title": "x"})),
        (passing, (1, "x"), {"a": 2}, ((1, "x"), {"a": 2})),
        (shadowing, (1,), {"b": 2}, ((1,), {"b": 2})),
        (functools.partial(plain, c=1.5), (1,), {}, ((1,), {})),
        (Pair(1, "x").count, (1,), {}, ((1,), {})),
    ],
)
def test_a_call_arrives_as_it_was_made(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], call: Any
) -> None:
    """By position as far as possible, else by name; what is left to its default is left to it."""
    assert call == round_trip(function, *args, **kwargs)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (nothing, (1,), {}),
        (nothing, (), {"a": 1}),
        (plain, (), {}),
        (plain, (1,), {}),
        (plain, (1, "b", 2.5), {}),
        (plain, (1,), {"c": 2.5, "e": 1}),
        (plain, (1,), {"a": 1, "c": 2.5}),
        (positional, (), {"a": 1}),
        (positional, (1,), {"b": 1}),
        (variable, (), {}),
        (awkward, (1,), {}),
    ],
)
def test_a_call_that_does_not_fit_is_refused_as_python_would(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """In the words of Python's own binding, with the job's name."""
    with pytest.raises(TypeError):
        function(*args, **kwargs)

    with pytest.raises(InvalidArguments, match="do not fit job 'job'"):
        round_trip(function, *args, **kwargs)


@given(
    st.sampled_from([plain, optional, positional, variable, awkward, shadowing]),
    st.lists(st.just(1), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "self", "kwargs", "key", "z"]), st.just(1), max_size=4),
)
def test_binding_agrees_with_python(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    """The quick way takes exactly the calls that the function would take."""
    untyped = JobTypes("job", without_annotations(function))

    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(InvalidArguments):
            untyped.encode_arguments(args, kwargs)
    else:
        back_args, back_kwargs = untyped.decode_arguments(untyped.encode_arguments(args, kwargs))
        assert bound(function, args, kwargs) == bound(function, back_args, back_kwargs)


def without_annotations(function: Callable[..., Any]) -> Callable[..., Any]:
    copy = FunctionType(function.__code__, {}, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return signature(function).bind(*args, **kwargs).arguments


def test_no_arguments_take_no_space() -> None:
    """A call without any is stored as empty text."""
    assert "" == JobTypes("job", optional).encode_arguments((), {})
    assert ((), {}) == JobTypes("job", optional).decode_arguments("")


def test_arguments_are_stored_by_name() -> None:
    """So that parameters may change places, and new ones with a default be added, while runs are waiting."""

    def before(a: int, b: str) -> None: ...
    def after(b: str, new: int = 5, *, a: int) -> None: ...

    payload = JobTypes("job", before).encode_arguments((1, "x"), {})

    assert '{"a":1,"b":"x"}' == payload
    assert (("x",), {"a": 1}) == JobTypes("job", after).decode_arguments(payload)


# --- stored text that no longer fits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    ["", "x", "[]", "null", "{}", '{"a":"x"}', '{"a":1,"zz":2}', '{"a":null}', '{"a":1', "[" * 100_000, '{"a":\ud800}'],
    ids=lambda payload: payload[:10].encode("utf-8", "replace").decode(),
)
def test_a_stored_payload_that_does_not_fit_is_told_apart(payload: str) -> None:
    """Damage and a changed function give one error, with the job's name."""

    def function(a: int) -> None: ...

    with pytest.raises(CannotDecode, match="the stored arguments of job 'job'"):
        JobTypes("job", function).decode_arguments(payload)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_raises_anything_else(payload: str) -> None:
    """Only the documented error leaves, whatever is stored."""

    def function(order: Order, more: dict[str, Point]) -> Order: ...

    types = JobTypes("job", function)

    with pytest.raises(CannotDecode):
        types.decode_arguments(payload)

    with suppress(CannotDecode):
        types.decode_result(payload)


# --- annotations -------------------------------------------------------------------------------------------------


def forward(value: Later) -> Later: ...  # type: ignore[empty-body] (only its annotations are looked at)


@dataclass
class Later:
    name: str


def test_annotations_may_name_what_is_defined_further_down() -> None:
    """They are looked at when they are needed first."""
    assert ((Later("x"),), {}) == round_trip(forward, Later("x"))


def test_annotations_see_what_the_function_closes_over() -> None:
    """A class of an enclosing function is found if the function uses it."""

    @dataclass
    class Local:
        n: int

    def function(value: Local) -> int:
        return isinstance(value, Local)

    assert ((Local(1),), {}) == round_trip(function, Local(1))


def unknown(value: Missing) -> None: ...  # type: ignore[name-defined] # noqa: F821 (that is the point)
def union(value: Point | Opaque) -> None: ...
def broken(value: [1 / 0]) -> None: ...  # type: ignore[valid-type] (that is the point)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (unknown, "the annotation of 'value' cannot be used: name 'Missing' is not defined (what is imported only"),
        (union, "the annotation of 'value' cannot be used: Type unions may not contain more than one dataclass"),
        (broken, "the annotation of 'value' cannot be used"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(function: Callable[..., Any], complaint: str) -> None:
    """At the first use, or when asked."""
    types = JobTypes("job", function)

    for use in (lambda: types.encode_arguments((1,), {}), types.check):
        with pytest.raises(CannotEncode) as caught:
            use()

        assert complaint in str(caught.value)

    with pytest.raises(CannotDecode):
        types.decode_arguments('{"value":1}')


class Caller:
    def __call__(self, value: Later) -> Later: ...  # type: ignore[empty-body] (as above)

    def method(self, value: Later) -> Later: ...  # type: ignore[empty-body] (as above)


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(forward),
        functools.partial(functools.partial(forward)),
        Caller(),
        Caller().method,
        functools.partial(Caller()),
        functools.partial(Caller().method),
        staticmethod(forward),
        functools.lru_cache(forward),
        functools.wraps(forward)(functools.partial(lambda value: value)),
    ],
    ids=str,
)
def test_annotations_are_found_behind_whatever_can_be_called(function: Callable[..., Any]) -> None:
    """As text they mean what they mean in the module of the function that is called in the end."""
    types = JobTypes("job", function)

    assert ((Later("x"),), {}) == round_trip(function, Later("x"))
    assert Later("x") == types.decode_result(types.encode_result(Later("x")))


def test_a_wrapped_function_is_seen_through() -> None:
    """``functools.wraps`` keeps the annotations in sight."""

    @functools.wraps(forward)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    assert ((Later("x"),), {}) == round_trip(wrapper, Later("x"))
