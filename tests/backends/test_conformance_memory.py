"""The conformance suite over the memory backend, whose clock is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from anyio.lowlevel import checkpoint
from attrs import define

from anysched.backends.memory import MemoryBackend
from anysched.clock import Clock, clock_in_force

pytest.register_assert_rewrite("anysched.testing.conformance")

from anysched.testing.conformance import BackendConformance  # noqa: E402 (after it was registered)
from anysched.testing.conformance.stage import Advance  # noqa: E402 (after it was registered)


@define(eq=False)
class Hand:
    """The hand of a clock."""

    microseconds: int = 1_800_000_000_000_000

    async def advance(self, ms: int) -> None:
        await checkpoint()
        self.microseconds += 1000 * ms


class TestMemoryBackend(BackendConformance):
    @pytest.fixture
    def hand(self) -> Hand:
        return Hand()

    @pytest.fixture
    async def backend(self, hand: Hand) -> AsyncIterator[MemoryBackend]:
        token = clock_in_force.set(Clock(lambda: hand.microseconds))
        yield MemoryBackend()
        clock_in_force.reset(token)

    @pytest.fixture
    def advance(self, hand: Hand) -> Advance:
        return hand.advance
