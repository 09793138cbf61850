"""What happened, in the order in which it happened. Nothing in here is ever changed or removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from anysched.backends import ClaimedRun

__all__ = ["Answered", "Began", "Command", "Ended", "HandedOver", "Happened", "History", "Record"]


@frozen(kw_only=True)
class Record:
    """Something that happened.

    Attributes:
        at: when, in true microseconds since 1970.
        machine: where.
    """

    at: int
    machine: str


@frozen(kw_only=True)
class Command(Record):
    """A command took effect at the backend. A record for each time, if it arrived more than once.

    Attributes:
        name: which one.
        arguments: by name.
        answer: what the backend said, whether or not that arrived.
    """

    name: str
    arguments: Mapping[str, Any]
    answer: Any


@frozen(kw_only=True)
class Answered(Record):
    """An answer arrived at whoever sent the command.

    Attributes:
        name: the command's.
        arguments: the command's.
        answer: what arrived.
        sent_at: when it was sent.
    """

    name: str
    arguments: Mapping[str, Any]
    answer: Any
    sent_at: int


@frozen(kw_only=True)
class HandedOver(Record):
    """The backend gave a run to a node with a hint, be that lost on its way or not. The command comes after it."""

    run: ClaimedRun
    node_id: str


@frozen(kw_only=True)
class Began(Record):
    """A job's function was called for a run."""

    run_id: str
    job: str
    token: int
    attempt: int
    entry_id: str


@frozen(kw_only=True)
class Ended(Record):
    """It was left. ``how`` is ``"returned"``, ``"cancelled"``, or the error's type."""

    run_id: str
    token: int
    how: str


@frozen(kw_only=True)
class Happened(Record):
    """Something else: a machine's life, a fault, a note of the workload's."""

    what: str
    detail: Any = None


@define(eq=False)
class History:
    """An append-only list of records.

    Args:
        clock: the true time in microseconds.
    """

    clock: Callable[[], int]
    records: list[Record] = field(factory=list[Record], init=False)
    counts: Counter[str] = field(factory=Counter[str], init=False)
    """Faults by kind."""
    is_closed: bool = False

    def add(self, kind: type[Record], machine: str, /, **facts: Any) -> None:
        """Append a record, now."""
        if not self.is_closed:
            self.records.append(kind(at=self.clock(), machine=machine, **facts))

    def note(self, what: str, detail: Any = None, *, machine: str = "") -> None:
        """Append a note."""
        self.add(Happened, machine, what=what, detail=detail)

    def count(self, *faults: str) -> None:
        """A fault was injected."""
        if not self.is_closed:
            self.counts.update(faults)

    def commands(self, name: str) -> Iterator[Command]:
        """The commands of one kind."""
        return (one for one in self.records if isinstance(one, Command) and one.name == name)

    def happened(self, what: str) -> Iterator[Happened]:
        """The notes of one kind."""
        return (one for one in self.records if isinstance(one, Happened) and one.what == what)
