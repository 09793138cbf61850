"""The tutorial, followed to the letter: every file as written, every command, and what it prints."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

import pytest

from .pages import Block, blocks

TUTORIAL = [block for block in blocks() if block.page == "docs/tutorial.md"]
PATIENCE = 15.0  # seconds that a command, or the beginning of a long-lived one, may take


@dataclass
class Reader:
    """Somebody who follows the tutorial in a directory of their own."""

    directory: Path
    redis_url: str
    environment: dict[str, str]
    in_background: list[tuple[subprocess.Popen[str], Path, str]] = field(default_factory=list)

    def read(self, block: Block) -> None:
        if block.language == "python":
            (self.directory / block.title).write_text(block.text)
        elif block.language == "console":
            for command, expected in commands_of(block.text):
                self.enter(command, expected, other_terminal=bool(block.title))

    def enter(self, command: str, expected: str, *, other_terminal: bool) -> None:
        if command.startswith("export "):
            name, _, _ = command.removeprefix("export ").partition("=")
            self.environment[name] = self.redis_url
        elif other_terminal:
            self.start(command, expected)
        else:
            assert_printed(expected, self.run(command), command)

    def run(self, command: str) -> str:
        done = subprocess.run(
            shlex.split(command),
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout

    def start(self, command: str, expected: str) -> None:
        """Start a long-lived command, and wait for what it prints first."""
        log = self.directory / f"terminal-{len(self.in_background)}"

        with log.open("w") as output:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.directory, env=self.environment, stdout=output, stderr=output, text=True
            )

        self.in_background.append((process, log, command))
        give_up_at = monotonic() + PATIENCE

        while not pattern(expected).match(log.read_text()) and monotonic() < give_up_at:
            sleep(0.05)

        assert pattern(expected).match(log.read_text()), f"{command} printed:\n{log.read_text()}"

    def leave(self) -> list[str]:
        """Press Ctrl-C in the other terminals; what was printed there."""
        for process, _, _ in self.in_background:
            process.send_signal(signal.SIGINT)

        for process, _, _ in self.in_background:
            process.wait(PATIENCE)

        return [log.read_text() for _, log, _ in self.in_background]


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with what follows it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def pattern(expected: str) -> re.Pattern[str]:
    """The expected text; three dots stand for anything."""
    return re.compile(re.escape(expected).replace(re.escape("..."), r"[\s\S]*?"))


def assert_printed(expected: str, printed: str, command: str) -> None:
    assert pattern(expected).fullmatch(printed), f"{command} printed:\n{printed}"


@pytest.fixture
def reader(tmp_path: Path, redis_url: str) -> Iterator[Reader]:
    # The commands by their names, whether anysched is installed or only on the path.
    programs = tmp_path / "bin"
    programs.mkdir()

    for name, arguments in {"python": "", "anysched": " -m anysched.cli"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
        program.chmod(0o755)

    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANYSCHED", "COLUMNS"))}
    environment |= {"PATH": f"{programs}{os.pathsep}{environment['PATH']}", "PYTHONPATH": path, "COLUMNS": "80"}
    directory = tmp_path / "work"
    directory.mkdir()
    one = Reader(directory, redis_url, environment)

    try:
        yield one
    finally:
        for process, _, _ in one.in_background:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_tutorial_can_be_followed_to_the_letter(reader: Reader) -> None:
    """Each file is written as it stands there, each command entered, and prints what stands below it."""
    for block in TUTORIAL:
        reader.read(block)

    (terminal,) = reader.leave()

    assert "good morning\n" in terminal
    assert [0] == [process.returncode for process, _, _ in reader.in_background]
