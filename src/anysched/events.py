"""What happens, as observers are told it: one frozen record for each kind of event.

Records are made only where somebody observes, and then for every run: they are ``msgspec`` structures, which are cheap
to make and to import. Metrics, traces and logs are made from these and from nothing else.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec

from anysched.run import AttemptError

__all__ = [
    "AttemptFailed",
    "BackendFound",
    "BackendLost",
    "BecameLeader",
    "CancellationSwallowed",
    "EntryFired",
    "EntryRetired",
    "Event",
    "FireSkipped",
    "FiresMissed",
    "LeaseWasLost",
    "NodeJoined",
    "NodeLeft",
    "NodeWasLost",
    "Observer",
    "RecordSetAside",
    "RunEnqueued",
    "RunGaveUp",
    "RunHandedBack",
    "RunSnoozed",
    "RunStarted",
    "RunSucceeded",
    "RunWasCancelled",
    "RunsExpired",
    "StoppedLeading",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Attributes:
        at: when, an aware datetime.
    """

    at: datetime


@runtime_checkable
class Observer(Protocol):
    """Is told of every event."""

    def on_event(self, event: Event) -> None:
        """Take note, quickly: the event loop waits. Must not raise; if it does, that is logged and nothing else."""
        ...


# --- runs ---------------------------------------------------------------------------------------------------------


class RunEnqueued(Event, frozen=True, kw_only=True):
    """A run was asked for here. It may have started by then.

    Attributes:
        run_id: its id.
        job: its job's name.
        created: whether it was made; False if a live run had its id or key.
    """

    run_id: str
    job: str
    created: bool = True


class _OfAttempt(Event, frozen=True, kw_only=True):
    run_id: str
    job: str
    attempt: int


class RunStarted(_OfAttempt, frozen=True, kw_only=True):
    """An attempt begins: the function is about to be called."""


class RunSucceeded(_OfAttempt, frozen=True, kw_only=True):
    """The function has returned.

    Attributes:
        duration: how long it took.
    """

    duration: timedelta


class AttemptFailed(_OfAttempt, frozen=True, kw_only=True):
    """An attempt failed and there will be another.

    Attributes:
        error: what it raised.
        retry_in: how long until the next.
    """

    error: AttemptError
    retry_in: timedelta


class RunGaveUp(_OfAttempt, frozen=True, kw_only=True):
    """An attempt failed and there will be no other: the run is failed.

    Attributes:
        error: what it raised.
    """

    error: AttemptError


class RunSnoozed(_OfAttempt, frozen=True, kw_only=True):
    """The function asked to be called again later.

    Attributes:
        delay: how much later.
    """

    delay: timedelta


class RunWasCancelled(_OfAttempt, frozen=True, kw_only=True):
    """A running attempt was cancelled because somebody cancelled its run."""


class RunHandedBack(_OfAttempt, frozen=True, kw_only=True):
    """The node stops, or is no longer trusted, and the run goes to another; the attempt does not count."""


class CancellationSwallowed(_OfAttempt, frozen=True, kw_only=True):
    """A function was cancelled and did not pass that on: a mistake in the function, unless it runs in a thread."""


class RunsExpired(Event, frozen=True, kw_only=True):
    """Runs were not started by the time they had to be.

    Attributes:
        count: how many.
    """

    count: int


# --- entries ------------------------------------------------------------------------------------------------------


class EntryFired(Event, frozen=True, kw_only=True):
    """A fire was made into a run.

    Attributes:
        entry_id: the entry.
        run_id: the run.
        scheduled_for: the fire time.
    """

    entry_id: str
    run_id: str
    scheduled_for: datetime


class FiresMissed(Event, frozen=True, kw_only=True):
    """Fires came too late and were given up, as the entry's misfire rule says.

    Attributes:
        entry_id: the entry.
        count: how many.
    """

    entry_id: str
    count: int


class FireSkipped(Event, frozen=True, kw_only=True):
    """Fires were skipped because a run of the entry was live, as its overlap rule says.

    Attributes:
        entry_id: the entry.
        count: how many.
    """

    entry_id: str
    count: int


class EntryRetired(Event, frozen=True, kw_only=True):
    """A declared entry is no longer declared by any running program, and has stopped firing.

    Attributes:
        entry_id: the entry.
    """

    entry_id: str


# --- nodes --------------------------------------------------------------------------------------------------------


class _OfNode(Event, frozen=True, kw_only=True):
    node: str


class NodeJoined(_OfNode, frozen=True, kw_only=True):
    """This node is known to the backend and has a lease."""


class NodeLeft(_OfNode, frozen=True, kw_only=True):
    """This node has stopped in good order."""


class NodeWasLost(_OfNode, frozen=True, kw_only=True):
    """Another node's lease ran out, and its runs were taken from it."""


class LeaseWasLost(_OfNode, frozen=True, kw_only=True):
    """This node's own lease is lost: its attempts are cancelled, and it joins anew.

    Attributes:
        reason: how it was noticed.
    """

    reason: str = ""


class BecameLeader(_OfNode, frozen=True, kw_only=True):
    """This node fires entries from now on."""


class StoppedLeading(_OfNode, frozen=True, kw_only=True):
    """This node leaves that to another."""


# --- the backend --------------------------------------------------------------------------------------------------


class RecordSetAside(Event, frozen=True, kw_only=True):
    """A stored record cannot be read and is kept for inspection.

    Attributes:
        record: which one.
        reason: what is wrong with it.
    """

    record: str
    reason: str


class BackendLost(Event, frozen=True, kw_only=True):
    """The backend does not answer; told once, until it does again.

    Attributes:
        reason: what was noticed.
    """

    reason: str


class BackendFound(Event, frozen=True, kw_only=True):
    """The backend answers again."""
