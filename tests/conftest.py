"""Every async test runs on each event loop; the tests of backends are counted, cell by cell.

An async test needs no mark and no fixture: AnyIO's plugin runs it, once for each of the loops below.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import coredis  # noqa: F401 - see below
import pytest

pytest_plugins = ["pytester"]

# A pytest within a test forgets what was imported there first. Imported again, the compiled parts of coredis would go
# on with the errors of its first import, which nobody catches any more.


def uvloop_event_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


LOOPS: dict[str, tuple[str, dict[str, Any]]] = {"asyncio": ("asyncio", {"debug": False}), "trio": ("trio", {})}
if sys.version_info >= (3, 12):

    def eager_event_loop() -> asyncio.AbstractEventLoop:
        """A loop that starts a task at once, in the middle of the one that creates it."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS["asyncio+eager"] = ("asyncio", {"debug": False, "loop_factory": eager_event_loop})

MORE_LOOPS: dict[str, tuple[str, dict[str, Any]]] = {}
if importlib.util.find_spec("uvloop") is not None:
    MORE_LOOPS["asyncio+uvloop"] = ("asyncio", {"debug": False, "loop_factory": uvloop_event_loop})


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loop that an async test runs on."""
    return request.param


@pytest.fixture
def all_loops() -> None:
    """A test that asks for this runs on uvloop too, where that is installed: it does real I/O that matters."""


def pytest_configure(config: pytest.Config) -> None:
    # An installed anysched brings its plugin along; from a bare source tree it has to be fetched.
    from anysched.testing import plugin

    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "anysched")

    # What a shell starts in the background ignores Ctrl-C, and so would what is interrupted here.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "anyio_backend" not in metafunc.fixturenames:
        return

    loops = LOOPS | (MORE_LOOPS if "all_loops" in metafunc.fixturenames else {})
    metafunc.parametrize("anyio_backend", loops.values(), ids=loops.keys(), indirect=True, scope="module")


# --- slow tests: most of them wait, whatever the loop ---------------------------------------------------------------

LOOP = re.compile(r"asyncio\+?\w*|trio")


def take_turns(items: Iterable[pytest.Item]) -> None:
    """Let the default run have each slow test on one loop, in turn; the nightly has the rest."""
    for item in items:
        loop = re.search(LOOP, item.name)
        turn = crc32(re.sub(LOOP, "", item.nodeid).encode()) % 2

        if loop and item.get_closest_marker("slow") and loop[0] != ("trio", "asyncio")[turn]:
            item.add_marker(pytest.mark.nightly)


# --- how many tests there were of each backend on each loop ----------------------------------------------------------

CELL = "backend and loop"
CANCELLED = "suspensions cancelled"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    take_turns(items)
    names = {id(value): name for name, value in (LOOPS | MORE_LOOPS).items()}
    for item in items:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        backend = parameters.get("anysched_backend", parameters.get("backend_kind"))
        loop = names.get(id(parameters.get("anyio_backend")))
        if isinstance(backend, str) and loop is not None:
            # A property travels with the test's report, also from the processes of pytest-xdist.
            item.user_properties.append((CELL, f"{backend} {loop}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", [])
    counts = [value for report in passed for name, value in report.user_properties if name == CANCELLED]

    if counts:
        terminalreporter.section(f"{sum(counts)} {CANCELLED}, in {len(counts)} tests")

    cells: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.stats.get(outcome, []):
            if cell := dict(getattr(report, "user_properties", ())).get(CELL):  # a failed collection has none
                cells.setdefault(cell, Counter())[outcome] += 1

    if not cells:
        return

    loops = [loop for loop in (*LOOPS, *MORE_LOOPS) if any(cell.endswith(f" {loop}") for cell in cells)]
    backends = sorted({cell.partition(" ")[0] for cell in cells})
    terminalreporter.section("tests of each backend on each event loop")
    terminalreporter.write_line(" " * 10 + "".join(f"{name:>24}" for name in loops))
    for backend in backends:
        counts = (cells.get(f"{backend} {loop}", Counter[str]()) for loop in loops)
        shown = (", ".join(f"{number} {outcome}" for outcome, number in count.items()) or "none" for count in counts)
        terminalreporter.write_line(f"{backend:<10}" + "".join(f"{text:>24}" for text in shown))
