"""The house has floors, and its arrows point down: who may import whom, and who may do what.

`upward_arrows` reads the imports of every module, `misplaced_uses` the names that only some modules may use. Both
take a package's folder and return what they found, one line each; an empty list is a house in order.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = "anysched"

Plant = Callable[[dict[str, str]], Path]

CORE = (
    "schedules job run entry retry durations codec clock errors events config blueprint"
    " attempt_errors context dotenv fidelity identifiers job_types options registry run_handle shapes values"
)
FLOORS = (
    dict.fromkeys(CORE.split(), 0)
    | {"backends": 1}
    | dict.fromkeys(["executor", "lock", "runtime"], 2)
    | {"scheduler": 3}
    | dict.fromkeys(["cli", "web", "testing", "observability", "__main__"], 4)
    | {"__init__": 5}  # the front door gathers public names from every floor; nothing below the edges comes in by it
)
EDGE = 4
SAME_EDGE = {"__main__": "cli"}  # `python -m anysched` is the command line

# --- arrows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Module:
    """One parsed file of the package."""

    path: Path
    package: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        """The path inside the package, as written in the tables: `runtime/ticking.py`."""
        return self.path.relative_to(self.package).as_posix()

    @property
    def part(self) -> str:
        """What the map of floors knows it by: `runtime`."""
        return self.name.removesuffix(".py").split("/")[0]

    @property
    def parents(self) -> list[str]:
        """The dotted package it lies in, as a list, for relative imports."""
        return [PACKAGE, *self.path.relative_to(self.package).parent.parts]


def modules(package: Path) -> Iterator[Module]:
    for path in sorted(package.rglob("*.py")):
        yield Module(path, package, ast.parse(path.read_text(), str(path)))


def absolute(module: Module, node: ast.ImportFrom) -> str:
    """The module that a `from ... import` names, without the dots."""
    if node.level == 0:
        return node.module or ""

    parents = module.parents
    start = parents[: len(parents) - node.level + 1]
    return ".".join([*start, *filter(None, [node.module])])


def imported(module: Module) -> Iterator[tuple[int, str]]:
    """Every dotted name the module imports, also inside functions, for types only, or by `import_module`."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)

            case ast.ImportFrom(names=names):
                yield from ((node.lineno, f"{absolute(module, node)}.{alias.name}") for alias in names)

            case ast.Call(
                func=ast.Name("import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(name)), *_],
            ):
                yield node.lineno, name

            case _:
                pass


def target(package: Path, dotted: str) -> str | None:
    """The part of the house an imported name lies in: None if outside, `__init__` if it comes through the door."""
    first, *rest = dotted.split(".")

    if first != PACKAGE:
        return None

    if len(rest) > 1 or (rest and (rest[0] in FLOORS or (package / f"{rest[0]}.py").is_file())):
        return rest[0]

    return "__init__"


def arrow(source: str, to: str) -> str | None:
    """What is wrong with `source` importing `to`, both on the map; None if nothing is."""
    up = FLOORS[to] > FLOORS[source] and to != "__init__"
    sideways = FLOORS[to] == FLOORS[source] == EDGE and SAME_EDGE.get(source, source) != SAME_EDGE.get(to, to)
    through_the_door = to == "__init__" != source and FLOORS[source] < EDGE

    if through_the_door:
        return "comes in through the front door, which is for users and edges"

    if up:
        return f"points up, from floor {FLOORS[source]} to floor {FLOORS[to]}"

    return "points from one edge to another" if sideways else None


def upward_arrows(package: Path) -> list[str]:
    """Imports that point up, sideways between edges, or from or to a module that has no floor."""
    found: list[str] = []

    for module in modules(package):
        if module.part not in FLOORS:
            found.append(f"{module.name}: give it a floor")
            continue

        for line, dotted in imported(module):
            to = target(package, dotted)

            if to is not None and to in FLOORS and (wrong := arrow(module.part, to)):
                found.append(f"{module.name}:{line}: the import of {dotted} {wrong}")

    return found


# --- uses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reserved:
    """Names that only some modules may use: `module`, `module.name`, or `.name` for an attribute of anything."""

    names: str
    allowed: tuple[str, ...]
    why: str

    def covers(self, use: str) -> bool:
        parts = use.split(".")
        prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return not (prefixes | {f".{parts[-1]}"}).isdisjoint(self.names.split())

    def permits(self, name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in self.allowed)


ADAPTERS = ("backends/redis/*asyncio*.py", "backends/redis/*redispy*.py")
TRIO_ADAPTERS = ("backends/redis/*trio*.py", "backends/redis/*coredis*.py")
GROUPS = ("executor.py", "lock.py", "runtime/*", "scheduler.py", "cli/*", "web/*", "testing/*", "observability/*")
# To greet a server somebody has to read its replies at the same time; to leave it, who listens to it has to be let go.
CONNECTING = ("backends/redis/opening.py", "backends/redis/link.py")

RESERVED = [
    Reserved("asyncio redis", ("testing/*", *ADAPTERS), "a client adapter's or a test's; elsewhere it is anyio"),
    Reserved("trio coredis", ("testing/*", *TRIO_ADAPTERS), "a client adapter's or a test's; elsewhere it is anyio"),
    Reserved("sniffio uvloop", (), "which loop runs is anyio's business"),
    Reserved(
        ".create_task_group .CancelScope .move_on_after .move_on_at .fail_after .fail_at .open_nursery",
        (*GROUPS, *CONNECTING, *ADAPTERS, *TRIO_ADAPTERS),
        "groups and scopes are opened by the runtime and by what stands above it",
    ),
    Reserved(
        ".spawn_system_task .ensure_future .run_coroutine_threadsafe asyncio.create_task",
        (),
        "a task without a parent",
    ),
    Reserved(".add_done_callback", ("testing/*asyncio*.py",), "for event loops; elsewhere a task's parent awaits it"),
    Reserved(
        "datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today"
        " time.time time.time_ns",
        ("clock.py",),
        "only clock.py reads the computer's clock",
    ),
    Reserved(
        "time.monotonic time.monotonic_ns time.perf_counter",
        ("clock.py", "testing/*", "cli/*"),
        "durations are measured by anyio.current_time, which a test can control",
    ),
    Reserved("logging", ("scheduler.py", "observability/*", "cli/*", "testing/*"), "floors 0 to 2 report by events"),
    Reserved("signal anyio.open_signal_receiver", ("cli/*", "testing/*"), "signals belong to the command line"),
    # What a worker process of ours has to say is not stored; AnyIO pickles it anyway.
    Reserved("pickle marshal shelve", ("runtime/crossing.py",), "stored data never runs code"),
    Reserved(
        "socket selectors subprocess",
        ("cli/*", "testing/*", "web/*", "backends/redis/receiving_*.py"),
        "I/O goes through anyio or a client, but where a client's connection is read in its place",
    ),
]
PURE = Reserved("anyio asyncio trio", (), "floor 0 is pure: no event loop")


def types_only(tree: ast.Module) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`, which never run."""
    guarded = (
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    )
    return {inner for node in guarded for statement in node.body for inner in ast.walk(statement)}


def aliases(nodes: list[ast.AST]) -> dict[str, str]:
    """What each imported name stands for: `from time import time as t` gives t -> time.time."""
    known: dict[str, str] = {}

    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                known |= {alias.asname: alias.name} if alias.asname else {top: top}

        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    return known


def uses(module: Module) -> Iterator[tuple[int, str]]:
    """Every imported name and every dotted name that is read, aliases resolved."""
    unread = types_only(module.tree)
    nodes = [node for node in ast.walk(module.tree) if node not in unread]
    known = aliases(nodes)

    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)

        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

        elif isinstance(node, ast.Attribute):
            root, *rest = ast.unparse(node).split(".")
            yield node.lineno, ".".join([known.get(root, f"?{root}"), *rest])


def misplaced_uses(package: Path) -> list[str]:
    """Reserved names used where they are not allowed."""
    found: dict[str, None] = {}

    for module in modules(package):
        rules = [*RESERVED, *([PURE] if FLOORS.get(module.part) == 0 else [])]
        rules = [rule for rule in rules if not rule.permits(module.name)]

        for line, use in uses(module):
            found |= {
                f"{module.name}:{line}: {use.lstrip('?')}: {rule.why}": None for rule in rules if rule.covers(use)
            }

    return list(found)


# --- the house ---------------------------------------------------------------------------------------------------


def test_arrows_point_down(package: Path) -> None:
    """No module imports from a floor above its own, and no edge from another edge."""
    assert [] == upward_arrows(package)


def test_reserved_names_stay_where_they_belong(package: Path) -> None:
    """Loops, groups, clocks, logs and signals are used only by those who own them."""
    assert [] == misplaced_uses(package)


# --- the checks find what they look for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("job.py", "from anysched.backends import Backend", "points up"),
        ("job.py", "from . import backends", "points up"),
        ("job.py", "from .backends.memory import MemoryBackend", "points up"),
        ("schedules/cron.py", "from ..runtime import ticking", "points up"),
        ("backends/redis/client.py", "import anysched.executor", "points up"),
        ("backends/memory.py", "def late():\n    from anysched.scheduler import Scheduler", "points up"),
        ("lock.py", "if TYPE_CHECKING:\n    from anysched.scheduler import Scheduler", "points up"),
        ("lock.py", "import importlib\nimportlib.import_module('anysched.scheduler')", "points up"),
        ("scheduler.py", "from anysched import Job", "front door"),
        ("cli/demo.py", "from anysched.testing import virtual_time", "one edge to another"),
        ("testing/plugin.py", "from anysched import cli", "one edge to another"),
        ("misc.py", "", "give it a floor"),
        ("misc/inner.py", "", "give it a floor"),
    ],
)
def test_a_planted_arrow_is_found(plant: Plant, name: str, text: str, complaint: str) -> None:
    """An import that points up or sideways is found, however it is written."""
    (found,) = upward_arrows(plant({name: text}))

    assert complaint in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.py", "from .errors import AnySchedError\nimport attrs"),
        ("__init__.py", "from anysched.scheduler import Scheduler"),
        ("__init__.py", "from anysched.observability import LoggingObserver"),
        ("backends/redis/__init__.py", "from anysched import errors\nfrom ..records import RunRecord"),
        ("cli/demo.py", "from anysched import Scheduler\nfrom anysched.cli import board"),
        ("__main__.py", "from anysched.cli import main"),
    ],
)
def test_an_arrow_that_points_down_is_fine(plant: Plant, name: str, text: str) -> None:
    """What every floor may do raises no complaint."""
    assert [] == upward_arrows(plant({name: text, "errors.py": "", "backends/records.py": ""}))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("runtime/ticking.py", "import asyncio", "elsewhere it is anyio"),
        ("backends/redis/client.py", "import redis.asyncio", "elsewhere it is anyio"),
        ("backends/redis/asyncio_client.py", "import trio", "elsewhere it is anyio"),
        ("cli/run.py", "from uvloop import new_event_loop", "anyio's business"),
        ("job.py", "import anyio", "floor 0 is pure"),
        ("backends/memory.py", "import anyio\nanyio.create_task_group()", "opened by the runtime"),
        ("backends/memory.py", "from anyio import move_on_after", "opened by the runtime"),
        ("testing/clock.py", "import asyncio\nasyncio.create_task(x)", "without a parent"),
        ("runtime/leasing.py", "task.add_done_callback(f)", "a task's parent awaits it"),
        ("runtime/leasing.py", "from datetime import datetime as d\nd.now()", "only clock.py"),
        ("runtime/leasing.py", "import datetime\ndatetime.datetime.now()", "only clock.py"),
        ("cli/run.py", "from time import time", "only clock.py"),
        ("lock.py", "import time as t\nt.monotonic()", "anyio.current_time"),
        ("runtime/attempting.py", "import logging", "report by events"),
        ("scheduler.py", "import signal", "command line"),
        ("scheduler.py", "import anyio\nanyio.open_signal_receiver(2)", "command line"),
        ("codec.py", "import pickle", "never runs code"),
        ("backends/redis/wire.py", "from socket import socket", "through anyio"),
    ],
)
def test_a_planted_use_is_found(plant: Plant, name: str, text: str, complaint: str) -> None:
    """A reserved name in the wrong place is found, also under an alias."""
    found = misplaced_uses(plant({name: text}))

    assert len(found) == 1, found
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clock.py", "import time\ntime.time()"),
        ("runtime/attempting.py", "import anyio\nanyio.create_task_group()"),
        ("backends/redis/asyncio_client.py", "import asyncio\nimport redis.asyncio"),
        ("backends/redis/coredis_client.py", "import coredis, anyio\nanyio.create_task_group()"),
        ("run.py", "if TYPE_CHECKING:\n    import anyio"),
        ("entry.py", "self.clock.now(); event.time"),
        ("cli/run.py", "import logging, signal"),
    ],
)
def test_a_use_where_it_belongs_is_fine(plant: Plant, name: str, text: str) -> None:
    """The owners of a reserved name may use it."""
    assert [] == misplaced_uses(plant({name: text}))
