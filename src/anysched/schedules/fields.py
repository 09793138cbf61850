"""The fields of a cron expression: what may be written in each, and which values it stands for.

The dialect is that of Vixie cron, crontab(5), with seconds as an optional first field, ``L`` and ``W`` and ``#`` in
the day fields, and ``H`` as Jenkins has it. Where another dialect reads the same text differently, and Vixie cron does
not settle it, the text is refused with a hint at what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from attrs import field, frozen

from anysched.errors import InvalidSchedule

__all__ = ["DAY_OF_MONTH", "DAY_OF_WEEK", "HOUR", "MINUTE", "MONTH", "SECOND", "Field", "FieldKind", "parse_field"]

_STEPPED: Final = re.compile(r"([^/]*)/([0-9]{1,4})", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_HASHED: Final = re.compile(r"h(?:\(([0-9]{1,4})-([0-9]{1,4})\))?(?:/([0-9]{1,4}))?", re.ASCII)
_NEAREST_WEEKDAY: Final = re.compile(r"([0-9]{1,4})w", re.ASCII)
_LAST_WEEKDAY: Final = re.compile(r"([0-9a-z]+)l", re.ASCII)
_NTH_WEEKDAY: Final = re.compile(r"([0-9a-z]+)#([0-9]{1,4})", re.ASCII)

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@frozen
class FieldKind:
    """One of the six fields.

    Attributes:
        name: what errors call it.
        low: the lowest value.
        high: the highest value that may be written.
        hash_high: the highest value that ``H`` alone may become. Jenkins stops at the 28th, so that each month has it.
        names: what may be written in place of a number.
    """

    name: str
    low: int
    high: int
    hash_high: int
    names: Mapping[str, int] = field(factory=dict[str, int], eq=False)

    @property
    def allowed(self) -> str:
        """What may be written, as a phrase that follows "expected"."""
        names = f" or {next(iter(self.names))}-{list(self.names)[-1]}" if self.names else ""

        return f"{self.low}-{self.high}{names}, as a number, a list, a range, a step such as */5, or H"


SECOND: Final = FieldKind("second", 0, 59, 59)
MINUTE: Final = FieldKind("minute", 0, 59, 59)
HOUR: Final = FieldKind("hour", 0, 23, 23)
DAY_OF_MONTH: Final = FieldKind("day of month", 1, 31, 28)
MONTH: Final = FieldKind("month", 1, 12, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
DAY_OF_WEEK: Final = FieldKind("day of week", 0, 7, 6, {name: number for number, name in enumerate(_WEEKDAYS)})


@frozen
class Field:
    """What one field stands for.

    Attributes:
        values: the plain values, sorted; Sunday is 0.
        specials: in croniter's notation, what only a calendar can turn into days, such as ``l``, ``15w`` or ``1#2``.
        starred: the text starts with ``*``, which is what Vixie cron goes by when both day fields are there.
        stepping: there is a wildcard, a range or a step in it, so that it is more than a list of numbers.
        hashed: there is an ``H`` in it.
    """

    values: tuple[int, ...]
    specials: tuple[str, ...]
    starred: bool
    stepping: bool
    hashed: bool


@frozen
class _Item:
    """One element of a list."""

    values: range | tuple[int, ...] = ()
    special: str | None = None
    stepping: bool = False
    hashed: bool = False


def parse_field(kind: FieldKind, text: str, seed: str | None) -> Field:
    """Read one field.

    Args:
        kind: which one it is.
        text: what was written, in ASCII.
        seed: what ``H`` takes its value from; None reads it as the lowest value, which is enough to check the text.

    Raises:
        InvalidSchedule: it cannot be read, or could be read in more than one way.
    """
    values: set[int] = set()
    specials: list[str] = []
    stepping = hashed = False

    for position, written in enumerate(text.lower().split(",")):
        if written == "*" and text != "*":
            raise _refused(kind, text, "* alone: with it the rest of the list has no effect")

        item = _read_item(kind, written, text, f"{seed}\0{kind.name}\0{position}" if seed is not None else None)
        values.update(item.values)
        stepping = stepping or item.stepping
        hashed = hashed or item.hashed

        if item.special is not None and item.special not in specials:
            specials.append(item.special)

    if kind is DAY_OF_WEEK:
        values = {value % 7 for value in values}

    return Field(tuple(sorted(values)), tuple(specials), text.startswith("*"), stepping, hashed)


def _refused(kind: FieldKind, text: str, allowed: str) -> InvalidSchedule:
    return InvalidSchedule(kind.name, text, allowed)


def _read_item(kind: FieldKind, written: str, text: str, seed: str | None) -> _Item:
    _refuse_other_dialects(kind, written, text)
    hashed = _HASHED.fullmatch(written)

    if hashed is not None:
        return _read_hashed(kind, hashed, text, seed)

    special = _read_special(kind, written, text)

    if special is not None:
        return _Item(special=special)

    stepped = _STEPPED.fullmatch(written)
    span, step = (stepped[1], int(stepped[2])) if stepped is not None else (written, 1)

    if span == "*":
        low, high = kind.low, kind.high
    elif "-" in span:
        first, last = span.split("-", 1)
        low, high = _read_value(kind, first, text), _read_value(kind, last, text)
        # Sunday closes a week as 7, and 0 at the end of a range can mean nothing else.
        high = 7 if kind is DAY_OF_WEEK and high == 0 and low > 0 else high
    else:
        low = high = _read_value(kind, span, text)

        if stepped is not None:
            raise _refused(kind, text, f"a range before the step: {low}-{kind.high}/{step}")

        return _Item((low,))

    if low > high:
        raise _refused(kind, text, f"a range that does not wrap around, such as {low}-{kind.high},{kind.low}-{high}")

    _check_step(kind, step, high - low + 1, text)

    return _Item(range(low, high + 1, step), stepping=True)


def _refuse_other_dialects(kind: FieldKind, written: str, text: str) -> None:
    """Refuse, with a word on why, what means something elsewhere."""
    if written.startswith("r") and (len(written) == 1 or written[1] in "(/"):
        raise _refused(kind, text, f"{kind.allowed}: a random R would differ from process to process, H does not")

    if "?" in written:
        raise _refused(
            kind, text, "* instead of ?, which belongs to dialects that number the days of the week otherwise"
        )

    if kind is DAY_OF_WEEK and written == "l":
        raise _refused(kind, text, "sat for Saturday, or a weekday before L, such as 5L for the last Friday")

    if kind is DAY_OF_MONTH and (written == "lw" or written.startswith(("l-", "w"))):
        raise _refused(kind, text, "L for the last day, or 1W to 28W for the nearest weekday")


def _check_step(kind: FieldKind, step: int, size: int, text: str) -> None:
    if not 1 <= step <= size:
        raise _refused(kind, text, f"a step of 1 to {size}: it starts anew with each range")


def _read_value(kind: FieldKind, written: str, text: str) -> int:
    value = int(written) if _NUMBER.fullmatch(written) is not None else kind.names.get(written)

    if value is None or not kind.low <= value <= kind.high:
        raise _refused(kind, text, kind.allowed)

    return value


def _read_special(kind: FieldKind, written: str, text: str) -> str | None:
    """The day that depends on the month, in croniter's notation; None where the text is something else."""
    if kind is DAY_OF_MONTH:
        nearest = _NEAREST_WEEKDAY.fullmatch(written)

        if nearest is None:
            return "l" if written == "l" else None

        # Of a month without a 31st, some read 31W as its last weekday, and some leave the month out.
        if not 1 <= int(nearest[1]) <= 28:
            raise _refused(kind, text, "1W to 28W, days that every month has")

        return f"{int(nearest[1])}w"

    if kind is not DAY_OF_WEEK:
        return None

    last = _LAST_WEEKDAY.fullmatch(written)

    if last is not None:
        return f"l{_read_value(kind, last[1], text) % 7}"

    nth = _NTH_WEEKDAY.fullmatch(written)

    if nth is None:
        return None

    if not 1 <= int(nth[2]) <= 5:
        raise _refused(kind, text, "1 to 5 after #, such as mon#1 for the first Monday")

    return f"{_read_value(kind, nth[1], text) % 7}#{int(nth[2])}"


def _read_hashed(kind: FieldKind, hashed: re.Match[str], text: str, seed: str | None) -> _Item:
    """``H``, ``H(a-b)``, ``H/n`` and ``H(a-b)/n``, with the bounds that Jenkins gives them."""
    low, high = (int(hashed[1]), int(hashed[2])) if hashed[1] is not None else (kind.low, kind.hash_high)

    if not kind.low <= low <= high <= kind.high:
        raise _refused(kind, text, f"a range within {kind.low}-{kind.high} in H(...)")

    size = high - low + 1

    if hashed[3] is None:
        return _Item((low + _hash(seed, size),), hashed=True)

    step = int(hashed[3])

    # Jenkins reads H/1 as one value, although */1 is every value.
    if step == 1:
        raise _refused(kind, text, "H for one value, or * for every value, instead of H/1")

    _check_step(kind, step, size, text)

    return _Item(range(low + _hash(seed, step), high + 1, step), stepping=True, hashed=True)


def _hash(seed: str | None, size: int) -> int:
    """A number below ``size`` that is the same in every process: Python's own ``hash`` of a text is not."""
    if seed is None:
        return 0

    return int.from_bytes(sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8], "big") % size
