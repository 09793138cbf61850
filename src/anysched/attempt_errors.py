"""What an attempt raised, written down.

A handler's exception may be anything: its ``str()`` may raise, its message may have a gigabyte, its traceback a
thousand frames. Whatever it is, an :class:`~anysched.run.AttemptError` comes out of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import msgspec

from anysched.clock import LATEST_MS, from_ms
from anysched.errors import WorkerLost
from anysched.identifiers import without_surrogates
from anysched.run import Attempt, AttemptError

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "decode_attempt", "describe_error", "encode_error", "lost_worker"]

MESSAGE_LIMIT: Final = 4096
"""The longest message that is kept, in bytes of UTF-8."""

TRACEBACK_LIMIT: Final = 16384
"""The longest traceback that is kept, likewise; its end says most."""

_FRAMES: Final = 100
_LEAVES: Final = 10
"""Exceptions in a group that are named."""
_LONGEST_NAME: Final = 500
_CUT: Final = " [cut]"


class _StoredAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    number: int
    started_ms: int
    ended_ms: int = 0
    node: str = ""
    type: str = ""
    message: str = ""
    traceback: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_StoredAttempt)


def describe_error(error: BaseException) -> AttemptError:
    """An exception, as far as it can be written down. Raises nothing itself, but for ``KeyboardInterrupt``."""
    return AttemptError(
        _said(lambda: _head(_name(type(error)), _LONGEST_NAME), "(a class whose name cannot be had: {})"),
        _head(_with_leaves(_said(lambda: str(error), "(its str() raised {})"), error), MESSAGE_LIMIT),
        _said(lambda: _tail(_formatted(error), TRACEBACK_LIMIT), "(its traceback cannot be formatted: {})"),
    )


def lost_worker(times: int) -> AttemptError:
    """What a run fails of that took so many workers down; nobody is left to raise it."""
    return AttemptError(f"{WorkerLost.__module__}.{WorkerLost.__qualname__}", str(WorkerLost(times)))


def _with_leaves(message: str, error: BaseException) -> str:
    """A message; a group's with what it is about: the exceptions in it, and in the groups in it."""
    if not isinstance(error, BaseExceptionGroup):
        return message

    waiting, found = [cast("BaseException", error)], list[str]()

    while waiting and len(found) < _LEAVES:
        leaf = waiting.pop()

        if isinstance(leaf, BaseExceptionGroup):
            waiting += reversed(cast("BaseExceptionGroup[BaseException]", leaf).exceptions)
            continue

        said = _said(partial(str, leaf), "(its str() raised {})")
        kind = _said(partial(getattr, type(leaf), "__qualname__"), "(a class whose name cannot be had: {})")
        found.append(f"{kind}: {_head(said, _LONGEST_NAME)}" if said else kind)

    leaves = "; ".join([*found, "..."] if waiting else found)
    # What comes from another process has said it already.
    return message if message.endswith(leaves) else f"{message}: {leaves}"


def encode_error(error: AttemptError | None, *, number: int, started_ms: int, ended_ms: int, node: str) -> str:
    """One line of text about an attempt that has ended; the line has no newline in it.

    Args:
        error: what it raised; None if it ended otherwise.
        number: the attempt, from 1.
        started_ms: when it was claimed.
        ended_ms: when it ended.
        node: who had it.
    """
    said = {} if error is None else {"type": error.type, "message": error.message, "traceback": error.traceback}
    return _encoder.encode(_StoredAttempt(number, started_ms, ended_ms, node, **said)).decode()


def decode_attempt(text: str) -> Attempt:
    """The attempt that a line is about. A line that cannot be read becomes an attempt that says so, number 0."""
    try:
        stored = _decoder.decode(text)
        _check_instants(stored.started_ms, stored.ended_ms)
        started_at = from_ms(stored.started_ms)
        ended_at = from_ms(stored.ended_ms) if stored.ended_ms else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as reason:
        unreadable = AttemptError("anysched.errors.RecordCorrupt", f"the stored error cannot be read: {reason}")
        return Attempt(number=0, started_at=from_ms(0), error=unreadable)

    error = AttemptError(stored.type, stored.message, stored.traceback) if stored.type else None
    return Attempt(number=stored.number, started_at=started_at, ended_at=ended_at, error=error, node=stored.node)


def _said(say: Callable[[], str], otherwise: str) -> str:
    """What the handler's code says, or what it raised: that may be anything, also ``SystemExit``."""
    try:
        return say()
    except KeyboardInterrupt:
        # It means us all.
        raise
    except BaseException as reason:  # noqa: BLE001, ASYNC103 - as above; and nothing is awaited here
        return otherwise.format(type(reason).__name__)  # noqa: ASYNC104 - as above


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _formatted(error: BaseException) -> str:
    # A few frames of each of a few members of a group: what is cut away anyway is not formatted first.
    formatted = traceback.TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
    return "".join(formatted.format())


def _check_instants(*instants_ms: int) -> None:
    if max(map(abs, instants_ms)) > LATEST_MS:
        raise ValueError("an instant in it is out of range")


def _head(text: str, limit: int) -> str:
    data = without_surrogates(text[: limit + 1]).encode()
    return data.decode() if len(data) <= limit else data[: limit - len(_CUT)].decode("utf-8", "ignore") + _CUT


def _tail(text: str, limit: int) -> str:
    data = without_surrogates(text[-limit - 1 :]).encode()
    return data.decode() if len(data) <= limit else data[-limit:].decode("utf-8", "ignore")
