"""Handing a new run over to the node that it wakes, together with the hint."""

from __future__ import annotations

from collections.abc import Callable

from anysched.backends.memory import hints, moves
from anysched.backends.memory.state import Node, Run, State
from anysched.backends.memory.working import claimed
from anysched.backends.records import SHORT_PAYLOAD, Hint

__all__ = ["hand_over"]


def hand_over(state: State, run: Run, hears: Callable[[str], bool]) -> bool:
    """Give a stored run that has no place yet to a hungry node; ``False``: there is none that may have it."""
    new = run.new

    if new.at_ms or new.delay_ms or new.expires_ms or new.expires_at_ms or new.key or new.entry_id:
        return False

    node = _find_taker(state, run) if len(new.payload) <= SHORT_PAYLOAD else None

    if node is None or not hears(node.info.id):
        return False

    hints.satisfy(state, node.info.id)
    moves.start(state, run, node, state.next_token())
    state.hints.append((node.info.id, Hint("take", node.info.id, claimed(run), state.now)))
    return True


def _find_taker(state: State, run: Run) -> Node | None:
    queue, job = state.queue(run.new.queue), run.new.job
    node = state.nodes[next(iter(queue.hungry))] if queue.hungry else None

    if node is None or queue.paused or queue.ready.first() is not None:
        return None

    may = node.takes and job in node.jobs and job not in node.limited
    return node if may and node.expires_ms >= state.now else None
