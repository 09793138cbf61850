"""What signals do to a running node, and what becomes of the process when something in it will not end."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from signal import SIGINT, SIGTERM, Signals
from threading import Timer

from anyio import TASK_STATUS_IGNORED, CancelScope, open_signal_receiver
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.scheduler import Scheduler

__all__ = ["Stopping"]

_log = logging.getLogger("anysched")

_SIGNALLED = 128
_ABANDONED = 1

_BOUND = 10.0
"""Seconds that a fast stop may take: settling and leaving have 5 in the runtime, a subprocess has 5 to end."""


@define(eq=False, kw_only=True)
class Stopping:
    """The first signal stops gracefully, the second now, the third leaves everything as it is.

    What can hold up a stop for ever is a function in a thread, which nobody can end. It gets a bounded time; then the
    process ends without it, and its run goes to another node when our lease has run out.

    Args:
        scheduler: what is to be stopped.
    """

    scheduler: Scheduler
    scope: CancelScope = field(factory=CancelScope, init=False)
    """Around the node; cancelled to stop it now."""
    is_up: bool = field(default=False, init=False)
    """Until then there is nothing that could be stopped gracefully."""
    status: int = field(default=0, init=False)
    _watchdog: Timer | None = field(default=None, init=False)

    async def listen(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Receive signals, until cancelled."""
        count = 0

        with open_signal_receiver(SIGINT, SIGTERM) as received:
            task_status.started()

            async for signal in received:
                count += 1
                self._obey(signal, count)

    def done(self) -> None:
        """The node has stopped."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _obey(self, signal: Signals, count: int) -> None:
        if count == 1 and self.is_up:
            grace = self.scheduler.config.shutdown_timeout.total_seconds()
            _log.info("%s: stopping gracefully, within %g s; once more: now", signal.name, grace)
            self.scheduler.stop()
            self._watch(grace + _BOUND, _ABANDONED)
            return

        self.status = _SIGNALLED + signal

        if count <= 2 and not self.scope.cancel_called:
            _log.warning("%s: stopping now", signal.name)
            self.scope.cancel(reason=f"second signal ({signal.name})")
            self._watch(_BOUND, self.status)
        else:
            _log.warning("%s: leaving at once", signal.name)
            _leave(self.status)

    def _watch(self, seconds: float, status: int) -> None:
        self.done()
        self._watchdog = Timer(seconds, self._abandon, (status,))
        self._watchdog.daemon = True
        self._watchdog.start()

    def _abandon(self, status: int) -> None:
        threads = self.scheduler.statistics().executor.threads
        what = f"functions in threads ({threads}) do" if threads else "something does"
        _log.error("%s not end; leaving without: the runs go to other nodes when this one's lease has run out", what)
        _leave(status)


def _leave(status: int) -> None:
    """End the process as it stands: waiting for its threads would be waiting for ever."""
    try:
        # Nothing that fails here may keep it: a stream that is closed, or a disk that is full.
        with suppress(Exception):
            logging.shutdown()

        with suppress(Exception):
            sys.stdout.flush()
    finally:
        os._exit(status)
