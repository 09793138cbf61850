"""The conformance suite over a Redis whose first reply to every command is lost: each arrives twice, and the second
reply is all that the caller gets.

The sharper half of "every command may arrive twice": that the second does no harm is asked in tests/backends too. Here
what it *says* must be of the same use. The server goes by a clock that is moved by hand, so that nothing is waited for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define
from msgspec.msgpack import decode, encode

from anysched.backends.redis.link import Argument
from anysched.clock import Clock, clock_in_force

from .clockwork import SteppedRedis

pytest.register_assert_rewrite("anysched.testing.conformance")

from anysched.testing.conformance import BackendConformance  # noqa: E402 (after it was registered)
from anysched.testing.conformance.stage import Advance  # noqa: E402 (after it was registered)

TELLS_WHAT_IT_FINDS = ("revive", "reschedule", "declare", "remove_entry", "release_lock", "enqueue")
"""Their requests carry nothing to be known again by, or say who was first: here the first reply is what comes."""

TOLD_ONCE = ("corrupt", "expired", "lost", "retired")
"""What a reply says of its own doing, which the second has nothing of; in either it is good for the log only."""


@define(eq=False)
class LosesReplies(SteppedRedis):
    """Sends everything twice."""

    async def _call(self, name: str, *args: Argument) -> Any:
        first = await super()._call(name, *args)
        second = await super()._call(name, *args)

        if name in TELLS_WHAT_IT_FINDS:
            return first

        if name == "work":
            return [joined(first[0], second[0]), *second[1:]]  # a head, and the claimed runs

        return joined(first, second) if name == "tick" else second


def joined(first: bytes, second: bytes) -> bytes:
    """The second reply, with what only the first could tell."""
    told, parts = decode(first), decode(second)

    for name in TOLD_ONCE:
        if name in parts:
            # An empty Lua table travels as an empty object.
            parts[name] = (told[name] or parts[name]) if parts[name] in ([], {}) else told[name] + parts[name]

    return encode(parts)


@define(eq=False)
class Hand:
    """The hand of a clock, which goes a little with every command."""

    microseconds: int = 1_800_000_000_000_000

    def read(self) -> int:
        self.microseconds += 20
        return self.microseconds

    async def advance(self, ms: int) -> None:
        await anyio.sleep(0.01)  # what was published is on its way
        await checkpoint()
        self.microseconds += 1000 * ms


class TestRedisWhoseRepliesAreLost(BackendConformance):
    # Each call does one share of the work that is due; two calls do two.
    test_one_dead_node_at_a_time_is_reaped: Any = None
    test_a_node_with_many_runs_is_reaped_in_portions: Any = None
    test_so_many_entries_are_retired_in_a_call: Any = None

    @pytest.fixture
    def hand(self) -> Hand:
        return Hand()

    @pytest.fixture
    async def backend(self, redis_url: str, hand: Hand) -> AsyncIterator[LosesReplies]:
        token = clock_in_force.set(Clock(hand.read))
        backend = LosesReplies.from_url(redis_url)

        async with anyio.create_task_group() as services:
            await services.start(backend.run)
            yield backend
            services.cancel_scope.cancel()

        clock_in_force.reset(token)

    @pytest.fixture
    def advance(self, hand: Hand) -> Advance:
        return hand.advance
