"""Names that people choose, and ids that are made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import Final

from anysched.errors import InvalidOption

__all__ = [
    "NAME_LIMIT",
    "check_name",
    "check_text",
    "digest",
    "fire_run_id",
    "make_node_id",
    "make_nonce",
    "make_run_id",
    "make_run_ids",
    "without_surrogates",
]

NAME_LIMIT: Final = 200
"""The longest name, in characters: names become parts of keys and lines of tables."""

# Braces would be read as a Redis hash tag.
_NAME: Final = re.compile(r"[^\s{}]{1,200}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ALLOWED: Final = f"1 to {NAME_LIMIT} printable characters without spaces and braces"

# Digits before letters and in ASCII order, so that text sorts as the number does.
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
_PAIRS: Final = tuple(map("".join, product(_DIGITS, repeat=2)))

random_bytes: Callable[[int], bytes] = os.urandom
"""Where the chance in ids comes from. A simulation puts its own here, to be able to repeat itself."""


def check_name(option: str, value: object) -> str:
    """The value, if it can name a job, a queue, an entry, a run or a key.

    Args:
        option: what the error calls it.
        value: what was given.

    Raises:
        InvalidOption: it is no text, empty, too long, or has spaces, braces or unprintable characters in it.
    """
    if isinstance(value, str) and _NAME.fullmatch(value) and value.isprintable():
        return value

    raise InvalidOption(option, value, _ALLOWED)


def check_text(option: str, value: object, longest: int) -> str:
    """The value, if it is text that can be stored.

    Args:
        option: what the error calls it.
        value: what was given.
        longest: how many characters it may have.

    Raises:
        InvalidOption: it is no text, too long, or has half of a surrogate pair in it.
    """
    if isinstance(value, str) and len(value) <= longest and not _SURROGATE.search(value):
        return value

    raise InvalidOption(option, value, f"text of at most {longest:,} characters that UTF-8 has")


def without_surrogates(text: str) -> str:
    """Half of a surrogate pair, which has no form in UTF-8, becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def make_run_id(now_ms: int) -> str:
    """A new id for a run: 20 characters that sort by the time they were made.

    Nine characters of time reach to the year 3084 (eight would have ended in 2004); the other eleven are 55 random
    bits. Nothing is kept between two calls, so that a forked process makes other ids than its parent.
    """
    return make_run_ids(now_ms, 1)[0]


def make_run_ids(now_ms: int, count: int) -> list[str]:
    """So many of them at once, which is cheaper."""
    pairs = _PAIRS
    time = _time_in_pairs(now_ms >> 5)
    low = (now_ms & 31) << 5

    return [
        f"{time}{pairs[low | chance & 31]}{pairs[chance >> 5 & 1023]}{pairs[chance >> 15 & 1023]}"
        f"{pairs[chance >> 25 & 1023]}{pairs[chance >> 35 & 1023]}{pairs[chance >> 45 & 1023]}"
        for chance in memoryview(random_bytes(8 * count)).cast("Q")
    ]


@lru_cache(maxsize=1)
def _time_in_pairs(time: int) -> str:
    return "".join(_PAIRS[time >> shift & 1023] for shift in (30, 20, 10, 0))


def fire_run_id(entry_id: str, fire_ms: int) -> str:
    """The id of the run that a fire makes: the same on every node, so that a fire is made into a run only once.

    The hyphen keeps it apart from every id that :func:`make_run_id` makes.
    """
    return "f-" + _base32(digest(f"{entry_id}\0{fire_ms}".encode(), 12), 18)


def digest(data: bytes, size: int) -> bytes:
    """So many bytes that the data is known by, the same in every process."""
    # OpenSSL comes with it, which takes a while to load.
    from hashlib import blake2b

    return blake2b(data, digest_size=size).digest()


def make_nonce() -> str:
    """A value for one command, the same when that command is sent again: 80 random bits."""
    return random_bytes(10).hex()


def make_node_id() -> str:
    """A new id for a node, which is also the name of its inbox. Never used twice."""
    return "n-" + _base32(random_bytes(10), 14)


def _base32(data: bytes, length: int) -> str:
    """The last ``length`` digits, an even number, of the data as a number."""
    number = int.from_bytes(data, "big")

    return "".join(_PAIRS[number >> shift & 1023] for shift in range(length // 2 * 10 - 10, -1, -10))
