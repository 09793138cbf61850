"""What a job takes and returns, as stored text and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from inspect import Parameter
from typing import Any, Final

import msgspec
from attrs import define, field

from anysched.codec import Codec, JsonCodec, from_stored, to_stored
from anysched.errors import CannotDecode, CannotEncode, InvalidArguments
from anysched.fidelity import LEFT_OUT, find_change
from anysched.identifiers import digest
from anysched.shapes import Arguments, Shape, UnusableAnnotation, result_type_of, shape_of

__all__ = ["JobTypes", "plain_reason"]

_PLACE: Final = r"(?s)(.*) - at `\$\.?(.*)`"
_UNSTORED: Final = "missing required field `(_[^`]*)`"
_LONGEST_REASON: Final = 400

_PLAIN: Final = (str, bool, int, type(None))
"""Types of results that come back as they are, whatever is declared."""


@define(eq=False)
class JobTypes:
    """Encodes and decodes what one function takes and returns.

    Arguments are stored by name, so that parameters may change places, or new ones with a default be added, while runs
    are waiting. Nothing is looked at before the first use, so that annotations may name what is defined further down.

    Args:
        job: the job's name, for errors.
        function: the function.
        codec: what turns values into bytes.
    """

    job: str
    function: Callable[..., Any] = field(repr=False)
    codec: Codec = field(factory=JsonCodec, repr=False)
    _shape: Shape | None = field(default=None, init=False, repr=False)
    _defaults: Mapping[str, bytes] | None = field(default=None, init=False, repr=False)
    _dump_result: Callable[[Any], bytes] | None = field(default=None, init=False, repr=False)
    _load_result: Callable[[bytes], Any] | None = field(default=None, init=False, repr=False)

    # --- arguments -------------------------------------------------------------------------------------------

    def encode_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """A call's arguments as text; empty if there are none.

        With JSON they are decoded again on the spot, so that what is stored is known to come back as it was given.

        Raises:
            InvalidArguments: they do not fit the signature or the annotations, or would come back as something else.
            CannotEncode: one of them has no form in the codec's format, or an annotation cannot be used.
        """
        shape = self._shape or self._prepare(CannotEncode)

        if shape.optional and not args and not kwargs:
            return ""

        try:
            bound = shape.bind(args, kwargs)
        except TypeError as error:
            raise InvalidArguments(self.job, str(error)) from None

        try:
            data = shape.encode(bound)

            if isinstance(self.codec, JsonCodec) and shape.decode(data) != bound:
                return self._encode_with_care(shape, bound)

            return to_stored(self.codec, data)
        except (InvalidArguments, CannotEncode):
            raise
        except Exception:  # noqa: BLE001 (hooks, equality and what a codec does are the user's code)
            return self._encode_with_care(shape, bound)

    def decode_arguments(self, payload: str) -> Arguments:
        """The arguments of a call, for ``function(*args, **kwargs)``.

        Raises:
            CannotDecode: the text is damaged, or no longer fits the function.
        """
        shape = self._shape or self._prepare(CannotDecode)

        if payload:
            return shape.call_of(self._load(shape, payload))

        if not shape.optional:
            raise CannotDecode("arguments", self.job, "there are none, and the function needs some")

        return (), {}

    def arguments_from_json(self, args: Sequence[str], kwargs: Mapping[str, str]) -> Arguments:
        """Arguments that were written as JSON, each a text of its own, such as on a command line.

        Raises:
            InvalidArguments: one is not JSON, or does not fit.
            CannotEncode: an annotation cannot be used.
        """
        shape = self._shape or self._prepare(CannotEncode)

        try:
            bound = shape.bind([_raw(text) for text in args], {name: _raw(text) for name, text in kwargs.items()})
            return shape.call_of(self._json().decoder(shape.struct).decode(msgspec.json.encode(bound)))
        except Exception as error:  # noqa: BLE001 (hooks and __post_init__ are the user's code)
            raise InvalidArguments(self.job, plain_reason(error)) from None

    def arguments_digest(self, payload: str) -> str:
        """A short text that two payloads share when they mean the same call.

        It makes no difference in which order sets and mappings were stored, nor whether a default was written out.

        Raises:
            CannotDecode: as :meth:`decode_arguments`.
        """
        data = payload.encode()

        if payload and isinstance(self.codec, JsonCodec):
            shape = self._shape or self._prepare(CannotDecode)
            given = shape.given(self._load(shape, payload))
            encode = self.codec.encoder(canonical=True).encode
            defaults = self._defaults if self._defaults is not None else self._prepare_defaults(shape, self.codec)
            meant = {name: value for name, value in given.items() if encode(value) != defaults.get(name)}
            data = encode(meant) if meant else b""

        return digest(data, 12).hex()

    # --- the result ------------------------------------------------------------------------------------------

    def encode_result(self, value: Any) -> str:
        """What the function returned, as text; empty for ``None``.

        What does not fit the annotation at all is stored: the work is done, and whoever asks for the result is told.
        What does, and would come back as something else, is not, since nobody would notice. Where nothing is declared,
        as in ``dict[str, Any]``, it comes back as JSON has it.

        Raises:
            CannotEncode: it has no form in the codec's format, or would come back as something else.
        """
        if value is None:
            return ""

        try:
            dump = self._dump_result or self._prepare_dump()
            data = dump(value)
            text = to_stored(self.codec, data)
            change = self._change_of_result(value, data) if type(value) not in _PLAIN else None
        except Exception as error:  # noqa: BLE001 (hooks and codecs are the user's code)
            raise CannotEncode("result", self.job, plain_reason(error)) from None

        if change is not None:
            raise CannotEncode("result", self.job, f"{change} (declare what the function returns, or return that)")

        return text

    def decode_result(self, text: str) -> Any:
        """What the function returned, as the type that it declares.

        Raises:
            CannotDecode: the text is damaged, does not fit what is declared, or the annotation cannot be used.
        """
        if not text:
            return None

        try:
            load = self._load_result or self._prepare_load()
            return load(from_stored(self.codec, text))
        except Exception as error:  # noqa: BLE001 (as above)
            raise CannotDecode("result", self.job, plain_reason(error)) from None

    def check(self) -> None:
        """Look at all annotations now.

        Raises:
            CannotEncode: one of them cannot be used.
        """
        self._prepare(CannotEncode)

        try:
            self._prepare_load()
        except (UnusableAnnotation, TypeError) as error:
            raise CannotEncode("result", self.job, plain_reason(error)) from None

    # --- steps -----------------------------------------------------------------------------------------------

    def _prepare(self, error: type[CannotEncode] | type[CannotDecode]) -> Shape:
        try:
            self._shape = shape_of(self.function, self.codec)
        except (UnusableAnnotation, TypeError, ValueError) as reason:
            raise error("arguments", self.job, plain_reason(reason)) from None

        return self._shape

    def _prepare_defaults(self, shape: Shape, codec: JsonCodec) -> Mapping[str, bytes]:
        """The defaults as they would be stored, and come back; without those that cannot be."""
        encode = codec.encoder(canonical=True).encode
        found: dict[str, bytes] = {}

        for name, default in shape.defaults.items():
            if default is not Parameter.empty:
                with suppress(Exception):
                    found[name] = encode(codec.decoder(shape.types[name]).decode(encode(default)))

        self._defaults = found
        return found

    def _prepare_dump(self) -> Callable[[Any], bytes]:
        codec = self.codec
        is_json = isinstance(codec, JsonCodec)
        kind = Any if is_json else result_type_of(self.function)
        self._dump_result = codec.encoder().encode if is_json else lambda value: codec.dumps(value, kind)

        return self._dump_result

    def _prepare_load(self) -> Callable[[bytes], Any]:
        codec = self.codec
        kind = result_type_of(self.function)
        is_json = isinstance(codec, JsonCodec)
        self._load_result = codec.decoder(kind).decode if is_json else lambda data: codec.loads(data, kind)

        return self._load_result

    def _change_of_result(self, value: Any, data: bytes) -> str | None:
        codec = self.codec

        if not isinstance(codec, JsonCodec):
            return None

        try:
            load = self._load_result or self._prepare_load()
            back = load(data)
        except Exception as error:  # noqa: BLE001 (as above)
            if left_out := _left_out(plain_reason(error)):
                return left_out

            back = msgspec.json.decode(data)

        return find_change(value, back, "it", codec.as_json)

    def _load(self, shape: Shape, payload: str) -> msgspec.Struct:
        try:
            return shape.decode(from_stored(self.codec, payload))
        except Exception as error:  # noqa: BLE001 (hooks, codecs and __post_init__ are the user's code)
            raise CannotDecode("arguments", self.job, plain_reason(error)) from None

    def _encode_with_care(self, shape: Shape, bound: msgspec.Struct) -> str:
        """Encode what the quick way did not like: say what is wrong with it, or find that nothing is."""
        try:
            data = shape.encode(bound)
        except Exception as error:  # noqa: BLE001 (hooks and codecs are the user's code)
            raise CannotEncode("arguments", self.job, self._blame(shape, bound, error)) from None

        if not isinstance(self.codec, JsonCodec):
            raise CannotEncode("arguments", self.job, f"the codec gave {type(data).__name__} instead of bytes")

        try:
            change = _first_change(shape, bound, shape.decode(data))
        except Exception as error:  # noqa: BLE001 (as above)
            reason = plain_reason(error)
            raise InvalidArguments(self.job, _left_out(reason) or reason) from None

        if change is not None:
            raise InvalidArguments(self.job, f"{change}: annotate the parameter with what it takes, or pass that")

        return to_stored(self.codec, data)

    def _blame(self, shape: Shape, bound: msgspec.Struct, error: Exception) -> str:
        """The reason, with the parameter whose value cannot be encoded, as far as one alone is at fault."""
        for name, value in shape.given(bound).items():
            try:
                self.codec.dumps(value, shape.types[name])
            except Exception as reason:  # noqa: BLE001 (as above)
                return f"{name}: {plain_reason(reason)}"

        return plain_reason(error)

    def _json(self) -> JsonCodec:
        return self.codec if isinstance(self.codec, JsonCodec) else JsonCodec()


def plain_reason(error: Exception) -> str:
    """An error's words, in one short line or two, with the place in front."""
    if isinstance(error, RecursionError):
        return "it contains itself, or is nested too deeply"

    try:
        said = str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 (it may be anybody's)
        said = type(error).__name__

    if isinstance(getattr(error, "reason", None), NameError):
        said += " (what is imported only for type checkers cannot be seen at run time)"
    elif found := re.fullmatch(_PLACE, said):
        said = f"{found[2]}: {found[1]}" if found[2] else found[1]

    return said if len(said) <= _LONGEST_REASON else said[:_LONGEST_REASON] + "..."


def _left_out(reason: str) -> str | None:
    """What is the matter where a field is missing of an object that came from here."""
    found = re.search(_UNSTORED, reason)
    return f"{found[1]} {LEFT_OUT}" if found is not None else None


def _first_change(shape: Shape, before: msgspec.Struct, after: msgspec.Struct) -> str | None:
    names = (name for name, _ in shape.parameters)
    changes: Iterable[str | None] = (find_change(getattr(before, name), getattr(after, name), name) for name in names)

    return next((change for change in changes if change is not None), None)


def _raw(text: str) -> msgspec.Raw:
    """The text as it is, after a look whether it is one JSON value and nothing more."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        reason = f"{text[:80]!r} is not JSON ({error})"
        raise ValueError(reason) from None

    return msgspec.Raw(text.encode())
