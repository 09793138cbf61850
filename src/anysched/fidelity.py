"""Whether a value came back as what it was.

Equal is good enough. What is not equal may still be: an object that does not define equality, or a tuple where JSON
has lists. What is left has changed, and the first such place is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Any

from attrs import fields as attrs_fields
from attrs import has as is_attrs

from anysched.values import shown

__all__ = ["find_change"]

# Of one type and yet not equal, these have changed; anything else may merely not define equality.
_PLAIN = (str, bytes, bytearray, int, list, tuple)


def find_change(before: Any, after: Any, where: str) -> str | None:
    """Say where a value differs from what it was before, or None.

    Args:
        before: the value as it was given.
        after: the value as it comes back.
        where: what the value is called.
    """
    if _equal(before, after):
        return None

    if _is_sequence(before) and _is_sequence(after) and len(before) == len(after):
        places = zip(range(len(before)), before, after, strict=True)
        return _first_change([(f"{where}[{index}]", was, became) for index, was, became in places])

    kind = before.__class__

    if kind is not after.__class__:
        return f"{where} is {_kind(before)} and would come back as {_kind(after)}"

    if issubclass(kind, Mapping):
        return _change_of_mapping(before, after, where)

    if issubclass(kind, _PLAIN) or (issubclass(kind, float) and not (math.isnan(before) and math.isnan(after))):
        return f"{where} would come back as another value"

    missing = object()
    names = _field_names(kind)

    return _first_change(
        [(f"{where}.{name}", getattr(before, name, missing), getattr(after, name, missing)) for name in names]
    )


def _first_change(places: list[tuple[str, Any, Any]]) -> str | None:
    for where, before, after in places:
        if (found := find_change(before, after, where)) is not None:
            return found

    return None


def _change_of_mapping(before: Mapping[Any, Any], after: Mapping[Any, Any], where: str) -> str | None:
    for key in before:
        if key not in after:
            return f"the key {shown(key)} of {where} is {_kind(key)} and would come back as another"

    return _first_change([(f"{where}[{shown(key)}]", before[key], after[key]) for key in before])


def _is_sequence(value: Any) -> bool:
    """Whether it is what JSON has one form for."""
    return isinstance(value, list | tuple)


def _equal(before: Any, after: Any) -> bool:
    try:
        return bool(before == after)
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
