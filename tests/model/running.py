"""Histories of runs: asked for, claimed, settled, cancelled, and lost with their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from anysched.backends import Claim, ClaimedRun, NewRun, NodeInfo, Outcome

from .machine import INBOXES, REMEMBERED_MS, Machine, a_number, there_are

__all__ = ["RunDraft", "RunMachine", "drafts", "some_drafts"]

JOBS = ("a", "b", "c")
QUEUES = ("one", "two")
KEYS = ("k", "l")
PROGRAMS = ("p", "q")
KINDS = ("succeeded", "failed", "retry", "snooze", "released", "cancelled")

a_delay = st.sampled_from((0, 0, 0, 1, 10, 1_000))


@frozen
class RunDraft:
    """A run that is to be made, but for its id and instants."""

    again: int | None
    job: str
    queue: str
    key: str
    fields: dict[str, int]
    past: int | None


def drafts(*, entry: bool = False) -> st.SearchStrategy[RunDraft]:
    """Runs to be made; those of entries are due at once more often."""
    numbers = {
        "priority": st.sampled_from((-1, 1, 500)),
        "delay_ms": st.sampled_from((0, 0, 1, 700)),
        "expires_ms": st.sampled_from((20_000, 500, 1)),
        "deadline_after_ms": st.just(50),
        "ttl_ms": st.sampled_from((1, 20_000)),
    }
    return st.builds(
        RunDraft,
        again=st.none() if entry else st.sampled_from((None, None, None, None, 0, 3)),
        job=st.sampled_from(JOBS),
        queue=st.sampled_from(QUEUES),
        key=st.sampled_from(("", "", "", *KEYS)),
        fields=st.fixed_dictionaries({}, optional=numbers),
        past=st.sampled_from((None, None, None, None, None, -5, 0, 700)),
    )


some_drafts = st.lists(drafts(), min_size=1, max_size=3)
claims = {
    "number": a_number,
    "off": st.sampled_from((0, 0, 0, 0, 0, 0, -1, -2, -3, -8, -9, 1, 7, 8)),
    "count": st.sampled_from((0, 1, 1, 2, 2, 5, 5)),
    "takes": st.booleans(),
    "queues": st.sampled_from((QUEUES, ("two", "one"), ("one",), ("two",))),
    "limits": st.sampled_from(({}, {}, {}, {"a": 1}, {"a": 2, "b": 1}, {"b": 0, "c": 3})),
}
settlements = {
    "settled": st.lists(
        st.tuples(a_number, st.sampled_from(KINDS), a_delay, st.sampled_from(("", "oh")), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    "elsewhere": st.sampled_from((None, None, None, 1)),
    "count": st.sampled_from((0, 0, 1, 3)),
}
nodes = {
    "ttl_ms": st.sampled_from((60_000, 4_000_000, 3_000, 20)),
    "jobs": st.sampled_from((JOBS, JOBS, JOBS, ("a",), ("b", "c"))),
    "program": st.sampled_from(("", *PROGRAMS)),
    "failed_ttl_ms": st.sampled_from((0, 0, 20_000, 9_000_000)),
}


class RunMachine(Machine):
    """Somebody who does anything with runs."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[str] = []
        self.settled: dict[tuple[str, int], int] = {}
        """When what was settled first."""
        self.counts: dict[str, int] = {}
        """By node: the greatest number of a claim."""
        self.made_claims: list[tuple[str, Claim]] = []

    @initialize(fields=st.fixed_dictionaries(nodes), wanted=some_drafts)
    def begin(self, fields: dict[str, Any], wanted: list[RunDraft]) -> None:
        self.join(None, **fields)
        self.enqueue(wanted)

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[str]:
        return list(self.twins.run_ids)

    @property
    def live_nodes(self) -> list[str]:
        return [name for name in self.nodes if name in self.state.nodes]

    @property
    def held(self) -> list[tuple[str, ClaimedRun]]:
        running = {(run.id, run.token) for run in self.state.runs.values() if run.status == "running"}
        return [(node, run) for node, run in self.claims if (run.id, run.token) in running]

    @property
    def failed(self) -> list[str]:
        return [run.id for run in self.state.runs.values() if run.status == "failed"]

    def run_of(self, draft: RunDraft, **fields: Any) -> NewRun:
        run_id = self.some_run(draft.again) if draft.again is not None and self.runs else self.fresh("r")
        self.twins.run_ids[run_id] = None
        self.twins.keys.update(filter(None, [draft.key]))
        at = {} if draft.past is None else {"at_ms": self.twins.now + draft.past}
        wanted: dict[str, Any] = {"id": run_id, "job": draft.job, "queue": draft.queue, "key": draft.key}
        return NewRun(**wanted | at | draft.fields | fields)

    def some_run(self, number: int) -> str:
        return self.runs[-1 - number % len(self.runs)]

    def some_claim(self, number: int) -> tuple[str, ClaimedRun]:
        """One that is still good, but for high numbers."""
        known = self.held if number < 8 and self.held else self.claims
        return known[-1 - number % len(known)]

    def some_node(self, number: int) -> str:
        """A live one, joined for that if there is none, but for the highest numbers."""
        if number < 11 and not self.live_nodes:
            self.join(None, ttl_ms=60_000, jobs=JOBS, program="")

        known = self.live_nodes if number < 11 else [*self.nodes, "stranger"]
        return known[-1 - number % len(known)]

    # --- runs, from outside -------------------------------------------------------------------------------------

    @rule(wanted=some_drafts)
    def enqueue(self, wanted: list[RunDraft]) -> None:
        runs = [self.run_of(draft) for draft in wanted]
        self.do("enqueue", lambda backend: backend.enqueue(runs))

        for hint in self.twins.handed:
            assert hint.run is not None
            self.note_token(hint.run.token)
            self.claims = [*self.claims[-12:], (hint.name, hint.run)]

    @there_are("runs")
    @rule(number=a_number, inbox=st.sampled_from(INBOXES))
    def watch(self, number: int, inbox: str) -> None:
        run_id = self.some_run(number)
        self.do("watch", lambda backend: backend.watch(run_id, inbox))

    @there_are("runs")
    @rule(number=a_number)
    def cancel(self, number: int) -> None:
        run_id = self.held[-1 - number % len(self.held)][1].id if number < 6 and self.held else self.some_run(number)
        self.do("cancel", lambda backend: backend.cancel(run_id))

    @there_are("runs")
    @rule(number=a_number)
    def revive(self, number: int) -> None:
        run_id = self.failed[-1 - number] if number < len(self.failed) else self.some_run(number)
        self.do("revive", lambda backend: backend.revive(run_id))

    @there_are("runs")
    @rule(number=a_number, delay_ms=a_delay, past=st.sampled_from((None, -5, 0, 900)))
    def reschedule(self, number: int, delay_ms: int, past: int | None) -> None:
        run_id = self.some_run(number)
        when = {"delay_ms": delay_ms} if past is None else {"at_ms": self.twins.now + past}
        self.do("reschedule", lambda backend: backend.reschedule(run_id, **when))

    @rule(queue=st.sampled_from((None, *QUEUES)), limit=st.sampled_from((1, 3, 50)))
    def list_runs(self, queue: str | None, limit: int) -> None:
        self.twins.compare_listings(queue, limit)

    # --- runs, from a worker ------------------------------------------------------------------------------------

    @rule(again=st.none() | a_number, **nodes)
    def join(self, again: int | None, **fields: Any) -> None:
        # An id is never used again once its node was lost.
        known = self.live_nodes
        node_id = known[-1 - again % len(known)] if again is not None and known else self.fresh("n")
        info = NodeInfo(id=node_id, queues=QUEUES, **fields)
        self.nodes = [*(name for name in self.nodes if name != node_id), node_id]
        self.do("join", lambda backend: backend.join(info), node_id)

    @there_are("nodes")
    @rule(number=a_number, ttl_ms=st.sampled_from((3_000, 1)))
    def renew(self, number: int, ttl_ms: int) -> None:
        node_id = self.some_node(number)
        self.do("renew", lambda backend: backend.renew(node_id, ttl_ms), node_id)

    @there_are("nodes")
    @rule(number=a_number)
    def leave(self, number: int) -> None:
        node_id = self.some_node(number)
        self.do("leave", lambda backend: backend.leave(node_id), node_id)

    @rule(**claims)
    def claim(self, number: int, off: int, **fields: Any) -> None:
        """One's next, or one that has overtaken others or was overtaken by them."""
        node = self.some_node(number)
        self.work(node, [], Claim(number=self.next_number(node, off), **fields))

    def next_number(self, node: str, off: int = 0) -> int:
        newest = self.counts.get(node, 0)
        number = max(newest + 1 + off, 1)
        self.counts[node] = max(newest, number)
        return number

    @there_are("made_claims")
    @rule(number=st.integers(0, 30))
    def claim_late(self, number: int) -> None:
        """A claim of whatever age arrives once more."""
        node, claim = self.made_claims[-1 - number % len(self.made_claims)]
        self.work(node, [], claim)

    @rule(**claims)
    def claim_more(self, **fields: Any) -> None:
        self.claim(**fields)

    @there_are("claims")
    @rule(**settlements)
    def settle_more(self, **fields: Any) -> None:
        self.settle(**fields)

    @there_are("claims")
    @rule(**settlements)
    def settle(self, settled: list[tuple[int, Any, int, str, bool]], elsewhere: int | None, count: int) -> None:
        node, outcomes = "", list[Outcome]()

        for number, kind, delay_ms, error, off in settled:
            node, run = self.some_claim(number)
            token = run.token + (off and number == 0)
            outcomes.append(
                Outcome(
                    run_id=run.id, token=token, kind=kind, delay_ms=delay_ms, error=error, result="r" * (delay_ms > 1)
                )
            )

        node = node if elsewhere is None else self.some_node(elsewhere)
        claim = Claim(number=self.next_number(node), count=count, queues=QUEUES) if count else None
        self.work(node, outcomes, claim)

    @rule(number=a_number, draft=drafts(), plain=st.booleans(), limits=claims["limits"])
    def hand_over(self, number: int, draft: RunDraft, plain: bool, limits: dict[str, int]) -> None:
        """Enqueue one for somebody who waits for it."""
        node = self.some_node(number)
        claim = Claim(number=self.next_number(node), count=9, queues=QUEUES, limits=limits, takes=True)
        self.work(node, [], claim)
        self.enqueue([evolve(draft, again=None, key="", past=None, fields={}) if plain else draft])

    @rule(wanted=some_drafts, fields=st.fixed_dictionaries(claims))
    def enqueue_and_claim(self, wanted: list[RunDraft], fields: dict[str, Any]) -> None:
        self.enqueue(wanted)
        self.claim(**fields)

    @rule()
    def tidy(self) -> None:
        self.work("stranger", [], None)

    def work(self, node: str, outcomes: Sequence[Outcome], claim: Claim | None) -> None:
        now = self.twins.now
        known = [self.settled.get((outcome.run_id, outcome.token), now) for outcome in outcomes]

        # What was settled long ago may be known again or not; so it is not asked then.
        outcomes = [one for one, at in zip(outcomes, known, strict=True) if now - at < REMEMBERED_MS]
        number = claim.number if claim is not None else 0
        reply = self.do("work", lambda backend: backend.work(node, outcomes, claim), node, number)
        self.settled.update(
            {
                (one.run_id, one.token): self.twins.now
                for one, good in zip(outcomes, reply.settled, strict=True)
                if good and (one.run_id, one.token) not in self.settled
            }
        )

        if self.take(node, number, reply) and claim is not None:
            self.made_claims = [*self.made_claims[-30:], (node, claim)]
            jobs = {run.job for run in reply.runs}
            assert all(self.state.running_of[job] <= most for job, most in claim.limits.items() if job in jobs)

    @there_are("claims")
    @rule(number=a_number, off=st.sampled_from((0, 0, 0, 1)), fraction=st.sampled_from((0.0, 0.1, 1.0)))
    def set_progress(self, number: int, off: int, fraction: float) -> None:
        _, run = self.some_claim(number)
        self.do("set_progress", lambda backend: backend.set_progress(run.id, run.token + off, fraction, "far"))

    @rule(queue=st.sampled_from(QUEUES), pause=st.booleans())
    def pause_queue(self, queue: str, pause: bool) -> None:
        self.do("queue", lambda backend: (backend.pause_queue if pause else backend.resume_queue)(queue))
