"""Processes of our own around one real Redis server, and the log of what they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

from anysched.testing import RedisServer

PROGRAM = Path(__file__).with_name("program.py")


@define(eq=False, kw_only=True)
class Processes:
    """Starts programs, reads their effects, and leaves none behind."""

    url: str
    folder: Path
    running: list[subprocess.Popen[str]] = field(factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "effects.log"

    @property
    def journal(self) -> Path:
        """What all programs have logged."""
        return self.folder / "journal.log"

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a program; ``environ`` adds to its environment."""
        with self.journal.open("a") as journal:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *words],
                stdout=subprocess.PIPE,
                stderr=journal,
                text=True,
                env={**os.environ, "ANYSCHED_TEST_URL": self.url, "EFFECTS": str(self.log), **environ},
            )

        self.running.append(process)
        return process

    def worker(self, loop: str = "asyncio", **environ: str) -> subprocess.Popen[str]:
        """Start a worker and wait until it is ready."""
        process = self.start("work", "--loop", loop, **environ)
        self.wait_for(lambda: ["ready", str(process.pid)] in self.effects())
        return process

    def send(self, process: subprocess.Popen[str], sign: signal.Signals) -> None:
        """Send a signal to one program."""
        process.send_signal(sign)

    def effects(self, kind: str | None = None) -> list[list[str]]:
        """The lines so far, as words."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        words = [line.split() for line in lines]
        return [line for line in words if kind is None or line[0] == kind]

    def wait_for(self, condition: Callable[[], object], *, within: float = 30.0) -> None:
        """Wait until something holds."""
        until = time.monotonic() + within

        while not condition():
            assert time.monotonic() < until, f"not within {within} s; the log ends {self.effects()[-5:]}"
            time.sleep(0.02)

    def stop(self, process: subprocess.Popen[str], *, within: float = 15.0) -> int:
        """SIGTERM; its exit status."""
        process.send_signal(signal.SIGTERM)
        return process.wait(within)

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()  # also one that is stopped

            process.wait()

            if process.stdout is not None:
                process.stdout.close()


def _closed_at_the_end(found: Processes) -> Iterator[Processes]:
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def durable_server() -> Iterator[RedisServer]:
    """A server of one's own that has on disk what it has answered."""
    with RedisServer(own=True, options={"appendfsync": "always"}) as server:
        yield server


@pytest.fixture
def forgetful_server() -> Iterator[RedisServer]:
    """A server of one's own that keeps nothing."""
    with RedisServer(own=True, appendonly=False) as server:
        yield server


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Callable[..., Processes]]:
    """Makes processes around a server, in a folder of their own if one is named."""
    made: list[Processes] = []

    def make(server: RedisServer, name: str = ".") -> Processes:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(Processes(url=server.url, folder=folder))
        return made[-1]

    yield make

    for found in made:
        found.close()


@pytest.fixture
def durable(durable_server: RedisServer, tmp_path: Path) -> Iterator[Processes]:
    """Processes around a server with an append-only file."""
    yield from _closed_at_the_end(Processes(url=durable_server.url, folder=tmp_path))


@pytest.fixture
def forgetful(forgetful_server: RedisServer, tmp_path: Path) -> Iterator[Processes]:
    """Processes around a server without persistence."""
    yield from _closed_at_the_end(Processes(url=forgetful_server.url, folder=tmp_path))


@pytest.fixture
def processes(redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    yield from _closed_at_the_end(Processes(url=redis_url, folder=tmp_path))
