"""The table at the end of a test run: how many tests each backend had on each event loop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent.parent / "conftest.py"


def test_tests_with_a_backend_and_a_loop_are_counted_cell_by_cell(pytester: pytest.Pytester) -> None:
    """By outcome, with nothing left out; tests that have only one of the two are not counted."""
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nanyio_mode = auto")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("backend_kind", ["memory", "redis"])
        async def test_both(backend_kind, anyio_backend_name):
            assert (backend_kind, anyio_backend_name) != ("redis", "trio")

        @pytest.mark.parametrize("backend_kind", ["memory"])
        async def test_another(backend_kind):
            pass

        @pytest.mark.parametrize("backend_kind", ["memory"])
        def test_without_a_loop(backend_kind):
            pass

        async def test_without_a_backend():
            pass
        """
    )
    done = pytester.runpytest("-p", "no:cacheprovider")
    loops = ["asyncio", "trio"] + ["asyncio+eager"] * (sys.version_info >= (3, 12))
    done.stdout.re_match_lines(
        [
            r"=+ tests of each backend on each event loop =+",
            r"\s+" + r"\s+".join(loop.replace("+", r"\+") for loop in loops),
            r"memory" + r"\s+2 passed" * len(loops),
            r"redis\s+1 passed\s+1 failed" + r"\s+1 passed" * (len(loops) - 2),
        ],
        consecutive=True,
    )
