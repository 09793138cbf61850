"""``anysched run --reload``: a new process for new files."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import anyio
import pytest
from attrs import define, field

from anysched.cli import reloading
from anysched.cli.reloading import Supervisor, snapshot
from anysched.testing import virtual_time


def test_python_files_are_watched(tmp_path: Path) -> None:
    """Those below the directory, but not hidden ones, caches and installed packages."""
    for name in ("a.py", "b/c.py", "b/d.txt", ".venv/x.py", "__pycache__/y.py", "lib/site-packages/z.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert {"a.py", "b/c.py"} == set(snapshot(tmp_path))


def test_a_change_restarts_the_node(app, start) -> None:
    """Gracefully; a file that cannot be imported is waited out; a signal is passed on, with its status."""
    path = app.folder / f"{app.name}.py"
    node = start("run", app.target, "--reload")
    node.wait_for("runs on")
    good = path.read_text()

    path.write_text(good + "\nx = (\n")
    node.wait_for("stopped")
    node.wait_for("waiting for a change")
    assert "SyntaxError" in node.output

    path.write_text(good + "\nx = 1\n")
    node.wait_for("runs on", times=2)
    node.signal(SIGINT)

    assert 0 == node.status()
    assert 2 == node.output.count("node left")


@define(eq=False)
class Child:
    """A process that takes so long to stop, and notes which signals it gets, and when."""

    stops_in: float
    signals: list[tuple[int, float]] = field(factory=list)
    signalled: anyio.Event = field(factory=anyio.Event)
    killed: anyio.Event = field(factory=anyio.Event)

    def send_signal(self, signal: int) -> None:
        self.signals.append((signal, anyio.current_time()))
        self.signalled.set()

        if signal == SIGKILL:
            self.killed.set()

    async def wait(self) -> int:
        await self.signalled.wait()

        with anyio.move_on_after(self.stops_in):
            await self.killed.wait()

        return 0


def children(patch: pytest.MonkeyPatch, *, stops_in: float) -> list[Child]:
    """The processes that supervisors start."""
    started: list[Child] = []

    async def open_process(*_: Any, **__: Any) -> Child:
        started.append(Child(stops_in))
        return started[-1]

    patch.setattr(reloading, "open_process", open_process)
    return started


def receive(patch: pytest.MonkeyPatch, signals: Sequence[int]) -> None:
    """Have supervisors receive these, a second after the other."""

    async def received() -> AsyncIterator[int]:
        for signal in signals:
            await anyio.sleep(1)
            yield signal

    @contextmanager
    def receiver(*_: int) -> Iterator[AsyncIterator[int]]:
        yield received()

    patch.setattr(reloading, "open_signal_receiver", receiver)


def test_a_graceful_stop_takes_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long: only the node knows its shutdown_timeout, and it is told once."""
    started = children(monkeypatch, stops_in=600)
    receive(monkeypatch, [])

    async def change_a_file() -> None:
        with anyio.move_on_after(900):
            async with anyio.create_task_group() as group:
                group.start_soon(Supervisor(command=[], root=tmp_path).run)
                await anyio.sleep(10)
                (tmp_path / "a.py").touch()

    virtual_time(change_a_file)

    assert [[SIGTERM], []] == [[signal for signal, _ in child.signals] for child in started]


def test_a_blocked_child_is_killed_at_the_third_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may never get to see one, and nobody else can end it."""
    started = children(monkeypatch, stops_in=math.inf)
    receive(monkeypatch, [SIGINT, SIGINT, SIGINT])
    virtual_time(Supervisor(command=[], root=tmp_path).run)

    assert [[(SIGINT, 1), (SIGINT, 2), (SIGINT, 3), (SIGKILL, 5)]] == [child.signals for child in started]
