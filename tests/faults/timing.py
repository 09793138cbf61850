"""Seconds that are promised, measured so that a busy machine does not spoil them."""

from __future__ import annotations

import time
from pathlib import Path

_STATISTICS = Path("/proc/thread-self/schedstat")
"""Linux: nanoseconds on a processor, nanoseconds in the queue for one, turns."""


class Watch:
    """Measures from when it is made.

    What the machine gave to others while this thread could have run is measured too, where the system tells, and is
    not held against whoever promised.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._queued = _queued()

    @property
    def took(self) -> float:
        return time.monotonic() - self._began

    def check(self, *, within: float) -> None:
        """A promise of so many seconds has been kept up to now."""
        took, queued = self.took, _queued() - self._queued
        assert took - queued < within, f"{took:.2f} s, {queued:.2f} of them in the queue for a processor"


def _queued() -> float:
    return int(_STATISTICS.read_text().split()[1]) / 1e9 if _STATISTICS.exists() else 0.0
