"""Whether a value came back as what it was.

Equal is good enough. What is not equal may still be: an object that does not define equality, or a tuple where JSON
has lists. What is left has changed, and the first such place is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import datetime, time, timedelta
from typing import Any

from attrs import fields as attrs_fields
from attrs import has as is_attrs

from anysched.values import shown

__all__ = ["LEFT_OUT", "find_change"]

LEFT_OUT = "is not stored: of an attrs class, nothing is whose name begins with an underscore"
"""What msgspec does with it."""

_INSTANT = "instant: convert it to UTC, since its offset is no whole minutes"

# Of one type and yet not equal, these have changed; anything else may merely not define equality.
_PLAIN = (str, bytes, bytearray, int, list, tuple, datetime, time)


Plain = Callable[[Any], Any]
"""Gives what JSON has of a value."""


def find_change(before: Any, after: Any, where: str, plain: Plain | None = None) -> str | None:
    """Say where a value differs from what it was before, or None.

    Args:
        before: the value as it was given.
        after: the value as it comes back.
        where: what the value is called.
        plain: if given, what comes back as another type may be what this makes of it: where nothing is declared,
            there is nothing else to come back as.
    """
    if _equal(before, after):
        return None

    if _is_sequence(before) and _is_sequence(after) and len(before) == len(after):
        places = zip(range(len(before)), before, after, strict=True)
        return _first_change([(f"{where}[{index}]", was, became) for index, was, became in places], plain)

    kind = before.__class__

    if kind is not after.__class__:
        return _change_of_kind(before, after, where, plain)

    if issubclass(kind, Mapping):
        return _change_of_mapping(before, after, where, plain)

    if issubclass(kind, _PLAIN) or (issubclass(kind, float) and not (math.isnan(before) and math.isnan(after))):
        return f"{where} would come back as another {_INSTANT if issubclass(kind, datetime) else 'value'}"

    return _change_of_fields(before, after, where, plain)


def _change_of_kind(before: Any, after: Any, where: str, plain: Plain | None) -> str | None:
    if plain is not None and (as_json := plain(before)).__class__ is after.__class__:
        return find_change(as_json, after, where)

    return f"{where} is {_kind(before)} and would come back as {_kind(after)}"


def _first_change(places: list[tuple[str, Any, Any]], plain: Plain | None) -> str | None:
    for where, before, after in places:
        if (found := find_change(before, after, where, plain)) is not None:
            return found

    return None


def _change_of_mapping(
    before: Mapping[Any, Any], after: Mapping[Any, Any], where: str, plain: Plain | None
) -> str | None:
    for key in before:
        if key not in after:
            if plain is not None:
                return find_change(plain(before), after, where)

            return f"the key {shown(key)} of {where} is {_kind(key)} and would come back as another"

    return _first_change([(f"{where}[{shown(key)}]", before[key], after[key]) for key in before], plain)


def _change_of_fields(before: Any, after: Any, where: str, plain: Plain | None) -> str | None:
    missing = object()

    for name in _field_names(before.__class__):
        was, became = getattr(before, name, missing), getattr(after, name, missing)
        found = find_change(was, became, f"{where}.{name}", plain)

        if found is not None:
            is_left_out = name.startswith("_") and is_attrs(before.__class__)
            return f"{where}.{name} {LEFT_OUT}" if is_left_out else found

    return None


def _is_sequence(value: Any) -> bool:
    """Whether it is what JSON has one form for."""
    return isinstance(value, list | tuple)


def _equal(before: Any, after: Any) -> bool:
    try:
        # Between zones, no instant is equal to any that is in an hour which comes twice, or never.
        return bool(before == after) or (isinstance(before, datetime) and before - after == timedelta(0))
    except Exception:  # noqa: BLE001 (equality is the user's code, and may give an array or raise)
        return False


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    if is_dataclass(kind):
        return tuple(field.name for field in dataclass_fields(kind))

    if is_attrs(kind):
        return tuple(field.name for field in attrs_fields(kind))

    return tuple(getattr(kind, "__struct_fields__", ()))


def _kind(value: Any) -> str:
    if value is None:
        return "None"

    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
