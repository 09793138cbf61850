"""What `import anysched` offers."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

import anysched

TAKEN_OR_RETURNED = {
    *("AsyncJob", "PlainJob", "JobWithOptions", "BoundJob", "Duration", "Overlap", "Misfire", "ErrorHandler"),
    *("QueueRecord", "NodeRecord", "Totals", "ExecutorStatistics", "SchedulerStatistics"),
}


def test_what_public_methods_take_and_return_can_be_named() -> None:
    """Every type that an annotation of a user's needs is at the top, and so is every error."""
    assert set() == TAKEN_OR_RETURNED - set(anysched.__all__)
    assert set() == set(import_module("anysched.errors").__all__) - set(anysched.__all__)


def test_what_is_offered_is_there_and_listed() -> None:
    """By name, and by `dir`, also what is imported only when it is asked for."""
    for name in anysched.__all__:
        assert getattr(anysched, name) is not None

    assert {*anysched.__all__, "__version__"} <= set(dir(anysched))

    with pytest.raises(AttributeError, match="module 'anysched' has no attribute 'nonsense'"):
        anysched.nonsense  # noqa: B018 - that is what raises


def test_the_version_is_that_of_the_distribution() -> None:
    """It is looked up when it is asked for, which takes a while."""
    program = "import sys, anysched; print('importlib.metadata' in sys.modules, anysched.__version__)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert f"False {version('anysched')}" == found.stdout.strip()


@pytest.mark.parametrize(
    "module", ["anysched.runtime", "anysched.testing.plugin", "anysched.testing", "anysched.entry"]
)
def test_a_package_says_what_is_public(module: str) -> None:
    """By an `__all__` of names that it has."""
    found = import_module(module)

    assert [] == [name for name in found.__all__ if not hasattr(found, name)]
