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

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a program; ``environ`` adds to its environment."""
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *words],
            stdout=subprocess.PIPE,
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
                process.kill()

            process.wait()

            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def processes(redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    found = Processes(url=redis_url, folder=tmp_path)

    try:
        yield found
    finally:
        found.close()
