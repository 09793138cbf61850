"""Where a suspended coroutine stands: the line of the program that a message can point to."""

from __future__ import annotations

from types import FrameType
from typing import cast

__all__ = ["where_suspended"]

_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def _first(of: object, names: tuple[str, ...]) -> object:
    """The first of these attributes that is there and set."""
    return next((found for name in names if (found := getattr(of, name, None)) is not None), None)


def where_suspended(awaitable: object) -> str:
    """Say where a coroutine waits, as ``"function (file:line)"``; empty if nowhere in anybody's program.

    Follows the chain of awaits inwards, to the last frame that is not an event loop's machinery: a wait inside
    ``anyio.sleep`` is reported at the line that called it, because that is the line somebody has written.

    Args:
        awaitable: a coroutine, or a generator or asynchronous generator that is awaited in one.
    """
    shown = ""
    at: object = awaitable
    while at is not None:
        frame = cast("FrameType | None", _first(at, _FRAMES))
        if frame is not None and not _is_machinery(frame):
            shown = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"

        at = _first(at, _AWAITED)

    return shown


def _is_machinery(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in {"asyncio", "anyio", "trio", "outcome"}
