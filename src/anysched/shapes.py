"""The parameters of a function, as a structure that binds, encodes and checks a call in C.

A ``msgspec`` structure with one field for each parameter does three things at once: its constructor takes what the
function takes (names, counts, defaults), its encoder stores that by name, and its decoder checks and converts what was
stored by the annotations. ``UNSET`` stands for a parameter that is left to its default; it is not stored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature
from types import SimpleNamespace
from typing import (
    Any,
    NotRequired,
    ParamSpecArgs,
    ParamSpecKwargs,
    TypeAlias,
    TypedDict,
    Union,
    Unpack,
    cast,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import UNSET, UnsetType

from anysched.codec import Codec, JsonCodec

__all__ = ["Arguments", "Shape", "UnusableAnnotation", "result_type_of", "shape_of"]

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""What goes between the parentheses of a call."""


Kind: TypeAlias = Any
"""One of the kinds of :class:`inspect.Parameter`, whose class has no public name."""


class UnusableAnnotation(Exception):
    """An annotation names what cannot be found, or a type that cannot be stored. Never leaves this floor."""

    def __init__(self, parameter: str, reason: Exception) -> None:
        super().__init__(f"the annotation of {parameter!r} cannot be used: {reason}")
        self.parameter = parameter
        self.reason = reason


class Shape(msgspec.Struct, frozen=True, eq=False):
    """A function's parameters, prepared.

    Attributes:
        signature: as Python sees it.
        parameters: name and kind of each parameter, in the order of the fields.
        defaults: the default of each parameter, ``Parameter.empty`` where there is none.
        types: the type of what is stored for each.
        struct: the structure.
        optional: whether a call without any argument is allowed.
        direct: whether the constructor binds as a call of the function would: there is no ``*args``, no ``**kwargs``.
        positional_only: what the constructor would take by name, and the function would not.
        encode: turns a structure into bytes.
        decode: and back.
    """

    signature: Signature
    parameters: tuple[tuple[str, Kind], ...]
    defaults: Mapping[str, Any]
    types: Mapping[str, Any]
    struct: type[msgspec.Struct]
    optional: bool
    direct: bool
    positional_only: frozenset[str]
    encode: Callable[[msgspec.Struct], bytes]
    decode: Callable[[bytes], msgspec.Struct]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> msgspec.Struct:
        """The arguments of a call in their structure.

        Raises:
            TypeError: the function would not take them.
        """
        if self.direct and (not kwargs or self.positional_only.isdisjoint(kwargs)):
            try:
                return self.struct(*args, **kwargs)
            except TypeError:
                pass

        # Several times slower; for *args and **kwargs, and for its words about what is wrong.
        return self.struct(**self.signature.bind(*args, **kwargs).arguments)

    def given(self, bound: msgspec.Struct) -> dict[str, Any]:
        """The arguments that are not left to their defaults, by parameter."""
        values = zip(self.parameters, msgspec.structs.astuple(bound), strict=True)
        return {name: value for (name, _), value in values if value is not UNSET}

    def call_of(self, bound: msgspec.Struct) -> Arguments:
        """The arguments as the function takes them: by position as far as possible."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        by_position = True

        for (name, kind), value in zip(self.parameters, msgspec.structs.astuple(bound), strict=True):
            match kind:
                case _ if value is UNSET:
                    by_position = False
                case Parameter.VAR_KEYWORD:
                    kwargs.update(value)
                case Parameter.VAR_POSITIONAL:
                    args.extend(value)
                case _ if by_position and kind is not Parameter.KEYWORD_ONLY:
                    args.append(value)
                case _:
                    kwargs[name] = value

        return tuple(args), kwargs


def shape_of(function: Callable[..., Any], codec: Codec) -> Shape:
    """Look at a function's parameters and annotations.

    Raises:
        UnusableAnnotation: an annotation cannot be resolved, or the codec is JSON and has no form for it.
    """
    signature = inspect.signature(function)
    parameters = tuple(signature.parameters.values())
    types = {parameter.name: _usable_type(function, parameter, codec) for parameter in parameters}
    struct = _struct_for(parameters, types)
    kinds = {parameter.kind for parameter in parameters}

    if isinstance(codec, JsonCodec):
        encode, decode = codec.encoder().encode, codec.decoder(struct).decode
    else:
        encode, decode = _through(codec, struct, parameters, types)

    return Shape(
        signature=signature,
        parameters=tuple((parameter.name, parameter.kind) for parameter in parameters),
        defaults={parameter.name: parameter.default for parameter in parameters},
        types=types,
        struct=struct,
        optional=not any(map(_is_required, parameters)),
        direct=kinds.isdisjoint({Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}),
        positional_only=frozenset(p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY),
        encode=encode,
        decode=decode,
    )


def result_type_of(function: Callable[..., Any]) -> Any:
    """The type that a function says it returns; ``Any`` if it does not.

    Raises:
        UnusableAnnotation: it cannot be resolved.
    """
    try:
        return _resolved(function, inspect.signature(function).return_annotation)
    except Exception as reason:  # noqa: BLE001 (an annotation is an expression of the user's)
        raise UnusableAnnotation("return", reason) from None


# --- types -------------------------------------------------------------------------------------------------------


def _usable_type(function: Callable[..., Any], parameter: Parameter, codec: Codec) -> Any:
    try:
        kind = _stored_type(_resolved(function, parameter.annotation), parameter)

        if isinstance(codec, JsonCodec):
            codec.decoder(kind)
    except Exception as reason:  # noqa: BLE001 (an annotation is an expression of the user's)
        raise UnusableAnnotation(parameter.name, reason) from None

    return kind


def _stored_type(kind: Any, parameter: Parameter) -> Any:
    """The type of what is stored for a parameter that is annotated with ``kind``."""
    if parameter.kind is Parameter.VAR_POSITIONAL:
        # What a ParamSpec or a TypeVarTuple stands for is not known here.
        unknown = isinstance(kind, ParamSpecArgs) or get_origin(kind) is Unpack
        return tuple[Any, ...] if unknown else tuple[kind, ...]

    if parameter.kind is Parameter.VAR_KEYWORD:
        if get_origin(kind) is Unpack:
            return kind.__args__[0]

        return dict[str, Any] if isinstance(kind, ParamSpecKwargs) else dict[str, kind]

    return kind


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    """An annotation as a type, with the names that are known where the function was written."""
    if annotation is Parameter.empty:
        return Any

    written = _written(function)
    holder = SimpleNamespace(__annotations__={"it": annotation})

    return get_type_hints(holder, getattr(written, "__globals__", {}), _closure_of(written), include_extras=True)["it"]


def _written(function: Any) -> Any:
    """The function in whose source the annotations of a callable stand."""
    written: Any = inspect.unwrap(function)

    if isinstance(written, partial):
        return _written(cast("Any", written.func))

    if inspect.ismethod(written):
        return _written(written.__func__)

    if inspect.isroutine(written):
        return written

    # An object that can be called: its class says how. Of what is not written in Python nothing is known.
    called: Any = inspect.unwrap(written.__class__.__call__)
    return called if inspect.isfunction(called) else written


def _closure_of(function: Any) -> dict[str, Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    found: dict[str, Any] = {}

    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue

    return found


# --- structures --------------------------------------------------------------------------------------------------


def _is_required(parameter: Parameter) -> bool:
    variable = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.default is Parameter.empty and not variable


def _struct_for(parameters: tuple[Parameter, ...], types: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A structure whose constructor takes by position and by name what the function takes so."""
    by_position: list[Any] = []
    by_name: list[Any] = []

    for parameter in parameters:
        name, kind = parameter.name, types[parameter.name]
        fields = by_name if parameter.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD) else by_position
        # Not written with a bar, which some annotations do not have.
        fields.append((name, kind) if _is_required(parameter) else (name, Union[kind, UnsetType], UNSET))  # noqa: UP007 - see above

    base = msgspec.defstruct("Arguments", by_position, forbid_unknown_fields=True)

    if not by_name:
        return base

    return msgspec.defstruct("Arguments", by_name, bases=(base,), kw_only=True, forbid_unknown_fields=True)


# The call form of TypedDict is meant for names that a type checker can read.
_typed_dict: Callable[[Mapping[str, Any]], Any] = partial(cast("Any", TypedDict), "Arguments")


def _through(
    codec: Codec, struct: type[msgspec.Struct], parameters: tuple[Parameter, ...], types: Mapping[str, Any]
) -> tuple[Callable[[msgspec.Struct], bytes], Callable[[bytes], msgspec.Struct]]:
    """Encode and decode by a codec of the user's, which sees a ``dict`` and its ``TypedDict``."""
    declared = {p.name: types[p.name] if _is_required(p) else NotRequired[types[p.name]] for p in parameters}
    kind = _typed_dict(declared)

    def encode(bound: msgspec.Struct) -> bytes:
        given = {name: value for name, value in msgspec.structs.asdict(bound).items() if value is not UNSET}
        return codec.dumps(given, kind)

    def decode(data: bytes) -> msgspec.Struct:
        return struct(**codec.loads(data, kind))

    return encode, decode
