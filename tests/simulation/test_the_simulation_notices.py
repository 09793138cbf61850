"""Each promise is broken on purpose, by changing the product under the simulation's feet: some seed says so.

What each test breaks is in its docstring. The complaint that is looked for is the one that is meant, not just any.
"""

from __future__ import annotations

from typing import Any

import pytest

from anysched.backends.memory import firing, locks, moves, nodes, working
from anysched.backends.memory.state import Entry, Node, Run, State
from anysched.backends.records import Fire, FireAnswer, Hint, Outcome
from anysched.lock import Lease
from anysched.runtime import disowning, node, services, settling, taking
from anysched.testing.simulation import Faults, simulate

MOST_SEEDS = 40


def complaint(wanted: str, *, faults: Faults | None = None, duration: str = "1m", **options: Any) -> str:
    """The first violation that says so, of the first seed that has one; empty if none of many has."""
    for seed in range(MOST_SEEDS):
        report = simulate(seed, duration=duration, faults=faults, **options)
        found = [one for one in report.violations if wanted in one]

        if found:
            return found[0]

    return ""


def test_the_simulation_notices_that_the_fencing_check_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: the memory backend settles a running run under whatever token."""

    def settle(state: State, outcome: Outcome) -> bool:
        run = state.find(outcome.run_id)

        if run is None or run.status != "running":
            return run is not None and any(outcome.token == token for token, _ in run.settled)

        run.settled.append((outcome.token, state.now))
        working._apply(state, run, outcome)
        return True

    monkeypatch.setattr(working, "_settle", settle)

    assert "was accepted, and the newest token is" in complaint("was accepted, and the newest token is")


def test_the_simulation_notices_that_the_cursor_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a fire advances an entry's cursor whatever it is."""

    def fire(state: State, fire: Fire) -> FireAnswer:
        entry = state.entries.get(fire.entry_id)

        if entry is None or entry.status != "active" or entry.revision != fire.revision:
            return FireAnswer(done=False)

        entry.missed_count += fire.missed
        firing._advance(state, entry, fire)
        return firing._make_all(state, entry, fire)

    monkeypatch.setattr(firing, "_fire", fire)

    assert "and waited for" in complaint("and waited for")


def test_the_simulation_notices_that_services_are_not_shielded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a cancellation from outside reaches settling and the lease together with the work."""

    async def start(self: Any, service: Any, *, finishes: bool = False) -> Any:
        _, value = await self._group.start(self._keep, service, finishes)
        return value

    monkeypatch.setattr(services.Services, "start", start)

    assert "has stopped in good order and still holds run" in complaint("has stopped in good order and still holds run")


@pytest.mark.nightly
def test_the_simulation_notices_that_now_is_taken_from_the_nodes_clock() -> None:
    """Break: the backend goes by the clock of whichever node calls it."""
    wanted = "whose lease stands"

    assert wanted in complaint(wanted, duration="20s", honest_clock=False)


def test_the_simulation_notices_that_nothing_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: what a stopping node holds is neither released nor taken from it when it leaves."""
    report = settling.Settling.report

    def forgetful(self: settling.Settling, outcome: Outcome) -> None:
        if outcome.kind != "released":
            report(self, outcome)

    monkeypatch.setattr(settling.Settling, "report", forgetful)
    monkeypatch.setattr(nodes, "leave", lambda state, node_id: None)

    assert "crashes, and there were" in complaint("crashes, and there were")


def test_the_simulation_notices_that_a_stopping_node_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: settling ends without the command that gives up the lease."""

    async def run(self: settling.Settling, *, task_status: Any) -> None:
        self.backend = _Staying(self.backend)
        await original(self, task_status=task_status)

    original = settling.Settling.run
    monkeypatch.setattr(settling.Settling, "run", run)

    assert "did not leave" in complaint("did not leave", faults=Faults.none().with_(stops=5.0))


class _Staying:
    """A backend that nobody leaves."""

    def __init__(self, backend: Any) -> None:
        self.work = backend.work

    async def leave(self, node_id: str) -> None:
        return


@pytest.mark.nightly
def test_the_simulation_notices_that_a_claim_is_not_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: the memory backend forgets the numbers of claims, so a repeated claim takes other runs.

    They would be handed back by a node that is told of them and does not know them; so that is broken as well.
    """
    monkeypatch.setattr(disowning.Disowning, "compare", lambda self, held: None)
    monkeypatch.setattr(working, "_claim_once", working._claim)

    assert "has not ended" in complaint("has not ended")


@pytest.mark.nightly
def test_the_simulation_notices_that_a_late_claim_counts_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: what is not among the last eight claims of its node is taken for new, whatever its number.

    And nobody hands back what he does not know.
    """
    monkeypatch.setattr(disowning.Disowning, "compare", lambda self, held: None)
    claim_once = working._claim_once

    def forgetful(state: State, node: Any, wanted: Any) -> Any:
        last = node.claims.get(wanted.number % working.CLAIMS_REMEMBERED)

        if last is not None and last.number > wanted.number:
            return working._claim(state, node, wanted)

        return claim_once(state, node, wanted)

    monkeypatch.setattr(working, "_claim_once", forgetful)

    assert "has not ended" in complaint("has not ended", faults=Faults.none().with_(late_command=0.05))


def test_the_simulation_notices_that_a_settlement_is_not_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: no tombstones, so an outcome that arrives twice is called stale."""
    settle = working._settle

    def forgetful(state: State, outcome: Outcome) -> bool:
        answer = settle(state, outcome)

        if (run := state.find(outcome.run_id)) is not None:
            run.settled = []

        return answer

    monkeypatch.setattr(working, "_settle", forgetful)

    assert "was settled, and then it was not" in complaint("was settled, and then it was not")


def test_the_simulation_notices_that_a_tick_is_not_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: the memory backend forgets what it answered to a nonce."""
    monkeypatch.setattr(State, "recall", lambda self, nonce: None)

    assert "when it was repeated" in complaint("when it was repeated")


def test_the_simulation_notices_that_a_lost_lease_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a node that may not trust its lease any more lets its attempts go on."""
    monkeypatch.setattr(node.Node, "_lease_lost", lambda self, reason: None)

    assert "and its lease could be trusted until" in complaint("and its lease could be trusted until")


def test_the_simulation_notices_that_a_lock_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a lock's lease is over, at the backend, 2.5 s before its time."""
    settle_line = locks._settle_line

    def hasty(state: State, lock: Any) -> str | None:
        if lock.expires_ms - 2_500 <= state.now:
            lock.owner = ""

        return settle_line(state, lock)

    monkeypatch.setattr(locks, "_settle_line", hasty)

    assert "was held by 2 at once" in complaint("was held by 2 at once")


def test_the_simulation_notices_that_updates_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: every lease of a lock has the same token, so the store cannot tell a stale holder from the present one."""
    monkeypatch.setattr(Lease, "__init__", _without_token)

    assert "the ledger lost" in complaint("the ledger lost", faults=Faults.none().with_(pauses=20.0))


def _without_token(self: Lease, name: str, token: int, trusted_until: float) -> None:
    self.name, self.token, self.trusted_until = name, 1, trusted_until


def test_the_simulation_notices_that_a_crash_costs_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: what comes back from a dead node keeps the number of its attempt."""
    crash = nodes._crash

    def costly(state: State, run: Run, holder: Node) -> None:
        run.attempt += 1
        crash(state, run, holder)

    monkeypatch.setattr(nodes, "_crash", costly)

    assert "that count" in complaint("that count")


@pytest.mark.nightly
def test_the_simulation_notices_that_a_cancelled_run_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a run that was asked to cancel and is handed back, or lost with its node, is made ready again."""

    def hand_back(state: State, run: Run) -> None:
        run.attempt -= 1
        moves.make_ready(state, run, front=True)

    def crash(state: State, run: Run, holder: Node) -> None:
        hand_back(state, run)

    monkeypatch.setattr(moves, "return_run", hand_back)
    monkeypatch.setattr(nodes, "_crash", crash)

    wanted = "though somebody had cancelled it"

    assert wanted in complaint(wanted, faults=Faults.none().with_(lost_hint=1.0, crashes=8.0))


def test_the_simulation_notices_that_a_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a claim disregards how many of a job are running."""
    take = working._take

    def take_all(state: State, queue: Any, claiming: Any) -> None:
        claiming.claim = _without_limits(claiming.claim)
        take(state, queue, claiming)

    monkeypatch.setattr(working, "_take", take_all)

    assert "were executed at once" in complaint("were executed at once")


def _without_limits(claim: Any) -> Any:
    return type(claim)(number=claim.number, count=claim.count, queues=claim.queues)


def test_the_simulation_notices_that_a_token_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: tokens are made from the clock alone, so two in one microsecond are the same."""
    monkeypatch.setattr(State, "next_token", lambda self: self.micros)

    assert "was given before" in complaint("was given before")


def test_the_simulation_notices_that_runs_of_an_entry_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: what should be skipped, or wait, is made at once."""

    def make(state: State, run: Run, entry: Entry) -> None:
        entry.live[run.id] = None
        moves.enter(state, run)

    monkeypatch.setattr(firing, "_may_join", lambda entry, overlap: True)
    monkeypatch.setattr(moves, "make_waiting", make)

    assert "forbids overlap" in complaint("forbids overlap")


def test_the_simulation_notices_an_error_that_leaves_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a bug in a loop of the runtime."""

    def broken(self: Any, outcome: Outcome) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(node.Node, "_stale", broken)

    assert "ZeroDivisionError" in complaint("an error left the scheduler")


def test_the_simulation_notices_that_a_hint_hands_over_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: what comes with a hint is taken whatever its token, so that one that comes again brings its run again."""

    def take(self: taking.Taking, hint: Hint) -> None:
        if hint.run is not None and hint.name == self.node_id() and not self.is_known((hint.run.id, hint.run.token)):
            self.begin(hint.run, hint.now_ms)

    monkeypatch.setattr(taking.Taking, "take", take)

    assert "times under the token" in complaint("times under the token", faults=Faults.none().with_(doubled_hint=1.0))


def test_the_simulation_notices_that_a_lost_hint_loses_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: renewals are not compared with what is known, so that a run whose hint was lost stays with its node."""
    monkeypatch.setattr(disowning.Disowning, "compare", lambda self, held: None)

    assert "has not ended" in complaint("has not ended", faults=Faults.none().with_(lost_hint=0.5))


def test_the_simulation_notices_that_a_late_hint_hands_over_what_was_disowned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break: a token that was disowned is good when its hint comes after all, and somebody else has the run by then."""
    monkeypatch.setattr(taking.Taking, "disown", lambda self, outcome: None)
    wanted = "at once, at"

    assert wanted in complaint(wanted, faults=Faults.none().with_(late_hint=1.0))
