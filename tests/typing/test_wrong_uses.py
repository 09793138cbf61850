"""The types refuse what would fail at run time, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import attrs
import pytest

import anysched

WRONG_USES = Path(__file__).with_name("wrong_uses.py")
RIGHT_USES = Path(__file__).with_name("right_uses.py")


def marked(source: Path) -> set[int]:
    """The numbers of the lines that end in `# wrong`."""
    return {number for number, line in enumerate(source.read_text().splitlines(), 1) if line.endswith("# wrong")}


def refused(source: Path) -> set[int]:
    """The numbers of the lines in which pyright finds an error."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(source)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return {
        finding["range"]["start"]["line"] + 1
        for finding in report["generalDiagnostics"]
        if finding["severity"] == "error"
    }


@pytest.mark.types
@pytest.mark.timeout(300)
def test_each_wrong_use_is_refused_and_no_right_one() -> None:
    """Pyright's errors lie on the marked lines exactly."""
    assert marked(WRONG_USES) == refused(WRONG_USES)


@pytest.mark.types
@pytest.mark.timeout(300)
def test_a_strict_checker_knows_every_type() -> None:
    """Nothing that a public method gives is unknown, in part or in full."""
    assert set() == refused(RIGHT_USES)


@pytest.mark.parametrize("name", [name for name in anysched.__all__ if attrs.has(getattr(anysched, name))])
def test_every_checker_can_work_out_what_a_parameter_takes(name: str) -> None:
    """Mypy takes it from a converter that is a function with a name; what any other takes is anything."""
    converters: list[Any] = [
        one.converter for one in attrs.fields(getattr(anysched, name)) if one.converter and one.init
    ]
    given = [next(iter(signature(one).parameters.values())).annotation for one in converters]

    assert [] == [one.__qualname__ for one in converters if "<" in one.__qualname__]
    assert "Any" not in given


@pytest.mark.types
@pytest.mark.timeout(300)
def test_an_unmarked_error_is_noticed(tmp_path: Path) -> None:
    """The comparison itself works: an error is found on the line it lies on."""
    source = tmp_path / "wrong.py"
    source.write_text('right: int = 1\nwrong: int = "1"\n')

    assert {2} == refused(source)
