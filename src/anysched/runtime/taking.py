"""Runs that come with the hint that wakes this node: the backend has handed them over, nobody has claimed them.

A hint may be lost, doubled, or as late as it likes; a run must not be carried out twice for that.

What always holds:

* Tokens only grow, and so do those of the runs that are taken here. A hint that comes again, or after its run was
  disowned (see :mod:`.disowning`), has a token that is not greater than the last, and is not taken.
* A run that is not taken is handed back, unless it is here already. One whose hint is lost is disowned.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from anysched.backends import ClaimedRun, Held, Hint, Outcome
from anysched.runtime.settling import released

__all__ = ["Taking"]


@define(eq=False, kw_only=True)
class Taking:
    """Takes in what is handed over to this node.

    Args:
        node_id: gives the id that this node goes by now.
        is_known: whether a run is here under this token, or its outcome is on its way.
        begin: takes a run and the backend's time at its claim; ``False``: it cannot begin here and now.
        hand_back: called with the outcome of each run that was not taken.
    """

    node_id: Callable[[], str]
    is_known: Callable[[Held], bool]
    begin: Callable[[ClaimedRun, int], bool]
    hand_back: Callable[[Outcome], None]
    _newest: int = field(default=0, init=False)
    """The greatest token of all that were taken or disowned."""

    def take(self, hint: Hint) -> None:
        """A hint has come with a run in it."""
        run = hint.run

        # What was meant for an earlier life of this node was given to others when that ended.
        if run is None or hint.name != self.node_id() or self.is_known((run.id, run.token)):
            return

        is_new = run.token > self._newest
        self._newest = max(self._newest, run.token)

        if not (is_new and self.begin(run, hint.now_ms)):
            self.hand_back(released(run))

    def disown(self, outcome: Outcome) -> None:
        """A run is being handed back that nobody here knows: should its hint come after all, it is too late."""
        self._newest = max(self._newest, outcome.token)
