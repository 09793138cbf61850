"""Who takes part: one script a library in `contestants/`, with what it needs written in its head (PEP 723).

A library is *here* if it runs in the harness's own environment; any other gets one of its own, made when it is first
wanted. `pace` is a rough guess of its jobs per second, to size its share of the work; `lacks` names scenarios that it
cannot take part in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "contestants"
ORDER = ("bare", "anysched")  # first in every table; then the peers by name
HEAD = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)


@dataclass(frozen=True)
class Contestant:
    """One library on one event loop."""

    library: str
    loop: str
    script: Path
    requirements: tuple[str, ...]
    here: bool
    pace: int
    lacks: tuple[str, ...]
    many_loops: bool

    @property
    def name(self) -> str:
        return f"{self.library}-{self.loop}" if self.many_loops else self.library

    def environment(self, work: Path) -> Path:
        """The Python to run it with, installed on demand."""
        if self.here:
            return Path(sys.executable)

        folder = work / "venvs" / self.library
        installed = folder / "requirements.txt"
        wanted = "\n".join(self.requirements)

        if not installed.exists() or installed.read_text() != wanted:
            print(f"installing {self.library}: {', '.join(self.requirements)}", file=sys.stderr)
            install(folder, self.requirements)
            installed.write_text(wanted)

        return folder / "bin" / "python"


def install(folder: Path, requirements: tuple[str, ...]) -> None:
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        pip = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    else:
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq"]

    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, *requirements], check=True, env=quiet)


def read_head(script: Path) -> dict[str, Any]:
    found = HEAD.search(script.read_text())

    if found is None:
        raise ValueError(f"{script} has no script block")

    return tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in found[1].splitlines()))


def contestants() -> list[Contestant]:
    """All there are."""
    found: list[Contestant] = []

    for script in sorted(SCRIPTS.glob("with_*.py")):
        head = read_head(script)
        about = head["tool"]["bench"]
        loops = about.get("loops", ["threads"])
        found += (
            Contestant(
                library=script.stem.removeprefix("with_"),
                loop=loop,
                script=script,
                requirements=tuple(head["dependencies"]),
                here=about.get("here", False),
                pace=about["pace"],
                lacks=tuple(about.get("lacks", ())),
                many_loops=len(loops) > 1,
            )
            for loop in loops
        )

    return sorted(found, key=lambda one: ORDER.index(one.library) if one.library in ORDER else len(ORDER))


def chosen(only: str | None) -> list[Contestant]:
    """Those that a comma-separated list names, by library or in full."""
    everyone = contestants()

    if only is None:
        return everyone

    names = set(only.split(","))
    unknown = names - {one.library for one in everyone} - {one.name for one in everyone}

    if unknown:
        known = ", ".join(one.name for one in everyone)
        raise SystemExit(f"nobody is called {', '.join(sorted(unknown))}; there are {known}")

    return [one for one in everyone if names & {one.library, one.name}]
