"""How values are turned into bytes and back.

:class:`JsonCodec` is the default. :class:`Codec` is what a user's own has to offer. Nothing here ever loads code from
stored data; a codec of the user's may, at the user's risk.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Protocol, get_origin, runtime_checkable

import msgspec
from attrs import frozen

__all__ = ["Codec", "JsonCodec", "from_stored", "to_stored"]


@runtime_checkable
class Codec(Protocol):
    """Turns values into bytes and back. Whatever it raises is reported as the value's fault."""

    def dumps(self, value: Any, type: Any) -> bytes:
        """A value as bytes.

        Args:
            value: arguments come as a ``dict`` by parameter name, results as they are.
            type: what was declared: for arguments a ``TypedDict`` made from the function's annotations, for a result
                the annotated type, ``Any`` if there is none.
        """
        ...

    def loads(self, data: bytes, type: Any) -> Any:
        """The value that :meth:`dumps` was given, with the same ``type``."""
        ...


@frozen
class JsonCodec:
    """JSON by msgspec, guided by type annotations.

    Beyond what JSON has: dataclasses, attrs classes, ``TypedDict``, named tuples, ``msgspec.Struct``, enums,
    ``datetime``, ``date``, ``time``, ``timedelta``, ``UUID``, ``Decimal``, ``bytes``, sets, tuples, keys that are
    numbers, paths and ``ZoneInfo``. A ``datetime`` keeps its offset from UTC, not the name of its zone.

    Args:
        enc_hook: turns an object of a type that is not known here into one that is; raises ``NotImplementedError``
            for what it does not know.
        dec_hook: makes an object of a type, given first, from what ``enc_hook`` made of it; likewise.
    """

    enc_hook: Callable[[Any], Any] | None = None
    dec_hook: Callable[[Any, Any], Any] | None = None

    def dumps(self, value: Any, type: Any) -> bytes:
        """The value as JSON; ``type`` is not needed for this."""
        return self.encoder().encode(value)

    def loads(self, data: bytes, type: Any) -> Any:
        """The value, checked against ``type`` and converted to it."""
        return self.decoder(type).decode(data)

    def encoder(self, *, canonical: bool = False) -> msgspec.json.Encoder:
        """An encoder to be kept by whoever encodes often.

        Args:
            canonical: equal values give equal bytes, whatever the order of their sets and mappings.
        """
        return msgspec.json.Encoder(enc_hook=self._encode, order="deterministic" if canonical else None)

    def decoder(self, type: Any) -> msgspec.json.Decoder[Any]:
        """A decoder for one type, likewise.

        Raises:
            TypeError: the type has no form in JSON.
        """
        return msgspec.json.Decoder(type, dec_hook=self._decode)

    def as_json(self, value: Any) -> Any:
        """The value as it is with what JSON has: numbers, text, lists and mappings from text."""
        return msgspec.to_builtins(value, str_keys=True, enc_hook=self._encode)

    def _encode(self, value: Any) -> Any:
        if self.enc_hook is not None:
            try:
                return self.enc_hook(value)
            except NotImplementedError:
                pass

        if isinstance(value, _known_by_text()):
            return str(value)

        reason = f"{type(value).__name__!r} has no form in JSON"
        raise NotImplementedError(reason)  # msgspec's word for a type that nobody knows

    def _decode(self, wanted: Any, value: Any) -> Any:
        if self.dec_hook is not None:
            try:
                return self.dec_hook(wanted, value)
            except NotImplementedError:
                pass

        kind = get_origin(wanted) or wanted

        if isinstance(value, kind):
            return value

        if isinstance(value, str) and issubclass(kind, _known_by_text()):
            return kind(value)

        reason = f"no {kind.__name__} can be made from a {type(value).__name__}"
        raise NotImplementedError(reason)  # msgspec's word for a type that nobody knows


def _known_by_text() -> tuple[type, ...]:
    """The types whose objects are stored as their ``str()``; imported for those who store them."""
    from pathlib import PurePath
    from zoneinfo import ZoneInfo

    return PurePath, ZoneInfo


def to_stored(codec: Codec, data: bytes) -> str:
    """The text that is stored: JSON as it is, what another codec makes as base64."""
    if isinstance(codec, JsonCodec):
        return data.decode()

    return base64.b64encode(data).decode()


def from_stored(codec: Codec, text: str) -> bytes:
    """What :func:`to_stored` was given.

    Raises:
        ValueError: it is not such text.
    """
    if isinstance(codec, JsonCodec):
        return text.encode()

    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        reason = f"it is not base64 ({error}); was it stored by another codec?"
        raise ValueError(reason) from None
