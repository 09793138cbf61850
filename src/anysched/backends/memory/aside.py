"""Ready runs that were found in a queue and could not be claimed: nobody knew the job, or no slot of it was free.

They leave the queue, so that nobody finds them again and again, and keep their place in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from anysched.backends.memory.ranked import Ranked
from anysched.backends.memory.state import Node, Queue, Run, State
from anysched.backends.records import Claim

__all__ = ["bring_back", "end", "put"]

MOST_BROUGHT_BACK = 100


def put(state: State, run: Run, reason: str) -> None:
    """Take a ready run out of its queue, to return to its place there."""
    queue, job = state.queue(run.new.queue), run.new.job
    queue.ready.discard(run.id)
    run.set_aside = reason

    if reason == "unknown":
        places = queue.unknown
        count, since = state.unknown.get(job, (0, state.now))
        state.unknown[job] = (count + 1, since)

    else:
        places = queue.limited
        state.limited_in.setdefault(job, {})[queue.name] = None
        state.limited_count += 1

    if job not in places:
        places[job] = Ranked()

    places[job].put(run.id, run.rank)


def end(state: State, run: Run) -> None:
    """End a run's being set aside; it has no place then."""
    queue, job = state.queue(run.new.queue), run.new.job
    unknown, run.set_aside = run.set_aside == "unknown", ""
    places = queue.unknown if unknown else queue.limited
    places[job].discard(run.id)
    emptied = not places[job]

    if emptied:
        del places[job]

    if unknown:
        count, since = state.unknown.pop(job)

        if count > 1:
            state.unknown[job] = (count - 1, since)

        return

    state.limited_count -= 1

    if emptied:
        del state.limited_in[job][queue.name]

        if not state.limited_in[job]:
            del state.limited_in[job]


def bring_back(state: State, node: Node, claim: Claim) -> None:
    """Return to the queues of a claim what its node may take now."""
    left = MOST_BROUGHT_BACK

    for name in claim.queues:
        queue = state.queues.get(name)

        if queue is None or queue.paused or not (queue.unknown or queue.limited):
            continue

        for places, most in list(_takeable(state, queue, node, claim)):
            for _, run_id in places.lowest(min(most, left)):
                _return(state, queue, state.runs[run_id])
                left -= 1


def _takeable(state: State, queue: Queue, node: Node, claim: Claim) -> Iterator[tuple[Ranked[tuple[int, int]], int]]:
    """What is set aside in a queue and may be claimed by a node, and how many of each."""
    for job in _known(queue.unknown, node):
        yield queue.unknown[job], MOST_BROUGHT_BACK

    for job in _known(queue.limited, node):
        limit = claim.limits.get(job)
        free = MOST_BROUGHT_BACK if limit is None else limit - state.running_of[job]

        if free > 0:
            yield queue.limited[job], free


def _known(places: dict[str, Ranked[tuple[int, int]]], node: Node) -> list[str]:
    fewer, more = (places, node.jobs) if len(places) < len(node.jobs) else (node.jobs, places)
    return sorted(job for job in fewer if job in more)


def _return(state: State, queue: Queue, run: Run) -> None:
    if run.set_aside == "limit":
        state.made_ready[queue.name] += 1

    end(state, run)
    queue.ready.put(run.id, run.rank)
