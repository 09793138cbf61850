"""A command line to try things on: in this process where that is enough, in one of its own where signals matter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import anysched
from anysched.cli import main

SOURCES = str(Path(anysched.__file__).parents[1])

APP = """
from __future__ import annotations
import os, threading, time
import anyio
from anysched import RetryPolicy, Scheduler, SchedulerConfig

scheduler = Scheduler({backend!r}, config=SchedulerConfig(shutdown_timeout="{shutdown_timeout}"))


@scheduler.job
async def add(a: int, b: int = 1) -> int:
    return a + b


@scheduler.job(retry=RetryPolicy(max_retries=0))
async def fail(message: str = "no\\nway") -> None:
    raise ValueError(message)


@scheduler.cron("0 8 * * mon-fri", tz="Europe/Berlin")
async def digest() -> None:
    pass


def make() -> Scheduler:
    return scheduler


def make_wrong() -> int:
    return 3


def make_nothing() -> Scheduler:
    raise RuntimeError("no pool")


class Holder:
    inner = scheduler
"""


class App:
    """A module with a scheduler in a directory of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.target = f"{name}:scheduler"

    def write(self, more: str = "", *, backend: str | None = None, shutdown_timeout: str = "3s") -> App:
        text = APP.format(backend=backend, shutdown_timeout=shutdown_timeout) + more
        (self.folder / f"{self.name}.py").write_text(text)
        return self


class Process:
    """``anysched`` in a process of its own, with its output in a file."""

    def __init__(self, words: tuple[str, ...], folder: Path, log: Path, redirect: str, more: dict[str, str]) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ANYSCHED_")}
        environ |= {"PYTHONPATH": SOURCES, "PYTHONUNBUFFERED": "1", **more}
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "anysched.cli", *words],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until something has been printed."""
        deadline = time.monotonic() + 20
        while self.output.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            assert self.process.poll() is None, f"it ended without {text!r}:\n{self.output}"
            time.sleep(0.02)

    def signal(self, signal: int) -> None:
        self.process.send_signal(signal)

    def status(self) -> int:
        return self.process.wait(timeout=30)


@pytest.fixture
def app(tmp_path: Path, request: pytest.FixtureRequest) -> App:
    # Modules stay imported, so every test has a name of its own.
    return App(tmp_path, f"app_{abs(hash(request.node.nodeid))}").write()


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Carry out a command line here: its exit status, and what it printed on stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in os.environ if name.startswith("ANYSCHED_")]:
        monkeypatch.delenv(name)

    def carry_out(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status: Any = main(words)
        except SystemExit as exit_:
            status = exit_.code

        printed = capsys.readouterr()
        return int(status or 0), printed.out, printed.err

    return carry_out


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a command line in a process of its own, which is killed at the end if need be.

    Its streams may be redirected, in the words of a shell, and more variables set.
    """
    started: list[Process] = []

    def spawn(*words: str, redirect: str = "", **environ: str) -> Process:
        process = Process(words, tmp_path, tmp_path / f"output-{len(started)}.log", redirect, environ)
        started.append(process)
        return process

    yield spawn

    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
