"""Every law of the simulation's checks is broken on purpose, and complains in its own words.

The name of a break says what is wrong with the product then. The breaks that people would think of first have tests of
their own in test_the_simulation_notices.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anyio import sleep, sleep_forever
from attrs import evolve
from msgspec.structs import replace

from anysched.backends.memory import asking, firing, moves, nodes, working
from anysched.backends.memory.state import Entry, Node, Run, State
from anysched.backends.records import CancelAnswer, Claim, Enqueued, Fire, FireAnswer, NewRun, Outcome, TickReply
from anysched.clock import now, to_ms
from anysched.identifiers import make_run_id
from anysched.retry import Decision, RetryPolicy, decide
from anysched.runtime import judging, leasing, node, requesting, settling, ticking
from anysched.testing.simulation import Faults

from .test_the_simulation_notices import complaint

Patch = Callable[[Any, str, Any], None]
Break = Callable[[Patch], None]

# --- runs -----------------------------------------------------------------------------------------------------------


def the_runs_of_a_dead_node_are_forgotten(patch: Patch) -> None:
    def crash(state: State, run: Run, node: Node) -> None:
        moves._take_away(state, run)
        state.listed["running"].discard(run.id)
        del state.runs[run.id]

    patch(nodes, "_crash", crash)


def an_outcome_that_arrives_twice_is_applied_twice(patch: Patch) -> None:
    settle = working._settle

    def again(state: State, outcome: Outcome) -> bool:
        run = state.find(outcome.run_id)

        if run is not None and run.status != "running" and any(token == outcome.token for token, _ in run.settled):
            run.key = ""
            working._apply(state, run, outcome)

        return settle(state, outcome)

    patch(working, "_settle", again)


def what_was_cancelled_can_be_settled(patch: Patch) -> None:
    settle = working._settle

    def late(state: State, outcome: Outcome) -> bool:
        run = state.find(outcome.run_id)
        return (run is not None and run.status == "cancelled" and run.token == outcome.token) or settle(state, outcome)

    patch(working, "_settle", late)


def nodes_share_the_numbers_of_their_claims(patch: Patch) -> None:
    known: dict[int, Any] = {}
    claim_once = working._claim_once

    def shared(state: State, node: Node, claim: Claim) -> Any:
        node.claims = known
        return claim_once(state, node, claim)

    patch(working, "_claim_once", shared)


def a_run_is_enqueued_again_under_its_id(patch: Patch) -> None:
    enqueue = asking._enqueue

    def forgetful(state: State, new: NewRun, hears: Callable[[str], bool]) -> Enqueued:
        return replace(enqueue(state, new, hears), created=True)

    patch(asking, "_enqueue", forgetful)


def a_good_outcome_is_refused(patch: Patch) -> None:
    settle = working._settle
    patch(working, "_settle", lambda state, outcome: settle(state, outcome) and outcome.kind != "retry" and False)


def retries_have_no_end(patch: Patch) -> None:
    def lenient(error: BaseException, *, policy: RetryPolicy, attempt: int) -> Decision:
        return decide(error, policy=evolve(policy, max_retries=None), attempt=attempt)

    patch(judging, "decide", lenient)


def results_are_not_stored(patch: Patch) -> None:
    apply = working._apply

    def careless(state: State, run: Run, outcome: Outcome) -> None:
        apply(state, run, replace(outcome, result=""))

    patch(working, "_apply", careless)


def what_failed_is_stored_as_cancelled(patch: Patch) -> None:
    apply = working._apply

    def careless(state: State, run: Run, outcome: Outcome) -> None:
        apply(state, run, replace(outcome, kind="cancelled") if outcome.kind == "failed" else outcome)

    patch(working, "_apply", careless)


def what_a_dead_node_held_has_succeeded(patch: Patch) -> None:
    patch(nodes, "_crash", lambda state, run, node: moves.finish(state, run, "succeeded"))


def a_run_that_succeeded_is_said_to_be_cancelled(patch: Patch) -> None:
    cancel = asking.cancel

    def polite(state: State, run_id: str) -> CancelAnswer | None:
        answer = cancel(state, run_id)
        return answer and CancelAnswer("cancelled", True)

    patch(asking, "cancel", polite)


def what_is_done_is_handed_back(patch: Patch) -> None:
    report = settling.Settling.report

    def modest(self: Any, outcome: Outcome) -> None:
        kind = "released" if outcome.kind == "succeeded" and outcome.token % 5 == 0 else outcome.kind
        report(self, replace(outcome, kind=kind))

    patch(settling.Settling, "report", modest)


# --- who holds what -------------------------------------------------------------------------------------------------


def a_lease_ends_before_its_time(patch: Patch) -> None:
    leases = nodes._reap

    def hasty(state: State, caller: str) -> tuple[str, ...]:
        state.now += 4_000

        try:
            return leases(state, caller)
        finally:
            state.now -= 4_000

    patch(nodes, "_reap", hasty)


def a_node_always_trusts_its_lease(patch: Patch) -> None:
    patch(leasing.Leasing, "trusted_now", property(lambda self: True))
    patch(node.Node, "_lease_lost", lambda self, reason: None)


def a_limit_is_one_too_high(patch: Patch) -> None:
    take = working._take

    def generous(state: State, queue: Any, claiming: Any) -> None:
        limits = {job: most + 1 for job, most in claiming.claim.limits.items()}
        claiming.claim = replace(claiming.claim, limits=limits)
        take(state, queue, claiming)

    patch(working, "_take", generous)


# --- entries --------------------------------------------------------------------------------------------------------


def nothing_is_ever_due(patch: Patch) -> None:
    patch(firing, "look", lambda state, count: ([], [], 0))


def a_fire_does_not_say_what_it_made(patch: Patch) -> None:
    make_all = firing._make_all
    patch(firing, "_make_all", lambda *args: replace(make_all(*args), made=0))


def a_fire_makes_other_runs_each_time(patch: Patch) -> None:
    fire_once = firing._fire

    def anew(state: State, fire: Fire) -> FireAnswer:
        entry = state.entries.get(fire.entry_id)

        if entry is None or entry.status != "active" or entry.next_ms == 0:
            return FireAnswer(done=False)

        return fire_once(state, replace(fire, cursor_ms=entry.next_ms, revision=entry.revision))

    patch(firing, "_fire", anew)
    patch(requesting, "fire_run_id", lambda entry_id, fire_ms: make_run_id(fire_ms))


def what_is_missed_is_not_counted(patch: Patch) -> None:
    plan_fire = ticking.plan_fire
    patch(ticking, "plan_fire", lambda *args, **fields: replace(plan_fire(*args, **fields), missed=0))


def now_is_taken_from_the_clock_of_the_node(patch: Patch) -> None:
    decide = ticking.Ticking.decide

    def own(self: Any, reply: TickReply) -> Any:
        return decide(self, replace(reply, now_ms=to_ms(now())))

    patch(ticking.Ticking, "decide", own)


def the_next_fire_does_not_wait_for_the_end_of_the_last(patch: Patch) -> None:
    def at_once(state: State, entry: Entry, run_id: str, after_ms: int) -> None:
        firing.cursors.activate(state, entry, state.now + 1)

    patch(firing, "_await_end", at_once)


def what_is_paused_fires(patch: Patch) -> None:
    fire_once = firing._fire

    def eager(state: State, fire: Fire) -> FireAnswer:
        entry = state.entries.get(fire.entry_id)

        if entry is not None and entry.status == "paused":
            return FireAnswer(done=True, skipped=len(fire.runs))

        return fire_once(state, fire)

    patch(firing, "_fire", eager)


def an_entry_that_has_fired_is_gone(patch: Patch) -> None:
    make_all = firing._make_all

    def careless(state: State, entry: Entry, fire: Fire) -> FireAnswer:
        answer = make_all(state, entry, fire)

        if entry.run_count == 4:
            firing.cursors.discard(state, entry)
            del state.entries[entry.id]
            state.entry_ids.remove(entry.id)

        return answer

    patch(firing, "_make_all", careless)


def a_fire_counts_twice(patch: Patch) -> None:
    make_all = firing._make_all

    def proud(state: State, entry: Entry, fire: Fire) -> FireAnswer:
        entry.run_count += 1
        return make_all(state, entry, fire)

    patch(firing, "_make_all", proud)


# --- machines -------------------------------------------------------------------------------------------------------


def a_claim_is_always_said_to_be_filled(patch: Patch) -> None:
    claim = working._claim
    patch(working, "_claim", lambda *args: evolve(claim(*args), filled=True))


def _lingering(patch: Patch, linger: Callable[[], Any]) -> None:
    run = settling.Settling.run

    async def slow(self: Any, *, task_status: Any) -> None:
        await run(self, task_status=task_status)
        await linger()

    patch(settling.Settling, "run", slow)
    patch(node, "_FLUSH", 3600.0)


def a_stop_takes_half_a_minute(patch: Patch) -> None:
    _lingering(patch, lambda: sleep(30))


def a_stop_never_ends(patch: Patch) -> None:
    _lingering(patch, sleep_forever)


CRASHES = Faults.none().with_(crashes=6.0)
STOPS = Faults.none().with_(stops=6.0)
TWICE = Faults.none().with_(twice=0.3, late_command=0.05)
SLOW = Faults.none().with_(slow=1.0)
OUTAGES = Faults.none().with_(outages=3.0)
SKEWED = Faults(skew="10s").without("clock_steps")

LAWS: dict[str, tuple[Break, dict[str, Any]]] = {
    " is lost: None": (the_runs_of_a_dead_node_are_forgotten, {"faults": CRASHES}),
    "and it is not there": (the_runs_of_a_dead_node_are_forgotten, {"faults": CRASHES}),
    "and the totals count": (an_outcome_that_arrives_twice_is_applied_twice, {"faults": TWICE}),
    "was accepted after the run was": (
        what_was_cancelled_can_be_settled,
        {"faults": Faults.none().with_(pauses=15.0, cuts=5.0), "duration": "3m"},
    ),
    "was given under one token to two nodes": (nodes_share_the_numbers_of_their_claims, {}),
    "was made twice": (a_run_is_enqueued_again_under_its_id, {"faults": TWICE}),
    "was refused though its holder has a lease": (a_good_outcome_is_refused, {}),
    "is retried": (retries_have_no_end, {}),
    "not the one that was settled": (results_are_not_stored, {}),
    "was settled as failed, and is cancelled": (what_failed_is_stored_as_cancelled, {}),
    "and nobody said so": (what_a_dead_node_held_has_succeeded, {"faults": CRASHES}),
    "and is said to be cancelled": (a_run_that_succeeded_is_said_to_be_cancelled, {}),
    "and no lease was lost": (what_is_done_is_handed_back, {}),
    "was executed by": (a_lease_ends_before_its_time, {}),
    "without a lease": (a_node_always_trusts_its_lease, {}),
    "are held, and": (a_limit_is_one_too_high, {}),
    "still waits for": (nothing_is_ever_due, {}),
    "is accounted for": (a_fire_does_not_say_what_it_made, {}),
    "fired twice for": (a_fire_makes_other_runs_each_time, {}),
    "fire times there, and accounts for": (what_is_missed_is_not_counted, {"faults": OUTAGES}),
    ", too early": (now_is_taken_from_the_clock_of_the_node, {"faults": SKEWED}),
    "before its last run had ended": (the_next_fire_does_not_wait_for_the_end_of_the_last, {}),
    ", and was paused": (what_is_paused_fires, {"faults": SLOW}),
    "is lost: ": (an_entry_that_has_fired_is_gone, {}),
    "has run_count=": (a_fire_counts_twice, {}),
    "again and again without a pause": (a_claim_is_always_said_to_be_filled, {"duration": "2s"}),
    "s to stop, and nothing was the matter": (a_stop_takes_half_a_minute, {"faults": STOPS}),
    "did not end, though it was stopped": (a_stop_never_ends, {}),
}
"""By what is complained of: the break, and the circumstances in which it shows soonest."""


DAILY = (" is lost: None", "and the totals count", "was executed by", "fired twice for")
"""The rest is looked for at night."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("wanted", "broken", "options"),
    [
        pytest.param(wanted, *given, id=given[0].__name__, marks=() if wanted in DAILY else pytest.mark.nightly)
        for wanted, given in LAWS.items()
    ],
)
def test_a_broken_promise_is_complained_of(
    monkeypatch: pytest.MonkeyPatch, wanted: str, broken: Break, options: dict[str, Any]
) -> None:
    """By some seed, in these words; without the break none says so."""
    with monkeypatch.context() as patches:
        broken(patches.setattr)
        found = complaint(wanted, **options)

    assert wanted in found
