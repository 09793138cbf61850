"""What is known of open cancel scopes, which AnyIO and Trio have no public word for."""

from __future__ import annotations

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from anysched.runtime.mending import has_left_none_open


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
