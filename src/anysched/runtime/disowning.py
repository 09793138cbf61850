"""Runs that the backend takes for ours and that nobody here knows.

A store may forget what it has answered: a replica that lagged becomes the master, or a server starts again with an
older file. Runs that were settled here are running there again, and the lease that we go on renewing keeps them from
everybody. So each renewal names what we hold, and what we do not know is handed back.

What always holds:

* Nothing is handed back that is being carried out here, or whose outcome is on its way, or that an answer which is
  still to come may bring: whatever was held when it was named first was claimed by a command that was answered since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from anysched.backends import Held, Outcome

__all__ = ["Disowning"]


@define(eq=False, kw_only=True)
class Disowning:
    """Compares what the backend says that this node holds with what it knows.

    Args:
        is_known: whether a run is here under this token, or its outcome is on its way.
        answered: how many commands have been answered that may have claimed something.
        sent: how many of them were sent.
        hand_back: called with the outcome of each run that nobody here knows.
    """

    is_known: Callable[[Held], bool]
    answered: Callable[[], int]
    sent: Callable[[], int]
    hand_back: Callable[[Outcome], None]
    _doubted: dict[Held, int] = field(factory=dict["Held", int], init=False)
    """What was named and not known, and how many commands have to be answered before it is known not to be ours."""

    def compare(self, held: Sequence[Held]) -> None:
        """A renewal has named these."""
        doubted: dict[Held, int] = {}

        for one in held:
            if self.is_known(one):
                continue

            certain_at = self._doubted.get(one)

            if certain_at is None or self.answered() < certain_at:
                doubted[one] = self.sent() if certain_at is None else certain_at
            else:
                run_id, token = one
                self.hand_back(Outcome(run_id=run_id, token=token, kind="released"))

        self._doubted = doubted
