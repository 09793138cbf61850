"""What is known of open cancel scopes, which AnyIO and Trio have no public word for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from anysched.runtime.mending import forget_cancellations, has_left_none_open


async def test_it_is_known_whether_a_scope_is_open_in_another() -> None:
    """With these versions of AnyIO and Trio.

    Break: they have other names for it. Everything works as before, but each attempt costs half as much again, since
    what is not known is looked for.
    """
    with CancelScope() as outer:
        assert has_left_none_open(outer)

        with CancelScope():
            await checkpoint()
            assert not has_left_none_open(outer)

        assert has_left_none_open(outer)


async def test_what_has_cancelled_a_task_natively_is_forgotten(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """With this version of AnyIO.

    Break: it has another name for the task of a scope. From Python 3.13 on what one handler left behind then cancels
    the next one in its slot.
    """
    if anyio_backend[0] == "trio":
        pytest.skip("Trio has no such thing")

    task = asyncio.current_task()
    assert task is not None

    with CancelScope() as scope:
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await checkpoint()

        forget_cancellations(scope)
        assert 0 == task.cancelling()
