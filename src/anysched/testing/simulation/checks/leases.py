"""Who held a lease, by the backend and by its own reckoning, and until when."""

from __future__ import annotations

from bisect import bisect_right

from attrs import define, field

from ..history import Answered, Command, Happened, History, Record

__all__ = ["TRUSTED_SHARE", "LeaseModel", "Windows", "read_standstills", "read_trust", "when"]

TRUSTED_SHARE = 0.9
"""The part of a lease, from the moment its renewal was sent, in which its holder may trust it."""


def when(at: int) -> str:
    """An instant as it is shown: seconds of the day."""
    return f"{at / 1e6 % 86400:.3f}s"


@define(eq=False)
class LeaseModel:
    """The leases of nodes, as the commands that took effect so far have made them."""

    ends: dict[str, int] = field(factory=dict[str, int], init=False)
    """Microseconds; a node that left has none."""
    left: set[str] = field(factory=set[str], init=False)
    lengths: dict[str, int] = field(factory=dict[str, int], init=False)
    machines: dict[str, str] = field(factory=dict[str, str], init=False)

    def take(self, command: Command) -> None:
        """A command took effect."""
        arguments = command.arguments

        if command.name == "join":
            node = arguments["node"]
            self.machines[node.id] = command.machine
            self._extend(node.id, command.at, node.ttl_ms)
        elif command.name == "renew" and not command.answer.lost:
            self._extend(arguments["node_id"], command.at, arguments["ttl_ms"])
        elif command.name == "renew":
            self.ends.pop(arguments["node_id"], None)
        elif command.name == "leave":
            self.ends.pop(arguments["node_id"], None)
            self.left.add(arguments["node_id"])

    def stands(self, node_id: str, at: int) -> bool:
        """Whether a node's lease has not run out."""
        # Whole milliseconds at the backend, and the last of them is still good.
        return node_id in self.ends and at // 1000 <= self.ends[node_id]

    def _extend(self, node_id: str, at: int, ttl_ms: int) -> None:
        self.ends[node_id] = at // 1000 + ttl_ms


@define(eq=False)
class Windows:
    """Spans of time in order, that do not touch."""

    spans: list[tuple[int, int]] = field(factory=list[tuple[int, int]], init=False)

    def add(self, start: int, end: int) -> None:
        """One more, not beginning before the last one does."""
        if end <= start:
            return

        if self.spans and start <= self.spans[-1][1]:
            first, last = self.spans[-1]
            self.spans[-1] = (first, max(last, end))
        else:
            self.spans.append((start, end))

    def cut(self, at: int) -> None:
        """End the last one here, if it goes on beyond."""
        if self.spans and self.spans[-1][1] > at:
            start, _ = self.spans.pop()
            self.add(start, at)

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts that lie in a span."""
        parts = ((max(start, first), min(end, last)) for first, last in self.spans)
        return [(first, last) for first, last in parts if first < last]

    def covers(self, at: int) -> bool:
        """Whether an instant lies in one, the ends included."""
        index = bisect_right(self.spans, at, key=lambda span: span[0]) - 1
        return index >= 0 and at <= self.spans[index][1]

    def end_before(self, at: int) -> int:
        """The end of the last one that began before an instant; 0 if none did."""
        return max((last for first, last in self.spans if first <= at), default=0)


def read_trust(history: History) -> dict[str, Windows]:
    """By node: when it could trust its lease, by the answers that it got."""
    found: dict[str, Windows] = {}

    for record in history.records:
        if not isinstance(record, Answered):
            continue

        if record.name == "join":
            node = record.arguments["node"]
            _trust(found, node.id, record, node.ttl_ms)
        elif record.name == "renew" and not record.answer.lost:
            _trust(found, record.arguments["node_id"], record, record.arguments["ttl_ms"])
        elif record.name == "renew":
            found.setdefault(record.arguments["node_id"], Windows()).cut(record.at)

    return found


def _trust(found: dict[str, Windows], node_id: str, answered: Answered, ttl_ms: int) -> None:
    until = answered.sent_at + int(ttl_ms * 1000 * TRUSTED_SHARE)
    found.setdefault(node_id, Windows()).add(answered.at, until)


def read_standstills(history: History) -> dict[str, Windows]:
    """By machine: when it stood still; for ever, if it died."""
    found: dict[str, Windows] = {}
    since: dict[str, Record] = {}

    for record in history.records:
        if not isinstance(record, Happened):
            continue

        if record.what in ("stands still", "died"):
            since.setdefault(record.machine, record)
        elif record.what == "goes on" and record.machine in since:
            found.setdefault(record.machine, Windows()).add(since.pop(record.machine).at, record.at)

    for machine, record in since.items():
        found.setdefault(machine, Windows()).add(record.at, 1 << 62)

    return found
