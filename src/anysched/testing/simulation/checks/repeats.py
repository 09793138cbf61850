"""What was lost, what was done twice, and how long it took until somebody else went on with what a dead node held."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from anysched.backends import RunRecord
from anysched.run import FINAL

from ..history import Answered, Command, Ended, HandedOver, Happened, History
from .leases import LeaseModel

__all__ = ["Repeats", "check_repeats", "read_repeats"]


@define(eq=False)
class _Attempt:
    """A run under one token."""

    run_id: str
    node: str
    returned: bool = False
    settled: str = ""
    """As what."""
    lost: bool = False
    """It was claimed again because its node had lost its lease."""

    @property
    def is_in_vain(self) -> bool:
        """Its function returned, and nobody was told: so the run is executed again."""
        return self.returned and self.settled in ("", "released")


@define(eq=False)
class Repeats:
    """Figures of one simulation.

    Attributes:
        lost: accepted runs without a final status, by id.
        doubled: runs whose function returned once more after nobody was told that it had, by id.
        unaccounted: the ones of these whose node had not lost its lease.
        recoveries: seconds from the last renewal of each lost node to the next claim of what it held.
    """

    lost: list[str] = field(factory=list[str], init=False)
    doubled: list[str] = field(factory=list[str], init=False)
    unaccounted: list[str] = field(factory=list[str], init=False)
    recoveries: list[float] = field(factory=list[float], init=False)
    _leases: LeaseModel = field(factory=LeaseModel, init=False)
    _renewed: dict[str, int] = field(factory=dict[str, int], init=False)
    _handed_back: set[str] = field(factory=set[str], init=False)
    """Nodes that left while their lease stood."""
    _attempts: dict[int, _Attempt] = field(factory=dict[int, _Attempt], init=False)
    _tokens: dict[str, list[int]] = field(factory=dict[str, list[int]], init=False)
    """By run, in order."""
    _accepted: dict[str, None] = field(factory=dict[str, None], init=False)
    _ended: set[str] = field(factory=set[str], init=False)

    def take(self, command: Command) -> None:
        """A command took effect."""
        arguments = command.arguments

        match command.name:
            case "join":
                self._renewed[arguments["node"].id] = command.at
            case "renew" if not command.answer.lost:
                self._renewed[arguments["node_id"]] = command.at
            case "leave" if self._leases.stands(arguments["node_id"], command.at):
                self._handed_back.add(arguments["node_id"])
            case "work":
                self._worked(command)
            case _:
                pass

        self._leases.take(command)

    def note(self, record: Answered | Ended | HandedOver | Happened) -> None:
        """Something else happened."""
        match record:
            case HandedOver():
                self._claimed(record.run.id, record.run.token, record.node_id, record.at)
            case Answered() if record.name == "enqueue":
                self._accepted |= dict.fromkeys(answer.id for answer in record.answer)
            case Ended() if record.how == "returned" and record.token in self._attempts:
                self._attempts[record.token].returned = True
            case Happened() if record.what == "final run":
                run_id, final = record.detail

                if isinstance(final, RunRecord) and final.status in FINAL:
                    self._ended.add(run_id)
            case _:
                pass

    def conclude(self) -> None:
        """Nothing more happens."""
        self.lost = [run_id for run_id in self._accepted if run_id not in self._ended]

        for run_id, tokens in self._tokens.items():
            attempts = [self._attempts[token] for token in tokens]
            in_vain = [one for number, one in enumerate(attempts, 1) if one.is_in_vain and number < len(attempts)]

            if in_vain and sum(one.returned for one in attempts) > 1:
                self.doubled.append(run_id)

            if not all(one.lost for one in in_vain):
                self.unaccounted.append(run_id)

    def _worked(self, command: Command) -> None:
        for outcome, settled in zip(command.arguments["outcomes"], command.answer.settled, strict=True):
            attempt = self._attempts.get(outcome.token)

            if settled and attempt is not None and not attempt.settled:
                attempt.settled = outcome.kind

        for run in command.answer.runs:
            self._claimed(run.id, run.token, command.arguments["node_id"], command.at)

    def _claimed(self, run_id: str, token: int, node_id: str, at: int) -> None:
        if token in self._attempts:
            return

        tokens = self._tokens.setdefault(run_id, [])
        before = self._attempts[tokens[-1]] if tokens else None

        if before is not None and not before.settled and self._has_lost_its_lease(before.node, at):
            before.lost = True
            self.recoveries.append((at - self._renewed[before.node]) / 1e6)

        tokens.append(token)
        self._attempts[token] = _Attempt(run_id, node_id)

    def _has_lost_its_lease(self, node_id: str, at: int) -> bool:
        return not self._leases.stands(node_id, at) and node_id not in self._handed_back


def read_repeats(history: History) -> Repeats:
    """The figures of a history."""
    found = Repeats()

    for record in history.records:
        if isinstance(record, Command):
            found.take(record)
        elif isinstance(record, (Answered, Ended, HandedOver, Happened)):
            found.note(record)

    found.conclude()
    return found


def check_repeats(history: History) -> Iterator[str]:
    """What was done once more though nobody had lost a lease."""
    for run_id in read_repeats(history).unaccounted:
        yield f"run {run_id} was executed again after its function had returned, and no lease was lost"
