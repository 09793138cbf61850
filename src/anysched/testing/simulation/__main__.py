"""Run simulations from the command line: ``python -m anysched.testing.simulation 42``, or ``0-499`` for many."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from . import Faults, Report, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, and say what came of it.

    Args:
        arguments: instead of the command line's.

    Returns:
        1 if a promise was broken, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m anysched.testing.simulation", description=__doc__)
    parser.add_argument("seeds", help="a number, or two as in 0-499")
    parser.add_argument("--nodes", type=int, help="machines at once; default: 2 to 5")
    parser.add_argument("--duration", default="2m", help="of the disturbed part, in virtual time")
    parser.add_argument("--lease", default="5s", help="of the nodes")
    parser.add_argument("--loop", choices=("asyncio", "trio"), help="default: asyncio for even seeds")
    parser.add_argument("--faults", type=Faults.from_text, help="what goes wrong, as a failure says it; default: drawn")
    parser.add_argument("--story", metavar="TEXT", nargs="?", const="", help="print the history, or lines with this")
    wanted = parser.parse_args(arguments)
    first, _, last = wanted.seeds.partition("-")
    options: dict[str, Any] = {
        "nodes": wanted.nodes,
        "duration": wanted.duration,
        "lease": wanted.lease,
        "backend": wanted.loop,
        "faults": wanted.faults,
    }
    totals: Counter[str] = Counter()

    for seed in range(int(first), int(last or first) + 1):
        report = simulate(seed, **options)
        _count(totals, report)

        if wanted.story is not None:
            print(report.story(wanted.story))

        _show(report)

    if last:
        print(", ".join(f"{count} {name}" for name, count in totals.items()))

    return 1 if totals["violations"] else 0


def _count(totals: Counter[str], report: Report) -> None:
    totals["seeds"] += 1
    totals["violations"] += len(report.violations)
    totals["runs"] += report.runs
    totals["executions"] += report.executions
    totals["commands"] += report.commands
    totals["fires"] += report.fires
    totals["lost"] += report.lost
    totals["doubled"] += report.doubled
    totals["doubled without a lost lease"] += report.unaccounted
    totals["faults"] += sum(report.injected.values())
    totals["virtual seconds"] += round(report.virtual.total_seconds())
    totals["seconds"] += round(report.seconds)


def _show(report: Report) -> None:
    faults = sum(report.injected.values())
    print(
        f"seed {report.seed}: {report.nodes} nodes on {report.backend}, {report.runs} runs, {report.executions} "
        f"executions, {report.fires} fires, {faults} faults, {report.seconds:.1f} s: "
        f"{'good' if report.ok else f'{len(report.violations)} violations'}",
        flush=True,
    )

    for violation in report.violations:
        print(f"  - {violation}")

    if not report.ok:
        print(f"  again: {report.replay}")


if __name__ == "__main__":
    sys.exit(main())
