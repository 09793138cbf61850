"""Two orders of ids whose upkeep does not grow with what they hold.

Both forget lazily: an id that was dropped leaves its place behind, and places are swept when there are more of these
than of ids. So every operation costs O(log n), spread over all of them, and never more memory than twice what counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

__all__ = ["Ranked", "Recent"]

Rank = TypeVar("Rank", int, tuple[int, int])

_SLACK = 64
"""So many left places are always allowed, so that small collections are not swept all the time."""


class Ranked(Generic[Rank]):
    """Ids by rank, lowest first; equal ranks by id."""

    def __init__(self) -> None:
        self._ranks: dict[str, Rank] = {}
        # Holds (rank, id) for everything in _ranks, and more: an item counts only if _ranks says the same.
        self._heap: list[tuple[Rank, str]] = []

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, name: object) -> bool:
        return name in self._ranks

    def rank(self, name: str) -> Rank | None:
        """The rank of an id."""
        return self._ranks.get(name)

    def put(self, name: str, rank: Rank) -> None:
        """Add an id, or move it."""
        if self._ranks.get(name) != rank:
            self._ranks[name] = rank
            heappush(self._heap, (rank, name))
            self._sweep()

    def discard(self, name: str) -> None:
        """Drop an id, if it is there."""
        if self._ranks.pop(name, None) is not None:
            self._sweep()

    def first(self) -> tuple[Rank, str] | None:
        """The lowest rank and its id."""
        heap, ranks = self._heap, self._ranks

        while heap and ranks.get(heap[0][1]) != heap[0][0]:
            heappop(heap)

        return heap[0] if heap else None

    def pop(self) -> tuple[Rank, str] | None:
        """Take out the lowest."""
        if (found := self.first()) is not None:
            heappop(self._heap)
            del self._ranks[found[1]]

        return found

    def lowest(self, count: int) -> list[tuple[Rank, str]]:
        """The ``count`` lowest, which stay."""
        found: list[tuple[Rank, str]] = []

        while len(found) < count and (item := self.pop()) is not None:
            found.append(item)

        for rank, name in found:
            self._ranks[name] = rank
            heappush(self._heap, (rank, name))

        return found

    def up_to(self, rank: Rank) -> set[str]:
        """Those of that rank and below, which stay. The cost grows with these, not with all."""
        heap, places, names = self._heap, [0], set[str]()

        # A heap: whatever is below a place ranks no lower than what is in it.
        while places:
            place = places.pop()

            if place < len(heap) and heap[place][0] <= rank:
                found, name = heap[place]
                places += (2 * place + 1, 2 * place + 2)

                if self._ranks.get(name) == found:
                    names.add(name)

        return names

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._ranks) + _SLACK:
            self._heap = [(rank, name) for name, rank in self._ranks.items()]
            heapify(self._heap)


class Recent:
    """Ids by when they were added, for reading backwards, a page at a time.

    Args:
        most: how many are kept; of more, the newest. 0: all.
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._stamps: dict[str, int] = {}
        # Ascending by stamp; an item counts only if _stamps says the same.
        self._items: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, name: str, stamp: int) -> None:
        """Add an id under a stamp that is greater than all before."""
        self._stamps[name] = stamp
        self._items.append((stamp, name))

        if self._most and len(self._stamps) > self._most:
            del self._stamps[next(iter(self._stamps))]

        self._sweep()

    def discard(self, name: str) -> None:
        """Drop an id, if it is there."""
        if self._stamps.pop(name, None) is not None:
            self._sweep()

    def before(self, stamp: int) -> Iterator[tuple[int, str]]:
        """What was added before that stamp, newest first. Must not be changed while it is read."""
        for index in range(bisect_left(self._items, (stamp, "")) - 1, -1, -1):
            found, name = self._items[index]

            if self._stamps.get(name) == found:
                yield found, name

    def _sweep(self) -> None:
        if len(self._items) > 2 * len(self._stamps) + _SLACK:
            self._items = [(stamp, name) for name, stamp in self._stamps.items()]
