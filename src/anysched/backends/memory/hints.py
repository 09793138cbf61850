"""Who is woken, and how a hint reaches whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anyio import TASK_STATUS_IGNORED, Event
from anyio.abc import TaskStatus
from attrs import Factory, define

from anysched.backends.memory.state import State
from anysched.backends.records import Claim, Hint

__all__ = ["Listeners", "make_hungry", "next_look_ms", "pass_on_watch", "satisfy", "wake", "wake_one"]

MOST_WOKEN = 16


@define(eq=False)
class _Listener:
    deliver: Callable[[Hint], None]
    failed: Event
    error: Exception | None = None


@define(eq=False)
class Listeners:
    """Those who listen now, by inbox."""

    _inboxes: dict[str, dict[_Listener, None]] = Factory(dict[str, dict[_Listener, None]])

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Call ``deliver`` with each hint until cancelled; what it raises is raised here, not at whoever hinted."""
        listener = _Listener(deliver, Event())
        self._inboxes.setdefault(inbox, {})[listener] = None
        task_status.started()

        try:
            await listener.failed.wait()
        finally:
            del self._inboxes[inbox][listener]

            if not self._inboxes[inbox]:
                del self._inboxes[inbox]

        if listener.error is not None:
            raise listener.error

    def hears(self, inbox: str) -> bool:
        """Whether anybody listens to this inbox."""
        return inbox in self._inboxes

    def send(self, hints: Iterable[tuple[str | None, Hint]]) -> None:
        """Deliver hints, each to its inbox, or to all."""
        for inbox, hint in hints:
            inboxes = list(self._inboxes) if inbox is None else [inbox]

            for name in inboxes:
                for listener in list(self._inboxes.get(name, ())):
                    _hand_over(listener, hint)


def _hand_over(listener: _Listener, hint: Hint) -> None:
    if listener.error is not None:
        return

    try:
        listener.deliver(hint)
    except Exception as error:  # noqa: BLE001 (raised again, by listen)
        listener.error = error
        listener.failed.set()


def wake(state: State) -> None:
    """Wake nodes for what the operation that ends now has made ready, set free, or made due soonest."""
    for name, count in state.made_ready.items():
        queue = state.queues[name]

        if not queue.paused:
            wake_some(state, queue.hungry, min(count, len(queue.ready)))

    for job, count in state.freed.items():
        if count > 0:
            for name in state.limited_in.get(job, ()):
                wake_one(state, state.queues[name].hungry)

    if state.sooner is not None and not wake_one(state, state.queues[state.sooner].hungry):
        wake_one(state, state.hungry)

    state.made_ready.clear()
    state.freed.clear()
    state.sooner = None


def wake_some(state: State, hungry: dict[str, None], count: int) -> None:
    """Wake up to so many of these hungry nodes, but never more than is allowed at once."""
    for _ in range(min(count, MOST_WOKEN)):
        if not wake_one(state, hungry):
            break


def wake_one(state: State, hungry: dict[str, None]) -> bool:
    """Wake the first of these hungry nodes whose lease is good; ``False`` if there is none."""
    while hungry:
        if _wake_node(state, next(iter(hungry))):
            return True

    return False


def wake_who_knows(state: State, hungry: dict[str, None], job: str) -> bool:
    """Wake the first of these hungry nodes that knows a job and whose lease is good; ``False`` if there is none."""
    return any(_wake_node(state, node_id) for node_id in list(hungry) if job in state.nodes[node_id].jobs)


def _wake_node(state: State, node_id: str) -> bool:
    """Wake a hungry node, which need not be woken from now on; ``False`` if its lease is over."""
    satisfy(state, node_id)

    if state.nodes[node_id].expires_ms < state.now:
        return False

    state.hints.append((node_id, Hint("work")))
    return True


def make_hungry(state: State, node_id: str, claim: Claim) -> None:
    """Note that a node has room for more, and keeps the watch."""
    satisfy(state, node_id)
    node = state.nodes[node_id]
    node.hungry_for = claim.queues
    node.takes = claim.takes
    node.limited = frozenset(claim.limits)
    state.hungry[node_id] = None
    state.watch = node_id
    state.sooner = None

    for name in claim.queues:
        state.queue(name).hungry[node_id] = None


def satisfy(state: State, node_id: str) -> None:
    """Note that a node need not be woken."""
    if state.hungry.pop(node_id, 0) is None:
        for name in state.nodes[node_id].hungry_for:
            state.queues[name].hungry.pop(node_id, None)


def pass_on_watch(state: State, node_id: str) -> None:
    """Let somebody else look at the next instant, if it was this node that would have."""
    if state.watch == node_id:
        state.watch = ""

        if next_look_ms(state, node_id):
            wake_one(state, state.hungry)


def next_look_ms(state: State, node_id: str) -> int:
    """When a node has to look again by itself; 0: never."""
    if state.emptying:
        return state.now

    due, expiry = state.due.first(), state.expiries.first()
    instants = [found[0] for found in (due, expiry) if found is not None]
    instants += [end + 1 for end, other in state.leases.lowest(2) if other != node_id]
    return min(instants, default=0)
