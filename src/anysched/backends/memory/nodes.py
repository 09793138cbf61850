"""Nodes and their leases, and the housekeeping that every working node does a share of."""

from __future__ import annotations

from itertools import islice

from attrs import define

from anysched.backends.memory import hints, moves
from anysched.backends.memory.state import Node, Run, State
from anysched.backends.records import (
    NAMED_AT_RENEWAL,
    POISON_CRASHES,
    POISON_ERROR,
    POISON_WINDOW_MS,
    NodeInfo,
    Renewed,
)

__all__ = ["MOST_FORGOTTEN", "Tidied", "join", "leave", "renew", "resume_queue", "tidy"]

MOST_DUE = 200
MOST_EXPIRED = 100
MOST_RETURNED = 100
MOST_FORGOTTEN = 100


@define(eq=False)
class Tidied:
    """What a share of housekeeping did."""

    expired: int
    lost: tuple[str, ...]


def join(state: State, info: NodeInfo) -> int:
    """Make a node known, or known anew."""
    expires_ms, jobs = state.now + info.ttl_ms, frozenset(info.jobs)

    if (node := state.nodes.get(info.id)) is None:
        state.nodes[info.id] = Node(info, expires_ms, jobs)
    else:
        node.info, node.expires_ms, node.jobs = info, expires_ms, jobs

    state.leases.put(info.id, expires_ms)
    return state.now


def renew(state: State, node_id: str, ttl_ms: int) -> Renewed:
    """Extend a node's lease."""
    if (node := state.nodes.get(node_id)) is None:
        return Renewed(lost=True, now_ms=state.now)

    node.expires_ms = state.now + ttl_ms
    state.leases.put(node_id, node.expires_ms)

    program = state.programs.get(node.info.program)
    declared = program is not None and program.expires_ms > state.now

    if program is not None and declared:
        program.expires_ms = state.now + program.ttl_ms

    tidy(state, node_id)
    held = tuple([(run_id, state.runs[run_id].token) for run_id in islice(node.runs, NAMED_AT_RENEWAL)])
    undeclared = bool(node.info.program) and not declared
    return Renewed(lost=False, now_ms=state.now, cancels=tuple(node.cancels), held=held, undeclared=undeclared)


def leave(state: State, node_id: str) -> None:
    """Take a node off the list; what it holds is handed back."""
    if (node := state.nodes.get(node_id)) is None:
        return

    _lose(state, node_id, crashed=False)
    program = node.info.program

    # Nothing that it declared is to fire, unless somebody else declares it too.
    if not any(other.info.program == program for other in state.nodes.values()):
        state.programs.pop(program, None)


def resume_queue(state: State, name: str) -> None:
    """Let a queue be claimed from again."""
    queue = state.queue(name)
    queue.paused = False
    hints.wake_some(state, queue.hungry, len(queue.hungry))


def tidy(state: State, caller: str) -> Tidied:
    """Do a bounded share of what time has brought about."""
    for _ in range(MOST_DUE):
        if (found := state.due.first()) is None or found[0] > state.now:
            break

        moves.make_ready(state, state.runs[found[1]])

    expired = 0

    while expired < MOST_EXPIRED and (found := state.expiries.first()) is not None and found[0] <= state.now:
        moves.finish(state, state.runs[found[1]], "expired")
        expired += 1

    lost = _reap(state, caller)
    state.fade(MOST_FORGOTTEN)
    return Tidied(expired, lost)


def _reap(state: State, caller: str) -> tuple[str, ...]:
    if state.emptying:
        _empty(state, state.emptying[0])
        return ()

    for end, node_id in state.leases.lowest(2):
        if end < state.now and node_id != caller:
            _lose(state, node_id, crashed=True)
            return (node_id,)

    return ()


def _lose(state: State, node_id: str, *, crashed: bool) -> None:
    hints.satisfy(state, node_id)
    node = state.nodes.pop(node_id)
    node.crashed = crashed
    state.leases.discard(node_id)
    hints.pass_on_watch(state, node_id)
    state.emptying.append(node)
    _empty(state, node)


def _empty(state: State, node: Node) -> None:
    """Take runs back from a lost node."""
    for run_id in list(islice(node.runs, MOST_RETURNED)):
        run = state.runs[run_id]

        if node.crashed and not run.cancel_requested:
            _crash(state, run, node)
        else:
            moves.return_run(state, run)

    if not node.runs:
        state.emptying.remove(node)


def _crash(state: State, run: Run, node: Node) -> None:
    run.crashed_ms = [at for at in run.crashed_ms if state.now - at < POISON_WINDOW_MS] + [state.now]

    if len(run.crashed_ms) < POISON_CRASHES:
        moves.return_run(state, run)
        return

    moves.add_error(run, POISON_ERROR)
    moves.finish(state, run, "failed", node.info.failed_ttl_ms or None)
