"""The sessions that keep the house in order. `nox -l` lists them; `nox` alone runs what a change must pass."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"  # a session runs on the Pythons that are present
nox.options.sessions = ["lint", "types", "tests", "lowest", "examples", "wheel"]

PYTHONS = ["3.11", "3.12", "3.13"]
PYPROJECT = nox.project.load_toml("pyproject.toml")
SOURCES = ["src", "tests", "examples", "benchmarks", "noxfile.py"]

# flake8-async, with its optional rules too: no async generators but context managers (900), and a checkpoint on every
# path (910, 911) of what users and other floors call. Inside, a step that need not suspend does not: that is what makes
# an attempt cheap. 106 is about spelling; 114, 124 and 128 do not see through a function that is passed on.
ASYNC_RULES = ["--enable=ASYNC", "--disable=ASYNC106,ASYNC114,ASYNC124,ASYNC128,ASYNC910,ASYNC911,ASYNC912,ASYNC913"]
CHECKPOINT_RULES = ["--enable=ASYNC910,ASYNC911"]
PUBLIC = ["scheduler.py", "runtime/managing.py", "runtime/awaiting.py", "job.py", "run_handle.py", "context.py"]


def present(*names: str) -> list[str]:
    return [name for name in names if Path(name).exists()]


def group(name: str) -> tuple[str, ...]:
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, complexity, and the manners of structured concurrency."""
    session.install(*group("lint"))
    session.run("ruff", "check", *present(*SOURCES))
    session.run("ruff", "format", "--check", *present(*SOURCES))
    modules = [str(path) for path in sorted(Path("src").rglob("*.py"))]
    session.run("flake8-async", "--anyio", *ASYNC_RULES, *modules)
    session.run("flake8-async", "--anyio", *CHECKPOINT_RULES, *(f"src/anysched/{module}" for module in PUBLIC))


@nox.session(python="3.11")
def types(session: nox.Session) -> None:
    """Strict types inside, complete types outside, and errors where a wrong use must be one."""
    session.install(".[test]", *group("types"))
    session.run("pyright")
    session.run("pyright", "--verifytypes", "anysched", "--ignoreexternal")
    session.run("pytest", "-m", "types", "tests/typing")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The default test run, on each Python that is present."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The default test run with the oldest release that each requirement allows."""
    project = PYPROJECT["project"]
    wanted = chain(project["dependencies"], *project["optional-dependencies"].values())
    # What an extra asks for anew, asks for more.
    oldest = {line.partition(">=")[0]: line for line in wanted if not line.startswith("anysched[")}
    pins = [line.replace(">=", "==", 1) for line in oldest.values()]
    session.install("-e", ".[test]", *pins)
    session.run("pytest", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Every example runs to its end."""
    session.install("-e", ".[test]")

    for example in sorted(Path("examples").glob("*.py")):
        session.run("python", "-W", "error", str(example))


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """The default test run against the wheel that the source distribution gives, with src out of the way."""
    away = Path(session.create_tmp()).resolve()
    shutil.rmtree(away, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--outdir", str(away / "dist"))
    built = next((away / "dist").glob("*.whl"))
    session.install(f"anysched[test] @ {built.as_uri()}")

    for name in present("tests", "examples", "docs"):
        shutil.copytree(name, away / name)

    for name in present("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(name, away)

    session.chdir(away)
    session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every link in it checked."""
    session.install("-e", ".", *group("docs"))
    session.run("mkdocs", "build", "--strict")


@nox.session
def bench(session: nox.Session) -> None:
    """Measurements; compare with figures from the same machine only."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def nightly(session: nox.Session) -> None:
    """Tests that take minutes."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "nightly", "--timeout=1800", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Tests that take hours."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "soak", "--timeout=0", *session.posargs)
