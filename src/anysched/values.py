"""Values as they were given: whether one is a whole number, and how an error shows it."""

from __future__ import annotations

from reprlib import Repr
from typing import Final, TypeGuard

__all__ = ["is_whole", "shown"]

_LONGEST_TEXT: Final = 100
_LONGEST: Final = 200

_MOST_DIGITS: Final = 78
"""What has more is described: Python refuses to print integers of more than 4300 digits."""


def is_whole(value: object, least: int) -> TypeGuard[int]:
    """Whether a value is a whole number, at least this one. True and False, numbers to Python, are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def shown(value: object, *, longest: int = _LONGEST_TEXT) -> str:
    """A value as an error message shows it: never longer than a line or two, always printable.

    Raises nothing itself but ``KeyboardInterrupt``, whatever the value's own ``__repr__`` does.

    Args:
        value: anything.
        longest: so many characters of a text are shown.
    """
    try:
        text = _shown_text(value, longest) if isinstance(value, str | bytes) else _shortened.repr(value)
    except KeyboardInterrupt:
        # It means us all.
        raise
    except BaseException as error:  # noqa: BLE001, ASYNC103 (a repr is anybody's code; and nothing is awaited here)
        text = f"<{type(value).__name__[:_LONGEST_TEXT]} whose repr() raised {type(error).__name__[:_LONGEST_TEXT]}>"

    text = text if len(text) <= _LONGEST + longest else f"{text[: _LONGEST + longest]}..."
    return text if text.isprintable() else "".join(map(_printable, text))


def _shown_text(value: str | bytes, longest: int) -> str:
    return repr(value) if len(value) <= longest else f"{value[:longest]!r}..."


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


class _Shortened(Repr):
    """As Python shows values, but for what is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxdeque = 10
        self.maxarray = 10
        self.maxstring = _LONGEST_TEXT
        self.maxother = _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        # A number has a few digits more or less than its bits say.
        digits = x.bit_length() * 30103 // 100000
        return repr(x) if digits < _MOST_DIGITS else f"an integer of some {digits} digits"

    def repr_instance(self, x: object, level: int) -> str:
        # Here a repr that raises is told above, and not replaced by an address.
        text = repr(x)
        return text if len(text) <= self.maxother else f"{text[: self.maxother]}..."


_shortened: Final = _Shortened()
