"""What is measured: one scenario a module, each with `SCENARIOS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.rounds import Figures, Round

ORDER = (
    "enqueue_one",
    "enqueue_concurrent",
    "enqueue_bulk",
    "drain",
    "drain_two",
    "drain_alone",
    "drain_far",
    "pickup",
    "lateness",
    "stored",
    "idle",
    "many_nodes",
    "ticking",
    "memory",
    "killed",
)


@dataclass(frozen=True)
class Scenario:
    """One thing that is measured of every contestant in turn, several times.

    Attributes:
        name: what it is called on the command line.
        title: what it measures, for the table.
        run: one turn of one contestant.
        libraries: who takes part; None: everyone who does not lack it.
        repeats: of which the median is given; None: as often as the command line says.
    """

    name: str
    title: str
    run: Callable[[Round], Figures]
    libraries: tuple[str, ...] | None = None
    repeats: int | None = None


def scenarios() -> list[Scenario]:
    modules = (importlib.import_module(f"{__name__}.{name}") for name in ORDER)
    return [scenario for module in modules for scenario in module.SCENARIOS]


def chosen(names: str | None) -> list[Scenario]:
    """Those that a comma-separated list names: `drain` is one, `drain*` all that start so."""
    everything = scenarios()

    if names is None:
        return everything

    wanted = names.split(",")
    unknown = [name for name in wanted if not any(matches(scenario, name) for scenario in everything)]

    if unknown:
        known = ", ".join(scenario.name for scenario in everything)
        raise SystemExit(f"no scenario is called {', '.join(unknown)}; there are {known}")

    return [scenario for scenario in everything if any(matches(scenario, name) for name in wanted)]


def matches(scenario: Scenario, name: str) -> bool:
    return scenario.name.startswith(name[:-1]) if name.endswith("*") else scenario.name == name
