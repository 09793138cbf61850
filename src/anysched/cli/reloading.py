"""``anysched run --reload``: a parent that runs the node as a child, and anew whenever a Python file has changed."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

from anyio import Event, create_task_group, open_process, open_signal_receiver, sleep, to_thread
from anyio.abc import Process
from attrs import define, field

__all__ = ["Supervisor", "snapshot", "supervise"]

_LOOK_EVERY = 0.5
_LEAVING = 2.0
"""Seconds that a child gets to leave at once by itself: it does nothing but flush its streams."""

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


async def supervise(arguments: Namespace) -> int:
    """Carry out ``anysched run --reload``."""
    words = [word for word in sys.argv[1:] if word != "--reload"]
    supervisor = Supervisor(command=[sys.executable, "-m", "anysched.cli", *words], root=Path.cwd())
    return await supervisor.run()


@define(eq=False, kw_only=True)
class Supervisor:
    """Keeps one child process, of the newest files.

    Args:
        command: what the child is.
        root: where files are looked at.
    """

    command: list[str]
    root: Path
    _child: Process | None = field(default=None, init=False)
    _changed: Event = field(factory=Event, init=False)
    _stopped: Event = field(factory=Event, init=False)
    _signals: int = field(default=0, init=False)

    async def run(self) -> int:
        """Run children, one after the other, until a signal; the exit status is that of the last."""
        status = 0

        async with create_task_group() as watching:
            watching.start_soon(self._listen)
            watching.start_soon(self._watch)

            while not self._stopped.is_set():
                self._changed = Event()
                status = await self._live()

            watching.cancel_scope.cancel(reason="a signal has ended it")

        return status

    async def _live(self) -> int:
        """One child, from its start until the files have changed or a signal has come."""
        # In a session of its own, or Ctrl-C in a terminal would reach it twice: directly, and passed on by us.
        child = await open_process(self.command, stdin=None, stdout=None, stderr=None, start_new_session=True)
        self._child = child
        status = 0

        async with create_task_group() as life:
            life.start_soon(self._end_when_changed, child)
            status = await child.wait()
            life.cancel_scope.cancel(reason="the child has ended")

        self._child = None

        if not (self._changed.is_set() or self._stopped.is_set()):
            _say(f"it ended with status {status}; waiting for a change")
            await self._changed.wait()

        return status if status >= 0 else 128 - status

    async def _end_when_changed(self, child: Process) -> None:
        await self._changed.wait()

        # When a signal has ended it, that was passed on already. Only the child knows how long it may take to stop, and
        # it has a watchdog of its own: a second signal of ours would cut that short.
        if not self._stopped.is_set():
            _send(child, SIGTERM)

    async def _listen(self) -> None:
        # A terminal that is closed sends SIGHUP, and a child in a session of its own would stay behind.
        with open_signal_receiver(SIGINT, SIGTERM, SIGHUP) as received:
            async for signal in received:
                self._signals += 1
                self._pass_on(SIGTERM if signal == SIGHUP else signal)

                # A child whose event loop is blocked sees no signal, whatever number it is.
                if self._signals >= 3:
                    await sleep(_LEAVING)
                    self._pass_on(SIGKILL)

    def _pass_on(self, signal: Signals) -> None:
        self._stopped.set()
        self._changed.set()

        if self._child is not None:
            _send(self._child, signal)

    async def _watch(self) -> None:
        before = await to_thread.run_sync(snapshot, self.root)

        while True:
            await sleep(_LOOK_EVERY)
            after = await to_thread.run_sync(snapshot, self.root)

            if changed := sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)):
                _say(f"{changed[0]} has changed; restarting")
                self._changed.set()

            before = after


def snapshot(root: Path) -> dict[str, int]:
    """When each Python file below a directory was changed last, hidden directories and installed packages left out."""
    return dict(_times(root))


def _times(root: Path) -> Iterator[tuple[str, int]]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]

        for name in files:
            if name.endswith(".py"):
                path = Path(folder, name)

                # It may be gone by now.
                with suppress(OSError):
                    yield str(path.relative_to(root)), path.stat().st_mtime_ns


def _send(child: Process, signal: Signals) -> None:
    # It may have ended this moment.
    with suppress(ProcessLookupError):
        child.send_signal(signal)


def _say(message: str) -> None:
    print(f"anysched: {message}", file=sys.stderr, flush=True)
