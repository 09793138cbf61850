"""One step of a worker: what it has done is settled, and it gets what is next."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define, frozen

from anysched.backends.memory import aside, hints, moves, nodes
from anysched.backends.memory.state import Node, PastClaim, Queue, Run, State
from anysched.backends.records import CLAIMS_REMEMBERED, TOMBSTONE_MS, Claim, ClaimedRun, Outcome, WorkReply

__all__ = ["claimed", "set_progress", "work"]

MOST_PASSED_OVER = 200


def work(state: State, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
    """Settle outcomes, do a share of housekeeping, and claim what is next."""
    settled = tuple([_settle(state, outcome) for outcome in outcomes])
    tidied = nodes.tidy(state, node_id)
    node = state.nodes.get(node_id)

    if claim is None or node is None:
        return WorkReply(
            now_ms=state.now, settled=settled, known=node is not None, lost=tidied.lost, expired=tidied.expired
        )

    answer = _claim_once(state, node, claim)

    if answer is None:
        return WorkReply(now_ms=state.now, settled=settled, more=True, lost=tidied.lost, expired=tidied.expired)

    if answer.filled:
        hints.satisfy(state, node_id)
        hints.pass_on_watch(state, node_id)
    else:
        hints.make_hungry(state, node_id, claim)

    return WorkReply(
        now_ms=state.now,
        settled=settled,
        runs=tuple([claimed(run) for run in answer.runs]),
        more=answer.filled,
        next_due_ms=0 if answer.filled else hints.next_look_ms(state, node_id),
        lost=tidied.lost,
        expired=tidied.expired + answer.expired,
    )


def set_progress(state: State, run_id: str, token: int, fraction: float, message: str) -> bool:
    """Note how far a held run has come."""
    if (run := _held(state, run_id, token)) is None:
        return False

    run.progress, run.progress_message = fraction, message
    run.crashed_ms = []
    return True


def _held(state: State, run_id: str, token: int) -> Run | None:
    run = state.runs.get(run_id)
    return run if run is not None and run.status == "running" and run.token == token else None


# --- settling ------------------------------------------------------------------------------------------------


def _settle(state: State, outcome: Outcome) -> bool:
    run = state.find(outcome.run_id)

    if run is None:
        return False

    if run.status != "running" or run.token != outcome.token:
        return any(outcome.token == token for token, _ in run.settled)

    run.settled = [(token, at) for token, at in run.settled if state.now - at < TOMBSTONE_MS]
    run.settled.append((outcome.token, state.now))
    moves.add_error(run, outcome.error)
    _apply(state, run, outcome)
    return True


def _apply(state: State, run: Run, outcome: Outcome) -> None:
    match outcome.kind:
        case "succeeded" | "failed" | "cancelled":
            run.result = outcome.result if outcome.kind == "succeeded" else ""
            moves.finish(state, run, outcome.kind, outcome.ttl_ms)

        case _ if run.cancel_requested:
            moves.finish(state, run, "cancelled", outcome.ttl_ms)

        case "retry":
            moves.postpone(state, run, "retrying", state.now + outcome.delay_ms)

        case "snooze":
            run.attempt -= 1
            moves.postpone(state, run, "scheduled", state.now + outcome.delay_ms)

        case _:
            moves.return_run(state, run)


# --- claiming ------------------------------------------------------------------------------------------------


@define(eq=False)
class _Claiming:
    """A claim while it is being filled."""

    node: Node
    claim: Claim
    looks: int
    """How many runs may still be looked at."""
    runs: list[Run] = Factory(list[Run])
    expired: int = 0
    unknown: set[tuple[str, str]] = Factory(set[tuple[str, str]])
    """Queues and jobs that no hungry node knows."""

    @property
    def filled(self) -> bool:
        return len(self.runs) >= self.claim.count or self.looks <= 0


@frozen
class _Given:
    """What a claim is answered."""

    filled: bool
    runs: list[Run]
    expired: int = 0


def _claim_once(state: State, node: Node, claim: Claim) -> _Given | None:
    """Claim, or tell again what was claimed; ``None`` if the claim is too late to tell which.

    What is claimed anew has a greater number than the last in its slot, which never falls. So whatever was claimed
    once is known again or too late.
    """
    slot = claim.number % CLAIMS_REMEMBERED
    last = node.claims.get(slot)

    if last is None or claim.number > last.number:
        given = _claim(state, node, claim)
        gave = tuple([(run.id, run.token) for run in given.runs])
        node.claims[slot] = PastClaim(claim.number, given.filled, gave)
        return given

    if claim.number < last.number:
        return None

    held = [run for run_id, token in last.gave if (run := _held(state, run_id, token)) is not None]
    return _Given(last.filled, held)


def _claim(state: State, node: Node, claim: Claim) -> _Given:
    claiming = _Claiming(node, claim, looks=claim.count + MOST_PASSED_OVER)
    found = (state.queues.get(name) for name in claim.queues)
    queues = [queue for queue in found if queue is not None and not queue.paused]

    if not claim.count:
        hints.satisfy(state, node.info.id)

        for queue in queues:
            hints.wake_some(state, queue.hungry, len(queue.ready))

        return _Given(filled=True, runs=[])

    aside.bring_back(state, node, claim)

    for queue in queues:
        _take(state, queue, claiming)

    return _Given(claiming.filled, claiming.runs, claiming.expired)


def _take(state: State, queue: Queue, claiming: _Claiming) -> None:
    """Fill a claim from one queue."""
    limits, node = claiming.claim.limits, claiming.node

    while not claiming.filled and (found := queue.ready.first()) is not None:
        run = state.runs[found[1]]
        job = run.new.job
        claiming.looks -= 1

        if run.expires_at_ms and not run.started and run.expires_at_ms <= state.now:
            moves.finish(state, run, "expired")
            claiming.expired += 1

        elif job not in node.jobs:
            aside.put(state, run, "unknown")
            _wake_who_knows(state, queue, job, claiming)

        elif job in limits and state.running_of[job] >= limits[job]:
            aside.put(state, run, "limit")

        else:
            moves.start(state, run, node, state.next_token())
            claiming.runs.append(run)


def _wake_who_knows(state: State, queue: Queue, job: str, claiming: _Claiming) -> None:
    if (queue.name, job) not in claiming.unknown and not hints.wake_who_knows(state, queue.hungry, job):
        claiming.unknown.add((queue.name, job))


def claimed(run: Run) -> ClaimedRun:
    """A running run, as it is told to the node that has it."""
    new = run.new

    return ClaimedRun(
        id=new.id,
        job=new.job,
        token=run.token,
        attempt=run.attempt,
        payload=new.payload,
        queue=new.queue,
        priority=new.priority,
        key=run.key,
        entry_id=new.entry_id,
        scheduled_for_ms=new.scheduled_for_ms,
        deadline_ms=run.deadline_ms,
        enqueued_ms=run.enqueued_ms,
        crashes=len(run.crashed_ms),
        options=new.options,
    )
