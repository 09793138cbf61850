"""Who ticks: leadership, held by one node at a time.

The leader fires entries at their time. The others look a second after each due instant and fire what is still there,
so leadership only saves work: without any leader, or with two that believe to be it, everything still fires, and fires
once, because advancing an entry's cursor is what decides.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import TASK_STATUS_IGNORED, sleep, sleep_forever
from anyio.abc import TaskStatus
from attrs import define

from anysched.errors import BackendUnavailable, LockLost
from anysched.lock import Lock
from anysched.runtime.persisting import Outage

__all__ = ["Leading"]

_PAUSE = 0.5
"""Seconds before it stands for leadership again after an outage."""


@define(eq=False, kw_only=True)
class Leading:
    """Stands for leadership, for as long as it runs.

    Args:
        lock: the leader's lock.
        outage: told how the backend is doing.
        on_change: called with whether this node leads now.
    """

    lock: Lock
    outage: Outage
    on_change: Callable[[bool], None]

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Lead whenever it is our turn, until cancelled; then hand over at once."""
        task_status.started()

        while True:
            try:
                await self._lead()
            except LockLost:
                pass
            except BackendUnavailable as error:
                self.outage.begin(error)

            await sleep(_PAUSE)

    async def _lead(self) -> None:
        async with self.lock.hold():
            self.on_change(True)

            try:
                await sleep_forever()
            finally:
                self.on_change(False)
