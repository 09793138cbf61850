"""Requests in the protocol's bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anysched.backends.redis.link import Argument

try:
    import hiredis
except ImportError:  # coredis does without it
    hiredis = None

__all__ = ["pack"]

_pack_command: Callable[[tuple[Any, ...]], bytes] | None = getattr(hiredis, "pack_command", None)


def pack(words: Sequence[Argument]) -> bytes:
    """A request. Texts are sent as UTF-8.

    Raises:
        UnicodeEncodeError: a text has none.
    """
    if _pack_command is not None:
        return _pack_command(tuple(words))

    parts = [b"*%d\r\n" % len(words)]

    for word in words:
        text = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))

    return b"".join(parts)
