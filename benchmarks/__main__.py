"""`python -m benchmarks`: run the scenarios, print tables, write JSON, and compare with what was promised."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from datetime import datetime
from pathlib import Path

from benchmarks import roster, scenarios
from benchmarks.comparison import compare
from benchmarks.processes import describe_machine
from benchmarks.results import Results, heading, table
from benchmarks.roster import Contestant
from benchmarks.rounds import Round, Sizes, round_of
from benchmarks.scenarios import Scenario
from benchmarks.server import Server, redis_server

WORK = Path(".benchmarks").absolute()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers: does everything work? No figures")
    parser.add_argument("--only", metavar="NAMES", help="contestants: streaq,anysched-trio")
    parser.add_argument("--scenarios", metavar="NAMES", help="drain,pickup,stored*")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median is given (default: 3)")
    parser.add_argument("--jobs", type=int, help="in a drain or a bulk (default: some seconds of work)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default: .benchmarks/results-DATE.json)")
    parser.add_argument("--list", action="store_true", help="name the contestants and the scenarios")
    parser.add_argument("--show", type=Path, metavar="FILE", help="the tables of an earlier run")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="the ratios of an earlier run")
    return parser.parse_args()


def takes_part(contestant: Contestant, scenario: Scenario) -> bool:
    invited = scenario.libraries is None or contestant.library in scenario.libraries
    return invited and scenario.name not in contestant.lacks


def play(this: Round, scenario: Scenario, results: Results) -> None:
    name = this.contestant.name

    try:
        figures = scenario.run(this)
    except Exception as error:  # noqa: BLE001 - one contestant's trouble is reported, and the others go on
        results.add_error(scenario.name, name, f"{type(error).__name__}: {error}")
        print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
    else:
        results.add(scenario.name, name, figures)

    results.versions.setdefault(this.contestant.library, {}).update(this.versions)


def measure(
    server: Server, everyone: list[Contestant], everything: list[Scenario], options: argparse.Namespace
) -> Results:
    results = Results({**describe_machine(), "redis": server.version, "date": datetime.now().isoformat(" ", "minutes")})
    results.about["quick"] = options.quick
    sizes = Sizes(options.quick, options.jobs)

    for scenario in everything:
        players = [one for one in everyone if takes_part(one, scenario)]
        repeats = 1 if options.quick else min(scenario.repeats or options.repeats, options.repeats)
        results.titles[scenario.name] = scenario.title
        start = time.monotonic()

        # Alternating, so that what changes on the machine meanwhile meets everyone alike.
        for _, contestant in itertools.product(range(repeats), players):
            with round_of(contestant, server, sizes, WORK) as this:
                play(this, scenario, results)

        print(table(results, scenario.name), flush=True)
        print(f"[{scenario.name}: {time.monotonic() - start:.0f} s]", file=sys.stderr)
        results.save(options.output)

    return results


def main() -> int:
    options = arguments()

    if options.list:
        print("contestants:", *(one.name for one in roster.contestants()))
        print("scenarios:", *(one.name for one in scenarios.scenarios()))
        return 0

    if saved := options.compare or options.show:
        results = Results.load(saved)
        show = [heading(results), *(table(results, name) for name in results.titles)] if options.show else []
        report, passed = compare(results)
        print(*show, *([] if options.show else [report]), sep="\n")
        return 0 if passed or options.show else 1

    options.output = options.output or WORK / f"results-{datetime.now():%Y-%m-%d-%H%M}.json"

    everyone, everything = roster.chosen(options.only), scenarios.chosen(options.scenarios)

    for contestant in everyone:
        contestant.environment(WORK)

    with redis_server() as server:
        results = measure(server, everyone, everything, options)

    report, _ = compare(results)
    print("", heading(results), "", report, f"\nwritten to {options.output}", sep="\n")
    return 1 if results.errors else 0


if __name__ == "__main__":
    sys.exit(main())
