"""A contestant's process, as the harness sees it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contestants.line_protocol import marks_size, open_marks
from benchmarks.processes import cpu_seconds, own_bytes, resident_bytes
from benchmarks.roster import Contestant

STARTS_WITHIN = 60.0  # seconds; fifty may be starting at once
ANSWERS_WITHIN = 1800.0  # a million entries take their time
SOURCES = Path(__file__).parent.parent / "src"


class PlayerFailed(Exception):
    """A contestant did not do what it was asked."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")


class Marks:
    """What the jobs of one process recorded: how often each ran, and when it first started."""

    def __init__(self, count: int) -> None:
        folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
        handle, self.path = tempfile.mkstemp(prefix="anysched-bench-", dir=folder)
        os.truncate(handle, marks_size(count))
        os.close(handle)
        self.count = count
        self.counts, self.instants = open_marks(self.path, count)

    def unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()


class Player:
    """A process that runs a contestant's script."""

    def __init__(
        self, contestant: Contestant, python: Path, log: Path, marks: Marks, held_from: int, **options: Any
    ) -> None:
        self.name = f"{contestant.name} {options['role']}"
        self.marks = marks
        asked = {"loop": contestant.loop, "marks": marks.path, "size": marks.count, "held_from": held_from, **options}
        search = os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")]))
        environment = {**surroundings(log.parent), **({"PYTHONPATH": search} if contestant.here else {})}

        with log.open("a") as sink:
            self.process = subprocess.Popen(
                [str(python), str(contestant.script), json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=environment,
                start_new_session=True,  # so that its children are found, and end with it
            )

    def hello(self) -> dict[str, str]:
        """Wait until it is ready; the versions of what it runs."""
        versions = self.receive(STARTS_WITHIN)
        self.marks.unlink()  # both have it mapped; nothing stays behind however this ends
        return versions

    def go(self) -> None:
        self.write("go\n")

    def call(self, do: str, **arguments: Any) -> Any:
        self.write(json.dumps({"do": do, **arguments}) + "\n")
        return self.receive(ANSWERS_WITHIN)

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def receive(self, within: float) -> Any:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], within)
        line = self.process.stdout.readline() if readable else b""

        if not line:
            raise PlayerFailed(self.name, "no answer" if not readable else "it ended; see .benchmarks/logs")

        answer = json.loads(line)

        if "error" in answer:
            raise PlayerFailed(self.name, answer["error"])

        return answer["ok"]

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def memory(self) -> int:
        return resident_bytes(self.process.pid)

    def own_memory(self) -> int:
        return own_bytes(self.process.pid)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

        self.process.wait()

        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def surroundings(logs: Path) -> dict[str, str]:
    """An environment of its own is its own; and what was compiled is kept, as it is of programs that are installed."""
    not_passed_on = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    passed_on = {name: value for name, value in os.environ.items() if name not in not_passed_on}
    return {**passed_on, "PYTHONPYCACHEPREFIX": str(logs.parent.absolute() / "pycache")}
