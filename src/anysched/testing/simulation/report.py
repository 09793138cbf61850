"""What came of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import asdict, field, frozen

from anysched.errors import AnySchedError

from .faults import Faults
from .history import History, Record

__all__ = ["Report", "SimulationFailed"]

_MOST_SHOWN = 12


class SimulationFailed(AnySchedError, AssertionError):
    """A promise was broken in a simulation; the message says which, and how to see it again."""

    def __init__(self, report: Report) -> None:
        shown = report.violations[:_MOST_SHOWN]
        more = len(report.violations) - len(shown)
        lines = [f"  - {one}" for one in shown] + ([f"  ... and {more} more"] if more else [])
        said = "\n".join(lines)
        super().__init__(
            f"{len(report.violations)} violations with seed {report.seed}:\n{said}\nagain: {report.replay}"
        )
        self.report = report


@frozen(kw_only=True)
class Report:
    """What came of a simulation.

    Attributes:
        seed: what decided everything.
        backend: the event loop.
        nodes: machines at once.
        duration: of the disturbed part, in virtual time.
        faults: how often what went wrong.
        violations: promises that were broken, in words; empty if all is well.
        injected: faults by kind.
        runs: how many were made.
        executions: calls of jobs' functions.
        commands: that took effect at the backend.
        fires: entries' fires that were decided.
        lost: accepted runs that have not come to an end.
        doubled: runs whose function returned more than once, since nobody could be told of the first time.
        unaccounted: runs that were executed again after their function had returned though no lease was lost.
        longest_recovery: seconds from the last renewal of a node that lost its lease to the next claim of what it held,
            at the longest; whatever else was the matter meanwhile.
        virtual: how long it all took in virtual time.
        seconds: how long it all took really.
        replay: the command that does it again.
        history: everything that happened.
    """

    seed: int
    backend: str
    nodes: int
    duration: timedelta
    faults: Faults
    violations: tuple[str, ...]
    injected: Mapping[str, int]
    runs: int
    executions: int
    commands: int
    fires: int
    lost: int
    doubled: int
    unaccounted: int
    longest_recovery: float
    virtual: timedelta
    seconds: float
    replay: str
    history: History = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def check(self) -> Report:
        """This report, if every promise was kept.

        Raises:
            SimulationFailed: one was not.
        """
        if self.violations:
            raise SimulationFailed(self)

        return self

    def story(self, about: str = "") -> str:
        """The history as lines of text, for people.

        Args:
            about: only what has this in it, such as a run's id.
        """
        lines = [_line(record) for record in self.history.records]
        return "\n".join(line for line in lines if about in line)


def _line(record: Record) -> str:
    at = datetime.fromtimestamp(record.at / 1e6, UTC).strftime("%H:%M:%S.%f")
    facts = asdict(record, recurse=False, filter=lambda attribute, _: attribute.name not in ("at", "machine"))
    said = " ".join(f"{name}={value}" for name, value in facts.items())
    return f"{at} {record.machine:<10} {type(record).__name__:<8} {said}"
