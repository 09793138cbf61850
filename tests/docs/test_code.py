"""The code in the documents does what they say."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from anysched.testing import virtual_time

from .pages import ROOT, Block, blocks, output_of

BLOCKS = blocks()
PYTHON = [block for block in BLOCKS if block.language == "python" and block.title != "before"]
PATIENCE = 60.0
PROGRAMS = [block for block in PYTHON if block.runner and block.page != "docs/tutorial.md"]
TESTS = [block for block in PYTHON if block.title.startswith("test_")]


def loops_of(block: Block) -> list[str]:
    return ["trio"] if block.runner.startswith("trio") else ["asyncio", "trio"]


async def timed(main: Callable[[], Awaitable[None]]) -> float:
    """How many seconds a program takes."""
    began = anyio.current_time()
    await main()
    return anyio.current_time() - began


RUNS = [(block, loop) for block in PROGRAMS for loop in loops_of(block)]


def test_there_is_code_in_the_documents() -> None:
    """The blocks are found: a change of the fences would otherwise pass unnoticed."""
    assert len(PROGRAMS) >= 12
    assert len(TESTS) >= 5


@pytest.mark.parametrize(("block", "loop"), RUNS, ids=[f"{block}-{loop}" for block, loop in RUNS])
def test_a_program_prints_what_the_page_says(
    block: Block, loop: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each complete program, in virtual time on each loop."""
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    exec(compile(block.program, str(block), "exec"), module.__dict__)
    seconds = virtual_time(timed, module.__dict__["main"], backend=loop)
    printed = capsys.readouterr().out
    expected = output_of(block, BLOCKS)

    assert printed if expected is None else expected == printed
    # Who runs it as it is written there does not wait longer.
    assert seconds <= PATIENCE or block.runner == "virtual_time(main)"


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_a_test_on_a_page_passes(block: Block, pytester: pytest.Pytester) -> None:
    """Run by pytest, with the plugin, as a user would run it."""
    pytester.makeconftest(
        """
        from anysched.testing import plugin

        def pytest_configure(config):
            if not config.pluginmanager.is_registered(plugin):
                config.pluginmanager.register(plugin, "anysched")
        """
    )
    pytester.path.joinpath(block.title).write_text(block.text)
    counts = pytester.runpytest("-p", "no:cacheprovider", "-W", "error").parseoutcomes()

    assert {"passed"} == set(counts)


@pytest.mark.parametrize("block", [block for block in PYTHON if block not in PROGRAMS], ids=str)
def test_a_fragment_is_python(block: Block) -> None:
    """What cannot be run alone can at least be parsed."""
    assert ast.parse(block.text).body


def test_a_link_in_the_readme_leads_somewhere() -> None:
    """Those to files; the ones between the documents are checked when these are built."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())

    assert [] == [link for link in links if not (ROOT / link).exists()]


@pytest.mark.types
@pytest.mark.timeout(300)
def test_the_types_hold(tmp_path: Path) -> None:
    """Pyright finds no error in what is complete enough to begin with its imports."""
    whole = [block for block in PYTHON if block.text.startswith(("import ", "from "))]
    places: dict[str, Block] = {}

    for number, block in enumerate(whole):
        path = tmp_path / f"block_{number}.py"
        path.write_text(block.text)
        places[str(path)] = block

    settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11", "extraPaths": [str(ROOT / "src")]}
    tmp_path.joinpath("pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    found = [f"{places[error['file']]}: {error['message']}" for error in report["generalDiagnostics"]]

    assert [] == found
