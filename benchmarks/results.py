"""Figures of a run, kept as JSON and shown as tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rounds import Figures

LABELS = {
    "jobs_per_s": "jobs/s",
    "stored_per_s": "stored/s",
    "cpu_us": "CPU µs/job",
    "redis_cpu_us": "Redis µs/job",
    "commands": "commands/job",
    "trips": "trips/job",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "pickup_p50_ms": "pickup p50 ms",
    "pickup_p99_ms": "pickup p99 ms",
    "late_p50_ms": "late p50 ms",
    "late_p99_ms": "late p99 ms",
    "late_early": "early",
    "commands_per_s": "commands/s",
    "requests_per_s": "requests/s",
    "cpu_percent": "CPU %",
    "redis_cpu_percent": "Redis CPU %",
    "rss_mb": "RSS MB",
    "own_mb": "own MB",
    "bytes": "bytes/run",
    "queued_bytes": "bytes/queued run",
    "ended_bytes": "bytes/ended run",
    "back_s": "back after s",
}


@dataclass
class Results:
    """Everything that was measured, and where.

    Attributes:
        about: the machine, the server, the options.
        versions: of each library's packages.
        titles: of the scenarios, in order.
        samples: by scenario and contestant, the figures of each repetition.
        errors: by scenario and contestant, what went wrong: nothing that has one has passed.
    """

    about: dict[str, Any]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    errors: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, scenario: str, contestant: str, figures: Figures) -> None:
        self.samples.setdefault(scenario, {}).setdefault(contestant, []).append(figures)

    def add_error(self, scenario: str, contestant: str, error: str) -> None:
        self.errors.setdefault(scenario, {}).setdefault(contestant, []).append(error)

    def medians(self, scenario: str, contestant: str) -> Figures:
        samples = self.samples.get(scenario, {}).get(contestant, [])
        names = samples[0] if samples else {}
        return {name: statistics.median(sample[name] for sample in samples) for name in names}

    def measured(self) -> set[str]:
        return {name for table in (*self.samples.values(), *self.errors.values()) for name in table}

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1, default=str) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))


def figure(value: float) -> str:
    """Three digits that matter, no more."""
    if math.isinf(value):
        return "not seen"

    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"

    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if abs(value) >= 0.01 else f"{value:.3f}"


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of a table; the first column to the left, the others to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(results: Results, scenario: str) -> str:
    """One scenario: a row for each contestant, the medians of what was measured."""
    samples = results.samples.get(scenario, {})
    medians = {name: results.medians(scenario, name) for name in samples}
    columns = list(next(iter(medians.values()), {}))
    head = ("", *(LABELS.get(column, column) for column in columns))
    rows = [(name, *(figure(row[column]) for column in columns)) for name, row in medians.items()]
    troubles = [f"  ! {name}: {error}" for name, errors in results.errors.get(scenario, {}).items() for error in errors]
    repeats = {len(each) for each in samples.values()}
    counted = f" (median of {max(repeats)})" if repeats and max(repeats) > 1 else ""
    return "\n".join(["", f"{results.titles[scenario]}{counted}", *aligned([head, *rows]), *troubles])


def heading(results: Results) -> str:
    lines = [f"{name}: {value}" for name, value in results.about.items()]
    versions = [
        f"{library}: {', '.join(f'{name} {version}' for name, version in packages.items())}"
        for library, packages in results.versions.items()
    ]
    return "\n".join([*lines, *versions])
