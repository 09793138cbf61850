"""Slow tests: most of them wait, whatever the loop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

import pytest

__all__ = ["take_turns"]


def take_turns(items: Iterable[pytest.Item]) -> None:
    """Let the default run have each slow test on one loop, in turn; the nightly has the rest."""
    for item in items:
        loop = re.search(r"asyncio\+?\w*|trio", item.name)
        turn = crc32(re.sub(r"asyncio\+?\w*|trio", "", item.nodeid).encode()) % 2

        if loop and item.get_closest_marker("slow") and loop[0] != ("trio", "asyncio")[turn]:
            item.add_marker(pytest.mark.nightly)
